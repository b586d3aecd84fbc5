//! What opening makes of a crash, a torn end, and lost or outdated files.

use super::{change, copy_all, killed, open, scratch, segment, small, unmarked};
use crate::store::contract::{Source, assert_holds, assert_same, commit, commit_each, restore_further};
use crate::store::embedded::frame::ALIGN;
use crate::store::embedded::shared::Running;
use crate::store::embedded::{EmbeddedLog, Options, inspect};
use crate::store::memory::MemoryLog;
use crate::store::{CommitError, Frame, LogStore, StoreError};
use std::fs;
use std::os::unix::fs::FileExt;

/// Sizes of the frames on disk.
fn length(frame: &Frame) -> usize {
    super::super::frame::length(frame).unwrap() as usize
}

#[test]
fn a_write_torn_at_any_byte_leaves_all_or_nothing_of_each_frame() {
    let (dir, mut source) = (scratch(), Source::default());
    let log = open(dir.path(), &unmarked());
    let first = source.singles(&[1, 2]);
    commit(&log, &first);
    log.close().unwrap();
    drop(log);
    let log = open(dir.path(), &unmarked());
    let batch =
        vec![vec![source.entry(1, None, 0), source.entry(2, None, 0)], vec![source.entry(3, None, 0)]];
    commit(&log, &batch);
    drop(log);
    let written = fs::read(segment(dir.path(), 0)).unwrap();
    let start = ALIGN + first.iter().map(length).sum::<usize>();
    let (middle, end) = (start + length(&batch[0]), start + batch.iter().map(length).sum::<usize>());
    for cut in (start..middle).step_by(13).chain(middle..=end) {
        // The segment alone: what is derived would know of the batch, since it is written after the flush.
        let copy = scratch();
        fs::create_dir(copy.path().join("segments")).unwrap();
        let torn = [&written[..cut], &vec![0; written.len() - cut]].concat();
        fs::write(segment(copy.path(), 0), torn).unwrap();
        let log = open(copy.path(), &unmarked());
        // Padding is zeros either way, so a frame may be whole a little before its end.
        let untouched = |end: &usize| written[cut.min(*end)..*end].iter().all(|byte| *byte == 0);
        let whole = [start, middle, end].into_iter().rfind(untouched).unwrap();
        let kept = [middle, end].iter().filter(|end| **end <= whole).count();
        let frames: Vec<Frame> = first.iter().chain(&batch[..kept]).cloned().collect();
        assert_eq!(log.head().size, frames.iter().map(Vec::len).sum::<usize>() as u64, "cut at {cut}");
        let torn = written[whole.min(cut)..cut].iter().any(|byte| *byte != 0);
        assert_eq!(log.recovery().cut, torn.then_some((0, whole as u64)), "cut at {cut}");
        restore_further(&log, &frames);
        assert_holds(&log, 0, &frames);
    }
}

#[test]
fn a_log_goes_on_after_a_torn_end() {
    let (dir, mut source) = (scratch(), Source::default());
    let model = MemoryLog::default();
    let log = open(dir.path(), &unmarked());
    let mut frames = source.singles(&[1, 2]);
    commit(&log, &frames);
    commit(&model, &frames);
    let mut other = Source::default();
    let _same = other.singles(&[1, 2]);
    let copy = killed(dir.path());
    commit(&log, &other.singles(&[3, 3]));
    let end = ALIGN + frames.iter().map(length).sum::<usize>();
    change(&segment(copy.path(), 0), |bytes| {
        let torn = &fs::read(segment(dir.path(), 0)).unwrap()[end..end + 300];
        bytes[end..end + 300].copy_from_slice(torn);
    });
    let log = open(copy.path(), &unmarked());
    assert_eq!(log.recovery().cut, Some((0, end as u64)));
    let more = source.singles(&[2, 2, 1]);
    commit(&log, &more);
    commit(&model, &more);
    frames.extend(more);
    drop(log);
    let log = open(copy.path(), &unmarked());
    assert_eq!(log.recovery().cut, None);
    restore_further(&log, &frames);
    assert_same(&log, &model);
}

