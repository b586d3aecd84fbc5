//! Places, lifts and lists holds: legal grounds on which a controller keeps data although its erasure is
//! requested.

use crate::app::caller::Caller;
use crate::app::error::AppError;
use crate::app::log::append::{Append, Begun, Timestamping};
use crate::app::log::receipt::{Receipt, WriteOptions};
use crate::app::rights::Rights;
use crate::domain::attribute::is_text;
use crate::domain::checks::Checks;
use crate::domain::erasure::{Limits, Scope, erases_data, select};
use crate::domain::event::{Event, HoldLifted, HoldPlaced, Recorded, RequestExtended, RequestSubmitted};
use crate::domain::ids::{EventId, SubjectId};
use crate::domain::kept_only::may_require;
use crate::domain::request::{
    Ground, Jurisdiction, REASON_BYTES_MAX, RequestKind, RequestRecord, due_at_ms, keeps_data,
};
use crate::domain::rights::Hold;
use crate::domain::vocabulary::Vocabulary;
use std::sync::Arc;

const CODE_BYTES_MAX: usize = 64;
const CATEGORIES_MAX: usize = 64;

/// A hold to be placed.
#[derive(Clone, Debug)]
pub struct NewHold {
    /// One of the grounds of GDPR Art. 17(3).
    pub ground: Ground,
    /// The controller's name for it, such as a case number. 1 to 64 bytes, without personal data.
    pub code: String,
    /// A description. At most 512 bytes, without personal data.
    pub text: String,
    /// The categories to keep, at most 64; none means everything.
    pub categories: Vec<String>,
    /// The purposes for which the legal ground of the hold requires uses of the data that the hold keeps.
    /// Allowed are those that [`REQUIRED_USES`](crate::domain::kept_only::REQUIRED_USES) lists for this
    /// ground.
    pub purposes: Vec<String>,
}

/// A hold that was placed.
#[derive(Clone, Debug)]
pub struct PlacedHold {
    /// Its id.
    pub id: EventId,
    /// The `HoldPlaced` event.
    pub receipt: Receipt,
}

/// A hold to be lifted.
#[derive(Clone, Debug)]
pub struct HoldToLift {
    /// Its id.
    pub id: EventId,
    /// Why. At most 512 bytes, without personal data.
    pub reason: String,
}

impl Rights {
    /// Places a hold. From now on, erasures keep what the hold covers, and record that they kept it.
    ///
    /// # Errors
    /// Nothing is recorded about the data subject, a field is invalid, the expected version is stale, or the
    /// store fails.
    pub async fn place_hold(
        self: &Arc<Self>,
        caller: &Caller,
        subject: &SubjectId,
        hold: NewHold,
        options: &WriteOptions,
    ) -> Result<PlacedHold, AppError> {
        self.check_hold(&hold)?;
        match self.core.begin_existing(caller, subject, options, Timestamping::Shared).await? {
            Begun::Replayed(receipt, events) => {
                let placed = events.iter().find_map(|event| match &event.event {
                    Event::HoldPlaced(placed) => Some(placed.hold),
                    _ => None,
                });
                Ok(PlacedHold { id: placed.ok_or(AppError::KeyReused)?, receipt })
            }
            Begun::Append(append) => {
                let id = self.core.new_id();
                let NewHold { ground, code, text, categories, purposes } = hold;
                let placed = HoldPlaced { hold: id, ground, code, text, categories, purposes };
                let pending_events = vec![self.core.plan(Event::HoldPlaced(placed))];
                Ok(PlacedHold { id, receipt: self.core.commit(append, pending_events).await?.receipt })
            }
        }
    }

    fn check_hold(&self, hold: &NewHold) -> Result<(), AppError> {
        let mut checks = Checks::new();
        checks.need(keeps_data(hold.ground), "ground", "must be one of GDPR Art. 17(3)(a) to (e)");
        checks.need(is_text(&hold.code, 1, CODE_BYTES_MAX), "code", "must have 1 to 64 bytes");
        checks.need(is_text(&hold.text, 0, REASON_BYTES_MAX), "text", "must have at most 512 bytes");
        checks.need(hold.categories.len() <= CATEGORIES_MAX, "categories", "must have at most 64");
        checks.need_categories(&self.core.rules().vocabulary, &hold.categories, "categories");
        self.need_required_uses(&mut checks, hold.ground, &hold.purposes);
        Ok(checks.finish()?)
    }

