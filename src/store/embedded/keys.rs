//! The key store: its own sled database, every write durable before it returns, every page under our own checksum.

use super::database::{BATCH_OPERATIONS_MAX, Database};
use super::disk;
use crate::store::{KeyStore, Page, StoreError};
use sled::Batch;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

const CACHE_BYTES: u64 = 32 << 20;
/// Room is made ahead in steps of this many bytes.
const STEP: u64 = 2 << 20;
/// What ids of pages begin with in the database.
const PAGE: &[u8] = b"k";
/// Number of writes so far, written with each of them.
const WRITES: &[u8] = b"n";

/// The embedded key store.
pub struct EmbeddedKeys {
    database: Database,
    /// One write at a time; so many were durable.
    writes: Mutex<u64>,
    /// The number of writes that had been durable, beside the database: one that came back with fewer has lost some.
    /// Written after each, not synced, so it may be behind, never ahead.
    witness: File,
    /// Set while a write is under way and left so if it fails: what became of it is unknown.
    stopped: AtomicBool,
    /// Held for as long as the folder is ours.
    _lock: File,
}

impl EmbeddedKeys {
    /// Opens or makes the key store.
    ///
    /// # Errors
    /// [`StoreError::Busy`] where another daemon has it open, [`StoreError::Damaged`] where writes are missing, or
    /// whatever the system refuses.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        disk::make_dir(dir)?;
        let lock = disk::lock(dir)?;
        let database = Database::open(dir, CACHE_BYTES, STEP)?;
        let witness = disk::open(&dir.join("writes"))?;
        disk::reserve(&witness, disk::length(&witness)?, WITNESS_BYTES as u64, 1)?;
        let writes = database.get(WRITES)?.map_or(0, |value| number(&value));
        let witnessed = decode_witness(&disk::read(&witness, 0, WITNESS_BYTES)?);
        if writes < witnessed {
            let place = format!("write {writes} of {witnessed}");
            return Err(StoreError::Damaged { what: "key store", place });
        }
        Ok(Self {
            database,
            writes: Mutex::new(writes),
            witness,
            stopped: AtomicBool::new(false),
            _lock: lock,
        })
    }

    fn write(
        &self,
        writes: &mut MutexGuard<'_, u64>,
        pages: &[(Vec<u8>, Option<Vec<u8>>)],
    ) -> Result<(), StoreError> {
        let next = writes.saturating_add(1);
        let mut batch = batch_of(pages);
        batch.insert(WRITES, &next.to_be_bytes());
        self.database.apply(batch)?;
        self.database.flush()?;
        **writes = next;
        disk::write(&self.witness, 0, &encode_witness(next))
    }
}

fn batch_of(pages: &[(Vec<u8>, Option<Vec<u8>>)]) -> Batch {
    let mut batch = Batch::default();
    for (id, page) in pages {
        match page {
            Some(page) => batch.insert(key(id), [&checksum(id, page), page.as_slice()].concat()),
            None => batch.remove(key(id)),
        }
    }
    batch
}

const WITNESS_BYTES: usize = 12;

fn encode_witness(writes: u64) -> Vec<u8> {
    let number = writes.to_be_bytes();
    [number.as_slice(), &crc32fast::hash(&number).to_be_bytes()].concat()
}

/// The number that is witnessed; 0, which says nothing, where it is not whole.
fn decode_witness(bytes: &[u8]) -> u64 {
    let writes = number(bytes);
    if encode_witness(writes) == bytes { writes } else { 0 }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

fn key(id: &[u8]) -> Vec<u8> {
    [PAGE, id].concat()
}

fn checksum(id: &[u8], page: &[u8]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(id);
    hasher.update(page);
    hasher.finalize().to_be_bytes()
}

/// A page whose checksum holds. Which one it is is not said: ids may stand for people.
fn checked(id: &[u8], value: &[u8]) -> Result<Vec<u8>, StoreError> {
    let page = value.split_first_chunk::<4>().filter(|(sum, page)| **sum == checksum(id, page));
    let damaged = || StoreError::Damaged { what: "key page", place: format!("{} bytes of id", id.len()) };
    Ok(page.ok_or_else(damaged)?.1.to_vec())
}

impl KeyStore for EmbeddedKeys {
    fn read_page(&self, id: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.database.get(&key(id))?.map(|value| checked(id, &value)).transpose()
    }

    fn write_pages(&self, pages: &[(Vec<u8>, Option<Vec<u8>>)]) -> Result<(), StoreError> {
        let mut writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        if self.stopped.load(Ordering::Acquire) {
            return Err(StoreError::Stopped);
        }
        // Here a full device stops nothing: not a byte was written.
        self.database.make_room()?;
        self.stopped.store(true, Ordering::Release);
        self.write(&mut writes, pages)?;
        self.stopped.store(false, Ordering::Release);
        Ok(())
    }

    fn stage_pages(&self, pages: &[(Vec<u8>, Option<Vec<u8>>)]) -> Result<(), StoreError> {
        let _one_at_a_time = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        if self.stopped.load(Ordering::Acquire) {
            return Err(StoreError::Stopped);
        }
        for part in pages.chunks(BATCH_OPERATIONS_MAX) {
            self.database.make_room()?;
            self.stopped.store(true, Ordering::Release);
            self.database.apply(batch_of(part))?;
            self.stopped.store(false, Ordering::Release);
        }
        Ok(())
    }

    fn scan_pages(&self, prefix: &[u8], after: Option<&[u8]>, count: usize) -> Result<Vec<Page>, StoreError> {
        let after = after.map(key);
        let found = self.database.scan(&key(prefix), after.as_deref(), count)?;
        let page = |(key, value): (Vec<u8>, Vec<u8>)| {
            let id = key.strip_prefix(PAGE).unwrap_or_default();
            checked(id, &value).map(|page| (id.to_vec(), page))
        };
        found.into_iter().map(page).collect()
    }

    fn count_pages(&self, prefix: &[u8]) -> Result<u64, StoreError> {
        let prefix = key(prefix);
        let mut count = 0;
        self.database.for_each(&prefix, |_, _| count += 1)?;
        Ok(count)
    }
}
