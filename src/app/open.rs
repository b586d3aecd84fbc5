//! Opens everything behind the doors: keys, stores, log, rules; and finishes what a crash interrupted.

use crate::app::App;
use crate::app::consent::Consent;
use crate::app::erasure::Erasures;
use crate::app::erasure::completion_queue::CompletionQueue;
use crate::app::error::{AppError, Cause};
use crate::app::grants::Grants;
use crate::app::grants::grant_lookup::GrantLookup;
use crate::app::log::core::{Core, UseLimits};
use crate::app::log::index::index_of;
use crate::app::log::notifier::Notifier;
use crate::app::log::open_requests::OpenRequests;
use crate::app::log::pending_streams::PendingStreams;
use crate::app::log::read::open_system_entry;
use crate::app::log::recent_views::RecentViews;
use crate::app::log::stream_cache::{StreamCache, StreamCacheLimits};
use crate::app::log::suspension::accepted;
use crate::app::log::system_stream::SystemStream;
use crate::app::log::unrecorded_reuse::UnrecordedReuse;
use crate::app::operations::Operations;
use crate::app::operations::restore::Restored;
use crate::app::profile::Profiles;
use crate::app::reports::Reports;
use crate::app::reports::report_settings::ReportSettings;
use crate::app::rights::{Rights, RightsSettings};
use crate::app::rules::RuleChanges;
use crate::app::rules::preview_bounds::AT_ONCE_MAX;
use crate::app::rules::revocation_task::RevocationTask;
use crate::app::rules::tier_keys::TierKeys;
use crate::bounds;
use crate::bounds::rulebook::RulesHistory;
use crate::clock::{Clock, LedgerClock};
use crate::domain::attribute::InferenceTerms;
use crate::domain::event::{Event, LogOpened, Recorded, WitnessAdded, WitnessRemoved};
use crate::domain::ids::Handle;
use crate::domain::recorder_usage::AttributeLimits;
use crate::domain::vocabulary;
use crate::ledger::{Ledger, LedgerError, LedgerOptions, LogKeys, Signing};
use crate::package::Controller;
use crate::store::{KeyStore, LogStore, StoreError};
use crate::vault::{RootCustody, Vault, VaultError};
use ed25519_dalek::VerifyingKey;
use sayso_proof::checkpoint::VerifierKey;
use sayso_proof::keys::KeyChain;
use std::sync::{Arc, RwLock};

/// Entries looked at in one piece while an index is restored.
const RESTORE_COUNT: usize = 1_024;

/// What an [`App`] stands on.
pub struct Settings {
    /// The log's options.
    pub ledger: LedgerOptions,
    /// Where the log's keys are.
    pub log_keys: LogKeys,
    /// Keeps the root key, which opens the key store.
    pub custody: Arc<dyn RootCustody>,
    /// Where entries are.
    pub log: Arc<dyn LogStore>,
    /// Where keys are.
    pub keys: Arc<dyn KeyStore>,
    /// Time, which has not begun yet, and randomness.
    pub clock: Arc<LedgerClock>,
    /// What bounds of each tier must be signed with.
    pub tier_keys: TierKeys,
    /// Folded profiles kept in memory.
    pub cached_subjects_max: usize,
    /// What they may take of memory, bytes.
    pub cached_subjects_bytes_max: usize,
    /// Who is answerable, as people are told.
    pub controller: Controller,
    /// What was restored since the log was opened last, to be said in it.
    pub restored: Option<Restored>,
    /// Verifier keys of the witnesses that are asked.
    pub witnesses: Vec<String>,
    /// How requests of people are dealt with.
    pub rights: RightsSettings,
    /// What one recipient may have open about one person.
    pub use_limits: UseLimits,
    /// When inferences end that do not say so.
    pub inferences: InferenceTerms,
    /// How much may be held about one person.
    pub attribute_limits: AttributeLimits,
    /// What reports may say.
    pub report: ReportSettings,
}

