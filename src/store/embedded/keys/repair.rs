//! Opens both copies of the key pages and repairs each from the other.

use super::copies::{self, CopyHeader, Walked};
use crate::store::StoreError;
use crate::store::embedded::disk;
use crate::store::embedded::frame::ALIGN;
use crate::store::embedded::segment::is_zero_from;
use std::fs::File;

/// What was wrong with the copies when they were opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Ranges that one copy lacked and the other had: the copy that lacked the range (1 or 2), offset, bytes.
    pub mended: Vec<(usize, u64, u64)>,
    /// The copy (1 or 2) that was missing, outdated, or from another store.
    pub missing: Option<usize>,
    /// Whether a torn write, which was never acknowledged, followed the last intact write.
    pub torn: bool,
}

/// The copies in a folder, before they are repaired.
pub struct Copies {
    /// The files of the copies.
    pub files: Vec<File>,
    headers: Vec<Option<CopyHeader>>,
    /// The newer header of the two copies; `None` in a folder without a key store.
    pub header: Option<CopyHeader>,
}

impl Copies {
    /// Reads the headers of the copies.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if no copy has a valid header and a copy holds anything but zeros.
    pub fn read_headers(files: Vec<File>) -> Result<Self, StoreError> {
        let headers = files.iter().map(CopyHeader::read).collect::<Result<Vec<_>, _>>()?;
        let header = headers.iter().flatten().max().copied();
        if header.is_none() {
            for file in &files {
                // A copy of zeros alone comes from a crash while the store was being created.
                if !is_zero_from(file, 0)? {
                    return Err(StoreError::Damaged {
                        what: "key store",
                        place: "headers of both copies".into(),
                    });
                }
            }
        }
        Ok(Self { files, headers, header })
    }

    /// Reads the copies that have this header. A copy with another header counts as missing.
    ///
    /// # Errors
    /// As for [`copies::walk`].
    pub fn walk(&self, header: CopyHeader) -> Result<(Walked, Found), StoreError> {
        let valid = self.headers.iter().zip(0..).filter(|(each, _)| **each == Some(header));
        let valid: Vec<usize> = valid.map(|(_, index)| index).collect();
        let files: Vec<&File> = valid.iter().filter_map(|index| self.files.get(*index)).collect();
        let mut walked = copies::walk(&files, header)?;
        for range in &mut walked.damaged {
            range.file = valid.get(range.file).copied().unwrap_or_default();
        }
        let missing = (0..self.files.len()).find(|index| !valid.contains(index));
        let ranges = walked.damaged.iter();
        let mended = ranges.map(|range| (range.file.saturating_add(1), range.offset, range.length)).collect();
        let missing = missing.map(|index| index.saturating_add(1));
        let found = Found { mended, missing, torn: walked.torn };
        Ok((walked, found))
    }

    /// Restores in each copy what only the other copy has, cuts off a torn write, and makes both copies
    /// durable. So all pages that readers see from now on survive a crash.
    pub fn repair(&self, header: CopyHeader, walked: &Walked, found: &Found) -> Result<(), StoreError> {
        for range in &walked.damaged {
            let intact = self.files.iter().zip(0..).find(|(_, index)| *index != range.file);
            if let (Some((intact, _)), Some(damaged)) = (intact, self.files.get(range.file)) {
                copy_range(intact, damaged, range.offset, range.length)?;
            }
        }
        let missing = found.missing.and_then(|copy| self.files.get(copy.checked_sub(1)?));
        if let Some(missing) = missing {
            let intact = self.headers.iter().zip(&self.files).find(|(each, _)| **each == Some(header));
            let (_, intact) = intact.ok_or(StoreError::Missing("copy of the key pages"))?;
            missing.set_len(0).map_err(disk::io("clearing a copy of the key pages"))?;
            disk::write(missing, 0, &header.encode())?;
            copy_range(intact, missing, ALIGN as u64, walked.offset.saturating_sub(ALIGN as u64))?;
        }
        for file in &self.files {
            if walked.torn {
                file.set_len(walked.offset).map_err(disk::io("cutting off a torn write"))?;
            }
            file.sync_all().map_err(disk::io("syncing a copy of the key pages"))?;
        }
        Ok(())
    }
}

fn copy_range(from: &File, to: &File, mut offset: u64, length: u64) -> Result<(), StoreError> {
    const PIECE_BYTES: u64 = 1 << 20;
    let end = offset.saturating_add(length);
    while offset < end {
        let count = usize::try_from(PIECE_BYTES.min(end.saturating_sub(offset))).unwrap_or(0);
        let bytes = disk::read(from, offset, count)?;
        disk::write(to, offset, &bytes)?;
        offset = offset.saturating_add(count as u64);
    }
    Ok(())
}
