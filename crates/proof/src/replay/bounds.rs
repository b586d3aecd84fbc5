//! The published versions of bounds (packs of rules that limit use), and which of them are in force at a
//! given time.

use super::staircase::Staircase;
use crate::event::BoundsPublished;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Included};

/// A tier and the name of a pack.
type Pack = (i32, String);

/// The rank of a version: the time from which it counts, and its position. Of the versions in effect, the one
/// with the highest rank is in force.
type Rank = (u64, u64);

/// Every version published so far.
#[derive(Default)]
pub(super) struct Bounds {
    positions: BTreeSet<u64>,
    /// The versions of each pack by the time from which they are in effect, which may be before they were
    /// published, milliseconds since the Unix epoch.
    packs: BTreeMap<Pack, Staircase<Rank>>,
    /// The times at which versions take effect, with their packs.
    effects: BTreeSet<(u64, Pack)>,
    /// The time for which `current` is known, milliseconds since the Unix epoch.
    now_ms: u64,
    /// The position of the version of each pack that is in force.
    current: BTreeMap<Pack, u64>,
    in_force: BTreeSet<u64>,
}

impl Bounds {
    /// Adds a version that was published at this position and sealed at this time.
    pub fn publish(&mut self, position: u64, sealed_at_ms: u64, published: &BoundsPublished) {
        let from_ms = published.effective_from_ms;
        let rank = (from_ms.max(sealed_at_ms), position);
        let pack = (published.tier, published.pack.clone());
        self.positions.insert(position);
        self.packs.entry(pack.clone()).or_default().add(from_ms, rank);
        self.effects.insert((from_ms, pack.clone()));
        self.update(pack);
    }

    /// Whether a version was published at this position.
    pub fn contains(&self, position: u64) -> bool {
        self.positions.contains(&position)
    }

    /// Positions of the versions in force at `now_ms`, ascending.
    pub fn in_force(&mut self, now_ms: u64) -> &BTreeSet<u64> {
        let (from_ms, to_ms) = (self.now_ms.min(now_ms), self.now_ms.max(now_ms));
        self.now_ms = now_ms;
        let none = |ms: u64| (ms.saturating_add(1), (i32::MIN, String::new()));
        let passed = self.effects.range((Included(none(from_ms)), Excluded(none(to_ms))));
        let passed: BTreeSet<Pack> = passed.map(|(_, pack)| pack.clone()).collect();
        passed.into_iter().for_each(|pack| self.update(pack));
        &self.in_force
    }

    fn update(&mut self, pack: Pack) {
        let version = self.packs.get(&pack).and_then(|versions| versions.highest(self.now_ms));
        let replaced = match version {
            Some((_, position)) => {
                self.in_force.insert(position);
                self.current.insert(pack, position).filter(|replaced| *replaced != position)
            }
            None => self.current.remove(&pack),
        };
        replaced.map(|position| self.in_force.remove(&position));
    }
}
