//! Root keys in a file with two slots that are used in turn, overwritten in place and synced.
//!
//! Each slot is a separate block, so that writing one slot never touches the other. A slot holds its key
//! twice, so that the key survives one bad sector. If neither copy is intact, the slot counts as having no
//! key. There are three possible reasons:
//! - A crash interrupted the making of the key. Nothing is sealed under it.
//! - A crash interrupted the destruction of the key.
//! - The key is damaged. It may be the root key in force, and then must not be overwritten.
//!
//! Because of the third reason, a slot without an intact key is overwritten only after the key in the
//! other slot has opened the key tree (the encrypted pages with people's keys). This shows that the other
//! slot has the root key in force.
//!
//! Overwriting in place reaches the old bytes if the file system writes in place (ext4, XFS). On file systems
//! that copy on write (btrfs, ZFS), and inside flash drives, old bytes may remain. Use a hardware security
//! module there.

use super::root_custody::{CustodyError, KeyEpoch, RootCustody};
use super::software::{unwrap_in_software, wrap_in_software};
use crate::clock::Clock;
use crate::secret;
use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use zeroize::Zeroizing;

/// Bytes of a slot: one block.
pub const SLOT_BYTES: usize = 4096;
const SLOTS: u64 = 2;
const FILE_BYTES: usize = SLOT_BYTES * 2;
/// Offsets of the two copies of the key in its slot.
const COPIES: [usize; 2] = [0, SLOT_BYTES / 2];
const MAGIC: &[u8; 8] = b"saysoRK1";
/// Bytes of a copy: magic, epoch, key, checksum.
const COPY_BYTES: usize = 8 + 8 + 32 + 4;

/// The content of a slot.
enum Slot {
    Empty,
    Broken,
    Intact(KeyEpoch, Zeroizing<[u8; 32]>),
}

/// Root keys in a file.
pub struct FileCustody {
    file: File,
}

