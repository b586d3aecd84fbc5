//! The person's own bounds: set as a whole, shown with the policies that they are.

use crate::app::caller::Caller;
use crate::app::error::AppError;
use crate::app::log::append::{Begun, Timestamping};
use crate::app::log::decision_frame::revoked_ids;
use crate::app::log::receipt::{Receipt, WriteOptions};
use crate::app::rules::RuleChanges;
use crate::bounds::personal_bounds::personal_policies;
use crate::domain::attribute::is_text;
use crate::domain::event::{Event, PersonalBoundsSet};
use crate::domain::ids::SubjectId;
use crate::domain::profile::PersonalBounds;
use crate::domain::{Violation, Violations, vocabulary};
use std::sync::Arc;

const CHOICES_MAX: usize = 64;
const DAYS_MAX: u32 = 36_500;

/// What is shown of a person's own bounds.
#[derive(Clone, Debug, Default)]
pub struct ShownPersonalBounds {
    /// As they were set; none: they never were.
    pub set: Option<PersonalBounds>,
    /// Cedar, human syntax.
    pub policies: String,
    /// How many events the person has.
    pub version: u64,
}

/// What setting personal bounds did.
#[derive(Clone, Debug)]
pub struct PersonalBoundsChanged {
    /// The events.
    pub receipt: Receipt,
    /// Ids of the grants that it revoked.
    pub revoked_grants: Vec<String>,
    /// The bounds as policies: Cedar, human syntax.
    pub policies: String,
}

impl RuleChanges {
    /// Sets a person's own bounds as a whole, and revokes what they contradict. By the person, or by a steward on their
    /// behalf, which the event says.
    ///
    /// # Errors
    /// Out of bounds, unknown words, erased, stale; or the store.
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
        let pending_events =
            self.core.with_revocations(&append, vec![self.core.plan(Event::PersonalBoundsSet(choices))]);
        let written = self.core.commit(append, pending_events).await?;
        Ok(PersonalBoundsChanged { receipt: written.receipt, revoked_grants: written.revoked, policies })
    }

    /// A person's own bounds.
    ///
    /// # Errors
    /// Nothing is held about the person; or the store.
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
        let mut found = Vec::new();
        let mut need = |holds: bool, field: &str, problem: &str| {
            if !holds {
                found.push(Violation::new(format!("bounds.{field}"), problem));
            }
        };
        need(choices.never.len() <= CHOICES_MAX, "never", "must have at most 64");
        for never in &choices.never {
            let says = !never.category.is_empty() || !never.purposes.is_empty();
            need(says, "never", "each must name a category, purposes, or both");
            need(never.purposes.len() <= CHOICES_MAX, "never.purposes", "must have at most 64");
            if !never.category.is_empty() && !rules.vocabulary.has_category(&never.category) {
                let near = rules.vocabulary.near_categories(&never.category);
                need(false, "never.category", &vocabulary::unknown("category", &near));
            }
            for purpose in never.purposes.iter().filter(|id| !rules.vocabulary.has_purpose(id)) {
                let near = rules.vocabulary.near_purposes(purpose);
                need(false, "never.purposes", &vocabulary::unknown("purpose", &near));
            }
        }
        let names = |names: &[String], bytes_max| {
            names.len() <= CHOICES_MAX && names.iter().all(|name| is_text(name, 1, bytes_max))
        };
        let recipients = names(&choices.only_recipients, 256);
        need(recipients, "only_recipients", "must have at most 64, each of 1 to 256 bytes");
        let paused = names(&choices.paused_interactions, 128);
        need(paused, "paused_interactions", "must have at most 64, each of 1 to 128 bytes");
        need(choices.forget_inferences_days <= DAYS_MAX, "forget_inferences_days", "must be at most 36,500");
        if found.is_empty() { Ok(()) } else { Err(AppError::Invalid(Violations(found))) }
    }
}
