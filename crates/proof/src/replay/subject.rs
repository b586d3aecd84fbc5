//! The part of a data subject's state that the check of a grant depends on.

use super::age::Age;
use super::attribute::AttributeState;
use super::decisions::Decisions;
use super::definitions::ConsentTime;
use super::effort::Effort;
use super::fault::Fault;
use super::kept_only::KeptData;
use super::missing::{Cited, CitedByGrant, Citing, Missing, MissingEntries, MissingKind};
use super::signals::{Signals, Statement};
use crate::entry::EventId;
use crate::event::event_body::Event;
use crate::event::{
    Attribute, ConsentTerms, ErasureScope, ErasureSummary, PersonalBoundsSet, Provenance, RequestDecided,
    RequestOutcome,
};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

/// The edition of the rules of decisions from which on an attribute does not replace one that was observed
/// later.
const BY_TIME_EDITION: u32 = 3;
/// From this edition on, a confirmation does not end a contest that was recorded after the data subject
/// confirmed.
const CONFIRMED_BY_TIME_EDITION: u32 = 4;
/// From this edition on, a confirmation or a lifting has no effect if the time that it states is the very
/// moment of the contest or signal.
const STRICTLY_LATER_EDITION: u32 = 5;

/// When an event was recorded, and the time that it states.
#[derive(Clone, Copy)]
pub(super) struct RecordedAt {
    pub position: u64,
    /// The time that the event states, milliseconds since the Unix epoch.
    pub about_ms: u64,
    /// The edition of the rules of decisions that the log followed by then.
    pub edition: u32,
    /// Whether the data subject recorded it with their own credential.
    pub by_subject: bool,
}

#[derive(Default)]
pub(super) struct Subject {
    next_version: u64,
    /// The moment of the newest entry: the largest `sealed_at_ms` in the stream so far, milliseconds since
    /// the Unix epoch.
    moment_ms: u64,
    missing: Missing,
    /// Those of the missing entries that were not erased before the newest entry.
    remaining: MissingEntries,
    /// The position and the moment of the last entry before which a decision may be missing.
    missing_until: Option<(u64, u64)>,
    /// The missing events that other events name.
    named: RefCell<Cited>,
    /// The missing events that the newest grant cites.
    cited: RefCell<CitedByGrant>,
    pub(super) effort: Effort,
    /// Whether the history takes too many steps to replay.
    is_too_long: bool,
    // Unordered: looked up, never iterated.
    attributes: HashMap<EventId, AttributeState>,
    /// Attributes that were not replaced, corrected, removed or expired, by key.
    // Unordered: looked up, never iterated.
    current: HashMap<String, Vec<EventId>>,
    /// Missing attributes whose end is recorded.
    // Unordered: looked up, never iterated.
    ended_missing: HashSet<EventId>,
    pub(super) decisions: Decisions,
    pub(super) signals: Signals,
    /// The data subject's own bounds, as they were last set.
    pub(super) choices: PersonalBoundsSet,
    choices_position: u64,
    pub(super) kept: KeptData,
    pub(super) age: Age,
    age_position: u64,
}

impl Subject {
    /// The number of versions that are missing before the next entry of the stream.
    pub fn skipped(&self, version: u64) -> u64 {
        version.saturating_sub(self.next_version)
    }

    /// Notes the next entry of the stream, readable or not, and what is missing up to it. Returns the moment
    /// of the entry.
    pub fn note(&mut self, position: u64, version: u64, sealed_at_ms: u64, entries: &MissingEntries) -> u64 {
        let missing = entries.total();
        self.remaining.extend(entries);
        self.remaining.remove_before(position);
        self.next_version = version.saturating_add(1);
        self.moment_ms = self.moment_ms.max(sealed_at_ms);
        self.missing.add(missing);
        if missing.decisions_max() > 0 {
            self.missing_until = Some((position, self.moment_ms));
        }
        self.effort.add(1);
        self.moment_ms
    }

    /// Whether every event so far was present and readable, and was replayed.
    pub fn is_complete(&self) -> bool {
        self.missing == Missing::default() && !self.is_too_long
    }

    /// Whether the history takes too many steps to replay.
    pub fn is_too_long(&self) -> bool {
        self.is_too_long
    }

    /// Whether earlier decisions of the data subject may be missing.
    pub fn may_miss_decisions(&self) -> bool {
        self.missing_until.is_some()
    }

    /// Whether no missing decision can have changed what the event at this position says.
    pub fn is_certain(&self, position: u64) -> bool {
        self.missing_until.is_none_or(|(until, _)| until <= position)
    }

