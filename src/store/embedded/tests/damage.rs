//! Damage is told from a torn end, and from a discard; it is refused and never repaired.

use super::{change, killed, open, scratch, segment, small, unmarked};
use crate::store::contract::{Source, commit, commit_each};
use crate::store::embedded::frame::{self, ALIGN, FrameHeader, RecordHeader, State};
use crate::store::embedded::{EmbeddedLog, Options};
use crate::store::{Frame, LogStore, StoreError};
use std::fs;
use std::path::Path;

type Damage = fn(&mut Vec<u8>, usize);

fn assert_damaged(dir: &Path, options: &Options, what: &str) {
    let before = fs::read(segment(dir, 0)).unwrap();
    for _ in 0..2 {
        let refused = EmbeddedLog::open(dir, options.clone()).map(|log| log.head());
        assert!(matches!(refused, Err(StoreError::Damaged { .. })), "{what}: {refused:?}");
    }
    assert!(before == fs::read(segment(dir, 0)).unwrap(), "{what}: repaired");
}

fn encoded(source: &mut Source) -> (Vec<u8>, Frame) {
    let frame: Frame = vec![source.entry(1, None, 3), source.entry(2, None, 40)];
    let mut bytes = Vec::new();
    frame::append(&mut bytes, 5, 7, &frame).unwrap();
    (bytes, frame)
}

#[test]
fn a_frame_with_any_bit_flipped_is_no_frame() {
    let (mut bytes, frame) = encoded(&mut Source::default());
    assert_eq!(bytes.len(), frame::length(&frame).unwrap() as usize);
    let parsed = frame::parse(&bytes).unwrap();
    assert_eq!((parsed.header.commit_start, parsed.header.first, parsed.header.count), (5, 7, 2));
    for (record, entry) in parsed.records.iter().zip(&frame) {
        assert_eq!(record.bytes(&bytes), Some(entry.bytes.as_slice()));
        assert_eq!(record.offset % ALIGN, 0);
    }
    for at in 0..bytes.len() {
        for bit in 0..8 {
            bytes[at] ^= 1 << bit;
            assert!(frame::parse(&bytes).is_none(), "byte {at}, bit {bit}");
            bytes[at] ^= 1 << bit;
        }
    }
    for length in 0..bytes.len() {
        assert!(frame::parse(&bytes[..length]).is_none());
    }
}

#[test]
fn damage_never_looks_discarded_and_a_discard_never_damaged() {
    let (bytes, _) = encoded(&mut Source::default());
    let parsed = frame::parse(&bytes).unwrap();
    for record in &parsed.records {
        let range = record.offset..record.offset + ALIGN;
        for at in range.clone() {
            for bit in 0..8 {
                let mut header = bytes[range.clone()].to_vec();
                header[at - record.offset] ^= 1 << bit;
                assert_eq!(RecordHeader::decode(&header), None);
            }
        }
        let mut bytes = bytes.clone();
        let discarded = RecordHeader { state: State::Discarded, ..record.header };
        bytes[range.clone()].copy_from_slice(&discarded.encode());
        let data = range.end..range.end + record.header.length as usize;
        // Marked, then zeroed from the front: whole at every step, and known to be unfinished until the last.
        for zeroed in data.start..=data.end {
            let parsed = frame::parse(&bytes).unwrap();
            let found = parsed.records.iter().find(|found| found.offset == record.offset).unwrap();
            assert_eq!(found.header.state, State::Discarded);
            assert_eq!(found.header.leaf_hash, record.header.leaf_hash);
            assert_eq!(found.unfinished, zeroed < data.end);
            assert_eq!(found.bytes(&bytes), None);
            bytes[zeroed.min(data.end - 1)] = 0;
        }
    }
}

#[test]
fn a_frame_header_that_promises_too_much_is_none() {
    for length in [0_u32, 64, 100, u32::MAX] {
        let mut bytes = vec![0; 64];
        bytes[0..4].copy_from_slice(&0x5341_5946_u32.to_le_bytes());
        bytes[4..8].copy_from_slice(&1_u32.to_le_bytes());
        bytes[24..28].copy_from_slice(&length.to_le_bytes());
        assert!(FrameHeader::decode(&bytes).is_none() || frame::parse(&bytes).is_none());
    }
}

#[test]
fn damage_before_a_later_commit_is_refused() {
    let (dir, mut source) = (scratch(), Source::default());
    let log = open(dir.path(), &unmarked());
    let frames = source.singles(&[1, 2, 3]);
    commit_each(&log, &frames);
    let dir = killed(dir.path());
    // Neither mark nor index to say how long the log had been.
    fs::remove_file(dir.path().join("mark")).unwrap();
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    let start = ALIGN + frame::length(&frames[0]).unwrap() as usize;
    let end = start + frame::length(&frames[1]).unwrap() as usize;
    for at in (start..end).step_by(37) {
        let copy = killed(dir.path());
        change(&segment(copy.path(), 0), |bytes| bytes[at] ^= 0x10);
        assert_damaged(copy.path(), &unmarked(), &format!("byte {at}"));
    }
    // Whole sectors of zeros, the frame's own header among them.
    let copy = killed(dir.path());
    change(&segment(copy.path(), 0), |bytes| bytes[start..end].fill(0));
    assert_damaged(copy.path(), &unmarked(), "zeros");
    // The last commit of all can't be told from a torn one; but for it, nothing else is lost.
    let copy = killed(dir.path());
    change(&segment(copy.path(), 0), |bytes| bytes[end + ALIGN] ^= 0x10);
    assert_eq!(open(copy.path(), &unmarked()).head().size, 2);
}

