//! Tests that acknowledged entries survive `kill -9` in the middle of a write. The test runs the test program
//! again in a second process, which writes until the test kills it.

use super::{open, scratch, small};
use crate::store::LogStore;
use crate::store::contract::{Source, commit, restore_custom_records};
use crate::store::{Frame, StoreError};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

const FOLDER: &str = "SAYSO_TEST_KILLED_FOLDER";

/// The batch with this number, which is the same in both processes.
fn batch(source: &mut Source, number: u64) -> Vec<Frame> {
    let length = 1 + number % 3;
    (0..length).map(|_| (0..length).map(|_| source.entry(1, None, 100)).collect()).collect()
}

/// The process to kill. Does nothing in an ordinary test run.
#[test]
fn writes_until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let log = open(Path::new(&folder), &small());
    let mut source = Source::default();
    for number in 0.. {
        commit(&log, &batch(&mut source, number));
        println!("acknowledged {}", log.head().size);
        if number % 10 == 9 {
            log.discard(&[number, number / 2]).unwrap();
            println!("discarded {number}");
        }
    }
}

#[test]
fn acknowledged_entries_survive_kill_9() {
    for round in 0..5_u64 {
        let dir = scratch();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::embedded::tests::kill::writes_until_it_is_killed", "--nocapture"])
            .env(FOLDER, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut acknowledged, mut discarded) = (0, Vec::new());
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let number = line.rsplit(' ').next().and_then(|number| number.parse::<u64>().ok());
            match number {
                Some(number) if line.contains("discarded") => discarded.extend([number, number / 2]),
                Some(number) if line.contains("acknowledged") => acknowledged = number,
                _ => {}
            }
            // The process is killed while it keeps writing. What it printed before it died counts as well.
            if acknowledged >= 30 + round * 17 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(acknowledged >= 30, "acknowledged {acknowledged}");
        let log = open(dir.path(), &small());
        assert!(log.head().size >= acknowledged);
        let mut source = Source::default();
        let frames: Vec<Frame> = (0..acknowledged).flat_map(|number| batch(&mut source, number)).collect();
        for (new, position) in frames.iter().flatten().zip(0..log.head().size) {
            let stored = log.read_entry(position).unwrap();
            assert_eq!(stored.leaf_hash, new.leaf_hash);
            assert!(stored.bytes.is_none_or(|bytes| bytes == new.bytes));
        }
        for position in discarded {
            assert_eq!(log.read_entry(position).unwrap().bytes, None, "position {position}");
        }
        restore_custom_records(&log, &frames);
        let next = log.head().size;
        assert!(matches!(log.read_entry(next), Err(StoreError::Missing(_))));
        assert_eq!(log.unindexed_from(), None);
    }
}
