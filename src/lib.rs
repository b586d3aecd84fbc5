//! Sayso: the consent and profile ledger for personalized language models.
//!
//! The rooms, from the outside in; who may import whom stands in `docs/architecture.md` and is tested.

/// The wire's messages and services, as generated from `proto/`.
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

pub mod api; // gRPC
pub mod app; // use cases
pub mod audit; // exports
pub mod bounds; // decisions
pub mod cli; // commands
pub mod clock; // time and randomness
pub mod config; // settings
pub mod daemon; // composition root of `serve`
pub mod domain; // words, events, the fold
pub mod fetch; // requests to others
#[doc(hidden)]
pub mod fuzzing; // decoders for fuzzers
pub mod ledger; // sealed entries in order
pub mod package; // what a person takes away
pub mod roles; // who may call what
pub mod secret; // key files
pub mod store; // what is kept, and how
pub mod telemetry; // what operators see
pub mod tls; // connections
pub mod vault; // keys
pub mod web; // HTTP
pub mod witness; // cosignatures
