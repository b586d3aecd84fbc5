//! One entry: a COSE_Sign1 (RFC 9052 s. 4.2) around a `SealedEvent`, stored and hashed verbatim.

use crate::event::{EventBody, SealedEvent};
use crate::merkle::Hash;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use coset::iana::{Algorithm, EnumI64, HeaderParameter};
use coset::{
    AsCborValue, CoseSign1, HeaderBuilder, Label, RegisteredLabelWithPrivate, TaggedCborSerializable,
};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use hkdf::Hkdf;
use prost::Message;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Content type of the payload, in the protected header.
pub const CONTENT_TYPE: &str = "application/vnd.sayso.sealed-event";
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
    SealedEvent {
        event_id: header.event_id.to_vec(),
        subject_handle: header.handle.0.to_vec(),
        subject_version: header.version,
        previous_leaf_hash: header.previous.map(Vec::from).unwrap_or_default(),
        sealed_at_ms: header.sealed_at_ms,
        idempotency_hash: header.idempotency.map(Vec::from).unwrap_or_default(),
        key_commitment: commitment.map(Vec::from).unwrap_or_default(),
        ciphertext: Vec::new(),
        plain_body: Vec::new(),
    }
    .encode_to_vec()
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
pub fn sign(payload: Vec<u8>, origin: &str, key: &SigningKey) -> Result<Vec<u8>, EntryError> {
    let sealed_at_ms = parse_payload(&payload)?.0.sealed_at_ms;
    let mut cose = envelope(payload, origin, sealed_at_ms, &key_id(&key.verifying_key()))?;
    cose.signature = key.sign(&cose.tbs_data(&[])).to_bytes().to_vec();
    cose.to_tagged_vec().map_err(|_| EntryError::Cose)
}

/// The one way this format writes a COSE_Sign1, its signature still empty.
fn envelope(
    payload: Vec<u8>,
    origin: &str,
    sealed_at_ms: u64,
    key_id: &[u8; 8],
) -> Result<CoseSign1, EntryError> {
    let issued_at = i64::try_from(sealed_at_ms / 1000).map_err(|_| EntryError::Header("iat"))?;
    let claims = coset::cwt::ClaimsSetBuilder::new()
        .issuer(origin.to_owned())
        .issued_at(coset::cwt::Timestamp::WholeSeconds(issued_at))
        .build();
    let protected = HeaderBuilder::new()
        .algorithm(Algorithm::EdDSA)
        .key_id(key_id.to_vec())
        .content_type(CONTENT_TYPE.to_owned())
        .value(HeaderParameter::CwtClaims.to_i64(), claims.to_cbor_value().map_err(|_| EntryError::Cose)?)
        .build();
    Ok(coset::CoseSign1Builder::new().protected(protected).payload(payload).build())
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
    payload: Vec<u8>,
    /// Where the body field starts in the payload: the associated data ends there.
    associated_end: usize,
    body: BodyBytes,
    signed: Vec<u8>,
    signature: Signature,
}

#[derive(Clone, Debug)]
enum BodyBytes {
    Sealed(Vec<u8>),
    Plain(Vec<u8>),
}

impl Entry {
    /// Parses an entry strictly: tagged, nothing after it, nothing unknown in it.
    ///
    /// # Errors
    /// The first thing that is wrong with its form.
    pub fn parse(bytes: &[u8]) -> Result<Self, EntryError> {
        let cose = CoseSign1::from_tagged_slice(bytes).map_err(|_| EntryError::Cose)?;
        if !cose.unprotected.is_empty() {
            return Err(EntryError::Header("unprotected parameters"));
        }
        let signature = Signature::from_slice(&cose.signature).map_err(|_| EntryError::Signature)?;
        let signed = cose.tbs_data(&[]);
        let (key_id, origin, issued_at) = protected(&cose.protected.header)?;
        let payload = cose.payload.ok_or(EntryError::Payload("detached"))?;
        let (header, body, associated_end) = parse_payload(&payload)?;
        if u64::try_from(issued_at) != Ok(header.sealed_at_ms / 1000) {
            return Err(EntryError::Header("iat is not the time of sealing"));
        }
        // CBOR can say one thing in many ways, and not all of them are signed: only this format's own is taken.
        let mut again = envelope(payload.clone(), &origin, header.sealed_at_ms, &key_id)?;
        again.signature = cose.signature;
        if again.to_tagged_vec().map_err(|_| EntryError::Cose)? != bytes {
            return Err(EntryError::Header("not in canonical form"));
        }
        Ok(Self { header, key_id, origin, payload, associated_end, body, signed, signature })
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
        let BodyBytes::Sealed(ciphertext) = &self.body else {
            return Err(EntryError::Payload("not sealed"));
        };
        if self.header.key_commitment != Some(key.commitment()) {
            return Err(EntryError::Commitment);
        }
        let associated = self.payload.split_at(self.associated_end).0;
        let message = Payload { msg: ciphertext, aad: associated };
        let clear = key.cipher().decrypt(&Nonce::default(), message).map_err(|_| EntryError::Seal)?;
        let clear = Zeroizing::new(clear);
        EventBody::decode(clear.as_slice()).map_err(|_| EntryError::Body)
    }

    /// The body of an event about nobody; none where it is sealed.
    ///
    /// # Errors
    /// The body is not an event.
    pub fn plain_body(&self) -> Result<Option<EventBody>, EntryError> {
        match &self.body {
            BodyBytes::Plain(bytes) => {
                EventBody::decode(bytes.as_slice()).map(Some).map_err(|_| EntryError::Body)
            }
            BodyBytes::Sealed(_) => Ok(None),
        }
    }
}

