//! The daemon put together: keys and stores from the data folder, the application over them, gRPC and HTTP in front.

use super::served::{self, Served};
use super::{bounds_of_door as bounds, renew, witnessing};
use crate::api::{self, Access, CredentialError, Credentials, Issuer, ServeError};
use crate::app::{
    App, Declared, OpenError, ReportSettings, Restored, RightsSettings, RoleTable, Settings, TierKeys,
};
use crate::bounds::BoundsError;
use crate::clock::{SharedClock, SystemClock};
use crate::config::{Config, ConfigError, RequestRules};
use crate::domain::attribute::InferenceTerms;
use crate::domain::request::Jurisdiction;
use crate::ledger::{Ledger, LedgerError, LedgerOptions, LogKeys};
use crate::package::Controller;
use crate::secret;
use crate::store::StoreError;
use crate::store::embedded::{EmbeddedKeys, EmbeddedLog, Options};
use crate::telemetry::metrics;
use crate::tls::{Certificates, Incoming, TlsError, TlsFiles};
use crate::vault::{FileCustody, RootCustody, TokenCustody, VaultError};
use crate::web;
use ed25519_dalek::SigningKey;
use std::io::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Why the daemon does not run.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Settings.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file or folder of the daemon's own.
    #[error("{0}: {1}")]
    File(PathBuf, Error),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log key.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The root key.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The credential issuer.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// Certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Keys of another issuer.
    #[error("tokens: {0}")]
    Keys(String),
    /// The role table.
    #[error(transparent)]
    Roles(#[from] BoundsError),
    /// Opening everything.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// One of several controllers.
    #[error("controller `{0}`: {1}")]
    Controller(String, Box<Self>),
    /// Nobody to serve.
    #[error("no controller is configured")]
    Nobody,
    /// An address is taken.
    #[error("can't listen on {0}: {1}")]
    Listen(SocketAddr, Error),
    /// gRPC.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// HTTP.
    #[error("http: {0}")]
    Http(Error),
}

/// A daemon that runs.
pub struct Daemon {
    /// Where gRPC listens.
    pub grpc: SocketAddr,
    /// Where HTTP listens.
    pub http: SocketAddr,
    /// Mints credentials of its first controller.
    pub issuer: Arc<Issuer>,
    /// What verifies the first controller's log.
    pub vkey: String,
    /// All controllers, the first one first.
    pub served: Vec<Served>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<Result<(), DaemonError>>>,
}

/// Where things lie in the data folder.
pub struct Layout(PathBuf);

impl Layout {
    /// Of a data folder.
    #[must_use]
    pub fn new(data: &Path) -> Self {
        Self(data.to_owned())
    }

    /// Keys of the daemon itself: log, root, issuer.
    #[must_use]
    pub fn secrets(&self) -> PathBuf {
        self.0.join("secrets")
    }

    /// What a restore leaves to be said in the log at the next start.
    fn restored(&self) -> PathBuf {
        self.0.join("restored.json")
    }

    /// Whether a restore is still to be said in the log.
    pub(super) fn is_being_restored(&self) -> bool {
        self.restored().exists()
    }

    fn read_restored(&self) -> Result<Option<Restored>, DaemonError> {
        let path = self.restored();
        match std::fs::read(&path) {
            Ok(text) => {
                serde_json::from_slice(&text).map(Some).map_err(|error| DaemonError::File(path, error.into()))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(DaemonError::File(path, error)),
        }
    }

    fn forget_restored(&self) -> Result<(), DaemonError> {
        match std::fs::remove_file(self.restored()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(DaemonError::File(self.restored(), error))
            }
            _ => Ok(()),
        }
    }

