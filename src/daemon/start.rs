//! The daemon put together: keys and stores from the data folder, the application over them, gRPC and HTTP in front.

use crate::api::{self, Access, CredentialError, Credentials, Issuer, ServeError};
use crate::app::{App, OpenError};
use crate::bounds::BoundsError;
use crate::clock::{ClockLimits, LedgerClock, SharedClock, SystemClock};
use crate::config::{Config, ConfigError};
use crate::daemon::controller;
use crate::daemon::controller::OpenController;
use crate::daemon::data_dir::{Layout, check_secrets, make_private_dir};
use crate::daemon::{cosigning, limits as bounds, reload};
use crate::ledger::LedgerError;
use crate::roles::RoleTable;
use crate::secret;
use crate::store::StoreError;
use crate::telemetry::metrics;
use crate::tls::{Certificates, Incoming, TlsError, TlsFiles};
use crate::vault::VaultError;
use crate::web;
use ed25519_dalek::SigningKey;
use std::io::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
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
    pub controllers: Vec<OpenController>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<Result<(), DaemonError>>>,
}

/// The issuer of a data folder's credentials.
///
/// # Errors
/// Its key can't be read or made.
pub fn issuer(config: &Config, clock: SharedClock) -> Result<Issuer, DaemonError> {
    let secrets = Layout::new(&config.data).secrets();
    make_private_dir(&secrets)?;
    check_secrets(&secrets)?;
    let issuer = Issuer::load_or_create(&secrets.join("issuer.key"), &config.controller, clock)?;
    Ok(issuer.with_longest_life(u64::from(config.built_in_tokens.days_max).saturating_mul(86_400)))
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
        let allowed = "different from the first part of an HTTP path";
        if reserved {
            return Err(ConfigError::Invalid { key: "controller", allowed }.into());
        }
        make_private_dir(&config.data)?;
        // Addresses first: a daemon that can't listen should not touch the store.
        let grpc = listen(config.listen).await?;
        let http = listen(config.http).await?;
        let certificates = certificates(config)?.map(Arc::new);
        let (methods, routes) = (api::methods(), web::ROUTES);
        let actions = methods.iter().map(String::as_str).chain(routes);
        let table = Arc::new(crate::bounds::compile_roles(actions)?);
        // Opening a log may already record events.
        metrics().name_events(api::event_names());
        metrics().watch_folder(config.data.clone());
        let controllers = controller::open_each(&each, &clock).await?;
        let first = controllers.first().ok_or(DaemonError::Nobody)?;
        let (stop, stopped) = watch::channel(false);
        let mut daemon = Self {
            grpc: address(&grpc, config.listen)?,
            http: address(&http, config.http)?,
            vkey: first.vkey.clone(),
            issuer: Arc::clone(&first.issuer),
            controllers,
            stop,
            tasks: Vec::new(),
        };
        let incoming = |listener, at, bounds| {
            let incoming = Incoming::new(listener, certificates.clone(), bounds);
            incoming.map_err(|error| DaemonError::Listen(at, error))
        };
        let grpc = incoming(grpc, config.listen, bounds::connections(config))?;
        let http = incoming(http, config.http, bounds::open_connections(config))?;
        daemon.serve_grpc(config, grpc, Arc::clone(&table), &clock, &stopped);
        daemon.serve_http(http, table, &stopped);
        daemon.look_after(&each, &stopped);
        reload::keep_certificates(config, certificates, stopped);
        Ok(daemon)
    }

    fn serve_grpc(
        &mut self,
        config: &Config,
        incoming: Incoming,
        table: Arc<RoleTable>,
        clock: &SharedClock,
        stopped: &watch::Receiver<bool>,
    ) {
        let trusted = self.controllers.iter().map(OpenController::trusted).collect();
        let credentials = Arc::new(Credentials::new(
            config.ledger.clone(),
            trusted,
            config.client_limits.refused_per_minute_max,
            door_clock(clock),
        ));
        let apps = self.controllers.iter().map(|served| Arc::clone(&served.app)).collect();
        let options = bounds::calls(config);
        let access = Access { credentials, table };
        let serving = api::serve(incoming, wait(stopped.clone()), apps, access, options);
        self.tasks.push(tokio::spawn(async move { Ok(serving.await?) }));
    }

    fn serve_http(&mut self, incoming: Incoming, table: Arc<RoleTable>, stopped: &watch::Receiver<bool>) {
        let named = |served: &OpenController| (served.controller.clone(), Arc::clone(&served.app));
        let (logs, until) = (self.controllers.iter().map(named).collect(), wait(stopped.clone()));
        let serving =
            async move { web::serve(incoming, until, logs, &table).await.map_err(DaemonError::Http) };
        self.tasks.push(tokio::spawn(serving));
    }

    /// What goes on beside requests, for each controller.
    fn look_after(&mut self, each: &[Config], stopped: &watch::Receiver<bool>) {
        for (served, config) in self.controllers.iter().zip(each) {
            let every = std::time::Duration::from_millis(config.rights.expiry_interval_ms);
            let ending = end_expired(Arc::clone(&served.app), every, wait(stopped.clone()));
            self.tasks.push(tokio::spawn(ending));
            self.tasks.push(tokio::spawn(make_room(Arc::clone(&served.app), wait(stopped.clone()))));
            let (settings, asking) = (config.clone(), Arc::clone(&served.app));
            self.tasks.push(tokio::spawn(keep_time(Arc::clone(&served.app), wait(stopped.clone()))));
            let (time, until) = (Arc::clone(&served.time) as _, wait(stopped.clone()));
            let asking = async move { cosigning::ask(&settings, asking, time, until).await };
            self.tasks.push(tokio::spawn(asking));
            reload::keep_tokens(
                config,
                served.tokens.clone(),
                Arc::clone(&served.clock) as _,
                stopped.clone(),
            );
        }
    }

    /// Ends it: requests under way are finished, everything is durable.
    ///
    /// # Errors
    /// What serving ended with.
    pub async fn stop(self) -> Result<(), DaemonError> {
        for served in &self.controllers {
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
        controller::close_each(self.controllers).await;
        ended
    }
}

