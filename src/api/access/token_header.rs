//! Reads the header of a token, which names the signing key, before the signature is verified. Also says by
//! how much the clock of an issuer may be ahead of the daemon's.

use crate::api::access::error::CredentialError;
use jsonwebtoken::Header;

/// How far the clock of an issuer may be ahead, in seconds.
pub(crate) const LEEWAY_S: u64 = 60;

/// The header of a token of any issuer.
///
/// # Errors
/// It is malformed, or it requires extensions (`crit`, RFC 7515, 4.1.11), which are not supported.
pub(crate) fn header_of(token: &str) -> Result<Header, CredentialError> {
    let malformed = CredentialError::Invalid("malformed");
    let header = jsonwebtoken::decode_header(token).map_err(|_| malformed)?;
    if header.crit.is_some() {
        return Err(CredentialError::Invalid("its header has `crit`, and no extension is supported"));
    }
    Ok(header)
}
