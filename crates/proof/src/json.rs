//! Canonical proto3 JSON of an event's body, straight from its encoding, with the keys sorted: the same body always gives
//! the same text. A table of all messages and their fields is made from the proto file when this crate is built.
//!
//! Out of scope: reading JSON; a verifier makes it again from the entry and compares.

use crate::event::EventBody;
use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use prost::Message as _;
use prost::bytes::Buf;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use serde::ser::{Error, SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

/// A message's fields, sorted by their names in JSON.
struct Message(&'static [Field]);

struct Field {
    number: u32,
    name: &'static str,
    /// `repeated`; a map is that, too.
    many: bool,
    kind: Kind,
}

enum Kind {
    Bool,
    Int32,
    Uint32,
    Uint64,
    Double,
    Text,
    Bytes,
    Enum(&'static [(i32, &'static str)]),
    Message(&'static Message),
    /// A message of key and value, for each entry.
    Map(&'static Message),
}

impl Kind {
    fn is_number(&self) -> bool {
        !matches!(self, Self::Text | Self::Bytes | Self::Message(_) | Self::Map(_))
    }
}

#[allow(dead_code, reason = "generated for every message, also for those that are no part of a body")]
mod table {
    use super::{Field, Kind, Message};
    include!(concat!(env!("OUT_DIR"), "/json_table.rs"));
}

/// The body of an event as canonical proto3 JSON with sorted keys. The same body always gives the same text.
///
/// # Errors
/// The body does not fit the table generated from its own proto file, which cannot happen.
pub fn to_json(body: &EventBody) -> Result<serde_json::Value, String> {
    self::body(body, serde_json::value::Serializer).map_err(|error| error.to_string())
}

/// Serializes a body as JSON, for `#[serde(serialize_with)]`.
pub(crate) fn body<S: Serializer>(body: &EventBody, serializer: S) -> Result<S::Ok, S::Error> {
    let bytes = zeroize::Zeroizing::new(body.encode_to_vec());
    Encoded { message: &table::SAYSO_V1__EVENT_BODY, bytes: &bytes }.serialize(serializer)
}

/// An encoded message.
struct Encoded<'a> {
    message: &'static Message,
    bytes: &'a [u8],
}

/// One value of a field as it was encoded.
#[derive(Clone, Copy)]
enum Raw<'a> {
    /// A varint, or the bits of a double.
    Number(u64),
    /// A text, bytes, a message, or packed numbers.
    Bytes(&'a [u8]),
}

impl<'a> Encoded<'a> {
    /// What is there, in order of the fields' names, each field's values in the order in which they came.
    fn values(&self) -> Result<Vec<(usize, Raw<'a>)>, String> {
        let failed = |error: prost::DecodeError| error.to_string();
        let mut values = Vec::with_capacity(8);
        let mut rest = self.bytes;
        while !rest.is_empty() {
            let (number, wire) = decode_key(&mut rest).map_err(failed)?;
            let Some(at) = self.message.0.iter().position(|field| field.number == number) else {
                skip_field(wire, number, &mut rest, DecodeContext::default()).map_err(failed)?;
                continue;
            };
            values.push((at, raw(wire, &mut rest)?));
        }
        values.sort_by_key(|(at, _)| *at);
        Ok(values)
    }

    /// A map's entry has a key and a value, which are left out where they are empty.
    fn entry(&self, empty: Raw<'a>) -> Result<(&'a str, Raw<'a>), String> {
        let (mut key, mut value) = ("", empty);
        for (at, raw) in self.values()? {
            match (at, raw) {
                (0, Raw::Bytes(bytes)) => key = text(bytes)?,
                (1, _) => value = raw,
                _ => return Err("a map whose keys are no texts".to_owned()),
            }
        }
        Ok((key, value))
    }
}

fn raw<'a>(wire: WireType, rest: &mut &'a [u8]) -> Result<Raw<'a>, String> {
    let short = || "cut off".to_owned();
    match wire {
        WireType::Varint => decode_varint(rest).map(Raw::Number).map_err(|error| error.to_string()),
        WireType::SixtyFourBit => rest.try_get_u64_le().map(Raw::Number).map_err(|_| short()),
        WireType::LengthDelimited => {
            let length = decode_varint(rest).map_err(|error| error.to_string())?;
            let (bytes, after) = usize::try_from(length)
                .ok()
                .and_then(|length| rest.split_at_checked(length))
                .ok_or_else(short)?;
            *rest = after;
            Ok(Raw::Bytes(bytes))
        }
        _ => Err("a wire type that no field here has".to_owned()),
    }
}

