//! Which roles may record which kinds of events. A service must not speak for a person: only the person, a
//! channel (an application through which people speak) or a steward records a consent.

use crate::event::event_body::Event;
use crate::event::{Actor, Role};

/// From this edition of the rules of decisions on, the roles are checked.
const ROLES_EDITION: u32 = 5;

/// Whether somebody in the role that an event states may record the event. The event must state a role.
pub(super) fn may_record(event: &Event, actor: Option<&Actor>, edition: u32) -> bool {
    let role = actor.map_or(Role::Unspecified, |actor| actor.role());
    edition < ROLES_EDITION
        || match event {
            Event::ConsentGiven(_)
            | Event::ConsentRenewed(_)
            | Event::SignalLifted(_)
            | Event::AttributeConfirmed(_) => matches!(role, Role::Subject | Role::Channel | Role::Steward),
            Event::PersonalBoundsSet(_) => matches!(role, Role::Subject | Role::Steward),
            _ => true,
        }
}
