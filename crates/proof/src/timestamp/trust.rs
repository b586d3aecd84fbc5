//! Verifies the signature of a timestamp, and that a trusted certificate vouches for the timestamp authority.

use super::TimestampError;
use super::messages::{SigningCertificate, SigningCertificateV2};
use super::token::{ID_SHA256, ID_TST_INFO, Token};
use aws_lc_rs::digest::{self, digest};
use cms::cert::x509::Certificate;
use cms::cert::x509::attr::Attribute;
use cms::cert::x509::ext::pkix::ExtendedKeyUsage;
use cms::signed_data::SignerIdentifier;
use der::asn1::{ObjectIdentifier, OctetString};
use der::{Decode, Encode};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use serde::Serialize;
use std::time::Duration;
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert, aws_lc_rs as algorithms};

const fn oid(text: &str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(text)
}

const ID_CONTENT_TYPE: ObjectIdentifier = oid("1.2.840.113549.1.9.3");
const ID_MESSAGE_DIGEST: ObjectIdentifier = oid("1.2.840.113549.1.9.4");
const ID_SIGNING_CERTIFICATE: ObjectIdentifier = oid("1.2.840.113549.1.9.16.2.12");
const ID_SIGNING_CERTIFICATE_V2: ObjectIdentifier = oid("1.2.840.113549.1.9.16.2.47");
const ID_SHA384: ObjectIdentifier = oid("2.16.840.1.101.3.4.2.2");
const ID_SHA512: ObjectIdentifier = oid("2.16.840.1.101.3.4.2.3");
const ID_EXTENDED_KEY_USAGE: ObjectIdentifier = oid("2.5.29.37");
const ID_KP_TIME_STAMPING: ObjectIdentifier = oid("1.3.6.1.5.5.7.3.8");
/// `id-kp-timeStamping` as the bytes of its object identifier.
const TIME_STAMPING_BYTES: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 8];
/// Maximum number of trusted certificates.
const TRUSTED_MAX: usize = 64;

/// The certificates that the user trusts: of authorities for timestamps, or of CAs above them.
#[derive(Clone, Debug, Default)]
pub struct Authorities(Vec<CertificateDer<'static>>);

/// A verified timestamp.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Timestamped {
    /// Entries of the tree that existed at the time.
    pub tree_size: u64,
    /// The authority's time, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// By how much this time may be wrong in either direction, as the authority states, in milliseconds.
    pub accuracy_ms: u64,
    /// Subject of the authority's certificate.
    pub authority: String,
}

impl Authorities {
    /// Reads certificates in PEM.
    ///
    /// # Errors
    /// The text has no certificate, an invalid one, or more than 64.
    pub fn from_pem(pem: &[u8]) -> Result<Self, TimestampError> {
        let invalid = |error: String| TimestampError::Certificates(error);
        let mut trusted = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| invalid(error.to_string()))?;
            Certificate::from_der(&certificate).map_err(|error| invalid(error.to_string()))?;
            if trusted.len() >= TRUSTED_MAX {
                return Err(invalid("more than 64 certificates".to_owned()));
            }
            trusted.push(certificate);
        }
        if trusted.is_empty() { Err(invalid("no certificate".to_owned())) } else { Ok(Self(trusted)) }
    }

    /// Verifies a token: its signature, and that its signer was a timestamping authority at the time of the
    /// token, trusted by itself or through its CA. Revocation is not checked, because the verifier works
    /// offline. Returns the subject of the authority's certificate.
    ///
    /// # Errors
    /// [`TimestampError::Untrusted`] if nothing that the user trusts vouches for the signer, otherwise the
    /// signature is invalid.
    pub fn verify(&self, token: &Token) -> Result<String, TimestampError> {
        let signer = self.signing_certificate(token)?;
        check_signed(token, &signer)?;
        let certificate =
            Certificate::from_der(&signer).map_err(|_| TimestampError::Form("malformed certificate"))?;
        self.check_trust(token, &signer, &certificate)?;
        Ok(certificate.tbs_certificate.subject.to_string())
    }

    /// The certificate that the signed attributes name (RFC 5816 s. 2.2.1).
    fn signing_certificate(&self, token: &Token) -> Result<CertificateDer<'static>, TimestampError> {
        let own = token.certificates.iter().filter_map(|one| one.to_der().ok()).map(CertificateDer::from);
        let all: Vec<CertificateDer<'static>> = self.0.iter().cloned().chain(own).collect();
        let named = all.into_iter().find(|one| is_named(token, one));
        named.ok_or_else(|| TimestampError::Untrusted("the signing certificate is not known".to_owned()))
    }

    fn check_trust(
        &self,
        token: &Token,
        signer: &CertificateDer<'_>,
        certificate: &Certificate,
    ) -> Result<(), TimestampError> {
        let untrusted = |reason: &str| TimestampError::Untrusted(reason.to_owned());
        if !is_only_for_timestamps(certificate) {
            return Err(untrusted("its certificate is not for timestamps alone"));
        }
        let time = Duration::from_millis(token.time_ms());
        if self.0.contains(signer) {
            let validity = &certificate.tbs_certificate.validity;
            let (from, to) = (validity.not_before.to_unix_duration(), validity.not_after.to_unix_duration());
            let is_valid = from <= time && time <= to;
            return if is_valid {
                Ok(())
            } else {
                Err(untrusted("its certificate was not valid at the time"))
            };
        }
        let anchors: Vec<_> = self.0.iter().filter_map(|one| anchor_from_trusted_cert(one).ok()).collect();
        let own = token.certificates.iter().filter_map(|one| one.to_der().ok()).map(CertificateDer::from);
        let intermediates: Vec<CertificateDer<'_>> = own.collect();
        let end =
            EndEntityCert::try_from(signer).map_err(|error| TimestampError::Untrusted(error.to_string()))?;
        let path = end.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &anchors,
            &intermediates,
            UnixTime::since_unix_epoch(time),
            KeyUsage::required(TIME_STAMPING_BYTES),
            None,
            None,
        );
        path.map(|_| ()).map_err(|error| TimestampError::Untrusted(error.to_string()))
    }
}

