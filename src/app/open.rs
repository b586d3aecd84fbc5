//! Opens an [`App`] (all use cases of one ledger) from its stores and keys, and finishes what a crash
//! interrupted, such as an erasure.

use crate::app::App;
use crate::app::consent::Consent;
use crate::app::erasure::ErasureSettings;
use crate::app::erasure::Erasures;
use crate::app::erasure::completion_queue::CompletionQueue;
use crate::app::erasure::recent_erasures::RecentErasures;
use crate::app::error::{AppError, Cause};
use crate::app::grants::Grants;
use crate::app::grants::grant_lookup::GrantLookup;
use crate::app::log::core::{Core, CoreParts, UseLimits, UseSettings};
use crate::app::log::index::{at_position, index_of, index_of_said};
use crate::app::log::projections::Projections;
use crate::app::log::stream_cache::{StreamCache, StreamCacheLimits};
use crate::app::log::suspension::accepted;
use crate::app::log::system_history::{adopted_rules, news, read_system_stream, restores_in};
use crate::app::operations::Operations;
use crate::app::operations::key_epoch::{KeyEpochError, check_keys};
use crate::app::operations::restore::Restored;
use crate::app::profile::Profiles;
use crate::app::reports::Reports;
use crate::app::reports::report_settings::ReportSettings;
use crate::app::rights::retention_cursor::RetentionCursor;
use crate::app::rights::{Rights, RightsSettings};
use crate::app::rules::RuleChanges;
use crate::app::rules::preview_bounds::AT_ONCE_MAX;
use crate::app::rules::revocation_task::RevocationTask;
use crate::app::rules::tier_keys::TierKeys;
use crate::bounds;
use crate::bounds::rulebook::RulesHistory;
use crate::clock::{Clock, LedgerClock};
use crate::domain::attribute::InferenceTerms;
use crate::domain::default_vocabulary;
use crate::domain::event::{Event, LogOpened, Recorded};
use crate::domain::recorder_usage::AttributeLimits;
use crate::ledger::{Ledger, LedgerError, LedgerOptions, LogKeys, Signing};
use crate::package::Controller;
use crate::relevance::rank::RankingSettings;
use crate::store::{KeyStore, LogStore, StoreError};
use crate::vault::{RootCustody, Vault, VaultError};
use ed25519_dalek::VerifyingKey;
use sayso_proof::checkpoint::VerifierKey;
use sayso_proof::keys::KeyChain;
use std::sync::Arc;

/// The most entries in one read while the index is restored.
const RESTORE_COUNT: usize = 1_024;

/// What an [`App`] is opened from.
pub struct Settings {
    /// Options of the log.
    pub ledger: LedgerOptions,
    /// Where the log's signing keys are.
    pub log_keys: LogKeys,
    /// What keeps the root key, which opens the key store.
    pub custody: Arc<dyn RootCustody>,
    /// The store of entries.
    pub log: Arc<dyn LogStore>,
    /// The store of key pages.
    pub keys: Arc<dyn KeyStore>,
    /// The clock, not started yet, and the source of randomness.
    pub clock: Arc<LedgerClock>,
    /// The key that must sign bounds, for each tier.
    pub tier_keys: TierKeys,
    /// Subjects kept in the stream cache, at most.
    pub cached_subjects_max: usize,
    /// Memory of the stream cache, bytes.
    pub cached_subjects_bytes_max: usize,
    /// The controller, as people see it.
    pub controller: Controller,
    /// The restore that happened since the log was last opened, if any. [`App::open`] records the restore in
    /// the log.
    pub restored: Option<Restored>,
    /// Verifier keys of the configured witnesses.
    pub witnesses: Vec<String>,
    /// How data subject requests are handled.
    pub rights: RightsSettings,
    /// How recipients of erased data are treated.
    pub erasures: ErasureSettings,
    /// What one recipient may have open about one data subject.
    pub use_limits: UseLimits,
    /// How permitted attributes are ranked by a text.
    pub ranking: RankingSettings,
    /// How long an inference may be used if it is recorded without an expiry.
    pub inferences: InferenceTerms,
    /// The limits on what may be recorded about one data subject.
    pub attribute_limits: AttributeLimits,
    /// Settings of transparency reports.
    pub report: ReportSettings,
}

