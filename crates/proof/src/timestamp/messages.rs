//! The messages of RFC 3161 in DER.
//!
//! `genTime`, the time in a timestamp, may have fractions of a second. The crate `der` does not accept them,
//! so this file has its own parser for `genTime`.

use super::TimestampError;
use cms::cert::x509::ext::Extensions;
use cms::cert::x509::spki::AlgorithmIdentifierOwned;
use cms::content_info::ContentInfo;
use der::asn1::{Any, Int, ObjectIdentifier, OctetString};
use der::{DateTime, Sequence, Tag, Tagged};

/// `MessageImprint`: the digest that is stamped.
#[derive(Clone, Debug, Eq, PartialEq, Sequence)]
pub(super) struct MessageImprint {
    pub hash_algorithm: AlgorithmIdentifierOwned,
    pub hashed_message: OctetString,
}

/// `TimeStampReq`.
#[derive(Clone, Debug, Eq, PartialEq, Sequence)]
pub(super) struct TimeStampReq {
    pub version: u8,
    pub message_imprint: MessageImprint,
    #[asn1(optional = "true")]
    pub req_policy: Option<ObjectIdentifier>,
    #[asn1(optional = "true")]
    pub nonce: Option<Int>,
    #[asn1(default = "Default::default")]
    pub cert_req: bool,
}

/// `PKIStatusInfo`.
#[derive(Clone, Debug, Eq, PartialEq, Sequence)]
pub(super) struct PkiStatusInfo {
    pub status: u8,
    /// Texts for people, and the reasons of a refusal.
    #[asn1(optional = "true")]
    pub more: Option<Any>,
    #[asn1(optional = "true")]
    pub reasons: Option<Any>,
}

/// `TimeStampResp`.
#[derive(Clone, Debug, Eq, PartialEq, Sequence)]
pub(super) struct TimeStampResp {
    pub status: PkiStatusInfo,
    #[asn1(optional = "true")]
    pub time_stamp_token: Option<ContentInfo>,
}

/// `Accuracy`.
#[derive(Clone, Debug, Eq, PartialEq, Sequence)]
pub(super) struct Accuracy {
    #[asn1(optional = "true")]
    pub seconds: Option<u64>,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", optional = "true")]
    pub millis: Option<u16>,
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", optional = "true")]
    pub micros: Option<u16>,
}

/// `TSTInfo`: what the timestamp authority signs.
#[derive(Clone, Debug, Eq, PartialEq, Sequence)]
pub(super) struct TstInfo {
    pub version: u8,
    pub policy: ObjectIdentifier,
    pub message_imprint: MessageImprint,
    pub serial_number: Int,
    pub gen_time: Any,
    #[asn1(optional = "true")]
    pub accuracy: Option<Accuracy>,
    #[asn1(default = "Default::default")]
    pub ordering: bool,
    #[asn1(optional = "true")]
    pub nonce: Option<Int>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    pub tsa: Option<Any>,
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", optional = "true")]
    pub extensions: Option<Extensions>,
}

impl TstInfo {
    /// By how much `genTime` may be wrong in either direction, in milliseconds, rounded up; 0 if it is not
    /// stated.
    pub fn accuracy_ms(&self) -> u64 {
        let Some(accuracy) = &self.accuracy else { return 0 };
        let seconds = accuracy.seconds.unwrap_or_default().saturating_mul(1_000);
        let millis = u64::from(accuracy.millis.unwrap_or_default());
        seconds.saturating_add(millis).saturating_add(u64::from(accuracy.micros.is_some()))
    }

    /// `genTime`, in milliseconds since the Unix epoch, rounded down.
    pub fn time_ms(&self) -> Result<u64, TimestampError> {
        let malformed = TimestampError::Form("`genTime` is not a time in UTC");
        if self.gen_time.tag() != Tag::GeneralizedTime {
            return Err(malformed);
        }
        let text = std::str::from_utf8(self.gen_time.value()).map_err(|_| malformed.clone())?;
        parse_time(text).ok_or(malformed)
    }
}

/// Parses `YYYYMMDDhhmmss[.f…]Z`, with at most nine digits of a second that do not end in 0 (RFC 3161 s.
/// 2.4.2).
fn parse_time(text: &str) -> Option<u64> {
    let text = text.strip_suffix('Z')?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let has_fraction = text.len() > whole.len();
    let is_canonical = has_fraction != fraction.is_empty() && fraction.len() <= 9 && !fraction.ends_with('0');
    if whole.len() != 14 || !is_number(whole) || !is_number(fraction) || !is_canonical {
        return None;
    }
    let part = |from: usize, to: usize| whole.get(from..to)?.parse::<u8>().ok();
    let year: u16 = whole.get(..4)?.parse().ok()?;
    let time =
        DateTime::new(year, part(4, 6)?, part(6, 8)?, part(8, 10)?, part(10, 12)?, part(12, 14)?).ok()?;
    let millis: u64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    u64::try_from(time.unix_duration().as_millis()).ok()?.checked_add(millis)
}

/// `ESSCertID` (RFC 2634), with a SHA-1 hash.
#[derive(Clone, Debug, Eq, PartialEq, Sequence)]
pub(super) struct EssCertId {
    pub cert_hash: OctetString,
    #[asn1(optional = "true")]
    pub issuer_serial: Option<Any>,
}

/// `SigningCertificate` (RFC 2634).
#[derive(Clone, Debug, Eq, PartialEq, Sequence)]
pub(super) struct SigningCertificate {
    pub certs: Vec<EssCertId>,
    #[asn1(optional = "true")]
    pub policies: Option<Any>,
}

/// `ESSCertIDv2` (RFC 5816 and RFC 5035). Without an algorithm, the hash is SHA-256.
#[derive(Clone, Debug, Eq, PartialEq, Sequence)]
pub(super) struct EssCertIdV2 {
    #[asn1(optional = "true")]
    pub hash_algorithm: Option<AlgorithmIdentifierOwned>,
    pub cert_hash: OctetString,
    #[asn1(optional = "true")]
    pub issuer_serial: Option<Any>,
}

/// `SigningCertificateV2` (RFC 5035).
#[derive(Clone, Debug, Eq, PartialEq, Sequence)]
pub(super) struct SigningCertificateV2 {
    pub certs: Vec<EssCertIdV2>,
    #[asn1(optional = "true")]
    pub policies: Option<Any>,
}

#[cfg(test)]
mod tests {
    use super::parse_time;

    #[test]
    fn times_have_one_form() {
        assert_eq!(parse_time("19700101000001Z"), Some(1_000));
        assert_eq!(parse_time("19700101000001.5Z"), Some(1_500));
        assert_eq!(parse_time("19700101000001.0049Z"), Some(1_004));
        for malformed in [
            "19700101000001",
            "19700101000001.Z",
            "19700101000001.50Z",
            "19700101000001,5Z",
            "197001010000Z",
            "19700101000001+0100",
            "19701301000001Z",
            "1970010100000éZ",
            "19700101000001.1234567891Z",
        ] {
            assert_eq!(parse_time(malformed), None, "{malformed}");
        }
    }
}
