//! The segments: append-only files of frames. A frame holds the entries of one request. The segments are
//! the log itself: if another file in the log's folder is lost, no entry is lost with it.

use super::disk;
use super::frame::{ALIGN, RecordHeader, State};
use crate::store::{StoreError, StoredEntry};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

const MAGIC: &[u8; 8] = b"SAYSOSEG";
const VERSION: u32 = 1;
/// Number of bytes that are read first for an entry. Most entries are shorter, so one read is enough.
const ENTRY_READ_BYTES: usize = 1024;
/// The largest distance between records that are read together, bytes.
const WINDOW_BYTES: u64 = if cfg!(test) { 1 << 10 } else { 64 << 10 };
/// Bytes in one read of a search for a byte that is not zero.
const SCAN_BYTES: usize = 4 << 20;

/// A block of zeros, as in reserved space that was never written.
pub const ZEROS: [u8; 4096] = [0; 4096];

/// Where a record is: the segment number, and the offset of its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// Number of the segment.
    pub segment: u32,
    /// Offset in the segment.
    pub offset: u64,
}

impl Location {
    /// Encodes to 8 bytes: 24 bits of segment number, 40 bits of offset.
    pub fn encode(self) -> [u8; 8] {
        (u64::from(self.segment) << 40 | self.offset & ((1 << 40) - 1)).to_le_bytes()
    }

    /// Decodes 8 bytes.
    pub fn decode(bytes: [u8; 8]) -> Self {
        let number = u64::from_le_bytes(bytes);
        Self { segment: u32::try_from(number >> 40).unwrap_or(u32::MAX), offset: number & ((1 << 40) - 1) }
    }
}

/// One open segment.
pub struct Segment {
    /// The file.
    pub file: File,
    /// Position of the first entry.
    pub first: u64,
}

/// All segments, in order.
pub struct Segments {
    dir: PathBuf,
    /// Space is reserved in steps of this many bytes.
    step: u64,
    open: RwLock<Vec<Arc<Segment>>>,
}

/// Where the next frame goes; owned by the writer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tail {
    /// Offset in the last segment.
    pub offset: u64,
    /// Reserved bytes in the last segment.
    pub reserved: u64,
}

impl Segments {
    /// Opens the segments in a folder.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if a segment is missing or its header is damaged.
    pub fn open(dir: &Path, step: u64) -> Result<Self, StoreError> {
        disk::make_dir(dir)?;
        let segments = Self { dir: dir.to_owned(), step, open: RwLock::default() };
        let mut number = 0;
        while segments.path(number).exists() {
            let file = disk::open(&segments.path(number))?;
            let header = disk::read(&file, 0, ALIGN)?;
            match decode_header(&header, number) {
                Some(first) => segments.push(Segment { file, first }),
                // An empty last segment comes from a crash while the file was being created.
                None if is_zero_from(&file, 0)? && !segments.path(number.saturating_add(1)).exists() => {
                    segments.remove_file(number)?;
                }
                None => return Err(damaged(number, 0)),
            }
            number = number.saturating_add(1);
        }
        let files = std::fs::read_dir(dir).map_err(disk::io("listing segments"))?.flatten();
        let count = files.filter(|file| file.path().extension().is_some_and(|name| name == "seg")).count();
        if count > segments.count() as usize {
            return Err(StoreError::Damaged { what: "segments", place: format!("segment {number}") });
        }
        Ok(segments)
    }

    fn path(&self, number: u32) -> PathBuf {
        path_in(&self.dir, number)
    }

    fn remove_file(&self, number: u32) -> Result<(), StoreError> {
        std::fs::remove_file(self.path(number)).map_err(disk::io("removing a segment"))?;
        disk::sync_dir(&self.dir)
    }

    fn push(&self, segment: Segment) {
        self.open.write().unwrap_or_else(PoisonError::into_inner).push(Arc::new(segment));
    }

    /// Number of segments.
    pub fn count(&self) -> u32 {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        u32::try_from(open.len()).unwrap_or(u32::MAX)
    }

