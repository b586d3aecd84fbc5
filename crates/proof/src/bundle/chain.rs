//! What can be checked of entries only together: recorded time, nobody's chain, erasure. Everybody else's chain: `subjects`.

use super::check::{Checked, Content};
use super::erased::{Erased, Gap};
use super::spool;
use crate::entry::{Handle, Header};
use crate::event::{EventBody, event_body::Event};
use crate::keys::KeyChain;
use crate::merkle::{self, Hash};

/// Where a chain ends.
pub(super) struct Tip {
    version: u64,
    leaf: Hash,
}

impl Tip {
    /// Takes the next entry of a chain with this tip, if it has one, and says what it skips.
    pub fn link(
        tip: Option<&Self>,
        position: u64,
        header: &Header,
        leaf: Hash,
    ) -> Result<(Self, Option<Gap>), String> {
        let due = tip.map_or(0, |tip| tip.version.saturating_add(1));
        let next = Self { version: header.version, leaf };
        if header.version < due {
            return Err(format!("version {} of its subject a second time", header.version));
        }
        if header.version == due {
            if header.previous != tip.map(|tip| tip.leaf) {
                return Err("the previous leaf hash is not that of its subject's entry before".to_owned());
            }
            return Ok((next, None));
        }
        let previous = header.previous.ok_or("an entry that names no previous leaf hash")?;
        Ok((next, Some(Gap { position, previous, missing: header.version - due })))
    }
}

/// The log as far as it was read.
pub(super) struct Chains {
    pub erased: Erased,
    nobody: Option<Tip>,
    recorded_at_ms: u64,
}

impl Chains {
    /// Of a log of so many entries.
    pub fn new(entries: u64) -> Self {
        Self { erased: Erased::new(entries), nobody: None, recorded_at_ms: 0 }
    }

    /// Takes the next entry.
    pub fn take(&mut self, next: &Checked, keys: &KeyChain) -> Result<(), String> {
        let (header, plain) = match &next.content {
            Content::Erased => return self.take_erased(next),
            Content::Withheld(header) | Content::Sealed(header, _) => (header, None),
            Content::Plain(header, body) => (header, Some(body)),
        };
        if next.recorded_at_ms != self.recorded_at_ms.max(header.sealed_at_ms) {
            return Err("the recorded time does not follow from the times of sealing".to_owned());
        }
        self.recorded_at_ms = next.recorded_at_ms;
        if next.position == 0 {
            opens(plain, keys)?;
        }
        if header.handle == Handle::SYSTEM {
            let (tip, gap) = Tip::link(self.nobody.as_ref(), next.position, header, next.leaf)?;
            if let Some(gap) = gap {
                return Err(gap.reason());
            }
            self.nobody = Some(tip);
        }
        let event = plain.and_then(|body| body.event.as_ref());
        let is_rotation = matches!(event, Some(Event::LogKeyRotated(_)));
        // A rotation that `keys.jsonl` passes over, or one that the log does not have.
        let known = keys.rotation_at(next.position);
        if is_rotation != known.is_some() || known.is_some_and(|entry| merkle::leaf_hash(entry) != next.leaf)
        {
            return Err("`keys.jsonl` and the log disagree about a change of key here".to_owned());
        }
        match event {
            Some(Event::ErasureCompleted(erasure)) => self.erased.cover(next.position, erasure),
            _ => Ok(()),
        }
    }

    fn take_erased(&mut self, next: &Checked) -> Result<(), String> {
        if next.position == 0 {
            return Err("the log does not begin with `LogOpened`".to_owned());
        }
        if next.recorded_at_ms < self.recorded_at_ms {
            return Err("the recorded time goes back".to_owned());
        }
        self.recorded_at_ms = next.recorded_at_ms;
        self.erased.insert(next.position, &next.leaf).map_err(|error| spool::failed(&error))
    }

    pub fn recorded_at_ms(&self) -> u64 {
        self.recorded_at_ms
    }
}

/// The first entry has to say whose log this is.
fn opens(plain: Option<&EventBody>, keys: &KeyChain) -> Result<(), String> {
    let (origin, public_key) = (keys.origin(), keys.first().key.as_bytes());
    match plain.and_then(|body| body.event.as_ref()) {
        Some(Event::LogOpened(opened)) if opened.origin == origin && opened.public_key == public_key => {
            Ok(())
        }
        _ => Err("the log does not begin with a `LogOpened` of this log and key".to_owned()),
    }
}
