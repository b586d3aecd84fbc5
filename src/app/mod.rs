//! The use cases, one folder for each resource. They use other top-level modules, but know nothing of gRPC
//! and HTTP: `api` and `web` convert requests and answers.

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
mod reserved;
mod rights;
mod rules;
mod statement_rules;

pub use caller::Caller;
pub use consent::Consent;
pub use consent::choice::{Choice, ConsentChanged, DecidedBy, NoticeServed, Presentation};
pub use consent::list_consents::{Consents, ListedConsent};
pub use consent::list_outdated::{OutdatedConsent, OutdatedPage, OutdatedQuery};
pub use consent::remaining_uses::RemainingUse;
pub use consent::signal::NewSignal;
pub use erasure::certificate::Certificate;
pub use erasure::remind_recipients::{OutstandingPage, OutstandingRecipient};
pub use erasure::report_erasure::{ErasureReport, NewEvidence};
pub use erasure::{ErasureSettings, Erasures};
pub use error::{AppError, Cause};
pub use grants::Grants;
pub use grants::artifacts::{ArtifactPage, ArtifactStanding, NewArtifact, Registered};
pub use grants::check_ids::{CheckedId, CheckedIds, IdState};
pub use grants::erased_uses::{ErasedRecipient, ErasedUses};
pub use grants::evaluate_use::{Allowed, Evaluation, UseCase};
pub use grants::explain_consents::ExplainedConsent;
pub use grants::explain_grant::{ExplainedAttribute, ExplainedUse, Explanation};
pub use grants::grant::{Grant, GrantRequest, Issued};
pub use grants::list_uses::{ListedUse, UseKind, UsePage, UseQuery, UseRule, UsedGrant};
pub use grants::relevance::Relevance;
pub use grants::report_use::Use;
pub use grants::standing::{CheckedGrant, Standing};
pub use grants::watch_revocations::Watch;
pub use log::core::UseLimits;
pub use log::moment::Moment;
pub use log::outstanding::Deadlines;
pub use log::prior_recipients::PriorRecipient;
pub use log::receipt::{EventReceipt, Receipt, WriteOptions};
pub use log::revocation::Revocation;
pub use log::system_stream::Notice;
pub use open::{OpenError, Settings};
pub use operations::Operations;
pub use operations::fsck::{Examination, Examined, Fault, examine};
pub use operations::restore::{RestoreError, Restored, restore_log};
pub use operations::rotate_log_key::Rotated;
pub use profile::Profiles;
pub use profile::change::Change;
pub use profile::get_profile::Profile;
pub use profile::list_events::Page;
pub use profile::paging::{ProfilePage, Room};
pub use profile::record_attributes::{NewAttributes, Recording};
pub use profile::similar_keys::SimilarKey;
pub use reports::Reports;
pub use reports::export_audit::ExportChunk;
pub use reports::proofs::{Consistency, Inclusion, RawEntry};
pub use reports::report_settings::ReportSettings;
pub use reports::transparency_report::{ReportBudget, ReportFrame, ReportRequest};
pub use reserved::Reserved;
pub use rights::Rights;
pub use rights::RightsSettings;
pub use rights::decide_request::Verdict;
pub use rights::export_subject::export::PackageChunk;
pub use rights::holds::{HoldToLift, NewHold, PlacedHold};
pub use rights::list_requests::{RequestPage, SubmittedRequest};
pub use rights::preview_erasure::ErasurePreview;
pub use rights::rectification::{ChangeKind, RequestChange};
pub use rights::submit_request::NewRequest;
pub use rules::RuleChanges;
pub use rules::define_vocabulary::Definition;
pub use rules::personal_bounds::{PersonalBoundsChanged, ShownPersonalBounds};
pub use rules::preview::{Preview, PreviewCount, PreviewLine, PreviewLineKey};
pub use rules::preview_bounds::{PreviewRequest, PreviewStep};
pub use rules::publish_bounds::{Published, ShownVersion};
pub use rules::rule_signatures::NextVersion;
pub use rules::tier_keys::TierKeys;

