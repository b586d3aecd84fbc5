//! Reads the part of a package that a ledger can import. It reads the package as a stream, so a crafted
//! file takes little more memory than the attributes of one import may take (32 MiB).

use super::error::{LIMIT, ReadError};
use super::format::{FORMAT, VERSION};
use super::json_limits::{Guard, JsonLimits, LimitedReader};
use super::unzip::with_member;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::fmt;
use std::io::{BufReader, Read, Seek};

/// The most bytes that the unpacked `package.json` may have.
const JSON_BYTES_MAX: u64 = 1 << 30;
/// The unpacked `package.json` may be at most this many times as large as the packed one. This limit does not
/// apply below [`RATIO_FREE_BYTES`].
const RATIO_MAX: u64 = 100;
/// This many bytes may always be unpacked, however small the packed size is.
const RATIO_FREE_BYTES: u64 = 16 << 20;
/// The most bytes of one attribute, and of each name or text outside of attributes.
const ITEM_BYTES_MAX: u64 = 1 << 20;
/// The most levels of nesting; a value has at most 16.
const DEPTH_MAX: u32 = 64;
/// The most attributes that one import may contain.
const ATTRIBUTES_MAX: usize = 50_000;
/// The most bytes of all attributes of one import.
const ATTRIBUTES_BYTES_MAX: usize = 32 << 20;
/// The most pieces of evidence of one attribute, and the most sources.
const LINKS_MAX: usize = 64;
/// The first bytes of a ZIP file.
const ZIP_MAGIC: [u8; 4] = *b"PK\x03\x04";

/// What was read from a package.
#[derive(Debug, Default)]
pub struct Imported {
    /// Declared and observed attributes, in the order of the package: at most 50,000, and at most 32 MiB in
    /// total.
    pub attributes: Vec<ImportedAttribute>,
    /// The number of attributes in the package that a model inferred; they are not imported.
    pub inferred: u64,
}

/// An attribute in the package of another ledger.
#[derive(Debug, Deserialize)]
pub struct ImportedAttribute {
    /// The event that recorded it there.
    pub event_id: String,
    /// Its name.
    pub key: String,
    /// Its value: JSON, as it was recorded.
    pub value: Box<RawValue>,
    /// Its category in the vocabulary of the other ledger.
    pub category: String,
    /// `declared`, `observed` or `inferred`.
    pub provenance: String,
    /// When it was observed, RFC 3339.
    pub observed_at: String,
    /// When it expires, RFC 3339.
    #[serde(default)]
    pub expires_at: Option<String>,
    /// Its evidence: at most 64 pieces.
    #[serde(default)]
    pub evidence: Vec<String>,
    /// The events that recorded what it was derived from: at most 64.
    #[serde(default)]
    pub derived_from: Vec<String>,
    /// Whether the person has said that it is wrong.
    #[serde(default)]
    pub contested: bool,
    /// Whether the person has said that it is right.
    #[serde(default)]
    pub confirmed: bool,
}

impl ImportedAttribute {
    /// The bytes of its texts.
    fn bytes(&self) -> usize {
        let short = [&self.event_id, &self.key, &self.category, &self.provenance, &self.observed_at];
        let lists = self.evidence.iter().chain(&self.derived_from).chain(&self.expires_at);
        self.value.get().len() + short.into_iter().chain(lists).map(String::len).sum::<usize>()
    }
}

/// Whether a file begins like a ZIP file. Returns to its start.
///
/// # Errors
/// The file cannot be read.
pub fn is_zip(file: &mut (impl Read + Seek)) -> std::io::Result<bool> {
    let mut first = [0; 4];
    file.rewind()?;
    let count = file.read(&mut first)?;
    file.rewind()?;
    Ok(count == 4 && first == ZIP_MAGIC)
}

/// Reads a package: a ZIP file, or the `package.json` from one. It takes little more memory than what it
/// returns.
///
/// # Errors
/// The file is neither of these, is damaged, has another version, or exceeds a limit. The limits are 1 GiB
/// unpacked, 1 MiB an attribute, 64 levels of nesting, 50,000 attributes, and 32 MiB of attributes. An
/// unpacked `package.json` of more than 16 MiB may also be at most 100 times as large as packed.
pub fn read(file: &mut (impl Read + Seek)) -> Result<Imported, ReadError> {
    if is_zip(file)? {
        let found = with_member(file, "package.json", |member, packed_bytes| {
            let bytes_max = packed_bytes.saturating_mul(RATIO_MAX).max(RATIO_FREE_BYTES);
            read_json(member, bytes_max.min(JSON_BYTES_MAX))
        });
        return found?.ok_or(ReadError::Form("it contains no package.json"))?;
    }
    read_json(file, JSON_BYTES_MAX)
}

fn read_json(from: impl Read, bytes_max: u64) -> Result<Imported, ReadError> {
    let guard = Guard::new(JsonLimits { bytes_max, depth_max: DEPTH_MAX });
    let mut json = serde_json::Deserializer::from_reader(LimitedReader::new(BufReader::new(from), &guard));
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

/// Reads `package.json`. It reads only the fields that are imported, and reads attributes one by one.
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
                Some(Field::Attributes) => fields.next_value_seed(AttributesSeed(self.0, &mut reading))?,
                Some(Field::Other) => {
                    // Skip the value without keeping it, however large it is.
                    self.0.end_item();
                    fields.next_value::<IgnoredAny>()?;
                }
            }
        }
    }
}

struct AttributesSeed<'a>(&'a Guard, &'a mut Reading);

