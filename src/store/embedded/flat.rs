//! Flat files of fixed-size items: the location of each entry, and the nodes of the Merkle tree.
//!
//! Recovery can rebuild the flat files from the segments, so a commit writes to them without a sync.

use super::disk;
use super::segment::Location;
use crate::store::StoreError;
use sayso_proof::merkle::{Hash, TILE_HEIGHT, node_hash};
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// The levels of Merkle nodes that are stored; enough for 2^40 entries.
const LEVELS: [u8; 4] = [0, 8, 16, 24];
/// Space is reserved in steps of this many bytes.
const RESERVE_STEP_BYTES: u64 = if cfg!(test) { 4 << 10 } else { 1 << 20 };

/// A file of items with `N` bytes each.
pub struct Flat<const N: usize> {
    file: File,
    reserved: AtomicU64,
}

impl<const N: usize> Flat<N> {
    /// Opens or creates the file.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let file = disk::open(path)?;
        let reserved = disk::length(&file)?;
        Ok(Self { file, reserved: AtomicU64::new(reserved) })
    }

    /// Opens the file for reading only; `None` if it does not exist.
    pub fn inspect(path: &Path) -> Result<Option<Self>, StoreError> {
        if !path.exists() {
            return Ok(None);
        }
        let file = File::open(path).map_err(disk::io("opening a file of the store"))?;
        let reserved = disk::length(&file)?;
        Ok(Some(Self { file, reserved: AtomicU64::new(reserved) }))
    }

    /// The number of items that the file has space for.
    pub fn capacity(&self) -> u64 {
        self.reserved.load(Ordering::Acquire) / N as u64
    }

    /// Reserves space for `count` items.
    pub fn reserve(&self, count: u64) -> Result<(), StoreError> {
        let reserved = self.reserved.load(Ordering::Acquire);
        let to = disk::reserve(&self.file, reserved, count.saturating_mul(N as u64), RESERVE_STEP_BYTES)?;
        self.reserved.store(to, Ordering::Release);
        Ok(())
    }

    /// Whether the file has exactly these items from `start` on.
    pub fn matches(&self, start: u64, items: &[[u8; N]]) -> Result<bool, StoreError> {
        let bytes = disk::read(&self.file, start.saturating_mul(N as u64), items.as_flattened().len())?;
        Ok(bytes == items.as_flattened())
    }

    /// Writes items from `start` on.
    pub fn write(&self, start: u64, items: &[[u8; N]]) -> Result<(), StoreError> {
        disk::write(&self.file, start.saturating_mul(N as u64), items.as_flattened())
    }

    /// Reads `count` items from `start` on.
    pub fn read(&self, start: u64, count: usize) -> Result<Vec<[u8; N]>, StoreError> {
        let bytes = disk::read(&self.file, start.saturating_mul(N as u64), count.saturating_mul(N))?;
        let (items, rest) = bytes.as_chunks::<N>();
        if items.len() == count && rest.is_empty() {
            Ok(items.to_vec())
        } else {
            Err(StoreError::Missing("item"))
        }
    }

    /// Makes everything durable.
    pub fn sync(&self) -> Result<(), StoreError> {
        disk::sync(&self.file)
    }
}

/// The location of each entry.
pub type Locations = Flat<8>;

impl Locations {
    /// The location of one entry.
    pub fn get(&self, position: u64) -> Result<Location, StoreError> {
        let item = self.read(position, 1)?;
        item.first().map(|bytes| Location::decode(*bytes)).ok_or(StoreError::Missing("entry"))
    }
}

/// The nodes of the Merkle tree, with a file for each level.
pub struct Tree {
    levels: Vec<(u8, Flat<32>)>,
}

impl Tree {
    /// Opens or creates the files.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        disk::make_dir(dir)?;
        let open = |level: u8| Ok((level, Flat::open(&dir.join(format!("{level:02}")))?));
        Ok(Self { levels: LEVELS.into_iter().map(open).collect::<Result<_, StoreError>>()? })
    }

    /// Opens the files for reading only; `None` if one does not exist.
    pub fn inspect(dir: &Path) -> Result<Option<Self>, StoreError> {
        let open = |level: u8| Ok(Flat::inspect(&dir.join(format!("{level:02}")))?.map(|file| (level, file)));
        let levels: Option<Vec<_>> = LEVELS.into_iter().map(open).collect::<Result<_, StoreError>>()?;
        Ok(levels.map(|levels| Self { levels }))
    }

    /// Whether the files are long enough for a tree of `size` leaves.
    pub fn has_capacity(&self, size: u64) -> bool {
        self.levels.iter().all(|(level, file)| file.capacity() >= size >> level)
    }

    /// Reserves space for a tree of `size` leaves.
    pub fn reserve(&self, size: u64) -> Result<(), StoreError> {
        self.levels.iter().try_for_each(|(level, file)| file.reserve(size >> level))
    }

    /// Writes leaf hashes from `start` on, and every stored node of the Merkle tree that these hashes
    /// complete.
    pub fn write(&self, start: u64, leaves: &[Hash]) -> Result<(), StoreError> {
        let mut end = start.saturating_add(leaves.len() as u64);
        let mut first = start;
        let mut below: Option<&Flat<32>> = None;
        for (_, file) in &self.levels {
            match below {
                None => file.write(first, leaves)?,
                Some(lower) => {
                    // These nodes were not complete before and are complete now.
                    (first, end) = (first >> TILE_HEIGHT, end >> TILE_HEIGHT);
                    for index in first..end {
                        file.write(index, &[node_over(lower, index)?])?;
                    }
                }
            }
            if first == end {
                break;
            }
            below = Some(file);
        }
        Ok(())
    }

    /// Whether the files have these leaf hashes from `start` on, and every stored node of the Merkle tree
    /// that these hashes complete.
    pub fn matches(&self, start: u64, leaves: &[Hash]) -> Result<bool, StoreError> {
        let (mut first, mut end) = (start, start.saturating_add(leaves.len() as u64));
        let mut below: Option<&Flat<32>> = None;
        for (_, file) in &self.levels {
            let matches = match below {
                None => file.matches(first, leaves)?,
                Some(lower) => {
                    (first, end) = (first >> TILE_HEIGHT, end >> TILE_HEIGHT);
                    let mut matches = true;
                    for index in first..end {
                        matches = matches && file.matches(index, &[node_over(lower, index)?])?;
                    }
                    matches
                }
            };
            if !matches || first == end {
                return Ok(matches);
            }
            below = Some(file);
        }
        Ok(true)
    }

    /// Nodes of a stored level.
    pub fn read(&self, level: u8, start: u64, count: usize) -> Result<Vec<Hash>, StoreError> {
        let file = self.levels.iter().find(|(each, _)| *each == level);
        file.ok_or(StoreError::Missing("level"))?.1.read(start, count)
    }

    /// Makes everything durable.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.levels.iter().try_for_each(|(_, file)| file.sync())
    }
}

/// The node over 256 nodes of the next lower stored level.
fn node_over(lower: &Flat<32>, index: u64) -> Result<Hash, StoreError> {
    lower.read(index << TILE_HEIGHT, 1 << TILE_HEIGHT).map(root)
}

/// The root of 256 nodes.
fn root(mut row: Vec<Hash>) -> Hash {
    while row.len() > 1 {
        let (pairs, _) = row.as_chunks::<2>();
        row = pairs.iter().map(|[left, right]| node_hash(left, right)).collect();
    }
    row.first().copied().unwrap_or_default()
}
