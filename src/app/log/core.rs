//! [`Core`], which all use cases share: the ledger, the vault, the clock, subject streams and rules.

use crate::app::error::{AppError, Cause};
use crate::app::log::disclosures::Disclosures;
use crate::app::log::kept_counts::KeptCounts;
use crate::app::log::kept_map::KeptMap;
use crate::app::log::named_recipients::NamedRecipients;
use crate::app::log::notifier::Notifier;
use crate::app::log::open_requests::OpenRequests;
use crate::app::log::pending_streams::PendingStreams;
use crate::app::log::recent_views::RecentViews;
use crate::app::log::stream::SubjectStream;
use crate::app::log::stream_cache::StreamCache;
use crate::app::log::system_stream::SystemStream;
use crate::app::log::unrecorded_reuse::UnrecordedReuse;
use crate::bounds::rulebook::{Rules, RulesHistory};
use crate::clock::{Clock, EventIds, LedgerClock};
use crate::domain::ids::{EventId, Handle, SubjectId};
use crate::ledger::Ledger;
use crate::relevance::rank::RankingSettings;
use crate::store::LogStore;
use crate::vault::Vault;
use std::sync::{Arc, PoisonError, RwLock};

/// What one recipient may have open about one data subject at a time.
#[derive(Clone, Copy, Debug)]
pub struct UseLimits {
    /// Grants that are neither revoked nor expired.
    pub open_grants_max: usize,
    /// Artifacts that are neither invalidated nor expired.
    pub artifacts_max: usize,
    /// The most revocations that one frame (events that are written together) records; at least 1. If a
    /// decision causes more revocations, later frames record the others.
    pub revocations_at_once_max: usize,
}

/// The log as use cases see it. All use cases share one.
pub(crate) struct Core {
    pub ledger: Ledger,
    pub vault: Arc<Vault>,
    pub clock: Arc<LedgerClock>,
    pub event_ids: EventIds,
    pub streams: StreamCache,
    /// The rules now and at every earlier moment. Changed by `system_events` only.
    pub rules: RwLock<RulesHistory>,
    /// Every write holds this lock, shared, from its decision until it is durable. A change of the rules
    /// holds it exclusively. So no event is recorded under rules that its decision did not use.
    pub rules_lock: Arc<tokio::sync::RwLock<()>>,
    /// Locked while a write to the system stream is in progress.
    pub system_stream: tokio::sync::Mutex<SystemStream>,
    /// The numbers of rules and erasures.
    pub counts: KeptCounts,
    pub notifier: Notifier,
    pub named_recipients: NamedRecipients,
    pub recent_views: RecentViews,
    pub unrecorded_reuse: UnrecordedReuse,
    /// Streams with revocations that are in effect but not recorded yet.
    pub pending_streams: PendingStreams,
    /// Data subject requests that are not answered yet, by due date.
    pub open_requests: OpenRequests,
    /// What the system events say about disclosures.
    pub disclosures: Disclosures,
    /// What the log commits to about each data subject.
    pub subject_map: KeptMap,
    pub use_limits: UseLimits,
    pub ranking: RankingSettings,
    /// Erasures hold this lock, shared, from the destruction of their keys until they are recorded. An export
    /// holds it exclusively while it takes its checkpoint.
    pub erasing: Arc<tokio::sync::RwLock<()>>,
    /// Set when the daemon shuts down. Answers that would otherwise stream forever, such as watches, then
    /// end.
    pub stopping: tokio::sync::watch::Sender<bool>,
}

/// Keeps erasures out until it is dropped. A task that continues after its caller is gone must own this lock.
pub(crate) type NoErasures = tokio::sync::OwnedRwLockWriteGuard<()>;

impl Core {
    /// Waits for the erasures that have begun, and keeps others out.
    pub(crate) async fn keep_erasures_out(&self) -> NoErasures {
        Arc::clone(&self.erasing).write_owned().await
    }

    pub(crate) fn store(&self) -> &dyn LogStore {
        self.ledger.store().as_ref()
    }

    /// The ledger's time, milliseconds since the Unix epoch. Never goes back, not even after a restart.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// A new id of an event, a request or a hold: greater than every id before it.
    #[must_use]
    pub fn new_id(&self) -> EventId {
        EventId(self.event_ids.next(self.clock.as_ref()))
    }

    /// The rules in force now.
    pub(crate) fn rules(&self) -> Arc<Rules> {
        self.rules_at(self.now_ms())
    }

    /// The rules now and at any earlier time, as a copy that later events do not change. Work that takes long
    /// uses it, so that no other task waits for the lock.
    pub(crate) fn rules_history(&self) -> RulesHistory {
        self.rules.read().unwrap_or_else(PoisonError::into_inner).copy()
    }

    /// The rules in force at this moment, which is now or close to it.
    pub(crate) fn rules_at(&self, now_ms: u64) -> Arc<Rules> {
        let read = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(rules) = read.known(now_ms) {
            return rules;
        }
        drop(read);
        let mut write = self.rules.write().unwrap_or_else(PoisonError::into_inner);
        write.look_up(now_ms).unwrap_or_else(|error| {
            // Can't happen: publishing compiled the rules for every moment at which a version comes into
            // force.
            tracing::error!(?error, "bounds that came into force do not compile");
            write.now()
        })
    }

    /// The stream of a data subject with recorded events; `None` if no events are recorded, even if the
    /// subject has a handle (the random pseudonym of a data subject in the log).
    ///
    /// # Errors
    /// Nothing is recorded and the id would be refused, or the store failed.
    pub(crate) async fn stream(
        self: &Arc<Self>,
        subject: &SubjectId,
    ) -> Result<Option<Arc<SubjectStream>>, AppError> {
        let Some(keys) = self.vault.subject(subject)? else {
            subject.check_new()?;
            return Ok(None);
        };
        let stream = self.stream_of(keys).await?;
        let has_events = stream.read().state.version > 0;
        Ok(has_events.then_some(stream))
    }

    /// The stream with this handle; `None` if its keys do not exist or were destroyed.
    pub(crate) async fn stream_by_handle(
        self: &Arc<Self>,
        handle: Handle,
    ) -> Result<Option<Arc<SubjectStream>>, AppError> {
        if let Some(stream) = self.streams.get(&handle) {
            return Ok(Some(stream));
        }
        match self.vault.by_handle(handle)? {
            Some(keys) => self.stream_of(keys).await.map(Some),
            None => Ok(None),
        }
    }

    /// The stream with these keys: from the cache, or folded from the log.
    pub(crate) async fn stream_of(
        self: &Arc<Self>,
        keys: Arc<crate::vault::SubjectKeys>,
    ) -> Result<Arc<SubjectStream>, AppError> {
        if let Some(stream) = self.streams.get(&keys.handle) {
            return Ok(stream);
        }
        let _permit = self.streams.load_permit().await?;
        if let Some(stream) = self.streams.get(&keys.handle) {
            return Ok(stream);
        }
        let core = Arc::clone(self);
        // Folding a long history takes a while, so it must not block a thread that serves other calls.
        tokio::task::spawn_blocking(move || {
            let stream = core.load_stream(keys)?;
            core.cache_stream(stream)
        })
        .await
        .map_err(|_| AppError::Internal(Cause::Task))?
    }

    /// Whether enough witnesses have cosigned in the configured time; `None` if no witnesses are configured.
    #[must_use]
    pub(crate) fn is_witnessed(&self) -> Option<bool> {
        self.ledger.cosigning().is_enough(self.now_ms())
    }
}
