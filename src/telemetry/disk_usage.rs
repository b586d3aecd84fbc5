//! Measures how much disk space a folder takes, and how much is free.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The unit of `st_blocks`. It does not depend on the file system's block size (POSIX, `sys/stat.h` on
/// Linux).
const BLOCK_BYTES: u64 = 512;
/// Most levels of folders that are measured. A data folder has two, and two more if it has
/// `controllers/<name>`.
const DEPTH_MAX: usize = 8;

/// Disk space taken and free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// Bytes of the disk blocks that the folder's files occupy. Holes in sparse files do not count.
    pub taken_bytes: u64,
    /// Bytes that an unprivileged process can still use on that disk.
    pub free_bytes: u64,
}

/// Measures a folder. A file that cannot be read, or was removed meanwhile, does not count.
pub(super) fn usage(folder: &Path) -> Usage {
    let free = rustix::fs::statvfs(folder);
    Usage {
        taken_bytes: taken(folder, DEPTH_MAX),
        free_bytes: free.map_or(0, |disk| disk.f_bavail.saturating_mul(disk.f_frsize)),
    }
}

fn taken(folder: &Path, depth: usize) -> u64 {
    let Ok(items) = std::fs::read_dir(folder) else { return 0 };
    let sizes = items.flatten().map(|item| match item.metadata() {
        Ok(found) if found.is_dir() && depth > 0 => taken(&item.path(), depth.saturating_sub(1)),
        Ok(found) if found.is_file() => found.blocks().saturating_mul(BLOCK_BYTES),
        _ => 0,
    });
    sizes.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn files_in_subfolders_count_and_holes_do_not() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("log")).unwrap();
        std::fs::write(dir.path().join("log/segment"), vec![7; 100_000]).unwrap();
        std::fs::File::create(dir.path().join("hole")).unwrap().set_len(1 << 30).unwrap();
        let found = usage(dir.path());
        assert!((100_000..200_000).contains(&found.taken_bytes), "{found:?}");
        assert!(found.free_bytes > 0);
        assert_eq!(usage(&dir.path().join("nowhere")), Usage::default());
    }
}