    /// The segment with this number.
    pub fn get(&self, number: u32) -> Result<Arc<Segment>, StoreError> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.get(number as usize).cloned().ok_or(StoreError::Missing("segment"))
    }

    /// Starts a new segment with space for `bytes`. It is durable before any frame is written to it.
    pub fn start(&self, first: u64, bytes: u64) -> Result<Tail, StoreError> {
        let number = self.count();
        let file = disk::open(&self.path(number))?;
        let created = (|| {
            let reserved = disk::reserve(&file, 0, bytes.saturating_add(ALIGN as u64), self.step)?;
            disk::write(&file, 0, &encode_header(number, first))?;
            disk::sync(&file)?;
            Ok(Tail { offset: ALIGN as u64, reserved })
        })();
        match created {
            Ok(_) => self.push(Segment { file, first }),
            // Recovery must not find a segment that could not be created.
            Err(_) => drop(self.remove_file(number)),
        }
        created
    }

    /// Removes the last segment, which has no frames.
    pub fn remove_last(&self) -> Result<(), StoreError> {
        self.open.write().unwrap_or_else(PoisonError::into_inner).pop();
        self.remove_file(self.count())
    }

    /// Replaces the file of the last segment, for tests of failing writes.
    #[cfg(test)]
    pub fn replace_file_of_last(&self, file: File) {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = open.last_mut() {
            *last = Arc::new(Segment { file, first: last.first });
        }
    }

    /// Reserves space in the last segment.
    pub fn reserve(&self, tail: &mut Tail, bytes: u64) -> Result<(), StoreError> {
        let last = self.get(self.count().saturating_sub(1))?;
        tail.reserved =
            disk::reserve(&last.file, tail.reserved, tail.offset.saturating_add(bytes), self.step)?;
        Ok(())
    }

    /// Reads one entry.
    pub fn read(&self, position: u64, location: Location) -> Result<StoredEntry, StoreError> {
        let segment = self.get(location.segment)?;
        // The entry may be discarded during the read: read once more.
        for _ in 0..2 {
            let start = disk::read(&segment.file, location.offset, ENTRY_READ_BYTES)?;
            let header =
                RecordHeader::decode(&start).ok_or_else(|| damaged(location.segment, location.offset))?;
            if !header.is_at(position) {
                return Err(misplaced(position));
            }
            let bytes = match header.state {
                State::Discarded => None,
                State::Present => {
                    let bytes = self.read_data(&segment, location, &header, &start)?;
                    if crc32fast::hash(&bytes) != header.bytes_checksum {
                        continue;
                    }
                    Some(bytes)
                }
            };
            let (recorded_at_ms, leaf_hash) = (header.recorded_at_ms, header.leaf_hash);
            return Ok(StoredEntry { position, recorded_at_ms, leaf_hash, bytes });
        }
        Err(StoreError::Damaged { what: "entry", place: format!("position {position}") })
    }

    /// Reads entries at consecutive positions. Entries that are close together share one read. If an entry is
    /// not intact in a shared read, it is read again alone, and that read returns the error.
    pub fn read_run(&self, first: u64, locations: &[Location]) -> Result<Vec<StoredEntry>, StoreError> {
        let mut entries = Vec::with_capacity(locations.len());
        let mut window = Window::default();
        for (at, (position, location)) in (first..).zip(locations).enumerate() {
            if !window.contains(*location) {
                let rest = locations.get(at..).unwrap_or_default();
                window = Window::read(&*self.get(location.segment)?, *location, rest)?;
            }
            entries.push(match window.entry(position, *location) {
                Some(entry) => entry,
                None => self.read(position, *location)?,
            });
        }
        Ok(entries)
    }

    fn read_data(
        &self,
        segment: &Segment,
        location: Location,
        header: &RecordHeader,
        start: &[u8],
    ) -> Result<Vec<u8>, StoreError> {
        let length = header.length as usize;
        match start.get(ALIGN..ALIGN.saturating_add(length)) {
            Some(bytes) => Ok(bytes.to_vec()),
            None => disk::read(&segment.file, location.offset.saturating_add(ALIGN as u64), length),
        }
    }

    /// Reads the header of one record.
    pub fn read_header(&self, location: Location) -> Result<RecordHeader, StoreError> {
        let bytes = disk::read(&self.get(location.segment)?.file, location.offset, ALIGN)?;
        RecordHeader::decode(&bytes).ok_or_else(|| damaged(location.segment, location.offset))
    }

    /// Marks records as discarded and removes their recorded times, durably. Then overwrites their bytes with
    /// zeros, durably. Then returns whole blocks to the file system.
    pub fn discard(&self, locations: &[Location]) -> Result<(), StoreError> {
        let mut touched: Vec<(Arc<Segment>, u64, u64)> = Vec::new();
        for location in locations {
            let segment = self.get(location.segment)?;
            let header = self.read_header(*location)?;
            let discarded = header.discarded();
            disk::write(&segment.file, location.offset, &discarded.encode())?;
            let data = location.offset.saturating_add(ALIGN as u64);
            touched.push((segment, data, u64::from(header.length)));
        }
        sync_all(&touched)?;
        for (segment, at, length) in &touched {
            disk::write_zeros(&segment.file, *at, *length)?;
        }
        sync_all(&touched)?;
        touched.iter().for_each(|(segment, at, length)| disk::punch(&segment.file, *at, *length));
        Ok(())
    }
}