    /// Whether the data subject's choices are those of the newest event that this replay saw.
    pub fn are_choices_certain(&self) -> bool {
        self.is_certain(self.choices_position)
    }

    /// Whether the newest statement of the age is the one that this replay saw.
    pub fn is_age_certain(&self) -> bool {
        self.is_certain(self.age_position)
    }

    /// Whether a refusal that was recorded at a time is later than every missing consent.
    pub fn is_after_missing(&self, recorded_at_ms: u64) -> bool {
        self.missing_until.is_none_or(|(_, until_ms)| until_ms <= recorded_at_ms)
    }

    /// Whether an attribute that is not in the stream may be one of those that are missing from it. There are
    /// no more such attributes than missing entries.
    pub fn may_be_missing_attribute(&self, id: &[u8], by: Citing) -> bool {
        self.decisions.by_id(id).is_none() && self.may_be_missing(MissingKind::Attribute, id, by)
    }

    /// Whether something that an event names may be one of the missing entries.
    pub fn may_be_missing(&self, kind: MissingKind, id: &[u8], by: Citing) -> bool {
        self.named.borrow_mut().add(kind, id, by, self.missing)
    }

    /// Requires that an attribute that a grant allows may be one of the missing ones, and that the grant
    /// cites no more of these than had not been erased before it.
    pub fn check_missing_attribute(&self, id: &[u8], by: Citing) -> Result<(), Fault> {
        match self.may_be_missing_attribute(id, by) {
            false => Err(Fault::UnknownAttribute),
            true if self.has_missing_ended(id) => Err(Fault::Expired),
            true => match self.cited.borrow_mut().add_attribute(id, by, self.remaining.total()) {
                true => Ok(()),
                false => Err(Fault::Erased),
            },
        }
    }

    /// Whether an attribute that is missing had ended before.
    pub fn has_missing_ended(&self, id: &[u8]) -> bool {
        <&EventId>::try_from(id).is_ok_and(|id| self.ended_missing.contains(id))
    }

    /// Like [`Self::check_missing_attribute`], for a consent.
    pub fn check_missing_consent(&self, id: &[u8], by: Citing) -> Result<(), Fault> {
        if self.attribute(id).is_some() || !self.may_be_missing(MissingKind::Decision, id, by) {
            return Err(Fault::Citation);
        }
        match self.cited.borrow_mut().add_consent(id, by, self.remaining.total()) {
            true => Ok(()),
            false => Err(Fault::Erased),
        }
    }

    /// The first grant that cites an event, as an attribute or as a consent, before the event was recorded,
    /// and the grant's fault.
    pub fn cited_before(&self, id: &EventId) -> Option<(Citing, Fault)> {
        let (by, kind) = self.named.borrow().cited_by_grant(id)?;
        let is_attribute = kind == MissingKind::Attribute;
        Some((by, if is_attribute { Fault::UnknownAttribute } else { Fault::Citation }))
    }

    /// The position of the first event other than a grant that names an event before it was recorded, or the
    /// request or hold that it records.
    pub fn named_before(&self, id: &EventId, event: Option<&Event>) -> Option<u64> {
        let request = match event {
            Some(Event::RequestSubmitted(submitted)) => Some(submitted.request.as_slice()),
            Some(Event::HoldPlaced(placed)) => Some(placed.hold.as_slice()),
            _ => None,
        };
        self.named.borrow().named_at(id, request)
    }

    /// Whether everything is known on which the classes depend that a grant withholds.
    pub fn is_withholding_certain(&self) -> bool {
        self.is_profile_certain() && !self.may_miss_decisions() && !self.is_too_long
    }

    /// Whether what the data subject has is known: everything missing had been erased before the newest
    /// entry, so that it no longer counted.
    pub fn is_profile_certain(&self) -> bool {
        self.remaining.total().both_max() == 0
    }

