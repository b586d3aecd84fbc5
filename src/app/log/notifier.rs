//! Wakes whoever waits for what falls. Of the watches of one recipient that wake together, one looks, and the others take what it
//! has found.

use crate::app::error::AppError;
use crate::app::log::revocation::Revocation;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Looks from different places that are kept until it is rung again: those before and behind what fell last, and a few who lag.
const FOUND_MAX: usize = 8;

/// Where watches wait, by recipient.
#[derive(Default)]
pub(crate) struct Notifier(Mutex<HashMap<Vec<u8>, Arc<Line>>>);

struct Line {
    /// How often it was rung.
    notified: watch::Sender<u64>,
    found: Mutex<Found>,
}

/// What looks have found since it was rung last.
#[derive(Default)]
struct Found {
    /// How often it had been rung before those looks.
    notified: u64,
    /// What fell after a cursor.
    recent_views: Vec<(u64, Arc<[Revocation]>)>,
}

/// A watch that waits.
pub(crate) struct Subscription {
    line: Arc<Line>,
    notified: watch::Receiver<u64>,
}

impl Notifier {
    /// Wakes those who wait at this key. Only once there is something that they can find: whoever came to wait meanwhile has
    /// looked before it was there.
    pub fn notify(&self, key: &[u8]) {
        if let Some(line) = self.lines().get(key) {
            line.notified.send_modify(|notified| *notified = notified.wrapping_add(1));
        }
    }

    /// Waits at this key from now on.
    pub fn subscribe(&self, key: &[u8]) -> Subscription {
        let mut lines = self.lines();
        lines.retain(|_, line| line.notified.receiver_count() > 0);
        let new = || Arc::new(Line { notified: watch::channel(0).0, found: Mutex::default() });
        let line = Arc::clone(lines.entry(key.to_vec()).or_insert_with(new));
        Subscription { notified: line.notified.subscribe(), line }
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<Vec<u8>, Arc<Line>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscription {
    /// What fell after a cursor: as it is found now, or as somebody found it since it was rung last.
    ///
    /// # Errors
    /// As `find`.
    pub fn look(
        &mut self,
        after: u64,
        find: impl FnOnce() -> Result<Vec<Revocation>, AppError>,
    ) -> Result<Arc<[Revocation]>, AppError> {
        let notified = *self.notified.borrow_and_update();
        // Held while one looks: the others want the same.
        let mut found = self.line.found.lock().unwrap_or_else(PoisonError::into_inner);
        if found.notified != notified {
            *found = Found { notified, recent_views: Vec::new() };
        }
        if let Some((_, invalidated)) = found.recent_views.iter().find(|(from, _)| *from == after) {
            return Ok(Arc::clone(invalidated));
        }
        let invalidated: Arc<[Revocation]> = find()?.into();
        if found.recent_views.len() >= FOUND_MAX {
            found.recent_views.remove(0);
        }
        found.recent_views.push((after, Arc::clone(&invalidated)));
        Ok(invalidated)
    }

    /// Waits until it is rung, unless it was since the last look.
    ///
    /// # Errors
    /// Nobody rings any more.
    pub async fn notified(&mut self) -> Result<(), AppError> {
        self.notified.changed().await.map_err(|_| AppError::Stopped)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::time::Duration;

    fn fell(cursor: u64) -> Revocation {
        Revocation {
            cursor,
            grant_ids: Vec::new(),
            artifact_ids: Vec::new(),
            reason: crate::domain::event::Reason::ConsentWithdrawn,
            recorded_at_ms: 0,
            cause: String::new(),
            source: String::new(),
        }
    }

    #[test]
    fn one_looks_for_all_who_stand_at_the_same_place() {
        let notifier = Notifier::default();
        let (mut one, mut other) = (notifier.subscribe(b"a"), notifier.subscribe(b"a"));
        assert_eq!(one.look(3, || Ok(vec![fell(4)])).unwrap().len(), 1);
        assert_eq!(other.look(3, || Err(AppError::Stopped)).unwrap()[..], [fell(4)]);
        assert!(other.look(4, || Ok(Vec::new())).unwrap().is_empty(), "another place, another look");
        assert_eq!(one.look(3, || Err(AppError::Stopped)).unwrap().len(), 1, "who lags is told the same");
        for after in 10..10 + FOUND_MAX as u64 {
            assert!(one.look(after, || Ok(Vec::new())).unwrap().is_empty());
        }
        assert_eq!(one.look(3, || Ok(vec![fell(4), fell(5)])).unwrap().len(), 2, "only so many are kept");
        notifier.notify(b"a");
        assert_eq!(one.look(3, || Ok(vec![fell(9)])).unwrap()[..], [fell(9)], "rung since: looked for anew");
    }

    #[test]
    fn a_look_that_failed_is_made_again() {
        let mut subscription = Notifier::default().subscribe(b"a");
        assert!(subscription.look(0, || Err(AppError::Stopped)).is_err());
        assert_eq!(subscription.look(0, || Ok(vec![fell(1)])).unwrap().len(), 1);
    }

    #[tokio::test]
    async fn whoever_looked_before_it_was_there_is_woken() {
        let notifier = Notifier::default();
        let mut early = notifier.subscribe(b"a");
        drop(notifier.subscribe(b"b"));
        assert!(early.look(0, || Ok(Vec::new())).unwrap().is_empty());
        // Came when others had planned what falls, and left again: nobody's line is anybody else's.
        drop(notifier.subscribe(b"a"));
        notifier.notify(b"b");
        assert!(tokio::time::timeout(Duration::from_millis(20), early.notified()).await.is_err());
        notifier.notify(b"a");
        early.notified().await.unwrap();
        assert_eq!(early.look(0, || Ok(vec![fell(1)])).unwrap().len(), 1);
        assert!(tokio::time::timeout(Duration::from_millis(20), early.notified()).await.is_err());
    }
}
