//! The `SealedEvent` payload of an entry, in the only encoding that this format allows.

use super::error::EntryError;
use super::padding;
use crate::merkle::Hash;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, encode_varint, skip_field};

/// First byte of the last field of a payload: field 8 (ciphertext) or 9 (plain body), length-delimited.
const CIPHERTEXT_TAG: u8 = 8 << 3 | 2;
const PLAIN_BODY_TAG: u8 = 9 << 3 | 2;

/// The id of an event: unique in its log.
pub type EventId = [u8; 16];

/// The pseudonym of a data subject in the log: 16 random bytes, never derived from the subject's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handle(pub [u8; 16]);

impl Handle {
    /// The handle of the system stream, whose events concern no data subject.
    pub const SYSTEM: Self = Self([0; 16]);
}

impl std::fmt::Display for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// The version of an entry's form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SchemaVersion {
    /// A sealed body is not padded. System events always have this version.
    #[default]
    One,
    /// A sealed body is padded to a size class.
    Two,
}

impl SchemaVersion {
    /// The number in the entry; version 1 is left out.
    fn number(self) -> u64 {
        match self {
            Self::One => 0,
            Self::Two => 2,
        }
    }

    fn from_number(number: u64) -> Result<Self, EntryError> {
        match number {
            0 => Ok(Self::One),
            2 => Ok(Self::Two),
            1 => Err(EntryError::Payload("not in canonical form")),
            newer => Err(EntryError::TooNew(newer)),
        }
    }
}

/// The unencrypted part of an event, which identifies it and orders it in its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// UUIDv7.
    pub event_id: EventId,
    /// The stream that the event belongs to.
    pub handle: Handle,
    /// 0-based, without gaps within the stream.
    pub version: u64,
    /// Leaf hash of the stream's previous entry; none at version 0.
    pub previous: Option<Hash>,
    /// The ledger's clock, milliseconds since the Unix epoch.
    pub sealed_at_ms: u64,
    /// Keyed hash of caller and idempotency key. Only system events and early events of data subjects have
    /// it; later ones have their hash in the body.
    pub idempotency: Option<Hash>,
    /// Commitment to the event key. Sealing sets it.
    pub key_commitment: Option<Hash>,
    /// The version of the form.
    pub schema_version: SchemaVersion,
}

/// A payload in its canonical encoding.
pub(super) struct Payload<'a> {
    pub header: Header,
    /// Length of everything before the body's field.
    pub associated_bytes: usize,
    /// The ciphertext, or the encoded body of a system event.
    pub body: &'a [u8],
}

/// The payload before its body, which is also the associated data of the seal.
pub(super) fn encode_header(header: &Header, commitment: Option<Hash>) -> Vec<u8> {
    let mut payload = Vec::with_capacity(192);
    push_field(&mut payload, 1 << 3 | 2, &header.event_id);
    push_field(&mut payload, 2 << 3 | 2, &header.handle.0);
    push_number(&mut payload, 3 << 3, header.version);
    push_hash(&mut payload, 4 << 3 | 2, header.previous);
    push_number(&mut payload, 5 << 3, header.sealed_at_ms);
    push_hash(&mut payload, 6 << 3 | 2, header.idempotency);
    push_hash(&mut payload, 7 << 3 | 2, commitment);
    push_number(&mut payload, 10 << 3, header.schema_version.number());
    payload
}

/// Appends the sealed body of a subject's event.
pub(super) fn push_ciphertext(payload: &mut Vec<u8>, ciphertext: &[u8]) {
    push_field(payload, CIPHERTEXT_TAG, ciphertext);
}

/// Appends the body of a system event.
pub(super) fn push_plain_body(payload: &mut Vec<u8>, body: &[u8]) {
    push_field(payload, PLAIN_BODY_TAG, body);
}

fn push_number(payload: &mut Vec<u8>, tag: u8, number: u64) {
    if number != 0 {
        payload.push(tag);
        encode_varint(number, payload);
    }
}

fn push_hash(payload: &mut Vec<u8>, tag: u8, hash: Option<Hash>) {
    if let Some(hash) = hash {
        push_field(payload, tag, &hash);
    }
}

fn push_field(payload: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    payload.push(tag);
    encode_varint(bytes.len() as u64, payload);
    payload.extend_from_slice(bytes);
}

