//! Revocations that a change causes, but that did not fit into its frame (the events that are written
//! together). They take effect with the change, for every reader of the stream. Their events are recorded in
//! later frames (`record_pending`), after a restart if need be.

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
    /// The grants and artifacts that they revoke.
    targets: HashSet<EventId>,
}

impl PendingRevocations {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether the revocation of this grant or artifact is among them.
    pub fn contains(&self, event: &EventId) -> bool {
        self.targets.contains(event)
    }

    /// Adds revocations, and marks what they revoke in the state immediately.
    pub fn extend(&mut self, state: &mut SubjectState, events: Vec<Event>) {
        for event in &events {
            let Some((target, reason)) = revoked(event) else { continue };
            self.targets.insert(target);
            if let Some(grant) = state.grants.get_mut(&target) {
                grant.implied.get_or_insert(reason);
            }
            if let Some(artifact) = state.rights.artifacts.get_mut(&target) {
                artifact.implied.get_or_insert(reason);
            }
        }
        self.events.extend(events);
    }

    /// The revocations as recipients see them, each with the index key at which its watchers wait.
    pub(crate) fn revocations(&self) -> impl Iterator<Item = (Vec<u8>, Revocation)> {
        self.events.iter().filter_map(revocation_of)
    }

    pub(crate) fn first(&self, count: usize) -> Vec<Event> {
        self.events.iter().take(count).cloned().collect()
    }

    pub(crate) fn drop_first(&mut self, count: usize) {
        for event in self.events.drain(..count.min(self.events.len())) {
            if let Some((target, _)) = revoked(&event) {
                self.targets.remove(&target);
            }
        }
    }
}

fn revoked(event: &Event) -> Option<(EventId, Reason)> {
    match event {
        Event::GrantRevoked { grant, reason, .. } => Some((*grant, *reason)),
        Event::ArtifactInvalidated(ended) => Some((ended.artifact, ended.reason)),
        _ => None,
    }
}
