//! The report that `sayso verify --report` writes.

mod content;
mod csv;
mod json;
mod page;
mod query;
mod sentences;

pub(super) use content::{Checked, Content, Outcome};

use super::atomic_file::{AtomicFile, Existing};
use super::error::CliError;
use super::output::Out;
use clap::{Args, ValueEnum};
use query::Condition;
use sayso_proof::bundle::usage::Query;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// Size of the buffer through which the report is written, in bytes.
const BUFFER_BYTES: usize = 256 << 10;

/// The format of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One page for people, without scripts.
    Html,
    /// JSON with everything that the page has.
    Json,
    /// A table of grants for a spreadsheet.
    Csv,
}

impl Format {
    /// The format that a file's extension stands for.
    fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "html" | "htm" => Some(Self::Html),
            "json" => Some(Self::Json),
            "csv" => Some(Self::Csv),
            _ => None,
        }
    }
}

/// The flags about a report.
#[derive(Args)]
#[command(next_help_heading = "Report")]
pub(super) struct ReportFlags {
    /// Write a report on a bundle to FILE: the verdict, the findings, and every grant with the consent, the
    /// notice and the rules that it rests on, and with its uses. The report has neither values nor keys of
    /// attributes. The extension of FILE sets the format: `.html`, `.json` or `.csv`. If the bundle does not
    /// verify, the report says so and lists nothing.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// The format of the report. Default: the format that the extension of FILE sets.
    #[arg(long, value_name = "FORMAT", requires = "report")]
    report_format: Option<Format>,
    /// List only matching grants; may be repeated. KEY is `recipient`, `purpose`, `category`, `person`,
    /// `from` or `to`. A purpose or category includes those below it. A person is a handle from an earlier
    /// report. `from` and `to`, each given at most once, are the beginning and the end of a period: a
    /// grant matches if it was in force, or was used, in that period. If another key is given several
    /// times, one of its values has to match. Conditions with different keys all have to match. Example:
    /// `--query category=health --query recipient=tutor --query from=2026-01-01`.
    #[arg(long = "query", value_name = "KEY=VALUE", requires = "report", value_parser = query::parse)]
    conditions: Vec<Condition>,
    /// Replace FILE if it exists.
    #[arg(long, requires = "report")]
    force: bool,
}

impl ReportFlags {
    /// Whether a report was requested.
    pub fn is_requested(&self) -> bool {
        self.report.is_some()
    }

    /// Checks the flags, and that the file can be written, before anything is verified. `None` if no report
    /// was requested.
    ///
    /// # Errors
    /// The file exists and `--force` is not given, the format is unknown, or the query is invalid.
    pub fn begin(&self) -> Result<Option<PendingReport>, CliError> {
        let Some(path) = &self.report else { return Ok(None) };
        let format = self.report_format.or_else(|| Format::of(path)).ok_or_else(|| {
            let path = path.display();
            CliError::usage(format!("--report: the format of {path} is unknown"))
                .next("name a file that ends in .html, .json or .csv, or give --report-format")
        })?;
        let query = query::query_of(&self.conditions)?;
        let file = AtomicFile::begin(path, Existing::from_force(self.force))?;
        Ok(Some(PendingReport { path: path.clone(), format, query, file }))
    }

    /// For each date without a time in the query, prints the moment that it stands for.
    pub fn note_dates(&self, out: Out) -> Result<(), CliError> {
        out.note_dates(&query::dates(&self.conditions))
    }
}

/// A report that will be written when the verdict is known. Dropping it unwritten removes its file.
pub(super) struct PendingReport {
    path: PathBuf,
    format: Format,
    pub query: Query,
    file: AtomicFile,
}

impl PendingReport {
    /// Writes the report to its `.partial` file, and renames that file to the final path. Returns this path.
    ///
    /// # Errors
    /// The report or a temporary file can't be written or read. Then there is no report.
    pub fn write(self, content: &Content<'_>) -> Result<String, CliError> {
        let path = self.path.display().to_string();
        let failed = |error: std::io::Error| CliError::failed(format!("--report: {path}: {error}"));
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, self.file);
        let written = match self.format {
            Format::Html => page::write(content, &mut out),
            Format::Json => json::write(content, &mut out),
            Format::Csv => csv::write(content, &mut out),
        };
        written.and_then(|()| out.flush()).map_err(failed)?;
        out.into_inner().map_err(|error| failed(error.into_error()))?.finish()?;
        Ok(path)
    }
}
