//! Accepts a client certificate in the handshake whatever the time is. The machine's clock may be wrong, and a person's no
//! must not wait until it is right: each call judges the certificate again, by the time of the ledger that it goes to
//! ([`super::Shown::is_good`]).

use std::sync::Arc;
use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
};

/// How many times are tried: each certificate of a chain and each revocation list may name one.
const TRIES_MAX: usize = 8;

/// Verifies all but the time.
#[derive(Debug)]
pub struct AnyTime(pub Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for AnyTime {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }

    fn offer_client_auth(&self) -> bool {
        self.0.offer_client_auth()
    }

    /// As the verifier below at the time that it is, or at the nearest at which it accepts the chain. Signatures, names and
    /// revocations are checked at each.
    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let mut at = now;
        let mut verified = self.0.verify_client_cert(own, above, at);
        for _ in 1..TRIES_MAX {
            let Some(other) = verified.as_ref().err().and_then(nearest) else { break };
            at = other;
            verified = self.0.verify_client_cert(own, above, at);
        }
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, own, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, own, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// The time nearest to the one that was tried at which this error would not be.
fn nearest(error: &Error) -> Option<UnixTime> {
    let Error::InvalidCertificate(error) = error else { return None };
    match error {
        CertificateError::ExpiredContext { not_after, .. } => Some(*not_after),
        CertificateError::NotValidYetContext { not_before, .. } => Some(*not_before),
        // Good until its next update, that second not included.
        CertificateError::ExpiredRevocationListContext { next_update, .. } => {
            Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(
                next_update.as_secs().saturating_sub(1),
            )))
        }
        _ => None,
    }
}