/// Why the daemon can't start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The vault failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The log and the keys are from different times.
    #[error(transparent)]
    KeyEpoch(#[from] KeyEpochError),
    /// The log has entries, but the key store is empty.
    #[error(
        "the log has entries, but the key store is empty: put `keys` back, or use `sayso restore` on a backup"
    )]
    NoKeys,
    /// A step of the start failed.
    #[error("starting: {0}: {1:?}")]
    Start(&'static str, AppError),
}

/// Fields of the use cases that are not in [`Core`].
struct Parts {
    tier_keys: TierKeys,
    controller: Arc<Controller>,
    rights: RightsSettings,
    erasures: ErasureSettings,
    inferences: InferenceTerms,
    attribute_limits: AttributeLimits,
    report: ReportSettings,
    log_keys: LogKeys,
}

/// Checks that the log and the keys are from the same time.
fn check_epoch(
    vault: &Vault,
    restored: Option<&Restored>,
    system_events: &[Recorded],
) -> Result<(), OpenError> {
    let unfinished = vault.pending_erasures()?.len() as u64;
    Ok(check_keys(vault.key_epoch(), unfinished, restored, system_events)?)
}

impl App {
    /// Opens the app from its stores and keys, and completes erasures that had begun.
    ///
    /// # Errors
    /// Keys or stores can't be opened, or they do not belong together.
    pub async fn open(settings: Settings) -> Result<Arc<Self>, OpenError> {
        // With an empty key tree, none of the entries could be opened.
        if settings.log.head().size > 0 && settings.keys.count_pages(&[])? == 0 {
            return Err(OpenError::NoKeys);
        }
        let (keys, custody) = (Arc::clone(&settings.keys), Arc::clone(&settings.custody));
        let vault = Arc::new(Vault::open(keys, custody, Arc::clone(&settings.clock) as _)?);
        let failed = |step| move |error| OpenError::Start(step, error);
        let (system_events, system_stream) =
            read_system_stream(settings.log.as_ref()).map_err(failed("reading the rules"))?;
        check_epoch(&vault, settings.restored.as_ref(), &system_events)?;
        settings.clock.begin(settings.log.head().recorded_at_ms, accepted(&system_events));
        let (signing, streams) =
            (find_keys(&settings, &system_events)?, StreamCache::new(stream_cache_limits(&settings)));
        let clock = Arc::clone(&settings.clock) as _;
        let ledger = Ledger::open_signed(settings.ledger, settings.log, signing, clock)?;
        let (restores, news) = (restores_in(&system_events), news(&system_events, &settings.witnesses));
        let projections = Projections::new(&system_events, settings.erasures.deadlines);
        let rules = RulesHistory::new(system_events.into_iter(), settings.clock.now_ms());
        let rules = rules.map_err(AppError::from).map_err(failed("reading the rules"))?;
        let parts = Parts {
            tier_keys: settings.tier_keys,
            controller: Arc::new(settings.controller),
            rights: settings.rights,
            erasures: settings.erasures,
            inferences: settings.inferences,
            attribute_limits: settings.attribute_limits,
            report: settings.report,
            log_keys: settings.log_keys,
        };
        let core = Arc::new(Core::new(CoreParts {
            ledger,
            vault,
            clock: settings.clock,
            streams,
            rules,
            system_stream,
            projections,
            use_settings: UseSettings { limits: settings.use_limits, ranking: settings.ranking },
        }));
        let app = Arc::new(Self::from_core(core, parts));
        app.begin_log().await.map_err(failed("starting the log"))?;
        app.restore_index().map_err(failed("restoring the index"))?;
        // This comes before any event whose form newer rules changed.
        if !news.is_empty() {
            app.core.publish_for_ledger(news).await.map_err(failed("naming the witnesses and the rules"))?;
        }
        if let Some(restored) = &settings.restored {
            app.operations
                .record_restore(restored, &restores)
                .await
                .map_err(failed("recording the restore"))?;
        }
        app.finish_interrupted_work().await?;
        app.begin_background_work();
        Ok(app)
    }

    /// Logs warnings for the operator, and starts the background tasks.
    fn begin_background_work(&self) {
        self.warn_of_unknown_categories();
        self.warn_of_unconfirmed_restore();
        self.operations.end_key_transition();
        self.rules.watch_bounds();
    }

