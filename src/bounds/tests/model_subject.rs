//! The part of the model of decisions that is about the data subject as a whole, such as refused erasures.

use crate::bounds::tests::model::{CATEGORIES, ancestry};
use crate::domain::event::{AgeBand, ErasureRefused, ErasureScope, Event, Recorded};
use crate::domain::ids::EventId;
use crate::domain::request::Ground;
use std::collections::BTreeMap;

/// Whether an attribute is kept after a refused erasure, and the ground does not require the use.
pub fn is_kept_only(events: &[Recorded], purpose: &str, key: &str, category: &str) -> bool {
    let mut refused: BTreeMap<EventId, &ErasureRefused> = BTreeMap::new();
    for each in events {
        match &each.event {
            Event::ErasureRefused(refusal) if refusal.ground != Ground::Excessive => {
                refused.insert(refusal.request, refusal);
            }
            Event::RequestWithdrawn(withdrawn) => {
                refused.remove(&withdrawn.request);
            }
            _ => {}
        }
    }
    let above = ancestry(category, &CATEGORIES);
    let is_in_scope = |refusal: &&&ErasureRefused| {
        let kept =
            refusal.categories.is_empty() || refusal.categories.iter().any(|id| above.contains(id.as_str()));
        kept && match refusal.scope {
            ErasureScope::Key => refusal.key == key,
            ErasureScope::Category => above.contains(refusal.category.as_str()),
            _ => true,
        }
    };
    let covering: Vec<_> = refused.values().filter(is_in_scope).collect();
    let is_required = |refusal: &&&ErasureRefused| {
        purpose == "legal-claims" && refusal.purposes.iter().any(|id| id == "legal-claims")
    };
    !covering.is_empty() && !covering.iter().any(|refusal| is_required(refusal))
}

/// The age band as rules name it.
pub fn band(events: &[Recorded]) -> &'static str {
    let mut band = "unknown";
    for each in events {
        if let Event::SubjectDescribed(description) = &each.event {
            band = match description.age_band {
                AgeBand::Unspecified => band,
                AgeBand::Unknown => "unknown",
                AgeBand::Child => "child",
                AgeBand::Teen => "teen",
                AgeBand::Adult => "adult",
            };
        }
    }
    band
}
