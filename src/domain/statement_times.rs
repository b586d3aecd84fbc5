//! For each key, when the data subject last contested, confirmed, removed or corrected the attribute under
//! it. A declaration does not count here. An attribute that was stated before that time does not become
//! current, so a late statement never undoes a later one.

use super::event::{Event, Recorded, Role};
use super::ids::EventId;
use std::collections::BTreeMap;

/// The most keys with a time of their own.
const KEYS_MAX: usize = 4_096;

/// The newest statement about each key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StatementTimes {
    /// Milliseconds since the Unix epoch.
    by_key: BTreeMap<String, u64>,
    /// For every other key: the time of the newest statement that was dropped, milliseconds since the Unix
    /// epoch. So if in doubt, what is late does not become current.
    others_ms: u64,
}

impl StatementTimes {
    /// Notes a statement about a key. If there are too many keys, the older half is dropped.
    pub fn note(&mut self, key: &str, at_ms: u64) {
        let newest = self.by_key.entry(key.to_owned()).or_insert(self.others_ms);
        *newest = at_ms.max(*newest);
        if self.by_key.len() > KEYS_MAX {
            let mut times: Vec<u64> = self.by_key.values().copied().collect();
            times.sort_unstable();
            self.others_ms = times.get(KEYS_MAX / 2).copied().unwrap_or_default().max(self.others_ms);
            self.by_key.retain(|_, at_ms| *at_ms > self.others_ms);
        }
    }

    /// Whether the data subject has spoken about a key since `stated_ms`, milliseconds since the Unix epoch.
    #[must_use]
    pub fn has_spoken_since(&self, key: &str, stated_ms: u64) -> bool {
        stated_ms <= self.by_key.get(key).copied().unwrap_or(self.others_ms)
    }

    /// The keys with a time of their own.
    pub fn keys(&self) -> impl Iterator<Item = &String> {
        self.by_key.keys()
    }
}

/// The attribute about which the data subject speaks in an event, and when they said it, milliseconds since
/// the Unix epoch. A no counts from when it was sealed, whatever time it states. A service removes and
/// corrects only what it recorded itself, so that is no statement of the data subject.
#[must_use]
pub fn statement(event: &Recorded) -> Option<(EventId, u64)> {
    let said_ms = event.about_ms.min(event.sealed_at_ms);
    let by_service = event.actor.role == Role::Service;
    match &event.event {
        Event::AttributeContested { attribute, .. } => Some((*attribute, event.sealed_at_ms)),
        Event::AttributeConfirmed { attribute } => Some((*attribute, said_ms)),
        Event::AttributeRemoved { attribute, .. } if !by_service => Some((*attribute, event.sealed_at_ms)),
        Event::AttributeCorrected { corrects, .. } if !by_service => Some((*corrects, said_ms)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_stated_up_to_the_newest_statement_is_late() {
        let mut times = StatementTimes::default();
        assert!(!times.has_spoken_since("diet", 1));
        times.note("diet", 20);
        times.note("diet", 10);
        assert!(times.has_spoken_since("diet", 20) && !times.has_spoken_since("diet", 21));
        assert!(!times.has_spoken_since("job", 1));
    }

    #[test]
    fn the_number_of_keys_is_limited_and_what_is_in_doubt_is_late() {
        let mut times = StatementTimes::default();
        for number in 0..10_000_u64 {
            times.note(&format!("key {number}"), number + 1);
            assert!(times.has_spoken_since(&format!("key {number}"), number + 1));
        }
        assert!(times.keys().count() <= KEYS_MAX);
        assert!((0..10_000_u64).all(|number| times.has_spoken_since(&format!("key {number}"), number + 1)));
        assert!(!times.has_spoken_since("key 0", 10_001));
    }
}
