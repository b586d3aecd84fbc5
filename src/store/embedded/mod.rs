//! The embedded engine: a segment log that is the truth, sled for everything that is looked up, sled by itself for keys.

mod database;
mod disk;
mod flat;
mod frame;
mod index;
mod keys;
mod log;
mod recovery;
mod segment;
#[cfg(test)]
mod tests;

pub use keys::EmbeddedKeys;
pub use log::{EmbeddedLog, Options};
pub use recovery::Recovery;
