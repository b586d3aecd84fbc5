//! A package read back: what another ledger can take.

use super::{FORMAT, VERSION};
use flate2::read::DeflateDecoder;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::io::{self, Read, Seek, SeekFrom};

/// Larger packages are not read: far more than a person's ledger holds, and a bound for what a crafted file can do.
const JSON_BYTES_MAX: u64 = 4 << 30;
const END: [u8; 4] = *b"PK\x05\x06";
const CENTRAL: [u8; 4] = *b"PK\x01\x02";
const LOCAL: [u8; 4] = *b"PK\x03\x04";
const DIRECTORY_BYTES_MAX: u64 = 64 << 20;

/// Why a file is not taken for a package.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file.
    #[error("{0}")]
    Io(#[from] io::Error),
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

/// A little-endian number of `N` bytes at an offset.
fn number<const N: usize>(bytes: &[u8], at: usize) -> Result<u64, ReadError> {
    let end = at.checked_add(N).ok_or(ReadError::Form("cut off"))?;
    let bytes = bytes.get(at..end).ok_or(ReadError::Form("cut off"))?;
    Ok(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

/// The bytes of a member by its name, its checksum compared; none where there is no such member.
pub(super) fn member(
    file: &mut (impl Read + Seek),
    name: &str,
    bytes_max: u64,
) -> Result<Option<Vec<u8>>, ReadError> {
    let form = ReadError::Form;
    let directory = directory(file)?;
    let mut at = 0_usize;
    while directory.get(at..at.saturating_add(4)) == Some(CENTRAL.as_slice()) {
        let length = number::<2>(&directory, at.saturating_add(28))?;
        let extra = number::<2>(&directory, at.saturating_add(30))?;
        let comment = number::<2>(&directory, at.saturating_add(32))?;
        let begin = at.saturating_add(46);
        let as_size = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        let end = begin.saturating_add(as_size(length));
        let found = directory.get(begin..end).ok_or(form("cut off"))?;
        if found != name.as_bytes() {
            at = end.saturating_add(as_size(extra.saturating_add(comment)));
            continue;
        }
        if number::<2>(&directory, at.saturating_add(10))? != 8 {
            return Err(form("package.json is not deflated"));
        }
        let checksum = number::<4>(&directory, at.saturating_add(16))?;
        let packed = number::<4>(&directory, at.saturating_add(20))?;
        let place = number::<4>(&directory, at.saturating_add(42))?;
        let mut header = [0; 30];
        file.seek(SeekFrom::Start(place))?;
        file.read_exact(&mut header)?;
        if !header.starts_with(&LOCAL) {
            return Err(form("its directory is wrong"));
        }
        let skip = number::<2>(&header, 26)?.saturating_add(number::<2>(&header, 28)?);
        file.seek(SeekFrom::Start(place.saturating_add(30).saturating_add(skip)))?;
        let mut bytes = Vec::new();
        DeflateDecoder::new(file.take(packed)).take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > bytes_max {
            return Err(form("too large"));
        }
        if u64::from(crc32fast::hash(&bytes)) != checksum {
            return Err(form("damaged"));
        }
        return Ok(Some(bytes));
    }
    Ok(None)
}

/// The central directory, found by the end record.
fn directory(file: &mut (impl Read + Seek)) -> Result<Vec<u8>, ReadError> {
    let form = ReadError::Form;
    let length = file.seek(SeekFrom::End(0))?;
    let tail_length = length.min(22 + 0xffff);
    file.seek(SeekFrom::Start(length.saturating_sub(tail_length)))?;
    let mut tail = Vec::new();
    file.take(tail_length).read_to_end(&mut tail)?;
    let end = tail.windows(4).rposition(|window| window == END).ok_or(form("no ZIP file"))?;
    let size = number::<4>(&tail, end.saturating_add(12))?;
    let place = number::<4>(&tail, end.saturating_add(16))?;
    if size > DIRECTORY_BYTES_MAX || place.saturating_add(size) > length {
        return Err(form("its directory is wrong"));
    }
    file.seek(SeekFrom::Start(place))?;
    let mut directory = Vec::new();
    file.take(size).read_to_end(&mut directory)?;
    Ok(directory)
}
