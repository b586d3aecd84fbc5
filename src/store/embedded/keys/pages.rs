//! The state of an open key store: what readers need, and what the writer owns.

use super::batch::{self, Place};
use super::copies::{Catalog, CopyHeader};
use crate::store::StoreError;
use crate::store::embedded::disk;
use std::fs::File;
use std::thread;

/// Space is reserved ahead of the writes in steps of this many bytes.
pub const RESERVE_STEP_BYTES: u64 = if cfg!(test) { 4 << 10 } else { 1 << 20 };

/// What readers need: both copies, and where each page is in them.
pub struct Pages {
    /// Both copies.
    pub files: Vec<File>,
    /// Where each page is; the same in both copies.
    pub catalog: Catalog,
}

/// What the writer owns.
pub struct Tail {
    /// The header of both copies.
    pub header: CopyHeader,
    /// Offset of the next batch.
    pub offset: u64,
    /// Number of the next batch.
    pub number: u64,
    /// Batches with a lower number are durable.
    pub synced: u64,
    /// Reserved bytes of each copy.
    pub reserved: Vec<u64>,
    /// Bytes of the records of current pages.
    pub live: u64,
}

impl Pages {
    /// Reads the page at a place, from the first copy in which it is intact.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if no copy has it intact, [`StoreError::Io`] if a copy can't be read.
    pub fn read(&self, id: &[u8], place: Place) -> Result<Vec<u8>, StoreError> {
        let mut failed = None;
        for (file, copy) in self.files.iter().zip(1_u32..) {
            match disk::read(file, place.offset, place.length as usize) {
                Ok(bytes) => match batch::page_of(&bytes, id) {
                    Some(page) => return Ok(page.to_vec()),
                    None => {
                        tracing::error!(copy, "a key page is damaged in one copy; the next start repairs it")
                    }
                },
                Err(error) => failed = Some(error),
            }
        }
        // The message does not name the page: an id may identify a person.
        let place = format!("offset {} of both copies", place.offset);
        Err(failed.unwrap_or(StoreError::Damaged { what: "key page", place }))
    }

    /// Makes both copies durable. The flushes run in parallel: for a device, two flushes take little more
    /// time than one.
    pub fn sync(&self) -> Result<(), StoreError> {
        let Some((own, others)) = self.files.split_first() else { return Ok(()) };
        thread::scope(|scope| {
            let start = |file| (file, thread::Builder::new().spawn_scoped(scope, move || disk::sync(file)));
            let others: Vec<_> = others.iter().map(start).collect();
            let mut synced = disk::sync(own);
            for (file, started) in others {
                let other = match started {
                    Ok(thread) => thread.join().unwrap_or(Err(StoreError::Stopped)),
                    // No thread could be started, so flush in this thread.
                    Err(_) => disk::sync(file),
                };
                synced = synced.and(other);
            }
            synced
        })
    }
}
