//! Why a credential is refused.

use crate::domain::names::NameProblem;
use std::time::Duration;

/// Why a call has no caller. The error contains no part of the token.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// No `authorization: Bearer` header.
    #[error("no credential; send `authorization: Bearer TOKEN`")]
    Missing,
    /// The credential is malformed, expired, or not from a trusted issuer.
    #[error("the credential is not valid: {0}")]
    Invalid(&'static str),
    /// The name in the credential has a character that a name must not have.
    #[error("the credential is not valid: its name {0}; issue another one")]
    Name(NameProblem),
    /// The token was not checked, because too many invalid ones came from the same address. The value is the
    /// time to wait.
    #[error("too many invalid credentials came from this address; try again later")]
    TooMany(Duration),
    /// The credential was valid before, but no longer is.
    #[error("the credential is no longer valid: {0}")]
    Lapsed(&'static str),
    /// The machine's clock is in doubt, and by the ledger's time the credential has expired.
    #[error(
        "the machine's clock is in doubt and the credential may have expired; it can only record refusals now"
    )]
    InDoubt,
    /// The credential is valid, but for a controller that this daemon does not serve. The API reports this as
    /// permission denied.
    #[error("the credential is for another controller")]
    Elsewhere,
    /// The issuer's key file cannot be used.
    #[error("issuer key `{path}`: {source}")]
    KeyFile {
        /// The file.
        path: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// The issuer's keys cannot be used.
    #[error("the JWKS {0}")]
    Keys(&'static str),
    /// A token cannot be issued.
    #[error("cannot issue a token: {0}")]
    Mint(&'static str),
}
