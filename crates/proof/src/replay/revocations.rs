//! Finds grants that were not revoked although a later event of the data subject, such as a withdrawal,
//! contradicts them.
//!
//! An event and the revocations that it causes are written together, in one *frame*: entries at positions
//! that follow each other, sealed at the same time. A frame may leave revocations to later entries. Then it
//! ends with a `RevocationsPending`, and until these revocations are recorded, the stream has only events
//! that allow no further use.

use super::allowed::Allowed;
use super::contents::Contents;
use super::effort::Effort;
use super::fault::Fault;
use super::frames::{allows_nothing_more, is_never_beside_a_change, is_revocation};
use super::issued_grants::{IssuedGrant, IssuedGrants, Times};
use super::judge::{Case, Changes, Judge, REPLACEMENT_EDITION};
use super::missing::{Doubt, Missing};
use super::subject::Subject;
use super::vocabulary::Vocabulary;
use crate::entry::EventId;
use crate::event::event_body::Event;
use crate::event::{
    ConsentGiven, ConsentRenewed, ConsentTerms, ErasureScope, GrantedAttribute, PersonalBoundsSet,
    RevocationsPending,
};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Each event adds steps for judging grants again: as many as the replay gets for this many events.
const EFFORT_EACH: usize = 2;

/// The entry that was applied last.
#[derive(Clone, Copy, Default)]
struct Last {
    position: u64,
    now_ms: u64,
    is_revocation: bool,
    /// Whether it began the erasure of everything about the data subject.
    is_full_erasure: bool,
}

/// A revocation that has to be recorded.
struct RequiredRevocation {
    /// The position of the change that contradicts the grant.
    position: u64,
    /// The moment of the change, milliseconds since the Unix epoch.
    since_ms: u64,
    /// When the grant or artifact expires, milliseconds since the Unix epoch.
    expires_at_ms: u64,
    /// If an artifact has to end, the grant under which it was registered.
    of_artifact: Option<EventId>,
}

/// What ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    Grant,
    Artifact,
}

/// A revocation that should have been recorded.
pub(super) struct MissingRevocation {
    /// The position of the change that contradicts the grant or artifact.
    pub position: u64,
    /// The grant, or the grant of the artifact.
    pub grant: EventId,
    pub is_artifact: bool,
}

/// A revocation that is announced and still to be recorded.
#[derive(Clone, Copy)]
pub(super) struct PendingRevocation {
    /// The grant or artifact.
    pub id: EventId,
    /// Since when it is in effect, milliseconds since the Unix epoch.
    pub since_ms: u64,
}

/// A grant of which it was not checked whether it had to be revoked.
#[derive(Clone, Copy)]
pub(super) struct Unchecked {
    pub grant: EventId,
    pub doubt: Doubt,
}

#[derive(Default)]
pub(super) struct Revocations {
    /// By recipient, purpose and the number of the shared list of attributes.
    cases: BTreeMap<(String, String, usize), Case>,
    /// The conversations that decisions name.
    named: BTreeSet<String>,
    contents: Contents,
    changes: Changes,
    last: Last,
    required: BTreeMap<EventId, RequiredRevocation>,
    /// Whether a `RevocationsPending` announced the required revocations.
    announced: bool,
    /// When a consent that ends by itself was given last, milliseconds since the Unix epoch.
    limited_at_ms: Option<u64>,
    /// The steps that are left for judging grants again.
    effort: Effort,
    /// Grants that were issued since a decision was missing.
    since_missing: Vec<EventId>,
    /// By position of the grant.
    unchecked: RefCell<BTreeMap<u64, Unchecked>>,
}