/// Why the daemon can't start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The vault.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The log has entries and the key store has nothing.
    #[error(
        "the log has entries, but the key store is empty: bring `keys` back, or `sayso restore` a backup"
    )]
    NoKeys,
    /// Reading the rules, starting the log or finishing an erasure.
    #[error("starting: {0}: {1:?}")]
    Start(&'static str, AppError),
}

/// What the use cases need beside the core.
struct Parts {
    tier_keys: TierKeys,
    controller: Arc<Controller>,
    rights: RightsSettings,
    inferences: InferenceTerms,
    attribute_limits: AttributeLimits,
    report: ReportSettings,
    log_keys: LogKeys,
}

impl App {
    /// Opens the daemon: everything durable is found again, erasures that had begun are completed.
    ///
    /// # Errors
    /// Keys or stores can't be opened, or what is in them does not fit together.
    pub async fn open(settings: Settings) -> Result<Arc<Self>, OpenError> {
        // A tree with nobody in it would open none of what is there.
        if settings.log.head().size > 0 && settings.keys.count_pages(&[])? == 0 {
            return Err(OpenError::NoKeys);
        }
        let vault = Arc::new(Vault::open(
            Arc::clone(&settings.keys),
            Arc::clone(&settings.custody),
            Arc::clone(&settings.clock) as _,
        )?);
        let failed = |what| move |error| OpenError::Start(what, error);
        let (plain, system_stream) =
            read_system_event(settings.log.as_ref()).map_err(failed("reading the rules"))?;
        settings.clock.begin(settings.log.head().recorded_at_ms, accepted(&plain));
        let (signing, streams) =
            (find_keys(&settings, &plain)?, StreamCache::new(stream_cache_limits(&settings)));
        let clock = Arc::clone(&settings.clock) as _;
        let ledger = Ledger::open_signed(settings.ledger, settings.log, signing, clock)?;
        let said: Vec<Recorded> =
            plain.iter().filter(|event| matches!(event.event, Event::BackupRestored(_))).cloned().collect();
        let witnesses = changed_witnesses(&plain, &settings.witnesses);
        let rules = RulesHistory::new(plain.into_iter(), settings.clock.now_ms())
            .map_err(AppError::from)
            .map_err(failed("reading the rules"))?;
        let parts = Parts {
            tier_keys: settings.tier_keys,
            controller: Arc::new(settings.controller),
            rights: settings.rights,
            inferences: settings.inferences,
            attribute_limits: settings.attribute_limits,
            report: settings.report,
            log_keys: settings.log_keys,
        };
        let core = Arc::new(Core {
            ledger,
            vault,
            clock: settings.clock,
            streams,
            rules: RwLock::new(rules),
            rules_lock: Arc::default(),
            system_stream: tokio::sync::Mutex::new(system_stream),
            notifier: Notifier::default(),
            recent_views: RecentViews::default(),
            unrecorded_reuse: UnrecordedReuse::default(),
            pending_streams: PendingStreams::default(),
            open_requests: OpenRequests::default(),
            use_limits: settings.use_limits,
            erasing: tokio::sync::RwLock::default(),
            stopping: tokio::sync::watch::Sender::new(false),
        });
        let app = Arc::new(Self::over(core, parts));
        app.begin_log().await.map_err(failed("starting the log"))?;
        app.restore_index().map_err(failed("restoring the index"))?;
        if let Some(restored) = &settings.restored {
            app.operations.record_restore(restored, &said).await.map_err(failed("declaring the restore"))?;
        }
        app.finish_what_was_cut_short().await?;
        app.warn_of_unknown_categories();
        app.warn_of_unconfirmed_restore();
        if !witnesses.is_empty() {
            app.core.publish_for_ledger(witnesses).await.map_err(failed("naming the witnesses"))?;
        }
        app.operations.end_key_transition();
        app.rules.watch_bounds();
        Ok(app)
    }

