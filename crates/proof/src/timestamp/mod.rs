//! Timestamps of checkpoints by a timestamp authority (RFC 3161 and RFC 5816).
//!
//! A timestamp is a signed statement of a timestamp authority that it saw the SHA-256 of a checkpoint's text
//! at the stated time. So every entry of the checkpoint's tree existed by then, even if the log's operator
//! and its witnesses work together.

mod messages;
#[cfg(test)]
mod tests;
mod token;
mod trust;

pub use token::{TOKEN_BYTES_MAX, Token, request, token_of_response};
pub use trust::{Authorities, Timestamped};

/// Why a timestamp is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimestampError {
    /// It is larger than [`TOKEN_BYTES_MAX`].
    #[error("larger than 65,536 bytes")]
    TooLarge,
    /// It is not a timestamp in DER.
    #[error("not a timestamp: {0}")]
    Form(&'static str),
    /// The authority refused the request.
    #[error("the authority refused the request with status {0}")]
    Refused(u8),
    /// It is for something else.
    #[error("it is not for this checkpoint")]
    OtherDigest,
    /// The answer is for another request.
    #[error("it has another nonce than the request")]
    OtherNonce,
    /// The signature, or a digest that it covers, is invalid.
    #[error("its signature does not verify: {0}")]
    Signature(&'static str),
    /// The signing certificate is not one of the trusted ones and does not follow from them.
    #[error("none of the given certificates vouches for the authority: {0}")]
    Untrusted(String),
    /// The file of trusted certificates is invalid.
    #[error("not a file of certificates (PEM): {0}")]
    Certificates(String),
}
