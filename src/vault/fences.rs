//! Fences: a fence has the time at which a subject was erased. Writes about this subject and an earlier
//! time are refused.
//!
//! The page of a fence has the day of the erasure (UTC). The exact time is sealed in this page under the
//! *moments key*, which is stored in the top page of the key tree (`tree_pages.rs`). When anybody is
//! erased as a whole on a later day, the moments key is replaced, together with the root key. From then
//! on, only the day can be read. So somebody who guesses an id cannot use the time of the fence to find
//! the event of the erasure. Until the key is replaced, the ledger refuses only writes about a time before
//! the erasure. Afterwards, it refuses every consent or attribute that is about the day of the erasure.

use super::error::VaultError;
use super::pages;
use super::seal::PageSeal;
use crate::clock::Clock;
use crate::secret::SecretBytes;
use sayso_proof::certificate::{DAY_MS, day_of};
use sayso_proof::merkle::Hash;

/// The key that seals the exact times of the erasures of one day.
#[derive(Clone)]
pub struct MomentsKey {
    /// The beginning of the day (UTC) of the first erasure under this key, milliseconds since the Unix epoch.
    pub day_ms: u64,
    /// The key.
    pub key: SecretBytes,
}

impl MomentsKey {
    /// The key for an erasure at this time: the current one, or a fresh one if its day is over.
    pub fn for_time(current: Option<&Self>, at_ms: u64, clock: &dyn Clock) -> Self {
        let day_ms = day_of(at_ms);
        if let Some(current) = current.filter(|current| current.day_ms >= day_ms) {
            return current.clone();
        }
        Self { day_ms, key: SecretBytes::random(clock) }
    }
}

/// The last millisecond of the day (UTC) of a time, milliseconds since the Unix epoch.
fn day_end(time_ms: u64) -> u64 {
    day_of(time_ms).saturating_add(DAY_MS - 1)
}

/// The content of the page of a fence: the end of the day (8), and a page with the exact time, sealed under
/// the moments key.
pub fn encode(
    subject: &Hash,
    at_ms: u64,
    moments: &MomentsKey,
    clock: &dyn Clock,
) -> Result<Vec<u8>, VaultError> {
    let name = pages::id(pages::FENCE, subject);
    let moment = PageSeal::new(&moments.key).seal(&name, &at_ms.to_be_bytes(), clock)?;
    Ok([day_end(at_ms).to_be_bytes().as_slice(), &moment].concat())
}

/// The time of a fence, milliseconds since the Unix epoch: the exact time if the moments key still opens it,
/// otherwise the end of the day. `moments` is the current key. The fences of restores and of early versions
/// have 8 bytes, the exact time.
///
/// # Errors
/// The page is too short.
pub fn time_of(subject: &Hash, page: &[u8], moments: Option<&MomentsKey>) -> Result<u64, VaultError> {
    let (stored, moment) = page.split_first_chunk().ok_or(VaultError::Page)?;
    let stored_ms = u64::from_be_bytes(*stored);
    let Some(moments) = moments.filter(|_| !moment.is_empty()) else {
        return Ok(stored_ms);
    };
    let name = pages::id(pages::FENCE, subject);
    let exact = PageSeal::new(&moments.key).open(&name, moment).ok();
    Ok(exact.and_then(|exact| pages::decode_number(&exact).ok()).unwrap_or(stored_ms))
}
