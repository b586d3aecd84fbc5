//! What a power cut leaves of a file that was written and not synced.

use super::power::Power;

const SECTOR: usize = 512;

/// Each sector of what is new, or of what was there when it was synced last, as the dice say; now and then all of either.
#[must_use]
pub fn sectors(old: &[u8], new: &[u8], dice: &Power) -> Vec<u8> {
    let of_ten_new = match dice.below(5) {
        0 => 0,
        1 => 1,
        2 => 5,
        3 => 9,
        _ => 10,
    };
    // A file that had grown may be as short as it was: its length is no part of its data.
    let length = if dice.below(2) == 0 { new.len() } else { old.len() };
    let mut bytes = new.to_vec();
    bytes.resize(new.len().max(old.len()), 0);
    let mut before = old.to_vec();
    before.resize(bytes.len(), 0);
    for (sector, was) in bytes.chunks_mut(SECTOR).zip(before.chunks(SECTOR)) {
        if dice.below(10) >= of_ten_new {
            sector.copy_from_slice(was);
        }
    }
    bytes.truncate(length.max(old.len()));
    bytes
}
