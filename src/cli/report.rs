//! The commands `sayso report` and `sayso record-of-processing`.

use super::atomic_file::{AtomicFile, Existing};
use super::connect::Connection;
use super::connect::Link;
use super::error::CliError;
use super::output::{Out, count, table, time};
use super::progress;
use super::times::{self, WrittenTime};
use crate::domain::legal_basis::DeclaredBasis;
use crate::proto;
use crate::proto::audit_service_client::AuditServiceClient;
use crate::proto::get_transparency_report_response::Frame;
use clap::Args;
use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;

async fn client(at: &Connection) -> Result<AuditServiceClient<Link>, CliError> {
    Ok(AuditServiceClient::new(at.link("auditor").await?))
}

/// Report measurable benefits and risks of personalization.
///
/// Every figure is about a group of people. A summary comes first. In a report with noise
/// (`--epsilon`), every number has its 95% interval beside it, such as `120 ± 30`. Numbers that are
/// no larger than their noise are left out. The command asks before it spends the privacy budget.
///
/// Example: `sayso report --from 2026-10-01 --to 2026-10-31 -o october.html`
#[derive(Args)]
pub(super) struct Report {
    /// First day of the period that the report covers, in UTC.
    #[arg(long, value_name = "DATE", value_parser = times::beginning)]
    from: WrittenTime,
    /// Last day of the period that the report covers, in UTC.
    #[arg(long, value_name = "DATE", value_parser = times::end)]
    to: WrittenTime,
    /// Also write the report as an HTML page.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace FILE if it exists.
    #[arg(long, requires = "output")]
    force: bool,
    /// Smallest group that is shown, as a number of people.
    #[arg(long, default_value_t = 10)]
    k: u32,
    /// Add noise for differential privacy with this epsilon, which is taken from the period's
    /// privacy budget. Default: no noise.
    #[arg(long, default_value_t = 0.0)]
    epsilon: f64,
    /// Spend the privacy budget without asking. By default, a report with noise asks first, and
    /// fails if there is no terminal to ask at.
    #[arg(long)]
    yes: bool,
    /// Include only this figure; may be repeated. Default: all figures. In a report with noise, each figure
    /// is less noisy if you request fewer figures.
    #[arg(long = "figure", value_name = "ID")]
    figures: Vec<String>,
}

impl Report {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let page = Page { path: self.output, existing: Existing::from_force(self.force) };
        page.check()?;
        let request = proto::GetTransparencyReportRequest {
            from: Some(self.from.moment),
            to: Some(self.to.moment),
            k: self.k,
            epsilon: self.epsilon,
            figures: self.figures,
            html: page.path.is_some(),
            budget_only: false,
        };
        let mut client = client(at).await?;
        if request.epsilon > 0.0 && !self.yes {
            ask_to_spend(&budget(&mut client, request.clone()).await?)?;
        }
        let mut frames = client.get_transparency_report(request).await?.into_inner();
        let bar = progress::entries(0, "counting people");
        let mut received = None;
        while let Some(frame) = frames.message().await? {
            match frame.frame {
                Some(Frame::Progress(progress)) => {
                    bar.set_length(progress.people_total);
                    bar.set_position(progress.people_done);
                }
                Some(Frame::Report(report)) => received = Some(report),
                Some(Frame::Budget(_)) | None => {}
            }
        }
        bar.finish_and_clear();
        let mut report = received.ok_or_else(|| CliError::failed("the daemon sent no report"))?;
        let html = std::mem::take(&mut report.html);
        let written = page.write(&html)?;
        out.print("TransparencyReport", &report, |report| format!("{}{written}", text_of(report)))?;
        out.note_dates(&[("--from", Some(&self.from)), ("--to", Some(&self.to))])
    }
}

/// Asks the daemon what the report would spend of the privacy budget.
async fn budget(
    client: &mut AuditServiceClient<Link>,
    request: proto::GetTransparencyReportRequest,
) -> Result<proto::ReportBudget, CliError> {
    let request = proto::GetTransparencyReportRequest { budget_only: true, ..request };
    let mut frames = client.get_transparency_report(request).await?.into_inner();
    while let Some(frame) = frames.message().await? {
        if let Some(Frame::Budget(budget)) = frame.frame {
            return Ok(budget);
        }
    }
    Err(CliError::failed("the daemon did not say what the report would spend"))
}

/// Asks at the terminal whether to spend the period's privacy budget; fails without a terminal.
fn ask_to_spend(budget: &proto::ReportBudget) -> Result<(), CliError> {
    let proto::ReportBudget { epsilon, epsilon_spent, epsilon_max } = budget;
    let cost = format!(
        "this report spends {epsilon} of the privacy budget of its period for good: {epsilon_spent} of \
         {epsilon_max} is spent already"
    );
    let (mut input, mut prompt) = (std::io::stdin().lock(), std::io::stderr());
    if !input.is_terminal() || !prompt.is_terminal() {
        return Err(CliError::usage(cost).next("`--yes` spends it without asking"));
    }
    let mut answer = String::new();
    let asked = write!(prompt, "{cost}. Spend it? [y/N] ").and_then(|()| prompt.flush());
    asked.and_then(|()| input.read_line(&mut answer)).map_err(CliError::failed)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(CliError::failed("nothing was spent, and no report was made")),
    }
}

/// The HTML page to write, if any.
struct Page {
    path: Option<PathBuf>,
    existing: Existing,
}

