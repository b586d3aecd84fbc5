//! Makes entries for tests, commits them, and compares logs.

use crate::store::{Frame, IndexRecord, LogStore, NewEntry, StoreError};
use ed25519_dalek::SigningKey;
use sayso_proof::entry::{self, EventKey, Handle, Header, SchemaVersion};
use sayso_proof::event::EventBody;
use sayso_proof::merkle::{self, Hash};
use std::collections::BTreeMap;

pub fn handle(number: u8) -> Handle {
    Handle([number; 16])
}

pub fn request(number: u8) -> Hash {
    [number; 32]
}

/// Makes valid entries, each the next in its subject's chain.
pub struct Source {
    key: SigningKey,
    newest: BTreeMap<Handle, (u64, Hash)>,
    made: u64,
}

impl Default for Source {
    fn default() -> Self {
        Self { key: SigningKey::from_bytes(&[7; 32]), newest: BTreeMap::new(), made: 0 }
    }
}

impl Source {
    /// The next entry of a subject, with `filler` bytes of text in it and one custom index record.
    pub fn entry(&mut self, subject: u8, idempotency: Option<u8>, filler: usize) -> NewEntry {
        let handle = handle(subject);
        let newest = self.newest.get(&handle).copied();
        self.made += 1;
        let mut event_id = [subject; 16];
        event_id[8..].copy_from_slice(&self.made.to_be_bytes());
        let header = Header {
            event_id,
            handle,
            version: newest.map_or(0, |(version, _)| version + 1),
            previous: newest.map(|(_, leaf)| leaf),
            sealed_at_ms: 1_750_000_000_000 + self.made,
            idempotency: idempotency.map(request),
            key_commitment: None,
            schema_version: SchemaVersion::One,
        };
        let body = EventBody { request_digest: vec![b'a'; filler], ..EventBody::default() };
        let payload = if handle == Handle::SYSTEM {
            entry::plain(&header, &body).unwrap()
        } else {
            entry::seal(&header, &body, &EventKey::derive(&[subject; 32], &event_id)).unwrap()
        };
        let bytes = entry::sign(payload, "sayso.example/acme", &self.key).unwrap();
        let leaf_hash = merkle::leaf_hash(&bytes);
        self.newest.insert(handle, (header.version, leaf_hash));
        let key = [b"custom/".as_slice(), &[subject], b"/", &self.made.to_be_bytes()].concat();
        NewEntry {
            bytes,
            leaf_hash,
            handle,
            version: header.version,
            idempotency: header.idempotency,
            recorded_at_ms: header.sealed_at_ms,
            index: vec![(key, self.made.to_be_bytes().to_vec())],
        }
    }

    /// Frames with one entry each.
    pub fn singles(&mut self, subjects: &[u8]) -> Vec<Frame> {
        subjects.iter().map(|subject| vec![self.entry(*subject, None, 40)]).collect()
    }
}

/// Commits frames at the end of the log, and returns the position of their first entry.
pub fn commit(log: &dyn LogStore, frames: &[Frame]) -> u64 {
    let first = log.head().size;
    let head = log.commit(first, frames).unwrap();
    assert_eq!(head, log.head());
    assert_eq!(head.size, first + frames.iter().map(Vec::len).sum::<usize>() as u64);
    first
}

/// Commits frames at the end of the log, one by one.
pub fn commit_each(log: &dyn LogStore, frames: &[Frame]) {
    for frame in frames {
        commit(log, std::slice::from_ref(frame));
    }
}

/// Asserts that the log holds these frames from position `first` on.
pub fn assert_holds(log: &dyn LogStore, first: u64, frames: &[Frame]) {
    for (new, position) in frames.iter().flatten().zip(first..) {
        let stored = log.read_entry(position).unwrap();
        assert_eq!(stored.position, position);
        assert_eq!(stored.bytes.as_ref(), Some(&new.bytes), "position {position}");
        assert_eq!(stored.leaf_hash, new.leaf_hash);
        assert_eq!(stored.recorded_at_ms, new.recorded_at_ms);
        assert_eq!(log.read_subject(new.handle, new.version, 1).unwrap(), [(new.version, position)]);
        for (key, value) in &new.index {
            assert_eq!(log.index_get(key).unwrap().as_ref(), Some(value), "position {position}");
        }
    }
}

/// Asserts that both logs have the same content.
pub fn assert_same(log: &dyn LogStore, model: &dyn LogStore) {
    let size = model.head().size;
    assert_eq!(log.head(), model.head());
    let entries = log.read_entries(0, usize::MAX).unwrap();
    assert_eq!(entries, model.read_entries(0, usize::MAX).unwrap());
    for entry in &entries {
        assert_eq!(&log.read_entry(entry.position).unwrap(), entry);
    }
    for number in 0..=u8::MAX {
        let handle = handle(number);
        let found = log.read_subject(handle, 0, usize::MAX).unwrap();
        assert_eq!(found, model.read_subject(handle, 0, usize::MAX).unwrap(), "subject {number}");
        assert_eq!(log.subject_head(handle).unwrap(), found.last().copied());
        let hash = request(number);
        let found = log.find_idempotent(&hash).unwrap();
        assert_eq!(found, model.find_idempotent(&hash).unwrap(), "request {number}");
    }
    let custom = log.index_scan(&[], None, usize::MAX).unwrap();
    assert_eq!(custom, model.index_scan(&[], None, usize::MAX).unwrap());
    for level in [0_u8, 8] {
        let count = usize::try_from(size >> level).unwrap();
        let nodes = log.read_hashes(level, 0, count).unwrap();
        assert_eq!(nodes, model.read_hashes(level, 0, count).unwrap(), "level {level}");
        assert!(matches!(log.read_hashes(level, 0, count + 1), Err(StoreError::Missing(_))));
    }
    assert_eq!(log.entry_bytes(), model.entry_bytes());
}

/// Restores missing custom index records, as their owner does.
pub fn restore_custom_records(log: &dyn LogStore, frames: &[Frame]) {
    let all: Vec<&NewEntry> = frames.iter().flatten().collect();
    while let Some(from) = log.unindexed_from() {
        let end = log.head().size.min(from + 3);
        let range = usize::try_from(from).unwrap()..usize::try_from(end).unwrap();
        let missing = all[range].iter().zip(from..);
        let records: Vec<(u64, Vec<IndexRecord>)> =
            missing.map(|(entry, position)| (position, entry.index.clone())).collect();
        log.index_restore(&records, end).unwrap();
    }
}
