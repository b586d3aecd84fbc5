//! The activity of one connection. The server reports here each call that arrives over the connection. The
//! connection closes itself when it is idle, when the client stalls a response, or when it has carried only
//! rejected credentials.

use super::per_address::SlotHandle;
use crate::clock::Stopwatch;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// How long a connection of a data subject stays open without a call in progress.
const DATA_SUBJECT_QUIET_MAX: Duration = Duration::from_secs(1);
/// How often such a connection is checked.
const QUIET_CHECK: Duration = Duration::from_millis(250);

/// The calls of one connection, and whether a caller has authenticated over it.
#[derive(Debug)]
pub struct Activity {
    since: Stopwatch,
    /// How many calls have begun so far, which is also the number of the next call.
    calls: AtomicU64,
    in_progress: AtomicU64,
    /// When the last call ended, in milliseconds since the connection began.
    quiet_since_ms: AtomicU64,
    /// Calls whose client has not yet read the newest piece of the response. Each call's number leads to the
    /// time when that piece was handed over, in milliseconds since the connection began.
    unread: Mutex<HashMap<u64, u64>>,
    /// Whether a caller has authenticated over this connection.
    is_authenticated: AtomicBool,
    /// Whether the connection should close because it has carried only rejected credentials.
    is_abandoned: AtomicBool,
    /// Notified when a data subject has authenticated over this connection.
    data_subject: Notify,
    /// The connection's slot, which is protected from eviction once a caller has authenticated.
    slot: Option<SlotHandle>,
}

impl Default for Activity {
    fn default() -> Self {
        Self {
            since: Stopwatch::start(),
            calls: AtomicU64::new(0),
            in_progress: AtomicU64::new(0),
            quiet_since_ms: AtomicU64::new(0),
            unread: Mutex::default(),
            is_authenticated: AtomicBool::new(false),
            is_abandoned: AtomicBool::new(false),
            data_subject: Notify::new(),
            slot: None,
        }
    }
}

impl Activity {
    /// The activity of a connection that holds a slot.
    pub(super) fn in_slot(slot: SlotHandle) -> Self {
        Self { slot: Some(slot), ..Self::default() }
    }

    /// Reports that a call begins. The call ends when the returned value is dropped.
    #[must_use]
    pub fn begin_call(self: &Arc<Self>) -> Call {
        self.in_progress.fetch_add(1, Ordering::Relaxed);
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        Call { activity: Arc::clone(self), number, is_unread: false }
    }

    /// Reports that a caller has authenticated: the connection keeps its slot.
    pub fn authenticated(&self) {
        if !self.is_authenticated.load(Ordering::Relaxed)
            && !self.is_authenticated.swap(true, Ordering::Relaxed)
        {
            self.protect_slot();
        }
    }

    /// Reports that a data subject has authenticated.
    pub fn data_subject_authenticated(&self) {
        self.data_subject.notify_one();
    }

    /// Waits until a data subject has authenticated and no call has been in progress for a second. Then the
    /// connection should close: the HTTP/2 library keeps the last 4 KiB of header values, so it would keep
    /// tokens of people in memory.
    pub async fn quiet_after_data_subject(&self) {
        self.data_subject.notified().await;
        while !self.was_quiet_for(DATA_SUBJECT_QUIET_MAX) {
            tokio::time::sleep(QUIET_CHECK).await;
        }
    }

    /// Whether no call has been in progress for longer than `max`.
    fn was_quiet_for(&self, max: Duration) -> bool {
        // The count of calls must be loaded before `quiet_since_ms`: the last call to end stores
        // `quiet_since_ms` before it lowers the count.
        let is_quiet = self.in_progress.load(Ordering::Acquire) == 0;
        let quiet_since_ms = self.quiet_since_ms.load(Ordering::Acquire);
        is_quiet && self.has_passed(quiet_since_ms, max)
    }