impl<'de> DeserializeSeed<'de> for AttributesSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for AttributesSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("attributes")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut attributes: A) -> Result<(), A::Error> {
        use serde::de::Error;
        let Self(guard, reading) = self;
        loop {
            guard.begin_item(ITEM_BYTES_MAX);
            let Some(attribute) = attributes.next_element::<ImportedAttribute>()? else { return Ok(()) };
            if attribute.provenance == "inferred" {
                reading.imported.inferred = reading.imported.inferred.saturating_add(1);
                continue;
            }
            if attribute.evidence.len() > LINKS_MAX || attribute.derived_from.len() > LINKS_MAX {
                return Err(A::Error::custom(format!(
                    "{LIMIT}an attribute has more than {LINKS_MAX} pieces of evidence or sources"
                )));
            }
            reading.kept_bytes = reading.kept_bytes.saturating_add(attribute.bytes());
            if reading.kept_bytes > ATTRIBUTES_BYTES_MAX {
                return Err(A::Error::custom(format!(
                    "{LIMIT}its attributes have more than {ATTRIBUTES_BYTES_MAX} bytes"
                )));
            }
            reading.imported.attributes.push(attribute);
            if reading.imported.attributes.len() > ATTRIBUTES_MAX {
                return Err(A::Error::custom(format!("{LIMIT}it has more than {ATTRIBUTES_MAX} attributes")));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::package::zip::Zip;
    use std::io::{Cursor, Write};

    fn package(attributes: &str, more: &str) -> String {
        format!("{{{more}\"format\":\"{FORMAT}\",\"version\":{VERSION},\"attributes\":[{attributes}]}}")
    }

    fn attribute(event_id: &str, value: &str) -> String {
        format!(
            "{{\"event_id\":\"{event_id}\",\"key\":\"k\",\"value\":{value},\"category\":\"work\",\
             \"provenance\":\"declared\",\"observed_at\":\"2026-01-05T09:00:00Z\"}}"
        )
    }

    fn read_text(text: &str) -> Result<Imported, ReadError> {
        read(&mut Cursor::new(text))
    }

    fn error_of(text: &str) -> String {
        read_text(text).unwrap_err().to_string()
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
    fn attributes_are_read_and_other_fields_are_skipped() {
        let text = package(
            &[attribute("a", "{\"x\":[1.50]}"), attribute("b", "2")].join(","),
            "\"history\":[{\"a\":[]}],",
        );
        let read = read_text(&text).unwrap();
        let values: Vec<&str> = read.attributes.iter().map(|each| each.value.get()).collect();
        assert_eq!(values, ["{\"x\":[1.50]}", "2"]);
        let inferred = read_text(&package(&attribute("a", "1").replace("declared", "inferred"), "")).unwrap();
        assert_eq!((inferred.inferred, inferred.attributes.len()), (1, 0));
        let zip = zipped(&[(&text, 1)]);
        assert_eq!(read_all(&zip).unwrap().attributes.len(), 2);
    }

    fn read_all(bytes: &[u8]) -> Result<Imported, ReadError> {
        read(&mut Cursor::new(bytes))
    }

    #[test]
    fn other_files_are_refused_without_repeating_their_text() {
        assert!(matches!(read_text(&package("", "").replace(FORMAT, "other")), Err(ReadError::Version)));
        assert!(
            error_of(&package("", "\"attributes\":\"canary\","))
                .contains("a package has something else here")
        );
        for text in
            ["", "{", "[]", "{\"canary\":1", &package("{\"canary\":1}", ""), &package("\"canary\"", "")]
        {
            assert!(!error_of(text).contains("canary"), "{text}");
        }
        assert!(error_of(&format!("{} canary", package("", ""))).contains("this is not JSON"));
    }

    #[test]
    fn nesting_attributes_and_names_have_limits() {
        let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(read_text(&package(&attribute("a", &deep(16)), "")).is_ok());
        assert!(error_of(&package(&attribute("a", &deep(70)), "")).contains("levels"));
        assert!(error_of(&package("", &format!("\"history\":{},", deep(100_000)))).contains("levels"));
        // Brackets in strings are not counted.
        assert!(read_text(&package(&attribute("a", &format!("\"\\\"{}\"", "[".repeat(100))), "")).is_ok());
        let long = "x".repeat(ITEM_BYTES_MAX as usize);
        assert!(error_of(&package(&attribute(&long, "1"), "")).contains("larger than 1048576 bytes"));
        assert!(error_of(&package("", &format!("\"{long}\":1,"))).contains("larger than 1048576 bytes"));
        // A skipped field may be long.
        assert!(read_text(&package("", &format!("\"history\":[\"{long}\"],"))).is_ok());
        let links = format!("[{}\"e\"]", "\"e\",".repeat(LINKS_MAX));
        let linked = attribute("a", "1").replace("{", &format!("{{\"evidence\":{links},"));
        assert!(error_of(&package(&linked, "")).contains("more than 64 pieces"));
        let many = vec![attribute("a", "1"); ATTRIBUTES_MAX + 1].join(",");
        assert!(error_of(&package(&many, "")).contains("more than 50000 attributes"));
        let large = vec![attribute("a", &format!("\"{}\"", "x".repeat(1 << 19))); 66].join(",");
        assert!(error_of(&package(&large, "")).contains("more than 33554432 bytes"));
    }

    #[test]
    fn a_file_that_unpacks_to_too_many_bytes_is_refused_while_it_is_unpacked() {
        let spaces = " ".repeat(1 << 20);
        let bomb = zipped(&[("{\"history\":\"", 1), (&spaces, 64), ("\"}", 1)]);
        assert!(bomb.len() < 1 << 18);
        assert!(read_all(&bomb).unwrap_err().to_string().contains("unpacked"));
    }

    #[test]
    fn two_members_of_the_same_name_are_refused() {
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
        assert!(read_all(&bytes).unwrap_err().to_string().contains("two files of the same name"));
    }
}
