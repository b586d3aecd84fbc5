//! Words, events and the fold: pure, sync, no clock, no wire.

pub mod attribute;
pub mod codec;
pub mod consent;
pub mod erasure;
pub mod event;
pub mod explain;
#[cfg(test)]
pub(crate) mod histories;
pub mod holdings;
pub mod ids;
pub mod loops;
pub mod person;
pub mod profile;
mod profile_bytes;
pub mod request;
pub mod retention;
pub mod rights;
mod violation;
pub mod vocabulary;
pub(crate) mod weighed;
mod words;

pub use violation::{Violation, Violations};
