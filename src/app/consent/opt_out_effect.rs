//! What an opt-out does: which purposes it stops, and which earlier consents it overrides. The answer to the
//! opt-out states both. That an opt-out overrides earlier consents is the law in California (Cal. Code Regs.
//! tit. 11, s. 7025(c)); the ledger applies it in every jurisdiction.

use crate::app::caller::Caller;
use crate::domain::consent::ConsentRecord;
use crate::domain::ids::EventId;
use crate::domain::profile::SubjectState;
use crate::domain::stopped_purposes::{OPT_OUT, covered};
use crate::domain::vocabulary::Vocabulary;
use crate::domain::wording;

/// The most consents that an answer names as overridden. The newest come first.
pub const OVERRIDDEN_MAX: usize = 64;
/// The most consents for a stopped purpose that are looked at, newest first.
const LOOKED_AT_MAX: usize = 1_024;

/// What an opt-out does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OptOutEffect {
    /// Nothing is used for these purposes or those below them. Empty if the opt-out names only purposes that
    /// are neither sale, sharing nor advertising.
    pub stopped_purposes: Vec<String>,
    /// Consents in force for a stopped purpose that the opt-out overrides, newest first; at most
    /// [`OVERRIDDEN_MAX`].
    pub overridden_consents: Vec<EventId>,
    /// Whether there are more such consents, or so many consents that not all were looked at.
    pub has_more: bool,
    /// What the opt-out stops and what it overrides, in words for people.
    pub explanation: String,
}

/// What an opt-out for these purposes does in this state. A service learns only of consents that concern it.
pub(super) fn opt_out_effect(
    caller: &Caller,
    state: &SubjectState,
    vocabulary: &Vocabulary,
    purposes: &[String],
    now_ms: u64,
) -> OptOutEffect {
    let stopped = covered(&OPT_OUT, purposes, vocabulary);
    let reaches = |record: &&ConsentRecord| {
        record.decision.is_yes()
            && record.terms.purposes.iter().any(|named| overlaps(named, &stopped, vocabulary))
            && (caller.sees_others() || record.concerns(&caller.name))
    };
    let mut reached = state.consents.records().iter().rev().filter(reaches);
    let looked_at = reached.by_ref().take(LOOKED_AT_MAX);
    let mut in_force = looked_at.filter(|record| state.consents.in_force(record, vocabulary, now_ms));
    let overridden: Vec<&ConsentRecord> = in_force.by_ref().take(OVERRIDDEN_MAX).collect();
    let has_more = in_force.next().is_some() || reached.next().is_some();
    // A service does not learn where the person is.
    let jurisdiction = caller.sees_others().then_some(state.description.jurisdiction.as_str());
    let times: Vec<u64> = overridden.iter().map(|record| record.recorded_at_ms).collect();
    OptOutEffect {
        explanation: wording::opt_out(&stopped, &times, has_more, jurisdiction),
        has_more,
        overridden_consents: overridden.iter().map(|record| record.event_id).collect(),
        stopped_purposes: stopped.into_iter().map(str::to_owned).collect(),
    }
}

/// Whether a consent for `named` reaches one of the stopped purposes, or one below.
fn overlaps(named: &str, stopped: &[&str], vocabulary: &Vocabulary) -> bool {
    let ancestry = vocabulary.purpose_ancestry(named);
    stopped.iter().any(|id| ancestry.contains(id) || vocabulary.purpose_ancestry(id).contains(&named))
}
