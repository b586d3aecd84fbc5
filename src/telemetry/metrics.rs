//! Numbers for Prometheus. Labels are methods, codes, kinds and tiers: words of ours, never a caller's.

use super::classic::classic;
use super::folder::{Usage, usage};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{OnceLock, PoisonError, RwLock};
use std::time::Duration;

type Label = (&'static str, String);

/// What is true at the moment of a scrape.
#[derive(Clone, Copy, Debug, Default)]
pub struct Standing {
    /// Entries in the log.
    pub entries: u64,
    /// Bytes of entries kept.
    pub entry_bytes: u64,
    /// Subjects that something is held about.
    pub subjects: u64,
    /// Writes are taken.
    pub ready: bool,
    /// Erasures whose keys are gone and that are not yet complete.
    pub erasures_unfinished: u64,
    /// A backup came back, and use waits until somebody confirms it.
    pub restore_unconfirmed: bool,
    /// The machine's clock is not believed, and use is denied.
    pub clock_skewed: bool,
    /// How far it is off, milliseconds: positive where it is ahead.
    pub clock_skew_ms: i64,
}

/// How far an erasure came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErasureStep {
    /// Its keys are about to be destroyed.
    Begun,
    /// It is recorded as complete.
    Completed,
    /// It was taken up again after a crash or a failure.
    Resumed,
    /// It ended in an error; the next start, or the same request again, takes it up.
    Failed,
}

impl ErasureStep {
    const ALL: [Self; 4] = [Self::Begun, Self::Completed, Self::Resumed, Self::Failed];

    fn name(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Completed => "completed",
            Self::Resumed => "resumed",
            Self::Failed => "failed",
        }
    }
}

/// What witnesses say.
#[derive(Default)]
struct Witnessed {
    answers: Family<[Label; 3], Counter>,
    configured: Family<[Label; 1], Gauge>,
    needed: Family<[Label; 1], Gauge>,
    entries: Family<[Label; 1], Gauge>,
    enough: Family<[Label; 1], Gauge>,
}

/// Counts the calls of one method: finds its numbers once, and not at each call.
pub struct CallMeter {
    method: String,
    calls: Family<[Label; 2], Counter>,
    all_seconds: Family<[Label; 1], Histogram>,
    seconds: OnceLock<Histogram>,
    /// Owned by [`CallMeter::answered`].
    by_code: RwLock<Vec<(&'static str, Counter)>>,
}

impl CallMeter {
    /// A call was answered. `code` is a word of ours.
    pub fn answered(&self, code: &'static str, took: Duration) {
        let seconds = || self.all_seconds.get_or_create_owned(&[("method", self.method.clone())]);
        self.seconds.get_or_init(seconds).observe(took.as_secs_f64());
        let known = self.by_code.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, counter)) = known.iter().find(|(each, _)| *each == code) {
            counter.inc();
            return;
        }
        drop(known);
        let labels = [("method", self.method.clone()), ("code", code.to_owned())];
        let counter = self.calls.get_or_create_owned(&labels);
        counter.inc();
        self.by_code.write().unwrap_or_else(PoisonError::into_inner).push((code, counter));
    }
}

/// The numbers of this process: one daemon a process is what Prometheus scrapes.
pub struct Metrics {
    registry: Registry,
    calls: Family<[Label; 2], Counter>,
    seconds: Family<[Label; 1], Histogram>,
    batch_events: Histogram,
    flush_seconds: Histogram,
    queued: Gauge,
    events: Family<[Label; 1], Counter>,
    allowed: Counter,
    withheld: Family<[Label; 1], Counter>,
    revocation_seconds: Histogram,
    revocations_delayed: Counter,
    sweep_failures: Counter,
    erasures: Family<[Label; 1], Counter>,
    erasures_unfinished: Family<[Label; 1], Gauge>,
    restore_unconfirmed: Family<[Label; 1], Gauge>,
    clock_skewed: Family<[Label; 1], Gauge>,
    clock_skew_seconds: Family<[Label; 1], Gauge>,
    handshakes_failed: Counter,
    cut_off: Counter,
    panics: Counter,
    entries: Family<[Label; 1], Gauge>,
    entry_bytes: Family<[Label; 1], Gauge>,
    subjects: Family<[Label; 1], Gauge>,
    ready: Family<[Label; 1], Gauge>,
    witnesses: Witnessed,
    issuer_keys: Family<[Label; 1], Gauge>,
    issuer_keys_age: Family<[Label; 1], Gauge>,
    data_bytes: Gauge,
    free_bytes: Gauge,
    folder: OnceLock<PathBuf>,
    /// Owned by [`Metrics::name_events`].
    event_names: RwLock<HashMap<u32, String>>,
    /// Owned by [`Metrics::event`]: what counts each kind that was seen.
    event_meters: RwLock<HashMap<u32, Counter>>,
}

