//! Compares the key epoch of the keys with the one that the log names, so that a log and keys from different
//! times are not used together.
//!
//! The *key epoch* counts how often the root key was replaced, which happens only when keys are destroyed.
//! The write with which an erasure destroys keys also stores an *intent*. The intent is kept until the log
//! has the erasure's event `ErasureCompleted`. The event names the epoch after the destruction, or a later
//! one. So the keys are ahead of the log by at most the number of intents.

use crate::app::operations::restore::{Restored, is_restored_in};
use crate::domain::event::{Event, Recorded};

/// The log and the keys are from different times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyEpochError {
    /// Keys were destroyed that the log does not know of.
    #[error(
        "the log is older than the keys: the newest erasure in the log names key epoch {log}, but \
         the keys are of key epoch {keys}, so the log lacks erasures; put the newest log back, or move this log \
         away and run `sayso restore` on a backup"
    )]
    OldLog {
        /// The epoch that the log names.
        log: u64,
        /// The epoch of the keys.
        keys: u64,
    },
    /// The log has erasures that the keys do not know of.
    #[error(
        "the keys are older than the log: the newest erasure in the log names key epoch {log}, but \
         the keys are of key epoch {keys}, so they may open erased data; put the newest `keys` and root key back"
    )]
    OldKeys {
        /// The epoch that the log names.
        log: u64,
        /// The epoch of the keys.
        keys: u64,
    },
}

/// Checks that log and keys are from the same time. A restore that is not recorded yet explains everything.
/// `unfinished` is the number of erasures that are not known to be complete.
///
/// # Errors
/// They are not.
pub(crate) fn check_keys(
    keys: u64,
    unfinished: u64,
    restored: Option<&Restored>,
    system_events: &[Recorded],
) -> Result<(), KeyEpochError> {
    let is_new = system_events.is_empty();
    if is_new || restored.is_some_and(|restored| !is_restored_in(restored, system_events)) {
        return Ok(());
    }
    check_epoch(system_events.iter().map(|event| &event.event), keys, unfinished)
}

fn check_epoch<'a>(
    events: impl Iterator<Item = &'a Event>,
    keys: u64,
    unfinished: u64,
) -> Result<(), KeyEpochError> {
    let Named { log, is_exact } = Named::by(events);
    if log > keys {
        return Err(KeyEpochError::OldKeys { log, keys });
    }
    if is_exact && log.saturating_add(unfinished) < keys {
        return Err(KeyEpochError::OldLog { log, keys });
    }
    Ok(())
}

/// The largest epoch that a log names.
struct Named {
    log: u64,
    /// Whether the keys had this epoch then. False after a restore that names none: early versions did
    /// not, and epoch 0 is not written.
    is_exact: bool,
}

impl Named {
    fn by<'a>(events: impl Iterator<Item = &'a Event>) -> Self {
        let mut named = Self { log: 0, is_exact: true };
        for event in events {
            match event {
                Event::ErasureCompleted(completed) => {
                    named.log = named.log.max(completed.key_epoch);
                    named.is_exact = true;
                }
                Event::BackupRestored(restored) => {
                    named.log = named.log.max(restored.key_epoch);
                    named.is_exact = restored.key_epoch > 0;
                }
                _ => {}
            }
        }
        named
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::{BackupRestored, ErasureCompleted};

    fn erased(key_epoch: u64) -> Event {
        Event::ErasureCompleted(ErasureCompleted { key_epoch, ..ErasureCompleted::default() })
    }

    fn restored(key_epoch: u64) -> Event {
        Event::BackupRestored(BackupRestored { key_epoch, ..BackupRestored::default() })
    }

    #[test]
    fn only_the_largest_epoch_counts() {
        // Erasures that are completed together may be recorded in any order.
        let events = [erased(3), erased(2)];
        assert_eq!(check_epoch(events.iter(), 3, 0), Ok(()));
        assert_eq!(check_epoch(events.iter(), 4, 0), Err(KeyEpochError::OldLog { log: 3, keys: 4 }));
        assert_eq!(check_epoch(events.iter(), 2, 0), Err(KeyEpochError::OldKeys { log: 3, keys: 2 }));
        assert_eq!(check_epoch([].iter(), 0, 0), Ok(()));
    }

    #[test]
    fn erasures_that_are_not_complete_account_for_key_epochs() {
        let events = [erased(3)];
        assert_eq!(check_epoch(events.iter(), 5, 2), Ok(()));
        assert_eq!(check_epoch(events.iter(), 6, 2), Err(KeyEpochError::OldLog { log: 3, keys: 6 }));
    }

    #[test]
    fn a_restore_names_the_epoch_that_it_found() {
        assert_eq!(check_epoch([erased(3), restored(7)].iter(), 7, 0), Ok(()));
        let old = check_epoch([erased(3), restored(7)].iter(), 8, 0);
        assert_eq!(old, Err(KeyEpochError::OldLog { log: 7, keys: 8 }));
    }

    #[test]
    fn after_a_restore_that_names_no_epoch_the_keys_may_be_newer_until_the_next_erasure() {
        assert_eq!(check_epoch([erased(3), restored(0)].iter(), 9, 0), Ok(()));
        let later = check_epoch([erased(3), restored(0), erased(9)].iter(), 10, 0);
        assert_eq!(later, Err(KeyEpochError::OldLog { log: 9, keys: 10 }));
    }
}
