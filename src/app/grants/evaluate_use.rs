//! Decides which attributes may be used for a purpose, and returns them with their values. A grant is issued
//! from a decision for the current time. A dry run decides without issuing a grant, and can also decide for
//! an earlier time.

use crate::app::caller::{Caller, SEES_OTHERS};
use crate::app::error::AppError;
use crate::app::grants::Grants;
use crate::app::log::lookups::PastState;
use crate::app::log::moment::Moment;
use crate::bounds::decide::Case;
use crate::bounds::decision::Decision;
use crate::bounds::rulebook::Rules;
use crate::domain::current_attribute::CurrentAttribute;
use crate::domain::event::{Event, GrantIssued, GrantedAttribute, WithheldClass};
use crate::domain::ids::{EventId, GrantId, SubjectId};
use crate::domain::legal_basis::Basis;
use crate::domain::profile::SubjectState;
use crate::domain::{Violation, Violations, vocabulary};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

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
    /// Whether a ranking chooses from what is permitted. Then the decision allows also what does not fit in
    /// one answer.
    pub is_ranked: bool,
}

/// An attribute that may be used, with its value.
#[derive(Clone, Debug)]
pub struct Allowed {
    /// The attribute.
    pub current: Arc<CurrentAttribute>,
    /// What the use rests on.
    pub basis: Basis,
    /// How relevant it is to the text of the request; `None` if it was not ranked.
    pub score: Option<f64>,
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
    /// Whether events that existed at the time of the decision are gone. If so, a decision made at that time
    /// may have been different.
    pub events_gone: bool,
    /// For a repeated decision: the keys that the grant allowed and whose attributes are gone.
    pub missing_keys: Vec<String>,
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
        let why = if !recipient.is_empty() && recipient != caller.name {
            "a service may evaluate its own use only"
        } else if !is_of_now {
            "a service may ask about the present only; leave out the time"
        } else if !asked.categories.is_empty() || !asked.keys.is_empty() {
            "a service may evaluate a use as a whole only; request a grant for categories or keys"
        } else {
            return Ok(());
        };
        Err(AppError::Denied { why, allowed: SEES_OTHERS })
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
        let PastState { state, is_complete } = match moment {
            Moment::Now => PastState { state: stream.read().state.clone(), is_complete: true },
            moment => self.core.past_state(&stream, moment)?,
        };
        let now_ms = match moment {
            Moment::Now => self.core.now_ms(),
            Moment::Time(time_ms) => time_ms,
            Moment::Version(_) => state.recorded_at_ms,
        };
        let rules = match (moment, bounds_as_of_ms) {
            (Moment::Now, None) => self.core.rules_at(now_ms),
            (_, as_of_ms) => self.rules_as_of(as_of_ms.unwrap_or(now_ms))?,
        };
        check_case(asked, &rules)?;
        let decision = decide(&rules, &state, recipient, asked, now_ms);
        let is_now = moment == Moment::Now;
        let decision = if is_now { self.core.deny_in_doubt(decision, &state) } else { decision };
        Ok(Evaluation { events_gone: !is_complete, ..with_values(&decision, &state) })
    }

    /// Repeats the decision that led to a grant, with the same events, rules, moment and request. With
    /// `bounds_as_of_ms`, the rules of that time apply instead. If events of that moment are gone and the
    /// decision comes out differently without them, the result says so.
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
        let missing = || AppError::GrantGone;
        Self::may_evaluate(caller, "", &UseCase::default(), false)?;
        let found = self.find_grant(caller, grant).await.map_err(|error| match error {
            AppError::NotFound(_) => missing(),
            error => error,
        })?;
        let own = self.core.vault.subject(subject)?;
        if own.is_none_or(|own| own.handle != found.stream.keys.handle) {
            return Err(missing());
        }
        // The key of the entry may be destroyed already, and its bytes not yet.
        let event = self.core.event_at(&found.stream.keys, grant.position).map_err(|error| match error {
            AppError::Erased => missing(),
            error => error,
        })?;
        let Event::GrantIssued(issued) = event.event else { return Err(missing()) };
        let PastState { state, is_complete } =
            self.core.past_state(&found.stream, Moment::Version(event.version))?;
        let now_ms = event.sealed_at_ms;
        let rules_then = {
            let history = self.core.rules.history();
            history.before(event.position, now_ms)?
        };
        let asked = UseCase {
            purpose: issued.purpose.clone(),
            categories: issued.categories.clone(),
            keys: issued.keys.clone(),
            interaction: issued.interaction.clone(),
            is_ranked: issued.ranking.is_some(),
        };
        let repeated = decide(&rules_then, &state, &issued.recipient, &asked, now_ms);
        let events_gone = !is_complete && !is_same(&repeated, &issued);
        let decision = match bounds_as_of_ms {
            Some(as_of_ms) => {
                decide(&*self.rules_as_of(as_of_ms)?, &state, &issued.recipient, &asked, now_ms)
            }
            None => repeated,
        };
        let decision = only_chosen(decision, &issued);
        let missing_keys = missing_keys(&issued, &state);
        Ok(Evaluation { events_gone, missing_keys, ..with_values(&decision, &state) })
    }

    fn rules_as_of(&self, time_ms: u64) -> Result<Arc<Rules>, AppError> {
        Ok(self.core.rules.history().at(time_ms)?)
    }
}

