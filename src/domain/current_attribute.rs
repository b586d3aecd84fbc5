//! The attribute that is current for one key in a data subject's state, and whether it is contested or
//! confirmed.

use super::attribute::Attribute;
use super::event::Actor;
use super::ids::EventId;
use super::word_cache::WordCache;
use crate::domain::event::Provenance;

/// An attribute as it is in the current state.
#[derive(Clone, Debug, PartialEq)]
pub struct CurrentAttribute {
    /// The event that recorded it.
    pub event_id: EventId,
    /// Position in the log.
    pub position: u64,
    /// Version within the subject's stream.
    pub version: u64,
    /// The version of the first of the recordings with the same content that led to this one without a
    /// change in between.
    pub unchanged_since: u64,
    /// The ledger's time, milliseconds since the Unix epoch.
    pub recorded_at_ms: u64,
    /// Who recorded it.
    pub actor: Actor,
    /// The attribute.
    pub attribute: Attribute,
    /// Whether the data subject says that it is wrong.
    pub contested: bool,
    /// Whether it is contested and the data subject said so with their own credential.
    pub contested_in_person: bool,
    /// When the contest was sealed, milliseconds since the Unix epoch; 0 if it is not contested. Only a
    /// statement from after this time ends the contest.
    pub contested_at_ms: u64,
    /// Whether the data subject says that it is right.
    pub confirmed: bool,
    /// Its words, if a ranking has read them.
    pub words: WordCache,
}

impl CurrentAttribute {
    /// Whether it counts as declared: the data subject declared or confirmed it.
    #[must_use]
    pub fn is_declared(&self) -> bool {
        self.confirmed || self.attribute.provenance == Provenance::Declared
    }

    /// Whether it was observed after a new attribute under its key, so that it stays current. But an
    /// inference gives way to what the data subject declares, no matter when either was observed.
    #[must_use]
    pub fn outlasts(&self, new: &Attribute) -> bool {
        let gives_way = new.provenance == Provenance::Declared
            && self.attribute.provenance == Provenance::Inferred
            && !self.confirmed;
        self.attribute.observed_at_ms > new.observed_at_ms && !gives_way
    }

    /// Notes a contest that was sealed at `sealed_ms`, milliseconds since the Unix epoch. It counts from then
    /// on, even if it states another time.
    pub(crate) fn contest(&mut self, in_person: bool, sealed_ms: u64) {
        (self.contested, self.confirmed) = (true, false);
        self.contested_in_person |= in_person;
        self.contested_at_ms = self.contested_at_ms.max(sealed_ms);
    }

    /// Notes a confirmation. If the data subject did not say it after they contested the attribute, it
    /// arrived late and changes nothing. `said_ms` is in milliseconds since the Unix epoch.
    pub(crate) fn confirm(&mut self, said_ms: u64) {
        if self.contested && said_ms <= self.contested_at_ms {
            return;
        }
        (self.contested, self.confirmed) = (false, true);
        (self.contested_in_person, self.contested_at_ms) = (false, 0);
    }

    /// Whether a new attribute repeats the conclusion that the data subject contested. Such a conclusion
    /// stays contested, however often a model infers it again.
    #[must_use]
    pub fn is_contested_conclusion(&self, new: &Attribute) -> bool {
        self.contested && new.provenance == Provenance::Inferred && self.attribute.value == new.value
    }
}

/// The part of a contest that carries over to the attribute that replaces the contested one.
#[derive(Clone, Copy)]
pub(crate) struct Contest {
    pub(crate) contested: bool,
    pub(crate) in_person: bool,
    /// When it was sealed, milliseconds since the Unix epoch.
    pub(crate) at_ms: u64,
}

impl Contest {
    pub(crate) fn carried_over(before: Option<&CurrentAttribute>, new: &Attribute) -> Self {
        let before = before.filter(|current| current.is_contested_conclusion(new));
        Self {
            contested: before.is_some(),
            in_person: before.is_some_and(|current| current.contested_in_person),
            at_ms: before.map_or(0, |current| current.contested_at_ms),
        }
    }
}
