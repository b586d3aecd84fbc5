//! Files with two slots that are written in turn and overwritten in place, so that a torn write leaves the
//! other slot intact. This holds if the file is synced after each write.
//!
//! A file has one value. Each write has a number, whose parity selects the slot; the intact slot with the
//! larger number has the value.

use std::fs::File;
use std::io::{Error, ErrorKind};
use std::marker::PhantomData;
use std::os::unix::fs::FileExt;

/// The value of a file, and the bytes of a slot that has it. The bytes contain the number of the write and a
/// checksum.
pub trait Slot: Sized {
    /// Offset of the second slot, and the most bytes of a slot. A torn write of one slot must not touch the
    /// other, so it is a multiple of a disk sector.
    const BYTES_MAX: usize;

    /// The number of the first write.
    const FIRST_NUMBER: u64 = 0;

    /// Whether a slot that can't be read counts as broken if the other one is intact. If not, the file can't
    /// be opened.
    const MAY_BE_UNREADABLE: bool = false;

    /// The bytes of a slot.
    fn encode(&self, number: u64) -> Vec<u8>;

    /// The number of the write and the value. `None` if the slot is not intact; `bytes` may go on after the
    /// slot's own bytes.
    fn decode(bytes: &[u8]) -> Option<(u64, Self)>;
}

/// What a file has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found<S> {
    /// The value. `None` if no slot is intact.
    pub value: Option<S>,
    /// The value before, if its slot is intact, too.
    pub before: Option<S>,
    /// Number of slots that were written but are not intact.
    pub broken_slots: usize,
}

/// A file with two slots, opened for writing.
///
/// Concurrency: one writer; nothing else writes the file.
pub struct TwoSlots<S> {
    file: File,
    /// The number of the next write.
    next: u64,
    /// Number and bytes of the last write, if it was not synced.
    unsynced: Option<(u64, Vec<u8>)>,
    /// Whether the last sync failed. If so, the system may have dropped unwritten pages and marked them
    /// clean.
    has_sync_failed: bool,
    form: PhantomData<fn() -> S>,
}

impl<S: Slot> TwoSlots<S> {
    /// Reads a file that is open for reading and writing.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn open(file: File) -> Result<(Self, Found<S>), Error> {
        let (next, found) = read(&file)?;
        let opened = Self { file, next, unsynced: None, has_sync_failed: false, form: PhantomData };
        Ok((opened, found))
    }

    /// Reads a file without changing it.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn inspect(file: &File) -> Result<Found<S>, Error> {
        Ok(read(file)?.1)
    }

    /// Replaces the value. It is durable after the next [`TwoSlots::sync`].
    ///
    /// # Errors
    /// The value has too many bytes, or the file can't be written. The value before stays; the next write
    /// goes to the same slot.
    pub fn write(&mut self, value: &S) -> Result<(), Error> {
        let bytes = value.encode(self.next);
        if bytes.len() > S::BYTES_MAX {
            return Err(Error::new(ErrorKind::InvalidInput, "the value is too long for its slot"));
        }
        write_slot::<S>(&self.file, self.next, &bytes)?;
        self.unsynced = Some((self.next, bytes));
        self.next = self.next.saturating_add(1);
        Ok(())
    }

    /// Makes the last value durable. After a sync that failed, it is written again first.
    ///
    /// # Errors
    /// The file can't be written or synced.
    pub fn sync(&mut self) -> Result<(), Error> {
        let Some((number, bytes)) = &self.unsynced else { return Ok(()) };
        if self.has_sync_failed {
            write_slot::<S>(&self.file, *number, bytes)?;
        }
        let synced = self.file.sync_data();
        self.has_sync_failed = synced.is_err();
        synced?;
        self.unsynced = None;
        Ok(())
    }

    /// Whether a value was written since the last sync.
    #[must_use]
    pub fn is_unsynced(&self) -> bool {
        self.unsynced.is_some()
    }

    /// Replaces the value, durably.
    ///
    /// # Errors
    /// As [`TwoSlots::write`] and [`TwoSlots::sync`]. After a restart, the file has the value before, or the
    /// new one.
    pub fn replace(&mut self, value: &S) -> Result<(), Error> {
        let number = self.next;
        self.write(value)?;
        // If the sync fails, the next value goes to the same slot, so the other slot stays intact.
        self.sync().inspect_err(|_| self.next = number)
    }

    /// The same file, opened so that writes fail.
    #[cfg(test)]
    pub fn failing(self, file: File) -> Self {
        Self { file, ..self }
    }
}

