//! The key store: pages in a file that only grows, kept twice, each write durable in both copies before it returns.
//!
//! Pages can't be rebuilt from anything, so they stand on nothing whose guarantees are not our own: every write and every
//! page has its checksum, what one copy lost the other gives back, and a compaction replaces both, one after the other.

mod batch;
mod compact;
mod copies;

use super::disk;
use super::frame::ALIGN;
use crate::store::{KeyStore, Page, StoreError};
use batch::{Change, Place};
use copies::{Catalogue, NAMES, Title, Walked};
use std::fs::File;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::thread;

/// Room is made ahead in steps of this many bytes.
const STEP: u64 = if cfg!(test) { 4 << 10 } else { 1 << 20 };
/// Bytes beyond twice what counts at which the copies are written anew.
const SLACK: u64 = if cfg!(test) { 16 << 10 } else { 16 << 20 };
/// Changes in one batch: what is written at once stays whole or not at all.
const STAGED_MAX: usize = 128;

/// The embedded key store.
pub struct EmbeddedKeys {
    dir: PathBuf,
    shelf: RwLock<Shelf>,
    /// One write at a time.
    tail: Mutex<Tail>,
    /// The number of batches that had been durable, beside the copies: a store that came back with fewer has lost some.
    /// Written after each write, not synced, so it may be behind, never ahead.
    witness: Option<File>,
    /// Set while a write is under way and left so if it fails: what became of it is unknown.
    stopped: AtomicBool,
    /// What was found at open.
    found: Found,
    /// Held for as long as the folder is ours.
    _lock: Option<File>,
}

/// What readers need.
struct Shelf {
    files: Vec<File>,
    catalogue: Catalogue,
}

/// What whoever writes owns.
struct Tail {
    title: Title,
    /// Where the next batch goes.
    at: u64,
    /// Its number.
    number: u64,
    /// Batches before this number are durable.
    synced: u64,
    /// Bytes that there is room for, in each copy.
    reserved: Vec<u64>,
    /// Bytes of the records that count.
    live: u64,
}

/// What opening found of the copies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Ranges that one copy lacked, and that the other had: which copy (1, 2), offset, bytes.
    pub mended: Vec<(usize, u64, u64)>,
    /// A copy (1, 2) that was missing or not of this store.
    pub missing: Option<usize>,
    /// A torn write lay behind the end; nothing of it had been acknowledged.
    pub torn: bool,
}

/// The copies as they lie in the folder.
struct Opened {
    files: Vec<File>,
    titles: Vec<Option<Title>>,
    /// The title that counts; none in a folder without any key store.
    title: Option<Title>,
}

