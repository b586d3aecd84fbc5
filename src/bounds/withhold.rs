//! Decisions while all use is denied: what would be allowed is withheld, with the reason.

use crate::bounds::decision::Decision;
use crate::domain::profile::SubjectState;
use sayso_proof::event::{Provenance, Reason, Tier, WithheldClass};
use std::collections::BTreeMap;

/// A decision while a restore waits to be confirmed: what would be allowed is withheld for that.
pub(crate) fn withhold_until_confirmed(decision: Decision, state: &SubjectState) -> Decision {
    // It shall be as easy to withdraw as to give consent: once has to be enough.
    withhold(decision, state, (Reason::RestoreUnconfirmed, "built-in/restore", "GDPR Art. 7(3)"))
}

/// What would be allowed is withheld, for a reason that is not the person's: the reason, the policy's name, the article.
pub(crate) fn withhold(
    mut decision: Decision,
    state: &SubjectState,
    (reason, policy, article): (Reason, &str, &str),
) -> Decision {
    let mut classes: BTreeMap<(String, i32), u32> = BTreeMap::new();
    for allowed in std::mem::take(&mut decision.allowed) {
        let held = state.attributes.get(&allowed.key);
        let provenance = held.map_or(Provenance::Unspecified, |held| held.attribute.provenance);
        let count = classes.entry((allowed.category, provenance.into())).or_default();
        *count = count.saturating_add(1);
    }
    decision.withheld.extend(classes.into_iter().map(|((category, provenance), count)| WithheldClass {
        category,
        provenance,
        count,
        reason: reason.into(),
        decided_by: Tier::Provider.into(),
        policy: policy.into(),
        article: article.into(),
        ..WithheldClass::default()
    }));
    decision.withheld.sort_by_key(|class| (class.category.clone(), class.provenance, class.reason));
    decision.ends_ms = None;
    decision
}
