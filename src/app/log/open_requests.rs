//! Data subject requests that are not answered yet, by due date. They are loaded from the index when the
//! daemon starts.

use crate::app::log::index::{EARLY_REQUEST, REQUEST, index_of_requests};
use crate::domain::event::{Event, Recorded};
use crate::domain::ids::EventId;
use sayso_proof::merkle::Hash;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Data subject requests that are not answered yet. Memory grows with their number.
#[derive(Default)]
pub(crate) struct OpenRequests {
    open: Mutex<Open>,
}

#[derive(Default)]
pub(crate) struct Open {
    /// By due date and hash of the id: the position of the newest event about the request.
    pub(crate) by_due: BTreeMap<(u64, Hash), u64>,
    pub(crate) due_of: HashMap<Hash, u64>,
}

impl Open {
    pub(crate) fn set(&mut self, id: Hash, due_at_ms: u64, position: u64) {
        if let Some(before) = self.due_of.remove(&id) {
            self.by_due.remove(&(before, id));
        }
        if due_at_ms > 0 {
            self.due_of.insert(id, due_at_ms);
            self.by_due.insert((due_at_ms, id), position);
        }
    }
}

impl OpenRequests {
    pub(crate) fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes newly recorded events into account.
    pub fn update(&self, events: &[Recorded]) {
        for event in events.iter().filter(|event| is_about_request(&event.event)) {
            if let Some((key, value)) = index_of_requests(&event.event) {
                self.set(&key, &value, event.position);
            }
        }
    }

    pub(crate) fn set(&self, key: &[u8], value: &[u8], position: u64) {
        let rest = |prefix| key.strip_prefix(prefix);
        let id = match rest(EARLY_REQUEST) {
            Some(rest) => rest.first_chunk().copied().map(|id| EventId(id).request_hash()),
            None => rest(REQUEST).and_then(|rest| rest.first_chunk()).copied(),
        };
        if let (Some(id), Some(due)) = (id, value.first_chunk()) {
            self.open().set(id, u64::from_be_bytes(*due), position);
        }
    }

    /// Removes what was recorded at these positions, in ascending order.
    pub fn forget(&self, positions: &[u64]) {
        let mut open = self.open();
        let Open { by_due, due_of } = &mut *open;
        by_due.retain(|(_, id), position| {
            let stays = positions.binary_search(position).is_err();
            if !stays {
                due_of.remove(id);
            }
            stays
        });
    }

    /// At most `count` requests, ordered by due date and hash of the id, that follow `after` in this order.
    /// Returns due date, hash and position of each.
    pub fn after(&self, after: Option<(u64, Hash)>, count: usize) -> Vec<(u64, Hash, u64)> {
        let start = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let open = self.open();
        let range = open.by_due.range((start, std::ops::Bound::Unbounded));
        range.take(count).map(|((due, id), position)| (*due, *id, *position)).collect()
    }
}

pub(crate) fn is_about_request(event: &Event) -> bool {
    matches!(
        event,
        Event::RequestSubmitted(_)
            | Event::RequestExtended(_)
            | Event::RequestDecided(_)
            | Event::RequestWithdrawn(_)
    )
}
