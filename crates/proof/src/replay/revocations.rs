//! Finds grants that were not revoked although a later event of the data subject, such as a withdrawal,
//! contradicts them.
//!
//! An event and the revocations that it causes are written together, in one *frame*: entries at positions
//! that follow each other, sealed at the same time. A frame may leave revocations to later entries. Then it
//! ends with a `RevocationsPending`, and until these revocations are recorded, the stream has only events
//! that allow no further use.

use super::contents::Contents;
use super::effort::Effort;
use super::fault::Fault;
use super::grant::{GrantCheck, GrantContext};
use super::issued_grants::{Allowed, EventId, IssuedGrant, IssuedGrants, Times};
use super::missing::{Citing, Doubt, Missing};
use super::subject::Subject;
use super::vocabulary::{Vocabulary, WordsInForce};
use crate::event::event_body::Event;
use crate::event::{
    ConsentGiven, ConsentRenewed, ConsentTerms, ErasureScope, GrantIssued, GrantedAttribute,
    PersonalBoundsSet,
};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The edition of the rules of decisions from which on an attribute that is recorded again with another
/// content ends the grants that allow it.
const REPLACEMENT_EDITION: u32 = 3;

/// Each event adds steps for judging grants again: as many as the replay gets for this many events.
const EFFORT_EACH: usize = 2;

/// Grants with the same recipient, purpose and attributes, by conversation.
struct Case {
    recipient: String,
    purpose: String,
    allowed: Arc<Allowed>,
    /// When the last of the grants expires, milliseconds since the Unix epoch.
    expires_at_ms: u64,
    /// The open grants by conversation.
    by_interaction: BTreeMap<String, Vec<EventId>>,
}

/// What the current frame changed that may end grants.
#[derive(Default)]
struct Changes {
    /// Something that may concern every grant.
    anything: bool,
    /// The keys of attributes that were recorded again.
    keys: BTreeSet<String>,
    /// Whether an attribute was recorded again that others were derived from.
    is_source: bool,
}

impl Changes {
    fn replace(&self, granted: &GrantedAttribute) -> bool {
        self.keys.contains(&granted.key)
    }
}

/// The entry that was applied last.
#[derive(Clone, Copy, Default)]
struct Last {
    position: u64,
    now_ms: u64,
    is_revocation: bool,
}

/// A revocation that has to be recorded.
struct Owed {
    /// The position of the change that contradicts the grant.
    position: u64,
    /// When the grant expires, milliseconds since the Unix epoch.
    expires_at_ms: u64,
}

/// A grant of which it was not checked whether it had to be revoked.
#[derive(Clone, Copy)]
pub(super) struct Unchecked {
    pub grant: EventId,
    pub doubt: Doubt,
}

