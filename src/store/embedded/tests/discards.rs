//! Tests that discarded bytes are in no file, even if a crash interrupts the discard.

use super::{after_kill, change, contains, open, scratch, segment, small, without_watermarks};
use crate::store::contract::{Source, assert_same, commit, commit_each, restore_custom_records};
use crate::store::embedded::frame::{ALIGN, RecordHeader, State};
use crate::store::memory::MemoryLog;
use crate::store::{Frame, LogStore};
use std::fs;

#[test]
fn discarded_bytes_are_in_no_file() {
    let (dir, mut source) = (scratch(), Source::default());
    let log = open(dir.path(), &small());
    let frames: Vec<Frame> = (0..12)
        .map(|number| vec![source.entry(1, None, if number % 3 == 0 { 20_000 } else { 300 })])
        .collect();
    commit_each(&log, &frames);
    // Two samples of 24 bytes, in the ciphertext and in the signature, both with high entropy.
    let samples = |position: usize| {
        let bytes = &frames[position][0].bytes;
        [bytes[bytes.len() / 2..][..24].to_vec(), bytes[bytes.len() - 24..].to_vec()]
    };
    assert!(samples(3).iter().all(|sample| contains(dir.path(), sample)));
    log.discard(&[0, 3, 4, 11]).unwrap();
    let check = |moment: &str| {
        for position in [0, 3, 4, 11] {
            assert!(
                !samples(position).iter().any(|sample| contains(dir.path(), sample)),
                "{moment}: {position}"
            );
        }
        assert!(samples(5).iter().all(|sample| contains(dir.path(), sample)));
    };
    check("after the discard");
    log.close().unwrap();
    drop(log);
    let log = open(dir.path(), &small());
    assert!(log.recovery().clean);
    check("after reopening");
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    drop(log);
    drop(open(dir.path(), &small()));
    check("after rebuilding the index");
}

/// Simulates a crash at each step of a discard, in segments far before the watermark.
#[test]
fn an_interrupted_discard_is_finished_at_open() {
    let (dir, mut source) = (scratch(), Source::default());
    let model = MemoryLog::default();
    let log = open(dir.path(), &small());
    let frames: Vec<Frame> = (0..40).map(|number| vec![source.entry(1, Some(number), 200)]).collect();
    commit_each(&log, &frames);
    commit(&model, &frames);
    model.discard(&[2, 30]).unwrap();
    assert!(log.shared.locations.get(2).unwrap().segment < log.shared.segments.count() - 2);
    log.close().unwrap();
    drop(log);
    for step in ["intent written", "index removed", "marked", "half zeroed"] {
        let copy = after_kill(dir.path());
        let log = open(copy.path(), &small());
        let locations = [2, 30].map(|position| log.shared.locations.get(position).unwrap());
        log.shared.intent.begin(&[2, 30]).unwrap();
        if step != "intent written" {
            let header = |position: usize| {
                let bytes = &frames[position][0].bytes;
                (position as u64, sayso_proof::entry::parse_header(bytes).unwrap())
            };
            let requests = [2, 30].map(|number| (crate::store::contract::request(number), None));
            log.shared.index.remove(&[header(2), header(30)], &requests.into()).unwrap();
        }
        drop(log);
        for location in locations {
            change(&segment(copy.path(), location.segment), |bytes| {
                let at = location.offset as usize;
                let header = RecordHeader::decode(&bytes[at..]).unwrap();
                if step == "marked" || step == "half zeroed" {
                    let discarded = RecordHeader { state: State::Discarded, ..header };
                    bytes[at..at + ALIGN].copy_from_slice(&discarded.encode());
                }
                if step == "half zeroed" {
                    bytes[at + ALIGN..at + ALIGN + header.length as usize / 2].fill(0);
                }
            });
        }
        let log = open(copy.path(), &small());
        assert_eq!(log.recovery().discarded, 2, "{step}");
        restore_custom_records(&log, &frames);
        assert_same(&log, &model);
        for position in [2, 30] {
            let bytes = &frames[position][0].bytes;
            assert!(!contains(copy.path(), &bytes[bytes.len() - 24..]), "{step}");
        }
        drop(log);
        assert_eq!(open(copy.path(), &small()).recovery().discarded, 0);
    }
}

/// Simulates a crash after the record was marked, without an intent, in a segment that recovery reads in any
/// case.
#[test]
fn a_record_that_is_marked_as_discarded_is_zeroed_at_open() {
    let (dir, mut source) = (scratch(), Source::default());
    let log = open(dir.path(), &without_watermarks());
    let frames = source.singles(&[1, 2]);
    commit(&log, &frames);
    let copy = after_kill(dir.path());
    change(&segment(copy.path(), 0), |bytes| {
        let header = RecordHeader::decode(&bytes[2 * ALIGN..]).unwrap();
        let discarded = RecordHeader { state: State::Discarded, ..header };
        bytes[2 * ALIGN..3 * ALIGN].copy_from_slice(&discarded.encode());
    });
    let log = open(copy.path(), &without_watermarks());
    assert!(log.read_entry(0).unwrap().bytes.is_none());
    let bytes = &frames[0][0].bytes;
    assert!(!contains(copy.path(), &bytes[bytes.len() - 24..]));
}
