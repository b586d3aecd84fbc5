//! Sets and reads personal bounds. One call sets all of a person's bounds and replaces the earlier ones. The
//! bounds are shown together with the policies that implement them.

use crate::app::caller::Caller;
use crate::app::error::AppError;
use crate::app::log::append::{Append, Begun, Timestamping};
use crate::app::log::receipt::{Receipt, WriteOptions};
use crate::app::log::revocation::revoked_ids;
use crate::app::rules::RuleChanges;
use crate::bounds::personal_bounds::personal_policies;
use crate::domain::attribute::is_text;
use crate::domain::checks::Checks;
use crate::domain::event::{Event, NeverUse, PersonalBoundsSet};
use crate::domain::ids::SubjectId;
use crate::domain::profile::PersonalBounds;
use std::sync::Arc;

const CHOICES_MAX: usize = 64;
const DAYS_MAX: u32 = 36_500;

/// The personal bounds of a subject.
#[derive(Clone, Debug, Default)]
pub struct ShownPersonalBounds {
    /// The bounds as they were set; `None` if they were never set.
    pub set: Option<PersonalBounds>,
    /// The bounds as policies: Cedar, human syntax.
    pub policies: String,
    /// The subject's version.
    pub version: u64,
}

/// What setting personal bounds did.
#[derive(Clone, Debug)]
pub struct PersonalBoundsChanged {
    /// The events.
    pub receipt: Receipt,
    /// Ids of the grants that the new bounds revoked.
    pub revoked_grants: Vec<String>,
    /// The bounds as policies: Cedar, human syntax.
    pub policies: String,
}

impl RuleChanges {
    /// Sets the personal bounds of a subject as a whole, and revokes the grants that they contradict. The
    /// event records whether the subject set them, or a steward on their behalf.
    ///
    /// # Errors
    /// A field is invalid, a purpose or category is not defined, the subject was erased, the expected version
    /// is stale, or the store fails.
    pub async fn set_personal_bounds(
        self: &Arc<Self>,
        caller: &Caller,
        subject: &SubjectId,
        choices: PersonalBoundsSet,
        options: &WriteOptions,
    ) -> Result<PersonalBoundsChanged, AppError> {
        self.check_personal(&choices)?;
        if choices == PersonalBoundsSet::default()
            && let Some(receipt) = self.core.receipt_if_unknown(caller, subject, options).await?
        {
            let policies = personal_policies(&choices);
            return Ok(PersonalBoundsChanged { receipt, revoked_grants: Vec::new(), policies });
        }
        let begun = self.core.begin(caller, subject, options, None, Timestamping::Distinct).await?;
        let append = match begun {
            Begun::Replayed(receipt, events) => {
                let revoked_grants = revoked_ids(caller, events.iter().map(|event| &event.event));
                let recorded = events.iter().find_map(|event| match &event.event {
                    Event::PersonalBoundsSet(choices) => Some(personal_policies(choices)),
                    _ => None,
                });
                let policies = recorded.unwrap_or_default();
                return Ok(PersonalBoundsChanged { receipt, revoked_grants, policies });
            }
            Begun::Append(append) => append,
        };
        check_names(&append, &choices)?;
        let choices = with_later_choices(&append, choices, options.about_ms)?;
        let policies = personal_policies(&choices);
        let frame =
            self.core.with_revocations(&append, vec![self.core.plan(Event::PersonalBoundsSet(choices))]);
        let written = self.core.commit(append, frame).await?;
        Ok(PersonalBoundsChanged { receipt: written.receipt, revoked_grants: written.revoked, policies })
    }

    /// The personal bounds of a subject.
    ///
    /// # Errors
    /// Nothing is recorded about the data subject, or the store fails.
    pub async fn get_personal_bounds(
        self: &Arc<Self>,
        subject: &SubjectId,
    ) -> Result<ShownPersonalBounds, AppError> {
        let stream = self.core.stream(subject).await?.ok_or(AppError::UnknownSubject)?;
        let now = stream.read();
        let set = now.state.personal.clone();
        let policies = set.as_ref().map(|set| personal_policies(&set.choices)).unwrap_or_default();
        Ok(ShownPersonalBounds { set, policies, version: now.state.version })
    }

