//! How long a decision stays what it is while only time passes.
//!
//! Attributes and terms are taken apart here by name, so that whoever adds something to them says whether time moves it.
//! Properties hold it against decisions.

use crate::domain::DAY_MS;
use crate::domain::attribute::Attribute;
use crate::domain::consent::Terms;
use crate::domain::profile::SubjectState;

/// The first moment after `now_ms` at which a decision about this person may come out otherwise although nothing was written
/// and no rule changed: where a consent or an attribute ends, or one is a day older. Milliseconds since the Unix epoch.
#[must_use]
pub fn valid_until_ms(state: &SubjectState, now_ms: u64) -> u64 {
    let attributes = state.attributes.values().flat_map(|held| attribute_moves_ms(&held.attribute, now_ms));
    let consents = state.consents.records().iter().filter_map(|record| ends_ms(&record.terms));
    attributes.chain(consents).filter(|moment_ms| *moment_ms > now_ms).min().unwrap_or(u64::MAX)
}

/// Where it ends, and where it is a day older: rules ask for whole days, and so do the person's own bounds that forget.
fn attribute_moves_ms(attribute: &Attribute, now_ms: u64) -> impl Iterator<Item = u64> {
    let Attribute {
        key: _,
        value: _,
        category: _,
        provenance: _,
        evidence: _,
        derived_from: _,
        confidence: _,
        model: _,
        observed_at_ms,
        expires_at_ms,
        from_replies: _,
    } = attribute;
    let days = now_ms.saturating_sub(*observed_at_ms) / DAY_MS;
    let older_ms = observed_at_ms.saturating_add(days.saturating_add(1).saturating_mul(DAY_MS));
    expires_at_ms.iter().copied().chain([older_ms])
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
