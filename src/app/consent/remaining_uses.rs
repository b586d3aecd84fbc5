//! The purposes for which data may still be used after the data subject said no to them. Their legal basis
//! does not depend on the subject's agreement. Such a basis is a contract or a legal obligation, for
//! example.

use crate::domain::consent::{ConsentRecord, Terms};
use crate::domain::event::PurposeDefined;
use crate::domain::legal_basis::DeclaredBasis;
use crate::domain::profile::SubjectState;
use crate::domain::vocabulary::Vocabulary;

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

/// The remaining uses after a no to these purposes, where an empty list means all purposes. Purposes that the
/// data subject once consented to as a whole are left out, because no other basis replaces a consent. There
/// are none for minors. `now_ms` is in milliseconds since the Unix epoch.
pub(crate) fn remaining_uses(
    state: &SubjectState,
    vocabulary: &Vocabulary,
    now_ms: u64,
    purposes: &[String],
) -> Vec<RemainingUse> {
    if matches!(state.description.age.band_name(now_ms), "child" | "teen") {
        return Vec::new();
    }
    let remains = |purpose: &PurposeDefined| {
        let declared = vocabulary.declared_basis(&purpose.id);
        let (basis, _) = declared.filter(|(basis, _)| !basis.can_be_refused())?;
        let ancestry = vocabulary.purpose_ancestry(&purpose.id);
        let is_named = |names: &[String]| names.iter().any(|name| ancestry.contains(&name.as_str()));
        let consented = |record: &ConsentRecord| {
            record.decision.is_yes() && is_whole(&record.terms) && is_named(&record.terms.purposes)
        };
        let is_refused = purposes.is_empty() || is_named(purposes);
        (is_refused && !state.consents.records().iter().any(consented)).then(|| RemainingUse {
            purpose: purpose.id.clone(),
            basis,
            reference: purpose.basis_reference.clone(),
        })
    };
    vocabulary.purposes().filter_map(remains).take(REMAINING_MAX).collect()
}

/// Whether a consent covers its purposes as a whole: it is not limited to some data, recipients or
/// conversations.
fn is_whole(terms: &Terms) -> bool {
    terms.categories.is_empty() && terms.recipients.is_empty() && terms.interactions.is_empty()
}