    /// Durable before the log that it is about has its name.
    pub(super) fn keep_restored(&self, restored: &Restored) -> Result<(), DaemonError> {
        let path = self.restored();
        let failed = |error| DaemonError::File(path.clone(), error);
        let text = serde_json::to_vec_pretty(restored).map_err(|error| failed(error.into()))?;
        let unfinished = path.with_extension("unfinished");
        std::fs::write(&unfinished, text).map_err(failed)?;
        std::fs::File::open(&unfinished).and_then(|file| file.sync_all()).map_err(failed)?;
        std::fs::rename(&unfinished, &path).map_err(failed)?;
        std::fs::File::open(&self.0).and_then(|dir| dir.sync_all()).map_err(failed)
    }

    pub(super) fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    pub(super) fn keys(&self) -> PathBuf {
        self.0.join("keys")
    }

    pub(super) fn checkpoint(&self) -> PathBuf {
        self.0.join("checkpoint")
    }

    /// What `--dev` leaves for people: tokens and the verifier key.
    #[must_use]
    pub fn dev(&self) -> PathBuf {
        self.0.join("dev")
    }
}

/// Makes a folder that only its owner may enter.
///
/// # Errors
/// The system refuses.
pub fn make_private_dir(path: &Path) -> Result<(), DaemonError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| DaemonError::File(path.to_owned(), error))
}

/// The folder of secrets, and every file in it, also one that is not read today, is its owner's alone.
fn check_secrets(secrets: &Path) -> Result<(), DaemonError> {
    use std::os::unix::fs::PermissionsExt;
    let failed = |path: &Path, error| DaemonError::File(path.to_owned(), error);
    let mut paths = vec![secrets.to_owned()];
    for file in std::fs::read_dir(secrets).map_err(|error| failed(secrets, error))? {
        paths.push(file.map_err(|error| failed(secrets, error))?.path());
    }
    for path in paths {
        let mode = std::fs::metadata(&path).map_err(|error| failed(&path, error))?.permissions().mode();
        if mode & 0o077 != 0 {
            let wide = std::io::ErrorKind::PermissionDenied;
            let wanted = "others may enter or read it; set its mode to 0700 (a folder) or 0600 (a file)";
            return Err(failed(&path, Error::new(wide, wanted)));
        }
    }
    Ok(())
}

/// The issuer of a data folder's credentials.
///
/// # Errors
/// Its key can't be read or made.
pub fn issuer(config: &Config, clock: SharedClock) -> Result<Issuer, DaemonError> {
    let secrets = Layout::new(&config.data).secrets();
    make_private_dir(&secrets)?;
    check_secrets(&secrets)?;
    Ok(Issuer::load_or_create(&secrets.join("issuer.key"), &config.controller, clock)?)
}

/// Keys of the tiers of bounds for development: those that the configuration does not name are made, or found again, in
/// DATA/dev, and named. The same for each controller, in its own folder.
///
/// # Errors
/// They can't be read or made.
pub fn use_dev_tier_keys(config: &mut Config) -> Result<(), DaemonError> {
    let folders: Vec<PathBuf> = config.each().into_iter().map(|each| each.data).collect();
    let others = config.controllers.iter_mut().map(|another| &mut another.bounds);
    for (bounds, data) in std::iter::once(&mut config.bounds).chain(others).zip(folders) {
        let dev = Layout::new(&data).dev();
        make_private_dir(&dev)?;
        let names = [("authority", &mut bounds.authority_key), ("steward", &mut bounds.steward_key)];
        for (name, public) in names.into_iter().filter(|(_, public)| public.is_empty()) {
            let path = dev.join(format!("{name}.key"));
            let seed =
                secret::read_or_make(&path, &SystemClock).map_err(|error| DaemonError::File(path, error))?;
            *public = hex::encode(SigningKey::from_bytes(&seed).verifying_key().as_bytes());
        }
    }
    Ok(())
}

impl Daemon {
    /// Opens everything and serves.
    ///
    /// # Errors
    /// Settings, keys, stores or addresses don't allow it.
    pub async fn start(config: &Config) -> Result<Self, DaemonError> {
        Self::start_with(config, Arc::new(SystemClock)).await
    }