/// Of a torn write the second frame may be on the disk without the first. Once as many bytes are written in the place
/// of the first, the second would stand where the next frame is looked for.
#[test]
fn frames_of_a_torn_write_never_come_back() {
    let (dir, mut source) = (scratch(), Source::default());
    let log = open(dir.path(), &unmarked());
    let first = source.singles(&[1]);
    commit(&log, &first);
    let before = killed(dir.path());
    let torn = source.singles(&[2, 3]);
    commit(&log, &torn);
    let written = fs::read(segment(dir.path(), 0)).unwrap();
    drop(log);
    let start = ALIGN + length(&first[0]);
    let second = start + length(&torn[0]);
    change(&segment(before.path(), 0), |bytes| bytes[second..].copy_from_slice(&written[second..]));
    let log = open(before.path(), &unmarked());
    assert_eq!(log.head().size, 1);
    assert_eq!(log.recovery().cut, Some((0, start as u64)));
    let again = Source::default().singles(&[1, 2]).split_off(1);
    assert_eq!(length(&again[0]), length(&torn[0]));
    commit(&log, &again);
    let copy = killed(before.path());
    let log = open(copy.path(), &unmarked());
    assert_eq!(log.head().size, 2);
}

#[test]
fn everything_that_can_be_rebuilt_is() {
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
    let closed = killed(dir.path());
    for lost in [vec!["tree"], vec!["locations"], vec!["tree", "locations"], vec!["index"], vec!["mark"]] {
        let copy = killed(closed.path());
        for name in &lost {
            let path = copy.path().join(name);
            if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
        }
        let log = open(copy.path(), &small());
        assert_eq!(log.recovery().rebuilt_from, Some(0), "{lost:?}");
        // Only what an index held that was lost has to be given back.
        let further_lost = lost == ["index"] || lost == ["mark"];
        assert_eq!(log.unindexed_from().is_some(), further_lost, "{lost:?}");
        restore_further(&log, &frames);
        assert_same(&log, &model);
    }
}

#[test]
fn flat_files_with_other_contents_are_rebuilt() {
    let (dir, mut source) = (scratch(), Source::default());
    let model = MemoryLog::default();
    let log = open(dir.path(), &small());
    let frames = vec![(0..600).map(|_| source.entry(1, None, 0)).collect::<Frame>()];
    commit(&log, &frames);
    commit(&model, &frames);
    log.close().unwrap();
    drop(log);
    for (name, at) in [("tree/00", 32 * 599), ("tree/08", 32), ("locations", 0)] {
        let copy = killed(dir.path());
        change(&copy.path().join(name), |bytes| bytes[at] ^= 1);
        let log = open(copy.path(), &small());
        assert!(!log.recovery().clean, "{name}");
        assert_same(&log, &model);
    }
}

#[test]
fn a_rebuild_that_was_interrupted_begins_again() {
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
    // Damage far in: the rebuild gets half way.
    let damaged = killed(dir.path());
    let last = fs::read_dir(dir.path().join("segments")).unwrap().count() as u32 - 1;
    change(&segment(damaged.path(), last), |bytes| bytes[ALIGN + 100] ^= 1);
    assert!(EmbeddedLog::open(damaged.path(), small()).is_err());
    assert!(damaged.path().join("tree/00").metadata().unwrap().len() >= 32 * 30);
    fs::copy(segment(dir.path(), last), segment(damaged.path(), last)).unwrap();
    let log = open(damaged.path(), &small());
    assert_eq!(log.recovery().rebuilt_from, Some(0));
    restore_further(&log, &frames);
    assert_same(&log, &model);
}

#[test]
fn an_outdated_index_is_rebuilt() {
    let (dir, mut source) = (scratch(), Source::default());
    let model = MemoryLog::default();
    let log = open(dir.path(), &unmarked());
    let mut frames = source.singles(&[1, 2, 3]);
    commit(&log, &frames);
    drop(log);
    let old = killed(dir.path());
    let log = open(dir.path(), &unmarked());
    let more = source.singles(&[1, 2, 3, 1]);
    commit(&log, &more);
    frames.extend(more);
    commit(&model, &frames);
    drop(log);
    // Once more, so that the mark is of after.
    drop(open(dir.path(), &unmarked()));
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    copy_all(&old.path().join("index"), &dir.path().join("index"));
    let log = open(dir.path(), &unmarked());
    assert_eq!(log.unindexed_from(), Some(0));
    restore_further(&log, &frames);
    assert_same(&log, &model);
}

