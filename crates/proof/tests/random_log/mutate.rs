//! Changes a random log at random, to compare what the verifier and the simple second verifier (`naive`)
//! find in it.

use super::{CATEGORIES, Dice, Draft, HOUR_MS, INTERACTIONS, KEYS, PURPOSES, RECIPIENTS};
use crate::log::{START_MS, event_id};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, Kind, ReflectMessage, Value};
use sayso_proof::event::*;

/// Changes one to three things of a log at random.
pub fn mutate(drafts: &mut Vec<Draft>, choices: Vec<u16>) {
    let mut dice = Dice(choices, 0);
    for _ in 0..=dice.roll(3) {
        let at = dice.roll(drafts.len());
        match dice.roll(10) {
            0 => drafts.truncate(at.max(2)),
            1 if drafts.len() > 2 => drop(drafts.remove(at)),
            2 => {
                let next = (at + 1) % drafts.len();
                drafts.swap(at, next);
            }
            3 => {
                drafts[at].sealed_at_ms =
                    drafts[at].sealed_at_ms.saturating_add_signed(dice.of(&[-3_600_000, 3_600_000, 1, -1]))
            }
            4 => drafts[at].id = Some(event_id(dice.roll(drafts.len()) as u64 + 1)),
            5 => drafts[at].body.about_ms = dice.of(&[0, START_MS, START_MS + 20 * HOUR_MS, u64::MAX]),
            _ => mutate_body(&mut drafts[at].body, &mut dice),
        }
    }
}

/// Changes one field of a body, at any depth.
fn mutate_body(body: &mut EventBody, dice: &mut Dice) {
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let of = pool.get_message_by_name("sayso.v1.EventBody").unwrap();
    let mut message = DynamicMessage::decode(of, body.encode_to_vec().as_slice()).unwrap();
    mutate_message(&mut message, dice, 0);
    *body = EventBody::decode(message.encode_to_vec().as_slice()).unwrap();
}

fn mutate_message(message: &mut DynamicMessage, dice: &mut Dice, depth: usize) {
    let in_body = depth == 0;
    let event = |field: &FieldDescriptor| !in_body || field.containing_oneof().is_some();
    let fields: Vec<FieldDescriptor> = message.descriptor().fields().filter(event).collect();
    let set: Vec<&FieldDescriptor> = fields.iter().filter(|field| message.has_field(field)).collect();
    let field = match (set.is_empty(), in_body || dice.roll(4) > 0) {
        (false, true) => (*dice.of(&set.iter().collect::<Vec<_>>())).clone(),
        _ if fields.is_empty() => return,
        _ => fields[dice.roll(fields.len())].clone(),
    };
    if field.is_map() {
        return;
    }
    let mut value = message.get_field(&field).into_owned();
    match &mut value {
        Value::List(all) => match (all.is_empty(), dice.roll(3)) {
            (true, _) => all.push(any_value(&field.kind(), dice)),
            (false, 0) => drop(all.remove(dice.roll(all.len()))),
            (false, 1) => all.push(any_value(&field.kind(), dice)),
            (false, _) => {
                let at = dice.roll(all.len());
                mutate_value(&mut all[at], &field.kind(), dice, depth);
            }
        },
        one => mutate_value(one, &field.kind(), dice, depth),
    }
    message.set_field(&field, value);
}

fn mutate_value(value: &mut Value, kind: &Kind, dice: &mut Dice, depth: usize) {
    match value {
        Value::Message(inner) => mutate_message(inner, dice, depth + 1),
        other => *other = any_value(kind, dice),
    }
}

fn any_value(kind: &Kind, dice: &mut Dice) -> Value {
    match kind {
        Kind::Bool => Value::Bool(dice.one_in(2)),
        Kind::Int32 => Value::I32(dice.of(&[0, 1, 2, -8])),
        Kind::Uint32 => Value::U32(dice.of(&[0, 1, 2, 3, 400])),
        Kind::Uint64 => {
            Value::U64(dice.of(&[0, 1, 5, 12, START_MS, START_MS + HOUR_MS, START_MS + 90 * HOUR_MS]))
        }
        Kind::Double => Value::F64(dice.of(&[0.0, 0.5, 1.0])),
        Kind::String => {
            let all = [
                &PURPOSES[..],
                &CATEGORIES[..],
                &RECIPIENTS[..],
                &INTERACTIONS[..],
                &KEYS[..],
                &["notice", "1", "2", "2007-02"],
            ];
            Value::String(dice.of(&all.concat()).into())
        }
        Kind::Bytes => Value::Bytes(event_id(dice.roll(40) as u64).to_vec().into()),
        Kind::Enum(names) => {
            let at = dice.roll(names.values().len());
            Value::EnumNumber(names.values().nth(at).unwrap().number())
        }
        Kind::Message(of) => Value::Message(DynamicMessage::new(of.clone())),
        other => panic!("unexpected field type {other:?}"),
    }
}
