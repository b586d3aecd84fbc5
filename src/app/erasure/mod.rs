//! Erasure of a data subject, or of a part of their record, from the request to the certificate.

pub(crate) mod certificate;
pub(crate) mod complete_erasures;
pub(crate) mod completion_queue;
pub(crate) mod erase_subject;
pub(crate) mod notified;
pub(crate) mod recent_erasures;
pub(crate) mod remind_recipients;
pub(crate) mod report_erasure;
pub(crate) mod resume_erasures;

use crate::app::erasure::completion_queue::CompletionQueue;
use crate::app::erasure::recent_erasures::RecentErasures;
use crate::app::log::core::Core;
use crate::app::log::outstanding::Deadlines;
use ed25519_dalek::VerifyingKey;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How recipients of erased data are treated.
#[derive(Clone, Debug, Default)]
pub struct ErasureSettings {
    /// When recipients are reminded.
    pub deadlines: Deadlines,
    /// The keys with which recipients sign their evidence, by name.
    pub recipient_keys: BTreeMap<String, VerifyingKey>,
}

/// Use cases about erasure.
pub struct Erasures {
    pub(crate) core: Arc<Core>,
    pub(crate) settings: ErasureSettings,
    /// Erasures whose keys are destroyed and whose entries wait to be discarded.
    pub(crate) completion_queue: CompletionQueue,
    /// Full erasures that repeated requests are answered with.
    pub(crate) recent_erasures: RecentErasures,
}
