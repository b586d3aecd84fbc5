//! Lists the events of a data subject, oldest first, as they were recorded and not as a folded state.

use crate::app::error::AppError;
use crate::app::log::read::open;
use crate::app::profile::Profiles;
use crate::app::profile::paging::Room;
use crate::domain::event::Recorded;
use crate::domain::ids::SubjectId;
use std::sync::Arc;

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
        let places = self.core.store().read_subject(stream.keys.handle, start, count.saturating_add(1))?;
        let mut next = places.get(count).map(|(version, _)| *version);
        let (mut events, mut room) = (Vec::new(), Room::new(count));
        // Entries are read one by one: a damaged entry hides no page before it, and nothing beyond the page
        // is read.
        for (version, position) in places.iter().take(count) {
            let stored = self.core.stored_entry(*position)?;
            if !room.take(stored.bytes.as_ref().map_or(0, Vec::len)) {
                next = Some(*version);
                break;
            }
            match open(&stream.keys, stored) {
                Ok(event) => events.push(event),
                // A partial erasure erased this event during the read.
                Err(AppError::Erased) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Page { events, next })
    }
}
