//! Tests which submissions the sequencer accepts: each must continue its subject's chain of events, and
//! its times must fit.

use super::bench::{Bench, NOW, Subject};
use crate::ledger::SubmitError;
use crate::store::LogStore;
use sayso_proof::entry::Handle;
use std::sync::atomic::Ordering;

#[tokio::test]
async fn a_frame_continues_its_chain() {
    let bench = Bench::new();
    let ledger = bench.open();
    let (mut ada, mut system) = (Subject::new(1), Subject { handle: Handle::SYSTEM, ..Subject::new(0) });
    let first = ledger.submit(ada.frame(&ledger, 3)).await.unwrap();
    assert_eq!(first.entries.iter().map(|place| place.position).collect::<Vec<_>>(), [0, 1, 2]);
    system.write(&ledger).await.unwrap();
    let second = ada.write(&ledger).await.unwrap();
    assert_eq!((second.entries[0].position, second.checkpoint.size), (4, 5));
    assert_eq!(bench.store.read_subject(ada.handle, 0, 9).unwrap(), [(0, 0), (1, 1), (2, 2), (3, 4)]);
    assert_eq!(bench.store.subject_head(Handle::SYSTEM).unwrap(), Some((0, 3)));
}

#[tokio::test]
async fn a_write_that_does_not_continue_its_chain_is_refused() {
    let bench = Bench::new();
    let ledger = bench.open();
    let mut ada = Subject::new(1);
    ledger.submit(ada.frame(&ledger, 2)).await.unwrap();
    let stale = Err(SubmitError::Stale { actual_version: 2 });
    let handle = ada.handle;
    let at = |version, previous| Subject { handle, version, previous, ..Subject::new(1) };
    for mut wrong in [at(0, None), at(1, ada.previous), at(3, ada.previous), at(2, Some([7; 32]))] {
        assert_eq!(wrong.write(&ledger).await.map(|_| ()), stale);
    }
    // A frame whose second event does not follow its first is refused as a whole.
    let mut forked = ada.clone();
    let (one, other) = (ada.clone().next(&ledger), forked.next(&ledger));
    let refused = ledger.submit(vec![one, other]).await;
    assert_eq!(refused.map(|_| ()), Err(SubmitError::Stale { actual_version: 3 }));
    assert_eq!(ledger.checkpoint().size, 2);
    ada.write(&ledger).await.unwrap();

    // It is also refused after a restart, when no chain is in memory.
    ledger.shutdown();
    let ledger = bench.open();
    let refused = at(2, ada.previous).write(&ledger).await;
    assert_eq!(refused.map(|_| ()), Err(SubmitError::Stale { actual_version: 3 }));
    ada.write(&ledger).await.unwrap();
}

#[tokio::test]
async fn an_entry_sealed_too_early_or_too_late_is_refused() {
    let bench = Bench::new();
    let ledger = bench.open();
    for (sealed_at_ms, accepted) in
        [(NOW + 5_001, false), (NOW - 60_001, false), (NOW + 5_000, true), (NOW - 60_000, true)]
    {
        let mut subject = Subject { sealed_at_ms, ..Subject::new(if accepted { 1 } else { 2 }) };
        subject.handle.0[15] = u8::try_from(sealed_at_ms % 251).unwrap();
        let result = subject.write(&ledger).await;
        assert_eq!(result.map(|_| ()), if accepted { Ok(()) } else { Err(SubmitError::Clock) });
    }
}

#[tokio::test]
async fn recorded_time_never_goes_back() {
    let bench = Bench::new();
    let ledger = bench.open();
    let mut times = Vec::new();
    for (number, sealed_at_ms) in [(1, NOW), (2, NOW + 3_000), (3, NOW - 30_000), (4, NOW + 1)] {
        let mut subject = Subject { sealed_at_ms, ..Subject::new(number) };
        times.push(subject.write(&ledger).await.unwrap().entries[0].recorded_at_ms);
    }
    assert_eq!(times, [NOW, NOW + 3_000, NOW + 3_000, NOW + 3_000]);
    ledger.shutdown();
    let ledger = bench.open();
    let mut later = Subject::new(5);
    assert_eq!(
        later.write(&ledger).await.unwrap().entries[0].recorded_at_ms,
        NOW + 3_000,
        "not after a restart either"
    );
    // After the clock was set back a little, entries sealed at the new time are still accepted.
    bench.clock.0.store(NOW - 10_000, Ordering::SeqCst);
    let mut earlier = Subject { sealed_at_ms: NOW - 10_000, ..Subject::new(6) };
    assert_eq!(earlier.write(&ledger).await.unwrap().entries[0].recorded_at_ms, NOW + 3_000);
}

#[tokio::test]
async fn a_signed_entry_has_the_header_and_hash_of_its_bytes() {
    let bench = Bench::new();
    let ledger = bench.open();
    let mut ada = Subject::new(1);
    for version in 0..2 {
        let entry = ada.next(&ledger).entry;
        assert_eq!(*entry.header(), sayso_proof::entry::parse_header(entry.bytes()).unwrap());
        assert_eq!((entry.header().handle, entry.header().version), (Handle([1; 16]), version));
        assert_eq!(entry.leaf_hash(), sayso_proof::merkle::leaf_hash(entry.bytes()));
    }
    assert!(ledger.sign(b"no payload".to_vec()).is_err());
}

#[tokio::test]
async fn index_records_get_the_position_of_their_entry() {
    let bench = Bench::new();
    let ledger = bench.open();
    let mut ada = Subject::new(1);
    ada.write(&ledger).await.unwrap();
    let mut entry = ada.next(&ledger);
    entry.index = vec![(b"g/".to_vec(), b"value".to_vec())];
    let place = ledger.submit(vec![entry]).await.unwrap().entries[0];
    let key = [b"g/".as_slice(), &place.position.to_be_bytes()].concat();
    assert_eq!(bench.store.index_get(&key).unwrap().unwrap(), b"value");
}