    /// As [`Daemon::start`], on another clock.
    ///
    /// # Errors
    /// As [`Daemon::start`].
    pub async fn start_with(config: &Config, clock: SharedClock) -> Result<Self, DaemonError> {
        config.check()?;
        let each = config.each();
        let reserved = each.iter().any(|each| web::is_reserved(&each.controller));
        let bound = "no word that an HTTP path begins with";
        if reserved {
            return Err(ConfigError::OutOfBounds { key: "controller", bound }.into());
        }
        make_private_dir(&config.data)?;
        // Addresses first: a daemon that can't listen should not touch the store.
        let grpc = listen(config.listen).await?;
        let http = listen(config.http).await?;
        let certificates = certificates(config)?.map(Arc::new);
        let (methods, routes) = (api::methods(), web::ROUTES);
        let actions = methods.iter().map(String::as_str).chain(routes);
        let table = Arc::new(RoleTable::compile(actions)?);
        // Opening a log may already record events.
        metrics().name_events(api::event_names());
        metrics().watch_folder(config.data.clone());
        let served = served::open_each(&each, &clock).await?;
        let first = served.first().ok_or(DaemonError::Nobody)?;
        let (stop, stopped) = watch::channel(false);
        let mut daemon = Self {
            grpc: address(&grpc, config.listen)?,
            http: address(&http, config.http)?,
            vkey: first.vkey.clone(),
            issuer: Arc::clone(&first.issuer),
            served,
            stop,
            tasks: Vec::new(),
        };
        let incoming = |listener, at| {
            let incoming = Incoming::new(listener, certificates.clone(), bounds::connections(config));
            incoming.map_err(|error| DaemonError::Listen(at, error))
        };
        let (grpc, http) = (incoming(grpc, config.listen)?, incoming(http, config.http)?);
        daemon.serve_grpc(config, grpc, Arc::clone(&table), Arc::clone(&clock), &stopped);
        daemon.serve_http(http, table, &stopped);
        daemon.look_after(&each, &clock, &stopped);
        renew::keep_certificates(config, certificates, stopped);
        Ok(daemon)
    }

    fn serve_grpc(
        &mut self,
        config: &Config,
        incoming: Incoming,
        table: Arc<RoleTable>,
        clock: SharedClock,
        stopped: &watch::Receiver<bool>,
    ) {
        let trusted = self.served.iter().map(Served::trusted).collect();
        let credentials = Arc::new(Credentials::new(config.ledger.clone(), trusted));
        let apps = self.served.iter().map(|served| Arc::clone(&served.app)).collect();
        let options = bounds::calls(config);
        let access = Access { credentials, table, clock };
        let serving = api::serve(incoming, wait(stopped.clone()), apps, access, options);
        self.tasks.push(tokio::spawn(async move { Ok(serving.await?) }));
    }

    fn serve_http(&mut self, incoming: Incoming, table: Arc<RoleTable>, stopped: &watch::Receiver<bool>) {
        let named = |served: &Served| (served.controller.clone(), Arc::clone(&served.app));
        let (logs, until) = (self.served.iter().map(named).collect(), wait(stopped.clone()));
        let serving =
            async move { web::serve(incoming, until, logs, &table).await.map_err(DaemonError::Http) };
        self.tasks.push(tokio::spawn(serving));
    }

    /// What goes on beside requests, for each controller.
    fn look_after(&mut self, each: &[Config], clock: &SharedClock, stopped: &watch::Receiver<bool>) {
        for (served, config) in self.served.iter().zip(each) {
            let every = std::time::Duration::from_millis(config.rights.expiry_interval_ms);
            let ending = end_what_is_over(Arc::clone(&served.app), every, wait(stopped.clone()));
            self.tasks.push(tokio::spawn(ending));
            let (settings, asking) = (config.clone(), Arc::clone(&served.app));
            let (time, until) = (Arc::clone(clock), wait(stopped.clone()));
            let asking = async move { witnessing::ask(&settings, asking, time, until).await };
            self.tasks.push(tokio::spawn(asking));
            renew::keep_tokens(config, served.tokens.clone(), stopped.clone());
        }
    }

