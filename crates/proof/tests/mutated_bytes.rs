//! Tests with seeded mutations of every region of a bundle, and of the body of every kind of event. Each
//! mutated bundle is signed again with the log's key. The verifier must reject it, unless the mutation
//! changed nothing.
//!
//! `SAYSO_MUTATIONS` sets the number of mutations of each file and of each event body. The tar stream and
//! the archive get ten times as many. `SAYSO_MUTATIONS_SEED` sets the seed.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod log;

use log::forge::tar_of;
use log::*;
use prost::Message;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value,
};
use sayso_proof::bundle::{self, Options, Report, Source, VerifyFailure};
use sayso_proof::entry::{Entry, EntryError};
use sayso_proof::event::{self, EventBody};
use sayso_proof::json::to_json;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

/// xorshift64*: enough to vary bytes.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let seed = setting("SAYSO_MUTATIONS_SEED", 1);
        eprintln!("SAYSO_MUTATIONS_SEED={seed}");
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % below.max(1)
    }

    /// Changes a few bytes.
    fn mutate(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut mutated = bytes.to_vec();
        let at = self.roll(mutated.len() + 1);
        let end = (at + 1 + self.roll(24)).min(mutated.len());
        match self.roll(8) {
            0 | 1 if at < mutated.len() => mutated[at] ^= 1 << self.roll(8),
            2 if at < mutated.len() => {
                mutated[at] = [0, 1, 0x7f, 0x80, b' ', b'\n', b'0', b'/'][self.roll(8)]
            }
            3 if at < end => drop(mutated.drain(at..end)),
            4 if at < end => {
                let copied = mutated[at..end].to_vec();
                mutated.splice(end..end, copied);
            }
            5 if at < end => mutated[at..end].reverse(),
            6 => mutated.truncate(at),
            _ => mutated.insert(at, [0, b' ', b'\n', b'0', b'+', b'"', 0x0d, 0xff][self.roll(8)]),
        }
        mutated
    }
}

/// A log with every state of an entry, documents and a rotated key.
fn all_states() -> Log {
    let mut log = Log::with_vocabulary();
    log.publish_documents();
    let tea = log.append(subject(1), recorded(attribute("tea", "food")));
    let erased = log.size();
    log.append(subject(2), recorded(attribute("job", "work")));
    let consent = log.append(subject(1), given(terms(&["personalization"], &[], &[])));
    log.append(subject(1), grant(tea, consent, "tea", "food"));
    log.erase(&[erased], true);
    log
}

fn check(bytes: &[u8], log: &Log) -> Result<Report, VerifyFailure> {
    bundle::verify(Source::Archive(Box::new(bytes)), &log.verifier(), &Options::default(), &mut |_| ())
}

/// The files of the tar stream in an archive.
fn files_of(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    let frame = zstd::Decoder::new(archive).unwrap().single_frame();
    let mut tar = tar::Archive::new(frame);
    let read = |file: std::io::Result<tar::Entry<'_, _>>| {
        let mut file = file.unwrap();
        let (name, mut bytes) = (file.path().unwrap().to_str().unwrap().to_owned(), Vec::new());
        std::io::Read::read_to_end(&mut file, &mut bytes).unwrap();
        (name, bytes)
    };
    tar.entries().unwrap().map(read).collect()
}

#[test]
fn no_mutation_of_a_file_verifies_even_if_the_log_signs_it() {
    let (log, mut dice) = (all_states(), Dice::new());
    let files = files_of(&log.bundle());
    let (content, signed) = files.split_at(files.len() - 2);
    check(&log.forged_bundle(content.to_vec()), &log).unwrap();
    for number in 0..files.len() {
        for _ in 0..setting("SAYSO_MUTATIONS", 120) {
            let mutated = dice.mutate(&files[number].1);
            if mutated == files[number].1 {
                continue;
            }
            let mut forged = files.clone();
            forged[number].1.clone_from(&mutated);
            let bundle = match number < content.len() {
                true => log.forged_bundle(forged[..content.len()].to_vec()),
                // The manifest and its note are what the log signs, so only the trailer is made again.
                false => log.archive(&tar_of(&forged)),
            };
            let name = &files[number].0;
            let text = String::from_utf8_lossy(&mutated);
            assert!(check(&bundle, &log).is_err(), "{name} verifies: {text:?}");
        }
    }
    assert_eq!(signed.len(), 2);
}

#[test]
fn no_mutation_of_the_tar_stream_or_of_the_archive_verifies() {
    let (log, mut dice) = (all_states(), Dice::new());
    let archive = log.bundle();
    let tar = tar_of(&files_of(&archive));
    check(&log.archive(&tar), &log).unwrap();
    for _ in 0..setting("SAYSO_MUTATIONS", 120) * 10 {
        let mutated = dice.mutate(&tar);
        if mutated != tar {
            assert!(check(&log.archive(&mutated), &log).is_err(), "seeded mutation of the tar stream");
        }
        let mutated = dice.mutate(&archive);
        if mutated != archive {
            assert!(check(&mutated, &log).is_err(), "seeded mutation of the archive");
        }
    }
}

