//! The use cases, a folder for each resource. They know the other rooms and not the wire: `api` and `web` convert at the edge.

pub(crate) mod caller;
mod consent;
mod erasure;
mod error;
mod grants;
pub(crate) mod log;
mod open;
mod operations;
mod profile;
mod reports;
mod rights;
mod rules;

pub use crate::audit::transparency::{
    Declared, Figure, FigureTable, Processing, Ratio, Report, Status as FigureStatus,
};
pub use caller::Caller;
pub use consent::get_consents::Consents;
pub use consent::record_consent::{Choice, ConsentChanged, NoticeServed};
pub use consent::record_signal::NewSignal;
pub use erasure::certificate::Certificate;
pub use error::{AppError, Cause};
pub use grants::artifacts::{ArtifactPage, ArtifactStanding, NewArtifact, Registered};
pub use grants::check_grant::Standing;
pub use grants::evaluate_use::{Allowed, Evaluation, UseCase};
pub use grants::explain_grant::{ExplainedAttribute, ExplainedConsent, ExplainedUse, Explanation};
pub use grants::report_use::Use;
pub use grants::request_grant::{Grant, GrantRequest, Issued};
pub use grants::watch_revocations::{Revocation, Watch};
pub use log::append::{EventReceipt, Receipt, WriteOptions};
pub use log::rulebook::{Rules, Version};
pub use log::system_events::Notice;
pub use open::{OpenError, RightsSettings, Settings, UseLimits};
pub use operations::fsck::{Examination, Examined, Fault, examine};
pub use operations::restore::{RestoreError, Restored, restore_log};
pub use operations::rotate_log_key::Rotated;
pub use profile::get_profile::Profile;
pub use profile::list_events::Page;
pub use profile::paging::ProfilePage;
pub use profile::record_attributes::{Change, NewAttributes, Recording};
pub use reports::export_audit::ExportChunk;
pub use reports::proofs::{Consistency, Inclusion, RawEntry};
pub use reports::transparency_report::{ReportFrame, ReportRequest, ReportSettings};
pub use rights::decide_request::Verdict;
pub use rights::export_subject::PackageChunk;
pub use rights::holds::NewHold;
pub use rights::list_requests::{RequestPage, Submitted};
pub use rights::submit_request::NewRequest;
pub use rules::personal_bounds::PersonalShown;
pub use rules::preview_bounds::{Line, LineOf, Preview, PreviewAsked, PreviewStep};
pub use rules::publish_bounds::{Published, ShownVersion, TierKeys};

/// Asked at every door; evaluated where Cedar is known.
pub use crate::bounds::{Permitted, RoleTable};

use crate::clock::{Clock, LedgerClock};
use crate::domain::attribute::InferenceTerms;
use crate::domain::ids::{Handle, SubjectId};
use crate::domain::recorder_usage::AttributeLimits;
use crate::ledger::{Ledger, LogKeys};
use crate::store::LogStore;
use crate::vault::Vault;
use grants::notifier::Notifier;
use log::rulebook::RulesHistory;
use log::stream::{StreamCache, SubjectStream};
use std::sync::{Arc, PoisonError, RwLock};

