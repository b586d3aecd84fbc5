//! Words, events and the fold: pure, sync, no clock, no wire.

pub mod ids;
mod violation;

pub use violation::{Violation, Violations};
