//! The fold: what is held about a subject after so many of its events.

use super::attribute::Attribute;
use super::consent::{ConsentLog, ConsentRecord};
use super::current_attribute::{Contest, CurrentAttribute};
use super::event::{
    Actor, Event, GrantIssued, GrantedAttribute, PersonalBoundsSet, Reason, Recorded, SignalKind,
    WithheldClass,
};
use super::ids::{EventId, GrantId};
use super::rights::Rights;
use crate::domain::description::Description;
use crate::domain::recorder_usage::RecorderUsage;
use sayso_proof::event::{Provenance, Role};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Grants that have ended and may still be remembered where few are open.
pub const ENDED_GRANTS_MAX: usize = 64;

/// In how many of the newest grants a list of allowed attributes is looked for, to be shared.
const ALIKE_AMONG: usize = 4;

/// A signal that stands.
#[derive(Clone, Debug, PartialEq)]
pub struct ActiveSignal {
    /// What the person said.
    pub kind: SignalKind,
    /// For which purposes; none: all.
    pub purposes: Vec<String>,
    /// The ledger's time, milliseconds since the Unix epoch.
    pub recorded_at_ms: u64,
    /// Its event.
    pub event_id: EventId,
    /// Of a pause: the one conversation that it is for; empty: everywhere.
    pub interaction: String,
    /// As what the caller recorded it.
    pub by: Role,
}

impl ActiveSignal {
    fn is_meant(&self, kind: SignalKind, interaction: &str) -> bool {
        self.kind == kind && (interaction.is_empty() || self.interaction == interaction)
    }

    /// Whether lifting this kind for these purposes (none: all), in this conversation (empty: everywhere), takes anything of
    /// it back.
    #[must_use]
    pub fn is_lifted_by(&self, kind: SignalKind, purposes: &[String], interaction: &str) -> bool {
        let named = || self.purposes.iter().any(|purpose| purposes.contains(purpose));
        self.is_meant(kind, interaction) && (purposes.is_empty() || named())
    }
}

/// A grant that may still be open.
#[derive(Clone, Debug, PartialEq)]
pub struct GrantState {
    /// Its id.
    pub id: GrantId,
    /// The ledger's time, milliseconds since the Unix epoch.
    pub recorded_at_ms: u64,
    /// As it was issued.
    pub issued: Issued,
    /// Why and when it was revoked, if an event says so.
    pub revoked: Option<(Reason, u64)>,
    /// Why it does not stand although no event says so yet: a later event implies it.
    pub implied: Option<Reason>,
}

/// A [`GrantIssued`] as it is held: one person's grants mostly allow the same, and hold that together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Issued {
    /// The caller's identity.
    pub recipient: String,
    /// For what.
    pub purpose: String,
    /// The caller's own name for the conversation.
    pub interaction: String,
    /// What it allows.
    pub allowed: Arc<[GrantedAttribute]>,
    /// What it does not.
    pub withheld: Arc<[WithheldClass]>,
    /// When it ends, milliseconds since the Unix epoch.
    pub expires_at_ms: u64,
    /// The newest subject version that the decision saw.
    pub profile_version: u64,
    /// Positions of the bounds in force.
    pub bounds: Arc<[u64]>,
    /// The categories that were asked for; none: all.
    pub categories: Vec<String>,
    /// The keys that were asked for; none: all.
    pub keys: Vec<String>,
}

impl Issued {
    /// Holds a grant, sharing with `others` what is the same.
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

/// Whether a decision may come out otherwise after it. That a recipient says that it is an AI is one of the things that bounds
/// may ask for.
fn is_decisive(event: &Event) -> bool {
    match event {
        Event::GrantIssued(_)
        | Event::GrantGivenAgain(_)
        | Event::GrantRevoked { .. }
        | Event::RevocationsPending { .. }
        | Event::RecordViewed(_) => false,
        Event::GrantUsed(used) => used.ai_disclosure_shown,
        _ => true,
    }
}

/// The person's own bounds, as they were set last.
#[derive(Clone, Debug, PartialEq)]
pub struct PersonalBounds {
    /// The event that set them.
    pub event_id: EventId,
    /// The ledger's time, milliseconds since the Unix epoch.
    pub recorded_at_ms: u64,
    /// Who set them: the person, or somebody on their behalf.
    pub actor: Actor,
    /// What they chose.
    pub choices: PersonalBoundsSet,
}

impl GrantState {
    /// It is neither revoked nor expired.
    #[must_use]
    pub fn is_open(&self, now_ms: u64) -> bool {
        self.ended().is_none() && self.issued.expires_at_ms > now_ms
    }

