//! Converts the configuration to the settings of the application, and opens the application.

use crate::app::{
    App, Deadlines, ErasureSettings, ReportSettings, RightsSettings, Settings, TierKeys, UseLimits,
};
use crate::audit::transparency::Declared;
use crate::clock::{ClockLimits, LedgerClock, SharedClock};
use crate::config::{Config, Limits, RequestRules, recipient_keys};
use crate::daemon::cosigning;
use crate::daemon::data_dir::Layout;
use crate::daemon::error::DaemonError;
use crate::domain::DAY_MS;
use crate::domain::attribute::InferenceTerms;
use crate::domain::recorder_usage::{AttributeLimits, Load};
use crate::domain::request::Jurisdiction;
use crate::ledger::{Ledger, LedgerOptions, LogKeys};
use crate::package::Controller;
use crate::relevance::rank::RankingSettings;
use crate::store::StoreError;
use crate::store::embedded::{EmbeddedKeys, EmbeddedLog, Options};
use crate::vault::{FileCustody, RootCustody, TokenCustody, VaultError};
use std::sync::Arc;

/// Revocations recorded in one frame (a group of events that is written as a whole). Together with a decision
/// they fit into the smallest allowed `limits.batch_events_max`.
const REVOCATIONS_AT_ONCE_MAX: usize = 256;

/// Opens the application. If a restore is not recorded in the log yet, this records it, and deletes the file
/// that describes it.
///
/// # Errors
/// Keys or stores can't be opened.
pub(crate) async fn open_app(config: &Config, clock: Arc<LedgerClock>) -> Result<Arc<App>, DaemonError> {
    let app = App::open(settings(config, clock)?).await?;
    Layout::new(&config.data).forget_restored()?;
    Ok(app)
}

/// The time of a controller's ledger, based on the machine's clock.
///
/// # Errors
/// The file that keeps the time can't be opened.
pub(crate) fn ledger_clock(config: &Config, clock: &SharedClock) -> Result<Arc<LedgerClock>, DaemonError> {
    let limits = ClockLimits {
        behind_ms_max: config.limits.clock_skew_ms_max,
        ahead_ms_max: config.limits.clock_ahead_ms_max,
    };
    let file = Layout::new(&config.data).clock();
    let opened = LedgerClock::open(Arc::clone(clock), limits, &file);
    opened.map(Arc::new).map_err(|error| DaemonError::File(file, error))
}

/// The custody of the root key: a file, or a PKCS #11 token.
///
/// # Errors
/// The file or the token can't be opened.
pub(crate) fn custody(config: &Config) -> Result<Arc<dyn RootCustody>, DaemonError> {
    Ok(match &config.pkcs11 {
        Some(at) => {
            let token = TokenCustody::open(&at.module, &at.token, &at.pin_file);
            Arc::new(token.map_err(VaultError::from)?)
        }
        None => {
            let file = Layout::new(&config.data).root_key();
            Arc::new(FileCustody::open(&file).map_err(VaultError::from)?)
        }
    })
}

/// The custody of the root key, opened for inspection only, and the numbers of the damaged slots in its file.
///
/// # Errors
/// The file can't be read, or the token can't be opened.
pub(crate) fn inspect_custody(config: &Config) -> Result<(Arc<dyn RootCustody>, Vec<usize>), DaemonError> {
    if config.pkcs11.is_some() {
        return Ok((custody(config)?, Vec::new()));
    }
    let file = Layout::new(&config.data).root_key();
    let custody = FileCustody::inspect(&file).map_err(VaultError::from)?;
    let damage = custody.damage().map_err(VaultError::from)?;
    Ok((Arc::new(custody), damage))
}

