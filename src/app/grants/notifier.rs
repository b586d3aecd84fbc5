//! Wakes whoever waits for what falls. Of the watches of one recipient that wake together, one looks, and the others take what it
//! has found.

use crate::app::error::AppError;
use crate::app::grants::watch_revocations::Revocation;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Looks from different places that are kept until it is rung again: those before and behind what fell last, and a few who lag.
const FOUND_MAX: usize = 8;

/// Where watches wait, by recipient.
#[derive(Default)]
pub(crate) struct Bells(Mutex<HashMap<Vec<u8>, Arc<Line>>>);

struct Line {
    /// How often it was rung.
    rung: watch::Sender<u64>,
    found: Mutex<Found>,
}

/// What looks have found since it was rung last.
#[derive(Default)]
struct Found {
    /// How often it had been rung before those looks.
    rung: u64,
    /// What fell after a cursor.
    looks: Vec<(u64, Arc<[Revocation]>)>,
}

/// A watch that waits.
pub(crate) struct Hearing {
    line: Arc<Line>,
    rung: watch::Receiver<u64>,
}

impl Bells {
    /// Wakes those who wait at this key. Only once there is something that they can find: whoever came to wait meanwhile has
    /// looked before it was there.
    pub fn ring(&self, key: &[u8]) {
        if let Some(line) = self.lines().get(key) {
            line.rung.send_modify(|rung| *rung = rung.wrapping_add(1));
        }
    }

    /// Waits at this key from now on.
    pub fn hear(&self, key: &[u8]) -> Hearing {
        let mut lines = self.lines();
        lines.retain(|_, line| line.rung.receiver_count() > 0);
        let new = || Arc::new(Line { rung: watch::channel(0).0, found: Mutex::default() });
        let line = Arc::clone(lines.entry(key.to_vec()).or_insert_with(new));
        Hearing { rung: line.rung.subscribe(), line }
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<Vec<u8>, Arc<Line>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hearing {
    /// What fell after a cursor: as it is found now, or as somebody found it since it was rung last.
    ///
    /// # Errors
    /// As `find`.
    pub fn look(
        &mut self,
        after: u64,
        find: impl FnOnce() -> Result<Vec<Revocation>, AppError>,
    ) -> Result<Arc<[Revocation]>, AppError> {
        let rung = *self.rung.borrow_and_update();
        // Held while one looks: the others want the same.
        let mut found = self.line.found.lock().unwrap_or_else(PoisonError::into_inner);
        if found.rung != rung {
            *found = Found { rung, looks: Vec::new() };
        }
        if let Some((_, fallen)) = found.looks.iter().find(|(from, _)| *from == after) {
            return Ok(Arc::clone(fallen));
        }
        let fallen: Arc<[Revocation]> = find()?.into();
        if found.looks.len() >= FOUND_MAX {
            found.looks.remove(0);
        }
        found.looks.push((after, Arc::clone(&fallen)));
        Ok(fallen)
    }

    /// Waits until it is rung, unless it was since the last look.
    ///
    /// # Errors
    /// Nobody rings any more.
    pub async fn rung(&mut self) -> Result<(), AppError> {
        self.rung.changed().await.map_err(|_| AppError::Stopped)
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
        let bells = Bells::default();
        let (mut one, mut other) = (bells.hear(b"a"), bells.hear(b"a"));
        assert_eq!(one.look(3, || Ok(vec![fell(4)])).unwrap().len(), 1);
        assert_eq!(other.look(3, || Err(AppError::Stopped)).unwrap()[..], [fell(4)]);
        assert!(other.look(4, || Ok(Vec::new())).unwrap().is_empty(), "another place, another look");
        assert_eq!(one.look(3, || Err(AppError::Stopped)).unwrap().len(), 1, "who lags is told the same");
        for after in 10..10 + FOUND_MAX as u64 {
            assert!(one.look(after, || Ok(Vec::new())).unwrap().is_empty());
        }
        assert_eq!(one.look(3, || Ok(vec![fell(4), fell(5)])).unwrap().len(), 2, "only so many are kept");
        bells.ring(b"a");
        assert_eq!(one.look(3, || Ok(vec![fell(9)])).unwrap()[..], [fell(9)], "rung since: looked for anew");
    }

    #[test]
    fn a_look_that_failed_is_made_again() {
        let mut hearing = Bells::default().hear(b"a");
        assert!(hearing.look(0, || Err(AppError::Stopped)).is_err());
        assert_eq!(hearing.look(0, || Ok(vec![fell(1)])).unwrap().len(), 1);
    }

    #[tokio::test]
    async fn whoever_looked_before_it_was_there_is_woken() {
        let bells = Bells::default();
        let mut early = bells.hear(b"a");
        drop(bells.hear(b"b"));
        assert!(early.look(0, || Ok(Vec::new())).unwrap().is_empty());
        // Came when others had planned what falls, and left again: nobody's line is anybody else's.
        drop(bells.hear(b"a"));
        bells.ring(b"b");
        assert!(tokio::time::timeout(Duration::from_millis(20), early.rung()).await.is_err());
        bells.ring(b"a");
        early.rung().await.unwrap();
        assert_eq!(early.look(0, || Ok(vec![fell(1)])).unwrap().len(), 1);
        assert!(tokio::time::timeout(Duration::from_millis(20), early.rung()).await.is_err());
    }
}
