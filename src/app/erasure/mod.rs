//! Erasure of a data subject, or of a part of their record, from the request to the certificate.

pub(crate) mod certificate;
pub(crate) mod complete_erasures;
pub(crate) mod completion_queue;
pub(crate) mod erase_subject;
pub(crate) mod recent_erasures;
pub(crate) mod resume_erasures;

use crate::app::erasure::completion_queue::CompletionQueue;
use crate::app::erasure::recent_erasures::RecentErasures;
use crate::app::log::core::Core;
use std::sync::Arc;

/// Use cases about erasure.
pub struct Erasures {
    pub(crate) core: Arc<Core>,
    /// Erasures whose keys are destroyed and whose entries wait to be discarded.
    pub(crate) completion_queue: CompletionQueue,
    /// Full erasures that repeated requests are answered with.
    pub(crate) recent_erasures: RecentErasures,
}
