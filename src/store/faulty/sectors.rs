//! What a power cut leaves of a file that was written but not synced.

use super::power::Power;

const SECTOR_BYTES: usize = 512;

/// Mixes the file's new content with its last synced content, sector by sector, at random.
///
/// Sometimes all sectors are new, and sometimes all are old.
#[must_use]
pub fn sectors(old: &[u8], new: &[u8], power: &Power) -> Vec<u8> {
    let new_of_ten = match power.below(5) {
        0 => 0,
        1 => 1,
        2 => 5,
        3 => 9,
        _ => 10,
    };
    // A file that has grown may be back at its old length: the length is metadata and not part of the data.
    let length = if power.below(2) == 0 { new.len() } else { old.len() };
    let mut bytes = new.to_vec();
    bytes.resize(new.len().max(old.len()), 0);
    let mut before = old.to_vec();
    before.resize(bytes.len(), 0);
    for (sector, old_sector) in bytes.chunks_mut(SECTOR_BYTES).zip(before.chunks(SECTOR_BYTES)) {
        if power.below(10) >= new_of_ten {
            sector.copy_from_slice(old_sector);
        }
    }
    bytes.truncate(length.max(old.len()));
    bytes
}
