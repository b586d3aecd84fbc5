//! Tests of recovery from crashes, torn writes, and lost or outdated files.

use super::{after_kill, change, copy_all, open, scratch, segment, small, without_watermarks};
use crate::store::contract::{
    Source, assert_holds, assert_same, commit, commit_each, restore_custom_records,
};
use crate::store::embedded::frame::{self, ALIGN};
use crate::store::embedded::shared::Running;
use crate::store::embedded::{EmbeddedLog, Options, inspect};
use crate::store::memory::MemoryLog;
use crate::store::{CommitError, Frame, LogStore, StoreError};
use std::fs;
use std::os::unix::fs::FileExt;

/// Bytes of a frame on disk.
fn length(frame: &Frame) -> usize {
    frame::length(frame).unwrap() as usize
}

#[test]
fn after_a_torn_write_each_frame_is_there_completely_or_not_at_all() {
    let (dir, mut source) = (scratch(), Source::default());
    let log = open(dir.path(), &without_watermarks());
    let first = source.singles(&[1, 2]);
    commit(&log, &first);
    log.close().unwrap();
    drop(log);
    let log = open(dir.path(), &without_watermarks());
    let batch =
        vec![vec![source.entry(1, None, 0), source.entry(2, None, 0)], vec![source.entry(3, None, 0)]];
    commit(&log, &batch);
    drop(log);
    let written = fs::read(segment(dir.path(), 0)).unwrap();
    let start = ALIGN + first.iter().map(length).sum::<usize>();
    let (middle, end) = (start + length(&batch[0]), start + batch.iter().map(length).sum::<usize>());
    for cut in (start..middle).step_by(13).chain(middle..=end) {
        // The copy has only the segment. The other files get a batch only after the flush, so they do not
        // have the batch of a torn write.
        let copy = scratch();
        fs::create_dir(copy.path().join("segments")).unwrap();
        let torn = [&written[..cut], &vec![0; written.len() - cut]].concat();
        fs::write(segment(copy.path(), 0), torn).unwrap();
        let log = open(copy.path(), &without_watermarks());
        // Padding is zero in any case, so a frame may be complete a little before its end.
        let is_complete = |end: &usize| written[cut.min(*end)..*end].iter().all(|byte| *byte == 0);
        let intact_to = [start, middle, end].into_iter().rfind(is_complete).unwrap();
        let kept = [middle, end].iter().filter(|end| **end <= intact_to).count();
        let frames: Vec<Frame> = first.iter().chain(&batch[..kept]).cloned().collect();
        assert_eq!(log.head().size, frames.iter().map(Vec::len).sum::<usize>() as u64, "cut at {cut}");
        let torn = written[intact_to.min(cut)..cut].iter().any(|byte| *byte != 0);
        assert_eq!(log.recovery().cut, torn.then_some((0, intact_to as u64)), "cut at {cut}");
        restore_custom_records(&log, &frames);
        assert_holds(&log, 0, &frames);
    }
}

#[test]
fn a_log_continues_after_a_torn_write() {
    let (dir, mut source) = (scratch(), Source::default());
    let model = MemoryLog::default();
    let log = open(dir.path(), &without_watermarks());
    let mut frames = source.singles(&[1, 2]);
    commit(&log, &frames);
    commit(&model, &frames);
    let mut other = Source::default();
    let _same = other.singles(&[1, 2]);
    let copy = after_kill(dir.path());
    commit(&log, &other.singles(&[3, 3]));
    let end = ALIGN + frames.iter().map(length).sum::<usize>();
    change(&segment(copy.path(), 0), |bytes| {
        let torn = &fs::read(segment(dir.path(), 0)).unwrap()[end..end + 300];
        bytes[end..end + 300].copy_from_slice(torn);
    });
    let log = open(copy.path(), &without_watermarks());
    assert_eq!(log.recovery().cut, Some((0, end as u64)));
    let more = source.singles(&[2, 2, 1]);
    commit(&log, &more);
    commit(&model, &more);
    frames.extend(more);
    drop(log);
    let log = open(copy.path(), &without_watermarks());
    assert_eq!(log.recovery().cut, None);
    restore_custom_records(&log, &frames);
    assert_same(&log, &model);
}

