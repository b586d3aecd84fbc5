//! The log as use cases see it: one stream for each data subject, one for the system, one way to append and one way to read.

pub(crate) mod append;
pub(crate) mod new_streams;
pub(crate) mod open_requests;
pub(crate) mod pending_revocations;
pub(crate) mod rulebook;
pub(crate) mod statement_rules;
pub(crate) mod stream;
pub(crate) mod system_events;
