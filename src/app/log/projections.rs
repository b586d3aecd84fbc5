//! What is computed from the events of the log and kept in memory for all use cases.

use crate::app::log::disclosures::Disclosures;
use crate::app::log::kept_counts::KeptCounts;
use crate::app::log::kept_map::KeptMap;
use crate::app::log::open_requests::OpenRequests;
use crate::app::log::outstanding::Deadlines;
use crate::domain::event::Recorded;

/// The projections of the log. Each guards itself against concurrent changes.
pub(crate) struct Projections {
    /// The numbers of rules and erasures.
    pub counts: KeptCounts,
    /// What the system events say about disclosures.
    pub disclosures: Disclosures,
    /// What the log commits to about each data subject.
    pub subject_map: KeptMap,
    /// Data subject requests that are not answered yet, by due date.
    pub open_requests: OpenRequests,
}

impl Projections {
    /// Applies the system events, oldest first. The open requests are not among them; `load_open_requests`
    /// reads them from the index.
    pub fn new(system_events: &[Recorded], deadlines: Deadlines) -> Self {
        Self {
            counts: KeptCounts::new(system_events),
            disclosures: Disclosures::new(system_events, deadlines),
            subject_map: KeptMap::new(system_events),
            open_requests: OpenRequests::default(),
        }
    }
}
