//! The published versions of bounds (packs of rules that limit use), and which of them are in force at a
//! given time.

use crate::event::BoundsPublished;
use std::collections::{BTreeMap, BTreeSet};

/// A tier and the name of a pack.
type Pack = (i32, String);

/// Every version published so far.
#[derive(Default)]
pub(super) struct Bounds {
    positions: BTreeSet<u64>,
    /// The versions of each pack, by rank: the time from which a version is in effect, and its position. Of
    /// the effective versions of a pack, the one with the highest rank is in force.
    versions: BTreeMap<Pack, BTreeMap<(u64, u64), Effect>>,
    in_force: InForce,
}

/// When a version takes effect, milliseconds since the Unix epoch. It may be before it was published.
struct Effect {
    from_ms: u64,
}

/// The versions that are in force during a time.
#[derive(Default)]
struct InForce {
    from_ms: u64,
    /// The end of the time, which is not part of it. 0 if nothing is known.
    until_ms: u64,
    positions: Vec<u64>,
}

impl Bounds {
    /// Adds a version that was published at this position and sealed at this time.
    pub fn publish(&mut self, position: u64, sealed_at_ms: u64, published: &BoundsPublished) {
        let from_ms = published.effective_from_ms;
        let rank = (from_ms.max(sealed_at_ms), position);
        let pack = (published.tier, published.pack.clone());
        self.positions.insert(position);
        self.versions.entry(pack).or_default().insert(rank, Effect { from_ms });
        self.in_force = InForce::default();
    }

    /// Whether a version was published at this position.
    pub fn contains(&self, position: u64) -> bool {
        self.positions.contains(&position)
    }

    /// Positions of the versions in force at `now_ms`, ascending.
    pub fn in_force(&mut self, now_ms: u64) -> &[u64] {
        if !(self.in_force.from_ms..self.in_force.until_ms).contains(&now_ms) {
            self.in_force = self.find_in_force(now_ms);
        }
        &self.in_force.positions
    }

    fn find_in_force(&self, now_ms: u64) -> InForce {
        let mut positions = Vec::new();
        let mut until_ms = u64::MAX;
        for versions in self.versions.values() {
            for ((_, position), effect) in versions.iter().rev() {
                if effect.from_ms <= now_ms {
                    positions.push(*position);
                    break;
                }
                until_ms = until_ms.min(effect.from_ms);
            }
        }
        positions.sort_unstable();
        InForce { from_ms: now_ms, until_ms, positions }
    }
}
