//! Lists the streams whose grants were reused more often than the log says. A grant is reused if it
//! answers a repeated request. The number of reuses is counted in memory and recorded later.

use crate::app::log::stream::SubjectStream;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// The most subjects with unrecorded counts. When there are this many, a repeated request about another
/// subject gets a new grant.
pub(crate) const UNRECORDED_MAX: usize = 4_096;

/// The streams with unrecorded counts, and the time since which the first of them has waited, milliseconds
/// since the Unix epoch.
#[derive(Default)]
pub(crate) struct UnrecordedReuse(Mutex<(Vec<Weak<SubjectStream>>, u64)>);

impl UnrecordedReuse {
    pub(crate) fn has_room(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.len() < UNRECORDED_MAX
    }

    pub(crate) fn push(&self, stream: &Arc<SubjectStream>, now_ms: u64) {
        let mut unrecorded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if unrecorded.0.is_empty() {
            unrecorded.1 = now_ms;
        }
        unrecorded.0.push(Arc::downgrade(stream));
    }

    /// As [`UnrecordedReuse::push`], for a stream that may be listed already. It is listed once.
    pub(crate) fn push_again(&self, stream: &Arc<SubjectStream>, now_ms: u64) {
        let is_same = |known: &Weak<SubjectStream>| std::ptr::eq(known.as_ptr(), Arc::as_ptr(stream));
        let is_listed = self.0.lock().unwrap_or_else(PoisonError::into_inner).0.iter().any(is_same);
        if !is_listed {
            self.push(stream, now_ms);
        }
    }

    /// Takes all streams if the first has waited for `waited_ms`, or if at least half of [`UNRECORDED_MAX`]
    /// streams wait.
    pub(crate) fn take_due(&self, now_ms: u64, waited_ms: u64) -> Vec<Weak<SubjectStream>> {
        let mut unrecorded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = now_ms.saturating_sub(unrecorded.1) >= waited_ms;
        if is_due || unrecorded.0.len() >= UNRECORDED_MAX / 2 {
            std::mem::take(&mut unrecorded.0)
        } else {
            Vec::new()
        }
    }
}
