//! Property tests of the tree, entries, notes, proofs and JSON. The tree and the JSON must match
//! independent implementations. Every changed byte of an entry, a note or a proof must be detected.
//! Parsers must not panic on random bytes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use ed25519_dalek::SigningKey;
use proptest::prelude::*;
use sayso_proof::checkpoint::{Checkpoint, NoteError, VerifierKey};
use sayso_proof::entry::{self, Entry, EntryError, EventKey, Handle, Header, SchemaVersion};
use sayso_proof::event::{EventBody, LogOpened, event_body};
use sayso_proof::merkle::{self, Frontier, Hash, Nodes};
use sayso_proof::proof::TlogProof;

struct Leaves(Vec<Hash>);

impl Nodes for Leaves {
    type Error = ();
    fn nodes(&self, level: u8, start: u64, count: usize) -> Result<Vec<Hash>, ()> {
        assert_eq!(level % 8, 0);
        let width = 1_usize << level;
        let start = usize::try_from(start).unwrap();
        Ok((start..start + count)
            .map(|index| recursive_root(&self.0[index * width..(index + 1) * width]))
            .collect())
    }
}

fn recursive_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => merkle::empty_root(),
        [only] => *only,
        _ => {
            let middle = leaves.len().next_power_of_two() / 2;
            merkle::node_hash(&recursive_root(&leaves[..middle]), &recursive_root(&leaves[middle..]))
        }
    }
}

fn leaves(count: usize) -> Leaves {
    Leaves((0..count).map(|n| merkle::leaf_hash(&n.to_be_bytes())).collect())
}

#[test]
fn small_trees_match_the_recursive_definition() {
    let all = leaves(70);
    let mut frontier = Frontier::new();
    for size in 0..=70_usize {
        assert_eq!(frontier.root(), recursive_root(&all.0[..size]));
        let size = size as u64;
        assert_eq!(Frontier::load(size, &all).unwrap(), frontier);
        for position in 0..size {
            let proof = merkle::inclusion_proof(position, size, &all).unwrap();
            let leaf = all.0[position as usize];
            merkle::verify_inclusion(&leaf, position, size, &proof, &frontier.root()).unwrap();
            let other = merkle::leaf_hash(b"other");
            assert!(merkle::verify_inclusion(&other, position, size, &proof, &frontier.root()).is_err());
        }
        for old in 0..=size {
            let proof = merkle::consistency_proof(old, size, &all).unwrap();
            let old_root = recursive_root(&all.0[..old as usize]);
            merkle::verify_consistency(old, &old_root, size, &frontier.root(), &proof).unwrap();
            assert!(
                merkle::verify_consistency(old, &[7; 32], size, &frontier.root(), &proof).is_err(),
                "{old} {size}"
            );
        }
        if size < 70 {
            frontier.push(all.0[size as usize]);
        }
    }
}

#[test]
fn trees_across_one_and_two_stored_levels_match_the_recursive_definition() {
    let all = leaves(66_000);
    for size in [255_u64, 256, 257, 511, 512, 65_535, 65_536, 65_537, 66_000] {
        let root = recursive_root(&all.0[..size as usize]);
        assert_eq!(Frontier::load(size, &all).unwrap().root(), root);
        for position in [0, 1, 254, size / 2, size - 1] {
            let proof = merkle::inclusion_proof(position, size, &all).unwrap();
            merkle::verify_inclusion(&all.0[position as usize], position, size, &proof, &root).unwrap();
        }
        let proof = merkle::consistency_proof(255, size, &all).unwrap();
        merkle::verify_consistency(255, &recursive_root(&all.0[..255]), size, &root, &proof).unwrap();
    }
}

fn header(handle: [u8; 16], version: u64) -> Header {
    Header {
        event_id: [9; 16],
        handle: Handle(handle),
        version,
        previous: (version > 0).then_some([3; 32]),
        sealed_at_ms: 1_700_000_000_123,
        idempotency: None,
        key_commitment: None,
        schema_version: SchemaVersion::One,
    }
}

fn body(text: &str) -> EventBody {
    let event = event_body::Event::LogOpened(LogOpened { origin: text.into(), public_key: vec![] });
    EventBody { about_ms: 5, event: Some(event), ..EventBody::default() }
}