    /// Checks that a ground of GDPR Art. 17(3) may require uses for these purposes.
    pub(super) fn need_required_uses(&self, checks: &mut Checks, ground: Ground, purposes: &[String]) {
        checks.need_purposes(&self.core.rules().vocabulary, purposes, "purposes");
        let are_required = purposes.iter().all(|purpose| may_require(ground, purpose));
        let problem = "must be empty, or name what the ground requires: `legal-obligation`, `public-health`, \
                       `scientific-research` (archiving-research) or `legal-claims`";
        checks.need(are_required, "purposes", problem);
    }

    /// Lifts a hold. Erasures that were refused because of it are open again, with a new due date, unless
    /// another hold still prevents them. If the hold kept a part of an erasure, a new request for that part
    /// is recorded.
    ///
    /// # Errors
    /// The subject has no such hold, a field is invalid, the expected version is stale, or the store fails.
    pub async fn lift_hold(
        self: &Arc<Self>,
        caller: &Caller,
        subject: &SubjectId,
        hold: &HoldToLift,
        options: &WriteOptions,
    ) -> Result<Receipt, AppError> {
        let HoldToLift { id, reason } = hold;
        if !is_text(reason, 0, REASON_BYTES_MAX) {
            return Err(AppError::invalid("reason", "must have at most 512 bytes"));
        }
        match self.core.begin_existing(caller, subject, options, Timestamping::Shared).await? {
            Begun::Replayed(receipt, _) => Ok(receipt),
            Begun::Append(append) => {
                let remaining = remaining_holds(&append, id)?;
                let reopened = self.reopened_by(&append, remaining.clone())?;
                let follow_ups = self.follow_ups(&append, subject, remaining)?;
                let event = HoldLifted { hold: *id, reason: reason.to_owned() };
                let mut pending_events = vec![self.core.plan(Event::HoldLifted(event))];
                let reopened = reopened.into_iter().map(Event::RequestExtended);
                let follow_ups = follow_ups.into_iter().map(Event::RequestSubmitted);
                pending_events.extend(reopened.chain(follow_ups).map(|event| self.core.plan(event)));
                Ok(self.core.commit(append, pending_events).await?.receipt)
            }
        }
    }

    /// The refused erasures that are open again once this hold is lifted: those that the remaining holds do
    /// not prevent.
    ///
    /// # Errors
    /// The store fails.
    fn reopened_by(&self, append: &Append, holds: Vec<Hold>) -> Result<Vec<RequestExtended>, AppError> {
        let refused: Vec<RequestRecord> = {
            let now = append.stream.read();
            let rights = &now.state.rights;
            let refused = rights.kept.iter().filter(|kept| !kept.refused.holds.is_empty());
            let refused = refused.filter_map(|kept| rights.requests.get(&kept.refused.request));
            refused.filter(|record| record.is_refused()).cloned().collect()
        };
        if refused.is_empty() {
            return Ok(Vec::new());
        }
        let history = self.erasure.history(&append.stream)?;
        let vocabulary = &append.rules.vocabulary;
        let mut remaining = Remaining { holds, history, vocabulary, compared: Vec::new() };
        let mut reopened = Vec::new();
        for record in refused {
            let (Some(scope), Some(submitted)) = (Scope::of_request(&record), &record.submitted) else {
                continue;
            };
            if !remaining.prevent(scope) {
                let due_at_ms = due_at_ms(submitted.jurisdiction, append.now_ms);
                let reason = "the hold was lifted, so the request is open again".to_owned();
                reopened.push(RequestExtended { request: record.id, due_at_ms, reason });
            }
        }
        Ok(reopened)
    }

