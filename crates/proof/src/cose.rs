//! The canonical encoding of a COSE_Sign1 (RFC 9052 s. 4.2), written and parsed byte by byte.
//!
//! The parser encodes the parts again and compares the bytes, so it accepts only one CBOR encoding. It does
//! not say why it rejects bytes; `entry/diagnose.rs` finds the reason with a general COSE parser.

/// Content type of the payload, in the protected header.
pub const CONTENT_TYPE: &str = "application/vnd.sayso.sealed-event";
/// The start of the signed bytes: an array of four, and the context.
const SIGNED_PREFIX: &[u8] = b"\x84\x6aSignature1";

/// CBOR major types (RFC 8949 s. 3.1), in the upper three bits.
const UNSIGNED: u8 = 0;
const BYTES: u8 = 2 << 5;
const TEXT: u8 = 3 << 5;

/// A COSE_Sign1 in this format's encoding.
pub(crate) struct Envelope<'a> {
    /// The id of the signing key (`kid`).
    pub key_id: [u8; 8],
    /// The origin of the log (CWT claim `iss`).
    pub origin: &'a str,
    /// Seconds since the Unix epoch (CWT claim `iat`).
    pub issued_at: u64,
    /// The payload. Its content is not checked here.
    pub payload: &'a [u8],
    /// The Ed25519 signature. It is not verified here.
    pub signature: [u8; 64],
}

impl<'a> Envelope<'a> {
    /// Parses an envelope. Returns none unless [`Self::to_bytes`] would return exactly these bytes.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (protected, rest) = string(BYTES, bytes.strip_prefix(&[0xd2, 0x84])?)?;
        let (payload, rest) = string(BYTES, rest.strip_prefix(&[0xa0])?)?;
        let (signature, rest) = string(BYTES, rest)?;
        let (key_id, after) = protected_key_id(protected)?;
        // CWT claims: a map of 1 (iss) and 6 (iat).
        let (origin, issued_at) = string(TEXT, after.strip_prefix(&[0x0f, 0xa2, 0x01])?)?;
        let (issued_at, end) = head(UNSIGNED, issued_at.strip_prefix(&[0x06])?)?;
        let envelope = Self {
            key_id,
            origin: std::str::from_utf8(origin).ok()?,
            issued_at,
            payload,
            signature: signature.try_into().ok()?,
        };
        (end.is_empty() && rest.is_empty() && envelope.to_bytes() == bytes).then_some(envelope)
    }

    /// The encoded entry.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.payload.len() + self.origin.len() + 160);
        bytes.extend_from_slice(&[0xd2, 0x84]);
        push_string(&mut bytes, BYTES, &self.protected());
        bytes.push(0xa0);
        push_string(&mut bytes, BYTES, self.payload);
        push_string(&mut bytes, BYTES, &self.signature);
        bytes
    }

    /// The signed bytes (the Sig_structure of RFC 9052 s. 4.4). They end with the payload.
    pub fn signed_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.payload.len() + self.origin.len() + 96);
        bytes.extend_from_slice(SIGNED_PREFIX);
        push_string(&mut bytes, BYTES, &self.protected());
        push_string(&mut bytes, BYTES, &[]);
        push_string(&mut bytes, BYTES, self.payload);
        bytes
    }

    fn protected(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.origin.len() + 72);
        // A map of four: 1 (alg) is -8, 3 (content type), 4 (kid), 15 (CWT claims).
        bytes.extend_from_slice(&[0xa4, 0x01, 0x27, 0x03]);
        push_string(&mut bytes, TEXT, CONTENT_TYPE.as_bytes());
        bytes.push(0x04);
        push_string(&mut bytes, BYTES, &self.key_id);
        bytes.extend_from_slice(&[0x0f, 0xa2, 0x01]);
        push_string(&mut bytes, TEXT, self.origin.as_bytes());
        bytes.push(0x06);
        push_head(&mut bytes, UNSIGNED, self.issued_at);
        bytes
    }
}

/// The key id of a protected header, and the bytes after it.
fn protected_key_id(protected: &[u8]) -> Option<([u8; 8], &[u8])> {
    let (_content_type, rest) = string(TEXT, protected.strip_prefix(&[0xa4, 0x01, 0x27, 0x03])?)?;
    let (key_id, rest) = string(BYTES, rest.strip_prefix(&[0x04])?)?;
    Some((key_id.try_into().ok()?, rest))
}

/// The key id and payload of an entry, parsed without checking the rest.
pub(crate) fn key_id_and_payload(bytes: &[u8]) -> Option<([u8; 8], &[u8])> {
    let (protected, rest) = string(BYTES, bytes.strip_prefix(&[0xd2, 0x84])?)?;
    let (payload, _signature) = string(BYTES, rest.strip_prefix(&[0xa0])?)?;
    Some((protected_key_id(protected)?.0, payload))
}