impl Page {
    /// Checks that the page may be written to its destination. Called before the daemon makes the
    /// report, so that a wrong path spends no privacy budget.
    fn check(&self) -> Result<(), CliError> {
        self.path.as_deref().map_or(Ok(()), |path| self.existing.check(path))
    }

    /// Writes the page. Returns a line with the path and size of the file.
    fn write(&self, html: &str) -> Result<String, CliError> {
        let Some(path) = &self.path else { return Ok(String::new()) };
        let bytes = AtomicFile::write_whole(path, self.existing, html.as_bytes())?;
        Ok(format!("\n\n{}: {}", path.display(), count(bytes, "byte")))
    }
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
        "{} from {} until before {}: groups of at least {}, {noise}, over the first {}",
        report.origin,
        time(report.from.as_ref()),
        time(report.to.as_ref()),
        report.k,
        count(report.tree_size, "entry"),
    );
    let lines = report.summary.iter().map(|line| vec![format!("  {}", line.title), line.text.clone()]);
    text.push_str(&format!("\n\nSUMMARY\n{}", table(&lines.collect::<Vec<_>>())));
    if report.epsilon > 0.0 {
        text.push_str("\n  ± and ranges: the numbers without noise are in them in 95 of 100 reports");
    }
    for figure in &report.figures {
        text.push_str(&format!("\n\n{} [{}]", figure.title.to_uppercase(), figure.id));
        match figure.status() {
            proto::FigureStatus::NotObservable => text.push_str("\nnot observable in a ledger"),
            proto::FigureStatus::NotAvailable => {
                text.push_str(&format!("\nnot available: {}", figure.missing))
            }
            _ => figure.tables.iter().for_each(|table| table_text(&mut text, table, report.k)),
        }
        for ratio in &figure.ratios {
            text.push_str(&format!("\n{}: {} ({})", ratio.title, ratio_text(ratio), ratio.unit));
        }
    }
    text
}

fn table_text(text: &mut String, shown: &proto::FigureTable, k: u32) {
    text.push_str(&format!("\n{}", shown.title));
    if shown.suppressed {
        text.push_str(&format!(": not shown, fewer than {k} people"));
        return;
    }
    let amount = |value: f64, margin: f64| match margin > 0.0 {
        true => format!("{value} ± {margin}"),
        false => value.to_string(),
    };
    let rows = shown.rows.iter();
    let mut rows: Vec<Vec<String>> = rows
        .map(|row| vec![format!("  {}", row.labels.join(" · ")), amount(row.value, row.margin)])
        .collect();
    for (name, value, margin, below_noise) in [
        ("others", shown.others, shown.others_margin, shown.others_below_noise),
        ("all", shown.total, shown.total_margin, shown.total_below_noise),
    ] {
        let below_noise = below_noise.then(|| format!("no larger than its noise (± {margin})"));
        let number = value.map(|value| amount(value, margin)).or(below_noise);
        rows.extend(number.map(|number| vec![format!("  {name}"), number]));
    }
    text.push_str(&format!("\n{}", table(&rows)));
    if shown.rows_below_noise > 0 {
        let left_out = count(shown.rows_below_noise.into(), "row");
        text.push_str(&format!("\n  {left_out} not shown, no larger than the noise"));
    }
}

fn ratio_text(ratio: &proto::FigureRatio) -> String {
    match (ratio.value, ratio.low, ratio.high) {
        (Some(value), Some(low), Some(high)) => format!("{value:.3}, {low:.3} to {high:.3}"),
        (Some(value), Some(low), None) => format!("{value:.3}, at least {low:.3}"),
        (Some(value), ..) => format!("{value:.3}"),
        (None, ..) if ratio.below_noise => "not shown, no larger than its noise".to_owned(),
        (None, ..) => "not shown".to_owned(),
    }
}

/// Show the record of processing activities (GDPR Art. 30(1)) as of now.
///
/// Example: `sayso record-of-processing -o record.html`
#[derive(Args)]
pub(super) struct RecordOfProcessing {
    /// Also write the record of processing as an HTML page.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace FILE if it exists.
    #[arg(long, requires = "output")]
    force: bool,
}

impl RecordOfProcessing {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let page = Page { path: self.output, existing: Existing::from_force(self.force) };
        page.check()?;
        let request = proto::GetRecordOfProcessingRequest { html: page.path.is_some() };
        let answer = client(at).await?.get_record_of_processing(request).await?.into_inner();
        let written = page.write(&answer.html)?;
        let record = answer.record.unwrap_or_default();
        out.print("RecordOfProcessing", &record, |record| format!("{}{written}", record_text(record)))
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
    let purposes = record.purposes.iter();
    let unused = |used: bool| if used { "" } else { " (not used so far)" };
    let basis = |each: &proto::ProcessingPurpose| {
        let declared = DeclaredBasis::of(each.legal_basis());
        declared.map(|basis| format!(", {} ({})", basis.title(), each.basis_reference)).unwrap_or_default()
    };
    let purpose =
        |each: &proto::ProcessingPurpose| format!("{}{}{}", each.id, basis(each), unused(each.used));
    part("b", "purposes", purposes.map(purpose).collect());
    part("c", "data subjects", record.data_subjects.clone());
    let categories = record.categories.iter();
    let special = |special: bool| if special { " (special)" } else { "" };
    part(
        "c",
        "categories of data",
        categories.map(|each| format!("{}{}", each.id, special(each.special))).collect(),
    );
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
