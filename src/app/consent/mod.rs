//! Consents and signals of data subjects, and the receipts of consent decisions.

pub(crate) mod choice;
pub(crate) mod consent_receipt;
pub(crate) mod list_consents;
pub(crate) mod list_outdated;
pub(crate) mod opt_out_effect;
pub(crate) mod record_consent;
pub(crate) mod record_signal;
pub(crate) mod remaining_uses;
pub(crate) mod signal;
mod unmatched;

use crate::app::log::core::Core;
use crate::package::Controller;
use std::sync::Arc;

/// Use cases about consents and signals.
pub struct Consent {
    pub(crate) core: Arc<Core>,
    /// The controller, as receipts state it.
    pub(crate) controller: Arc<Controller>,
}
