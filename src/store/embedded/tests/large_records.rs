//! Tests that entries with many index records make no large page in the index.

use super::{open, scratch, small};
use crate::store::contract::{Source, commit};
use crate::store::{Frame, IndexRecord, LogStore};
use std::fs;

const RECORDS: usize = 64;

/// Frames of entries with [`RECORDS`] index records each.
fn frames(source: &mut Source) -> Vec<Frame> {
    let with_records = |number: usize| {
        let mut entry = source.entry(1, None, 40);
        let key = |record: usize| [format!("{record:03}/{number:03}/").as_bytes(), &[7; 300]].concat();
        entry.index = (0..RECORDS).map(|record| (key(record), vec![9; 200])).collect();
        vec![entry]
    };
    (0..100).map(with_records).collect()
}

/// Sled writes a large page into a file of its own, in this folder. No space is reserved for such files.
fn large_pages(dir: &std::path::Path) -> usize {
    fs::read_dir(dir.join("index/blobs")).unwrap().count()
}

#[test]
fn many_records_of_an_entry_make_no_large_page() {
    let (dir, mut source) = (scratch(), Source::default());
    let frames = frames(&mut source);
    let log = open(dir.path(), &small());
    for each in frames.chunks(10) {
        commit(&log, each);
    }
    log.close().unwrap();
    drop(log);
    assert_eq!(large_pages(dir.path()), 0);

    let log = open(dir.path(), &small());
    assert!(log.recovery().clean, "the sum over the index is right");
    let records = |position: usize| &frames[position][0].index;
    let all_found = |log: &dyn LogStore, position: usize| {
        records(position).iter().all(|(key, value)| log.index_get(key).unwrap().as_ref() == Some(value))
    };
    assert!((0..100).all(|position| all_found(&log, position)));
    log.discard(&[0, 1, 50]).unwrap();
    let found = log.index_scan(&[], None, usize::MAX).unwrap();
    let expected: Vec<&IndexRecord> =
        (0..100).filter(|at| ![0, 1, 50].contains(at)).flat_map(records).collect();
    assert_eq!(found.len(), expected.len());
    assert!(all_found(&log, 2) && all_found(&log, 51));
    assert_eq!(large_pages(dir.path()), 0);
}
