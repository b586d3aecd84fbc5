//! Which events about rules must be signed by their publisher: versions of bounds, required versions of
//! notices, and definitions that replace another one or declare a legal basis.

use crate::event::event_body::Event;
use crate::event::{EventBody, LegalBasis, Role};
use crate::writer;
use std::collections::BTreeSet;

/// The words that were defined so far, and whether definitions that replace another one have to be signed.
#[derive(Default)]
pub(crate) struct SignedRules {
    purposes: BTreeSet<String>,
    categories: BTreeSet<String>,
    /// Definitions are signed only in logs of the second edition of the rules of decisions.
    signs_definitions: bool,
    /// Whether the ledger did not record all entries so far by itself.
    is_past_beginning: bool,
    /// The definitions so far, encoded, except those that the ledger recorded.
    published: BTreeSet<Vec<u8>>,
}

impl SignedRules {
    /// Whether the log so far consists of system events that the ledger recorded by itself, up to and
    /// including the event that was applied last. The words that are defined there have always had their
    /// meaning.
    pub fn is_at_beginning(&self) -> bool {
        !self.is_past_beginning
    }

    /// Applies the next system event. Returns whether it lacks a valid signature by its publisher.
    ///
    /// The ledger itself publishes a log's initial bounds and words, before the first entry of a data
    /// subject. They may be unsigned. All later bounds must be signed, and so must each definition that
    /// replaces another one or declares a legal basis.
    pub fn is_unsigned(&mut self, body: &EventBody, has_subject_entry: bool) -> bool {
        let by_ledger = body.actor.as_ref().is_some_and(|actor| actor.role() == Role::Ledger);
        self.is_past_beginning |= has_subject_entry || !by_ledger;
        let Some(event) = &body.event else { return false };
        let is_definition = matches!(event, Event::PurposeDefined(_) | Event::CategoryDefined(_));
        // A definition is published once: its signature could be that of an earlier one.
        let is_repeated = is_definition && !by_ledger && !self.published.insert(writer::signed_bytes(event));
        let signature = body.writer_signature.as_ref();
        let must_be_signed = match event {
            Event::BoundsPublished(_) => has_subject_entry,
            Event::NoticeRequired(_) => true,
            Event::PurposeDefined(purpose) => {
                let is_new = self.purposes.insert(purpose.id.clone());
                let declares_basis =
                    !matches!(purpose.legal_basis(), LegalBasis::Unspecified | LegalBasis::Consent);
                declares_basis || !is_new && self.signs_definitions
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
        let is_invalid = (must_be_signed || signature.is_some()) && writer::verify(event, signature).is_err();
        is_invalid || is_repeated && self.signs_definitions
    }
}
