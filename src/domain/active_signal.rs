//! A signal of a data subject that has not been lifted.

use super::event::SignalKind;
use super::ids::EventId;
use crate::domain::event::Role;

/// A signal that has not been lifted.
#[derive(Clone, Debug, PartialEq)]
pub struct ActiveSignal {
    /// The kind of signal.
    pub kind: SignalKind,
    /// The purposes that the signal applies to; an empty list means all.
    pub purposes: Vec<String>,
    /// The ledger's time, milliseconds since the Unix epoch.
    pub recorded_at_ms: u64,
    /// When the event was sealed (encrypted and signed for the log), milliseconds since the Unix epoch. Only
    /// a statement from after this time lifts the signal.
    pub sealed_at_ms: u64,
    /// The event that recorded it.
    pub event_id: EventId,
    /// For a pause, the one conversation that it applies to; empty means all conversations.
    pub interaction: String,
    /// The role of the caller that recorded it.
    pub by: Role,
}

impl ActiveSignal {
    /// Whether it is of this kind, in this conversation; an empty conversation means all.
    #[must_use]
    pub fn matches_signal(&self, kind: SignalKind, interaction: &str) -> bool {
        self.kind == kind && (interaction.is_empty() || self.interaction == interaction)
    }

    /// Whether a lifting of signals of this kind lifts any part of this signal. The lifting applies to these
    /// purposes (empty means all) in this conversation (empty means all).
    #[must_use]
    pub fn is_lifted_by(&self, kind: SignalKind, purposes: &[String], interaction: &str) -> bool {
        let named = || self.purposes.iter().any(|purpose| purposes.contains(purpose));
        self.matches_signal(kind, interaction) && (purposes.is_empty() || named())
    }
}
