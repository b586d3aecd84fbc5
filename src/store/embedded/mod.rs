//! The embedded engine: a log of segment files, an index over it in sled, and a mirrored store of key pages.
//!
//! The segments are the log's only source of truth. Everything else in the log's folder can be rebuilt from
//! them. `docs/storage.md` describes the formats and the recovery.

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
