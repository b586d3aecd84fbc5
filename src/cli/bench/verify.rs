//! `bench verify`: exports the whole log as an auditor does, and verifies it as `sayso verify` does.

use super::load::{Measured, micros};
use super::options::Bench;
use super::report;
use crate::cli::connect::{Connection, client};
use crate::cli::error::CliError;
use crate::cli::output::{Out, count, int64};
use crate::cli::progress;
use crate::daemon::data_dir::Layout;
use crate::proto;
use crate::proto::audit_service_client::AuditServiceClient;
use sayso_proof::bundle::{Options, Source, verify};
use sayso_proof::checkpoint::VerifierKey;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// The size of an export, and how long it took.
struct Exported {
    entries: u64,
    bytes: u64,
    took: Duration,
}

/// Exports the log once. Then verifies the export repeatedly, at least once, until verification has taken
/// `--duration`.
pub(super) async fn run(bench: &Bench, at: &Connection, out: Out) -> Result<(), CliError> {
    let folder = tempfile::tempdir().map_err(CliError::failed)?;
    let path = folder.path().join("log.tar.zst");
    let exported = export(at, &path).await?;
    let key = std::fs::read_to_string(Layout::new(&at.data).dev().join("log.vkey"));
    let key: VerifierKey = key.map_err(CliError::usage)?.trim().parse().map_err(CliError::usage)?;
    let mut measured = Measured::new()?;
    while measured.took < bench.duration {
        let took = verify_once(&path, &key)?;
        measured.took += took;
        measured.answered = measured.answered.saturating_add(1);
        measured.latencies.saturating_record(micros(took));
    }
    let entries_per_s = measured.calls_per_s() * exported.entries as f64;
    let export_per_s = exported.entries as f64 / exported.took.as_secs_f64();
    let value = serde_json::json!({
        "mode": "verify",
        "entries": int64(exported.entries),
        "bundleBytes": int64(exported.bytes),
        "exportS": exported.took.as_secs_f64(),
        "exportedPerS": export_per_s.round(),
        "rounds": int64(measured.answered),
        "durationS": measured.took.as_secs_f64(),
        "verifiedPerS": entries_per_s.round(),
        "p50Us": measured.latencies.value_at_quantile(0.5),
        "maxUs": measured.latencies.max(),
        "peakRssBytes": report::peak_rss_bytes().map(int64),
    });
    let text = format!(
        "bundle of {} and {}\nexported {export_per_s:.0} entries/s\nverified {entries_per_s:.0} entries/s in {}",
        count(exported.entries, "entry"),
        count(exported.bytes, "byte"),
        count(measured.answered, "round")
    );
    out.print_value(&value, &text)
}

async fn export(at: &Connection, path: &Path) -> Result<Exported, CliError> {
    let start = Instant::now();
    let mut client = client!(AuditServiceClient, at.link("auditor").await?);
    let mut chunks = client.export_audit(proto::ExportAuditRequest { sealed: false }).await?.into_inner();
    let mut file = File::create(path).map_err(CliError::failed)?;
    let bar = progress::entries(0, "exporting");
    let mut exported = Exported { entries: 0, bytes: 0, took: Duration::ZERO };
    while let Some(chunk) = chunks.message().await? {
        file.write_all(&chunk.chunk).map_err(CliError::failed)?;
        exported.entries = chunk.entries_total;
        exported.bytes = exported.bytes.saturating_add(chunk.chunk.len() as u64);
        bar.set_length(chunk.entries_total);
        bar.set_position(chunk.entries_done);
    }
    bar.finish_and_clear();
    exported.took = start.elapsed();
    Ok(exported)
}

fn verify_once(path: &Path, key: &VerifierKey) -> Result<Duration, CliError> {
    let start = Instant::now();
    let source = Source::open(path).map_err(CliError::failed)?;
    let bar = progress::entries(0, "verifying");
    let report = verify(source, key, &Options::default(), &mut |done| progress::verification(&bar, done));
    bar.finish_and_clear();
    if report.map_err(CliError::bundle)?.grants_hold() {
        return Ok(start.elapsed());
    }
    Err(CliError::unverified("the log has findings; `sayso verify` lists them"))
}
