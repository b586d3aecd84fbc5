//! Tests with a store that reports some writes as failed. Such a write may be lost, or the store may have
//! persisted all of it or a part. Even so, no acknowledged entry is lost, and no two published checkpoints
//! disagree.

use super::bench::{Bench, Outcome, Subject};
use crate::ledger::{Ledger, SignedCheckpoint, SubmitError};
use crate::store::LogStore;
use sayso_proof::merkle::{self, Hash};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

#[tokio::test]
async fn a_rejected_write_can_be_repeated() {
    let bench = Bench::new();
    let ledger = bench.open();
    let mut ada = Subject::new(1);
    ada.write(&ledger).await.unwrap();
    let before = ledger.checkpoint();
    bench.store.script(Outcome::Rejected);
    let entry = ada.next(&ledger);
    assert_eq!(ledger.submit(vec![entry.clone()]).await.map(|_| ()), Err(SubmitError::Unavailable));
    assert_eq!(*ledger.checkpoint(), *before);
    assert!(ledger.is_running());
    // The store accepts writes again, and the same entry gets its position.
    assert_eq!(ledger.submit(vec![entry]).await.unwrap().entries[0].position, 1);
    ada.write(&ledger).await.unwrap();
}

#[tokio::test]
async fn an_unknown_outcome_stops_the_log_until_the_next_start() {
    for (outcome, expected) in [(Outcome::Lost, 1), (Outcome::Persisted, 2), (Outcome::Conflict, 1)] {
        let bench = Bench::new();
        let ledger = bench.open();
        let mut ada = Subject::new(1);
        ada.write(&ledger).await.unwrap();
        let before = ledger.checkpoint();
        bench.store.script(outcome);
        assert_eq!(ada.clone().write(&ledger).await.map(|_| ()), Err(SubmitError::Stopped));
        assert_eq!(Subject::new(2).write(&ledger).await.map(|_| ()), Err(SubmitError::Stopped));
        super::bench::until(|| !ledger.is_running()).await;
        assert_eq!(
            *ledger.checkpoint(),
            *before,
            "no checkpoint is signed for entries that may not be durable"
        );
        ledger.inclusion_proof(0, 1).unwrap();
        ledger.shutdown();
        assert!(!bench.store.closed.load(Ordering::SeqCst), "the store is not closed cleanly");

        let ledger = bench.open();
        let after = ledger.checkpoint();
        assert_eq!(after.size, expected, "{outcome:?}");
        let proof = ledger.consistency_proof(before.size, after.size).unwrap();
        merkle::verify_consistency(before.size, &before.root, after.size, &after.root, &proof).unwrap();
    }
}

#[tokio::test]
async fn every_waiting_write_fails_when_the_log_stops() {
    let bench = Bench::new();
    let ledger = bench.open();
    bench.store.script(Outcome::Lost);
    bench.store.shut();
    let tasks: Vec<_> = (1..=6)
        .map(|number| {
            let ledger = Arc::clone(&ledger);
            tokio::spawn(async move { Subject::new(number).write(&ledger).await.map(|_| ()) })
        })
        .collect();
    super::bench::until(|| bench.store.waiting.load(Ordering::SeqCst)).await;
    bench.store.open();
    for task in tasks {
        assert_eq!(task.await.unwrap(), Err(SubmitError::Stopped));
    }
}

#[tokio::test]
async fn shutdown_finishes_waiting_writes() {
    let bench = Bench::new();
    let ledger = bench.open();
    bench.store.shut();
    let tasks: Vec<_> = (1..=6)
        .map(|number| {
            let ledger = Arc::clone(&ledger);
            tokio::spawn(async move { Subject::new(number).write(&ledger).await.map(|_| ()) })
        })
        .collect();
    super::bench::until(|| bench.store.waiting.load(Ordering::SeqCst)).await;
    let shutdown = tokio::task::spawn_blocking({
        let ledger = Arc::clone(&ledger);
        move || ledger.shutdown()
    });
    bench.store.open();
    shutdown.await.unwrap();
    for task in tasks {
        assert_eq!(task.await.unwrap(), Ok(()));
    }
    assert_eq!(Subject::new(9).write(&ledger).await.map(|_| ()), Err(SubmitError::Stopped));
    assert!(bench.store.closed.load(Ordering::SeqCst));
    assert_eq!(bench.store.head().size, 6);
}

