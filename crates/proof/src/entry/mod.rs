//! One log entry: a COSE_Sign1 (RFC 9052 s. 4.2) around a `SealedEvent`.
//!
//! Entries are stored and hashed verbatim. Parsing is strict: each entry has exactly one encoding.

mod body;
mod diagnose;
mod error;
mod event_key;
pub mod padding;
mod payload;

pub use body::decode as decode_body;
pub use error::EntryError;
pub use event_key::EventKey;
pub use payload::{EventId, Handle, Header, SchemaVersion};

use crate::cose::{self, Envelope};
use crate::event::EventBody;
use crate::merkle::Hash;
use crate::signer::LogSigner;
use aes_gcm::Nonce;
use aes_gcm::aead::{self, Aead};
use ed25519_dalek::{Signature, VerifyingKey};
use payload::Payload;
use prost::Message;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Seals an event's body and returns the payload of its entry. The associated data is everything before the
/// ciphertext field.
///
/// # Errors
/// The header is that of a system event.
pub fn seal(header: &Header, body: &EventBody, key: &EventKey) -> Result<Vec<u8>, EntryError> {
    if header.handle == Handle::SYSTEM {
        return Err(EntryError::Payload("system events are not sealed"));
    }
    let mut payload = payload::encode_header(header, Some(key.commitment()));
    let plaintext = match header.schema_version {
        SchemaVersion::One => Zeroizing::new(body.encode_to_vec()),
        SchemaVersion::Two => {
            // Allocated with its full length, so that it is not copied.
            let length = padding::padded_bytes(body.encoded_len());
            let mut plaintext = Zeroizing::new(Vec::with_capacity(length));
            body.encode(&mut *plaintext).map_err(|_| EntryError::Body)?;
            padding::pad(&mut plaintext);
            plaintext
        }
    };
    let message = aead::Payload { msg: &plaintext, aad: &payload };
    let ciphertext = key.cipher().encrypt(&Nonce::default(), message).map_err(|_| EntryError::Seal)?;
    payload::push_ciphertext(&mut payload, &ciphertext);
    Ok(payload)
}

/// Returns the payload of a system event, whose body is not sealed.
///
/// # Errors
/// The header is that of a data subject's event.
pub fn plain(header: &Header, body: &EventBody) -> Result<Vec<u8>, EntryError> {
    if header.handle != Handle::SYSTEM {
        return Err(EntryError::Payload("events of a data subject must be sealed"));
    }
    let mut payload = payload::encode_header(header, None);
    payload::push_plain_body(&mut payload, &body.encode_to_vec());
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

/// Signs a payload and returns the entry.
///
/// # Errors
/// The payload was not made by [`seal`] or [`plain`].
pub fn sign(payload: Vec<u8>, origin: &str, key: &impl LogSigner) -> Result<Vec<u8>, EntryError> {
    let issued_at = Payload::decode(&payload)?.header.sealed_at_ms / 1000;
    let key_id = key_id(&key.verifying_key());
    let mut envelope = Envelope { key_id, origin, issued_at, payload: &payload, signature: [0; 64] };
    envelope.signature = key.sign(&envelope.signed_bytes()).to_bytes();
    Ok(envelope.to_bytes())
}

/// A body with its one encoding.
pub(crate) struct Opened {
    pub body: EventBody,
    pub encoded: Zeroizing<Vec<u8>>,
}

impl Opened {
    fn new(encoded: Zeroizing<Vec<u8>>) -> Result<Self, EntryError> {
        Ok(Self { body: body::decode(&encoded)?, encoded })
    }
}

/// A parsed entry. Parsing checks the form only; [`Entry::verify`] checks the signature.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The unencrypted part of the event.
    pub header: Header,
    /// The id of the signing key.
    pub key_id: [u8; 8],
    /// The log it belongs to (CWT claim `iss`).
    pub origin: String,
    /// The signed bytes. They end with the payload, which ends with the body.
    signed: Vec<u8>,
    payload_bytes: usize,
    /// Length of the associated data: the payload before the body's field.
    associated_bytes: usize,
    body_bytes: usize,
    signature: Signature,
}

