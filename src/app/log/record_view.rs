//! Everybody who looks at a person but the person leaves an event with that person: sealed with everything else
//! about them, shown to them, erased with them. They may know when and why their data was consulted, and the log shows
//! by whom (GDPR Art. 15(1), read as in CJEU C-579/21, Pankki S, 22 June 2023).

use crate::app::caller::Caller;
use crate::app::error::AppError;
use crate::app::log::append::{Begun, Timestamping};
use crate::app::log::core::Core;
use crate::app::log::receipt::{RequestStamp, WriteOptions};
use crate::app::log::recent_views::{ViewKey, WINDOW_MS};
use crate::app::log::stream::SubjectStream;
use crate::app::log::system_stream::SystemEvent;
use crate::domain::event::{Event, RecordViewed, Role};
use crate::domain::ids::SubjectId;
use std::sync::Arc;

impl Core {
    /// Records that somebody is about to look at a person, and goes on only once that is durable: nobody looks unseen,
    /// also not while the store takes no writes. The person themself leaves none.
    ///
    /// # Errors
    /// It can't be recorded.
    pub async fn record_view(
        self: &Arc<Self>,
        caller: &Caller,
        subject: &SubjectId,
        method: &'static str,
    ) -> Result<(), AppError> {
        if !leaves_views(caller) {
            return Ok(());
        }
        match self.stream(subject).await? {
            Some(stream) => self.record_view_in(caller, stream, method).await,
            None => Ok(()),
        }
    }

    /// Records that somebody is about to count over everybody: an event about nobody.
    ///
    /// # Errors
    /// It can't be recorded.
    pub(crate) async fn record_view_of_all(
        self: &Arc<Self>,
        caller: &Caller,
        method: &'static str,
    ) -> Result<(), AppError> {
        let view =
            RecordViewed { role: caller.role.into(), name: caller.name.clone(), method: method.into() };
        let plain = vec![SystemEvent::new(Event::RecordViewed(view))];
        self.publish_as(caller.actor(), self.now_ms(), plain, RequestStamp::default()).await?;
        Ok(())
    }

    /// As [`Core::record_view`], of whoever stands behind a lane.
    pub(crate) async fn record_view_in(
        self: &Arc<Self>,
        caller: &Caller,
        stream: Arc<SubjectStream>,
        method: &'static str,
    ) -> Result<(), AppError> {
        if !leaves_views(caller) {
            return Ok(());
        }
        let look: ViewKey = (stream.keys.handle, caller.role.into(), caller.name.clone(), method);
        let now_ms = self.now_ms();
        if self
            .recent_views
            .seen()
            .get(&look)
            .is_some_and(|last_ms| now_ms.saturating_sub(*last_ms) < WINDOW_MS)
        {
            return Ok(());
        }
        let options = WriteOptions::default();
        let begun = self.begin_in(stream, caller, &options, now_ms, Timestamping::Shared).await?;
        let Begun::Append(append) = begun else { return Ok(()) };
        let event =
            RecordViewed { role: caller.role.into(), name: caller.name.clone(), method: method.into() };
        self.commit(append, vec![self.plan(Event::RecordViewed(event))]).await?;
        // Only what is durable counts.
        self.recent_views.seen().put(look, now_ms);
        Ok(())
    }
}

fn leaves_views(caller: &Caller) -> bool {
    caller.role != Role::Subject
}
