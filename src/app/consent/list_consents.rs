//! Reads the consent decisions of a data subject, and which of them are in force.

use crate::app::caller::Caller;
use crate::app::consent::Consent;
use crate::app::error::AppError;
use crate::app::log::moment::Moment;
use crate::app::profile::paging::Room;
use crate::domain::consent::ConsentRecord;
use crate::domain::ids::SubjectId;
use crate::domain::stopped_uses::is_stopped;
use std::sync::Arc;

/// A decision, and what it means now.
#[derive(Clone, Debug)]
pub struct ListedConsent {
    /// The decision.
    pub record: ConsentRecord,
    /// Whether it is a consent that still allows something, as far as consents go.
    pub in_force: bool,
    /// Those purposes of a consent in force for which a signal of the data subject stops every use: an
    /// objection, a restriction, a pause of all conversations, or an opt-out.
    pub stopped_purposes: Vec<String>,
}

/// A page of decisions, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Consents {
    /// The decisions.
    pub records: Vec<ListedConsent>,
    /// The subject's version for this caller, as in [`Caller::version_of`].
    pub version: u64,
    /// The `start` of the next page; none on the last page.
    pub next: Option<u64>,
}

impl Consent {
    /// Lists the decisions that had been recorded by `moment`, from position `start` on, as many as fit into
    /// one answer. A service sees only decisions that concern it, and only as of now.
    ///
    /// # Errors
    /// Nothing is recorded about the data subject, a service asks for the past, or the store fails.
    pub async fn list_consents(
        self: &Arc<Self>,
        caller: &Caller,
        subject: &SubjectId,
        moment: Moment,
        start: u64,
        count: usize,
    ) -> Result<Consents, AppError> {
        caller.check_moment(moment)?;
        let state = self.core.state_at(subject, moment).await?;
        let (rules, now_ms) = match moment {
            Moment::Now | Moment::Version(_) => (self.core.rules(), self.core.now_ms()),
            Moment::Time(time_ms) => (self.core.rules.history().at(time_ms)?, time_ms),
        };
        let in_force = |record: &ConsentRecord| state.consents.in_force(record, &rules.vocabulary, now_ms);
        let is_stopped = |purpose: &str| is_stopped(&state, &rules.vocabulary, purpose);
        let name = &caller.name;
        let version = caller.version_of(&state);
        let (mut page, mut room) = (Consents { version, ..Consents::default() }, Room::new(count));
        let concerns = |record: &&ConsentRecord| caller.sees_others() || record.concerns(name);
        let from_start = state.consents.records().iter().filter(|record| record.position >= start);
        for record in from_start.filter(concerns) {
            if !room.take(record.bytes()) {
                page.next = Some(record.position);
                break;
            }
            let in_force = in_force(record);
            let purposes = record.terms.purposes.iter().filter(|purpose| in_force && is_stopped(purpose));
            let stopped_purposes = purposes.cloned().collect();
            let record = record.clone();
            let record = if caller.sees_others() { record } else { record.shown_to(name) };
            page.records.push(ListedConsent { record, in_force, stopped_purposes });
        }
        Ok(page)
    }
}
