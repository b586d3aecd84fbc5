//! Custody of the root key. The keeper of the root key is a file, a PKCS#11 token, or, in tests, memory.
//!
//! The keys of people's data are in pages. Each page is encrypted under a key that stands in the page
//! above it, and the root key encrypts (*wraps*) the key of the top page alone. The keeper wraps and
//! unwraps that key, so the root key never has to leave its keeper. A root key is named by its
//! *key epoch*: how often the root key had been replaced before it. A re-keying makes the next root key and
//! destroys the previous one.

mod file;
mod memory;
mod pkcs11;
mod root_custody;
mod software;

pub use file::FileCustody;
pub use memory::MemoryCustody;
pub use pkcs11::TokenCustody;
pub use root_custody::{CustodyError, KeyEpoch, RootCustody};
