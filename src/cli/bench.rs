//! `sayso bench`: load from this process on a daemon that runs in another; nothing is measured that users don't get.

mod load;
mod people;

use super::Connection;
use super::connect::{Bearer, Link, client, parse_span};
use super::error::CliError;
use super::output::Out;
use crate::clock::{Clock, SystemClock};
use crate::proto::consent_service_client::ConsentServiceClient;
use crate::proto::grant_service_client::GrantServiceClient;
use crate::proto::profile_service_client::ProfileServiceClient;
use crate::proto::rights_service_client::RightsServiceClient;
use clap::{Args, ValueEnum};
use load::{Measured, Plan};
use people::Load;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

/// Events a call of `bench ingest`.
const INGEST_EVENTS: u64 = 64;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// One event a call, each durable before it is answered.
    Append,
    /// 64 events a call.
    Ingest,
    /// New grants, each a durable event.
    Grant,
    /// Whether a grant stands.
    Check,
    /// Profiles recomputed from their events.
    Rebuild,
    /// People erased as a whole, to the certificate; each once, so there have to be enough of them.
    Erase,
}

/// Measure a running daemon: throughput, and how long calls took.
///
/// Calls with the service's and the steward's tokens of a `--dev` daemon's data folder (--data). Each worker keeps to
/// people of its own. Without --rate a worker calls again once it is answered; with it calls begin at their appointed
/// times, and what a late one waited is counted (no coordinated omission).
///
/// Example: `sayso bench append --concurrency 64 --duration 10s`
#[derive(Args)]
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
    /// People that the load is about; at least as many as workers.
    #[arg(long, default_value_t = 1_000)]
    subjects: u64,
    /// Length of a recorded value, bytes.
    #[arg(long, default_value_t = 450, value_parser = clap::value_parser!(u64).range(2..=16_384))]
    value_bytes: u64,
    /// Calls that begin each second, in all; default: as many as are answered.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    rate: Option<u64>,
}

/// One connection's clients.
#[derive(Clone)]
struct Clients {
    profile: ProfileServiceClient<Link>,
    stewards_profile: ProfileServiceClient<Link>,
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
            stewards_profile: client!(ProfileServiceClient, link(steward.clone())),
            consent: client!(ConsentServiceClient, link(steward.clone())),
            rights: client!(RightsServiceClient, link(steward)),
            grant: client!(GrantServiceClient, link(service)),
        })
    }
}

impl Bench {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        if self.duration.is_zero() {
            return Err(CliError::usage("--duration must not be nothing"));
        }
        let mut clients = Vec::new();
        for _ in 0..self.connections {
            clients.push(Clients::connect(at).await?);
        }
        let load = Load {
            mode: self.mode,
            // Runs on the same data folder are about different people.
            run: SystemClock.now_ms(),
            subjects: self.subjects.max(self.concurrency),
            value_bytes: usize::try_from(self.value_bytes).unwrap_or(usize::MAX),
        };
        let grants = people::prepare(at, &clients, load).await?;
        let start = Instant::now();
        let measuring_from = start + self.warm_up;
        let plan = Plan {
            load,
            grants,
            workers: self.concurrency,
            start,
            measuring_from,
            until: measuring_from + self.duration,
            rate: self.rate,
        };
        let measured = load::run(Arc::new(plan), &clients).await?;
        let printed = self.print(&measured, out);
        if let Some(error) = measured.failed {
            return Err(error);
        }
        printed
    }

    fn print(&self, measured: &Measured, out: Out) -> Result<(), CliError> {
        let events_per_call = if self.mode == Mode::Ingest { INGEST_EVENTS } else { 1 };
        let seconds = self.duration.as_secs_f64();
        let calls_per_s = measured.answered as f64 / seconds;
        let per_s = (calls_per_s * events_per_call as f64).round();
        let micros = |quantile| measured.latencies.value_at_quantile(quantile);
        let mode = format!("{:?}", self.mode).to_lowercase();
        let value = serde_json::json!({
            "mode": mode,
            "concurrency": self.concurrency,
            "connections": self.connections,
            "duration_s": seconds,
            "subjects": self.subjects.max(self.concurrency),
            "value_bytes": self.value_bytes,
            "rate": self.rate,
            "calls": measured.answered,
            "calls_per_s": calls_per_s.round(),
            "events_per_s": per_s,
            "overloaded": measured.overloaded,
            "p50_us": micros(0.5),
            "p90_us": micros(0.9),
            "p99_us": micros(0.99),
            "p999_us": micros(0.999),
            "max_us": measured.latencies.max(),
        });
        let loop_kind =
            self.rate.map_or_else(|| "closed loop".to_owned(), |rate| format!("{rate} calls/s asked"));
        let mut text = format!(
            "{mode}, {} in flight over {} connections, {seconds:.0} s, {loop_kind}: {calls_per_s:.0} calls/s ({per_s:.0} \
             a second of events or checks)\np50 {} us, p90 {} us, p99 {} us, p99.9 {} us, max {} us",
            self.concurrency,
            self.connections,
            micros(0.5),
            micros(0.9),
            micros(0.99),
            micros(0.999),
            measured.latencies.max(),
        );
        if measured.overloaded > 0 {
            text.push_str(&format!("\n{} calls were turned away as overload", measured.overloaded));
        }
        out.print_value(&value, &text)
    }
}
