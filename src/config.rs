//! Settings: typed, documented on their fields, validated once at start. Unknown keys are refused.

mod addresses;
mod controllers;
mod credentials;
mod door;
mod limits;
mod organisation;
mod report;
mod rights;
mod telemetry;
mod witnesses;

pub use addresses::{has_userinfo, is_loopback, is_safe_url};
pub use controllers::Another;
pub use credentials::{BuiltInTokens, Tls, Tokens};
pub use door::{CallsConfig, DoorConfig};
pub use limits::Limits;
pub use organisation::Organisation;
pub use report::{ProcessingConfig, ReportConfig};
pub use rights::{Inferences, RequestRules, Rights};
pub use telemetry::TelemetryConfig;
pub use witnesses::{WitnessConfig, Witnesses};

use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Everything that can be set. The file is TOML with these names.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where everything is kept.
    pub data: PathBuf,
    /// Name of the ledger: the first part of the log's origin. A domain that the operator holds.
    pub ledger: String,
    /// The organisation answerable for the data: the second part of the log's origin, and the `controller` claim that
    /// credentials must carry. Lower-case letters, digits, `-`, `_`, `.`; at most 64 bytes.
    pub controller: String,
    /// Where gRPC listens. Beyond loopback only with `[tls]`.
    pub listen: SocketAddr,
    /// Where HTTP listens (public log, health, metrics). Beyond loopback only with `[tls]`.
    pub http: SocketAddr,
    /// Certificates; none: nothing is encrypted, and both addresses must be loopback.
    pub tls: Option<Tls>,
    /// An issuer of bearer tokens beside, or instead of, the built-in one.
    pub tokens: Option<Tokens>,
    /// Bearer tokens of the built-in issuer.
    pub built_in_tokens: BuiltInTokens,
    /// Who the controller is, as people are told.
    pub organisation: Organisation,
    /// Whose bounds are taken.
    pub bounds: TierKeyNames,
    /// The PKCS#11 token that keeps the root key; without this section a file in the data folder does.
    pub pkcs11: Option<Pkcs11>,
    /// Limits.
    pub limits: Limits,
    /// Traces to a collector.
    pub telemetry: TelemetryConfig,
    /// Requests of people.
    pub rights: Rights,
    /// When inferences end.
    pub inferences: Inferences,
    /// Transparency reports.
    pub report: ReportConfig,
    /// Who cosigns checkpoints.
    pub witnesses: Witnesses,
    /// What the controller declares for the record of processing activities (GDPR Art. 30(1)).
    pub processing: ProcessingConfig,
    /// What the door bears.
    pub door: DoorConfig,
    /// Whether the daemon's memory is kept from being swapped out: `try` (the default) where RLIMIT_MEMLOCK is unlimited or
    /// CAP_IPC_LOCK is there, and say so where not; `always`, or not start; `never`.
    pub lock_memory: LockMemory,
    /// Further controllers on this daemon. What stands above them is of the first, whose data lie in `data` itself.
    pub controllers: Vec<Another>,
}

/// Whether memory is kept from being swapped out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LockMemory {
    /// Where it is allowed.
    #[default]
    Try,
    /// Or the daemon does not start.
    Always,
    /// No.
    Never,
}

/// A token that keeps the root key.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pkcs11 {
    /// The module: a shared library.
    pub module: PathBuf,
    /// Label of the token.
    pub token: String,
    /// File with the user's PIN, mode 0600; refused if wider.
    pub pin_file: PathBuf,
}

/// Keys that bounds must be signed with, so that nobody else can publish them, whatever credential they have. Without a
/// key a tier takes no bounds but those that a log begins with. `sayso bounds keygen` makes a key and prints this.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TierKeyNames {
    /// Of public bounds: the authority's Ed25519 public key, 64 hex digits.
    pub authority_key: String,
    /// Of provider bounds: the stewards' Ed25519 public key, 64 hex digits. Another one for each ledger.
    pub steward_key: String,
}

impl TierKeyNames {
    /// The authority's key, if one is set.
    ///
    /// # Errors
    /// It is not 64 hex digits.
    pub fn authority(&self) -> Result<Option<[u8; 32]>, ConfigError> {
        key(&self.authority_key, "bounds.authority_key")
    }

    /// The stewards' key, if one is set.
    ///
    /// # Errors
    /// It is not 64 hex digits.
    pub fn steward(&self) -> Result<Option<[u8; 32]>, ConfigError> {
        key(&self.steward_key, "bounds.steward_key")
    }
}

