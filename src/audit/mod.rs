//! What auditors get: export bundles that verify offline, transparency reports, and the record of processing
//! activities.
//!
//! The crate `sayso-proof` defines the format of bundles; this module writes them from the ledger.

mod bundle;
mod pipe;
pub mod transparency;

pub use bundle::{Bundle, ExportError};
pub use pipe::Pipe;
