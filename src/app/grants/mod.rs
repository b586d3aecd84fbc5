//! Use of a profile: grants, artifacts, their revocation, and explanations of what was allowed and withheld.

pub(crate) mod artifacts;
pub(crate) mod check_grant;
pub(crate) mod check_ids;
pub(crate) mod erased_grant;
pub(crate) mod erased_uses;
pub(crate) mod evaluate_use;
pub(crate) mod explain_consents;
pub(crate) mod explain_grant;
pub(crate) mod grant;
pub(crate) mod grant_lookup;
pub(crate) mod late_sources;
pub(crate) mod list_uses;
pub(crate) mod relevance;
pub(crate) mod report_use;
pub(crate) mod request_grant;
pub(crate) mod reuse_grant;
pub(crate) mod standing;
pub(crate) mod watch_revocations;

use crate::app::grants::grant_lookup::GrantLookup;
use crate::app::log::core::Core;
use std::sync::Arc;

/// Use cases about the use of profiles.
pub struct Grants {
    pub(crate) core: Arc<Core>,
    /// Finds recently used grants.
    pub(crate) lookup: GrantLookup,
}
