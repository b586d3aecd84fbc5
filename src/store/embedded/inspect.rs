//! Inspects a log's folder without changing it: what is intact, what is damaged, and what can be rebuilt.
//!
//! Opening a log stops at the first damage; an inspection continues after it. It reads each segment frame by
//! frame; a frame holds the entries of one request. In a damaged frame it reads record by record, up to the
//! next intact frame. It inspects a copy of the index, since sled can't open a database without writing to
//! it.

use super::disk;
use super::flat::{Locations, Tree};
use super::folder_lock::FolderLock;
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

/// Size of sled's cache for the copy of the index.
const CACHE_BYTES: u64 = 16 << 20;

/// What is on the disk for a position of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen<'a> {
    /// An intact record.
    Entry {
        /// 0-based.
        position: u64,
        /// The leaf hash in the record header.
        leaf_hash: Hash,
        /// `None` if the entry was discarded.
        bytes: Option<&'a [u8]>,
    },
    /// No intact record.
    Damaged {
        /// 0-based.
        position: u64,
        /// The leaf hash from the tree's file, if it is there.
        leaf_hash: Option<Hash>,
    },
}

/// What an inspection found apart from the entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogFound {
    /// Number of positions, including the damaged ones.
    pub size: u64,
    /// Segment and offset of a torn write. The next start cuts the torn write off; none of its entries was
    /// acknowledged.
    pub torn: Option<(u32, u64)>,
    /// Damage that does not belong to one position: a damaged segment header, or unexpected bytes after the
    /// last frame of a segment.
    pub damaged: Vec<String>,
    /// Damage that rebuilding repairs. The next start does this, in some cases only after the
    /// damaged folder is removed.
    pub rebuildable: Vec<String>,
    /// Number of entries of an interrupted discard. The next start finishes it.
    pub discarding: u64,
}

/// Inspects every position of the log in `dir`, in order.
///
/// The log must have at least `known` entries. The copy of the index goes into `copies`, an empty folder that
/// other users can't access.
///
/// # Errors
/// [`StoreError::Busy`] if a daemon has the folder open, [`StoreError::Io`] if something can't be read, or
/// the error of `each`.
pub fn inspect(
    dir: &Path,
    known: u64,
    copies: &Path,
    mut each: impl FnMut(Seen<'_>) -> Result<(), StoreError>,
) -> Result<LogFound, StoreError> {
    let _lock = lock(dir)?;
    let (watermark, damaged_slots) = WatermarkFile::inspect(dir)?;
    let mut found = LogFound::default();
    if damaged_slots > 0 {
        found.rebuildable.push(format!("log/mark: {damaged_slots} of 2 slots are damaged"));
    }
    // These files stay open during the inspection. The copies have no names, so closing a file would delete
    // it.
    let mut unnamed = Vec::new();
    let (index, indexed) = copied_index(dir, copies, &mut unnamed, &watermark, &mut found)?;
    let mut walk = Walk {
        each: &mut each,
        known: known.max(watermark.extent.size).max(indexed),
        closed: watermark.clean,
        flat_until: watermark.flat,
        locations: Locations::inspect(&dir.join("locations"))?,
        tree: Tree::inspect(&dir.join("tree"))?,
        index,
        next: 0,
        found,
    };
    let missing_files = [(walk.locations.is_none(), "log/locations"), (walk.tree.is_none(), "log/tree")];
    let missing_files = missing_files.into_iter().filter(|(missing, _)| *missing && watermark.flat > 0);
    walk.found.rebuildable.extend(missing_files.map(|(_, name)| format!("{name}: missing")));
    let mut number = 0;
    let segments = dir.join("segments");
    while let Some(file) = open(&segment::path_in(&segments, number))? {
        let is_last = !segment::path_in(&segments, number.saturating_add(1)).exists();
        walk.segment(number, &file, is_last)?;
        number = number.saturating_add(1);
    }
    walk.damaged_to(walk.known)?;
    let mut found = walk.found;
    found.size = walk.next;
    found.discarding = Intent::inspect(dir)?.len() as u64;
    Ok(found)
}

/// Locks the folder as a daemon does. A folder without a lock file is in use by no daemon.
fn lock(dir: &Path) -> Result<Option<FolderLock>, StoreError> {
    open(&dir.join("lock"))?.map(FolderLock::acquire).transpose()
}

/// Opens a file for reading only; `None` if it does not exist.
fn open(path: &Path) -> Result<Option<File>, StoreError> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(disk::io("opening a file of the store")(error)),
    }
}

