//! `sayso import`

use super::Connection;
use super::error::CliError;
use super::output::Out;
use super::profile::Source;
use crate::cli::connect::parse_time;
use crate::proto::profile_service_client::ProfileServiceClient;
use crate::proto::record_stream_response::Outcome;
use crate::proto::{self, Provenance};
use clap::Args;
use indicatif::ProgressBar;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Messages under way; the daemon's own bound stands behind it.
const WINDOW: usize = 256;
/// Refused lines that are shown.
const SHOWN_MAX: usize = 20;

/// Record attributes in bulk from a JSONL file (`-`: standard input).
///
/// A line: {"subject", "key", "value", "category", "provenance", "evidence": [], "observed_at"}. Running it again adds
/// nothing twice, also after an interruption. What bounds forbid to record is counted and shown, and does not stop it.
#[derive(Args)]
pub(super) struct Import {
    file: PathBuf,
    /// Stop at the first line that is refused.
    #[arg(long)]
    strict: bool,
}

/// A line of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    subject: String,
    key: String,
    value: serde_json::Value,
    category: String,
    provenance: String,
    #[serde(default)]
    evidence: Vec<String>,
    observed_at: String,
    #[serde(default)]
    confidence: Option<f64>,
    #[serde(default)]
    model: String,
}

#[derive(Default)]
struct Tally {
    recorded: u64,
    already: u64,
    refused: Vec<(u64, String)>,
    /// By bounds, which did what they are for: no failure.
    by_policy: Vec<(u64, String)>,
}

/// A line's request. Its idempotency key is the line itself, hashed.
fn request(line: &str) -> Result<proto::RecordAttributesRequest, String> {
    let parsed: Line = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let provenance = match parsed.provenance.as_str() {
        "declared" => Source::Declared,
        "observed" => Source::Observed,
        "inferred" => Source::Inferred,
        _ => return Err("`provenance` must be declared, observed or inferred".into()),
    };
    let attribute = proto::AttributeInput {
        key: parsed.key,
        value_json: parsed.value.to_string(),
        category: parsed.category,
        provenance: Provenance::from(provenance).into(),
        evidence: parsed.evidence,
        observed_at: Some(
            parse_time(&parsed.observed_at).map_err(|problem| format!("`observed_at` {problem}"))?,
        ),
        confidence: parsed.confidence,
        model: parsed.model,
        ..Default::default()
    };
    let idempotency_key = format!("import-{}", hex::encode(Sha256::digest(line.trim())));
    let options = Some(proto::WriteOptions { idempotency_key, ..Default::default() });
    Ok(proto::RecordAttributesRequest { subject: parsed.subject, attributes: vec![attribute], options })
}

fn open(path: &Path) -> Result<Box<dyn BufRead + Send>, CliError> {
    if path == Path::new("-") {
        return Ok(Box::new(BufReader::new(std::io::stdin())));
    }
    let file = std::fs::File::open(path);
    let file = file.map_err(|error| CliError::usage(format!("{}: {error}", path.display())))?;
    Ok(Box::new(BufReader::new(file)))
}

impl Import {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let lines = open(&self.file)?;
        let bar = bar_of(&self.file);
        let (messages, stream) = mpsc::channel(WINDOW);
        let (malformed, mut refused_here) = mpsc::unbounded_channel();
        let strict = self.strict;
        let reading = tokio::task::spawn_blocking(move || read(lines, &messages, &malformed, strict));
        let mut client = ProfileServiceClient::new(at.link("service").await?);
        let mut answers = client.record_stream(ReceiverStream::new(stream)).await?.into_inner();
        let mut tally = Tally::default();
        let mut ended = Ok(());
        loop {
            match answers.message().await {
                Ok(Some(answer)) => {
                    tally.add(answer);
                    bar.inc(1);
                }
                Ok(None) => break,
                Err(status) => {
                    ended = Err(CliError::from(status));
                    break;
                }
            }
            if strict && !tally.refused.is_empty() {
                break;
            }
        }
        drop(answers);
        reading.await.map_err(CliError::failed)?.map_err(CliError::failed)?;
        while let Ok(refused) = refused_here.try_recv() {
            tally.refused.push(refused);
        }
        bar.finish_and_clear();
        tally.report(out);
        ended?;
        match tally.refused.len() {
            0 => Ok(()),
            count => Err(CliError::failed(format!("{count} lines were refused"))),
        }
    }
}

fn bar_of(path: &Path) -> ProgressBar {
    let count = std::fs::read(path).map(|bytes| bytes.iter().filter(|byte| **byte == b'\n').count() as u64);
    super::audit::progress(count.unwrap_or_default(), "importing")
}

/// Hands lines to the stream; waits while it is full.
fn read(
    lines: Box<dyn BufRead + Send>,
    messages: &mpsc::Sender<proto::RecordStreamRequest>,
    malformed: &mpsc::UnboundedSender<(u64, String)>,
    strict: bool,
) -> std::io::Result<()> {
    for (line, number) in lines.lines().zip(1_u64..) {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        match request(&line) {
            Ok(record) => {
                let message = proto::RecordStreamRequest { sequence: number, record: Some(record) };
                if messages.blocking_send(message).is_err() {
                    return Ok(());
                }
            }
            Err(problem) => {
                let _receiver_waits_for_us = malformed.send((number, problem));
                if strict {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

impl Tally {
    fn add(&mut self, answer: proto::RecordStreamResponse) {
        match answer.outcome {
            Some(Outcome::Receipt(receipt)) if receipt.replayed => self.already += 1,
            Some(Outcome::Receipt(_)) => self.recorded += 1,
            Some(Outcome::Error(error)) if error.reason == "RECORDING_REFUSED" => {
                self.by_policy.push((answer.sequence, error.message));
            }
            Some(Outcome::Error(error)) => self.refused.push((answer.sequence, error.message)),
            None => self.refused.push((answer.sequence, "no answer".into())),
        }
    }

    fn report(&self, out: Out) {
        let lines = |of: &[(u64, String)]| -> Vec<serde_json::Value> {
            let line =
                |(line, message): &(u64, String)| serde_json::json!({ "line": line, "message": message });
            of.iter().map(line).collect()
        };
        let value = serde_json::json!({
            "recorded": self.recorded,
            "already_there": self.already,
            "refused": lines(&self.refused),
            "refused_by_policy": lines(&self.by_policy),
        });
        let mut text = format!(
            "recorded {}, already there {}, refused by policy {}, refused {}",
            self.recorded,
            self.already,
            self.by_policy.len(),
            self.refused.len()
        );
        for (line, message) in self.refused.iter().chain(&self.by_policy).take(SHOWN_MAX) {
            text.push_str(&format!("\nline {line}: {message}"));
        }
        out.print_value(&value, &text);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;

    const LINE: &str = r#"{"subject":"s","key":"k","value":{"a":1},"category":"work","provenance":"inferred","observed_at":"2022-03-17T15:47:00Z"}"#;

    #[test]
    fn a_line_becomes_the_same_request_again() {
        let first = request(LINE).unwrap();
        assert_eq!(first, request(&format!("{LINE}  ")).unwrap());
        assert_eq!(first.attributes[0].value_json, r#"{"a":1}"#);
    }

    #[test]
    fn malformed_lines_say_what_is_wrong() {
        assert!(request("{}").unwrap_err().contains("subject"));
        assert!(request(&LINE.replace("inferred", "guessed")).unwrap_err().contains("provenance"));
        assert!(request(&LINE.replace("2022-03-17T15:47:00Z", "then")).unwrap_err().contains("observed_at"));
    }
}
