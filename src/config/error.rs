//! Why a configuration is refused: which key is wrong, and what is allowed.

use std::path::PathBuf;

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file `{path}`: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The file is not TOML, or has an unknown key or a value of the wrong type.
    #[error("the configuration file `{path}` is not valid: {source}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line, column and what was expected.
        source: Box<toml::de::Error>,
    },
    /// A value is not allowed.
    #[error("`{key}` is not valid: it must be {allowed}")]
    Invalid {
        /// The key.
        key: &'static str,
        /// The values that are allowed.
        allowed: &'static str,
    },
}

/// Refuses the value of `key` if `is_valid` is false.
///
/// # Errors
/// [`ConfigError::Invalid`], with the values that are allowed.
pub(super) fn check(is_valid: bool, key: &'static str, allowed: &'static str) -> Result<(), ConfigError> {
    if is_valid { Ok(()) } else { Err(ConfigError::Invalid { key, allowed }) }
}