/// A torn write of two frames may leave only the second frame on the disk. If the next write puts a frame of
/// the same length in the place of the missing one, the old second frame comes right after the new frame.
/// Recovery must not take the old frame for a part of the log.
#[test]
fn frames_of_a_torn_write_never_reappear() {
    let (dir, mut source) = (scratch(), Source::default());
    let log = open(dir.path(), &without_watermarks());
    let first = source.singles(&[1]);
    commit(&log, &first);
    let before = after_kill(dir.path());
    let torn = source.singles(&[2, 3]);
    commit(&log, &torn);
    let written = fs::read(segment(dir.path(), 0)).unwrap();
    drop(log);
    let start = ALIGN + length(&first[0]);
    let second = start + length(&torn[0]);
    change(&segment(before.path(), 0), |bytes| bytes[second..].copy_from_slice(&written[second..]));
    let log = open(before.path(), &without_watermarks());
    assert_eq!(log.head().size, 1);
    assert_eq!(log.recovery().cut, Some((0, start as u64)));
    let again = Source::default().singles(&[1, 2]).split_off(1);
    assert_eq!(length(&again[0]), length(&torn[0]));
    commit(&log, &again);
    let copy = after_kill(before.path());
    let log = open(copy.path(), &without_watermarks());
    assert_eq!(log.head().size, 2);
}

#[test]
fn lost_files_are_rebuilt_from_the_segments() {
    let (dir, mut source) = (scratch(), Source::default());
    let model = MemoryLog::default();
    let log = open(dir.path(), &small());
    let mut frames = source.singles(&[0, 1, 2, 1, 2, 1, 3, 1]);
    frames.push((0..300).map(|_| source.entry(1, Some(1), 0)).collect());
    for frame in &frames {
        commit(&log, std::slice::from_ref(frame));
        commit(&model, std::slice::from_ref(frame));
    }
    log.discard(&[1, 6, 8, 9, 20]).unwrap();
    model.discard(&[1, 6, 8, 9, 20]).unwrap();
    assert!(log.shared.segments.count() > 1);
    log.close().unwrap();
    drop(log);
    let closed = after_kill(dir.path());
    for lost in [vec!["tree"], vec!["locations"], vec!["tree", "locations"], vec!["index"], vec!["mark"]] {
        let copy = after_kill(closed.path());
        for name in &lost {
            let path = copy.path().join(name);
            if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
        }
        let log = open(copy.path(), &small());
        assert_eq!(log.recovery().rebuilt_from, Some(0), "{lost:?}");
        // Custom records have to be restored only if the index or the watermark was lost.
        let records_lost = lost == ["index"] || lost == ["mark"];
        assert_eq!(log.unindexed_from().is_some(), records_lost, "{lost:?}");
        restore_custom_records(&log, &frames);
        assert_same(&log, &model);
    }
}

#[test]
fn damaged_flat_files_are_rebuilt() {
    let (dir, mut source) = (scratch(), Source::default());
    let model = MemoryLog::default();
    let log = open(dir.path(), &small());
    let frames = vec![(0..600).map(|_| source.entry(1, None, 0)).collect::<Frame>()];
    commit(&log, &frames);
    commit(&model, &frames);
    log.close().unwrap();
    drop(log);
    for (name, at) in [("tree/00", 32 * 599), ("tree/08", 32), ("locations", 0)] {
        let copy = after_kill(dir.path());
        change(&copy.path().join(name), |bytes| bytes[at] ^= 1);
        let log = open(copy.path(), &small());
        assert!(!log.recovery().clean, "{name}");
        assert_same(&log, &model);
    }
}