fn text(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|error| error.to_string())
}

impl Serialize for Encoded<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let values = self.values().map_err(S::Error::custom)?;
        let mut map = serializer.serialize_map(None)?;
        for same in values.chunk_by(|(one, _), (other, _)| one == other) {
            let Some((at, last)) = same.last() else { continue };
            let Some(field) = self.message.0.get(*at) else { continue };
            match (&field.kind, field.many) {
                (Kind::Map(entry), _) => map.serialize_entry(field.name, &Entries { entry, values: same })?,
                (kind, true) => map.serialize_entry(field.name, &Many { kind, values: same })?,
                (kind, false) => map.serialize_entry(field.name, &One { kind, raw: *last })?,
            }
        }
        map.end()
    }
}

struct One<'a> {
    kind: &'static Kind,
    raw: Raw<'a>,
}

impl Serialize for One<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self.kind, self.raw) {
            (Kind::Bool, Raw::Number(number)) => serializer.serialize_bool(number != 0),
            (Kind::Int32, Raw::Number(number)) => serializer.serialize_i32(low_half(number)),
            (Kind::Uint32, Raw::Number(number)) => serializer.serialize_u32(low_half(number).cast_unsigned()),
            // Numbers of 64 bits are texts: many readers of JSON know doubles only.
            (Kind::Uint64, Raw::Number(number)) => serializer.collect_str(&number),
            (Kind::Double, Raw::Number(bits)) => match f64::from_bits(bits) {
                finite if finite.is_finite() => serializer.serialize_f64(finite),
                f64::INFINITY => serializer.serialize_str("Infinity"),
                f64::NEG_INFINITY => serializer.serialize_str("-Infinity"),
                _ => serializer.serialize_str("NaN"),
            },
            (Kind::Enum(names), Raw::Number(number)) => {
                let number = low_half(number);
                match names.iter().find(|(known, _)| *known == number) {
                    Some((_, name)) => serializer.serialize_str(name),
                    None => serializer.serialize_i32(number),
                }
            }
            (Kind::Text, Raw::Bytes(bytes)) => {
                serializer.serialize_str(text(bytes).map_err(S::Error::custom)?)
            }
            (Kind::Bytes, Raw::Bytes(bytes)) => serializer.collect_str(&Base64Display::new(bytes, &STANDARD)),
            (Kind::Message(message), Raw::Bytes(bytes)) => Encoded { message, bytes }.serialize(serializer),
            _ => Err(S::Error::custom("a value of another type than its field")),
        }
    }
}

/// Numbers of 32 bits are encoded with the sign in 64.
fn low_half(number: u64) -> i32 {
    let [a, b, c, d, ..] = number.to_le_bytes();
    i32::from_le_bytes([a, b, c, d])
}

struct Many<'a> {
    kind: &'static Kind,
    values: &'a [(usize, Raw<'a>)],
}

impl Serialize for Many<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let kind = self.kind;
        let mut list = serializer.serialize_seq(None)?;
        for (_, raw) in self.values {
            match raw {
                Raw::Bytes(packed) if kind.is_number() => {
                    let mut rest = *packed;
                    while !rest.is_empty() {
                        let number = match kind {
                            Kind::Double => rest.try_get_u64_le().map_err(S::Error::custom)?,
                            _ => decode_varint(&mut rest).map_err(S::Error::custom)?,
                        };
                        list.serialize_element(&One { kind, raw: Raw::Number(number) })?;
                    }
                }
                _ => list.serialize_element(&One { kind, raw: *raw })?,
            }
        }
        list.end()
    }
}

/// A map, whose entries come sorted by their keys.
struct Entries<'a> {
    entry: &'static Message,
    values: &'a [(usize, Raw<'a>)],
}

impl Serialize for Entries<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let [_, value] = self.entry.0 else { return Err(S::Error::custom("a map of something else")) };
        let empty = if value.kind.is_number() { Raw::Number(0) } else { Raw::Bytes(&[]) };
        let mut map = serializer.serialize_map(None)?;
        for (_, raw) in self.values {
            let Raw::Bytes(bytes) = *raw else { return Err(S::Error::custom("a map of numbers")) };
            let (key, raw) = Encoded { message: self.entry, bytes }.entry(empty).map_err(S::Error::custom)?;
            map.serialize_entry(key, &One { kind: &value.kind, raw })?;
        }
        map.end()
    }
}
