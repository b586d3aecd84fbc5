//! Tests an embedded log with random commits, discards, crashes and lost files. After each step, the log is
//! compared with a log in memory that got the same commits and discards.

use super::{after_kill, open, scratch, small};
use crate::store::contract::{Source, assert_same, restore_custom_records};
use crate::store::memory::MemoryLog;
use crate::store::{Frame, LogStore};
use proptest::prelude::*;
use std::fs;

#[derive(Clone, Debug)]
enum Step {
    /// Frames with these numbers of entries.
    Commit(Vec<u8>),
    /// The positions at these thousandths of the log.
    Discard(Vec<u16>),
    Reopen,
    /// Reopens without closing.
    Drop,
    Kill,
    /// Reopens without this file or folder.
    Lose(&'static str),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => prop::collection::vec(1_u8..5, 1..5).prop_map(Step::Commit),
        2 => prop::collection::vec(0_u16..1000, 1..5).prop_map(Step::Discard),
        1 => Just(Step::Reopen),
        1 => Just(Step::Drop),
        2 => Just(Step::Kill),
        1 => prop::sample::select(vec!["index", "tree", "locations", "mark", "tree/00"]).prop_map(Step::Lose),
    ]
}

fn check(steps: Vec<Step>) {
    let (mut dir, mut source) = (scratch(), Source::default());
    let (mut log, model) = (open(dir.path(), &small()), MemoryLog::default());
    let (mut frames, mut requests) = (Vec::<Frame>::new(), 0_u8);
    for step in steps {
        match step {
            Step::Commit(lengths) => {
                let mut batch = Vec::new();
                for length in lengths {
                    requests = requests.saturating_add(1);
                    let request = (requests < u8::MAX).then_some(requests);
                    let subject = |number: u8| (requests.wrapping_mul(7) + number * 3) % 5;
                    let entry = |number| source.entry(subject(number), request, usize::from(number) * 90);
                    batch.push((0..length).map(entry).collect::<Frame>());
                }
                let expected = model.head().size;
                model.commit(expected, &batch).unwrap();
                log.commit(expected, &batch).unwrap();
                frames.extend(batch);
            }
            Step::Discard(thousandths) => {
                let size = model.head().size;
                let position = |share: &u16| size * u64::from(*share) / 1000;
                let positions: Vec<u64> =
                    thousandths.iter().map(position).filter(|position| *position < size).collect();
                model.discard(&positions).unwrap();
                log.discard(&positions).unwrap();
            }
            Step::Reopen => {
                log.close().unwrap();
                drop(log);
                log = open(dir.path(), &small());
                assert!(log.recovery().clean);
                assert_eq!(log.recovery().rebuilt_from, None);
            }
            Step::Drop => {
                drop(log);
                log = open(dir.path(), &small());
            }
            Step::Kill => {
                let copy = after_kill(dir.path());
                drop(log);
                dir = copy;
                log = open(dir.path(), &small());
            }
            Step::Lose(name) => {
                drop(log);
                let path = dir.path().join(name);
                if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
                log = open(dir.path(), &small());
            }
        }
        assert_eq!(log.recovery().cut, None);
        restore_custom_records(&log, &frames);
        assert_same(&log, &model);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn the_log_equals_its_model(steps in prop::collection::vec(step(), 1..14)) {
        check(steps);
    }
}
