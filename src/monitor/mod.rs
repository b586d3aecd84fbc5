//! Follows a log from outside: reads its checkpoint, its keys, its tiles and its signed counts of rules
//! and erasures. Keeps the newest checkpoint and counts, and raises alerts (`sayso monitor`).
//!
//! A monitor needs no credential. The tiles contain only hashes, so a monitor sees whether the log only
//! grows, but not what the log records. The signed counts say how many events about rules, and how many
//! erasures, the log has. They are the operator's statement. Callers of this module make the HTTP
//! requests.

mod alert;
mod counts;
mod findings;
mod follow;
mod metrics;
mod state;
#[cfg(test)]
mod tests;
mod tiles;

pub use alert::{Alert, AlertKind};
pub use findings::{Check, Limits};
pub use follow::Follower;
pub use metrics::metrics_of;
pub use state::{Kept, StateError, StateFile};
pub use tiles::{Answer, Get};
