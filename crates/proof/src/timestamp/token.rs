//! A timestamp token: parses it, and checks which text it covers.

use super::TimestampError;
use super::messages::{MessageImprint, TimeStampReq, TimeStampResp, TstInfo};
use aws_lc_rs::digest::{SHA256, digest};
use cms::cert::CertificateChoices;
use cms::cert::x509::Certificate;
use cms::cert::x509::spki::AlgorithmIdentifierOwned;
use cms::content_info::ContentInfo;
use cms::signed_data::{SignedData, SignerInfo};
use der::asn1::{Int, ObjectIdentifier, OctetString};
use der::{Decode, Encode};

/// Maximum size of a token and of a response, in bytes. Real tokens have 1 to 10 KB.
pub const TOKEN_BYTES_MAX: usize = 64 << 10;
/// Maximum number of certificates in a token.
const CERTIFICATES_MAX: usize = 16;
const ID_SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
pub(super) const ID_TST_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.4");
pub(super) const ID_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
/// `granted` and `grantedWithMods` of `PKIStatus`.
const GRANTED_MAX: u8 = 1;

/// A parsed token. Nothing about its signature is verified.
#[derive(Clone, Debug)]
pub struct Token {
    pub(super) info: TstInfo,
    /// The bytes of `info`, which the signature covers.
    pub(super) content: Vec<u8>,
    pub(super) signer: SignerInfo,
    pub(super) certificates: Vec<Certificate>,
    time_ms: u64,
}

impl Token {
    /// Parses a token (RFC 3161 s. 2.4.2): a `ContentInfo` in DER.
    ///
    /// # Errors
    /// The bytes are too many, or are not a token with one signer.
    pub fn parse(bytes: &[u8]) -> Result<Self, TimestampError> {
        if bytes.len() > TOKEN_BYTES_MAX {
            return Err(TimestampError::TooLarge);
        }
        let content = ContentInfo::from_der(bytes).map_err(|_| TimestampError::Form("not CMS in DER"))?;
        Self::of(&content)
    }

    fn of(content: &ContentInfo) -> Result<Self, TimestampError> {
        let form = TimestampError::Form;
        if content.content_type != ID_SIGNED_DATA {
            return Err(form("not signed data"));
        }
        let data: SignedData = content.content.decode_as().map_err(|_| form("malformed signed data"))?;
        if data.encap_content_info.econtent_type != ID_TST_INFO {
            return Err(form("its content is not `TSTInfo`"));
        }
        let content = data.encap_content_info.econtent.ok_or(form("no content"))?;
        let content: OctetString =
            content.decode_as().map_err(|_| form("its content is not an octet string"))?;
        let content = content.as_bytes().to_vec();
        let info = TstInfo::from_der(&content).map_err(|_| form("malformed `TSTInfo`"))?;
        let has_critical = info.extensions.as_ref().is_some_and(|all| all.iter().any(|one| one.critical));
        if info.version != 1 || has_critical {
            return Err(form("unknown version or critical extension"));
        }
        let [signer] = data.signer_infos.0.as_slice() else {
            return Err(form("it does not have exactly one signer"));
        };
        let certificates = data.certificates.map(|set| set.0.into_vec()).unwrap_or_default();
        if certificates.len() > CERTIFICATES_MAX {
            return Err(form("more than 16 certificates"));
        }
        let certificates = certificates.into_iter().filter_map(|one| match one {
            CertificateChoices::Certificate(certificate) => Some(certificate),
            CertificateChoices::Other(_) => None,
        });
        let (signer, time_ms) = (signer.clone(), info.time_ms()?);
        Ok(Self { info, content, signer, certificates: certificates.collect(), time_ms })
    }

    /// When the authority says that it saw the digest, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn time_ms(&self) -> u64 {
        self.time_ms
    }

    /// By how much the time may be wrong in either direction, as the authority states, in milliseconds.
    #[must_use]
    pub fn accuracy_ms(&self) -> u64 {
        self.info.accuracy_ms()
    }

    /// Checks that the token stamps the SHA-256 of this text.
    ///
    /// # Errors
    /// It stamps something else, or another kind of digest.
    pub fn check_text(&self, text: &str) -> Result<(), TimestampError> {
        let imprint = &self.info.message_imprint;
        let is_sha256 = imprint.hash_algorithm.oid == ID_SHA256;
        if is_sha256 && imprint.hashed_message.as_bytes() == digest(&SHA256, text.as_bytes()).as_ref() {
            return Ok(());
        }
        Err(TimestampError::OtherDigest)
    }
}

/// The request for a timestamp of a text (RFC 3161 s. 2.4.1), in DER. It asks for the certificate. `nonce`
/// is chosen at random, so that an old answer is not accepted.
///
/// # Errors
/// Never in practice: numbers and digests always have a DER form.
pub fn request(text: &str, nonce: [u8; 8]) -> Result<Vec<u8>, TimestampError> {
    let malformed = |_| TimestampError::Form("the request has no DER form");
    let hashed_message = OctetString::new(digest(&SHA256, text.as_bytes()).as_ref()).map_err(malformed)?;
    let hash_algorithm = AlgorithmIdentifierOwned { oid: ID_SHA256, parameters: None };
    let request = TimeStampReq {
        version: 1,
        message_imprint: MessageImprint { hash_algorithm, hashed_message },
        req_policy: None,
        nonce: Some(nonce_of(nonce)?),
        cert_req: true,
    };
    request.to_der().map_err(malformed)
}

/// A positive number with a fixed length in DER.
fn nonce_of(mut nonce: [u8; 8]) -> Result<Int, TimestampError> {
    if let Some(first) = nonce.first_mut() {
        *first = (*first & 0x7f) | 0x40;
    }
    Int::new(&nonce).map_err(|_| TimestampError::Form("the nonce has no DER form"))
}

/// Takes the token from an authority's response to [`request`] (RFC 3161 s. 2.4.2), in DER. Its signature is
/// not verified.
///
/// # Errors
/// The response is too large, malformed, a refusal, or for another text or request.
pub fn token_of_response(bytes: &[u8], text: &str, nonce: [u8; 8]) -> Result<Vec<u8>, TimestampError> {
    if bytes.len() > TOKEN_BYTES_MAX {
        return Err(TimestampError::TooLarge);
    }
    let response =
        TimeStampResp::from_der(bytes).map_err(|_| TimestampError::Form("not a response in DER"))?;
    if response.status.status > GRANTED_MAX {
        return Err(TimestampError::Refused(response.status.status));
    }
    let content = response.time_stamp_token.ok_or(TimestampError::Form("the response has no token"))?;
    let token = Token::of(&content)?;
    token.check_text(text)?;
    if token.info.nonce != Some(nonce_of(nonce)?) {
        return Err(TimestampError::OtherNonce);
    }
    content.to_der().map_err(|_| TimestampError::Form("the token has no DER form"))
}
