//! Compacts the two copies of the key pages: writes new copies, which hold only the current version of each
//! page.
//!
//! A new copy is complete and durable before it replaces an old one, and the copies are replaced one after
//! the other. So at every moment at least one complete copy has its final name.

use super::batch::{self, Change};
use super::copies::{CopyHeader, NAMES};
use super::pages::{Pages, RESERVE_STEP_BYTES, Tail};
use crate::store::StoreError;
use crate::store::embedded::disk;
use crate::store::embedded::frame::ALIGN;
use std::fs::File;
use std::path::Path;

/// Pages in one batch of a new copy.
const BATCH_PAGES_MAX: usize = 128;

fn next_name(name: &str) -> String {
    format!("{name}.next")
}

/// Removes the files that an interrupted compaction left.
pub fn clear(dir: &Path) -> Result<(), StoreError> {
    for name in NAMES {
        match std::fs::remove_file(dir.join(next_name(name))) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(disk::io("removing an unfinished copy")(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Writes both new copies, complete and durable, under temporary names.
pub fn write_next(
    dir: &Path,
    pages: &Pages,
    tail: &Tail,
    header: CopyHeader,
) -> Result<Vec<File>, StoreError> {
    clear(dir)?;
    let open = |name: &&str| disk::open(&dir.join(next_name(name)));
    let files: Vec<File> = NAMES.iter().map(open).collect::<Result<_, _>>()?;
    let room = tail.live.saturating_mul(2).saturating_add(RESERVE_STEP_BYTES);
    for file in &files {
        disk::reserve(file, 0, room, RESERVE_STEP_BYTES)?;
        disk::write(file, 0, &header.encode())?;
    }
    let (mut offset, mut number) = (ALIGN as u64, tail.number);
    let mut changes: Vec<Change> = Vec::new();
    let mut places = pages.catalog.iter().peekable();
    while let Some((id, place)) = places.next() {
        changes.push((id.clone(), Some(pages.read(id, *place)?)));
        if changes.len() < BATCH_PAGES_MAX && places.peek().is_some() {
            continue;
        }
        // A new copy counts only once all of it is durable, so a broken batch in it can't be a torn write.
        let bytes = batch::encode(number, number, &changes);
        let bytes = bytes.ok_or(StoreError::LimitExceeded(batch::LIMITS))?;
        files.iter().try_for_each(|file| disk::write(file, offset, &bytes))?;
        offset = offset.saturating_add(bytes.len() as u64);
        number = number.saturating_add(1);
        changes.clear();
    }
    let sync = |file: &File| file.sync_all().map_err(disk::io("syncing a copy of the key pages"));
    files.iter().try_for_each(sync)?;
    Ok(files)
}

/// Replaces both copies with the new ones. Each rename is durable before the next.
pub fn replace(dir: &Path) -> Result<(), StoreError> {
    for name in NAMES {
        let renamed = std::fs::rename(dir.join(next_name(name)), dir.join(name));
        renamed.map_err(disk::io("renaming a copy of the key pages"))?;
        disk::sync_dir(dir)?;
    }
    Ok(())
}
