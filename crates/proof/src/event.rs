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

/// An event's body as canonical proto3 JSON with its keys sorted, for people and for exports: the same body always
/// gives the same text.
///
/// # Errors
/// The body does not fit the table that was made of its own proto file, which can't happen.
pub fn to_json(body: &EventBody) -> Result<serde_json::Value, String> {
    crate::json::body(body, serde_json::value::Serializer).map_err(|error| error.to_string())
}
