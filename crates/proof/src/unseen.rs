//! What a verdict does not show. This depends on what the user gave besides the log's key.
//!
//! The operator of a log has its key. A document or a bundle alone shows what that key signed, and nothing
//! about other trees that the same key signed.

use crate::bundle::{EarlierReport, LeftOut};
use crate::context::{ContextFindings, Options};
use crate::timestamp::Timestamped;

/// What the user gave besides the log's key, and what it showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GivenContext {
    /// Number of keys of witnesses that were given.
    pub witness_keys: usize,
    /// Number of keys of tiers that were given. They are compared only in a bundle.
    pub tier_keys: usize,
    /// Whether an older checkpoint was given.
    pub has_since: bool,
    /// Number of earlier exports that were given. They are compared only with a bundle.
    pub earlier: usize,
    /// Entries of the older checkpoint, or of the largest earlier export, that the tree extends.
    pub continues: Option<u64>,
    /// The newest time at which a given witness cosigned the checkpoint, in seconds since the Unix epoch.
    pub cosigned_at_s: Option<u64>,
    /// Whether certificates of authorities for timestamps were given.
    pub has_authorities: bool,
    /// Entries that the newest timestamp by a given authority covers, and its time in milliseconds since the
    /// Unix epoch.
    pub timestamped: Option<(u64, u64)>,
    /// Versions of published bounds in a bundle.
    pub bounds: u64,
    /// Erased entries of a bundle whose kind no earlier export shows.
    pub erased: u64,
    /// Entries of a bundle from before the log followed the newest rules.
    pub early: u64,
}

impl GivenContext {
    /// What was given as `options`, and what it showed.
    #[must_use]
    pub fn new(options: &Options, shown: &ContextFindings) -> Self {
        Self {
            witness_keys: options.witnesses.len(),
            tier_keys: options.tier_keys.len(),
            has_since: options.since.is_some(),
            earlier: options.earlier.len(),
            continues: shown.continues,
            cosigned_at_s: shown.witnesses.iter().map(|one| one.at_s).max(),
            has_authorities: options.authorities.is_some(),
            timestamped: None,
            bounds: 0,
            erased: 0,
            early: 0,
        }
    }

    /// Adds the checks that were left out for early entries of a bundle.
    #[must_use]
    pub fn with_left_out(self, left_out: &[LeftOut]) -> Self {
        Self { early: left_out.iter().map(|one| one.entries).max().unwrap_or_default(), ..self }
    }

    /// Adds the number of versions of published bounds in a bundle.
    #[must_use]
    pub fn with_bounds(self, bounds: u64) -> Self {
        Self { bounds, ..self }
    }

    /// Adds what the comparison of a bundle with earlier exports showed. `erased` is the number of erased
    /// entries of the bundle.
    #[must_use]
    pub fn with_earlier(self, reports: &[EarlierReport], erased: u64) -> Self {
        let continues = reports.iter().map(|one| one.tree_size).chain(self.continues).max();
        let shown = |one: &EarlierReport| one.erased_since.saturating_sub(one.not_known);
        let shown = reports.iter().map(shown).max().unwrap_or_default();
        Self { continues, erased: erased.saturating_sub(shown), ..self }
    }

    /// Adds the verified timestamps of a bundle.
    #[must_use]
    pub fn with_timestamps(self, timestamps: &[Timestamped]) -> Self {
        let newest = timestamps.iter().map(|one| (one.tree_size, one.at_ms)).max();
        Self { timestamped: newest, ..self }
    }

