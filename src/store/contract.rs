//! One suite for every engine: what the contracts promise, as tests over whatever opens an engine. The whole of a log
//! can be compared with the plain model in `memory`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, missing_docs, reason = "tests")]

use super::{CommitError, Frame, IndexRecord, KeyStore, LogStore, NewEntry, StoreError};
use ed25519_dalek::SigningKey;
use sayso_proof::entry::{self, EventKey, Handle, Header};
use sayso_proof::event::EventBody;
use sayso_proof::merkle::{self, Hash, node_hash};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::sync::Arc;
use tempfile::TempDir;

/// An engine, and the folder that goes when it does.
pub struct Opened<T: ?Sized> {
    pub engine: Arc<T>,
    pub _folder: Option<TempDir>,
}

impl<T: ?Sized> Deref for Opened<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.engine
    }
}

pub type OpenLog<'a> = &'a dyn Fn() -> Opened<dyn LogStore>;
pub type OpenKeys<'a> = &'a dyn Fn() -> Opened<dyn KeyStore>;

/// Runs each contract test against one engine, as a test of its own.
macro_rules! suite {
    ($open:expr; $($test:path as $name:ident),+ $(,)?) => {
        $(#[test]
        fn $name() {
            $test(&$open);
        })+
    };
}
pub(crate) use suite;

macro_rules! log_suite {
    ($open:expr) => {
        $crate::store::contract::suite! { $open;
            $crate::store::contract::an_empty_log as an_empty_log,
            $crate::store::contract::what_is_committed_is_read as what_is_committed_is_read,
            $crate::store::contract::a_conflict_writes_nothing as a_conflict_writes_nothing,
            $crate::store::contract::an_empty_frame_is_rejected as an_empty_frame_is_rejected,
            $crate::store::contract::subjects_are_found as subjects_are_found,
            $crate::store::contract::requests_are_found as requests_are_found,
            $crate::store::contract::nodes_are_kept as nodes_are_kept,
            $crate::store::contract::further_records_are_found as further_records_are_found,
            $crate::store::contract::what_is_discarded_is_gone as what_is_discarded_is_gone,
            $crate::store::contract::a_request_is_discarded_in_part as a_request_is_discarded_in_part,
            $crate::store::contract::nothing_is_given_back_for_a_discarded_entry
                as nothing_is_given_back_for_a_discarded_entry,
            $crate::store::contract::a_closed_log_is_read_only as a_closed_log_is_read_only,
            $crate::store::contract::what_is_found_can_be_read as what_is_found_can_be_read,
        }
    };
}
pub(crate) use log_suite;

macro_rules! keys_suite {
    ($open:expr) => {
        $crate::store::contract::suite! { $open;
            $crate::store::contract::pages_are_kept as pages_are_kept,
            $crate::store::contract::pages_are_listed as pages_are_listed,
        }
    };
}
pub(crate) use keys_suite;

pub fn handle(number: u8) -> Handle {
    Handle([number; 16])
}

pub fn request(number: u8) -> Hash {
    [number; 32]
}

/// Makes real entries, each the next of its subject.
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
    /// The next entry of a subject, with `filler` bytes of text in it and one further record.
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
        };
        let body = EventBody { request_digest: vec![b'a'; filler], ..EventBody::default() };
        let payload = if handle == Handle::NOBODY {
            entry::plain(&header, &body).unwrap()
        } else {
            entry::seal(&header, &body, &EventKey::derive(&[subject; 32], &event_id)).unwrap()
        };
        let bytes = entry::sign(payload, "sayso.example/acme", &self.key).unwrap();
        let leaf_hash = merkle::leaf_hash(&bytes);
        self.newest.insert(handle, (header.version, leaf_hash));
        let key = [b"further/".as_slice(), &[subject], b"/", &self.made.to_be_bytes()].concat();
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

    /// Frames of one entry each.
    pub fn singles(&mut self, subjects: &[u8]) -> Vec<Frame> {
        subjects.iter().map(|subject| vec![self.entry(*subject, None, 40)]).collect()
    }
}

/// Commits at the end of the log; gives the first position.
pub fn commit(log: &dyn LogStore, frames: &[Frame]) -> u64 {
    let first = log.head().size;
    let head = log.commit(first, frames).unwrap();
    assert_eq!(head, log.head());
    assert_eq!(head.size, first + frames.iter().map(Vec::len).sum::<usize>() as u64);
    first
}

