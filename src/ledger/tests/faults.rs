//! A store that fails both ways: lost, and persisted but reported failed. Nothing that was acknowledged is lost, and no
//! two checkpoints that were given out disagree.

use super::bench::{Bench, Fate, Person};
use crate::ledger::{Ledger, SignedCheckpoint, SubmitError};
use crate::store::LogStore;
use sayso_proof::merkle::{self, Hash};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

#[tokio::test]
async fn a_store_that_takes_nothing_is_asked_again() {
    let bench = Bench::new();
    let ledger = bench.open();
    let mut ada = Person::new(1);
    ada.write(&ledger).await.unwrap();
    let before = ledger.checkpoint();
    bench.store.will(Fate::Rejected);
    let entry = ada.next(&ledger);
    assert_eq!(ledger.submit(vec![entry.clone()]).await.map(|_| ()), Err(SubmitError::Unavailable));
    assert_eq!(*ledger.checkpoint(), *before);
    assert!(ledger.is_running());
    // There is room again, and the very same entry has its place.
    assert_eq!(ledger.submit(vec![entry]).await.unwrap().entries[0].position, 1);
    ada.write(&ledger).await.unwrap();
}

#[tokio::test]
async fn an_unknown_outcome_stops_the_log_until_it_is_opened_again() {
    for (fate, expected) in [(Fate::Lost, 1), (Fate::Persisted, 2), (Fate::Conflict, 1)] {
        let bench = Bench::new();
        let ledger = bench.open();
        let mut ada = Person::new(1);
        ada.write(&ledger).await.unwrap();
        let before = ledger.checkpoint();
        bench.store.will(fate);
        assert_eq!(ada.clone().write(&ledger).await.map(|_| ()), Err(SubmitError::Stopped));
        assert_eq!(Person::new(2).write(&ledger).await.map(|_| ()), Err(SubmitError::Stopped));
        super::bench::until(|| !ledger.is_running()).await;
        assert_eq!(*ledger.checkpoint(), *before, "nothing is signed that may not be durable");
        ledger.inclusion_proof(0, 1).unwrap();
        ledger.shutdown();
        assert!(!bench.store.closed.load(Ordering::SeqCst), "no clean end is marked");

        let ledger = bench.open();
        let after = ledger.checkpoint();
        assert_eq!(after.size, expected, "{fate:?}");
        let proof = ledger.consistency_proof(before.size, after.size).unwrap();
        merkle::verify_consistency(before.size, &before.root, after.size, &after.root, &proof).unwrap();
    }
}

#[tokio::test]
async fn everybody_who_waits_is_told_that_the_log_stopped() {
    let bench = Bench::new();
    let ledger = bench.open();
    bench.store.will(Fate::Lost);
    bench.store.shut();
    let tasks: Vec<_> = (1..=6)
        .map(|number| {
            let ledger = Arc::clone(&ledger);
            tokio::spawn(async move { Person::new(number).write(&ledger).await.map(|_| ()) })
        })
        .collect();
    super::bench::until(|| bench.store.waiting.load(Ordering::SeqCst)).await;
    bench.store.open();
    for task in tasks {
        assert_eq!(task.await.unwrap(), Err(SubmitError::Stopped));
    }
}

#[tokio::test]
async fn shutting_down_writes_what_waits() {
    let bench = Bench::new();
    let ledger = bench.open();
    bench.store.shut();
    let tasks: Vec<_> = (1..=6)
        .map(|number| {
            let ledger = Arc::clone(&ledger);
            tokio::spawn(async move { Person::new(number).write(&ledger).await.map(|_| ()) })
        })
        .collect();
    super::bench::until(|| bench.store.waiting.load(Ordering::SeqCst)).await;
    let ending = tokio::task::spawn_blocking({
        let ledger = Arc::clone(&ledger);
        move || ledger.shutdown()
    });
    bench.store.open();
    ending.await.unwrap();
    for task in tasks {
        assert_eq!(task.await.unwrap(), Ok(()));
    }
    assert_eq!(Person::new(9).write(&ledger).await.map(|_| ()), Err(SubmitError::Stopped));
    assert!(bench.store.closed.load(Ordering::SeqCst));
    assert_eq!(bench.store.head().size, 6);
}