/// Opens a copy of the index.
///
/// Returns the copy, and how many entries it covers, if the copy is intact. Records of entries after the
/// watermark are removed from the copy and not counted. Also returns how many entries the index had before
/// that: at least this many had been durable. The inspection relies on this second number even if the rest of
/// the index is damaged, as recovery at a start does.
fn copied_index(
    dir: &Path,
    copies: &Path,
    unnamed: &mut Vec<File>,
    watermark: &Watermark,
    found: &mut LogFound,
) -> Result<(Option<(Index, u64)>, u64), StoreError> {
    let copied = copy_dir(&dir.join("index"), &copies.join("index"), unnamed);
    let mut durable = 0;
    let opened = copied.and_then(|()| {
        let index = Index::open(&copies.join("index"), CACHE_BYTES, 1)?;
        durable = index.entries()?;
        // This removes from the copy the records of entries after the watermark. The next start replays these
        // entries.
        let (intact, entries) = match watermark.indexed {
            true => (index.verify_up_to(&watermark.extent)?, durable.min(watermark.extent.size)),
            false => (true, durable),
        };
        Ok((index, entries, intact))
    });
    match opened {
        Ok((index, entries, true)) if !watermark.clean || durable == watermark.extent.size => {
            return Ok((Some((index, entries)), durable));
        }
        Ok((_, entries, _)) => {
            found.rebuildable.push(format!("log/index: damaged or outdated after {entries} entries"))
        }
        Err(StoreError::Full) => return Err(StoreError::Full),
        Err(error) if watermark.extent.size > 0 => found.rebuildable.push(format!("log/index: {error}")),
        Err(_) => {}
    }
    Ok((None, durable))
}

/// Copies a folder into unnamed files, which vanish with the process, however it ends.
///
/// `unnamed` keeps the files open, and the copied folder has links to them.
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
        // Without /proc the copy needs a name. Then only the permissions of its folder protect it.
        std::fs::copy(from, to)?;
    }
    Ok(copy)
}

/// One pass over the segments.
struct Walk<'a, F> {
    each: &'a mut F,
    /// The number of entries that the log must have at least.
    known: u64,
    /// Whether the log was closed. Then its end can't be torn.
    closed: bool,
    /// The flat files (arrays of fixed-size items) should be complete up to this position.
    flat_until: u64,
    locations: Option<Locations>,
    tree: Option<Tree>,
    /// The copy of the index and its number of entries.
    index: Option<(Index, u64)>,
    /// The next position.
    next: u64,
    found: LogFound,
}

