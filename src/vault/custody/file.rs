//! Root keys in a file of two slots that take turns, overwritten in place and synced.
//!
//! Each slot has a block of its own, so that writing one never touches the other, and holds its key twice, so that a
//! sector that goes bad takes nothing with it. A slot in which neither is whole holds no key: it was being made, and
//! nothing is sealed under it yet, or it was being destroyed, or it is damaged. What is left of it is overwritten only once
//! the key that counts has opened the tree: a damaged key that counts must stay as it is.
//!
//! Overwriting in place reaches the bytes where a file system writes in place (ext4, XFS). On one that copies on write
//! (btrfs, ZFS), and inside a flash drive, older bytes may linger: there a hardware module is the keeper to choose.

use super::root_custody::{CustodyError, Generation, RootCustody};
use super::software::{unwrap_in_software, wrap_in_software};
use crate::clock::Clock;
use crate::secret;
use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use zeroize::Zeroizing;

/// Bytes of a slot: a block.
pub const SLOT_BYTES: usize = 4096;
const SLOTS: u64 = 2;
const FILE_BYTES: usize = SLOT_BYTES * 2;
/// Where the key stands in its slot, twice.
const PLACES: [usize; 2] = [0, SLOT_BYTES / 2];
const MAGIC: &[u8; 8] = b"saysoRK1";
/// Magic, generation, key, checksum.
const WRITTEN: usize = 8 + 8 + 32 + 4;

/// A slot as it is found.
enum Slot {
    Empty,
    Broken,
    Whole(Generation, Zeroizing<[u8; 32]>),
}

/// Root keys in a file.
pub struct FileCustody {
    file: File,
}

impl FileCustody {
    /// Opens the file, or makes it, without a key in it, with mode 0600.
    ///
    /// # Errors
    /// The file can't be read, written or made, has another length or form, others may read it, or it
    /// belongs to another user.
    pub fn open(path: &Path) -> Result<Self, CustodyError> {
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                make_file(path)?;
                OpenOptions::new().read(true).write(true).open(path)?
            }
            Err(error) => return Err(error.into()),
        };
        let metadata = file.metadata()?;
        secret::check_private(&metadata)?;
        if metadata.len() != FILE_BYTES as u64 {
            return Err(Error::new(ErrorKind::InvalidData, "it is no file of root keys").into());
        }
        Ok(Self { file })
    }

    /// Opens the file to look at it alone: no root key can be made or destroyed.
    ///
    /// # Errors
    /// The file can't be read, or has another length.
    pub fn inspect(path: &Path) -> Result<Self, CustodyError> {
        let file = File::open(path)?;
        if file.metadata()?.len() != FILE_BYTES as u64 {
            return Err(Error::new(ErrorKind::InvalidData, "it is no file of root keys").into());
        }
        Ok(Self { file })
    }

    /// Places, by their offset in the file, at which a key should stand and none is whole.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn damage(&self) -> Result<Vec<usize>, CustodyError> {
        let mut found = Vec::new();
        for slot in 0..SLOTS {
            let start = usize::try_from(slot).unwrap_or(0).saturating_mul(SLOT_BYTES);
            match self.read(slot)? {
                Slot::Empty => {}
                Slot::Broken => found.extend(PLACES.map(|place| start.saturating_add(place))),
                Slot::Whole(generation, key) => {
                    let (is, ought) = (self.bytes(slot)?, encode(generation, &key));
                    for (place, end) in PLACES.into_iter().zip([PLACES[1], SLOT_BYTES]) {
                        if is.get(place..end) != ought.get(place..end) {
                            found.push(start.saturating_add(place));
                        }
                    }
                }
            }
        }
        Ok(found)
    }

    fn bytes(&self, slot: u64) -> Result<Zeroizing<[u8; SLOT_BYTES]>, CustodyError> {
        let mut bytes = Zeroizing::new([0; SLOT_BYTES]);
        self.file.read_exact_at(bytes.as_mut(), slot * SLOT_BYTES as u64)?;
        Ok(bytes)
    }

    fn read(&self, slot: u64) -> Result<Slot, CustodyError> {
        let bytes = self.bytes(slot)?;
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(Slot::Empty);
        }
        let whole = |place| decode(bytes.get(place..)?).filter(|(generation, _)| generation % SLOTS == slot);
        let found = PLACES.into_iter().find_map(whole);
        Ok(found.map_or(Slot::Broken, |(generation, key)| Slot::Whole(generation, key)))
    }

    /// Overwrites a slot twice, with ones and then with zeros, each time down to the device: a device that keeps a block
    /// of zeros as a hole must not leave the old one where it was.
    fn scrub(&self, slot: u64) -> Result<(), CustodyError> {
        for pattern in [0xff, 0x00] {
            self.file.write_all_at(&[pattern; SLOT_BYTES], slot * SLOT_BYTES as u64)?;
            self.file.sync_data()?;
        }
        Ok(())
    }

    fn root(&self, generation: Generation) -> Result<Zeroizing<[u8; 32]>, CustodyError> {
        match self.read(generation % SLOTS)? {
            Slot::Whole(found, key) if found == generation => Ok(key),
            _ => Err(CustodyError::Missing(generation)),
        }
    }
}

