//! The keys of one log, one after the other: which was in force where, and how each came to follow the one before.
//!
//! A log changes its key by an event that both keys signed: the old one as the entry that it is, both of them the
//! statement within. So whoever trusts one key of a chain can check every other, before it and after it. What a chain
//! can't show is that the old key did not sign a second one: that is a fork of the log, and found as any fork is
//! (an older checkpoint, a witness).

use crate::checkpoint::{Checkpoint, NoteError, VerifierKey, cosign_note, open_note, sign_note};
use crate::entry::{Entry, EntryError, key_id};
use crate::event::LogKeyRotated;
use crate::event::event_body::Event;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};

const FIRST_LINE: &str = "sayso log key rotation v1";
/// Keys that one log may have had.
const KEYS_MAX: usize = 4096;

/// Why keys are not those of one log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// Not in the form of `keys.jsonl`.
    #[error("not a list of keys: {0}")]
    Form(&'static str),
    /// The key that was given is not among them.
    #[error("the key that was given is none of this log's")]
    UnknownKey,
    /// An entry that should change the key does not.
    #[error("rotation {number}: the entry: {error}")]
    Entry {
        /// Which, from 1.
        number: u64,
        /// What is wrong with it.
        error: EntryError,
    },
    /// The statement is not signed by both keys.
    #[error("rotation {number}: the statement: {error}")]
    Statement {
        /// Which, from 1.
        number: u64,
        /// What is wrong with it.
        error: NoteError,
    },
    /// The statement says something else than it has to here.
    #[error("rotation {number}: {what}")]
    Disagrees {
        /// Which, from 1.
        number: u64,
        /// What.
        what: &'static str,
    },
}

/// What both keys sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Which change of key, from 1.
    pub number: u64,
    /// The first position that the new key signs: the one after the rotation's own.
    pub from_position: u64,
    /// The key until then.
    pub old: VerifierKey,
    /// The key from then on.
    pub new: VerifierKey,
}

impl Rotation {
    fn to_text(&self) -> String {
        let Self { number, from_position, old, new } = self;
        format!("{FIRST_LINE}\n{}\n{number}\n{from_position}\n{old}\n{new}\n", old.name)
    }

    /// The statement: a note by the old key, then the new one.
    #[must_use]
    pub fn sign(&self, old: &SigningKey, new: &SigningKey) -> String {
        let note = sign_note(&self.to_text(), &self.old.name, old);
        cosign_note(&note, &self.new.name, new)
    }
}

/// A key and where it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Span {
    from_position: u64,
    key: VerifierKey,
    /// The entry that brought it; none of the first.
    rotation: Option<Vec<u8>>,
}

/// A line of `keys.jsonl`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    from_position: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rotation: Option<String>,
    vkey: String,
}

/// The keys of one log, in their order. Its rule: a position, and a tree of so many entries, belong to the last key that
/// begins there or before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyChain {
    first: Span,
    later: Vec<Span>,
}

impl From<&VerifierKey> for KeyChain {
    /// A log that never changed its key, as far as is known.
    fn from(key: &VerifierKey) -> Self {
        Self { first: Span { from_position: 0, key: key.clone(), rotation: None }, later: Vec::new() }
    }
}

impl From<&Self> for KeyChain {
    fn from(chain: &Self) -> Self {
        chain.clone()
    }
}