    /// The use cases over one core.
    fn over(core: Arc<Core>, parts: Parts) -> Self {
        let Parts { tier_keys, controller, rights, inferences, attribute_limits, report, log_keys } = parts;
        let erasure =
            Arc::new(Erasures { core: Arc::clone(&core), completion_queue: CompletionQueue::default() });
        let consent = Arc::new(Consent { core: Arc::clone(&core), controller: Arc::clone(&controller) });
        let rights = Rights {
            core: Arc::clone(&core),
            erasure: Arc::clone(&erasure),
            consent: Arc::clone(&consent),
            controller,
            settings: rights,
            retention_cursor: tokio::sync::Mutex::default(),
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

    /// Ends what is over, for at most a limited number of subjects; call it again and again.
    ///
    /// # Errors
    /// The store. What was not ended is found again the next time.
    pub async fn run_maintenance(&self) -> Result<(), AppError> {
        self.operations.end_key_transition();
        self.rights.end_expired().await
    }

    /// Takes up what the last stop left unfinished.
    async fn finish_what_was_cut_short(self: &Arc<Self>) -> Result<(), OpenError> {
        let failed = |what| move |error| OpenError::Start(what, error);
        self.core.load_open_requests().map_err(failed("finding requests that are due"))?;
        self.core.find_pending().await.map_err(failed("finding revocations to be recorded"))?;
        self.erasure.finish_erasures().await.map_err(failed("finishing erasures"))?;
        self.erasure.resume_erasures().await.map_err(failed("carrying out erasures"))
    }

    fn warn_of_unconfirmed_restore(&self) {
        if self.is_restore_unconfirmed() {
            tracing::warn!(
                "the log went back to a backup: nothing is allowed before `sayso confirm-restore`"
            );
        }
    }

    /// A category that nobody defined has no inferences: most likely it is misspelt.
    fn warn_of_unknown_categories(&self) {
        let rules = self.core.rules();
        let vocabulary = &rules.vocabulary;
        for category in self.profile.inferences.lasts_ms_by_category.keys() {
            if !vocabulary.has_category(category) {
                let near = vocabulary.near_categories(category);
                tracing::warn!(category, ?near, "`inferences` names a category that is not defined");
            }
        }
    }

    /// Ends what would go on for ever, such as watches; requests under way are still answered.
    pub fn begin_shutdown(&self) {
        self.core.stopping.send_replace(true);
    }

    /// Takes no more writes and has everything durable.
    pub async fn shutdown(self: Arc<Self>) {
        self.rules.stop_watching_bounds().await;
        if let Err(error) = self.core.record_all_reuse().await {
            tracing::error!(%error, "how often grants were given again is lost in part");
        }
        let ending = move || {
            self.core.ledger.shutdown();
            self.core.clock.close();
        };
        let ended = tokio::task::spawn_blocking(ending).await;
        if ended.is_err() {
            tracing::error!("shutting down ended badly");
        }
    }

    /// Whether writes are taken and the machine's clock is believed.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.takes_writes() && !self.clock_state().is_skewed()
    }

    /// Whether writes are taken.
    #[must_use]
    pub fn takes_writes(&self) -> bool {
        self.core.ledger.takes_writes() && self.core.vault.takes_writes()
    }

    /// Whether enough witnesses have cosigned in the time set for it; none if no witnesses are configured.
    #[must_use]
    pub fn is_witnessed(&self) -> Option<bool> {
        self.core.is_witnessed()
    }

    /// The first frame of a log: its key, its words, its bounds.
    async fn begin_log(self: &Arc<Self>) -> Result<(), AppError> {
        if self.core.store().head().size > 0 {
            return Ok(());
        }
        let public_key = self.core.ledger.verifier_key().key.to_bytes().to_vec();
        let origin = self.core.ledger.origin().to_owned();
        let (purposes, categories) = vocabulary::defaults();
        let mut events = vec![Event::LogOpened(LogOpened { origin, public_key })];
        events.extend(purposes.into_iter().map(Event::PurposeDefined));
        events.extend(categories.into_iter().map(Event::CategoryDefined));
        events.extend(bounds::defaults().into_iter().map(Event::BoundsPublished));
        self.core.publish_for_ledger(events).await.map(|_| ())
    }

    /// Further index records that a rebuilt index lacks: only who can open entries can give them back.
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
                        let found = index_of(&event.event).into_iter().map(|(mut key, value)| {
                            key.extend_from_slice(&position.to_be_bytes());
                            (key, value)
                        });
                        records.push((position, found.collect()));
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

/// What the log has to say for its witnesses to be those that are asked.
fn changed_witnesses(plain: &[Recorded], asked: &[String]) -> Vec<Event> {
    let mut named: Vec<&String> = Vec::new();
    for event in plain {
        match &event.event {
            Event::WitnessAdded(added) => named.push(&added.vkey),
            Event::WitnessRemoved(removed) => named.retain(|vkey| **vkey != removed.vkey),
            _ => {}
        }
    }
    let removed = named.iter().filter(|vkey| !asked.contains(vkey));
    let removed = removed.map(|vkey| Event::WitnessRemoved(WitnessRemoved { vkey: (*vkey).clone() }));
    let new = asked.iter().filter(|vkey| !named.contains(vkey));
    let new = new.map(|vkey| Event::WitnessAdded(WitnessAdded { vkey: vkey.clone() }));
    removed.chain(new).collect()
}

fn stream_cache_limits(settings: &Settings) -> StreamCacheLimits {
    StreamCacheLimits {
        count_max: settings.cached_subjects_max,
        bytes_max: settings.cached_subjects_bytes_max,
    }
}

/// What the log is signed with: every key that it says it had, and those of them that are held.
fn find_keys(settings: &Settings, plain: &[Recorded]) -> Result<Signing, OpenError> {
    let chain = key_chain(settings.log.as_ref(), &settings.ledger.origin, plain)?;
    let (keys, is_restored) = (&settings.log_keys, settings.ledger.is_restored);
    let in_force = chain.as_ref().map(|(chain, _)| &chain.newest().key);
    let held = keys.find(in_force, is_restored, settings.clock.as_ref())?;
    let mut signing = Signing::with(&settings.ledger.origin, held.key);
    if let Some((chain, until_ms)) = chain {
        let before = held.previous.filter(|key| {
            let previous = chain.at(chain.from_position().saturating_sub(1));
            chain.rotations() > 0 && previous.key == key.verifying()
        });
        signing.also = before.map(|key| (Arc::new(key), until_ms));
        signing.chain = chain;
    }
    Ok(signing)
}

/// The keys that a log says it had, and until when checkpoints carry the one before; nothing of a log that has not begun.
fn key_chain(
    store: &dyn LogStore,
    origin: &str,
    plain: &[Recorded],
) -> Result<Option<(KeyChain, u64)>, OpenError> {
    let mut found: Option<(KeyChain, u64)> = None;
    for event in plain {
        match (&event.event, &mut found) {
            (Event::LogOpened(opened), None) => {
                let key = <[u8; 32]>::try_from(opened.public_key.as_slice()).ok();
                let key = key.and_then(|key| VerifyingKey::from_bytes(&key).ok());
                let wrong = AppError::Internal(Cause::Inconsistent("the log opens without a key"));
                let key = key.ok_or(OpenError::Start("reading the log's keys", wrong))?;
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

/// Every event about nobody, and where the next one goes.
fn read_system_event(store: &dyn LogStore) -> Result<(Vec<Recorded>, SystemStream), AppError> {
    let mut events = Vec::new();
    let mut system_stream = SystemStream::default();
    loop {
        let places = store.read_subject(Handle::SYSTEM, system_stream.version, RESTORE_COUNT)?;
        for (version, position) in &places {
            let stored = store.read_entry(*position)?;
            system_stream.newest = Some(stored.leaf_hash);
            system_stream.version = version.saturating_add(1);
            let event = open_system_entry(stored)?;
            system_stream.last_sealed_at_ms = event.sealed_at_ms;
            events.push(event);
        }
        if places.is_empty() {
            return Ok((events, system_stream));
        }
    }
}
