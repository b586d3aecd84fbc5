//! Settings: typed, documented on their fields, validated once at start. Unknown keys are refused.

mod controllers;
mod door;
mod telemetry;
mod witnesses;

pub use controllers::Another;
pub use door::{CallsConfig, DoorConfig};
pub use telemetry::TelemetryConfig;
pub use witnesses::{WitnessConfig, Witnesses};

use serde::Deserialize;
use std::collections::BTreeMap;
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

/// How requests of people are dealt with.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rights {
    /// Whose rules say by when a request is to be answered, where the request does not: `gdpr` (one month) or
    /// `california` (45 days).
    pub jurisdiction: RequestRules,
    /// A person's own erasure waits for a steward's decision. Off: it is carried out before the answer, unless a hold
    /// stands.
    pub steward_decides_erasures: bool,
    /// How often the ledger looks for what has come to its end, milliseconds. 10 to 3,600,000.
    pub expiry_interval_ms: u64,
}

/// When inferences end that do not say so themselves. The end stands in the event that recorded each; changing this
/// changes nothing that is recorded. Bounds can end them sooner: `context.age_days`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Inferences {
    /// Days after they were recorded. 1 to 3,650.
    pub lasts_days: u32,
    /// The same for a category and those below it; the nearest counts. 1 to 3,650.
    pub lasts_days_by_category: BTreeMap<String, u32>,
}

impl Default for Inferences {
    fn default() -> Self {
        Self { lasts_days: 365, lasts_days_by_category: BTreeMap::new() }
    }
}

/// Rules for answering requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RequestRules {
    /// GDPR Art. 12(3).
    Gdpr,
    /// Cal. Civ. Code s. 1798.130(a)(2)(A).
    California,
}

impl Default for Rights {
    fn default() -> Self {
        Self { jurisdiction: RequestRules::Gdpr, steward_decides_erasures: false, expiry_interval_ms: 1_000 }
    }
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

/// Who the controller is: what access packages and consent receipts say (GDPR Art. 13(1)(a), 15(1); ISO/IEC TS
/// 27560:2023 party fields). What is left empty is shown as not stated, never made up.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Organisation {
    /// Its legal name. Default: the `controller` id. At most 256 bytes, as each of these.
    pub name: String,
    /// Where its privacy team is reached: an e-mail address, a telephone number.
    pub contact: String,
    /// Its postal address.
    pub address: String,
    /// Its site: an `https:` or `http:` URL.
    pub url: String,
    /// Where people see, change and withdraw, and exercise their rights: a URL.
    pub rights_url: String,
    /// Whose law applies: `EU`, `EEA`, or a country of ISO 3166-1 alpha-2. Default `EU`.
    pub jurisdiction: String,
    /// Where the ledger's machines stand: as `jurisdiction`; at most 32.
    pub storage_locations: Vec<String>,
}

impl Default for Organisation {
    fn default() -> Self {
        Self {
            name: String::new(),
            contact: String::new(),
            address: String::new(),
            url: String::new(),
            rights_url: String::new(),
            jurisdiction: "EU".into(),
            storage_locations: Vec::new(),
        }
    }
}

