//! The state of one data subject that grants depend on.

use super::age::Age;
use super::attribute::{AttributeState, EventId};
use super::decisions::Decisions;
use super::effort::Effort;
use super::fault::Fault;
use super::kept_only::KeptData;
use super::signals::{Signals, Statement};
use super::vocabulary::Given;
use crate::event::event_body::Event;
use crate::event::{Attribute, ConsentTerms, PersonalBoundsSet, Provenance};
use std::collections::HashMap;

/// The edition of the rules of decisions from which on an attribute does not replace one that was observed
/// later.
const BY_TIME_EDITION: u32 = 3;

/// When an event was recorded, and the time that it states.
#[derive(Clone, Copy)]
pub(super) struct RecordedAt {
    pub position: u64,
    /// Milliseconds since the Unix epoch.
    pub sealed_at_ms: u64,
    /// Milliseconds since the Unix epoch.
    pub about_ms: u64,
    /// The edition of the rules of decisions that the log followed by then.
    pub edition: u32,
    /// Whether the data subject recorded it with their own credential.
    pub by_subject: bool,
}

#[derive(Default)]
pub(super) struct Subject {
    next_version: u64,
    incomplete: bool,
    pub(super) effort: Effort,
    /// Whether the history takes too many steps to replay.
    is_too_long: bool,
    // Unordered: looked up, never iterated.
    attributes: HashMap<EventId, AttributeState>,
    /// Attributes that were not replaced, corrected, removed or expired, by key.
    // Unordered: looked up, never iterated.
    current: HashMap<String, Vec<EventId>>,
    pub(super) decisions: Decisions,
    pub(super) signals: Signals,
    /// The data subject's own bounds, as they were last set.
    pub(super) choices: PersonalBoundsSet,
    pub(super) kept: KeptData,
    pub(super) age: Age,
}

impl Subject {
    /// Notes the next entry of the stream, readable or not.
    pub fn note_version(&mut self, version: u64, readable: bool) {
        self.incomplete |= version != self.next_version || !readable;
        self.next_version = version.saturating_add(1);
        self.effort.add(1);
    }

    /// Whether every event so far was present and readable, and was replayed.
    pub fn is_complete(&self) -> bool {
        !self.incomplete && !self.is_too_long
    }

    /// Applies an event.
    pub fn apply(&mut self, id: &EventId, recorded: RecordedAt, event: &Event) {
        let RecordedAt { position, sealed_at_ms, about_ms, edition, by_subject } = recorded;
        // A statement cannot be later than its sealing.
        let said_at_ms = about_ms.min(sealed_at_ms);
        let consented = Given { said_at_ms, sealed_at_ms, position };
        // A refusal counts from when it was sealed, whatever time it states.
        let refused = Given { said_at_ms: sealed_at_ms, ..consented };
        match event {
            Event::AttributeRecorded(recorded) => {
                let attribute = recorded.attribute.as_ref();
                match attribute.filter(|new| edition >= BY_TIME_EDITION && self.is_observed_earlier(new)) {
                    Some(earlier) => self.note_earlier(id, earlier),
                    None => self.record(id, attribute),
                }
            }
            Event::EarlierAttributeRecorded(recorded) => {
                if let Some(attribute) = &recorded.attribute {
                    self.note_earlier(id, attribute);
                }
            }
            Event::AttributeCorrected(corrected) => {
                self.end(&corrected.corrects, Fault::Corrected);
                self.record(id, corrected.attribute.as_ref());
            }
            Event::AttributeRemoved(removed) => self.end(&removed.attribute, Fault::Removed),
            Event::AttributeExpired(expired) => self.end(&expired.attribute, Fault::Expired),
            Event::AttributeContested(contested) => {
                if let Some(attribute) = self.attribute_mut(&contested.attribute) {
                    attribute.contested = true;
                    // A contest takes back an earlier confirmation.
                    (attribute.confirmed, attribute.declared) = (false, attribute.recorded_as_declared);
                }
            }
            Event::AttributeConfirmed(confirmed) => self.confirm(&confirmed.attribute),
            Event::ConsentGiven(given) => self.decide(id, consented, true, given.terms.as_ref()),
            Event::ConsentRenewed(renewed) => self.decide(id, consented, true, renewed.terms.as_ref()),
            Event::ConsentRefused(refusal) => self.decide(id, refused, false, refusal.terms.as_ref()),
            Event::ConsentWithdrawn(withdrawn) => {
                self.decide(id, refused, false, withdrawn.terms.as_ref());
            }
            Event::SignalRecorded(signal) => {
                let recorded = Statement { said_at_ms: sealed_at_ms, position };
                self.signals.record(signal.kind(), &signal.purposes, &signal.interaction, recorded);
            }
            Event::SignalLifted(signal) => {
                let lifted = Statement { said_at_ms, position };
                self.signals.lift(signal.kind(), &signal.purposes, &signal.interaction, lifted);
            }
            Event::PersonalBoundsSet(choices) => self.choices = choices.clone(),
            Event::ErasureRefused(refused) if self.effort.spend(self.kept.len()) => {
                self.kept.refuse(refused);
            }
            Event::RequestWithdrawn(withdrawn) if self.effort.spend(self.kept.len()) => {
                self.kept.withdraw(&withdrawn.request);
            }
            Event::SubjectDescribed(described) => self.age.apply(described),
            _ => {}
        }
        if by_subject && let Some(attribute) = self.attributes.get_mut(id) {
            attribute.by_subject = true;
        }
        self.is_too_long |= self.effort.take_failure();
    }