impl<F: FnMut(Seen<'_>) -> Result<(), StoreError>> Walk<'_, F> {
    fn segment(&mut self, number: u32, file: &File, is_last: bool) -> Result<(), StoreError> {
        let header = disk::read(file, 0, ALIGN)?;
        match segment::decode_header(&header, number) {
            Some(first) if first >= self.next => self.damaged_to(first)?,
            _ if is_last && segment::is_zero_from(file, 0)? => return Ok(()),
            _ => self.found.damaged.push(format!("segment {number}: its header is damaged")),
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
            let Some((intact_at, first)) = self.next_frame(&mut window, at)? else { break };
            self.salvage(number, &mut window, at, intact_at, first)?;
            self.damaged_to(first)?;
            at = intact_at;
        }
        self.tail(number, file, &mut window, at, is_last)
    }

    /// Inspects what follows the last intact frame of a segment.
    fn tail(
        &mut self,
        number: u32,
        file: &File,
        window: &mut Window<'_>,
        at: u64,
        is_last: bool,
    ) -> Result<(), StoreError> {
        if segment::is_zero_from(file, at)? {
            return Ok(());
        }
        if self.next < self.known && is_last {
            let known = self.known;
            return self.salvage(number, window, at, window.end(), known);
        }
        if is_last && !self.closed {
            self.found.torn = Some((number, at));
        } else {
            self.found.damaged.push(format!("segment {number}: unexpected bytes from offset {at} on"));
        }
        Ok(())
    }

    /// The next intact frame after `at`: its offset, and its first position.
    fn next_frame(&self, window: &mut Window<'_>, mut at: u64) -> Result<Option<(u64, u64)>, StoreError> {
        at = at.saturating_add(ALIGN as u64);
        while let Some(written) = window.next_written(at)? {
            at = written;
            if FrameHeader::decode(window.at(at, ALIGN)?).is_some_and(|header| header.first >= self.next)
                && let Some(frame) = frame_at(window, at)?
                // After a torn write, a later frame of the same commit may be intact. So an intact frame of
                // the same commit is not evidence of damage.
                && (frame.header.commit_start > self.next || frame.header.first < self.known)
            {
                return Ok(Some((at, frame.header.first)));
            }
            at = at.saturating_add(ALIGN as u64);
        }
        Ok(None)
    }

    /// Inspects an intact frame.
    fn frame(
        &mut self,
        number: u32,
        at: u64,
        frame: &Parsed,
        window: &mut Window<'_>,
    ) -> Result<(), StoreError> {
        let first = frame.header.first;
        let location = |offset: usize| Location { segment: number, offset: at.saturating_add(offset as u64) };
        let locations: Vec<[u8; 8]> =
            frame.records.iter().map(|record| location(record.offset).encode()).collect();
        let leaves: Vec<Hash> = frame.records.iter().map(|record| record.header.leaf_hash).collect();
        self.compare_flat(first, &locations, &leaves)?;
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

    /// Reads the records of a damaged frame one after the other, up to position `end` and offset `until`.
    fn salvage(
        &mut self,
        number: u32,
        window: &mut Window<'_>,
        at: u64,
        until: u64,
        end: u64,
    ) -> Result<(), StoreError> {
        self.found
            .damaged
            .push(format!("segment {number}: damaged from offset {at} on, position {}", self.next));
        let mut at = at.saturating_add(ALIGN as u64);
        while self.next < end && at < until {
            let Some(header) = RecordHeader::decode(window.at(at, ALIGN)?) else { break };
            let data = at.saturating_add(ALIGN as u64);
            let bytes = window.at(data, header.length as usize)?.to_vec();
            let intact = crc32fast::hash(&bytes) == header.bytes_checksum;
            match header.state {
                State::Present if !intact => self.damaged_to(self.next.saturating_add(1))?,
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

    /// Reports the positions up to `end` as damaged.
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

    fn compare_flat(&mut self, first: u64, locations: &[[u8; 8]], leaves: &[Hash]) -> Result<(), StoreError> {
        if first >= self.flat_until {
            return Ok(());
        }
        if let Some(file) = &self.locations
            && !file.matches(first, locations)?
        {
            self.found.rebuildable.push(format!("log/locations: wrong at position {first}"));
            self.locations = None;
        }
        if let Some(tree) = &self.tree
            // A file that is too short has no nodes to compare; it counts as wrong.
            && !tree.matches(first, leaves).unwrap_or(false)
        {
            self.found.rebuildable.push(format!("log/tree: wrong at position {first}"));
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
        self.found.rebuildable.push(format!("log/index: wrong at position {position} of {entries}"));
        self.index = None;
        Ok(())
    }
}

fn frame_at(window: &mut Window<'_>, at: u64) -> Result<Option<Parsed>, StoreError> {
    let Some(header) = FrameHeader::decode(window.at(at, ALIGN)?) else { return Ok(None) };
    Ok(frame::parse(window.at(at, header.length as usize)?))
}
