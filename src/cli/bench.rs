//! `sayso bench`: load from this process on a daemon that runs in another; nothing is measured that users don't get.

use super::Connection;
use super::connect::{Bearer, Link, parse_span};
use super::error::CliError;
use super::output::Out;
use crate::proto::bounds_service_client::BoundsServiceClient;
use crate::proto::consent_service_client::ConsentServiceClient;
use crate::proto::grant_service_client::GrantServiceClient;
use crate::proto::profile_service_client::ProfileServiceClient;
use crate::proto::{self, Provenance};
use clap::{Args, ValueEnum};
use hdrhistogram::Histogram;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tonic::Status;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

const NOTICE: &str = "bench";
const PURPOSE: &str = "memory";

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
}

/// Measure a running daemon.
///
/// Beside a `sayso serve --dev`: `sayso bench append --concurrency 64 --duration 10s`
#[derive(Args)]
pub(super) struct Bench {
    #[arg(value_enum)]
    mode: Mode,
    /// Connections that the load is spread over.
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Requests in flight.
    #[arg(long, default_value_t = 64)]
    concurrency: usize,
    /// How long, after the warm-up.
    #[arg(long, default_value = "10s", value_parser = parse_span)]
    duration: Duration,
    /// Not measured, before.
    #[arg(long, default_value = "2s", value_parser = parse_span)]
    warm_up: Duration,
    /// People that the load is about.
    #[arg(long, default_value_t = 1_000)]
    subjects: u64,
}

/// One connection's clients.
#[derive(Clone)]
struct Clients {
    profile: ProfileServiceClient<Link>,
    stewards_profile: ProfileServiceClient<Link>,
    grant: GrantServiceClient<Link>,
}

/// What workers share.
struct Plan {
    mode: Mode,
    run: u64,
    subjects: u64,
    grants: Vec<String>,
    next: AtomicU64,
    measuring_from: Instant,
    until: Instant,
}

impl Bench {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let run = std::process::id().into();
        let mut clients = Vec::new();
        for _ in 0..self.connections.max(1) {
            clients.push(Clients::connect(at).await?);
        }
        let first =
            clients.first().cloned().ok_or_else(|| CliError::usage("--connections must be 1 or more"))?;
        let grants = prepare(at, first, self.mode, run, self.subjects).await?;
        let start = Instant::now();
        let plan = Arc::new(Plan {
            mode: self.mode,
            run,
            subjects: self.subjects.max(1),
            grants,
            next: AtomicU64::new(0),
            measuring_from: start + self.warm_up,
            until: start + self.warm_up + self.duration,
        });
        let mut workers = Vec::new();
        for (_, clients) in (0..self.concurrency.max(1)).zip(clients.iter().cycle()) {
            workers.push(tokio::spawn(work(Arc::clone(&plan), clients.clone())));
        }
        let mut all = histogram()?;
        for worker in workers {
            let (own, failed) = worker.await.map_err(CliError::failed)??;
            if let Some(status) = failed {
                return Err(status.into());
            }
            all.add(&own).map_err(CliError::failed)?;
        }
        self.report(&all, out);
        Ok(())
    }

    fn report(&self, all: &Histogram<u64>, out: Out) {
        let per_call = if self.mode == Mode::Ingest { INGEST_EVENTS } else { 1 };
        let calls_per_s = all.len() as f64 / self.duration.as_secs_f64();
        let micros = |quantile| all.value_at_quantile(quantile);
        let value = serde_json::json!({
            "mode": format!("{:?}", self.mode).to_lowercase(),
            "concurrency": self.concurrency,
            "connections": self.connections,
            "duration_s": self.duration.as_secs_f64(),
            "calls": all.len(),
            "calls_per_s": calls_per_s.round(),
            "events_per_s": (calls_per_s * per_call as f64).round(),
            "p50_us": micros(0.5),
            "p90_us": micros(0.9),
            "p99_us": micros(0.99),
            "p999_us": micros(0.999),
            "max_us": all.max(),
        });
        let text = format!(
            "{:?}, {} in flight over {} connections, {:.0} s: {calls_per_s:.0} calls/s ({:.0} a second of events or checks)\n\
             p50 {} us, p90 {} us, p99 {} us, p99.9 {} us, max {} us",
            self.mode,
            self.concurrency,
            self.connections,
            self.duration.as_secs_f64(),
            calls_per_s * per_call as f64,
            micros(0.5),
            micros(0.9),
            micros(0.99),
            micros(0.999),
            all.max(),
        );
        out.print_value(&value, &text);
    }
}

const INGEST_EVENTS: u64 = 64;

fn histogram() -> Result<Histogram<u64>, CliError> {
    Histogram::new_with_bounds(1, 60_000_000, 3).map_err(CliError::failed)
}

