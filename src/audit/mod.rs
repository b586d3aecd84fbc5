//! Exports that verify offline: the bundle's format is `sayso-proof`'s; here it is fed from the ledger.

mod bundle;
mod pipe;
mod report;
pub mod transparency;

pub use bundle::{Bundle, ExportError};
pub use pipe::Pipe;
