//! Why a file cannot be read as a package.

use super::format::{FORMAT, VERSION};
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
