//! The person's decisions, and which of them are in force.

use crate::app::caller::Caller;
use crate::app::consent::Consent;
use crate::app::error::AppError;
use crate::app::log::moment::Moment;
use crate::app::profile::paging::Room;
use crate::domain::consent::ConsentRecord;
use crate::domain::ids::SubjectId;
use std::sync::{Arc, PoisonError};

/// Some decisions, oldest first, each with whether it is in force.
#[derive(Clone, Debug, Default)]
pub struct Consents {
    /// The decisions.
    pub records: Vec<(ConsentRecord, bool)>,
    /// As [`Caller::version_of`].
    pub version: u64,
    /// The position to go on from; none at the end.
    pub next: Option<u64>,
}

impl Consent {
    /// Decisions that had been recorded by a moment, from position `start` on, no more than one answer holds; for a service
    /// those that concern it, of now.
    ///
    /// # Errors
    /// Nothing is held about the person; a service asks for the past; or the store.
    pub async fn get_consents(
        self: &Arc<Self>,
        caller: &Caller,
        subject: &SubjectId,
        moment: Moment,
        start: u64,
    ) -> Result<Consents, AppError> {
        caller.check_moment(moment)?;
        let state = self.core.state_at(subject, moment, false).await?;
        let (rules, now_ms) = match moment {
            Moment::Now | Moment::Version(_) => (self.core.rules(), self.core.now_ms()),
            Moment::Time(time_ms) => {
                (self.core.rules.read().unwrap_or_else(PoisonError::into_inner).at(time_ms)?, time_ms)
            }
        };
        let in_force = |record: &ConsentRecord| state.consents.in_force(record, &rules.vocabulary, now_ms);
        let name = &caller.name;
        let version = caller.version_of(&state);
        let (mut found, mut room) = (Consents { version, ..Consents::default() }, Room::new());
        let concerns = |record: &&ConsentRecord| caller.sees_others() || record.concerns(name);
        let later = state.consents.records().iter().filter(|record| record.position >= start);
        for record in later.filter(concerns) {
            if !room.take(record.bytes()) {
                found.next = Some(record.position);
                break;
            }
            let in_force = in_force(record);
            let record = record.clone();
            found.records.push((if caller.sees_others() { record } else { record.shown_to(name) }, in_force));
        }
        Ok(found)
    }
}
