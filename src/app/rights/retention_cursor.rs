//! How far retention passes have come. The next pass continues there. A part of this progress is stored, so
//! that the first pass after a restart does not begin anew.

use crate::app::log::core::Core;
use crate::app::log::index::{ARTIFACT_END, ATTRIBUTE_END, CONSENT_END, CONSENT_SAID};
use crate::app::log::lookups::Ended;
use crate::domain::ids::Handle;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The most keys that a cursor remembers as done. Further ones are looked at again in each round.
const DONE_MAX: usize = 1 << 16;
/// Stored times are rounded down to this many milliseconds. So the progress is stored rarely, and it does not
/// reveal at which time a certain person's consent or attribute ends.
const STORED_STEP_MS: u64 = 600_000;
/// Hexadecimal digits of a handle that are stored: enough to tell where a round was, and too few to name the
/// data subject.
const STORED_DIGITS: usize = 8;

/// How far retention passes have come in each index.
#[derive(Default)]
pub(crate) struct RetentionCursor {
    /// The last attribute that is done, or none for the beginning.
    pub attributes: Option<Vec<u8>>,
    pub decisions: EndCursor,
    pub artifacts: EndCursor,
    /// For each age of a consent that a rule compares, in days, the consents that reached it.
    pub ages: BTreeMap<u64, EndCursor>,
    /// The last pass over ages was at about this time, milliseconds since the Unix epoch.
    pub aged_ms: u64,
    /// The last subject that is done, or none for the beginning.
    pub subjects: Option<Handle>,
    /// The consents of earlier versions are indexed by when they were given up to this position of the log.
    pub indexed_to: u64,
    /// What is stored.
    stored: Walks,
}

/// How far passes have come in an index of ends. A round visits everything that has ended and is not done,
/// one page after the other.
#[derive(Default)]
pub(crate) struct EndCursor {
    /// Everything up to this key is done, and no further key will appear before it.
    settled: Option<Vec<u8>>,
    /// Everything that ended before this time is done, milliseconds since the Unix epoch.
    done_before_ms: u64,
    /// The last key of the previous page, while a round is in progress.
    page: Option<Vec<u8>>,
    /// Keys after `settled` that are done.
    done: BTreeSet<Vec<u8>>,
}

impl EndCursor {
    /// A cursor for which everything that ended before a time is done.
    pub fn after_time(prefix: &[u8], done_before_ms: u64) -> Self {
        let settled = Some(key_at(prefix, done_before_ms));
        Self { settled, done_before_ms, ..Self::default() }
    }

    /// The key after which the next page begins; none for the beginning of the index.
    pub fn after(&self) -> Option<&[u8]> {
        self.page.as_deref().or(self.settled.as_deref())
    }

    /// The positions of what is on this page and not done.
    pub fn open(&self, page: &[Ended]) -> impl Iterator<Item = u64> {
        page.iter().filter(|ended| !self.done.contains(&ended.key)).map(|ended| ended.position)
    }

    /// Notes that a page is done. What ended by `settled_ms` is settled. After the last page of a round, the
    /// next round begins.
    pub fn advance(&mut self, page: &[Ended], settled_ms: u64, is_last: bool) {
        self.page = page.last().filter(|_| !is_last).map(|ended| ended.key.clone());
        for ended in page {
            if ended.end_ms <= settled_ms {
                self.settled = Some(ended.key.clone());
                self.done_before_ms = ended.end_ms;
            } else if self.done.len() < DONE_MAX {
                self.done.insert(ended.key.clone());
            }
        }
        if is_last {
            self.done_before_ms = self.done_before_ms.max(settled_ms);
        }
        if let Some(settled) = &self.settled {
            self.done = self.done.split_off(settled);
            self.done.remove(settled);
        }
    }
}

/// A key before every key of the index that has this time or a later one, and after all others.
fn key_at(prefix: &[u8], time_ms: u64) -> Vec<u8> {
    [prefix, &time_ms.to_be_bytes()].concat()
}

/// What is stored: times, rounded down, before which everything is done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Walks {
    attributes_ms: u64,
    decisions_ms: u64,
    artifacts_ms: u64,
    ages_ms: BTreeMap<u64, u64>,
    aged_ms: u64,
    /// The first digits of the handle of the last subject that is done; empty for the beginning.
    subjects: String,
    indexed_to: u64,
}

/// The walks, and the log that they went over. If the log does not continue that log, for example because it
/// was replaced by a backup, the walks begin anew.
#[derive(Serialize, Deserialize)]
struct Stored {
    size: u64,
    /// The leaf hash of the last of these entries.
    last: String,
    walks: Walks,
}

impl RetentionCursor {
    /// Reads what is stored. Walks begin anew if nothing usable is stored.
    pub fn load(core: &Core) -> Self {
        let stored = core.store().read_progress();
        let stored = stored.inspect_err(|error| {
            tracing::warn!(%error, "what has ended will be looked at once more: the progress can't be read");
        });
        let stored: Option<Stored> =
            stored.ok().flatten().and_then(|stored| serde_json::from_slice(&stored).ok());
        let walks = stored.filter(|stored| leaf_before(core, stored.size) == Some(stored.last.clone()));
        walks.map_or_else(Self::default, |stored| Self::from_walks(stored.walks, core.now_ms()))
    }

