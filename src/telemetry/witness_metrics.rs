//! Metrics about the witnesses that the daemon asks for cosignatures.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The name and the value of a label.
pub(super) type Label = (&'static str, String);

/// Metrics of witnesses.
#[derive(Default)]
pub(super) struct WitnessMetrics {
    answers: Family<[Label; 3], Counter>,
    configured: Family<[Label; 1], Gauge>,
    needed: Family<[Label; 1], Gauge>,
    entries: Family<[Label; 1], Gauge>,
    enough: Family<[Label; 1], Gauge>,
}

impl WitnessMetrics {
    /// Registers them.
    pub fn register(&self, to: &mut Registry) {
        to.register(
            "witness_answers",
            "Answers of each witness to checkpoints, by outcome",
            self.answers.clone(),
        );
        to.register("witness_configured", "Configured witnesses", self.configured.clone());
        to.register(
            "witness_needed",
            "Cosignatures that a checkpoint needs to count as witnessed",
            self.needed.clone(),
        );
        to.register(
            "witness_entries",
            "Entries below the newest checkpoint with enough cosignatures",
            self.entries.clone(),
        );
        to.register(
            "witness_enough",
            "1 while checkpoints get enough cosignatures in time",
            self.enough.clone(),
        );
    }

    /// Counts an answer of a witness about a log. `log` is the log's origin, `witness` the configured name.
    pub fn answered(&self, log: &str, witness: &str, outcome: &'static str) {
        let labels =
            [("log", log.to_owned()), ("witness", witness.to_owned()), ("outcome", outcome.to_owned())];
        self.answers.get_or_create(&labels).inc();
    }

    /// Sets the outcome of a round of requests to the witnesses of a log. `log` is the log's origin.
    pub fn round(&self, log: &str, configured: usize, needed: usize, entries: u64, is_enough: bool) {
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let of = [("log", log.to_owned())];
        self.configured.get_or_create(&of).set(signed(configured as u64));
        self.needed.get_or_create(&of).set(signed(needed as u64));
        self.entries.get_or_create(&of).set(signed(entries));
        self.enough.get_or_create(&of).set(i64::from(is_enough));
    }
}