fn key(text: &str, name: &'static str) -> Result<Option<[u8; 32]>, ConfigError> {
    if text.is_empty() {
        return Ok(None);
    }
    let mut bytes = [0; 32];
    let read = hex::decode_to_slice(text, &mut bytes);
    let wrong = || ConfigError::OutOfBounds { key: name, bound: "64 hex digits: an Ed25519 public key" };
    read.map(|()| Some(bytes)).map_err(|_| wrong())
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: PathBuf::from("sayso-data"),
            ledger: "sayso.localhost".into(),
            controller: "dev".into(),
            listen: SocketAddr::from(([127, 0, 0, 1], 7117)),
            http: SocketAddr::from(([127, 0, 0, 1], 7118)),
            tls: None,
            tokens: None,
            built_in_tokens: BuiltInTokens::default(),
            organisation: Organisation::default(),
            bounds: TierKeyNames::default(),
            pkcs11: None,
            limits: Limits::default(),
            telemetry: TelemetryConfig::default(),
            rights: Rights::default(),
            inferences: Inferences::default(),
            report: ReportConfig::default(),
            witnesses: Witnesses::default(),
            processing: ProcessingConfig::default(),
            door: DoorConfig::default(),
            lock_memory: LockMemory::default(),
            controllers: Vec::new(),
        }
    }
}

/// Why settings were refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("can't read the configuration file `{path}`: {source}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The file is not what this version understands.
    #[error("the configuration file `{path}` is not valid: {source}")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Line, column and what was expected.
        source: Box<toml::de::Error>,
    },
    /// A value is out of its bounds.
    #[error("`{key}` must be {bound}")]
    OutOfBounds {
        /// Which key.
        key: &'static str,
        /// What is allowed.
        bound: &'static str,
    },
}

impl Config {
    /// Reads a TOML file.
    ///
    /// # Errors
    /// The file can't be read, is malformed, or has unknown keys. Values are checked by [`Config::check`].
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.into(), source })?;
        toml::from_str(&text)
            .map_err(|source| ConfigError::Malformed { path: path.into(), source: Box::new(source) })
    }

    /// Checks every bound.
    ///
    /// # Errors
    /// The first key that is out of bounds.
    pub fn check(&self) -> Result<(), ConfigError> {
        let bound = |holds: bool, key, bound| {
            if holds { Ok(()) } else { Err(ConfigError::OutOfBounds { key, bound }) }
        };
        self.bounds.authority()?;
        self.bounds.steward()?;
        bound(is_name(&self.ledger), "ledger", "1 to 64 of a-z, 0-9, `.`, `-`, `_`")?;
        bound(is_name(&self.controller), "controller", "1 to 64 of a-z, 0-9, `.`, `-`, `_`")?;
        let reachable = |at: &SocketAddr| self.tls.is_some() || at.ip().is_loopback();
        bound(reachable(&self.listen), "listen", "a loopback address where there is no `[tls]`")?;
        bound(reachable(&self.http), "http", "a loopback address where there is no `[tls]`")?;
        self.check_credentials()?;
        self.telemetry.check()?;
        self.limits.check()?;
        self.rights.check()?;
        self.inferences.check()?;
        self.report.check()?;
        self.witnesses.check()?;
        self.door.check()?;
        self.organisation.check()?;
        self.check_controllers()
    }

    /// The log's origin, as in its checkpoints.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("{}/{}", self.ledger, self.controller)
    }
}

fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-_".contains(c);
    (1..=64).contains(&name.len()) && name.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn defaults_are_valid() {
        Config::default().check().unwrap();
    }

    #[test]
    fn unknown_keys_are_refused() {
        assert!(toml::from_str::<Config>("lisen = 1").is_err());
        assert!(toml::from_str::<Config>("[limits]\nqueue = 3").is_err());
    }

    #[test]
    fn a_public_address_is_refused() {
        let config = Config { listen: SocketAddr::from(([0, 0, 0, 0], 7117)), ..Config::default() };
        assert!(matches!(config.check(), Err(ConfigError::OutOfBounds { key: "listen", .. })));
        let tls = toml::from_str("certificate = 'c.pem'\nkey = 'k.pem'").unwrap();
        Config { tls: Some(tls), ..config }.check().unwrap();
    }
}
