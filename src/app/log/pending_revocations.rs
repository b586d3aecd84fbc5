//! Revocations that a decision implies and that did not fit beside it. They count from the moment of the decision, for everybody
//! who reads the stream; their events follow in frames of their own, also after a restart.

use crate::app::log::index::revocation_of;
use crate::app::log::revocation::Revocation;
use crate::domain::event::{Event, Reason};
use crate::domain::ids::EventId;
use crate::domain::profile::SubjectState;
use std::collections::{HashSet, VecDeque};

/// The revocations of one subject that are still to be recorded, oldest first.
#[derive(Default)]
pub(crate) struct PendingRevocations {
    events: VecDeque<Event>,
    /// The grants and artifacts that they are about.
    about: HashSet<EventId>,
}

impl PendingRevocations {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether the revocation of this grant or artifact is among them.
    pub fn has(&self, event: &EventId) -> bool {
        self.about.contains(event)
    }

    /// Adds revocations, and lets the state say at once that what they revoke does not stand.
    pub fn extend(&mut self, state: &mut SubjectState, events: Vec<Event>) {
        for event in &events {
            let Some((about, reason)) = revoked(event) else { continue };
            self.about.insert(about);
            if let Some(grant) = state.grants.get_mut(&about) {
                grant.implied.get_or_insert(reason);
            }
            if let Some(artifact) = state.rights.artifacts.get_mut(&about) {
                artifact.implied.get_or_insert(reason);
            }
        }
        self.events.extend(events);
    }

    /// Those that a recipient is told of, and where its watches wait.
    pub(crate) fn revocations(&self) -> impl Iterator<Item = (Vec<u8>, Revocation)> {
        self.events.iter().filter_map(revocation_of)
    }

    pub(crate) fn first(&self, count: usize) -> Vec<Event> {
        self.events.iter().take(count).cloned().collect()
    }

    pub(crate) fn drop_first(&mut self, count: usize) {
        for event in self.events.drain(..count.min(self.events.len())) {
            if let Some((about, _)) = revoked(&event) {
                self.about.remove(&about);
            }
        }
    }
}

fn revoked(event: &Event) -> Option<(EventId, Reason)> {
    match event {
        Event::GrantRevoked { grant, reason, .. } => Some((*grant, *reason)),
        Event::ArtifactInvalidated(ended) => Some((EventId::from_slice(&ended.artifact)?, ended.reason())),
        _ => None,
    }
}
