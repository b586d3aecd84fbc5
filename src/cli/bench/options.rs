//! The flags of `sayso bench`.

use super::load::{LoadOptions, Plan};
use crate::cli::times::parse_duration;
use clap::{Args, ValueEnum};
use std::time::Duration;

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Mode {
    /// Calls that record one event each. A call is answered once its event is durable.
    Append,
    /// Messages over streams, each with several events (--events-per-call). A message is answered once its
    /// events are durable. Answers come in the order of the messages.
    Ingest,
    /// New grants, each a durable event.
    Grant,
    /// Requests for a grant in a conversation that has one already. The answers reuse it.
    Again,
    /// Calls that check whether a grant is still valid.
    Check,
    /// Profiles recomputed from their events. Each profile is read with its person's own token. With a
    /// steward's token, each read would be recorded as an event, and the measurement would include that
    /// write.
    Rebuild,
    /// Erasures with scope `all`, each measured until its certificate is returned. Each person is erased
    /// once, so --subjects must be large enough.
    Erase,
    /// Time from the acknowledgment of a withdrawal until every watch (--watchers) has received the
    /// revocation.
    Revoke,
    /// One export of the whole log, and its repeated verification, as by `sayso verify`.
    Verify,
    /// The ceiling for all other modes: how many calls the transport alone achieves. The benchmark
    /// runs a server that only echoes, in a separate process.
    Echo,
    /// The server of `echo`.
    #[value(hide = true)]
    EchoServer,
}

impl Mode {
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Whether the mode needs people whose attributes (and, for some modes, consents and grants) were
    /// recorded before the measurement.
    pub fn needs_preparation(self) -> bool {
        !matches!(self, Self::Append | Self::Ingest | Self::Verify | Self::Echo | Self::EchoServer)
    }
}

/// Measure a running daemon: throughput and latency.
///
/// The load comes from workers (--concurrency), which call in parallel and never share a person.
/// They use the tokens in a `--dev` daemon's data folder (--data). Without --rate, a worker calls
/// again as soon as it has its answer. With --rate, each call is due at a fixed time. Its latency
/// counts from that time, even if the call starts late (no coordinated omission).
///
/// Example: `sayso bench append --concurrency 64 --duration 10s`
#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct Bench {
    /// What to measure.
    #[arg(value_enum)]
    pub mode: Mode,
    /// Connections to spread the load over.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=1024))]
    pub connections: u64,
    /// Largest number of requests in flight: one for each worker or, for `ingest`, the messages that
    /// wait for their answers.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    pub concurrency: u64,
    /// Time to measure, after the warm-up.
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    pub duration: Duration,
    /// Time to run first without measuring, until the daemon has warmed up.
    #[arg(long, default_value = "2s", value_parser = parse_duration)]
    pub warm_up: Duration,
    /// Make this many calls and measure all of them, instead of --duration and --warm-up.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub calls: Option<u64>,
    /// Calls to start each second, over all workers. Default: each worker calls again as soon as it
    /// has its answer.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub rate: Option<u64>,
    /// Number of people that the load is about; raised to the number of workers if it is smaller.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub subjects: u64,
    /// Name of the group of people. A later run with the same name uses the same people. Default: a
    /// new group each run.
    #[arg(long, value_name = "NAME")]
    pub people: Option<String>,
    /// Number of the group's first person that this run uses, counted from 0. With it, several runs
    /// can use different people of one group.
    #[arg(long, default_value_t = 0)]
    pub first: u64,
    /// Skip the preparation, because an earlier run prepared these people. Not possible for `check`
    /// and `revoke`, because only the run that prepares grants knows their IDs.
    #[arg(long, requires = "people")]
    pub prepared: bool,
    /// Length of a recorded value or of an echoed message, in bytes.
    #[arg(long, default_value_t = 450, value_parser = clap::value_parser!(u64).range(2..=16_384))]
    pub value_bytes: u64,
    /// Number of events in one message of `ingest`.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=128))]
    pub events_per_call: u64,
    /// Number of watches in `revoke`.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub watchers: u64,
    /// Also measure the ceiling (`echo`) before and after the measurement, with the same number of
    /// workers. The report has the mode's calls per second as a fraction of the ceiling.
    #[arg(long)]
    pub with_echo: bool,
}

impl Bench {
    /// The schedule of a run that starts now, with this many workers.
    pub(super) fn plan(&self, workers: u64) -> Plan {
        Plan::new(LoadOptions {
            subjects: self.subjects,
            workers,
            warm_up: self.warm_up,
            duration: self.duration,
            calls: self.calls,
            rate: self.rate,
        })
    }
}