/// A part of a segment in memory.
#[derive(Default)]
struct Window {
    segment: u32,
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// Reads the record at `from`, and those of `records` that start less than [`WINDOW_BYTES`] after it. Of
    /// the last record it reads only the first [`ENTRY_READ_BYTES`].
    fn read(segment: &Segment, from: Location, records: &[Location]) -> Result<Self, StoreError> {
        let is_near = |other: &&Location| {
            let distance = other.offset.checked_sub(from.offset);
            other.segment == from.segment && distance.is_some_and(|distance| distance < WINDOW_BYTES)
        };
        let last = records.iter().take_while(is_near).last().map_or(0, |last| last.offset - from.offset);
        let length = usize::try_from(last).unwrap_or_default().saturating_add(ENTRY_READ_BYTES);
        Ok(Self {
            segment: from.segment,
            start: from.offset,
            bytes: disk::read(&segment.file, from.offset, length)?,
        })
    }

    fn contains(&self, location: Location) -> bool {
        self.segment == location.segment && self.record(location).is_some()
    }

    fn record(&self, location: Location) -> Option<&[u8]> {
        let offset = usize::try_from(location.offset.checked_sub(self.start)?).ok()?;
        self.bytes.get(offset..).filter(|bytes| bytes.len() >= ALIGN)
    }

    /// The entry at a location, if it is intact in this window.
    fn entry(&self, position: u64, location: Location) -> Option<StoredEntry> {
        let record = self.record(location)?;
        let header = RecordHeader::decode(record).filter(|header| header.is_at(position))?;
        let bytes = match header.state {
            State::Discarded => None,
            State::Present => {
                let bytes = record.get(ALIGN..ALIGN.saturating_add(header.length as usize))?;
                (crc32fast::hash(bytes) == header.bytes_checksum).then(|| Some(bytes.to_vec()))?
            }
        };
        let (recorded_at_ms, leaf_hash) = (header.recorded_at_ms, header.leaf_hash);
        Some(StoredEntry { position, recorded_at_ms, leaf_hash, bytes })
    }
}

/// The path of a segment in the folder of segments.
pub fn path_in(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number:08}.seg"))
}

fn sync_all(touched: &[(Arc<Segment>, u64, u64)]) -> Result<(), StoreError> {
    let mut synced: Option<&Arc<Segment>> = None;
    for (segment, ..) in touched {
        if synced.is_none_or(|last| !Arc::ptr_eq(last, segment)) {
            disk::sync(&segment.file)?;
            synced = Some(segment);
        }
    }
    Ok(())
}

/// Whether a file holds only zeros from `at` on.
pub fn is_zero_from(file: &File, mut at: u64) -> Result<bool, StoreError> {
    loop {
        let bytes = disk::read(file, at, SCAN_BYTES)?;
        if bytes.is_empty() {
            return Ok(true);
        }
        if bytes.chunks(ZEROS.len()).any(|block| !ZEROS.starts_with(block)) {
            return Ok(false);
        }
        at = at.saturating_add(bytes.len() as u64);
    }
}

fn encode_header(number: u32, first: u64) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.extend_from_slice(&first.to_le_bytes());
    bytes.resize(60, 0);
    let checksum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

/// Position of the first entry, if `bytes` are the header of segment `number`.
pub fn decode_header(bytes: &[u8], number: u32) -> Option<u64> {
    let first = u64::from_le_bytes(bytes.get(16..24)?.try_into().ok()?);
    (encode_header(number, first) == bytes).then_some(first)
}

/// The error for a location that leads to another entry.
pub fn misplaced(position: u64) -> StoreError {
    StoreError::Damaged { what: "location", place: format!("position {position}") }
}

fn damaged(segment: u32, offset: u64) -> StoreError {
    StoreError::Damaged { what: "segment", place: format!("segment {segment}, offset {offset}") }
}
