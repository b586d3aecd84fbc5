//! Turns a decision into one that withholds everything. This happens while all use is suspended: a restore is
//! not confirmed, or the clock is not trusted.

use crate::bounds::decision::Decision;
use crate::domain::event::{Provenance, Reason, Tier, WithheldClass};
use crate::domain::profile::SubjectState;
use std::collections::BTreeMap;

/// Withholds everything that would be allowed, because a restore is not yet confirmed.
pub(crate) fn withhold_until_confirmed(decision: Decision, state: &SubjectState) -> Decision {
    // Withdrawing consent must be as easy as giving it. One withdrawal must therefore be enough, even if the
    // backup does not contain it.
    withhold(decision, state, (Reason::RestoreUnconfirmed, "built-in/restore", "GDPR Art. 7(3)"))
}

/// Withholds everything that would be allowed. The reason lies with the provider, not with the data subject,
/// so the decision names the provider's tier. The tuple holds the reason, the policy's name and the article.
pub(crate) fn withhold(
    mut decision: Decision,
    state: &SubjectState,
    (reason, policy, article): (Reason, &str, &str),
) -> Decision {
    let mut classes: BTreeMap<(String, Provenance), u32> = BTreeMap::new();
    for allowed in std::mem::take(&mut decision.allowed) {
        let current = state.attributes.get(&allowed.key);
        let provenance = current.map_or(Provenance::Unspecified, |current| current.attribute.provenance);
        let count = classes.entry((allowed.category, provenance)).or_default();
        *count = count.saturating_add(1);
    }
    decision.withheld.extend(classes.into_iter().map(|((category, provenance), count)| WithheldClass {
        category,
        provenance,
        count,
        reason,
        decided_by: Tier::Provider,
        policy: policy.into(),
        article: article.into(),
        ..WithheldClass::default()
    }));
    decision.withheld.sort_by_key(|class| (class.category.clone(), class.provenance, class.reason));
    decision.ends_ms = None;
    decision
}
