//! An engine in memory that fails in every way that the contracts allow, as a seed decides.
//!
//! It is public for the simulation, which runs outside this crate. No daemon opens it.

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