/// The numbers of this process.
pub fn metrics() -> &'static Metrics {
    static METRICS: OnceLock<Metrics> = OnceLock::new();
    METRICS.get_or_init(Metrics::new)
}

fn latency() -> Histogram {
    // 100 µs to 6.5 s.
    Histogram::new(exponential_buckets(0.0001, 2.0, 17))
}

impl Metrics {
    fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("sayso"),
            calls: Family::default(),
            seconds: Family::new_with_constructor(latency),
            batch_events: Histogram::new(exponential_buckets(1.0, 2.0, 13)),
            flush_seconds: latency(),
            queued: Gauge::default(),
            events: Family::default(),
            allowed: Counter::default(),
            withheld: Family::default(),
            revocation_seconds: latency(),
            revocations_delayed: Counter::default(),
            sweep_failures: Counter::default(),
            erasures: Family::default(),
            erasures_unfinished: Family::default(),
            restore_unconfirmed: Family::default(),
            clock_skewed: Family::default(),
            clock_skew_seconds: Family::default(),
            handshakes_failed: Counter::default(),
            cut_off: Counter::default(),
            panics: Counter::default(),
            entries: Family::default(),
            entry_bytes: Family::default(),
            subjects: Family::default(),
            ready: Family::default(),
            witnesses: Witnessed::default(),
            issuer_keys: Family::default(),
            issuer_keys_age: Family::default(),
            data_bytes: Gauge::default(),
            free_bytes: Gauge::default(),
            folder: OnceLock::new(),
            event_names: RwLock::default(),
            event_meters: RwLock::default(),
        };
        metrics.register_calls();
        metrics.register_rights();
        metrics.register_log();
        metrics.register_witnesses();
        metrics.register_store();
        metrics
    }

    fn register_calls(&mut self) {
        let to = &mut self.registry;
        to.register("calls", "gRPC calls answered, by method and code", self.calls.clone());
        to.register_with_unit(
            "call_duration",
            "Time to the answer's head, by method",
            Unit::Seconds,
            self.seconds.clone(),
        );
        to.register("panics", "Calls that ended in a panic", self.panics.clone());
        to.register(
            "connections_cut",
            "Connections closed for their address's number, for idleness or for a reader that does not read",
            self.cut_off.clone(),
        );
        to.register("handshakes_failed", "TLS handshakes that failed", self.handshakes_failed.clone());
        to.register(
            "issuer_keys",
            "Keys of the issuer of tokens that are trusted, of each controller that has another issuer",
            self.issuer_keys.clone(),
        );
        to.register_with_unit(
            "issuer_keys_age",
            "Time since these keys were last fetched, as of the last attempt",
            Unit::Seconds,
            self.issuer_keys_age.clone(),
        );
    }

    fn register_rights(&mut self) {
        let to = &mut self.registry;
        to.register("attributes_allowed", "Attributes that grants allowed", self.allowed.clone());
        to.register(
            "attributes_withheld",
            "Attributes withheld from grants, by the tier that decided",
            self.withheld.clone(),
        );
        to.register_with_unit(
            "revocation_duration",
            "From the record that a grant fell until its recipient's stream has it",
            Unit::Seconds,
            self.revocation_seconds.clone(),
        );
        to.register(
            "revocations_delayed",
            "Times that revocations in effect could not be recorded at once",
            self.revocations_delayed.clone(),
        );
        to.register(
            "rules_delayed",
            "Times that new rules could not be applied to one person's open grants at once",
            self.sweep_failures.clone(),
        );
        to.register("erasures", "Erasures by how far they came", self.erasures.clone());
        // At 0 from the start, so that the first failure is a rise.
        for step in ErasureStep::ALL {
            self.erasures.get_or_create(&[("state", step.name().to_owned())]).inc_by(0);
        }
        to.register(
            "erasures_unfinished",
            "Erasures whose keys are gone and that are not yet complete",
            self.erasures_unfinished.clone(),
        );
        to.register(
            "restore_unconfirmed",
            "1 where a backup came back and use waits until that is confirmed",
            self.restore_unconfirmed.clone(),
        );
        to.register(
            "clock_skewed",
            "1 while the machine's clock is not believed and use is denied",
            self.clock_skewed.clone(),
        );
        to.register_with_unit(
            "clock_skew",
            "How far the machine's clock is ahead of the ledger's time, negative where it is behind; 0 while it is believed",
            Unit::Seconds,
            self.clock_skew_seconds.clone(),
        );
    }

    fn register_log(&mut self) {
        let to = &mut self.registry;
        to.register("events", "Events made durable, by kind", self.events.clone());
        to.register("batch_events", "Events in a durable batch", self.batch_events.clone());
        to.register_with_unit(
            "flush_duration",
            "Time to make a batch durable",
            Unit::Seconds,
            self.flush_seconds.clone(),
        );
        to.register("queued_writes", "Writes that wait for the sequencer", self.queued.clone());
        to.register("log_entries", "Entries in the log", self.entries.clone());
        to.register_with_unit("log_size", "Bytes of entries kept", Unit::Bytes, self.entry_bytes.clone());
        to.register("subjects", "Subjects that something is held about", self.subjects.clone());
        to.register("ready", "1 while writes are taken", self.ready.clone());
    }

    fn register_witnesses(&mut self) {
        let (to, of) = (&mut self.registry, &self.witnesses);
        to.register("witness_answers", "What each witness said to a checkpoint", of.answers.clone());
        to.register("witness_configured", "Witnesses that are asked", of.configured.clone());
        to.register("witness_needed", "How many of them are enough", of.needed.clone());
        to.register("witness_entries", "Entries that enough witnesses have cosigned", of.entries.clone());
        to.register("witness_enough", "1 while enough cosign within the time set for it", of.enough.clone());
    }

    /// A witness, by its configured name, was asked about a log, by its origin; `outcome` is a word of ours.
    pub fn witness_said(&self, log: &str, witness: &str, outcome: &'static str) {
        let labels =
            [("log", log.to_owned()), ("witness", witness.to_owned()), ("outcome", outcome.to_owned())];
        self.witnesses.answers.get_or_create(&labels).inc();
    }

    /// A round of asking about a log, by its origin, is over.
    pub fn witnessed(&self, log: &str, configured: usize, needed: usize, entries: u64, is_enough: bool) {
        let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let (of, to) = ([("log", log.to_owned())], &self.witnesses);
        to.configured.get_or_create(&of).set(whole(configured as u64));
        to.needed.get_or_create(&of).set(whole(needed as u64));
        to.entries.get_or_create(&of).set(whole(entries));
        to.enough.get_or_create(&of).set(i64::from(is_enough));
    }

    fn register_store(&mut self) {
        let to = &mut self.registry;
        let built = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        to.register("build", "Which build this is", built);
        to.register_with_unit(
            "data_size",
            "Bytes that the data folder takes on its disk",
            Unit::Bytes,
            self.data_bytes.clone(),
        );
        to.register_with_unit(
            "data_free",
            "Bytes free on the disk of the data folder",
            Unit::Bytes,
            self.free_bytes.clone(),
        );
    }

    /// What counts the calls of one method, a word of ours.
    pub fn meter(&self, method: &str) -> CallMeter {
        let (calls, all_seconds) = (self.calls.clone(), self.seconds.clone());
        CallMeter {
            method: method.to_owned(),
            calls,
            all_seconds,
            seconds: OnceLock::new(),
            by_code: RwLock::default(),
        }
    }

    /// A call ended in a panic.
    pub fn panicked(&self) {
        self.panics.inc();
    }

    /// A TLS handshake failed.
    pub fn handshake_failed(&self) {
        self.handshakes_failed.inc();
    }

    /// So many keys of a controller's issuer of tokens are trusted, and they were fetched so long ago.
    pub fn issuer_keys(&self, controller: &str, trusted: usize, age: Duration) {
        let of = [("controller", controller.to_owned())];
        self.issuer_keys.get_or_create(&of).set(i64::try_from(trusted).unwrap_or(i64::MAX));
        self.issuer_keys_age.get_or_create(&of).set(i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
    }

    /// A connection was closed because of its bounds.
    pub fn cut_off(&self) {
        self.cut_off.inc();
    }

    /// A batch is durable.
    pub fn flushed(&self, events: usize, took: Duration) {
        self.batch_events.observe(u32::try_from(events).map_or(f64::INFINITY, f64::from));
        self.flush_seconds.observe(took.as_secs_f64());
    }

    /// A write waits for the sequencer.
    pub fn queued(&self) {
        self.queued.inc();
    }

    /// The sequencer took a write up.
    pub fn taken(&self) {
        self.queued.dec();
    }

    /// An event is durable; its kind is the field number within `EventBody.event`.
    pub fn event(&self, kind: u32) {
        if let Some(meter) = self.event_meters.read().unwrap_or_else(PoisonError::into_inner).get(&kind) {
            meter.inc();
            return;
        }
        let names = self.event_names.read().unwrap_or_else(PoisonError::into_inner);
        let name = names.get(&kind).cloned().unwrap_or_else(|| kind.to_string());
        let meter = self.events.get_or_create_owned(&[("kind", name)]);
        meter.inc();
        self.event_meters.write().unwrap_or_else(PoisonError::into_inner).insert(kind, meter);
    }

    /// How kinds of events are called.
    pub fn name_events(&self, names: HashMap<u32, String>) {
        *self.event_names.write().unwrap_or_else(PoisonError::into_inner) = names;
        self.event_meters.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// A grant allowed attributes.
    pub fn allowed(&self, attributes: usize) {
        self.allowed.inc_by(attributes as u64);
    }

    /// A recipient's stream was given what fell, so long after it was recorded.
    pub fn revocation_told(&self, after: Duration) {
        self.revocation_seconds.observe(after.as_secs_f64());
    }

    /// Revocations that are in effect could not be recorded at once.
    pub fn revocations_delayed(&self) {
        self.revocations_delayed.inc();
    }

    /// New rules could not be applied to one person's open grants yet.
    pub fn sweep_failed(&self) {
        self.sweep_failures.inc();
    }

    /// An erasure came so far.
    pub fn erasure(&self, step: ErasureStep) {
        self.erasures.get_or_create(&[("state", step.name().to_owned())]).inc();
    }

    /// Which folder to measure at each scrape.
    pub fn watch_folder(&self, data: PathBuf) {
        // A second daemon in one process (tests) keeps the first one's.
        let _already = self.folder.set(data);
    }

    /// Attributes were withheld from a grant.
    pub fn withheld(&self, tier: &'static str, attributes: u32) {
        self.withheld.get_or_create(&[("tier", tier.to_owned())]).inc_by(u64::from(attributes));
    }

    /// As [`Metrics::text`], in the Prometheus text format 0.0.4.
    ///
    /// # Errors
    /// As [`Metrics::text`].
    pub fn classic_text<'a>(
        &self,
        logs: impl IntoIterator<Item = (&'a str, Standing)>,
    ) -> Result<String, std::fmt::Error> {
        self.text(logs).map(|text| classic(&text))
    }

    /// All of it, in the OpenMetrics text format; what is true of each controller's log now, by its configured name.
    ///
    /// # Errors
    /// A number can't be written.
    pub fn text<'a>(
        &self,
        logs: impl IntoIterator<Item = (&'a str, Standing)>,
    ) -> Result<String, std::fmt::Error> {
        let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        for (controller, now) in logs {
            let of = [("controller", controller.to_owned())];
            self.entries.get_or_create(&of).set(whole(now.entries));
            self.entry_bytes.get_or_create(&of).set(whole(now.entry_bytes));
            self.subjects.get_or_create(&of).set(whole(now.subjects));
            self.erasures_unfinished.get_or_create(&of).set(whole(now.erasures_unfinished));
            self.restore_unconfirmed.get_or_create(&of).set(i64::from(now.restore_unconfirmed));
            self.clock_skewed.get_or_create(&of).set(i64::from(now.clock_skewed));
            self.clock_skew_seconds.get_or_create(&of).set(now.clock_skew_ms / 1_000);
            self.ready.get_or_create(&of).set(i64::from(now.ready));
        }
        let Usage { taken_bytes, free_bytes } = self.folder.get().map(|at| usage(at)).unwrap_or_default();
        self.data_bytes.set(whole(taken_bytes));
        self.free_bytes.set(whole(free_bytes));
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