use crate::clock::{ClockReading, ClockState};
use crate::domain::event::Reason;
use crate::domain::ids::SubjectId;
use crate::ledger::Ledger;
use log::core::Core;
use std::sync::Arc;

/// Every use case, grouped by resource.
pub struct App {
    core: Arc<Core>,
    /// Attributes and descriptions of data subjects.
    pub profile: Arc<Profiles>,
    /// Consents and signals.
    pub consent: Arc<Consent>,
    /// Grants, artifacts and revocations.
    pub grants: Arc<Grants>,
    /// Data subject requests, holds and retention.
    pub rights: Arc<Rights>,
    /// Erasure of a data subject or a part of the profile.
    pub erasure: Arc<Erasures>,
    /// Vocabulary, notices and bounds.
    pub rules: Arc<RuleChanges>,
    /// Audit exports, proofs and reports.
    pub reports: Arc<Reports>,
    /// Backup, restore, key rotation and other tasks of operators.
    pub operations: Arc<Operations>,
}

impl App {
    /// The public part of the log.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.core.ledger
    }

    /// The log's counts of rules and erasures, as a signed note.
    #[must_use]
    pub fn counts(&self) -> String {
        self.core.projections.counts.signed(&self.core.ledger)
    }

    /// The ledger's time, milliseconds since the Unix epoch. Never goes back, not even after a restart.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.core.now_ms()
    }

    /// The ledger's time, the machine's clock, and whether that clock is trusted.
    #[must_use]
    pub fn clock_reading(&self) -> ClockReading {
        self.core.clock_reading()
    }

    /// Whether the machine's clock is trusted.
    #[must_use]
    pub fn clock_state(&self) -> ClockState {
        self.core.clock_state()
    }

    /// Saves the ledger's time for the next start. Call it every second or so; it blocks on a file.
    pub fn keep_time(&self) {
        self.core.keep_time();
    }

    /// Removes erased data subjects from the subject map in memory, if a commitment was in progress when they
    /// were erased. Call it periodically.
    pub fn forget_erased(&self) {
        self.core.projections.subject_map.forget_erased();
    }

    /// Number of entries that follow the newest commitment to the subject map.
    #[must_use]
    pub fn entries_after_subject_map(&self) -> u64 {
        self.core.ledger.checkpoint().size.saturating_sub(self.core.projections.subject_map.covered())
    }

    /// Commits to the subject map, unless it is the same as in the newest commitment.
    ///
    /// # Errors
    /// The store failed. The next call tries again.
    pub async fn commit_subject_map(&self) -> Result<(), AppError> {
        self.core.prepare_subject_map().await?;
        let no_erasures = self.core.keep_erasures_out().await;
        self.core.commit_subject_map(no_erasures).await.map(drop)
    }

    /// Why all use is denied at the moment, regardless of consents; `None` if use is not suspended.
    #[must_use]
    pub fn suspension_reason(&self) -> Option<Reason> {
        self.core.suspension_reason()
    }

    /// Whether use is denied until a restore is confirmed.
    #[must_use]
    pub fn is_restore_unconfirmed(&self) -> bool {
        self.core.is_restore_unconfirmed()
    }

    /// Records that a caller is about to see what is recorded about a subject, and returns once the event of
    /// the view is durable.
    ///
    /// # Errors
    /// The view could not be recorded. Then nothing may be shown.
    pub async fn record_view(
        &self,
        caller: &Caller,
        subject: &SubjectId,
        method: &'static str,
    ) -> Result<(), AppError> {
        self.core.record_view(caller, subject, method).await
    }

    /// Waits until the stream cache needs to evict a stream and can't, because the stream has a count of
    /// reuse that is not recorded yet.
    pub async fn eviction_blocked(&self) {
        self.core.eviction_blocked().await;
    }

    /// Records how often grants were reused, so that streams kept only for these counts can be evicted.
    ///
    /// # Errors
    /// The store failed. The counts are kept, and the next call tries again.
    pub async fn make_room(&self) -> Result<(), AppError> {
        self.core.make_room().await
    }
}
