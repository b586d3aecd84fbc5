//! The published versions of bounds (packs of rules that limit use), and which of them are in force at a
//! given time.

use crate::event::BoundsPublished;

/// Every version published so far.
#[derive(Default)]
pub(super) struct Bounds {
    versions: Vec<Version>,
}

struct Version {
    position: u64,
    tier: i32,
    pack: String,
    effective_from_ms: u64,
    /// The time from which the version is in effect, and its position. Of the effective versions of a pack,
    /// the one with the highest rank is in force.
    rank: (u64, u64),
}

impl Bounds {
    /// Adds a version that was published at this position and sealed at this time.
    pub fn publish(&mut self, position: u64, sealed_at_ms: u64, published: &BoundsPublished) {
        let effective_from_ms = published.effective_from_ms;
        let rank = (effective_from_ms.max(sealed_at_ms), position);
        let (tier, pack) = (published.tier, published.pack.clone());
        self.versions.push(Version { position, tier, pack, effective_from_ms, rank });
    }

    /// Whether a version was published at this position.
    pub fn contains(&self, position: u64) -> bool {
        self.versions.iter().any(|version| version.position == position)
    }

    /// Positions of the versions in force at `now_ms`, ascending.
    pub fn in_force(&self, now_ms: u64) -> Vec<u64> {
        let effective = || self.versions.iter().filter(|version| version.effective_from_ms <= now_ms);
        let is_highest = |version: &&Version| {
            let mut of_pack =
                effective().filter(|other| (other.tier, &other.pack) == (version.tier, &version.pack));
            of_pack.all(|other| other.rank <= version.rank)
        };
        effective().filter(is_highest).map(|version| version.position).collect()
    }
}