#[test]
fn an_index_that_lost_one_record_is_rebuilt() {
    for prefix in ["s", "i", "x", "p"] {
        let (dir, mut source) = (scratch(), Source::default());
        let log = open(dir.path(), &unmarked());
        let model = MemoryLog::default();
        let frames: Vec<Frame> = (0..20).map(|number| vec![source.entry(1, Some(number), 0)]).collect();
        commit(&log, &frames);
        commit(&model, &frames);
        drop(log);
        let log = open(dir.path(), &unmarked());
        restore_further(&log, &frames);
        drop(log);
        let records = super::raw(&dir.path().join("index"));
        let (key, _) = records.scan_prefix(prefix).nth(3).unwrap().unwrap();
        records.remove(key).unwrap();
        records.flush().unwrap();
        drop(records);
        let log = open(dir.path(), &unmarked());
        assert_eq!(log.recovery().rebuilt_from, Some(0), "{prefix}");
        restore_further(&log, &frames);
        assert_same(&log, &model);
    }
}

#[test]
fn giving_back_survives_a_crash() {
    let (dir, mut source) = (scratch(), Source::default());
    let log = open(dir.path(), &unmarked());
    let mut frames = source.singles(&[1, 2, 3, 4]);
    commit(&log, &frames);
    log.close().unwrap();
    drop(log);
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    let log = open(dir.path(), &unmarked());
    assert_eq!(log.unindexed_from(), Some(0));
    let given = frames[..2].iter().flatten().zip(0..).map(|(entry, at)| (at, entry.index.clone()));
    log.index_restore(&given.collect::<Vec<_>>(), 2).unwrap();
    let copy = killed(dir.path());
    let log = open(copy.path(), &unmarked());
    assert_eq!(log.unindexed_from(), Some(2));
    assert!(log.index_get(&frames[1][0].index[0].0).unwrap().is_some());
    // What is committed meanwhile is given back as well.
    let more = source.singles(&[5]);
    commit(&log, &more);
    frames.extend(more);
    assert_eq!(log.unindexed_from(), Some(2));
    restore_further(&log, &frames);
    assert_holds(&log, 0, &frames);
}

