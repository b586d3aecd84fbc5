//! Prints the measurements of a run of `sayso bench`.

use super::load::Measured;
use super::options::{Bench, Mode};
use crate::cli::error::CliError;
use crate::cli::output::{Out, count, int64};

/// Peak resident memory of this process in bytes, if the system reports it.
pub(super) fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Prints the measurements: one JSON object with --json, otherwise a few lines. `ceiling` is the number of
/// echoed calls per second.
pub(super) fn print(
    bench: &Bench,
    measured: &Measured,
    ceiling: Option<f64>,
    out: Out,
) -> Result<(), CliError> {
    let calls_per_s = measured.calls_per_s();
    let events_per_call = if bench.mode == Mode::Ingest { bench.events_per_call } else { 1 };
    let micros = |quantile| measured.latencies.value_at_quantile(quantile);
    let mut value = serde_json::json!({
        "mode": bench.mode.name(),
        "loop": if bench.rate.is_some() { "open" } else { "closed" },
        "concurrency": bench.concurrency,
        "connections": bench.connections,
        "durationS": measured.took.as_secs_f64(),
        "subjects": bench.subjects.max(bench.concurrency),
        "valueBytes": bench.value_bytes,
        "eventsPerCall": events_per_call,
        "watchers": (bench.mode == Mode::Revoke).then_some(bench.watchers),
        "rate": bench.rate,
        "calls": int64(measured.answered),
        "callsPerS": calls_per_s.round(),
        "eventsPerS": (calls_per_s * events_per_call as f64).round(),
        "overloaded": int64(measured.overloaded),
        "p50Us": micros(0.5),
        "p90Us": micros(0.9),
        "p99Us": micros(0.99),
        "p999Us": micros(0.999),
        "maxUs": measured.latencies.max(),
    });
    if let (Some(ceiling), Some(fields)) = (ceiling, value.as_object_mut()) {
        fields.insert("echoPerS".into(), ceiling.round().into());
        fields.insert("ofEcho".into(), (calls_per_s / ceiling).into());
    }
    out.print_value(&value, &text(bench, measured, ceiling))
}

fn text(bench: &Bench, measured: &Measured, ceiling: Option<f64>) -> String {
    let (calls_per_s, latencies) = (measured.calls_per_s(), &measured.latencies);
    let micros = |quantile| latencies.value_at_quantile(quantile);
    let load = match (bench.mode, bench.rate) {
        (Mode::Revoke, _) => format!("{} watches", bench.watchers),
        (_, None) => format!("{} in flight over {} connections", bench.concurrency, bench.connections),
        (_, Some(rate)) => format!("{rate} calls/s requested over {} connections", bench.connections),
    };
    let mut text = format!(
        "{}, {load}, {:.0} s: {calls_per_s:.0} calls/s",
        bench.mode.name(),
        measured.took.as_secs_f64()
    );
    if bench.mode == Mode::Ingest {
        text.push_str(&format!(", {:.0} events/s", calls_per_s * bench.events_per_call as f64));
    }
    text.push_str(&format!(
        "\np50 {} us, p90 {} us, p99 {} us, p99.9 {} us, max {} us",
        micros(0.5),
        micros(0.9),
        micros(0.99),
        micros(0.999),
        latencies.max()
    ));
    if let Some(ceiling) = ceiling {
        text.push_str(&format!("\n{:.2} of the ceiling of {ceiling:.0} echoes/s", calls_per_s / ceiling));
    }
    if measured.overloaded > 0 {
        text.push_str(&format!("\n{} refused as overloaded", count(measured.overloaded, "call")));
    }
    text
}
