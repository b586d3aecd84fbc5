//! The segments: append-only files of frames. They are the log; everything else can be rebuilt from them.

use super::disk;
use super::frame::{self, ALIGN, FrameHeader, Parsed, RecordHeader, State};
use crate::store::{StoreError, StoredEntry};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

const MAGIC: &[u8; 8] = b"SAYSOSEG";
/// Room is made in steps of this many bytes.
const STEP: u64 = 16 << 20;
/// Bytes read at once while scanning.
const SCAN: usize = 4 << 20;

/// Where a record lies: segment number and offset of its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// Which segment.
    pub segment: u32,
    /// Offset in it.
    pub offset: u64,
}

impl Location {
    /// As 8 bytes: 24 bits of segment, 40 of offset.
    pub fn encode(self) -> [u8; 8] {
        (u64::from(self.segment) << 40 | self.offset & ((1 << 40) - 1)).to_le_bytes()
    }

    /// From 8 bytes.
    pub fn decode(bytes: [u8; 8]) -> Self {
        let number = u64::from_le_bytes(bytes);
        Self { segment: u32::try_from(number >> 40).unwrap_or(u32::MAX), offset: number & ((1 << 40) - 1) }
    }
}

/// One open segment.
pub struct Segment {
    /// Its file.
    pub file: File,
    /// Position of its first entry.
    pub first: u64,
}

/// All segments, in order.
pub struct Segments {
    dir: PathBuf,
    open: RwLock<Vec<Arc<Segment>>>,
}

/// Where the next frame goes; owned by whoever commits.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tail {
    /// Offset in the last segment.
    pub at: u64,
    /// Bytes that there is room for.
    pub reserved: u64,
}

/// What a scan of one segment found.
pub enum Scanned {
    /// A whole frame at this offset.
    Frame(u64, Parsed),
    /// Something that is no whole frame, at this offset, where this position was expected.
    Broken(u64, u64),
}

