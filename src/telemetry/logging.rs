//! Starts logging, tracing and the panic hook.

use super::current_call::{JsonLines, PlainLines};
use super::filter::loggable;
use super::traces::Traces;
use std::io::IsTerminal;
use std::panic::PanicHookInfo;
use tracing_subscriber::filter::FilterExt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// The form of the lines of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogForm {
    /// JSON, for programs.
    Json,
    /// Plain text, for people.
    Text,
}

impl LogForm {
    /// JSON if it was asked for, or if standard error is not a terminal.
    #[must_use]
    pub fn of_output(json: bool) -> Self {
        if json || !std::io::stderr().is_terminal() { Self::Json } else { Self::Text }
    }
}

/// Sends logs to standard error, as JSON or as plain lines. A panic is logged with its place.
///
/// The level comes from `RUST_LOG`; the default is `info` for this crate and `warn` for the others. Only our
/// own crates may log at `debug` and `trace`, even if `RUST_LOG` allows more. Other crates log message bytes
/// and headers at these levels, and a future dependency may do so too. Spans go to `traces`, if given. Lines
/// have no colors: color codes are control characters, and control characters are escaped on a terminal.
pub fn start(form: LogForm, traces: Option<&Traces>) {
    let level = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,sayso=info"));
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(super::terminal::Lines);
    let lines = if form == LogForm::Json {
        lines.json().flatten_event(true).map_event_format(JsonLines).boxed()
    } else {
        lines.map_event_format(PlainLines).boxed()
    };
    let lines = lines.with_filter(level.and(loggable()));
    // A second start in one process (tests, demo) keeps the subscriber of the first start.
    let _already = tracing_subscriber::registry().with(lines).with(traces.map(Traces::layer)).try_init();
    std::panic::set_hook(Box::new(log_panic));
}

/// Logs only the place of a panic. Its message may contain values of a person.
fn log_panic(panic: &PanicHookInfo<'_>) {
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
    fn other_crates_are_silent_below_info_and_a_panics_message_is_not_logged() {
        let sink = Sink::default();
        let writer = sink.clone();
        let lines = tracing_subscriber::fmt::layer().with_writer(move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(lines.with_filter(loggable()));
        tracing::subscriber::with_default(subscriber, || {
            tracing::trace!(target: "h2::frame", "canary-1");
            tracing::debug!(target: "saysomething", "canary-2");
            tracing::warn!(target: "sled", "from sled");
            tracing::trace!(target: "sayso::app", "from sayso");
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(log_panic));
            let _caught = std::panic::catch_unwind(|| panic!("canary-3"));
            std::panic::set_hook(before);
        });
        let text =
            String::from_utf8_lossy(&sink.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned();
        for expected in ["from sled", "from sayso", "panicked"] {
            assert!(text.contains(expected), "{text}");
        }
        assert!(!text.contains("canary"), "{text}");
    }
}
