//! The artifacts of one data subject: what recipients built from attributes that grants allow. An artifact
//! ends as soon as one of its sources may no longer be used.

use super::allowed::Allowed;
use crate::entry::EventId;
use crate::event::ArtifactRegistered;
use std::collections::HashMap;
use std::sync::Arc;

/// An artifact, as far as later events depend on it.
pub(super) struct IssuedArtifact {
    pub position: u64,
    /// The event id of the grant under which it was registered, if its form is valid.
    pub grant: EventId,
    /// Whether it is already counted among those of which it was not checked whether they had to end.
    pub is_unchecked: bool,
    /// When it expires, milliseconds since the Unix epoch; [`u64::MAX`] if never.
    pub expires_at_ms: u64,
    /// Whether an event ended it, or a decision contradicted it.
    pub has_ended: bool,
    pub recipient: String,
    pub purpose: String,
    /// Those of its sources that its grant allows.
    pub sources: Arc<Allowed>,
    /// Its id for recipients.
    pub id: String,
}

impl IssuedArtifact {
    pub fn new(position: u64, id: String, registered: &ArtifactRegistered, sources: Arc<Allowed>) -> Self {
        Self {
            position,
            grant: EventId::try_from(registered.grant.as_slice()).unwrap_or_default(),
            is_unchecked: false,
            // Early artifacts did not expire.
            expires_at_ms: if registered.expires_at_ms == 0 { u64::MAX } else { registered.expires_at_ms },
            has_ended: false,
            recipient: registered.recipient.clone(),
            purpose: registered.purpose.clone(),
            sources,
            id,
        }
    }

    pub fn is_open(&self, now_ms: u64) -> bool {
        !self.has_ended && self.expires_at_ms > now_ms
    }
}

/// The artifacts of one data subject so far.
#[derive(Default)]
pub(super) struct IssuedArtifacts {
    // Unordered: looked up, never iterated.
    by_id: HashMap<EventId, IssuedArtifact>,
}

impl IssuedArtifacts {
    pub fn get(&self, id: &[u8]) -> Option<&IssuedArtifact> {
        self.by_id.get(<&EventId>::try_from(id).ok()?)
    }

    pub fn get_mut(&mut self, id: &[u8]) -> Option<&mut IssuedArtifact> {
        self.by_id.get_mut(<&EventId>::try_from(id).ok()?)
    }

    pub fn add(&mut self, id: &EventId, artifact: IssuedArtifact) {
        self.by_id.insert(*id, artifact);
    }
}
