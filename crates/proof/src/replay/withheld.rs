//! Checks what a grant withholds. In each category, the attributes that it allows and those that it
//! withholds must add up to the attributes that it was requested for. The reasons must be true, as far as
//! they follow from the data subject's own events.

use super::fault::Fault;
use super::grant::GrantCheck;
use super::own_events::OwnEvents;
use super::profile::Profile;
use super::withheld_reasons::{Truth, truth};
use crate::event::GrantIssued;

/// What was found about the classes that a grant withholds.
#[derive(Default)]
pub(super) struct WithheldFound {
    pub fault: Option<Fault>,
    /// Whether a policy is said to have given a reason that the data subject's events do not show. Only the
    /// policy can show whether it did.
    pub is_unknown: bool,
}

/// Checks the classes that a grant withholds.
pub(super) fn check<'a>(
    grant: &'a GrantIssued,
    profile: &Profile,
    own: &OwnEvents,
    check: &mut GrantCheck<'a>,
) -> WithheldFound {
    let names = grant.categories.len().saturating_add(1);
    let steps = profile.categories().saturating_add(grant.keys.len()).saturating_mul(names);
    let mut found = WithheldFound::default();
    if !check.subject.effort.spend(steps.saturating_add(grant.withheld.len())) {
        return found;
    }
    // A grant that withholds nothing states no numbers, unless a ranking chose what it allows.
    let states_numbers =
        (!grant.withheld.is_empty() || grant.ranking.is_some()) && check.subject.is_profile_certain();
    if states_numbers && !profile.is_accounted_for(grant, check) {
        return WithheldFound { fault: Some(Fault::WithheldCount), ..found };
    }
    for class in &grant.withheld {
        match truth(class, profile, own, check) {
            Truth::True => {}
            Truth::False => found.fault = Some(Fault::WithheldReason),
            Truth::Unknown => found.is_unknown = true,
        }
    }
    found
}
