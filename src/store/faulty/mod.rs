//! An engine in memory that fails, on a seed, in every way that the contracts allow: for the simulation, which needs it
//! from outside this crate. No daemon opens it.

mod keys;
mod log;
mod power;

pub use keys::FaultyKeys;
pub use log::FaultyLog;
pub use power::{Fault, Power};

#[cfg(test)]
mod tests;