impl Clients {
    async fn connect(at: &Connection) -> Result<Self, CliError> {
        let channel = at.channel().await?;
        let link = |bearer: Bearer| InterceptedService::new(Channel::clone(&channel), bearer);
        let (service, steward) = (at.bearer("service")?, at.bearer("steward")?);
        Ok(Self {
            profile: ProfileServiceClient::new(link(service.clone())),
            stewards_profile: ProfileServiceClient::new(link(steward)),
            grant: GrantServiceClient::new(link(service)),
        })
    }
}

fn subject(run: u64, number: u64) -> String {
    format!("bench-{run}-{number}")
}

fn attributes(run: u64, number: u64, subject_number: u64, count: u64) -> proto::RecordAttributesRequest {
    let attribute = |offset: u64| proto::AttributeInput {
        key: format!("memory/{}", (number + offset) % 10),
        // About as long as a remembered fact with its context.
        value_json: format!("\"{:0>300}\"", number + offset),
        category: "preference".into(),
        provenance: Provenance::Inferred.into(),
        ..Default::default()
    };
    proto::RecordAttributesRequest {
        subject: subject(run, subject_number),
        attributes: (0..count).map(attribute).collect(),
        options: None,
    }
}

fn grant(subject: String) -> proto::RequestGrantRequest {
    proto::RequestGrantRequest { subject, purpose: PURPOSE.into(), ..Default::default() }
}

/// People with facts, consent and grants, as far as the mode needs them.
async fn prepare(
    at: &Connection,
    mut clients: Clients,
    mode: Mode,
    run: u64,
    subjects: u64,
) -> Result<Vec<String>, CliError> {
    if matches!(mode, Mode::Append | Mode::Ingest) {
        return Ok(Vec::new());
    }
    let mut bounds = BoundsServiceClient::new(at.link("steward").await?);
    let notice = proto::PublishNoticeRequest {
        id: NOTICE.into(),
        version: "1".into(),
        text: "a notice for measuring".into(),
        options: Some(proto::WriteOptions { idempotency_key: "bench-notice".into(), ..Default::default() }),
        ..Default::default()
    };
    bounds.publish_notice(notice).await?;
    let mut consents = ConsentServiceClient::new(at.link("steward").await?);
    let mut grants = Vec::new();
    for number in 0..subjects {
        clients.profile.record_attributes(attributes(run, 0, number, 10)).await?;
        let choice = proto::ConsentChoice {
            decision: proto::ConsentDecision::Given.into(),
            purposes: vec![PURPOSE.into()],
            ..Default::default()
        };
        let request = proto::RecordConsentRequest {
            subject: subject(run, number),
            choices: vec![choice],
            notice: Some(proto::NoticeServed { id: NOTICE.into(), ..Default::default() }),
            ..Default::default()
        };
        consents.record_consent(request).await?;
        if mode == Mode::Check {
            let mut request = grant(subject(run, number));
            request.ttl = Some(prost_types::Duration { seconds: 3_600, nanos: 0 });
            grants.push(clients.grant.request_grant(request).await?.into_inner().grant_id);
        }
    }
    Ok(grants)
}

type Worked = (Histogram<u64>, Option<Status>);

/// Calls until the end, and notes how long each took. Ends early at an error.
async fn work(plan: Arc<Plan>, mut clients: Clients) -> Result<Worked, CliError> {
    let mut own = histogram()?;
    loop {
        let start = Instant::now();
        if start >= plan.until {
            return Ok((own, None));
        }
        let number = plan.next.fetch_add(1, Ordering::Relaxed);
        if let Err(status) = call(&plan, &mut clients, number).await {
            return Ok((own, Some(status)));
        }
        let end = Instant::now();
        if start >= plan.measuring_from && end <= plan.until {
            let micros = u64::try_from((end - start).as_micros()).unwrap_or(u64::MAX);
            own.saturating_record(micros);
        }
    }
}

async fn call(plan: &Plan, clients: &mut Clients, number: u64) -> Result<(), Status> {
    let person = number % plan.subjects;
    match plan.mode {
        Mode::Append => {
            clients.profile.record_attributes(attributes(plan.run, number, person, 1)).await?;
        }
        Mode::Ingest => {
            let request = attributes(plan.run, number, person, INGEST_EVENTS);
            clients.profile.record_attributes(request).await?;
        }
        Mode::Grant => {
            clients.grant.request_grant(grant(subject(plan.run, person))).await?;
        }
        Mode::Check => {
            let index = usize::try_from(person).unwrap_or_default();
            let grant_id = plan.grants.get(index).cloned().unwrap_or_default();
            let answer = clients.grant.check_grant(proto::CheckGrantRequest { grant_id }).await?;
            if !answer.into_inner().stands {
                return Err(Status::internal("a grant that should stand does not"));
            }
        }
        Mode::Rebuild => {
            let request = proto::GetProfileRequest {
                subject: subject(plan.run, person),
                rebuild: true,
                ..Default::default()
            };
            clients.stewards_profile.get_profile(request).await?;
        }
    }
    Ok(())
}
