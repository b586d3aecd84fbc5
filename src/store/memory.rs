//! A log and a key store in memory: they implement the contracts [`LogStore`] and [`KeyStore`].
//!
//! Tests use this log and key store as simple stores, and as the model that other engines are compared with.

use super::{
    CommitError, Frame, Head, IndexRecord, KeyStore, LogStore, PROGRESS_BYTES_MAX, Page, StoreError,
    StoredEntry,
};
use sayso_proof::entry::{self, Handle};
use sayso_proof::merkle::{Hash, node_hash};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A log in memory.
#[derive(Default)]
pub struct MemoryLog {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    closed: bool,
    entries: Vec<StoredEntry>,
    subjects: BTreeMap<(Handle, u64), u64>,
    idempotent: BTreeMap<Hash, (u64, u32)>,
    custom: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The keys of an entry's custom index records, by position.
    custom_keys: BTreeMap<u64, Vec<Vec<u8>>>,
    progress: Option<Vec<u8>>,
}

impl MemoryLog {
    /// Loses every custom index record, as rebuilding an index does.
    pub(super) fn lose_custom_records(&self) {
        let mut state = self.state();
        state.custom.clear();
        state.custom_keys.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writable(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self.state();
        if state.closed { Err(StoreError::Stopped) } else { Ok(state) }
    }
}

impl State {
    fn head(&self) -> Head {
        // Discarded entries have no time.
        let is_present = |entry: &&StoredEntry| entry.bytes.is_some();
        let recorded_at_ms =
            self.entries.iter().rev().find(is_present).map_or(0, |entry| entry.recorded_at_ms);
        Head { size: self.entries.len() as u64, recorded_at_ms }
    }

    fn append(&mut self, frame: &Frame) {
        let mut requests: BTreeMap<Hash, u64> = BTreeMap::new();
        for new in frame {
            let position = self.entries.len() as u64;
            self.subjects.insert((new.handle, new.version), position);
            if let Some(hash) = new.idempotency {
                let first = *requests.entry(hash).or_insert(position);
                self.idempotent.insert(hash, span(first, position));
            }
            self.custom_keys.insert(position, new.index.iter().map(|(key, _)| key.clone()).collect());
            self.custom.extend(new.index.iter().cloned());
            self.entries.push(StoredEntry {
                position,
                recorded_at_ms: new.recorded_at_ms,
                leaf_hash: new.leaf_hash,
                bytes: Some(new.bytes.clone()),
            });
        }
    }

    fn discard(&mut self, position: u64) -> Result<(), StoreError> {
        let index = usize::try_from(position).unwrap_or(usize::MAX);
        let entry = self.entries.get_mut(index).ok_or(StoreError::Missing("entry"))?;
        entry.recorded_at_ms = 0;
        let Some(bytes) = entry.bytes.take() else { return Ok(()) };
        for key in self.custom_keys.remove(&position).unwrap_or_default() {
            self.custom.remove(&key);
        }
        if let Ok(header) = entry::parse_header(&bytes) {
            self.subjects.remove(&(header.handle, header.version));
            if let Some(hash) = header.idempotency {
                self.shrink(&hash, position);
            }
        }
        Ok(())
    }

    /// Narrows a request that lost an entry to the span from its first to its last remaining entry.
    fn shrink(&mut self, hash: &Hash, discarded: u64) {
        let Some((first, count)) = self.idempotent.get(hash).copied() else { return };
        let positions = first..first.saturating_add(u64::from(count));
        if !positions.contains(&discarded) {
            return;
        }
        let is_left = |position: &u64| {
            let entry = usize::try_from(*position).ok().and_then(|index| self.entries.get(index));
            let header = entry.and_then(|entry| entry.bytes.as_deref()).map(entry::parse_header);
            matches!(header, Some(Ok(header)) if header.idempotency.as_ref() == Some(hash))
        };
        let left = positions.clone().find(is_left).zip(positions.rev().find(is_left));
        match left {
            Some((from, to)) => self.idempotent.insert(*hash, span(from, to)),
            None => self.idempotent.remove(hash),
        };
    }
}

impl LogStore for MemoryLog {
    fn head(&self) -> Head {
        self.state().head()
    }

    fn commit(&self, expected: u64, frames: &[Frame]) -> Result<Head, CommitError> {
        let mut state = self.writable().map_err(CommitError::Unknown)?;
        let actual = state.head().size;
        if actual != expected {
            return Err(CommitError::Conflict { expected, actual });
        }
        if frames.iter().any(Vec::is_empty) {
            return Err(CommitError::Rejected(StoreError::LimitExceeded("a frame needs at least 1 entry")));
        }
        frames.iter().for_each(|frame| state.append(frame));
        Ok(state.head())
    }

    fn read_entry(&self, position: u64) -> Result<StoredEntry, StoreError> {
        let index = usize::try_from(position).unwrap_or(usize::MAX);
        self.state().entries.get(index).cloned().ok_or(StoreError::Missing("entry"))
    }

    fn read_entries(&self, start: u64, count: usize) -> Result<Vec<StoredEntry>, StoreError> {
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        Ok(self.state().entries.iter().skip(start).take(count).cloned().collect())
    }

    fn read_subject(&self, handle: Handle, start: u64, count: usize) -> Result<Vec<(u64, u64)>, StoreError> {
        let state = self.state();
        let range = state.subjects.range((handle, start)..=(handle, u64::MAX));
        Ok(range.take(count).map(|((_, version), position)| (*version, *position)).collect())
    }

