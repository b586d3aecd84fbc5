//! Runs the workers of a benchmark, which make calls in parallel until the time is over or all calls are
//! made, and measures each call.

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

/// Longest latency that is measured, in microseconds. A longer latency counts as this long.
const LATENCY_MAX_US: u64 = 600_000_000;
/// How long a worker waits after the daemon refused a call as overloaded, if the daemon named no delay.
const RETRY_AFTER: Duration = Duration::from_millis(100);
/// Time limit of a run with --calls.
const CALLS_TIME_MAX: Duration = Duration::from_secs(86_400);
/// A worker visits its subjects in steps of this prime and not one after the other, so that
/// consecutive calls are not about subjects with neighboring numbers.
const STEP: u64 = 2_654_435_761;
/// Interval at which the progress bar is redrawn.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

/// The load of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct LoadOptions {
    pub subjects: u64,
    pub workers: u64,
    pub warm_up: Duration,
    pub duration: Duration,
    /// Number of calls, instead of a duration.
    pub calls: Option<u64>,
    /// Calls that start each second, over all workers.
    pub rate: Option<u64>,
}

/// The schedule of a run, shared by its workers.
#[derive(Debug)]
pub(super) struct Plan {
    pub workers: u64,
    pub start: Instant,
    pub measuring_from: Instant,
    pub until: Instant,
    subjects: u64,
    /// Calls that start each second, over all workers. With `None`, a call starts as soon as a worker is
    /// free.
    rate: Option<u64>,
    /// Number of calls, over all workers. With `None`, workers call until the time is over.
    calls: Option<u64>,
    started: AtomicU64,
}

/// One call of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Call {
    /// Number of the call in the run.
    pub number: u64,
    /// Number of the data subject that the call is about.
    pub subject: u64,
    /// Number of earlier calls in this run that were about the same subject.
    pub pass: u64,
}

/// Makes the calls of one mode of the benchmark. Each worker has its own clone.
pub(super) trait Caller: Clone + Send + 'static {
    /// Makes one call and waits for its response.
    fn call(&mut self, call: Call) -> impl Future<Output = Result<(), Status>> + Send;
}

impl Plan {
    /// A schedule that starts now.
    pub fn new(options: LoadOptions) -> Self {
        let start = Instant::now();
        let measuring_from = if options.calls.is_some() { start } else { start + options.warm_up };
        let time = if options.calls.is_some() { CALLS_TIME_MAX } else { options.duration };
        Self {
            workers: options.workers.max(1),
            start,
            measuring_from,
            until: measuring_from + time,
            subjects: options.subjects.max(options.workers),
            rate: options.rate,
            calls: options.calls,
            started: AtomicU64::new(0),
        }
    }

    /// Returns the time at which call number `turn` of a worker is due. With a rate, the due times of all
    /// workers' calls are spread evenly. `None`: no rate is set, so the call is due immediately.
    pub fn due(&self, worker: u64, turn: u64) -> Option<Instant> {
        let nanos = u128::from(self.number(worker, turn)).saturating_mul(1_000_000_000);
        let nanos = nanos / u128::from(self.rate?.max(1));
        self.start.checked_add(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }

    /// Waits until call number `turn` of a worker is due. Returns the call and the time at which it was due.
    /// `None` means that all calls are made, or the time is over.
    pub async fn next(&self, worker: u64, turn: u64) -> Option<(Call, Instant)> {
        let due = self.due(worker, turn);
        if let Some(due) = due {
            tokio::time::sleep_until(due.min(self.until).into()).await;
        }
        let (now, call) = (Instant::now(), self.call(worker, turn));
        let ended = now >= self.until || self.calls.is_some_and(|calls| call.number >= calls);
        if ended {
            return None;
        }
        self.started.fetch_add(1, Ordering::Relaxed);
        // A user would also have waited for a late call, so its latency counts from when it was due.
        Some((call, due.unwrap_or(now)))
    }

    fn number(&self, worker: u64, turn: u64) -> u64 {
        turn.saturating_mul(self.workers).saturating_add(worker)
    }

    /// Returns call number `turn` of a worker. Workers never share a subject, and a worker visits all of its
    /// subjects before it visits one again.
    fn call(&self, worker: u64, turn: u64) -> Call {
        let own = self.subjects.saturating_sub(worker).div_ceil(self.workers).max(1);
        let place = u128::from(turn % own) * u128::from(STEP) % u128::from(own);
        let place = u64::try_from(place).unwrap_or_default();
        let subject = place.saturating_mul(self.workers).saturating_add(worker);
        Call { number: self.number(worker, turn), subject, pass: turn / own }
    }

    /// Draws a progress bar until the task is aborted.
    pub fn show(self: &Arc<Self>) -> JoinHandle<()> {
        let plan = Arc::clone(self);
        let seconds = plan.until.duration_since(plan.start).as_secs();
        let bar = progress::entries(plan.calls.unwrap_or(seconds), "measuring");
        tokio::spawn(async move {
            loop {
                let seconds = plan.start.elapsed().as_secs();
                bar.set_position(plan.calls.map_or(seconds, |_| plan.started.load(Ordering::Relaxed)));
                tokio::time::sleep(PROGRESS_INTERVAL).await;
            }
        })
    }
}

/// The measurements of a run.
#[derive(Debug)]
pub(super) struct Measured {
    /// Latencies in microseconds of the calls that were due during the measurement, even if their
    /// answers arrived after its end.
    pub latencies: Histogram<u64>,
    /// Calls answered during the measurement.
    pub answered: u64,
    /// Calls that the daemon refused as overloaded.
    pub overloaded: u64,
    /// Length of the measurement.
    pub took: Duration,
    /// The error that stopped a worker.
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

