//! Sayso: the consent and profile ledger for personalized language models.
//!
//! Each top-level module is called a room. `docs/architecture.md` says which rooms each room may import, and
//! a test checks this.

/// The messages and services of the API, generated from `proto/`.
#[allow(
    missing_docs,
    clippy::all,
    clippy::allow_attributes_without_reason,
    unused_qualifications,
    reason = "generated; documented in the proto files"
)]
pub mod proto {
    tonic::include_proto!("sayso.v1");
    pub use sayso_proof::event::*;
    /// The encoded descriptor set of every file in `proto/`.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/sayso.bin"));
}

pub mod api; // the gRPC API
pub mod app; // use cases
pub mod audit; // exports and reports for auditors
pub mod bounds; // the policies that decide about use
pub mod cli; // the command line
pub mod clock; // time and randomness
pub mod config; // the configuration
pub mod daemon; // composes and runs the daemon
pub mod domain; // vocabulary, events, profiles
pub mod fetch; // HTTP requests to other services
#[doc(hidden)]
pub mod fuzzing; // decoders for fuzzers
pub mod ledger; // the append-only log
pub mod monitor; // following a log from outside
pub mod package; // access packages and consent receipts
pub mod relevance; // ranking of facts by a text
pub mod roles; // which role may call which method
pub mod secret; // files of secrets
pub mod store; // storage engines
pub mod telemetry; // logs, metrics, traces
pub mod tls; // TLS and connection limits
mod two_slots; // files that survive a torn write
pub mod vault; // keys of data subjects
pub mod web; // HTTP: the public log, health, metrics
pub mod witness; // witnesses and their cosignatures