/// The daemon behind its doors: every use case is a method.
pub struct App {
    ledger: Ledger,
    vault: Arc<Vault>,
    clock: Arc<LedgerClock>,
    streams: StreamCache,
    known_grants: grants::grant_lookup::GrantLookup,
    /// Owned by `publish`: what decisions stand on, now and at every earlier moment.
    rules: RwLock<RulesHistory>,
    /// Shared by every write from its decision until it is durable; alone for what changes the rules: so no event stands
    /// behind rules that it did not see.
    rules_gate: Arc<tokio::sync::RwLock<()>>,
    tier_keys: TierKeys,
    contradictions: rules::revoke_contradicted::Contradictions,
    /// Held by the one write about nobody under way.
    system_stream: tokio::sync::Mutex<log::system_events::SystemStream>,
    notifier: Notifier,
    recent_views: profile::record_view::RecentViews,
    /// Previews under way.
    previews: Arc<tokio::sync::Semaphore>,
    unrecorded_reuse: grants::reuse_grant::UnrecordedReuse,
    /// Streams with revocations in effect that could not be recorded yet.
    pending_streams: log::pending_revocations::PendingStreams,
    /// Who is answerable, as people are told.
    controller: Arc<crate::package::Controller>,
    /// Requests that are to be answered, by when.
    due: log::open_requests::OpenRequests,
    rights: RightsSettings,
    use_limits: UseLimits,
    /// When inferences end that do not say so.
    inferences: InferenceTerms,
    /// How much may be held about one person.
    facts: AttributeLimits,
    /// Held by the one search for endings under way.
    sweep: tokio::sync::Mutex<rights::retention::RetentionCursor>,
    /// Shared by erasures under way, from their keys to their word; alone for an export taking its checkpoint.
    erasing: tokio::sync::RwLock<()>,
    /// Erasures whose keys are gone and whose bytes and word wait to be dealt with together.
    completing: erasure::complete_erasures::Completing,
    /// Held from looking at a period's privacy budget to spending it.
    reporting: tokio::sync::Mutex<()>,
    log_keys: LogKeys,
    /// Set once the daemon is being stopped: what would go on for ever ends.
    stopping: tokio::sync::watch::Sender<bool>,
    report_settings: ReportSettings,
}

/// As of when something is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Moment {
    /// Everything that is recorded.
    #[default]
    Now,
    /// What had been recorded by then, milliseconds since the Unix epoch.
    Time(u64),
    /// The subject's first events, so many.
    Version(u64),
}

impl App {
    /// The public part of the log, for whoever serves it.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    fn store(&self) -> &dyn LogStore {
        self.ledger.store().as_ref()
    }

    /// The ledger's time, milliseconds since the Unix epoch. Never goes back, restarts included.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// What decisions stand on now.
    fn rules(&self) -> Arc<Rules> {
        self.rules_at(self.now_ms())
    }

    /// What decisions of this moment, which is now or nearly, stand on.
    fn rules_at(&self, now_ms: u64) -> Arc<Rules> {
        let read = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(rules) = read.known(now_ms) {
            return rules;
        }
        drop(read);
        let mut write = self.rules.write().unwrap_or_else(PoisonError::into_inner);
        write.look_up(now_ms).unwrap_or_else(|error| {
            // Ruled out when they were published: each moment at which a version comes into force was tried then.
            tracing::error!(?error, "bounds that came into force do not compile");
            write.now()
        })
    }

    /// The lane of a person that something is held about: a handle without events is nobody.
    async fn stream(self: &Arc<Self>, subject: &SubjectId) -> Result<Option<Arc<SubjectStream>>, AppError> {
        let Some(keys) = self.vault.subject(subject)? else { return Ok(None) };
        let stream = self.stream_of(keys).await?;
        let is_held = stream.read().state.version > 0;
        Ok(is_held.then_some(stream))
    }

    /// The lane of whoever stands behind a handle.
    async fn stream_by_handle(
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

    async fn stream_of(
        self: &Arc<Self>,
        keys: Arc<crate::vault::SubjectKeys>,
    ) -> Result<Arc<SubjectStream>, AppError> {
        if let Some(stream) = self.streams.get(&keys.handle) {
            return Ok(stream);
        }
        let _turn = self.streams.load_permit().await?;
        if let Some(stream) = self.streams.get(&keys.handle) {
            return Ok(stream);
        }
        let app = Arc::clone(self);
        // Folding a long history takes a while: not on a thread that answers others.
        tokio::task::spawn_blocking(move || {
            let stream = SubjectStream::load(keys, &app)?;
            app.streams.put(stream, &app)
        })
        .await
        .map_err(|_| AppError::Internal(Cause::Task))?
    }
}
