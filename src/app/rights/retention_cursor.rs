//! How far retention passes have come.

use crate::app::log::lookups::Ended;
use crate::domain::ids::Handle;
use std::collections::{BTreeMap, BTreeSet};

/// The most keys that a cursor remembers as done. Further ones are looked at again in each round.
const DONE_MAX: usize = 1 << 16;

/// How far retention passes have come in each index.
#[derive(Default)]
pub(crate) struct RetentionCursor {
    /// The last attribute that is done, or none for the beginning.
    pub attributes: Option<Vec<u8>>,
    pub decisions: EndCursor,
    pub artifacts: EndCursor,
    /// For each age of a consent that a rule compares, in days, the consents that reached it.
    pub ages: BTreeMap<u64, EndCursor>,
    /// The passes before the start of the daemon came to about this time, milliseconds since the Unix epoch.
    pub started_from_ms: u64,
    /// The last subject that is done, or none for the beginning.
    pub subjects: Option<Handle>,
}

/// How far passes have come in an index of ends. A round visits everything that has ended and is not done,
/// one page after the other.
#[derive(Default)]
pub(crate) struct EndCursor {
    /// Everything up to this key is done, and no further key will appear before it.
    settled: Option<Vec<u8>>,
    /// The last key of the previous page, while a round is in progress.
    page: Option<Vec<u8>>,
    /// Keys after `settled` that are done.
    done: BTreeSet<Vec<u8>>,
}

impl EndCursor {
    /// A cursor that begins after a key.
    pub fn beginning(after: Vec<u8>) -> Self {
        Self { settled: Some(after), ..Self::default() }
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
            } else if self.done.len() < DONE_MAX {
                self.done.insert(ended.key.clone());
            }
        }
        if let Some(settled) = &self.settled {
            self.done = self.done.split_off(settled);
            self.done.remove(settled);
        }
    }
}

#[cfg(test)]
mod tests {
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
}
