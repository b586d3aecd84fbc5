//! The state of one data subject that grants depend on.

use super::age::Age;
use super::consent::{Coverage, Decision, IntendedUse, coverage, leave_room};
use super::fault::Fault;
use super::kept_only::KeptData;
use super::personal_bounds::{self, Properties};
use super::vocabulary::{Given, WordsInForce};
use crate::event::event_body::Event;
use crate::event::{
    Attribute, ConsentTerms, GrantIssued, GrantedAttribute, LegalBasis, PersonalBoundsSet, Provenance,
    SignalKind,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};

type EventId = [u8; 16];

/// The edition of the rules of decisions from which on an attribute does not replace one that was observed
/// later.
const BY_TIME_EDITION: u32 = 3;

/// The edition of the rules of decisions from which on attributes that were derived from special categories
/// count as inferred.
const CONCLUSIONS_EDITION: u32 = 3;

/// An opt-out stops uses for these purposes and those below them.
const OPT_OUT_STOPS: [&str; 2] = ["advertising", "data-sale"];

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
    attributes: HashMap<EventId, AttributeState>,
    /// Attributes that were not replaced, corrected, removed or expired, by key.
    // Unordered: looked up, never iterated.
    current: HashMap<String, Vec<EventId>>,
    decisions: Vec<Decision>,
    signals: Vec<Signal>,
    /// The data subject's own bounds, as they were last set.
    choices: PersonalBoundsSet,
    kept: KeptData,
    age: Age,
}

struct AttributeState {
    key: String,
    category: String,
    /// Whether it counts as declared: it was recorded as such, or the data subject confirmed it.
    declared: bool,
    recorded_as_declared: bool,
    inferred: bool,
    /// Whether the data subject recorded it with their own credential.
    by_subject: bool,
    /// Whether the data subject confirmed it.
    confirmed: bool,
    derived_from: Vec<Vec<u8>>,
    expires_at_ms: Option<u64>,
    observed_at_ms: u64,
    /// Why the attribute is no longer current; none while it is current.
    ended: Option<Fault>,
    contested: bool,
    /// For an inference, the attribute that the data subject had declared under the same key.
    declared_before: Option<EventId>,
}

