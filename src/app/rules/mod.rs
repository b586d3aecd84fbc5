//! What decisions are made by: vocabulary, bounds of the three tiers, and their effect on open grants.

pub(crate) mod define_vocabulary;
pub(crate) mod personal_bounds;
pub(crate) mod preview_bounds;
pub(crate) mod publish_bounds;
pub(crate) mod publish_notice;
pub(crate) mod revoke_contradicted;

use crate::app::log::core::Core;
use crate::app::rules::publish_bounds::TierKeys;
use crate::app::rules::revoke_contradicted::Contradictions;
use std::sync::Arc;

/// Use cases about what decisions are made by.
pub struct RuleChanges {
    pub(crate) core: Arc<Core>,
    /// What packs of each tier must be signed with.
    pub(crate) tier_keys: TierKeys,
    /// How far new rules are applied to open grants.
    pub(crate) contradictions: Contradictions,
    /// Previews in progress.
    pub(crate) previews: Arc<tokio::sync::Semaphore>,
}
