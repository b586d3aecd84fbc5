//! Tests the contract of commits: each committed entry is stored once and completely, and can be found.

use super::engine::OpenLog;
use super::source::{Source, assert_holds, commit, handle, request};
use crate::store::{CommitError, Frame, Head, PROGRESS_BYTES_MAX, StoreError};
use sayso_proof::entry::Handle;
use sayso_proof::merkle::{Hash, node_hash};
use std::sync::Arc;

pub fn a_new_log_is_empty(open: OpenLog<'_>) {
    let log = open();
    assert_eq!(log.head(), Head::default());
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

pub fn committed_entries_can_be_read(open: OpenLog<'_>) {
    let (log, mut source) = (open(), Source::default());
    // Sizes around the alignment of 64 bytes, around the size of one read, and larger.
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
        let result = log.commit(expected, &later);
        assert!(matches!(result, Err(CommitError::Conflict { actual: 3, expected: e }) if e == expected));
    }
    assert_eq!(log.head().size, 3);
    assert_eq!(log.subject_head(handle(3)).unwrap(), None);
    commit(&*log, &later);
    assert_holds(&*log, 3, &later);
}

pub fn an_empty_frame_is_rejected(open: OpenLog<'_>) {
    let (log, mut source) = (open(), Source::default());
    let frames = source.singles(&[1]);
    let result = log.commit(0, &[frames[0].clone(), vec![]]);
    assert!(matches!(result, Err(CommitError::Rejected(_))));
    assert_eq!(log.head().size, 0);
    assert_eq!(log.subject_head(handle(1)).unwrap(), None);
    commit(&*log, &frames);
    assert_holds(&*log, 0, &frames);
}

pub fn entries_are_found_by_subject(open: OpenLog<'_>) {
    let (log, mut source) = (open(), Source::default());
    commit(&*log, &source.singles(&[0, 1, 2, 1, 0, 1, 255]));
    assert_eq!(log.read_subject(handle(1), 0, 10).unwrap(), [(0, 1), (1, 3), (2, 5)]);
    assert_eq!(log.read_subject(handle(1), 1, 1).unwrap(), [(1, 3)]);
    assert_eq!(log.read_subject(handle(1), 3, 10).unwrap(), []);
    assert_eq!(log.read_subject(handle(1), 0, 0).unwrap(), []);
    assert_eq!(log.read_subject(Handle::SYSTEM, 0, 10).unwrap(), [(0, 0), (1, 4)]);
    assert_eq!(log.read_subject(handle(255), 0, usize::MAX).unwrap(), [(0, 6)]);
    assert_eq!(log.subject_head(handle(1)).unwrap(), Some((2, 5)));
    assert_eq!(log.subject_head(handle(9)).unwrap(), None);
}

pub fn entries_are_found_by_request(open: OpenLog<'_>) {
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

pub fn complete_merkle_nodes_can_be_read(open: OpenLog<'_>) {
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

/// The definition of RFC 9162, section 2.1.1, literally.
fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(&root(left), &root(right))
        }
    }
}

pub fn custom_records_are_found(open: OpenLog<'_>) {
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

pub fn a_closed_log_is_read_only(open: OpenLog<'_>) {
    let (log, mut source) = (open(), Source::default());
    let frames = source.singles(&[1, 2]);
    commit(&*log, &frames);
    log.close().unwrap();
    log.close().unwrap();
    let result = log.commit(2, &source.singles(&[1]));
    assert!(matches!(result, Err(CommitError::Unknown(StoreError::Stopped))));
    assert!(matches!(log.discard(&[0]), Err(StoreError::Stopped)));
    assert!(matches!(log.index_restore(&[], 0), Err(StoreError::Stopped)));
    assert_holds(&*log, 0, &frames);
}

/// Progress is no part of the log: entries, index and erasures leave it as it is.
pub fn progress_is_replaced_as_a_whole(open: OpenLog<'_>) {
    let (log, mut source) = (open(), Source::default());
    assert_eq!(log.read_progress().unwrap(), None);
    for progress in [b"first".as_slice(), b"", &[9; PROGRESS_BYTES_MAX], b"last"] {
        log.write_progress(progress).unwrap();
        assert_eq!(log.read_progress().unwrap().unwrap(), progress);
    }
    let too_long = log.write_progress(&[9; PROGRESS_BYTES_MAX + 1]);
    assert!(matches!(too_long, Err(StoreError::LimitExceeded(_))));
    let frames = source.singles(&[1, 2]);
    commit(&*log, &frames);
    log.discard(&[1]).unwrap();
    assert_eq!(log.read_progress().unwrap().unwrap(), b"last");
    assert_holds(&*log, 0, &frames[..1]);
    log.close().unwrap();
    assert!(matches!(log.write_progress(b"closed"), Err(StoreError::Stopped)));
    assert_eq!(log.read_progress().unwrap().unwrap(), b"last");
}

pub fn a_found_entry_can_be_read_during_commits(open: OpenLog<'_>) {
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
                assert!(position + 1 >= head, "every acknowledged entry is found");
            }
            assert_eq!(log.read_hashes(0, 0, usize::try_from(head).unwrap()).unwrap().len() as u64, head);
            assert_eq!(log.unindexed_from(), None);
        }
        writing.join().unwrap();
    });
    assert_eq!(log.head().size, 120);
}
