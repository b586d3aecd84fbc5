//! Records who views what is recorded about a data subject. Every view by anyone but the subject is an event
//! in the subject's stream: sealed with everything else, shown to the subject, erased with the stream. A data
//! subject may know when and why their data was consulted (GDPR Art. 15(1), as interpreted by the CJEU in
//! C-579/21, Pankki S, 22 June 2023). The event has the time, the called method, and the role and the name of
//! the caller.

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
    /// Records that a caller is about to view a data subject, and returns once the event of the view is
    /// durable. If the view can't be recorded, the call fails and nothing may be shown. The data subject's
    /// own views are not recorded.
    ///
    /// # Errors
    /// The view could not be recorded.
    pub async fn record_view(
        self: &Arc<Self>,
        caller: &Caller,
        subject: &SubjectId,
        method: &'static str,
    ) -> Result<(), AppError> {
        if !is_recorded(caller) {
            return Ok(());
        }
        match self.stream(subject).await? {
            Some(stream) => self.record_view_in(caller, stream, method).await,
            None => Ok(()),
        }
    }

    /// Records, as a system event, that a caller is about to compute figures over all data subjects.
    ///
    /// # Errors
    /// The view could not be recorded.
    pub(crate) async fn record_view_of_all(
        self: &Arc<Self>,
        caller: &Caller,
        method: &'static str,
    ) -> Result<(), AppError> {
        let view = RecordViewed { role: caller.role, name: caller.name.clone(), method: method.into() };
        let events = vec![SystemEvent::new(Event::RecordViewed(view))];
        self.publish_as(caller.actor(), self.now_ms(), events, RequestStamp::default()).await?;
        Ok(())
    }

    /// As [`Core::record_view`], for a stream.
    pub(crate) async fn record_view_in(
        self: &Arc<Self>,
        caller: &Caller,
        stream: Arc<SubjectStream>,
        method: &'static str,
    ) -> Result<(), AppError> {
        if !is_recorded(caller) {
            return Ok(());
        }
        let view: ViewKey = (stream.keys.handle, caller.role, caller.name.clone(), method);
        let now_ms = self.now_ms();
        if self
            .recent_views
            .lock()
            .get(&view)
            .is_some_and(|last_ms| now_ms.saturating_sub(*last_ms) < WINDOW_MS)
        {
            return Ok(());
        }
        let options = WriteOptions::default();
        let begun = self.begin_in(stream, caller, &options, now_ms, Timestamping::Shared).await?;
        let Begun::Append(append) = begun else { return Ok(()) };
        let event = RecordViewed { role: caller.role, name: caller.name.clone(), method: method.into() };
        self.commit(append, vec![self.plan(Event::RecordViewed(event))]).await?;
        // A view counts as recorded only once its event is durable.
        self.recent_views.lock().put(view, now_ms);
        Ok(())
    }
}

fn is_recorded(caller: &Caller) -> bool {
    caller.role != Role::Subject
}
