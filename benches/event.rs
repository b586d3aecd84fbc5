//! Measures the steps of writing an event to the log and reading it back, such as encoding, sealing, signing,
//! hashing and folding: `cargo bench --bench event`.
//!
//! The event is the one that `sayso bench` records: an inferred attribute with a value of 450 bytes.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "Criterion's macros generate undocumented functions; a bench that can't set up should stop"
)]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ed25519_dalek::SigningKey;
use prost::Message;
use sayso::domain::attribute::{Attribute, Secret};
use sayso::domain::event::codec::{self, Place};
use sayso::domain::event::{Actor, Draft, Event, Recorded};
use sayso::domain::ids::EventId;
use sayso::domain::profile::SubjectState;
use sayso::ledger::LogKey;
use sayso::proto::{EventBody, Provenance, Role};
use sayso::vault::puncturable::{Node, PuncturableTree};
use sayso_proof::entry::{self, Entry, EventKey, Handle, Header, SchemaVersion};
use sayso_proof::merkle::{self, Frontier};
use std::hint::black_box;

const ORIGIN: &str = "ledger.example/bench";
const VALUE_BYTES: usize = 450;

fn draft(number: u64) -> Draft {
    let width = VALUE_BYTES - 2;
    let attribute = Attribute {
        key: format!("memory/{}", number % 10),
        value: Secret::new(format!("\"{number:0>width$}\"")),
        category: "preference".into(),
        provenance: Provenance::Inferred,
        evidence: Vec::new(),
        derived_from: Vec::new(),
        confidence: None,
        model: "bench".into(),
        observed_at_ms: number,
        expires_at_ms: None,
        from_replies: Vec::new(),
        claimed_provenance: Provenance::Unspecified,
        embedding: None,
    };
    let actor = Actor { role: Role::Service, name: "bench".into() };
    Draft { about_ms: number, actor, event: Event::AttributeRecorded(attribute) }
}

fn body(number: u64) -> EventBody {
    codec::encode(&draft(number), &[7; 32])
}

fn event_id(number: u64) -> [u8; 16] {
    u128::from(number).to_be_bytes()
}

fn header(number: u64) -> Header {
    Header {
        event_id: event_id(number),
        handle: Handle([3; 16]),
        version: number,
        previous: (number > 0).then_some([9; 32]),
        sealed_at_ms: number,
        idempotency: None,
        key_commitment: None,
        schema_version: SchemaVersion::One,
    }
}

fn place(number: u64) -> Place {
    Place {
        event_id: EventId(event_id(number)),
        position: number,
        version: number,
        recorded_at_ms: number,
        sealed_at_ms: number,
        has_hash_in_clear: false,
    }
}

fn recorded(number: u64) -> Recorded {
    codec::decode(place(number), body(number)).unwrap()
}

fn entry_of(number: u64, key: &EventKey, log_key: &SigningKey) -> Vec<u8> {
    entry::sign(entry::seal(&header(number), &body(number), key).unwrap(), ORIGIN, log_key).unwrap()
}

fn seal(criterion: &mut Criterion) {
    let (header, body, key) = (header(1), body(1), EventKey::derive(&[1; 32], &event_id(1)));
    let mut group = criterion.benchmark_group("seal");
    group.bench_function("key of the next version", |bencher| {
        let mut tree = PuncturableTree::new(vec![Node::root(&[1; 32])]);
        let mut version = 0;
        bencher.iter(|| {
            version += 1;
            EventKey::derive(&tree.key(version).unwrap(), &event_id(version))
        });
    });
    group.bench_function("seal", |bencher| {
        bencher.iter(|| entry::seal(black_box(&header), black_box(&body), &key).unwrap());
    });
    let log_key = SigningKey::from_bytes(&[2; 32]);
    let bytes = entry_of(1, &key, &log_key);
    let sealed = Entry::parse(&bytes).unwrap();
    group.bench_function("open", |bencher| bencher.iter(|| black_box(&sealed).open(&key).unwrap()));
    group.finish();
}

fn sign(criterion: &mut Criterion) {
    let (key, log_key) = (EventKey::derive(&[1; 32], &event_id(1)), SigningKey::from_bytes(&[2; 32]));
    let payload = entry::seal(&header(1), &body(1), &key).unwrap();
    let bytes = entry_of(1, &key, &log_key);
    let mut group = criterion.benchmark_group("sign");
    let payload_copy = || payload.clone();
    group.bench_function("sign", |bencher| {
        let aws_lc_key = LogKey::from_seed(&[2; 32]);
        let sign = |payload| entry::sign(payload, ORIGIN, &aws_lc_key).unwrap();
        bencher.iter_batched(payload_copy, sign, BatchSize::SmallInput);
    });
    group.bench_function("sign with dalek", |bencher| {
        let sign = |payload| entry::sign(payload, ORIGIN, &log_key).unwrap();
        bencher.iter_batched(payload_copy, sign, BatchSize::SmallInput);
    });
    group.bench_function("parse", |bencher| bencher.iter(|| Entry::parse(black_box(&bytes)).unwrap()));
    let verifying = log_key.verifying_key();
    let parsed = Entry::parse(&bytes).unwrap();
    group.bench_function("verify one signature", |bencher| {
        bencher.iter(|| parsed.verify(&verifying).unwrap())
    });
    group.finish();
}

fn leaf_and_tree(criterion: &mut Criterion) {
    let key = EventKey::derive(&[1; 32], &event_id(1));
    let bytes = entry_of(1, &key, &SigningKey::from_bytes(&[2; 32]));
    let mut group = criterion.benchmark_group("tree");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("hash a leaf", |bencher| bencher.iter(|| merkle::leaf_hash(black_box(&bytes))));
    group.throughput(Throughput::Elements(1_024));
    group.bench_function("append 1,024 leaves, compute the root", |bencher| {
        let leaf = merkle::leaf_hash(&bytes);
        bencher.iter(|| {
            let mut tree = Frontier::new();
            (0..1_024).for_each(|_| tree.push(black_box(leaf)));
            tree.root()
        });
    });
    group.finish();
}

fn fold(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fold");
    for count in [10_u64, 1_000] {
        let events: Vec<Recorded> = (0..count).map(recorded).collect();
        group.throughput(Throughput::Elements(count));
        group.bench_function(format!("{count} events"), |bencher| {
            bencher.iter(|| SubjectState::fold(black_box(&events)));
        });
    }
    group.finish();
}

fn encode_and_decode(criterion: &mut Criterion) {
    let (draft, bytes) = (draft(1), body(1).encode_to_vec());
    let mut group = criterion.benchmark_group("codec");
    group.bench_function("encode", |bencher| {
        bencher.iter(|| codec::encode(black_box(&draft), &[7; 32]).encode_to_vec());
    });
    group.bench_function("decode", |bencher| {
        bencher.iter(|| {
            let body = EventBody::decode(black_box(bytes.as_slice())).unwrap();
            codec::decode(place(1), body).unwrap()
        });
    });
    group.finish();
}

criterion_group!(steps, seal, sign, leaf_and_tree, fold, encode_and_decode);
criterion_main!(steps);
