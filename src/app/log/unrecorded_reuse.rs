//! Streams whose counts of reused grants are not recorded yet.

use crate::app::log::stream::SubjectStream;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// People with times that are not written down yet; a question about another one is answered anew.
pub(crate) const UNWRITTEN_MAX: usize = 4_096;

/// Whose times are not written down yet, and since when, milliseconds since the Unix epoch.
#[derive(Default)]
pub(crate) struct UnrecordedReuse(Mutex<(Vec<Weak<SubjectStream>>, u64)>);

impl UnrecordedReuse {
    pub(crate) fn has_room(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.len() < UNWRITTEN_MAX
    }

    pub(crate) fn push(&self, stream: &Arc<SubjectStream>, now_ms: u64) {
        let mut unrecorded_reuse = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if unrecorded_reuse.0.is_empty() {
            unrecorded_reuse.1 = now_ms;
        }
        unrecorded_reuse.0.push(Arc::downgrade(stream));
    }

    /// Everybody, where the first has waited for so long or half of the room is taken.
    pub(crate) fn take_due(&self, now_ms: u64, waited_ms: u64) -> Vec<Weak<SubjectStream>> {
        let mut unrecorded_reuse = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = now_ms.saturating_sub(unrecorded_reuse.1) >= waited_ms;
        if is_due || unrecorded_reuse.0.len() >= UNWRITTEN_MAX / 2 {
            std::mem::take(&mut unrecorded_reuse.0)
        } else {
            Vec::new()
        }
    }
}
