//! A list of the streams with revocations that are in effect but not recorded yet. With it, the ledger tries
//! again to record these revocations. If recording is late or fails, watchers are notified of the revocations
//! before they are recorded.

use crate::app::log::revocation::Revocation;
use crate::app::log::stream::SubjectStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The maximum number of streams kept here for another attempt to record their revocations. A stream for
/// which there is no room is found again at its next write or at the next start.
pub(crate) const STREAMS_MAX: usize = 4_096;

/// Streams with revocations that could not be recorded yet. They stay in memory until the revocations are
/// recorded.
#[derive(Default)]
pub(crate) struct PendingStreams {
    streams: Mutex<Vec<Arc<SubjectStream>>>,
    /// Streams whose recipients are notified before the revocations are recorded, because recording is late
    /// or failed.
    late: Mutex<Vec<Weak<SubjectStream>>>,
}

impl PendingStreams {
    /// Adds a stream for another attempt to record its revocations, unless it was added already or too many
    /// streams wait.
    pub fn push(&self, stream: &Arc<SubjectStream>) {
        let mut all = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() < STREAMS_MAX && !all.iter().any(|other| Arc::ptr_eq(other, stream)) {
            all.push(Arc::clone(stream));
        }
    }

    pub(crate) fn take(&self) -> Vec<Arc<SubjectStream>> {
        std::mem::take(&mut *self.streams.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn push_late(&self, stream: &Arc<SubjectStream>) {
        let mut late = self.late();
        if late.len() < STREAMS_MAX
            && !late.iter().any(|other| std::ptr::eq(other.as_ptr(), Arc::as_ptr(stream)))
        {
            late.push(Arc::downgrade(stream));
        }
    }

    /// Late revocations of the recipient with this key: in effect, but not recorded yet.
    pub fn late_at(&self, key: &[u8]) -> Vec<Revocation> {
        let streams: Vec<_> = self.late().iter().filter_map(Weak::upgrade).collect();
        let mut found = Vec::new();
        for stream in streams {
            let now = stream.read();
            found.extend(
                now.pending.revocations().filter(|(at, _)| at == key).map(|(_, revocation)| revocation),
            );
        }
        found
    }

    /// The streams whose revocations are still late. This forgets all other streams, so that a watch never
    /// searches them.
    fn late(&self) -> MutexGuard<'_, Vec<Weak<SubjectStream>>> {
        let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        late.retain(|stream| stream.upgrade().is_some_and(|stream| stream.has_pending()));
        late
    }
}
