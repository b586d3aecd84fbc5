//! The embedded engine. It has a log in segments (append-only files), an index of the log in the database
//! sled, and two copies of the key pages. Key pages are the encrypted pages with people's keys.
//!
//! The segments are the log's only source of truth. If any other file in the log's folder is lost, no
//! entry is lost with it. `docs/storage.md` describes the formats and the recovery.

mod background;
mod commit;
mod discard;
mod disk;
mod flat;
mod folder_lock;
mod frame;
mod index;
mod inspect;
mod intent;
mod keys;
mod log;
mod progress;
mod recovery;
mod scan;
mod segment;
mod shared;
#[cfg(test)]
mod tests;
mod watermark;

pub use inspect::{LogFound, Seen, inspect};
pub use keys::{EmbeddedKeys, Found as KeysFound};
pub use log::EmbeddedLog;
pub use recovery::Recovery;
pub use shared::Options;