impl Revocations {
    /// Prepares for the next entry: judges the frame before it, if this entry begins another one or records
    /// revocations, and returns the grants that should have been revoked by now.
    pub fn before(
        &mut self,
        times: Times,
        event: Option<&Event>,
        grants: &mut IssuedGrants,
        subject: &mut Subject,
        vocabulary: &Vocabulary,
    ) -> Vec<MissingRevocation> {
        let Times { position, now_ms, .. } = times;
        let is_revocation = event.is_some_and(is_revocation);
        let follows = position == self.last.position.saturating_add(1) && now_ms == self.last.now_ms;
        let is_change = !event.is_some_and(is_never_beside_a_change);
        let is_new_frame = !follows || !is_change || self.last.is_revocation && !is_revocation;
        if is_new_frame || is_revocation {
            self.end_frame(grants, subject, vocabulary);
        }
        let may_wait = self.announced && event.is_some_and(allows_nothing_more);
        if is_revocation || may_wait { Vec::new() } else { self.missing() }
    }

    /// The grants that should have been revoked, and those whose revocation is still announced, after the
    /// last frame was judged.
    pub fn finish(&mut self) -> (Vec<MissingRevocation>, Vec<PendingRevocation>) {
        // A full erasure that began erases the grants with everything else. Nothing follows it in the stream.
        if self.announced || self.last.is_full_erasure {
            let required = std::mem::take(&mut self.required).into_iter();
            let pending =
                required.map(|(id, RequiredRevocation { since_ms, .. })| PendingRevocation { id, since_ms });
            return (Vec::new(), pending.collect());
        }
        (self.missing(), Vec::new())
    }

    /// The grants that should have been revoked by now.
    fn missing(&mut self) -> Vec<MissingRevocation> {
        self.announced = false;
        let required = std::mem::take(&mut self.required).into_iter();
        let missing = required.map(|(id, required)| MissingRevocation {
            position: required.position,
            grant: required.of_artifact.unwrap_or(id),
            is_artifact: required.of_artifact.is_some(),
        });
        missing.collect()
    }

    /// Whether an announcement states fewer revocations than are required. After a restart, a grant that has
    /// expired needs no revocation, so only the others count.
    pub fn is_understated(&self, pending: RevocationsPending, now_ms: u64) -> bool {
        let required =
            self.required.values().filter(|required| required.expires_at_ms > now_ms).count() as u64;
        pending.left > 0 && u64::from(pending.left) < required
    }

    /// Notes what is missing right before the next entry. A missing decision may have contradicted every
    /// grant that was open. Entries of unknown kind may also have revoked it. A revocation that is known to
    /// be erased was erased with its grant.
    pub fn note_missing(&mut self, missing: Missing, grants: &mut IssuedGrants) {
        if missing.unknown > 0 {
            return self.give_up(grants, Doubt::RevocationUnknown);
        }
        if missing.decisions > 0 {
            for id in std::mem::take(&mut self.since_missing) {
                self.note_unchecked(&id, grants, Doubt::RevocationUnknown);
            }
        }
    }

    /// No longer looks at the grants that are open or whose revocation is required, and notes each of them.
    fn give_up(&mut self, grants: &mut IssuedGrants, doubt: Doubt) {
        for id in std::mem::take(&mut self.required).into_keys() {
            if let Some(position) = grants.note_unchecked(&id, None) {
                self.add_unchecked(&id, position, doubt);
            }
        }
        for case in std::mem::take(&mut self.cases).into_values() {
            for id in case.by_interaction.into_values().flatten() {
                self.note_unchecked(&id, grants, doubt);
            }
        }
        (self.changes, self.since_missing, self.announced) = (Changes::default(), Vec::new(), false);
    }

    fn note_unchecked(&self, id: &EventId, grants: &mut IssuedGrants, doubt: Doubt) {
        if let Some(position) = grants.note_unchecked(id, Some(self.last.now_ms)) {
            self.add_unchecked(id, position, doubt);
        }
    }

    fn add_unchecked(&self, grant: &EventId, position: u64, doubt: Doubt) {
        self.unchecked.borrow_mut().insert(position, Unchecked { grant: *grant, doubt });
    }

