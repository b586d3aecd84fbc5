//! Workers that call until the time is over, and how long each call took.

use super::people::Load;
use super::{Clients, Mode};
use crate::cli::error::CliError;
use hdrhistogram::Histogram;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// Longest latency told apart, microseconds; longer ones count as it.
const LATENCY_MAX_US: u64 = 600_000_000;
/// Wait after being turned away, where the daemon names none.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// What workers share.
#[derive(Debug)]
pub(super) struct Plan {
    pub load: Load,
    /// Grants to check, by person.
    pub grants: Vec<String>,
    pub workers: u64,
    pub start: Instant,
    pub measuring_from: Instant,
    pub until: Instant,
    /// Calls that begin each second, in all; none: as soon as a worker is free.
    pub rate: Option<u64>,
}

/// What was measured.
#[derive(Debug)]
pub(super) struct Measured {
    /// Of calls that were due while it was measured, microseconds, answered or not before its end.
    pub latencies: Histogram<u64>,
    /// Calls answered while it was measured.
    pub answered: u64,
    /// Calls that were turned away because queues were full.
    pub overloaded: u64,
    /// What ended a worker early.
    pub failed: Option<CliError>,
}

impl Measured {
    fn new() -> Result<Self, CliError> {
        let latencies = Histogram::new_with_bounds(1, LATENCY_MAX_US, 3).map_err(CliError::failed)?;
        Ok(Self { latencies, answered: 0, overloaded: 0, failed: None })
    }

    fn add(&mut self, other: Self) -> Result<(), CliError> {
        self.latencies.add(&other.latencies).map_err(CliError::failed)?;
        self.answered = self.answered.saturating_add(other.answered);
        self.overloaded = self.overloaded.saturating_add(other.overloaded);
        self.failed = self.failed.take().or(other.failed);
        Ok(())
    }

    /// A call that was due, and answered.
    fn note(&mut self, plan: &Plan, due: Instant, end: Instant) {
        if due >= plan.measuring_from && due < plan.until {
            let micros = u64::try_from(end.duration_since(due).as_micros()).unwrap_or(u64::MAX);
            self.latencies.saturating_record(micros);
        }
        if end >= plan.measuring_from && end < plan.until {
            self.answered = self.answered.saturating_add(1);
        }
    }
}

/// Runs every worker to its end.
pub(super) async fn run(plan: Arc<Plan>, clients: &[Clients]) -> Result<Measured, CliError> {
    let mut workers = Vec::new();
    for (worker, clients) in (0..plan.workers).zip(clients.iter().cycle()) {
        workers.push(tokio::spawn(work(Arc::clone(&plan), clients.clone(), worker)));
    }
    let mut all = Measured::new()?;
    for worker in workers {
        all.add(worker.await.map_err(CliError::failed)??)?;
    }
    Ok(all)
}

/// When a worker's `turn`th call is due: the calls of all workers are spread evenly. None: at once.
fn due(plan: &Plan, worker: u64, turn: u64) -> Option<Instant> {
    let rate = plan.rate?;
    let number = turn.saturating_mul(plan.workers).saturating_add(worker);
    let nanos = u128::from(number).saturating_mul(1_000_000_000) / u128::from(rate.max(1));
    plan.start.checked_add(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
}

/// How many people are a worker's own.
fn own_people(plan: &Plan, worker: u64) -> u64 {
    plan.load.subjects.saturating_sub(worker).div_ceil(plan.workers.max(1)).max(1)
}

/// The person of a worker's `turn`th call: workers never share one, and go round among theirs.
fn person(plan: &Plan, worker: u64, turn: u64) -> u64 {
    (turn % own_people(plan, worker)).saturating_mul(plan.workers).saturating_add(worker)
}

async fn work(plan: Arc<Plan>, mut clients: Clients, worker: u64) -> Result<Measured, CliError> {
    let mut own = Measured::new()?;
    for turn in 0_u64.. {
        let due = due(&plan, worker, turn);
        if let Some(due) = due {
            tokio::time::sleep_until(due.min(plan.until).into()).await;
        }
        let start = Instant::now();
        if start >= plan.until {
            break;
        }
        if plan.load.mode == Mode::Erase && turn >= own_people(&plan, worker) {
            let told =
                "nobody is left to be erased: measure for a shorter --duration, or with more --subjects";
            own.failed = Some(CliError::usage(told));
            break;
        }
        let number = turn.saturating_mul(plan.workers).saturating_add(worker);
        let person = person(&plan, worker, turn);
        match plan.load.call(&mut clients, person, number, &plan.grants).await {
            // What a late call waited for its turn is part of what a user would have waited.
            Ok(()) => own.note(&plan, due.unwrap_or(start), Instant::now()),
            Err(status) if status.code() == Code::ResourceExhausted => {
                own.overloaded = own.overloaded.saturating_add(1);
                tokio::time::sleep(retry_after(&status)).await;
            }
            Err(status) => {
                own.failed = Some(status.into());
                break;
            }
        }
    }
    Ok(own)
}

fn retry_after(status: &Status) -> Duration {
    status.get_details_retry_info().and_then(|info| info.retry_delay).unwrap_or(RETRY_AFTER)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::super::Mode;
    use super::*;
    use std::collections::BTreeMap;

    fn plan(workers: u64, subjects: u64, rate: Option<u64>) -> Plan {
        let start = Instant::now();
        let measuring_from = start + Duration::from_secs(1);
        let load = Load { mode: Mode::Append, run: 0, subjects, value_bytes: 10 };
        let until = measuring_from + Duration::from_secs(1);
        Plan { load, grants: Vec::new(), workers, start, measuring_from, until, rate }
    }

    #[test]
    fn workers_keep_to_their_own_people_and_reach_all() {
        for (workers, subjects) in [(1, 1), (3, 3), (4, 10), (7, 1000)] {
            let plan = plan(workers, subjects, None);
            let mut owner = BTreeMap::new();
            for worker in 0..workers {
                for turn in 0..2 * subjects {
                    let whose = person(&plan, worker, turn);
                    assert!(whose < subjects);
                    assert_eq!(*owner.entry(whose).or_insert(worker), worker);
                }
            }
            assert_eq!(owner.len() as u64, subjects);
        }
    }

    #[test]
    fn calls_are_due_evenly() {
        let plan = plan(2, 2, Some(1_000));
        let after = |worker, turn| due(&plan, worker, turn).unwrap() - plan.start;
        assert_eq!(after(0, 0), Duration::ZERO);
        assert_eq!(after(1, 0), Duration::from_millis(1));
        assert_eq!(after(0, 500), Duration::from_secs(1));
        assert!(due(&self::plan(1, 1, None), 0, 5).is_none());
    }

    #[test]
    fn waiting_counts_and_slow_calls_are_not_lost() {
        let plan = plan(1, 1, Some(1));
        let ms = Duration::from_millis;
        let mut measured = Measured::new().unwrap();
        // Due before it was measured, answered within: throughput only.
        measured.note(&plan, plan.measuring_from - ms(10), plan.measuring_from + ms(5));
        assert_eq!((measured.answered, measured.latencies.len()), (1, 0));
        // Due within, answered after the end: its latency only.
        measured.note(&plan, plan.until - ms(10), plan.until + ms(490));
        assert_eq!((measured.answered, measured.latencies.len()), (1, 1));
        let slow = measured.latencies.max();
        assert!((495_000..=505_000).contains(&slow), "{slow}");
    }
}