impl AttributeState {
    fn new(attribute: &Attribute) -> Self {
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
            declared_before: None,
        }
    }

    /// Checks that the attribute itself may be used.
    fn check_usable(&self, now_ms: u64) -> Result<(), Fault> {
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

struct Signal {
    kind: SignalKind,
    purposes: Vec<String>,
    /// The only conversation that the signal concerns. Empty means all conversations.
    interaction: String,
    /// True if the signal was recorded, false if it was lifted.
    recorded: bool,
    /// For a signal, when it was recorded. For a lifting, the time that it states, but no later than its
    /// sealing. Both are in milliseconds since the Unix epoch.
    said_at_ms: u64,
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

    fn attribute(&self, id: &[u8]) -> Option<&AttributeState> {
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

    /// The fault of a signal in force that forbids the purpose, in all conversations or in this one.
    pub fn signal_against(
        &self,
        purpose: &str,
        interaction: &str,
        can_be_objected_to: bool,
        vocabulary: WordsInForce<'_>,
    ) -> Option<Fault> {
        let kinds = [
            (SignalKind::Restriction, Fault::Restricted),
            (SignalKind::Pause, Fault::Paused),
            (SignalKind::Objection, Fault::Objected),
        ];
        let is_in_force = |kind| self.is_in_force(kind, purpose, interaction, vocabulary);
        let mut kinds =
            kinds.into_iter().filter(|(kind, _)| *kind != SignalKind::Objection || can_be_objected_to);
        let fault = kinds.find(|(kind, _)| is_in_force(*kind)).map(|(_, fault)| fault);
        // Before edition 3, the effect of an opt-out depended on published bounds alone.
        let purposes = vocabulary.purpose_ancestry(purpose);
        let is_stopped = vocabulary.edition() >= 3 && OPT_OUT_STOPS.iter().any(|id| purposes.contains(id));
        fault.or_else(|| (is_stopped && is_in_force(SignalKind::OptOut)).then_some(Fault::OptedOut))
    }

    /// Whether a signal of this kind about the purpose is in force, in all conversations or in this one.
    fn is_in_force(
        &self,
        kind: SignalKind,
        purpose: &str,
        interaction: &str,
        vocabulary: WordsInForce<'_>,
    ) -> bool {
        let purposes = vocabulary.purpose_ancestry(purpose);
        let concerns = |signal: &Signal| signal.interaction.is_empty() || signal.interaction == interaction;
        let mut later = self.signals.iter();
        while let Some(signal) = later.next() {
            if signal.recorded
                && signal.kind == kind
                && concerns(signal)
                && still_covers(signal, later.clone(), &purposes)
            {
                return true;
            }
        }
        false
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

    /// The legal basis other than consent that allows a use of a category, if there is one (edition 3 of the
    /// rules of decisions). It never allows the use of a special category or of a minor's data. A legitimate
    /// interest needs a stated age too.
    fn declared_basis(
        &self,
        intended: &IntendedUse<'_>,
        vocabulary: WordsInForce<'_>,
    ) -> Option<(LegalBasis, u64)> {
        let declared = vocabulary.declared_basis(intended.purpose)?;
        let can_be_refused = declared.0 == LegalBasis::LegitimateInterest;
        let is_adult = self.age.is_adult(intended.now_ms).unwrap_or(!can_be_refused);
        let applies = vocabulary.edition() >= 3
            && is_adult
            && !self.choices.ask_each_time
            && vocabulary.has_category(intended.category)
            && vocabulary.special_ancestry(intended.category).is_empty()
            && leave_room(&self.decisions, can_be_refused, intended, vocabulary);
        applies.then_some(declared)
    }

    /// Checks that no refused erasure keeps the attribute from the use.
    fn check_kept(&self, context: GrantContext<'_>, attribute: &AttributeState) -> Result<(), Fault> {
        let GrantContext { grant, vocabulary, .. } = context;
        let is_kept = self.kept.forbids(&attribute.key, &attribute.category, &grant.purpose, vocabulary);
        if is_kept { Err(Fault::KeptOnly) } else { Ok(()) }
    }

    fn check_personal_bounds(
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

    /// Whether an attribute counts as inferred because it was derived, directly or indirectly, from an
    /// attribute of a special category. What the data subject records with their own credential does not.
    fn is_conclusion(&self, attribute: &AttributeState, vocabulary: WordsInForce<'_>) -> bool {
        if vocabulary.edition() < CONCLUSIONS_EDITION || attribute.by_subject {
            return false;
        }
        let (mut pending, mut seen): (Vec<&Vec<u8>>, _) =
            (attribute.derived_from.iter().collect(), BTreeSet::new());
        while let Some(id) = pending.pop() {
            let Some(source) = self.attribute(id).filter(|_| seen.insert(id)) else { continue };
            if !vocabulary.special_ancestry(&source.category).is_empty() {
                return true;
            }
            pending.extend(&source.derived_from);
        }
        false
    }

    /// Checks that the attribute itself may be used. An unconfirmed inference may not be used as long as an
    /// attribute that the data subject had declared under the same key may be used.
    fn check_usable(&self, attribute: &AttributeState, now_ms: u64) -> Result<(), Fault> {
        attribute.check_usable(now_ms)?;
        let declared = attribute.declared_before.and_then(|id| self.attributes.get(&id));
        if declared.is_some_and(|declared| declared.check_usable(now_ms).is_ok()) {
            return Err(Fault::DeclaredOtherwise);
        }
        Ok(())
    }

    /// The consents that allow a use.
    fn consents_for(
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

    /// Checks that the grant may use every source of a derived attribute. Nothing that was derived from a
    /// special category rests on a legal basis other than consent.
    fn check_sources(
        &self,
        context: GrantContext<'_>,
        derived: &[u8],
        rests_on_declared: bool,
        intended: &IntendedUse<'_>,
    ) -> Result<(), Fault> {
        let (kind, interaction) = (SignalKind::Objection, intended.interaction);
        let is_objected = self.is_in_force(kind, intended.purpose, interaction, context.vocabulary);
        // What was derived from each source, and which sources are special.
        let mut above: BTreeMap<&[u8], Vec<&[u8]>> = BTreeMap::new();
        let mut special: Vec<&[u8]> = Vec::new();
        let mut declared: BTreeSet<&[u8]> = BTreeSet::new();
        declared.extend(rests_on_declared.then_some(derived));
        let mut seen = BTreeSet::new();
        let mut pending = vec![derived];
        while let Some(id) = pending.pop() {
            if !seen.insert(id) {
                continue;
            }
            let source = self.attribute(id).ok_or(Fault::SourceWithheld)?;
            if id != derived {
                self.check_usable(source, context.now_ms).map_err(|_| Fault::SourceWithheld)?;
                self.check_kept(context, source).map_err(|_| Fault::SourceWithheld)?;
                self.check_personal_bounds(context, source).map_err(|_| Fault::SourceWithheld)?;
                let use_of_source = IntendedUse { category: &source.category, ..*intended };
                let is_consent = self.consents_for(&use_of_source, context.vocabulary).is_ok();
                if !is_consent {
                    self.declared_basis(&use_of_source, context.vocabulary).ok_or(Fault::SourceWithheld)?;
                    declared.insert(id);
                }
                // A grant of what rests on consent is at fault for the objection itself.
                if is_consent && rests_on_declared && is_objected {
                    return Err(Fault::SourceWithheld);
                }
                if !context.vocabulary.special_ancestry(&source.category).is_empty() {
                    special.push(id);
                }
            }
            for below in &source.derived_from {
                above.entry(below).or_default().push(id);
                pending.push(below);
            }
        }
        let mut seen = BTreeSet::new();
        while let Some(id) = special.pop() {
            let from_special = above.get(id).into_iter().flatten().copied();
            for id in from_special.filter(|id| seen.insert(*id)) {
                if declared.contains(id) {
                    return Err(if id == derived { Fault::LegalBasis } else { Fault::SourceWithheld });
                }
                special.push(id);
            }
        }
        Ok(())
    }
}

/// Whether a signal covers any of these purposes after the liftings in `later`.
///
/// A lifting without purposes lifts every signal of its kind. A lifting with purposes takes these
/// purposes out of each signal that names them. It has no effect on a signal without purposes, which
/// covers all of them. A lifting that names a conversation affects only signals about that conversation.
/// A lifting that states a time before the signal was recorded lifts nothing.
fn still_covers<'a>(signal: &Signal, later: impl Iterator<Item = &'a Signal>, purposes: &[&str]) -> bool {
    let lifts = |other: &&Signal| {
        let concerns = other.interaction.is_empty() || other.interaction == signal.interaction;
        let is_later = other.said_at_ms >= signal.said_at_ms;
        !other.recorded && other.kind == signal.kind && concerns && is_later
    };
    let liftings: Vec<&Signal> = later.filter(lifts).collect();
    if liftings.iter().any(|lifting| lifting.purposes.is_empty()) {
        return false;
    }
    let covers = |purpose: &String| {
        purposes.contains(&purpose.as_str())
            && !liftings.iter().any(|lifting| lifting.purposes.contains(purpose))
    };
    signal.purposes.is_empty() || signal.purposes.iter().any(covers)
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
