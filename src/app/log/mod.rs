//! The log as use cases see it: one stream for each data subject, one for the system, one way to append and
//! one way to read.

pub(crate) mod append;
pub(crate) mod core;
pub(crate) mod decision_frame;
pub(crate) mod first_append;
pub(crate) mod idempotency;
pub(crate) mod index;
pub(crate) mod kept_map;
pub(crate) mod key_hashes;
pub(crate) mod load_stream;
pub(crate) mod lookups;
pub(crate) mod moment;
pub(crate) mod named_recipients;
pub(crate) mod new_streams;
pub(crate) mod notifier;
pub(crate) mod open_requests;
pub(crate) mod pending_revocations;
pub(crate) mod pending_streams;
pub(crate) mod prior_recipients;
pub(crate) mod prove_subject;
pub(crate) mod read;
pub(crate) mod receipt;
pub(crate) mod recent_views;
pub(crate) mod record_pending;
pub(crate) mod record_reuse;
pub(crate) mod record_view;
pub(crate) mod requests_made;
pub(crate) mod reusable_grants;
pub(crate) mod revocation;
pub(crate) mod stream;
pub(crate) mod stream_cache;
pub(crate) mod subject_map;
pub(crate) mod suspension;
pub(crate) mod system_events;
pub(crate) mod system_stream;
pub(crate) mod unrecorded_reuse;