/// Whether a certificate has the extended key usage of timestamps, critical and alone (RFC 3161 s. 2.3).
fn is_only_for_timestamps(certificate: &Certificate) -> bool {
    let extensions = certificate.tbs_certificate.extensions.iter().flatten();
    let mut usages = extensions.filter(|one| one.extn_id == ID_EXTENDED_KEY_USAGE);
    let (Some(usage), None) = (usages.next(), usages.next()) else { return false };
    let usage_of = ExtendedKeyUsage::from_der(usage.extn_value.as_bytes());
    usage.critical && usage_of.is_ok_and(|usage| usage.0 == [ID_KP_TIME_STAMPING])
}

/// The only value of a signed attribute.
fn attribute(token: &Token, of: ObjectIdentifier) -> Option<&der::Any> {
    let attributes = token.signer.signed_attrs.as_ref()?;
    let mut found = attributes.iter().filter(|attribute: &&Attribute| attribute.oid == of);
    match (found.next(), found.next()) {
        (Some(attribute), None) if attribute.values.len() == 1 => attribute.values.get(0),
        _ => None,
    }
}

/// Whether the signed attributes, and the identifier of the signer, name this certificate.
fn is_named(token: &Token, certificate: &CertificateDer<'_>) -> bool {
    let Ok(parsed) = Certificate::from_der(certificate) else { return false };
    let is_signer = match &token.signer.sid {
        SignerIdentifier::IssuerAndSerialNumber(of) => {
            of.issuer == parsed.tbs_certificate.issuer
                && of.serial_number == parsed.tbs_certificate.serial_number
        }
        SignerIdentifier::SubjectKeyIdentifier(_) => true,
    };
    is_signer && has_named_hash(token, certificate).unwrap_or(false)
}

/// Whether the first certificate that the signed attributes name has the hash of this one. `None` if they
/// name none.
fn has_named_hash(token: &Token, certificate: &[u8]) -> Option<bool> {
    if let Some(value) = attribute(token, ID_SIGNING_CERTIFICATE_V2) {
        let named: SigningCertificateV2 = value.decode_as().ok()?;
        let first = named.certs.first()?;
        let algorithm = first.hash_algorithm.as_ref().map_or(ID_SHA256, |algorithm| algorithm.oid);
        return Some(digest(digest_of(algorithm)?, certificate).as_ref() == first.cert_hash.as_bytes());
    }
    let named: SigningCertificate = attribute(token, ID_SIGNING_CERTIFICATE)?.decode_as().ok()?;
    let hash = digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, certificate);
    Some(hash.as_ref() == named.certs.first()?.cert_hash.as_bytes())
}

