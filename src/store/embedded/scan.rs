//! Walking a segment frame by frame: where it ends, and whether what is behind the end was torn or damaged.

use super::disk;
use super::frame::{self, ALIGN, FrameHeader, Parsed};
use super::segment::{Segment, ZEROS, is_zero_from};
use crate::store::StoreError;
use std::fs::File;

/// Bytes read at once.
const SCAN: usize = 4 << 20;

/// How the frames of a segment end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// In room that was never written.
    Quiet,
    /// In something that is no whole frame; whether a later commit wrote behind it. If one did, the broken frame had
    /// been durable before, so this is damage and not a torn end.
    Broken {
        /// A whole frame of a later commit follows.
        later_commit: bool,
    },
}

/// What a walk came to.
#[derive(Clone, Copy, Debug)]
pub struct Walked {
    /// Offset behind the last whole frame.
    pub at: u64,
    /// Position that would follow it.
    pub next: u64,
    /// Why it ended there.
    pub end: End,
}

/// Whether anything was written into a segment.
pub fn begins(segment: &Segment) -> Result<bool, StoreError> {
    Ok(disk::read(&segment.file, ALIGN as u64, ALIGN)?.iter().any(|byte| *byte != 0))
}

/// Gives each whole frame with its offset and its bytes, from the start of the segment on.
///
/// # Errors
/// The file can't be read, or `each` failed.
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
    // Zeros where the next frame would be are not enough: of a torn write, later sectors may be there without the
    // first. Left alone, they would be taken for the log's once new frames happen to end just before them.
    let end = if is_zero_from(&segment.file, at)? {
        End::Quiet
    } else {
        End::Broken { later_commit: later_commit(&mut window, at, next)? }
    };
    Ok(Walked { at, next, end })
}

/// Whether a whole frame follows whose commit began behind `position`.
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

/// Cuts a torn end off, durably. Room has to be made again behind it.
pub fn cut(segment: &Segment, at: u64) -> Result<(), StoreError> {
    segment.file.set_len(at).map_err(disk::io("cutting a torn end off"))?;
    segment.file.sync_all().map_err(disk::io("syncing a segment"))
}

/// A sliding view of a file, so that it is read in large pieces.
pub struct Window<'a> {
    file: &'a File,
    end: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> Window<'a> {
    /// Of a file as long as it is now.
    pub fn new(file: &'a File) -> Result<Self, StoreError> {
        Ok(Self { file, end: disk::length(file)?, start: 0, bytes: Vec::new() })
    }

    /// Where the file ends.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// The next place, in steps of the alignment, that is not all zeros; nothing where only zeros follow.
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

    /// Up to `length` bytes at `at`, fewer at the end of the file.
    pub fn at(&mut self, at: u64, length: usize) -> Result<&[u8], StoreError> {
        let length = length.min(usize::try_from(self.end.saturating_sub(at)).unwrap_or(length));
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
