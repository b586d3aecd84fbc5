//! `sayso-proof`: everything that is needed to check a Sayso log without trusting its operator.
//!
//! Bytes in, verdict out: no daemon, no store, no network, no clock. The formats are those of `docs/format.md`.
//! Out of scope: fetching, storing, deciding.

mod batch;
pub mod bundle;
pub mod certificate;
pub mod checkpoint;
mod cose;
pub mod entry;
pub mod event;
pub mod json;
pub mod keys;
pub mod merkle;
pub mod proof;
pub mod replay;
mod signer;
pub mod witness;
pub mod writer;

pub use signer::LogSigner;
