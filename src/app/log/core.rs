//! [`Core`], which all use cases share: the ledger, the vault, the clock, subject streams and rules.

use crate::app::error::{AppError, Cause};
use crate::app::log::named_recipients::NamedRecipients;
use crate::app::log::notifier::Notifier;
use crate::app::log::pending_streams::PendingStreams;
use crate::app::log::projections::Projections;
use crate::app::log::recent_views::RecentViews;
use crate::app::log::rules_in_force::RulesInForce;
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
use std::sync::Arc;

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

/// What the configuration says about uses.
pub(crate) struct UseSettings {
    /// What one recipient may have open about one data subject.
    pub limits: UseLimits,
    /// How permitted attributes are ranked by a text.
    pub ranking: RankingSettings,
}

/// What is in effect, or was answered, and is not recorded yet.
#[derive(Default)]
pub(crate) struct Unrecorded {
    /// Requests that were answered with an existing grant.
    pub reuse: UnrecordedReuse,
    /// Streams with revocations that are in effect.
    pub revocations: PendingStreams,
}

/// What a [`Core`] is made from.
pub(crate) struct CoreParts {
    pub ledger: Ledger,
    pub vault: Arc<Vault>,
    pub clock: Arc<LedgerClock>,
    pub streams: StreamCache,
    pub rules: RulesHistory,
    pub system_stream: SystemStream,
    pub projections: Projections,
    pub use_settings: UseSettings,
}

/// The log as use cases see it. All use cases share one.
pub(crate) struct Core {
    pub(in crate::app) ledger: Ledger,
    pub(in crate::app) vault: Arc<Vault>,
    pub(in crate::app) clock: Arc<LedgerClock>,
    event_ids: EventIds,
    pub(in crate::app) streams: StreamCache,
    pub(in crate::app) rules: RulesInForce,
    /// Locked while a write to the system stream is in progress.
    pub(in crate::app) system_stream: tokio::sync::Mutex<SystemStream>,
    pub(in crate::app) projections: Projections,
    pub(in crate::app) unrecorded: Unrecorded,
    pub(in crate::app) notifier: Notifier,
    pub(in crate::app::log) named_recipients: NamedRecipients,
    pub(in crate::app::log) recent_views: RecentViews,
    pub(in crate::app) use_settings: UseSettings,
    /// Erasures hold this lock, shared, from the destruction of their keys until they are recorded. An export
    /// holds it exclusively while it takes its checkpoint.
    erasing: Arc<tokio::sync::RwLock<()>>,
    /// Set when the daemon shuts down. Answers that would otherwise stream forever, such as watches, then
    /// end.
    stopping: tokio::sync::watch::Sender<bool>,
}

/// Keeps erasures out until it is dropped. A task that continues after its caller is gone must own this lock.
pub(crate) type NoErasures = tokio::sync::OwnedRwLockWriteGuard<()>;

impl Core {
    pub(crate) fn new(parts: CoreParts) -> Self {
        let CoreParts { ledger, vault, clock, streams, rules, system_stream, projections, use_settings } =
            parts;
        Self {
            ledger,
            vault,
            clock,
            event_ids: EventIds::default(),
            streams,
            rules: RulesInForce::new(rules),
            system_stream: tokio::sync::Mutex::new(system_stream),
            projections,
            unrecorded: Unrecorded::default(),
            notifier: Notifier::default(),
            named_recipients: NamedRecipients::default(),
            recent_views: RecentViews::default(),
            use_settings,
            erasing: Arc::default(),
            stopping: tokio::sync::watch::Sender::new(false),
        }
    }

    /// Waits for the erasures that have begun, and keeps others out.
    pub(crate) async fn keep_erasures_out(&self) -> NoErasures {
        Arc::clone(&self.erasing).write_owned().await
    }

    /// As [`Core::keep_erasures_out`], on a thread that may block.
    pub(crate) fn keep_erasures_out_blocking(&self) -> tokio::sync::RwLockWriteGuard<'_, ()> {
        self.erasing.blocking_write()
    }

    /// Begins the part of an erasure that exports must not see half done: from the destruction of its keys
    /// until it is recorded. Waits for an export that takes its checkpoint.
    pub(crate) async fn begin_erasing(&self) -> tokio::sync::RwLockReadGuard<'_, ()> {
        self.erasing.read().await
    }

    /// Ends answers that would otherwise stream forever.
    pub(crate) fn begin_shutdown(&self) {
        self.stopping.send_replace(true);
    }

    /// Becomes true when the daemon shuts down.
    pub(crate) fn shutdown_signal(&self) -> tokio::sync::watch::Receiver<bool> {
        self.stopping.subscribe()
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
        self.rules.history().copy()
    }

    /// The rules in force at this moment, which is now or close to it.
    pub(crate) fn rules_at(&self, now_ms: u64) -> Arc<Rules> {
        self.rules.at(now_ms)
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