    fn has_passed(&self, since_ms: u64, max: Duration) -> bool {
        u128::from(self.now_ms().saturating_sub(since_ms)) > max.as_millis()
    }

    /// Protects the connection from eviction, because its client has presented a valid credential.
    pub(super) fn protect_slot(&self) {
        if let Some(slot) = &self.slot {
            slot.protect();
        }
    }

    /// Makes the connection close soon. It stays open if a caller has authenticated over it, because several
    /// callers may share a connection.
    pub fn abandon(&self) {
        if !self.is_authenticated.load(Ordering::Relaxed) {
            self.is_abandoned.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the connection should close: it was abandoned, had no call in progress for more than
    /// `idle_max`, or its client has left a piece of a response unread for more than `stall_max`.
    #[must_use]
    pub fn should_close(&self, idle_max: Duration, stall_max: Duration) -> bool {
        self.is_abandoned.load(Ordering::Relaxed)
            || self.was_quiet_for(idle_max)
            || self.unread().values().any(|since_ms| self.has_passed(*since_ms, stall_max))
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn unread(&self) -> MutexGuard<'_, HashMap<u64, u64>> {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call in progress over a connection.
#[derive(Debug)]
pub struct Call {
    activity: Arc<Activity>,
    number: u64,
    is_unread: bool,
}

impl Call {
    /// Reports that a piece of the response was handed to the connection to be sent.
    pub fn piece_handed_over(&mut self) {
        let now_ms = self.activity.now_ms();
        self.activity.unread().insert(self.number, now_ms);
        self.is_unread = true;
    }

    /// Reports that the piece was sent, because the connection asks for the next one.
    pub fn piece_sent(&mut self) {
        if std::mem::take(&mut self.is_unread) {
            self.activity.unread().remove(&self.number);
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.piece_sent();
        self.activity.quiet_since_ms.fetch_max(self.activity.now_ms(), Ordering::Release);
        self.activity.in_progress.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: Duration = Duration::from_secs(3_600);

    #[test]
    fn a_connection_closes_when_it_is_idle_or_its_client_stops_reading() {
        let activity = Arc::new(Activity::default());
        assert!(!activity.should_close(NEVER, NEVER));
        std::thread::sleep(Duration::from_millis(5));
        assert!(activity.should_close(Duration::ZERO, NEVER));
        let mut call = activity.begin_call();
        assert!(!activity.should_close(Duration::ZERO, Duration::ZERO), "a call is in progress");
        call.piece_handed_over();
        std::thread::sleep(Duration::from_millis(5));
        assert!(activity.should_close(NEVER, Duration::ZERO), "the client does not read");
        call.piece_sent();
        assert!(!activity.should_close(NEVER, Duration::ZERO));
        call.piece_handed_over();
        drop(call);
        assert!(!activity.should_close(NEVER, Duration::ZERO), "the call has ended");
        std::thread::sleep(Duration::from_millis(5));
        assert!(activity.should_close(Duration::ZERO, NEVER));
    }

    #[tokio::test]
    async fn a_connection_of_a_data_subject_ends_once_it_is_quiet() {
        let activity = Arc::new(Activity::default());
        let ended_within = async |ms| {
            let limit = Duration::from_millis(ms);
            tokio::time::timeout(limit, activity.quiet_after_data_subject()).await.is_ok()
        };
        assert!(!ended_within(50).await, "no data subject has authenticated");
        let call = activity.begin_call();
        activity.data_subject_authenticated();
        assert!(!ended_within(1_500).await, "a call is in progress");
        drop(call);
        activity.data_subject_authenticated();
        assert!(ended_within(10_000).await);
    }

    #[test]
    fn a_connection_is_abandoned_unless_a_caller_has_authenticated() {
        let (shared, bad) = (Activity::default(), Activity::default());
        shared.authenticated();
        shared.abandon();
        assert!(!shared.should_close(NEVER, NEVER));
        bad.abandon();
        assert!(bad.should_close(NEVER, NEVER));
    }
}