impl Entry {
    /// Parses an entry strictly: the entry must be tagged, have no unknown parts, and end where the bytes
    /// end.
    ///
    /// # Errors
    /// The first fault in its form.
    pub fn parse(bytes: &[u8]) -> Result<Self, EntryError> {
        let Some(envelope) = Envelope::parse(bytes) else { return Err(diagnose::diagnose(bytes)) };
        let payload = Payload::decode(envelope.payload)?;
        if envelope.issued_at != payload.header.sealed_at_ms / 1000 {
            return Err(EntryError::Header("`iat` does not match `sealed_at_ms`"));
        }
        Ok(Self {
            key_id: envelope.key_id,
            origin: envelope.origin.to_owned(),
            signed: envelope.signed_bytes(),
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
    /// Another key signed it, or the signed bytes changed.
    pub fn verify(&self, key: &VerifyingKey) -> Result<(), EntryError> {
        if self.key_id != key_id(key) {
            return Err(EntryError::Key);
        }
        key.verify_strict(&self.signed, &self.signature).map_err(|_| EntryError::Signature)
    }

    /// The signed bytes (the Sig_structure of RFC 9052 s. 4.4), for batch verification.
    #[must_use]
    pub fn signed_bytes(&self) -> &[u8] {
        &self.signed
    }

    /// The signature.
    #[must_use]
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Decrypts the body of a data subject's event.
    ///
    /// # Errors
    /// It is a system event, the key does not match the commitment, the ciphertext fails authentication, or
    /// the plaintext is not an `EventBody` in its one encoding.
    pub fn open(&self, key: &EventKey) -> Result<EventBody, EntryError> {
        self.open_encoded(key).map(|opened| opened.body)
    }

    /// Like [`Self::open`], and also returns the encoding.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub(crate) fn open_encoded(&self, key: &EventKey) -> Result<Opened, EntryError> {
        if self.header.handle == Handle::SYSTEM {
            return Err(EntryError::Payload("system events are not sealed"));
        }
        if self.header.key_commitment != Some(key.commitment()) {
            return Err(EntryError::Commitment);
        }
        let associated = self.payload().get(..self.associated_bytes).unwrap_or_default();
        let message = aead::Payload { msg: self.body(), aad: associated };
        let plaintext = key.cipher().decrypt(&Nonce::default(), message).map_err(|_| EntryError::Seal)?;
        let mut plaintext = Zeroizing::new(plaintext);
        if self.header.schema_version == SchemaVersion::Two {
            padding::unpad(&mut plaintext)?;
        }
        let opened = Opened::new(plaintext)?;
        match (opened.body.idempotency_hash.len(), self.header.idempotency) {
            (0, _) | (32, None) => Ok(opened),
            (32, Some(_)) => Err(EntryError::BodyForm("`idempotency_hash` is in the entry twice")),
            _ => Err(EntryError::BodyForm("`idempotency_hash` is not 32 bytes")),
        }
    }

    /// The body of a system event; none if the entry is sealed.
    ///
    /// # Errors
    /// The body is not an `EventBody` in its one encoding.
    pub fn plain_body(&self) -> Result<Option<EventBody>, EntryError> {
        if self.header.handle != Handle::SYSTEM {
            return Ok(None);
        }
        self.plain_encoded().map(|opened| opened.map(|opened| opened.body))
    }

    /// Like [`Self::plain_body`], and also returns the encoding.
    ///
    /// # Errors
    /// As for [`Self::plain_body`].
    pub(crate) fn plain_encoded(&self) -> Result<Option<Opened>, EntryError> {
        if self.header.handle != Handle::SYSTEM {
            return Ok(None);
        }
        let opened = Opened::new(Zeroizing::new(self.body().to_vec()))?;
        match opened.body.idempotency_hash.is_empty() {
            true => Ok(Some(opened)),
            false => Err(EntryError::BodyForm("`idempotency_hash` is for sealed bodies only")),
        }
    }

    /// The body of a system event without the fields that this version does not know; none if the entry is
    /// sealed or has no such body. It only serves to find out which rules the log follows.
    pub(crate) fn known_part_of_plain_body(&self) -> Option<EventBody> {
        if self.header.handle == Handle::SYSTEM { body::decode_known_part(self.body()) } else { None }
    }
}

/// Returns the header of an entry's payload, for indexing. This checks the form of the payload, but neither
/// the COSE header nor the signature.
///
/// # Errors
/// The bytes are not an entry, or its payload is malformed.
pub fn parse_header(bytes: &[u8]) -> Result<Header, EntryError> {
    let (_, payload) = cose::key_id_and_payload(bytes).ok_or(EntryError::Cose)?;
    Payload::decode(payload).map(|payload| payload.header)
}

/// Parses the signing key's id alone, from the protected header. It checks nothing else.
#[must_use]
pub fn parse_key_id(bytes: &[u8]) -> Option<[u8; 8]> {
    cose::key_id_and_payload(bytes).map(|(key_id, _)| key_id)
}
