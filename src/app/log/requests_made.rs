//! For one stream: the requests that had an idempotency key, and where their events are. This covers only
//! events with a sealed hash of the key, as written from edition 5 of the rules of decisions on. Earlier
//! events have an unencrypted hash, which the store's index finds. Sealed hashes are in no index, and in
//! memory only while the stream is. So an erasure leaves none of them.

use crate::domain::event::{Recorded, RequestKey};
use sayso_proof::merkle::Hash;
use std::collections::HashMap;

/// How much of a hash is kept in memory, bytes. It only finds requests; the digest of a request then decides
/// whether it is the same.
const KEPT_BYTES: usize = 16;

/// Memory of one request, bytes: its part of the hash, its place, and the map's own share.
const REQUEST_BYTES: usize = 48;

/// Where the events of a request are: the first and the last position.
type Span = (u64, u64);

/// The requests of one stream.
#[derive(Default)]
pub(crate) struct RequestsMade {
    sealed: HashMap<[u8; KEPT_BYTES], Span>,
    /// Whether early events have unencrypted hashes. The index of the store finds those.
    has_hashes_in_clear: bool,
}

impl RequestsMade {
    /// Notes the request of an event.
    pub fn apply(&mut self, event: &Recorded) {
        match &event.request_key {
            RequestKey::None => {}
            RequestKey::InClear => self.has_hashes_in_clear = true,
            RequestKey::Sealed(hash) => {
                let Some(start) = hash.first_chunk() else { return };
                let (first, last) = self.sealed.entry(*start).or_insert((event.position, event.position));
                (*first, *last) = ((*first).min(event.position), (*last).max(event.position));
            }
        }
    }

    /// The first position of the events of the request with this hash, and the number of positions up to the
    /// last of them.
    pub fn find(&self, hash: &Hash) -> Option<(u64, u32)> {
        let (first, last) = self.sealed.get(hash.first_chunk()?)?;
        let count = last.saturating_sub(*first).saturating_add(1);
        Some((*first, u32::try_from(count).unwrap_or(u32::MAX)))
    }

    /// Whether the store has to be searched for requests of early events.
    pub fn has_hashes_in_clear(&self) -> bool {
        self.has_hashes_in_clear
    }

    /// Memory, bytes.
    pub fn bytes(&self) -> usize {
        self.sealed.capacity().saturating_mul(REQUEST_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::Event;
    use crate::domain::histories::recorded;

    #[test]
    fn a_request_is_found_by_its_hash_with_all_positions_of_its_events() {
        let event = |position, request_key| Recorded {
            request_key,
            ..recorded(position, 0, Event::RevocationsPending { left: 0 })
        };
        let mut requests = RequestsMade::default();
        for (position, key) in [(4, 1), (5, 1), (7, 1), (9, 2)] {
            requests.apply(&event(position, RequestKey::Sealed([key; 32])));
        }
        requests.apply(&event(10, RequestKey::None));
        assert_eq!(requests.find(&[1; 32]), Some((4, 4)));
        assert_eq!(requests.find(&[2; 32]), Some((9, 1)));
        assert_eq!(requests.find(&[3; 32]), None);
        assert!(requests.bytes() > 0 && !requests.has_hashes_in_clear());
        requests.apply(&event(11, RequestKey::InClear));
        assert!(requests.has_hashes_in_clear());
    }
}
