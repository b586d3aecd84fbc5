//! The consent rule: which decisions of a data subject cover a use, and which of them apply.

use super::vocabulary::Vocabulary;
use crate::event::ConsentTerms;

/// A consent, a refusal or a withdrawal.
pub(super) struct Decision {
    pub event_id: [u8; 16],
    pub sealed_at_ms: u64,
    /// Whether it is a consent (given or renewed), not a refusal or withdrawal.
    pub is_consent: bool,
    pub terms: ConsentTerms,
}

/// A use to decide on: one recipient uses one category for one purpose in one conversation.
pub(super) struct IntendedUse<'a> {
    pub purpose: &'a str,
    pub category: &'a str,
    pub recipient: &'a str,
    /// The recipient's own name for the conversation.
    pub interaction: &'a str,
    pub now_ms: u64,
}

/// The outcome of all decisions for one use.
pub(super) enum Coverage<'a> {
    /// No consent in force covers the use.
    NoConsent,
    /// Refusals or withdrawals override every consent that covers the use.
    Refused,
    /// The consents that allow the use.
    Allowed(Vec<&'a Decision>),
}

/// Applies all decisions of a data subject to a use.
pub(super) fn coverage<'a>(
    decisions: &'a [Decision],
    intended: &IntendedUse<'_>,
    vocabulary: &Vocabulary,
) -> Coverage<'a> {
    let covering =
        |decision: &&Decision| decision.is_consent && consent_covers(&decision.terms, intended, vocabulary);
    let consents: Vec<&Decision> = decisions.iter().filter(covering).collect();
    if consents.is_empty() {
        return Coverage::NoConsent;
    }
    let refusing =
        |decision: &&Decision| !decision.is_consent && refusal_covers(&decision.terms, intended, vocabulary);
    let refusals: Vec<&Decision> = decisions.iter().filter(refusing).collect();
    let prevails =
        |consent: &&Decision| refusals.iter().all(|refusal| overrides(consent, refusal, vocabulary));
    let allowing: Vec<&Decision> = consents.into_iter().filter(prevails).collect();
    if allowing.is_empty() { Coverage::Refused } else { Coverage::Allowed(allowing) }
}

/// A consent overrides a refusal only if it is later and its scope is equal or narrower.
fn overrides(consent: &Decision, refusal: &Decision, vocabulary: &Vocabulary) -> bool {
    refusal.sealed_at_ms < consent.sealed_at_ms && is_within(&consent.terms, &refusal.terms, vocabulary)
}

/// Whether `names` has an id of this ancestry.
fn names_any(names: &[String], ancestry: &[&str]) -> bool {
    ancestry.iter().any(|id| names.iter().any(|name| name == id))
}

fn consent_covers(terms: &ConsentTerms, intended: &IntendedUse<'_>, vocabulary: &Vocabulary) -> bool {
    if terms.until_ms.is_some_and(|until_ms| until_ms <= intended.now_ms) {
        return false;
    }
    let special = vocabulary.special_ancestry(intended.category);
    let covers_category = if special.is_empty() {
        terms.categories.is_empty()
            || names_any(&terms.categories, &vocabulary.category_ancestry(intended.category))
    } else {
        terms.explicit && names_any(&terms.categories, &special)
    };
    covers_category
        && names_any(&terms.purposes, &vocabulary.purpose_ancestry(intended.purpose))
        && names_or_empty(&terms.recipients, intended.recipient)
        && names_or_empty(&terms.interactions, intended.interaction)
}

fn refusal_covers(terms: &ConsentTerms, intended: &IntendedUse<'_>, vocabulary: &Vocabulary) -> bool {
    let names_any_or_empty =
        |names: &[String], ancestry: &[&str]| names.is_empty() || names_any(names, ancestry);
    names_any_or_empty(&terms.purposes, &vocabulary.purpose_ancestry(intended.purpose))
        && names_any_or_empty(&terms.categories, &vocabulary.category_ancestry(intended.category))
        && names_or_empty(&terms.recipients, intended.recipient)
        && names_or_empty(&terms.interactions, intended.interaction)
}

fn names_or_empty(names: &[String], id: &str) -> bool {
    names.is_empty() || names.iter().any(|name| name == id)
}

/// Whether the scope of `inner` is within that of `outer`, on each axis. An axis that names nothing covers
/// everything.
fn is_within(inner: &ConsentTerms, outer: &ConsentTerms, vocabulary: &Vocabulary) -> bool {
    is_axis_within(&inner.purposes, &outer.purposes, |id| vocabulary.purpose_ancestry(id))
        && is_axis_within(&inner.categories, &outer.categories, |id| vocabulary.category_ancestry(id))
        && is_axis_within(&inner.recipients, &outer.recipients, |id| vec![id])
        && is_axis_within(&inner.interactions, &outer.interactions, |id| vec![id])
}

fn is_axis_within<'a>(
    inner: &'a [String],
    outer: &[String],
    ancestry: impl Fn(&'a str) -> Vec<&'a str>,
) -> bool {
    outer.is_empty() || (!inner.is_empty() && inner.iter().all(|id| names_any(outer, &ancestry(id))))
}
