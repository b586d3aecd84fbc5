//! The whole configuration: its sections, how it is read and checked, and the settings of each controller.

use super::client_limits::ClientLimits;
use super::controllers::{CONTROLLERS_MAX, ControllerConfig};
use super::error::{ConfigError, check};
use super::keys::{BoundsKeys, Pkcs11};
use super::limits::Limits;
use super::names::{NAME_ALLOWED, is_name};
use super::organization::Organization;
use super::recipients::{RecipientConfig, check_recipients};
use super::relevance::Relevance;
use super::report::{ProcessingConfig, ReportConfig};
use super::rights::{Inferences, Rights};
use super::telemetry::TelemetryConfig;
use super::timestamps::Timestamps;
use super::tls::Tls;
use super::tokens::{BuiltInTokens, Tokens};
use super::witnesses::Witnesses;
use serde::Deserialize;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The whole configuration. The file is TOML with these names.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The data folder.
    pub data: PathBuf,
    /// Name of the ledger: the first part of the log's origin. A domain that the operator controls.
    pub ledger: String,
    /// The organization that is responsible for the data: the second part of the log's origin, and the
    /// `controller` claim that credentials must carry. Lower-case letters, digits, `-`, `_`, `.`; at most 64
    /// bytes.
    pub controller: String,
    /// Where gRPC listens. An address that is not loopback requires `[tls]`.
    pub listen: SocketAddr,
    /// Where HTTP listens (public log, health, metrics). An address that is not loopback requires `[tls]`.
    pub http: SocketAddr,
    /// Certificates. Without this section, connections to the two addresses above are not encrypted, and both
    /// addresses must be loopback.
    pub tls: Option<Tls>,
    /// An external issuer of bearer tokens, beside or instead of the built-in one.
    pub tokens: Option<Tokens>,
    /// Bearer tokens of the built-in issuer.
    pub built_in_tokens: BuiltInTokens,
    /// The controller's identity, as packages and receipts show it.
    #[serde(alias = "organisation")]
    pub organization: Organization,
    /// The keys that bounds must be signed with.
    pub bounds: BoundsKeys,
    /// The PKCS#11 token that keeps the root key. Without this section a file in the data folder keeps it.
    pub pkcs11: Option<Pkcs11>,
    /// Limits inside the daemon.
    pub limits: Limits,
    /// Traces to a collector.
    pub telemetry: TelemetryConfig,
    /// Requests of data subjects.
    pub rights: Rights,
    /// Recipients with a key or a webhook.
    pub recipients: Vec<RecipientConfig>,
    /// When inferences expire.
    pub inferences: Inferences,
    /// Grants that have only what is relevant to a text.
    pub relevance: Relevance,
    /// Transparency reports.
    pub report: ReportConfig,
    /// The witnesses that cosign checkpoints.
    pub witnesses: Witnesses,
    /// The timestamp authority that signs timestamps of checkpoints.
    pub timestamps: Timestamps,
    /// What the controller declares for the record of processing activities (GDPR Art. 30(1)).
    pub processing: ProcessingConfig,
    /// Limits on what clients may use: connections, and calls of one credential.
    pub client_limits: ClientLimits,
    /// Whether the daemon's memory is locked, so that it is not swapped out. `try` (the default) locks it if
    /// RLIMIT_MEMLOCK is unlimited or CAP_IPC_LOCK is available, and otherwise logs a warning. With `always`,
    /// the daemon does not start if it can't lock its memory. `never` does not lock it.
    pub lock_memory: LockMemory,
    /// Further controllers on this daemon. The settings above are those of the first controller, whose data
    /// are in `data` itself.
    pub controllers: Vec<ControllerConfig>,
}

