//! The messages of `proto/sayso/v1/events.proto`, as generated: what is signed, sealed and exported.
#![allow(
    missing_docs,
    clippy::all,
    clippy::allow_attributes_without_reason,
    reason = "generated; the documentation stands in the proto file"
)]

include!(concat!(env!("OUT_DIR"), "/sayso.v1.rs"));

/// The encoded descriptor set of `events.proto`.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/events.bin"));