    pub(super) fn attribute(&self, id: &[u8]) -> Option<&AttributeState> {
        self.attributes.get(<&EventId>::try_from(id).ok()?)
    }

    fn attribute_mut(&mut self, id: &[u8]) -> Option<&mut AttributeState> {
        self.attributes.get_mut(<&EventId>::try_from(id).ok()?)
    }

    /// Whether an attribute was observed before the current one under its key. The data subject's declaration
    /// replaces an inference, whenever either was observed.
    fn is_observed_earlier(&self, new: &Attribute) -> bool {
        let current = self.current.get(&new.key).into_iter().flatten();
        let current = current.take_while(|_| self.effort.spend(1));
        let mut current = current.filter_map(|id| self.attributes.get(id));
        current.any(|current| {
            let gives_way = new.provenance() == Provenance::Declared && current.inferred && !current.declared;
            // An inference beside a declared attribute is not the current one.
            current.declared_before.is_none() && current.observed_at_ms > new.observed_at_ms && !gives_way
        })
    }

    /// Notes an attribute that is history: a newer one was current when it was recorded.
    fn note_earlier(&mut self, id: &EventId, attribute: &Attribute) {
        let ended = Some(Fault::Replaced);
        self.attributes.insert(*id, AttributeState { ended, ..AttributeState::new(attribute) });
    }

    fn record(&mut self, id: &EventId, attribute: Option<&Attribute>) {
        let Some(attribute) = attribute else { return };
        let mut new = AttributeState::new(attribute);
        let current = self.current.entry(new.key.clone()).or_default();
        if !self.effort.spend(current.len()) {
            return;
        }
        current.retain(|old_id| {
            let Some(old) = self.attributes.get_mut(old_id) else { return false };
            // An inference never replaces what the data subject declared.
            if old.declared && new.inferred {
                new.declared_before = Some(*old_id);
                return true;
            }
            old.ended.get_or_insert(Fault::Replaced);
            false
        });
        current.push(*id);
        self.attributes.insert(*id, new);
    }

    fn end(&mut self, id: &[u8], reason: Fault) {
        let Some(attribute) = self.attribute_mut(id) else { return };
        attribute.ended.get_or_insert(reason);
        let key = attribute.key.clone();
        if let Some(current) = self.current.get_mut(&key)
            && self.effort.spend(current.len())
        {
            current.retain(|other| other != id);
        }
    }

    /// A confirmed inference counts as declared. It does not replace what the data subject had declared
    /// before.
    fn confirm(&mut self, id: &[u8]) {
        if let Some(attribute) = self.attribute_mut(id) {
            (attribute.contested, attribute.declared, attribute.declared_before) = (false, true, None);
            attribute.confirmed = true;
        }
    }

    fn decide(&mut self, id: &EventId, given: Given, is_consent: bool, terms: Option<&ConsentTerms>) {
        self.decisions.add(*id, given, is_consent, terms, &self.effort);
    }

    /// Checks that the attribute itself may be used. An unconfirmed inference may not be used as long as an
    /// attribute that the data subject had declared under the same key may be used.
    pub(super) fn check_usable(&self, attribute: &AttributeState, now_ms: u64) -> Result<(), Fault> {
        attribute.check_usable(now_ms)?;
        let declared = attribute.declared_before.and_then(|id| self.attributes.get(&id));
        if declared.is_some_and(|declared| declared.check_usable(now_ms).is_ok()) {
            return Err(Fault::DeclaredOtherwise);
        }
        Ok(())
    }
}