    /// What the verdict does not show, given this.
    #[must_use]
    pub fn unseen(&self) -> Vec<Unseen> {
        let is_witnessed = self.cosigned_at_s.is_some();
        let mut unseen = Vec::new();
        if !is_witnessed {
            unseen.push(Unseen::Fork { after: self.continues });
        }
        if !is_witnessed && self.continues.is_none() {
            unseen.push(Unseen::RebuiltLog);
        }
        unseen.push(Unseen::Staleness { newest_at_s: self.cosigned_at_s });
        if !is_witnessed {
            unseen.push(Unseen::Time { after: self.timestamped.map(|(size, _)| size) });
        }
        if self.erased > 0 {
            unseen.push(Unseen::ErasedKinds { entries: self.erased });
        }
        if self.bounds > 0 {
            unseen.push(Unseen::Policies { bounds: self.bounds });
        }
        if self.early > 0 {
            unseen.push(Unseen::EarlyRules { entries: self.early });
        }
        unseen
    }
}

/// Something that a verdict does not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unseen {
    /// That others see the same log: its operator can sign another tree for them.
    Fork {
        /// Only entries after this many can differ.
        after: Option<u64>,
    },
    /// That the log was not built anew: its operator can sign a new log from its first entry on.
    RebuiltLog,
    /// What was recorded after the checkpoint: its operator can show an older state.
    Staleness {
        /// When a witness cosigned the checkpoint as the newest, in seconds since the Unix epoch.
        newest_at_s: Option<u64>,
    },
    /// When entries were recorded: their times are those of the operator's clock.
    Time {
        /// An authority vouches that this many entries existed at a stated time.
        after: Option<u64>,
    },
    /// What erased entries were: only the operator states it.
    ErasedKinds {
        /// The entries of which no earlier export shows it.
        entries: u64,
    },
    /// That the policies of the published bounds allowed each grant: no policies are evaluated.
    Policies {
        /// Versions of published bounds.
        bounds: u64,
    },
    /// That early entries follow today's rules: the operator chooses when a log adopts them.
    EarlyRules {
        /// Entries about data subjects from before.
        entries: u64,
    },
}

impl Unseen {
    /// Its name in the JSON of `sayso verify`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fork { .. } => "FORK",
            Self::RebuiltLog => "REBUILT_LOG",
            Self::Staleness { .. } => "STALENESS",
            Self::Time { .. } => "TIME",
            Self::ErasedKinds { .. } => "ERASED_KINDS",
            Self::Policies { .. } => "POLICIES",
            Self::EarlyRules { .. } => "EARLY_RULES",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thing_that_is_given_shows_more() {
        let nothing = GivenContext::default();
        let stale = |newest_at_s| Unseen::Staleness { newest_at_s };
        let fork = Unseen::Fork { after: None };
        let time = Unseen::Time { after: None };
        assert_eq!(nothing.unseen(), [fork, Unseen::RebuiltLog, stale(None), time]);
        let stamped = GivenContext { timestamped: Some((5, 9)), ..GivenContext::default() };
        assert_eq!(stamped.unseen().last(), Some(&Unseen::Time { after: Some(5) }));
        let since = GivenContext { has_since: true, continues: Some(7), ..GivenContext::default() };
        assert_eq!(since.unseen(), [Unseen::Fork { after: Some(7) }, stale(None), time]);
        let compared = EarlierReport { tree_size: 9, erased_since: 4, not_known: 1, ..Default::default() };
        let earlier =
            GivenContext { continues: Some(7), ..GivenContext::default() }.with_earlier(&[compared], 5);
        let kinds = Unseen::ErasedKinds { entries: 2 };
        assert_eq!(earlier.unseen(), [Unseen::Fork { after: Some(9) }, stale(None), time, kinds]);
        let witnessed = GivenContext { witness_keys: 1, cosigned_at_s: Some(5), ..GivenContext::default() };
        assert_eq!(witnessed.unseen(), [stale(Some(5))]);
        let bounded = GivenContext { witness_keys: 1, cosigned_at_s: Some(5), ..GivenContext::default() }
            .with_bounds(3);
        assert_eq!(bounded.unseen(), [stale(Some(5)), Unseen::Policies { bounds: 3 }]);
        // A witness that was given, but did not cosign, shows nothing.
        let unsigned = GivenContext { witness_keys: 1, ..GivenContext::default() };
        assert_eq!(unsigned.unseen(), nothing.unseen());
    }
}
