//! Metrics for Prometheus.
//!
//! Values of labels are methods, gRPC codes, kinds of events, tiers and names from the configuration, never
//! text from a caller.

use super::call_meter::CallMeter;
use super::disk_usage::{Usage, usage};
use super::log_status::LogStatus;
use super::prometheus_text::to_prometheus_text;
use super::witness_metrics::{Label, WitnessMetrics};
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

/// A step of an erasure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErasureStep {
    /// The keys of the data to erase are about to be destroyed.
    Begun,
    /// It is recorded as complete.
    Completed,
    /// It was resumed after a crash or a failure.
    Resumed,
    /// It failed; the next start, or the same request again, resumes it.
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

/// Metrics of timestamps.
#[derive(Default)]
struct TimestampMetrics {
    requests: Family<[Label; 2], Counter>,
    entries: Family<[Label; 1], Gauge>,
}

/// The metrics of this process; Prometheus scrapes one daemon per process.
pub struct Metrics {
    registry: Registry,
    calls: Family<[Label; 2], Counter>,
    call_seconds: Family<[Label; 1], Histogram>,
    batch_events: Histogram,
    flush_seconds: Histogram,
    queued_writes: Gauge,
    events: Family<[Label; 1], Counter>,
    allowed: Counter,
    withheld: Family<[Label; 1], Counter>,
    revocation_seconds: Histogram,
    revocations_delayed: Counter,
    rules_delayed: Counter,
    erasures: Family<[Label; 1], Counter>,
    erasures_unfinished: Family<[Label; 1], Gauge>,
    erasures_outstanding: Family<[Label; 1], Gauge>,
    erasures_overdue: Family<[Label; 1], Gauge>,
    webhook_deliveries: Family<[Label; 2], Counter>,
    restore_unconfirmed: Family<[Label; 1], Gauge>,
    clock_skewed: Family<[Label; 1], Gauge>,
    clock_skew_seconds: Family<[Label; 1], Gauge>,
    handshakes_failed: Counter,
    connections_cut: Counter,
    panics: Counter,
    entries: Family<[Label; 1], Gauge>,
    entry_bytes: Family<[Label; 1], Gauge>,
    subjects: Family<[Label; 1], Gauge>,
    ready: Family<[Label; 1], Gauge>,
    witnesses: WitnessMetrics,
    timestamps: TimestampMetrics,
    issuer_keys: Family<[Label; 1], Gauge>,
    issuer_keys_age_seconds: Family<[Label; 1], Gauge>,
    data_bytes: Gauge,
    free_bytes: Gauge,
    folder: OnceLock<PathBuf>,
    /// Only [`Metrics::name_events`] changes it.
    event_names: RwLock<HashMap<u32, String>>,
    /// The counter of each kind of event that was seen. [`Metrics::event`] adds to it, and
    /// [`Metrics::name_events`] clears it.
    event_counters: RwLock<HashMap<u32, Counter>>,
}

