//! Which events about rules must be signed by their publisher: versions of bounds, and definitions that
//! replace another one.

use crate::event::event_body::Event;
use crate::event::{EventBody, Role};
use crate::writer;
use std::collections::BTreeSet;

/// The words that were defined so far, and whether definitions that replace another one have to be signed.
#[derive(Default)]
pub(crate) struct SignedRules {
    purposes: BTreeSet<String>,
    categories: BTreeSet<String>,
    /// Definitions are signed only in logs of the second edition of the rules of decisions.
    signs_definitions: bool,
}

/// Whether the ledger itself recorded an event.
pub(crate) fn is_by_ledger(body: &EventBody) -> bool {
    body.actor.as_ref().is_some_and(|actor| actor.role() == Role::Ledger)
}

impl SignedRules {
    /// Applies the next system event. Returns whether it lacks a valid signature by its publisher.
    ///
    /// The ledger itself publishes a log's initial bounds and words, before the first entry of a data
    /// subject. They may be unsigned. All later bounds must be signed, and so must each definition that
    /// replaces another one.
    pub fn is_unsigned(&mut self, body: &EventBody, has_subject_entry: bool) -> bool {
        let Some(event) = &body.event else { return false };
        let signature = body.writer_signature.as_ref();
        let must_be_signed = match event {
            Event::BoundsPublished(_) => has_subject_entry,
            Event::PurposeDefined(purpose) => {
                let is_new = self.purposes.insert(purpose.id.clone());
                !is_new && self.signs_definitions
            }
            Event::CategoryDefined(category) => {
                let is_new = self.categories.insert(category.id.clone());
                !is_new && self.signs_definitions
            }
            Event::DecisionRulesAdopted(adopted) => {
                self.signs_definitions |= adopted.edition >= 2;
                false
            }
            _ => return false,
        };
        (must_be_signed || signature.is_some()) && writer::verify(event, signature).is_err()
    }
}
