//! Checks what a grant withholds. In each category, the attributes that it allows and those that it
//! withholds must add up to the attributes that it was requested for. The reasons must be true, as far as
//! they follow from the data subject's own events.

use super::fault::Fault;
use super::grant::GrantCheck;
use super::own_events::{Kind, OwnEvents};
use super::subject::Subject;
use crate::entry::EventId;
use crate::event::event_body::Event;
use crate::event::{Attribute, GrantIssued, Provenance, Reason, Tier, WithheldClass};
use std::collections::{BTreeMap, HashMap, HashSet};

/// The edition of the rules of decisions from which on reasons are compared with the consents.
const REASONS_EDITION: u32 = 3;
/// The policies that a grant names if it withholds attributes because no consent covers them.
const CONSENT_POLICIES: [&str; 2] = ["built-in/consent", "built-in/notice"];

/// The current attributes of a data subject.
#[derive(Default)]
pub(super) struct Profile {
    /// The event and the category of the current attribute under each key.
    // Unordered: looked up, never iterated.
    by_key: HashMap<String, (EventId, String)>,
    /// The number of current attributes in each category.
    counts: BTreeMap<String, u64>,
}

impl Profile {
    /// Applies an event. `subject` is the state before it.
    pub fn apply(&mut self, event_id: &EventId, event: &Event, subject: &Subject, edition: u32) {
        match event {
            Event::AttributeRecorded(recorded) => {
                let new = recorded.attribute.as_ref();
                self.record(event_id, new.filter(|new| subject.replaces(new, edition)), subject);
            }
            Event::AttributeCorrected(corrected) => {
                self.remove(&corrected.corrects, subject);
                self.record(event_id, corrected.attribute.as_ref(), subject);
            }
            Event::AttributeRemoved(removed) => self.remove(&removed.attribute, subject),
            Event::AttributeExpired(expired) => self.remove(&expired.attribute, subject),
            _ => {}
        }
    }

    fn record(&mut self, event_id: &EventId, attribute: Option<&Attribute>, subject: &Subject) {
        let Some(new) = attribute else { return };
        let current = self.by_key.get(&new.key).and_then(|(current, _)| subject.attribute(current));
        let is_inferred = new.provenance() == Provenance::Inferred;
        // An inference is recorded beside what the data subject declared, and is not current.
        if is_inferred && current.is_some_and(|current| current.declared) {
            return;
        }
        let replaced = self.by_key.insert(new.key.clone(), (*event_id, new.category.clone()));
        self.take_out(replaced);
        *self.counts.entry(new.category.clone()).or_default() += 1;
    }

    fn remove(&mut self, id: &[u8], subject: &Subject) {
        let Some(attribute) = subject.attribute(id) else { return };
        if self.by_key.get(&attribute.key).is_some_and(|(current, _)| current == id) {
            let removed = self.by_key.remove(&attribute.key);
            self.take_out(removed);
        }
    }

    fn take_out(&mut self, gone: Option<(EventId, String)>) {
        let Some((_, category)) = gone else { return };
        if let Some(count) = self.counts.get_mut(&category) {
            *count = count.saturating_sub(1);
        }
    }