/// Commits frame by frame at the end of the log.
pub fn commit_each(log: &dyn LogStore, frames: &[Frame]) {
    for frame in frames {
        commit(log, std::slice::from_ref(frame));
    }
}

/// That the log holds these frames from `first` on.
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

/// That both logs give the same answers to everything.
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
    let further = log.index_scan(&[], None, usize::MAX).unwrap();
    assert_eq!(further, model.index_scan(&[], None, usize::MAX).unwrap());
    for level in [0_u8, 8] {
        let count = usize::try_from(size >> level).unwrap();
        let nodes = log.read_hashes(level, 0, count).unwrap();
        assert_eq!(nodes, model.read_hashes(level, 0, count).unwrap(), "level {level}");
        assert!(matches!(log.read_hashes(level, 0, count + 1), Err(StoreError::Missing(_))));
    }
    assert_eq!(log.entry_bytes(), model.entry_bytes());
}

/// Gives further records back, as their owner would, for as long as any is missing.
pub fn restore_further(log: &dyn LogStore, frames: &[Frame]) {
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

pub fn an_empty_log(open: OpenLog<'_>) {
    let log = open();
    assert_eq!(log.head(), super::Head::default());
    assert!(matches!(log.read_entry(0), Err(StoreError::Missing(_))));
    assert_eq!(log.read_entries(0, 10).unwrap(), []);
    assert_eq!(log.read_entries(5, usize::MAX).unwrap(), []);
    assert_eq!(log.read_subject(handle(1), 0, 10).unwrap(), []);
    assert_eq!(log.subject_head(handle(1)).unwrap(), None);
    assert_eq!(log.find_idempotent(&request(1)).unwrap(), None);
    assert_eq!(log.read_hashes(0, 0, 0).unwrap(), Vec::<Hash>::new());
    assert!(matches!(log.read_hashes(0, 0, 1), Err(StoreError::Missing(_))));
    assert_eq!(log.index_get(b"key").unwrap(), None);
    assert_eq!(log.unindexed_from(), None);
    assert_eq!(log.entry_bytes(), 0);
    assert!(matches!(log.discard(&[0]), Err(StoreError::Missing(_))));
    log.discard(&[]).unwrap();
    assert_eq!(log.commit(0, &[]).unwrap(), log.head());
}

pub fn what_is_committed_is_read(open: OpenLog<'_>) {
    let (log, mut source) = (open(), Source::default());
    // Sizes around the alignment of 64 bytes, around one read, and beyond it.
    let sizes = (0..130).chain([900, 1000, 1100, 5000, 100_000]);
    let frames: Vec<Frame> = sizes.map(|filler| vec![source.entry(1, None, filler)]).collect();
    for batch in frames.chunks(7) {
        commit(&*log, batch);
    }
    assert_holds(&*log, 0, &frames);
    let mixed =
        vec![vec![source.entry(0, None, 5), source.entry(2, None, 700)], vec![source.entry(1, None, 9)]];
    let first = commit(&*log, &mixed);
    assert_holds(&*log, first, &mixed);
    let entries = log.read_entries(first - 1, 3).unwrap();
    let positions: Vec<u64> = entries.iter().map(|entry| entry.position).collect();
    assert_eq!(positions, [first - 1, first, first + 1]);
    assert_eq!(log.read_entries(first, 100).unwrap().len(), 3);
    let bytes: usize = frames.iter().chain(&mixed).flatten().map(|entry| entry.bytes.len()).sum();
    assert_eq!(log.entry_bytes(), bytes as u64);
}

pub fn a_conflict_writes_nothing(open: OpenLog<'_>) {
    let (log, mut source) = (open(), Source::default());
    let frames = source.singles(&[1, 2, 1]);
    commit(&*log, &frames);
    let later = source.singles(&[3]);
    for expected in [0, 2, 4] {
        let refused = log.commit(expected, &later);
        assert!(matches!(refused, Err(CommitError::Conflict { actual: 3, expected: e }) if e == expected));
    }
    assert_eq!(log.head().size, 3);
    assert_eq!(log.subject_head(handle(3)).unwrap(), None);
    commit(&*log, &later);
    assert_holds(&*log, 3, &later);
}

pub fn an_empty_frame_is_rejected(open: OpenLog<'_>) {
    let (log, mut source) = (open(), Source::default());
    let frames = source.singles(&[1]);
    let refused = log.commit(0, &[frames[0].clone(), vec![]]);
    assert!(matches!(refused, Err(CommitError::Rejected(_))));
    assert_eq!(log.head().size, 0);
    assert_eq!(log.subject_head(handle(1)).unwrap(), None);
    commit(&*log, &frames);
    assert_holds(&*log, 0, &frames);
}

pub fn subjects_are_found(open: OpenLog<'_>) {
    let (log, mut source) = (open(), Source::default());
    commit(&*log, &source.singles(&[0, 1, 2, 1, 0, 1, 255]));
    assert_eq!(log.read_subject(handle(1), 0, 10).unwrap(), [(0, 1), (1, 3), (2, 5)]);
    assert_eq!(log.read_subject(handle(1), 1, 1).unwrap(), [(1, 3)]);
    assert_eq!(log.read_subject(handle(1), 3, 10).unwrap(), []);
    assert_eq!(log.read_subject(handle(1), 0, 0).unwrap(), []);
    assert_eq!(log.read_subject(Handle::NOBODY, 0, 10).unwrap(), [(0, 0), (1, 4)]);
    assert_eq!(log.read_subject(handle(255), 0, usize::MAX).unwrap(), [(0, 6)]);
    assert_eq!(log.subject_head(handle(1)).unwrap(), Some((2, 5)));
    assert_eq!(log.subject_head(handle(9)).unwrap(), None);
}

pub fn requests_are_found(open: OpenLog<'_>) {
    let (log, mut source) = (open(), Source::default());
    let frames = vec![
        vec![source.entry(1, Some(1), 10)],
        vec![source.entry(1, Some(2), 10), source.entry(2, Some(2), 10), source.entry(1, Some(2), 10)],
        vec![source.entry(1, None, 10)],
        vec![source.entry(1, Some(3), 10), source.entry(2, None, 10), source.entry(3, Some(3), 10)],
    ];
    commit(&*log, &frames);
    assert_eq!(log.find_idempotent(&request(1)).unwrap(), Some((0, 1)));
    assert_eq!(log.find_idempotent(&request(2)).unwrap(), Some((1, 3)));
    assert_eq!(log.find_idempotent(&request(3)).unwrap(), Some((5, 3)));
    assert_eq!(log.find_idempotent(&request(4)).unwrap(), None);
}

pub fn nodes_are_kept(open: OpenLog<'_>) {
    let (log, mut source) = (open(), Source::default());
    let mut leaves = Vec::new();
    for count in [1, 254, 1, 300, 256] {
        let frame: Frame = (0..count).map(|_| source.entry(1, None, 0)).collect();
        leaves.extend(frame.iter().map(|entry| entry.leaf_hash));
        commit(&*log, &[frame]);
    }
    assert_eq!(log.read_hashes(0, 0, leaves.len()).unwrap(), leaves);
    assert_eq!(log.read_hashes(0, 500, 3).unwrap(), leaves[500..503]);
    let tiles: Vec<Hash> = leaves.chunks_exact(256).map(root).collect();
    assert_eq!(tiles.len(), 3);
    assert_eq!(log.read_hashes(8, 0, 3).unwrap(), tiles);
    assert!(matches!(log.read_hashes(8, 3, 1), Err(StoreError::Missing(_))));
    assert!(matches!(log.read_hashes(16, 0, 1), Err(StoreError::Missing(_))));
}

/// The definition in RFC 9162 s. 2.1.1, word for word.
fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(&root(left), &root(right))
        }
    }
}

