//! The state of one data subject that grants depend on.

use super::age::Age;
use super::attribute::AttributeState;
use super::consent::{Coverage, Decision, IntendedUse, coverage};
use super::fault::Fault;
use super::kept_only::KeptData;
use super::personal_bounds::{self, Properties};
use super::signals::Signal;
use super::vocabulary::{Given, WordsInForce};
use crate::event::event_body::Event;
use crate::event::{
    Attribute, ConsentTerms, GrantIssued, GrantedAttribute, LegalBasis, PersonalBoundsSet, Provenance,
    SignalKind,
};
use std::collections::HashMap;

pub(super) type EventId = [u8; 16];

/// The edition of the rules of decisions from which on an attribute does not replace one that was observed
/// later.
const BY_TIME_EDITION: u32 = 3;

/// A grant being replayed, and what it is checked against.
#[derive(Clone, Copy)]
pub(super) struct GrantContext<'a> {
    pub grant: &'a GrantIssued,
    pub vocabulary: WordsInForce<'a>,
    /// When the grant was sealed.
    pub now_ms: u64,
}

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
    // Unordered: looked up, never iterated.
    pub(super) attributes: HashMap<EventId, AttributeState>,
    /// Attributes that were not replaced, corrected, removed or expired, by key.
    // Unordered: looked up, never iterated.
    current: HashMap<String, Vec<EventId>>,
    pub(super) decisions: Vec<Decision>,
    pub(super) signals: Vec<Signal>,
    /// The data subject's own bounds, as they were last set.
    pub(super) choices: PersonalBoundsSet,
    kept: KeptData,
    pub(super) age: Age,
}

impl Subject {
    /// Notes the next entry of the stream, readable or not.
    pub fn note_version(&mut self, version: u64, readable: bool) {
        self.incomplete |= version != self.next_version || !readable;
        self.next_version = version.saturating_add(1);
    }

    /// Whether every event so far was present and readable.
    pub fn is_complete(&self) -> bool {
        !self.incomplete
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
                self.signal(signal.kind(), &signal.purposes, &signal.interaction, (true, sealed_at_ms));
            }
            Event::SignalLifted(signal) => {
                self.signal(signal.kind(), &signal.purposes, &signal.interaction, (false, said_at_ms));
            }
            Event::PersonalBoundsSet(choices) => self.choices = choices.clone(),
            Event::ErasureRefused(refused) => self.kept.refuse(refused),
            Event::RequestWithdrawn(withdrawn) => self.kept.withdraw(&withdrawn.request),
            Event::SubjectDescribed(described) => self.age.apply(described),
            _ => {}
        }
        if by_subject && let Some(attribute) = self.attributes.get_mut(id) {
            attribute.by_subject = true;
        }
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
        if let Some(current) = self.current.get_mut(&key) {
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
        // Without terms, a consent covers nothing and a refusal covers everything.
        let terms = terms.cloned().unwrap_or_default();
        self.decisions.push(Decision { event_id: *id, given, is_consent, terms });
    }

    fn signal(
        &mut self,
        kind: SignalKind,
        purposes: &[String],
        interaction: &str,
        (recorded, said_at_ms): (bool, u64),
    ) {
        let (purposes, interaction) = (purposes.to_vec(), interaction.to_owned());
        self.signals.push(Signal { kind, purposes, interaction, recorded, said_at_ms });
    }

    /// Checks that the grant may allow this attribute.
    pub fn check_grant(&self, context: GrantContext<'_>, granted: &GrantedAttribute) -> Result<(), Fault> {
        let GrantContext { grant, vocabulary, now_ms } = context;
        let attribute = self.attribute(&granted.attribute).ok_or(Fault::UnknownAttribute)?;
        if attribute.key != granted.key || attribute.category != granted.category {
            return Err(Fault::Described);
        }
        self.check_usable(attribute, now_ms)?;
        check_requested(grant, attribute, vocabulary)?;
        self.check_kept(context, attribute)?;
        self.check_personal_bounds(context, attribute)?;
        let intended = IntendedUse {
            purpose: &grant.purpose,
            category: &attribute.category,
            recipient: &grant.recipient,
            interaction: &grant.interaction,
            now_ms,
        };
        let cited = match granted.legal_basis() {
            LegalBasis::Unspecified | LegalBasis::Consent => None,
            declared => Some((declared, granted.declared_at)),
        };
        if cited.is_some() {
            let declared = self.declared_basis(&intended, vocabulary);
            if !granted.consent.is_empty() || declared != cited {
                return Err(Fault::LegalBasis);
            }
        } else {
            let consents = self.consents_for(&intended, vocabulary)?;
            if !consents.iter().any(|consent| consent.event_id == granted.consent.as_slice()) {
                return Err(Fault::Citation);
            }
        }
        self.check_sources(context, granted.attribute.as_slice(), cited.is_some(), &intended)
    }

    /// Checks that no refused erasure keeps the attribute from the use.
    pub(super) fn check_kept(
        &self,
        context: GrantContext<'_>,
        attribute: &AttributeState,
    ) -> Result<(), Fault> {
        let GrantContext { grant, vocabulary, .. } = context;
        let is_kept = self.kept.forbids(&attribute.key, &attribute.category, &grant.purpose, vocabulary);
        if is_kept { Err(Fault::KeptOnly) } else { Ok(()) }
    }

    pub(super) fn check_personal_bounds(
        &self,
        context: GrantContext<'_>,
        attribute: &AttributeState,
    ) -> Result<(), Fault> {
        let GrantContext { grant, vocabulary, now_ms } = context;
        let is_conclusion = self.is_conclusion(attribute, vocabulary);
        let properties = Properties {
            category: &attribute.category,
            declared: attribute.confirmed || attribute.declared && !is_conclusion,
            inferred: attribute.inferred || is_conclusion,
            observed_at_ms: attribute.observed_at_ms,
        };
        personal_bounds::check(&self.choices, grant, &properties, vocabulary, now_ms)
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

    /// The consents that allow a use.
    pub(super) fn consents_for(
        &self,
        intended: &IntendedUse<'_>,
        vocabulary: WordsInForce<'_>,
    ) -> Result<Vec<&Decision>, Fault> {
        if !vocabulary.has_category(intended.category) {
            return Err(Fault::UndefinedCategory);
        }
        match coverage(&self.decisions, intended, vocabulary) {
            Coverage::NoConsent => Err(Fault::NoConsent),
            Coverage::Refused => Err(Fault::Refused),
            Coverage::NoticeOutdated => Err(Fault::NoticeOutdated),
            Coverage::Allowed(consents) if self.choices.ask_each_time => {
                let for_conversation: Vec<&Decision> =
                    consents.into_iter().filter(|consent| !consent.terms.interactions.is_empty()).collect();
                if for_conversation.is_empty() { Err(Fault::NotAsked) } else { Ok(for_conversation) }
            }
            Coverage::Allowed(consents) => Ok(consents),
        }
    }
}

/// Checks data minimization. If the request names categories, one of them must be the attribute's category or
/// an ancestor of this category. If the request names keys, one of them must be the attribute's key.
fn check_requested(
    grant: &GrantIssued,
    attribute: &AttributeState,
    vocabulary: WordsInForce<'_>,
) -> Result<(), Fault> {
    let ancestry = vocabulary.category_ancestry(&attribute.category);
    let category = grant.categories.is_empty()
        || grant.categories.iter().any(|category| ancestry.contains(&category.as_str()));
    let key = grant.keys.is_empty() || grant.keys.contains(&attribute.key);
    if category && key { Ok(()) } else { Err(Fault::NotAskedFor) }
}
