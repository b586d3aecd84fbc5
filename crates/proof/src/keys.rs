//! The successive keys of one log: for each key, at which positions it was in force, and the proof that it
//! follows the previous key.
//!
//! A log changes its key with a `LogKeyRotated` event. The event contains a statement that names the old key
//! and the new key. Both keys sign the statement, and the old key signs the event's entry. So a verifier that
//! trusts one key of a chain can verify every earlier and later key.
//!
//! The old key may also have signed a second rotation, to another key. The chain does not reveal that. A
//! second rotation forks the log, and an older checkpoint or a witness reveals the fork.

use crate::checkpoint::{Checkpoint, NoteError, VerifierKey, cosign_note, open_note, sign_note};
use crate::entry::{Entry, EntryError, key_id};
use crate::event::LogKeyRotated;
use crate::event::event_body::Event;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};

const FIRST_LINE: &str = "sayso log key rotation v1";
/// Maximum number of keys of one log.
const KEYS_MAX: usize = 4096;

/// Why a key chain or a rotation is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// The text is not a valid `keys.jsonl`.
    #[error("invalid `keys.jsonl`: {0}")]
    Form(&'static str),
    /// The trusted key is not in the chain.
    #[error("the given key is not one of this log's keys")]
    UnknownKey,
    /// The entry of a rotation is invalid.
    #[error("rotation {number}: invalid entry: {error}")]
    Entry {
        /// Number of the rotation, from 1.
        number: u64,
        /// Why the entry is rejected.
        error: EntryError,
    },
    /// The statement of a rotation is not signed by both the old and the new key.
    #[error("rotation {number}: invalid statement: {error}")]
    Statement {
        /// Number of the rotation, from 1.
        number: u64,
        /// Why the statement is rejected.
        error: NoteError,
    },
    /// The entry or its statement does not match this rotation.
    #[error("rotation {number}: {what}")]
    Mismatch {
        /// Number of the rotation, from 1.
        number: u64,
        /// What does not match.
        what: &'static str,
    },
}

/// The statement of a rotation, which the old and the new key sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Number of the rotation, from 1.
    pub number: u64,
    /// The first position that the new key signs, which is the position after the rotation.
    pub from_position: u64,
    /// The key before that position.
    pub old: VerifierKey,
    /// The key from that position on.
    pub new: VerifierKey,
}

impl Rotation {
    fn to_text(&self) -> String {
        let Self { number, from_position, old, new } = self;
        format!("{FIRST_LINE}\n{}\n{number}\n{from_position}\n{old}\n{new}\n", old.name)
    }

    /// Returns the statement as a note, signed by the old key and then by the new one.
    #[must_use]
    pub fn sign(&self, old: &SigningKey, new: &SigningKey) -> String {
        let note = sign_note(&self.to_text(), &self.old.name, old);
        cosign_note(&note, &self.new.name, new)
    }
}

/// A key and the first position that it signs.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Span {
    from_position: u64,
    key: VerifierKey,
    /// The entry of the rotation that introduced the key; none for the first key.
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

/// The keys of one log, in order. Each key has a first position. The key of a position is the last key whose
/// first position is not larger. The same rule gives the key of a tree, from its size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyChain {
    first: Span,
    later: Vec<Span>,
}

impl From<&VerifierKey> for KeyChain {
    /// The chain of a log that is not known to have changed its key.
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

    /// The log's first key.
    #[must_use]
    pub fn first(&self) -> &VerifierKey {
        &self.first.key
    }

    /// The log's current key.
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

    /// Number of key rotations.
    #[must_use]
    pub fn rotations(&self) -> u64 {
        self.later.len() as u64
    }

    /// The key that signs the entry at a position, or the checkpoint of a tree of that many entries.
    #[must_use]
    pub fn at(&self, number: u64) -> &VerifierKey {
        let later = self.later.iter().rev().find(|span| span.from_position <= number);
        &later.unwrap_or(&self.first).key
    }

    /// The entry of the rotation at this position, if there is one.
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

    /// Returns the statement of the next rotation, to a new key whose first position will be `from_position`.
    #[must_use]
    pub fn next(&self, from_position: u64, new: &SigningKey) -> Rotation {
        let new = VerifierKey { name: self.origin().to_owned(), key: new.verifying_key() };
        Rotation { number: self.rotations() + 1, from_position, old: self.newest().clone(), new }
    }

    /// Verifies the next rotation and appends its key. `entry` is the rotation's entry, verbatim, and
    /// `position` is its position. Returns the time until which checkpoints also have the old key's
    /// signature, in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// The entry is not signed by the newest key of the chain, the statement is not signed by both the old
    /// and the new key, or the statement does not match this rotation.
    pub fn take(&mut self, position: u64, entry: &[u8]) -> Result<u64, KeysError> {
        let number = self.rotations() + 1;
        let invalid = |error| KeysError::Entry { number, error };
        let mismatch = |what| KeysError::Mismatch { number, what };
        let old = self.newest().clone();
        let parsed = Entry::parse(entry).map_err(invalid)?;
        parsed.verify(&old.key).map_err(invalid)?;
        if parsed.origin != old.name {
            return Err(mismatch("the entry belongs to another log"));
        }
        let body = parsed.plain_body().map_err(invalid)?;
        let Some(Event::LogKeyRotated(rotated)) = body.and_then(|body| body.event) else {
            return Err(mismatch("the entry is not a key rotation"));
        };
        let new = self.check_statement(number, position, &old, &rotated)?;
        if self.later.len() + 1 >= KEYS_MAX {
            return Err(mismatch("more than 4096 keys"));
        }
        let from_position = position + 1;
        self.later.push(Span { from_position, key: new, rotation: Some(entry.to_vec()) });
        Ok(rotated.old_key_until_ms)
    }

