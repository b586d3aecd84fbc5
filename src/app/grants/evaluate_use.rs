//! Decides which attributes may be used for a purpose, and returns them with their values. A grant needs the
//! decision as of now. A dry run issues no grant, and can also decide as of an earlier moment.

use crate::app::caller::Caller;
use crate::app::error::AppError;
use crate::app::grants::Grants;
use crate::app::log::moment::Moment;
use crate::bounds::decide::Case;
use crate::bounds::decision::Decision;
use crate::bounds::rulebook::Rules;
use crate::domain::current_attribute::CurrentAttribute;
use crate::domain::event::{Event, WithheldClass};
use crate::domain::ids::{EventId, GrantId, SubjectId};
use crate::domain::profile::SubjectState;
use crate::domain::{Violation, Violations, vocabulary};
use std::sync::{Arc, PoisonError};

const NAMES_MAX: usize = 128;

/// The requested use.
#[derive(Clone, Debug, Default)]
pub struct UseCase {
    /// A purpose of the vocabulary.
    pub purpose: String,
    /// Only these categories and those below them; empty for all.
    pub categories: Vec<String>,
    /// Only these keys; empty for all.
    pub keys: Vec<String>,
    /// The recipient's own name for the conversation; empty for none.
    pub interaction: String,
}

/// An attribute that may be used, with its value.
#[derive(Clone, Debug)]
pub struct Allowed {
    /// The attribute.
    pub current: Arc<CurrentAttribute>,
    /// The consent event that allows it.
    pub consent: EventId,
}

/// The decision about a use.
#[derive(Clone, Debug, Default)]
pub struct Evaluation {
    /// The attributes that may be used, by key.
    pub allowed: Vec<Allowed>,
    /// What is withheld, by class.
    pub withheld: Vec<WithheldClass>,
    /// The version of the subject that the decision is based on.
    pub profile_version: u64,
    /// Whether nothing is recorded about the data subject.
    pub unknown_subject: bool,
}

impl Grants {
    /// Checks that a caller may evaluate this use. A service may evaluate only its own use, as of now, and
    /// for all keys and categories together. An answer by key or category would tell the service what is
    /// recorded about someone; for that it needs a grant.
    ///
    /// # Errors
    /// A service asks about another recipient, about the past, or about certain keys or categories.
    pub fn may_evaluate(
        caller: &Caller,
        recipient: &str,
        asked: &UseCase,
        is_of_now: bool,
    ) -> Result<(), AppError> {
        if caller.sees_others() {
            return Ok(());
        }
        if !recipient.is_empty() && recipient != caller.name {
            return Err(AppError::Denied("a service may evaluate its own use only"));
        }
        if !is_of_now {
            return Err(AppError::Denied("a service may ask about the present only; leave out the time"));
        }
        if !asked.categories.is_empty() || !asked.keys.is_empty() {
            return Err(AppError::Denied(
                "a service may evaluate a use as a whole only; request a grant for categories or keys",
            ));
        }
        Ok(())
    }

    /// Decides what a recipient would be allowed and what would be withheld, without issuing a grant.
    ///
    /// # Errors
    /// The request is invalid, a service asks for more than [`Grants::may_evaluate`] allows, or the store
    /// failed.
    pub async fn evaluate_use(
        self: &Arc<Self>,
        caller: &Caller,
        subject: &SubjectId,
        recipient: &str,
        asked: &UseCase,
        (moment, bounds_as_of_ms): (Moment, Option<u64>),
    ) -> Result<Evaluation, AppError> {
        Self::may_evaluate(caller, recipient, asked, moment == Moment::Now && bounds_as_of_ms.is_none())?;
        let recipient = match caller.sees_others() {
            false => &caller.name,
            true if recipient.is_empty() => {
                return Err(AppError::invalid(
                    "recipient",
                    "must name the service that would use the attributes",
                ));
            }
            true => recipient,
        };
        let Some(stream) = self.core.stream(subject).await? else {
            return Ok(Evaluation { unknown_subject: true, ..Evaluation::default() });
        };
        let (state, now_ms) = match moment {
            Moment::Now => (stream.read().state.clone(), self.core.now_ms()),
            Moment::Time(time_ms) => (self.core.state_as_of(&stream, moment)?, time_ms),
            Moment::Version(_) => {
                let state = self.core.state_as_of(&stream, moment)?;
                let time_ms = state.recorded_at_ms;
                (state, time_ms)
            }
        };
        let rules = match (moment, bounds_as_of_ms) {
            (Moment::Now, None) => self.core.rules_at(now_ms),
            (_, as_of_ms) => self.rules_as_of(as_of_ms.unwrap_or(now_ms))?,
        };
        check_case(asked, &rules)?;
        let decision = decide(&rules, &state, recipient, asked, now_ms);
        let is_now = moment == Moment::Now;
        let decision = if is_now { self.core.deny_in_doubt(decision, &state) } else { decision };
        Ok(with_values(&decision, &state))
    }

