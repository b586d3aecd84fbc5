//! One line of `entries/*.jsonl`.

use crate::entry::{Entry, EntryError, EventKey};
use crate::event::EventBody;
use crate::json;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize, Serializer};
use std::borrow::Cow;
use std::io::{self, ErrorKind, Write};

/// Why no line can be made of an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// The entry is not one, or the key is not its own.
    #[error("{0}")]
    Entry(#[from] EntryError),
    /// A key for an entry that is not sealed.
    #[error("an entry about nobody has no key")]
    NeedlessKey,
    /// The body has no JSON form.
    #[error("no JSON form: {0}")]
    Json(String),
}

/// What of an entry is in the bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// Entry, key and body.
    Present,
    /// Nothing: it was destroyed.
    Erased,
    /// The entry, closed.
    Withheld,
}

/// An entry as a bundle carries it. Serialised by serde_json without spaces, it has one form only.
#[derive(Clone, Serialize)]
pub struct EntryLine<'a> {
    pub(super) position: u64,
    pub(super) state: State,
    pub(super) recorded_at_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    entry: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "in_json")]
    pub(super) body: Option<EventBody>,
}

impl<'a> EntryLine<'a> {
    /// A line for an entry that is there: present if its body is plain or `key` opens it, withheld without a key.
    ///
    /// # Errors
    /// The bytes are not an entry, or the key is not the one that it was sealed under.
    pub fn new(
        position: u64,
        recorded_at_ms: u64,
        bytes: &[u8],
        key: Option<&EventKey>,
    ) -> Result<Self, LineError> {
        let parsed = Entry::parse(bytes)?;
        let body = match (parsed.plain_body()?, key) {
            (Some(_), Some(_)) => return Err(LineError::NeedlessKey),
            (Some(body), None) => Some(body),
            (None, Some(key)) => Some(parsed.open(key)?),
            (None, None) => None,
        };
        Ok(Self::of(position, recorded_at_ms, STANDARD.encode(bytes).into(), key, body))
    }

    /// As [`EntryLine::new`], of parts that belong together; `entry` in base64.
    pub(super) fn of(
        position: u64,
        recorded_at_ms: u64,
        entry: Cow<'a, str>,
        key: Option<&EventKey>,
        body: Option<EventBody>,
    ) -> Self {
        Self {
            position,
            state: if body.is_some() { State::Present } else { State::Withheld },
            recorded_at_ms,
            entry: Some(entry),
            key: key.map(|key| STANDARD.encode(key.as_bytes())),
            body,
        }
    }

    /// A line for an entry that was destroyed.
    #[must_use]
    pub fn erased(position: u64, recorded_at_ms: u64) -> Self {
        let (entry, key, body) = (None, None, None);
        Self { position, state: State::Erased, recorded_at_ms, entry, key, body }
    }

    /// The line, without its newline.
    ///
    /// # Errors
    /// It has no JSON form, which can't happen.
    pub fn to_bytes(&self) -> Result<Vec<u8>, LineError> {
        serde_json::to_vec(self).map_err(|error| LineError::Json(error.to_string()))
    }

    /// Whether the line is these bytes.
    pub(super) fn is(&self, bytes: &[u8]) -> bool {
        let mut left = Left(bytes);
        serde_json::to_writer(&mut left, self).is_ok() && left.0.is_empty()
    }
}

/// What is left of bytes that are compared with what is written; it fails at the first that differs.
struct Left<'a>(&'a [u8]);

impl Write for Left<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.strip_prefix(bytes).ok_or(ErrorKind::InvalidData)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn in_json<S: Serializer>(body: &Option<EventBody>, serializer: S) -> Result<S::Ok, S::Error> {
    match body {
        Some(body) => json::body(body, serializer),
        None => serializer.serialize_none(),
    }
}

/// A line as read, before anything about it is believed. The body is not read: it is made again from the entry. Base64 and
/// hex need no escapes, so that strings can stay where they are.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLine<'a> {
    pub position: u64,
    pub state: State,
    pub recorded_at_ms: u64,
    #[serde(borrow)]
    pub entry: Option<&'a str>,
    #[serde(borrow)]
    pub key: Option<&'a str>,
    pub body: Option<serde::de::IgnoredAny>,
}
