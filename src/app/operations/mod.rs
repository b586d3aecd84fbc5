//! The use cases of operators: backup, restore and its confirmation, rotation of the log key, and checking
//! a data folder. Operators also accept the machine's clock after it has jumped.

pub(crate) mod accept_clock;
pub(crate) mod backup;
pub(crate) mod confirm_restore;
pub(crate) mod fsck;
pub(crate) mod key_epoch;
pub(crate) mod restore;
pub(crate) mod rotate_log_key;

use crate::app::log::core::Core;
use crate::ledger::LogKeys;
use std::sync::Arc;

/// Use cases of operators.
pub struct Operations {
    pub(crate) core: Arc<Core>,
    /// The log's keys, as they are kept.
    pub(crate) log_keys: LogKeys,
}
