//! What operators do: backup, restore, key rotation, checks of a data folder, the clock.

pub(crate) mod accept_clock;
pub(crate) mod backup;
pub(crate) mod confirm_restore;
pub(crate) mod fsck;
pub(crate) mod restore;
pub(crate) mod rotate_log_key;
