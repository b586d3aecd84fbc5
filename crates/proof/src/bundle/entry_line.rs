//! One line of a bundle's files `entries/*.jsonl`: one log entry, written and parsed in the only form that
//! the verifier accepts.

use crate::entry::{Entry, EntryError, EventKey, Opened};
use crate::event::EventBody;
use crate::json;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize, Serializer};
use std::borrow::Cow;
use std::io::{self, ErrorKind, Write};
use zeroize::Zeroizing;

/// Bytes of the shortest line, `{"position":0,"state":"erased","recorded_at_ms":0}`.
pub(super) const LINE_BYTES_MIN: usize = 50;

/// Why an entry has no line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// The bytes are not an entry, or the key is not the entry's.
    #[error("{0}")]
    Entry(#[from] EntryError),
    /// A key was given for a system event, which is not sealed.
    #[error("a system event has no event key")]
    NeedlessKey,
    /// The line has no JSON form.
    #[error("the line has no JSON form: {0}")]
    Json(String),
}

/// Which parts of an entry the bundle contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// The entry, its body, and the event key if the body is sealed.
    Present,
    /// Neither entry, key nor body, because the entry was erased.
    Erased,
    /// The sealed entry, without its key.
    Withheld,
}

/// An entry as a bundle contains it. [`EntryLine::to_bytes`] writes its only form.
#[derive(Clone, Serialize)]
pub struct EntryLine<'a> {
    pub(super) position: u64,
    pub(super) state: State,
    pub(super) recorded_at_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    entry: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(rename = "body", skip_serializing_if = "Option::is_none", serialize_with = "serialize_body")]
    encoded: Option<Zeroizing<Vec<u8>>>,
    #[serde(skip)]
    pub(super) body: Option<EventBody>,
}

impl<'a> EntryLine<'a> {
    /// Makes a line for an entry that was not erased. The entry is *present* if its body is not sealed or
    /// `key` opens the body. It is *withheld* if its body is sealed and there is no key.
    ///
    /// # Errors
    /// The bytes are not an entry, or the key is not the one that sealed it.
    pub fn new(
        position: u64,
        recorded_at_ms: u64,
        bytes: &[u8],
        key: Option<&EventKey>,
    ) -> Result<Self, LineError> {
        let parsed = Entry::parse(bytes)?;
        let opened = match (parsed.plain_encoded()?, key) {
            (Some(_), Some(_)) => return Err(LineError::NeedlessKey),
            (Some(opened), None) => Some(opened),
            (None, Some(key)) => Some(parsed.open_encoded(key)?),
            (None, None) => None,
        };
        Ok(Self::from_parts(position, recorded_at_ms, STANDARD.encode(bytes).into(), key, opened))
    }

    /// Makes a line like [`EntryLine::new`], from parts that are known to belong together. `entry` is in
    /// base64.
    pub(super) fn from_parts(
        position: u64,
        recorded_at_ms: u64,
        entry: Cow<'a, str>,
        key: Option<&EventKey>,
        opened: Option<Opened>,
    ) -> Self {
        let (body, encoded) = opened.map(|opened| (opened.body, opened.encoded)).unzip();
        Self {
            position,
            state: if body.is_some() { State::Present } else { State::Withheld },
            recorded_at_ms,
            entry: Some(entry),
            key: key.map(|key| STANDARD.encode(key.as_bytes())),
            encoded,
            body,
        }
    }

    /// Makes a line for an erased entry.
    #[must_use]
    pub fn erased(position: u64, recorded_at_ms: u64) -> Self {
        let (entry, key, encoded, body) = (None, None, None, None);
        Self { position, state: State::Erased, recorded_at_ms, entry, key, encoded, body }
    }

    /// Encodes the line, without its newline.
    ///
    /// # Errors
    /// The line has no JSON form, which cannot happen.
    pub fn to_bytes(&self) -> Result<Vec<u8>, LineError> {
        serde_json::to_vec(self).map_err(|error| LineError::Json(error.to_string()))
    }

    /// Whether the line encodes to exactly these bytes.
    pub(super) fn encodes_to(&self, bytes: &[u8]) -> bool {
        let mut expected = CompareWriter { rest: bytes };
        serde_json::to_writer(&mut expected, self).is_ok() && expected.rest.is_empty()
    }
}

/// Compares written bytes with expected ones, and fails at the first difference.
struct CompareWriter<'a> {
    /// The expected bytes that were not written yet.
    rest: &'a [u8],
}

impl Write for CompareWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.rest = self.rest.strip_prefix(bytes).ok_or(ErrorKind::InvalidData)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn serialize_body<S: Serializer>(
    encoded: &Option<Zeroizing<Vec<u8>>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match encoded {
        Some(encoded) => json::serialize_encoded(encoded, serializer),
        None => serializer.serialize_none(),
    }
}

/// A parsed line, not verified yet. The body is not parsed, because the verifier makes it again from the
/// entry. Base64 needs no escapes in JSON, so strings are borrowed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ParsedLine<'a> {
    pub position: u64,
    pub state: State,
    pub recorded_at_ms: u64,
    #[serde(borrow)]
    pub entry: Option<&'a str>,
    #[serde(borrow)]
    pub key: Option<&'a str>,
    pub body: Option<serde::de::IgnoredAny>,
}