#[derive(Default)]
pub(super) struct Revocations {
    /// By recipient, purpose and the shared list of attributes.
    cases: BTreeMap<(String, String, usize), Case>,
    /// The conversations that decisions name.
    named: BTreeSet<String>,
    contents: Contents,
    changes: Changes,
    last: Last,
    owed: BTreeMap<EventId, Owed>,
    /// Whether a `RevocationsPending` announced the revocations that are owed.
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
    ) -> Vec<(u64, EventId)> {
        let Times { position, now_ms, .. } = times;
        if matches!(event, Some(Event::ErasureRequested(requested)) if requested.scope() == ErasureScope::All)
        {
            // The grants are about to be erased with everything else.
            (self.changes, self.owed) = (Changes::default(), BTreeMap::new());
        }
        let is_revocation = event.is_some_and(is_revocation);
        let follows = position == self.last.position.saturating_add(1) && now_ms == self.last.now_ms;
        let is_change = !event.is_some_and(is_never_beside_a_change);
        let is_new_frame = !follows || !is_change || self.last.is_revocation && !is_revocation;
        if is_new_frame || is_revocation {
            self.end_frame(grants, subject, vocabulary);
        }
        let may_wait = self.announced && event.is_some_and(allows_nothing_more);
        if is_revocation || may_wait { Vec::new() } else { self.missing(now_ms) }
    }

    /// The grants that should have been revoked, and how many revocations are still announced, after the
    /// last frame was judged.
    pub fn finish(&mut self) -> (Vec<(u64, EventId)>, u64) {
        if self.announced { (Vec::new(), self.owed.len() as u64) } else { (self.missing(0), 0) }
    }

    /// The grants that should have been revoked by now. Those that were announced and have expired since are
    /// left out: after a restart, they need no revocation.
    fn missing(&mut self, now_ms: u64) -> Vec<(u64, EventId)> {
        let was_announced = std::mem::take(&mut self.announced);
        let owed = std::mem::take(&mut self.owed).into_iter();
        let owed = owed.filter(|(_, owed)| !was_announced || owed.expires_at_ms > now_ms);
        owed.map(|(grant, owed)| (owed.position, grant)).collect()
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

    /// No longer looks at the grants that are open or whose revocation is owed, and notes each of them.
    fn give_up(&mut self, grants: &mut IssuedGrants, doubt: Doubt) {
        for owed in std::mem::take(&mut self.owed).into_keys() {
            if let Some(grant) = grants.get_mut(&owed) {
                self.add_unchecked(&owed, grant.position, grant.is_unchecked, doubt);
                grant.is_unchecked = true;
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
        let Some(grant) = grants.get_mut(id) else { return };
        if grant.ended_ms.is_none() && grant.expires_at_ms > self.last.now_ms {
            self.add_unchecked(id, grant.position, grant.is_unchecked, doubt);
            grant.is_unchecked = true;
        }
    }

    fn add_unchecked(&self, grant: &EventId, position: u64, is_counted: bool, doubt: Doubt) {
        if !is_counted {
            self.unchecked.borrow_mut().insert(position, Unchecked { grant: *grant, doubt });
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
            for interaction in judge.contradicted(case, &self.named, &changes) {
                for id in case.by_interaction.remove(&interaction).into_iter().flatten() {
                    let Some(grant) = grants.get_mut(&id) else { continue };
                    if grant.ended_ms.is_none() && grant.expires_at_ms > now_ms {
                        grant.end(now_ms);
                        let expires_at_ms = grant.expires_at_ms;
                        self.owed.insert(id, Owed { position, expires_at_ms });
                    }
                }
            }
        }
        subject.effort.swap(&self.effort);
        if self.effort.take_failure() {
            // What is owed already stays owed.
            let (owed, announced) = (std::mem::take(&mut self.owed), self.announced);
            self.give_up(grants, Doubt::TooLong);
            (self.owed, self.announced) = (owed, announced);
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
            self.add_unchecked(id, grant.position, grant.is_unchecked, Doubt::TooLong);
            return None;
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
        grants: &IssuedGrants,
        edition: u32,
    ) {
        let Times { position, now_ms, .. } = times;
        self.effort.add(EFFORT_EACH);
        self.last = Last { position, now_ms, is_revocation: is_revocation(event) };
        match event {
            Event::GrantIssued(_) => self.open(event_id, grants),
            Event::GrantRevoked(revoked) => {
                if let Ok(grant) = <&EventId>::try_from(revoked.grant.as_slice()) {
                    self.owed.remove(grant);
                }
            }
            // After the last of them, everything that is owed must have been recorded.
            Event::RevocationsPending(pending) => self.announced = pending.left > 0,
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
                self.contents.add_sources(&added.sources);
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
        let list = Arc::as_ptr(&grant.allowed).cast::<()>() as usize;
        let case = self.cases.entry((grant.recipient.clone(), grant.purpose.clone(), list));
        let case = case.or_insert_with(|| Case {
            recipient: grant.recipient.clone(),
            purpose: grant.purpose.clone(),
            allowed: Arc::clone(&grant.allowed),
            expires_at_ms: 0,
            by_interaction: BTreeMap::new(),
        });
        case.expires_at_ms = case.expires_at_ms.max(grant.expires_at_ms);
        case.by_interaction.entry(grant.interaction.clone()).or_default().push(*event_id);
        self.since_missing.push(*event_id);
    }
}

/// Judges grants of one data subject by the state at a moment.
struct Judge<'a> {
    subject: &'a Subject,
    vocabulary: &'a Vocabulary,
    contents: &'a Contents,
    /// The moment, milliseconds since the Unix epoch.
    now_ms: u64,
    /// The time at which the definitions and notices count, milliseconds since the Unix epoch.
    words_at_ms: u64,
}

impl Judge<'_> {
    /// The conversations in which these changes contradict the open grants of a case. Conversations that no
    /// decision names are judged together.
    fn contradicted(&self, case: &Case, named: &BTreeSet<String>, changes: &Changes) -> Vec<String> {
        if !changes.anything
            && !changes.is_source
            && !case.allowed.attributes.iter().any(|one| changes.replace(one))
        {
            return Vec::new();
        }
        let is_contradicted = |interaction: &&String| self.is_contradicted(case, interaction, changes);
        let (open, mut ended) = (&case.by_interaction, Vec::new());
        if !self.subject.effort.spend(open.len().min(named.len()).saturating_add(1)) {
            return ended;
        }
        if named.len() < open.len() {
            let named = named.iter().filter(|name| open.contains_key(*name));
            ended.extend(named.filter(is_contradicted).cloned());
        } else {
            let named = open.keys().filter(|name| named.contains(*name));
            ended.extend(named.filter(is_contradicted).cloned());
        }
        let mut others = open.keys().filter(|name| !named.contains(*name));
        if let Some(other) = others.next().filter(is_contradicted) {
            ended.push(other.clone());
            ended.extend(others.cloned());
        }
        ended
    }

    /// Whether changes contradict the grants of a case in this conversation. A replaced attribute concerns
    /// only itself and what was derived from it.
    fn is_contradicted(&self, case: &Case, interaction: &str, changes: &Changes) -> bool {
        let is_concerned =
            |granted: &&GrantedAttribute| changes.anything || changes.is_source || changes.replace(granted);
        if !self.subject.effort.spend(case.allowed.attributes.len()) {
            return false;
        }
        let concerned = case.allowed.attributes.iter().filter(is_concerned);
        let grant = self.use_of((&case.recipient, &case.purpose, interaction), concerned);
        let (mut check, words) = self.check(&grant);
        if changes.anything && check.signal_against().is_some() {
            return true;
        }
        grant.allowed.iter().any(|granted| match check.check_standing(granted) {
            Ok(()) => false,
            Err(Fault::Replaced) if words.edition() < REPLACEMENT_EDITION => false,
            Err(Fault::SourceWithheld) => true,
            Err(_) => changes.anything || changes.replace(granted),
        })
    }

    /// Why a grant may no longer be used.
    fn faults_of_grant(&self, of: &IssuedGrant) -> Vec<Fault> {
        let grant = self.use_of((&of.recipient, &of.purpose, &of.interaction), of.allowed.attributes.iter());
        let (mut check, _) = self.check(&grant);
        grant.allowed.iter().filter_map(|granted| check.check_standing(granted).err()).collect()
    }

    fn check<'b>(&'b self, grant: &'b GrantIssued) -> (GrantCheck<'b>, WordsInForce<'b>) {
        let vocabulary = self.vocabulary.at(self.words_at_ms);
        // What the grants cite was noted when they were issued.
        let citing = Citing { position: 0, grant: [0; 16] };
        let context = GrantContext { grant, vocabulary, citing, now_ms: self.now_ms };
        (GrantCheck::new(self.subject, context), vocabulary)
    }

    /// A grant of these attributes as they are now: an attribute with the same content may have taken the
    /// place of one of them.
    fn use_of<'b>(
        &self,
        (recipient, purpose, interaction): (&str, &str, &str),
        allowed: impl Iterator<Item = &'b GrantedAttribute>,
    ) -> GrantIssued {
        let newest = |granted: &GrantedAttribute| {
            let state = self.subject.attribute(&granted.attribute);
            let is_replaced = state.is_some_and(|state| state.ended == Some(Fault::Replaced));
            let newest = self.contents.newest_like(&granted.attribute).filter(|_| is_replaced);
            let attribute = newest.map_or_else(|| granted.attribute.clone(), |newest| newest.to_vec());
            GrantedAttribute { attribute, ..granted.clone() }
        };
        GrantIssued {
            recipient: recipient.to_owned(),
            purpose: purpose.to_owned(),
            interaction: interaction.to_owned(),
            allowed: allowed.map(newest).collect(),
            ..GrantIssued::default()
        }
    }
}

