//! The result of one check of a log, and the limits that the user sets for it.

use super::alert::Alert;
use sayso_proof::witness::Cosigned;
use serde::Serialize;

/// What the user allows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Largest age of the newest checkpoint, milliseconds: since a witness cosigned it or, without witnesses,
    /// since this monitor first saw its tree. `None` allows any age.
    pub age_max_ms: Option<u64>,
    /// Largest number of new entries between two checks. `None` allows any number.
    pub growth_max: Option<u64>,
    /// Largest number of new rules between two checks. `None` allows any number.
    pub rules_growth_max: Option<u64>,
    /// Largest number of new erasures between two checks. `None` allows any number.
    pub erasures_growth_max: Option<u64>,
}

/// The result of one check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// Name of the log.
    pub origin: String,
    /// When the check began, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Entries of the newest checkpoint that is known to continue the earlier ones.
    pub entries: u64,
    /// New entries since the last check; none at the first check.
    pub grown_by: Option<u64>,
    /// Rules that the newest kept counts state; none if the log serves no counts.
    pub rules: Option<u64>,
    /// New rules since the last check; none at the first check.
    pub rules_grown_by: Option<u64>,
    /// Completed erasures that the newest kept counts state; none if the log serves no counts.
    pub erasures: Option<u64>,
    /// New erasures since the last check; none at the first check.
    pub erasures_grown_by: Option<u64>,
    /// Age of the newest checkpoint, milliseconds. See [`Limits::age_max_ms`].
    pub age_ms: u64,
    /// The given witnesses that cosigned the checkpoint.
    pub witnesses: Vec<Cosigned>,
    /// The alerts.
    pub alerts: Vec<Alert>,
    /// Two signed checkpoints or counts that contradict each other: the kept one and the one shown.
    #[serde(skip)]
    pub evidence: Option<(String, String)>,
}
