//! Finds feedback loops, which can reinforce a bias (Kirk et al. 2024). In a feedback loop, an attribute
//! shapes a reply. A model then uses this reply to infer the same attribute again, or an attribute derived
//! from it.

use crate::domain::event::{Event, Provenance, Recorded};
use crate::domain::ids::EventId;
use std::collections::{BTreeMap, BTreeSet};

/// The counts of inferences and feedback loops in one data subject's events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loops {
    /// The number of inferences recorded.
    pub inferences: u64,
    /// The number of inferences that name the replies that they were inferred from.
    pub from_replies: u64,
    /// The inferences that reinforce themselves, in the order recorded. Such an inference was made from a
    /// reply that one of its sources, or an attribute with the same key, had shaped.
    pub reinforcing: Vec<EventId>,
}

/// Finds the inferences in one data subject's events (oldest first) that reinforce themselves.
///
/// Replies are matched by the ids that services reported. A reply counts only if it was reported before the
/// inference.
pub fn loops<'a>(events: impl IntoIterator<Item = &'a Recorded>) -> Loops {
    let mut found = Loops::default();
    let mut attributes: BTreeMap<EventId, (&str, &[EventId])> = BTreeMap::new();
    let mut shaped: BTreeMap<&str, BTreeSet<EventId>> = BTreeMap::new();
    for event in events {
        match &event.event {
            Event::AttributeRecorded(attribute)
            | Event::EarlierAttributeRecorded(attribute)
            | Event::AttributeCorrected { attribute, .. } => {
                attributes.insert(event.event_id, (&attribute.key, &attribute.derived_from));
                if attribute.provenance != Provenance::Inferred {
                    continue;
                }
                found.inferences = found.inferences.saturating_add(1);
                if attribute.from_replies.is_empty() {
                    continue;
                }
                found.from_replies = found.from_replies.saturating_add(1);
                let sources = all_sources(&attribute.derived_from, &attributes);
                let replies = attribute.from_replies.iter().filter_map(|reply| shaped.get(reply.as_str()));
                let is_same_or_source = |by: &EventId| {
                    let key = attributes.get(by).map(|(key, _)| *key);
                    key == Some(attribute.key.as_str()) || sources.contains(by)
                };
                if replies.flatten().any(is_same_or_source) {
                    found.reinforcing.push(event.event_id);
                }
            }
            Event::GrantUsed(used) => {
                shaped.entry(used.reply.as_str()).or_default().extend(used.shaped_by.iter().copied());
            }
            _ => {}
        }
    }
    found
}

/// All direct and indirect sources of an attribute.
fn all_sources(sources: &[EventId], attributes: &BTreeMap<EventId, (&str, &[EventId])>) -> BTreeSet<EventId> {
    let mut all = BTreeSet::new();
    let mut open: Vec<EventId> = sources.to_vec();
    while let Some(source) = open.pop() {
        if all.insert(source) {
            open.extend(attributes.get(&source).into_iter().flat_map(|(_, sources)| sources.iter()));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use crate::domain::attribute::{Attribute, Secret};
    use crate::domain::event::GrantUsed;
    use crate::domain::histories::{event_id, histories, recorded};
    use proptest::prelude::*;

    fn inference(key: &str, derived_from: &[u64], from_replies: &[&str]) -> Event {
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
            claimed_provenance: Provenance::Unspecified,
            embedding: None,
            from_replies: from_replies.iter().map(|reply| (*reply).to_owned()).collect(),
        })
    }

    fn used(reply: &str, shaped_by: u64) -> Event {
        let shaped_by = vec![event_id(shaped_by)];
        Event::GrantUsed(GrantUsed { reply: reply.into(), shaped_by, ..GrantUsed::default() })
    }

    fn loops_in(events: Vec<Event>) -> Loops {
        let events: Vec<Recorded> =
            (0..).zip(events).map(|(number, event)| recorded(number, number, event)).collect();
        loops(&events)
    }

    #[test]
    fn an_inference_from_a_reply_that_the_same_attribute_shaped_is_reinforcing() {
        let events = vec![inference("mood", &[], &[]), used("r1", 0), inference("mood", &[], &["r1"])];
        let found = loops_in(events);
        assert_eq!((found.inferences, found.from_replies, found.reinforcing), (2, 1, vec![event_id(2)]));
    }

    #[test]
    fn an_inference_from_a_reply_that_one_of_its_sources_shaped_is_reinforcing() {
        let events = vec![
            inference("work", &[], &[]),
            inference("stress", &[0], &[]),
            used("r1", 0),
            inference("mood", &[1], &["r1"]),
            inference("food", &[], &["r1"]),
            inference("mood", &[1], &["r2"]),
        ];
        assert_eq!(loops_in(events).reinforcing, [event_id(3)]);
    }

    #[test]
    fn a_reply_that_is_reported_after_the_inference_does_not_count() {
        let events = vec![inference("mood", &[], &[]), inference("mood", &[], &["r1"]), used("r1", 0)];
        assert!(loops_in(events).reinforcing.is_empty());
    }

    proptest! {
        #[test]
        fn without_reported_replies_there_are_no_loops(events in histories()) {
            let found = loops(&events);
            prop_assert!(found.reinforcing.is_empty());
            prop_assert!(found.from_replies <= found.inferences);
        }
    }
}
