//! Whether there is room for what is to be recorded about a person.

use crate::app::error::AppError;
use crate::app::log::append::{Append, PendingEvent};
use crate::app::log::decision_frame::preview;
use crate::app::profile::Profiles;
use crate::domain::event::Event;
use crate::domain::recorder_usage::{Load, Recorder};

impl Profiles {
    /// Nothing is written before this.
    ///
    /// # Errors
    /// One service would have more on the person than it may, or more would be held about them than may be.
    pub(crate) fn check_room(
        &self,
        append: &Append,
        pending_events: &[PendingEvent],
    ) -> Result<(), AppError> {
        let recorder = Recorder::of(&append.caller.actor());
        let more = pending_events.iter().filter_map(load).fold(Load::default(), Load::and);
        let before = {
            let now = append.stream.read();
            if self.attribute_limits.has_room(&recorder, &now.state.holdings, more) {
                return Ok(());
            }
            now.state.holdings.clone()
        };
        // Near a limit it matters what is replaced.
        let after = preview(append, pending_events).holdings;
        self.attribute_limits.check(&recorder, &before, &after).map_err(AppError::NoRoom)
    }
}

fn load(pending_events: &PendingEvent) -> Option<Load> {
    match &pending_events.event {
        Event::AttributeRecorded(attribute) | Event::AttributeCorrected { attribute, .. } => {
            Some(Load { facts: 1, bytes: attribute.bytes() })
        }
        _ => None,
    }
}