fn digest_of(of: ObjectIdentifier) -> Option<&'static digest::Algorithm> {
    match of {
        ID_SHA256 => Some(&digest::SHA256),
        ID_SHA384 => Some(&digest::SHA384),
        ID_SHA512 => Some(&digest::SHA512),
        _ => None,
    }
}

/// Checks the signed attributes and the signature over them (RFC 5652 s. 5.4 and 5.6).
fn check_signed(token: &Token, certificate: &CertificateDer<'_>) -> Result<(), TimestampError> {
    let invalid = TimestampError::Signature;
    let content_type = attribute(token, ID_CONTENT_TYPE).and_then(|value| value.decode_as().ok());
    if content_type != Some(ID_TST_INFO) {
        return Err(invalid("no attribute for the type of the content"));
    }
    let algorithm = digest_of(token.signer.digest_alg.oid).ok_or(invalid("unknown digest algorithm"))?;
    let stated = attribute(token, ID_MESSAGE_DIGEST).and_then(|value| value.decode_as::<OctetString>().ok());
    if stated.is_none_or(|stated| stated.as_bytes() != digest(algorithm, &token.content).as_ref()) {
        return Err(invalid("the digest of the content differs"));
    }
    let signed = token.signer.signed_attrs.as_ref().ok_or(invalid("no signed attributes"))?;
    let signed = signed.to_der().map_err(|_| invalid("the signed attributes have no DER form"))?;
    let end = EndEntityCert::try_from(certificate).map_err(|_| invalid("malformed certificate"))?;
    let signature = token.signer.signature.as_bytes();
    let mut candidates = algorithms_of(token).into_iter();
    match candidates.any(|one| end.verify_signature(one, &signed, signature).is_ok()) {
        true => Ok(()),
        false => Err(invalid("the authority's key did not make it")),
    }
}

/// The algorithms that the signer may have used. Which of them fits depends on the key of the certificate.
fn algorithms_of(token: &Token) -> Vec<&'static dyn SignatureVerificationAlgorithm> {
    const RSA: ObjectIdentifier = oid("1.2.840.113549.1.1.1");
    const RSA_PSS: ObjectIdentifier = oid("1.2.840.113549.1.1.10");
    const RSA_SHA256: ObjectIdentifier = oid("1.2.840.113549.1.1.11");
    const RSA_SHA384: ObjectIdentifier = oid("1.2.840.113549.1.1.12");
    const RSA_SHA512: ObjectIdentifier = oid("1.2.840.113549.1.1.13");
    const ECDSA_SHA256: ObjectIdentifier = oid("1.2.840.10045.4.3.2");
    const ECDSA_SHA384: ObjectIdentifier = oid("1.2.840.10045.4.3.3");
    const ECDSA_SHA512: ObjectIdentifier = oid("1.2.840.10045.4.3.4");
    const ED25519: ObjectIdentifier = oid("1.3.101.112");
    match (token.signer.signature_algorithm.oid, token.signer.digest_alg.oid) {
        (RSA_SHA256, _) | (RSA, ID_SHA256) => vec![algorithms::RSA_PKCS1_2048_8192_SHA256],
        (RSA_SHA384, _) | (RSA, ID_SHA384) => vec![algorithms::RSA_PKCS1_2048_8192_SHA384],
        (RSA_SHA512, _) | (RSA, ID_SHA512) => vec![algorithms::RSA_PKCS1_2048_8192_SHA512],
        (RSA_PSS, ID_SHA256) => vec![algorithms::RSA_PSS_2048_8192_SHA256_LEGACY_KEY],
        (RSA_PSS, ID_SHA384) => vec![algorithms::RSA_PSS_2048_8192_SHA384_LEGACY_KEY],
        (RSA_PSS, ID_SHA512) => vec![algorithms::RSA_PSS_2048_8192_SHA512_LEGACY_KEY],
        (ECDSA_SHA256, _) => {
            vec![algorithms::ECDSA_P256_SHA256, algorithms::ECDSA_P384_SHA256, algorithms::ECDSA_P521_SHA256]
        }
        (ECDSA_SHA384, _) => {
            vec![algorithms::ECDSA_P256_SHA384, algorithms::ECDSA_P384_SHA384, algorithms::ECDSA_P521_SHA384]
        }
        (ECDSA_SHA512, _) => {
            vec![algorithms::ECDSA_P256_SHA512, algorithms::ECDSA_P384_SHA512, algorithms::ECDSA_P521_SHA512]
        }
        (ED25519, _) => vec![algorithms::ED25519],
        _ => Vec::new(),
    }
}