    /// Builds the use cases over one core.
    fn from_core(core: Arc<Core>, parts: Parts) -> Self {
        let Parts { tier_keys, controller, rights, erasures, inferences, attribute_limits, report, log_keys } =
            parts;
        let (completion_queue, recent_erasures) = (CompletionQueue::default(), RecentErasures::default());
        let erasure = Arc::new(Erasures {
            core: Arc::clone(&core),
            settings: erasures,
            completion_queue,
            recent_erasures,
        });
        let consent = Arc::new(Consent { core: Arc::clone(&core), controller: Arc::clone(&controller) });
        let retention_cursor = tokio::sync::Mutex::new(RetentionCursor::load(&core));
        let rights = Rights {
            core: Arc::clone(&core),
            erasure: Arc::clone(&erasure),
            consent: Arc::clone(&consent),
            controller,
            settings: rights,
            retention_cursor,
        };
        let rules = RuleChanges {
            core: Arc::clone(&core),
            tier_keys,
            revocation: RevocationTask::default(),
            previews: Arc::new(tokio::sync::Semaphore::new(AT_ONCE_MAX)),
        };
        Self {
            profile: Arc::new(Profiles { core: Arc::clone(&core), inferences, attribute_limits }),
            grants: Arc::new(Grants { core: Arc::clone(&core), lookup: GrantLookup::default() }),
            rules: Arc::new(rules),
            rights: Arc::new(rights),
            reports: Arc::new(Reports {
                core: Arc::clone(&core),
                spending: tokio::sync::Mutex::default(),
                settings: report,
            }),
            operations: Arc::new(Operations { core: Arc::clone(&core), log_keys }),
            consent,
            erasure,
            core,
        }
    }

    /// Ends and erases what has expired, for a limited number of subjects in one call. Also destroys the
    /// previous log key at the end of its transition. Call it periodically. Returns whether the next call
    /// should follow at once.
    ///
    /// # Errors
    /// The store failed. The next call finds what this call did not do.
    pub async fn run_maintenance(&self) -> Result<bool, AppError> {
        self.operations.end_key_transition();
        let has_more = self.erasure.remind_recipients().await?;
        Ok(self.rights.end_expired().await? || has_more)
    }

    /// Finishes what the last stop left unfinished.
    async fn finish_interrupted_work(self: &Arc<Self>) -> Result<(), OpenError> {
        let failed = |step| move |error| OpenError::Start(step, error);
        self.core.load_open_requests().map_err(failed("loading open requests"))?;
        self.core.find_pending().await.map_err(failed("finding revocations that are not recorded yet"))?;
        self.erasure.finish_erasures().await.map_err(failed("finishing erasures"))?;
        self.erasure.resume_erasures().await.map_err(failed("resuming erasures"))
    }

    fn warn_of_unconfirmed_restore(&self) {
        if self.is_restore_unconfirmed() {
            tracing::warn!(
                "the log was restored from a backup: all use is denied until `sayso confirm-restore`"
            );
        }
    }

    /// Warns about categories that the setting `inferences` names but the vocabulary does not define. They
    /// are most likely misspelled.
    fn warn_of_unknown_categories(&self) {
        let rules = self.core.rules();
        let vocabulary = &rules.vocabulary;
        for category in self.profile.inferences.lasts_ms_by_category.keys() {
            if !vocabulary.has_category(category) {
                let similar = vocabulary.near_categories(category);
                tracing::warn!(category, ?similar, "`inferences` names an undefined category");
            }
        }
    }

    /// Ends answers that would otherwise stream forever, such as watches. Requests in progress are still
    /// answered.
    pub fn begin_shutdown(&self) {
        self.core.begin_shutdown();
    }

    /// Accepts no more writes, and returns when everything is durable.
    pub async fn shutdown(self: Arc<Self>) {
        self.rules.stop_watching_bounds().await;
        if let Err(error) = self.core.record_all_reuse().await {
            tracing::error!(%error, "some counts of reused grants could not be recorded and are lost");
        }
        let close = move || {
            self.core.ledger.shutdown();
            self.core.clock.close();
        };
        let closed = tokio::task::spawn_blocking(close).await;
        if closed.is_err() {
            tracing::error!("shutting down failed");
        }
    }

