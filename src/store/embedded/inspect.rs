//! Looking at a log's folder without changing a byte of it: what is there, what is damaged, what can be rebuilt.
//!
//! Opening stops at the first damage; this goes on behind it. Segments are walked frame by frame, and where one is broken,
//! record by record, up to the next whole frame. sled can't open anything without writing, so a copy of the index is
//! looked at.

use super::disk;
use super::flat::{Locations, Tree};
use super::frame::{self, ALIGN, FrameHeader, Parsed, RecordHeader, State};
use super::index::Index;
use super::intent::Intent;
use super::scan::Window;
use super::segment::{self, Location};
use super::watermark::{Watermark, WatermarkFile};
use crate::store::StoreError;
use sayso_proof::entry;
use sayso_proof::merkle::Hash;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;

const CACHE_BYTES: u64 = 16 << 20;

/// A position of the log, as it lies on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen<'a> {
    /// A whole record.
    Entry {
        /// 0-based.
        position: u64,
        /// The leaf hash beside the bytes.
        leaf_hash: Hash,
        /// `None` where the entry was discarded.
        bytes: Option<&'a [u8]>,
    },
    /// No whole record lies here.
    Damaged {
        /// 0-based.
        position: u64,
        /// What the tree's own file says that its leaf hash was.
        leaf_hash: Option<Hash>,
    },
}

/// What was found beside the entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogFound {
    /// Positions, the damaged ones among them.
    pub size: u64,
    /// Offset and segment of a torn end: the next start cuts it off; nothing of it was acknowledged.
    pub torn: Option<(u32, u64)>,
    /// Damage that is no position's: segments' titles, bytes where nothing was ever written.
    pub damaged: Vec<String>,
    /// What is not as it was and is rebuilt: by the next start, or once its folder is removed.
    pub rebuildable: Vec<String>,
    /// Entries of a discard that was interrupted; the next start finishes it.
    pub discarding: u64,
}

/// Looks at every position of the log in `dir`, in order. `known` says how many entries there must be at least; `copies` is
/// an empty folder for a copy of the index, which others may not enter.
///
/// # Errors
/// [`StoreError::Busy`] where a daemon has it open; something can't be read; or `each` fails.
pub fn inspect(
    dir: &Path,
    known: u64,
    copies: &Path,
    mut each: impl FnMut(Seen<'_>) -> Result<(), StoreError>,
) -> Result<LogFound, StoreError> {
    let _lock = lock(dir)?;
    let (mark, broken) = WatermarkFile::inspect(dir)?;
    let mut found = LogFound::default();
    if broken > 0 {
        found.rebuildable.push(format!("log/mark: {broken} of its 2 slots"));
    }
    // Open until everything was looked at: what is copied is reached through these alone.
    let mut unnamed = Vec::new();
    let (index, indexed) = copied_index(dir, copies, &mut unnamed, &mark, &mut found)?;
    let mut walk = Walk {
        each: &mut each,
        known: known.max(mark.extent.size).max(indexed),
        closed: mark.clean,
        flat_until: mark.flat,
        locations: Locations::inspect(&dir.join("locations"))?,
        tree: Tree::inspect(&dir.join("tree"))?,
        index,
        next: 0,
        found,
    };
    let missing = [(walk.locations.is_none(), "log/locations"), (walk.tree.is_none(), "log/tree")];
    let missing = missing.into_iter().filter(|(missing, _)| *missing && mark.flat > 0);
    walk.found.rebuildable.extend(missing.map(|(_, name)| format!("{name}: missing")));
    let mut number = 0;
    let dir_of_segments = dir.join("segments");
    while let Some(file) = open(&segment::path_in(&dir_of_segments, number))? {
        let last = !segment::path_in(&dir_of_segments, number.saturating_add(1)).exists();
        walk.segment(number, &file, last)?;
        number = number.saturating_add(1);
    }
    walk.damaged_to(walk.known)?;
    let mut found = walk.found;
    found.size = walk.next;
    found.discarding = Intent::inspect(dir)?.len() as u64;
    Ok(found)
}

/// Takes the folder as a daemon would; a folder without a lock is nobody's.
fn lock(dir: &Path) -> Result<Option<File>, StoreError> {
    let Some(file) = open(&dir.join("lock"))? else { return Ok(None) };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => Err(StoreError::Busy),
        Err(std::fs::TryLockError::Error(source)) => Err(disk::io("locking the folder")(source)),
    }
}

/// For reading alone.
fn open(path: &Path) -> Result<Option<File>, StoreError> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(disk::io("opening a file of the store")(error)),
    }
}

