//! One entry: a COSE_Sign1 (RFC 9052 s. 4.2) around a `SealedEvent`, stored and hashed verbatim.

use crate::cose::{self, Envelope};
use crate::event::EventBody;
use crate::merkle::Hash;
use crate::signer::LogSigner;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use ed25519_dalek::{Signature, VerifyingKey};
use hkdf::Hkdf;
use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

mod form;

pub use crate::cose::CONTENT_TYPE;

/// HKDF info of event keys; the event id follows it.
const EVENT_KEY_INFO: &[u8] = b"sayso event key v1";
/// Precedes the event key in its commitment.
const COMMITMENT_TAG: &[u8] = b"sayso key commitment v1";
/// First byte of the last field of a payload: field 8 (ciphertext) or 9 (plain body), length-delimited.
const CIPHERTEXT_TAG: u8 = 8 << 3 | 2;
const PLAIN_BODY_TAG: u8 = 9 << 3 | 2;

/// Stands for a subject in the log: 16 random bytes, never derived from the subject's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handle(pub [u8; 16]);

impl Handle {
    /// Events about nobody.
    pub const NOBODY: Self = Self([0; 16]);
}

impl std::fmt::Display for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// Why bytes are not an entry, or not the entry they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Not a tagged COSE_Sign1.
    #[error("not a tagged COSE_Sign1")]
    Cose,
    /// A header parameter is missing, of the wrong kind, or not allowed.
    #[error("the protected header is wrong: {0}")]
    Header(&'static str),
    /// The payload is not a `SealedEvent` as this format writes it.
    #[error("the payload is wrong: {0}")]
    Payload(&'static str),
    /// Signed by another key, or changed.
    #[error("the signature does not verify")]
    Signature,
    /// The key id names another key.
    #[error("signed by another key")]
    Key,
    /// The event key is not the one that was committed to.
    #[error("the event key is not the one committed to")]
    Commitment,
    /// The seal does not open.
    #[error("the seal does not open")]
    Seal,
    /// What was sealed is not an event body.
    #[error("the body is not an event")]
    Body,
}

/// The clear part of an event: what finds it and orders it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// UUIDv7.
    pub event_id: [u8; 16],
    /// Whose event it is.
    pub handle: Handle,
    /// 0-based, dense within the handle.
    pub version: u64,
    /// Leaf hash of the handle's previous entry; none at version 0.
    pub previous: Option<Hash>,
    /// The ledger's clock, milliseconds since the Unix epoch.
    pub sealed_at_ms: u64,
    /// Keyed hash of caller and idempotency key.
    pub idempotency: Option<Hash>,
    /// What the event key was committed to; set by [`seal`].
    pub key_commitment: Option<Hash>,
}

/// The key of one event: seals exactly one message.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct EventKey([u8; 32]);

impl std::fmt::Debug for EventKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EventKey(..)")
    }
}

impl EventKey {
    /// HKDF-SHA-256 (RFC 5869) of the subject's key at the event's version: no salt, info = tag and event id.
    #[must_use]
    pub fn derive(version_key: &[u8; 32], event_id: &[u8; 16]) -> Self {
        let mut key = Self([0; 32]);
        let hkdf = Hkdf::<Sha256>::new(None, version_key);
        hkdf.expand_multi_info(&[EVENT_KEY_INFO, event_id], &mut key.0)
            .expect("32 bytes are within HKDF's bound");
        key
    }

    /// A key as an export carries it.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key, for an export that may open the event.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// SHA-256 of a tag and the key. GCM does not commit to its key; this does.
    #[must_use]
    pub fn commitment(&self) -> Hash {
        Sha256::new().chain_update(COMMITMENT_TAG).chain_update(self.0).finalize().into()
    }

    fn cipher(&self) -> Aes256Gcm {
        Aes256Gcm::new(&Key::<Aes256Gcm>::from(self.0))
    }
}

fn payload_without_body(header: &Header, commitment: Option<Hash>) -> Vec<u8> {
    let mut payload = Vec::with_capacity(192);
    push_field(&mut payload, 1 << 3 | 2, &header.event_id);
    push_field(&mut payload, 2 << 3 | 2, &header.handle.0);
    push_number(&mut payload, 3 << 3, header.version);
    push_hash(&mut payload, 4 << 3 | 2, header.previous);
    push_number(&mut payload, 5 << 3, header.sealed_at_ms);
    push_hash(&mut payload, 6 << 3 | 2, header.idempotency);
    push_hash(&mut payload, 7 << 3 | 2, commitment);
    payload
}

fn push_number(payload: &mut Vec<u8>, tag: u8, number: u64) {
    if number != 0 {
        payload.push(tag);
        prost::encoding::encode_varint(number, payload);
    }
}

fn push_hash(payload: &mut Vec<u8>, tag: u8, hash: Option<Hash>) {
    if let Some(hash) = hash {
        push_field(payload, tag, &hash);
    }
}

fn push_field(payload: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    payload.push(tag);
    prost::encoding::encode_varint(bytes.len() as u64, payload);
    payload.extend_from_slice(bytes);
}