    fn add_unless_counted(&self, id: &EventId, grant: &IssuedGrant, doubt: Doubt) {
        if !grant.is_unchecked {
            self.add_unchecked(id, grant.position, doubt);
        }
    }

    /// Ends the last frame, and finds the open grants that it contradicts.
    pub fn end_frame(&mut self, grants: &mut IssuedGrants, subject: &mut Subject, vocabulary: &Vocabulary) {
        if subject.is_too_long() {
            return self.give_up(grants, Doubt::TooLong);
        }
        let changes = std::mem::take(&mut self.changes);
        if !changes.anything && changes.keys.is_empty() {
            return;
        }
        let Last { position, now_ms, .. } = self.last;
        self.cases.retain(|_, case| case.expires_at_ms > now_ms);
        subject.decisions.advance(now_ms);
        subject.effort.swap(&self.effort);
        let judge = Judge { subject, vocabulary, contents: &self.contents, now_ms, words_at_ms: now_ms };
        for case in self.cases.values_mut() {
            let contradicted = judge.contradicted(case, &self.named, &changes);
            // Without enough steps, what was found may be wrong.
            if subject.effort.has_failed() {
                break;
            }
            for interaction in contradicted {
                for id in case.by_interaction.remove(&interaction).into_iter().flatten() {
                    if let Some((expires_at_ms, of_artifact)) = grants.end(&id, now_ms) {
                        let required =
                            RequiredRevocation { position, since_ms: now_ms, expires_at_ms, of_artifact };
                        self.required.insert(id, required);
                    }
                }
            }
        }
        subject.effort.swap(&self.effort);
        if self.effort.take_failure() {
            // What is required already stays required.
            let (required, announced) = (std::mem::take(&mut self.required), self.announced);
            self.give_up(grants, Doubt::TooLong);
            (self.required, self.announced) = (required, announced);
        }
        self.cases.retain(|_, case| !case.by_interaction.is_empty());
    }

    /// Why rules that were published since contradict a grant at `now_ms`, with the definitions and notices
    /// in force at `words_at_ms`.
    pub fn fault_under_rules(
        &self,
        (id, grant): (&EventId, &IssuedGrant),
        subject: &mut Subject,
        vocabulary: &Vocabulary,
        (now_ms, words_at_ms): (u64, u64),
        is_of_rules: impl Fn(Fault) -> bool,
    ) -> Option<Fault> {
        if self.is_limited_since(grant.issued_ms) {
            return None;
        }
        subject.decisions.advance(now_ms);
        subject.effort.swap(&self.effort);
        let judge = Judge { subject, vocabulary, contents: &self.contents, now_ms, words_at_ms };
        let fault = judge.faults_of_grant(grant).into_iter().find(|fault| is_of_rules(*fault));
        subject.effort.swap(&self.effort);
        if self.effort.take_failure() {
            self.add_unless_counted(id, grant, Doubt::TooLong);
            return None;
        }
        fault
    }

    /// Why rules that were published since contradict a use at `used_ms` that was reported after its grant
    /// expired, at `now_ms`. What the rules at the time of the grant do not allow by now either follows from
    /// later decisions, which do not concern the use. If these decisions hide whether the rules allowed the
    /// use, the grant is listed.
    pub fn fault_of_late_report(
        &self,
        (id, grant): (&EventId, &IssuedGrant),
        subject: &mut Subject,
        vocabulary: &Vocabulary,
        (now_ms, used_ms): (u64, u64),
    ) -> Option<Fault> {
        subject.decisions.advance(now_ms);
        let subject: &Subject = subject;
        subject.effort.swap(&self.effort);
        let judged = |words_at_ms| {
            let judge = Judge { subject, vocabulary, contents: &self.contents, now_ms, words_at_ms };
            judge.faults_of_bases(grant)
        };
        let (used, issued) = (judged(used_ms), judged(grant.issued_ms));
        subject.effort.swap(&self.effort);
        if self.effort.take_failure() {
            self.add_unless_counted(id, grant, Doubt::TooLong);
            return None;
        }
        let words = vocabulary.at(used_ms);
        let is_outdated = |granted: &GrantedAttribute| {
            let cited = subject.decisions.by_id(&granted.consent);
            cited.is_some_and(|consent| !words.notice_counts(consent.notice.as_ref()))
        };
        let (mut fault, mut is_hidden) = (None, false);
        for ((granted, used), issued) in grant.allowed.attributes.iter().zip(used).zip(issued) {
            match (used, issued) {
                (None, _) => {}
                // A consent that allowed the use may have ended since.
                (Some(_), None) if subject.decisions.has_ended_since(used_ms) => is_hidden = true,
                (Some(found), None) => fault = fault.or(Some(found)),
                (Some(_), Some(_)) => is_hidden |= is_outdated(granted),
            }
        }
        if is_hidden && fault.is_none() {
            self.add_unless_counted(id, grant, Doubt::RulesUnknown);
        }
        fault
    }

