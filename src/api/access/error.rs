//! Why a credential is refused.

use std::time::Duration;

/// Why a call has no caller. Contains nothing of the token.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// No `authorization: Bearer` header.
    #[error("no credential; send `authorization: Bearer TOKEN`")]
    Missing,
    /// It is malformed, expired, or not from a trusted issuer.
    #[error("the credential is not valid: {0}")]
    Invalid(&'static str),
    /// It was not checked, because too many invalid ones came from the same address. Has the time to wait.
    #[error("too many invalid credentials came from this address; try again later")]
    TooMany(Duration),
    /// It was valid and is no longer.
    #[error("the credential is no longer valid: {0}")]
    Lapsed(&'static str),
    /// The machine's clock is in doubt, and by the ledger's time the credential has expired.
    #[error(
        "the machine's clock is in doubt and the credential may have expired; it can only record refusals now"
    )]
    InDoubt,
    /// Valid, but for a controller that this daemon does not serve; reported as permission denied.
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
