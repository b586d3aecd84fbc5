//! Who keeps the root key: a file, a PKCS#11 token, memory for tests; and room for services.
//!
//! A root key opens one thing only: the key of the top page of the key tree. So it never has to leave its keeper, which
//! wraps and unwraps that key. Root keys are numbered; a re-keying makes the next one, and destroys the one before.

mod file;
mod memory;
mod pkcs11;
mod root_custody;
mod software;

pub use file::FileCustody;
pub use memory::MemoryCustody;
pub use pkcs11::TokenCustody;
pub use root_custody::{CustodyError, Generation, RootCustody};
