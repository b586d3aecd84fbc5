//! Requests of people, and when inferences end.

use super::ConfigError;
use serde::Deserialize;
use std::collections::BTreeMap;

/// How requests of people are dealt with.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rights {
    /// Whose rules say by when a request is to be answered, where the request does not: `gdpr` (one month) or
    /// `california` (45 days).
    pub jurisdiction: RequestRules,
    /// A person's own erasure waits for a steward's decision. Off: it is carried out before the answer, unless a hold
    /// stands.
    pub steward_decides_erasures: bool,
    /// How often the ledger looks for what has come to its end, milliseconds. 10 to 3,600,000.
    pub expiry_interval_ms: u64,
}

/// Rules for answering requests.
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
        Self { jurisdiction: RequestRules::Gdpr, steward_decides_erasures: false, expiry_interval_ms: 1_000 }
    }
}

impl Rights {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let (key, bound) = ("rights.expiry_interval_ms", "10 to 3,600,000");
        let within = (10..=3_600_000).contains(&self.expiry_interval_ms);
        if within { Ok(()) } else { Err(ConfigError::OutOfBounds { key, bound }) }
    }
}

/// When inferences end that do not say so themselves. The end stands in the event that recorded each; changing this
/// changes nothing that is recorded. Bounds can end them sooner: `context.age_days`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Inferences {
    /// Days after they were recorded. 1 to 3,650.
    pub lasts_days: u32,
    /// The same for a category and those below it; the nearest counts. 1 to 3,650.
    pub lasts_days_by_category: BTreeMap<String, u32>,
}

impl Default for Inferences {
    fn default() -> Self {
        Self { lasts_days: 365, lasts_days_by_category: BTreeMap::new() }
    }
}

impl Inferences {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let bound = |holds: bool, key, bound| {
            if holds { Ok(()) } else { Err(ConfigError::OutOfBounds { key, bound }) }
        };
        let lasting = |days: &u32| (1..=3_650).contains(days);
        bound(lasting(&self.lasts_days), "inferences.lasts_days", "1 to 3,650")?;
        let by_category = self.lasts_days_by_category.values().all(lasting);
        bound(by_category, "inferences.lasts_days_by_category", "1 to 3,650 each")
    }
}
