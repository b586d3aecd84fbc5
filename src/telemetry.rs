//! What operators see: structured logs, metrics, and where (never with what) something panicked. Nothing personal goes
//! in, at any level.

mod calls;
mod classic;
mod folder;
mod metrics;
mod traces;

pub use calls::{CallName, InCall};
pub use metrics::{CallMeter, ErasureStep, Metrics, Standing, metrics};
pub use traces::{Export, ExportError, Traces, end_call, join_trace};

use calls::{JsonLines, PlainLines};
use std::panic::PanicHookInfo;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{FilterExt, FilterFn, LevelFilter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Sends logs to standard error: JSON for machines, plain for people at a terminal. Panics are logged by their place.
///
/// The level comes from `RUST_LOG`, default `info` for this crate and `warn` for the others. Whatever `RUST_LOG` says,
/// only our own crates may say more than `info`: others log message bytes and headers below it, and a dependency that
/// is new tomorrow must not be the first to. Spans go to `traces`, where that is given.
pub fn start(json: bool, traces: Option<&Traces>) {
    let level = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,sayso=info"));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = if json {
        lines.json().flatten_event(true).map_event_format(JsonLines).boxed()
    } else {
        lines.map_event_format(PlainLines).boxed()
    };
    let lines = lines.with_filter(level.and(ours_alone()));
    // A second start in one process (tests, demo) keeps the first one's subscriber.
    let _already = tracing_subscriber::registry().with(lines).with(traces.map(Traces::layer)).try_init();
    std::panic::set_hook(Box::new(note_panic));
}

/// Lets through what may be logged. The hint, which takes nothing away, leaves the level to the other filter: without
/// one, every trace point of sled and h2 would be asked about at each call.
fn ours_alone() -> FilterFn {
    FilterFn::new(may_be_logged as fn(&Metadata<'_>) -> bool).with_max_level_hint(LevelFilter::TRACE)
}

fn may_be_logged(of: &Metadata<'_>) -> bool {
    is_ours(of) || *of.level() <= Level::INFO
}

fn is_ours(of: &Metadata<'_>) -> bool {
    ["sayso", "sayso_proof"].iter().any(|name| {
        of.target().strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    })
}

/// The place alone: what a panic says may hold values that it was about.
fn note_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(|at| format!("{}:{}", at.file(), at.line())).unwrap_or_default();
    let thread = std::thread::current();
    tracing::error!(place, thread = thread.name().unwrap_or("unnamed"), "panicked");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, reason = "tests")]
    use super::*;
    use std::io::Write;
    use std::sync::{Arc, Mutex, PoisonError};

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_below_the_level_costs_nothing() {
        use tracing_subscriber::Registry;
        use tracing_subscriber::layer::Filter;
        for (asked, level) in [("warn,sayso=info", LevelFilter::INFO), ("trace", LevelFilter::TRACE)] {
            let filter = FilterExt::<Registry>::and(EnvFilter::new(asked), ours_alone());
            assert_eq!(Filter::<Registry>::max_level_hint(&filter), Some(level));
        }
    }

    #[test]
    fn others_are_silent_below_info_and_a_panic_keeps_its_payload() {
        let sink = Sink::default();
        let writer = sink.clone();
        let lines = tracing_subscriber::fmt::layer().with_writer(move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(lines.with_filter(ours_alone()));
        tracing::subscriber::with_default(subscriber, || {
            tracing::trace!(target: "h2::frame", "canary-1");
            tracing::debug!(target: "saysomething", "canary-2");
            tracing::warn!(target: "sled", "heard");
            tracing::trace!(target: "sayso::app", "heard too");
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(note_panic));
            let _caught = std::panic::catch_unwind(|| panic!("canary-3"));
            std::panic::set_hook(before);
        });
        let text =
            String::from_utf8_lossy(&sink.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned();
        assert!(text.contains("heard") && text.contains("heard too") && text.contains("panicked"), "{text}");
        assert!(!text.contains("canary"), "{text}");
    }
}
