//! The messages of `events.proto`, as tables that the build script generates.
//!
//! `json.rs`, which converts a body to JSON, and `entry/body.rs`, which checks the encoding of a body, use
//! these tables to read the bytes of a message.

use prost::bytes::Buf;
use prost::encoding::{WireType, decode_varint};

/// The fields of a message, sorted by their JSON names.
pub(crate) struct Message(pub &'static [Field]);

pub(crate) struct Field {
    pub number: u32,
    pub name: &'static str,
    /// Whether the field is `repeated`. A map field counts as repeated.
    pub repeated: bool,
    pub kind: Kind,
}

pub(crate) enum Kind {
    Bool,
    Int32,
    Uint32,
    Uint64,
    Double,
    String,
    Bytes,
    Enum(&'static [(i32, &'static str)]),
    Message(&'static Message),
    /// A map, encoded as one key-value message for each entry.
    Map(&'static Message),
}

impl Kind {
    pub fn is_number(&self) -> bool {
        !matches!(self, Self::String | Self::Bytes | Self::Message(_) | Self::Map(_))
    }
}

#[allow(dead_code, reason = "generated for every message, including those that are not part of a body")]
mod table {
    use super::{Field, Kind, Message};
    include!(concat!(env!("OUT_DIR"), "/json_table.rs"));
}

/// The message `EventBody`.
pub(crate) fn event_body() -> &'static Message {
    &table::SAYSO_V1__EVENT_BODY
}

/// A value of a field, as encoded.
#[derive(Clone, Copy)]
pub(crate) enum Raw<'a> {
    /// A varint, or the bits of a double.
    Number(u64),
    /// A string, bytes, a message, or packed numbers.
    Bytes(&'a [u8]),
}

impl<'a> Raw<'a> {
    /// Reads the value of a field with this wire type, and moves `rest` behind it.
    pub fn read(wire: WireType, rest: &mut &'a [u8]) -> Result<Self, String> {
        let truncated = || "the encoding is truncated".to_owned();
        match wire {
            WireType::Varint => decode_varint(rest).map(Raw::Number).map_err(|error| error.to_string()),
            WireType::SixtyFourBit => rest.try_get_u64_le().map(Raw::Number).map_err(|_| truncated()),
            WireType::LengthDelimited => {
                let length = decode_varint(rest).map_err(|error| error.to_string())?;
                let (bytes, after) = usize::try_from(length)
                    .ok()
                    .and_then(|length| rest.split_at_checked(length))
                    .ok_or_else(truncated)?;
                *rest = after;
                Ok(Raw::Bytes(bytes))
            }
            _ => Err("no field has this wire type".to_owned()),
        }
    }
}

/// Reads the next packed number of this kind: a varint, or the bits of a double.
pub(crate) fn read_packed(kind: &Kind, rest: &mut &[u8]) -> Result<u64, String> {
    match kind {
        Kind::Double => rest.try_get_u64_le().map_err(|error| error.to_string()),
        _ => decode_varint(rest).map_err(|error| error.to_string()),
    }
}

/// The number of a 32-bit field, which is encoded as a sign-extended 64-bit varint.
pub(crate) fn low_half(number: u64) -> i32 {
    let [a, b, c, d, ..] = number.to_le_bytes();
    i32::from_le_bytes([a, b, c, d])
}