/// A small reproducible random generator (xorshift); a failing test prints its seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// Every answer that clients received.
#[derive(Default)]
struct Answers {
    entries: BTreeMap<u64, Hash>,
    checkpoints: Vec<Arc<SignedCheckpoint>>,
}

/// Reads the end of a subject's chain from the store, as the daemon does after a failure.
fn reload(store: &dyn LogStore, subject: &mut Subject) {
    let head = store.subject_head(subject.handle).unwrap();
    subject.version = head.map_or(0, |(version, _)| version + 1);
    subject.previous = head.map(|(_, position)| store.read_entry(position).unwrap().leaf_hash);
}

/// Submits one frame for each subject. Returns whether the log stopped.
async fn round(
    bench: &Bench,
    ledger: &Arc<Ledger>,
    subjects: &mut [Subject],
    dice: &mut Dice,
    answers: &mut Answers,
) -> bool {
    match dice.roll(12) {
        0 => bench.store.script(Outcome::Rejected),
        1 => bench.store.script(Outcome::Lost),
        2 => bench.store.script(Outcome::Persisted),
        3 => bench.store.script(Outcome::Torn),
        _ => {}
    }
    let tasks: Vec<_> = subjects
        .iter_mut()
        .map(|subject| {
            let frame = subject.frame(ledger, 1 + usize::try_from(dice.roll(3)).unwrap());
            let leaves: Vec<Hash> = frame.iter().map(|each| each.entry.leaf_hash()).collect();
            let ledger = Arc::clone(ledger);
            tokio::spawn(async move { ledger.submit(frame).await.map(|committed| (leaves, committed)) })
        })
        .collect();
    let mut stopped = false;
    for (task, subject) in tasks.into_iter().zip(subjects) {
        match task.await.unwrap() {
            Ok((leaves, committed)) => {
                for (leaf, place) in leaves.iter().zip(&committed.entries) {
                    assert!(
                        answers.entries.insert(place.position, *leaf).is_none(),
                        "a position was assigned twice"
                    );
                }
                answers.checkpoints.push(committed.checkpoint);
            }
            Err(SubmitError::Unavailable) => reload(bench.store.as_ref(), subject),
            Err(SubmitError::Stopped) => stopped = true,
            Err(error) => panic!("{error}"),
        }
    }
    stopped
}

async fn run(seed: u64) {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::with_checkpoint_file(dir.path().join("checkpoint"));
    let mut ledger = bench.open();
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut subjects: Vec<Subject> = (1..=5).map(Subject::new).collect();
    let mut answers = Answers { checkpoints: vec![ledger.checkpoint()], ..Answers::default() };
    for _ in 0..25 {
        let stopped = round(&bench, &ledger, &mut subjects, &mut dice, &mut answers).await;
        answers.checkpoints.push(ledger.checkpoint());
        if stopped || dice.roll(8) == 0 {
            ledger.shutdown();
            ledger = bench.open();
            answers.checkpoints.push(ledger.checkpoint());
            subjects.iter_mut().for_each(|subject| reload(bench.store.as_ref(), subject));
        }
    }
    let last = ledger.checkpoint();
    for (position, leaf) in &answers.entries {
        assert_eq!(
            bench.store.read_entry(*position).unwrap().leaf_hash,
            *leaf,
            "an acknowledged entry was lost"
        );
        let proof = ledger.inclusion_proof(*position, last.size).unwrap();
        merkle::verify_inclusion(leaf, *position, last.size, &proof, &last.root).unwrap();
    }
    for pair in answers.checkpoints.windows(2) {
        let (one, other) =
            if pair[0].size <= pair[1].size { (&pair[0], &pair[1]) } else { (&pair[1], &pair[0]) };
        let proof = ledger.consistency_proof(one.size, other.size).unwrap();
        merkle::verify_consistency(one.size, &one.root, other.size, &other.root, &proof).unwrap();
    }
    for checkpoint in &answers.checkpoints {
        let proof = ledger.consistency_proof(checkpoint.size, last.size).unwrap();
        merkle::verify_consistency(checkpoint.size, &checkpoint.root, last.size, &last.root, &proof).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_entry_is_lost_and_no_two_checkpoints_disagree() {
    for seed in 1..=40 {
        let result = tokio::spawn(run(seed)).await;
        assert!(result.is_ok(), "seed {seed}");
    }
}
