//! Checks that the given entries of one data subject are complete: that their number and the newest one
//! agree with the commitment in the subject map.

use super::{RunEnd, Stream};
use crate::bundle::EntryLine;
use crate::entry::{Entry, EventKey, key_id};
use crate::keys::KeyChain;
use crate::merkle::{Hash, leaf_hash};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// Why the entries are rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// A line is not an entry in its one form.
    #[error("a line is not an entry as a bundle has it, present or withheld")]
    Line,
    /// The log's key did not sign the entry.
    #[error("the entry at position {0} is not signed by the key of this log")]
    Signature(u64),
    /// The entry belongs to another stream.
    #[error("the entry at position {0} is about somebody else")]
    OtherSubject(u64),
    /// The stated recorded time goes back, or is before the entry was sealed.
    #[error("the recorded time of the entry at position {0} is earlier than it can be")]
    RecordedTime(u64),
    /// The entry does not follow the one before it.
    #[error("the entry at position {0} does not follow the entry before it")]
    Chain(u64),
    /// Entries are missing.
    #[error("the log committed to {committed} events of this person, and the package has other ones")]
    Missing {
        /// Number of events that the map has and that are not erased.
        committed: u64,
    },
}

/// What entries that passed the check show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckedStream {
    /// Number of entries.
    pub events: u64,
    /// Number of these whose content is withheld.
    pub withheld: u64,
    /// Number of earlier events that were erased.
    pub erased: u64,
    /// The last entry before each gap that an erasure left, oldest first. They are in the log only if a
    /// [`RunProof`](super::RunProof) of each shows that.
    pub run_ends: Vec<RunEnd>,
}

/// A line of entries as in a bundle, before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    position: u64,
    #[serde(rename = "state")]
    _state: IgnoredAny,
    recorded_at_ms: u64,
    #[serde(borrow)]
    entry: &'a str,
    #[serde(borrow)]
    key: Option<&'a str>,
    #[serde(rename = "body")]
    _body: Option<IgnoredAny>,
}

/// A running check. Memory grows by 40 bytes with each gap that an erasure left between entries.
pub struct StreamCheck<'a> {
    keys: &'a KeyChain,
    stream: Stream,
    /// Position, version and leaf hash of the newest entry so far.
    tip: Option<(u64, u64, Hash)>,
    /// The recorded time of the newest entry so far.
    recorded_at_ms: u64,
    checked: CheckedStream,
}

impl<'a> StreamCheck<'a> {
    /// Begins a check of the entries of this stream. `keys` is every key that the log had.
    #[must_use]
    pub fn new(keys: &'a KeyChain, stream: Stream) -> Self {
        Self { keys, stream, tip: None, recorded_at_ms: 0, checked: CheckedStream::default() }
    }

    /// Checks the next entry line (docs/format.md), without its newline. Returns the position and the leaf
    /// hash of its entry. That the entry is at this position is only stated, except for the ends of runs.
    ///
    /// # Errors
    /// The line is malformed, or its entry is not the next one.
    pub fn next_line(&mut self, line: &[u8]) -> Result<(u64, Hash), StreamError> {
        let parsed: Line<'_> = serde_json::from_slice(line).map_err(|_| StreamError::Line)?;
        let (position, bytes) = (parsed.position, decode(parsed.entry)?);
        let key = parsed.key.map(event_key).transpose()?;
        let expected = EntryLine::new(position, parsed.recorded_at_ms, &bytes, key.as_ref());
        let expected = expected.and_then(|expected| expected.to_bytes()).map_err(|_| StreamError::Line)?;
        if expected != line {
            return Err(StreamError::Line);
        }
        let entry = Entry::parse(&bytes).map_err(|_| StreamError::Line)?;
        let log_key = &self.keys.at(position).key;
        let is_signed = entry.key_id == key_id(log_key) && entry.verify(log_key).is_ok();
        if !is_signed || entry.origin != self.keys.origin() {
            return Err(StreamError::Signature(position));
        }
        if entry.header.handle != self.stream.handle {
            return Err(StreamError::OtherSubject(position));
        }
        if parsed.recorded_at_ms < self.recorded_at_ms.max(entry.header.sealed_at_ms) {
            return Err(StreamError::RecordedTime(position));
        }
        self.recorded_at_ms = parsed.recorded_at_ms;
        let (version, previous) = (entry.header.version, entry.header.previous);
        let expected = self.tip.map_or(0, |(_, version, _)| version.saturating_add(1));
        let is_next = version == expected && previous == self.tip.map(|(_, _, leaf)| leaf);
        let is_after_erased = version > expected && previous.is_some();
        let is_later = self.tip.is_none_or(|(earlier, ..)| position > earlier);
        if !(is_next || is_after_erased) || !is_later || version >= self.stream.events {
            return Err(StreamError::Chain(position));
        }
        if let (false, Some((position, _, leaf))) = (is_next, self.tip) {
            self.checked.run_ends.push(RunEnd { position, leaf });
        }
        self.checked.events += 1;
        self.checked.withheld += u64::from(key.is_none());
        self.checked.erased += version.saturating_sub(expected);
        let leaf = leaf_hash(&bytes);
        self.tip = Some((position, version, leaf));
        Ok((position, leaf))
    }

    /// Checks that the entries are as many as the map has, and that the newest one is the same.
    ///
    /// # Errors
    /// The number of entries or the newest entry differs.
    pub fn finish(self) -> Result<CheckedStream, StreamError> {
        let newest = self.tip.map(|(_, version, leaf)| (version.saturating_add(1), leaf));
        let is_newest = newest == Some((self.stream.events, self.stream.newest_leaf));
        match is_newest && self.checked.events == self.stream.present {
            true => Ok(self.checked),
            false => Err(StreamError::Missing { committed: self.stream.present }),
        }
    }
}

fn event_key(text: &str) -> Result<EventKey, StreamError> {
    Ok(EventKey::from_bytes(decode(text)?.try_into().map_err(|_| StreamError::Line)?))
}

fn decode(text: &str) -> Result<Vec<u8>, StreamError> {
    STANDARD.decode(text).map_err(|_| StreamError::Line)
}
