//! What transparency reports are allowed to show.

use crate::audit::transparency::Declared;

/// What reports are allowed to show.
#[derive(Clone, Debug)]
pub struct ReportSettings {
    /// The smallest `k` that a request may name. Groups with fewer than `k` subjects are not shown.
    pub k_min: u32,
    /// The privacy budget (epsilon) that reports of overlapping periods may spend together.
    pub epsilon_max: f64,
    /// Whether every report must have noise.
    pub noise_required: bool,
    /// Whether reports without noise are allowed even if the difference between two of them could show single
    /// people.
    pub differences_allowed: bool,
    /// The limit on releases of one subject's data per day that the controller declared, if any.
    pub releases_a_day: Option<u64>,
    /// What the controller declares for the record of processing.
    pub processing: Declared,
}