    /// Nothing that ends from now on is done, whatever is stored.
    fn from_walks(stored: Walks, now_ms: u64) -> Self {
        let at = |prefix: &[u8], ms: u64| EndCursor::after_time(prefix, ms.min(now_ms));
        let ages = stored.ages_ms.iter().map(|(days, ms)| (*days, at(CONSENT_SAID, *ms)));
        let digits = format!("{:0<32}", stored.subjects);
        let subjects = Some(&stored.subjects).filter(|digits| !digits.is_empty());
        let subjects = subjects.and_then(|_| hex::decode(digits).ok()?.try_into().ok().map(Handle));
        Self {
            attributes: Some(key_at(ATTRIBUTE_END, stored.attributes_ms)),
            decisions: at(CONSENT_END, stored.decisions_ms),
            artifacts: at(ARTIFACT_END, stored.artifacts_ms),
            ages: ages.collect(),
            aged_ms: stored.aged_ms.min(now_ms),
            subjects,
            indexed_to: stored.indexed_to,
            stored,
        }
    }

    fn walks(&self) -> Walks {
        let rounded = |ms: u64| ms / STORED_STEP_MS * STORED_STEP_MS;
        let of = |cursor: &EndCursor| rounded(cursor.done_before_ms);
        let attributes_ms = self
            .attributes
            .as_deref()
            .and_then(|key| key.get(ATTRIBUTE_END.len()..)?.first_chunk().copied().map(u64::from_be_bytes));
        let subjects = self.subjects.map(|handle| handle.to_string());
        Walks {
            attributes_ms: rounded(attributes_ms.unwrap_or_default()),
            decisions_ms: of(&self.decisions),
            artifacts_ms: of(&self.artifacts),
            ages_ms: self.ages.iter().map(|(days, cursor)| (*days, of(cursor))).collect(),
            aged_ms: rounded(self.aged_ms),
            subjects: subjects.map(|digits| digits.chars().take(STORED_DIGITS).collect()).unwrap_or_default(),
            indexed_to: self.indexed_to,
        }
    }

    /// Stores the progress, if it differs from what is stored. Everything that is done must be durable.
    /// If storing fails, the next start repeats more work.
    pub fn store(&mut self, core: &Core) {
        let walks = self.walks();
        let size = core.store().head().size;
        let Some(last) = leaf_before(core, size).filter(|_| walks != self.stored) else { return };
        let stored = serde_json::to_vec(&Stored { size, last, walks: walks.clone() }).unwrap_or_default();
        match core.store().write_progress(&stored) {
            Ok(()) => self.stored = walks,
            Err(error) => {
                tracing::warn!(%error, "how far passes over what has ended have come could not be stored");
            }
        }
    }
}

/// The leaf hash of the last of this many entries.
fn leaf_before(core: &Core, size: u64) -> Option<String> {
    let hashes = core.store().read_hashes(0, size.checked_sub(1)?, 1).ok()?;
    hashes.first().map(hex::encode)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn page(keys: &[u8], end_ms: u64) -> Vec<Ended> {
        keys.iter().map(|key| Ended { key: vec![*key], end_ms, position: u64::from(*key) }).collect()
    }

    #[test]
    fn a_round_visits_everything_once_and_the_next_round_only_what_is_new() {
        let mut cursor = EndCursor::default();
        let (first, last) = (page(&[1, 2], 1_000), page(&[3], 1_000));
        assert_eq!(cursor.open(&first).collect::<Vec<_>>(), [1, 2]);
        cursor.advance(&first, 0, false);
        assert_eq!(cursor.after(), Some(&[2][..]), "the round goes on");
        cursor.advance(&last, 0, true);
        assert_eq!(cursor.after(), None, "nothing is settled yet");
        let again = page(&[1, 2, 3, 4], 1_000);
        assert_eq!(cursor.open(&again).collect::<Vec<_>>(), [4], "the others are done");
        cursor.advance(&again, 1_000, true);
        assert_eq!((cursor.after(), cursor.done.len()), (Some(&[4][..]), 0));
    }

    #[test]
    fn a_stored_cursor_goes_on_before_everything_that_is_not_done() {
        let (step, now_ms) = (STORED_STEP_MS, 100 * STORED_STEP_MS);
        let mut cursor = RetentionCursor::default();
        // The page ended within a step, so others may have ended at the same time.
        cursor.decisions.advance(&page(&[1, 2], 7 * step + 5), now_ms, false);
        // Everything that had ended by the settled time is done.
        cursor.artifacts.advance(&[], 9 * step + 5, true);
        cursor.ages.entry(30).or_default().advance(&[], 3 * step, true);
        cursor.attributes = Some([key_at(ATTRIBUTE_END, 5 * step + 1), vec![9; 8]].concat());
        cursor.subjects = Some(Handle([0xab; 16]));
        cursor.indexed_to = 77;
        let stored = serde_json::to_vec(&cursor.walks()).unwrap();
        let walks = || serde_json::from_slice::<Walks>(&stored).unwrap();
        let restored = RetentionCursor::from_walks(walks(), now_ms);
        assert_eq!(restored.decisions.after().unwrap(), key_at(CONSENT_END, 7 * step));
        assert_eq!(restored.artifacts.after().unwrap(), key_at(ARTIFACT_END, 9 * step));
        assert_eq!(restored.ages.get(&30).unwrap().after().unwrap(), key_at(CONSENT_SAID, 3 * step));
        assert_eq!(restored.attributes.as_deref().unwrap(), key_at(ATTRIBUTE_END, 5 * step));
        let Handle(subjects) = restored.subjects.unwrap();
        assert_eq!(subjects, [[0xab; 4], [0; 4], [0; 4], [0; 4]].as_flattened());
        assert_eq!((restored.indexed_to, restored.walks() == walks()), (77, true));
        // A ledger whose time is lost and starts earlier has to look at more.
        let earlier = RetentionCursor::from_walks(walks(), 2 * step);
        assert_eq!(earlier.decisions.after().unwrap(), key_at(CONSENT_END, 2 * step));
    }
}
