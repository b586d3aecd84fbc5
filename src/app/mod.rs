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
mod statement_rules;

pub use caller::Caller;
pub use consent::Consent;
pub use consent::choice::{Choice, ConsentChanged, DecidedBy, NoticeServed, Presentation};
pub use consent::get_consents::Consents;
pub use consent::signal::NewSignal;
pub use erasure::Erasures;
pub use erasure::certificate::Certificate;
pub use error::{AppError, Cause};
pub use grants::Grants;
pub use grants::artifacts::{ArtifactPage, ArtifactStanding, NewArtifact, Registered};
pub use grants::check_grant::Standing;
pub use grants::evaluate_use::{Allowed, Evaluation, UseCase};
pub use grants::explain_grant::{ExplainedAttribute, ExplainedConsent, ExplainedUse, Explanation};
pub use grants::grant::{Grant, GrantRequest, Issued};
pub use grants::report_use::Use;
pub use grants::watch_revocations::Watch;
pub use log::core::UseLimits;
pub use log::moment::Moment;
pub use log::receipt::{EventReceipt, Receipt, WriteOptions};
pub use log::revocation::Revocation;
pub use log::system_stream::Notice;
pub use open::{OpenError, Settings};
pub use operations::Operations;
pub use operations::fsck::{Examination, Examined, Fault, examine};
pub use operations::restore::{RestoreError, Restored, restore_log};
pub use operations::rotate_log_key::Rotated;
pub use profile::Profiles;
pub use profile::get_profile::Profile;
pub use profile::list_events::Page;
pub use profile::paging::ProfilePage;
pub use profile::record_attributes::{Change, NewAttributes, Recording};
pub use reports::Reports;
pub use reports::export_audit::ExportChunk;
pub use reports::proofs::{Consistency, Inclusion, RawEntry};
pub use reports::report_settings::ReportSettings;
pub use reports::transparency_report::{ReportFrame, ReportRequest};
pub use rights::Rights;
pub use rights::RightsSettings;
pub use rights::decide_request::Verdict;
pub use rights::export_subject::export::PackageChunk;
pub use rights::holds::{HoldToLift, NewHold, PlacedHold};
pub use rights::list_requests::{RequestPage, SubmittedRequest};
pub use rights::submit_request::NewRequest;
pub use rules::RuleChanges;
pub use rules::personal_bounds::{PersonalBoundsChanged, ShownPersonalBounds};
pub use rules::preview_bounds::{
    Preview, PreviewCount, PreviewLine, PreviewLineKey, PreviewRequest, PreviewStep,
};
pub use rules::publish_bounds::{Published, ShownVersion};
pub use rules::tier_keys::TierKeys;

use crate::clock::{ClockReading, ClockState};
use crate::domain::event::Reason;
use crate::domain::ids::SubjectId;
use crate::ledger::Ledger;
use log::core::Core;
use std::sync::Arc;

/// Every use case, by resource.
pub struct App {
    core: Arc<Core>,
    /// What is recorded of data subjects.
    pub profile: Arc<Profiles>,
    /// What data subjects decide.
    pub consent: Arc<Consent>,
    /// Use of profiles.
    pub grants: Arc<Grants>,
    /// Requests, holds and retention.
    pub rights: Arc<Rights>,
    /// Erasure.
    pub erasure: Arc<Erasures>,
    /// Vocabulary and bounds.
    pub rules: Arc<RuleChanges>,
    /// What auditors and the public are given.
    pub reports: Arc<Reports>,
    /// What operators do.
    pub operations: Arc<Operations>,
}

impl App {
    /// The public part of the log.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.core.ledger
    }

    /// The ledger's time, milliseconds since the Unix epoch. Never goes back, restarts included.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.core.now_ms()
    }

    /// The ledger's time, the machine's clock, and whether it is trusted.
    #[must_use]
    pub fn clock_reading(&self) -> ClockReading {
        self.core.clock_reading()
    }

    /// Whether the machine's clock is trusted.
    #[must_use]
    pub fn clock_state(&self) -> ClockState {
        self.core.clock_state()
    }

    /// Keeps the ledger's time for the next start. Call it every second or so; blocks on a file.
    pub fn keep_time(&self) {
        self.core.keep_time();
    }

    /// Why all use is denied now, whatever people allow; none if it is not.
    #[must_use]
    pub fn suspension_reason(&self) -> Option<Reason> {
        self.core.suspension_reason()
    }

    /// Whether use waits for a restore to be confirmed.
    #[must_use]
    pub fn is_restore_unconfirmed(&self) -> bool {
        self.core.is_restore_unconfirmed()
    }

    /// Records that a caller is about to see what is recorded about a subject, and returns once that is durable.
    ///
    /// # Errors
    /// It can't be recorded; then nothing may be shown.
    pub async fn record_view(
        &self,
        caller: &Caller,
        subject: &SubjectId,
        method: &'static str,
    ) -> Result<(), AppError> {
        self.core.record_view(caller, subject, method).await
    }

    /// Waits until subjects that are kept in memory only to be counted take the room of others.
    pub async fn eviction_blocked(&self) {
        self.core.eviction_blocked().await;
    }

    /// Records the counts of reused grants, so that streams kept only for them can be evicted.
    ///
    /// # Errors
    /// The store; the counts stay and are tried again.
    pub async fn make_room(&self) -> Result<(), AppError> {
        self.core.make_room().await
    }
}
