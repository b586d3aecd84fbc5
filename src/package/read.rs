//! Reads a package back as a stream: what another ledger can take. A crafted file costs no more memory than a person's
//! facts may take.

use super::guard::{Bounds, Guard, Guarded};
use super::{FORMAT, VERSION};
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;
use serde_json::value::RawValue;
use std::fmt;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use zip::ZipReadOptions;
use zip::read::Config;
use zip::result::ZipError;
use zip::unstable::read::ZipIterable;

/// Bytes of `package.json`, unpacked.
const JSON_BYTES_MAX: u64 = 1 << 30;
/// How many times larger than packed it may be, once it is larger than [`RATIO_FREE_BYTES`].
const RATIO_MAX: u64 = 100;
/// Bytes that may be unpacked at any ratio.
const RATIO_FREE_BYTES: u64 = 16 << 20;
/// Members of the ZIP file: a receipt for each decision, and few others.
const MEMBERS_MAX: usize = 1 << 20;
/// Bytes of one fact, and of each name or text outside of facts.
const ITEM_BYTES_MAX: u64 = 1 << 20;
/// Nesting: a value has at most 16.
const DEPTH_MAX: u32 = 64;
/// Facts that are kept to be recorded.
const FACTS_MAX: usize = 50_000;
/// Bytes of all facts that are kept.
const FACTS_BYTES_MAX: usize = 32 << 20;
/// Pieces of evidence, and sources, of one fact.
const LINKS_MAX: usize = 64;
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
    /// Not a ZIP file that holds a package, nor a `package.json`; or larger than packages may be.
    #[error("not a package: {0}")]
    Form(&'static str),
    /// The JSON; its own words are never repeated.
    #[error("not a package: line {line}, column {column}: {problem}")]
    Json {
        /// What is wrong.
        problem: String,
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
    /// Another form.
    #[error("a package of another form or version; this reads `{FORMAT}` version {VERSION}")]
    Version,
}

impl From<serde_json::Error> for ReadError {
    fn from(error: serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        let problem = match error.classify() {
            Category::Io => return Self::Io(error.into()),
            Category::Syntax | Category::Eof => "is not JSON".to_owned(),
            Category::Data => {
                let said = error.to_string();
                // What `LIMIT` begins is our own; other words would repeat what stands in the file.
                let ours = said.strip_prefix(LIMIT).and_then(|rest| rest.split(" at line").next());
                ours.map_or_else(|| "is not what a package holds there".to_owned(), str::to_owned)
            }
        };
        Self::Json { problem, line, column }
    }
}

const LIMIT: &str = "limit: ";

/// What is read of a package.
#[derive(Debug, Default)]
pub struct Imported {
    /// Declared and observed facts, in the order of the package. At most 50,000, of 32 MiB together.
    pub attributes: Vec<ImportedAttribute>,
    /// Facts that a model inferred there; they are only counted.
    pub inferred: u64,
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
    /// What it rests on. At most 64.
    #[serde(default)]
    pub evidence: Vec<String>,
    /// Events of what it was derived from. At most 64.
    #[serde(default)]
    pub derived_from: Vec<String>,
    /// The person said that it is wrong.
    #[serde(default)]
    pub contested: bool,
    /// The person said that it is right.
    #[serde(default)]
    pub confirmed: bool,
}

impl ImportedAttribute {
    /// Bytes of its texts.
    fn bytes(&self) -> usize {
        let short = [&self.event_id, &self.key, &self.category, &self.provenance, &self.observed_at];
        let lists = self.evidence.iter().chain(&self.derived_from).chain(&self.expires_at);
        self.value.get().len() + short.into_iter().chain(lists).map(String::len).sum::<usize>()
    }
}

/// Reads a package: a ZIP file, or the `package.json` out of one. Memory is bounded by what is kept.
///
/// # Errors
/// It is neither, is damaged, of another version, or beyond a limit: 1 GiB unpacked, 100 times its packed size, 1 MiB a
/// fact, 64 levels deep, 50,000 facts, 32 MiB of them.
pub fn read(file: &mut (impl Read + Seek)) -> Result<Imported, ReadError> {
    let mut first = [0; 4];
    let count = file.read(&mut first)?;
    file.rewind()?;
    if count == 4 && first == LOCAL {
        let found = with_member(file, "package.json", |member, packed_bytes| {
            let bytes_max = packed_bytes.saturating_mul(RATIO_MAX).max(RATIO_FREE_BYTES);
            read_json(member, bytes_max.min(JSON_BYTES_MAX))
        });
        return found?.ok_or(ReadError::Form("it holds no package.json"))?;
    }
    read_json(file, JSON_BYTES_MAX)
}

/// Hands a member of a ZIP file on by its name, with the bytes that it takes in the file; none where there is no such
/// member. Its checksum is compared when it is read to its end. The directory is walked, never kept.
pub(super) fn with_member<T>(
    file: &mut (impl Read + Seek),
    name: &str,
    then: impl FnOnce(&mut dyn Read, u64) -> T,
) -> Result<Option<T>, ReadError> {
    let file_bytes = file.seek(SeekFrom::End(0))?;
    file.rewind()?;
    let mut archive = ZipIterable::try_new(BufReader::new(file), Config::default())?;
    if archive.len() > MEMBERS_MAX {
        return Err(ReadError::Form("it has too many members"));
    }
    let files = archive.files()?;
    let mut found = None;
    for entry in files.by_ref() {
        let entry = entry?;
        if entry.name_raw() == name.as_bytes() && found.replace(entry).is_some() {
            return Err(ReadError::Form("it holds two files of one name"));
        }
    }
    let Some(entry) = found else { return Ok(None) };
    let packed_bytes = entry.compressed_size().min(file_bytes);
    let mut member = entry.with_reader(files.reader_mut(), ZipReadOptions::new())?;
    Ok(Some(then(&mut member, packed_bytes)))
}

fn read_json(from: impl Read, bytes_max: u64) -> Result<Imported, ReadError> {
    let guard = Guard::new(Bounds { bytes_max, depth_max: DEPTH_MAX });
    let mut json = serde_json::Deserializer::from_reader(Guarded::new(BufReader::new(from), &guard));
    let read = PackageSeed(&guard).deserialize(&mut json)?;
    json.end()?;
    if read.format != FORMAT || read.version != VERSION {
        return Err(ReadError::Version);
    }
    Ok(read.imported)
}

#[derive(Default)]
struct Reading {
    format: String,
    version: u32,
    imported: Imported,
    kept_bytes: usize,
}

/// `package.json`: of its fields only those that are taken over, facts one by one.
struct PackageSeed<'a>(&'a Guard);

