//! Compares recorded times with trusted timestamps. A timestamp shows that its tree existed at a time. So
//! the entries of the tree were recorded before that time. The entries after the tree were recorded at
//! about that time or later.

use crate::replay::Fault;
use crate::timestamp::Timestamped;

/// How much a recorded time may be off from the time of an authority, milliseconds. The clocks differ, and
/// entries are recorded while a timestamp is fetched.
const TOLERANCE_MS: u64 = 120_000;

/// The entries from one timestamped tree to the next, and the times at which they can have been recorded.
#[derive(Clone, Copy)]
struct Segment {
    /// The position of the first entry.
    first: u64,
    earliest_ms: u64,
    latest_ms: u64,
    is_early_found: bool,
    is_late_found: bool,
}

/// What the timestamps of a log say about recorded times.
#[derive(Default)]
pub(super) struct TimeBounds {
    /// In order of position.
    segments: Vec<Segment>,
    /// The index of the segment of the last entry.
    current: usize,
    found: Vec<(u64, Fault)>,
}

impl TimeBounds {
    /// The bounds that follow from these timestamps, which are in order of tree size.
    pub fn new(trusted: &[Timestamped]) -> Self {
        let firsts = std::iter::once(0).chain(trusted.iter().map(|one| one.tree_size));
        let open = |first| Segment {
            first,
            earliest_ms: 0,
            latest_ms: u64::MAX,
            is_early_found: false,
            is_late_found: false,
        };
        let mut segments: Vec<Segment> = firsts.map(open).collect();
        let mut earliest_ms = 0;
        for (segment, one) in segments.iter_mut().skip(1).zip(trusted) {
            let slack_ms = one.accuracy_ms.saturating_add(TOLERANCE_MS);
            earliest_ms = one.at_ms.saturating_sub(slack_ms).max(earliest_ms);
            segment.earliest_ms = earliest_ms;
        }
        let mut latest_ms = u64::MAX;
        for (segment, one) in segments.iter_mut().zip(trusted).rev() {
            let slack_ms = one.accuracy_ms.saturating_add(TOLERANCE_MS);
            latest_ms = one.at_ms.saturating_add(slack_ms).min(latest_ms);
            segment.latest_ms = latest_ms;
        }
        Self { segments, current: 0, found: Vec::new() }
    }

    /// Compares the recorded time of the next entry, in order of position. Of the entries between two
    /// timestamps, only the first one at fault is found.
    pub fn check(&mut self, position: u64, recorded_at_ms: u64) {
        while self.segments.get(self.current + 1).is_some_and(|next| next.first <= position) {
            self.current += 1;
        }
        let Some(segment) = self.segments.get_mut(self.current) else { return };
        if recorded_at_ms > segment.latest_ms && !segment.is_late_found {
            segment.is_late_found = true;
            self.found.push((position, Fault::RecordedAfterTimestamp));
        }
        if recorded_at_ms < segment.earliest_ms && !segment.is_early_found {
            segment.is_early_found = true;
            self.found.push((position, Fault::RecordedBeforeTimestamp));
        }
    }

    /// The entries whose recorded time a timestamp contradicts.
    pub fn take_found(&mut self) -> Vec<(u64, Fault)> {
        std::mem::take(&mut self.found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_MS: u64 = 60_000;

    fn stamped(tree_size: u64, minute: u64) -> Timestamped {
        let authority = String::new();
        Timestamped { tree_size, at_ms: minute * MINUTE_MS, accuracy_ms: 1_000, authority }
    }

    fn found(trusted: &[Timestamped], recorded_ms: &[u64]) -> Vec<(u64, Fault)> {
        let mut bounds = TimeBounds::new(trusted);
        (0..).zip(recorded_ms).for_each(|(position, ms)| bounds.check(position, *ms));
        bounds.take_found()
    }

    #[test]
    fn times_may_be_off_by_the_accuracy_and_two_minutes() {
        let (late, early) = (Fault::RecordedAfterTimestamp, Fault::RecordedBeforeTimestamp);
        let trusted = [stamped(2, 100), stamped(4, 200)];
        let slack = 2 * MINUTE_MS + 1_000;
        let (first, second) = (100 * MINUTE_MS, 200 * MINUTE_MS);
        let right = [0, first + slack, first - slack, second + slack, second - slack, u64::MAX];
        assert_eq!(found(&trusted, &right), []);
        assert_eq!(found(&[], &right), []);
        let late_times = [0, first + slack + 1, first, second + slack + 1, second];
        assert_eq!(found(&trusted, &late_times), [(1, late), (3, late)]);
        let early_times = [0, 0, first - slack - 1, first - slack - 1, second - slack - 1];
        assert_eq!(found(&trusted, &early_times), [(2, early), (4, early)]);
        // A later timestamp of the same time bounds the earlier ones, too.
        assert_eq!(found(&[stamped(2, 200), stamped(4, 100)], &[first + slack + 1]), [(0, late)]);
    }
}
