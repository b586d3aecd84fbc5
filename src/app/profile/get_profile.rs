//! The profile: from memory, from the events, as of any moment.

use crate::app::error::AppError;
use crate::app::log::moment::Moment;
use crate::app::profile::Profiles;
use crate::domain::ids::SubjectId;
use crate::domain::profile::SubjectState;
use std::sync::Arc;

/// What is held about a person.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// The fold.
    pub state: SubjectState,
}

impl Profiles {
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
        Ok(Profile { state: self.core.state_at(subject, moment, rebuild).await? })
    }
}