/// The metrics of this process.
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
            call_seconds: Family::new_with_constructor(latency),
            batch_events: Histogram::new(exponential_buckets(1.0, 2.0, 13)),
            flush_seconds: latency(),
            queued_writes: Gauge::default(),
            events: Family::default(),
            allowed: Counter::default(),
            withheld: Family::default(),
            revocation_seconds: latency(),
            revocations_delayed: Counter::default(),
            rules_delayed: Counter::default(),
            erasures: Family::default(),
            erasures_unfinished: Family::default(),
            erasures_outstanding: Family::default(),
            erasures_overdue: Family::default(),
            webhook_deliveries: Family::default(),
            restore_unconfirmed: Family::default(),
            clock_skewed: Family::default(),
            clock_skew_seconds: Family::default(),
            handshakes_failed: Counter::default(),
            connections_cut: Counter::default(),
            panics: Counter::default(),
            entries: Family::default(),
            entry_bytes: Family::default(),
            subjects: Family::default(),
            ready: Family::default(),
            witnesses: WitnessMetrics::default(),
            timestamps: TimestampMetrics::default(),
            issuer_keys: Family::default(),
            issuer_keys_age_seconds: Family::default(),
            data_bytes: Gauge::default(),
            free_bytes: Gauge::default(),
            folder: OnceLock::new(),
            event_names: RwLock::default(),
            event_counters: RwLock::default(),
        };
        metrics.register_calls();
        metrics.register_rights();
        metrics.register_log();
        metrics.witnesses.register(&mut metrics.registry);
        metrics.register_timestamps();
        metrics.register_store();
        metrics
    }

    fn register_calls(&mut self) {
        let to = &mut self.registry;
        to.register("calls", "gRPC calls answered, by method and code", self.calls.clone());
        to.register_with_unit(
            "call_duration",
            "Time until the response begins, by method",
            Unit::Seconds,
            self.call_seconds.clone(),
        );
        to.register("panics", "Calls that ended in a panic", self.panics.clone());
        to.register(
            "connections_cut",
            "Connections closed because of a limit: too many from one address, evicted, idle, or stalled by the client",
            self.connections_cut.clone(),
        );
        to.register("handshakes_failed", "TLS handshakes that failed", self.handshakes_failed.clone());
        to.register(
            "issuer_keys",
            "Trusted keys of each controller's external token issuer",
            self.issuer_keys.clone(),
        );
        to.register_with_unit(
            "issuer_keys_age",
            "Time since these keys were last fetched, measured at the last attempt",
            Unit::Seconds,
            self.issuer_keys_age_seconds.clone(),
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
            "Time from the record of a revocation until its recipient's stream has it",
            Unit::Seconds,
            self.revocation_seconds.clone(),
        );
        to.register(
            "revocations_delayed",
            "How often revocations that were in effect could not be recorded immediately",
            self.revocations_delayed.clone(),
        );
        to.register(
            "rules_delayed",
            "How often new rules could not be applied immediately to the open grants of a data subject",
            self.rules_delayed.clone(),
        );
        to.register("erasures", "Steps of erasures, by step", self.erasures.clone());
        // Every step starts at 0, so that an alert sees the first failure as an increase.
        for step in ErasureStep::ALL {
            self.erasures.get_or_create(&[("state", step.name().to_owned())]).inc_by(0);
        }
        to.register(
            "erasures_unfinished",
            "Erasures whose keys are destroyed and that are not yet complete",
            self.erasures_unfinished.clone(),
        );
        to.register(
            "erasures_outstanding",
            "Recipients that were notified of an erasure and have not reported what they did",
            self.erasures_outstanding.clone(),
        );
        to.register(
            "erasures_overdue",
            "Recipients that have not said in time what they did about an erasure",
            self.erasures_overdue.clone(),
        );
        to.register(
            "webhook_deliveries",
            "Attempts to deliver a notice of an erasure to a webhook, by recipient and outcome",
            self.webhook_deliveries.clone(),
        );
        to.register(
            "restore_unconfirmed",
            "1 while a restored backup is not confirmed and use is denied",
            self.restore_unconfirmed.clone(),
        );
        to.register(
            "clock_skewed",
            "1 while the machine's clock is not trusted and use is denied",
            self.clock_skewed.clone(),
        );
        to.register_with_unit(
            "clock_skew",
            "How far the machine's clock is ahead of the ledger's time, negative if it is behind; 0 while it is trusted",
            Unit::Seconds,
            self.clock_skew_seconds.clone(),
        );
    }

    fn register_log(&mut self) {
        let to = &mut self.registry;
        to.register("events", "Durable events, by kind", self.events.clone());
        to.register("batch_events", "Events per durable batch", self.batch_events.clone());
        to.register_with_unit(
            "flush_duration",
            "Time to make a batch durable",
            Unit::Seconds,
            self.flush_seconds.clone(),
        );
        to.register("queued_writes", "Writes that wait for the sequencer", self.queued_writes.clone());
        to.register("log_entries", "Entries in the log", self.entries.clone());
        to.register_with_unit(
            "log_size",
            "Bytes of the entries in the log",
            Unit::Bytes,
            self.entry_bytes.clone(),
        );
        to.register("subjects", "Data subjects with data in the ledger", self.subjects.clone());
        to.register("ready", "1 while the store accepts writes and the clock is trusted", self.ready.clone());
    }

    fn register_timestamps(&mut self) {
        let (to, of) = (&mut self.registry, &self.timestamps);
        to.register(
            "timestamp_requests",
            "Requests for timestamps of checkpoints, by outcome",
            of.requests.clone(),
        );
        to.register("timestamp_entries", "Entries that the newest kept timestamp covers", of.entries.clone());
    }

    /// Counts a request for a timestamp. `log` is the log's origin, `outcome` is `kept` or `failed`.
    pub fn timestamp_requested(&self, log: &str, outcome: &'static str) {
        let labels = [("log", log.to_owned()), ("outcome", outcome.to_owned())];
        self.timestamps.requests.get_or_create(&labels).inc();
    }

    /// Sets how many entries the newest kept timestamp of a log covers. `log` is the log's origin.
    pub fn timestamp_covers(&self, log: &str, entries: u64) {
        let entries = i64::try_from(entries).unwrap_or(i64::MAX);
        self.timestamps.entries.get_or_create(&[("log", log.to_owned())]).set(entries);
    }

    /// Counts an answer of a witness about a log. `log` is the log's origin, `witness` the configured name.
    pub fn witness_answered(&self, log: &str, witness: &str, outcome: &'static str) {
        self.witnesses.answered(log, witness, outcome);
    }

    /// Sets the outcome of a round of requests to the witnesses of a log. `log` is the log's origin.
    pub fn witness_round(&self, log: &str, configured: usize, needed: usize, entries: u64, is_enough: bool) {
        self.witnesses.round(log, configured, needed, entries, is_enough);
    }

    fn register_store(&mut self) {
        let to = &mut self.registry;
        let built = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        to.register("build", "The version of this build", built);
        to.register_with_unit(
            "data_size",
            "Disk space that the data folder takes",
            Unit::Bytes,
            self.data_bytes.clone(),
        );
        to.register_with_unit(
            "data_free",
            "Free space on the disk of the data folder",
            Unit::Bytes,
            self.free_bytes.clone(),
        );
    }

    /// The meter of one method, by its name in the role table.
    pub fn meter(&self, method: &str) -> CallMeter {
        let (calls, all_seconds) = (self.calls.clone(), self.call_seconds.clone());
        CallMeter::new(method.to_owned(), calls, all_seconds)
    }

    /// Counts a call that ended in a panic.
    pub fn panicked(&self) {
        self.panics.inc();
    }

    /// Counts a TLS handshake that failed.
    pub fn handshake_failed(&self) {
        self.handshakes_failed.inc();
    }

    /// Sets how many keys of a controller's external token issuer are trusted, and how long ago they were
    /// fetched.
    pub fn issuer_keys(&self, controller: &str, trusted: usize, age: Duration) {
        let of = [("controller", controller.to_owned())];
        self.issuer_keys.get_or_create(&of).set(i64::try_from(trusted).unwrap_or(i64::MAX));
        self.issuer_keys_age_seconds.get_or_create(&of).set(i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
    }

    /// Counts a connection that was closed because of a limit.
    pub fn connection_cut(&self) {
        self.connections_cut.inc();
    }

    /// Counts a durable batch.
    pub fn flushed(&self, events: usize, took: Duration) {
        self.batch_events.observe(u32::try_from(events).map_or(f64::INFINITY, f64::from));
        self.flush_seconds.observe(took.as_secs_f64());
    }

    /// Counts a write that waits for the sequencer.
    pub fn write_queued(&self) {
        self.queued_writes.inc();
    }

    /// Counts a write that no longer waits: the sequencer has taken it, or the queue was full.
    pub fn write_dequeued(&self) {
        self.queued_writes.dec();
    }

    /// Counts a durable event; `kind` is the field number within `EventBody.event`.
    pub fn event(&self, kind: u32) {
        if let Some(meter) = self.event_counters.read().unwrap_or_else(PoisonError::into_inner).get(&kind) {
            meter.inc();
            return;
        }
        let names = self.event_names.read().unwrap_or_else(PoisonError::into_inner);
        let name = names.get(&kind).cloned().unwrap_or_else(|| kind.to_string());
        let meter = self.events.get_or_create_owned(&[("kind", name)]);
        meter.inc();
        self.event_counters.write().unwrap_or_else(PoisonError::into_inner).insert(kind, meter);
    }

    /// Sets the names of event kinds.
    pub fn name_events(&self, names: HashMap<u32, String>) {
        *self.event_names.write().unwrap_or_else(PoisonError::into_inner) = names;
        self.event_counters.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Counts attributes that a grant allowed.
    pub fn allowed(&self, attributes: usize) {
        self.allowed.inc_by(attributes as u64);
    }

    /// Measures the time from when a revocation is recorded until the stream of its recipient has it.
    pub fn revocation_delivered(&self, after: Duration) {
        self.revocation_seconds.observe(after.as_secs_f64());
    }

    /// Counts how often revocations that were in effect could not be recorded immediately.
    pub fn revocations_delayed(&self) {
        self.revocations_delayed.inc();
    }

    /// Counts how often new rules could not be applied immediately to the open grants of a data subject.
    pub fn rules_delayed(&self) {
        self.rules_delayed.inc();
    }

    /// Counts a step of an erasure.
    pub fn erasure(&self, step: ErasureStep) {
        self.erasures.get_or_create(&[("state", step.name().to_owned())]).inc();
    }

    /// Counts an attempt to deliver a notice to the webhook of a configured recipient.
    pub fn webhook_delivery(&self, recipient: &str, outcome: &'static str) {
        let of = [("recipient", recipient.to_owned()), ("outcome", outcome.to_owned())];
        self.webhook_deliveries.get_or_create(&of).inc();
    }

    /// Sets the folder that is measured at each scrape.
    pub fn watch_folder(&self, data: PathBuf) {
        // If tests start a second daemon in one process, the folder of the first daemon stays.
        let _already = self.folder.set(data);
    }

    /// Counts attributes that were withheld from a grant, by the tier that decided.
    pub fn withheld(&self, tier: &'static str, attributes: u32) {
        self.withheld.get_or_create(&[("tier", tier.to_owned())]).inc_by(u64::from(attributes));
    }

    /// As [`Metrics::text`], in the Prometheus text format 0.0.4.
    ///
    /// # Errors
    /// As [`Metrics::text`].
    pub fn prometheus_text<'a>(
        &self,
        logs: impl IntoIterator<Item = (&'a str, LogStatus)>,
    ) -> Result<String, std::fmt::Error> {
        self.text(logs).map(|text| to_prometheus_text(&text))
    }

    /// All metrics in the OpenMetrics text format; `logs` has the current status of each controller's log by
    /// its configured name.
    ///
    /// # Errors
    /// A value cannot be formatted.
    pub fn text<'a>(
        &self,
        logs: impl IntoIterator<Item = (&'a str, LogStatus)>,
    ) -> Result<String, std::fmt::Error> {
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        for (controller, status) in logs {
            let of = [("controller", controller.to_owned())];
            self.entries.get_or_create(&of).set(signed(status.entries));
            self.entry_bytes.get_or_create(&of).set(signed(status.entry_bytes));
            self.subjects.get_or_create(&of).set(signed(status.subjects));
            self.erasures_unfinished.get_or_create(&of).set(signed(status.erasures_unfinished));
            self.erasures_outstanding.get_or_create(&of).set(signed(status.erasures_outstanding));
            self.erasures_overdue.get_or_create(&of).set(signed(status.erasures_overdue));
            self.restore_unconfirmed.get_or_create(&of).set(i64::from(status.restore_unconfirmed));
            self.clock_skewed.get_or_create(&of).set(i64::from(status.clock_skewed));
            self.clock_skew_seconds.get_or_create(&of).set(status.clock_skew_ms / 1_000);
            self.ready.get_or_create(&of).set(i64::from(status.ready));
        }
        let Usage { taken_bytes, free_bytes } = self.folder.get().map(|at| usage(at)).unwrap_or_default();
        self.data_bytes.set(signed(taken_bytes));
        self.free_bytes.set(signed(free_bytes));
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