pub fn further_records_are_found(open: OpenLog<'_>) {
    let (log, mut source) = (open(), Source::default());
    let record = |key: &str| (key.as_bytes().to_vec(), format!("value of {key}").into_bytes());
    let mut entry = source.entry(1, None, 10);
    entry.index = ["a/1", "a/2", "a/3", "b", "b/1", "c"].map(record).to_vec();
    let mut other = source.entry(2, None, 10);
    other.index = vec![];
    commit(&*log, &[vec![entry], vec![other]]);
    let scan = |prefix: &str, after: Option<&str>, count| {
        let found = log.index_scan(prefix.as_bytes(), after.map(str::as_bytes), count).unwrap();
        found.into_iter().map(|(key, _)| String::from_utf8(key).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(log.index_get(b"a/2").unwrap().unwrap(), b"value of a/2");
    assert_eq!(log.index_get(b"a").unwrap(), None);
    assert_eq!(scan("a/", None, 10), ["a/1", "a/2", "a/3"]);
    assert_eq!(scan("a/", None, 2), ["a/1", "a/2"]);
    assert_eq!(scan("a/", Some("a/1"), 10), ["a/2", "a/3"]);
    assert_eq!(scan("a/", Some("a/3"), 10), Vec::<String>::new());
    assert_eq!(scan("b", None, 10), ["b", "b/1"]);
    assert_eq!(scan("b", Some("a/3"), 10), ["b", "b/1"]);
    assert_eq!(scan("b", Some("c"), 10), Vec::<String>::new());
    assert_eq!(scan("", None, 10).len(), 6);
    assert_eq!(log.index_scan(b"c", None, 1).unwrap(), [record("c")]);
}

pub fn what_is_discarded_is_gone(open: OpenLog<'_>) {
    let (log, mut source) = (open(), Source::default());
    let frames = vec![
        vec![source.entry(1, Some(1), 100)],
        vec![source.entry(2, Some(2), 100), source.entry(1, Some(2), 5_000)],
        vec![source.entry(2, Some(3), 100)],
    ];
    commit(&*log, &frames);
    let all: Vec<NewEntry> = frames.into_iter().flatten().collect();
    // Twice in one call, and again: no error, and nothing is counted twice.
    log.discard(&[2, 0, 0, 2]).unwrap();
    log.discard(&[0, 2]).unwrap();
    for (new, position) in all.iter().zip(0..) {
        let stored = log.read_entry(position).unwrap();
        assert_eq!(stored.leaf_hash, new.leaf_hash);
        assert_eq!(stored.recorded_at_ms, new.recorded_at_ms);
        let gone = position % 2 == 0;
        assert_eq!(stored.bytes.is_none(), gone);
        assert_eq!(log.index_get(&new.index[0].0).unwrap().is_none(), gone);
    }
    assert_eq!(log.read_subject(handle(1), 0, 10).unwrap(), []);
    assert_eq!(log.subject_head(handle(1)).unwrap(), None);
    assert_eq!(log.read_subject(handle(2), 0, 10).unwrap(), [(0, 1), (1, 3)]);
    assert_eq!(log.find_idempotent(&request(1)).unwrap(), None);
    assert_eq!(log.find_idempotent(&request(3)).unwrap(), Some((3, 1)));
    assert_eq!(log.entry_bytes(), (all[1].bytes.len() + all[3].bytes.len()) as u64);
    assert!(matches!(log.discard(&[1, 4]), Err(StoreError::Missing(_))));
    assert!(log.read_entry(1).unwrap().bytes.is_some(), "all or nothing");
    let leaves: Vec<Hash> = all.iter().map(|entry| entry.leaf_hash).collect();
    assert_eq!(log.read_hashes(0, 0, 4).unwrap(), leaves);
    let next = source.singles(&[2]);
    commit(&*log, &next);
    assert_holds(&*log, 4, &next);
}

/// A request stays known for as long as anything of it is there: repeated, it must not bring back what was erased.
pub fn a_request_is_discarded_in_part(open: OpenLog<'_>) {
    let (log, mut source) = (open(), Source::default());
    commit(&*log, &source.singles(&[1]));
    commit(&*log, &[(0..5).map(|_| source.entry(1, Some(1), 10)).collect()]);
    let found = |positions: &[u64]| {
        log.discard(positions).unwrap();
        log.find_idempotent(&request(1)).unwrap()
    };
    assert_eq!(found(&[3]), Some((1, 5)));
    assert_eq!(found(&[1]), Some((2, 4)));
    assert_eq!(found(&[5]), Some((2, 3)));
    assert_eq!(found(&[2]), Some((4, 1)));
    assert_eq!(found(&[4]), None);
}

pub fn nothing_is_given_back_for_a_discarded_entry(open: OpenLog<'_>) {
    let (log, mut source) = (open(), Source::default());
    let frames = source.singles(&[1, 2]);
    commit(&*log, &frames);
    log.discard(&[0]).unwrap();
    let records: Vec<(u64, Vec<IndexRecord>)> =
        frames.iter().flatten().zip(0..).map(|(entry, position)| (position, entry.index.clone())).collect();
    log.index_restore(&records, 2).unwrap();
    assert_eq!(log.index_get(&frames[0][0].index[0].0).unwrap(), None);
    assert!(log.index_get(&frames[1][0].index[0].0).unwrap().is_some());
    assert!(log.index_restore(&[(2, vec![])], 2).is_err());
}

pub fn a_closed_log_is_read_only(open: OpenLog<'_>) {
    let (log, mut source) = (open(), Source::default());
    let frames = source.singles(&[1, 2]);
    commit(&*log, &frames);
    log.close().unwrap();
    log.close().unwrap();
    let refused = log.commit(2, &source.singles(&[1]));
    assert!(matches!(refused, Err(CommitError::Unknown(StoreError::Stopped))));
    assert!(matches!(log.discard(&[0]), Err(StoreError::Stopped)));
    assert!(matches!(log.index_restore(&[], 0), Err(StoreError::Stopped)));
    assert_holds(&*log, 0, &frames);
}

pub fn what_is_found_can_be_read(open: OpenLog<'_>) {
    let (log, mut source) = (open(), Source::default());
    let batches: Vec<Vec<Frame>> = (0..40).map(|_| source.singles(&[1, 1, 1])).collect();
    std::thread::scope(|scope| {
        let writer = Arc::clone(&log.engine);
        let writing = scope.spawn(move || {
            for batch in &batches {
                commit(&*writer, batch);
            }
        });
        while !writing.is_finished() {
            let head = log.head().size;
            if let Some((version, position)) = log.subject_head(handle(1)).unwrap() {
                assert_eq!(version, position);
                assert!(log.read_entry(position).unwrap().bytes.is_some());
                assert!(position + 1 >= head, "whatever was acknowledged is found");
            }
            assert_eq!(log.read_hashes(0, 0, usize::try_from(head).unwrap()).unwrap().len() as u64, head);
            assert_eq!(log.unindexed_from(), None);
        }
        writing.join().unwrap();
    });
    assert_eq!(log.head().size, 120);
}

fn page(id: &str, value: &str) -> (Vec<u8>, Option<Vec<u8>>) {
    (id.as_bytes().to_vec(), Some(value.as_bytes().to_vec()))
}

pub fn pages_are_kept(open: OpenKeys<'_>) {
    let keys = open();
    assert_eq!(keys.read_page(b"a").unwrap(), None);
    keys.write_pages(&[]).unwrap();
    keys.write_pages(&[page("a", "1"), page("b", ""), page("", "nameless")]).unwrap();
    assert_eq!(keys.read_page(b"a").unwrap().unwrap(), b"1");
    assert_eq!(keys.read_page(b"b").unwrap().unwrap(), b"");
    assert_eq!(keys.read_page(b"").unwrap().unwrap(), b"nameless");
    keys.write_pages(&[page("a", "2"), (b"b".to_vec(), None), (b"never".to_vec(), None)]).unwrap();
    assert_eq!(keys.read_page(b"a").unwrap().unwrap(), b"2");
    assert_eq!(keys.read_page(b"b").unwrap(), None);
    let large = vec![5; 300_000];
    keys.write_pages(&[(b"large".to_vec(), Some(large.clone()))]).unwrap();
    assert_eq!(keys.read_page(b"large").unwrap().unwrap(), large);
}

pub fn pages_are_listed(open: OpenKeys<'_>) {
    let keys = open();
    let pages: Vec<_> = ["s1", "s2", "s3", "t1", "k", "n"].iter().map(|id| page(id, id)).collect();
    keys.write_pages(&pages).unwrap();
    let scan = |prefix: &str, after: Option<&str>, count| {
        let found = keys.scan_pages(prefix.as_bytes(), after.map(str::as_bytes), count).unwrap();
        let check = |(id, value): (Vec<u8>, Vec<u8>)| {
            assert_eq!(id, value);
            String::from_utf8(id).unwrap()
        };
        found.into_iter().map(check).collect::<Vec<_>>()
    };
    assert_eq!(scan("s", None, 10), ["s1", "s2", "s3"]);
    assert_eq!(scan("s", Some("s1"), 1), ["s2"]);
    assert_eq!(scan("s", Some("a"), 10), ["s1", "s2", "s3"]);
    assert_eq!(scan("s", Some("s3"), 10), Vec::<String>::new());
    assert_eq!(scan("", None, 10).into_iter().collect::<BTreeSet<_>>().len(), 6);
    assert_eq!(keys.count_pages(b"s").unwrap(), 3);
    assert_eq!(keys.count_pages(b"").unwrap(), 6);
    assert_eq!(keys.count_pages(b"x").unwrap(), 0);
}
