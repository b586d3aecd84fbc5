//! How long a decision stays the same if nothing changes but the time, so that it can be reused until then.
//!
//! This module destructures attributes and the terms of consent decisions field by field. If a developer
//! adds a field, the code does not compile until it states whether the passage of time affects the field.
//! Property tests check that no decision changes before [`valid_until_ms`].

use crate::domain::DAY_MS;
use crate::domain::attribute::Attribute;
use crate::domain::consent::{ConsentRecord, Terms};
use crate::domain::profile::SubjectState;

/// The first time after `now_ms` at which a decision about this data subject may change although no event was
/// recorded and no rule changed, milliseconds since the Unix epoch. At that time a consent or an attribute
/// ends or becomes a day older, or the data subject may reach another age.
#[must_use]
pub fn valid_until_ms(state: &SubjectState, now_ms: u64) -> u64 {
    let attributes =
        state.attributes.values().flat_map(|current| attribute_changes_ms(&current.attribute, now_ms));
    let consents = state.consents.records().iter().flat_map(|record| consent_changes_ms(record, now_ms));
    let age = state.description.age.changes_at_ms(now_ms);
    attributes.chain(consents).chain(age).filter(|time_ms| *time_ms > now_ms).min().unwrap_or(u64::MAX)
}

/// The times at which an attribute can change a decision: when it ends, and when it becomes a day older.
/// Rules and personal bounds compare its age in whole days.
fn attribute_changes_ms(attribute: &Attribute, now_ms: u64) -> impl Iterator<Item = u64> {
    let Attribute {
        key: _,
        value: _,
        category: _,
        provenance: _,
        claimed_provenance: _,
        evidence: _,
        derived_from: _,
        confidence: _,
        model: _,
        observed_at_ms,
        expires_at_ms,
        from_replies: _,
        embedding: _,
    } = attribute;
    expires_at_ms.iter().copied().chain([day_older_ms(*observed_at_ms, now_ms)])
}

/// The times at which a consent can change a decision: when it ends, and when it becomes a day older.
fn consent_changes_ms(record: &ConsentRecord, now_ms: u64) -> impl Iterator<Item = u64> {
    let older_ms = record.decision.is_yes().then(|| day_older_ms(record.said_ms(), now_ms));
    ends_ms(&record.terms).into_iter().chain(older_ms)
}

/// When the age of something from `since_ms` becomes another whole day.
fn day_older_ms(since_ms: u64, now_ms: u64) -> u64 {
    let days = now_ms.saturating_sub(since_ms) / DAY_MS;
    since_ms.saturating_add(days.saturating_add(1).saturating_mul(DAY_MS))
}

fn ends_ms(terms: &Terms) -> Option<u64> {
    let Terms {
        purposes: _,
        categories: _,
        recipients: _,
        explicit: _,
        notice: _,
        channel: _,
        until_ms,
        interactions: _,
        guardian: _,
    } = terms;
    *until_ms
}
