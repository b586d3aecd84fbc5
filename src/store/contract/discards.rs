//! Tests the contract of discards: the discarded entries are gone, and nothing else is.

use super::engine::OpenLog;
use super::source::{Source, assert_holds, commit, handle, request};
use crate::store::{IndexRecord, NewEntry, StoreError};
use sayso_proof::merkle::Hash;

pub fn a_discard_removes_its_entries_and_nothing_else(open: OpenLog<'_>) {
    let (log, mut source) = (open(), Source::default());
    let frames = vec![
        vec![source.entry(1, Some(1), 100)],
        vec![source.entry(2, Some(2), 100), source.entry(1, Some(2), 5_000)],
        vec![source.entry(2, Some(3), 100)],
    ];
    commit(&*log, &frames);
    let all: Vec<NewEntry> = frames.into_iter().flatten().collect();
    // A position may be discarded twice in one call, and again in a second call. That is not an error, and
    // nothing is counted twice.
    log.discard(&[2, 0, 0, 2]).unwrap();
    log.discard(&[0, 2]).unwrap();
    for (new, position) in all.iter().zip(0..) {
        let stored = log.read_entry(position).unwrap();
        assert_eq!(stored.leaf_hash, new.leaf_hash);
        let is_discarded = position % 2 == 0;
        assert_eq!(stored.recorded_at_ms, if is_discarded { 0 } else { new.recorded_at_ms });
        assert_eq!(stored.bytes.is_none(), is_discarded);
        assert_eq!(log.index_get(&new.index[0].0).unwrap().is_none(), is_discarded);
    }
    assert_eq!(log.read_subject(handle(1), 0, 10).unwrap(), []);
    assert_eq!(log.subject_head(handle(1)).unwrap(), None);
    assert_eq!(log.read_subject(handle(2), 0, 10).unwrap(), [(0, 1), (1, 3)]);
    assert_eq!(log.find_idempotent(&request(1)).unwrap(), None);
    assert_eq!(log.find_idempotent(&request(3)).unwrap(), Some((3, 1)));
    assert_eq!(log.entry_bytes(), (all[1].bytes.len() + all[3].bytes.len()) as u64);
    assert!(matches!(log.discard(&[1, 4]), Err(StoreError::Missing(_))));
    assert!(log.read_entry(1).unwrap().bytes.is_some(), "all positions are discarded, or none");
    let leaves: Vec<Hash> = all.iter().map(|entry| entry.leaf_hash).collect();
    assert_eq!(log.read_hashes(0, 0, 4).unwrap(), leaves);
    let next = source.singles(&[2]);
    commit(&*log, &next);
    assert_holds(&*log, 4, &next);
}

/// A request stays known for as long as any of its entries is left. Otherwise a repeated request could write
/// erased data again.
pub fn a_request_can_be_discarded_in_part(open: OpenLog<'_>) {
    let (log, mut source) = (open(), Source::default());
    commit(&*log, &source.singles(&[1]));
    commit(&*log, &[(0..5).map(|_| source.entry(1, Some(1), 10)).collect()]);
    let discard = |positions: &[u64]| {
        log.discard(positions).unwrap();
        log.find_idempotent(&request(1)).unwrap()
    };
    assert_eq!(discard(&[3]), Some((1, 5)));
    assert_eq!(discard(&[1]), Some((2, 4)));
    assert_eq!(discard(&[5]), Some((2, 3)));
    assert_eq!(discard(&[2]), Some((4, 1)));
    assert_eq!(discard(&[4]), None);
}

pub fn restored_records_are_added_to_those_that_are_there(open: OpenLog<'_>) {
    let (log, mut source) = (open(), Source::default());
    let frames = source.singles(&[1, 2]);
    commit(&*log, &frames);
    let [first, second] = [&frames[0][0].index[0], &frames[1][0].index[0]];
    let added = (b"later".to_vec(), b"value".to_vec());
    for records in [vec![added.clone()], vec![added.clone(), first.clone()]] {
        log.index_restore(&[(0, records)], 2).unwrap();
        let mut expected = vec![first.clone(), second.clone(), added.clone()];
        expected.sort();
        assert_eq!(log.index_scan(&[], None, 10).unwrap(), expected);
    }
    log.discard(&[0]).unwrap();
    assert_eq!(log.index_scan(&[], None, 10).unwrap(), std::slice::from_ref(second));
}

pub fn no_records_are_restored_for_a_discarded_entry(open: OpenLog<'_>) {
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
