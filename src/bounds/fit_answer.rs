//! Limits a decision to the attributes that fit in one answer, and withholds the others.

use crate::bounds::decision::{Allowed, Withheld};
use crate::bounds::error::Denial;
use crate::domain::consent::Cover;
use crate::domain::current_attribute::CurrentAttribute;
use crate::domain::event::{Reason, Tier};
use crate::domain::ids::EventId;
use crate::domain::recorder_usage::Recorder;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Bytes of attributes in one answer. Together with everything else in the answer, they stay below the
/// default limit of gRPC clients (4 MiB). Decisions depend on this limit: if it changed, past cases would be
/// decided differently.
pub(crate) const ANSWER_BYTES_MAX: usize = 3 << 20;

/// Moves attributes that do not fit in one answer from `allowed` to `withheld`. `yes` holds the attributes of
/// `allowed`.
pub(super) fn withhold_excess<'a>(
    allowed: &mut Vec<Allowed>,
    yes: &[&'a CurrentAttribute],
    withheld: &mut Vec<Withheld<'a>>,
) {
    let bytes = yes.iter().map(|current| current.attribute.granted_bytes()).fold(0, usize::saturating_add);
    if bytes <= ANSWER_BYTES_MAX {
        return;
    }
    let out = excess(yes, ANSWER_BYTES_MAX);
    allowed.retain(|allowed| !out.contains(&allowed.event_id));
    let denial = Arc::new(Denial {
        tier: Tier::Provider,
        policy: "built-in/answer-size".into(),
        article: String::new(),
        reason: Some(Reason::AnswerFull),
    });
    let left = yes.iter().filter(|current| out.contains(&current.event_id));
    withheld.extend(left.map(|current| Withheld {
        first: current,
        denial: Arc::clone(&denial),
        cover: Cover::silence(),
        count: 1,
    }));
}

/// The attributes that do not fit. Every recorder has an equal share of the answer. The unused part of a
/// share goes to recorders that need more. A recorder with many attributes therefore does not displace a
/// recorder with few. The newest attributes of each recorder are kept.
fn excess(attributes: &[&CurrentAttribute], bytes_max: usize) -> BTreeSet<EventId> {
    let mut by_recorder: BTreeMap<Recorder, Vec<&CurrentAttribute>> = BTreeMap::new();
    for current in attributes {
        by_recorder.entry(Recorder::of(&current.actor)).or_default().push(current);
    }
    let bytes = |current: &CurrentAttribute| current.attribute.granted_bytes();
    let mut smallest_first: Vec<Vec<&CurrentAttribute>> = by_recorder.into_values().collect();
    smallest_first.sort_by_key(|attributes| {
        attributes.iter().map(|current| bytes(current)).fold(0, usize::saturating_add)
    });
    let (mut left_bytes, mut left_recorders) = (bytes_max, smallest_first.len());
    let mut out = BTreeSet::new();
    for mut attributes in smallest_first {
        let mut share = left_bytes / left_recorders.max(1);
        attributes.sort_by_key(|current| Reverse(current.version));
        for current in attributes {
            match share.checked_sub(bytes(current)) {
                Some(rest) => {
                    share = rest;
                    left_bytes = left_bytes.saturating_sub(bytes(current));
                }
                None => {
                    out.insert(current.event_id);
                }
            }
        }
        left_recorders = left_recorders.saturating_sub(1);
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::domain::attribute::{Attribute, Secret};
    use crate::domain::event::{Actor, Event, Provenance, Role};
    use crate::domain::histories::{event_id, recorded};
    use crate::domain::profile::SubjectState;

    /// A state with attributes recorded by these services, oldest first, each of a kilobyte.
    fn state_recorded(by: &[&str]) -> SubjectState {
        let events = (0_u64..).zip(by).map(|(number, name)| {
            let mut event = recorded(
                number,
                number,
                Event::AttributeRecorded(Attribute {
                    key: format!("key-{number:04}"),
                    value: Secret::new("x".repeat(1_000)),
                    category: "work".into(),
                    provenance: Provenance::Observed,
                    evidence: Vec::new(),
                    derived_from: Vec::new(),
                    confidence: None,
                    model: String::new(),
                    observed_at_ms: 0,
                    expires_at_ms: None,
                    from_replies: Vec::new(),
                    claimed_provenance: Provenance::Unspecified,
                    embedding: None,
                }),
            );
            event.actor = Actor { role: Role::Service, name: (*name).to_owned() };
            event
        });
        SubjectState::fold(&events.collect::<Vec<_>>())
    }

    fn out(by: &[&str], bytes_max: usize) -> Vec<u64> {
        let state = state_recorded(by);
        let attributes: Vec<&CurrentAttribute> = state.attributes.values().map(AsRef::as_ref).collect();
        let out = excess(&attributes, bytes_max);
        (0..by.len() as u64).filter(|number| out.contains(&event_id(*number))).collect()
    }

    #[test]
    fn a_flood_by_one_recorder_displaces_no_other_recorder() {
        let mut by = vec!["quiet", "flood"];
        by.extend(["flood"; 20]);
        by.push("late");
        // There is room for about ten: the attributes of both small recorders, and the newest ones of
        // `flood`.
        let gone = out(&by, 13_000);
        assert!(!gone.contains(&0) && !gone.contains(&22), "{gone:?}");
        assert_eq!(gone, (1..=gone.len() as u64).collect::<Vec<_>>());
        assert!((10..15).contains(&gone.len()), "{gone:?}");
    }

    #[test]
    fn everything_fits_if_there_is_room_and_otherwise_shares_are_equal() {
        assert_eq!(out(&["a", "b", "c"], 4_000), Vec::<u64>::new());
        let by = ["a", "b", "a", "b", "a", "b", "a", "b"];
        assert_eq!(out(&by, 5_200), [0, 1, 2, 3]);
        assert_eq!(out(&by, 0).len(), 8);
    }
}
