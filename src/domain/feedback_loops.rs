//! Finds feedback loops: inferences from replies that the same attribute had already shaped (Kirk et al.
//! 2024: bias reinforcement). Pure: works on one data subject's events, oldest first.

use crate::domain::event::{Event, Recorded};
use crate::domain::ids::EventId;
use sayso_proof::event::Provenance;
use std::collections::{BTreeMap, BTreeSet};

/// The counts of inferences and feedback loops in one data subject's events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loops {
    /// The number of inferences recorded.
    pub inferences: u64,
    /// How many of them name the replies that they were inferred from.
    pub from_replies: u64,
    /// Those inferred from a reply that an attribute of the same key, or one of their own sources, had
    /// shaped, in the order recorded.
    pub reinforcing: Vec<EventId>,
}

/// Finds the inferences in one data subject's events (oldest first) that reinforce themselves.
///
/// Replies are matched by the ids that services reported, and only if they were reported before the
/// inference.
pub fn loops<'a>(events: impl IntoIterator<Item = &'a Recorded>) -> Loops {
    let mut found = Loops::default();
    let mut facts: BTreeMap<EventId, (&str, &[EventId])> = BTreeMap::new();
    let mut shaped: BTreeMap<&str, BTreeSet<EventId>> = BTreeMap::new();
    for event in events {
        match &event.event {
            Event::AttributeRecorded(attribute) | Event::AttributeCorrected { attribute, .. } => {
                facts.insert(event.event_id, (&attribute.key, &attribute.derived_from));
                if attribute.provenance != Provenance::Inferred {
                    continue;
                }
                found.inferences = found.inferences.saturating_add(1);
                if attribute.from_replies.is_empty() {
                    continue;
                }
                found.from_replies = found.from_replies.saturating_add(1);
                let ground = ground(&attribute.derived_from, &facts);
                let replies = attribute.from_replies.iter().filter_map(|reply| shaped.get(reply.as_str()));
                let same = |by: &EventId| {
                    let key = facts.get(by).map(|(key, _)| *key);
                    key == Some(attribute.key.as_str()) || ground.contains(by)
                };
                if replies.flatten().any(same) {
                    found.reinforcing.push(event.event_id);
                }
            }
            Event::GrantUsed(used) => {
                let by = used.shaped_by.iter().filter_map(|id| EventId::from_slice(id));
                shaped.entry(used.reply.as_str()).or_default().extend(by);
            }
            _ => {}
        }
    }
    found
}

/// All direct and indirect sources.
fn ground(sources: &[EventId], facts: &BTreeMap<EventId, (&str, &[EventId])>) -> BTreeSet<EventId> {
    let mut ground = BTreeSet::new();
    let mut open: Vec<EventId> = sources.to_vec();
    while let Some(source) = open.pop() {
        if ground.insert(source) {
            open.extend(facts.get(&source).into_iter().flat_map(|(_, sources)| sources.iter()));
        }
    }
    ground
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use crate::domain::attribute::{Attribute, Secret};
    use crate::domain::histories::{event_id, histories, recorded};
    use proptest::prelude::*;
    use sayso_proof::event::GrantUsed;

    fn fact(key: &str, derived_from: &[u64], from_replies: &[&str]) -> Event {
        Event::AttributeRecorded(Attribute {
            key: key.into(),
            value: Secret::new("1".into()),
            category: "work".into(),
            provenance: Provenance::Inferred,
            evidence: Vec::new(),
            derived_from: derived_from.iter().map(|number| event_id(*number)).collect(),
            confidence: None,
            model: String::new(),
            observed_at_ms: 0,
            expires_at_ms: None,
            from_replies: from_replies.iter().map(|reply| (*reply).to_owned()).collect(),
        })
    }

    fn used(reply: &str, shaped_by: u64) -> Event {
        let shaped_by = vec![event_id(shaped_by).0.to_vec()];
        Event::GrantUsed(GrantUsed { reply: reply.into(), shaped_by, ..GrantUsed::default() })
    }

    fn found(events: Vec<Event>) -> Loops {
        let events: Vec<Recorded> =
            (0..).zip(events).map(|(number, event)| recorded(number, number, event)).collect();
        loops(&events)
    }

    #[test]
    fn a_conclusion_from_a_reply_that_it_shaped_reinforces_itself() {
        let events = vec![fact("mood", &[], &[]), used("r1", 0), fact("mood", &[], &["r1"])];
        let of = found(events);
        assert_eq!((of.inferences, of.from_replies, of.reinforcing), (2, 1, vec![event_id(2)]));
    }

    #[test]
    fn so_does_one_that_derives_from_what_shaped_it() {
        let events = vec![
            fact("work", &[], &[]),
            fact("stress", &[0], &[]),
            used("r1", 0),
            fact("mood", &[1], &["r1"]),
            fact("food", &[], &["r1"]),
            fact("mood", &[1], &["r2"]),
        ];
        assert_eq!(found(events).reinforcing, [event_id(3)]);
    }

    #[test]
    fn what_is_reported_later_was_no_ground() {
        let events = vec![fact("mood", &[], &[]), fact("mood", &[], &["r1"]), used("r1", 0)];
        assert!(found(events).reinforcing.is_empty());
    }

    proptest! {
        #[test]
        fn without_reported_replies_there_are_no_loops(events in histories()) {
            let of = loops(&events);
            prop_assert!(of.reinforcing.is_empty());
            prop_assert!(of.from_replies <= of.inferences);
        }
    }
}
