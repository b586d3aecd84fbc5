//! Workers that call until the time is over, and how long each call took.

use crate::cli::error::CliError;
use crate::cli::progress;
use hdrhistogram::Histogram;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// Longest latency told apart, microseconds; longer ones count as it.
const LATENCY_MAX_US: u64 = 600_000_000;
/// Wait after being turned away, where the daemon names none.
const RETRY_AFTER: Duration = Duration::from_millis(100);
/// A run of so many calls ends by then, whatever happens.
const CALLS_TIME_MAX: Duration = Duration::from_secs(86_400);
/// Persons are taken in steps of this prime, so that neighbours in time are no neighbours in number.
const STEP: u64 = 2_654_435_761;
/// How often the progress is drawn.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

/// What is asked of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub subjects: u64,
    pub workers: u64,
    pub warm_up: Duration,
    pub duration: Duration,
    pub calls: Option<u64>,
    pub rate: Option<u64>,
}

/// What workers share.
#[derive(Debug)]
pub(super) struct Plan {
    pub workers: u64,
    pub start: Instant,
    pub measuring_from: Instant,
    pub until: Instant,
    subjects: u64,
    /// Calls that begin each second, in all; none: as soon as a worker is free.
    rate: Option<u64>,
    /// Calls in all; none: until the time is over.
    calls: Option<u64>,
    begun: AtomicU64,
}

/// One call: whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    /// The run's `number`th call.
    pub number: u64,
    pub person: u64,
    /// How often this person had a turn before.
    pub pass: u64,
}

/// What calls. Each worker has its own.
pub(super) trait Ask: Clone + Send + 'static {
    /// One call, to its answer.
    fn ask(&mut self, turn: Turn) -> impl Future<Output = Result<(), Status>> + Send;
}

impl Plan {
    /// From now on.
    pub fn new(asked: Asked) -> Self {
        let start = Instant::now();
        let measuring_from = if asked.calls.is_some() { start } else { start + asked.warm_up };
        let time = if asked.calls.is_some() { CALLS_TIME_MAX } else { asked.duration };
        Self {
            workers: asked.workers.max(1),
            start,
            measuring_from,
            until: measuring_from + time,
            subjects: asked.subjects.max(asked.workers),
            rate: asked.rate,
            calls: asked.calls,
            begun: AtomicU64::new(0),
        }
    }

    /// When a worker's `turn`th call is due: the calls of all workers are spread evenly. None: at once.
    pub fn due(&self, worker: u64, turn: u64) -> Option<Instant> {
        let nanos = u128::from(self.number(worker, turn)).saturating_mul(1_000_000_000);
        let nanos = nanos / u128::from(self.rate?.max(1));
        self.start.checked_add(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }

    /// A worker's next call, once it is due, and when that was. None: all were made, or the time is over.
    pub async fn next(&self, worker: u64, turn: u64) -> Option<(Turn, Instant)> {
        let due = self.due(worker, turn);
        if let Some(due) = due {
            tokio::time::sleep_until(due.min(self.until).into()).await;
        }
        let (now, turn) = (Instant::now(), self.turn(worker, turn));
        let ended = now >= self.until || self.calls.is_some_and(|calls| turn.number >= calls);
        if ended {
            return None;
        }
        self.begun.fetch_add(1, Ordering::Relaxed);
        // What a late call waited for its turn is part of what a user would have waited.
        Some((turn, due.unwrap_or(now)))
    }

    fn number(&self, worker: u64, turn: u64) -> u64 {
        turn.saturating_mul(self.workers).saturating_add(worker)
    }

    /// Workers never share a person, and go round among theirs.
    fn turn(&self, worker: u64, turn: u64) -> Turn {
        let own = self.subjects.saturating_sub(worker).div_ceil(self.workers).max(1);
        let place = u128::from(turn % own) * u128::from(STEP) % u128::from(own);
        let place = u64::try_from(place).unwrap_or_default();
        let person = place.saturating_mul(self.workers).saturating_add(worker);
        Turn { number: self.number(worker, turn), person, pass: turn / own }
    }

    /// Shows how far it is until it is ended.
    pub fn show(self: &Arc<Self>) -> JoinHandle<()> {
        let plan = Arc::clone(self);
        let seconds = plan.until.duration_since(plan.start).as_secs();
        let bar = progress::entries(plan.calls.unwrap_or(seconds), "measuring");
        tokio::spawn(async move {
            loop {
                let seconds = plan.start.elapsed().as_secs();
                bar.set_position(plan.calls.map_or(seconds, |_| plan.begun.load(Ordering::Relaxed)));
                tokio::time::sleep(PROGRESS_INTERVAL).await;
            }
        })
    }
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
    /// How long it was measured.
    pub took: Duration,
    /// What ended a worker early.
    pub failed: Option<CliError>,
}

impl Measured {
    pub fn new() -> Result<Self, CliError> {
        let latencies = Histogram::new_with_bounds(1, LATENCY_MAX_US, 3).map_err(CliError::failed)?;
        Ok(Self { latencies, answered: 0, overloaded: 0, took: Duration::ZERO, failed: None })
    }