    fn check_personal(&self, choices: &PersonalBoundsSet) -> Result<(), AppError> {
        let rules = self.core.rules();
        let mut checks = Checks::below("bounds");
        checks.need(choices.never.len() <= CHOICES_MAX, "never", "must have at most 64");
        for never in &choices.never {
            let is_named = !never.category.is_empty() || !never.purposes.is_empty();
            checks.need(is_named, "never", "each must name a category, purposes, or both");
            checks.need(never.purposes.len() <= CHOICES_MAX, "never.purposes", "must have at most 64");
            let category = Some(&never.category).filter(|category| !category.is_empty());
            checks.need_categories(&rules.vocabulary, category, "never.category");
            checks.need_purposes(&rules.vocabulary, &never.purposes, "never.purposes");
        }
        let are_names = |names: &[String], bytes_max| {
            names.len() <= CHOICES_MAX && names.iter().all(|name| is_text(name, 1, bytes_max))
        };
        let recipients = are_names(&choices.only_recipients, 256);
        checks.need(recipients, "only_recipients", "must have at most 64, each of 1 to 256 bytes");
        let paused = are_names(&choices.paused_interactions, 128);
        checks.need(paused, "paused_interactions", "must have at most 64, each of 1 to 128 bytes");
        let days = choices.forget_inferences_days <= DAYS_MAX;
        checks.need(days, "forget_inferences_days", "must be at most 36,500");
        Ok(checks.finish()?)
    }
}

/// Checks the characters of the recipients and conversations that personal bounds name. A name that is
/// recorded about this person is accepted with any character.
fn check_names(append: &Append, choices: &PersonalBoundsSet) -> Result<(), AppError> {
    let now = append.stream.read();
    let mut checks = Checks::below("bounds");
    for name in &choices.only_recipients {
        checks.need_name(now.state.recipient_problem(name), "only_recipients");
    }
    for name in &choices.paused_interactions {
        checks.need_name(now.state.interaction_problem(name), "paused_interactions");
    }
    Ok(checks.finish()?)
}

/// The choices to record. What was chosen before the current choices were recorded, and arrives now, lifts
/// none of them: it only adds to what they forbid.
fn with_later_choices(
    append: &Append,
    choices: PersonalBoundsSet,
    chosen_ms: Option<u64>,
) -> Result<PersonalBoundsSet, AppError> {
    let now = append.stream.read();
    let later =
        now.state.personal.as_ref().filter(|set| chosen_ms.is_some_and(|ms| ms <= set.recorded_at_ms));
    let Some(later) = later else { return Ok(choices) };
    let both = forbidding_both(later.choices.clone(), choices);
    let count = both.never.len().max(both.paused_interactions.len());
    match count <= CHOICES_MAX {
        true => Ok(both),
        false => Err(AppError::invalid(
            "bounds",
            "must have at most 64 entries in each list together with the current bounds, which were recorded \
             after these were chosen",
        )),
    }
}

/// The choices that forbid everything that one or the other forbids.
fn forbidding_both(mut one: PersonalBoundsSet, other: PersonalBoundsSet) -> PersonalBoundsSet {
    let PersonalBoundsSet {
        never,
        only_recipients,
        declared_only,
        forget_inferences_days,
        ask_each_time,
        paused,
        paused_interactions,
    } = other;
    let more = |never: &NeverUse| !one.never.contains(never);
    let more: Vec<_> = never.into_iter().filter(more).collect();
    one.never.extend(more);
    let has_both = !one.only_recipients.is_empty() && !only_recipients.is_empty();
    match one.only_recipients.is_empty() {
        true => one.only_recipients = only_recipients,
        false if has_both => one.only_recipients.retain(|name| only_recipients.contains(name)),
        false => {}
    }
    // An empty list would mean all recipients.
    let has_none_left = has_both && one.only_recipients.is_empty();
    one.declared_only |= declared_only;
    one.forget_inferences_days = match (one.forget_inferences_days, forget_inferences_days) {
        (0, days) | (days, 0) => days,
        (one, other) => one.min(other),
    };
    one.ask_each_time |= ask_each_time;
    one.paused |= paused || has_none_left;
    let is_new = |name: &String| !one.paused_interactions.contains(name);
    let more: Vec<_> = paused_interactions.into_iter().filter(is_new).collect();
    one.paused_interactions.extend(more);
    one
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn combined_choices_forbid_what_either_forbids() {
        let never = |category: &str| NeverUse { category: category.into(), ..Default::default() };
        let one = PersonalBoundsSet {
            never: vec![never("work")],
            only_recipients: vec!["a".into(), "b".into()],
            forget_inferences_days: 30,
            ..Default::default()
        };
        let other = PersonalBoundsSet {
            never: vec![never("work"), never("health")],
            only_recipients: vec!["b".into(), "c".into()],
            forget_inferences_days: 7,
            declared_only: true,
            ..Default::default()
        };
        let both = forbidding_both(one.clone(), other.clone());
        let expected = PersonalBoundsSet { only_recipients: vec!["b".into()], ..other.clone() };
        assert_eq!(both, expected);
        assert_eq!(forbidding_both(one.clone(), PersonalBoundsSet::default()), one);
        assert_eq!(forbidding_both(PersonalBoundsSet::default(), one.clone()), one);
        // No recipient is left.
        let elsewhere = PersonalBoundsSet { only_recipients: vec!["c".into()], ..Default::default() };
        assert!(forbidding_both(one, elsewhere).paused);
    }
}
