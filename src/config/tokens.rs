//! Settings for the issuers of bearer tokens, external and built-in.

use super::addresses::{SAFE_URL_ALLOWED, is_safe_url};
use super::error::{ConfigError, check};
use serde::Deserialize;
use std::path::PathBuf;

/// An external issuer of bearer tokens: JWT signed with EdDSA, ES256 or RS256, with the claims `controller`,
/// `role` and `sub`. Its keys (JWKS) come either from `jwks_file` or from `jwks_url`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tokens {
    /// The `iss` that tokens must have.
    pub issuer: String,
    /// An `aud` that tokens must have.
    pub audience: String,
    /// File with the issuer's keys (JWKS).
    pub jwks_file: Option<PathBuf>,
    /// URL of the issuer's keys (JWKS): `https://`, or `http://` on this machine.
    pub jwks_url: Option<String>,
    /// PEM file with the certificate authorities to check the URL's certificate against. Without this file,
    /// the system's authorities are used.
    pub jwks_ca: Option<PathBuf>,
    /// How often the keys are fetched again, seconds. 1 to 86,400; 60 by default. A key that its issuer
    /// withdraws is trusted for at most this long, unless the issuer cannot be reached.
    #[serde(default = "refresh_s")]
    pub refresh_s: u64,
    /// How long after a fetch its keys are trusted if every later fetch fails, seconds. After this time,
    /// tokens of this issuer are refused. A restart of the daemon does not extend the time. From `refresh_s`
    /// to 2,592,000; 86,400 by default.
    #[serde(default = "stale_s_max")]
    pub stale_s_max: u64,
    /// Whether tokens of the built-in issuer are still accepted.
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

impl Tokens {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        check((1..=86_400).contains(&self.refresh_s), "tokens.refresh_s", "1 to 86,400")?;
        let stale = self.refresh_s..=STALE_S_MAX;
        let allowed = "`tokens.refresh_s` to 2,592,000 (30 days)";
        check(stale.contains(&self.stale_s_max), "tokens.stale_s_max", allowed)?;
        check(!self.issuer.is_empty(), "tokens.issuer", "the `iss` of its tokens")?;
        check(!self.audience.is_empty(), "tokens.audience", "an `aud` of its tokens")?;
        let has_one_source = self.jwks_file.is_some() != self.jwks_url.is_some();
        check(has_one_source, "tokens", "given either `jwks_file` or `jwks_url`, not both")?;
        let is_safe = self.jwks_url.as_ref().is_none_or(|url| is_safe_url(url));
        check(is_safe, "tokens.jwks_url", SAFE_URL_ALLOWED)
    }
}

/// Bearer tokens of the built-in issuer, for every controller.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BuiltInTokens {
    /// Longest lifetime of a token, days; longer ones are neither issued nor accepted. 1 to 36,500; 90 by
    /// default.
    pub days_max: u32,
}

impl Default for BuiltInTokens {
    fn default() -> Self {
        Self { days_max: 90 }
    }
}

impl BuiltInTokens {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        check((1..=36_500).contains(&self.days_max), "built_in_tokens.days_max", "1 to 36,500")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn keys_come_from_one_source() {
        let with = |more: &str| {
            let text = format!("issuer = 'i'\naudience = 'a'\n{more}");
            toml::from_str::<Tokens>(&text).unwrap().check()
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
}