impl RootCustody for FileCustody {
    fn generations(&self) -> Result<Vec<Generation>, CustodyError> {
        let mut found = Vec::new();
        for slot in 0..SLOTS {
            if let Slot::Whole(generation, _) = self.read(slot)? {
                found.push(generation);
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    fn make(&self, generation: Generation, clock: &dyn Clock) -> Result<(), CustodyError> {
        let mut key = Zeroizing::new([0; 32]);
        clock.fill(key.as_mut());
        let slot = generation % SLOTS;
        if let Slot::Whole(found, _) = self.read(slot)?
            && found != generation
        {
            let message = format!("generation {found} is in the place of generation {generation}");
            return Err(CustodyError::Refused(message));
        }
        self.file.write_all_at(encode(generation, &key).as_ref(), slot * SLOT_BYTES as u64)?;
        self.file.sync_data()?;
        Ok(())
    }

    fn wrap(
        &self,
        generation: Generation,
        key: &[u8; 32],
        clock: &dyn Clock,
    ) -> Result<Vec<u8>, CustodyError> {
        wrap_in_software(&*self.root(generation)?, generation, key, clock)
    }

    fn unwrap(&self, generation: Generation, wrapped: &[u8]) -> Result<Zeroizing<[u8; 32]>, CustodyError> {
        unwrap_in_software(&*self.root(generation)?, generation, wrapped)
    }

    fn clear_remains(&self) -> Result<(), CustodyError> {
        for slot in 0..SLOTS {
            match self.read(slot)? {
                Slot::Empty => {}
                Slot::Broken => self.scrub(slot)?,
                Slot::Whole(generation, key) => {
                    let ought = encode(generation, &key);
                    if *self.bytes(slot)? != *ought {
                        tracing::warn!("a root key was damaged in one of its two places and was mended");
                        self.file.write_all_at(ought.as_ref(), slot * SLOT_BYTES as u64)?;
                        self.file.sync_data()?;
                    }
                }
            }
        }
        Ok(())
    }

    fn destroy(&self, generation: Generation) -> Result<(), CustodyError> {
        let slot = generation % SLOTS;
        match self.read(slot)? {
            Slot::Whole(found, _) if found != generation => Ok(()),
            Slot::Empty => Ok(()),
            _ => self.scrub(slot),
        }
    }
}

fn encode(generation: Generation, key: &[u8; 32]) -> Zeroizing<[u8; SLOT_BYTES]> {
    let mut bytes = Zeroizing::new([0; SLOT_BYTES]);
    let mut content = Zeroizing::new(Vec::with_capacity(WRITTEN));
    content.extend_from_slice(MAGIC);
    content.extend_from_slice(&generation.to_be_bytes());
    content.extend_from_slice(key);
    let checksum = crc32fast::hash(&content);
    content.extend_from_slice(&checksum.to_be_bytes());
    for place in PLACES {
        for (byte, written) in bytes.iter_mut().skip(place).zip(content.iter()) {
            *byte = *written;
        }
    }
    bytes
}

fn decode(bytes: &[u8]) -> Option<(Generation, Zeroizing<[u8; 32]>)> {
    let (magic, rest) = bytes.split_first_chunk::<8>()?;
    let (generation, rest) = rest.split_first_chunk::<8>()?;
    let (key, rest) = rest.split_first_chunk::<32>()?;
    let (checksum, _) = rest.split_first_chunk::<4>()?;
    let summed = bytes.get(..WRITTEN.saturating_sub(4))?;
    let whole = magic == MAGIC && crc32fast::hash(summed).to_be_bytes() == *checksum;
    whole.then(|| (u64::from_be_bytes(*generation), Zeroizing::new(*key)))
}

/// Whole under its name, every block of it allocated, or not there at all, whenever a crash comes.
fn make_file(path: &Path) -> Result<(), Error> {
    let unfinished = path.with_extension("unfinished");
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    file.write_all(&[0; FILE_BYTES])?;
    file.sync_all()?;
    // Not renamed: keys that somebody else made meanwhile must not be overwritten.
    std::fs::hard_link(&unfinished, path)?;
    std::fs::remove_file(&unfinished)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]
    use super::*;
    use crate::clock::SystemClock;
    use std::os::unix::fs::PermissionsExt;

    fn key_in(bytes: &[u8], slot: usize) -> [u8; 32] {
        bytes[slot * SLOT_BYTES + 16..slot * SLOT_BYTES + 48].try_into().unwrap()
    }

    #[test]
    fn one_root_replaces_the_other_in_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("root.key");
        let custody = FileCustody::open(&path).unwrap();
        assert!(custody.generations().unwrap().is_empty());
        custody.make(0, &SystemClock).unwrap();
        let wrapped = custody.wrap(0, &[7; 32], &SystemClock).unwrap();
        let old = key_in(&std::fs::read(&path).unwrap(), 0);
        custody.make(1, &SystemClock).unwrap();
        assert_eq!(custody.generations().unwrap(), [0, 1]);
        assert_eq!(*custody.unwrap(0, &wrapped).unwrap(), [7; 32]);
        assert!(matches!(custody.unwrap(1, &wrapped), Err(CustodyError::Unwrap)));
        assert!(matches!(custody.make(2, &SystemClock), Err(CustodyError::Refused(_))), "0 is in its place");
        custody.destroy(0).unwrap();
        custody.destroy(0).unwrap();
        assert!(matches!(custody.unwrap(0, &wrapped), Err(CustodyError::Missing(0))));
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(4).any(|window| window == &old[..4]), "not a word of it is left");
        let custody = FileCustody::open(&path).unwrap();
        assert_eq!(custody.generations().unwrap(), [1]);
        custody.make(2, &SystemClock).unwrap();
        custody.make(2, &SystemClock).unwrap();
        assert_eq!(custody.generations().unwrap(), [1, 2]);
    }

