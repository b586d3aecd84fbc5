//! Audit exports, proofs, transparency reports, and the record of processing activities.

pub(crate) mod export_audit;
pub(crate) mod proofs;
pub(crate) mod prove_subject;
pub(crate) mod record_of_processing;
pub(crate) mod report_settings;
pub(crate) mod transparency_report;

use crate::app::log::core::Core;
use crate::app::reports::report_settings::ReportSettings;
use std::sync::Arc;

/// Use cases of auditors, and reports for the public.
pub struct Reports {
    pub(crate) core: Arc<Core>,
    /// Locked from reading a period's privacy budget until it is spent.
    pub(crate) spending: tokio::sync::Mutex<()>,
    pub(crate) settings: ReportSettings,
}
