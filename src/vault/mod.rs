//! The vault: keeps and destroys the keys of one controller's data subjects.
//!
//! Keys live in the *key tree*: sealed pages in the key store. The root key opens the top page, and each
//! page holds the keys of the pages below it. The lowest pages hold a record for each subject. The record
//! has nodes of the subject's *puncturable tree*, which gives a key for each version. A version is the
//! number of an event among the subject's events. When keys of versions are destroyed, the record keeps
//! only nodes that do not lead to these keys.
//!
//! Ids that callers choose appear only as keyed hashes. The root key together with the key store opens
//! everything that was not erased; neither opens anything alone. No copy of the key store opens erased
//! data again. An erasure gives fresh keys to the page with the erased record and to every page above this
//! page. It also destroys the root key that opened the old pages.

mod batch;
mod cache;
pub mod custody;
mod error;
mod fences;
mod hashing;
mod inspect;
mod key_tree;
mod map_link;
mod pages;
mod path_cache;
pub mod puncturable;
mod recover;
mod rekey;
mod seal;
mod subject;
#[cfg(test)]
mod tests;
mod tree_pages;
#[expect(clippy::module_inception, reason = "the file is named after the type that callers use")]
mod vault;
mod working_copy;
mod writer;

pub use batch::{PendingErasure, intent_name};
pub use custody::{FileCustody, MemoryCustody, RootCustody, TokenCustody};
pub use error::VaultError;
pub use inspect::KeyCheck;
pub use map_link::MapLink;
pub use subject::SubjectKeys;
pub use vault::{PendingSubject, Vault};
