//! Which versions of bounds are in force at a moment.

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
    from_ms: u64,
    /// Of the versions of a pack whose time has come, the one with the highest counts.
    rank: (u64, u64),
}

impl Bounds {
    /// Takes a version that was sealed at a moment.
    pub fn take(&mut self, position: u64, moment: u64, published: &BoundsPublished) {
        let from_ms = published.effective_from_ms;
        let rank = (from_ms.max(moment), position);
        let (tier, pack) = (published.tier, published.pack.clone());
        self.versions.push(Version { position, tier, pack, from_ms, rank });
    }

    /// Whether a version stands at a position.
    pub fn has(&self, position: u64) -> bool {
        self.versions.iter().any(|version| version.position == position)
    }

    /// Positions of the versions in force, ascending.
    pub fn in_force(&self, moment: u64) -> Vec<u64> {
        let come = || self.versions.iter().filter(|version| version.from_ms <= moment);
        let counts = |version: &&Version| {
            let mut others =
                come().filter(|other| (other.tier, &other.pack) == (version.tier, &version.pack));
            others.all(|other| other.rank <= version.rank)
        };
        come().filter(counts).map(|version| version.position).collect()
    }
}