/// A number or length of this major type, and the bytes after it.
fn head(major: u8, bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    match first.checked_sub(major)? {
        small @ 0..=23 => Some((u64::from(small), rest)),
        wide @ 24..=27 => {
            let (number, rest) = rest.split_at_checked(1 << (wide - 24))?;
            Some((number.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)), rest))
        }
        _ => None,
    }
}

/// A string of definite length, and the bytes after it.
fn string(major: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = head(major, bytes)?;
    rest.split_at_checked(usize::try_from(length).ok()?)
}

/// Appends a number in its shortest form (RFC 8949 s. 4.2.1).
fn push_head(bytes: &mut Vec<u8>, major: u8, number: u64) {
    let [.., b0] = number.to_be_bytes();
    match number {
        0..24 => bytes.push(major | b0),
        24..0x100 => bytes.extend_from_slice(&[major | 24, b0]),
        0x100..0x1_0000 => {
            let [.., b1, b0] = number.to_be_bytes();
            bytes.extend_from_slice(&[major | 25, b1, b0]);
        }
        0x1_0000..0x1_0000_0000 => {
            let [.., b3, b2, b1, b0] = number.to_be_bytes();
            bytes.extend_from_slice(&[major | 26, b3, b2, b1, b0]);
        }
        _ => {
            bytes.push(major | 27);
            bytes.extend_from_slice(&number.to_be_bytes());
        }
    }
}

fn push_string(bytes: &mut Vec<u8>, major: u8, string: &[u8]) {
    push_head(bytes, major, string.len() as u64);
    bytes.extend_from_slice(string);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use coset::iana::{Algorithm, EnumI64, HeaderParameter};
    use coset::{AsCborValue, CoseSign1Builder, HeaderBuilder, TaggedCborSerializable};
    use proptest::prelude::*;

    fn encode_with_coset(envelope: &Envelope<'_>) -> (Vec<u8>, Vec<u8>) {
        let issued_at = coset::cwt::Timestamp::WholeSeconds(i64::try_from(envelope.issued_at).unwrap());
        let claims = coset::cwt::ClaimsSetBuilder::new()
            .issuer(envelope.origin.to_owned())
            .issued_at(issued_at)
            .build();
        let protected = HeaderBuilder::new()
            .algorithm(Algorithm::EdDSA)
            .key_id(envelope.key_id.to_vec())
            .content_type(CONTENT_TYPE.to_owned())
            .value(HeaderParameter::CwtClaims.to_i64(), claims.to_cbor_value().unwrap())
            .build();
        let cose = CoseSign1Builder::new()
            .protected(protected)
            .payload(envelope.payload.to_vec())
            .signature(envelope.signature.to_vec())
            .build();
        (cose.tbs_data(&[]), cose.to_tagged_vec().unwrap())
    }

    proptest! {
        #[test]
        fn the_encoding_matches_a_cose_library_and_parses_back(
            key_id: [u8; 8],
            origin in "\\PC{0,300}",
            issued_at in prop_oneof![0..30_u64, 0..70_000_u64, 0..=(u64::MAX / 1000)],
            payload in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..300),
                prop::collection::vec(any::<u8>(), 65_530..65_540),
            ],
            signature in prop::array::uniform32(any::<u8>()),
        ) {
            let signature: [u8; 64] = [signature, signature].concat().try_into().unwrap();
            let envelope = Envelope { key_id, origin: &origin, issued_at, payload: &payload, signature };
            let (signed, bytes) = encode_with_coset(&envelope);
            prop_assert_eq!(envelope.signed_bytes(), signed);
            prop_assert_eq!(envelope.to_bytes(), bytes.clone());
            let parsed = Envelope::parse(&bytes).unwrap();
            prop_assert_eq!((parsed.key_id, parsed.origin, parsed.issued_at), (key_id, origin.as_str(), issued_at));
            prop_assert_eq!((parsed.payload, parsed.signature), (payload.as_slice(), signature));
            prop_assert_eq!(key_id_and_payload(&bytes), Some((key_id, payload.as_slice())));
        }

        #[test]
        fn bytes_that_are_changed_cut_or_extended_never_parse_as_the_same_envelope(at: prop::sample::Index, other: u8) {
            let envelope =
                Envelope { key_id: [1; 8], origin: "a/b", issued_at: 9, payload: &[7; 40], signature: [2; 64] };
            let bytes = envelope.to_bytes();
            let mut changed = bytes.clone();
            let byte = changed.get_mut(at.index(bytes.len())).unwrap();
            *byte = other;
            if let Some(parsed) = Envelope::parse(&changed) {
                prop_assert_eq!(parsed.to_bytes(), changed);
            }
            prop_assert!(Envelope::parse(bytes.split_last().unwrap().1).is_none());
            prop_assert!(Envelope::parse(&[bytes.as_slice(), &[0]].concat()).is_none());
        }
    }
}
