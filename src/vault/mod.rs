//! Keys: sealed pages in the key store, a puncturable tree inside each subject, and their destruction.
//!
//! Ids that callers choose stand nowhere but as keyed hashes. Whoever holds the root key and the key store can open
//! everything that was not erased; nobody else can open anything.

mod cache;
mod destroy;
mod error;
mod pages;
mod root;
mod shelf;
mod subject;
mod subjects;
#[cfg(test)]
mod tests;
pub mod tree;
mod writer;

pub use error::VaultError;
pub use root::RootKey;
pub use subject::SubjectKeys;
pub use subjects::{PendingErasure, Vault};
