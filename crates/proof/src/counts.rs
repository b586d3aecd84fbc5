//! Signed counts: how many events about rules, and how many erasures, a log has. From these numbers, a reader
//! who sees only the log's hashes learns that rules changed or that data was erased.
//!
//! The counts are in a note that names one tree of the log and is signed by the log's key. They are the
//! operator's statement: a bundle of the log shows whether they are true.

use crate::checkpoint::{Checkpoint, NoteError};
use crate::event::event_body::Event;
use crate::keys::KeyChain;

const FIRST_LINE: &str = "sayso counts v1";

/// What signed counts count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventCounts {
    /// Events that state a rule.
    pub rules: u64,
    /// Completed erasures.
    pub erasures: u64,
}

impl EventCounts {
    /// Counts an event, if it is of a kind that is counted. Only system events are: they belong to no data
    /// subject, and are never erased.
    pub fn add(&mut self, event: &Event) {
        match event {
            Event::BoundsPublished(_)
            | Event::PurposeDefined(_)
            | Event::CategoryDefined(_)
            | Event::NoticePublished(_)
            | Event::NoticeRequired(_)
            | Event::RetentionDefined(_)
            | Event::DecisionRulesAdopted(_) => self.rules = self.rules.saturating_add(1),
            Event::ErasureCompleted(_) => self.erasures = self.erasures.saturating_add(1),
            _ => {}
        }
    }
}

/// The counts of one tree of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    /// The tree.
    pub tree: Checkpoint,
    /// The numbers of events in it.
    pub events: EventCounts,
}

impl Counts {
    /// The text to sign: six lines.
    #[must_use]
    pub fn to_text(&self) -> String {
        let EventCounts { rules, erasures } = self.events;
        format!("{FIRST_LINE}\n{}rules {rules}\nerasures {erasures}\n", self.tree.to_text())
    }

    /// Parses the text of counts, whose signature was verified before.
    ///
    /// # Errors
    /// The text is malformed.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let form = NoteError::Counts;
        let tree = text.strip_prefix(FIRST_LINE).and_then(|rest| rest.strip_prefix('\n'));
        let tree = tree.ok_or(form("unknown first line"))?;
        let at = tree.match_indices('\n').nth(2).map(|(at, _)| at.saturating_add(1));
        let (tree, rest) =
            at.and_then(|at| tree.split_at_checked(at)).ok_or(form("six lines are required"))?;
        let lines: Vec<&str> = rest.split('\n').collect();
        let [rules, erasures, ""] = lines.as_slice() else { return Err(form("six lines are required")) };
        let number = |line: &str, name: &str| {
            let digits = line.strip_prefix(name)?.strip_prefix(' ')?;
            digits.parse().ok().filter(|number: &u64| number.to_string() == digits)
        };
        let rules = number(rules, "rules").ok_or(form("the fifth line must be `rules <number>`"))?;
        let erasures =
            number(erasures, "erasures").ok_or(form("the sixth line must be `erasures <number>`"))?;
        let (tree, events) = (Checkpoint::parse(tree)?, EventCounts { rules, erasures });
        if rules.checked_add(erasures).is_none_or(|sum| sum > tree.size) {
            return Err(form("they count more events than the tree has entries"));
        }
        Ok(Self { tree, events })
    }

    /// Verifies a note with the log's keys, and returns its counts.
    ///
    /// # Errors
    /// The text is not that of counts, it is about another log, or the log's key for that tree size, or a
    /// later key, did not sign it.
    pub fn open(note: &str, keys: &KeyChain) -> Result<Self, NoteError> {
        let (text, _) = note.split_once("\n\n").ok_or(NoteError::Form("no signatures"))?;
        let counts = Self::parse(&format!("{text}\n"))?;
        if keys.open_note(note, counts.tree.size)? != counts.to_text() {
            return Err(NoteError::Counts("it is not the text that was signed"));
        }
        match counts.tree.origin == keys.origin() {
            true => Ok(counts),
            false => Err(NoteError::Counts("the origin is another log's")),
        }
    }

    /// Why a log cannot have both these counts and `other`; `None` if it can. The caller compares the trees.
    #[must_use]
    pub fn contradiction(&self, other: &Self) -> Option<String> {
        let (older, newer) = if self.tree.size <= other.tree.size { (self, other) } else { (other, self) };
        let entries = newer.tree.size.saturating_sub(older.tree.size);
        let grown = |older: u64, newer: u64| newer.checked_sub(older);
        let rules = grown(older.events.rules, newer.events.rules);
        let erasures = grown(older.events.erasures, newer.events.erasures);
        let fits =
            rules.zip(erasures).is_some_and(|(rules, erasures)| rules.saturating_add(erasures) <= entries);
        (!fits).then(|| {
            let state = |counts: &Self| {
                let EventCounts { rules, erasures } = counts.events;
                format!("{rules} rules and {erasures} erasures in {} entries", counts.tree.size)
            };
            format!("the log's key signed {}, and {}", state(older), state(newer))
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::checkpoint::{VerifierKey, sign_note};
    use ed25519_dalek::SigningKey;

    const LOG: &str = "log.example/l";

    fn counts(size: u64, rules: u64, erasures: u64) -> Counts {
        let tree = Checkpoint { origin: LOG.into(), size, root: [7; 32] };
        Counts { tree, events: EventCounts { rules, erasures } }
    }

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[7; 32])
    }

    fn open(note: &str) -> Result<Counts, NoteError> {
        Counts::open(note, &KeyChain::from(&VerifierKey { name: LOG.into(), key: key().verifying_key() }))
    }

    #[test]
    fn every_changed_byte_of_counts_is_detected() {
        let stated = counts(12, 3, 1);
        let note = sign_note(&stated.to_text(), LOG, &key());
        assert_eq!(open(&note), Ok(stated));
        for at in 0..note.len() {
            let mut bytes = note.clone().into_bytes();
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1;
            }
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            assert!(open(&changed).is_err(), "{changed:?}");
        }
    }

    #[test]
    fn counts_have_one_form() {
        let root = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
        let good = format!("sayso counts v1\n{LOG}\n12\n{root}\nrules 3\nerasures 1\n");
        assert!(open(&sign_note(&good, LOG, &key())).is_ok());
        for (from, to) in [
            ("counts v1", "counts v2"),
            ("rules 3", "rules 03"),
            ("rules 3", "rules +3"),
            ("rules 3", "rules 12"),
            ("rules 3\nerasures 1", "erasures 1\nrules 3"),
            ("erasures 1\n", ""),
            ("erasures 1\n", "erasures 1\nmore 1\n"),
            ("log.example/l", "log.example/m"),
        ] {
            let bad = good.replace(from, to);
            assert!(open(&sign_note(&bad, LOG, &key())).is_err(), "{bad}");
        }
    }

    #[test]
    fn counts_never_decrease_and_never_grow_by_more_than_the_tree() {
        let before = counts(10, 3, 1);
        for (fits, other) in [
            (true, counts(10, 3, 1)),
            (true, counts(12, 4, 2)),
            (true, counts(9, 3, 1)),
            (true, counts(9, 2, 1)),
            (false, counts(10, 4, 1)),
            (false, counts(12, 2, 1)),
            (false, counts(12, 5, 2)),
            (false, counts(12, 3, 0)),
            (false, counts(9, 4, 1)),
            (false, counts(9, 2, 0)),
        ] {
            assert_eq!(before.contradiction(&other).is_none(), fits, "{other:?}");
            assert_eq!(other.contradiction(&before).is_none(), fits, "{other:?}");
        }
    }
}
