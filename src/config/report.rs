//! Settings for transparency reports and for the record of processing activities.

use super::error::{ConfigError, check};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Limits on transparency reports.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReportConfig {
    /// The smallest group of people that a report may be asked to show. 2 to 1,000,000.
    pub k_min: u32,
    /// The privacy budget (epsilon of differential privacy) that all reports with noise on overlapping
    /// periods may spend together. Above 0, at most 100.
    pub epsilon_max: f64,
    /// Whether reports without noise are refused.
    pub noise_required: bool,
    /// Whether reports without noise are allowed even if the difference between two of them could reveal
    /// single people. These are reports on a period that has not ended, or on a period that overlaps with the
    /// period of an earlier report but is not the same.
    pub differences_allowed: bool,
    /// The limit that the controller declares on releases of one person's data a day: 1, 3, 7, 15, 31 or 63.
    /// Reports then say how often it was exceeded.
    pub releases_a_day_declared: Option<u64>,
}

impl Default for ReportConfig {
    fn default() -> Self {
        Self {
            k_min: 5,
            epsilon_max: 4.0,
            noise_required: false,
            differences_allowed: false,
            releases_a_day_declared: None,
        }
    }
}

impl ReportConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        check((2..=1_000_000).contains(&self.k_min), "report.k_min", "2 to 1,000,000")?;
        let is_budget = self.epsilon_max > 0.0 && self.epsilon_max <= 100.0;
        check(is_budget, "report.epsilon_max", "above 0 and at most 100")?;
        let declared = self.releases_a_day_declared;
        let is_limit = declared.is_none_or(|limit| [1, 3, 7, 15, 31, 63].contains(&limit));
        check(is_limit, "report.releases_a_day_declared", "1, 3, 7, 15, 31 or 63")
    }
}

/// What the record of processing activities (GDPR Art. 30(1)) says beyond what the ledger records.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProcessingConfig {
    /// (a) Name of the controller.
    pub controller: String,
    /// (a) How to reach it.
    pub contact: String,
    /// (a) Its representative (Art. 27).
    pub representative: String,
    /// (a) Its data protection officer (Art. 37).
    pub data_protection_officer: String,
    /// (b) Purposes: the id of each in the vocabulary, and what the controller uses data for.
    pub purposes: BTreeMap<String, String>,
    /// (c) Categories of data subjects.
    pub data_subjects: Vec<String>,
    /// (d) Recipients: the name of each, and who it is.
    pub recipients: BTreeMap<String, String>,
    /// (e) Transfers to third countries with their safeguards, or a statement that there are none.
    pub transfers: Vec<String>,
    /// (f) Retention: kinds of data, and how long each is kept.
    pub retention: BTreeMap<String, String>,
    /// (g) Security measures beyond the ledger's own.
    pub security_measures: Vec<String>,
}
