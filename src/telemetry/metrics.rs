//! Numbers for Prometheus. Labels are methods, codes, kinds and tiers: words of ours, never a caller's.

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use std::collections::HashMap;
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
    withheld: Family<[Label; 1], Counter>,
    handshakes_failed: Counter,
    cut_off: Counter,
    panics: Counter,
    entries: Family<[Label; 1], Gauge>,
    entry_bytes: Family<[Label; 1], Gauge>,
    subjects: Family<[Label; 1], Gauge>,
    ready: Family<[Label; 1], Gauge>,
    /// Owned by [`Metrics::name_events`].
    event_names: RwLock<HashMap<u32, String>>,
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
            withheld: Family::default(),
            handshakes_failed: Counter::default(),
            cut_off: Counter::default(),
            panics: Counter::default(),
            entries: Family::default(),
            entry_bytes: Family::default(),
            subjects: Family::default(),
            ready: Family::default(),
            event_names: RwLock::default(),
        };
        metrics.register_calls();
        metrics.register_log();
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
            "attributes_withheld",
            "Attributes withheld from grants, by the tier that decided",
            self.withheld.clone(),
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

    /// A call was answered. `method` and `code` are words of ours.
    pub fn call(&self, method: &str, code: &str, took: Duration) {
        self.calls.get_or_create(&[("method", method.to_owned()), ("code", code.to_owned())]).inc();
        self.seconds.get_or_create(&[("method", method.to_owned())]).observe(took.as_secs_f64());
    }

    /// A call ended in a panic.
    pub fn panicked(&self) {
        self.panics.inc();
    }

    /// A TLS handshake failed.
    pub fn handshake_failed(&self) {
        self.handshakes_failed.inc();
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
        let names = self.event_names.read().unwrap_or_else(PoisonError::into_inner);
        let name = names.get(&kind).cloned().unwrap_or_else(|| kind.to_string());
        self.events.get_or_create(&[("kind", name)]).inc();
    }

    /// How kinds of events are called.
    pub fn name_events(&self, names: HashMap<u32, String>) {
        *self.event_names.write().unwrap_or_else(PoisonError::into_inner) = names;
    }

    /// Attributes were withheld from a grant.
    pub fn withheld(&self, tier: &'static str, attributes: u32) {
        self.withheld.get_or_create(&[("tier", tier.to_owned())]).inc_by(u64::from(attributes));
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
            self.ready.get_or_create(&of).set(i64::from(now.ready));
        }
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
