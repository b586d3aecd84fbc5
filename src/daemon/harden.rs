//! Hardens the process: no core dumps, no debugger (except with `serve --dev`), no swapping (if the
//! configuration and the system allow it), and files that only their owner can access.

use crate::config::LockMemory;
use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit, umask,
};
use rustix::thread::{CapabilitySet, capabilities, disable_transparent_huge_pages};

/// Why the process can't be hardened.
#[derive(Debug, thiserror::Error)]
pub enum HardenError {
    /// Core dumps can't be turned off.
    #[error("core dumps can't be turned off: {0}")]
    CoreDumps(rustix::io::Errno),
    /// Memory can't be locked, although the configuration requires it.
    #[error(
        "memory can't be locked ({0}), but `lock_memory` is `always`; remove the obstacle, or set it to `try`"
    )]
    Memory(&'static str),
}

/// Denies other users access to files and folders that the process creates from now on. The daemon refuses a
/// store that other users can write to.
pub(crate) fn restrict_new_files() {
    let _before = umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
}

/// Hardens the process. Call it before anything secret is read. With `may_attach`, the user who runs the
/// process can attach a debugger.
///
/// # Errors
/// Core dumps can't be turned off, or memory must be locked and can't be.
pub(crate) fn harden(memory: LockMemory, may_attach: bool) -> Result<(), HardenError> {
    restrict_new_files();
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let limited = setrlimit(Resource::Core, none);
    // A system call filter may forbid setting limits. In that case it is enough if the existing limit is 0.
    if getrlimit(Resource::Core).current != Some(0) {
        return Err(HardenError::CoreDumps(limited.err().unwrap_or(rustix::io::Errno::PERM)));
    }
    // The limit has no effect if the system pipes core dumps to a program. A process that is not dumpable
    // makes no core dumps in that case either.
    if !may_attach {
        set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(HardenError::CoreDumps)?;
    }
    disable_huge_pages();
    match (memory, lock(memory)) {
        (LockMemory::Never, _) => tracing::info!("memory is not locked, as configured"),
        (_, Ok(())) => tracing::info!("memory is locked, so it is never swapped out"),
        (LockMemory::Always, Err(why)) => return Err(HardenError::Memory(why)),
        (LockMemory::Try, Err(why)) => tracing::warn!(why, "memory is not locked, so it may be swapped out"),
    }
    Ok(())
}

/// Turns off transparent huge pages. With them, a few used kilobytes make a whole page of 2 MiB resident and
/// locked. That took a third of the daemon's memory. If the system refuses, the daemon only needs more
/// memory.
fn disable_huge_pages() {
    if let Err(error) = disable_transparent_huge_pages(true) {
        tracing::info!(%error, "transparent huge pages can't be turned off, so the daemon needs more memory");
    }
}

/// Locks all memory, present and future, as soon as it is used. Memory is not locked if a limit on locked
/// memory applies to the process, that is, without `CAP_IPC_LOCK`. Locked memory grows with the caches,
/// and a process that reached the limit later would be killed during its work.
fn lock(memory: LockMemory) -> Result<(), &'static str> {
    if memory == LockMemory::Never {
        return Ok(());
    }
    let unlimited = getrlimit(Resource::Memlock).current.is_none();
    let capable = capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::IPC_LOCK));
    if !unlimited && !capable {
        return Err("RLIMIT_MEMLOCK is not unlimited, and the process has no CAP_IPC_LOCK");
    }
    let all = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    mlockall(all).map_err(|_| "the system refused")
}
