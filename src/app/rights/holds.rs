//! Legal reasons that block erasure: placed and lifted by the controller, seen by the person.

use crate::app::caller::Caller;
use crate::app::error::AppError;
use crate::app::log::append::{Begun, Timestamping};
use crate::app::log::receipt::{Receipt, WriteOptions};
use crate::app::rights::Rights;
use crate::clock;
use crate::domain::attribute::is_text;
use crate::domain::event::{Event, HoldLifted, HoldPlaced};
use crate::domain::ids::{EventId, SubjectId};
use crate::domain::request::{Ground, REASON_BYTES_MAX, keeps_data};
use crate::domain::rights::Hold;
use crate::domain::{Violation, Violations, vocabulary};
use std::sync::Arc;

const CODE_BYTES_MAX: usize = 64;
const CATEGORIES_MAX: usize = 64;

/// A hold to be placed.
#[derive(Clone, Debug)]
pub struct NewHold {
    /// One of GDPR Art. 17(3).
    pub ground: Ground,
    /// 1 to 64 bytes, without personal data.
    pub code: String,
    /// At most 512 bytes, without personal data.
    pub text: String,
    /// At most 64; none: everything.
    pub categories: Vec<String>,
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
    /// At most 512 bytes, without personal data.
    pub reason: String,
}

impl Rights {
    /// Places a hold: from now on an erasure keeps what it names, and says so.
    ///
    /// # Errors
    /// Nothing is held about the person, out of bounds, stale; or the store.
    pub async fn place_hold(
        self: &Arc<Self>,
        caller: &Caller,
        subject: &SubjectId,
        hold: NewHold,
        options: &WriteOptions,
    ) -> Result<PlacedHold, AppError> {
        self.check_hold(&hold)?;
        let wrong = || AppError::KeyReused;
        match self.core.begin_existing(caller, subject, options, Timestamping::Shared).await? {
            Begun::Replayed(receipt, events) => {
                let placed = events.iter().find_map(|event| match &event.event {
                    Event::HoldPlaced(placed) => EventId::from_slice(&placed.hold),
                    _ => None,
                });
                Ok(PlacedHold { id: placed.ok_or_else(wrong)?, receipt })
            }
            Begun::Append(append) => {
                let id = EventId(clock::event_id(self.core.clock.as_ref()));
                let NewHold { ground, code, text, categories } = hold;
                let (hold, ground) = (id.0.to_vec(), ground.into());
                let placed = HoldPlaced { hold, ground, code, text, categories };
                let pending_events = vec![self.core.plan(Event::HoldPlaced(placed))];
                Ok(PlacedHold { id, receipt: self.core.commit(append, pending_events).await?.receipt })
            }
        }
    }

    fn check_hold(&self, hold: &NewHold) -> Result<(), AppError> {
        let mut found = Vec::new();
        let mut need = |holds: bool, field: &str, problem: String| {
            if !holds {
                found.push(Violation::new(field, problem));
            }
        };
        need(keeps_data(hold.ground), "ground", "must be one of GDPR Art. 17(3)(a) to (e)".into());
        need(is_text(&hold.code, 1, CODE_BYTES_MAX), "code", "must have 1 to 64 bytes".into());
        need(is_text(&hold.text, 0, REASON_BYTES_MAX), "text", "must have at most 512 bytes".into());
        need(hold.categories.len() <= CATEGORIES_MAX, "categories", "must have at most 64".into());
        let rules = self.core.rules();
        for category in hold.categories.iter().filter(|id| !rules.vocabulary.has_category(id)) {
            let near = rules.vocabulary.near_categories(category);
            need(false, "categories", vocabulary::unknown("category", &near));
        }
        if found.is_empty() { Ok(()) } else { Err(AppError::Invalid(Violations(found))) }
    }

    /// Lifts a hold.
    ///
    /// # Errors
    /// No such hold stands on the person, out of bounds, stale; or the store.
    pub async fn lift_hold(
        self: &Arc<Self>,
        caller: &Caller,
        subject: &SubjectId,
        lifted: &HoldToLift,
        options: &WriteOptions,
    ) -> Result<Receipt, AppError> {
        let HoldToLift { id, reason } = lifted;
        if !is_text(reason, 0, REASON_BYTES_MAX) {
            return Err(AppError::invalid("reason", "must have at most 512 bytes"));
        }
        match self.core.begin_existing(caller, subject, options, Timestamping::Shared).await? {
            Begun::Replayed(receipt, _) => Ok(receipt),
            Begun::Append(append) => {
                if !append.stream.read().state.rights.holds.iter().any(|hold| hold.id == *id) {
                    return Err(AppError::NotFound("hold"));
                }
                let event = HoldLifted { hold: id.0.to_vec(), reason: reason.to_owned() };
                let pending_events = vec![self.core.plan(Event::HoldLifted(event))];
                Ok(self.core.commit(append, pending_events).await?.receipt)
            }
        }
    }

    /// Holds on a person that stand.
    ///
    /// # Errors
    /// Nothing is held about the person; or the store.
    pub async fn list_holds(self: &Arc<Self>, subject: &SubjectId) -> Result<Vec<Hold>, AppError> {
        let stream = self.core.stream(subject).await?.ok_or(AppError::UnknownSubject)?;
        let holds = stream.read().state.rights.holds.clone();
        Ok(holds)
    }
}
