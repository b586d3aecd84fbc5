//! Counts requests under data protection law: what was requested, the outcome, and how long it took.

use super::labels::{DURATION_BUCKETS, bucket, word};
use super::table::{Labels, Population};
use crate::domain::event::{Event, Recorded, RequestKind, RequestOutcome};
use crate::domain::rights::Rights;

/// The rows in which a step of a request is counted. `rights` is the state before the step.
#[must_use]
pub fn steps(event: &Recorded, rights: &Rights) -> Vec<(Population, Labels)> {
    match &event.event {
        Event::RequestSubmitted(submitted) => vec![step(submitted.kind, "submitted")],
        Event::RequestExtended(extended) => {
            let known = rights.requests.get(&extended.request);
            known.map(|request| step(request.kind, "extended")).into_iter().collect()
        }
        Event::RequestDecided(decided) => {
            let outcome = word(decided.outcome.as_str_name(), "REQUEST_OUTCOME_");
            let mut counted = vec![step(decided.kind, &outcome)];
            if decided.outcome != RequestOutcome::Accepted {
                let age_ms = event.recorded_at_ms.saturating_sub(decided.submitted_at_ms);
                counted.push((Population::RequestAges, vec![bucket(&DURATION_BUCKETS, age_ms).to_owned()]));
            }
            counted
        }
        _ => Vec::new(),
    }
}

/// Every possible row, so that a report with noise shows all of them.
#[must_use]
pub fn rows() -> Vec<Labels> {
    const KINDS: [RequestKind; 9] = [
        RequestKind::Erasure,
        RequestKind::Access,
        RequestKind::Portability,
        RequestKind::Rectification,
        RequestKind::Restriction,
        RequestKind::Objection,
        RequestKind::Complaint,
        RequestKind::DecisionAccess,
        RequestKind::DecisionAppeal,
    ];
    const STEPS: [&str; 6] = ["submitted", "extended", "accepted", "completed", "partly", "refused"];
    KINDS.iter().flat_map(|kind| STEPS.iter().map(|label| step(*kind, label).1)).collect()
}

fn step(kind: RequestKind, label: &str) -> (Population, Labels) {
    (Population::Requests, vec![word(kind.as_str_name(), "REQUEST_KIND_"), label.to_owned()])
}
