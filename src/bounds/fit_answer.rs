//! What of the facts that may be used fits one answer.

use crate::bounds::decision::{Allowed, Withheld};
use crate::bounds::error::Denial;
use crate::domain::consent::Cover;
use crate::domain::current_attribute::CurrentAttribute;
use crate::domain::ids::EventId;
use crate::domain::recorder_usage::Recorder;
use sayso_proof::event::{Reason, Tier};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Bytes of facts in one answer. With the rest of it, below what clients of gRPC take where nobody says otherwise (4 MiB).
/// Part of the decision: another number would decide past cases anew.
const ANSWER_BYTES_MAX: usize = 3 << 20;

/// Withholds what does not fit one answer, with its reason; `yes` are the facts of `allowed`.
pub(super) fn leave_out<'a>(
    allowed: &mut Vec<Allowed>,
    yes: &[&'a CurrentAttribute],
    no: &mut Vec<Withheld<'a>>,
) {
    let bytes = yes.iter().map(|held| held.attribute.granted_bytes()).fold(0, usize::saturating_add);
    if bytes <= ANSWER_BYTES_MAX {
        return;
    }
    let out = left_out(yes, ANSWER_BYTES_MAX);
    allowed.retain(|allowed| !out.contains(&allowed.event_id));
    let denial = Arc::new(Denial {
        tier: Tier::Provider,
        policy: "built-in/answer-size".into(),
        article: String::new(),
        reason: Some(Reason::AnswerFull),
    });
    let left = yes.iter().filter(|held| out.contains(&held.event_id));
    no.extend(left.map(|held| Withheld {
        held,
        denial: Arc::clone(&denial),
        cover: Cover::silence(),
        count: 1,
    }));
}

/// The facts that do not fit. Every recorder has an even share of the answer, and what one leaves of it goes to those who
/// need more: nobody's few facts are left out for another's flood. Of one recorder's, the newest stay.
fn left_out(facts: &[&CurrentAttribute], bytes_max: usize) -> BTreeSet<EventId> {
    let mut by_recorder: BTreeMap<Recorder, Vec<&CurrentAttribute>> = BTreeMap::new();
    for held in facts {
        by_recorder.entry(Recorder::of(&held.actor)).or_default().push(held);
    }
    let bytes = |held: &CurrentAttribute| held.attribute.granted_bytes();
    let mut smallest_first: Vec<Vec<&CurrentAttribute>> = by_recorder.into_values().collect();
    smallest_first.sort_by_key(|facts| facts.iter().map(|held| bytes(held)).fold(0, usize::saturating_add));
    let (mut left_bytes, mut left_recorders) = (bytes_max, smallest_first.len());
    let mut out = BTreeSet::new();
    for mut facts in smallest_first {
        let mut share = left_bytes / left_recorders.max(1);
        facts.sort_by_key(|held| Reverse(held.version));
        for held in facts {
            match share.checked_sub(bytes(held)) {
                Some(rest) => {
                    share = rest;
                    left_bytes = left_bytes.saturating_sub(bytes(held));
                }
                None => {
                    out.insert(held.event_id);
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
    use crate::domain::event::{Actor, Event, Role};
    use crate::domain::histories::{event_id, recorded};
    use crate::domain::profile::SubjectState;
    use sayso_proof::event::Provenance;

    /// Facts by these services, oldest first, each of a kilobyte.
    fn held(by: &[&str]) -> SubjectState {
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
                }),
            );
            event.actor = Actor { role: Role::Service.into(), name: (*name).to_owned() };
            event
        });
        SubjectState::fold(&events.collect::<Vec<_>>())
    }

    fn out(by: &[&str], bytes_max: usize) -> Vec<u64> {
        let state = held(by);
        let facts: Vec<&CurrentAttribute> = state.attributes.values().map(AsRef::as_ref).collect();
        let out = left_out(&facts, bytes_max);
        (0..by.len() as u64).filter(|number| out.contains(&event_id(*number))).collect()
    }

    #[test]
    fn one_recorders_flood_takes_nothing_from_others() {
        let mut by = vec!["quiet", "flood"];
        by.extend(["flood"; 20]);
        by.push("late");
        // Room for ten or so: the two small ones whole, of the flood the newest.
        let gone = out(&by, 13_000);
        assert!(!gone.contains(&0) && !gone.contains(&22), "{gone:?}");
        assert_eq!(gone, (1..=gone.len() as u64).collect::<Vec<_>>());
        assert!((10..15).contains(&gone.len()), "{gone:?}");
    }

    #[test]
    fn everything_stays_where_there_is_room_and_shares_are_even_where_there_is_not() {
        assert_eq!(out(&["a", "b", "c"], 4_000), Vec::<u64>::new());
        let by = ["a", "b", "a", "b", "a", "b", "a", "b"];
        assert_eq!(out(&by, 5_200), [0, 1, 2, 3]);
        assert_eq!(out(&by, 0).len(), 8);
    }
}
