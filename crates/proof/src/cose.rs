//! The one way this format writes a COSE_Sign1 (RFC 9052 s. 4.2), byte by byte, and back: what is read here is written again
//! and compared, so nothing that CBOR could say in another way gets past.
//!
//! Out of scope: why bytes are in no such form, which [`crate::entry`] finds out with a reader of any COSE.

/// Content type of the payload, in the protected header.
pub const CONTENT_TYPE: &str = "application/vnd.sayso.sealed-event";
/// What comes before the payload in what is signed: an array of four, and the context.
const SIGNED_HEAD: &[u8] = b"\x84\x6aSignature1";

/// Major types of CBOR (RFC 8949 s. 3.1), in the upper three bits.
const UNSIGNED: u8 = 0;
const BYTES: u8 = 2 << 5;
const TEXT: u8 = 3 << 5;

/// A COSE_Sign1 in this format's form.
pub(crate) struct Envelope<'a> {
    /// Which key signed (kid).
    pub key_id: [u8; 8],
    /// The log (CWT claim `iss`).
    pub origin: &'a str,
    /// Seconds since the Unix epoch (CWT claim `iat`).
    pub issued_at: u64,
    /// What is signed, of this format or not.
    pub payload: &'a [u8],
    /// Ed25519, whole or not.
    pub signature: [u8; 64],
}

impl<'a> Envelope<'a> {
    /// None if the bytes are anything but what [`Self::write`] would make of their parts.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
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
        (end.is_empty() && rest.is_empty() && envelope.write() == bytes).then_some(envelope)
    }

    /// The entry.
    pub fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.payload.len() + self.origin.len() + 160);
        bytes.extend_from_slice(&[0xd2, 0x84]);
        push_string(&mut bytes, BYTES, &self.protected());
        bytes.push(0xa0);
        push_string(&mut bytes, BYTES, self.payload);
        push_string(&mut bytes, BYTES, &self.signature);
        bytes
    }

    /// What is signed (the Sig_structure of RFC 9052 s. 4.4). It ends with the payload.
    pub fn signed(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.payload.len() + self.origin.len() + 96);
        bytes.extend_from_slice(SIGNED_HEAD);
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

/// Key id of a protected header, and what follows it.
fn protected_key_id(protected: &[u8]) -> Option<([u8; 8], &[u8])> {
    let (_content_type, rest) = string(TEXT, protected.strip_prefix(&[0xa4, 0x01, 0x27, 0x03])?)?;
    let (key_id, rest) = string(BYTES, rest.strip_prefix(&[0x04])?)?;
    Some((key_id.try_into().ok()?, rest))
}

/// Key id and payload of an entry: the cheap way, which does not look at the rest.
pub(crate) fn key_id_and_payload(bytes: &[u8]) -> Option<([u8; 8], &[u8])> {
    let (protected, rest) = string(BYTES, bytes.strip_prefix(&[0xd2, 0x84])?)?;
    let (payload, _signature) = string(BYTES, rest.strip_prefix(&[0xa0])?)?;
    Some((protected_key_id(protected)?.0, payload))
}

/// A number, or a length, of this major type, and what follows it.
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

/// A string of definite length, and what follows it.
fn string(major: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = head(major, bytes)?;
    rest.split_at_checked(usize::try_from(length).ok()?)
}

/// A number in its shortest form (RFC 8949 s. 4.2.1).
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

    fn by_coset(envelope: &Envelope<'_>) -> (Vec<u8>, Vec<u8>) {
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
        fn it_is_what_a_cose_library_writes_and_reads_itself_back(
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
            let (signed, bytes) = by_coset(&envelope);
            prop_assert_eq!(envelope.signed(), signed);
            prop_assert_eq!(envelope.write(), bytes.clone());
            let again = Envelope::read(&bytes).unwrap();
            prop_assert_eq!((again.key_id, again.origin, again.issued_at), (key_id, origin.as_str(), issued_at));
            prop_assert_eq!((again.payload, again.signature), (payload.as_slice(), signature));
            prop_assert_eq!(key_id_and_payload(&bytes), Some((key_id, payload.as_slice())));
        }

        #[test]
        fn a_byte_more_less_or_other_is_not_taken_for_the_same(at: prop::sample::Index, other: u8) {
            let envelope =
                Envelope { key_id: [1; 8], origin: "a/b", issued_at: 9, payload: &[7; 40], signature: [2; 64] };
            let bytes = envelope.write();
            let mut changed = bytes.clone();
            let place = changed.get_mut(at.index(bytes.len())).unwrap();
            *place = other;
            if let Some(read) = Envelope::read(&changed) {
                prop_assert_eq!(read.write(), changed);
            }
            prop_assert!(Envelope::read(bytes.split_last().unwrap().1).is_none());
            prop_assert!(Envelope::read(&[bytes.as_slice(), &[0]].concat()).is_none());
        }
    }
}