impl EmbeddedKeys {
    /// Opens or makes the key store. What one copy lost is given back from the other, with a line in the log.
    ///
    /// # Errors
    /// [`StoreError::Busy`] where another daemon has it open, [`StoreError::Damaged`] where something is whole in neither
    /// copy or writes are missing, or whatever the system refuses. Then nothing was changed.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        disk::make_dir(dir)?;
        let lock = disk::lock(dir)?;
        let files = NAMES.iter().map(|name| disk::open(&dir.join(name))).collect::<Result<_, _>>()?;
        let opened = Opened::look(files)?;
        let Some(title) = opened.title else { return Self::begin(dir, opened.files, lock) };
        let (walked, mut found) = opened.walk(title)?;
        let witness = disk::open(&dir.join("writes"))?;
        check_witness(&witness, walked.number)?;
        compact::clear(dir)?;
        opened.mend(title, &walked, &found)?;
        if let Some(copy) = found.missing {
            tracing::warn!(copy, "a copy of the key pages was missing and was made again from the other");
        } else if !found.mended.is_empty() {
            let ranges = found.mended.len();
            tracing::warn!(ranges, "a copy of the key pages was damaged and was mended from the other");
        }
        found.mended.truncate(RANGES_MAX);
        disk::reserve(&witness, disk::length(&witness)?, WITNESS_BYTES as u64, 1)?;
        Self::of(dir, opened.files, title, walked, Some(witness), found, Some(lock))
    }

    /// Looks at the key store, and changes nothing: no write is taken, nothing is mended.
    ///
    /// # Errors
    /// As for [`EmbeddedKeys::open`]; [`StoreError::Missing`] where there is none.
    pub fn look(dir: &Path) -> Result<Self, StoreError> {
        let there: Vec<PathBuf> =
            NAMES.iter().map(|name| dir.join(name)).filter(|path| path.exists()).collect();
        let lost = NAMES.iter().position(|name| !dir.join(name).exists());
        let open = |path: &PathBuf| File::open(path).map_err(disk::io("opening a copy of the key pages"));
        let opened = Opened::look(there.iter().map(open).collect::<Result<_, _>>()?)?;
        let title = opened.title.ok_or(StoreError::Missing("key store"))?;
        let (walked, mut found) = opened.walk(title)?;
        if let Some(lost) = lost {
            found.missing = lost.checked_add(1);
        }
        if let Ok(witness) = File::open(dir.join("writes")) {
            check_witness(&witness, walked.number)?;
        }
        let keys = Self::of(dir, opened.files, title, walked, None, found, None)?;
        keys.stopped.store(true, Ordering::Release);
        Ok(keys)
    }

    /// What opening found.
    #[must_use]
    pub fn found(&self) -> &Found {
        &self.found
    }

    /// A store without pages.
    fn begin(dir: &Path, files: Vec<File>, lock: File) -> Result<Self, StoreError> {
        let witness = disk::open(&dir.join("writes"))?;
        check_witness(&witness, 0)?;
        for file in &files {
            disk::write(file, 0, &Title::default().encode())?;
            disk::sync(file)?;
        }
        disk::reserve(&witness, disk::length(&witness)?, WITNESS_BYTES as u64, 1)?;
        let walked = Walked { at: ALIGN as u64, ..Walked::default() };
        Self::of(dir, files, Title::default(), walked, Some(witness), Found::default(), Some(lock))
    }

    fn of(
        dir: &Path,
        files: Vec<File>,
        title: Title,
        walked: Walked,
        witness: Option<File>,
        found: Found,
        lock: Option<File>,
    ) -> Result<Self, StoreError> {
        let reserved = files.iter().map(disk::length).collect::<Result<_, _>>()?;
        let Walked { catalogue, at, number, live, .. } = walked;
        Ok(Self {
            dir: dir.to_owned(),
            shelf: RwLock::new(Shelf { files, catalogue }),
            tail: Mutex::new(Tail { title, at, number, synced: number, reserved, live }),
            witness,
            stopped: AtomicBool::new(false),
            found,
            _lock: lock,
        })
    }

    fn shelf(&self) -> RwLockReadGuard<'_, Shelf> {
        self.shelf.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a batch to both copies. Not durable yet.
    fn append(&self, tail: &mut Tail, changes: &[Change]) -> Result<(), StoreError> {
        let too_large = || StoreError::OutOfBounds("a write of key pages");
        let bytes = batch::encode(tail.number, tail.synced, changes).ok_or_else(too_large)?;
        let batch = batch::parse(&bytes, tail.at).ok_or_else(too_large)?;
        let end = tail.at.saturating_add(bytes.len() as u64);
        {
            // Here a full device stops nothing: not a byte was written.
            let shelf = self.shelf();
            for (file, reserved) in shelf.files.iter().zip(&mut tail.reserved) {
                *reserved = disk::reserve(file, *reserved, end, STEP)?;
            }
            self.stopped.store(true, Ordering::Release);
            shelf.files.iter().try_for_each(|file| disk::write(file, tail.at, &bytes))?;
        }
        let mut shelf = self.shelf.write().unwrap_or_else(PoisonError::into_inner);
        for (id, place) in batch.records {
            let before = match place {
                Some(place) => shelf.catalogue.insert(id, place),
                None => shelf.catalogue.remove(&id),
            };
            let now = place.map_or(0, |place| u64::from(place.length));
            let before = before.map_or(0, |place| u64::from(place.length));
            tail.live = tail.live.saturating_add(now).saturating_sub(before);
        }
        tail.at = end;
        tail.number = tail.number.saturating_add(1);
        Ok(())
    }

    /// Makes everything appended durable in both copies.
    fn sync(&self, tail: &mut Tail) -> Result<(), StoreError> {
        sync_all(&self.shelf().files)?;
        tail.synced = tail.number;
        let witness = self.witness.as_ref();
        witness.map_or(Ok(()), |witness| disk::write(witness, 0, &encode_witness(tail.number)))
    }

    /// The page at a place, from whichever copy has it whole.
    fn page(&self, shelf: &Shelf, id: &[u8], place: Place) -> Result<Vec<u8>, StoreError> {
        let mut failed = None;
        for (file, copy) in shelf.files.iter().zip(1_u32..) {
            match disk::read(file, place.at, place.length as usize) {
                Ok(bytes) => match batch::page_of(&bytes, id) {
                    Some(page) => return Ok(page.to_vec()),
                    None => {
                        tracing::error!(copy, "a key page is damaged in one copy; the next start mends it")
                    }
                },
                Err(error) => failed = Some(error),
            }
        }
        // Which one it is is not said: ids may stand for people.
        let place = format!("offset {} of both copies", place.at);
        Err(failed.unwrap_or(StoreError::Damaged { what: "key page", place }))
    }
}