    /// Requests for what a lifted hold kept of erasures that were carried out except for that part. There is
    /// none for an erasure of which the remaining holds keep everything, or of which nothing is left.
    ///
    /// # Errors
    /// The store fails.
    fn follow_ups(
        &self,
        append: &Append,
        subject: &SubjectId,
        holds: Vec<Hold>,
    ) -> Result<Vec<RequestSubmitted>, AppError> {
        let in_force = |id: &EventId| holds.iter().any(|hold| hold.id == *id);
        let kept_in_part: Vec<RequestRecord> = {
            let now = append.stream.read();
            let rights = &now.state.rights;
            let lifted = rights.kept_parts.iter().filter(|(_, by)| by.iter().any(|id| !in_force(id)));
            let records = lifted.filter_map(|(request, _)| rights.requests.get(request));
            records.filter(|record| record.is_partly_completed()).take(SCOPES_MAX).cloned().collect()
        };
        if kept_in_part.is_empty() {
            return Ok(Vec::new());
        }
        let history = self.erasure.history(&append.stream)?;
        let mut follow_ups = Vec::new();
        for record in kept_in_part {
            let Some(scope) = self.erasure.scope_of(&append.stream, &record)? else { continue };
            let limits = Limits::default();
            let selection = select(&history, &scope, &holds, &append.rules.vocabulary, limits);
            // If too much depends on it, the steward who accepts the request is told so.
            if selection.map_or(true, |selection| erases_data(&history, &selection)) {
                let jurisdiction = record.submitted.as_ref().map(|submitted| submitted.jurisdiction);
                let jurisdiction = jurisdiction.unwrap_or(Jurisdiction::Gdpr);
                follow_ups.push(RequestSubmitted {
                    request: self.core.new_id(),
                    kind: RequestKind::Erasure,
                    jurisdiction,
                    due_at_ms: due_at_ms(jurisdiction, append.now_ms),
                    subject: subject.as_str().to_owned(),
                    follows: Some(record.id),
                    ..scope.submission()
                });
            }
        }
        Ok(follow_ups)
    }

    /// The holds in force on a subject.
    ///
    /// # Errors
    /// Nothing is recorded about the data subject, or the store fails.
    pub async fn list_holds(self: &Arc<Self>, subject: &SubjectId) -> Result<Vec<Hold>, AppError> {
        let stream = self.core.stream(subject).await?.ok_or(AppError::UnknownSubject)?;
        let holds = stream.read().state.rights.holds.clone();
        Ok(holds)
    }
}

/// The holds that stay in force when one is lifted.
///
/// # Errors
/// There is no such hold.
fn remaining_holds(append: &Append, lifted: &EventId) -> Result<Vec<Hold>, AppError> {
    let mut holds = append.stream.read().state.rights.holds.clone();
    let before = holds.len();
    holds.retain(|hold| hold.id != *lifted);
    if holds.len() == before { Err(AppError::NotFound("hold")) } else { Ok(holds) }
}

/// How many different scopes of refused erasures are compared with the remaining holds. Requests with further
/// scopes are open again in any case. If a steward accepts one that is still prevented, it is refused again.
const SCOPES_MAX: usize = 16;

/// Compares refused erasures with the holds that remain.
struct Remaining<'a> {
    holds: Vec<Hold>,
    history: Vec<Recorded>,
    vocabulary: &'a Vocabulary,
    /// The scopes that were compared, each with whether the holds prevent its erasure.
    compared: Vec<(Scope, bool)>,
}

impl Remaining<'_> {
    /// Whether the holds keep everything in a scope.
    fn prevent(&mut self, scope: Scope) -> bool {
        if self.holds.iter().any(Hold::is_whole) {
            return true;
        }
        if let Some((_, prevented)) = self.compared.iter().find(|(other, _)| *other == scope) {
            return *prevented;
        }
        if self.holds.is_empty() || self.compared.len() >= SCOPES_MAX {
            return false;
        }
        let selection = select(&self.history, &scope, &self.holds, self.vocabulary, Limits::default());
        let prevented = selection
            .is_ok_and(|selection| !selection.holds.is_empty() && !erases_data(&self.history, &selection));
        self.compared.push((scope, prevented));
        prevented
    }
}
