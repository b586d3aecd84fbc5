//! The current attributes of a data subject, and how many of them a grant has to account for.

use super::attribute::AttributeState;
use super::grant::GrantCheck;
use super::subject::Subject;
use crate::event::event_body::Event;
use crate::event::{Attribute, GrantIssued, Provenance};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

type EventId = [u8; 16];

/// The current attributes of a data subject.
#[derive(Default)]
pub(super) struct Profile {
    /// The event and the category of the current attribute under each key.
    // Unordered: looked up, never iterated.
    by_key: HashMap<String, (EventId, String)>,
    /// The events of the current attributes in each category.
    by_category: BTreeMap<String, BTreeSet<EventId>>,
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
        self.by_category.entry(new.category.clone()).or_default().insert(*event_id);
    }

    fn remove(&mut self, id: &[u8], subject: &Subject) {
        let Some(attribute) = subject.attribute(id) else { return };
        if self.by_key.get(&attribute.key).is_some_and(|(current, _)| current == id) {
            let removed = self.by_key.remove(&attribute.key);
            self.take_out(removed);
        }
    }

    fn take_out(&mut self, gone: Option<(EventId, String)>) {
        let Some((id, category)) = gone else { return };
        if let Some(ids) = self.by_category.get_mut(&category) {
            ids.remove(&id);
        }
    }

    /// Number of categories.
    pub fn categories(&self) -> usize {
        self.by_category.len()
    }

    /// Whether a current attribute of a category is such.
    pub fn has(&self, category: &str, subject: &Subject, is_such: impl Fn(&AttributeState) -> bool) -> bool {
        let Some(ids) = self.by_category.get(category) else { return false };
        subject.effort.spend(ids.len()) && ids.iter().any(|id| subject.attribute(id).is_some_and(&is_such))
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
            let counts = self.by_category.iter().map(|(category, ids)| (category.as_str(), ids.len() as u64));
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
    pub fn is_accounted_for(&self, grant: &GrantIssued, check: &GrantCheck<'_>) -> bool {
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
