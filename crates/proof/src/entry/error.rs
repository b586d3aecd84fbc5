//! Why bytes are not an entry, or not the expected entry.

/// Why an entry is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The bytes are not a tagged COSE_Sign1.
    #[error("not a tagged COSE_Sign1 message")]
    Cose,
    /// A header parameter is missing, of the wrong type, or not allowed.
    #[error("invalid protected header: {0}")]
    Header(&'static str),
    /// The payload is not a `SealedEvent` in the only encoding that this format allows.
    #[error("invalid payload: {0}")]
    Payload(&'static str),
    /// The signature is by another key, or the signed bytes changed.
    #[error("the signature does not verify")]
    Signature,
    /// The key id names another key.
    #[error("signed by another key")]
    Key,
    /// The event key does not match the commitment in the header.
    #[error("the event key does not match the key commitment")]
    Commitment,
    /// The ciphertext fails authentication.
    #[error("the ciphertext does not decrypt")]
    Seal,
    /// The decrypted or unsealed bytes are not an `EventBody`.
    #[error("the body is not an `EventBody`")]
    Body,
}
