//! Counts calls and measures how long they take.

use super::witness_metrics::Label;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use std::sync::{OnceLock, PoisonError, RwLock};
use std::time::Duration;

/// Counts the calls of one method. It looks up the metrics of the method once, not at each call.
pub struct CallMeter {
    method: String,
    calls: Family<[Label; 2], Counter>,
    all_seconds: Family<[Label; 1], Histogram>,
    seconds: OnceLock<Histogram>,
    /// The counter of each gRPC code that was seen. Only [`CallMeter::answered`] changes it.
    by_code: RwLock<Vec<(&'static str, Counter)>>,
}

impl CallMeter {
    /// Counts nothing yet.
    pub(super) fn new(
        method: String,
        calls: Family<[Label; 2], Counter>,
        all_seconds: Family<[Label; 1], Histogram>,
    ) -> Self {
        Self { method, calls, all_seconds, seconds: OnceLock::new(), by_code: RwLock::default() }
    }

    /// Counts an answered call; `code` is the name of its gRPC code.
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