/// A copy of the index, with the number of entries that it holds, where it is what it was; and how many entries had been
/// durable by its word, which counts also where nothing else in it does: as at a start.
fn copied_index(
    dir: &Path,
    copies: &Path,
    unnamed: &mut Vec<File>,
    mark: &Watermark,
    found: &mut LogFound,
) -> Result<(Option<(Index, u64)>, u64), StoreError> {
    let copied = copy_dir(&dir.join("index"), &copies.join("index"), unnamed);
    let mut durable = 0;
    let opened = copied.and_then(|()| {
        let index = Index::open(&copies.join("index"), CACHE_BYTES, 1)?;
        durable = index.entries()?;
        // This forgets what lies behind the mark, which the next start replays.
        let (good, held) = match mark.indexed {
            true => (index.holds(&mark.extent)?, durable.min(mark.extent.size)),
            false => (true, durable),
        };
        Ok((index, held, good))
    });
    match opened {
        Ok((index, held, true)) if !mark.clean || durable == mark.extent.size => {
            return Ok((Some((index, held)), durable));
        }
        Ok((_, held, _)) => {
            found.rebuildable.push(format!("log/index: not what it was after {held} entries"))
        }
        Err(StoreError::Full) => return Err(StoreError::Full),
        Err(error) if mark.extent.size > 0 => found.rebuildable.push(format!("log/index: {error}")),
        Err(_) => {}
    }
    Ok((None, durable))
}

/// Copies a folder. Its files have no names: each is reached through a link to what is open in `unnamed`, and is gone with
/// the process, however that ends.
fn copy_dir(from: &Path, to: &Path, unnamed: &mut Vec<File>) -> Result<(), StoreError> {
    let failed = || disk::io("copying the index");
    std::fs::create_dir_all(to).map_err(failed())?;
    for item in std::fs::read_dir(from).map_err(failed())? {
        let item = item.map_err(failed())?;
        let target = to.join(item.file_name());
        if item.file_type().map_err(failed())?.is_dir() {
            copy_dir(&item.path(), &target, unnamed)?;
        } else {
            unnamed.push(copy_file(&item.path(), &target).map_err(failed())?);
        }
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path) -> Result<File, std::io::Error> {
    let mut copy = tempfile::tempfile_in(to.parent().unwrap_or(Path::new(".")))?;
    std::io::copy(&mut File::open(from)?, &mut copy)?;
    let link = format!("/proc/self/fd/{}", copy.as_raw_fd());
    if Path::new(&link).exists() {
        std::os::unix::fs::symlink(link, to)?;
    } else {
        // Where there is no /proc the folder for copies is all that hides it.
        std::fs::copy(from, to)?;
    }
    Ok(copy)
}

/// The way through the segments.
struct Walk<'a, F> {
    each: &'a mut F,
    /// So many entries there must be.
    known: u64,
    closed: bool,
    /// Flat files should be good up to this position.
    flat_until: u64,
    locations: Option<Locations>,
    tree: Option<Tree>,
    index: Option<(Index, u64)>,
    next: u64,
    found: LogFound,
}

