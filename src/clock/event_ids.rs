//! Makes event ids (UUID version 7) that sort in the order in which they were made.

use super::Clock;
use std::sync::{Mutex, PoisonError};

/// The counter has 12 bits. It starts in the lower half of its range, so that at least 2,048 ids fit into a
/// millisecond.
const COUNTER_MAX: u16 = 0x0fff;
const START_MAX: u16 = 0x07ff;

/// Makes UUIDv7 ids (RFC 9562 s. 5.7). Each id is greater than all ids before it: within one millisecond, the
/// ids count upwards from a random start (s. 6.2, method 1). The last 8 bytes are always random.
#[derive(Debug, Default)]
pub struct EventIds {
    /// The time, milliseconds since the Unix epoch, and the counter of the newest id.
    newest: Mutex<(u64, u16)>,
}

impl EventIds {
    /// Makes an id from the time and the randomness of `clock`. If the clock has gone back, the id keeps the
    /// time of the newest one. If a millisecond has too many ids, the next id gets the time of the next
    /// millisecond.
    #[must_use]
    pub fn next(&self, clock: &dyn Clock) -> [u8; 16] {
        let mut random = [0_u8; 10];
        clock.fill(&mut random);
        let [high, low, tail @ ..] = random;
        let (ms, counter) = self.count(clock.now_ms(), u16::from_be_bytes([high, low]) & START_MAX);
        let [high, low] = counter.to_be_bytes();
        let mut bytes = [high, low, 0, 0, 0, 0, 0, 0, 0, 0];
        bytes.split_at_mut(2).1.copy_from_slice(&tail);
        uuid::Builder::from_unix_timestamp_millis(ms, &bytes).into_uuid().into_bytes()
    }

    fn count(&self, now_ms: u64, start: u16) -> (u64, u16) {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let (ms, counter) = *newest;
        *newest = if now_ms > ms {
            (now_ms, start)
        } else if counter < COUNTER_MAX {
            (ms, counter.saturating_add(1))
        } else {
            (ms.saturating_add(1), start)
        };
        *newest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// A clock that can be set; its randomness is the operating system's.
    #[derive(Default)]
    struct SetClock(AtomicU64);

    impl Clock for SetClock {
        fn now_ms(&self) -> u64 {
            self.0.load(Ordering::SeqCst)
        }

        fn fill(&self, bytes: &mut [u8]) {
            crate::clock::SystemClock.fill(bytes);
        }
    }

    proptest! {
        #[test]
        fn ids_increase_whatever_the_clock_does(
            steps in proptest::collection::vec((0_u64..1_700_000_000_000, 1_usize..5_000), 1..8),
        ) {
            let (ids, clock, mut last) = (EventIds::default(), SetClock::default(), [0; 16]);
            for (now_ms, count) in steps {
                clock.0.store(now_ms, Ordering::SeqCst);
                for _ in 0..count {
                    let id = ids.next(&clock);
                    prop_assert!(id > last, "{id:?} after {last:?}");
                    prop_assert_eq!(uuid::Uuid::from_bytes(id).get_version_num(), 7);
                    last = id;
                }
            }
        }

        #[test]
        fn an_id_has_the_time_of_the_clock_and_a_random_end(now_ms in 1_u64..1 << 47) {
            let (ids, clock) = (EventIds::default(), SetClock::default());
            clock.0.store(now_ms, Ordering::SeqCst);
            let (first, second) = (ids.next(&clock), ids.next(&clock));
            let time = |id: [u8; 16]| u64::from_be_bytes([0, 0, id[0], id[1], id[2], id[3], id[4], id[5]]);
            prop_assert_eq!((time(first), time(second)), (now_ms, now_ms));
            prop_assert_ne!(&first[8..], &second[8..]);
        }
    }
}