    /// Why it was revoked, whether that is recorded or implied by a later event.
    #[must_use]
    pub fn ended(&self) -> Option<Reason> {
        self.revoked.map(|(reason, _)| reason).or(self.implied)
    }

    fn cites(&self, attribute: &EventId) -> bool {
        self.issued.allowed.iter().any(|cited| cited.attribute == attribute.0)
    }
}

/// What is held about a subject.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SubjectState {
    /// Events applied.
    pub version: u64,
    /// The version when something was written last that a decision may depend on: anything but what is written when grants are
    /// issued, used, given again and fall, and when somebody looks.
    pub decisive_version: u64,
    /// By key. Shared with whoever is just being told of one.
    pub attributes: BTreeMap<String, Arc<CurrentAttribute>>,
    /// The attributes, counted by who recorded them.
    pub holdings: RecorderUsage,
    /// Every decision.
    pub consents: ConsentLog,
    /// In the order recorded.
    pub signals: Vec<ActiveSignal>,
    /// The person's own bounds; none: never set, or taken back.
    pub personal: Option<PersonalBounds>,
    /// What the bounds know of the person.
    pub description: Description,
    /// Recipients that reported a reply with which they told the person that they talk with an AI system.
    pub ai_disclosed_by: BTreeSet<String>,
    /// By event: every one that is open, and of those that have ended no more than of the open, or
    /// [`ENDED_GRANTS_MAX`], so that memory stays bounded.
    pub grants: BTreeMap<EventId, GrantState>,
    /// Requests, holds, fences and artefacts.
    pub rights: Rights,
    /// Revocations that took effect and are still to be recorded, as of the newest event about that.
    pub revocations_pending: u32,
    /// Recorded time of the newest event.
    pub recorded_at_ms: u64,
    /// Sealing time of the newest event.
    pub last_sealed_at_ms: u64,
    /// How many grants there may be before the ended ones are left out: sweeping at each would be quadratic.
    sweep_at: usize,
}

