//! Settings for TLS: files with the daemon's certificate and key, the authorities of client certificates, and
//! revocation lists.

use super::error::{ConfigError, check};
use serde::Deserialize;
use std::path::PathBuf;

/// Paths of the certificate files, PEM.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The daemon's certificate, followed by its intermediates.
    pub certificate: PathBuf,
    /// Its private key, mode 0600.
    pub key: PathBuf,
    /// The authorities that sign client certificates. A client certificate with the URI name
    /// `spiffe://<ledger>/<controller>/<role>/<name>` is a credential.
    pub client_ca: Option<PathBuf>,
    /// Revocation lists of these authorities (RFC 5280), PEM or DER, at most 64 files. If any list is given,
    /// each authority in a client's chain needs one. While a list is past its next update, every client
    /// certificate is refused.
    #[serde(default)]
    pub client_crls: Vec<PathBuf>,
    /// How often the files are checked for changes, seconds. 1 to 86,400; 30 by default.
    #[serde(default = "reload_s")]
    pub reload_s: u64,
}

fn reload_s() -> u64 {
    30
}

impl Tls {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        check((1..=86_400).contains(&self.reload_s), "tls.reload_s", "1 to 86,400")?;
        check(self.client_crls.len() <= 64, "tls.client_crls", "at most 64 files")?;
        let has_authority = self.client_ca.is_some() || self.client_crls.is_empty();
        check(has_authority, "tls.client_crls", "empty unless `tls.client_ca` is set")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn revocation_lists_require_an_authority() {
        let with = |more: &str| {
            let text = format!("certificate = 'c'\nkey = 'k'\n{more}");
            toml::from_str::<Tls>(&text).unwrap().check()
        };
        with("client_ca = 'a'\nclient_crls = ['one.crl', 'two.pem']").unwrap();
        assert!(with("client_crls = ['one.crl']").is_err());
    }
}
