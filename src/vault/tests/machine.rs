//! A simulated machine with a key store and a keeper of root keys. It loses power at the n-th durable step (a
//! step that makes a change durable).

use crate::clock::Clock;
use crate::store::memory::MemoryKeys;
use crate::store::{KeyStore, Page, StoreError};
use crate::vault::custody::{CustodyError, KeyEpoch};
use crate::vault::{MemoryCustody, RootCustody};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use zeroize::Zeroizing;

/// Repeatable randomness from a seed. Its time never changes.
pub struct Seeded(Mutex<u64>);

impl Seeded {
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }

    /// SplitMix64.
    pub fn next(&self) -> u64 {
        let mut state = self.0.lock().unwrap();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&self, end: u64) -> u64 {
        self.next() % end
    }
}

impl Clock for Seeded {
    fn now_ms(&self) -> u64 {
        1_000
    }

    fn fill(&self, bytes: &mut [u8]) {
        for part in bytes.chunks_mut(8) {
            part.copy_from_slice(&self.next().to_be_bytes()[..part.len()]);
        }
    }
}

type Writes = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// The machine: its disk, its root keys, and the step at which it loses power.
pub struct Machine {
    /// Pages on the disk.
    durable: MemoryKeys,
    /// Pages as reads see them; some are not on the disk yet.
    visible: MemoryKeys,
    staged: Mutex<Writes>,
    roots: MemoryCustody,
    /// Durable steps until the power fails.
    fuse: AtomicU64,
    is_off: AtomicBool,
    dice: Seeded,
}

fn off() -> StoreError {
    StoreError::Io { doing: "writing", source: std::io::Error::other("the power is off") }
}

impl Machine {
    pub fn new(seed: u64) -> Self {
        Self {
            durable: MemoryKeys::default(),
            visible: MemoryKeys::default(),
            staged: Mutex::default(),
            roots: MemoryCustody::default(),
            fuse: AtomicU64::new(u64::MAX),
            is_off: AtomicBool::new(false),
            dice: Seeded::new(seed),
        }
    }

    /// Sets the power to fail after this many more durable steps.
    pub fn fail_after(&self, steps: u64) {
        self.fuse.store(steps, Ordering::SeqCst);
    }

    pub fn is_off(&self) -> bool {
        self.is_off.load(Ordering::SeqCst)
    }

    /// Restores the power. Of the pages that were not durable, only the first ones written survive. How many
    /// survive is random.
    pub fn power_on(&self) {
        let staged = std::mem::take(&mut *self.staged.lock().unwrap());
        let kept = self.dice.below(staged.len() as u64 + 1) as usize;
        self.durable.write_pages(&staged[..kept]).unwrap();
        let everything = |keys: &MemoryKeys| keys.scan_pages(&[], None, usize::MAX).unwrap();
        let removed: Writes = everything(&self.visible).into_iter().map(|(id, _)| (id, None)).collect();
        self.visible.write_pages(&removed).unwrap();
        let restored: Writes =
            everything(&self.durable).into_iter().map(|(id, page)| (id, Some(page))).collect();
        self.visible.write_pages(&restored).unwrap();
        self.fuse.store(u64::MAX, Ordering::SeqCst);
        self.is_off.store(false, Ordering::SeqCst);
    }

    /// Takes a durable step. The first result says whether the step takes effect. The second says whether the
    /// machine still has power afterward, so that it can report success.
    fn step(&self) -> (bool, bool) {
        if self.is_off() {
            return (false, false);
        }
        let left = self.fuse.load(Ordering::SeqCst);
        if left > 0 {
            self.fuse.store(left.saturating_sub(1), Ordering::SeqCst);
            return (true, true);
        }
        self.is_off.store(true, Ordering::SeqCst);
        (self.dice.below(2) == 0, false)
    }

    fn root_step<T>(&self, work: impl FnOnce() -> Result<T, CustodyError>) -> Result<T, CustodyError> {
        let (is_done, has_power) = self.step();
        let done = if is_done { Some(work()?) } else { None };
        done.filter(|_| has_power).ok_or_else(|| std::io::Error::other("the power is off").into())
    }
}

impl KeyStore for Machine {
    fn read_page(&self, id: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        if self.is_off() { Err(off()) } else { self.visible.read_page(id) }
    }

    fn write_pages(&self, pages: &[(Vec<u8>, Option<Vec<u8>>)]) -> Result<(), StoreError> {
        let (is_done, has_power) = self.step();
        if is_done {
            self.durable.write_pages(&std::mem::take(&mut *self.staged.lock().unwrap()))?;
            self.durable.write_pages(pages)?;
            self.visible.write_pages(pages)?;
        }
        if has_power { Ok(()) } else { Err(off()) }
    }

    fn stage_pages(&self, pages: &[(Vec<u8>, Option<Vec<u8>>)]) -> Result<(), StoreError> {
        let (is_done, has_power) = self.step();
        if is_done {
            self.staged.lock().unwrap().extend_from_slice(pages);
            self.visible.write_pages(pages)?;
        }
        if has_power { Ok(()) } else { Err(off()) }
    }

    fn scan_pages(&self, prefix: &[u8], after: Option<&[u8]>, count: usize) -> Result<Vec<Page>, StoreError> {
        if self.is_off() { Err(off()) } else { self.visible.scan_pages(prefix, after, count) }
    }

    fn count_pages(&self, prefix: &[u8]) -> Result<u64, StoreError> {
        self.visible.count_pages(prefix)
    }
}

impl RootCustody for Machine {
    fn key_epochs(&self) -> Result<Vec<KeyEpoch>, CustodyError> {
        self.roots.key_epochs()
    }

    fn make(&self, epoch: KeyEpoch, clock: &dyn Clock) -> Result<(), CustodyError> {
        self.root_step(|| self.roots.make(epoch, clock))
    }

    fn wrap(&self, epoch: KeyEpoch, key: &[u8; 32], clock: &dyn Clock) -> Result<Vec<u8>, CustodyError> {
        self.roots.wrap(epoch, key, clock)
    }

    fn unwrap(&self, epoch: KeyEpoch, wrapped: &[u8]) -> Result<Zeroizing<[u8; 32]>, CustodyError> {
        self.roots.unwrap(epoch, wrapped)
    }

    fn destroy(&self, epoch: KeyEpoch) -> Result<(), CustodyError> {
        self.root_step(|| self.roots.destroy(epoch))
    }
}