    pub fn add(&mut self, other: Self) -> Result<(), CliError> {
        self.latencies.add(&other.latencies).map_err(CliError::failed)?;
        self.answered = self.answered.saturating_add(other.answered);
        self.overloaded = self.overloaded.saturating_add(other.overloaded);
        self.failed = self.failed.take().or(other.failed);
        Ok(())
    }

    /// A call that was due, and answered.
    pub fn note(&mut self, plan: &Plan, due: Instant, end: Instant) {
        if due >= plan.measuring_from && due < plan.until {
            self.latencies.saturating_record(micros(end.duration_since(due)));
        }
        if end >= plan.measuring_from && end < plan.until {
            self.answered = self.answered.saturating_add(1);
        }
    }

    /// When everything is answered: what calls a second are counted over.
    pub fn end(&mut self, plan: &Plan) {
        self.took = Instant::now().min(plan.until).saturating_duration_since(plan.measuring_from);
    }

    pub fn calls_per_s(&self) -> f64 {
        self.answered as f64 / self.took.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Runs every worker to its end.
pub(super) async fn run<A: Ask>(plan: Plan, askers: Vec<A>) -> Result<Measured, CliError> {
    let plan = Arc::new(plan);
    let shown = plan.show();
    let mut workers = Vec::new();
    for (worker, asker) in (0..plan.workers).zip(askers.iter().cycle()) {
        workers.push(tokio::spawn(work(Arc::clone(&plan), asker.clone(), worker)));
    }
    let mut all = Measured::new()?;
    for worker in workers {
        all.add(worker.await.map_err(CliError::failed)??)?;
    }
    all.end(&plan);
    shown.abort();
    Ok(all)
}

async fn work<A: Ask>(plan: Arc<Plan>, mut asker: A, worker: u64) -> Result<Measured, CliError> {
    let mut own = Measured::new()?;
    for turn in 0_u64.. {
        let Some((turn, due)) = plan.next(worker, turn).await else { break };
        match asker.ask(turn).await {
            Ok(()) => own.note(&plan, due, Instant::now()),
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
    use super::*;
    use std::collections::BTreeMap;

    fn asked(workers: u64, subjects: u64) -> Asked {
        let second = Duration::from_secs(1);
        Asked { subjects, workers, warm_up: second, duration: second, calls: None, rate: None }
    }

    #[test]
    fn workers_keep_to_their_own_people_and_reach_all_in_each_pass() {
        for (workers, subjects) in [(1, 1), (3, 3), (4, 10), (7, 1000), (64, 10_007)] {
            let plan = Plan::new(asked(workers, subjects));
            let (mut owner, mut passes) = (BTreeMap::new(), BTreeMap::new());
            for worker in 0..workers {
                let own = (subjects - worker).div_ceil(workers);
                for turn in 0..2 * own {
                    let whose = plan.turn(worker, turn);
                    assert!(whose.person < subjects);
                    assert_eq!(*owner.entry(whose.person).or_insert(worker), worker);
                    assert_eq!(whose.pass, *passes.get(&whose.person).unwrap_or(&0));
                    *passes.entry(whose.person).or_insert(0) += 1;
                }
            }
            assert_eq!(owner.len() as u64, subjects);
            assert!(passes.values().all(|passes| *passes == 2));
        }
    }

    #[test]
    fn calls_are_due_evenly() {
        let plan = Plan::new(Asked { rate: Some(1_000), ..asked(2, 2) });
        let after = |worker, turn| plan.due(worker, turn).unwrap() - plan.start;
        assert_eq!(after(0, 0), Duration::ZERO);
        assert_eq!(after(1, 0), Duration::from_millis(1));
        assert_eq!(after(0, 500), Duration::from_secs(1));
        assert!(Plan::new(asked(1, 1)).due(0, 5).is_none());
    }

    #[tokio::test]
    async fn so_many_calls_are_made_and_no_more() {
        #[derive(Clone)]
        struct Count(Arc<AtomicU64>);
        impl Ask for Count {
            async fn ask(&mut self, _turn: Turn) -> Result<(), Status> {
                self.0.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
        }
        let count = Arc::new(AtomicU64::new(0));
        let plan = Plan::new(Asked { calls: Some(1_001), ..asked(8, 10) });
        let measured = run(plan, vec![Count(Arc::clone(&count))]).await.unwrap();
        assert_eq!((count.load(Ordering::Relaxed), measured.answered), (1_001, 1_001));
        assert_eq!(measured.latencies.len(), 1_001);
    }

    #[test]
    fn waiting_counts_and_slow_calls_are_not_lost() {
        let plan = Plan::new(Asked { rate: Some(1), ..asked(1, 1) });
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