/// Ranges that are told one by one.
const RANGES_MAX: usize = 1_024;

impl Opened {
    fn look(files: Vec<File>) -> Result<Self, StoreError> {
        let titles = files.iter().map(Title::read).collect::<Result<Vec<_>, _>>()?;
        let title = titles.iter().flatten().max().copied();
        if title.is_none() {
            for file in &files {
                // Nothing but zeros: a crash while the store was made.
                if !super::segment::is_zero_from(file, 0)? {
                    return Err(StoreError::Damaged {
                        what: "key store",
                        place: "titles of both copies".into(),
                    });
                }
            }
        }
        Ok(Self { files, titles, title })
    }

    /// The copies that are of this title, walked; the other, if any, is missing.
    fn walk(&self, title: Title) -> Result<(Walked, Found), StoreError> {
        let same: Vec<usize> =
            self.titles.iter().zip(0..).filter(|(each, _)| **each == Some(title)).map(|(_, at)| at).collect();
        let files: Vec<&File> = same.iter().filter_map(|at| self.files.get(*at)).collect();
        let mut walked = copies::walk(&files, title)?;
        walked.mends.iter_mut().for_each(|mend| mend.file = same.get(mend.file).copied().unwrap_or_default());
        let missing = (0..self.files.len()).find(|at| !same.contains(at));
        let mended =
            walked.mends.iter().map(|mend| (mend.file.saturating_add(1), mend.at, mend.length)).collect();
        let found = Found { mended, missing: missing.map(|at| at.saturating_add(1)), torn: walked.torn };
        Ok((walked, found))
    }

    /// Gives each copy what only the other has, cuts off what lies behind the end, and makes both durable: what is shown
    /// from now on will be there.
    fn mend(&self, title: Title, walked: &Walked, found: &Found) -> Result<(), StoreError> {
        for mend in &walked.mends {
            let whole = self.files.iter().zip(0..).find(|(_, at)| *at != mend.file);
            if let (Some((whole, _)), Some(broken)) = (whole, self.files.get(mend.file)) {
                copy_range(whole, broken, mend.at, mend.length)?;
            }
        }
        let missing = found.missing.and_then(|copy| self.files.get(copy.checked_sub(1)?));
        if let Some(missing) = missing {
            let whole = self.titles.iter().zip(&self.files).find(|(each, _)| **each == Some(title));
            let (_, whole) = whole.ok_or(StoreError::Missing("copy of the key pages"))?;
            missing.set_len(0).map_err(disk::io("clearing a copy of the key pages"))?;
            disk::write(missing, 0, &title.encode())?;
            copy_range(whole, missing, ALIGN as u64, walked.at.saturating_sub(ALIGN as u64))?;
        }
        for file in &self.files {
            if walked.torn {
                file.set_len(walked.at).map_err(disk::io("cutting a torn write off"))?;
            }
            file.sync_all().map_err(disk::io("syncing a copy of the key pages"))?;
        }
        Ok(())
    }
}

