//! The alerts that a monitor can raise. A *contradiction* is an alert that says that the log contradicts
//! itself or its key; the other alerts can have harmless causes.

use serde::{Deserialize, Serialize};
use std::fmt::{self, Display};

/// Kinds of alerts. The names are part of the command's output, of its metrics and of webhooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AlertKind {
    /// The log signed two trees, of which neither continues the other.
    Fork,
    /// The log shows an older tree, and no longer serves what it showed before.
    RolledBack,
    /// The checkpoint or the counts are malformed, or the log's key did not sign them.
    Unsigned,
    /// The log's list of keys is invalid, or does not continue the earlier list.
    Keys,
    /// The log does not serve the tiles of its own checkpoint.
    WrongTiles,
    /// Too few witnesses cosigned the checkpoint, or a cosignature is invalid.
    Uncosigned,
    /// The newest checkpoint is too old.
    Stale,
    /// The log grew by more than is allowed between two checks.
    Growth,
    /// The log's key signed counts of rules and erasures that contradict each other.
    Counts,
    /// The log has more new rules than are allowed between two checks.
    RulesGrowth,
    /// The log has more new erasures than are allowed between two checks.
    ErasuresGrowth,
    /// The log does not answer.
    Unreachable,
}

/// Every kind.
pub(super) const KINDS: [AlertKind; 12] = [
    AlertKind::Fork,
    AlertKind::RolledBack,
    AlertKind::Unsigned,
    AlertKind::Keys,
    AlertKind::WrongTiles,
    AlertKind::Uncosigned,
    AlertKind::Stale,
    AlertKind::Growth,
    AlertKind::Counts,
    AlertKind::RulesGrowth,
    AlertKind::ErasuresGrowth,
    AlertKind::Unreachable,
];

impl AlertKind {
    /// Its name, such as `ROLLED_BACK`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fork => "FORK",
            Self::RolledBack => "ROLLED_BACK",
            Self::Unsigned => "UNSIGNED",
            Self::Keys => "KEYS",
            Self::WrongTiles => "WRONG_TILES",
            Self::Uncosigned => "UNCOSIGNED",
            Self::Stale => "STALE",
            Self::Growth => "GROWTH",
            Self::Counts => "COUNTS",
            Self::RulesGrowth => "RULES_GROWTH",
            Self::ErasuresGrowth => "ERASURES_GROWTH",
            Self::Unreachable => "UNREACHABLE",
        }
    }

    /// Whether the alert says that the log contradicts itself or its key. The others can have harmless
    /// causes.
    #[must_use]
    pub fn is_contradiction(self) -> bool {
        match self {
            Self::Fork | Self::RolledBack | Self::Unsigned | Self::Keys | Self::WrongTiles | Self::Counts => {
                true
            }
            Self::Uncosigned | Self::Stale | Self::Growth | Self::Unreachable => false,
            Self::RulesGrowth | Self::ErasuresGrowth => false,
        }
    }
}

/// An alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Alert {
    /// Its kind.
    pub kind: AlertKind,
    /// What was found.
    pub message: String,
}

impl Alert {
    pub(super) fn new(kind: AlertKind, message: impl ToString) -> Self {
        Self { kind, message: message.to_string() }
    }
}

impl Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.name(), self.message)
    }
}
