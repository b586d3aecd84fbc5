//! Tests that damage is distinguished from a torn write and from an entry that was discarded on purpose. A
//! damaged log does not open and is not changed.

use super::{after_kill, change, open, scratch, segment, small, without_watermarks};
use crate::store::contract::{Source, commit, commit_each};
use crate::store::embedded::frame::{self, ALIGN, FrameHeader, RecordHeader, State};
use crate::store::embedded::{EmbeddedLog, Options};
use crate::store::{Frame, LogStore, StoreError};
use std::fs;
use std::path::Path;

/// Damages a segment; the second argument is the offset of the last frame.
type Damage = fn(&mut Vec<u8>, usize);

/// Asserts that opening the log reports damage, twice, and changes nothing.
fn assert_damaged(dir: &Path, options: &Options, damage: &str) {
    let before = fs::read(segment(dir, 0)).unwrap();
    for _ in 0..2 {
        let result = EmbeddedLog::open(dir, options.clone()).map(|log| log.head());
        assert!(matches!(result, Err(StoreError::Damaged { .. })), "{damage}: {result:?}");
    }
    assert!(before == fs::read(segment(dir, 0)).unwrap(), "{damage}: the segment was changed");
}

/// A frame of two entries, and its bytes.
fn encoded(source: &mut Source) -> (Vec<u8>, Frame) {
    let frame: Frame = vec![source.entry(1, None, 3), source.entry(2, None, 40)];
    let mut bytes = Vec::new();
    frame::append(&mut bytes, 5, 7, &frame).unwrap();
    (bytes, frame)
}

#[test]
fn a_frame_with_a_flipped_bit_is_not_parsed() {
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
fn damage_is_never_taken_for_a_discard_nor_a_discard_for_damage() {
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
        // A discard first marks the record as discarded, and then zeroes its bytes from the front. The frame
        // can be parsed after every step. The record counts as unfinished until its last byte is zero.
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
fn a_frame_header_with_a_wrong_length_is_not_parsed() {
    for length in [0_u32, 64, 100, u32::MAX] {
        let mut bytes = vec![0; 64];
        bytes[0..4].copy_from_slice(&0x5341_5946_u32.to_le_bytes());
        bytes[4..8].copy_from_slice(&1_u32.to_le_bytes());
        bytes[24..28].copy_from_slice(&length.to_le_bytes());
        assert!(FrameHeader::decode(&bytes).is_none() || frame::parse(&bytes).is_none());
    }
}

#[test]
fn a_log_with_damage_before_a_later_commit_does_not_open() {
    let (dir, mut source) = (scratch(), Source::default());
    let log = open(dir.path(), &without_watermarks());
    let frames = source.singles(&[1, 2, 3]);
    commit_each(&log, &frames);
    let dir = after_kill(dir.path());
    // Without the watermark and the index, nothing else shows how long the log was.
    fs::remove_file(dir.path().join("mark")).unwrap();
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    let start = ALIGN + frame::length(&frames[0]).unwrap() as usize;
    let end = start + frame::length(&frames[1]).unwrap() as usize;
    for at in (start..end).step_by(37) {
        let copy = after_kill(dir.path());
        change(&segment(copy.path(), 0), |bytes| bytes[at] ^= 0x10);
        assert_damaged(copy.path(), &without_watermarks(), &format!("byte {at}"));
    }
    // Whole sectors of zeros, including the frame's header.
    let copy = after_kill(dir.path());
    change(&segment(copy.path(), 0), |bytes| bytes[start..end].fill(0));
    assert_damaged(copy.path(), &without_watermarks(), "zeros");
    // Damage of the last commit can't be distinguished from a torn write. Only that commit is lost.
    let copy = after_kill(dir.path());
    change(&segment(copy.path(), 0), |bytes| bytes[end + ALIGN] ^= 0x10);
    assert_eq!(open(copy.path(), &without_watermarks()).head().size, 2);
}

#[test]
fn a_log_with_damaged_durable_entries_does_not_open() {
    let (dir, mut source) = (scratch(), Source::default());
    let log = open(dir.path(), &without_watermarks());
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
        ("a byte after the end", |bytes, _| *bytes.last_mut().unwrap() = 1),
    ];
    for (name, damage) in damages {
        let copy = after_kill(dir.path());
        change(&segment(copy.path(), 0), |bytes| damage(bytes, start));
        assert_damaged(copy.path(), &without_watermarks(), name);
    }
}

#[test]
fn the_error_for_damage_names_the_position() {
    let (dir, mut source) = (scratch(), Source::default());
    let log = open(dir.path(), &without_watermarks());
    let frames = source.singles(&[1, 2, 3]);
    commit(&log, &frames);
    log.close().unwrap();
    drop(log);
    let start = ALIGN + frame::length(&frames[0]).unwrap() as usize;
    change(&segment(dir.path(), 0), |bytes| bytes[start + 200] ^= 1);
    let error = EmbeddedLog::open(dir.path(), without_watermarks()).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("position 1"), "{error}");
}

#[test]
fn a_log_with_a_missing_or_misplaced_segment_does_not_open() {
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
        let copy = after_kill(dir.path());
        fs::remove_file(segment(copy.path(), number)).unwrap();
        let result = EmbeddedLog::open(copy.path(), small()).map(|_| ());
        assert!(matches!(result, Err(StoreError::Damaged { .. })), "segment {number}: {result:?}");
    }
    let copy = after_kill(dir.path());
    fs::copy(segment(dir.path(), 1), segment(copy.path(), 2)).unwrap();
    assert_damaged(copy.path(), &small(), "a segment twice");
    let copy = after_kill(dir.path());
    change(&segment(copy.path(), 0), |bytes| bytes[9] ^= 1);
    assert_damaged(copy.path(), &small(), "a segment's header");
}

#[test]
fn a_damaged_entry_is_not_read() {
    let (dir, mut source) = (scratch(), Source::default());
    let log = open(dir.path(), &without_watermarks());
    let frames = source.singles(&[1, 2]);
    commit(&log, &frames);
    change(&segment(dir.path(), 0), |bytes| bytes[2 * ALIGN + ALIGN + 5] ^= 1);
    let result = log.read_entry(0);
    assert!(matches!(result, Err(StoreError::Damaged { what: "entry", .. })), "{result:?}");
    assert!(log.read_entries(0, 2).is_err());
    assert!(log.read_entry(1).unwrap().bytes.is_some());
    assert!(log.discard(&[0]).is_err());
    assert!(log.read_entry(1).is_ok());
}

#[test]
fn a_location_that_leads_to_another_entry_is_reported_as_damage() {
    let (dir, mut source) = (scratch(), Source::default());
    let log = open(dir.path(), &without_watermarks());
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
