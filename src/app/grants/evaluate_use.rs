//! What a use would get: the decision with values, for grants and for dry runs, now and as of any moment.

use crate::app::caller::Caller;
use crate::app::error::AppError;
use crate::app::grants::Grants;
use crate::app::log::moment::Moment;
use crate::bounds::decide::Case;
use crate::bounds::decision::Decision;
use crate::bounds::rulebook::Rules;
use crate::domain::current_attribute::CurrentAttribute;
use crate::domain::event::Event;
use crate::domain::ids::{EventId, GrantId, SubjectId};
use crate::domain::profile::SubjectState;
use crate::domain::{Violation, Violations, vocabulary};
use sayso_proof::event::WithheldClass;
use std::sync::{Arc, PoisonError};

const NAMES_MAX: usize = 128;

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct UseCase {
    /// A purpose of the vocabulary.
    pub purpose: String,
    /// Only these categories and what is below them; none: all.
    pub categories: Vec<String>,
    /// Only these keys; none: all.
    pub keys: Vec<String>,
    /// The recipient's own name for the conversation; empty: none.
    pub interaction: String,
}

/// An attribute that may be used, with its value.
#[derive(Clone, Debug)]
pub struct Allowed {
    /// The attribute.
    pub held: Arc<CurrentAttribute>,
    /// The consent event that allows it.
    pub consent: EventId,
}

/// The answer.
#[derive(Clone, Debug, Default)]
pub struct Evaluation {
    /// By key.
    pub allowed: Vec<Allowed>,
    /// What is withheld, by class.
    pub withheld: Vec<WithheldClass>,
    /// Subject version that it stands on.
    pub profile_version: u64,
    /// Nothing is held about the person.
    pub unknown_subject: bool,
}

impl Grants {
    /// Whether a caller may evaluate a use so: a service its own, of now and as a whole. By key or by category it would learn
    /// what is recorded about somebody, for which it asks for a grant.
    ///
    /// # Errors
    /// A service asks for another recipient, for the past, or for a part.
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
            return Err(AppError::Denied("a service evaluates its own use only"));
        }
        if !is_of_now {
            return Err(AppError::Denied("a service is told of now alone"));
        }
        if !asked.categories.is_empty() || !asked.keys.is_empty() {
            return Err(AppError::Denied(
                "a service evaluates a use as a whole; a grant says what it may use",
            ));
        }
        Ok(())
    }

    /// What a recipient would be allowed, decided by what. Issues nothing.
    ///
    /// # Errors
    /// Out of bounds; a service that asks for another recipient; or the store.
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
                return Err(AppError::invalid("recipient", "must name who would use it"));
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
            (_, then) => self.rules_as_of(then.unwrap_or(now_ms))?,
        };
        check_case(asked, &rules)?;
        let decision = decide(&rules, &state, recipient, asked, now_ms);
        let is_now = moment == Moment::Now;
        let decision = if is_now { self.core.deny_in_doubt(decision, &state) } else { decision };
        Ok(with_values(&decision, &state))
    }

    /// What a grant of the person was decided on, decided again: their events before it, the rules that it stood on, its
    /// moment, and what it asked for. With `bounds_as_of_ms`, under the rules of then instead.
    ///
    /// # Errors
    /// A service asks, there is no such grant of this person; or the store.
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
            Some(then) => self.rules_as_of(then)?,
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

/// Everything that is out of bounds in what is asked for.
pub(crate) fn check_case(asked: &UseCase, rules: &Rules) -> Result<(), AppError> {
    let mut found = Vec::new();
    if !rules.vocabulary.has_purpose(&asked.purpose) {
        let near = rules.vocabulary.near_purposes(&asked.purpose);
        found.push(Violation::new("purpose", vocabulary::unknown("purpose", &near)));
    }
    for category in asked.categories.iter().filter(|id| !rules.vocabulary.has_category(id)) {
        let near = rules.vocabulary.near_categories(category);
        found.push(Violation::new("categories", vocabulary::unknown("category", &near)));
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
        let held = Arc::clone(state.attributes.get(&allowed.key)?);
        Some(Allowed { held, consent: allowed.consent })
    };
    Evaluation {
        allowed: decision.allowed.iter().filter_map(value).collect(),
        withheld: decision.withheld.clone(),
        profile_version: state.version,
        unknown_subject: false,
    }
}
