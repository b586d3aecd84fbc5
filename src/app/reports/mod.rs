//! What auditors and the public are given: exports, proofs, transparency reports, the record of processing.

pub(crate) mod export_audit;
pub(crate) mod proofs;
pub(crate) mod record_of_processing;
pub(crate) mod transparency_report;

use crate::app::log::core::Core;
use crate::app::reports::transparency_report::ReportSettings;
use std::sync::Arc;

/// Use cases about what auditors and the public are given.
pub struct Reports {
    pub(crate) core: Arc<Core>,
    /// Held from a look at a period's privacy budget until it is spent.
    pub(crate) spending: tokio::sync::Mutex<()>,
    pub(crate) settings: ReportSettings,
}