impl Segments {
    /// Opens what is in the folder.
    ///
    /// # Errors
    /// A segment is missing from the row, or its header is damaged.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        disk::make_dir(dir)?;
        let segments = Self { dir: dir.to_owned(), open: RwLock::default() };
        let mut number = 0;
        while segments.path(number).exists() {
            let file = disk::open(&segments.path(number))?;
            let header = disk::read(&file, 0, ALIGN)?;
            match decode_header(&header, number) {
                Some(first) => segments.push(Segment { file, first }),
                // A crash while the file was being made: nothing was ever written into it.
                None if is_zero(&file)? && !segments.path(number.saturating_add(1)).exists() => {
                    std::fs::remove_file(segments.path(number)).map_err(disk::io("removing a segment"))?;
                    disk::sync_dir(dir)?;
                }
                None => return Err(damaged(number, 0)),
            }
            number = number.saturating_add(1);
        }
        let count = std::fs::read_dir(dir).map_err(disk::io("listing segments"))?.count();
        if count > segments.count() as usize {
            return Err(StoreError::Damaged { what: "segment row", place: format!("segment {number}") });
        }
        Ok(segments)
    }

    fn path(&self, number: u32) -> PathBuf {
        self.dir.join(format!("{number:08}.seg"))
    }

    fn push(&self, segment: Segment) {
        self.open.write().unwrap_or_else(PoisonError::into_inner).push(Arc::new(segment));
    }

    /// Number of segments.
    pub fn count(&self) -> u32 {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        u32::try_from(open.len()).unwrap_or(u32::MAX)
    }

    /// One segment.
    pub fn get(&self, number: u32) -> Result<Arc<Segment>, StoreError> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.get(number as usize).cloned().ok_or(StoreError::Missing("segment"))
    }

    /// Starts a new segment with room for `bytes`, durable in the folder before anything is written into it.
    pub fn start(&self, first: u64, bytes: u64) -> Result<Tail, StoreError> {
        let number = self.count();
        let path = self.path(number);
        let file = disk::open(&path)?;
        let made = (|| {
            let reserved = disk::reserve(&file, 0, bytes.saturating_add(ALIGN as u64), STEP)?;
            disk::write(&file, 0, &encode_header(number, first))?;
            disk::sync(&file)?;
            disk::sync_dir(&self.dir)?;
            Ok(Tail { at: ALIGN as u64, reserved })
        })();
        match made {
            Ok(_) => self.push(Segment { file, first }),
            // Without room there is no segment: nothing of it may stay for recovery to wonder about.
            Err(_) => drop(std::fs::remove_file(&path)),
        }
        made
    }

    /// Makes room in the last segment.
    pub fn reserve(&self, tail: &mut Tail, bytes: u64) -> Result<(), StoreError> {
        let last = self.get(self.count().saturating_sub(1))?;
        tail.reserved = disk::reserve(&last.file, tail.reserved, tail.at.saturating_add(bytes), STEP)?;
        Ok(())
    }

    /// Reads one entry.
    pub fn read(&self, position: u64, location: Location) -> Result<StoredEntry, StoreError> {
        let segment = self.get(location.segment)?;
        // An entry that is discarded between the two reads is read again.
        for _ in 0..2 {
            let header = self.read_header(&segment, location)?;
            let bytes = match header.state {
                State::Discarded => None,
                State::Present => {
                    let at = location.offset.saturating_add(ALIGN as u64);
                    let bytes = disk::read(&segment.file, at, header.length as usize)?;
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

    fn read_header(&self, segment: &Segment, location: Location) -> Result<RecordHeader, StoreError> {
        let bytes = disk::read(&segment.file, location.offset, ALIGN)?;
        RecordHeader::decode(&bytes).ok_or_else(|| damaged(location.segment, location.offset))
    }

    /// Marks records as discarded, durably; then overwrites their bytes with zeros, durably; then gives blocks back.
    pub fn discard(&self, locations: &[Location]) -> Result<(), StoreError> {
        let mut touched: Vec<(Arc<Segment>, u64, u64)> = Vec::new();
        for location in locations {
            let segment = self.get(location.segment)?;
            let header = self.read_header(&segment, *location)?;
            let discarded = RecordHeader { state: State::Discarded, ..header };
            disk::write(&segment.file, location.offset, &discarded.encode())?;
            let data = location.offset.saturating_add(ALIGN as u64);
            touched.push((segment, data, u64::from(header.length)));
        }
        self.sync_all(&touched)?;
        for (segment, at, length) in &touched {
            disk::write(&segment.file, *at, &vec![0; usize::try_from(*length).unwrap_or(0)])?;
        }
        self.sync_all(&touched)?;
        touched.iter().for_each(|(segment, at, length)| disk::punch(&segment.file, *at, *length));
        Ok(())
    }

    fn sync_all(&self, touched: &[(Arc<Segment>, u64, u64)]) -> Result<(), StoreError> {
        let mut synced: Option<&Arc<Segment>> = None;
        for (segment, ..) in touched {
            if synced.is_none_or(|last| !Arc::ptr_eq(last, segment)) {
                disk::sync(&segment.file)?;
                synced = Some(segment);
            }
        }
        Ok(())
    }

    /// Walks the frames of one segment from its start. Ends quietly at untouched room.
    pub fn scan(
        &self,
        number: u32,
        mut each: impl FnMut(Scanned) -> Result<(), StoreError>,
    ) -> Result<Tail, StoreError> {
        let segment = self.get(number)?;
        let end = segment.file.metadata().map_err(disk::io("looking at a segment"))?.len();
        let (mut at, mut expected) = (ALIGN as u64, segment.first);
        let mut window = Window { file: &segment.file, start: 0, bytes: Vec::new() };
        while at < end {
            let head = window.at(at, ALIGN)?;
            if head.iter().all(|byte| *byte == 0) {
                break;
            }
            let length = FrameHeader::decode(head).map_or(0, |header| header.length as usize);
            let frame = frame::parse(window.at(at, length)?).filter(|frame| frame.header.first == expected);
            let Some(frame) = frame else {
                each(Scanned::Broken(at, expected))?;
                break;
            };
            expected = expected.saturating_add(u64::from(frame.header.count));
            let start = at;
            at = at.saturating_add(u64::from(frame.header.length));
            each(Scanned::Frame(start, frame))?;
        }
        Ok(Tail { at, reserved: end })
    }

    /// The first whole frame behind a broken one that a later commit wrote: it says that the broken one had been
    /// durable before, so this is damage and not a torn end.
    pub fn later_commit(&self, number: u32, broken_at: u64, position: u64) -> Result<bool, StoreError> {
        if number.saturating_add(1) < self.count() {
            return Ok(true);
        }
        let segment = self.get(number)?;
        let end = segment.file.metadata().map_err(disk::io("looking at a segment"))?.len();
        let mut window = Window { file: &segment.file, start: 0, bytes: Vec::new() };
        let mut at = broken_at.saturating_add(ALIGN as u64);
        while at < end {
            if let Some(header) = FrameHeader::decode(window.at(at, ALIGN)?)
                && header.commit_start > position
                && frame::parse(window.at(at, header.length as usize)?).is_some()
            {
                return Ok(true);
            }
            at = at.saturating_add(ALIGN as u64);
        }
        Ok(false)
    }

    /// Cuts a torn end off: zeros from `at` to the end of the last segment, durably.
    pub fn cut(&self, number: u32, at: u64) -> Result<(), StoreError> {
        let segment = self.get(number)?;
        let end = segment.file.metadata().map_err(disk::io("looking at a segment"))?.len();
        segment.file.set_len(at).map_err(disk::io("cutting a torn end off"))?;
        segment.file.set_len(end).map_err(disk::io("cutting a torn end off"))?;
        segment.file.sync_all().map_err(disk::io("syncing a segment"))
    }
}

/// A sliding view of a file, so that scanning reads it in large pieces.
struct Window<'a> {
    file: &'a File,
    start: u64,
    bytes: Vec<u8>,
}

impl Window<'_> {
    /// Up to `length` bytes at `at`.
    fn at(&mut self, at: u64, length: usize) -> Result<&[u8], StoreError> {
        let end = at.saturating_add(length as u64);
        if at < self.start || end > self.start.saturating_add(self.bytes.len() as u64) {
            self.bytes = disk::read(self.file, at, length.max(SCAN))?;
            self.start = at;
        }
        let from = usize::try_from(at.saturating_sub(self.start)).unwrap_or(usize::MAX);
        let to = from.saturating_add(length).min(self.bytes.len());
        Ok(self.bytes.get(from..to).unwrap_or(&[]))
    }
}

fn is_zero(file: &File) -> Result<bool, StoreError> {
    let end = file.metadata().map_err(disk::io("looking at a segment"))?.len();
    let mut at = 0;
    while at < end {
        let bytes = disk::read(file, at, SCAN)?;
        if bytes.is_empty() || bytes.iter().any(|byte| *byte != 0) {
            return Ok(bytes.is_empty());
        }
        at = at.saturating_add(bytes.len() as u64);
    }
    Ok(true)
}

fn encode_header(number: u32, first: u64) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&1_u32.to_le_bytes());
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.extend_from_slice(&first.to_le_bytes());
    bytes.resize(60, 0);
    let checksum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

fn decode_header(bytes: &[u8], number: u32) -> Option<u64> {
    let first = u64::from_le_bytes(bytes.get(16..24)?.try_into().ok()?);
    (encode_header(number, first) == bytes).then_some(first)
}

fn damaged(segment: u32, offset: u64) -> StoreError {
    StoreError::Damaged { what: "segment", place: format!("segment {segment}, offset {offset}") }
}
