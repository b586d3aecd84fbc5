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
    /// The body is not in the only encoding that this format allows.
    #[error("the body is not in canonical form: {0}")]
    BodyForm(&'static str),
    /// The body has a field that this version does not know.
    #[error("the body has the unknown field {0}")]
    UnknownField(u32),
    /// The entry has a newer form than this version knows.
    #[error("the entry has schema version {0}, and this version knows versions up to 2")]
    TooNew(u64),
    /// An enum field of the body has a value that this version does not know.
    #[error("the body has an unknown value in the field {0}")]
    UnknownValue(u32),
}

impl EntryError {
    /// Whether the body may be that of a newer version: apart from fields and values that this version does
    /// not know, it is in canonical form.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::UnknownField(_) | Self::UnknownValue(_) | Self::TooNew(_))
    }
}
