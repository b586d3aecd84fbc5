//! A data subject's state, folded from the events of their stream.
//!
//! [`SubjectState`] is the state at one version, that is, after so many events of the stream: attributes,
//! consents, signals, grants and rights.

use super::active_signal::ActiveSignal;
use super::attribute::Attribute;
use super::consent::{ConsentLog, ConsentRecord};
use super::current_attribute::{Contest, CurrentAttribute};
use super::event::{
    Actor, ArtifactRegistered, Event, GrantIssued, GrantedAttribute, PersonalBoundsSet, Reason, Recorded,
    SignalKind, WithheldClass,
};
use super::ids::{EventId, GrantId};
use super::rights::Rights;
use super::statement_times::{self, StatementTimes};
use super::word_cache::WordCache;
use crate::domain::description::Description;
use crate::domain::event::{Provenance, Role};
use crate::domain::recorder_usage::RecorderUsage;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Maximum number of ended grants that a state keeps while few grants are open.
pub const ENDED_GRANTS_MAX: usize = 64;

/// How many of the newest grants are searched for an equal list that a new grant can share.
const SHARED_LIST_SEARCH_MAX: usize = 4;

/// A grant that may still be open.
#[derive(Clone, Debug, PartialEq)]
pub struct GrantState {
    /// Its id.
    pub id: GrantId,
    /// The ledger's time, milliseconds since the Unix epoch.
    pub recorded_at_ms: u64,
    /// When it was sealed, milliseconds since the Unix epoch; not later than `recorded_at_ms`.
    pub sealed_at_ms: u64,
    /// What was issued.
    pub issued: Issued,
    /// Why and when (milliseconds since the Unix epoch) it was revoked, if a revocation is recorded.
    pub revoked: Option<(Reason, u64)>,
    /// Why the grant is no longer valid, if a later event implies that and no revocation is recorded yet.
    pub implied: Option<Reason>,
}

/// A [`GrantIssued`] in memory. Most grants of one data subject allow the same attributes, so equal lists
/// are shared.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Issued {
    /// The recipient: the caller's identity.
    pub recipient: String,
    /// The purpose of the use.
    pub purpose: String,
    /// The caller's own name for the conversation.
    pub interaction: String,
    /// The attributes that it allows.
    pub allowed: Arc<[GrantedAttribute]>,
    /// The classes of attributes that it withholds.
    pub withheld: Arc<[WithheldClass]>,
    /// When it expires, milliseconds since the Unix epoch.
    pub expires_at_ms: u64,
    /// The newest version of the subject's stream that the decision saw.
    pub profile_version: u64,
    /// Positions of the bounds in force at the decision.
    pub bounds: Arc<[u64]>,
    /// The categories that were requested; an empty list means all.
    pub categories: Vec<String>,
    /// The attribute keys that were requested; an empty list means all.
    pub keys: Vec<String>,
}

impl Issued {
    /// Copies a grant and shares equal lists with `others`.
    fn new<'a>(issued: &GrantIssued, others: impl Iterator<Item = &'a Self> + Clone) -> Self {
        Self {
            recipient: issued.recipient.clone(),
            purpose: issued.purpose.clone(),
            interaction: issued.interaction.clone(),
            allowed: shared(&issued.allowed, others.clone().map(|other| &other.allowed)),
            withheld: shared(&issued.withheld, others.clone().map(|other| &other.withheld)),
            expires_at_ms: issued.expires_at_ms,
            profile_version: issued.profile_version,
            bounds: shared(&issued.bounds, others.map(|other| &other.bounds)),
            categories: issued.categories.clone(),
            keys: issued.keys.clone(),
        }
    }
}

fn shared<'a, T: Clone + PartialEq + 'a>(
    list: &[T],
    mut others: impl Iterator<Item = &'a Arc<[T]>>,
) -> Arc<[T]> {
    others.find(|other| ***other == *list).map_or_else(|| list.into(), Arc::clone)
}

/// Whether two attributes have the same value, category and sources.
fn is_same_content(one: &Attribute, other: &Attribute) -> bool {
    (&one.value, &one.category, &one.derived_from) == (&other.value, &other.category, &other.derived_from)
}

