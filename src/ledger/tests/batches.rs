//! Tests of batches: submissions that wait together are written together.

use super::bench::{Bench, Subject, until};
use crate::ledger::{Ledger, SubmitError};
use crate::store::LogStore;
use sayso_proof::merkle::{self, Hash};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Submits frames in this order while a first write blocks the store.
async fn behind_a_slow_commit<F>(
    bench: &Bench,
    ledger: &Arc<Ledger>,
    frames: Vec<F>,
) -> Vec<tokio::task::JoinHandle<F::Output>>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    bench.store.shut();
    let (own, mut first) = (Arc::clone(ledger), Subject::new(255));
    let blocker = tokio::spawn(async move { first.write(&own).await.unwrap() });
    until(|| bench.store.waiting.load(Ordering::SeqCst)).await;
    let mut tasks = Vec::new();
    for frame in frames {
        tasks.push(tokio::spawn(frame));
        tokio::task::yield_now().await;
    }
    bench.store.open();
    blocker.await.unwrap();
    tasks
}

#[tokio::test]
async fn waiting_frames_share_one_commit_and_one_checkpoint() {
    let bench = Bench::new();
    let ledger = bench.open();
    let frames: Vec<_> = (1..=20)
        .map(|number| {
            let ledger = Arc::clone(&ledger);
            async move { ledger.submit(Subject::new(number).frame(&ledger, 2)).await.unwrap() }
        })
        .collect();
    let mut sizes = Vec::new();
    for task in behind_a_slow_commit(&bench, &ledger, frames).await {
        let committed = task.await.unwrap();
        assert_eq!(
            committed.entries[1].position,
            committed.entries[0].position + 1,
            "a frame stays together"
        );
        sizes.push(committed.checkpoint.size);
    }
    assert_eq!(sizes, vec![41; 20]);
    assert_eq!(*bench.store.commits.lock().unwrap(), [(1, 1), (40, 20)]);
}

#[tokio::test]
async fn a_refused_frame_does_not_affect_others() {
    let bench = Bench::new();
    let ledger = bench.open();
    let frames: Vec<_> = (1..=12_u8)
        .map(|number| {
            let ledger = Arc::clone(&ledger);
            let mut subject = Subject::new(number);
            if number % 3 == 0 {
                subject = Subject { version: 4, previous: Some([1; 32]), ..subject };
            }
            async move { (number, subject.write(&ledger).await.map(|_| ())) }
        })
        .collect();
    for task in behind_a_slow_commit(&bench, &ledger, frames).await {
        let (number, result) = task.await.unwrap();
        let expected = if number % 3 == 0 { Err(SubmitError::Stale { actual_version: 0 }) } else { Ok(()) };
        assert_eq!(result, expected);
    }
    assert_eq!(*bench.store.commits.lock().unwrap(), [(1, 1), (8, 8)]);
}

#[tokio::test]
async fn a_frame_may_continue_a_chain_from_the_same_batch() {
    let bench = Bench::new();
    let ledger = bench.open();
    let mut ada = Subject::new(1);
    let entries = ada.frame(&ledger, 5);
    let frames: Vec<_> = entries
        .into_iter()
        .map(|entry| {
            let ledger = Arc::clone(&ledger);
            async move { ledger.submit(vec![entry]).await.unwrap().entries[0].position }
        })
        .collect();
    let mut positions = Vec::new();
    for task in behind_a_slow_commit(&bench, &ledger, frames).await {
        positions.push(task.await.unwrap());
    }
    assert_eq!(positions, [1, 2, 3, 4, 5]);
    assert_eq!(bench.store.commits.lock().unwrap().len(), 2);
    ada.write(&ledger).await.unwrap();
}

#[tokio::test]
async fn no_batch_exceeds_its_limit() {
    let mut bench = Bench::new();
    bench.options.batch_events_max = 10;
    let ledger = bench.open();
    let frames: Vec<_> = (1..=9)
        .map(|number| {
            let ledger = Arc::clone(&ledger);
            async move { ledger.submit(Subject::new(number).frame(&ledger, 4)).await.unwrap() }
        })
        .collect();
    for task in behind_a_slow_commit(&bench, &ledger, frames).await {
        task.await.unwrap();
    }
    let commits = bench.store.commits.lock().unwrap().clone();
    assert_eq!(commits.iter().map(|(events, _)| events).sum::<usize>(), 37);
    assert!(commits.iter().all(|(events, _)| *events <= 10), "{commits:?}");
    let too_many = ledger.submit(Subject::new(50).frame(&ledger, 11)).await;
    assert_eq!(too_many.map(|_| ()), Err(SubmitError::TooLarge));
    assert_eq!(ledger.submit(Vec::new()).await.map(|_| ()), Err(SubmitError::TooLarge));
}

#[tokio::test]
async fn a_full_queue_refuses_immediately() {
    let mut bench = Bench::new();
    bench.options.queue_max = 3;
    let ledger = bench.open();
    let frames: Vec<_> = (1..=8)
        .map(|number| {
            let ledger = Arc::clone(&ledger);
            async move { Subject::new(number).write(&ledger).await.map(|_| ()) }
        })
        .collect();
    let mut overloaded = 0;
    for task in behind_a_slow_commit(&bench, &ledger, frames).await {
        match task.await.unwrap() {
            Ok(()) => {}
            Err(SubmitError::Overloaded) => overloaded += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(overloaded, 5);
    Subject::new(9).write(&ledger).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_writers_make_one_tree() {
    let bench = Bench::new();
    let ledger = bench.open();
    let watcher = tokio::spawn({
        let mut newest = ledger.watch();
        async move {
            let mut seen = vec![newest.borrow().clone()];
            while newest.changed().await.is_ok() {
                seen.push(newest.borrow_and_update().clone());
            }
            seen
        }
    });
    let tasks: Vec<_> = (1..=32)
        .map(|number| {
            let ledger = Arc::clone(&ledger);
            tokio::spawn(async move {
                let mut subject = Subject::new(number);
                let mut written = Vec::new();
                for round in 0..12 {
                    let frame = subject.frame(&ledger, 1 + (round + usize::from(number)) % 3);
                    let leaves: Vec<Hash> = frame.iter().map(|each| each.entry.leaf_hash()).collect();
                    let committed = ledger.submit(frame).await.unwrap();
                    for (leaf, place) in leaves.iter().zip(&committed.entries) {
                        assert!(place.position < committed.checkpoint.size);
                        written.push((place.position, *leaf));
                    }
                }
                written
            })
        })
        .collect();
    let mut leaves = BTreeMap::new();
    for task in tasks {
        for (position, leaf) in task.await.unwrap() {
            assert!(leaves.insert(position, leaf).is_none(), "a position was assigned twice");
        }
    }
    let last = ledger.checkpoint();
    assert_eq!((leaves.len() as u64, bench.store.head().size), (last.size, last.size));
    let mut frontier = merkle::Frontier::new();
    leaves.values().for_each(|leaf| frontier.push(*leaf));
    assert_eq!(frontier.root(), last.root);
    ledger.shutdown();
    assert!(bench.store.closed.load(Ordering::SeqCst));
    assert!(!ledger.is_running());
    let seen = watcher.await.unwrap();
    for pair in seen.windows(2) {
        let proof = ledger.consistency_proof(pair[0].size, pair[1].size).unwrap();
        merkle::verify_consistency(pair[0].size, &pair[0].root, pair[1].size, &pair[1].root, &proof).unwrap();
    }
}
