//! Writing the copies anew with the pages that count alone. Each new copy is whole and durable before it takes its name;
//! at every moment one copy under its name has everything.

use super::batch::{self, Change};
use super::copies::{self, NAMES, Title};
use super::{EmbeddedKeys, SLACK, STEP, Shelf, Tail};
use crate::store::StoreError;
use crate::store::embedded::disk;
use crate::store::embedded::frame::ALIGN;
use std::fs::File;
use std::path::Path;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

/// Pages written at once.
const PAGES_AT_ONCE: usize = 128;

fn next_name(name: &str) -> String {
    format!("{name}.next")
}

/// Removes what an interrupted compaction left.
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

impl EmbeddedKeys {
    /// Writes the copies anew where more than half of them counts no more. Without room for that they go on growing.
    pub(super) fn compact_if_due(&self, tail: &mut Tail) -> Result<(), StoreError> {
        if tail.at <= tail.live.saturating_mul(2).saturating_add(SLACK) {
            return Ok(());
        }
        let title = Title { generation: tail.title.generation.saturating_add(1), first: tail.number };
        let files = match self.write_next(tail, title) {
            Ok(files) => files,
            Err(error) => {
                tracing::warn!(%error, "the key pages could not be written anew; they go on growing");
                return clear(&self.dir);
            }
        };
        // From the first name on there is no way back but through recovery.
        self.stopped.store(true, Ordering::Release);
        for name in NAMES {
            let renamed = std::fs::rename(self.dir.join(next_name(name)), self.dir.join(name));
            renamed.map_err(disk::io("naming a copy of the key pages"))?;
            disk::sync_dir(&self.dir)?;
        }
        let walked = copies::walk(&files.iter().collect::<Vec<_>>(), title)?;
        let mut shelf = self.shelf.write().unwrap_or_else(PoisonError::into_inner);
        if walked.catalogue.len() != shelf.catalogue.len() || !walked.mends.is_empty() {
            return Err(StoreError::Damaged { what: "key store", place: "while it was compacted".into() });
        }
        tail.reserved = files.iter().map(disk::length).collect::<Result<_, _>>()?;
        (tail.title, tail.at, tail.number, tail.synced) = (title, walked.at, walked.number, walked.number);
        tail.live = walked.live;
        *shelf = Shelf { files, catalogue: walked.catalogue };
        self.stopped.store(false, Ordering::Release);
        Ok(())
    }

    /// Both new copies, whole and durable, under names of their own.
    fn write_next(&self, tail: &Tail, title: Title) -> Result<Vec<File>, StoreError> {
        clear(&self.dir)?;
        let files: Vec<File> =
            NAMES.iter().map(|name| disk::open(&self.dir.join(next_name(name)))).collect::<Result<_, _>>()?;
        let room = tail.live.saturating_mul(2).saturating_add(STEP);
        for file in &files {
            disk::reserve(file, 0, room, STEP)?;
            disk::write(file, 0, &title.encode())?;
        }
        let shelf = self.shelf();
        let (mut at, mut number) = (ALIGN as u64, tail.number);
        let mut changes: Vec<Change> = Vec::new();
        let mut pages = shelf.catalogue.iter().peekable();
        while let Some((id, place)) = pages.next() {
            changes.push((id.clone(), Some(self.page(&shelf, id, *place)?)));
            if changes.len() < PAGES_AT_ONCE && pages.peek().is_some() {
                continue;
            }
            // Nothing of a copy counts before all of it is durable, so a broken batch in it was never torn.
            let bytes = batch::encode(number, number, &changes);
            let bytes = bytes.ok_or(StoreError::OutOfBounds("a write of key pages"))?;
            files.iter().try_for_each(|file| disk::write(file, at, &bytes))?;
            at = at.saturating_add(bytes.len() as u64);
            number = number.saturating_add(1);
            changes.clear();
        }
        files
            .iter()
            .try_for_each(|file| file.sync_all().map_err(disk::io("syncing a copy of the key pages")))?;
        Ok(files)
    }
}
