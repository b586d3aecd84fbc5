//! What a data subject decides: consents, signals, and the receipts for them.

pub(crate) mod consent_receipt;
pub(crate) mod get_consents;
pub(crate) mod record_consent;
pub(crate) mod record_signal;

use crate::app::log::core::Core;
use crate::package::Controller;
use std::sync::Arc;

/// Use cases about what a data subject decides.
pub struct Consent {
    pub(crate) core: Arc<Core>,
    /// Who is responsible, as receipts state it.
    pub(crate) controller: Arc<Controller>,
}
