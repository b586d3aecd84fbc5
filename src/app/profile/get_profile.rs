//! The profile: from memory, from the events, as of any moment.

use crate::app::error::AppError;
use crate::app::log::stream::{SubjectStream, for_each_event};
use crate::app::{App, Moment};
use crate::domain::ids::SubjectId;
use crate::domain::profile::SubjectState;
use std::sync::Arc;

/// What is held about a person.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// The fold.
    pub state: SubjectState,
}

impl App {
    /// The profile at a moment. `rebuild` goes past every cache.
    ///
    /// # Errors
    /// Nothing is held about the person; or the store.
    pub async fn get_profile(
        self: &Arc<Self>,
        subject: &SubjectId,
        moment: Moment,
        rebuild: bool,
    ) -> Result<Profile, AppError> {
        let stream = self.stream(subject).await?.ok_or(AppError::NotFound("subject"))?;
        if !rebuild {
            let now = stream.read();
            if moment == Moment::Now || moment == Moment::Version(now.state.version) {
                return Ok(Profile { state: now.state.clone() });
            }
        }
        Ok(Profile { state: self.state_as_of(&stream, moment)? })
    }

    /// The fold of what had been recorded by a moment, from the events.
    pub(crate) fn state_as_of(
        &self,
        stream: &SubjectStream,
        moment: Moment,
    ) -> Result<SubjectState, AppError> {
        let mut state = SubjectState::default();
        for_each_event(&stream.keys, self.store(), 0, |event, _| {
            let within = match moment {
                Moment::Now => true,
                Moment::Time(time_ms) => event.recorded_at_ms <= time_ms,
                Moment::Version(count) => event.version < count,
            };
            if within {
                state.apply(&event);
            }
            Ok(())
        })?;
        Ok(state)
    }
}
