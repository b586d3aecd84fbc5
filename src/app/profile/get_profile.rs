//! Reads a profile, as it is now or was at an earlier moment. The present profile comes from the state in
//! memory, unless the caller asks for one that is computed anew from the events. An earlier profile is always
//! computed from the events.

use crate::app::error::AppError;
use crate::app::log::moment::Moment;
use crate::app::profile::Profiles;
use crate::domain::ids::SubjectId;
use crate::domain::profile::SubjectState;
use std::sync::Arc;

/// What is recorded about a data subject.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// The folded state.
    pub state: SubjectState,
}

impl Profiles {
    /// The profile at a moment. `rebuild` folds the events instead of using the state in memory.
    ///
    /// # Errors
    /// Nothing is recorded about the data subject, or the store failed.
    pub async fn get_profile(
        self: &Arc<Self>,
        subject: &SubjectId,
        moment: Moment,
        rebuild: bool,
    ) -> Result<Profile, AppError> {
        let state = match rebuild {
            true => self.core.rebuilt_state_at(subject, moment).await?,
            false => self.core.state_at(subject, moment).await?,
        };
        Ok(Profile { state })
    }
}