    /// Whether a consent that ends by itself was given after this time. Its end can end earlier consents,
    /// which is recorded a while later.
    fn is_limited_since(&self, at_ms: u64) -> bool {
        self.limited_at_ms.is_some_and(|limited_at_ms| limited_at_ms > at_ms)
    }

    /// The grants of which it was not checked whether they had to be revoked, by position.
    pub fn into_unchecked(self) -> BTreeMap<u64, Unchecked> {
        self.unchecked.into_inner()
    }

    /// Notes the next event, after `before`.
    pub fn apply(
        &mut self,
        times: Times,
        event_id: &EventId,
        event: &Event,
        grants: &mut IssuedGrants,
        edition: u32,
    ) {
        let Times { position, now_ms, .. } = times;
        self.effort.add(EFFORT_EACH);
        let is_full_erasure =
            matches!(event, Event::ErasureRequested(requested) if requested.scope() == ErasureScope::All);
        self.last = Last { position, now_ms, is_revocation: is_revocation(event), is_full_erasure };
        match event {
            Event::GrantIssued(_) => self.open(event_id, grants),
            Event::ArtifactRegistered(_) => self.open_artifact(event_id, grants),
            Event::ArtifactInvalidated(ended) => {
                self.record_end(&ended.artifact, Ended::Artifact);
            }
            Event::GrantRevoked(revoked) => {
                self.record_end(&revoked.grant, Ended::Grant);
            }
            // After the last of them, every required revocation must have been recorded.
            Event::RevocationsPending(pending) => {
                if self.announced {
                    self.drop_expired(grants, now_ms);
                }
                self.announced = pending.left > 0;
            }
            _ => self.note_change(event_id, event, now_ms, edition),
        }
    }

    /// No longer expects the revocations of what has expired, and lists each of them: a daemon that was
    /// stopped does not record them, and neither does an operator who hides them.
    fn drop_expired(&mut self, grants: &mut IssuedGrants, now_ms: u64) {
        for (id, _) in self.required.extract_if(.., |_, required| required.expires_at_ms <= now_ms) {
            if let Some(position) = grants.note_unchecked(&id, None) {
                let unchecked = Unchecked { grant: id, doubt: Doubt::RevocationNotRecorded };
                self.unchecked.borrow_mut().insert(position, unchecked);
            }
        }
    }

    /// Notes that the end of a grant or artifact was recorded.
    fn record_end(&mut self, id: &[u8], ended: Ended) {
        let Ok(id) = <&EventId>::try_from(id) else { return };
        if self
            .required
            .get(id)
            .is_some_and(|required| required.of_artifact.is_some() == (ended == Ended::Artifact))
        {
            self.required.remove(id);
        }
    }