#[test]
fn an_interrupted_rebuild_starts_again() {
    let (dir, mut source) = (scratch(), Source::default());
    let log = open(dir.path(), &small());
    let model = MemoryLog::default();
    let frames: Vec<Frame> = (0..30).map(|_| vec![source.entry(1, None, 0)]).collect();
    commit(&model, &frames);
    commit_each(&log, &frames);
    log.close().unwrap();
    drop(log);
    fs::remove_dir_all(dir.path().join("tree")).unwrap();
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    // Damage in the last segment stops the rebuild halfway.
    let damaged = after_kill(dir.path());
    let last = fs::read_dir(dir.path().join("segments")).unwrap().count() as u32 - 1;
    change(&segment(damaged.path(), last), |bytes| bytes[ALIGN + 100] ^= 1);
    assert!(EmbeddedLog::open(damaged.path(), small()).is_err());
    assert!(damaged.path().join("tree/00").metadata().unwrap().len() >= 32 * 30);
    fs::copy(segment(dir.path(), last), segment(damaged.path(), last)).unwrap();
    let log = open(damaged.path(), &small());
    assert_eq!(log.recovery().rebuilt_from, Some(0));
    restore_custom_records(&log, &frames);
    assert_same(&log, &model);
}

#[test]
fn an_outdated_index_is_rebuilt() {
    let (dir, mut source) = (scratch(), Source::default());
    let model = MemoryLog::default();
    let log = open(dir.path(), &without_watermarks());
    let mut frames = source.singles(&[1, 2, 3]);
    commit(&log, &frames);
    drop(log);
    let old = after_kill(dir.path());
    let log = open(dir.path(), &without_watermarks());
    let more = source.singles(&[1, 2, 3, 1]);
    commit(&log, &more);
    frames.extend(more);
    commit(&model, &frames);
    drop(log);
    // The log is opened once more, so that the watermark covers the new entries.
    drop(open(dir.path(), &without_watermarks()));
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    copy_all(&old.path().join("index"), &dir.path().join("index"));
    let log = open(dir.path(), &without_watermarks());
    assert_eq!(log.unindexed_from(), Some(0));
    restore_custom_records(&log, &frames);
    assert_same(&log, &model);
}

#[test]
fn an_index_that_lost_a_record_is_rebuilt() {
    for prefix in ["s", "i", "x", "p"] {
        let (dir, mut source) = (scratch(), Source::default());
        let log = open(dir.path(), &without_watermarks());
        let model = MemoryLog::default();
        let frames: Vec<Frame> = (0..20).map(|number| vec![source.entry(1, Some(number), 0)]).collect();
        commit(&log, &frames);
        commit(&model, &frames);
        drop(log);
        let log = open(dir.path(), &without_watermarks());
        restore_custom_records(&log, &frames);
        drop(log);
        let records = super::sled_tree(&dir.path().join("index"));
        let (key, _) = records.scan_prefix(prefix).nth(3).unwrap().unwrap();
        records.remove(key).unwrap();
        records.flush().unwrap();
        drop(records);
        let log = open(dir.path(), &without_watermarks());
        assert_eq!(log.recovery().rebuilt_from, Some(0), "{prefix}");
        restore_custom_records(&log, &frames);
        assert_same(&log, &model);
    }
}

#[test]
fn restored_custom_records_survive_a_crash() {
    let (dir, mut source) = (scratch(), Source::default());
    let log = open(dir.path(), &without_watermarks());
    let mut frames = source.singles(&[1, 2, 3, 4]);
    commit(&log, &frames);
    log.close().unwrap();
    drop(log);
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    let log = open(dir.path(), &without_watermarks());
    assert_eq!(log.unindexed_from(), Some(0));
    let restored = frames[..2].iter().flatten().zip(0..).map(|(entry, at)| (at, entry.index.clone()));
    log.index_restore(&restored.collect::<Vec<_>>(), 2).unwrap();
    let copy = after_kill(dir.path());
    let log = open(copy.path(), &without_watermarks());
    assert_eq!(log.unindexed_from(), Some(2));
    assert!(log.index_get(&frames[1][0].index[0].0).unwrap().is_some());
    // The records of later commits have to be restored, too.
    let more = source.singles(&[5]);
    commit(&log, &more);
    frames.extend(more);
    assert_eq!(log.unindexed_from(), Some(2));
    restore_custom_records(&log, &frames);
    assert_holds(&log, 0, &frames);
}

