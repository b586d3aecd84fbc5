//! An attribute as a subject's state holds it now.

use super::attribute::Attribute;
use super::event::Actor;
use super::ids::EventId;
use sayso_proof::event::Provenance;

/// An attribute as it is held.
#[derive(Clone, Debug, PartialEq)]
pub struct CurrentAttribute {
    /// The event that recorded it.
    pub event_id: EventId,
    /// Position in the log.
    pub position: u64,
    /// Version within the subject.
    pub version: u64,
    /// The ledger's time, milliseconds since the Unix epoch.
    pub recorded_at_ms: u64,
    /// Who recorded it.
    pub actor: Actor,
    /// The attribute.
    pub attribute: Attribute,
    /// The person says it is wrong.
    pub contested: bool,
    /// It is contested, and the person said so with their own credential.
    pub contested_in_person: bool,
    /// The person says it is right.
    pub confirmed: bool,
}

impl CurrentAttribute {
    /// Whether it is the person's own word.
    #[must_use]
    pub fn is_declared(&self) -> bool {
        self.confirmed || self.attribute.provenance == Provenance::Declared
    }

    pub(crate) fn contest(&mut self, in_person: bool) {
        (self.contested, self.confirmed) = (true, false);
        self.contested_in_person |= in_person;
    }

    pub(crate) fn confirm(&mut self) {
        (self.contested, self.confirmed) = (false, true);
        self.contested_in_person = false;
    }

    /// Whether a new fact is the very conclusion that the person contested: it stays contested, however often a model
    /// comes to it.
    #[must_use]
    pub fn is_contested_conclusion(&self, new: &Attribute) -> bool {
        self.contested && new.provenance == Provenance::Inferred && self.attribute.value == new.value
    }
}

/// What is left of a person's contest when a new fact takes the place of the contested one.
#[derive(Clone, Copy)]
pub(crate) struct Contest {
    pub(crate) stands: bool,
    pub(crate) in_person: bool,
}

impl Contest {
    pub(crate) fn kept(before: Option<&CurrentAttribute>, new: &Attribute) -> Self {
        let before = before.filter(|held| held.is_contested_conclusion(new));
        Self { stands: before.is_some(), in_person: before.is_some_and(|held| held.contested_in_person) }
    }
}
