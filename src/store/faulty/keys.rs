//! A key store on a simulated disk that fails as a test plans it.

use super::power::{Fault, Power, failed};
use crate::store::memory::MemoryKeys;
use crate::store::{KeyStore, Page, StoreError};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

type Writes = [(Vec<u8>, Option<Vec<u8>>)];
type Write = (Vec<u8>, Option<Vec<u8>>);

/// Bytes of the checksum that is stored before a page.
const CHECKSUM_BYTES: usize = 4;

/// A key store on a simulated disk. A checksum is stored before each page.
pub struct FaultyKeys {
    power: Arc<Power>,
    disk: Arc<MemoryKeys>,
    /// What readers see: the disk and the staged changes.
    visible: MemoryKeys,
    staged: Mutex<Vec<Write>>,
    stopped: AtomicBool,
}

impl FaultyKeys {
    /// An empty key store on this machine.
    #[must_use]
    pub fn new(power: Arc<Power>) -> Self {
        let (disk, visible) = (Arc::default(), MemoryKeys::default());
        Self { power, disk, visible, staged: Mutex::default(), stopped: AtomicBool::new(false) }
    }

    /// Returns the store as the next process finds it, with any part of the staged changes. The old store
    /// takes no more writes.
    ///
    /// # Errors
    /// The simulated disk can't be written, which does not happen.
    pub fn restart(&self) -> Result<Self, StoreError> {
        self.stopped.store(true, Ordering::SeqCst);
        for write in std::mem::take(&mut *self.staged.lock().unwrap_or_else(PoisonError::into_inner)) {
            if self.power.below(2) == 0 {
                self.disk.write_pages(&[write])?;
            }
        }
        let visible = MemoryKeys::default();
        let pages = self.disk.scan_pages(&[], None, usize::MAX)?;
        visible.write_pages(&pages.into_iter().map(|(id, page)| (id, Some(page))).collect::<Vec<_>>())?;
        Ok(Self {
            power: Arc::clone(&self.power),
            disk: Arc::clone(&self.disk),
            visible,
            staged: Mutex::default(),
            stopped: AtomicBool::new(false),
        })
    }

    /// Flips one bit of a stored page.
    ///
    /// # Errors
    /// [`StoreError::Missing`] if there is no such page.
    pub fn rot(&self, id: &[u8], bit: u64) -> Result<(), StoreError> {
        let mut page = self.visible.read_page(id)?.ok_or(StoreError::Missing("page"))?;
        let bit = bit.checked_rem((page.len() as u64).saturating_mul(8)).unwrap_or_default();
        if let Some(byte) = usize::try_from(bit / 8).ok().and_then(|index| page.get_mut(index)) {
            *byte ^= 1 << (bit % 8);
        }
        let page = [(id.to_vec(), Some(page))];
        self.disk.write_pages(&page)?;
        self.visible.write_pages(&page)
    }

    fn step(&self) -> Result<Option<Fault>, StoreError> {
        if self.stopped.load(Ordering::SeqCst) {
            return Err(StoreError::Stopped);
        }
        let fault = self.power.step()?;
        if fault == Some(Fault::Full) {
            return Err(StoreError::Full);
        }
        self.stopped.store(fault.is_some(), Ordering::SeqCst);
        Ok(fault)
    }

    fn is_written(&self, fault: Option<Fault>) -> bool {
        match fault {
            None | Some(Fault::Persisted) => true,
            Some(Fault::Lost | Fault::Full) => false,
            Some(Fault::Crash | Fault::Flush) => self.power.below(2) == 0,
        }
    }
}

fn with_checksums(pages: &Writes) -> Vec<Write> {
    let with_checksum = |page: &Vec<u8>| [crc32fast::hash(page).to_be_bytes().as_slice(), page].concat();
    pages.iter().map(|(id, page)| (id.clone(), page.as_ref().map(with_checksum))).collect()
}

fn without_checksum(page: &[u8]) -> Result<Vec<u8>, StoreError> {
    let damaged = || StoreError::Damaged { what: "key page", place: "its checksum".into() };
    let (checksum, page) = page.split_first_chunk::<CHECKSUM_BYTES>().ok_or_else(damaged)?;
    if crc32fast::hash(page).to_be_bytes() == *checksum { Ok(page.to_vec()) } else { Err(damaged()) }
}

impl KeyStore for FaultyKeys {
    fn read_page(&self, id: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.visible.read_page(id)?.as_deref().map(without_checksum).transpose()
    }

    fn write_pages(&self, pages: &Writes) -> Result<(), StoreError> {
        let (fault, pages) = (self.step()?, with_checksums(pages));
        if self.is_written(fault) {
            let staged = std::mem::take(&mut *self.staged.lock().unwrap_or_else(PoisonError::into_inner));
            self.disk.write_pages(&staged)?;
            self.disk.write_pages(&pages)?;
            self.visible.write_pages(&pages)?;
        }
        if fault.is_none() { Ok(()) } else { Err(failed()) }
    }

    fn stage_pages(&self, pages: &Writes) -> Result<(), StoreError> {
        let (fault, pages) = (self.step()?, with_checksums(pages));
        if self.is_written(fault) {
            self.visible.write_pages(&pages)?;
            self.staged.lock().unwrap_or_else(PoisonError::into_inner).extend(pages);
        }
        if fault.is_none() { Ok(()) } else { Err(failed()) }
    }

    fn scan_pages(&self, prefix: &[u8], after: Option<&[u8]>, count: usize) -> Result<Vec<Page>, StoreError> {
        let pages = self.visible.scan_pages(prefix, after, count)?;
        pages.into_iter().map(|(id, page)| without_checksum(&page).map(|page| (id, page))).collect()
    }

    fn count_pages(&self, prefix: &[u8]) -> Result<u64, StoreError> {
        self.visible.count_pages(prefix)
    }
}
