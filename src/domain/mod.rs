//! The domain: vocabulary, events and the state folded from them. The code is pure and synchronous, and reads
//! no clock. Only [`event::codec`] converts events to and from the messages of the log.

pub mod active_signal;
pub mod attribute;
mod attribute_events;
pub mod birth;
pub(crate) mod byte_cache;
pub mod checks;
pub mod consent;
pub mod consent_record;
pub mod consent_scope;
pub mod current_attribute;
pub mod default_vocabulary;
mod dependents;
pub mod description;
pub mod embedding;
pub mod erased_copies;
pub mod erased_grant;
pub mod erasure;
pub mod event;
pub mod event_class;
mod event_references;
pub mod feedback_loops;
pub mod hierarchy;
#[cfg(test)]
pub(crate) mod histories;
pub mod ids;
pub mod json_value;
pub mod kept_only;
mod known_names;
pub mod late_sources;
pub mod legal_basis;
pub mod names;
pub mod narrowed_consents;
pub mod notices;
pub mod profile;
mod profile_bytes;
pub mod recipients;
pub mod recorder_usage;
pub mod refusal_events;
pub mod request;
pub mod retention;
pub mod rights;
pub mod special_sources;
pub mod statement_times;
pub mod stopped_purposes;
pub mod stopped_uses;
#[cfg(test)]
pub(crate) mod test_times;
pub mod text_search;
pub mod unmatched;
mod violation;
pub mod vocabulary;
pub mod word_cache;
pub mod wording;

pub use violation::{Violation, Violations};

/// The last time that the ledger accepts, milliseconds since the Unix epoch: the end of the year 9999. Later
/// times have no text in RFC 3339, and no JSON in protobuf.
pub const TIME_MS_MAX: u64 = 253_402_300_799_999;

/// Bytes of the name that a service gives a conversation.
pub const INTERACTION_BYTES_MAX: usize = 128;

/// Purposes that one decision or request may name.
pub const PURPOSES_MAX: usize = 32;

/// Milliseconds of a day.
pub const DAY_MS: u64 = 86_400_000;
