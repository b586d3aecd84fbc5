//! The person's decisions, and which of them are in force.

use super::error::AppError;
use super::{App, Moment};
use crate::domain::consent::ConsentRecord;
use crate::domain::ids::SubjectId;
use std::sync::{Arc, PoisonError};

/// Decisions, oldest first, each with whether it is in force.
#[derive(Clone, Debug, Default)]
pub struct Consents {
    /// The decisions.
    pub records: Vec<(ConsentRecord, bool)>,
    /// How many events the subject had.
    pub version: u64,
}

impl App {
    /// Every decision that had been recorded by a moment.
    ///
    /// # Errors
    /// Nothing is held about the person; or the store.
    pub async fn get_consents(
        self: &Arc<Self>,
        subject: &SubjectId,
        moment: Moment,
    ) -> Result<Consents, AppError> {
        let state = self.get_profile(subject, moment, false).await?.state;
        let (rules, now_ms) = match moment {
            Moment::Now | Moment::Version(_) => (self.rules(), self.now_ms()),
            Moment::Time(time_ms) => {
                (self.rules.read().unwrap_or_else(PoisonError::into_inner).at(time_ms)?, time_ms)
            }
        };
        let in_force = |record: &ConsentRecord| state.consents.in_force(record, &rules.vocabulary, now_ms);
        let records = state.consents.records().iter().map(|record| (record.clone(), in_force(record)));
        Ok(Consents { records: records.collect(), version: state.version })
    }
}
