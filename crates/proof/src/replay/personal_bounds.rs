//! A data subject's own bounds: a closed set of choices, which can be replayed without a policy engine.

use super::fault::Fault;
use super::vocabulary::WordsInForce;
use crate::event::{GrantIssued, PersonalBoundsSet};

const DAY_MS: u64 = 86_400_000;

/// The properties of an attribute that the choices depend on.
pub(super) struct Properties<'a> {
    pub category: &'a str,
    /// Whether the data subject declared the attribute, or has confirmed it since.
    pub declared: bool,
    pub inferred: bool,
    pub observed_at_ms: u64,
}

/// Checks that the data subject's choices allow a grant of an attribute. Consents are checked elsewhere.
pub(super) fn check(
    choices: &PersonalBoundsSet,
    grant: &GrantIssued,
    attribute: &Properties<'_>,
    vocabulary: WordsInForce<'_>,
    now_ms: u64,
) -> Result<(), Fault> {
    if choices.paused || choices.paused_interactions.contains(&grant.interaction) {
        return Err(Fault::Paused);
    }
    let categories = vocabulary.category_ancestry(attribute.category);
    let purposes = vocabulary.purpose_ancestry(&grant.purpose);
    let is_never_used = choices.never.iter().any(|never| {
        let category = never.category.is_empty() || categories.contains(&never.category.as_str());
        let names_purpose = never.purposes.iter().any(|purpose| purposes.contains(&purpose.as_str()));
        category && (never.purposes.is_empty() || names_purpose)
    });
    let excludes_recipient =
        !choices.only_recipients.is_empty() && !choices.only_recipients.contains(&grant.recipient);
    let is_undeclared = choices.declared_only && !attribute.declared;
    let days = u64::from(choices.forget_inferences_days);
    let age_days = now_ms.saturating_sub(attribute.observed_at_ms) / DAY_MS;
    let is_forgotten = days > 0 && attribute.inferred && age_days >= days;
    if is_never_used || excludes_recipient || is_undeclared || is_forgotten {
        Err(Fault::PersonalBounds)
    } else {
        Ok(())
    }
}

/// The number of names in a data subject's choices.
pub(super) fn names(choices: &PersonalBoundsSet) -> usize {
    let never = choices.never.iter().map(|never| never.purposes.len().saturating_add(1));
    let named = choices.paused_interactions.len().saturating_add(choices.only_recipients.len());
    never.fold(named, usize::saturating_add)
}