/// Whether later decisions may depend on this event. They do not depend on grants, on views of records, or on
/// an attribute that was recorded for the history alone. They depend on a `GrantUsed` only if the recipient
/// disclosed that it is an AI system, because bounds may require that.
fn is_decisive(event: &Event) -> bool {
    match event {
        Event::GrantIssued(_)
        | Event::GrantGivenAgain(_)
        | Event::GrantRevoked { .. }
        | Event::RevocationsPending { .. }
        | Event::EarlierAttributeRecorded(_)
        | Event::RecordViewed(_) => false,
        Event::GrantUsed(used) => used.ai_disclosure_shown,
        _ => true,
    }
}

/// The data subject's personal bounds, as last set.
#[derive(Clone, Debug, PartialEq)]
pub struct PersonalBounds {
    /// The event that set them.
    pub event_id: EventId,
    /// The ledger's time, milliseconds since the Unix epoch.
    pub recorded_at_ms: u64,
    /// Who set them: the data subject, or somebody on their behalf.
    pub actor: Actor,
    /// The choices that the bounds are compiled from.
    pub choices: PersonalBoundsSet,
}

impl GrantState {
    /// Whether the grant is neither revoked nor expired.
    #[must_use]
    pub fn is_open(&self, now_ms: u64) -> bool {
        self.ended().is_none() && self.issued.expires_at_ms > now_ms
    }

    /// Why the grant was revoked, whether a revocation is recorded or a later event implies it.
    #[must_use]
    pub fn ended(&self) -> Option<Reason> {
        self.revoked.map(|(reason, _)| reason).or(self.implied)
    }
}

/// The state of a data subject at one version of their stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SubjectState {
    /// The number of events applied.
    pub version: u64,
    /// The version after the newest event that a decision may depend on. Decisions do not depend on views of
    /// records, nor on grants that are issued, given again or revoked. They depend on a use only if the
    /// recipient disclosed that it is an AI system.
    pub decisive_version: u64,
    /// Current attributes by key. Answers that are still being sent share the attributes instead of copying
    /// them.
    pub attributes: BTreeMap<String, Arc<CurrentAttribute>>,
    /// When the data subject last spoke about the attribute under a key other than by declaring it.
    pub statement_times: StatementTimes,
    /// How much of the profile each recorder takes up.
    pub usage: RecorderUsage,
    /// Every consent decision.
    pub consents: ConsentLog,
    /// Signals that have not been lifted, in the order recorded.
    pub signals: Vec<ActiveSignal>,
    /// The data subject's personal bounds; `None` if they were never set or were withdrawn.
    pub personal: Option<PersonalBounds>,
    /// What the bounds know about the data subject.
    pub description: Description,
    /// Recipients that reported a reply in which they disclosed to the data subject that they are an AI
    /// system.
    pub ai_disclosed_by: BTreeSet<String>,
    /// Grants by the event that issued them. The state keeps every open grant. To limit memory, it keeps at
    /// most as many ended grants as open ones, or [`ENDED_GRANTS_MAX`] if that is more.
    pub grants: BTreeMap<EventId, GrantState>,
    /// Requests, legal holds, partial erasures (fences) and artifacts.
    pub rights: Rights,
    /// The number of revocations that took effect but are not recorded yet, as the newest
    /// `RevocationsPending` event states it.
    pub revocations_pending: u32,
    /// Recorded time of the newest event, milliseconds since the Unix epoch.
    pub recorded_at_ms: u64,
    /// Sealing time of the newest event, milliseconds since the Unix epoch.
    pub last_sealed_at_ms: u64,
    /// When the state has this many grants, the next new grant drops the expired grants first. Dropping
    /// them at every new grant would take quadratic time.
    prune_at: usize,
}

