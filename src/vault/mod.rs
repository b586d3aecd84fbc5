//! Keys: a tree of sealed pages in the key store, a puncturable tree inside each subject, and their destruction.
//!
//! Ids that callers choose stand nowhere but as keyed hashes. Whoever holds the root key and the key store can open
//! everything that was not erased; nobody else can open anything. What was erased nobody can open, whatever copies of the
//! key store there are: every page above it got a fresh key, and the root key that opened the old ones does not exist.

mod batch;
mod cache;
pub mod custody;
mod edit;
mod error;
mod look;
mod node;
mod pages;
mod paths;
mod recover;
mod rekey;
mod seal;
mod shelf;
mod subject;
mod subjects;
#[cfg(test)]
mod tests;
pub mod tree;
mod writer;

pub use crate::secret::{STACK_WORD_BYTES, clear_stack};
pub use custody::{FileCustody, MemoryCustody, RootCustody, TokenCustody};
pub use error::VaultError;
pub use look::KeyCheck;
pub use subject::SubjectKeys;
pub use subjects::{PendingErasure, PendingSubject, Vault};
