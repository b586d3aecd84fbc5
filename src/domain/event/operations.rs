//! Events of the daemon's operation: restores, transparency reports, and views of a data subject's record.

use crate::domain::ids::EventId;
use sayso_proof::event::Role;

/// The log was restored from a backup; later entries are lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackupRestored {
    /// The id of the restore.
    pub restore: EventId,
    /// The checkpoint of the backup (a signed note). The log continues from it.
    pub backup_checkpoint: String,
    /// The last checkpoint that was published before the restore; empty if none was kept.
    pub last_checkpoint: String,
    /// The number of entries whose keys the restore destroyed again. These keys had been destroyed after the
    /// backup was made.
    pub erased_again: u64,
    /// Whether every use is denied until a `RestoreConfirmed` names this restore.
    pub use_waits: bool,
    /// The key epoch at the time of the restore. 0 in events of early versions.
    pub key_epoch: u64,
}

/// The operator confirmed that decisions made since the backup are in the log again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RestoreConfirmed {
    /// The id of the restore.
    pub restore: EventId,
}

/// Staff viewed a data subject's record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordViewed {
    /// The role in which they acted.
    pub role: Role,
    /// Their name.
    pub name: String,
    /// The API method that showed data from the person's record.
    pub method: String,
}

/// Aggregate figures about data subjects were reported outside the ledger.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FiguresReported {
    /// The role of the caller.
    pub role: Role,
    /// The name of the caller.
    pub name: String,
    /// The start of the period, milliseconds since the Unix epoch.
    pub from_ms: u64,
    /// The end of the period (exclusive), milliseconds since the Unix epoch.
    pub to_ms: u64,
    /// The minimum group size: groups of fewer people were not shown.
    pub k: u32,
    /// The part of the period's privacy budget (epsilon of differential privacy) that the report spent. 0
    /// means that no noise was added.
    pub epsilon: f64,
    /// The figures requested; an empty list means all.
    pub figures: Vec<String>,
    /// The number of entries covered: the size of the tree.
    pub tree_size: u64,
}
