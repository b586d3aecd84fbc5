//! Tests that checkpoints, proofs and tiles can be verified without the daemon.

use super::bench::{Bench, ORIGIN, Subject};
use crate::ledger::{LedgerError, Prepared};
use crate::store::LogStore;
use sayso_proof::checkpoint::{Checkpoint, VerifierKey};
use sayso_proof::merkle;
use sayso_proof::proof::TlogProof;
use std::sync::Arc;

#[tokio::test]
async fn proofs_verify_across_restarts() {
    let bench = Bench::new();
    let mut ledger = bench.open();
    let mut checkpoints = vec![ledger.checkpoint()];
    let mut ada = Subject::new(1);
    let mut leaves = Vec::new();
    for round in 0..30 {
        let frame = ada.frame(&ledger, 1 + round % 5);
        leaves.extend(frame.iter().map(|each| each.entry.leaf_hash()));
        checkpoints.push(ledger.submit(frame).await.unwrap().checkpoint);
        if round % 10 == 9 {
            ledger.shutdown();
            ledger = bench.open();
            let (before, after) = (checkpoints.last().unwrap(), ledger.checkpoint());
            assert_eq!(**before, *after, "the same tree gives the same note");
        }
    }
    let verifier: VerifierKey = ledger.verifier_key().to_string().parse().unwrap();
    let last = ledger.checkpoint();
    for (position, leaf) in (0..).zip(&leaves) {
        for checkpoint in checkpoints.iter().filter(|checkpoint| checkpoint.size > position) {
            let proof = ledger.inclusion_proof(position, checkpoint.size).unwrap();
            merkle::verify_inclusion(leaf, position, checkpoint.size, &proof, &checkpoint.root).unwrap();
        }
        let text: TlogProof = ledger.proof_text(position).unwrap().parse().unwrap();
        assert_eq!(text.verify(&verifier).unwrap().entry.header.version, position);
    }
    for checkpoint in &checkpoints {
        let opened = Checkpoint::open(&checkpoint.note, &verifier).unwrap();
        assert_eq!(
            (opened.origin.as_str(), opened.size, opened.root),
            (ORIGIN, checkpoint.size, checkpoint.root)
        );
        let proof = ledger.consistency_proof(checkpoint.size, last.size).unwrap();
        merkle::verify_consistency(opened.size, &opened.root, last.size, &last.root, &proof).unwrap();
    }
}

#[tokio::test]
async fn positions_beyond_the_log_are_out_of_range() {
    let bench = Bench::new();
    let ledger = bench.open();
    ledger.submit(Subject::new(1).frame(&ledger, 3)).await.unwrap();
    assert!(matches!(ledger.inclusion_proof(3, 3), Err(LedgerError::OutOfRange)));
    assert!(matches!(ledger.inclusion_proof(0, 4), Err(LedgerError::OutOfRange)));
    assert!(matches!(ledger.consistency_proof(1, 4), Err(LedgerError::OutOfRange)));
    assert!(matches!(ledger.consistency_proof(3, 2), Err(LedgerError::OutOfRange)));
    assert!(matches!(ledger.proof_text(3), Err(LedgerError::OutOfRange)));
}

#[tokio::test]
async fn a_discarded_entry_keeps_its_position() {
    let bench = Bench::new();
    let ledger = bench.open();
    let (mut ada, mut bob) = (Subject::new(1), Subject::new(2));
    let frame = ada.frame(&ledger, 2);
    let leaf = frame[0].entry.leaf_hash();
    ledger.submit(frame).await.unwrap();
    bob.write(&ledger).await.unwrap();
    bench.store.discard(&[0, 1]).unwrap();
    ledger.shutdown();
    let ledger = bench.open();
    bob.write(&ledger).await.unwrap();
    let last = ledger.checkpoint();
    let proof = ledger.inclusion_proof(0, last.size).unwrap();
    merkle::verify_inclusion(&leaf, 0, last.size, &proof, &last.root).unwrap();
    let text: TlogProof = ledger.proof_text(0).unwrap().parse().unwrap();
    assert_eq!((text.extra, text.hashes), (None, proof));
}

#[tokio::test]
async fn tiles_contain_the_nodes_of_the_tree() {
    let mut bench = Bench::new();
    bench.options.batch_events_max = 600;
    let ledger = bench.open();
    let frame = Subject::new(1).frame(&ledger, 600);
    let leaves: Vec<_> = frame.iter().map(|each| each.entry.leaf_hash()).collect();
    ledger.submit(frame).await.unwrap();
    assert_eq!(ledger.tile(0, 0, 256).unwrap().unwrap(), leaves[..256].concat());
    assert_eq!(ledger.tile(0, 2, 88).unwrap().unwrap(), leaves[512..].concat());
    let roots: Vec<_> = leaves[..512]
        .chunks(256)
        .map(|leaves| {
            let mut frontier = merkle::Frontier::new();
            leaves.iter().for_each(|leaf| frontier.push(*leaf));
            frontier.root()
        })
        .collect();
    assert_eq!(ledger.tile(1, 0, 2).unwrap().unwrap(), roots.concat());
    for (level, index, width) in
        [(0, 2, 89), (0, 3, 1), (1, 0, 3), (2, 0, 1), (8, 0, 1), (63, 0, 1), (0, u64::MAX, 1)]
    {
        assert_eq!(ledger.tile(level, index, width).unwrap(), None, "{level} {index} {width}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn entries_can_be_signed_in_parallel() {
    let ledger = Bench::new().open();
    let tasks: Vec<_> = (1..=8)
        .map(|number| {
            let ledger = Arc::clone(&ledger);
            tokio::task::spawn_blocking(move || Subject::new(number).frame(&ledger, 10))
        })
        .collect();
    let key = ledger.verifier_key().key;
    for task in tasks {
        for Prepared { entry, .. } in task.await.unwrap() {
            let parsed = sayso_proof::entry::Entry::parse(entry.bytes()).unwrap();
            parsed.verify(&key).unwrap();
            assert_eq!(
                (parsed.origin.as_str(), merkle::leaf_hash(entry.bytes())),
                (ORIGIN, entry.leaf_hash())
            );
        }
    }
}