impl SubjectState {
    /// Folds these events, oldest first.
    pub fn fold<'a>(events: impl IntoIterator<Item = &'a Recorded>) -> Self {
        let mut state = Self::default();
        events.into_iter().for_each(|event| state.apply(event));
        state
    }

    /// Applies the next event.
    pub fn apply(&mut self, event: &Recorded) {
        self.version = event.version.saturating_add(1);
        if is_decisive(&event.event) {
            self.decisive_version = self.version;
        }
        self.recorded_at_ms = event.recorded_at_ms;
        self.last_sealed_at_ms = event.sealed_at_ms;
        let now_ms = event.recorded_at_ms;
        self.note_statement(event);
        match &event.event {
            Event::AttributeRecorded(attribute) => self.record(event, attribute),
            // History only: the current attribute under its key was observed later.
            Event::EarlierAttributeRecorded(_) => {}
            Event::AttributeCorrected { corrects, attribute } => self.correct(event, *corrects, attribute),
            Event::AttributeContested { attribute, .. } => {
                let in_person = event.actor.role == Role::Subject;
                let sealed_ms = event.sealed_at_ms;
                self.change_attribute(*attribute, |current| current.contest(in_person, sealed_ms));
            }
            Event::AttributeConfirmed { attribute } => {
                let said_ms = event.about_ms.min(event.sealed_at_ms);
                self.change_attribute(*attribute, |current| current.confirm(said_ms));
            }
            Event::AttributeSourcesAdded { attribute, sources } => self.add_sources(*attribute, sources),
            Event::AttributeRemoved { attribute, .. } => {
                self.remove_attribute(*attribute, Reason::AttributeRemoved);
            }
            Event::AttributeExpired { attribute, .. } => {
                self.remove_attribute(*attribute, Reason::AttributeExpired);
            }
            Event::Consent { decision, terms } => self.consents.push(ConsentRecord {
                event_id: event.event_id,
                position: event.position,
                recorded_at_ms: event.recorded_at_ms,
                sealed_at_ms: event.sealed_at_ms,
                about_ms: event.about_ms,
                decision: *decision,
                terms: terms.clone(),
                actor: event.actor.clone(),
            }),
            Event::PersonalBoundsSet(choices) => self.set_personal_bounds(event, choices),
            Event::Signal { kind, purposes, lifted, interaction } => {
                self.signal(event, *kind, purposes, *lifted, interaction);
            }
            Event::SubjectDescribed(description) => {
                self.description.apply(description, now_ms);
                if event.actor.role == Role::Steward {
                    self.description.note_staff(description);
                }
            }
            // The service reports this itself, with its own credential.
            Event::GrantUsed(used) if used.ai_disclosure_shown => {
                self.ai_disclosed_by.insert(event.actor.name.clone());
            }
            Event::GrantIssued(issued) => self.issue(event, issued, now_ms),
            Event::GrantRevoked { grant, reason, .. } => {
                if let Some(grant) = self.grants.get_mut(grant) {
                    grant.revoked.get_or_insert((*reason, now_ms));
                }
            }
            Event::RevocationsPending { left } => self.revocations_pending = *left,
            Event::ArtifactRegistered(registered) => {
                let keys = self.source_keys(registered);
                self.rights.register(event, registered, keys);
            }
            _ => self.rights.apply(event),
        }
    }

    /// Whether a new attribute was stated, at `stated_ms` (milliseconds since the Unix epoch), before the
    /// data subject contested, confirmed, removed or corrected the attribute under its key. Then it does not
    /// become current.
    #[must_use]
    pub fn is_stated_earlier(&self, attribute: &Attribute, stated_ms: u64) -> bool {
        self.statement_times.has_spoken_since(&attribute.key, stated_ms)
    }

    /// Whether a new attribute was observed before the current one under its key, which then stays current.
    #[must_use]
    pub fn is_observed_earlier(&self, attribute: &Attribute) -> bool {
        self.attributes.get(&attribute.key).is_some_and(|current| current.outlasts(attribute))
    }

    /// A new attribute replaces the current one under its key, but an inference never overrides a declared
    /// attribute. If the contents differ, the grants and artifacts that depend on the replaced attribute end.
    fn record(&mut self, event: &Recorded, attribute: &Attribute) {
        let inferred = attribute.provenance == Provenance::Inferred;
        let before = self.attributes.get(&attribute.key);
        if inferred && before.is_some_and(|current| current.is_declared()) {
            return;
        }
        let contest = Contest::carried_over(before.map(AsRef::as_ref), attribute);
        // End the grants and artifacts that depend on the replaced attribute. They rest on its old category
        // and sources, so a later decision about the new category or sources would not end them.
        let is_replaced = |current: &&Arc<CurrentAttribute>| !is_same_content(&current.attribute, attribute);
        let replaced = before.filter(is_replaced).map(|current| current.event_id);
        let unchanged_since = before.filter(|current| !is_replaced(current)).map(|same| same.unchanged_since);
        self.insert_attribute(event, attribute, contest, unchanged_since.unwrap_or(event.version));
        if let Some(replaced) = replaced {
            self.end_dependents(&replaced, Some(&attribute.key), Reason::AttributeReplaced);
        }
    }

    /// Replaces a wrong attribute by its correction. If the correction has another key, it is recorded there
    /// like any other attribute.
    fn correct(&mut self, event: &Recorded, corrects: EventId, attribute: &Attribute) {
        let before = self.attributes.values().find(|current| current.event_id == corrects);
        let contest = Contest::carried_over(before.map(AsRef::as_ref), attribute);
        self.remove_attribute(corrects, Reason::AttributeCorrected);
        self.record(event, attribute);
        self.change_attribute(event.event_id, |current| {
            current.contested |= contest.contested;
            current.contested_in_person |= contest.in_person;
            current.contested_at_ms = current.contested_at_ms.max(contest.at_ms);
        });
    }

    /// Ends grants and artifacts that depend on an attribute, even if no event that revokes them follows.
    /// They may cite an earlier recording of the same content, so those that rest on `key` end too.
    fn end_dependents(&mut self, attribute: &EventId, key: Option<&str>, reason: Reason) {
        for grant in self.grants.values_mut().filter(|grant| grant.ended().is_none()) {
            let cites =
                |cited: &GrantedAttribute| cited.attribute == *attribute || Some(cited.key.as_str()) == key;
            if grant.issued.allowed.iter().any(cites) {
                grant.implied = Some(reason);
            }
        }
        for artifact in self.rights.artifacts.values_mut().filter(|artifact| artifact.ended().is_none()) {
            if artifact.rests_on(attribute, key) {
                artifact.implied = Some(reason);
            }
        }
    }

    fn insert_attribute(
        &mut self,
        event: &Recorded,
        attribute: &Attribute,
        contest: Contest,
        unchanged_since: u64,
    ) {
        let current = CurrentAttribute {
            event_id: event.event_id,
            position: event.position,
            version: event.version,
            unchanged_since,
            recorded_at_ms: event.recorded_at_ms,
            actor: event.actor.clone(),
            attribute: attribute.clone(),
            contested: contest.contested,
            contested_in_person: contest.in_person,
            contested_at_ms: contest.at_ms,
            words: WordCache::default(),
            confirmed: false,
        };
        self.usage.add(&current);
        if let Some(before) = self.attributes.insert(attribute.key.clone(), Arc::new(current)) {
            self.usage.remove(&before);
        }
    }

    /// Removes an attribute and ends what depends on it.
    fn remove_attribute(&mut self, event: EventId, reason: Reason) {
        let current = self.attributes.values().find(|current| current.event_id == event);
        let key = current.map(|current| current.attribute.key.clone());
        if let Some(current) = key.as_ref().and_then(|key| self.attributes.remove(key)) {
            self.usage.remove(&current);
        }
        self.end_dependents(&event, key.as_deref(), reason);
    }

    fn add_sources(&mut self, attribute: EventId, sources: &[EventId]) {
        let Some(before) = self.attributes.values().find(|current| current.event_id == attribute) else {
            return;
        };
        let known: BTreeSet<EventId> = before.attribute.derived_from.iter().copied().collect();
        let new = sources.iter().copied().filter(|source| !known.contains(source));
        let mut after = CurrentAttribute::clone(before);
        after.attribute.derived_from.extend(new);
        self.usage.add(&after);
        if let Some(before) = self.attributes.insert(after.attribute.key.clone(), Arc::new(after)) {
            self.usage.remove(&before);
        }
    }

    fn set_personal_bounds(&mut self, event: &Recorded, choices: &PersonalBoundsSet) {
        let (actor, choices) = (event.actor.clone(), choices.clone());
        let chosen = choices != PersonalBoundsSet::default();
        let (event_id, recorded_at_ms) = (event.event_id, event.recorded_at_ms);
        let personal = PersonalBounds { event_id, recorded_at_ms, actor, choices };
        self.personal = chosen.then_some(personal);
    }

    /// Notes when the data subject spoke about a current attribute.
    fn note_statement(&mut self, event: &Recorded) {
        let Some((attribute, at_ms)) = statement_times::statement(event) else { return };
        if let Some(current) = self.attributes.values().find(|current| current.event_id == attribute) {
            self.statement_times.note(&current.attribute.key, at_ms);
        }
        if let Event::AttributeCorrected { attribute, .. } = &event.event {
            self.statement_times.note(&attribute.key, at_ms);
        }
    }

    fn change_attribute(&mut self, event: EventId, change: impl FnOnce(&mut CurrentAttribute)) {
        if let Some(current) = self.attributes.values_mut().find(|current| current.event_id == event) {
            change(Arc::make_mut(current));
        }
    }

    /// Sets or lifts a signal. A lifting applies to the purposes that it names, or to all purposes if it
    /// names none. A lifting that names purposes does not change a signal for all purposes. A lifting that
    /// names a conversation applies to the signals for that conversation only. It lifts only signals that
    /// were sealed before the time that it states.
    fn signal(
        &mut self,
        event: &Recorded,
        kind: SignalKind,
        purposes: &[String],
        lifted: bool,
        interaction: &str,
    ) {
        if !lifted {
            let (purposes, recorded_at_ms) = (purposes.to_vec(), event.recorded_at_ms);
            let (event_id, interaction) = (event.event_id, interaction.to_owned());
            let (sealed_at_ms, by) = (event.sealed_at_ms, event.actor.role);
            self.signals.push(ActiveSignal {
                kind,
                purposes,
                recorded_at_ms,
                sealed_at_ms,
                event_id,
                interaction,
                by,
            });
            return;
        }
        let said_ms = event.about_ms.min(event.sealed_at_ms);
        self.signals.retain_mut(|signal| {
            let matches = signal.matches_signal(kind, interaction) && signal.sealed_at_ms < said_ms;
            if !matches || purposes.is_empty() {
                return !matches;
            }
            let for_all = signal.purposes.is_empty();
            signal.purposes.retain(|purpose| !purposes.contains(purpose));
            for_all || !signal.purposes.is_empty()
        });
    }

    /// The keys of an artifact's sources, as the grant of the artifact names them.
    fn source_keys(&self, registered: &ArtifactRegistered) -> BTreeMap<EventId, String> {
        let allowed = self.grants.get(&registered.grant).map(|grant| &*grant.issued.allowed);
        let cited = allowed.unwrap_or_default().iter().map(|cited| (cited.attribute, &cited.key));
        let current = self.attributes.iter().map(|(key, current)| (current.event_id, key));
        let keys: BTreeMap<EventId, &String> = current.chain(cited).collect();
        let key_of = |source: &EventId| Some((*source, (*keys.get(source)?).clone()));
        registered.sources.iter().filter_map(key_of).collect()
    }

    fn issue(&mut self, event: &Recorded, issued: &GrantIssued, now_ms: u64) {
        if self.grants.len() >= self.prune_at.max(ENDED_GRANTS_MAX) {
            self.grants.retain(|_, grant| grant.issued.expires_at_ms > now_ms);
            self.prune_at = self.grants.len().saturating_mul(2);
        }
        let newest = self.grants.values().rev().take(SHARED_LIST_SEARCH_MAX).map(|grant| &grant.issued);
        let grant = GrantState {
            id: GrantId::new(event.position, &event.event_id),
            recorded_at_ms: event.recorded_at_ms,
            sealed_at_ms: event.sealed_at_ms,
            issued: Issued::new(issued, newest),
            revoked: None,
            implied: None,
        };
        self.grants.insert(event.event_id, grant);
    }

    /// The signal of this kind that blocks a purpose (given with its ancestors) in all conversations, if
    /// there is one.
    #[must_use]
    pub fn signal_against(&self, kind: SignalKind, purpose_ancestry: &[&str]) -> Option<&ActiveSignal> {
        self.signal_in(kind, purpose_ancestry, "")
    }

    /// The pause of this one conversation that blocks a purpose (given with its ancestors), if there is one.
    #[must_use]
    pub fn pause_in(&self, interaction: &str, purpose_ancestry: &[&str]) -> Option<&ActiveSignal> {
        if interaction.is_empty() {
            return None;
        }
        self.signal_in(SignalKind::Pause, purpose_ancestry, interaction)
    }

    fn signal_in(
        &self,
        kind: SignalKind,
        purpose_ancestry: &[&str],
        interaction: &str,
    ) -> Option<&ActiveSignal> {
        self.signals.iter().find(|signal| {
            let named = |purpose: &String| purpose_ancestry.contains(&purpose.as_str());
            let here = signal.kind == kind && signal.interaction == interaction;
            here && (signal.purposes.is_empty() || signal.purposes.iter().any(named))
        })
    }
}

#[cfg(test)]
mod tests;