    /// Applies an event.
    pub fn apply(&mut self, id: &EventId, recorded: RecordedAt, event: &Event) {
        let RecordedAt { position, about_ms, edition, by_subject } = recorded;
        let sealed_at_ms = self.moment_ms;
        // A statement cannot be later than its moment.
        let said_at_ms = about_ms.min(sealed_at_ms);
        let consented = ConsentTime { said_at_ms, sealed_at_ms, position };
        // What ends a contest or a signal that was recorded up to this time.
        let ends_up_to_ms = said_at_ms.saturating_sub(u64::from(edition >= STRICTLY_LATER_EDITION));
        // A refusal counts from its moment, even if it states another time.
        let refused = ConsentTime { said_at_ms: sealed_at_ms, ..consented };
        match event {
            Event::AttributeRecorded(recorded) => {
                let attribute = recorded.attribute.as_ref();
                match attribute.filter(|new| !self.replaces(new, edition)) {
                    Some(earlier) => self.note_earlier(id, position, earlier),
                    None => self.record(id, position, attribute),
                }
            }
            Event::EarlierAttributeRecorded(recorded) => {
                recorded.attribute.iter().for_each(|attribute| self.note_earlier(id, position, attribute));
            }
            Event::AttributeCorrected(corrected) => {
                self.end(&corrected.corrects, Fault::Corrected);
                self.record(id, position, corrected.attribute.as_ref());
            }
            Event::AttributeSourcesAdded(added) => self.add_sources(&added.attribute, &added.sources),
            Event::AttributeRemoved(removed) => self.end(&removed.attribute, Fault::Removed),
            Event::AttributeExpired(expired) => self.expire(&expired.attribute),
            Event::AttributeContested(contested) => {
                if let Some(attribute) = self.attribute_mut(&contested.attribute) {
                    (attribute.contested, attribute.contested_at) = (true, position);
                    attribute.contested_at_ms = attribute.contested_at_ms.max(sealed_at_ms);
                    // A contest takes back an earlier confirmation.
                    (attribute.confirmed, attribute.declared) = (false, attribute.recorded_as_declared);
                }
            }
            Event::AttributeConfirmed(confirmed) => {
                let by_time = edition >= CONFIRMED_BY_TIME_EDITION;
                self.confirm(&confirmed.attribute, ends_up_to_ms, by_time);
            }
            Event::ConsentGiven(given) => self.add_consent(id, consented, given.terms.as_ref()),
            Event::ConsentRenewed(renewed) => self.add_consent(id, consented, renewed.terms.as_ref()),
            Event::ConsentRefused(refusal) => self.add_refusal(id, refused, refusal.terms.as_ref()),
            Event::ConsentWithdrawn(withdrawn) => self.add_refusal(id, refused, withdrawn.terms.as_ref()),
            Event::SignalRecorded(signal) => {
                let recorded = Statement { said_at_ms: sealed_at_ms, position };
                self.signals.record(signal.kind(), &signal.purposes, &signal.interaction, recorded);
            }
            Event::SignalLifted(signal) => {
                let lifted = Statement { said_at_ms: ends_up_to_ms, position };
                self.signals.lift(signal.kind(), &signal.purposes, &signal.interaction, lifted);
            }
            Event::PersonalBoundsSet(choices) => {
                (self.choices, self.choices_position) = (choices.clone(), position);
            }
            Event::SubjectDescribed(described) if self.age.apply(described) => self.age_position = position,
            other => self.apply_to_kept(other),
        }
        if by_subject && let Some(attribute) = self.attributes.get_mut(id) {
            attribute.by_subject = true;
        }
        self.is_too_long |= self.effort.take_failure();
    }

    /// Applies an event to what is kept only because its erasure was refused.
    fn apply_to_kept(&mut self, event: &Event) {
        match event {
            Event::ErasureRefused(refused) if self.effort.spend(self.kept.len()) => {
                self.kept.refuse(refused);
            }
            Event::RequestWithdrawn(withdrawn) if self.effort.spend(self.kept.len()) => {
                self.kept.withdraw(&withdrawn.request);
            }
            // After an erasure of the profile, nothing is left of what was kept.
            Event::RequestDecided(decided)
                if completes_profile_erasure(decided) && self.attributes.is_empty() =>
            {
                self.kept = KeptData::default();
            }
            _ => {}
        }
    }

    pub(super) fn attribute(&self, id: &[u8]) -> Option<&AttributeState> {
        self.attributes.get(<&EventId>::try_from(id).ok()?)
    }

    fn attribute_mut(&mut self, id: &[u8]) -> Option<&mut AttributeState> {
        self.attributes.get_mut(<&EventId>::try_from(id).ok()?)
    }

    /// Whether a new attribute takes the place of the current one under its key, if there is one.
    pub(super) fn replaces(&self, new: &Attribute, edition: u32) -> bool {
        edition < BY_TIME_EDITION || !self.is_observed_earlier(new)
    }

