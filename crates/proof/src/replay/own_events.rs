//! The events of one data subject, by id, so that a check can tell whether later events name events that
//! exist.

use super::parties::{Named, named};
use crate::entry::EventId;
use crate::event::event_body::Event;
use std::collections::{HashMap, HashSet};

/// What an event recorded that later events may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Attribute,
    /// A consent that was given or renewed.
    Consent,
    /// A refusal or a withdrawal.
    Refusal,
    Signal,
    PersonalBounds,
    ErasureRefused,
    Grant,
    Artifact,
    Other,
    /// Its content is withheld, so it may be of any kind.
    Withheld,
}

/// The events of one data subject so far, and the requests and holds that they recorded.
#[derive(Default)]
pub(super) struct OwnEvents {
    // Unordered: looked up, never iterated.
    kinds: HashMap<EventId, Kind>,
    // Unordered: looked up, never iterated.
    requests: HashSet<Vec<u8>>,
    // Unordered: looked up, never iterated.
    holds: HashSet<Vec<u8>>,
}

impl OwnEvents {
    /// What the event names that the data subject does not have, as far as is known. `is_system_event` says
    /// whether an id is that of a system event.
    pub fn lack<'a>(&self, event: &'a Event, is_system_event: impl Fn(&EventId) -> bool) -> Vec<Named<'a>> {
        let mut lacking = named(event);
        lacking.retain(|named| !self.have(*named, &is_system_event));
        lacking
    }

    fn have(&self, named: Named<'_>, is_system_event: impl Fn(&EventId) -> bool) -> bool {
        if self.kind(named.id()) == Some(Kind::Withheld) {
            return true;
        }
        match named {
            Named::Attribute(id) => self.kind(id) == Some(Kind::Attribute),
            Named::Consent(id) => self.kind(id) == Some(Kind::Consent),
            Named::Grant(id) => self.kind(id) == Some(Kind::Grant),
            Named::Artifact(id) => self.kind(id) == Some(Kind::Artifact),
            Named::Request(id) => self.requests.contains(id),
            Named::Hold(id) => self.holds.contains(id),
            Named::OwnEvent(id) => self.kind(id).is_some(),
            Named::Cause(id) => {
                self.kind(id).is_some() || <&EventId>::try_from(id).is_ok_and(is_system_event)
            }
        }
    }

    /// Adds an event whose content is withheld.
    pub fn add_withheld(&mut self, id: &EventId) {
        self.kinds.insert(*id, Kind::Withheld);
    }

    /// Adds the next event; none if the replay does not need its content.
    pub fn add(&mut self, id: &EventId, event: Option<&Event>) {
        let kind = match event {
            Some(
                Event::AttributeRecorded(_)
                | Event::EarlierAttributeRecorded(_)
                | Event::AttributeCorrected(_),
            ) => Kind::Attribute,
            Some(Event::ConsentGiven(_) | Event::ConsentRenewed(_)) => Kind::Consent,
            Some(Event::ConsentRefused(_) | Event::ConsentWithdrawn(_)) => Kind::Refusal,
            Some(Event::SignalRecorded(_)) => Kind::Signal,
            Some(Event::PersonalBoundsSet(_)) => Kind::PersonalBounds,
            Some(Event::ErasureRefused(_)) => Kind::ErasureRefused,
            Some(Event::GrantIssued(_)) => Kind::Grant,
            Some(Event::ArtifactRegistered(_)) => Kind::Artifact,
            _ => Kind::Other,
        };
        self.kinds.insert(*id, kind);
        match event {
            Some(Event::RequestSubmitted(submitted)) => {
                self.requests.insert(submitted.request.clone());
            }
            Some(Event::HoldPlaced(placed)) => {
                self.holds.insert(placed.hold.clone());
            }
            _ => {}
        }
    }

    /// What the event with this id recorded; none if the data subject has no such event.
    pub fn kind(&self, id: &[u8]) -> Option<Kind> {
        self.kinds.get(<&EventId>::try_from(id).ok()?).copied()
    }
}