#[test]
fn head_and_entry_bytes_survive_with_many_segments() {
    let (dir, mut source) = (scratch(), Source::default());
    let log = open(dir.path(), &small());
    let frames: Vec<Frame> = (0..60).map(|_| vec![source.entry(1, None, 200)]).collect();
    commit_each(&log, &frames);
    log.discard(&[0, 30, 59]).unwrap();
    let (head, bytes) = (log.head(), log.entry_bytes());
    assert!(log.shared.segments.count() > 3);
    for close in [false, true] {
        let copy = after_kill(dir.path());
        let log = open(copy.path(), &small());
        assert_eq!((log.head(), log.entry_bytes()), (head, bytes));
        if close {
            log.close().unwrap();
        }
        drop(log);
        let log = open(copy.path(), &small());
        assert_eq!((log.head(), log.entry_bytes()), (head, bytes));
    }
}

#[test]
fn watermarks_follow_the_commits() {
    let (dir, mut source) = (scratch(), Source::default());
    let log = open(dir.path(), &small());
    for _ in 0..40 {
        commit(&log, &source.singles(&[1]));
    }
    drop(log);
    let log = open(dir.path(), &small());
    assert!(log.recovery().rebuilt_from.is_none_or(|from| from > 0), "{:?}", log.recovery());
}

#[test]
fn a_folder_is_opened_once() {
    let dir = scratch();
    let log = open(dir.path(), &small());
    assert!(matches!(EmbeddedLog::open(dir.path(), small()), Err(StoreError::Busy)));
    drop(log);
    drop(open(dir.path(), &small()));
}

#[test]
fn an_empty_segment_is_no_damage() {
    let (dir, mut source) = (scratch(), Source::default());
    let log = open(dir.path(), &without_watermarks());
    let frames = source.singles(&[1, 2]);
    commit(&log, &frames);
    // There are three cases. The empty segment was started at the end of the log. Or it was started for a
    // rejected batch, after which the log continued. Or it was only half created.
    for first in [Some(2_u64), Some(1), None] {
        let copy = after_kill(dir.path());
        {
            let log = open(copy.path(), &without_watermarks());
            log.shared.segments.start(first.unwrap_or(0), 100).unwrap();
        }
        if first.is_none() {
            change(&segment(copy.path(), 1), |bytes| bytes.fill(0));
        }
        let log = open(copy.path(), &without_watermarks());
        let mut source = Source::default();
        let same = source.singles(&[1, 2]);
        restore_custom_records(&log, &same);
        assert_holds(&log, 0, &frames);
        assert_eq!(log.head().recorded_at_ms, frames[1][0].recorded_at_ms);
        commit(&log, &source.singles(&[3]));
        drop(log);
        assert_eq!(open(copy.path(), &without_watermarks()).head().size, 3);
    }
}

#[test]
fn a_log_takes_no_writes_after_a_failed_one() {
    let (dir, mut source) = (scratch(), Source::default());
    let log = open(dir.path(), &small());
    let frames = source.singles(&[1]);
    commit(&log, &frames);
    let failed: Result<(), _> = log.shared.all_or_stop(|| Err(StoreError::Missing("disk")));
    assert!(failed.is_err());
    assert_eq!(log.shared.running(), Running::Stopped);
    let result = log.commit(1, &source.singles(&[1]));
    assert!(matches!(result, Err(CommitError::Unknown(StoreError::Stopped))));
    assert!(matches!(log.discard(&[0]), Err(StoreError::Stopped)));
    assert!(matches!(log.close(), Err(StoreError::Stopped)));
    assert_holds(&log, 0, &frames);
    drop(log);
    let log = open(dir.path(), &small());
    assert_eq!(log.head().size, 1);
}

