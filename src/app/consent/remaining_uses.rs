//! The purposes for which data may still be used although the data subject said no to them, because their
//! legal basis can't be refused.

use crate::bounds::rulebook::Rules;
use crate::domain::consent::ConsentRecord;
use crate::domain::event::PurposeDefined;
use crate::domain::legal_basis::DeclaredBasis;

/// The most purposes in an answer.
const REMAINING_MAX: usize = 256;

/// A purpose for which data may still be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemainingUse {
    /// The id of the purpose.
    pub purpose: String,
    /// Its legal basis.
    pub basis: DeclaredBasis,
    /// What the basis rests on.
    pub reference: String,
}

/// The remaining uses after a no to these purposes, where an empty list means all purposes. A purpose that a
/// consent of the data subject named, or named an ancestor of, is not among them: no other basis replaces a
/// consent.
pub(super) fn remaining_uses(
    rules: &Rules,
    purposes: &[String],
    decisions: &[ConsentRecord],
) -> Vec<RemainingUse> {
    let vocabulary = &rules.vocabulary;
    let remains = |purpose: &PurposeDefined| {
        let (basis, _) =
            vocabulary.declared_basis(&purpose.id).filter(|(basis, _)| !basis.can_be_refused())?;
        let ancestry = vocabulary.purpose_ancestry(&purpose.id);
        let is_named = |names: &[String]| names.iter().any(|name| ancestry.contains(&name.as_str()));
        let was_consented =
            decisions.iter().any(|record| record.decision.is_yes() && is_named(&record.terms.purposes));
        let is_refused = purposes.is_empty() || is_named(purposes);
        (is_refused && !was_consented).then(|| RemainingUse {
            purpose: purpose.id.clone(),
            basis,
            reference: purpose.basis_reference.clone(),
        })
    };
    vocabulary.purposes().filter_map(remains).take(REMAINING_MAX).collect()
}
