//! Settings for requests of data subjects, and for when inferences expire.

use super::error::{ConfigError, check};
use serde::Deserialize;
use std::collections::BTreeMap;

/// How requests of data subjects are handled.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rights {
    /// The rules that set the deadline of a request if neither the request nor the person's description names
    /// a jurisdiction: `gdpr` (one month) or `california` (45 days).
    pub jurisdiction: RequestRules,
    /// Whether an erasure that a person requests waits for a steward's decision. If it does not wait, the
    /// erasure is complete when the request is answered, unless a hold blocks it.
    pub steward_decides_erasures: bool,
    /// How often the ledger looks for what has expired, milliseconds. 10 to 3,600,000.
    pub expiry_interval_ms: u64,
    /// How long a recipient has to say what it did about an erasure, milliseconds. 1,000 to 31,536,000,000 (a
    /// year).
    pub recipient_answer_ms: u64,
    /// The time between two reminders of a recipient, milliseconds. 1,000 to 31,536,000,000.
    pub recipient_reminder_ms: u64,
}

/// Rules for the deadlines of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RequestRules {
    /// GDPR Art. 12(3).
    Gdpr,
    /// Cal. Civ. Code s. 1798.130(a)(2)(A).
    California,
}

impl Default for Rights {
    fn default() -> Self {
        Self {
            jurisdiction: RequestRules::Gdpr,
            steward_decides_erasures: false,
            expiry_interval_ms: 1_000,
            recipient_answer_ms: 14 * 86_400_000,
            recipient_reminder_ms: 4 * 86_400_000,
        }
    }
}

impl Rights {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let is_valid = (10..=3_600_000).contains(&self.expiry_interval_ms);
        check(is_valid, "rights.expiry_interval_ms", "10 to 3,600,000")?;
        let (year, allowed) = (31_536_000_000, "1,000 to 31,536,000,000");
        check((1_000..=year).contains(&self.recipient_answer_ms), "rights.recipient_answer_ms", allowed)?;
        check((1_000..=year).contains(&self.recipient_reminder_ms), "rights.recipient_reminder_ms", allowed)
    }
}

/// When an inference expires if it is recorded without an expiry. The event that records an inference
/// contains its expiry, so a change here does not affect earlier inferences. Bounds can end use sooner with
/// `context.age_days`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Inferences {
    /// Days from recording to expiry. 1 to 3,650.
    pub lasts_days: u32,
    /// The same for a category and the categories below it. For each inference, the nearest category that is
    /// set here applies. 1 to 3,650.
    pub lasts_days_by_category: BTreeMap<String, u32>,
}

impl Default for Inferences {
    fn default() -> Self {
        Self { lasts_days: 365, lasts_days_by_category: BTreeMap::new() }
    }
}

impl Inferences {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let is_valid = |days: &u32| (1..=3_650).contains(days);
        check(is_valid(&self.lasts_days), "inferences.lasts_days", "1 to 3,650")?;
        let by_category = self.lasts_days_by_category.values().all(is_valid);
        check(by_category, "inferences.lasts_days_by_category", "1 to 3,650 for each category")
    }
}
