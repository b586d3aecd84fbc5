//! Why a file cannot be read as a package, and why a package or a receipt is rejected.

use super::format::{FORMAT, VERSION};
use crate::domain::json_value::JsonProblem;
use sayso_proof::entry::EntryError;
use sayso_proof::proof::TlogProofError;
use sayso_proof::signed_document::DocumentError;
use serde_json::error::Category;
use std::io;
use zip::result::ZipError;

/// The prefix of Sayso's own messages inside JSON errors.
pub(super) const LIMIT: &str = "limit: ";

/// Why a file cannot be read as a package.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The ZIP file is damaged.
    #[error("not a package: {0}")]
    Zip(#[from] ZipError),
    /// The file is neither a package nor a `package.json`, or is larger than a package may be.
    #[error("not a package: {0}")]
    Form(&'static str),
    /// The JSON is not that of a package. The message never repeats text of the file.
    #[error("not a package: line {line}, column {column}: {problem}")]
    Json {
        /// What is wrong.
        problem: String,
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
    /// The package has another format or version.
    #[error("the package has another format or version; this command reads `{FORMAT}` version {VERSION}")]
    Version,
}

impl From<serde_json::Error> for ReadError {
    fn from(error: serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        let problem = match error.classify() {
            Category::Io => return Self::Io(error.into()),
            Category::Syntax | Category::Eof => "this is not JSON".to_owned(),
            Category::Data => {
                let message = error.to_string();
                // Only Sayso's own messages are shown, because other messages would repeat text of the file.
                let own = message.strip_prefix(LIMIT).and_then(|rest| rest.split(" at line").next());
                own.map_or_else(|| "a package has something else here".to_owned(), str::to_owned)
            }
        };
        Self::Json { problem, line, column }
    }
}

/// Why a receipt is rejected.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptError {
    /// Readers may understand the JSON differently.
    #[error("the receipt {}", .0.as_str())]
    Json(JsonProblem),
    /// A part is missing.
    #[error("the receipt has no {0}")]
    Missing(&'static str),
    /// A property of the provenance is malformed, unknown, or there twice.
    #[error("the receipt has a property of its provenance that is malformed, there twice, or unknown")]
    Property,
    /// The event key is malformed.
    #[error("the event key is not 32 bytes in hex")]
    EventKey,
    /// The proof is invalid.
    #[error("invalid proof of the receipt: {0}")]
    Proof(#[from] TlogProofError),
    /// The event key does not open the entry.
    #[error("the entry of the receipt can't be opened: {0}")]
    Entry(#[from] EntryError),
    /// The entry is another event.
    #[error("the entry is not a decision about consent")]
    NotADecision,
    /// The signature is invalid.
    #[error(transparent)]
    Signature(#[from] DocumentError),
    /// The receipt and the entry disagree.
    #[error("the receipt's `{0}` differs from the log")]
    Differs(String),
}

/// Why a package is rejected.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// The file cannot be read as a package.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The manifest is missing or wrong.
    #[error("`manifest.json`: {0}")]
    Manifest(&'static str),
    /// The signature of the manifest is invalid.
    #[error("`manifest.json`: {0}")]
    Signature(#[from] DocumentError),
    /// A member is wrong.
    #[error("`{0}`: {1}")]
    Member(String, &'static str),
    /// The package does not have everything that the log committed to, or does not show it.
    #[error("`{0}`: {1}")]
    Completeness(&'static str, String),
    /// A receipt is rejected.
    #[error("`{0}`: {1}")]
    Receipt(String, #[source] Box<ReceiptError>),
}
