//! The domain: vocabulary, events and the state folded from them. The code is pure and synchronous, and reads
//! no clock. Only [`event::codec`] converts events to and from the messages of the log.

pub mod attribute;
pub(crate) mod byte_cache;
pub mod checks;
pub mod consent;
pub mod consent_scope;
pub mod current_attribute;
pub mod default_vocabulary;
pub mod description;
pub mod erasure;
pub mod event;
pub mod feedback_loops;
pub mod hierarchy;
#[cfg(test)]
pub(crate) mod histories;
pub mod ids;
pub mod json_value;
pub mod profile;
mod profile_bytes;
pub mod recorder_usage;
pub mod request;
pub mod retention;
pub mod rights;
mod violation;
pub mod vocabulary;
pub mod wording;

pub use violation::{Violation, Violations};

/// Milliseconds of a day.
pub const DAY_MS: u64 = 86_400_000;
