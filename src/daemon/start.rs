//! Starts and stops the daemon. It opens keys and stores in the data folder, builds the application on them,
//! and serves it over gRPC and HTTP.

use crate::api::{self, Access, Credentials, Issuer};
use crate::clock::{ClockLimits, LedgerClock, SharedClock, SystemClock};
use crate::config::{Config, ConfigError};
use crate::daemon::controller::OpenController;
use crate::daemon::data_dir::make_private_dir;
use crate::daemon::error::DaemonError;
use crate::daemon::lost_parts::check_parts;
use crate::daemon::shutdown::{drain, wait};
use crate::daemon::{background, controller, cosigning, limits, reload, timestamping, webhooks};
use crate::roles::RoleTable;
use crate::telemetry::metrics;
use crate::tls::{Certificates, Incoming, TlsFiles};
use crate::web;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A running daemon.
pub struct Daemon {
    /// Address of gRPC.
    pub grpc: SocketAddr,
    /// Address of HTTP.
    pub http: SocketAddr,
    /// The credential issuer of the first controller.
    pub issuer: Arc<Issuer>,
    /// Verifier key of the first controller's log.
    pub vkey: String,
    /// All controllers, in the order of the configuration.
    pub controllers: Vec<OpenController>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<Result<(), DaemonError>>>,
}

impl Daemon {
    /// Opens everything and serves.
    ///
    /// # Errors
    /// The configuration is invalid, keys or stores can't be opened, or an address can't be listened on.
    pub async fn start(config: &Config) -> Result<Self, DaemonError> {
        Self::start_with(config, Arc::new(SystemClock)).await
    }

    /// As [`Daemon::start`], with another clock.
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
        each.iter().try_for_each(check_parts)?;
        make_private_dir(&config.data)?;
        // Listen first: a daemon that can't listen must not open the store.
        let grpc = listen(config.listen).await?;
        let http = listen(config.http).await?;
        let certificates = certificates(config)?.map(Arc::new);
        let (methods, routes) = (api::methods(), web::ROUTES);
        let actions = methods.iter().map(String::as_str).chain(routes);
        let table = Arc::new(crate::bounds::compile_roles(actions)?);
        // Opening a log may already record events, so the metrics of events come first.
        metrics().name_events(api::event_names());
        metrics().watch_folder(config.data.clone());
        let controllers = controller::open_each(&each, &clock).await?;
        let first = controllers.first().ok_or(DaemonError::NoController)?;
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
        let incoming = |listener, at, limits| {
            let incoming = Incoming::new(listener, certificates.clone(), limits);
            incoming.map_err(|error| DaemonError::Listen(at, error))
        };
        let grpc = incoming(grpc, config.listen, limits::connections(config))?;
        let http = incoming(http, config.http, limits::open_connections(config))?;
        daemon.serve_grpc(config, grpc, Arc::clone(&table), &clock, &stopped);
        daemon.serve_http(http, table, &stopped);
        daemon.start_background_tasks(&each, &stopped);
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
            throttle_clock(clock),
        ));
        let apps = self.controllers.iter().map(|open| Arc::clone(&open.app)).collect();
        let options = limits::calls(config);
        let access = Access { credentials, table };
        let serving = api::serve(incoming, wait(stopped.clone()), apps, access, options);
        self.tasks.push(tokio::spawn(async move { Ok(serving.await?) }));
    }

    fn serve_http(&mut self, incoming: Incoming, table: Arc<RoleTable>, stopped: &watch::Receiver<bool>) {
        let named = |open: &OpenController| (open.controller.clone(), Arc::clone(&open.app));
        let (logs, until) = (self.controllers.iter().map(named).collect(), wait(stopped.clone()));
        let serving =
            async move { web::serve(incoming, until, logs, &table).await.map_err(DaemonError::Http) };
        self.tasks.push(tokio::spawn(serving));
    }

    /// Starts the background tasks of each controller.
    fn start_background_tasks(&mut self, each: &[Config], stopped: &watch::Receiver<bool>) {
        for (open, config) in self.controllers.iter().zip(each) {
            let app = || Arc::clone(&open.app);
            let until = || wait(stopped.clone());
            let interval = Duration::from_millis(config.rights.expiry_interval_ms);
            self.tasks.push(tokio::spawn(background::end_expired(app(), interval, until())));
            self.tasks.push(tokio::spawn(background::make_room(app(), until())));
            self.tasks.push(tokio::spawn(background::commit_subject_map(app(), until())));
            self.tasks.push(tokio::spawn(background::keep_time(app(), until())));
            let (config_of_task, app_of_task) = (config.clone(), app());
            let (time, until_stopped) = (Arc::clone(&open.time) as _, until());
            let asking =
                async move { cosigning::ask(&config_of_task, app_of_task, time, until_stopped).await };
            self.tasks.push(tokio::spawn(asking));
            let (config_of_task, app_of_task) = (config.clone(), app());
            let (time, until_stopped) = (Arc::clone(&open.time) as _, until());
            let stamping =
                async move { timestamping::run(&config_of_task, app_of_task, time, until_stopped).await };
            self.tasks.push(tokio::spawn(stamping));
            let (config_of_task, app_of_task) = (config.clone(), app());
            let (time, until_stopped) = (Arc::clone(&open.time) as _, until());
            let telling =
                async move { webhooks::run(&config_of_task, app_of_task, time, until_stopped).await };
            self.tasks.push(tokio::spawn(telling));
            let credential_clock = Arc::clone(&open.clock) as _;
            reload::keep_tokens(config, open.tokens.clone(), credential_clock, stopped.clone());
        }
    }

    /// Stops the daemon. Requests in progress have five seconds to finish; then everything is made durable.
    ///
    /// # Errors
    /// The first error that serving ended with.
    pub async fn stop(self) -> Result<(), DaemonError> {
        for open in &self.controllers {
            open.app.begin_shutdown();
        }
        self.stop.send_replace(true);
        let ended = drain(self.tasks).await;
        controller::close_each(self.controllers).await;
        ended
    }
}

/// The clock by which refused credentials are counted per minute. It never goes back.
fn throttle_clock(clock: &SharedClock) -> SharedClock {
    let time = LedgerClock::new(Arc::clone(clock), ClockLimits::default());
    time.begin(0, None);
    Arc::new(time)
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

async fn listen(at: SocketAddr) -> Result<TcpListener, DaemonError> {
    TcpListener::bind(at).await.map_err(|error| DaemonError::Listen(at, error))
}

fn address(listener: &TcpListener, configured: SocketAddr) -> Result<SocketAddr, DaemonError> {
    listener.local_addr().map_err(|error| DaemonError::Listen(configured, error))
}