impl Organisation {
    fn check(&self) -> Result<(), ConfigError> {
        let bound = |holds: bool, key, bound| {
            if holds { Ok(()) } else { Err(ConfigError::OutOfBounds { key, bound }) }
        };
        let is_text = |text: &str| text.len() <= 256 && !text.chars().any(char::is_control);
        let is_url = |text: &str| {
            let outside = |c: char| c.is_whitespace() || "<>\"{}|\\^`".contains(c);
            let known = ["https://", "http://"].iter().any(|scheme| text.starts_with(scheme));
            text.is_empty() || (is_text(text) && known && !text.contains(outside))
        };
        let is_place =
            |code: &String| matches!(code.len(), 2 | 3) && code.bytes().all(|byte| byte.is_ascii_uppercase());
        bound(is_text(&self.name), "organisation.name", "at most 256 bytes, no control characters")?;
        bound(is_text(&self.contact), "organisation.contact", "at most 256 bytes, no control characters")?;
        bound(is_text(&self.address), "organisation.address", "at most 256 bytes, no control characters")?;
        bound(is_url(&self.url), "organisation.url", "an http: or https: URL of at most 256 bytes")?;
        bound(
            is_url(&self.rights_url),
            "organisation.rights_url",
            "an http: or https: URL of at most 256 bytes",
        )?;
        let place = "`EU`, `EEA` or a two-letter country of ISO 3166-1";
        bound(is_place(&self.jurisdiction), "organisation.jurisdiction", place)?;
        let places = &self.storage_locations;
        bound(places.len() <= 32 && places.iter().all(is_place), "organisation.storage_locations", place)
    }
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

/// Bounds of queues, batches and caches.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Writes that may wait for the sequencer; beyond it callers get `RESOURCE_EXHAUSTED`. 1 to 1,000,000.
    pub queue_requests_max: usize,
    /// Events in one durable batch. 1 to 65,536.
    pub batch_events_max: usize,
    /// Folded profiles kept in memory. At least 1,024, so that requests under way are never crowded out.
    pub cached_subjects_max: usize,
    /// What these profiles may take of memory, bytes; beyond it the oldest are let go. At least 1 MiB.
    pub cached_subjects_bytes_max: usize,
    /// Cache of the index database, bytes.
    pub index_cache_bytes: u64,
    /// Largest gRPC message taken, bytes.
    pub message_bytes_max: usize,
    /// Connections at once, on each of the two addresses; further ones wait to be accepted. 1 to 1,000,000.
    pub connections_max: usize,
    /// A write whose event was sealed longer ago than this is refused, milliseconds.
    pub sealed_age_ms_max: u64,
    /// How far an event's clock may be ahead of the sequencer's, milliseconds.
    pub clock_skew_ms_max: u64,
}

/// Transparency reports: what they may say.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReportConfig {
    /// The smallest group that a report may be asked to show, people. 2 to 1,000,000.
    pub k_min: u32,
    /// What all reports with noise may spend on periods that overlap, epsilon of differential privacy. Above 0, at
    /// most 100.
    pub epsilon_max: f64,
    /// Refuse reports without noise.
    pub noise_required: bool,
    /// Also make reports without noise that could be subtracted from one another: over periods that have not ended, and
    /// over periods that overlap with that of an earlier one and are not the same.
    pub differences_allowed: bool,
    /// The limit that the controller declares for releases of one person's data a day: 1, 3, 7, 15, 31 or 63. The
    /// report then says how often it was passed.
    pub releases_a_day_declared: Option<u64>,
}

/// What a ledger can't know of the processing that it records (GDPR Art. 30(1)).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProcessingConfig {
    /// (a) Name of the controller.
    pub controller: String,
    /// (a) How it is reached.
    pub contact: String,
    /// (a) Its representative (Art. 27).
    pub representative: String,
    /// (a) Its data protection officer (Art. 37).
    pub data_protection_officer: String,
    /// (c) Categories of data subjects.
    pub data_subjects: Vec<String>,
    /// (d) Recipients: name and who that is.
    pub recipients: BTreeMap<String, String>,
    /// (e) Transfers to third countries with their safeguards, or that there are none.
    pub transfers: Vec<String>,
    /// (f) What, and how long it is kept.
    pub retention: BTreeMap<String, String>,
    /// (g) Security measures beside the ledger's own.
    pub security_measures: Vec<String>,
}

