//! Checks the limits on how many attributes, and how many bytes of them, one service and all callers together
//! may record about a data subject.

use crate::app::error::AppError;
use crate::app::log::append::{Append, PendingEvent};
use crate::app::log::decision_frame::preview;
use crate::app::profile::Profiles;
use crate::domain::event::Event;
use crate::domain::recorder_usage::{Load, Recorder};

impl Profiles {
    /// Checks that these events fit the limits. Call it before anything is written.
    ///
    /// # Errors
    /// One service would have recorded more about the data subject than its limit allows, or the total would
    /// exceed its limit.
    pub(crate) fn check_room(&self, append: &Append, events: &[PendingEvent]) -> Result<(), AppError> {
        let recorder = Recorder::of(&append.caller.actor());
        let more = events.iter().filter_map(load).fold(Load::default(), Load::and);
        let before = {
            let now = append.stream.read();
            if self.attribute_limits.has_room(&recorder, &now.state.usage, more) {
                return Ok(());
            }
            now.state.usage.clone()
        };
        // Close to a limit, what the events replace has to be subtracted.
        let after = preview(append, events).usage;
        self.attribute_limits.check(&recorder, &before, &after).map_err(AppError::AttributeLimit)
    }
}

fn load(pending: &PendingEvent) -> Option<Load> {
    match &pending.event {
        Event::AttributeRecorded(attribute) | Event::AttributeCorrected { attribute, .. } => {
            Some(Load::of(attribute))
        }
        _ => None,
    }
}
