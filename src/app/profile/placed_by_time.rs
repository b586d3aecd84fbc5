//! Finds the attributes of a request that were observed before the current attribute with the same key. They
//! are recorded as `EarlierAttributeRecorded`, and the current attribute stays current, even if it comes from
//! the same request.

use crate::app::log::append::{Append, PendingEvent};
use crate::app::log::decision_frame::apply_pending;
use crate::domain::attribute::Attribute;
use crate::domain::ids::EventId;
use crate::domain::profile::SubjectState;
use std::collections::BTreeSet;

/// The state of the data subject after the events that were planned so far.
pub(super) struct PlacedByTime {
    /// `None` if no attribute of the request depends on another attribute of the request. Then the state
    /// before the request is enough.
    state: Option<SubjectState>,
}

impl PlacedByTime {
    pub fn of(append: &Append, attributes: &[(Attribute, Option<EventId>)]) -> Self {
        let mut keys = BTreeSet::new();
        let is_dependent =
            attributes.iter().any(|(attribute, corrects)| corrects.is_some() || !keys.insert(&attribute.key));
        Self { state: is_dependent.then(|| append.stream.read().state.clone()) }
    }

    /// Whether an attribute was observed before the current one under its key.
    pub fn is_observed_earlier(&self, append: &Append, attribute: &Attribute) -> bool {
        match &self.state {
            Some(state) => state.is_observed_earlier(attribute),
            None => append.stream.read().state.is_observed_earlier(attribute),
        }
    }

    /// Applies a planned event.
    pub fn apply(&mut self, append: &Append, planned: &PendingEvent) {
        if let Some(state) = &mut self.state {
            apply_pending(state, append, planned);
        }
    }
}
