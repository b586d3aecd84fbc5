//! What can be checked of entries only together: recorded time, each subject's chain, erasure.

use super::check::{Checked, Content};
use crate::entry::{Handle, Header};
use crate::event::{ErasureCompleted, EventBody, event_body::Event};
use crate::keys::KeyChain;
use crate::merkle::{self, Hash};
use std::collections::{BTreeMap, HashMap};

/// The log as far as it was read. Memory follows the number of subjects and of erased entries.
#[derive(Default)]
pub(super) struct Chains {
    tips: HashMap<Handle, Tip>,
    /// Whether each erased position is covered by an `ErasureCompleted`.
    erased: BTreeMap<u64, bool>,
    /// Leaf hashes of erased entries that no entry has named as its previous one yet.
    erased_leaves: HashMap<Hash, u64>,
    /// Versions that chains skip: each has to be one of the erased.
    skipped: u64,
    recorded_at_ms: u64,
}

struct Tip {
    version: u64,
    leaf: Hash,
}

impl Chains {
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
        self.link(header, next.leaf)?;
        let event = plain.and_then(|body| body.event.as_ref());
        let is_rotation = matches!(event, Some(Event::LogKeyRotated(_)));
        // A rotation that `keys.jsonl` passes over, or one that the log does not have.
        let known = keys.rotation_at(next.position);
        if is_rotation != known.is_some() || known.is_some_and(|entry| merkle::leaf_hash(entry) != next.leaf)
        {
            return Err("`keys.jsonl` and the log disagree about a change of key here".to_owned());
        }
        match event {
            Some(Event::ErasureCompleted(erasure)) => self.cover(next.position, erasure),
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
        self.erased.insert(next.position, false);
        self.erased_leaves.insert(next.leaf, next.position);
        Ok(())
    }

    fn link(&mut self, header: &Header, leaf: Hash) -> Result<(), String> {
        let tip = self.tips.get(&header.handle);
        let due = tip.map_or(0, |tip| tip.version + 1);
        if header.version < due {
            return Err(format!("version {} of its subject a second time", header.version));
        }
        if header.version == due {
            if header.previous != tip.map(|tip| tip.leaf) {
                return Err("the previous leaf hash is not that of its subject's entry before".to_owned());
            }
        } else {
            let missing = header.version - due;
            let known = header.previous.and_then(|previous| self.erased_leaves.remove(&previous));
            self.skipped = self.skipped.saturating_add(missing);
            let enough = self.skipped <= self.erased.len() as u64;
            if known.is_none() || !enough || header.handle == Handle::NOBODY {
                return Err(format!("{missing} version(s) of its subject before it are missing, not erased"));
            }
        }
        self.tips.insert(header.handle, Tip { version: header.version, leaf });
        Ok(())
    }

    fn cover(&mut self, position: u64, erasure: &ErasureCompleted) -> Result<(), String> {
        for range in &erasure.discarded {
            if range.first > range.last || range.last >= position {
                return Err("an erasure of positions that are not before it".to_owned());
            }
            let mut here = 0;
            for (_, covered) in self.erased.range_mut(range.first..=range.last) {
                *covered = true;
                here += 1;
            }
            if here != range.last - range.first + 1 {
                return Err("an erasure of positions that are still there".to_owned());
            }
        }
        Ok(())
    }

    /// The first erased position that no `ErasureCompleted` covers.
    pub fn uncovered(&self) -> Option<u64> {
        self.erased.iter().find(|(_, covered)| !**covered).map(|(position, _)| *position)
    }

    pub fn recorded_at_ms(&self) -> u64 {
        self.recorded_at_ms
    }

    pub fn subjects(&self) -> u64 {
        self.tips.keys().filter(|handle| **handle != Handle::NOBODY).count() as u64
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
