//! The embedded store of the key pages (the encrypted pages with people's keys). It keeps all pages in one
//! file, of which it has two identical copies. Writes only append to the copies, until a compaction
//! removes what is obsolete.
//!
//! A key page can't be rebuilt from other data, so this store does not rely on a database, and gives its own
//! guarantees. Every write is durable in both copies of the file before it returns. Every write and every
//! page has a checksum. What one copy lost is restored from the other. A compaction replaces the copies one
//! after the other.

mod batch;
mod compact;
mod copies;
mod pages;
mod repair;
mod store;

pub use repair::Found;
pub use store::EmbeddedKeys;