/// Whether memory is locked, so that it is not swapped out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LockMemory {
    /// Memory is locked if the system allows it.
    #[default]
    Try,
    /// Memory is locked, or else the daemon does not start.
    Always,
    /// Memory is not locked.
    Never,
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
            organization: Organization::default(),
            bounds: BoundsKeys::default(),
            pkcs11: None,
            limits: Limits::default(),
            telemetry: TelemetryConfig::default(),
            rights: Rights::default(),
            recipients: Vec::new(),
            inferences: Inferences::default(),
            relevance: Relevance::default(),
            report: ReportConfig::default(),
            witnesses: Witnesses::default(),
            timestamps: Timestamps::default(),
            processing: ProcessingConfig::default(),
            client_limits: ClientLimits::default(),
            lock_memory: LockMemory::default(),
            controllers: Vec::new(),
        }
    }
}

impl Config {
    /// Reads a TOML file.
    ///
    /// # Errors
    /// The file cannot be read, is malformed, or has unknown keys. [`Config::check`] checks the values.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.into(), source })?;
        toml::from_str(&text)
            .map_err(|source| ConfigError::Malformed { path: path.into(), source: Box::new(source) })
    }

    /// Checks every value.
    ///
    /// # Errors
    /// The first value that is not allowed.
    pub fn check(&self) -> Result<(), ConfigError> {
        let (authority, steward) = (self.bounds.authority()?, self.bounds.steward()?);
        let is_separate = authority.is_none() || authority != steward;
        check(is_separate, "bounds.steward_key", "another key than `bounds.authority_key`")?;
        check(is_name(&self.ledger), "ledger", NAME_ALLOWED)?;
        check(is_name(&self.controller), "controller", NAME_ALLOWED)?;
        let is_safe = |at: &SocketAddr| self.tls.is_some() || at.ip().is_loopback();
        let allowed = "a loopback address unless `[tls]` is set";
        check(is_safe(&self.listen), "listen", allowed)?;
        check(is_safe(&self.http), "http", allowed)?;
        self.tls.as_ref().map_or(Ok(()), Tls::check)?;
        self.built_in_tokens.check()?;
        self.tokens.as_ref().map_or(Ok(()), Tokens::check)?;
        self.telemetry.check()?;
        self.limits.check()?;
        self.rights.check()?;
        check_recipients(&self.recipients)?;
        self.inferences.check()?;
        self.relevance.check()?;
        self.report.check()?;
        self.witnesses.check()?;
        self.timestamps.check()?;
        self.client_limits.check()?;
        self.organization.check()?;
        self.check_controllers()
    }

    fn check_controllers(&self) -> Result<(), ConfigError> {
        let others = &self.controllers;
        check(others.len() < CONTROLLERS_MAX, "controllers", "at most 63 besides the first")?;
        let mut names = HashSet::from([self.controller.as_str()]);
        let mut tokens: HashSet<&str> = self.pkcs11.iter().map(|at| at.token.as_str()).collect();
        for other in others {
            // The name is also the name of a folder.
            let is_folder_name = is_name(&other.name) && !other.name.starts_with('.');
            let allowed = "1 to 64 of a-z, 0-9, `.`, `-`, `_`, not beginning with `.`";
            check(is_folder_name, "controllers.name", allowed)?;
            check(names.insert(&other.name), "controllers.name", "different for each controller")?;
            let has_token = other.pkcs11.is_some() || self.pkcs11.is_none();
            check(has_token, "controllers.pkcs11", "set, because the first controller's is set")?;
            if let Some(at) = &other.pkcs11 {
                let is_new = tokens.insert(&at.token);
                check(is_new, "controllers.pkcs11.token", "different for each controller")?;
            }
            self.for_other(other).check()?;
        }
        Ok(())
    }

    /// The settings of each controller, as if it had its own daemon. The first controller comes first.
    #[must_use]
    pub fn each(&self) -> Vec<Self> {
        let first = Self { controllers: Vec::new(), ..self.clone() };
        std::iter::once(first).chain(self.controllers.iter().map(|other| self.for_other(other))).collect()
    }

    /// The settings of the named controller; of the first if `controller` is `None`.
    ///
    /// # Errors
    /// No controller of this name is configured.
    pub fn of(&self, controller: Option<&str>) -> Result<Self, ConfigError> {
        let named = controller.unwrap_or(&self.controller);
        let unknown =
            || ConfigError::Invalid { key: "controller", allowed: "the name of a configured controller" };
        self.each().into_iter().find(|each| each.controller == named).ok_or_else(unknown)
    }

    fn for_other(&self, other: &ControllerConfig) -> Self {
        Self {
            data: self.data.join("controllers").join(&other.name),
            controller: other.name.clone(),
            organization: other.organization.clone(),
            bounds: other.bounds.clone(),
            tokens: other.tokens.clone().or_else(|| self.tokens.clone()),
            pkcs11: other.pkcs11.clone(),
            rights: other.rights.clone(),
            recipients: other.recipients.clone(),
            report: other.report.clone(),
            processing: other.processing.clone(),
            controllers: Vec::new(),
            ..self.clone()
        }
    }

    /// The log's origin, as in its checkpoints.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("{}/{}", self.ledger, self.controller)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn config(text: &str) -> Config {
        toml::from_str(text).unwrap()
    }

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
    fn a_public_address_is_refused_without_tls() {
        let config = Config { listen: SocketAddr::from(([0, 0, 0, 0], 7117)), ..Config::default() };
        assert!(matches!(config.check(), Err(ConfigError::Invalid { key: "listen", .. })));
        let tls = toml::from_str("certificate = 'c.pem'\nkey = 'k.pem'").unwrap();
        Config { tls: Some(tls), ..config }.check().unwrap();
    }

    #[test]
    fn each_controller_has_its_own_settings_and_shares_only_the_daemon() {
        let key = "a".repeat(64);
        let config = config(&format!(
            "ledger = 'l'\ncontroller = 'one'\n[organization]\nname = 'One'\n[bounds]\nauthority_key = '{key}'\n\
             [limits]\nconnections_max = 7\n[[controllers]]\nname = 'two'\n[controllers.organisation]\nname = 'Two'"
        ));
        config.check().unwrap();
        let [one, two] = config.each().try_into().unwrap();
        assert_eq!((one.origin().as_str(), two.origin().as_str()), ("l/one", "l/two"));
        assert_eq!((one.organization.name.as_str(), two.organization.name.as_str()), ("One", "Two"));
        assert_eq!(two.data, one.data.join("controllers/two"));
        assert_eq!((two.limits.connections_max, two.bounds.authority_key.as_str()), (7, ""));
        assert_eq!(config.of(None).unwrap().controller, "one");
        assert_eq!(config.of(Some("two")).unwrap().controller, "two");
        assert!(config.of(Some("three")).is_err());
    }

    #[test]
    fn controller_names_are_folder_names_and_differ() {
        for bad in ["dev", "", "..", ".hidden", "Two", "a/b", "a b"] {
            let config = config(&format!("[[controllers]]\nname = '{bad}'"));
            assert!(config.check().is_err(), "{bad}");
        }
        assert!(config("[[controllers]]\nname = 'a'\n[[controllers]]\nname = 'a'").check().is_err());
        assert!(toml::from_str::<Config>("[[controllers]]\nname = 'a'\ndata = '/tmp'").is_err());
    }

    #[test]
    fn beside_a_root_key_in_hardware_every_root_key_is_in_hardware() {
        let token = |name: &str| format!("module = 'm'\ntoken = '{name}'\npin_file = 'p'\n");
        let first = format!("[pkcs11]\n{}", token("one"));
        assert!(config(&format!("{first}[[controllers]]\nname = 'a'")).check().is_err());
        let with = |name: &str| {
            let other = format!("[[controllers]]\nname = 'a'\n[controllers.pkcs11]\n{}", token(name));
            config(&format!("{first}{other}")).check()
        };
        assert!(with("one").is_err());
        with("two").unwrap();
    }
}
