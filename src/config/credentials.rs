//! Certificates, and issuers of tokens.

use super::{Config, ConfigError, is_safe_url};
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
    /// How long the last keys are trusted while no newer ones can be had, seconds since they were fetched, restarts of the
    /// daemon included; then nobody with a token of this issuer is let in. `refresh_s` to 2,592,000; 86,400 by default.
    #[serde(default = "stale_s_max")]
    pub stale_s_max: u64,
    /// Whether tokens of the built-in issuer are still taken.
    #[serde(default)]
    pub built_in: bool,
}

fn refresh_s() -> u64 {
    60
}

fn stale_s_max() -> u64 {
    86_400
}

/// Longest time that keys may be trusted without being fetched again, seconds: 30 days.
const STALE_S_MAX: u64 = 2_592_000;

/// Bearer tokens of the built-in issuer, of each controller.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BuiltInTokens {
    /// How long a token may live, days: longer ones are neither made nor taken. 1 to 36,500; 90 by default.
    pub days_max: u32,
}

impl Default for BuiltInTokens {
    fn default() -> Self {
        Self { days_max: 90 }
    }
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
        let days = self.built_in_tokens.days_max;
        bound((1..=36_500).contains(&days), "built_in_tokens.days_max", "1 to 36,500")?;
        let Some(tokens) = &self.tokens else { return Ok(()) };
        bound(seconds.contains(&tokens.refresh_s), "tokens.refresh_s", "1 to 86,400")?;
        let stale = tokens.refresh_s..=STALE_S_MAX;
        let bound_of_stale = "`tokens.refresh_s` to 2,592,000 (30 days)";
        bound(stale.contains(&tokens.stale_s_max), "tokens.stale_s_max", bound_of_stale)?;
        bound(!tokens.issuer.is_empty(), "tokens.issuer", "what tokens have as `iss`")?;
        bound(!tokens.audience.is_empty(), "tokens.audience", "what tokens have as `aud`")?;
        let one = tokens.jwks_file.is_some() != tokens.jwks_url.is_some();
        bound(one, "tokens", "given either `jwks_file` or `jwks_url`")?;
        let url = tokens.jwks_url.as_ref();
        let bound_of_url = "an https:// address, or http:// on this machine, without a user name or password";
        bound(url.is_none_or(|url| is_safe_url(url)), "tokens.jwks_url", bound_of_url)
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
            "jwks_file = 'a'\nstale_s_max = 59",
            "jwks_file = 'a'\nstale_s_max = 2_592_001",
            "jwks_url = 'http://id.example/keys'",
            "jwks_url = 'https://user:password@id.example/keys'",
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
