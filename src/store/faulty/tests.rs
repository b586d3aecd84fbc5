//! Tests that the faulty engine meets the contracts of storage when no fault is planned, and what each fault
//! leaves.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use super::{Fault, FaultyKeys, FaultyLog, Power};
use crate::store::contract::{self, Opened, Source, assert_holds, commit};
use crate::store::{CommitError, KeyStore, LogStore, StoreError};
use std::sync::Arc;

fn power() -> Arc<Power> {
    Arc::new(Power::new(7))
}

contract::log_suite!(|| Opened { engine: Arc::new(FaultyLog::new(power())), _folder: None });
contract::keys_suite!(|| Opened { engine: Arc::new(FaultyKeys::new(power())), _folder: None });

#[test]
fn a_failed_commit_leaves_what_its_fault_allows() {
    for (seed, fault) in (0..40).flat_map(|seed| Fault::ALL.map(|fault| (seed, fault))) {
        let power = Arc::new(Power::new(seed));
        let (log, mut source) = (FaultyLog::new(Arc::clone(&power)), Source::default());
        let first = source.singles(&[1, 2, 1]);
        commit(&log, &first);
        power.plan(0, fault);
        let second = source.singles(&[1, 2]);
        let result = log.commit(3, &second);
        if fault == Fault::Full {
            assert!(matches!(result, Err(CommitError::Rejected(StoreError::Full))));
            commit(&log, &second);
            continue;
        }
        assert!(matches!(result, Err(CommitError::Unknown(_))));
        assert!(matches!(log.commit(3, &second), Err(CommitError::Unknown(StoreError::Stopped))));
        power.turn_on();
        let log = log.restart().unwrap();
        let kept = usize::try_from(log.head().size - 3).unwrap();
        match fault {
            Fault::Lost => assert_eq!(kept, 0),
            Fault::Persisted => assert_eq!(kept, 2),
            _ => assert!(kept <= 2),
        }
        assert_eq!(log.read_entries(0, 9).unwrap().len(), 3 + kept);
        for (new, position) in first.iter().flatten().chain(second[..kept].iter().flatten()).zip(0..) {
            assert_eq!(log.read_entry(position).unwrap().bytes.as_ref(), Some(&new.bytes));
        }
    }
}

#[test]
fn a_restart_keeps_written_pages_and_may_keep_some_staged_ones() {
    let mut counts = std::collections::BTreeSet::new();
    for seed in 0..60 {
        let power = Arc::new(Power::new(seed));
        let keys = FaultyKeys::new(Arc::clone(&power));
        let page = |id: u8| (vec![id], Some(vec![id; 9]));
        keys.stage_pages(&[page(1)]).unwrap();
        keys.write_pages(&[page(2)]).unwrap();
        keys.stage_pages(&[page(3), page(4)]).unwrap();
        assert_eq!(keys.count_pages(b"").unwrap(), 4);
        let keys = keys.restart().unwrap();
        assert!(keys.read_page(&[1]).unwrap().is_some() && keys.read_page(&[2]).unwrap().is_some());
        counts.insert(keys.count_pages(b"").unwrap());
        power.plan(0, Fault::Persisted);
        assert!(keys.write_pages(&[page(5)]).is_err());
        assert!(matches!(keys.write_pages(&[page(6)]), Err(StoreError::Stopped)));
        let keys = keys.restart().unwrap();
        assert!(keys.read_page(&[5]).unwrap().is_some() && keys.read_page(&[6]).unwrap().is_none());
    }
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), [2, 3, 4]);
}

#[test]
fn any_flipped_bit_is_detected() {
    let (log, mut source) = (FaultyLog::new(power()), Source::default());
    let frames = source.singles(&[1, 2]);
    commit(&log, &frames);
    let bits = frames[1][0].bytes.len() as u64 * 8;
    for bit in 0..bits {
        log.rot(1, bit);
        assert!(matches!(log.read_entry(1), Err(StoreError::Damaged { .. })), "bit {bit}");
        assert!(log.read_entries(0, 9).is_err());
    }
    log.discard(&[1]).unwrap();
    assert!(log.read_entry(1).unwrap().bytes.is_none());
    assert_holds(&log, 0, &frames[..1]);

    let keys = FaultyKeys::new(power());
    for bit in 0..(STORED_BYTES * 8) {
        keys.write_pages(&[(b"id".to_vec(), Some(vec![1; 9]))]).unwrap();
        assert!(keys.read_page(b"id").unwrap().is_some());
        keys.rot(b"id", bit).unwrap();
        assert!(matches!(keys.read_page(b"id"), Err(StoreError::Damaged { .. })), "bit {bit}");
    }
}

/// Bytes of a page of 9 bytes with its checksum.
const STORED_BYTES: u64 = 9 + 4;