    #[test]
    fn a_slot_that_is_not_whole_holds_no_key_and_is_overwritten_when_that_is_certain() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("root.key");
        let custody = FileCustody::open(&path).unwrap();
        custody.make(0, &SystemClock).unwrap();
        custody.make(1, &SystemClock).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for at in [0, 9, 20, 47, 49] {
            let mut torn = whole.clone();
            torn[SLOT_BYTES + at] ^= 1;
            torn[SLOT_BYTES + PLACES[1] + at] ^= 1;
            std::fs::write(&path, &torn).unwrap();
            let custody = FileCustody::open(&path).unwrap();
            assert_eq!(custody.generations().unwrap(), [0]);
            assert_eq!(custody.damage().unwrap(), [SLOT_BYTES, SLOT_BYTES + PLACES[1]]);
            assert_eq!(std::fs::read(&path).unwrap(), torn, "it may be the one that counts");
            custody.clear_remains().unwrap();
            let after = std::fs::read(&path).unwrap();
            assert!(after[SLOT_BYTES..].iter().all(|byte| *byte == 0));
            assert_eq!(after[..SLOT_BYTES], whole[..SLOT_BYTES]);
        }
    }

    #[test]
    fn no_flipped_bit_takes_a_root_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("root.key");
        let custody = FileCustody::open(&path).unwrap();
        custody.make(0, &SystemClock).unwrap();
        let wrapped = custody.wrap(0, &[7; 32], &SystemClock).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut rotten = whole.clone();
            rotten[at] ^= 0x10;
            std::fs::write(&path, &rotten).unwrap();
            let custody = FileCustody::open(&path).unwrap();
            assert_eq!(*custody.unwrap(0, &wrapped).unwrap(), [7; 32], "byte {at}");
            assert!(!custody.damage().unwrap().is_empty(), "byte {at}");
        }
        FileCustody::open(&path).unwrap().clear_remains().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), whole, "mended");
    }

    #[test]
    fn the_file_is_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("root.key");
        FileCustody::open(&path).unwrap();
        let metadata = std::fs::metadata(&path).unwrap();
        assert_eq!((metadata.len(), metadata.permissions().mode() & 0o777), (FILE_BYTES as u64, 0o600));
        for mode in [0o640, 0o604, 0o620] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert!(matches!(FileCustody::open(&path), Err(CustodyError::Io(_))));
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, [0; 32]).unwrap();
        assert!(matches!(FileCustody::open(&path), Err(CustodyError::Io(_))));
    }
}
