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
/// The body does not fit its own descriptor, which can't happen with the embedded one.
pub fn to_json(body: &EventBody) -> Result<serde_json::Value, String> {
    use prost::Message;
    static POOL: std::sync::LazyLock<Option<prost_reflect::MessageDescriptor>> =
        std::sync::LazyLock::new(|| {
            let pool = prost_reflect::DescriptorPool::decode(DESCRIPTORS).ok()?;
            pool.get_message_by_name("sayso.v1.EventBody")
        });
    let descriptor = POOL.clone().ok_or("no descriptor")?;
    let message = prost_reflect::DynamicMessage::decode(descriptor, body.encode_to_vec().as_slice())
        .map_err(|error| error.to_string())?;
    let mut json = serde_json::to_value(message).map_err(|error| error.to_string())?;
    json.sort_all_objects();
    Ok(json)
}