    /// Whether writes are accepted and the machine's clock is trusted.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.takes_writes() && !self.clock_state().is_skewed()
    }

    /// Whether writes are accepted.
    #[must_use]
    pub fn takes_writes(&self) -> bool {
        self.core.ledger.takes_writes() && self.core.vault.takes_writes()
    }

    /// Whether enough witnesses have cosigned in the configured time; `None` if no witnesses are configured.
    #[must_use]
    pub fn is_witnessed(&self) -> Option<bool> {
        self.core.is_witnessed()
    }

    /// Begins a new log: writes the log's key, the default vocabulary and the default bounds in one frame
    /// (events that are written together). Does nothing if the log has entries.
    async fn begin_log(self: &Arc<Self>) -> Result<(), AppError> {
        if self.core.store().head().size > 0 {
            return Ok(());
        }
        let public_key = self.core.ledger.verifier_key().key.to_bytes().to_vec();
        let origin = self.core.ledger.origin().to_owned();
        let (purposes, categories) = default_vocabulary::defaults();
        let mut events = vec![Event::LogOpened(LogOpened { origin, public_key }), adopted_rules()];
        events.extend(purposes.into_iter().map(Event::PurposeDefined));
        events.extend(categories.into_iter().map(Event::CategoryDefined));
        events.extend(bounds::defaults().into_iter().map(Event::BoundsPublished));
        self.core.publish_for_ledger(events).await.map(|_| ())
    }

    /// Adds index records to a rebuilt index. The store rebuilds the index without opening entries, so it
    /// leaves out the records that come from the content of events.
    fn restore_index(&self) -> Result<(), AppError> {
        let Some(mut next) = self.core.store().unindexed_from() else { return Ok(()) };
        let end = self.core.store().head().size;
        while next < end {
            let entries = self.core.store().read_entries(next, RESTORE_COUNT)?;
            let mut records = Vec::new();
            for stored in entries {
                let position = stored.position;
                next = position.saturating_add(1);
                match self.core.open_any(stored) {
                    Ok(event) => {
                        let said = index_of_said(&event.event, event.about_ms.min(event.sealed_at_ms));
                        let found = index_of(&event.event, event.recorded_at_ms).into_iter().chain(said);
                        records.push((position, found.map(|record| at_position(record, position)).collect()));
                    }
                    Err(AppError::Erased) => {}
                    Err(error) => return Err(error),
                }
            }
            self.core.store().index_restore(&records, next)?;
        }
        Ok(())
    }
}

fn stream_cache_limits(settings: &Settings) -> StreamCacheLimits {
    StreamCacheLimits {
        count_max: settings.cached_subjects_max,
        bytes_max: settings.cached_subjects_bytes_max,
    }
}

/// Finds the log's signing keys: the chain of all keys that the log names, the key that signs, and the
/// previous key if it still exists.
fn find_keys(settings: &Settings, system_events: &[Recorded]) -> Result<Signing, OpenError> {
    let chain = key_chain(settings.log.as_ref(), &settings.ledger.origin, system_events)?;
    let (keys, is_restored) = (&settings.log_keys, settings.ledger.is_restored);
    let in_force = chain.as_ref().map(|(chain, _)| &chain.newest().key);
    let available = keys.find(in_force, is_restored, settings.clock.as_ref())?;
    let mut signing = Signing::with(&settings.ledger.origin, available.key);
    if let Some((chain, until_ms)) = chain {
        let previous_key = available.previous.filter(|key| {
            let previous = chain.at(chain.from_position().saturating_sub(1));
            chain.rotations() > 0 && previous.key == key.verifying()
        });
        signing.also = previous_key.map(|key| (Arc::new(key), until_ms));
        signing.chain = chain;
    }
    Ok(signing)
}

/// The chain of keys that the log names, and the time until which checkpoints also have the previous key's
/// signature. `None` for an empty log.
fn key_chain(
    store: &dyn LogStore,
    origin: &str,
    system_events: &[Recorded],
) -> Result<Option<(KeyChain, u64)>, OpenError> {
    let mut found: Option<(KeyChain, u64)> = None;
    for event in system_events {
        match (&event.event, &mut found) {
            (Event::LogOpened(opened), None) => {
                let key = <[u8; 32]>::try_from(opened.public_key.as_slice()).ok();
                let key = key.and_then(|key| VerifyingKey::from_bytes(&key).ok());
                let invalid_key =
                    AppError::Internal(Cause::Inconsistent("the log does not begin with a valid key"));
                let key = key.ok_or(OpenError::Start("reading the log's keys", invalid_key))?;
                let verifier = VerifierKey { name: origin.to_owned(), key };
                found = Some((KeyChain::from(&verifier), 0));
            }
            (Event::LogKeyRotated(_), Some((chain, until_ms))) => {
                let bytes = store.read_entry(event.position)?.bytes.unwrap_or_default();
                *until_ms = chain.take(event.position, &bytes).map_err(LedgerError::from)?;
            }
            _ => {}
        }
    }
    Ok(found)
}