    /// Whether an attribute was observed before the current one under its key. The data subject's declaration
    /// replaces an inference, no matter when either was observed.
    fn is_observed_earlier(&self, new: &Attribute) -> bool {
        let current = self.current.get(&new.key).into_iter().flatten();
        let current = current.take_while(|_| self.effort.spend(1));
        let mut current = current.filter_map(|id| self.attributes.get(id));
        current.any(|current| {
            let gives_way = new.provenance() == Provenance::Declared && current.inferred && !current.declared;
            // An inference beside a declared attribute is not the current one.
            current.beside.is_empty() && current.observed_at_ms > new.observed_at_ms && !gives_way
        })
    }

    /// Notes an attribute that is history: a newer one was current when it was recorded.
    fn note_earlier(&mut self, id: &EventId, position: u64, attribute: &Attribute) {
        let ended = Some(Fault::Replaced);
        self.attributes.insert(*id, AttributeState { ended, ..AttributeState::new(attribute, position) });
    }

    fn record(&mut self, id: &EventId, position: u64, attribute: Option<&Attribute>) {
        let Some(attribute) = attribute else { return };
        let mut new = AttributeState::new(attribute, position);
        let current = self.current.entry(new.key.clone()).or_default();
        if !self.effort.spend(current.len()) {
            return;
        }
        current.retain(|old_id| {
            let Some(old) = self.attributes.get_mut(old_id) else { return false };
            // An inference never replaces what the data subject declared.
            if old.declared && new.inferred {
                new.beside.push(*old_id);
                return true;
            }
            old.ended.get_or_insert(Fault::Replaced);
            false
        });
        current.push(*id);
        self.attributes.insert(*id, new);
    }

    /// Adds sources that an attribute does not have yet.
    fn add_sources(&mut self, id: &[u8], sources: &[Vec<u8>]) {
        let Some(attribute) = <&EventId>::try_from(id).ok().and_then(|id| self.attributes.get_mut(id)) else {
            return;
        };
        if !self.effort.spend(attribute.derived_from.len() + sources.len()) {
            return;
        }
        // Unordered: looked up, never iterated.
        let known: HashSet<&[u8]> = attribute.derived_from.iter().map(Vec::as_slice).collect();
        let new: Vec<Vec<u8>> =
            sources.iter().filter(|source| !known.contains(source.as_slice())).cloned().collect();
        attribute.derived_from.extend(new);
    }

    /// Ends an attribute, or notes that it has ended if it is missing.
    fn expire(&mut self, id: &[u8]) {
        let missing = <&EventId>::try_from(id).ok().filter(|id| !self.attributes.contains_key(*id));
        self.ended_missing.extend(missing);
        self.end(id, Fault::Expired);
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
    /// before. If `by_time` is set, it ends no contest that was recorded after `ends_up_to_ms`, milliseconds
    /// since the Unix epoch.
    fn confirm(&mut self, id: &[u8], ends_up_to_ms: u64, by_time: bool) {
        if let Some(attribute) = self.attribute_mut(id) {
            if by_time && attribute.contested && ends_up_to_ms < attribute.contested_at_ms {
                return;
            }
            (attribute.contested, attribute.declared) = (false, true);
            attribute.beside.clear();
            attribute.confirmed = true;
        }
    }

    fn add_consent(&mut self, id: &EventId, given: ConsentTime, terms: Option<&ConsentTerms>) {
        self.decisions.add(*id, given, true, terms, &self.effort);
    }

    /// Adds a refusal or a withdrawal.
    fn add_refusal(&mut self, id: &EventId, given: ConsentTime, terms: Option<&ConsentTerms>) {
        self.decisions.add(*id, given, false, terms, &self.effort);
    }

    /// Checks that the attribute itself may be used. An unconfirmed inference may not be used as long as an
    /// attribute that the data subject had declared under the same key may be used.
    pub(super) fn check_usable(&self, attribute: &AttributeState, now_ms: u64) -> Result<(), Fault> {
        attribute.check_usable(now_ms)?;
        let may_be_used = |id: &EventId| {
            self.attributes.get(id).is_some_and(|declared| declared.check_usable(now_ms).is_ok())
        };
        let is_in_time = self.effort.spend(attribute.beside.len());
        if is_in_time && attribute.beside.iter().any(may_be_used) {
            return Err(Fault::DeclaredOtherwise);
        }
        Ok(())
    }
}

fn completes_profile_erasure(decided: &RequestDecided) -> bool {
    let scope = decided.erasure.as_ref().map(ErasureSummary::scope);
    decided.outcome() == RequestOutcome::Completed && scope == Some(ErasureScope::Profile)
}