#[test]
fn figures_and_times_survive_over_many_segments() {
    let (dir, mut source) = (scratch(), Source::default());
    let log = open(dir.path(), &small());
    let frames: Vec<Frame> = (0..60).map(|_| vec![source.entry(1, None, 200)]).collect();
    commit_each(&log, &frames);
    log.discard(&[0, 30, 59]).unwrap();
    let (head, bytes) = (log.head(), log.entry_bytes());
    assert!(log.shared.segments.count() > 3);
    for close in [false, true] {
        let copy = killed(dir.path());
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
fn marks_follow_the_commits() {
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
fn a_segment_that_nothing_was_written_into_is_no_damage() {
    let (dir, mut source) = (scratch(), Source::default());
    let log = open(dir.path(), &unmarked());
    let frames = source.singles(&[1, 2]);
    commit(&log, &frames);
    // Started where the log ends; started for a batch that was refused, after which the log went on; half made.
    for first in [Some(2_u64), Some(1), None] {
        let copy = killed(dir.path());
        {
            let log = open(copy.path(), &unmarked());
            log.shared.segments.start(first.unwrap_or(0), 100).unwrap();
        }
        if first.is_none() {
            change(&segment(copy.path(), 1), |bytes| bytes.fill(0));
        }
        let log = open(copy.path(), &unmarked());
        let mut source = Source::default();
        let same = source.singles(&[1, 2]);
        restore_further(&log, &same);
        assert_holds(&log, 0, &frames);
        assert_eq!(log.head().recorded_at_ms, frames[1][0].recorded_at_ms);
        commit(&log, &source.singles(&[3]));
        drop(log);
        assert_eq!(open(copy.path(), &unmarked()).head().size, 3);
    }
}

#[test]
fn after_a_failed_write_nothing_is_written() {
    let (dir, mut source) = (scratch(), Source::default());
    let log = open(dir.path(), &small());
    let frames = source.singles(&[1]);
    commit(&log, &frames);
    let failed: Result<(), _> = log.shared.all_or_stop(|| Err(StoreError::Missing("disk")));
    assert!(failed.is_err());
    assert_eq!(log.shared.running(), Running::Stopped);
    let refused = log.commit(1, &source.singles(&[1]));
    assert!(matches!(refused, Err(CommitError::Unknown(StoreError::Stopped))));
    assert!(matches!(log.discard(&[0]), Err(StoreError::Stopped)));
    assert!(matches!(log.close(), Err(StoreError::Stopped)));
    assert_holds(&log, 0, &frames);
    drop(log);
    let log = open(dir.path(), &small());
    assert_eq!(log.head().size, 1);
}

#[test]
fn a_write_that_the_system_refuses_stops_the_log() {
    let (dir, mut source) = (scratch(), Source::default());
    let log = open(dir.path(), &unmarked());
    let frames = source.singles(&[1]);
    commit(&log, &frames);
    // The same segment, open for reading only: writing into it fails.
    let read_only = fs::File::open(segment(dir.path(), 0)).unwrap();
    assert!(read_only.write_all_at(b"x", 0).is_err());
    log.shared.segments.replace_file_of_last(read_only);
    let refused = log.commit(1, &source.singles(&[2]));
    assert!(matches!(refused, Err(CommitError::Unknown(StoreError::Io { .. }))), "{refused:?}");
    let refused = log.commit(1, &source.singles(&[2]));
    assert!(matches!(refused, Err(CommitError::Unknown(StoreError::Stopped))));
    assert_eq!(log.subject_head(crate::store::contract::handle(2)).unwrap(), None);
    assert_holds(&log, 0, &frames);
}

/// What waits for sled is found like what is there, and no more waits than may.
#[test]
fn what_is_pending_is_found_and_bounded() {
    let (dir, mut source) = (scratch(), Source::default());
    let options = Options { pending_records_max: 30, ..unmarked() };
    let log = open(dir.path(), &options);
    let model = MemoryLog::default();
    for number in 0..60 {
        // Every entry has three records, and its request a fourth.
        let frame = vec![source.entry(number % 3, Some(number), 0), source.entry(1, Some(number), 0)];
        commit(&log, std::slice::from_ref(&frame));
        commit(&model, std::slice::from_ref(&frame));
        assert!(log.shared.index.waiting() < 30 + 7);
        if number % 10 == 0 {
            assert_same(&log, &model);
        }
    }
    assert!(log.shared.index.waiting() > 0);
    assert_same(&log, &model);
    log.shared.index.settle().unwrap();
    assert_eq!(log.shared.index.waiting(), 0);
    assert_same(&log, &model);
    log.discard(&[3, 4, 5, 118]).unwrap();
    model.discard(&[3, 4, 5, 118]).unwrap();
    assert_same(&log, &model);
}

/// Between the sync of the index and the mark that says so, the index holds more than the mark: the next start forgets that
/// and replays it, so there is nothing that would have to be rebuilt.
#[test]
fn an_index_ahead_of_its_mark_is_nothing_to_rebuild() {
    let (dir, mut source) = (scratch(), Source::default());
    let log = open(dir.path(), &unmarked());
    let first: Vec<Frame> = (0..3).map(|of| vec![source.entry(of + 1, None, 40)]).collect();
    commit(&log, &first);
    log.close().unwrap();
    drop(log);
    let log = open(dir.path(), &unmarked());
    let behind: Vec<Frame> = (0..4).map(|of| vec![source.entry(of + 1, None, 40)]).collect();
    commit(&log, &behind);
    log.shared.index.settle().unwrap();
    log.shared.index.flush().unwrap();
    let (left, copies) = (killed(dir.path()), scratch());
    let found = inspect(left.path(), 0, copies.path(), |_| Ok(())).unwrap();
    assert_eq!((found.size, found.rebuildable), (7, Vec::<String>::new()));
    // What the index says to be durable still counts: an end that is cut off below it is no torn write.
    change(&segment(left.path(), 0), |bytes| {
        let written = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        bytes[written - 8] ^= 1;
    });
    let copies = scratch();
    let found = inspect(left.path(), 0, copies.path(), |_| Ok(())).unwrap();
    assert_eq!((found.torn, found.damaged.len()), (None, 1));
    EmbeddedLog::open(left.path(), unmarked()).map(|_| ()).unwrap_err();
}
