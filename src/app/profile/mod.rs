//! What is recorded about a data subject: attributes, descriptions, and how they are read.

pub(crate) mod attribute_quota;
pub(crate) mod describe_subject;
pub(crate) mod get_profile;
pub(crate) mod list_events;
pub(crate) mod paging;
pub(crate) mod record_attributes;
pub(crate) mod record_view;
pub(crate) mod refuse_recording;
