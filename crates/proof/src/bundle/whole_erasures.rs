//! Erasures of everything about a data subject: nothing of the stream remains.

use crate::event::ErasureScope;
use crate::event::event_body::Event;
use std::collections::HashSet;

/// From this edition of the rules of decisions on, an erasure of a part states versions. Some earlier daemons
/// stated only kinds, and still earlier ones neither.
const STATED_EDITION: u32 = 4;

/// The positions of these erasures, as far as they are known to be such.
#[derive(Default)]
pub(super) struct WholeErasures {
    edition: u32,
    // Unordered: looked up, never iterated.
    positions: HashSet<u64>,
}

impl WholeErasures {
    /// Notes a system event. Events are noted in order of position.
    pub fn note(&mut self, position: u64, event: &Event) {
        match event {
            Event::DecisionRulesAdopted(adopted) => self.edition = self.edition.max(adopted.edition),
            Event::ErasureCompleted(erasure) => {
                let is_stated = self.edition >= STATED_EDITION || !erasure.kinds.is_empty();
                let is_whole = erasure.scope() == ErasureScope::All
                    && erasure.versions.is_empty()
                    && erasure.kept.is_empty();
                if is_stated && is_whole {
                    self.positions.insert(position);
                }
            }
            // The erasure right before a restore is of what was erased after the backup, in any number of
            // streams, and in parts.
            Event::BackupRestored(_) => {
                self.positions.remove(&position.saturating_sub(1));
            }
            _ => {}
        }
    }

    /// The edition that the log follows.
    pub fn edition(&self) -> u32 {
        self.edition
    }

    pub fn contains(&self, position: u64) -> bool {
        self.positions.contains(&position)
    }
}
