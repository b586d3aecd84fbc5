//! `sayso bench`: load from this process on a daemon that runs in another; nothing is measured that users don't get.

mod ask;
mod echo;
mod load;
mod people;
mod report;
mod revoke;
mod stream;
mod verify;

use super::Connection;
use super::connect::{Bearer, Link, client, parse_span};
use super::error::CliError;
use super::output::Out;
use crate::api::Issuer;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::daemon;
use crate::proto::consent_service_client::ConsentServiceClient;
use crate::proto::grant_service_client::GrantServiceClient;
use crate::proto::profile_service_client::ProfileServiceClient;
use crate::proto::rights_service_client::RightsServiceClient;
use ask::Asker;
use clap::{Args, ValueEnum};
use load::{Measured, Plan};
use people::People;
use std::sync::Arc;
use std::time::Duration;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// One event a call, each durable before it is answered.
    Append,
    /// Streams of messages of several events each (--events-per-call), all answered in order once durable.
    Ingest,
    /// New grants, each a durable event.
    Grant,
    /// The grant of a conversation that has one already.
    Again,
    /// Whether a grant stands.
    Check,
    /// People's own looks at their profiles, recomputed from their events. (A steward's look is an event too.)
    Rebuild,
    /// People erased as a whole, to the certificate; each once, so there have to be enough of them.
    Erase,
    /// From the moment that a withdrawal is acknowledged until each of --watchers was told.
    Revoke,
    /// The whole log exported, and verified here as `sayso verify` does.
    Verify,
    /// The ceiling: calls that only come back, from a server of the bench's own in a process of its own.
    Echo,
    /// The other end of `echo`.
    #[value(hide = true)]
    EchoServer,
}

impl Mode {
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Reads nothing that was prepared.
    fn needs_nobody(self) -> bool {
        matches!(self, Self::Append | Self::Ingest | Self::Verify | Self::Echo | Self::EchoServer)
    }
}

/// Measure a running daemon: throughput, and how long calls took.
///
/// Calls with the tokens in a `--dev` daemon's data folder (--data). Each worker keeps to people of its own. Without
/// --rate a worker calls again once it is answered; with it calls begin at their appointed times, and what a late one
/// waited is counted (no coordinated omission).
///
/// Example: `sayso bench append --concurrency 64 --duration 10s`
#[derive(Args, Clone, Debug)]
pub(super) struct Bench {
    /// What to measure.
    #[arg(value_enum)]
    mode: Mode,
    /// Connections that the load is spread over.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=1024))]
    connections: u64,
    /// Workers: requests in flight, at most.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    concurrency: u64,
    /// How long, after the warm-up.
    #[arg(long, default_value = "10s", value_parser = parse_span)]
    duration: Duration,
    /// Not measured, before.
    #[arg(long, default_value = "2s", value_parser = parse_span)]
    warm_up: Duration,
    /// So many calls, however long they take, all of them measured; instead of --duration and --warm-up.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    calls: Option<u64>,
    /// Calls that begin each second, in all; default: as many as are answered.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    rate: Option<u64>,
    /// People that the load is about; at least as many as workers.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    subjects: u64,
    /// What these people are called, so that a later run finds them again; default: new ones each run.
    #[arg(long, value_name = "NAME")]
    people: Option<String>,
    /// Number of the first of them.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// They are there already, with what the mode needs (append, ingest, grant, again, rebuild): nothing is prepared.
    #[arg(long, requires = "people")]
    prepared: bool,
    /// Length of a recorded value, or of an echoed message, bytes.
    #[arg(long, default_value_t = 450, value_parser = clap::value_parser!(u64).range(2..=16_384))]
    value_bytes: u64,
    /// Events a message of `ingest`.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=128))]
    events_per_call: u64,
    /// Watches of `revoke`.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    watchers: u64,
    /// Measures the ceiling (`echo`) too, before and after, with the same workers: what part of it was reached.
    #[arg(long)]
    with_echo: bool,
}

/// One connection's clients.
#[derive(Clone)]
struct Clients {
    profile: ProfileServiceClient<Link>,
    /// Without a credential: each call brings the person's own.
    own_profile: ProfileServiceClient<Channel>,
    consent: ConsentServiceClient<Link>,
    grant: GrantServiceClient<Link>,
    rights: RightsServiceClient<Link>,
}