/// Sets every field of a message, lists and maps with two elements.
fn filled(of: &MessageDescriptor, level: u32) -> DynamicMessage {
    let mut message = DynamicMessage::new(of.clone());
    for field in of.fields().filter(|field| field.containing_oneof().is_none_or(|one| one.is_synthetic())) {
        let value = if let (true, Kind::Message(entry)) = (field.is_map(), field.kind()) {
            let value = entry.map_entry_value_field();
            let pair = |key: &str| (MapKey::String(key.into()), value_of(&value, level));
            Value::Map([pair("a"), pair("b")].into())
        } else if field.is_list() {
            Value::List(vec![value_of(&field, level), value_of(&field, level)])
        } else {
            value_of(&field, level)
        };
        message.set_field(&field, value);
    }
    message
}

fn value_of(field: &FieldDescriptor, level: u32) -> Value {
    match field.kind() {
        Kind::Bool => Value::Bool(true),
        Kind::Int32 => Value::I32(-8),
        Kind::Uint32 => Value::U32(300),
        Kind::Uint64 => Value::U64(1_750_000_000_000),
        Kind::Double => Value::F64(0.1 + 0.2),
        Kind::String => Value::String("né\"\u{1}".into()),
        Kind::Bytes => Value::Bytes(vec![7; 16].into()),
        Kind::Enum(of) => Value::EnumNumber(of.values().last().unwrap().number()),
        Kind::Message(of) if level < 8 => Value::Message(filled(&of, level + 1)),
        other => panic!("{other:?}"),
    }
}

/// A body of each kind of event, with every field set.
fn bodies() -> Vec<(String, EventBody)> {
    let pool = DescriptorPool::decode(event::DESCRIPTORS).unwrap();
    let of = pool.get_message_by_name("sayso.v1.EventBody").unwrap();
    let kinds = of.oneofs().find(|oneof| oneof.name() == "event").unwrap();
    let make = |kind: FieldDescriptor| {
        let mut body = filled(&of, 0);
        body.set_field(&kind, value_of(&kind, 0));
        let body = EventBody::decode(body.encode_to_vec().as_slice()).unwrap();
        // `read` reads system events, whose bodies have no such hash.
        (kind.name().to_owned(), EventBody { idempotency_hash: Vec::new(), ..body })
    };
    kinds.fields().map(make).collect()
}

/// The fields of an encoded message.
fn fields_of(bytes: &[u8]) -> Vec<Vec<u8>> {
    let (mut fields, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        let start = rest;
        let (number, wire) = prost::encoding::decode_key(&mut rest).unwrap();
        prost::encoding::skip_field(wire, number, &mut rest, prost::encoding::DecodeContext::default())
            .unwrap();
        fields.push(start[..start.len() - rest.len()].to_vec());
    }
    fields
}

/// Moves, repeats or drops a field, or adds an unknown one.
fn mutate_fields(dice: &mut Dice, bytes: &[u8], is_inner: bool) -> Vec<u8> {
    let mut fields = fields_of(bytes);
    let (at, other) = (dice.roll(fields.len()), dice.roll(fields.len()));
    match dice.roll(5) {
        0 => fields.swap(at, other),
        1 => fields.insert(other, fields[at].clone()),
        2 => drop(fields.remove(at)),
        3 => fields.insert(at, vec![0xf8, 0x3f, 0x01]),
        _ if is_inner => {}
        _ => {
            // The same inside of the last field, which is the event.
            let last = fields.pop().unwrap();
            let mut rest = last.as_slice();
            let (number, wire) = prost::encoding::decode_key(&mut rest).unwrap();
            let length = prost::encoding::decode_varint(&mut rest).unwrap() as usize;
            let inner = &rest[..length];
            let inner = if inner.is_empty() { vec![0x08, 0x00] } else { mutate_fields(dice, inner, true) };
            let mut field = Vec::new();
            prost::encoding::encode_key(number, wire, &mut field);
            prost::encoding::encode_varint(inner.len() as u64, &mut field);
            field.extend(inner);
            fields.push(field);
        }
    }
    fields.concat()
}

/// The body of an entry with exactly these bytes.
fn read(bytes: &[u8]) -> Result<EventBody, EntryError> {
    let mut log = Log::new();
    log.append_raw_system_event(bytes);
    Entry::parse(&log.entries[1]).unwrap().plain_body().map(Option::unwrap)
}

#[test]
fn every_kind_of_event_has_one_encoding_and_one_json() {
    let mut dice = Dice::new();
    let bodies = bodies();
    assert!(bodies.len() > 45, "{}", bodies.len());
    let (mut rejected, mut accepted) = (0, 0);
    for (kind, body) in bodies {
        let bytes = body.encode_to_vec();
        assert_eq!(read(&bytes).as_ref(), Ok(&body), "{kind}");
        let json = to_json(&body).unwrap().to_string();
        for round in 0..setting("SAYSO_MUTATIONS", 120) {
            let mutated = match round % 2 {
                0 => dice.mutate(&bytes),
                _ => mutate_fields(&mut dice, &bytes, false),
            };
            match read(&mutated) {
                Err(_) => rejected += 1,
                Ok(other) => {
                    accepted += 1;
                    assert_eq!(other.encode_to_vec(), mutated, "{kind}");
                    let other_json = to_json(&other).unwrap().to_string();
                    assert_eq!(
                        other_json == json,
                        mutated == bytes,
                        "{kind}: two bodies with one JSON: {other:?}"
                    );
                }
            }
        }
    }
    assert!(rejected > accepted, "{rejected} {accepted}");
}
