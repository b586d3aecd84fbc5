//! The Rust types generated from `proto/sayso/v1/events.proto`: the messages that are signed, sealed and
//! exported.
#![allow(
    missing_docs,
    clippy::all,
    clippy::allow_attributes_without_reason,
    reason = "generated; the proto file has the documentation"
)]

include!(concat!(env!("OUT_DIR"), "/sayso.v1.rs"));

/// The encoded descriptor set of `events.proto`.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/events.bin"));