impl Clients {
    async fn connect(at: &Connection) -> Result<Self, CliError> {
        let channel = at.channel().await?;
        let link = |bearer: Bearer| InterceptedService::new(Channel::clone(&channel), bearer);
        let (service, steward) = (at.dev_bearer("service")?, at.dev_bearer("steward")?);
        Ok(Self {
            profile: client!(ProfileServiceClient, link(service.clone())),
            own_profile: client!(ProfileServiceClient, Channel::clone(&channel)),
            consent: client!(ConsentServiceClient, link(steward.clone())),
            rights: client!(RightsServiceClient, link(steward)),
            grant: client!(GrantServiceClient, link(service)),
        })
    }
}

/// The built-in issuer of the `--dev` daemon in the data folder, for people's own tokens.
fn issuer(at: &Connection) -> Result<Issuer, CliError> {
    let config = Config { data: at.data.clone(), ..Config::default() };
    daemon::issuer(&config, Arc::new(SystemClock)).map_err(CliError::failed)
}

impl Bench {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        if self.duration.is_zero() {
            return Err(CliError::usage("--duration must not be nothing"));
        }
        if self.prepared && matches!(self.mode, Mode::Check | Mode::Revoke) {
            return Err(CliError::usage(
                "grants are known only to the run that prepares them: leave out --prepared",
            ));
        }
        match self.mode {
            Mode::EchoServer => echo::serve().await,
            Mode::Verify => verify::run(&self, at, out).await,
            _ => self.load(at, out).await,
        }
    }

    async fn load(&self, at: &Connection, out: Out) -> Result<(), CliError> {
        let before = self.ceiling().await?;
        let measured = match self.mode {
            Mode::Echo => echo::measure(self).await?,
            Mode::Revoke => revoke::measure(self, at).await?,
            Mode::Ingest => stream::measure(self, at).await?,
            _ => self.measure(at).await?,
        };
        let after = self.ceiling().await?;
        let ceiling = before.zip(after).map(|(before, after)| f64::midpoint(before, after));
        let printed = report::print(self, &measured, ceiling, out);
        match measured.failed {
            Some(error) => Err(error),
            None => printed,
        }
    }

    /// Calls a second that only come back, where they are asked for.
    async fn ceiling(&self) -> Result<Option<f64>, CliError> {
        if !self.with_echo || self.mode == Mode::Echo {
            return Ok(None);
        }
        let echo = Self { calls: None, rate: None, ..self.clone() };
        Ok(Some(echo::measure(&echo).await?.calls_per_s()))
    }

    /// Calls of one question and one answer.
    async fn measure(&self, at: &Connection) -> Result<Measured, CliError> {
        let clients = self.clients(at).await?;
        let people = self.people();
        let grants = Arc::new(people::prepare(self, at, &clients, &people).await?);
        let issuer = Arc::new(issuer(at)?);
        let tokens = ask::Tokens::default();
        let asker = |clients| {
            let (grants, issuer, tokens) = (Arc::clone(&grants), Arc::clone(&issuer), Arc::clone(&tokens));
            Asker::new(self.mode, people.clone(), clients, grants, issuer, tokens)
        };
        load::run(self.plan(self.concurrency), clients.into_iter().map(asker).collect()).await
    }

    async fn clients(&self, at: &Connection) -> Result<Vec<Clients>, CliError> {
        let mut clients = Vec::new();
        for _ in 0..self.connections {
            clients.push(Clients::connect(at).await?);
        }
        Ok(clients)
    }

    fn people(&self) -> People {
        // Runs on the same data folder are about different people, unless they are named.
        let name = self.people.clone().unwrap_or_else(|| SystemClock.now_ms().to_string());
        People::new(name, self.first, usize::try_from(self.value_bytes).unwrap_or(usize::MAX))
    }

    /// For so many workers, from now on.
    fn plan(&self, workers: u64) -> Plan {
        Plan::new(load::Asked {
            subjects: self.subjects,
            workers,
            warm_up: self.warm_up,
            duration: self.duration,
            calls: self.calls,
            rate: self.rate,
        })
    }
}
