//! Compares signed counts of events (see `counts.rs`), which the user gave with `--counts`, with the events
//! of a bundle.

use crate::bundle::rejection::Rejection;
use crate::bundle::report::VerifyFailure;
use crate::counts::{Counts, EventCounts};
use crate::event::event_body::Event;
use crate::keys::KeyChain;
use crate::merkle::{Frontier, Hash};

const PLACE: &str = "--counts";

/// Counts that the user gave, and what the bundle has so far.
pub(super) struct StatedCounts {
    stated: Counts,
    found: EventCounts,
    /// Root of the tree that the counts are about.
    root: Option<Hash>,
}

impl StatedCounts {
    /// Verifies counts that the user gave. `size` is the number of entries of the bundle.
    ///
    /// # Errors
    /// No key of the log signed them, or the bundle is too old to compare them with.
    pub fn open(note: &str, keys: &KeyChain, size: u64) -> Result<Self, VerifyFailure> {
        let stated = Counts::open(note, keys).map_err(|error| VerifyFailure::at(PLACE, error))?;
        if stated.tree.size > size {
            let reason = format!(
                "the counts are of {} entries, and the bundle has only the first {size}; verify an export that \
                 was made after the counts",
                stated.tree.size
            );
            return Err(VerifyFailure::rejected(PLACE, Rejection::machine(reason)));
        }
        let root = (stated.tree.size == 0).then(|| Frontier::new().root());
        Ok(Self { stated, found: EventCounts::default(), root })
    }

    /// Looks at the tree after each leaf.
    pub fn reach(&mut self, tree: &Frontier) {
        if tree.size() == self.stated.tree.size {
            self.root = Some(tree.root());
        }
    }

    /// Whether the counts are about a tree that the bundle's log continues.
    pub fn has_root(&self) -> bool {
        self.root == Some(self.stated.tree.root)
    }

    /// Counts a system event.
    pub fn add(&mut self, position: u64, event: &Event) {
        if position < self.stated.tree.size {
            self.found.add(event);
        }
    }

    /// Compares the counts, after the last entry. Returns the number of entries that they are about.
    ///
    /// # Errors
    /// The bundle has other numbers of events.
    pub fn compare(&self) -> Result<u64, VerifyFailure> {
        let (stated, found, size) = (self.stated.events, self.found, self.stated.tree.size);
        if stated == found {
            return Ok(size);
        }
        let reason = format!(
            "the log states {} rules and {} erasures in its first {size} entries, which have {} rules and {} \
             erasures",
            stated.rules, stated.erasures, found.rules, found.erasures
        );
        Err(VerifyFailure::at(PLACE, reason))
    }
}