#[test]
fn damage_of_what_is_known_to_be_durable_is_refused() {
    let (dir, mut source) = (scratch(), Source::default());
    let log = open(dir.path(), &unmarked());
    let frames = source.singles(&[1, 2, 3]);
    commit(&log, &frames);
    log.close().unwrap();
    drop(log);
    let start: usize =
        ALIGN + frames[..2].iter().map(|frame| frame::length(frame).unwrap() as usize).sum::<usize>();
    let damages: [(&str, Damage); 4] = [
        ("a bit of the last frame", |bytes, start| bytes[start + 70] ^= 1),
        ("the last frame zeroed", |bytes, start| bytes[start..].fill(0)),
        ("the end of the file", |bytes, start| bytes.truncate(start)),
        ("something behind the end", |bytes, _| *bytes.last_mut().unwrap() = 1),
    ];
    for (what, damage) in damages {
        let copy = killed(dir.path());
        change(&segment(copy.path(), 0), |bytes| damage(bytes, start));
        assert_damaged(copy.path(), &unmarked(), what);
    }
}

#[test]
fn damage_names_its_position() {
    let (dir, mut source) = (scratch(), Source::default());
    let log = open(dir.path(), &unmarked());
    let frames = source.singles(&[1, 2, 3]);
    commit(&log, &frames);
    log.close().unwrap();
    drop(log);
    let start = ALIGN + frame::length(&frames[0]).unwrap() as usize;
    change(&segment(dir.path(), 0), |bytes| bytes[start + 200] ^= 1);
    let refused = EmbeddedLog::open(dir.path(), unmarked()).map(|_| ()).unwrap_err();
    assert!(refused.to_string().contains("position 1"), "{refused}");
}

#[test]
fn a_missing_or_foreign_segment_is_refused() {
    let (dir, mut source) = (scratch(), Source::default());
    let log = open(dir.path(), &small());
    for _ in 0..60 {
        commit(&log, &[vec![source.entry(1, None, 200)]]);
    }
    assert!(log.shared.segments.count() > 3);
    let last = log.shared.segments.count() - 1;
    log.close().unwrap();
    drop(log);
    for number in [0, 1, last] {
        let copy = killed(dir.path());
        fs::remove_file(segment(copy.path(), number)).unwrap();
        let refused = EmbeddedLog::open(copy.path(), small()).map(|_| ());
        assert!(matches!(refused, Err(StoreError::Damaged { .. })), "segment {number}: {refused:?}");
    }
    let copy = killed(dir.path());
    fs::copy(segment(dir.path(), 1), segment(copy.path(), 2)).unwrap();
    assert_damaged(copy.path(), &small(), "a segment twice");
    let copy = killed(dir.path());
    change(&segment(copy.path(), 0), |bytes| bytes[9] ^= 1);
    assert_damaged(copy.path(), &small(), "a segment's header");
}

#[test]
fn an_entry_that_rots_is_not_read() {
    let (dir, mut source) = (scratch(), Source::default());
    let log = open(dir.path(), &unmarked());
    let frames = source.singles(&[1, 2]);
    commit(&log, &frames);
    change(&segment(dir.path(), 0), |bytes| bytes[2 * ALIGN + ALIGN + 5] ^= 1);
    let refused = log.read_entry(0);
    assert!(matches!(refused, Err(StoreError::Damaged { what: "entry", .. })), "{refused:?}");
    assert!(log.read_entries(0, 2).is_err());
    assert!(log.read_entry(1).unwrap().bytes.is_some());
    assert!(log.discard(&[0]).is_err());
    assert!(log.read_entry(1).is_ok());
}

#[test]
fn a_location_that_leads_to_another_whole_entry_is_damage_and_no_answer() {
    let (dir, mut source) = (scratch(), Source::default());
    let log = open(dir.path(), &unmarked());
    commit_each(&log, &source.singles(&[1, 2, 3]));
    change(&dir.path().join("locations"), |bytes| {
        let (first, rest) = bytes.split_at_mut(8);
        first.swap_with_slice(&mut rest[..8]);
    });
    for position in 0..2 {
        let read = log.read_entry(position);
        assert!(matches!(read, Err(StoreError::Damaged { what: "location", .. })), "{position}: {read:?}");
        assert!(log.read_entries(position, 1).is_err());
    }
    assert_eq!(log.read_entry(2).unwrap().position, 2);
}
