//! The person's decisions, and which of them are in force.

use super::error::AppError;
use super::{App, Caller, Moment};
use crate::domain::consent::ConsentRecord;
use crate::domain::ids::SubjectId;
use std::sync::{Arc, PoisonError};

/// Decisions, oldest first, each with whether it is in force.
#[derive(Clone, Debug, Default)]
pub struct Consents {
    /// The decisions.
    pub records: Vec<(ConsentRecord, bool)>,
    /// As [`Caller::version_of`].
    pub version: u64,
}

impl App {
    /// Every decision that had been recorded by a moment; for a service those that concern it, of now.
    ///
    /// # Errors
    /// Nothing is held about the person; a service asks for the past; or the store.
    pub async fn get_consents(
        self: &Arc<Self>,
        caller: &Caller,
        subject: &SubjectId,
        moment: Moment,
    ) -> Result<Consents, AppError> {
        caller.may_ask_as_of(moment)?;
        let state = self.get_profile(subject, moment, false).await?.state;
        let (rules, now_ms) = match moment {
            Moment::Now | Moment::Version(_) => (self.rules(), self.now_ms()),
            Moment::Time(time_ms) => {
                (self.rules.read().unwrap_or_else(PoisonError::into_inner).at(time_ms)?, time_ms)
            }
        };
        let in_force = |record: &ConsentRecord| state.consents.in_force(record, &rules.vocabulary, now_ms);
        let name = &caller.name;
        let shown = state.consents.records().iter().filter_map(|record| {
            let in_force = in_force(record);
            match caller.sees_others() {
                true => Some((record.clone(), in_force)),
                false => record.concerns(name).then(|| (record.clone().shown_to(name), in_force)),
            }
        });
        Ok(Consents { records: shown.collect(), version: caller.version_of(&state) })
    }
}
