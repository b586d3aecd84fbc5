//! The first pass of an export over the subject's events. It finds the recipients of the data and the
//! position of each grant that allowed something. It also collects the purposes and recipients that the
//! events name: for each pair of a purpose and a recipient, the package states what is permitted.

use crate::app::error::AppError;
use crate::app::rights::export_subject::export::Export;
use crate::domain::event::{Event, GrantIssued, Recorded, Role};
use crate::domain::ids::EventId;
use crate::domain::recipients::RecipientList;
use crate::domain::vocabulary::Vocabulary;
use crate::domain::wording;
use crate::package::{ConsentRequest, Recipient};
use std::collections::{BTreeMap, BTreeSet};

/// What the first pass found.
#[derive(Default)]
pub(crate) struct Survey {
    /// Recipients of data, by kind and name.
    pub recipients: BTreeMap<(&'static str, String), Recipient>,
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
        survey.add_kept(&export.state.rights.recipients);
        if let Some((_, first)) =
            export.rights.core.store().read_subject(export.stream.keys.handle, 0, 1)?.first()
        {
            for holder in export.rights.core.projections.disclosures.audit_exports.holders_of(*first) {
                let times = (holder.first_ms, holder.last_ms);
                let recipient = survey.recipient(Role::Auditor, &holder.name, times);
                recipient.disclosures = recipient.disclosures.saturating_add(holder.bundles);
            }
        }
        Ok(survey)
    }

    /// Adds the recipients of disclosures whose record has ended.
    fn add_kept(&mut self, list: &RecipientList) {
        for kept in list.iter() {
            self.recipient(kept.role, &kept.name, (kept.first_ms, kept.last_ms)).earlier_records_ended = true;
        }
    }

    /// A recipient that received data at these times (first and last, milliseconds since the Unix epoch).
    fn recipient(&mut self, role: Role, name: &str, (first_ms, last_ms): (u64, u64)) -> &mut Recipient {
        let (first, last) = (wording::time(first_ms), wording::time(last_ms));
        let kind = if role == Role::Auditor { "auditor" } else { "service" };
        let recipient = self.recipients.entry((kind, name.to_owned())).or_insert_with(|| Recipient {
            name: name.to_owned(),
            kind,
            first_received_at: first.clone(),
            last_received_at: last.clone(),
            disclosures: 0,
            earlier_records_ended: false,
            uses: 0,
            purposes: Vec::new(),
            categories: Vec::new(),
        });
        // These texts sort like the times that they state.
        recipient.first_received_at = std::mem::take(&mut recipient.first_received_at).min(first);
        recipient.last_received_at = std::mem::take(&mut recipient.last_received_at).max(last);
        recipient
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
                let times = (again.last_ms, again.last_ms);
                let recipient = self.recipient(Role::Service, &again.recipient, times);
                recipient.disclosures = recipient.disclosures.saturating_add(again.count.into());
            }
            Event::GrantUsed(used) if self.grants.contains_key(&used.grant) => {
                if let Some(recipient) = self.recipients.get_mut(&("service", event.actor.name.clone())) {
                    recipient.uses = recipient.uses.saturating_add(u64::from(used.count));
                }
            }
            Event::RecordViewed(view) if view.role == Role::Auditor => {
                let times = (event.recorded_at_ms, event.recorded_at_ms);
                let recipient = self.recipient(Role::Auditor, &view.name, times);
                recipient.disclosures = recipient.disclosures.saturating_add(1);
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
        let recipient = self.recipient(Role::Service, &issued.recipient, (at_ms, at_ms));
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
