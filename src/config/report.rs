//! Transparency reports, and the record of processing activities.

use super::ConfigError;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Transparency reports: what they may say.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReportConfig {
    /// The smallest group that a report may be asked to show, people. 2 to 1,000,000.
    pub k_min: u32,
    /// What all reports with noise may spend on periods that overlap, epsilon of differential privacy. Above 0, at
    /// most 100.
    pub epsilon_max: f64,
    /// Refuse reports without noise.
    pub noise_required: bool,
    /// Also make reports without noise that could be subtracted from one another: over periods that have not ended, and
    /// over periods that overlap with that of an earlier one and are not the same.
    pub differences_allowed: bool,
    /// The limit that the controller declares for releases of one person's data a day: 1, 3, 7, 15, 31 or 63. The
    /// report then says how often it was passed.
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
        let bound = |holds: bool, key, bound| {
            if holds { Ok(()) } else { Err(ConfigError::OutOfBounds { key, bound }) }
        };
        bound((2..=1_000_000).contains(&self.k_min), "report.k_min", "2 to 1,000,000")?;
        let is_budget = self.epsilon_max > 0.0 && self.epsilon_max <= 100.0;
        bound(is_budget, "report.epsilon_max", "above 0 and at most 100")?;
        let declared = self.releases_a_day_declared;
        let is_limit = declared.is_none_or(|limit| [1, 3, 7, 15, 31, 63].contains(&limit));
        bound(is_limit, "report.releases_a_day_declared", "1, 3, 7, 15, 31 or 63")
    }
}

/// What a ledger can't know of the processing that it records (GDPR Art. 30(1)).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProcessingConfig {
    /// (a) Name of the controller.
    pub controller: String,
    /// (a) How it is reached.
    pub contact: String,
    /// (a) Its representative (Art. 27).
    pub representative: String,
    /// (a) Its data protection officer (Art. 37).
    pub data_protection_officer: String,
    /// (c) Categories of data subjects.
    pub data_subjects: Vec<String>,
    /// (d) Recipients: name and who that is.
    pub recipients: BTreeMap<String, String>,
    /// (e) Transfers to third countries with their safeguards, or that there are none.
    pub transfers: Vec<String>,
    /// (f) What, and how long it is kept.
    pub retention: BTreeMap<String, String>,
    /// (g) Security measures beside the ledger's own.
    pub security_measures: Vec<String>,
}