/// What refusals are counted by: time that never goes back.
fn door_clock(clock: &SharedClock) -> SharedClock {
    let door = LedgerClock::new(Arc::clone(clock), ClockLimits::default());
    door.begin(0, None);
    Arc::new(door)
}

fn certificates(config: &Config) -> Result<Option<Certificates>, DaemonError> {
    let Some(tls) = &config.tls else { return Ok(None) };
    let files = TlsFiles {
        certificate: tls.certificate.clone(),
        key: tls.key.clone(),
        client_ca: tls.client_ca.clone(),
        client_crls: tls.client_crls.clone(),
    };
    Ok(Some(Certificates::open(files)?))
}

/// How long all requests under way together may take to finish.
const DRAIN_MAX: std::time::Duration = std::time::Duration::from_secs(5);

pub(crate) async fn wait(mut stopped: watch::Receiver<bool>) {
    // An error means that the daemon is gone, which is a stop, too.
    let _stopped = stopped.wait_for(|stop| *stop).await;
}

/// Looks for what has come to its end, until the daemon stops. A failure is logged, and tried again the next time.
async fn end_expired(
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
        if let Err(error) = app.run_maintenance().await {
            tracing::warn!(%error, "ending what is over failed; it is tried again");
        }
    }
}

/// Keeps the ledger's time for the next start, until the daemon stops.
async fn keep_time(app: Arc<App>, stopped: impl Future<Output = ()>) -> Result<(), DaemonError> {
    tokio::pin!(stopped);
    loop {
        let keeping = Arc::clone(&app);
        if tokio::task::spawn_blocking(move || keeping.keep_time()).await.is_err() {
            tracing::error!("keeping the ledger's time ended badly; it is tried again");
        }
        tokio::select! {
            () = &mut stopped => return Ok(()),
            () = tokio::time::sleep(KEPT_EVERY) => {}
        }
    }
}

/// How often the ledger's time is compared and kept.
const KEPT_EVERY: std::time::Duration = std::time::Duration::from_millis(500);

/// Has people in memory make room for others, until the daemon stops.
async fn make_room(app: Arc<App>, stopped: impl Future<Output = ()>) -> Result<(), DaemonError> {
    tokio::pin!(stopped);
    loop {
        tokio::select! {
            () = &mut stopped => return Ok(()),
            () = app.eviction_blocked() => {}
        }
        // To the end: what is taken to be written down would be lost halfway.
        if let Err(error) = app.make_room().await {
            tracing::warn!(%error, "how often grants were given again is not written down yet; it is tried again");
            tokio::time::sleep(WRITTEN_AGAIN_AFTER).await;
        }
    }
}

/// How long writes that failed are left alone.
const WRITTEN_AGAIN_AFTER: std::time::Duration = std::time::Duration::from_secs(1);

async fn listen(at: SocketAddr) -> Result<TcpListener, DaemonError> {
    TcpListener::bind(at).await.map_err(|error| DaemonError::Listen(at, error))
}

fn address(listener: &TcpListener, asked: SocketAddr) -> Result<SocketAddr, DaemonError> {
    listener.local_addr().map_err(|error| DaemonError::Listen(asked, error))
}
