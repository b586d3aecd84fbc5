//! Records and reads what is known about a data subject: attributes, and the description (age and
//! jurisdiction).

pub(crate) mod attribute_quota;
pub(crate) mod change;
pub(crate) mod describe_subject;
pub(crate) mod get_profile;
pub(crate) mod list_events;
pub(crate) mod paging;
mod placed_by_time;
pub(crate) mod record_attributes;
pub(crate) mod refuse_recording;
pub(crate) mod similar_keys;
mod special_replies;

use crate::app::log::core::Core;
use crate::domain::attribute::InferenceTerms;
use crate::domain::recorder_usage::AttributeLimits;
use std::sync::Arc;

/// Use cases about what is recorded about a data subject.
pub struct Profiles {
    pub(crate) core: Arc<Core>,
    /// How long an inference may be used if it is recorded without an expiry.
    pub(crate) inferences: InferenceTerms,
    /// How much may be recorded about one data subject.
    pub(crate) attribute_limits: AttributeLimits,
}
