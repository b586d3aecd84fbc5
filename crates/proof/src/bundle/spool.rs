//! The spool: keeps records on disk while a bundle is read. The records are in groups, which are processed
//! later, one group at a time.
//!
//! Records are collected in memory. Whenever they reach 32 MiB, all of them are written to a temporary
//! file. The file has no name, so none remains, no matter how the program ends.

use super::rejection::Rejection;
use prost::Message;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::marker::PhantomData;
use std::sync::Mutex;

/// Bytes of records kept in memory before they are written to the file.
const MEMORY_BYTES_MAX: usize = 32 << 20;
/// Target maximum of records in a group.
const GROUP_RECORDS_MAX: u64 = 32 << 10;
/// Maximum number of groups. With more groups, each group has less memory and writes smaller blocks to the
/// file. Small blocks are slow to read.
const GROUPS_MAX: u64 = 2048;

/// Records of one type. Records with the same key are in the same group, in the order in which they were
/// pushed.
pub(super) struct Spool<M> {
    groups: Vec<Group>,
    /// Randomly keyed, so that the author of a bundle cannot choose the group of a key.
    hasher: RandomState,
    bytes_in_memory: usize,
    /// Created when it is first needed.
    file: Mutex<Option<File>>,
    file_bytes: u64,
    /// Bytes of all records.
    bytes: u64,
    record: PhantomData<fn(M)>,
}

#[derive(Default)]
struct Group {
    /// Start and length of each block in the file.
    blocks: Vec<(u64, usize)>,
    /// Encoded records that are still in memory.
    pending: Vec<u8>,
}

impl<M: Message + Default> Spool<M> {
    /// An empty spool for about this number of records.
    pub fn new(records: u64) -> Self {
        let groups = records.div_ceil(GROUP_RECORDS_MAX).clamp(1, GROUPS_MAX);
        Self {
            groups: (0..groups).map(|_| Group::default()).collect(),
            hasher: RandomState::new(),
            bytes_in_memory: 0,
            file: Mutex::default(),
            file_bytes: 0,
            bytes: 0,
            record: PhantomData,
        }
    }

    /// Number of groups.
    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    /// Bytes of all records.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Appends a record to the group of its key.
    ///
    /// # Errors
    /// The temporary file cannot be created or written.
    pub fn push(&mut self, key: &[u8], record: &M) -> io::Result<()> {
        let number = self.hasher.hash_one(key) % self.groups.len() as u64;
        self.push_to(number as usize, record)
    }

    /// Appends a record to the group with this number.
    ///
    /// # Errors
    /// The temporary file cannot be created or written.
    pub fn push_to(&mut self, group: usize, record: &M) -> io::Result<()> {
        if let Some(group) = self.groups.get_mut(group) {
            let before = group.pending.len();
            record.encode_length_delimited(&mut group.pending).map_err(io::Error::other)?;
            let added = group.pending.len() - before;
            self.bytes_in_memory += added;
            self.bytes = self.bytes.saturating_add(added as u64);
        }
        if self.bytes_in_memory < MEMORY_BYTES_MAX { Ok(()) } else { self.write_to_file() }
    }

    fn write_to_file(&mut self) -> io::Result<()> {
        let slot = self.file.get_mut().map_err(|_| file_missing())?;
        let file = match slot {
            Some(file) => file,
            None => slot.insert(tempfile::tempfile()?),
        };
        for group in self.groups.iter_mut().filter(|group| !group.pending.is_empty()) {
            file.write_all(&group.pending)?;
            group.blocks.push((self.file_bytes, group.pending.len()));
            self.file_bytes += group.pending.len() as u64;
            group.pending.clear();
        }
        self.bytes_in_memory = 0;
        Ok(())
    }

    /// Calls `process` with the records of a group, in the order in which they were pushed.
    ///
    /// # Errors
    /// The temporary file cannot be read, or `process` failed.
    pub fn for_each(&self, group: usize, process: &mut dyn FnMut(M) -> io::Result<()>) -> io::Result<()> {
        let Some(group) = self.groups.get(group) else { return Ok(()) };
        let mut block = Vec::new();
        for (start, length) in &group.blocks {
            block.resize(*length, 0);
            self.read(*start, &mut block)?;
            decode_records(&block, process)?;
        }
        decode_records(&group.pending, process)
    }

    fn read(&self, start: u64, block: &mut [u8]) -> io::Result<()> {
        let mut file = self.file.lock().map_err(|_| file_missing())?;
        let file = file.as_mut().ok_or_else(file_missing)?;
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(block)
    }
}

fn decode_records<M: Message + Default>(
    mut bytes: &[u8],
    process: &mut dyn FnMut(M) -> io::Result<()>,
) -> io::Result<()> {
    while !bytes.is_empty() {
        process(M::decode_length_delimited(&mut bytes).map_err(io::Error::other)?)?;
    }
    Ok(())
}

/// What to report when a temporary file cannot be used.
pub(super) fn failed(error: &io::Error) -> Rejection {
    let folder = tempfile::env::temp_dir();
    let next = "set TMPDIR to a folder that exists, that you may write to, and that has enough free space";
    Rejection::machine(format!("cannot use a temporary file in `{}`: {error}; {next}", folder.display()))
}

fn file_missing() -> io::Error {
    io::Error::other("the temporary file is not available")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn spool_records(records: u64, length: usize) -> Spool<Vec<u8>> {
        let mut spool = Spool::new(records);
        for number in 0..records {
            let mut record = vec![7; length];
            record.extend(number.to_be_bytes());
            spool.push(&[(number % 251) as u8], &record).unwrap();
        }
        spool
    }

    fn read_by_key(spool: &Spool<Vec<u8>>, length: usize) -> BTreeMap<u64, Vec<u64>> {
        let mut found = BTreeMap::new();
        for group in 0..spool.groups() {
            spool
                .for_each(group, &mut |record| {
                    let (padding, number) = record.split_at(length);
                    assert!(padding.iter().all(|byte| *byte == 7));
                    let number = u64::from_be_bytes(number.try_into().unwrap());
                    found.entry(number % 251).or_insert_with(Vec::new).push(number);
                    Ok(())
                })
                .unwrap();
        }
        found
    }

    #[test]
    fn every_record_is_returned_once_and_in_order() {
        for (records, length, in_file) in
            [(0, 0, false), (3, 5, false), (100_000, 1, false), (100_000, 1000, true)]
        {
            let spool = spool_records(records, length);
            assert_eq!(spool.file.lock().unwrap().is_some(), in_file);
            let found = read_by_key(&spool, length);
            for (key, numbers) in &found {
                let expected: Vec<u64> = (0..records).filter(|number| number % 251 == *key).collect();
                assert_eq!(*numbers, expected);
            }
            assert_eq!(found.values().map(Vec::len).sum::<usize>() as u64, records);
        }
    }

    #[test]
    fn records_of_one_key_are_in_one_group() {
        let spool = spool_records(100_000, 1);
        let mut groups = BTreeMap::new();
        for group in 0..spool.groups() {
            spool
                .for_each(group, &mut |record: Vec<u8>| {
                    let number = u64::from_be_bytes(record.split_at(1).1.try_into().unwrap());
                    assert_eq!(*groups.entry(number % 251).or_insert(group), group);
                    Ok(())
                })
                .unwrap();
        }
        assert_eq!(groups.len(), 251);
    }
}