/// The fields of a payload as encoded. Where a field is repeated, the last one is kept.
#[derive(Default)]
struct Fields<'a> {
    /// Length-delimited fields, by field number.
    bytes: [&'a [u8]; 10],
    version: u64,
    sealed_at_ms: u64,
    schema_version: u64,
}

impl<'a> Fields<'a> {
    fn decode(payload: &'a [u8]) -> Option<Self> {
        let mut fields = Self::default();
        let mut rest = payload;
        while !rest.is_empty() {
            let (number, wire) = decode_key(&mut rest).ok()?;
            match (number, wire) {
                (3, WireType::Varint) => fields.version = decode_varint(&mut rest).ok()?,
                (5, WireType::Varint) => fields.sealed_at_ms = decode_varint(&mut rest).ok()?,
                (10, WireType::Varint) => fields.schema_version = decode_varint(&mut rest).ok()?,
                (1 | 2 | 4 | 6..=9, WireType::LengthDelimited) => {
                    let length = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
                    let (bytes, after) = rest.split_at_checked(length)?;
                    *fields.bytes.get_mut(usize::try_from(number).ok()?)? = bytes;
                    rest = after;
                }
                (1..=10, _) => return None,
                // Unknown fields are skipped here. Encoding the payload again then finds the difference.
                _ => skip_field(wire, number, &mut rest, DecodeContext::default()).ok()?,
            }
        }
        Some(fields)
    }
}

impl<'a> Payload<'a> {
    /// Decodes a payload and rejects any encoding but the canonical one.
    pub fn decode(payload: &'a [u8]) -> Result<Self, EntryError> {
        let fields = Fields::decode(payload).ok_or(EntryError::Payload("not a `SealedEvent`"))?;
        let schema_version = SchemaVersion::from_number(fields.schema_version)?;
        let [_, event_id, handle, _, previous, _, idempotency, commitment, ciphertext, plain] = fields.bytes;
        let header = Header {
            event_id: id(event_id, "`event_id` is not 16 bytes")?,
            handle: Handle(id(handle, "`subject_handle` is not 16 bytes")?),
            version: fields.version,
            previous: optional_hash(previous, "`previous_leaf_hash` is not 32 bytes")?,
            sealed_at_ms: fields.sealed_at_ms,
            idempotency: optional_hash(idempotency, "`idempotency_hash` is not 32 bytes")?,
            key_commitment: optional_hash(commitment, "`key_commitment` is not 32 bytes")?,
            schema_version,
        };
        if header.previous.is_some() != (header.version > 0) {
            let reason = "`previous_leaf_hash` must be set exactly where the version is above 0";
            return Err(EntryError::Payload(reason));
        }
        let sealed = header.handle != Handle::SYSTEM;
        if sealed != header.key_commitment.is_some() || sealed == ciphertext.is_empty() {
            let reason = "`key_commitment` and `ciphertext` must be set exactly for events of a data subject";
            return Err(EntryError::Payload(reason));
        }
        if schema_version == SchemaVersion::Two && !(sealed && padding::is_class(ciphertext)) {
            return Err(EntryError::Payload("the ciphertext has no size class, or a system event is padded"));
        }
        let (tag, body) = if sealed { (CIPHERTEXT_TAG, ciphertext) } else { (PLAIN_BODY_TAG, plain) };
        let mut canonical = encode_header(&header, header.key_commitment);
        let associated_bytes = canonical.len();
        canonical.push(tag);
        encode_varint(body.len() as u64, &mut canonical);
        // Two encodings of one event would be two leaves, so only the canonical one is accepted.
        if payload.strip_prefix(canonical.as_slice()) != Some(body) {
            return Err(EntryError::Payload("not in canonical form"));
        }
        Ok(Self { header, associated_bytes, body })
    }
}

fn id(bytes: &[u8], reason: &'static str) -> Result<EventId, EntryError> {
    bytes.try_into().map_err(|_| EntryError::Payload(reason))
}

fn optional_hash(bytes: &[u8], reason: &'static str) -> Result<Option<Hash>, EntryError> {
    match bytes.len() {
        0 => Ok(None),
        _ => Hash::try_from(bytes).map(Some).map_err(|_| EntryError::Payload(reason)),
    }
}
