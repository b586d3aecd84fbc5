//! `sayso report | record-of-processing`

use super::Connection;
use super::connect::{Link, parse_time};
use super::error::CliError;
use super::output::{Out, table, time};
use super::progress;
use crate::proto;
use crate::proto::audit_service_client::AuditServiceClient;
use crate::proto::get_transparency_report_response::Frame;
use clap::Args;
use std::path::{Path, PathBuf};

async fn client(at: &Connection) -> Result<AuditServiceClient<Link>, CliError> {
    Ok(AuditServiceClient::new(at.link("auditor").await?))
}

/// What can be measured of personalisation's benefits and risks, over people.
///
/// Example: `sayso report --from 2026-10-01 --to 2026-11-01 -o october.html`
#[derive(Args)]
pub(super) struct Report {
    /// The first day, in UTC.
    #[arg(long, value_parser = parse_time)]
    from: prost_types::Timestamp,
    /// The day after the last one.
    #[arg(long, value_parser = parse_time)]
    to: prost_types::Timestamp,
    /// Write the report as one HTML page.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Groups of fewer people are not shown.
    #[arg(long, default_value_t = 10)]
    k: u32,
    /// Add noise, and spend so much of the period's privacy budget.
    #[arg(long, default_value_t = 0.0)]
    epsilon: f64,
    /// Only these figures; with noise, fewer figures are less noisy.
    #[arg(long = "figure", value_name = "ID")]
    figures: Vec<String>,
}

impl Report {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let request = proto::GetTransparencyReportRequest {
            from: Some(self.from),
            to: Some(self.to),
            k: self.k,
            epsilon: self.epsilon,
            figures: self.figures,
            html: self.output.is_some(),
        };
        let mut frames = client(at).await?.get_transparency_report(request).await?.into_inner();
        let bar = progress::entries(0, "counting people");
        let mut made = None;
        while let Some(frame) = frames.message().await? {
            match frame.frame {
                Some(Frame::Progress(progress)) => {
                    bar.set_length(progress.people_total);
                    bar.set_position(progress.people_done);
                }
                Some(Frame::Report(report)) => made = Some(report),
                None => {}
            }
        }
        bar.finish_and_clear();
        let mut report = made.ok_or_else(|| CliError::failed("the daemon ended before the report"))?;
        let html = std::mem::take(&mut report.html);
        let wrote = write(self.output.as_deref(), &html)?;
        out.print("TransparencyReport", &report, |report| format!("{}{wrote}", text_of(report)))
    }
}

fn write(path: Option<&Path>, html: &str) -> Result<String, CliError> {
    let Some(path) = path else { return Ok(String::new()) };
    let name = path.display();
    std::fs::write(path, html).map_err(|error| CliError::failed(format!("{name}: {error}")))?;
    Ok(format!("\n\n{name}: {} bytes", html.len()))
}

fn text_of(report: &proto::TransparencyReport) -> String {
    let noise = if report.epsilon > 0.0 {
        format!(
            "noise with epsilon {} ({} of {} spent)",
            report.epsilon, report.epsilon_spent, report.epsilon_max
        )
    } else {
        "no noise".to_owned()
    };
    let mut text = format!(
        "{} from {} to before {}: groups of at least {}, {noise}; entries counted over: {}",
        report.origin,
        time(report.from.as_ref()),
        time(report.to.as_ref()),
        report.k,
        report.tree_size,
    );
    for figure in &report.figures {
        text.push_str(&format!("\n\n{} [{}]", figure.title.to_uppercase(), figure.id));
        match figure.status() {
            proto::FigureStatus::NotObservable => text.push_str("\nnot observable from a ledger"),
            proto::FigureStatus::NotAvailable => {
                text.push_str(&format!("\nnot available: {}", figure.missing))
            }
            _ => figure.tables.iter().for_each(|table| table_text(&mut text, table, report.k)),
        }
        for ratio in &figure.ratios {
            let value = ratio.value.map_or("not shown".to_owned(), |value| format!("{value:.3}"));
            text.push_str(&format!("\n{}: {value} ({})", ratio.title, ratio.unit));
        }
    }
    text
}

fn table_text(text: &mut String, shown: &proto::FigureTable, k: u32) {
    text.push_str(&format!("\n{}", shown.title));
    if shown.suppressed {
        text.push_str(&format!(": fewer than {k} people, not shown"));
        return;
    }
    let mut rows: Vec<Vec<String>> = shown
        .rows
        .iter()
        .map(|row| vec![format!("  {}", row.labels.join(" · ")), format!("{}", row.value)])
        .collect();
    rows.extend(shown.others.map(|others| vec!["  others".to_owned(), others.to_string()]));
    rows.extend(shown.total.map(|total| vec!["  all".to_owned(), total.to_string()]));
    text.push_str(&format!("\n{}", table(&rows)));
}

/// The record of processing activities (GDPR Art. 30(1)), from what is in force now.
///
/// Example: `sayso record-of-processing -o record.html`
#[derive(Args)]
pub(super) struct RecordOfProcessing {
    /// Write the record as one HTML page.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl RecordOfProcessing {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let request = proto::GetRecordOfProcessingRequest { html: self.output.is_some() };
        let answer = client(at).await?.get_record_of_processing(request).await?.into_inner();
        let wrote = write(self.output.as_deref(), &answer.html)?;
        let record = answer.record.unwrap_or_default();
        out.print("RecordOfProcessing", &record, |record| format!("{}{wrote}", record_text(record)))
    }
}

fn record_text(record: &proto::RecordOfProcessing) -> String {
    let or_unset = |text: &str| if text.is_empty() { "not set".to_owned() } else { text.to_owned() };
    let mut text = format!(
        "(a) controller: {}, {}\n    data protection officer: {}",
        or_unset(&record.controller),
        or_unset(&record.contact),
        or_unset(&record.data_protection_officer),
    );
    let mut part = |letter: &str, title: &str, items: Vec<String>| {
        text.push_str(&format!("\n({letter}) {title}: {}", or_unset(&items.join("; "))));
    };
    let purposes = record.purposes.iter().filter(|purpose| purpose.used);
    part("b", "purposes granted", purposes.map(|purpose| purpose.id.clone()).collect());
    part("c", "data subjects", record.data_subjects.clone());
    let held = record.categories.iter().filter(|category| category.held);
    let special = |special: bool| if special { " (special)" } else { "" };
    part("c", "data held", held.map(|held| format!("{}{}", held.id, special(held.special))).collect());
    part("d", "recipients", record.recipients.iter().map(|recipient| recipient.name.clone()).collect());
    part("e", "transfers", record.transfers.clone());
    let retention = record.retention.iter();
    part(
        "f",
        "retention",
        retention.map(|each| format!("{}: {}", each.subject_matter, each.limit)).collect(),
    );
    part("g", "security measures", record.security_measures.clone());
    if !record.gaps.is_empty() {
        text.push_str(&format!("\nnot set: {}", record.gaps.join("; ")));
    }
    text
}
