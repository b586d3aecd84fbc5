//! Use of a profile: grants, artifacts, their revocation, and the explanation of each answer.

pub(crate) mod artifacts;
pub(crate) mod check_grant;
pub(crate) mod evaluate_use;
pub(crate) mod explain_grant;
pub(crate) mod explain_refusal;
pub(crate) mod grant_lookup;
pub(crate) mod invalidate;
pub(crate) mod notifier;
pub(crate) mod report_use;
pub(crate) mod request_grant;
pub(crate) mod reuse_grant;
pub(crate) mod watch_revocations;