impl SubjectState {
    /// The fold of these events, oldest first.
    pub fn fold<'a>(events: impl IntoIterator<Item = &'a Recorded>) -> Self {
        let mut state = Self::default();
        events.into_iter().for_each(|event| state.apply(event));
        state
    }

    /// Takes the next event in.
    pub fn apply(&mut self, event: &Recorded) {
        self.version = event.version.saturating_add(1);
        if is_decisive(&event.event) {
            self.decisive_version = self.version;
        }
        self.recorded_at_ms = event.recorded_at_ms;
        self.last_sealed_at_ms = event.sealed_at_ms;
        let now_ms = event.recorded_at_ms;
        match &event.event {
            Event::AttributeRecorded(attribute) => self.record(event, attribute),
            Event::AttributeCorrected { corrects, attribute } => self.correct(event, *corrects, attribute),
            Event::AttributeContested { attribute, .. } => {
                let in_person = event.actor.role() == Role::Subject;
                self.with(*attribute, |held| held.contest(in_person));
            }
            Event::AttributeConfirmed { attribute } => {
                self.with(*attribute, CurrentAttribute::confirm);
            }
            Event::AttributeRemoved { attribute, .. } => {
                self.release(*attribute);
                self.end_what_cites(attribute, Reason::AttributeRemoved);
            }
            Event::AttributeExpired { attribute, .. } => {
                self.release(*attribute);
                self.end_what_cites(attribute, Reason::AttributeExpired);
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
            Event::PersonalBoundsSet(choices) => {
                let (actor, choices) = (event.actor.clone(), choices.clone());
                let chosen = choices != PersonalBoundsSet::default();
                let (event_id, recorded_at_ms) = (event.event_id, event.recorded_at_ms);
                let personal = PersonalBounds { event_id, recorded_at_ms, actor, choices };
                self.personal = chosen.then_some(personal);
            }
            Event::Signal { kind, purposes, lifted, interaction } => {
                self.signal(event, *kind, purposes, *lifted, interaction);
            }
            Event::SubjectDescribed(said) => {
                self.description.apply(said, now_ms);
                if event.actor.role() == Role::Steward {
                    self.description.note_staff(said);
                }
            }
            // The service itself says so, with its own credential.
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
            _ => self.rights.apply(event),
        }
    }

    /// A fact replaces what is held under its key, but an inference never overrides what the person declared.
    fn record(&mut self, event: &Recorded, attribute: &Attribute) {
        let inferred = attribute.provenance == Provenance::Inferred;
        let before = self.attributes.get(&attribute.key);
        if inferred && before.is_some_and(|held| held.is_declared()) {
            return;
        }
        let contest = Contest::kept(before.map(AsRef::as_ref), attribute);
        self.hold(event, attribute, contest);
    }

    /// A correction replaces what it corrects. Under another key it is a fact like any other there.
    fn correct(&mut self, event: &Recorded, corrects: EventId, attribute: &Attribute) {
        let before = self.attributes.values().find(|held| held.event_id == corrects);
        let contest = Contest::kept(before.map(AsRef::as_ref), attribute);
        self.release(corrects);
        self.end_what_cites(&corrects, Reason::AttributeCorrected);
        self.record(event, attribute);
        self.with(event.event_id, |held| {
            held.contested |= contest.stands;
            held.contested_in_person |= contest.in_person;
        });
    }

    /// Grants and artifacts that rest on an attribute end with it, whether or not their own events follow.
    fn end_what_cites(&mut self, attribute: &EventId, reason: Reason) {
        for grant in self.grants.values_mut().filter(|grant| grant.ended().is_none()) {
            if grant.cites(attribute) {
                grant.implied = Some(reason);
            }
        }
        for artifact in self.rights.artifacts.values_mut().filter(|artifact| artifact.ended().is_none()) {
            if artifact.rests_on(attribute) {
                artifact.implied = Some(reason);
            }
        }
    }

    fn hold(&mut self, event: &Recorded, attribute: &Attribute, contest: Contest) {
        let held = CurrentAttribute {
            event_id: event.event_id,
            position: event.position,
            version: event.version,
            recorded_at_ms: event.recorded_at_ms,
            actor: event.actor.clone(),
            attribute: attribute.clone(),
            contested: contest.stands,
            contested_in_person: contest.in_person,
            confirmed: false,
        };
        self.holdings.take(&held);
        if let Some(before) = self.attributes.insert(attribute.key.clone(), Arc::new(held)) {
            self.holdings.release(&before);
        }
    }

    fn release(&mut self, event: EventId) {
        let held = self.attributes.values().find(|held| held.event_id == event);
        let key = held.map(|held| held.attribute.key.clone());
        if let Some(held) = key.and_then(|key| self.attributes.remove(&key)) {
            self.holdings.release(&held);
        }
    }

    fn with(&mut self, event: EventId, change: impl FnOnce(&mut CurrentAttribute)) {
        if let Some(held) = self.attributes.values_mut().find(|held| held.event_id == event) {
            change(Arc::make_mut(held));
        }
    }

    /// Lifting names purposes (or all), and takes back what was said for those; a signal for all purposes is taken
    /// back as a whole or not at all. Naming a conversation takes back what was said for it; naming none, everything.
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
            let by = event.actor.role();
            self.signals.push(ActiveSignal { kind, purposes, recorded_at_ms, event_id, interaction, by });
            return;
        }
        self.signals.retain_mut(|signal| {
            let meant = signal.is_meant(kind, interaction);
            if !meant || purposes.is_empty() {
                return !meant;
            }
            let for_all = signal.purposes.is_empty();
            signal.purposes.retain(|purpose| !purposes.contains(purpose));
            for_all || !signal.purposes.is_empty()
        });
    }

    fn issue(&mut self, event: &Recorded, issued: &GrantIssued, now_ms: u64) {
        if self.grants.len() >= self.sweep_at.max(ENDED_GRANTS_MAX) {
            self.grants.retain(|_, grant| grant.issued.expires_at_ms > now_ms);
            self.sweep_at = self.grants.len().saturating_mul(2);
        }
        let newest = self.grants.values().rev().take(ALIKE_AMONG).map(|grant| &grant.issued);
        let grant = GrantState {
            id: GrantId::new(event.position, &event.event_id),
            recorded_at_ms: event.recorded_at_ms,
            issued: Issued::new(issued, newest),
            revoked: None,
            implied: None,
        };
        self.grants.insert(event.event_id, grant);
    }

    /// The signal of this kind that stands everywhere against a purpose (with its ancestors), if one does.
    #[must_use]
    pub fn signal_against(&self, kind: SignalKind, purpose_ancestry: &[&str]) -> Option<&ActiveSignal> {
        self.signal_in(kind, purpose_ancestry, "")
    }

    /// The pause of this very conversation that stands against a purpose (with its ancestors), if one does.
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
#[path = "profile_tests.rs"]
mod tests;
