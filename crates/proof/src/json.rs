//! Writes an event's body as canonical proto3 JSON with sorted keys, directly from its encoding.
//!
//! The same body always gives the same text. The build script generates a table of all messages and their
//! fields from the proto file. Nothing parses this JSON: a verifier writes it again from the entry and
//! compares. `docs/format.md` specifies how numbers and strings are written. Test vectors check that
//! serde_json does as specified.

use crate::event::EventBody;
use crate::schema::{self, Kind, Message, Raw, low_half};
use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use prost::Message as _;
use prost::encoding::{DecodeContext, decode_key, skip_field};
use serde::ser::{Error, SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

/// The body of an event as canonical proto3 JSON with sorted keys. The same body always gives the same text.
///
/// # Errors
/// The body does not fit the table generated from its own proto file, which cannot happen.
pub fn to_json(body: &EventBody) -> Result<serde_json::Value, String> {
    serialize_body(body, serde_json::value::Serializer).map_err(|error| error.to_string())
}

/// Serializes a body as its JSON form.
pub(crate) fn serialize_body<S: Serializer>(body: &EventBody, serializer: S) -> Result<S::Ok, S::Error> {
    serialize_encoded(&zeroize::Zeroizing::new(body.encode_to_vec()), serializer)
}

/// Serializes an encoded body as its JSON form.
pub(crate) fn serialize_encoded<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    Encoded { message: schema::event_body(), bytes }.serialize(serializer)
}

/// An encoded message.
struct Encoded<'a> {
    message: &'static Message,
    bytes: &'a [u8],
}

impl<'a> Encoded<'a> {
    /// The values present, sorted by the JSON names of their fields. Values of one field keep their order.
    fn values(&self) -> Result<Vec<(usize, Raw<'a>)>, String> {
        let failed = |error: prost::DecodeError| error.to_string();
        let mut values = Vec::with_capacity(8);
        let mut rest = self.bytes;
        while !rest.is_empty() {
            let (number, wire) = decode_key(&mut rest).map_err(failed)?;
            let Some(index) = self.message.0.iter().position(|field| field.number == number) else {
                skip_field(wire, number, &mut rest, DecodeContext::default()).map_err(failed)?;
                continue;
            };
            values.push((index, Raw::read(wire, &mut rest)?));
        }
        values.sort_by_key(|(index, _)| *index);
        Ok(values)
    }

    /// The key and value of a map entry. The encoding omits a key or a value that is the default.
    fn map_entry(&self, default: Raw<'a>) -> Result<(&'a str, Raw<'a>), String> {
        let (mut key, mut value) = ("", default);
        for (index, raw) in self.values()? {
            match (index, raw) {
                (0, Raw::Bytes(bytes)) => key = utf8(bytes)?,
                (1, _) => value = raw,
                _ => return Err("a map key is not a string".to_owned()),
            }
        }
        Ok((key, value))
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|error| error.to_string())
}

impl Serialize for Encoded<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let values = self.values().map_err(S::Error::custom)?;
        let mut map = serializer.serialize_map(None)?;
        for of_field in values.chunk_by(|(left, _), (right, _)| left == right) {
            let Some((index, last)) = of_field.last() else { continue };
            let Some(field) = self.message.0.get(*index) else { continue };
            match (&field.kind, field.repeated) {
                (Kind::Map(entry), _) => {
                    map.serialize_entry(field.name, &MapValue { entry, values: of_field })?
                }
                (kind, true) => map.serialize_entry(field.name, &RepeatedValue { kind, values: of_field })?,
                (kind, false) => map.serialize_entry(field.name, &SingleValue { kind, raw: *last })?,
            }
        }
        map.end()
    }
}

struct SingleValue<'a> {
    kind: &'static Kind,
    raw: Raw<'a>,
}

impl Serialize for SingleValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self.kind, self.raw) {
            (Kind::Bool, Raw::Number(number)) => serializer.serialize_bool(number != 0),
            (Kind::Int32, Raw::Number(number)) => serializer.serialize_i32(low_half(number)),
            (Kind::Uint32, Raw::Number(number)) => serializer.serialize_u32(low_half(number).cast_unsigned()),
            // Proto3 JSON writes 64-bit integers as strings, because many JSON parsers only have doubles.
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
            (Kind::String, Raw::Bytes(bytes)) => {
                serializer.serialize_str(utf8(bytes).map_err(S::Error::custom)?)
            }
            (Kind::Bytes, Raw::Bytes(bytes)) => serializer.collect_str(&Base64Display::new(bytes, &STANDARD)),
            (Kind::Message(message), Raw::Bytes(bytes)) => Encoded { message, bytes }.serialize(serializer),
            _ => Err(S::Error::custom("the value does not have the type of its field")),
        }
    }
}

struct RepeatedValue<'a> {
    kind: &'static Kind,
    values: &'a [(usize, Raw<'a>)],
}

impl Serialize for RepeatedValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let kind = self.kind;
        let mut list = serializer.serialize_seq(None)?;
        for (_, raw) in self.values {
            match raw {
                Raw::Bytes(packed) if kind.is_number() => {
                    let mut rest = *packed;
                    while !rest.is_empty() {
                        let number = schema::read_packed(kind, &mut rest).map_err(S::Error::custom)?;
                        list.serialize_element(&SingleValue { kind, raw: Raw::Number(number) })?;
                    }
                }
                _ => list.serialize_element(&SingleValue { kind, raw: *raw })?,
            }
        }
        list.end()
    }
}

/// A map. Its entries are encoded in the order of their keys.
struct MapValue<'a> {
    entry: &'static Message,
    values: &'a [(usize, Raw<'a>)],
}

impl Serialize for MapValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let [_, value] = self.entry.0 else {
            return Err(S::Error::custom("a map entry does not have exactly a key and a value"));
        };
        let default = if value.kind.is_number() { Raw::Number(0) } else { Raw::Bytes(&[]) };
        let mut map = serializer.serialize_map(None)?;
        for (_, raw) in self.values {
            let Raw::Bytes(bytes) = *raw else {
                return Err(S::Error::custom("a map entry is not a message"));
            };
            let entry = Encoded { message: self.entry, bytes };
            let (key, raw) = entry.map_entry(default).map_err(S::Error::custom)?;
            map.serialize_entry(key, &SingleValue { kind: &value.kind, raw })?;
        }
        map.end()
    }
}
