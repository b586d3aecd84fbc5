//! What a data subject decides: consents, signals, and the receipts for them.

pub(crate) mod consent_receipt;
pub(crate) mod get_consents;
pub(crate) mod record_consent;
pub(crate) mod record_signal;
