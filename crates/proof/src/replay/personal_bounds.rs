//! The person's own bounds: a closed vocabulary of choices, which can be held against a grant without a policy engine.

use super::fault::Fault;
use super::vocabulary::Vocabulary;
use crate::event::{GrantIssued, PersonalBoundsSet};

const DAY_MS: u64 = 86_400_000;

/// What the choices need to know of a fact.
pub(super) struct Of<'a> {
    pub category: &'a str,
    /// The person's own word: declared, or confirmed since.
    pub declared: bool,
    pub inferred: bool,
    pub observed_at_ms: u64,
}

/// Whether the person's choices let a grant have a fact; consents apart.
pub(super) fn allow(
    choices: &PersonalBoundsSet,
    grant: &GrantIssued,
    of: &Of<'_>,
    vocabulary: &Vocabulary,
    now: u64,
) -> Result<(), Fault> {
    if choices.paused || choices.paused_interactions.contains(&grant.interaction) {
        return Err(Fault::Paused);
    }
    let categories = vocabulary.category_line(of.category);
    let purposes = vocabulary.purpose_line(&grant.purpose);
    let never = choices.never.iter().any(|never| {
        let category = never.category.is_empty() || categories.contains(&never.category.as_str());
        let named = never.purposes.iter().any(|purpose| purposes.contains(&purpose.as_str()));
        category && (never.purposes.is_empty() || named)
    });
    let stranger = !choices.only_recipients.is_empty() && !choices.only_recipients.contains(&grant.recipient);
    let undeclared = choices.declared_only && !of.declared;
    let days = u64::from(choices.forget_inferences_days);
    let forgotten = days > 0 && of.inferred && now.saturating_sub(of.observed_at_ms) / DAY_MS >= days;
    if never || stranger || undeclared || forgotten { Err(Fault::PersonalBounds) } else { Ok(()) }
}
