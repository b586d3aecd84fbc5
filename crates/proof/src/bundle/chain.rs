//! Checks that involve several entries: the order of recorded times, the chain of system events, key
//! rotations and erasures.
//!
//! In a chain, each entry names the leaf hash of its stream's previous entry. `subjects.rs` checks the chains
//! of data subjects.

use super::check::{CheckedEntry, Content};
use super::erased::{Erased, Gap};
use super::rejection::Rejection;
use super::sealed_form::SealedForm;
use super::spool;
use crate::entry::{Handle, Header};
use crate::event::{EventBody, event_body::Event};
use crate::keys::KeyChain;
use crate::merkle::{self, Hash};

/// The last entry of a stream.
pub(super) struct ChainTip {
    /// Its position in the log.
    pub position: u64,
    version: u64,
    leaf: Hash,
}

impl ChainTip {
    /// Checks the next entry of a stream against its tip, if there is one. Returns the new tip, and the gap
    /// if the entry skips versions.
    pub fn advance(
        tip: Option<&Self>,
        position: u64,
        header: &Header,
        leaf: Hash,
    ) -> Result<(Self, Option<Gap>), String> {
        let expected = tip.map_or(0, |tip| tip.version.saturating_add(1));
        let next = Self { position, version: header.version, leaf };
        if header.version < expected {
            return Err(format!("version {} of the stream is repeated", header.version));
        }
        if header.version == expected {
            if header.previous != tip.map(|tip| tip.leaf) {
                return Err("the previous leaf hash does not match the stream's previous entry".to_owned());
            }
            return Ok((next, None));
        }
        let previous = header.previous.ok_or("the previous leaf hash is missing")?;
        Ok((next, Some(Gap { position, previous, missing: header.version - expected })))
    }
}

/// The state of the log up to the last entry checked.
pub(super) struct Chains {
    pub erased: Erased,
    system_tip: Option<ChainTip>,
    sealed_form: SealedForm,
    recorded_at_ms: u64,
    /// The first erased position whose stated time is not that of the entry before it.
    dated_later: Option<u64>,
}

/// From this edition of the rules of decisions on, daemons export no other time of an erased entry.
const ERASED_TIME_EDITION: u32 = 5;

impl Chains {
    /// The state before the first entry of a log with this number of entries.
    pub fn new(entries: u64) -> Self {
        let sealed_form = SealedForm::default();
        let erased = Erased::new(entries);
        Self { erased, system_tip: None, sealed_form, recorded_at_ms: 0, dated_later: None }
    }

    /// Checks the next entry against the ones before it.
    pub fn check_next(&mut self, next: &CheckedEntry, keys: &KeyChain) -> Result<(), Rejection> {
        self.sealed_form.check_next(&next.content)?;
        let (header, plain) = match &next.content {
            Content::Erased => return self.check_erased(next),
            Content::Withheld(header) | Content::Sealed(header, _) => (header, None),
            Content::Plain(header, body) => (header, Some(body)),
        };
        if next.recorded_at_ms != self.recorded_at_ms.max(header.sealed_at_ms) {
            return Err("`recorded_at_ms` is not the largest `sealed_at_ms` up to this entry".into());
        }
        self.recorded_at_ms = next.recorded_at_ms;
        if next.position == 0 {
            check_log_opened(plain, keys)?;
        }
        if header.handle == Handle::SYSTEM {
            let tip = self.system_tip.as_ref();
            let (tip, gap) = ChainTip::advance(tip, next.position, header, next.leaf)?;
            if let Some(gap) = gap {
                return Err(gap.reason().into());
            }
            self.system_tip = Some(tip);
        }
        let event = plain.and_then(|body| body.event.as_ref());
        let is_rotation = matches!(event, Some(Event::LogKeyRotated(_)));
        // This finds rotations that `keys.jsonl` omits, and rotations in `keys.jsonl` that are not in the
        // log.
        let listed = keys.rotation_at(next.position);
        let listed_here = listed.is_none_or(|entry| merkle::leaf_hash(entry) == next.leaf);
        if is_rotation != listed.is_some() || !listed_here {
            return Err("`keys.jsonl` and the log disagree about a key rotation at this position".into());
        }
        event.into_iter().for_each(|event| self.erased.statements.whole.note(next.position, event));
        match event {
            Some(Event::ErasureCompleted(erasure)) => Ok(self.erased.cover(next.position, erasure)?),
            _ => Ok(()),
        }
    }

    fn check_erased(&mut self, next: &CheckedEntry) -> Result<(), Rejection> {
        if next.position == 0 {
            return Err("the first entry is not `LogOpened`".into());
        }
        if next.recorded_at_ms < self.recorded_at_ms {
            return Err("`recorded_at_ms` decreases".into());
        }
        if next.recorded_at_ms > self.recorded_at_ms {
            self.dated_later.get_or_insert(next.position);
        }
        self.recorded_at_ms = next.recorded_at_ms;
        self.erased.insert(next.position, &next.leaf).map_err(|error| spool::failed(&error))
    }

    /// The first erased position whose stated time shows that no daemon exported this bundle.
    pub fn falsely_dated(&self) -> Option<u64> {
        self.dated_later.filter(|_| self.erased.statements.whole.edition() >= ERASED_TIME_EDITION)
    }

    pub fn recorded_at_ms(&self) -> u64 {
        self.recorded_at_ms
    }
}

/// The first entry must name the log's origin and first key.
fn check_log_opened(plain: Option<&EventBody>, keys: &KeyChain) -> Result<(), String> {
    let (origin, public_key) = (keys.origin(), keys.first().key.as_bytes());
    match plain.and_then(|body| body.event.as_ref()) {
        Some(Event::LogOpened(opened)) if opened.origin == origin && opened.public_key == public_key => {
            Ok(())
        }
        _ => Err("the first entry is not a `LogOpened` with this log's origin and first key".to_owned()),
    }
}
