//! Sets and reads personal bounds. They are set as a whole, and shown together with the policies that
//! implement them.

use crate::app::caller::Caller;
use crate::app::error::AppError;
use crate::app::log::append::{Append, Begun, Timestamping};
use crate::app::log::receipt::{Receipt, WriteOptions};
use crate::app::log::revocation::revoked_ids;
use crate::app::rules::RuleChanges;
use crate::bounds::personal_bounds::personal_policies;
use crate::domain::attribute::is_text;
use crate::domain::checks::Checks;
use crate::domain::event::{Event, PersonalBoundsSet};
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
        let policies = personal_policies(&choices);
        let append = match self.core.begin(caller, subject, options, None, Timestamping::Distinct).await? {
            Begun::Replayed(receipt, events) => {
                let revoked_grants = revoked_ids(caller, events.iter().map(|event| &event.event));
                return Ok(PersonalBoundsChanged { receipt, revoked_grants, policies });
            }
            Begun::Append(append) => append,
        };
        check_names(&append, &choices)?;
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
