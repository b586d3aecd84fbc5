//! Both contracts in memory: for tests of the rooms above, and as the plain model that engines are compared with.

use super::{CommitError, Frame, Head, IndexRecord, KeyStore, LogStore, Page, StoreError, StoredEntry};
use sayso_proof::entry::{self, Handle};
use sayso_proof::merkle::{Hash, node_hash};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A log in memory.
#[derive(Default)]
pub struct MemoryLog {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    closed: bool,
    entries: Vec<StoredEntry>,
    subjects: BTreeMap<(Handle, u64), u64>,
    idempotent: BTreeMap<Hash, (u64, u32)>,
    further: BTreeMap<Vec<u8>, Vec<u8>>,
    keys_of: BTreeMap<u64, Vec<Vec<u8>>>,
}

impl MemoryLog {
    /// Loses every further index record, as a rebuilt index does.
    pub(super) fn forget_further(&self) {
        let mut kept = self.kept();
        kept.further.clear();
        kept.keys_of.clear();
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writable(&self) -> Result<MutexGuard<'_, Kept>, StoreError> {
        let kept = self.kept();
        if kept.closed { Err(StoreError::Stopped) } else { Ok(kept) }
    }
}

impl Kept {
    fn head(&self) -> Head {
        let recorded_at_ms = self.entries.last().map_or(0, |entry| entry.recorded_at_ms);
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
            self.keys_of.insert(position, new.index.iter().map(|(key, _)| key.clone()).collect());
            self.further.extend(new.index.iter().cloned());
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
        let Some(bytes) = entry.bytes.take() else { return Ok(()) };
        for key in self.keys_of.remove(&position).unwrap_or_default() {
            self.further.remove(&key);
        }
        if let Ok(header) = entry::parse_header(&bytes) {
            self.subjects.remove(&(header.handle, header.version));
            if let Some(hash) = header.idempotency {
                self.shrink(&hash, position);
            }
        }
        Ok(())
    }

    /// Leaves of a request, after an entry of it went, what reaches from its first to its last entry that is there.
    fn shrink(&mut self, hash: &Hash, gone: u64) {
        let Some((first, count)) = self.idempotent.get(hash).copied() else { return };
        let positions = first..first.saturating_add(u64::from(count));
        if !positions.contains(&gone) {
            return;
        }
        let stays = |position: &u64| {
            let entry = usize::try_from(*position).ok().and_then(|index| self.entries.get(index));
            let header = entry.and_then(|entry| entry.bytes.as_deref()).map(entry::parse_header);
            matches!(header, Some(Ok(header)) if header.idempotency.as_ref() == Some(hash))
        };
        let left = positions.clone().find(stays).zip(positions.rev().find(stays));
        match left {
            Some((from, to)) => self.idempotent.insert(*hash, span(from, to)),
            None => self.idempotent.remove(hash),
        };
    }
}

impl LogStore for MemoryLog {
    fn head(&self) -> Head {
        self.kept().head()
    }

    fn commit(&self, expected: u64, frames: &[Frame]) -> Result<Head, CommitError> {
        let mut kept = self.writable().map_err(CommitError::Unknown)?;
        let actual = kept.head().size;
        if actual != expected {
            return Err(CommitError::Conflict { expected, actual });
        }
        if frames.iter().any(Vec::is_empty) {
            return Err(CommitError::Rejected(StoreError::OutOfBounds("a frame's size")));
        }
        frames.iter().for_each(|frame| kept.append(frame));
        Ok(kept.head())
    }

    fn read_entry(&self, position: u64) -> Result<StoredEntry, StoreError> {
        let index = usize::try_from(position).unwrap_or(usize::MAX);
        self.kept().entries.get(index).cloned().ok_or(StoreError::Missing("entry"))
    }

    fn read_entries(&self, start: u64, count: usize) -> Result<Vec<StoredEntry>, StoreError> {
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        Ok(self.kept().entries.iter().skip(start).take(count).cloned().collect())
    }

    fn read_subject(&self, handle: Handle, start: u64, count: usize) -> Result<Vec<(u64, u64)>, StoreError> {
        let kept = self.kept();
        let range = kept.subjects.range((handle, start)..=(handle, u64::MAX));
        Ok(range.take(count).map(|((_, version), position)| (*version, *position)).collect())
    }

    fn subject_head(&self, handle: Handle) -> Result<Option<(u64, u64)>, StoreError> {
        let kept = self.kept();
        let last = kept.subjects.range((handle, 0)..=(handle, u64::MAX)).next_back();
        Ok(last.map(|((_, version), position)| (*version, *position)))
    }

    fn find_idempotent(&self, hash: &Hash) -> Result<Option<(u64, u32)>, StoreError> {
        Ok(self.kept().idempotent.get(hash).copied())
    }

    fn read_hashes(&self, level: u8, start: u64, count: usize) -> Result<Vec<Hash>, StoreError> {
        let missing = StoreError::Missing("complete node");
        let kept = self.kept();
        let width = 1_usize.checked_shl(u32::from(level)).ok_or(StoreError::Missing("level"))?;
        let start = usize::try_from(start).unwrap_or(usize::MAX).saturating_mul(width);
        let leaves = kept.entries.get(start..start.saturating_add(count.saturating_mul(width)));
        let leaves: Vec<Hash> = leaves.ok_or(missing)?.iter().map(|entry| entry.leaf_hash).collect();
        Ok(leaves.chunks(width).map(root).collect())
    }

    fn discard(&self, positions: &[u64]) -> Result<(), StoreError> {
        let mut kept = self.writable()?;
        if positions.iter().any(|position| *position >= kept.head().size) {
            return Err(StoreError::Missing("entry"));
        }
        positions.iter().try_for_each(|position| kept.discard(*position))
    }

    fn index_get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.kept().further.get(key).cloned())
    }

    fn index_scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        count: usize,
    ) -> Result<Vec<IndexRecord>, StoreError> {
        Ok(scan(&self.kept().further, prefix, after, count))
    }

    fn unindexed_from(&self) -> Option<u64> {
        None
    }

    fn index_restore(&self, records: &[(u64, Vec<IndexRecord>)], _done_to: u64) -> Result<(), StoreError> {
        let mut kept = self.writable()?;
        for (position, records) in records {
            let entry = usize::try_from(*position).ok().and_then(|index| kept.entries.get(index));
            if entry.ok_or(StoreError::Missing("entry"))?.bytes.is_none() {
                continue;
            }
            kept.keys_of.insert(*position, records.iter().map(|(key, _)| key.clone()).collect());
            kept.further.extend(records.iter().cloned());
        }
        Ok(())
    }

    fn entry_bytes(&self) -> u64 {
        let kept = self.kept();
        kept.entries.iter().filter_map(|entry| entry.bytes.as_ref()).map(|bytes| bytes.len() as u64).sum()
    }

    fn close(&self) -> Result<(), StoreError> {
        self.kept().closed = true;
        Ok(())
    }
}

/// First position and number of positions.
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
        let mut kept = self.pages();
        for (id, page) in pages {
            match page {
                Some(page) => kept.insert(id.clone(), page.clone()),
                None => kept.remove(id),
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
