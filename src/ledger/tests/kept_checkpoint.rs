//! Tests of the checkpoint that is kept outside the store.

use super::bench::{Bench, NOW, Outcome, Scripted, Subject};
use crate::ledger::LedgerError;
use crate::ledger::kept_checkpoint::CheckpointFile;
use sayso_proof::checkpoint::Checkpoint;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

fn kept(path: &Path) -> Option<String> {
    CheckpointFile::open(Some(path)).unwrap().last().map(str::to_owned)
}

#[tokio::test]
async fn a_store_behind_the_kept_checkpoint_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("checkpoint");
    let mut bench = Bench::with_checkpoint_file(path.clone());
    let ledger = bench.open();
    let mut ada = Subject::new(1);
    for _ in 0..5 {
        ada.write(&ledger).await.unwrap();
    }
    let last = ledger.checkpoint();
    assert_eq!(kept(&path).as_deref(), Some(last.note.as_str()), "kept before it is published");
    ledger.shutdown();
    bench.open().shutdown();

    // The new store is empty, and so behind the kept checkpoint. Later it has enough entries, but other ones.
    let newest = std::mem::replace(&mut bench.store, Arc::new(Scripted::default()));
    let refused = bench.try_open();
    assert!(matches!(refused, Err(LedgerError::Behind { checkpoint_size: 5, store_size: 0 })));
    let mut other = Bench::new();
    other.store = Arc::clone(&bench.store);
    let ledger = other.open();
    let mut eve = Subject::new(2);
    for _ in 0..6 {
        eve.write(&ledger).await.unwrap();
    }
    ledger.shutdown();
    assert!(matches!(bench.try_open(), Err(LedgerError::Forked { size: 5 })));
    assert_eq!(kept(&path).as_deref(), Some(last.note.as_str()), "a refused start changes nothing");

    bench.store = newest;
    ada.write(&bench.open()).await.unwrap();
}

#[tokio::test]
async fn the_checkpoint_of_a_start_is_kept_too() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::with_checkpoint_file(dir.path().join("checkpoint"));
    let ledger = bench.open();
    bench.store.script(Outcome::Persisted);
    Subject::new(1).write(&ledger).await.unwrap_err();
    ledger.shutdown();
    let ledger = bench.open();
    assert_eq!(ledger.checkpoint().size, 1);
    assert_eq!(kept(&dir.path().join("checkpoint")).unwrap(), ledger.checkpoint().note);
}

#[tokio::test]
async fn a_kept_checkpoint_of_another_log_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::with_checkpoint_file(dir.path().join("checkpoint"));
    bench.open().shutdown();
    bench.options.origin = "ledger.test/other".into();
    assert!(matches!(bench.try_open(), Err(LedgerError::KeptCheckpoint(_))));
}

#[tokio::test]
async fn a_torn_slot_leaves_the_other_slot_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("checkpoint");
    let bench = Bench::with_checkpoint_file(path.clone());
    let ledger = bench.open();
    let mut ada = Subject::new(1);
    let before = ada.write(&ledger).await.unwrap().checkpoint;
    let after = ada.write(&ledger).await.unwrap().checkpoint;
    ledger.shutdown();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    // The file was written three times: at the start, at the first event and at the second event. So the last
    // write is in the first slot.
    file.write_all_at(b"torn", 100).unwrap();
    assert_eq!(kept(&path).as_deref(), Some(before.note.as_str()));
    assert_eq!(bench.open().checkpoint().note, after.note, "the store may be ahead of the kept checkpoint");

    file.write_all_at(b"torn", 100).unwrap();
    file.write_all_at(b"torn", 4196).unwrap();
    assert!(
        matches!(bench.try_open(), Err(LedgerError::CheckpointFile(_))),
        "damage of both slots is an error"
    );
}

#[test]
fn a_torn_first_write_counts_as_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("checkpoint");
    std::fs::write(&path, [0; 300]).unwrap();
    assert_eq!(kept(&path), None);
}

#[test]
fn a_sync_is_due_within_a_second_and_only_after_a_write() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = CheckpointFile::open(Some(&dir.path().join("checkpoint"))).unwrap();
    assert_eq!(file.due_in(NOW), None);
    file.keep("a note").unwrap();
    assert_eq!(file.due_in(NOW).unwrap().as_millis(), 0);
    file.sync(NOW).unwrap();
    assert_eq!(file.due_in(NOW + 5_000), None);
    file.keep("another").unwrap();
    assert_eq!(file.due_in(NOW + 400).unwrap().as_millis(), 600);
    assert_eq!(file.due_in(NOW + 1_000).unwrap().as_millis(), 0);
    assert_eq!(file.due_in(0).unwrap().as_millis(), 0, "a clock that went back does not delay the sync");
    assert!(file.keep(&"x".repeat(5_000)).is_err(), "a note may not run into the other slot");
    assert_eq!(kept(&dir.path().join("checkpoint")).as_deref(), Some("another"));
    let mut none = CheckpointFile::open(None).unwrap();
    none.keep("a note").unwrap();
    assert_eq!(none.due_in(NOW), None);
}

#[tokio::test]
async fn the_kept_checkpoint_is_never_behind_an_answer() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("checkpoint");
    let bench = Bench::with_checkpoint_file(path.clone());
    let ledger = bench.open();
    let verifier = ledger.verifier_key();
    let mut ada = Subject::new(1);
    for round in 1..=20 {
        ada.write(&ledger).await.unwrap();
        bench.clock.0.store(NOW + round * 400, Ordering::SeqCst);
        assert_eq!(Checkpoint::open(&kept(&path).unwrap(), &verifier).unwrap().size, round);
    }
}