fn settings(config: &Config, clock: Arc<LedgerClock>) -> Result<Settings, DaemonError> {
    let layout = Layout::new(&config.data);
    let secrets = layout.secrets();
    let limits = &config.limits;
    let restored = layout.read_restored()?;
    // Every entry below a published checkpoint was durable. So if the log is shorter than the kept
    // checkpoint, durable entries were lost. An interrupted write can't be the cause, so recovery must not
    // truncate the log.
    let kept = Ledger::inspect_kept_checkpoint(&layout.checkpoint())?;
    let entries_min = if restored.is_some() { 0 } else { kept.size() };
    let options = Options { index_cache_bytes: limits.index_cache_bytes, entries_min, ..Options::default() };
    let witnesses = cosigning::configured_witnesses(config)?;
    let witnesses = witnesses.iter().flat_map(|one| &one.keys).map(ToString::to_string).collect();
    let (log, keys) = open_both(&layout, options)?;
    let recovery = log.recovery();
    if let Some(position) = recovery.rebuilt_from {
        tracing::info!(position, clean = recovery.clean, "indexes were rebuilt from the segments");
    }
    Ok(Settings {
        ledger: LedgerOptions {
            origin: config.origin(),
            queue_max: limits.queue_requests_max,
            batch_events_max: limits.batch_events_max,
            clock_skew_ms_max: limits.clock_skew_ms_max,
            sealed_age_ms_max: limits.sealed_age_ms_max,
            checkpoint_file: Some(layout.checkpoint()),
            is_restored: restored.is_some(),
            manual: None,
        },
        log_keys: LogKeys::Folder(secrets),
        custody: custody(config)?,
        log: Arc::new(log),
        keys: Arc::new(keys),
        tier_keys: TierKeys { authority: config.bounds.authority()?, steward: config.bounds.steward()? },
        clock,
        cached_subjects_max: limits.cached_subjects_max,
        cached_subjects_bytes_max: limits.cached_subjects_bytes_max,
        controller: controller(config),
        rights: RightsSettings {
            jurisdiction: match config.rights.jurisdiction {
                RequestRules::Gdpr => Jurisdiction::Gdpr,
                RequestRules::California => Jurisdiction::California,
            },
            steward_decides_erasures: config.rights.steward_decides_erasures,
        },
        erasures: ErasureSettings {
            deadlines: Deadlines {
                answer_ms: config.rights.recipient_answer_ms,
                remind_ms: config.rights.recipient_reminder_ms,
            },
            recipient_keys: recipient_keys(&config.recipients)?,
        },
        restored,
        use_limits: UseLimits {
            open_grants_max: limits.open_grants_max,
            artifacts_max: limits.artifacts_max,
            revocations_at_once_max: REVOCATIONS_AT_ONCE_MAX,
        },
        ranking: RankingSettings {
            language: config.relevance.language,
            embedding_weight: config.relevance.embedding_weight,
        },
        inferences: inference_terms(config),
        attribute_limits: attribute_limits(limits),
        witnesses,
        report: report_settings(config),
    })
}

/// Opens both stores at the same time, because each is read completely and neither needs the other.
fn open_both(layout: &Layout, options: Options) -> Result<(EmbeddedLog, EmbeddedKeys), StoreError> {
    std::thread::scope(|scope| {
        let keys = scope.spawn(|| EmbeddedKeys::open(&layout.keys()));
        let log = EmbeddedLog::open(&layout.log(), options);
        let keys = keys.join().unwrap_or(Err(StoreError::Stopped));
        Ok((log?, keys?))
    })
}

fn attribute_limits(limits: &Limits) -> AttributeLimits {
    AttributeLimits {
        service: Load {
            count: limits.attributes_per_service_max,
            bytes: limits.attributes_per_service_bytes_max,
            embedding_bytes: limits.embeddings_per_service_bytes_max,
        },
        subject: Load {
            count: limits.attributes_per_person_max,
            bytes: limits.attributes_per_person_bytes_max,
            embedding_bytes: limits.embeddings_per_person_bytes_max,
        },
    }
}

fn inference_terms(config: &Config) -> InferenceTerms {
    let in_ms = |days: u32| u64::from(days).saturating_mul(DAY_MS);
    let by_category = config.inferences.lasts_days_by_category.iter();
    InferenceTerms {
        lasts_ms: in_ms(config.inferences.lasts_days),
        lasts_ms_by_category: by_category.map(|(category, days)| (category.clone(), in_ms(*days))).collect(),
    }
}

fn report_settings(config: &Config) -> ReportSettings {
    let (report, processing) = (&config.report, config.processing.clone());
    ReportSettings {
        k_min: report.k_min,
        epsilon_max: report.epsilon_max,
        noise_required: report.noise_required,
        differences_allowed: report.differences_allowed,
        releases_a_day: report.releases_a_day_declared,
        processing: Declared {
            controller: processing.controller,
            contact: processing.contact,
            representative: processing.representative,
            data_protection_officer: processing.data_protection_officer,
            purposes: processing.purposes,
            data_subjects: processing.data_subjects,
            recipients: processing.recipients,
            transfers: processing.transfers,
            retention: processing.retention,
            security_measures: processing.security_measures,
        },
    }
}

/// The controller, as receipts and packages state it.
fn controller(config: &Config) -> Controller {
    let of = config.organization.clone();
    Controller {
        id: config.controller.clone(),
        name: of.name,
        contact: of.contact,
        address: of.address,
        url: of.url,
        rights_url: of.rights_url,
        jurisdiction: of.jurisdiction,
        storage_locations: of.storage_locations,
    }
}