impl KeyChain {
    /// The log's name.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.first.key.name
    }

    /// The key that the log began with.
    #[must_use]
    pub fn first(&self) -> &VerifierKey {
        &self.first.key
    }

    /// The key that it has now.
    #[must_use]
    pub fn newest(&self) -> &VerifierKey {
        &self.last().key
    }

    fn last(&self) -> &Span {
        self.later.last().unwrap_or(&self.first)
    }

    /// The first position of the newest key.
    #[must_use]
    pub fn from_position(&self) -> u64 {
        self.last().from_position
    }

    /// How often the key changed.
    #[must_use]
    pub fn rotations(&self) -> u64 {
        self.later.len() as u64
    }

    /// What signs the entry at a position, or the checkpoint of a tree of so many entries.
    #[must_use]
    pub fn at(&self, number: u64) -> &VerifierKey {
        let later = self.later.iter().rev().find(|span| span.from_position <= number);
        &later.unwrap_or(&self.first).key
    }

    /// The entry that changed the key at this position, if one did.
    #[must_use]
    pub fn rotation_at(&self, position: u64) -> Option<&[u8]> {
        let next = position.checked_add(1)?;
        let span = self.later.iter().find(|span| span.from_position == next)?;
        span.rotation.as_deref()
    }

    fn spans(&self) -> impl Iterator<Item = &Span> {
        std::iter::once(&self.first).chain(&self.later)
    }

    /// Whether the log has or had this key.
    #[must_use]
    pub fn has(&self, key: &VerifierKey) -> bool {
        self.spans().any(|span| span.key == *key)
    }

    /// The statement of the next rotation, to a new key whose first position is to be `from_position`.
    #[must_use]
    pub fn next(&self, from_position: u64, new: &SigningKey) -> Rotation {
        let new = VerifierKey { name: self.origin().to_owned(), key: new.verifying_key() };
        Rotation { number: self.rotations() + 1, from_position, old: self.newest().clone(), new }
    }

    /// Takes the next rotation: the entry at a position, verbatim. Gives until when checkpoints carry the old key's
    /// signature as well, milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// It is not signed by the newest key of the chain, its statement not by both, or it says something else.
    pub fn take(&mut self, position: u64, entry: &[u8]) -> Result<u64, KeysError> {
        let number = self.rotations() + 1;
        let wrong = |error| KeysError::Entry { number, error };
        let disagrees = |what| KeysError::Disagrees { number, what };
        let old = self.newest().clone();
        let parsed = Entry::parse(entry).map_err(wrong)?;
        parsed.verify(&old.key).map_err(wrong)?;
        if parsed.origin != old.name {
            return Err(disagrees("the entry is of another log"));
        }
        let body = parsed.plain_body().map_err(wrong)?;
        let Some(Event::LogKeyRotated(rotated)) = body.and_then(|body| body.event) else {
            return Err(disagrees("the entry changes no key"));
        };
        let new = self.check(number, position, &old, &rotated)?;
        if self.later.len() + 1 >= KEYS_MAX {
            return Err(disagrees("too many keys"));
        }
        let from_position = position + 1;
        self.later.push(Span { from_position, key: new, rotation: Some(entry.to_vec()) });
        Ok(rotated.old_key_until_ms)
    }

    fn check(
        &self,
        number: u64,
        position: u64,
        old: &VerifierKey,
        rotated: &LogKeyRotated,
    ) -> Result<VerifierKey, KeysError> {
        let disagrees = |what| KeysError::Disagrees { number, what };
        let unsigned = |error| KeysError::Statement { number, error };
        let text = open_note(&rotated.statement, old).map_err(unsigned)?;
        let named = text.lines().nth(5).ok_or(disagrees("the statement is not of six lines"))?;
        let new: VerifierKey = named.parse().map_err(unsigned)?;
        open_note(&rotated.statement, &new).map_err(unsigned)?;
        let from_position = position.checked_add(1).ok_or(disagrees("beyond the end of any log"))?;
        if new.name != old.name {
            return Err(disagrees("the new key is of another log"));
        }
        let due = Rotation { number, from_position, old: old.clone(), new: new.clone() };
        if text != due.to_text() {
            return Err(disagrees("the statement is of another place, number, log or key"));
        }
        // A third signature would be bytes that nothing checks.
        if rotated.statement.lines().count() != text.lines().count() + 3 {
            return Err(disagrees("the statement has more signatures than two"));
        }
        if self.has(&new) {
            return Err(disagrees("the log had this key before"));
        }
        Ok(new)
    }

    /// The checkpoint of a note that was signed by the key in force for a tree of its size.
    ///
    /// # Errors
    /// The note does not hold, is no checkpoint, or is signed by none, or by another of the log's keys.
    pub fn open(&self, note: &str) -> Result<Checkpoint, NoteError> {
        let (text, _) = note.split_once("\n\n").ok_or(NoteError::Form("no signatures"))?;
        let claimed = Checkpoint::parse(&format!("{text}\n"))?;
        Checkpoint::open(note, self.at(claimed.size))
    }

    /// The key with this key id of entries (8 bytes), if the log has or had it.
    #[must_use]
    pub fn by_id(&self, id: &[u8; 8]) -> Option<&VerifierKey> {
        self.spans().map(|span| &span.key).find(|key| key_id(&key.key) == *id)
    }

    /// The part of the chain that a tree of so many entries knows.
    #[must_use]
    pub fn of_size(&self, size: u64) -> Self {
        let later = self.later.iter().filter(|span| span.from_position <= size);
        Self { first: self.first.clone(), later: later.cloned().collect() }
    }

    /// Opens a note that one key signed which was in force for a tree of this size or later.
    ///
    /// # Errors
    /// No such key signed it.
    pub fn open_note<'a>(&self, note: &'a str, size: u64) -> Result<&'a str, NoteError> {
        let mut verdict = open_note(note, self.at(size));
        for span in self.later.iter().filter(|span| span.from_position > size) {
            if verdict.is_ok() {
                break;
            }
            verdict = open_note(note, &span.key);
        }
        verdict
    }

    /// `keys.jsonl`.
    #[must_use]
    pub fn to_jsonl(&self) -> String {
        let line = |span: &Span| {
            let rotation = span.rotation.as_ref().map(|entry| STANDARD.encode(entry));
            let line = Line { from_position: span.from_position, rotation, vkey: span.key.to_string() };
            // Numbers and text have a JSON form, always.
            serde_json::to_string(&line).unwrap_or_default() + "\n"
        };
        self.spans().map(line).collect()
    }

    /// Reads `keys.jsonl` and checks every rotation in it.
    ///
    /// # Errors
    /// It is malformed, a rotation does not hold, or `trusted` is none of its keys.
    pub fn parse(text: &str, trusted: &VerifierKey) -> Result<Self, KeysError> {
        let mut chain: Option<Self> = None;
        for line in text.strip_suffix('\n').ok_or(KeysError::Form("no newline at the end"))?.split('\n') {
            let line: Line = serde_json::from_str(line).map_err(|_| KeysError::Form("not a line of it"))?;
            let key: VerifierKey = line.vkey.parse().map_err(|_| KeysError::Form("not a verifier key"))?;
            match (&mut chain, line.rotation) {
                (None, None) if line.from_position == 0 => chain = Some(Self::from(&key)),
                (Some(chain), Some(rotation)) => {
                    let entry = STANDARD.decode(rotation).map_err(|_| KeysError::Form("bad base64"))?;
                    let position =
                        line.from_position.checked_sub(1).ok_or(KeysError::Form("bad position"))?;
                    if position < chain.last().from_position {
                        return Err(KeysError::Form("keys out of order"));
                    }
                    chain.take(position, &entry)?;
                    if *chain.newest() != key {
                        return Err(KeysError::Form("a line names another key than its entry"));
                    }
                }
                _ => return Err(KeysError::Form("the first line alone has no rotation")),
            }
        }
        let chain = chain.ok_or(KeysError::Form("empty"))?;
        if !chain.has(trusted) {
            return Err(KeysError::UnknownKey);
        }
        // One text for one chain.
        if chain.to_jsonl() != text {
            return Err(KeysError::Form("a second encoding"));
        }
        Ok(chain)
    }
}
