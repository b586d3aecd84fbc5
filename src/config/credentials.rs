//! Certificates, and issuers of tokens.

use super::{Config, ConfigError};
use serde::Deserialize;
use std::path::PathBuf;

/// Where certificates lie, PEM.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The daemon's certificate, then those above it.
    pub certificate: PathBuf,
    /// Its private key, mode 0600.
    pub key: PathBuf,
    /// Who signs clients' certificates, whose URI name `spiffe://<ledger>/<controller>/<role>/<name>` is a credential.
    pub client_ca: Option<PathBuf>,
    /// Which of those are taken back: certificate revocation lists (RFC 5280), PEM or DER, at most 64 files. Where there are
    /// any, each authority of a client's chain needs one, and one that is past its next update lets nobody in.
    #[serde(default)]
    pub client_crls: Vec<PathBuf>,
    /// How often the files are looked at, seconds. 1 to 86,400; 30 by default.
    #[serde(default = "reload_s")]
    pub reload_s: u64,
}

fn reload_s() -> u64 {
    30
}

/// An issuer of bearer tokens: JWT signed with EdDSA, ES256 or RS256, with the claims `controller`, `role` and `sub`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tokens {
    /// The `iss` that tokens must have.
    pub issuer: String,
    /// An `aud` that tokens must have.
    pub audience: String,
    /// Its keys (JWKS), in a file; or
    pub jwks_file: Option<PathBuf>,
    /// its keys at a URL: `https://`, or `http://` on this machine.
    pub jwks_url: Option<String>,
    /// Whom to trust at the URL (PEM) instead of whom the system trusts.
    pub jwks_ca: Option<PathBuf>,
    /// How often keys are looked at again, seconds. 1 to 86,400; 60 by default. A key that its issuer takes back is
    /// trusted for so long at most, unless the issuer can't be reached.
    #[serde(default = "refresh_s")]
    pub refresh_s: u64,
    /// Whether tokens of the built-in issuer are still taken.
    #[serde(default)]
    pub built_in: bool,
}

fn refresh_s() -> u64 {
    60
}

impl Config {
    pub(super) fn check_credentials(&self) -> Result<(), ConfigError> {
        let bound = |holds: bool, key, bound| {
            if holds { Ok(()) } else { Err(ConfigError::OutOfBounds { key, bound }) }
        };
        let seconds = 1..=86_400;
        if let Some(tls) = &self.tls {
            bound(seconds.contains(&tls.reload_s), "tls.reload_s", "1 to 86,400")?;
            bound(tls.client_crls.len() <= 64, "tls.client_crls", "at most 64 files")?;
            let judged = tls.client_ca.is_some() || tls.client_crls.is_empty();
            bound(judged, "tls.client_crls", "given with `client_ca` only")?;
        }
        let Some(tokens) = &self.tokens else { return Ok(()) };
        bound(seconds.contains(&tokens.refresh_s), "tokens.refresh_s", "1 to 86,400")?;
        bound(!tokens.issuer.is_empty(), "tokens.issuer", "what tokens have as `iss`")?;
        bound(!tokens.audience.is_empty(), "tokens.audience", "what tokens have as `aud`")?;
        let one = tokens.jwks_file.is_some() != tokens.jwks_url.is_some();
        bound(one, "tokens", "given either `jwks_file` or `jwks_url`")?;
        let is_url = |url: &String| url.starts_with("https://") || url.starts_with("http://");
        bound(tokens.jwks_url.as_ref().is_none_or(is_url), "tokens.jwks_url", "an https:// address")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn keys_come_from_one_place() {
        let with = |more: &str| {
            let text = format!("[tokens]\nissuer = 'i'\naudience = 'a'\n{more}");
            toml::from_str::<Config>(&text).unwrap().check()
        };
        with("jwks_file = 'keys.json'").unwrap();
        with("jwks_url = 'https://id.example/keys'").unwrap();
        for bad in [
            "",
            "jwks_file = 'a'\njwks_url = 'https://b'",
            "jwks_url = 'ftp://b'",
            "jwks_file = 'a'\nrefresh_s = 0",
        ] {
            assert!(with(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn lists_of_what_is_taken_back_go_with_an_authority() {
        let with = |more: &str| {
            let text = format!("[tls]\ncertificate = 'c'\nkey = 'k'\n{more}");
            toml::from_str::<Config>(&text).unwrap().check()
        };
        with("client_ca = 'a'\nclient_crls = ['one.crl', 'two.pem']").unwrap();
        assert!(with("client_crls = ['one.crl']").is_err());
    }
}