impl FileCustody {
    /// Opens the file. If it does not exist, makes it without a key, with mode 0600.
    ///
    /// # Errors
    /// The file can't be read, written or made, has the wrong length, is readable by others, or belongs to
    /// another user.
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
            return Err(wrong_length().into());
        }
        Ok(Self { file })
    }

    /// Opens the file for reading only: no root key can be made or destroyed.
    ///
    /// # Errors
    /// The file can't be read, or has the wrong length.
    pub fn inspect(path: &Path) -> Result<Self, CustodyError> {
        let file = File::open(path)?;
        if file.metadata()?.len() != FILE_BYTES as u64 {
            return Err(wrong_length().into());
        }
        Ok(Self { file })
    }

    /// Returns the offsets in the file of damaged copies of keys.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn damage(&self) -> Result<Vec<usize>, CustodyError> {
        let mut found = Vec::new();
        for slot in 0..SLOTS {
            let start = usize::try_from(slot).unwrap_or(0).saturating_mul(SLOT_BYTES);
            match self.read(slot)? {
                Slot::Empty => {}
                Slot::Broken => found.extend(COPIES.map(|offset| start.saturating_add(offset))),
                Slot::Intact(epoch, key) => {
                    let (actual, expected) = (self.bytes(slot)?, encode(epoch, &key));
                    for (offset, end) in COPIES.into_iter().zip([COPIES[1], SLOT_BYTES]) {
                        if actual.get(offset..end) != expected.get(offset..end) {
                            found.push(start.saturating_add(offset));
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
        let whole = |offset| decode(bytes.get(offset..)?).filter(|(epoch, _)| epoch % SLOTS == slot);
        let found = COPIES.into_iter().find_map(whole);
        Ok(found.map_or(Slot::Broken, |(epoch, key)| Slot::Intact(epoch, key)))
    }

    /// Overwrites a slot with ones and then with zeros, and syncs each time. Zeros alone would not do: a
    /// device may store a block of zeros as a hole and leave the old block where it was.
    fn scrub(&self, slot: u64) -> Result<(), CustodyError> {
        for pattern in [0xff, 0x00] {
            self.file.write_all_at(&[pattern; SLOT_BYTES], slot * SLOT_BYTES as u64)?;
            self.file.sync_data()?;
        }
        Ok(())
    }

    fn root(&self, epoch: KeyEpoch) -> Result<Zeroizing<[u8; 32]>, CustodyError> {
        match self.read(epoch % SLOTS)? {
            Slot::Intact(found, key) if found == epoch => Ok(key),
            _ => Err(CustodyError::Missing(epoch)),
        }
    }
}

impl RootCustody for FileCustody {
    fn key_epochs(&self) -> Result<Vec<KeyEpoch>, CustodyError> {
        let mut found = Vec::new();
        for slot in 0..SLOTS {
            if let Slot::Intact(epoch, _) = self.read(slot)? {
                found.push(epoch);
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    fn make(&self, epoch: KeyEpoch, clock: &dyn Clock) -> Result<(), CustodyError> {
        let mut key = Zeroizing::new([0; 32]);
        clock.fill(key.as_mut());
        let slot = epoch % SLOTS;
        if let Slot::Intact(found, _) = self.read(slot)?
            && found != epoch
        {
            let message = format!("the root key of epoch {found} occupies the slot of epoch {epoch}");
            return Err(CustodyError::Refused(message));
        }
        self.file.write_all_at(encode(epoch, &key).as_ref(), slot * SLOT_BYTES as u64)?;
        self.file.sync_data()?;
        Ok(())
    }

    fn wrap(&self, epoch: KeyEpoch, key: &[u8; 32], clock: &dyn Clock) -> Result<Vec<u8>, CustodyError> {
        wrap_in_software(&*self.root(epoch)?, epoch, key, clock)
    }

    fn unwrap(&self, epoch: KeyEpoch, wrapped: &[u8]) -> Result<Zeroizing<[u8; 32]>, CustodyError> {
        unwrap_in_software(&*self.root(epoch)?, epoch, wrapped)
    }

    fn clear_remains(&self) -> Result<(), CustodyError> {
        for slot in 0..SLOTS {
            match self.read(slot)? {
                Slot::Empty => {}
                Slot::Broken => self.scrub(slot)?,
                Slot::Intact(epoch, key) => {
                    let whole = encode(epoch, &key);
                    if *self.bytes(slot)? != *whole {
                        tracing::warn!("one of the two copies of a root key was damaged; it was repaired");
                        self.file.write_all_at(whole.as_ref(), slot * SLOT_BYTES as u64)?;
                        self.file.sync_data()?;
                    }
                }
            }
        }
        Ok(())
    }

    fn destroy(&self, epoch: KeyEpoch) -> Result<(), CustodyError> {
        let slot = epoch % SLOTS;
        match self.read(slot)? {
            Slot::Intact(found, _) if found != epoch => Ok(()),
            Slot::Empty => Ok(()),
            _ => self.scrub(slot),
        }
    }
}

fn wrong_length() -> Error {
    Error::new(ErrorKind::InvalidData, format!("a file of root keys has {FILE_BYTES} bytes"))
}

fn encode(epoch: KeyEpoch, key: &[u8; 32]) -> Zeroizing<[u8; SLOT_BYTES]> {
    let mut bytes = Zeroizing::new([0; SLOT_BYTES]);
    let mut content = Zeroizing::new(Vec::with_capacity(COPY_BYTES));
    content.extend_from_slice(MAGIC);
    content.extend_from_slice(&epoch.to_be_bytes());
    content.extend_from_slice(key);
    let checksum = crc32fast::hash(&content);
    content.extend_from_slice(&checksum.to_be_bytes());
    for offset in COPIES {
        for (byte, value) in bytes.iter_mut().skip(offset).zip(content.iter()) {
            *byte = *value;
        }
    }
    bytes
}

fn decode(bytes: &[u8]) -> Option<(KeyEpoch, Zeroizing<[u8; 32]>)> {
    let (magic, rest) = bytes.split_first_chunk::<8>()?;
    let (epoch, rest) = rest.split_first_chunk::<8>()?;
    let (key, rest) = rest.split_first_chunk::<32>()?;
    let (checksum, _) = rest.split_first_chunk::<4>()?;
    let summed = bytes.get(..COPY_BYTES.saturating_sub(4))?;
    let is_whole = magic == MAGIC && crc32fast::hash(summed).to_be_bytes() == *checksum;
    is_whole.then(|| (u64::from_be_bytes(*epoch), Zeroizing::new(*key)))
}

/// Makes the file with every block allocated. After a crash it is either complete or absent.
fn make_file(path: &Path) -> Result<(), Error> {
    let unfinished = path.with_extension("unfinished");
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    file.write_all(&[0; FILE_BYTES])?;
    file.sync_all()?;
    // This is a link and not a rename, because a file that another process made meanwhile must not be
    // overwritten.
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
    fn a_root_key_replaces_the_previous_one_in_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("root.key");
        let custody = FileCustody::open(&path).unwrap();
        assert!(custody.key_epochs().unwrap().is_empty());
        custody.make(0, &SystemClock).unwrap();
        let wrapped = custody.wrap(0, &[7; 32], &SystemClock).unwrap();
        let old = key_in(&std::fs::read(&path).unwrap(), 0);
        custody.make(1, &SystemClock).unwrap();
        assert_eq!(custody.key_epochs().unwrap(), [0, 1]);
        assert_eq!(*custody.unwrap(0, &wrapped).unwrap(), [7; 32]);
        assert!(matches!(custody.unwrap(1, &wrapped), Err(CustodyError::Unwrap)));
        assert!(
            matches!(custody.make(2, &SystemClock), Err(CustodyError::Refused(_))),
            "the root key of epoch 0 occupies the slot"
        );
        custody.destroy(0).unwrap();
        custody.destroy(0).unwrap();
        assert!(matches!(custody.unwrap(0, &wrapped), Err(CustodyError::Missing(0))));
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(4).any(|window| window == &old[..4]), "no bytes of the key are left");
        let custody = FileCustody::open(&path).unwrap();
        assert_eq!(custody.key_epochs().unwrap(), [1]);
        custody.make(2, &SystemClock).unwrap();
        custody.make(2, &SystemClock).unwrap();
        assert_eq!(custody.key_epochs().unwrap(), [1, 2]);
    }

    #[test]
    fn a_damaged_slot_holds_no_key_and_is_overwritten_only_on_request() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("root.key");
        let custody = FileCustody::open(&path).unwrap();
        custody.make(0, &SystemClock).unwrap();
        custody.make(1, &SystemClock).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for at in [0, 9, 20, 47, 49] {
            let mut torn = whole.clone();
            torn[SLOT_BYTES + at] ^= 1;
            torn[SLOT_BYTES + COPIES[1] + at] ^= 1;
            std::fs::write(&path, &torn).unwrap();
            let custody = FileCustody::open(&path).unwrap();
            assert_eq!(custody.key_epochs().unwrap(), [0]);
            assert_eq!(custody.damage().unwrap(), [SLOT_BYTES, SLOT_BYTES + COPIES[1]]);
            assert_eq!(
                std::fs::read(&path).unwrap(),
                torn,
                "a slot that may have the key in force is not overwritten"
            );
            custody.clear_remains().unwrap();
            let after = std::fs::read(&path).unwrap();
            assert!(after[SLOT_BYTES..].iter().all(|byte| *byte == 0));
            assert_eq!(after[..SLOT_BYTES], whole[..SLOT_BYTES]);
        }
    }

    #[test]
    fn a_flipped_bit_never_loses_a_root_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("root.key");
        let custody = FileCustody::open(&path).unwrap();
        custody.make(0, &SystemClock).unwrap();
        let wrapped = custody.wrap(0, &[7; 32], &SystemClock).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x10;
            std::fs::write(&path, &flipped).unwrap();
            let custody = FileCustody::open(&path).unwrap();
            assert_eq!(*custody.unwrap(0, &wrapped).unwrap(), [7; 32], "byte {at}");
            assert!(!custody.damage().unwrap().is_empty(), "byte {at}");
        }
        FileCustody::open(&path).unwrap().clear_remains().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), whole, "repaired");
    }

    #[test]
    fn only_the_owner_may_read_the_file() {
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
