//! The first pass over the events. It finds the recipients of data and the position of each grant. It also
//! collects purposes and recipients: for each pair of them, the package states what is permitted.

use crate::app::error::AppError;
use crate::app::rights::export_subject::export::Export;
use crate::domain::event::{Event, GrantIssued, Recorded};
use crate::domain::ids::EventId;
use crate::domain::vocabulary::Vocabulary;
use crate::domain::wording;
use crate::package::{ConsentRequest, Recipient};
use std::collections::{BTreeMap, BTreeSet};

/// What the first pass found.
#[derive(Default)]
pub(crate) struct Survey {
    /// Recipients of data, by name.
    pub recipients: BTreeMap<String, Recipient>,
    /// Every request for consent.
    pub asked: Vec<ConsentRequest>,
    /// Recipients for which the package states what is permitted. `None` stands for any recipient that no
    /// consent names.
    pub deciding_for: BTreeSet<Option<String>>,
    /// Purposes that a consent or a grant names.
    named: BTreeSet<String>,
    /// Position of each grant that allowed something. A grant that allowed nothing does not count as a use.
    grants: BTreeMap<EventId, u64>,
}

impl Survey {
    pub fn of(export: &Export) -> Result<Self, AppError> {
        let mut survey = Self::default();
        let mut purposes = export.rules.vocabulary.purposes();
        // A legal basis other than consent is open to any recipient.
        if purposes.any(|purpose| export.rules.vocabulary.declared_basis(&purpose.id).is_some()) {
            survey.deciding_for.insert(None);
        }
        export.for_each_event(|event| {
            survey.take(event);
            Ok(())
        })?;
        Ok(survey)
    }

    fn take(&mut self, event: &Recorded) {
        match &event.event {
            Event::GrantIssued(issued) => {
                self.deciding_for.insert(Some(issued.recipient.clone()));
                self.named.insert(issued.purpose.clone());
                if !issued.allowed.is_empty() {
                    self.grants.insert(event.event_id, event.position);
                    self.received(event.recorded_at_ms, issued);
                }
            }
            Event::GrantGivenAgain(again) if self.grants.contains_key(&again.grant) => {
                if let Some(recipient) = self.recipients.get_mut(&again.recipient) {
                    recipient.disclosures = recipient.disclosures.saturating_add(again.count.into());
                    recipient.last_received_at = wording::time(again.last_ms);
                }
            }
            Event::GrantUsed(used) if self.grants.contains_key(&used.grant) => {
                if let Some(recipient) = self.recipients.get_mut(&event.actor.name) {
                    recipient.uses = recipient.uses.saturating_add(u64::from(used.count));
                }
            }
            Event::Consent { decision, terms } if decision.is_yes() => {
                self.named.extend(terms.purposes.iter().cloned());
                match terms.recipients.as_slice() {
                    [] => drop(self.deciding_for.insert(None)),
                    names => self.deciding_for.extend(names.iter().cloned().map(Some)),
                }
            }
            Event::ConsentRequested(terms) => self.asked.push(ConsentRequest {
                event_id: event.event_id,
                recorded_at_ms: event.recorded_at_ms,
                about_ms: event.about_ms,
                terms: terms.clone(),
                actor: event.actor.clone(),
            }),
            _ => {}
        }
    }

    fn received(&mut self, at_ms: u64, issued: &GrantIssued) {
        let at = wording::time(at_ms);
        let recipient = self.recipients.entry(issued.recipient.clone()).or_insert_with(|| Recipient {
            name: issued.recipient.clone(),
            first_received_at: at.clone(),
            last_received_at: String::new(),
            disclosures: 0,
            uses: 0,
            purposes: Vec::new(),
            categories: Vec::new(),
        });
        recipient.last_received_at = at;
        recipient.disclosures = recipient.disclosures.saturating_add(1);
        insert(&mut recipient.purposes, &issued.purpose);
        issued.allowed.iter().for_each(|allowed| insert(&mut recipient.categories, &allowed.category));
    }

    /// The purposes for which the package states what is permitted: those that a consent or a grant
    /// names, and their descendants, and those with a legal basis other than consent.
    pub fn purposes(&self, vocabulary: &Vocabulary) -> Vec<String> {
        let within = |id: &str| {
            let ancestry = vocabulary.purpose_ancestry(id);
            vocabulary.declared_basis(id).is_some()
                || ancestry.iter().any(|above| self.named.contains(*above))
        };
        vocabulary
            .purposes()
            .filter(|purpose| within(&purpose.id))
            .map(|purpose| purpose.id.clone())
            .collect()
    }

    /// The position of a grant that allowed something.
    pub fn grant_position(&self, event: &EventId) -> Option<u64> {
        self.grants.get(event).copied()
    }
}

/// Inserts a name into a sorted list without duplicates.
fn insert(list: &mut Vec<String>, name: &str) {
    if let Err(place) = list.binary_search_by(|present| present.as_str().cmp(name)) {
        list.insert(place, name.to_owned());
    }
}
