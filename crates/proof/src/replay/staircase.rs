//! Finds the highest of the values that apply at a given time. Each value applies from its own time on. Used
//! to find the versions of bounds in force and the required versions of notices.

use std::collections::BTreeMap;

/// Values by the time from which they count. Values that never become the highest are left out, so the values
/// ascend with the times, and adding one takes logarithmic time on average.
pub(super) struct Staircase<T>(BTreeMap<u64, T>);

impl<T> Default for Staircase<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Copy + Ord> Staircase<T> {
    /// Adds a value that counts from `from_ms` on, milliseconds since the Unix epoch.
    pub fn add(&mut self, from_ms: u64, value: T) {
        if self.highest(from_ms).is_some_and(|highest| highest >= value) {
            return;
        }
        let is_lower = |next: &(&u64, &T)| *next.1 <= value;
        while let Some((&next, _)) = self.0.range(from_ms..).next().filter(is_lower) {
            self.0.remove(&next);
        }
        self.0.insert(from_ms, value);
    }

    /// The highest value that counts at `now_ms`, milliseconds since the Unix epoch.
    pub fn highest(&self, now_ms: u64) -> Option<T> {
        self.0.range(..=now_ms).next_back().map(|(_, value)| *value)
    }
}

#[cfg(test)]
mod tests {
    use super::Staircase;

    #[test]
    fn the_highest_value_is_the_one_among_all_that_count() {
        let mut random = 1_u64;
        let mut next = |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) % below
        };
        for _ in 0..300 {
            let (mut stairs, mut all) = (Staircase::default(), Vec::new());
            for _ in 0..12 {
                let (from_ms, value) = (next(8), next(8));
                stairs.add(from_ms, value);
                all.push((from_ms, value));
                for now_ms in 0..9 {
                    let counting = all.iter().filter(|(from_ms, _)| *from_ms <= now_ms);
                    assert_eq!(stairs.highest(now_ms), counting.map(|(_, value)| *value).max());
                }
            }
        }
    }
}