/// Seals an event's body: the payload of its entry. Everything before the ciphertext field is the associated data.
///
/// # Errors
/// The handle is nobody's.
pub fn seal(header: &Header, body: &EventBody, key: &EventKey) -> Result<Vec<u8>, EntryError> {
    if header.handle == Handle::NOBODY {
        return Err(EntryError::Payload("nobody's events are not sealed"));
    }
    let mut payload = payload_without_body(header, Some(key.commitment()));
    let clear = Zeroizing::new(body.encode_to_vec());
    let message = Payload { msg: &clear, aad: &payload };
    let sealed = key.cipher().encrypt(&Nonce::default(), message).map_err(|_| EntryError::Seal)?;
    push_field(&mut payload, CIPHERTEXT_TAG, &sealed);
    Ok(payload)
}

/// The payload of an entry about nobody.
///
/// # Errors
/// The handle is somebody's.
pub fn plain(header: &Header, body: &EventBody) -> Result<Vec<u8>, EntryError> {
    if header.handle != Handle::NOBODY {
        return Err(EntryError::Payload("a subject's events are sealed"));
    }
    let mut payload = payload_without_body(header, None);
    push_field(&mut payload, PLAIN_BODY_TAG, &body.encode_to_vec());
    Ok(payload)
}

/// First 8 bytes of SHA-256 of the raw public key.
#[must_use]
pub fn key_id(key: &VerifyingKey) -> [u8; 8] {
    let digest: Hash = Sha256::digest(key.as_bytes()).into();
    let mut id = [0; 8];
    id.copy_from_slice(digest.split_at(8).0);
    id
}

/// Signs a payload: the entry.
///
/// # Errors
/// The payload is not one that [`seal`] or [`plain`] made.
pub fn sign(payload: Vec<u8>, origin: &str, key: &impl LogSigner) -> Result<Vec<u8>, EntryError> {
    let issued_at = parse_payload(&payload)?.header.sealed_at_ms / 1000;
    let key_id = key_id(&key.verifying_key());
    let mut envelope = Envelope { key_id, origin, issued_at, payload: &payload, signature: [0; 64] };
    envelope.signature = key.sign(&envelope.signed()).to_bytes();
    Ok(envelope.write())
}

/// A parsed entry. Parsing checks the form; [`Entry::verify`] checks who signed it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The clear part.
    pub header: Header,
    /// Which key signed it.
    pub key_id: [u8; 8],
    /// The log it belongs to (CWT claim `iss`).
    pub origin: String,
    /// What was signed; it ends with the payload, which ends with the body.
    signed: Vec<u8>,
    payload_bytes: usize,
    /// Length of the associated data: the payload before the body's field.
    associated_bytes: usize,
    body_bytes: usize,
    signature: Signature,
}

impl Entry {
    /// Parses an entry strictly: tagged, nothing after it, nothing unknown in it.
    ///
    /// # Errors
    /// The first thing that is wrong with its form.
    pub fn parse(bytes: &[u8]) -> Result<Self, EntryError> {
        let Some(envelope) = Envelope::read(bytes) else { return Err(form::fault(bytes)) };
        let payload = parse_payload(envelope.payload)?;
        if envelope.issued_at != payload.header.sealed_at_ms / 1000 {
            return Err(EntryError::Header("iat is not the time of sealing"));
        }
        Ok(Self {
            key_id: envelope.key_id,
            origin: envelope.origin.to_owned(),
            signed: envelope.signed(),
            payload_bytes: envelope.payload.len(),
            associated_bytes: payload.associated_bytes,
            body_bytes: payload.body.len(),
            signature: Signature::from_bytes(&envelope.signature),
            header: payload.header,
        })
    }

    fn payload(&self) -> &[u8] {
        self.signed.get(self.signed.len() - self.payload_bytes..).unwrap_or_default()
    }

    fn body(&self) -> &[u8] {
        self.signed.get(self.signed.len() - self.body_bytes..).unwrap_or_default()
    }

    /// Checks the signature.
    ///
    /// # Errors
    /// Another key signed it, or it was changed.
    pub fn verify(&self, key: &VerifyingKey) -> Result<(), EntryError> {
        if self.key_id != key_id(key) {
            return Err(EntryError::Key);
        }
        key.verify_strict(&self.signed, &self.signature).map_err(|_| EntryError::Signature)
    }

    /// What was signed (the Sig_structure of RFC 9052 s. 4.4), for batch verification.
    #[must_use]
    pub fn signed_bytes(&self) -> &[u8] {
        &self.signed
    }

    /// The signature.
    #[must_use]
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Opens the seal.
    ///
    /// # Errors
    /// The key is another than the one committed to, the seal does not open, or the body is not an event.
    pub fn open(&self, key: &EventKey) -> Result<EventBody, EntryError> {
        if self.header.handle == Handle::NOBODY {
            return Err(EntryError::Payload("not sealed"));
        }
        if self.header.key_commitment != Some(key.commitment()) {
            return Err(EntryError::Commitment);
        }
        let associated = self.payload().get(..self.associated_bytes).unwrap_or_default();
        let message = Payload { msg: self.body(), aad: associated };
        let clear = key.cipher().decrypt(&Nonce::default(), message).map_err(|_| EntryError::Seal)?;
        let clear = Zeroizing::new(clear);
        EventBody::decode(clear.as_slice()).map_err(|_| EntryError::Body)
    }