impl<F: FnMut(Seen<'_>) -> Result<(), StoreError>> Walk<'_, F> {
    fn segment(&mut self, number: u32, file: &File, last: bool) -> Result<(), StoreError> {
        let title = disk::read(file, 0, ALIGN)?;
        match segment::decode_header(&title, number) {
            Some(first) if first >= self.next => self.damaged_to(first)?,
            _ if last && segment::is_zero_from(file, 0)? => return Ok(()),
            _ => self.found.damaged.push(format!("segment {number}: its title")),
        }
        let mut window = Window::new(file)?;
        let mut at = ALIGN as u64;
        loop {
            if let Some(frame) = frame_at(&mut window, at)?.filter(|frame| frame.header.first == self.next) {
                let length = u64::from(frame.header.length);
                self.frame(number, at, &frame, &mut window)?;
                at = at.saturating_add(length);
                continue;
            }
            let Some((resumes, first)) = self.later(&mut window, at)? else { break };
            self.salvage(number, &mut window, at, resumes, first)?;
            self.damaged_to(first)?;
            at = resumes;
        }
        self.tail(number, file, &mut window, at, last)
    }

    /// What lies behind the last whole frame of a segment.
    fn tail(
        &mut self,
        number: u32,
        file: &File,
        window: &mut Window<'_>,
        at: u64,
        last: bool,
    ) -> Result<(), StoreError> {
        if segment::is_zero_from(file, at)? {
            return Ok(());
        }
        if self.next < self.known && last {
            let known = self.known;
            return self.salvage(number, window, at, window.end(), known);
        }
        if last && !self.closed {
            self.found.torn = Some((number, at));
        } else {
            self.found
                .damaged
                .push(format!("segment {number}: bytes from {at} on, where nothing was written"));
        }
        Ok(())
    }

    /// The next whole frame behind `at`: its offset, and its first position.
    fn later(&self, window: &mut Window<'_>, mut at: u64) -> Result<Option<(u64, u64)>, StoreError> {
        at = at.saturating_add(ALIGN as u64);
        while let Some(written) = window.next_written(at)? {
            at = written;
            if FrameHeader::decode(window.at(at, ALIGN)?).is_some_and(|header| header.first >= self.next)
                && let Some(frame) = frame_at(window, at)?
                // Of the same commit it may have survived what tore the one before it.
                && (frame.header.commit_start > self.next || frame.header.first < self.known)
            {
                return Ok(Some((at, frame.header.first)));
            }
            at = at.saturating_add(ALIGN as u64);
        }
        Ok(None)
    }

    fn frame(
        &mut self,
        number: u32,
        at: u64,
        frame: &Parsed,
        window: &mut Window<'_>,
    ) -> Result<(), StoreError> {
        let first = frame.header.first;
        let place = |offset: usize| Location { segment: number, offset: at.saturating_add(offset as u64) };
        let places: Vec<[u8; 8]> = frame.records.iter().map(|record| place(record.offset).encode()).collect();
        let leaves: Vec<Hash> = frame.records.iter().map(|record| record.header.leaf_hash).collect();
        self.compare_flat(first, &places, &leaves)?;
        let bytes = window.at(at, frame.header.length as usize)?.to_vec();
        for (record, position) in frame.records.iter().zip(first..) {
            if record.unfinished {
                self.found.discarding = self.found.discarding.saturating_add(1);
            }
            let bytes = record.bytes(&bytes);
            self.compare_index(position, bytes)?;
            (self.each)(Seen::Entry { position, leaf_hash: record.header.leaf_hash, bytes })?;
        }
        self.next = first.saturating_add(frame.records.len() as u64);
        Ok(())
    }

    /// Whole records of a frame that is not whole, one behind the other, below position `end` and offset `until`.
    fn salvage(
        &mut self,
        number: u32,
        window: &mut Window<'_>,
        at: u64,
        until: u64,
        end: u64,
    ) -> Result<(), StoreError> {
        self.found.damaged.push(format!("segment {number}: from offset {at} on, position {}", self.next));
        let mut at = at.saturating_add(ALIGN as u64);
        while self.next < end && at < until {
            let Some(header) = RecordHeader::decode(window.at(at, ALIGN)?) else { break };
            let data = at.saturating_add(ALIGN as u64);
            let bytes = window.at(data, header.length as usize)?.to_vec();
            let whole = crc32fast::hash(&bytes) == header.bytes_checksum;
            match header.state {
                State::Present if !whole => self.damaged_to(self.next.saturating_add(1))?,
                state => {
                    let bytes = (state == State::Present).then_some(bytes.as_slice());
                    let (position, leaf_hash) = (self.next, header.leaf_hash);
                    (self.each)(Seen::Entry { position, leaf_hash, bytes })?;
                    self.next = self.next.saturating_add(1);
                }
            }
            at = at.saturating_add(header.span() as u64);
        }
        Ok(())
    }

    /// Positions up to `end` are not there.
    fn damaged_to(&mut self, end: u64) -> Result<(), StoreError> {
        while self.next < end {
            let position = self.next;
            let leaf = self.tree.as_ref().and_then(|tree| tree.read(0, position, 1).ok());
            let leaf_hash = leaf.and_then(|leaf| leaf.first().copied()).filter(|leaf| *leaf != [0; 32]);
            (self.each)(Seen::Damaged { position, leaf_hash })?;
            self.next = position.saturating_add(1);
        }
        Ok(())
    }

    fn compare_flat(&mut self, first: u64, places: &[[u8; 8]], leaves: &[Hash]) -> Result<(), StoreError> {
        if first >= self.flat_until {
            return Ok(());
        }
        if let Some(locations) = &self.locations
            && !locations.holds(first, places)?
        {
            self.found.rebuildable.push(format!("log/locations: at position {first}"));
            self.locations = None;
        }
        if let Some(tree) = &self.tree
            // A file that is too short has no nodes to compare.
            && !tree.holds(first, leaves).unwrap_or(false)
        {
            self.found.rebuildable.push(format!("log/tree: at position {first}"));
            self.tree = None;
        }
        Ok(())
    }

    fn compare_index(&mut self, position: u64, bytes: Option<&[u8]>) -> Result<(), StoreError> {
        let Some((index, entries)) = self.index.as_ref().filter(|(_, entries)| position < *entries) else {
            return Ok(());
        };
        let Some(header) = bytes.and_then(|bytes| entry::parse_header(bytes).ok()) else { return Ok(()) };
        let found = index.subject(header.handle, header.version, 1);
        if found.is_ok_and(|found| found == [(header.version, position)]) {
            return Ok(());
        }
        self.found.rebuildable.push(format!("log/index: position {position} of {entries}"));
        self.index = None;
        Ok(())
    }
}

fn frame_at(window: &mut Window<'_>, at: u64) -> Result<Option<Parsed>, StoreError> {
    let Some(header) = FrameHeader::decode(window.at(at, ALIGN)?) else { return Ok(None) };
    Ok(frame::parse(window.at(at, header.length as usize)?))
}
