//! Limits how many grants are indexed by the name of their recipient. The index only has to show whether any
//! grant names a certain recipient, and a few records for each name are enough for that.

use crate::app::log::index::recipient_hash;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// How many grants of one recipient are indexed by its name, for each run of the daemon. One record
/// would be enough if it were never erased.
const RECORDS_MAX: u32 = 8;
/// The most recipients whose records are counted. Those beyond get a record for each grant.
const NAMES_MAX: usize = 4_096;

/// Counts the index records of the names of recipients of grants.
#[derive(Default)]
pub(crate) struct NamedRecipients(Mutex<HashMap<Vec<u8>, u32>>);

impl NamedRecipients {
    /// Whether a new grant should be indexed by its recipient's name; if so, counts the new index record.
    pub fn needs_record(&self, recipient: &str) -> bool {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let hash = recipient_hash(recipient);
        if counts.len() >= NAMES_MAX && !counts.contains_key(&hash) {
            return true;
        }
        let count = counts.entry(hash).or_default();
        *count = count.saturating_add(1).min(RECORDS_MAX.saturating_add(1));
        *count <= RECORDS_MAX
    }
}
