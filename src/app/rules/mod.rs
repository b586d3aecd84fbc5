//! Publishes and reads the rules that decisions follow (vocabulary, notices, bounds of the three tiers), and
//! revokes the open grants that changed rules contradict.

pub(crate) mod define_vocabulary;
pub(crate) mod personal_bounds;
pub(crate) mod preview;
pub(crate) mod preview_bounds;
pub(crate) mod publish_bounds;
pub(crate) mod publish_notice;
pub(crate) mod publish_rule;
pub(crate) mod require_notice;
pub(crate) mod revocation_task;
pub(crate) mod revoke_contradicted;
pub(crate) mod rule_signatures;
pub(crate) mod tier_keys;

use crate::app::log::core::Core;
use crate::app::rules::revocation_task::RevocationTask;
use crate::app::rules::tier_keys::TierKeys;
use std::sync::Arc;

/// Use cases about the rules that decisions follow.
pub struct RuleChanges {
    pub(crate) core: Arc<Core>,
    /// The keys that rules of each tier must be signed with.
    pub(crate) tier_keys: TierKeys,
    /// The rules that were last applied to all open grants, and the task that applies new rules.
    pub(crate) revocation: RevocationTask,
    /// Previews in progress.
    pub(crate) previews: Arc<tokio::sync::Semaphore>,
}
