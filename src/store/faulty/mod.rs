//! An engine in memory that fails, on a seed, in every way that the contracts allow: for the simulation, which needs it
//! from outside this crate. No daemon opens it.

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