    /// The body of an event about nobody; none where it is sealed.
    ///
    /// # Errors
    /// The body is not an event.
    pub fn plain_body(&self) -> Result<Option<EventBody>, EntryError> {
        if self.header.handle != Handle::NOBODY {
            return Ok(None);
        }
        EventBody::decode(self.body()).map(Some).map_err(|_| EntryError::Body)
    }
}

/// The clear part alone: the cheap way, for indexing. Checks the payload's form, neither header nor signature.
///
/// # Errors
/// The bytes are not an entry, or its payload is malformed.
pub fn parse_header(bytes: &[u8]) -> Result<Header, EntryError> {
    let (_, payload) = cose::key_id_and_payload(bytes).ok_or(EntryError::Cose)?;
    parse_payload(payload).map(|payload| payload.header)
}

/// Which key signed an entry, by its protected header: the cheap way. Nothing else is checked.
#[must_use]
pub fn parse_key_id(bytes: &[u8]) -> Option<[u8; 8]> {
    cose::key_id_and_payload(bytes).map(|(key_id, _)| key_id)
}

/// A payload that is exactly what this format writes.
struct Parsed<'a> {
    header: Header,
    /// Length of everything before the body's field.
    associated_bytes: usize,
    body: &'a [u8],
}

/// The fields of a payload as they are encoded; of a field that comes twice, the last.
#[derive(Default)]
struct Fields<'a> {
    /// By field number, those that are bytes.
    bytes: [&'a [u8]; 10],
    version: u64,
    sealed_at_ms: u64,
}

impl<'a> Fields<'a> {
    fn read(payload: &'a [u8]) -> Option<Self> {
        let mut fields = Self::default();
        let mut rest = payload;
        while !rest.is_empty() {
            let (number, wire) = decode_key(&mut rest).ok()?;
            match (number, wire) {
                (3, WireType::Varint) => fields.version = decode_varint(&mut rest).ok()?,
                (5, WireType::Varint) => fields.sealed_at_ms = decode_varint(&mut rest).ok()?,
                (1 | 2 | 4 | 6..=9, WireType::LengthDelimited) => {
                    let length = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
                    let (bytes, after) = rest.split_at_checked(length)?;
                    *fields.bytes.get_mut(usize::try_from(number).ok()?)? = bytes;
                    rest = after;
                }
                (1..=9, _) => return None,
                // What is unknown is passed over here, and then missed when the payload is made again.
                _ => skip_field(wire, number, &mut rest, DecodeContext::default()).ok()?,
            }
        }
        Some(fields)
    }
}

/// Decodes a payload that is exactly what this format writes.
fn parse_payload(payload: &[u8]) -> Result<Parsed<'_>, EntryError> {
    let fields = Fields::read(payload).ok_or(EntryError::Payload("not a sealed event"))?;
    let [_, event_id, handle, _, previous, _, idempotency, commitment, ciphertext, plain] = fields.bytes;
    let hash = |bytes: &[u8], what| match bytes.len() {
        0 => Ok(None),
        _ => <Hash>::try_from(bytes).map(Some).map_err(|_| EntryError::Payload(what)),
    };
    let id = |bytes: &[u8], what| <[u8; 16]>::try_from(bytes).map_err(|_| EntryError::Payload(what));
    let header = Header {
        event_id: id(event_id, "event id")?,
        handle: Handle(id(handle, "subject handle")?),
        version: fields.version,
        previous: hash(previous, "previous leaf hash")?,
        sealed_at_ms: fields.sealed_at_ms,
        idempotency: hash(idempotency, "idempotency hash")?,
        key_commitment: hash(commitment, "key commitment")?,
    };
    if header.previous.is_some() != (header.version > 0) {
        return Err(EntryError::Payload("previous leaf hash and version disagree"));
    }
    let sealed = header.handle != Handle::NOBODY;
    if sealed != header.key_commitment.is_some() || sealed == ciphertext.is_empty() {
        return Err(EntryError::Payload("sealed and plain are mixed"));
    }
    let (tag, body) = if sealed { (CIPHERTEXT_TAG, ciphertext) } else { (PLAIN_BODY_TAG, plain) };
    let mut clear = payload_without_body(&header, header.key_commitment);
    let associated_bytes = clear.len();
    clear.push(tag);
    prost::encoding::encode_varint(body.len() as u64, &mut clear);
    // Two encodings of one event would be two leaves: only the one that this format writes is taken.
    if payload.strip_prefix(clear.as_slice()) != Some(body) {
        return Err(EntryError::Payload("not in canonical form"));
    }
    Ok(Parsed { header, associated_bytes, body })
}
