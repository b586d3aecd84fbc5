//! What the process does to keep what it knows to itself: no core dumps, nobody attaches, nothing is swapped out, files
//! for their owner alone.

use crate::config::LockMemory;
use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit, umask,
};
use rustix::thread::{CapabilitySet, capabilities, disable_transparent_huge_pages};

/// Why the process can't keep secrets.
#[derive(Debug, thiserror::Error)]
pub enum HardenError {
    /// Core dumps stay on.
    #[error("core dumps can't be turned off: {0}")]
    CoreDumps(rustix::io::Errno),
    /// Memory can't be locked, and has to be.
    #[error("memory can't be locked ({0}), and `lock_memory` is `always`")]
    Memory(&'static str),
}

/// What this process makes from now on is closed to other users: folders of a store that others may write to are refused.
pub(crate) fn restrict_new_files() {
    let _before = umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
}

/// Before anything secret is read. With `may_attach` whoever runs the process may attach to it, as debuggers do.
///
/// # Errors
/// Core dumps can't be turned off; or memory has to be locked and can't be.
pub(crate) fn harden(memory: LockMemory, may_attach: bool) -> Result<(), HardenError> {
    restrict_new_files();
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let limited = setrlimit(Resource::Core, none);
    // Under a filter that forbids setting limits, the limit that is there counts.
    if getrlimit(Resource::Core).current != Some(0) {
        return Err(HardenError::CoreDumps(limited.err().unwrap_or(rustix::io::Errno::PERM)));
    }
    // Where dumps go into a pipe, the limit does not count, and this does.
    if !may_attach {
        set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(HardenError::CoreDumps)?;
    }
    small_pages();
    match (memory, lock(memory)) {
        (LockMemory::Never, _) => tracing::info!("memory is not locked, as configured"),
        (_, Ok(())) => tracing::info!("memory is locked: nothing of it is swapped out"),
        (LockMemory::Always, Err(why)) => return Err(HardenError::Memory(why)),
        (LockMemory::Try, Err(why)) => tracing::warn!(why, "memory is not locked: it may be swapped out"),
    }
    Ok(())
}

/// The allocator asks for pages of 2 MiB, of which a few kilobytes here and there make all of each resident, and locked
/// with it: a third of the daemon's memory was that. Without the system's consent it only takes more.
fn small_pages() {
    if let Err(error) = disable_transparent_huge_pages(true) {
        tracing::info!(%error, "memory comes in huge pages, and takes more");
    }
}

/// All of it, what is there and what will be, as soon as it is used. Not under a limit: what is locked grows with caches,
/// and a process that reaches the limit later is one that ends in the midst of its work.
fn lock(memory: LockMemory) -> Result<(), &'static str> {
    if memory == LockMemory::Never {
        return Ok(());
    }
    let unlimited = getrlimit(Resource::Memlock).current.is_none();
    let capable = capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::IPC_LOCK));
    if !unlimited && !capable {
        return Err("RLIMIT_MEMLOCK is not unlimited, and CAP_IPC_LOCK is not there");
    }
    let all = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    mlockall(all).map_err(|_| "the system refuses")
}