/// Whether a repeated decision is the one that a grant records. If a ranking chose the attributes of the
/// grant, the decision permits them among others.
fn is_same(repeated: &Decision, issued: &GrantIssued) -> bool {
    let mut attributes = repeated.allowed.iter().map(|allowed| (allowed.event_id, allowed.basis));
    let mut cited = issued.allowed.iter().map(|cited| (cited.attribute, cited.basis));
    let allows_same = match issued.ranking {
        None => attributes.eq(cited),
        Some(ranking) => {
            let permitted: BTreeMap<EventId, Basis> = attributes.by_ref().collect();
            permitted.len() == ranking.permitted as usize
                && cited.all(|(attribute, basis)| permitted.get(&attribute) == Some(&basis))
        }
    };
    allows_same && repeated.withheld == issued.withheld
}

/// If a ranking chose the attributes of a grant: the part of a repeated decision that is about these. The
/// text is not recorded, so the ranking cannot be repeated.
fn only_chosen(mut decision: Decision, issued: &GrantIssued) -> Decision {
    if issued.ranking.is_some() {
        let chosen: BTreeSet<EventId> = issued.allowed.iter().map(|cited| cited.attribute).collect();
        decision.allowed.retain(|allowed| chosen.contains(&allowed.event_id));
    }
    decision
}

/// The keys that a grant allowed and whose attributes are gone.
fn missing_keys(issued: &GrantIssued, state: &SubjectState) -> Vec<String> {
    let is_missing = |cited: &&GrantedAttribute| {
        state.attributes.get(&cited.key).is_none_or(|current| current.event_id != cited.attribute)
    };
    issued.allowed.iter().filter(is_missing).map(|cited| cited.key.clone()).collect()
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
    let decision = if asked.is_ranked {
        rules.bounds.decide_without_limit(state, &rules.vocabulary, &case)
    } else {
        rules.bounds.decide(state, &rules.vocabulary, &case)
    };
    if rules.unconfirmed().is_some() {
        crate::bounds::withhold::withhold_until_confirmed(decision, state)
    } else {
        decision
    }
}

pub(crate) fn with_values(decision: &Decision, state: &SubjectState) -> Evaluation {
    let value = |allowed: &crate::bounds::Allowed| {
        let current = Arc::clone(state.attributes.get(&allowed.key)?);
        Some(Allowed { current, basis: allowed.basis, score: None })
    };
    Evaluation {
        allowed: decision.allowed.iter().filter_map(value).collect(),
        withheld: decision.withheld.clone(),
        profile_version: state.version,
        ..Evaluation::default()
    }
}
