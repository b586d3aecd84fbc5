//! Records put aside in groups, to be gone through group by group later: in memory while they are few, else in a temporary
//! file that has no name, so that nothing of it is left behind however the program ends.

use prost::Message;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::marker::PhantomData;
use std::sync::Mutex;

/// Bytes of records that are kept in memory before they are written out.
const MEMORY_BYTES_MAX: usize = 32 << 20;
/// Records that a group should have at most.
const GROUP_RECORDS: u64 = 32 << 10;
/// More groups would be written out in pieces too small to read well.
const GROUPS_MAX: u64 = 2048;

/// Records of one kind. Those with the same key are in the same group, in the order in which they came.
pub(super) struct Spool<M> {
    groups: Vec<Group>,
    /// Which key is in which group can't be foreseen by whoever made the bundle.
    hasher: RandomState,
    in_memory: usize,
    /// Whether there is a file shows only once it is needed.
    file: Mutex<Option<File>>,
    file_bytes: u64,
    record: PhantomData<fn(M)>,
}

#[derive(Default)]
struct Group {
    /// Where what was written out begins, and how long it is.
    blocks: Vec<(u64, usize)>,
    open: Vec<u8>,
}

impl<M: Message + Default> Spool<M> {
    /// For about so many records.
    pub fn new(records: u64) -> Self {
        let groups = records.div_ceil(GROUP_RECORDS).clamp(1, GROUPS_MAX);
        Self {
            groups: (0..groups).map(|_| Group::default()).collect(),
            hasher: RandomState::new(),
            in_memory: 0,
            file: Mutex::default(),
            file_bytes: 0,
            record: PhantomData,
        }
    }

    /// Number of groups.
    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    /// Puts a record aside.
    ///
    /// # Errors
    /// There is no room for the temporary file.
    pub fn put(&mut self, key: &[u8], record: &M) -> io::Result<()> {
        let number = self.hasher.hash_one(key) % self.groups.len() as u64;
        if let Some(group) = self.groups.get_mut(number as usize) {
            let before = group.open.len();
            record.encode_length_delimited(&mut group.open).map_err(io::Error::other)?;
            self.in_memory += group.open.len() - before;
        }
        if self.in_memory < MEMORY_BYTES_MAX { Ok(()) } else { self.write_out() }
    }

    fn write_out(&mut self) -> io::Result<()> {
        let slot = self.file.get_mut().map_err(|_| stopped())?;
        let file = match slot {
            Some(file) => file,
            None => slot.insert(tempfile::tempfile()?),
        };
        for group in self.groups.iter_mut().filter(|group| !group.open.is_empty()) {
            file.write_all(&group.open)?;
            group.blocks.push((self.file_bytes, group.open.len()));
            self.file_bytes += group.open.len() as u64;
            group.open.clear();
        }
        self.in_memory = 0;
        Ok(())
    }

    /// Goes through the records of a group in the order in which they were put aside.
    ///
    /// # Errors
    /// The temporary file can't be read; or what `take` fails with.
    pub fn each(&self, group: usize, take: &mut dyn FnMut(M) -> io::Result<()>) -> io::Result<()> {
        let Some(group) = self.groups.get(group) else { return Ok(()) };
        let mut block = Vec::new();
        for (start, length) in &group.blocks {
            block.resize(*length, 0);
            self.read(*start, &mut block)?;
            each_of(&block, take)?;
        }
        each_of(&group.open, take)
    }

    fn read(&self, start: u64, block: &mut [u8]) -> io::Result<()> {
        let mut file = self.file.lock().map_err(|_| stopped())?;
        let file = file.as_mut().ok_or_else(stopped)?;
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(block)
    }
}

fn each_of<M: Message + Default>(
    mut bytes: &[u8],
    take: &mut dyn FnMut(M) -> io::Result<()>,
) -> io::Result<()> {
    while !bytes.is_empty() {
        take(M::decode_length_delimited(&mut bytes).map_err(io::Error::other)?)?;
    }
    Ok(())
}

/// What to tell whoever verifies when something can't be put aside.
pub(super) fn failed(error: &io::Error) -> String {
    format!("can't be put aside in a temporary file: {error}; TMPDIR says where")
}

fn stopped() -> io::Error {
    io::Error::other("what was put aside is not there")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn put_aside(records: u64, length: usize) -> Spool<Vec<u8>> {
        let mut spool = Spool::new(records);
        for number in 0..records {
            let mut record = vec![7; length];
            record.extend(number.to_be_bytes());
            spool.put(&[(number % 251) as u8], &record).unwrap();
        }
        spool
    }

    fn each_by_key(spool: &Spool<Vec<u8>>, length: usize) -> BTreeMap<u64, Vec<u64>> {
        let mut found = BTreeMap::new();
        for group in 0..spool.groups() {
            spool
                .each(group, &mut |record| {
                    let (filling, number) = record.split_at(length);
                    assert!(filling.iter().all(|byte| *byte == 7));
                    let number = u64::from_be_bytes(number.try_into().unwrap());
                    found.entry(number % 251).or_insert_with(Vec::new).push(number);
                    Ok(())
                })
                .unwrap();
        }
        found
    }

    #[test]
    fn everything_comes_back_once_and_in_order() {
        for (records, length, in_file) in
            [(0, 0, false), (3, 5, false), (100_000, 1, false), (100_000, 1000, true)]
        {
            let spool = put_aside(records, length);
            assert_eq!(spool.file.lock().unwrap().is_some(), in_file);
            let found = each_by_key(&spool, length);
            for (key, numbers) in &found {
                let due: Vec<u64> = (0..records).filter(|number| number % 251 == *key).collect();
                assert_eq!(*numbers, due);
            }
            assert_eq!(found.values().map(Vec::len).sum::<usize>() as u64, records);
        }
    }

    #[test]
    fn one_key_is_in_one_group() {
        let spool = put_aside(100_000, 1);
        let mut groups = BTreeMap::new();
        for group in 0..spool.groups() {
            spool
                .each(group, &mut |record: Vec<u8>| {
                    let number = u64::from_be_bytes(record.split_at(1).1.try_into().unwrap());
                    assert_eq!(*groups.entry(number % 251).or_insert(group), group);
                    Ok(())
                })
                .unwrap();
        }
        assert_eq!(groups.len(), 251);
    }
}
