//! The key store: its own sled database, every write durable before it returns, every page under our own checksum.

use super::database::Database;
use crate::store::{KeyStore, StoreError};
use sled::Batch;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

const CACHE_BYTES: u64 = 32 << 20;

/// The embedded key store.
pub struct EmbeddedKeys {
    database: Database,
    /// Serialises writes.
    writing: Mutex<()>,
    /// Set once a write has failed: what became of it is unknown.
    stopped: AtomicBool,
}

impl EmbeddedKeys {
    /// Opens or makes the key store.
    ///
    /// # Errors
    /// The folder or the database can't be opened.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let database = Database::open(dir, CACHE_BYTES)?;
        Ok(Self { database, writing: Mutex::new(()), stopped: AtomicBool::new(false) })
    }
}

fn checksum(id: &[u8], page: &[u8]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(id);
    hasher.update(page);
    hasher.finalize().to_be_bytes()
}

fn unwrap(id: &[u8], value: &[u8]) -> Result<Vec<u8>, StoreError> {
    let page = value.split_first_chunk::<4>().filter(|(sum, page)| **sum == checksum(id, page));
    let (_, page) = page.ok_or_else(|| StoreError::Damaged { what: "key page", place: hex::encode(id) })?;
    Ok(page.to_vec())
}

impl KeyStore for EmbeddedKeys {
    fn read_page(&self, id: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.database.get(id)?.map(|value| unwrap(id, &value)).transpose()
    }

    fn write_pages(&self, pages: &[(Vec<u8>, Option<Vec<u8>>)]) -> Result<(), StoreError> {
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.stopped.load(Ordering::Acquire) {
            return Err(StoreError::Stopped);
        }
        let mut batch = Batch::default();
        for (id, page) in pages {
            match page {
                Some(page) => batch.insert(id.as_slice(), [&checksum(id, page), page.as_slice()].concat()),
                None => batch.remove(id.as_slice()),
            }
        }
        let written = self.database.apply(batch).and_then(|()| self.database.flush());
        if written.is_err() {
            self.stopped.store(true, Ordering::Release);
        }
        written
    }

    fn scan_pages(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        count: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
        let found = self.database.scan(prefix, after, count)?;
        found.into_iter().map(|(id, value)| unwrap(&id, &value).map(|page| (id, page))).collect()
    }

    fn count_pages(&self, prefix: &[u8]) -> Result<u64, StoreError> {
        let mut count = 0;
        let mut after: Option<Vec<u8>> = None;
        loop {
            let found = self.database.scan(prefix, after.as_deref(), 1024)?;
            count += found.len() as u64;
            match found.into_iter().last() {
                Some((id, _)) => after = Some(id),
                None => return Ok(count),
            }
        }
    }
}
