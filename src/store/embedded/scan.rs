//! Reads a segment frame by frame, to find the segment's end and to distinguish a torn write (one that a
//! crash interrupted) from damage. A frame holds the entries of one request.

use super::disk;
use super::frame::{self, ALIGN, FrameHeader, Parsed};
use super::segment::{Segment, ZEROS, is_zero_from};
use crate::store::StoreError;
use std::fs::File;

/// Bytes in one read.
const SCAN_BYTES: usize = 4 << 20;

/// What follows the last intact frame of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Space that was never written.
    Unwritten,
    /// Bytes that are not an intact frame.
    ///
    /// If a later commit wrote after these bytes, they had been durable before. Then this is damage and not a
    /// torn write.
    Broken {
        /// Whether an intact frame of a later commit follows.
        later_commit: bool,
    },
}

/// The result of reading a segment.
#[derive(Clone, Copy, Debug)]
pub struct Walked {
    /// Offset of the end of the last intact frame.
    pub offset: u64,
    /// Position of the next entry.
    pub next: u64,
    /// What follows the last intact frame.
    pub end: End,
}

/// Whether a segment has any frames.
pub fn has_frames(segment: &Segment) -> Result<bool, StoreError> {
    Ok(disk::read(&segment.file, ALIGN as u64, ALIGN)?.iter().any(|byte| *byte != 0))
}

/// Calls `each` with the offset and the bytes of each intact frame, from the start of the segment on.
///
/// # Errors
/// The file can't be read, or `each` fails.
pub fn walk(
    segment: &Segment,
    mut each: impl FnMut(u64, &Parsed, &[u8]) -> Result<(), StoreError>,
) -> Result<Walked, StoreError> {
    let mut window = Window::new(&segment.file)?;
    let (mut at, mut next) = (ALIGN as u64, segment.first);
    loop {
        let length = FrameHeader::decode(window.at(at, ALIGN)?).map_or(0, |header| header.length);
        let bytes = window.at(at, length as usize)?;
        let Some(frame) = frame::parse(bytes).filter(|frame| frame.header.first == next) else { break };
        each(at, &frame, bytes)?;
        next = next.saturating_add(u64::from(frame.header.count));
        at = at.saturating_add(u64::from(length));
    }
    // All bytes up to the end must be zero, not only those where the next frame would start. A torn write may
    // lose its first sector and keep later ones. If new frames later ended just before such sectors, the
    // sectors would be read as frames of the log.
    let end = if is_zero_from(&segment.file, at)? {
        End::Unwritten
    } else {
        End::Broken { later_commit: later_commit(&mut window, at, next)? }
    };
    Ok(Walked { offset: at, next, end })
}

/// Whether the segment has a later intact frame of a commit that began after `position`.
fn later_commit(window: &mut Window<'_>, broken_at: u64, position: u64) -> Result<bool, StoreError> {
    let mut at = broken_at.saturating_add(ALIGN as u64);
    while let Some(written) = window.next_written(at)? {
        at = written;
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

/// Cuts off a torn write, durably. The space after it is no longer reserved.
pub fn cut(segment: &Segment, at: u64) -> Result<(), StoreError> {
    segment.file.set_len(at).map_err(disk::io("cutting off a torn write"))?;
    segment.file.sync_all().map_err(disk::io("syncing a segment"))
}

/// A sliding view of a file, which is read in large pieces.
pub struct Window<'a> {
    file: &'a File,
    end: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> Window<'a> {
    /// A view of a file up to its current length.
    pub fn new(file: &'a File) -> Result<Self, StoreError> {
        Ok(Self { file, end: disk::length(file)?, start: 0, bytes: Vec::new() })
    }

    /// The length of the file.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// The offset of the next aligned block that is not all zeros; `None` if only zeros follow.
    pub fn next_written(&mut self, mut at: u64) -> Result<Option<u64>, StoreError> {
        while at < self.end {
            let block = self.at(at, ZEROS.len())?;
            match block.chunks(ALIGN).position(|piece| !ZEROS.starts_with(piece)) {
                Some(piece) => return Ok(Some(at.saturating_add(piece.saturating_mul(ALIGN) as u64))),
                None => at = at.saturating_add(ZEROS.len() as u64),
            }
        }
        Ok(None)
    }

    /// `length` bytes at offset `at`, fewer at the end of the file.
    pub fn at(&mut self, at: u64, length: usize) -> Result<&[u8], StoreError> {
        let length = length.min(usize::try_from(self.end.saturating_sub(at)).unwrap_or(length));
        let end = at.saturating_add(length as u64);
        if at < self.start || end > self.start.saturating_add(self.bytes.len() as u64) {
            self.bytes = disk::read(self.file, at, length.max(SCAN_BYTES))?;
            self.start = at;
        }
        let from = usize::try_from(at.saturating_sub(self.start)).unwrap_or(usize::MAX);
        let to = from.saturating_add(length).min(self.bytes.len());
        Ok(self.bytes.get(from..to).unwrap_or(&[]))
    }
}
