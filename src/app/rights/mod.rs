//! Data subjects' requests; holds; retention; and packages for access and portability.

pub(crate) mod decide_request;
pub(crate) mod export_subject;
pub(crate) mod holds;
pub(crate) mod list_requests;
pub(crate) mod preview_erasure;
pub(crate) mod rectification;
pub(crate) mod retention;
pub(crate) mod retention_cursor;
pub(crate) mod submit_request;
pub(crate) mod withdraw_request;

use crate::app::consent::Consent;
use crate::app::erasure::Erasures;
use crate::app::log::core::Core;
use crate::app::rights::retention_cursor::RetentionCursor;
use crate::domain::request::Jurisdiction;
use crate::package::Controller;
use std::sync::Arc;

/// How requests of data subjects are handled.
#[derive(Clone, Copy, Debug)]
pub struct RightsSettings {
    /// The jurisdiction that sets due dates if neither the request nor the subject's description names one.
    pub jurisdiction: Jurisdiction,
    /// Whether an erasure that the subject requests with their own credential waits for a steward's decision.
    pub steward_decides_erasures: bool,
}

/// Use cases about requests of data subjects, holds and retention.
pub struct Rights {
    pub(crate) core: Arc<Core>,
    pub(crate) erasure: Arc<Erasures>,
    pub(crate) consent: Arc<Consent>,
    /// The controller, as packages state it.
    pub(crate) controller: Arc<Controller>,
    pub(crate) settings: RightsSettings,
    /// Locked while a retention pass is in progress.
    pub(crate) retention_cursor: tokio::sync::Mutex<RetentionCursor>,
}
