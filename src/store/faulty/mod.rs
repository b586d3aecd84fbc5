//! A log and a key store in memory that fail in every way that [`LogStore`](super::LogStore) and
//! [`KeyStore`](super::KeyStore) allow.
//!
//! Callers plan the faults, and a seed decides what a fault leaves of a write. This module is public for
//! the simulation in `tests/it/sim`, which is outside this crate. No daemon uses it.

mod keys;
mod log;
mod power;
mod sectors;

pub use keys::FaultyKeys;
pub use log::FaultyLog;
pub use power::{Fault, Power};
pub use sectors::sectors;

#[cfg(test)]
mod tests;