impl Default for ReportConfig {
    fn default() -> Self {
        Self {
            k_min: 5,
            epsilon_max: 4.0,
            noise_required: false,
            differences_allowed: false,
            releases_a_day_declared: None,
        }
    }
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

impl Default for Limits {
    fn default() -> Self {
        Self {
            queue_requests_max: 8_192,
            batch_events_max: 1_024,
            cached_subjects_max: 20_000,
            cached_subjects_bytes_max: 96 << 20,
            index_cache_bytes: 64 << 20,
            message_bytes_max: 4 << 20,
            connections_max: 4_096,
            sealed_age_ms_max: 60_000,
            clock_skew_ms_max: 5_000,
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
        let limits = &self.limits;
        self.bounds.authority()?;
        self.bounds.steward()?;
        bound(is_name(&self.ledger), "ledger", "1 to 64 of a-z, 0-9, `.`, `-`, `_`")?;
        bound(is_name(&self.controller), "controller", "1 to 64 of a-z, 0-9, `.`, `-`, `_`")?;
        let reachable = |at: &SocketAddr| self.tls.is_some() || at.ip().is_loopback();
        bound(reachable(&self.listen), "listen", "a loopback address where there is no `[tls]`")?;
        bound(reachable(&self.http), "http", "a loopback address where there is no `[tls]`")?;
        self.check_credentials()?;
        self.telemetry.check()?;
        bound((1..=1_000_000).contains(&limits.connections_max), "limits.connections_max", "1 to 1,000,000")?;
        bound(
            (1..=1_000_000).contains(&limits.queue_requests_max),
            "limits.queue_requests_max",
            "1 to 1,000,000",
        )?;
        bound((1..=65_536).contains(&limits.batch_events_max), "limits.batch_events_max", "1 to 65,536")?;
        bound(
            (10..=3_600_000).contains(&self.rights.expiry_interval_ms),
            "rights.expiry_interval_ms",
            "10 to 3,600,000",
        )?;
        let inferences = &self.inferences;
        let lasting = |days: &u32| (1..=3_650).contains(days);
        bound(lasting(&inferences.lasts_days), "inferences.lasts_days", "1 to 3,650")?;
        let by_category = inferences.lasts_days_by_category.values().all(lasting);
        bound(by_category, "inferences.lasts_days_by_category", "1 to 3,650 each")?;
        let report = &self.report;
        bound((2..=1_000_000).contains(&report.k_min), "report.k_min", "2 to 1,000,000")?;
        let is_budget = report.epsilon_max > 0.0 && report.epsilon_max <= 100.0;
        bound(is_budget, "report.epsilon_max", "above 0 and at most 100")?;
        let declared = report.releases_a_day_declared;
        let is_limit = declared.is_none_or(|limit| [1, 3, 7, 15, 31, 63].contains(&limit));
        bound(is_limit, "report.releases_a_day_declared", "1, 3, 7, 15, 31 or 63")?;
        bound(limits.cached_subjects_max >= 1_024, "limits.cached_subjects_max", "at least 1,024")?;
        let bytes = limits.cached_subjects_bytes_max;
        bound(bytes >= 1 << 20, "limits.cached_subjects_bytes_max", "at least 1 MiB")?;
        bound(
            (1 << 16..=64 << 20).contains(&limits.message_bytes_max),
            "limits.message_bytes_max",
            "64 KiB to 64 MiB",
        )?;
        self.witnesses.check()?;
        self.door.check()?;
        self.organisation.check()?;
        self.check_controllers()
    }

    fn check_credentials(&self) -> Result<(), ConfigError> {
        let bound = |holds: bool, key, bound| {
            if holds { Ok(()) } else { Err(ConfigError::OutOfBounds { key, bound }) }
        };
        let seconds = 1..=86_400;
        if let Some(tls) = &self.tls {
            bound(seconds.contains(&tls.reload_s), "tls.reload_s", "1 to 86,400")?;
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
    fn an_organisation_says_what_documents_can_hold() {
        let with = |text: &str| {
            let organisation = toml::from_str(text).unwrap();
            Config { organisation, ..Config::default() }.check()
        };
        with(
            "name = \"A\"\nurl = \"https://a.example\"\njurisdiction = \"DE\"\nstorage_locations = [\"EEA\"]",
        )
        .unwrap();
        for wrong in [
            "url = \"javascript:alert(1)\"",
            "rights_url = \"https://a.example/<b>\"",
            "jurisdiction = \"Germany\"",
            "storage_locations = [\"de\"]",
            "contact = \"a\\nb\"",
        ] {
            assert!(with(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_public_address_is_refused() {
        let config = Config { listen: SocketAddr::from(([0, 0, 0, 0], 7117)), ..Config::default() };
        assert!(matches!(config.check(), Err(ConfigError::OutOfBounds { key: "listen", .. })));
        let tls = toml::from_str("certificate = 'c.pem'\nkey = 'k.pem'").unwrap();
        Config { tls: Some(tls), ..config }.check().unwrap();
    }

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
}
