//! A package read back: what another ledger can take.

use super::{FORMAT, VERSION};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::io::{self, Read, Seek};
use zip::ZipArchive;
use zip::result::ZipError;

/// Larger packages are not read: far more than a person's ledger holds, and a bound for what a crafted file can do.
const JSON_BYTES_MAX: u64 = 4 << 30;
const LOCAL: [u8; 4] = *b"PK\x03\x04";

/// Why a file is not taken for a package.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The ZIP file.
    #[error("not a package: {0}")]
    Zip(#[from] ZipError),
    /// Not a ZIP file that holds a package, nor a `package.json`.
    #[error("not a package: {0}")]
    Form(&'static str),
    /// The JSON.
    #[error("not a package: {0}")]
    Json(#[from] serde_json::Error),
    /// Another form.
    #[error("a package of form `{format}` version {version}; this reads `{FORMAT}` version {VERSION}")]
    Version {
        /// What it says of itself.
        format: String,
        /// Its version.
        version: u32,
    },
}

/// What is read of a package.
#[derive(Debug, Deserialize)]
pub struct Imported {
    format: String,
    version: u32,
    /// `access` or `portability`.
    pub kind: String,
    /// Whom it is about.
    pub subject: ImportedSubject,
    /// What was held.
    #[serde(default)]
    pub attributes: Vec<ImportedAttribute>,
}

/// Whom it is about.
#[derive(Debug, Deserialize)]
pub struct ImportedSubject {
    /// The other controller's id of the person.
    pub id: String,
}

/// One thing that was held.
#[derive(Debug, Deserialize)]
pub struct ImportedAttribute {
    /// The event that recorded it there.
    pub event_id: String,
    /// Names it.
    pub key: String,
    /// JSON, as it was recorded.
    pub value: Box<RawValue>,
    /// A category of the other vocabulary.
    pub category: String,
    /// `declared`, `observed` or `inferred`.
    pub provenance: String,
    /// RFC 3339.
    pub observed_at: String,
    /// RFC 3339.
    #[serde(default)]
    pub expires_at: Option<String>,
    /// What it rests on.
    #[serde(default)]
    pub evidence: Vec<String>,
    /// Events of what it was derived from.
    #[serde(default)]
    pub derived_from: Vec<String>,
    /// The person said that it is wrong.
    #[serde(default)]
    pub contested: bool,
    /// The person said that it is right.
    #[serde(default)]
    pub confirmed: bool,
}

/// Reads a package: a ZIP file, or the `package.json` out of one.
///
/// # Errors
/// It is neither, is damaged, or is of another version.
pub fn read(file: &mut (impl Read + Seek)) -> Result<Imported, ReadError> {
    let mut first = [0; 4];
    let count = file.read(&mut first)?;
    file.rewind()?;
    let imported: Imported = if count == 4 && first == LOCAL {
        let bytes = member(file, "package.json", JSON_BYTES_MAX)?;
        serde_json::from_slice(&bytes.ok_or(ReadError::Form("it holds no package.json"))?)?
    } else {
        serde_json::from_reader(io::BufReader::new(file.take(JSON_BYTES_MAX)))?
    };
    if imported.format != FORMAT || imported.version != VERSION {
        return Err(ReadError::Version { format: imported.format, version: imported.version });
    }
    Ok(imported)
}

/// The bytes of a member by its name, its checksum compared; none where there is no such member.
pub(super) fn member(
    file: &mut (impl Read + Seek),
    name: &str,
    bytes_max: u64,
) -> Result<Option<Vec<u8>>, ReadError> {
    let mut archive = ZipArchive::new(file)?;
    let member = match archive.by_name(name) {
        Ok(member) => member,
        Err(ZipError::FileNotFound) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut bytes = Vec::new();
    member.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(ReadError::Form("too large"));
    }
    Ok(Some(bytes))
}
