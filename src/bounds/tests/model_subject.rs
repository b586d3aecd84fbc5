//! The part of the model of decisions (`model.rs`) for what concerns a data subject as a whole: refused
//! erasures and age.

use crate::bounds::tests::model::{CATEGORIES, DAY_MS, ancestry};
use crate::domain::event::{AgeBand, ErasureRefused, ErasureScope, Event, Recorded};
use crate::domain::ids::EventId;
use crate::domain::request::Ground;
use std::collections::BTreeMap;

/// Whether an attribute is kept after a refused erasure, and the legal ground of the refusal does not require
/// the use.
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
    !covering.is_empty() && !covering.iter().any(is_required)
}

/// The age band at a time. Births in histories are such that the youngest who fits turns 13 or 18 at noon UTC
/// of the second or third day of 1970.
pub fn band(events: &[Recorded], now_ms: u64) -> &'static str {
    let noon = |day: u64| (day - 1) * DAY_MS + DAY_MS / 2;
    let mut band = "unknown";
    for each in events {
        if let Event::SubjectDescribed(description) = &each.event {
            band = match description.age_band {
                _ if description.born == "1950" => "adult",
                _ if description.born == "1954" => "teen",
                _ if description.born == "1952-01-03" => {
                    if now_ms < noon(3) {
                        "teen"
                    } else {
                        "adult"
                    }
                }
                _ if description.born == "1957-01-02" => {
                    if now_ms < noon(2) {
                        "child"
                    } else {
                        "teen"
                    }
                }
                _ if description.born == "1960-05" => "child",
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
