//! Finds the attributes of a request that were observed before the current attribute with the same key, or
//! stated before the data subject last spoke about this key. They are recorded as `EarlierAttributeRecorded`,
//! and the current attribute stays current, even if it comes from the same request.

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

    /// Whether an attribute is history when it is recorded. `stated_ms` is the time that its recorder states,
    /// milliseconds since the Unix epoch; `None` if the recorder states none.
    pub fn is_earlier(&self, append: &Append, attribute: &Attribute, stated_ms: Option<u64>) -> bool {
        let is_earlier = |state: &SubjectState| {
            state.is_observed_earlier(attribute)
                || stated_ms.is_some_and(|stated_ms| state.is_stated_earlier(attribute, stated_ms))
        };
        match &self.state {
            Some(state) => is_earlier(state),
            None => is_earlier(&append.stream.read().state),
        }
    }

    /// Applies a planned event.
    pub fn apply(&mut self, append: &Append, planned: &PendingEvent) {
        if let Some(state) = &mut self.state {
            apply_pending(state, append, planned);
        }
    }
}
