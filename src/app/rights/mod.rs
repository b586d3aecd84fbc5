//! Requests of data subjects, holds, retention, and the package that a data subject takes away.

pub(crate) mod decide_request;
pub(crate) mod export_subject;
pub(crate) mod holds;
pub(crate) mod list_requests;
pub(crate) mod retention;
pub(crate) mod submit_request;

use crate::app::consent::Consent;
use crate::app::erasure::Erasures;
use crate::app::log::core::Core;
use crate::app::rights::retention::RetentionCursor;
use crate::domain::request::Jurisdiction;
use crate::package::Controller;
use std::sync::Arc;

/// How requests of people are dealt with.
#[derive(Clone, Copy, Debug)]
pub struct RightsSettings {
    /// Whose rules say by when a request is to be answered, where the request does not.
    pub jurisdiction: Jurisdiction,
    /// A person's own erasure waits for a steward's decision.
    pub steward_decides_erasures: bool,
}

/// Use cases about requests of data subjects, holds and retention.
pub struct Rights {
    pub(crate) core: Arc<Core>,
    pub(crate) erasure: Arc<Erasures>,
    pub(crate) consent: Arc<Consent>,
    /// Who is responsible, as packages state it.
    pub(crate) controller: Arc<Controller>,
    pub(crate) settings: RightsSettings,
    /// Held by the one search for what has ended.
    pub(crate) retention_cursor: tokio::sync::Mutex<RetentionCursor>,
}