#[test]
fn a_write_error_of_the_system_stops_the_log() {
    let (dir, mut source) = (scratch(), Source::default());
    let log = open(dir.path(), &without_watermarks());
    let frames = source.singles(&[1]);
    commit(&log, &frames);
    // The same segment, opened for reading only, so that writes fail.
    let read_only = fs::File::open(segment(dir.path(), 0)).unwrap();
    assert!(read_only.write_all_at(b"x", 0).is_err());
    log.shared.segments.replace_file_of_last(read_only);
    let result = log.commit(1, &source.singles(&[2]));
    assert!(matches!(result, Err(CommitError::Unknown(StoreError::Io { .. }))), "{result:?}");
    let result = log.commit(1, &source.singles(&[2]));
    assert!(matches!(result, Err(CommitError::Unknown(StoreError::Stopped))));
    assert_eq!(log.subject_head(crate::store::contract::handle(2)).unwrap(), None);
    assert_holds(&log, 0, &frames);
}

/// Pending records can be found like the records in sled, and their number is limited.
#[test]
fn pending_records_are_found_and_limited() {
    let (dir, mut source) = (scratch(), Source::default());
    let options = Options { pending_records_max: 30, ..without_watermarks() };
    let log = open(dir.path(), &options);
    let model = MemoryLog::default();
    for number in 0..60 {
        // Every entry has three records, and its request has a fourth.
        let frame = vec![source.entry(number % 3, Some(number), 0), source.entry(1, Some(number), 0)];
        commit(&log, std::slice::from_ref(&frame));
        commit(&model, std::slice::from_ref(&frame));
        assert!(log.shared.index.pending_records() < 30 + 7);
        if number % 10 == 0 {
            assert_same(&log, &model);
        }
    }
    assert!(log.shared.index.pending_records() > 0);
    assert_same(&log, &model);
    log.shared.index.settle().unwrap();
    assert_eq!(log.shared.index.pending_records(), 0);
    assert_same(&log, &model);
    log.discard(&[3, 4, 5, 118]).unwrap();
    model.discard(&[3, 4, 5, 118]).unwrap();
    assert_same(&log, &model);
}

/// After a sync and before the new watermark, the index has more than the watermark says. The next start
/// removes these records and replays them, so an inspection reports nothing to rebuild.
#[test]
fn an_index_ahead_of_its_watermark_needs_no_rebuild() {
    let (dir, mut source) = (scratch(), Source::default());
    let log = open(dir.path(), &without_watermarks());
    let first: Vec<Frame> = (0..3).map(|number| vec![source.entry(number + 1, None, 40)]).collect();
    commit(&log, &first);
    log.close().unwrap();
    drop(log);
    let log = open(dir.path(), &without_watermarks());
    let later: Vec<Frame> = (0..4).map(|number| vec![source.entry(number + 1, None, 40)]).collect();
    commit(&log, &later);
    log.shared.index.settle().unwrap();
    log.shared.index.flush().unwrap();
    let (killed, copies) = (after_kill(dir.path()), scratch());
    let found = inspect(killed.path(), 0, copies.path(), |_| Ok(())).unwrap();
    assert_eq!((found.size, found.rebuildable), (7, Vec::<String>::new()));
    // The index still says how many entries had been durable. Damage below that number is not a torn write.
    change(&segment(killed.path(), 0), |bytes| {
        let written = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        bytes[written - 8] ^= 1;
    });
    let copies = scratch();
    let found = inspect(killed.path(), 0, copies.path(), |_| Ok(())).unwrap();
    assert_eq!((found.torn, found.damaged.len()), (None, 1));
    EmbeddedLog::open(killed.path(), without_watermarks()).map(|_| ()).unwrap_err();
}