    /// Repeats the decision that led to a grant, with the same events, rules, moment and request. With
    /// `bounds_as_of_ms`, the rules of that time apply instead.
    ///
    /// # Errors
    /// A service asks, the data subject has no such grant, or the store failed.
    pub async fn evaluate_grant(
        self: &Arc<Self>,
        caller: &Caller,
        subject: &SubjectId,
        grant: &GrantId,
        bounds_as_of_ms: Option<u64>,
    ) -> Result<Evaluation, AppError> {
        let missing = || AppError::NotFound("grant");
        Self::may_evaluate(caller, "", &UseCase::default(), false)?;
        let found = self.find_grant(caller, grant).await?;
        let own = self.core.vault.subject(subject)?;
        if own.is_none_or(|own| own.handle != found.stream.keys.handle) {
            return Err(missing());
        }
        let event =
            crate::app::log::read::open(&found.stream.keys, self.core.store().read_entry(grant.position)?)?;
        let Event::GrantIssued(issued) = event.event else { return Err(missing()) };
        let state = self.core.state_as_of(&found.stream, Moment::Version(event.version))?;
        let now_ms = event.sealed_at_ms;
        let rules = match bounds_as_of_ms {
            Some(as_of_ms) => self.rules_as_of(as_of_ms)?,
            None => {
                let history = self.core.rules.read().unwrap_or_else(PoisonError::into_inner);
                history.before(event.position, now_ms)?
            }
        };
        let asked = UseCase {
            purpose: issued.purpose,
            categories: issued.categories,
            keys: issued.keys,
            interaction: issued.interaction,
        };
        Ok(with_values(&decide(&rules, &state, &issued.recipient, &asked, now_ms), &state))
    }

    fn rules_as_of(&self, time_ms: u64) -> Result<Arc<Rules>, AppError> {
        Ok(self.core.rules.read().unwrap_or_else(PoisonError::into_inner).at(time_ms)?)
    }
}

/// Checks the names in a request, and reports every unknown one.
pub(crate) fn check_case(asked: &UseCase, rules: &Rules) -> Result<(), AppError> {
    let mut found = Vec::new();
    if !rules.vocabulary.has_purpose(&asked.purpose) {
        let similar = rules.vocabulary.near_purposes(&asked.purpose);
        found.push(Violation::new("purpose", vocabulary::unknown("purpose", &similar)));
    }
    for category in asked.categories.iter().filter(|id| !rules.vocabulary.has_category(id)) {
        let similar = rules.vocabulary.near_categories(category);
        found.push(Violation::new("categories", vocabulary::unknown("category", &similar)));
    }
    if asked.categories.len() > NAMES_MAX || asked.keys.len() > NAMES_MAX {
        found.push(Violation::new("categories", "categories and keys must each have at most 128"));
    }
    if found.is_empty() { Ok(()) } else { Err(AppError::Invalid(Violations(found))) }
}

pub(crate) fn decide(
    rules: &Rules,
    state: &SubjectState,
    recipient: &str,
    asked: &UseCase,
    now_ms: u64,
) -> Decision {
    let case = Case {
        recipient,
        purpose: &asked.purpose,
        categories: &asked.categories,
        keys: &asked.keys,
        interaction: &asked.interaction,
        now_ms,
    };
    let decision = rules.bounds.decide(state, &rules.vocabulary, &case);
    if rules.unconfirmed().is_some() {
        crate::bounds::withhold::withhold_until_confirmed(decision, state)
    } else {
        decision
    }
}

pub(crate) fn with_values(decision: &Decision, state: &SubjectState) -> Evaluation {
    let value = |allowed: &crate::bounds::Allowed| {
        let current = Arc::clone(state.attributes.get(&allowed.key)?);
        Some(Allowed { current, consent: allowed.consent })
    };
    Evaluation {
        allowed: decision.allowed.iter().filter_map(value).collect(),
        withheld: decision.withheld.clone(),
        profile_version: state.version,
        unknown_subject: false,
    }
}