    fn check_statement(
        &self,
        number: u64,
        position: u64,
        old: &VerifierKey,
        rotated: &LogKeyRotated,
    ) -> Result<VerifierKey, KeysError> {
        let mismatch = |what| KeysError::Mismatch { number, what };
        let invalid = |error| KeysError::Statement { number, error };
        let text = open_note(&rotated.statement, old).map_err(invalid)?;
        let new = text.lines().nth(5).ok_or(mismatch("the statement does not have six lines"))?;
        let new: VerifierKey = new.parse().map_err(invalid)?;
        open_note(&rotated.statement, &new).map_err(invalid)?;
        let from_position = position.checked_add(1).ok_or(mismatch("the position is too large"))?;
        if new.name != old.name {
            return Err(mismatch("the new key belongs to another log"));
        }
        let expected = Rotation { number, from_position, old: old.clone(), new: new.clone() };
        if text != expected.to_text() {
            return Err(mismatch("the statement is for another position, rotation, log or key"));
        }
        // No key in the chain verifies a third signature, so reject it.
        if rotated.statement.lines().count() != text.lines().count() + 3 {
            return Err(mismatch("the statement does not have exactly two signatures"));
        }
        if self.has(&new) {
            return Err(mismatch("the log had this key before"));
        }
        Ok(new)
    }

    /// Verifies a checkpoint with the key that was in force for its tree size.
    ///
    /// # Errors
    /// The note is malformed, its text is not a checkpoint, or that key did not sign it.
    pub fn open(&self, note: &str) -> Result<Checkpoint, NoteError> {
        let (text, _) = note.split_once("\n\n").ok_or(NoteError::Form("no signatures"))?;
        let claimed = Checkpoint::parse(&format!("{text}\n"))?;
        Checkpoint::open(note, self.at(claimed.size))
    }

    /// The key with this 8-byte entry key id, if the log has or had it.
    #[must_use]
    pub fn by_id(&self, id: &[u8; 8]) -> Option<&VerifierKey> {
        self.spans().map(|span| &span.key).find(|key| key_id(&key.key) == *id)
    }

    /// The part of the chain up to a tree of this size.
    #[must_use]
    pub fn of_size(&self, size: u64) -> Self {
        let later = self.later.iter().filter(|span| span.from_position <= size);
        Self { first: self.first.clone(), later: later.cloned().collect() }
    }

    /// Verifies a note with any key that was in force for a tree of this size or a larger one. Returns the
    /// text of the note.
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

    /// Encodes the chain as `keys.jsonl`.
    #[must_use]
    pub fn to_jsonl(&self) -> String {
        let line = |span: &Span| {
            let rotation = span.rotation.as_ref().map(|entry| STANDARD.encode(entry));
            let line = Line { from_position: span.from_position, rotation, vkey: span.key.to_string() };
            // Numbers and strings always have a JSON form.
            serde_json::to_string(&line).unwrap_or_default() + "\n"
        };
        self.spans().map(line).collect()
    }

    /// Parses `keys.jsonl` and verifies every rotation in it.
    ///
    /// # Errors
    /// The text is malformed, a rotation is invalid, or `trusted` is not one of the keys.
    pub fn parse(text: &str, trusted: &VerifierKey) -> Result<Self, KeysError> {
        let chain = Self::parse_own(text)?;
        if chain.has(trusted) { Ok(chain) } else { Err(KeysError::UnknownKey) }
    }

    /// Like [`Self::parse`], but with no key that is trusted. The result shows only that the keys belong
    /// together.
    ///
    /// # Errors
    /// The text is malformed, or a rotation is invalid.
    pub fn parse_own(text: &str) -> Result<Self, KeysError> {
        let mut chain: Option<Self> = None;
        for line in text.strip_suffix('\n').ok_or(KeysError::Form("no newline at the end"))?.split('\n') {
            let line: Line =
                serde_json::from_str(line).map_err(|_| KeysError::Form("a line is not valid"))?;
            let key: VerifierKey =
                line.vkey.parse().map_err(|_| KeysError::Form("`vkey` is not a verifier key"))?;
            match (&mut chain, line.rotation) {
                (None, None) if line.from_position == 0 => chain = Some(Self::from(&key)),
                (Some(chain), Some(rotation)) => {
                    let entry =
                        STANDARD.decode(rotation).map_err(|_| KeysError::Form("`rotation` is not base64"))?;
                    let from_position = line.from_position.checked_sub(1);
                    let position =
                        from_position.ok_or(KeysError::Form("`from_position` of a rotation is 0"))?;
                    if position < chain.last().from_position {
                        return Err(KeysError::Form("the keys are out of order"));
                    }
                    chain.take(position, &entry)?;
                    if *chain.newest() != key {
                        return Err(KeysError::Form("`vkey` differs from the key in the rotation's entry"));
                    }
                }
                _ => return Err(KeysError::Form("every line but the first needs a rotation")),
            }
        }
        let chain = chain.ok_or(KeysError::Form("no keys"))?;
        // Each chain has exactly one encoding.
        if chain.to_jsonl() != text {
            return Err(KeysError::Form("not in canonical form"));
        }
        Ok(chain)
    }
}
