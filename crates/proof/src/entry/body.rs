//! Decodes an `EventBody`, and accepts only the one encoding that this format allows for it.
//!
//! A protobuf parser skips unknown fields, merges repeated ones, and reads fields in any order. So signed
//! bytes could say more than a reader sees. The one accepted encoding is what the encoder makes of the
//! decoded body.

use super::error::EntryError;
use crate::event::EventBody;
use crate::schema::{self, Kind, Message, Raw, low_half};
use prost::Message as _;
use prost::encoding::{DecodeContext, decode_key, encode_key, encode_varint, skip_field};
use zeroize::Zeroizing;

/// Decodes a body strictly.
///
/// # Errors
/// The bytes are not an `EventBody`; they have a field or a value that this version does not know; or they
/// are not the one encoding of the body.
pub fn decode(bytes: &[u8]) -> Result<EventBody, EntryError> {
    let body = EventBody::decode(bytes).map_err(|_| EntryError::Body)?;
    let survey = Survey::of(bytes);
    if survey.is_not_finite {
        return Err(EntryError::BodyForm("a number is not finite"));
    }
    let encoded = Zeroizing::new(body.encode_to_vec());
    match survey.unknown {
        None if *encoded != bytes => Err(EntryError::BodyForm("it is not the one encoding of its content")),
        None if body.event.is_none() => Err(EntryError::BodyForm("it has no event")),
        None => Ok(body),
        Some(_) if known_part(schema::event_body(), bytes).as_ref() != Some(&encoded) => {
            Err(EntryError::BodyForm("it is not the one encoding of its content"))
        }
        Some(unknown) => Err(unknown),
    }
}

/// Decodes a body of which this version may not know every field.
pub(super) fn decode_known_part(bytes: &[u8]) -> Option<EventBody> {
    EventBody::decode(bytes).ok()
}

/// The parts of a body that the encoder would drop, or that have no JSON form.
#[derive(Default)]
struct Survey {
    /// The first field or value that this version does not know.
    unknown: Option<EntryError>,
    is_not_finite: bool,
}

impl Survey {
    /// Surveys bytes that protobuf has decoded.
    fn of(bytes: &[u8]) -> Self {
        let mut survey = Self::default();
        // Bytes that can't be read here are not canonical, which the caller finds by itself.
        let _read = survey.message(schema::event_body(), bytes);
        survey
    }

    fn message(&mut self, message: &Message, bytes: &[u8]) -> Option<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (number, wire) = decode_key(&mut rest).ok()?;
            let Some(field) = message.0.iter().find(|field| field.number == number) else {
                self.unknown.get_or_insert(EntryError::UnknownField(number));
                skip_field(wire, number, &mut rest, DecodeContext::default()).ok()?;
                continue;
            };
            match (&field.kind, Raw::read(wire, &mut rest).ok()?) {
                (Kind::Message(inner) | Kind::Map(inner), Raw::Bytes(bytes)) => self.message(inner, bytes)?,
                (kind, Raw::Number(value)) => self.number(kind, number, value),
                (kind, Raw::Bytes(mut packed)) if field.repeated && kind.is_number() => {
                    while !packed.is_empty() {
                        let value = schema::read_packed(kind, &mut packed).ok()?;
                        self.number(kind, number, value);
                    }
                }
                _ => {}
            }
        }
        Some(())
    }

    fn number(&mut self, kind: &Kind, field: u32, value: u64) {
        match kind {
            Kind::Double => self.is_not_finite |= !f64::from_bits(value).is_finite(),
            Kind::Enum(names) if !names.iter().any(|(known, _)| *known == low_half(value)) => {
                self.unknown.get_or_insert(EntryError::UnknownValue(field));
            }
            _ => {}
        }
    }
}

/// The encoding without the fields that this version does not know.
fn known_part(message: &Message, bytes: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut known = Zeroizing::new(Vec::with_capacity(bytes.len()));
    let mut rest = bytes;
    while !rest.is_empty() {
        let start = rest;
        let (number, wire) = decode_key(&mut rest).ok()?;
        let Some(field) = message.0.iter().find(|field| field.number == number) else {
            skip_field(wire, number, &mut rest, DecodeContext::default()).ok()?;
            continue;
        };
        match (&field.kind, Raw::read(wire, &mut rest).ok()?) {
            (Kind::Message(inner) | Kind::Map(inner), Raw::Bytes(bytes)) => {
                let inner = known_part(inner, bytes)?;
                encode_key(number, wire, &mut *known);
                encode_varint(inner.len() as u64, &mut *known);
                known.extend_from_slice(&inner);
            }
            _ => known.extend_from_slice(start.get(..start.len() - rest.len())?),
        }
    }
    Some(known)
}