    fn subject_head(&self, handle: Handle) -> Result<Option<(u64, u64)>, StoreError> {
        let state = self.state();
        let last = state.subjects.range((handle, 0)..=(handle, u64::MAX)).next_back();
        Ok(last.map(|((_, version), position)| (*version, *position)))
    }

    fn find_idempotent(&self, hash: &Hash) -> Result<Option<(u64, u32)>, StoreError> {
        Ok(self.state().idempotent.get(hash).copied())
    }

    fn read_hashes(&self, level: u8, start: u64, count: usize) -> Result<Vec<Hash>, StoreError> {
        let missing = StoreError::Missing("complete node");
        let state = self.state();
        let width = 1_usize.checked_shl(u32::from(level)).ok_or(StoreError::Missing("level"))?;
        let start = usize::try_from(start).unwrap_or(usize::MAX).saturating_mul(width);
        let leaves = state.entries.get(start..start.saturating_add(count.saturating_mul(width)));
        let leaves: Vec<Hash> = leaves.ok_or(missing)?.iter().map(|entry| entry.leaf_hash).collect();
        Ok(leaves.chunks(width).map(root).collect())
    }

    fn discard(&self, positions: &[u64]) -> Result<(), StoreError> {
        let mut state = self.writable()?;
        if positions.iter().any(|position| *position >= state.head().size) {
            return Err(StoreError::Missing("entry"));
        }
        positions.iter().try_for_each(|position| state.discard(*position))
    }

    fn index_get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.state().custom.get(key).cloned())
    }

    fn index_scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        count: usize,
    ) -> Result<Vec<IndexRecord>, StoreError> {
        Ok(scan(&self.state().custom, prefix, after, count))
    }

    fn unindexed_from(&self) -> Option<u64> {
        None
    }

    fn index_restore(&self, records: &[(u64, Vec<IndexRecord>)], _done_to: u64) -> Result<(), StoreError> {
        let mut state = self.writable()?;
        for (position, records) in records {
            let entry = usize::try_from(*position).ok().and_then(|index| state.entries.get(index));
            if entry.ok_or(StoreError::Missing("entry"))?.bytes.is_none() {
                continue;
            }
            let keys = state.custom_keys.entry(*position).or_default();
            keys.extend(records.iter().map(|(key, _)| key.clone()));
            state.custom.extend(records.iter().cloned());
        }
        Ok(())
    }

    fn read_progress(&self) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.state().progress.clone())
    }

    fn write_progress(&self, progress: &[u8]) -> Result<(), StoreError> {
        if progress.len() > PROGRESS_BYTES_MAX {
            return Err(StoreError::LimitExceeded("progress has at most 4,000 bytes"));
        }
        self.writable()?.progress = Some(progress.to_vec());
        Ok(())
    }

    fn entry_bytes(&self) -> u64 {
        let state = self.state();
        state.entries.iter().filter_map(|entry| entry.bytes.as_ref()).map(|bytes| bytes.len() as u64).sum()
    }

    fn close(&self) -> Result<(), StoreError> {
        self.state().closed = true;
        Ok(())
    }
}

/// The first position, and the number of positions up to the last.
fn span(first: u64, last: u64) -> (u64, u32) {
    (first, u32::try_from(last.saturating_sub(first).saturating_add(1)).unwrap_or(u32::MAX))
}

/// Root of a complete subtree.
fn root(leaves: &[Hash]) -> Hash {
    let mut row = leaves.to_vec();
    while row.len() > 1 {
        row = row.as_chunks::<2>().0.iter().map(|[left, right]| node_hash(left, right)).collect();
    }
    row.first().copied().unwrap_or_default()
}

fn scan(
    records: &BTreeMap<Vec<u8>, Vec<u8>>,
    prefix: &[u8],
    after: Option<&[u8]>,
    count: usize,
) -> Vec<IndexRecord> {
    let start = after.map_or_else(Vec::new, |after| [after, &[0]].concat()).max(prefix.to_vec());
    let found = records.range(start..).take_while(|(key, _)| key.starts_with(prefix));
    found.take(count).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// A key store in memory.
#[derive(Default)]
pub struct MemoryKeys {
    pages: Mutex<BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl MemoryKeys {
    fn pages(&self) -> MutexGuard<'_, BTreeMap<Vec<u8>, Vec<u8>>> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeyStore for MemoryKeys {
    fn read_page(&self, id: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.pages().get(id).cloned())
    }

    fn write_pages(&self, pages: &[(Vec<u8>, Option<Vec<u8>>)]) -> Result<(), StoreError> {
        let mut stored = self.pages();
        for (id, page) in pages {
            match page {
                Some(page) => stored.insert(id.clone(), page.clone()),
                None => stored.remove(id),
            };
        }
        Ok(())
    }

    fn stage_pages(&self, pages: &[(Vec<u8>, Option<Vec<u8>>)]) -> Result<(), StoreError> {
        self.write_pages(pages)
    }

    fn scan_pages(&self, prefix: &[u8], after: Option<&[u8]>, count: usize) -> Result<Vec<Page>, StoreError> {
        Ok(scan(&self.pages(), prefix, after, count))
    }

    fn count_pages(&self, prefix: &[u8]) -> Result<u64, StoreError> {
        Ok(self.pages().keys().filter(|id| id.starts_with(prefix)).count() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract::{self, Opened};
    use std::sync::Arc;

    contract::log_suite!(|| Opened { engine: Arc::new(MemoryLog::default()), _folder: None });
    contract::keys_suite!(|| Opened { engine: Arc::new(MemoryKeys::default()), _folder: None });
}