impl<'de> DeserializeSeed<'de> for PackageSeed<'_> {
    type Value = Reading;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Reading, D::Error> {
        from.deserialize_map(self)
    }
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Field {
    Format,
    Version,
    Attributes,
    #[serde(other)]
    Other,
}

impl<'de> Visitor<'de> for PackageSeed<'_> {
    type Value = Reading;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a package")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Reading, A::Error> {
        let mut reading = Reading::default();
        loop {
            self.0.begin_item(ITEM_BYTES_MAX);
            match fields.next_key()? {
                None => return Ok(reading),
                Some(Field::Format) => reading.format = fields.next_value()?,
                Some(Field::Version) => reading.version = fields.next_value()?,
                Some(Field::Attributes) => fields.next_value_seed(FactsSeed(self.0, &mut reading))?,
                Some(Field::Other) => {
                    // Passed over without being kept, however large.
                    self.0.end_item();
                    fields.next_value::<IgnoredAny>()?;
                }
            }
        }
    }
}

struct FactsSeed<'a>(&'a Guard, &'a mut Reading);

impl<'de> DeserializeSeed<'de> for FactsSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for FactsSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("facts")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut facts: A) -> Result<(), A::Error> {
        use serde::de::Error;
        let Self(guard, reading) = self;
        loop {
            guard.begin_item(ITEM_BYTES_MAX);
            let Some(fact) = facts.next_element::<ImportedAttribute>()? else { return Ok(()) };
            if fact.provenance == "inferred" {
                reading.imported.inferred = reading.imported.inferred.saturating_add(1);
                continue;
            }
            if fact.evidence.len() > LINKS_MAX || fact.derived_from.len() > LINKS_MAX {
                return Err(A::Error::custom(format!(
                    "{LIMIT}a fact has more than {LINKS_MAX} pieces of evidence or sources"
                )));
            }
            reading.kept_bytes = reading.kept_bytes.saturating_add(fact.bytes());
            if reading.kept_bytes > FACTS_BYTES_MAX {
                return Err(A::Error::custom(format!(
                    "{LIMIT}its facts have more than {FACTS_BYTES_MAX} bytes"
                )));
            }
            reading.imported.attributes.push(fact);
            if reading.imported.attributes.len() > FACTS_MAX {
                return Err(A::Error::custom(format!("{LIMIT}it has more than {FACTS_MAX} facts")));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::package::Zip;
    use std::io::Write;

    fn package(attributes: &str, more: &str) -> String {
        format!("{{{more}\"format\":\"{FORMAT}\",\"version\":{VERSION},\"attributes\":[{attributes}]}}")
    }

    fn fact(event_id: &str, value: &str) -> String {
        format!(
            "{{\"event_id\":\"{event_id}\",\"key\":\"k\",\"value\":{value},\"category\":\"work\",\
             \"provenance\":\"declared\",\"observed_at\":\"2026-01-05T09:00:00Z\"}}"
        )
    }

    fn of(text: &str) -> Result<Imported, ReadError> {
        read(&mut io::Cursor::new(text))
    }

    fn said(text: &str) -> String {
        of(text).unwrap_err().to_string()
    }

    fn zipped(parts: &[(&str, usize)]) -> Vec<u8> {
        let mut zip = Zip::new(Vec::new(), 0);
        let member = zip.begin("package.json").unwrap();
        for (part, times) in parts {
            (0..*times).for_each(|_| member.write_all(part.as_bytes()).unwrap());
        }
        zip.finish().unwrap()
    }

    #[test]
    fn facts_are_read_whatever_stands_around_them() {
        let text =
            package(&[fact("a", "{\"x\":[1.50]}"), fact("b", "2")].join(","), "\"history\":[{\"a\":[]}],");
        let read = of(&text).unwrap();
        let values: Vec<&str> = read.attributes.iter().map(|fact| fact.value.get()).collect();
        assert_eq!(values, ["{\"x\":[1.50]}", "2"]);
        let inferred = of(&package(&fact("a", "1").replace("declared", "inferred"), "")).unwrap();
        assert_eq!((inferred.inferred, inferred.attributes.len()), (1, 0));
        let zip = zipped(&[(&text, 1)]);
        assert_eq!(read_all(&zip).unwrap().attributes.len(), 2);
    }

    fn read_all(bytes: &[u8]) -> Result<Imported, ReadError> {
        read(&mut io::Cursor::new(bytes))
    }

    #[test]
    fn what_is_no_package_is_refused_without_its_words() {
        assert!(matches!(of(&package("", "").replace(FORMAT, "other")), Err(ReadError::Version)));
        assert!(said(&package("", "\"attributes\":\"canary\",")).contains("is not what a package holds"));
        for text in
            ["", "{", "[]", "{\"canary\":1", &package("{\"canary\":1}", ""), &package("\"canary\"", "")]
        {
            assert!(!said(text).contains("canary"), "{text}");
        }
        assert!(said(&format!("{} canary", package("", ""))).contains("is not JSON"));
    }

    #[test]
    fn depth_facts_and_names_have_limits() {
        let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(of(&package(&fact("a", &deep(16)), "")).is_ok());
        assert!(said(&package(&fact("a", &deep(70)), "")).contains("levels"));
        assert!(said(&package("", &format!("\"history\":{},", deep(100_000)))).contains("levels"));
        // Brackets in texts are no levels.
        assert!(of(&package(&fact("a", &format!("\"\\\"{}\"", "[".repeat(100))), "")).is_ok());
        let long = "x".repeat(ITEM_BYTES_MAX as usize);
        assert!(said(&package(&fact(&long, "1"), "")).contains("larger than 1048576 bytes"));
        assert!(said(&package("", &format!("\"{long}\":1,"))).contains("larger than 1048576 bytes"));
        // What is passed over may be long.
        assert!(of(&package("", &format!("\"history\":[\"{long}\"],"))).is_ok());
        let links = format!("[{}\"e\"]", "\"e\",".repeat(LINKS_MAX));
        let linked = fact("a", "1").replace("{", &format!("{{\"evidence\":{links},"));
        assert!(said(&package(&linked, "")).contains("more than 64 pieces"));
        let many = vec![fact("a", "1"); FACTS_MAX + 1].join(",");
        assert!(said(&package(&many, "")).contains("more than 50000 facts"));
        let large = vec![fact("a", &format!("\"{}\"", "x".repeat(1 << 19))); 66].join(",");
        assert!(said(&package(&large, "")).contains("more than 33554432 bytes"));
    }

    #[test]
    fn what_swells_is_refused_while_it_is_unpacked() {
        let spaces = " ".repeat(1 << 20);
        let swollen = zipped(&[("{\"history\":\"", 1), (&spaces, 64), ("\"}", 1)]);
        assert!(swollen.len() < 1 << 18);
        assert!(read_all(&swollen).unwrap_err().to_string().contains("unpacked"));
    }

    #[test]
    fn two_members_of_one_name_are_refused() {
        let text = package("", "");
        let once = zipped(&[(&text, 1)]);
        let mut zip = Zip::new(Vec::new(), 0);
        zip.begin("package.json").unwrap().write_all(text.as_bytes()).unwrap();
        zip.begin("package.jsoN").unwrap().write_all(text.as_bytes()).unwrap();
        let mut bytes = zip.finish().unwrap();
        assert!(read_all(&bytes).is_ok() && read_all(&once).is_ok());
        for at in 0..bytes.len() - 12 {
            if bytes.get(at..at + 12) == Some(b"package.jsoN") {
                bytes.splice(at..at + 12, *b"package.json");
            }
        }
        assert!(read_all(&bytes).unwrap_err().to_string().contains("two files of one name"));
    }
}