/// Key id, issuer and time of the protected header, and nothing else in it.
fn protected(header: &coset::Header) -> Result<([u8; 8], String, i64), EntryError> {
    if header.alg != Some(RegisteredLabelWithPrivate::Assigned(Algorithm::EdDSA)) {
        return Err(EntryError::Header("alg"));
    }
    if header.content_type != Some(coset::ContentType::Text(CONTENT_TYPE.to_owned())) {
        return Err(EntryError::Header("content type"));
    }
    let key_id = header.key_id.as_slice().try_into().map_err(|_| EntryError::Header("kid"))?;
    let [(Label::Int(label), claims)] = header.rest.as_slice() else {
        return Err(EntryError::Header("unknown parameters"));
    };
    if *label != HeaderParameter::CwtClaims.to_i64() {
        return Err(EntryError::Header("unknown parameters"));
    }
    let claims = coset::cwt::ClaimsSet::from_cbor_value(claims.clone())
        .map_err(|_| EntryError::Header("CWT claims"))?;
    let origin = claims.issuer.ok_or(EntryError::Header("iss"))?;
    match claims.issued_at {
        Some(coset::cwt::Timestamp::WholeSeconds(seconds)) => Ok((key_id, origin, seconds)),
        _ => Err(EntryError::Header("iat")),
    }
}

/// The clear part alone: the cheap way, for indexing. Checks the payload's form, neither header nor signature.
///
/// # Errors
/// The bytes are not an entry, or its payload is malformed.
pub fn parse_header(bytes: &[u8]) -> Result<Header, EntryError> {
    let payload = cose_payload(bytes).ok_or(EntryError::Cose)?;
    parse_payload(payload).map(|(header, ..)| header)
}

/// Which key signed an entry, by its protected header: the cheap way. Nothing else is checked.
#[must_use]
pub fn parse_key_id(bytes: &[u8]) -> Option<[u8; 8]> {
    let (protected, _) = byte_string(bytes.strip_prefix(&[0xd2, 0x84])?)?;
    // A map of four: 1 (alg) is -8, then 3 (content type), then 4 (kid).
    let rest = protected.strip_prefix(&[0xa4, 0x01, 0x27, 0x03, 0x78])?;
    let (length, rest) = rest.split_first()?;
    let (_content_type, rest) = rest.split_at_checked(usize::from(*length))?;
    let rest = rest.strip_prefix(&[0x04, 0x48])?;
    rest.first_chunk().copied()
}

/// Payload of a tagged COSE_Sign1 without unprotected parameters.
fn cose_payload(bytes: &[u8]) -> Option<&[u8]> {
    let rest = bytes.strip_prefix(&[0xd2, 0x84])?;
    let (_protected, rest) = byte_string(rest)?;
    let rest = rest.strip_prefix(&[0xa0])?;
    byte_string(rest).map(|(payload, _signature)| payload)
}

/// A definite-length CBOR byte string (RFC 8949 s. 3.1) and what follows it.
fn byte_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (first, rest) = bytes.split_first()?;
    let (length, rest) = match first {
        0x40..=0x57 => (usize::from(first - 0x40), rest),
        0x58..=0x5b => {
            let (number, rest) = rest.split_at_checked(1 << (first - 0x58))?;
            let length = number.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
            (usize::try_from(length).ok()?, rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// Decodes a payload that is exactly what this format writes.
fn parse_payload(payload: &[u8]) -> Result<(Header, BodyBytes, usize), EntryError> {
    let event = SealedEvent::decode(payload).map_err(|_| EntryError::Payload("not a sealed event"))?;
    let hash = |bytes: &[u8], what| match bytes.len() {
        0 => Ok(None),
        _ => <Hash>::try_from(bytes).map(Some).map_err(|_| EntryError::Payload(what)),
    };
    let id = |bytes: &[u8], what| <[u8; 16]>::try_from(bytes).map_err(|_| EntryError::Payload(what));
    let header = Header {
        event_id: id(&event.event_id, "event id")?,
        handle: Handle(id(&event.subject_handle, "subject handle")?),
        version: event.subject_version,
        previous: hash(&event.previous_leaf_hash, "previous leaf hash")?,
        sealed_at_ms: event.sealed_at_ms,
        idempotency: hash(&event.idempotency_hash, "idempotency hash")?,
        key_commitment: hash(&event.key_commitment, "key commitment")?,
    };
    if header.previous.is_some() != (header.version > 0) {
        return Err(EntryError::Payload("previous leaf hash and version disagree"));
    }
    let sealed = header.handle != Handle::NOBODY;
    if sealed != header.key_commitment.is_some() || sealed == event.ciphertext.is_empty() {
        return Err(EntryError::Payload("sealed and plain are mixed"));
    }
    let clear = payload_without_body(&header, header.key_commitment);
    let mut whole = clear.clone();
    let body = if sealed {
        push_field(&mut whole, CIPHERTEXT_TAG, &event.ciphertext);
        BodyBytes::Sealed(event.ciphertext)
    } else {
        push_field(&mut whole, PLAIN_BODY_TAG, &event.plain_body);
        BodyBytes::Plain(event.plain_body)
    };
    // Two encodings of one event would be two leaves: only the one that this format writes is taken.
    if whole != payload {
        return Err(EntryError::Payload("not in canonical form"));
    }
    Ok((header, body, clear.len()))
}