fn is_revocation(event: &Event) -> bool {
    matches!(event, Event::GrantRevoked(_) | Event::ArtifactInvalidated(_) | Event::RevocationsPending(_))
}

/// Whether an event is never in the frame of a change that comes before it.
fn is_never_beside_a_change(event: &Event) -> bool {
    matches!(
        event,
        Event::GrantIssued(_)
            | Event::GrantUsed(_)
            | Event::GrantGivenAgain(_)
            | Event::ArtifactRegistered(_)
    )
}

/// Whether an event may be recorded while announced revocations are still to be recorded, because it cannot
/// make a grant valid again.
fn allows_nothing_more(event: &Event) -> bool {
    matches!(
        event,
        Event::ConsentRefused(_)
            | Event::ConsentWithdrawn(_)
            | Event::ConsentRequested(_)
            | Event::ConsentExpired(_)
            | Event::SignalRecorded(_)
            | Event::AttributeContested(_)
            | Event::AttributeSourcesAdded(_)
            | Event::EarlierAttributeRecorded(_)
            | Event::AttributeRemoved(_)
            | Event::AttributeExpired(_)
            | Event::GrantIssued(_)
            | Event::GrantGivenAgain(_)
            | Event::RecordingRefused(_)
            | Event::RecordViewed(_)
            | Event::ErasureRequested(_)
            | Event::ErasureRefused(_)
            | Event::RequestSubmitted(_)
            | Event::RequestDecided(_)
            | Event::RequestExtended(_)
            | Event::HoldPlaced(_)
            | Event::RecipientsKept(_)
            | Event::AccessProvided(_)
    )
}