fn signed(version: u64, text: &str) -> (Vec<u8>, EventKey, SigningKey) {
    let key = SigningKey::from_bytes(&[4; 32]);
    let header = header([1; 16], version);
    let event_key = EventKey::derive(&[8; 32], &header.event_id);
    let payload = entry::seal(&header, &body(text), &event_key).unwrap();
    (entry::sign(payload, "example.com/log", &key).unwrap(), event_key, key)
}

#[test]
fn every_flipped_byte_of_an_entry_is_detected() {
    let (bytes, event_key, key) = signed(2, "hello");
    let parsed = Entry::parse(&bytes).unwrap();
    parsed.verify(&key.verifying_key()).unwrap();
    assert_eq!(parsed.open(&event_key).unwrap(), body("hello"));
    assert_eq!(entry::parse_header(&bytes).unwrap(), parsed.header);
    for at in 0..bytes.len() {
        for bit in [1, 0x80] {
            let mut changed = bytes.clone();
            changed[at] ^= bit;
            let verdict = Entry::parse(&changed).and_then(|entry| entry.verify(&key.verifying_key()));
            assert!(verdict.is_err(), "byte {at}");
        }
    }
    for shorter in 0..bytes.len() {
        assert!(Entry::parse(&bytes[..shorter]).is_err());
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert!(Entry::parse(&longer).is_err());
}

#[test]
fn an_entry_rejects_other_signing_and_event_keys() {
    let (bytes, _, key) = signed(0, "hello");
    let parsed = Entry::parse(&bytes).unwrap();
    let other = SigningKey::from_bytes(&[5; 32]);
    assert_eq!(parsed.verify(&other.verifying_key()), Err(EntryError::Key));
    assert_eq!(parsed.open(&EventKey::from_bytes([1; 32])), Err(EntryError::Commitment));
    parsed.verify(&key.verifying_key()).unwrap();
}

#[test]
fn any_changed_byte_of_a_note_is_detected() {
    let key = SigningKey::from_bytes(&[4; 32]);
    let verifier = VerifierKey { name: "example.com/log".into(), key: key.verifying_key() };
    assert_eq!(verifier.to_string().parse::<VerifierKey>().unwrap(), verifier);
    let checkpoint = Checkpoint { origin: "example.com/log".into(), size: 7, root: [6; 32] };
    let note = checkpoint.sign(&key);
    assert_eq!(Checkpoint::open(&note, &verifier).unwrap(), checkpoint);
    for at in 0..note.len() {
        let mut changed = note.clone().into_bytes();
        changed[at] ^= 1;
        if let Ok(changed) = String::from_utf8(changed) {
            assert!(Checkpoint::open(&changed, &verifier).is_err(), "byte {at}");
        }
    }
    let other = SigningKey::from_bytes(&[5; 32]);
    assert_eq!(Checkpoint::open(&checkpoint.sign(&other), &verifier), Err(NoteError::Unsigned));
}

#[test]
fn a_proof_verifies_on_its_own_and_only_unchanged() {
    let (bytes, _, key) = signed(0, "hello");
    let mut all = leaves(20);
    all.0[11] = merkle::leaf_hash(&bytes);
    let checkpoint = Checkpoint { origin: "example.com/log".into(), size: 20, root: recursive_root(&all.0) };
    let proof = TlogProof {
        extra: Some(bytes),
        index: 11,
        hashes: merkle::inclusion_proof(11, 20, &all).unwrap(),
        checkpoint: checkpoint.sign(&key),
    };
    let verifier = VerifierKey { name: "example.com/log".into(), key: key.verifying_key() };
    let text = proof.to_string();
    assert_eq!(text.parse::<TlogProof>().unwrap(), proof);
    assert_eq!(proof.verify(&verifier).unwrap().position, 11);
    let mut changed = text.into_bytes();
    for at in 0..changed.len() {
        changed[at] ^= 1;
        let verdict = std::str::from_utf8(&changed).ok().and_then(|text| text.parse::<TlogProof>().ok());
        assert!(verdict.is_none_or(|proof| proof.verify(&verifier).is_err()), "byte {at}");
        changed[at] ^= 1;
    }
}

proptest! {
    #[test]
    fn parsing_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = Entry::parse(&bytes);
        let _ = entry::parse_header(&bytes);
        if let Ok(text) = std::str::from_utf8(&bytes) {
            let _ = text.parse::<TlogProof>();
            let _ = text.parse::<VerifierKey>();
        }
    }

    #[test]
    fn sealed_bodies_open_unchanged(text in ".{0,200}", version in 0_u64..1000) {
        let (bytes, event_key, _) = signed(version, &text);
        prop_assert_eq!(Entry::parse(&bytes).unwrap().open(&event_key).unwrap(), body(&text));
    }
}