    /// Ends it: requests under way are finished, everything is durable.
    ///
    /// # Errors
    /// What serving ended with.
    pub async fn stop(self) -> Result<(), DaemonError> {
        for served in &self.served {
            served.app.begin_shutdown();
        }
        self.stop.send_replace(true);
        let mut ended = Ok(());
        let until = tokio::time::Instant::now() + DRAIN_MAX;
        for task in self.tasks {
            match tokio::time::timeout_at(until, task).await {
                Ok(Ok(result)) => ended = ended.and(result),
                Ok(Err(_)) => tracing::error!("a listener ended badly"),
                // Whoever does not take an answer, or never ends a stream of requests, is cut here.
                Err(_) => tracing::info!("connections still open were cut"),
            }
        }
        served::close_each(self.served).await;
        ended
    }
}

fn certificates(config: &Config) -> Result<Option<Certificates>, DaemonError> {
    let Some(tls) = &config.tls else { return Ok(None) };
    let files = TlsFiles {
        certificate: tls.certificate.clone(),
        key: tls.key.clone(),
        client_ca: tls.client_ca.clone(),
    };
    Ok(Some(Certificates::open(files)?))
}

/// How long all requests under way together may take to finish.
const DRAIN_MAX: std::time::Duration = std::time::Duration::from_secs(5);

pub(super) async fn wait(mut stopped: watch::Receiver<bool>) {
    // An error means that the daemon is gone, which is a stop, too.
    let _stopped = stopped.wait_for(|stop| *stop).await;
}

/// Looks for what has come to its end, until the daemon stops. A failure is logged, and tried again the next time.
async fn end_what_is_over(
    app: Arc<App>,
    every: std::time::Duration,
    stopped: impl Future<Output = ()>,
) -> Result<(), DaemonError> {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tokio::pin!(stopped);
    loop {
        tokio::select! {
            () = &mut stopped => return Ok(()),
            _ = ticks.tick() => {}
        }
        if let Err(error) = app.end_what_is_over().await {
            tracing::warn!(%error, "ending what is over failed; it is tried again");
        }
    }
}

async fn listen(at: SocketAddr) -> Result<TcpListener, DaemonError> {
    TcpListener::bind(at).await.map_err(|error| DaemonError::Listen(at, error))
}

fn address(listener: &TcpListener, asked: SocketAddr) -> Result<SocketAddr, DaemonError> {
    listener.local_addr().map_err(|error| DaemonError::Listen(asked, error))
}

/// Opens the application; what a restore left to be said is said, and then forgotten.
///
/// # Errors
/// Keys or stores can't be opened.
pub(super) async fn open_app(config: &Config, clock: SharedClock) -> Result<Arc<App>, DaemonError> {
    let app = App::open(settings(config, clock)?).await?;
    Layout::new(&config.data).forget_restored()?;
    Ok(app)
}

/// Who keeps the root key.
///
/// # Errors
/// The file can't be opened, or the token.
pub(super) fn custody(config: &Config) -> Result<Arc<dyn RootCustody>, DaemonError> {
    Ok(match &config.pkcs11 {
        Some(at) => {
            let token = TokenCustody::open(&at.module, &at.token, &at.pin_file);
            Arc::new(token.map_err(VaultError::from)?)
        }
        None => {
            let file = Layout::new(&config.data).secrets().join("root.key");
            Arc::new(FileCustody::open(&file).map_err(VaultError::from)?)
        }
    })
}

/// Who keeps the root key, to be looked at alone; and which places of its file are damaged.
///
/// # Errors
/// The file can't be read, or the token can't be opened.
pub(super) fn custody_to_look_at(config: &Config) -> Result<(Arc<dyn RootCustody>, Vec<usize>), DaemonError> {
    if config.pkcs11.is_some() {
        return Ok((custody(config)?, Vec::new()));
    }
    let file = Layout::new(&config.data).secrets().join("root.key");
    let custody = FileCustody::look(&file).map_err(VaultError::from)?;
    let damage = custody.damage().map_err(VaultError::from)?;
    Ok((Arc::new(custody), damage))
}