/// Small and reproducible: what fails prints its seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// Everything that the world outside was told.
#[derive(Default)]
struct Told {
    entries: BTreeMap<u64, Hash>,
    checkpoints: Vec<Arc<SignedCheckpoint>>,
}

/// Where a subject's chain stands in the store, as a lane would find it after a failure.
fn reload(store: &dyn LogStore, person: &mut Person) {
    let head = store.subject_head(person.handle).unwrap();
    person.version = head.map_or(0, |(version, _)| version + 1);
    person.previous = head.map(|(_, position)| store.read_entry(position).unwrap().leaf_hash);
}

/// True where the log stopped.
async fn round(
    bench: &Bench,
    ledger: &Arc<Ledger>,
    people: &mut [Person],
    dice: &mut Dice,
    told: &mut Told,
) -> bool {
    match dice.roll(12) {
        0 => bench.store.will(Fate::Rejected),
        1 => bench.store.will(Fate::Lost),
        2 => bench.store.will(Fate::Persisted),
        3 => bench.store.will(Fate::Torn),
        _ => {}
    }
    let tasks: Vec<_> = people
        .iter_mut()
        .map(|person| {
            let frame = person.frame(ledger, 1 + usize::try_from(dice.roll(3)).unwrap());
            let leaves: Vec<Hash> = frame.iter().map(|each| each.entry.leaf_hash()).collect();
            let ledger = Arc::clone(ledger);
            tokio::spawn(async move { ledger.submit(frame).await.map(|committed| (leaves, committed)) })
        })
        .collect();
    let mut stopped = false;
    for (task, person) in tasks.into_iter().zip(people) {
        match task.await.unwrap() {
            Ok((leaves, committed)) => {
                for (leaf, place) in leaves.iter().zip(&committed.entries) {
                    assert!(told.entries.insert(place.position, *leaf).is_none(), "a position given twice");
                }
                told.checkpoints.push(committed.checkpoint);
            }
            Err(SubmitError::Unavailable) => reload(bench.store.as_ref(), person),
            Err(SubmitError::Stopped) => stopped = true,
            Err(error) => panic!("{error}"),
        }
    }
    stopped
}

async fn story(seed: u64) {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::with_checkpoint_file(dir.path().join("checkpoint"));
    let mut ledger = bench.open();
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut people: Vec<Person> = (1..=5).map(Person::new).collect();
    let mut told = Told { checkpoints: vec![ledger.checkpoint()], ..Told::default() };
    for _ in 0..25 {
        let stopped = round(&bench, &ledger, &mut people, &mut dice, &mut told).await;
        told.checkpoints.push(ledger.checkpoint());
        if stopped || dice.roll(8) == 0 {
            ledger.shutdown();
            ledger = bench.open();
            told.checkpoints.push(ledger.checkpoint());
            people.iter_mut().for_each(|person| reload(bench.store.as_ref(), person));
        }
    }
    let last = ledger.checkpoint();
    for (position, leaf) in &told.entries {
        assert_eq!(
            bench.store.read_entry(*position).unwrap().leaf_hash,
            *leaf,
            "an acknowledged entry is gone"
        );
        let proof = ledger.inclusion_proof(*position, last.size).unwrap();
        merkle::verify_inclusion(leaf, *position, last.size, &proof, &last.root).unwrap();
    }
    for pair in told.checkpoints.windows(2) {
        let (one, other) =
            if pair[0].size <= pair[1].size { (&pair[0], &pair[1]) } else { (&pair[1], &pair[0]) };
        let proof = ledger.consistency_proof(one.size, other.size).unwrap();
        merkle::verify_consistency(one.size, &one.root, other.size, &other.root, &proof).unwrap();
    }
    for checkpoint in &told.checkpoints {
        let proof = ledger.consistency_proof(checkpoint.size, last.size).unwrap();
        merkle::verify_consistency(checkpoint.size, &checkpoint.root, last.size, &last.root, &proof).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_entry_is_lost_and_no_two_checkpoints_disagree() {
    for seed in 1..=40 {
        let told = tokio::spawn(story(seed)).await;
        assert!(told.is_ok(), "seed {seed}");
    }
}
