//! Lists the events of a data subject, oldest first, as they were recorded and not as a folded state.

use crate::app::error::AppError;
use crate::app::profile::Profiles;
use crate::app::profile::paging::Room;
use crate::domain::event::Recorded;
use crate::domain::ids::SubjectId;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Entries in one read.
const READ_COUNT: usize = 64;

/// A page of events, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The events.
    pub events: Vec<Recorded>,
    /// The version at which the next page begins; `None` at the end.
    pub next: Option<u64>,
}

impl Profiles {
    /// The events from version `start` on: at most `count`, and no more than fit into one answer.
    ///
    /// # Errors
    /// Nothing is recorded about the data subject, or the store failed.
    pub async fn list_events(
        self: &Arc<Self>,
        subject: &SubjectId,
        start: u64,
        count: usize,
    ) -> Result<Page, AppError> {
        let stream = self.core.stream(subject).await?.ok_or(AppError::UnknownSubject)?;
        self.core.record_reuse_before_read(&stream).await;
        let (mut events, mut room, mut next) = (Vec::new(), Room::new(count), None);
        self.core.for_each_entry(&stream.keys, start, READ_COUNT, |entry| {
            if !room.take(entry.bytes) {
                next = Some(entry.version);
                return Ok(ControlFlow::Break(()));
            }
            // If there is no event, a partial erasure erased it during the read.
            events.extend(entry.event);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(Page { events, next })
    }
}