fn settings(config: &Config, clock: SharedClock) -> Result<Settings, DaemonError> {
    let layout = Layout::new(&config.data);
    let secrets = layout.secrets();
    let limits = &config.limits;
    let restored = layout.read_restored()?;
    // What was given out had been durable: an end before that is no torn write, and must not be cut off.
    let kept = Ledger::look_at_kept_checkpoint(&layout.checkpoint())?;
    let entries_min = if restored.is_some() { 0 } else { kept.size() };
    let options = Options { index_cache_bytes: limits.index_cache_bytes, entries_min, ..Options::default() };
    let witnesses = witnessing::asked(config)?.iter().map(|one| one.key.to_string()).collect();
    let log = EmbeddedLog::open(&layout.log(), options)?;
    let found = log.recovery();
    if let Some(position) = found.rebuilt_from {
        tracing::info!(position, clean = found.clean, "indexes were brought up from the segments");
    }
    Ok(Settings {
        ledger: LedgerOptions {
            origin: config.origin(),
            queue_max: limits.queue_requests_max,
            batch_events_max: limits.batch_events_max,
            clock_skew_max_ms: limits.clock_skew_ms_max,
            sealed_age_max_ms: limits.sealed_age_ms_max,
            checkpoint_file: Some(layout.checkpoint()),
            is_restored: restored.is_some(),
        },
        log_keys: LogKeys::Folder(secrets),
        custody: custody(config)?,
        log: Arc::new(log),
        keys: Arc::new(EmbeddedKeys::open(&layout.keys())?),
        tier_keys: TierKeys { authority: config.bounds.authority()?, steward: config.bounds.steward()? },
        clock,
        cached_subjects_max: limits.cached_subjects_max,
        cached_subjects_bytes_max: limits.cached_subjects_bytes_max,
        controller: controller(config),
        rights: RightsSettings {
            jurisdiction: match config.rights.jurisdiction {
                RequestRules::Gdpr => Jurisdiction::Gdpr,
                RequestRules::California => Jurisdiction::California,
            },
            steward_decides_erasures: config.rights.steward_decides_erasures,
        },
        restored,
        inferences: inference_terms(config),
        witnesses,
        report: report_settings(config),
    })
}

fn inference_terms(config: &Config) -> InferenceTerms {
    let in_ms = |days: u32| u64::from(days).saturating_mul(86_400_000);
    let by_category = config.inferences.lasts_days_by_category.iter();
    InferenceTerms {
        lasts_ms: in_ms(config.inferences.lasts_days),
        lasts_ms_by_category: by_category.map(|(category, days)| (category.clone(), in_ms(*days))).collect(),
    }
}

fn report_settings(config: &Config) -> ReportSettings {
    let (report, processing) = (&config.report, config.processing.clone());
    ReportSettings {
        k_min: report.k_min,
        epsilon_max: report.epsilon_max,
        noise_required: report.noise_required,
        differences_allowed: report.differences_allowed,
        releases_a_day: report.releases_a_day_declared,
        processing: Declared {
            controller: processing.controller,
            contact: processing.contact,
            representative: processing.representative,
            data_protection_officer: processing.data_protection_officer,
            data_subjects: processing.data_subjects,
            recipients: processing.recipients,
            transfers: processing.transfers,
            retention: processing.retention,
            security_measures: processing.security_measures,
        },
    }
}

/// Who is answerable, as people are told.
fn controller(config: &Config) -> Controller {
    let of = config.organisation.clone();
    Controller {
        id: config.controller.clone(),
        name: of.name,
        contact: of.contact,
        address: of.address,
        url: of.url,
        rights_url: of.rights_url,
        jurisdiction: of.jurisdiction,
        storage_locations: of.storage_locations,
    }
}
