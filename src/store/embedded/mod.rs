//! The embedded engine: a segment log that is the truth, sled for everything that is looked up in it, key pages twice.
//! Formats and recovery stand in `docs/storage.md`.

mod commit;
mod database;
mod discard;
mod disk;
mod flat;
mod frame;
mod index;
mod intent;
mod keys;
mod lists;
mod log;
mod look;
mod mark;
mod marker;
mod pending;
mod records;
mod recovery;
mod runs;
mod scan;
mod segment;
#[cfg(test)]
mod tests;

pub use keys::{EmbeddedKeys, Found as KeysFound};
pub use log::{EmbeddedLog, Options};
pub use look::{LogFound, Seen, look};
pub use recovery::Recovery;