    /// Records an answered call.
    pub fn record(&mut self, plan: &Plan, due: Instant, end: Instant) {
        if due >= plan.measuring_from && due < plan.until {
            self.latencies.saturating_record(micros(end.duration_since(due)));
        }
        if end >= plan.measuring_from && end < plan.until {
            self.answered = self.answered.saturating_add(1);
        }
    }

    /// Sets the length of the measurement. Call it once all calls are answered.
    pub fn finish(&mut self, plan: &Plan) {
        self.took = Instant::now().min(plan.until).saturating_duration_since(plan.measuring_from);
    }

    pub fn calls_per_s(&self) -> f64 {
        self.answered as f64 / self.took.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Runs all workers until they are done, and returns their measurements together. Each worker gets
/// a clone of one of the callers, which are assigned in round-robin order.
pub(super) async fn run<C: Caller>(plan: Plan, callers: Vec<C>) -> Result<Measured, CliError> {
    let plan = Arc::new(plan);
    let shown = plan.show();
    let mut workers = Vec::new();
    for (worker, caller) in (0..plan.workers).zip(callers.iter().cycle()) {
        workers.push(tokio::spawn(work(Arc::clone(&plan), caller.clone(), worker)));
    }
    let mut all = Measured::new()?;
    for worker in workers {
        all.add(worker.await.map_err(CliError::failed)??)?;
    }
    all.finish(&plan);
    shown.abort();
    Ok(all)
}

async fn work<C: Caller>(plan: Arc<Plan>, mut caller: C, worker: u64) -> Result<Measured, CliError> {
    let mut own = Measured::new()?;
    for turn in 0_u64.. {
        let Some((call, due)) = plan.next(worker, turn).await else { break };
        match caller.call(call).await {
            Ok(()) => own.record(&plan, due, Instant::now()),
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

    fn options(workers: u64, subjects: u64) -> LoadOptions {
        let second = Duration::from_secs(1);
        LoadOptions { subjects, workers, warm_up: second, duration: second, calls: None, rate: None }
    }

    #[test]
    fn workers_share_no_subject_and_visit_all_of_theirs_in_each_pass() {
        for (workers, subjects) in [(1, 1), (3, 3), (4, 10), (7, 1000), (64, 10_007)] {
            let plan = Plan::new(options(workers, subjects));
            let (mut owner, mut passes) = (BTreeMap::new(), BTreeMap::new());
            for worker in 0..workers {
                let own = (subjects - worker).div_ceil(workers);
                for turn in 0..2 * own {
                    let call = plan.call(worker, turn);
                    assert!(call.subject < subjects);
                    assert_eq!(*owner.entry(call.subject).or_insert(worker), worker);
                    assert_eq!(call.pass, *passes.get(&call.subject).unwrap_or(&0));
                    *passes.entry(call.subject).or_insert(0) += 1;
                }
            }
            assert_eq!(owner.len() as u64, subjects);
            assert!(passes.values().all(|passes| *passes == 2));
        }
    }

    #[test]
    fn calls_are_due_at_even_intervals() {
        let plan = Plan::new(LoadOptions { rate: Some(1_000), ..options(2, 2) });
        let after = |worker, turn| plan.due(worker, turn).unwrap() - plan.start;
        assert_eq!(after(0, 0), Duration::ZERO);
        assert_eq!(after(1, 0), Duration::from_millis(1));
        assert_eq!(after(0, 500), Duration::from_secs(1));
        assert!(Plan::new(options(1, 1)).due(0, 5).is_none());
    }

    #[tokio::test]
    async fn exactly_the_requested_number_of_calls_is_made() {
        #[derive(Clone)]
        struct Count(Arc<AtomicU64>);
        impl Caller for Count {
            async fn call(&mut self, _call: Call) -> Result<(), Status> {
                self.0.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
        }
        let count = Arc::new(AtomicU64::new(0));
        let plan = Plan::new(LoadOptions { calls: Some(1_001), ..options(8, 10) });
        let measured = run(plan, vec![Count(Arc::clone(&count))]).await.unwrap();
        assert_eq!((count.load(Ordering::Relaxed), measured.answered), (1_001, 1_001));
        assert_eq!(measured.latencies.len(), 1_001);
    }

    #[test]
    fn latencies_include_waiting_and_answers_after_the_end() {
        let plan = Plan::new(LoadOptions { rate: Some(1), ..options(1, 1) });
        let ms = Duration::from_millis;
        let mut measured = Measured::new().unwrap();
        // Due during the warm-up and answered during the measurement: counts for the throughput only.
        measured.record(&plan, plan.measuring_from - ms(10), plan.measuring_from + ms(5));
        assert_eq!((measured.answered, measured.latencies.len()), (1, 0));
        // Due during the measurement and answered after it: counts for the latency only.
        measured.record(&plan, plan.until - ms(10), plan.until + ms(490));
        assert_eq!((measured.answered, measured.latencies.len()), (1, 1));
        let slow = measured.latencies.max();
        assert!((495_000..=505_000).contains(&slow), "{slow}");
    }
}
