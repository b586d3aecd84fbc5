//! `sayso-proof` checks a Sayso log offline, without trusting its operator.
//!
//! The crate takes bytes and returns a verdict on them. It uses no daemon, no database, no network and no
//! clock. While it reads a bundle, it may keep data in temporary files without names. It never decides
//! what may be used: it only checks the decisions that the ledger made. `docs/format.md` specifies the
//! formats.

mod batch;
pub mod bundle;
pub mod certificate;
pub mod checkpoint;
pub mod context;
mod cose;
pub mod counts;
pub mod entry;
pub mod event;
pub mod evidence;
pub mod json;
pub mod keys;
pub mod merkle;
pub mod proof;
pub mod replay;
pub mod rule;
mod schema;
pub mod signed_document;
mod signer;
pub mod subject_map;
pub mod timestamp;
pub mod unseen;
pub mod witness;
pub mod writer;

pub use signer::LogSigner;