/// All of them at once: a device does two flushes in little more than the time of one.
fn sync_all(files: &[File]) -> Result<(), StoreError> {
    let Some((own, others)) = files.split_first() else { return Ok(()) };
    thread::scope(|scope| {
        let begin = |file| (file, thread::Builder::new().spawn_scoped(scope, move || disk::sync(file)));
        let others: Vec<_> = others.iter().map(begin).collect();
        let mut synced = disk::sync(own);
        for (file, begun) in others {
            // Without a thread, one after the other.
            let other = match begun {
                Ok(begun) => begun.join().unwrap_or(Err(StoreError::Stopped)),
                Err(_) => disk::sync(file),
            };
            synced = synced.and(other);
        }
        synced
    })
}

fn copy_range(from: &File, to: &File, mut at: u64, length: u64) -> Result<(), StoreError> {
    const PIECE: u64 = 1 << 20;
    let end = at.saturating_add(length);
    while at < end {
        let count = usize::try_from(PIECE.min(end.saturating_sub(at))).unwrap_or(0);
        let bytes = disk::read(from, at, count)?;
        disk::write(to, at, &bytes)?;
        at = at.saturating_add(count as u64);
    }
    Ok(())
}

const WITNESS_BYTES: usize = 12;

fn encode_witness(writes: u64) -> Vec<u8> {
    let number = writes.to_be_bytes();
    [number.as_slice(), &crc32fast::hash(&number).to_be_bytes()].concat()
}

/// # Errors
/// More batches had been durable. A witness that is not whole says nothing.
fn check_witness(witness: &File, number: u64) -> Result<(), StoreError> {
    let bytes = disk::read(witness, 0, WITNESS_BYTES)?;
    let witnessed = bytes.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    if encode_witness(witnessed) == bytes && number < witnessed {
        let place = format!("write {number} of {witnessed}");
        return Err(StoreError::Damaged { what: "key store", place });
    }
    Ok(())
}

impl KeyStore for EmbeddedKeys {
    fn read_page(&self, id: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let shelf = self.shelf();
        shelf.catalogue.get(id).map(|place| self.page(&shelf, id, *place)).transpose()
    }

    fn write_pages(&self, pages: &[Change]) -> Result<(), StoreError> {
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        if self.stopped.load(Ordering::Acquire) {
            return Err(StoreError::Stopped);
        }
        self.append(&mut tail, pages)?;
        self.sync(&mut tail)?;
        self.stopped.store(false, Ordering::Release);
        self.compact_if_due(&mut tail)
    }

    fn stage_pages(&self, pages: &[Change]) -> Result<(), StoreError> {
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        if self.stopped.load(Ordering::Acquire) {
            return Err(StoreError::Stopped);
        }
        for part in pages.chunks(STAGED_MAX) {
            self.append(&mut tail, part)?;
            self.stopped.store(false, Ordering::Release);
        }
        Ok(())
    }

    fn scan_pages(&self, prefix: &[u8], after: Option<&[u8]>, count: usize) -> Result<Vec<Page>, StoreError> {
        let shelf = self.shelf();
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let found = shelf.catalogue.range::<[u8], _>((start, Bound::Unbounded));
        let found = found.take_while(|(id, _)| id.starts_with(prefix)).take(count);
        found.map(|(id, place)| Ok((id.clone(), self.page(&shelf, id, *place)?))).collect()
    }

    fn count_pages(&self, prefix: &[u8]) -> Result<u64, StoreError> {
        let shelf = self.shelf();
        let found = shelf.catalogue.range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded));
        Ok(found.take_while(|(id, _)| id.starts_with(prefix)).count() as u64)
    }

    fn takes_writes(&self) -> bool {
        // A write that is under way has its turn; what came of it is known when it ends.
        self.tail.try_lock().is_err() || !self.stopped.load(Ordering::Acquire)
    }
}
