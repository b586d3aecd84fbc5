//! Which rules the last revocation pass (`revoke_contradicted`) applied to all open grants, and the
//! background task that runs a pass when other rules come into force.

use crate::bounds::rulebook::Rules;
use std::sync::Mutex;
use tokio::task::JoinHandle;

/// Identifies the rules that decisions follow.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RulesVersion {
    /// Positions of the bounds in force.
    bounds: Vec<u64>,
    /// Position of the newest change of the vocabulary; none if the vocabulary is still the one that the log
    /// began with.
    vocabulary: Option<u64>,
}

impl RulesVersion {
    pub fn of(rules: &Rules) -> Self {
        Self { bounds: rules.bounds.positions().to_vec(), vocabulary: rules.vocabulary_changed_at() }
    }
}

/// A revocation pass that went through all open grants and artifacts.
pub(crate) struct CompletedPass {
    pub rules: RulesVersion,
    /// Grants that it revoked.
    pub revoked: u64,
}

/// The last pass, and the task that runs one when a version comes into force.
#[derive(Default)]
pub(crate) struct RevocationTask {
    /// The last completed pass, if any. Locked during a pass.
    pub completed: tokio::sync::Mutex<Option<CompletedPass>>,
    pub watcher: Mutex<Option<JoinHandle<()>>>,
}