fn write_slot<S: Slot>(file: &File, number: u64, bytes: &[u8]) -> Result<(), Error> {
    file.write_all_at(bytes, (number % 2).saturating_mul(S::BYTES_MAX as u64))
}

/// The number of the next write, and what the file has.
fn read<S: Slot>(file: &File) -> Result<(u64, Found<S>), Error> {
    let (mut intact, mut broken_slots, mut unreadable) = (Vec::with_capacity(2), 0_usize, None);
    for slot in [0, 1] {
        match read_slot(file, S::BYTES_MAX, slot) {
            Ok(bytes) => match S::decode(&bytes) {
                Some(found) => intact.push(found),
                None => broken_slots += usize::from(bytes.iter().any(|byte| *byte != 0)),
            },
            Err(error) => {
                broken_slots += 1;
                unreadable = Some(error);
            }
        }
    }
    if let Some(error) = unreadable.filter(|_| intact.is_empty() || !S::MAY_BE_UNREADABLE) {
        return Err(error);
    }
    intact.sort_by_key(|(number, _)| *number);
    let next = intact.last().map_or(S::FIRST_NUMBER, |(number, _)| number.saturating_add(1));
    let mut values = intact.into_iter().rev().map(|(_, value)| value);
    Ok((next, Found { value: values.next(), before: values.next(), broken_slots }))
}

/// The bytes of a slot: fewer than `length` at the end of the file.
fn read_slot(file: &File, length: usize, slot: u64) -> Result<Vec<u8>, Error> {
    let start = slot.saturating_mul(length as u64);
    let (mut bytes, mut done) = (vec![0; length], 0);
    while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, start.saturating_add(done as u64)) {
            Ok(0) => break,
            Ok(count) => done = done.saturating_add(count),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(done);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Letter(u8);

    impl Slot for Letter {
        const BYTES_MAX: usize = 512;

        fn encode(&self, number: u64) -> Vec<u8> {
            let mut bytes = number.to_be_bytes().to_vec();
            bytes.push(self.0);
            bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
            if self.0 == b'!' { vec![1; 513] } else { bytes }
        }

        fn decode(bytes: &[u8]) -> Option<(u64, Self)> {
            let (content, rest) = bytes.split_first_chunk::<9>()?;
            let (number, letter) = content.split_first_chunk::<8>()?;
            let is_intact = rest.starts_with(&crc32fast::hash(content).to_be_bytes());
            is_intact.then_some((u64::from_be_bytes(*number), Self(*letter.first()?)))
        }
    }

    fn open(path: &std::path::Path) -> (TwoSlots<Letter>, Found<Letter>) {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        TwoSlots::open(options.open(path).unwrap()).unwrap()
    }

    #[test]
    fn a_torn_write_leaves_the_value_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("letter");
        assert_eq!(open(&path).1, Found { value: None, before: None, broken_slots: 0 });
        let mut before = None;
        for letter in *b"abcd" {
            open(&path).0.replace(&Letter(letter)).unwrap();
            let value = Some(Letter(letter));
            assert_eq!(open(&path).1, Found { value, before: before.map(Letter), broken_slots: 0 });
            before = Some(letter);
        }
        let file = File::options().write(true).open(&path).unwrap();
        file.write_all_at(b"torn", 512).unwrap();
        assert_eq!(open(&path).1, Found { value: Some(Letter(b'c')), before: None, broken_slots: 1 });
        open(&path).0.replace(&Letter(b'e')).unwrap();
        let (value, before) = (Some(Letter(b'e')), Some(Letter(b'c')));
        assert_eq!(open(&path).1, Found { value, before, broken_slots: 0 });
    }

    #[test]
    fn after_a_failed_write_the_next_one_goes_to_the_same_slot() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("letter");
        let (mut slots, _) = open(&path);
        slots.replace(&Letter(b'a')).unwrap();
        assert_eq!(slots.write(&Letter(b'!')).unwrap_err().kind(), ErrorKind::InvalidInput);
        let mut failing = slots.failing(File::open(&path).unwrap());
        failing.replace(&Letter(b'b')).unwrap_err();
        assert!(!failing.is_unsynced());
        let mut slots = failing.failing(File::options().read(true).write(true).open(&path).unwrap());
        slots.replace(&Letter(b'c')).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!((bytes.get(8), bytes.get(520)), (Some(&b'a'), Some(&b'c')));
    }
}