    /// The number of current attributes in each category that a grant was requested for.
    fn requested<'a>(&'a self, grant: &'a GrantIssued, check: &GrantCheck<'_>) -> BTreeMap<&'a str, u64> {
        let is_requested = |category: &&str| {
            let ancestry = check.context.vocabulary.category_ancestry(category);
            grant.categories.is_empty()
                || grant.categories.iter().any(|named| ancestry.contains(&named.as_str()))
        };
        let mut requested = BTreeMap::new();
        if grant.keys.is_empty() {
            let counts = self.counts.iter().map(|(category, count)| (category.as_str(), *count));
            requested.extend(counts.filter(|(category, count)| *count > 0 && is_requested(category)));
            return requested;
        }
        // Unordered: looked up, never iterated.
        let mut seen = HashSet::new();
        for key in grant.keys.iter().filter(|key| seen.insert(*key)) {
            let category = self.by_key.get(key).map(|(_, category)| category.as_str());
            if let Some(category) = category.filter(is_requested) {
                *requested.entry(category).or_default() += 1;
            }
        }
        requested
    }

    /// Whether the grant allows or withholds every attribute that it was requested for, and no other one. If
    /// a ranking chose the allowed attributes, the permitted ones that it did not choose count, too. The
    /// grant states only their number.
    fn is_accounted_for(&self, grant: &GrantIssued, check: &GrantCheck<'_>) -> bool {
        let mut stated: BTreeMap<&str, u64> = BTreeMap::new();
        for granted in &grant.allowed {
            *stated.entry(&granted.category).or_default() += 1;
        }
        for class in grant.withheld.iter().filter(|class| class.count > 0) {
            *stated.entry(&class.category).or_default() += u64::from(class.count);
        }
        let requested = self.requested(grant, check);
        let Some(ranking) = &grant.ranking else { return stated == requested };
        let has_room =
            |(category, count): (&&str, &u64)| *count <= requested.get(*category).copied().unwrap_or(0);
        let left = ranking.permitted.saturating_sub(ranking.chosen);
        let sum =
            |counts: &BTreeMap<&str, u64>| counts.values().fold(0, |sum: u64, one| sum.saturating_add(*one));
        stated.iter().all(has_room) && sum(&stated).saturating_add(u64::from(left)) == sum(&requested)
    }
}

/// The fault of the classes that a grant withholds, if there is one.
pub(super) fn fault<'a>(
    grant: &'a GrantIssued,
    profile: &Profile,
    own: &OwnEvents,
    check: &mut GrantCheck<'a>,
) -> Option<Fault> {
    let names = grant.categories.len().saturating_add(1);
    let steps = profile.counts.len().saturating_add(grant.keys.len()).saturating_mul(names);
    if !check.subject.effort.spend(steps.saturating_add(grant.withheld.len())) {
        return None;
    }
    // A grant that withholds nothing states no numbers, unless a ranking chose what it allows.
    let states_numbers =
        (!grant.withheld.is_empty() || grant.ranking.is_some()) && check.subject.is_profile_certain();
    if states_numbers && !profile.is_accounted_for(grant, check) {
        return Some(Fault::WithheldCount);
    }
    // A missing refusal may be the reason.
    let is_certain = !check.subject.may_miss_decisions();
    let is_false = |class: &'a WithheldClass| {
        !decided_by_such_event(class, own) || is_certain && is_consented(class, check)
    };
    let mut classes = grant.withheld.iter();
    classes.any(is_false).then_some(Fault::WithheldReason)
}

/// Whether the event that decided is of a kind that fits the reason.
fn decided_by_such_event(class: &WithheldClass, own: &OwnEvents) -> bool {
    if class.decided_by_event.is_empty() {
        return true;
    }
    // An unknown event is a finding of its own.
    let kind = own.kind(&class.decided_by_event).filter(|kind| *kind != Kind::Withheld);
    let Some(kind) = kind else { return true };
    let is_own_choice = class.decided_by() == Tier::Individual && kind == Kind::PersonalBounds;
    is_own_choice
        || match class.reason() {
            Reason::Restricted
            | Reason::Objected
            | Reason::Paused
            | Reason::OptedOut
            | Reason::OptedOutAutomated
            | Reason::SensitiveLimited => kind == Kind::Signal,
            Reason::ConsentRefused | Reason::ConsentWithdrawn => kind == Kind::Refusal,
            Reason::ConsentExpired | Reason::WordsChanged | Reason::NotExplicit => kind == Kind::Consent,
            Reason::KeptOnly => kind == Kind::ErasureRefused,
            _ => true,
        }
}

/// Whether a class is withheld because no consent covers it, although one does.
fn is_consented<'a>(class: &'a WithheldClass, check: &mut GrantCheck<'a>) -> bool {
    check.context.vocabulary.edition() >= REASONS_EDITION
        && CONSENT_POLICIES.contains(&class.policy.as_str())
        && matches!(
            class.reason(),
            Reason::NoConsent
                | Reason::ConsentRefused
                | Reason::ConsentWithdrawn
                | Reason::ConsentExpired
                | Reason::WordsChanged
                | Reason::NoticeOutdated
        )
        && check.is_consented(&class.category)
}
