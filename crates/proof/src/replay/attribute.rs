//! The state of one attribute, as the events up to a position leave it.

use super::fault::Fault;
use super::vocabulary::WordsInForce;
use crate::entry::EventId;
use crate::event::{Attribute, GrantedAttribute, Provenance};

/// The edition of the rules of decisions from which on attributes that were derived from special categories
/// count as inferred.
const CONCLUSIONS_EDITION: u32 = 3;

pub(super) struct AttributeState {
    pub key: String,
    pub category: String,
    /// Whether it counts as declared: it was recorded as such, or the data subject confirmed it.
    pub declared: bool,
    pub recorded_as_declared: bool,
    pub inferred: bool,
    /// Whether the data subject recorded it with their own credential.
    pub by_subject: bool,
    /// Whether the data subject confirmed it.
    pub confirmed: bool,
    pub derived_from: Vec<Vec<u8>>,
    pub expires_at_ms: Option<u64>,
    pub observed_at_ms: u64,
    /// Why the attribute is no longer current; none while it is current.
    pub ended: Option<Fault>,
    pub contested: bool,
    /// When the newest contest was sealed, milliseconds since the Unix epoch.
    pub contested_at_ms: u64,
    /// The position of the last contest.
    pub contested_at: u64,
    /// The position of the event that recorded it.
    pub position: u64,
    /// For an inference, what the data subject had declared or confirmed under the same key when it was
    /// recorded.
    pub beside: Vec<EventId>,
}

impl AttributeState {
    /// An attribute whose event is missing, as a grant describes it. Nothing else is known about it.
    pub fn of_grant(granted: &GrantedAttribute) -> Self {
        let (key, category) = (granted.key.clone(), granted.category.clone());
        let provenance = Provenance::Declared.into();
        Self::new(&Attribute { key, category, provenance, ..Attribute::default() }, 0)
    }

    pub fn new(attribute: &Attribute, position: u64) -> Self {
        Self {
            key: attribute.key.clone(),
            category: attribute.category.clone(),
            declared: attribute.provenance() == Provenance::Declared,
            recorded_as_declared: attribute.provenance() == Provenance::Declared,
            inferred: attribute.provenance() == Provenance::Inferred,
            by_subject: false,
            confirmed: false,
            derived_from: attribute.derived_from.clone(),
            expires_at_ms: attribute.expires_at_ms,
            observed_at_ms: attribute.observed_at_ms,
            ended: None,
            contested: false,
            contested_at_ms: 0,
            contested_at: 0,
            position,
            beside: Vec::new(),
        }
    }

    /// Whether it expires before a time, milliseconds since the Unix epoch.
    pub fn expires_before(&self, at_ms: u64) -> bool {
        self.expires_at_ms.is_some_and(|expires_at_ms| expires_at_ms < at_ms)
    }

    /// Whether it counts as inferred if it was derived, directly or indirectly, from an attribute of a
    /// special category. An attribute that the data subject records with their own credential never does.
    pub fn may_be_conclusion(&self, vocabulary: WordsInForce<'_>) -> bool {
        vocabulary.edition() >= CONCLUSIONS_EDITION && !self.by_subject
    }

    /// Checks that the attribute itself may be used.
    pub fn check_usable(&self, now_ms: u64) -> Result<(), Fault> {
        if let Some(ended) = self.ended {
            return Err(ended);
        }
        if self.contested {
            return Err(Fault::Contested);
        }
        if self.expires_at_ms.is_some_and(|expires_at_ms| expires_at_ms <= now_ms) {
            return Err(Fault::Expired);
        }
        Ok(())
    }
}