/// Compares the JSON of a body with that of `prost-reflect`.
mod json {
    use super::*;
    use prost::Message;
    use prost_reflect::{
        DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage,
        Value,
    };
    use sayso_proof::{event, json};

    /// Makes a message of this type from the bytes of `dice`.
    fn any_message(of: &MessageDescriptor, dice: &mut impl Iterator<Item = u8>) -> DynamicMessage {
        let mut message = DynamicMessage::new(of.clone());
        for oneof in of.oneofs() {
            let fields: Vec<FieldDescriptor> = oneof.fields().collect();
            let field = &fields[usize::from(dice.next().unwrap()) % fields.len()];
            message.set_field(field, any_value(&field.kind(), dice));
        }
        for field in of.fields().filter(|field| field.containing_oneof().is_none()) {
            let roll = dice.next().unwrap();
            if roll.is_multiple_of(3) {
                continue;
            }
            let value = if let (true, Kind::Message(entry)) = (field.is_map(), field.kind()) {
                let (key, value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
                let pairs = (0..roll % 4).map(|_| {
                    let Value::String(text) = any_value(&key.kind(), dice) else {
                        panic!("map keys are strings")
                    };
                    (MapKey::String(text), any_value(&value.kind(), dice))
                });
                Value::Map(pairs.collect())
            } else if field.is_list() {
                Value::List((0..roll % 4).map(|_| any_value(&field.kind(), dice)).collect())
            } else {
                any_value(&field.kind(), dice)
            };
            message.set_field(&field, value);
        }
        message
    }

    fn any_value(kind: &Kind, dice: &mut impl Iterator<Item = u8>) -> Value {
        let roll = dice.next().unwrap();
        let mut wide = || u64::from_le_bytes(std::array::from_fn(|_| dice.next().unwrap())) >> (roll % 64);
        match kind {
            Kind::Bool => Value::Bool(roll % 2 == 1),
            Kind::Int32 => Value::I32(wide() as i32),
            Kind::Uint32 => Value::U32(wide() as u32),
            Kind::Uint64 => Value::U64(wide()),
            Kind::Double => {
                let odd = [0.0, -0.0, 1.0, 0.1, 1e300, 5e-324, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
                Value::F64(odd.get(usize::from(roll)).copied().unwrap_or_else(|| f64::from_bits(wide())))
            }
            Kind::String => Value::String(
                ["", "a", "\"\\\n\u{7f}\u{1}", "né", "\u{2028}😀"][usize::from(roll) % 5].into(),
            ),
            Kind::Bytes => Value::Bytes((0..roll % 5).map(|at| at ^ roll).collect::<Vec<u8>>().into()),
            Kind::Enum(_) if roll.is_multiple_of(5) => Value::EnumNumber(i32::from(roll) - 100),
            Kind::Enum(names) => Value::EnumNumber(
                names.values().nth(usize::from(roll) % names.values().len()).unwrap().number(),
            ),
            Kind::Message(of) => Value::Message(any_message(of, dice)),
            other => panic!("unexpected field type {other:?}"),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn json_matches_an_independent_encoder(dice in prop::collection::vec(any::<u8>(), 1..400)) {
            let pool = DescriptorPool::decode(event::DESCRIPTORS).unwrap();
            let of = pool.get_message_by_name("sayso.v1.EventBody").unwrap();
            let any = any_message(&of, &mut dice.iter().copied().cycle());
            let body = EventBody::decode(any.encode_to_vec().as_slice()).unwrap();
            let same = DynamicMessage::decode(any.descriptor(), body.encode_to_vec().as_slice()).unwrap();
            let mut expected = serde_json::to_value(same).unwrap();
            expected.sort_all_objects();
            let made = json::to_json(&body).unwrap();
            prop_assert_eq!(made.to_string(), expected.to_string());
        }
    }
}
