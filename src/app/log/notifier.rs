//! Notifies watchers of revocations. Watchers that wait at the same cursor for revocations of the same
//! recipient share one read of the index.

use crate::app::error::AppError;
use crate::app::log::revocation::Revocation;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// The most reads that are kept until the next notification. Each begins after a different cursor. Most
/// watchers read after the newest revocation or after the one before it, so there is room for a few watchers
/// that lag behind.
const READS_MAX: usize = 8;

/// The channels of all recipients, by index key.
#[derive(Default)]
pub(crate) struct Notifier(Mutex<HashMap<Vec<u8>, Arc<Channel>>>);

struct Channel {
    /// How many notifications there were.
    notifications: watch::Sender<u64>,
    reads: Mutex<Reads>,
}

/// What was read since the last notification.
#[derive(Default)]
struct Reads {
    /// The number of notifications before these reads.
    notifications: u64,
    /// Cursors, and the revocations after each.
    after: Vec<(u64, Arc<[Revocation]>)>,
}

/// A watcher's place in a channel.
pub(crate) struct Subscription {
    channel: Arc<Channel>,
    notifications: watch::Receiver<u64>,
}

impl Notifier {
    /// Notifies the watchers of this key. Call it only when the revocations can be read already. A watcher
    /// that is notified earlier may find nothing, and then waits for the next notification.
    pub fn notify(&self, key: &[u8]) {
        if let Some(channel) = self.channels().get(key) {
            channel.notifications.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    /// Subscribes to this key from now on.
    pub fn subscribe(&self, key: &[u8]) -> Subscription {
        let mut channels = self.channels();
        channels.retain(|_, channel| channel.notifications.receiver_count() > 0);
        let new = || Arc::new(Channel { notifications: watch::channel(0).0, reads: Mutex::default() });
        let channel = Arc::clone(channels.entry(key.to_vec()).or_insert_with(new));
        Subscription { notifications: channel.notifications.subscribe(), channel }
    }

    fn channels(&self) -> MutexGuard<'_, HashMap<Vec<u8>, Arc<Channel>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscription {
    /// The revocations after a cursor, read now or by another watcher since the last notification.
    ///
    /// # Errors
    /// `read` fails.
    pub fn read(
        &mut self,
        cursor: u64,
        read: impl FnOnce() -> Result<Vec<Revocation>, AppError>,
    ) -> Result<Arc<[Revocation]>, AppError> {
        let notifications = *self.notifications.borrow_and_update();
        // Locked during the read, since other watchers want the same result.
        let mut reads = self.channel.reads.lock().unwrap_or_else(PoisonError::into_inner);
        if reads.notifications != notifications {
            *reads = Reads { notifications, after: Vec::new() };
        }
        if let Some((_, revocations)) = reads.after.iter().find(|(after, _)| *after == cursor) {
            return Ok(Arc::clone(revocations));
        }
        let revocations: Arc<[Revocation]> = read()?.into();
        if reads.after.len() >= READS_MAX {
            reads.after.remove(0);
        }
        reads.after.push((cursor, Arc::clone(&revocations)));
        Ok(revocations)
    }

    /// Waits for a notification. Returns immediately if there was one since the last read.
    ///
    /// # Errors
    /// The notifier is gone.
    pub async fn notified(&mut self) -> Result<(), AppError> {
        self.notifications.changed().await.map_err(|_| AppError::Stopped)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::time::Duration;

    fn revocation(cursor: u64) -> Revocation {
        Revocation {
            cursor,
            grant_ids: Vec::new(),
            artifact_ids: Vec::new(),
            reason: crate::domain::event::Reason::ConsentWithdrawn,
            recorded_at_ms: 0,
            cause: String::new(),
            source: String::new(),
            erased_scope: crate::domain::event::ErasureScope::Unspecified,
            reminder: 0,
            named_by: String::new(),
        }
    }

    #[test]
    fn watchers_at_the_same_cursor_share_a_read() {
        let notifier = Notifier::default();
        let (mut one, mut other) = (notifier.subscribe(b"a"), notifier.subscribe(b"a"));
        assert_eq!(one.read(3, || Ok(vec![revocation(4)])).unwrap().len(), 1);
        assert_eq!(other.read(3, || Err(AppError::Stopped)).unwrap()[..], [revocation(4)]);
        assert!(
            other.read(4, || Ok(Vec::new())).unwrap().is_empty(),
            "another cursor needs a read of its own"
        );
        assert_eq!(
            one.read(3, || Err(AppError::Stopped)).unwrap().len(),
            1,
            "a watcher that lags shares the read"
        );
        for after in 10..10 + READS_MAX as u64 {
            assert!(one.read(after, || Ok(Vec::new())).unwrap().is_empty());
        }
        assert_eq!(
            one.read(3, || Ok(vec![revocation(4), revocation(5)])).unwrap().len(),
            2,
            "only `READS_MAX` reads are kept"
        );
        notifier.notify(b"a");
        assert_eq!(
            one.read(3, || Ok(vec![revocation(9)])).unwrap()[..],
            [revocation(9)],
            "a notification invalidates earlier reads"
        );
    }

    #[test]
    fn a_read_that_failed_is_repeated() {
        let mut subscription = Notifier::default().subscribe(b"a");
        assert!(subscription.read(0, || Err(AppError::Stopped)).is_err());
        assert_eq!(subscription.read(0, || Ok(vec![revocation(1)])).unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_watcher_that_read_before_the_record_was_there_is_notified() {
        let notifier = Notifier::default();
        let mut early = notifier.subscribe(b"a");
        drop(notifier.subscribe(b"b"));
        assert!(early.read(0, || Ok(Vec::new())).unwrap().is_empty());
        // This watcher is not affected when another one subscribes and leaves again, or when another key is
        // notified.
        drop(notifier.subscribe(b"a"));
        notifier.notify(b"b");
        assert!(tokio::time::timeout(Duration::from_millis(20), early.notified()).await.is_err());
        notifier.notify(b"a");
        early.notified().await.unwrap();
        assert_eq!(early.read(0, || Ok(vec![revocation(1)])).unwrap().len(), 1);
        assert!(tokio::time::timeout(Duration::from_millis(20), early.notified()).await.is_err());
    }
}