    /// Notes what an event changes that may contradict grants.
    fn note_change(&mut self, event_id: &EventId, event: &Event, now_ms: u64, edition: u32) {
        match event {
            Event::AttributeRecorded(recorded) => {
                let replaces = self.contents.record(event_id, recorded.attribute.as_ref());
                if let Some(attribute) = &recorded.attribute
                    && replaces
                    && edition >= REPLACEMENT_EDITION
                {
                    self.changes.is_source |= self.contents.is_source_key(&attribute.key);
                    self.changes.keys.insert(attribute.key.clone());
                }
            }
            Event::AttributeCorrected(corrected) => {
                self.contents.record(event_id, corrected.attribute.as_ref());
                self.changes.anything = true;
            }
            Event::AttributeSourcesAdded(added) => {
                self.contents.add_sources(&added.attribute, &added.sources);
                self.changes.anything = true;
            }
            Event::SignalRecorded(signal) => {
                self.name(std::slice::from_ref(&signal.interaction));
                self.changes.anything = true;
            }
            Event::SignalLifted(signal) => self.name(std::slice::from_ref(&signal.interaction)),
            Event::PersonalBoundsSet(PersonalBoundsSet { paused_interactions, .. }) => {
                self.name(paused_interactions);
                self.changes.anything = true;
            }
            Event::ConsentGiven(ConsentGiven { terms }) | Event::ConsentRenewed(ConsentRenewed { terms }) => {
                self.name_in(terms.as_ref());
                if terms.as_ref().is_some_and(|terms| terms.until_ms.is_some()) {
                    self.limited_at_ms = Some(now_ms);
                }
            }
            Event::ConsentRefused(refused) => {
                self.name_in(refused.terms.as_ref());
                self.changes.anything = true;
            }
            Event::ConsentWithdrawn(withdrawn) => {
                self.name_in(withdrawn.terms.as_ref());
                self.changes.anything = true;
            }
            Event::AttributeContested(_)
            | Event::AttributeRemoved(_)
            | Event::AttributeExpired(_)
            | Event::ErasureRefused(_)
            | Event::SubjectDescribed(_) => self.changes.anything = true,
            _ => {}
        }
    }

    fn name(&mut self, interactions: &[String]) {
        self.named.extend(interactions.iter().filter(|name| !name.is_empty()).cloned());
    }

    fn name_in(&mut self, terms: Option<&ConsentTerms>) {
        terms.into_iter().for_each(|terms| self.name(&terms.interactions));
    }

    fn open(&mut self, event_id: &EventId, grants: &IssuedGrants) {
        let Some(grant) = grants.get(event_id).filter(|grant| !grant.allowed.attributes.is_empty()) else {
            return;
        };
        let names = (grant.recipient.as_str(), grant.purpose.as_str(), grant.interaction.as_str());
        self.add_case(event_id, names, &grant.allowed, grant.expires_at_ms);
    }

    /// Adds an artifact. It is judged like a grant of its sources outside of every conversation.
    fn open_artifact(&mut self, event_id: &EventId, grants: &IssuedGrants) {
        let artifact = grants.artifact(event_id).filter(|artifact| !artifact.sources.attributes.is_empty());
        let Some(artifact) = artifact else { return };
        let names = (artifact.recipient.as_str(), artifact.purpose.as_str(), "");
        self.add_case(event_id, names, &artifact.sources, artifact.expires_at_ms);
    }

    fn add_case(
        &mut self,
        event_id: &EventId,
        (recipient, purpose, interaction): (&str, &str, &str),
        allowed: &Arc<Allowed>,
        expires_at_ms: u64,
    ) {
        let case = self.cases.entry((recipient.to_owned(), purpose.to_owned(), allowed.number));
        let case = case.or_insert_with(|| Case {
            recipient: recipient.to_owned(),
            purpose: purpose.to_owned(),
            allowed: Arc::clone(allowed),
            expires_at_ms: 0,
            by_interaction: BTreeMap::new(),
        });
        case.expires_at_ms = case.expires_at_ms.max(expires_at_ms);
        case.by_interaction.entry(interaction.to_owned()).or_default().push(*event_id);
        self.since_missing.push(*event_id);
    }
}
