//! Tests of the vault: keys are found, made and destroyed, even when the key store or the root key's keeper
//! fails.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod crashes;
mod figures;
mod machine;
mod map_links;
mod renewals;
mod unreachable;

use super::custody::CustodyError;
use super::{MemoryCustody, RootCustody, SubjectKeys, Vault, VaultError};
use crate::clock::{SharedClock, SystemClock};
use crate::domain::ids::SubjectId;
use crate::store::memory::MemoryKeys;
use crate::store::{KeyStore, StoreError};
use sayso_proof::certificate::DAY_MS;
use sayso_proof::entry::Handle;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

const EVENT: [u8; 16] = [9; 16];

/// A key store that counts its writes and can make them fail, either lost or persisted.
#[derive(Default)]
struct FaultyKeys {
    inner: MemoryKeys,
    /// 0: writes succeed; 1: writes fail and are lost; 2: writes fail but are persisted.
    fault: AtomicU8,
    writes: AtomicUsize,
    /// The next write takes this and waits for it.
    gate: std::sync::Mutex<Option<mpsc::Receiver<()>>>,
    /// The next read takes this, announces that it has read, and waits before it returns.
    read_gate: std::sync::Mutex<Option<(mpsc::Sender<()>, mpsc::Receiver<()>)>>,
}

impl KeyStore for FaultyKeys {
    fn read_page(&self, id: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let page = self.inner.read_page(id);
        let gate = self.read_gate.lock().unwrap().take();
        if let Some((has_read, gate)) = gate {
            has_read.send(()).unwrap();
            gate.recv().unwrap();
        }
        page
    }

    fn write_pages(&self, pages: &[(Vec<u8>, Option<Vec<u8>>)]) -> Result<(), StoreError> {
        let gate = self.gate.lock().unwrap().take();
        if let Some(gate) = gate {
            gate.recv().unwrap();
        }
        self.writes.fetch_add(1, Ordering::SeqCst);
        match self.fault.load(Ordering::SeqCst) {
            0 => self.inner.write_pages(pages),
            1 => Err(StoreError::Full),
            _ => self.inner.write_pages(pages).and_then(|()| Err(unknown())),
        }
    }

    fn stage_pages(&self, pages: &[(Vec<u8>, Option<Vec<u8>>)]) -> Result<(), StoreError> {
        self.inner.stage_pages(pages)
    }

    fn scan_pages(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        count: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
        self.inner.scan_pages(prefix, after, count)
    }

    fn count_pages(&self, prefix: &[u8]) -> Result<u64, StoreError> {
        self.inner.count_pages(prefix)
    }
}

fn unknown() -> StoreError {
    StoreError::Io { doing: "writing", source: std::io::Error::other("pulled out") }
}

struct Bench {
    store: Arc<FaultyKeys>,
    custody: Arc<MemoryCustody>,
    clock: SharedClock,
}

impl Bench {
    fn new() -> Self {
        Self { store: Arc::default(), custody: Arc::default(), clock: Arc::new(SystemClock) }
    }

    fn open(&self) -> Arc<Vault> {
        let store: Arc<dyn KeyStore> = Arc::clone(&self.store) as _;
        let custody: Arc<dyn RootCustody> = Arc::clone(&self.custody) as _;
        Arc::new(Vault::open(store, custody, Arc::clone(&self.clock)).unwrap())
    }

    fn all_stored_bytes(&self) -> Vec<u8> {
        let pages = self.store.scan_pages(&[], None, usize::MAX).unwrap();
        pages.into_iter().flat_map(|(id, page)| [id, page].concat()).collect()
    }
}

fn subject(id: &str) -> SubjectId {
    SubjectId::new(id).unwrap()
}

fn key(keys: &SubjectKeys, version: u64) -> Option<[u8; 32]> {
    match keys.event_key(version, &EVENT) {
        Ok(key) => Some(*key.as_bytes()),
        Err(VaultError::Destroyed) => None,
        Err(error) => panic!("{error}"),
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[tokio::test]
async fn keys_are_found_again_after_a_restart() {
    let bench = Bench::new();
    let vault = bench.open();
    let ada = subject("ada.lovelace@example.org");
    assert!(vault.subject(&ada).unwrap().is_none());
    let keys = vault.subject_or_create(&ada).await.unwrap();
    let (handle, first) = (keys.handle, key(&keys, 0));
    let hash = vault.keyed_hash("idempotency", &[b"one"]);
    drop((keys, vault));

    let vault = bench.open();
    let again = vault.subject(&ada).unwrap().unwrap();
    assert_eq!((again.handle, key(&again, 0)), (handle, first));
    assert!(Arc::ptr_eq(&again, &vault.by_handle(handle).unwrap().unwrap()));
    assert!(Arc::ptr_eq(&again, &vault.subject_or_create(&ada).await.unwrap()));
    assert_eq!(vault.keyed_hash("idempotency", &[b"one"]), hash, "the hashing secret is kept");
    assert!(vault.by_handle(Handle([1; 16])).unwrap().is_none());
    assert_ne!(key(&again, 0), key(&again, 1));
    assert_ne!(
        again.event_key(0, &[1; 16]).unwrap().as_bytes(),
        again.event_key(0, &[2; 16]).unwrap().as_bytes()
    );
    assert!(!contains(&bench.all_stored_bytes(), ada.as_str().as_bytes()), "no id is stored in the clear");
}

#[tokio::test]
async fn another_root_key_opens_nothing() {
    let bench = Bench::new();
    drop(bench.open());
    let open = |custody: MemoryCustody| {
        let store: Arc<dyn KeyStore> = Arc::clone(&bench.store) as _;
        Vault::open(store, Arc::new(custody), Arc::clone(&bench.clock)).map(|_| ())
    };
    assert!(matches!(open(MemoryCustody::default()), Err(VaultError::RootKeyMissing(0))));
    let other = MemoryCustody::default();
    other.make(0, &SystemClock).unwrap();
    assert!(matches!(open(other), Err(VaultError::Custody(CustodyError::Unwrap))));
}

#[tokio::test]
async fn an_older_copy_of_the_key_store_or_the_root_key_does_not_open() {
    let bench = Bench::new();
    let vault = bench.open();
    let keys = vault.subject_or_create(&subject("ada")).await.unwrap();
    let older = MemoryKeys::default();
    let pages = bench.store.scan_pages(&[], None, usize::MAX).unwrap();
    let pages: Vec<_> = pages.into_iter().map(|(id, page)| (id, Some(page))).collect();
    older.write_pages(&pages).unwrap();
    vault.erase(&keys, 1, [1; 16], b"", b"").await.unwrap();
    drop(vault);
    let open = |store: MemoryKeys| {
        let custody: Arc<dyn RootCustody> = Arc::clone(&bench.custody) as _;
        Vault::open(Arc::new(store), custody, Arc::clone(&bench.clock)).map(|_| ())
    };
    assert!(matches!(open(older), Err(VaultError::RootKeyMissing(0))));
    assert!(matches!(open(MemoryKeys::default()), Err(VaultError::KeyTreeMissing(1))));
    assert_eq!(bench.custody.key_epochs().unwrap(), [1], "a refused start destroys nothing");
    bench.open();
}

#[tokio::test]
async fn a_page_under_the_name_of_another_does_not_open() {
    let bench = Bench::new();
    let vault = bench.open();
    vault.subject_or_create(&subject("a")).await.unwrap();
    drop(vault);
    let pages = bench.store.scan_pages(b"t", None, 3).unwrap();
    assert_eq!(pages.len(), 3, "the top page, one page of subjects, one page of handles");
    let moved: Vec<_> =
        (0..3).map(|place: usize| (pages[place].0.clone(), Some(pages[(place + 1) % 3].1.clone()))).collect();
    bench.store.write_pages(&moved).unwrap();
    let store: Arc<dyn KeyStore> = Arc::clone(&bench.store) as _;
    let opened = Vault::open(store, Arc::clone(&bench.custody) as _, Arc::clone(&bench.clock));
    assert!(matches!(opened.map(|_| ()), Err(VaultError::Page)));
}

#[test]
fn keyed_hashes_keep_domains_and_parts_apart() {
    let vault = Bench::new().open();
    let hashes: BTreeSet<_> = [
        vault.keyed_hash("a", &[b"bc"]),
        vault.keyed_hash("a", &[b"b", b"c"]),
        vault.keyed_hash("ab", &[b"c"]),
        vault.keyed_hash("a", &[b"bc", b""]),
        Bench::new().open().keyed_hash("a", &[b"bc"]),
    ]
    .into();
    assert_eq!(hashes.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_creations_agree_and_share_flushes() {
    let bench = Bench::new();
    let vault = bench.open();
    let before = bench.store.writes.load(Ordering::SeqCst);
    // The first creation blocks the writer, so that the others queue behind it.
    let (go, gate) = mpsc::channel();
    *bench.store.gate.lock().unwrap() = Some(gate);
    let tasks: Vec<_> = (0..300)
        .map(|task| {
            let vault = Arc::clone(&vault);
            tokio::spawn(async move {
                (
                    task % 100,
                    vault.subject_or_create(&subject(&format!("s{}", task % 100))).await.unwrap().handle,
                )
            })
        })
        .collect();
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    go.send(()).unwrap();
    let mut found = BTreeSet::new();
    for task in tasks {
        found.insert(task.await.unwrap());
    }
    assert_eq!(found.len(), 100, "each subject has one handle");
    assert_eq!(vault.subject_count(), 100);
    let flushes = bench.store.writes.load(Ordering::SeqCst) - before;
    assert!(flushes <= 6, "300 requests for 100 subjects took {flushes} flushes");

    let mut listed = Vec::new();
    loop {
        let more = vault.handles(listed.last().copied(), 7).unwrap();
        if more.is_empty() {
            break;
        }
        listed.extend(more);
    }
    let expected: Vec<_> =
        found.iter().map(|(_, handle)| *handle).collect::<BTreeSet<_>>().into_iter().collect();
    assert_eq!(listed, expected);
}

#[tokio::test]
async fn erasing_destroys_keys_for_every_reference() {
    let bench = Bench::new();
    let vault = bench.open();
    let (ada, bob) = (subject("ada"), subject("bob"));
    let keys = vault.subject_or_create(&ada).await.unwrap();
    let others = vault.subject_or_create(&bob).await.unwrap();
    let (old_key, kept) = (key(&keys, 3), key(&others, 3));
    vault.erase(&keys, 1_000, [7; 16], b"an intent", b"what a certificate states").await.unwrap();

    assert_eq!(key(&keys, 3), None, "a reference from before the erasure");
    assert!(vault.subject(&ada).unwrap().is_none());
    assert!(vault.by_handle(keys.handle).unwrap().is_none());
    assert_eq!(vault.fenced_at(&ada).unwrap(), Some(1_000));
    assert_eq!(vault.fenced_at(&bob).unwrap(), None);
    assert_eq!((vault.key_epoch(), vault.subject_count()), (1, 1));
    assert_eq!(key(&others, 3), kept);

    let vault = {
        drop(vault);
        bench.open()
    };
    let name = crate::vault::intent_name(&sayso_proof::certificate::request_hash(&[7; 16]));
    assert_eq!(vault.pending_erasures().unwrap(), vec![(name, b"an intent".to_vec())]);
    assert_eq!(vault.details(&[7; 16]).unwrap().unwrap().as_slice(), b"what a certificate states");
    assert_eq!(vault.details(&[8; 16]).unwrap(), None);
    assert_eq!(vault.key_epoch(), 1);
    vault.erasure_done(name).await.unwrap();
    assert!(vault.pending_erasures().unwrap().is_empty());

    let back = vault.subject_or_create(&ada).await.unwrap();
    assert_ne!((back.handle, key(&back, 3)), (keys.handle, old_key));
    assert_eq!(vault.fenced_at(&ada).unwrap(), Some(1_000), "the fence stays");
}

#[tokio::test]
async fn a_fence_is_exact_until_the_first_erasure_of_a_later_day() {
    let bench = Bench::new();
    let mut vault = bench.open();
    let noon_ms = 20_000 * DAY_MS + DAY_MS / 2;
    let names = ["ada", "ben", "cleo", "dan"].map(subject);
    let mut exact = Vec::new();
    for (at_ms, name) in [noon_ms, noon_ms + 5, noon_ms + DAY_MS, noon_ms + 1].into_iter().zip(&names) {
        let keys = vault.subject_or_create(name).await.unwrap();
        vault.erase(&keys, at_ms, [7; 16], b"", b"").await.unwrap();
        // A start changes nothing.
        drop(vault);
        vault = bench.open();
        exact.push(at_ms);
        let fences: Vec<u64> = names.iter().filter_map(|name| vault.fenced_at(name).unwrap()).collect();
        let end_ms = 20_001 * DAY_MS - 1;
        match exact.len() {
            3 => assert_eq!(fences, [end_ms, end_ms, noon_ms + DAY_MS], "the day before has no exact times"),
            // The clock went back: the key of the later day stays.
            4 => assert_eq!(fences, [end_ms, end_ms, noon_ms + DAY_MS, noon_ms + 1]),
            _ => assert_eq!(fences, exact),
        }
    }
}

#[tokio::test]
async fn erasing_old_keys_again_keeps_the_keys_of_a_subject_that_came_back() {
    let bench = Bench::new();
    let vault = bench.open();
    let ada = subject("ada");
    let old = vault.subject_or_create(&ada).await.unwrap();
    vault.erase(&old, 2_000, [1; 16], b"", b"").await.unwrap();
    let back = vault.subject_or_create(&ada).await.unwrap();
    assert!(matches!(vault.erase(&old, 3_000, [2; 16], b"", b"").await, Err(VaultError::Destroyed)));
    assert!(matches!(vault.puncture(old.handle, &[0], None).await, Err(VaultError::Destroyed)));
    assert!(key(&back, 0).is_some());
    assert!(Arc::ptr_eq(&back, &vault.by_handle(back.handle).unwrap().unwrap()));
    assert_eq!(vault.pending_erasures().unwrap().len(), 1, "the second erasure left no intent");
    // The clock went back, but the fence (the time of the last erasure) does not.
    vault.erase(&back, 1_500, [3; 16], b"", b"").await.unwrap();
    assert_eq!(vault.fenced_at(&ada).unwrap(), Some(2_000));
}

#[tokio::test]
async fn an_erasure_completes_when_its_caller_stops_waiting() {
    let bench = Bench::new();
    let vault = bench.open();
    let ada = subject("ada");
    let keys = vault.subject_or_create(&ada).await.unwrap();
    let (go, gate) = mpsc::channel();
    *bench.store.gate.lock().unwrap() = Some(gate);
    let waited =
        tokio::time::timeout(std::time::Duration::from_millis(50), vault.erase(&keys, 1, [1; 16], b"", b""));
    assert!(waited.await.is_err(), "the caller gave up while the write was under way");
    go.send(()).unwrap();
    // Changes are carried out in order, so this answer comes after the erasure.
    vault.erasure_done([0; 16]).await.unwrap();
    assert_eq!(key(&keys, 0), None);
    assert!(vault.subject(&ada).unwrap().is_none());
    assert_eq!(vault.fenced_at(&ada).unwrap(), Some(1));
}

#[tokio::test]
async fn a_slow_reader_does_not_bring_destroyed_keys_back() {
    for whole in [true, false] {
        let bench = Bench::new();
        let ada = subject("ada");
        // The vault that is opened next does not have these keys in memory yet.
        let keys = bench.open().subject_or_create(&ada).await.unwrap();
        let vault = bench.open();
        let (has_read, read) = mpsc::channel();
        let (go, gate) = mpsc::channel();
        *bench.store.read_gate.lock().unwrap() = Some((has_read, gate));
        let reader = {
            let (vault, ada) = (Arc::clone(&vault), ada.clone());
            std::thread::spawn(move || vault.subject(&ada).unwrap())
        };
        read.recv().unwrap();
        // The reader has read the old page, and now its keys are destroyed.
        if whole {
            vault.erase(&keys, 1, [1; 16], b"", b"").await.unwrap();
        } else {
            vault.puncture(keys.handle, &[5], None).await.unwrap();
        }
        go.send(()).unwrap();
        for found in [reader.join().unwrap(), vault.subject(&ada).unwrap()] {
            assert_eq!(found.is_none(), whole);
            assert_eq!(found.and_then(|keys| key(&keys, 5)), None);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn creations_do_not_bring_erased_keys_back() {
    let bench = Bench::new();
    let vault = bench.open();
    let ada = subject("ada");
    let mut seen = BTreeSet::new();
    for round in 0..30_u8 {
        let keys = loop {
            if let Ok(keys) = vault.subject_or_create(&ada).await {
                break keys;
            }
        };
        assert!(seen.insert(keys.handle), "a handle was used twice");
        let readers: Vec<_> = (0..4)
            .map(|_| {
                let (vault, ada) = (Arc::clone(&vault), ada.clone());
                tokio::spawn(async move {
                    for _ in 0..20 {
                        let _found = vault.subject(&ada);
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        vault.erase(&keys, u64::from(round), [round; 16], b"", b"").await.unwrap();
        for reader in readers {
            reader.await.unwrap();
        }
        assert_eq!(key(&keys, 0), None);
        assert!(vault.by_handle(keys.handle).unwrap().is_none());
    }
    assert_eq!(vault.key_epoch(), 30);
}

#[tokio::test]
async fn puncturing_destroys_exactly_the_given_versions() {
    let bench = Bench::new();
    let vault = bench.open();
    let keys = vault.subject_or_create(&subject("ada")).await.unwrap();
    let before: Vec<_> = (0..40).map(|version| key(&keys, version)).collect();
    vault.puncture(keys.handle, &[3, 4, 17], None).await.unwrap();
    vault.puncture(keys.handle, &[4, 39], None).await.unwrap();
    let expected: Vec<_> = before
        .iter()
        .enumerate()
        .map(|(version, key)| if [3, 4, 17, 39].contains(&version) { None } else { *key })
        .collect();
    let now = |keys: &SubjectKeys| (0..40).map(|version| key(keys, version)).collect::<Vec<_>>();
    assert_eq!(now(&keys), expected, "a reference from before the puncture");
    let (handle, epoch) = (keys.handle, vault.key_epoch());
    assert!(Arc::ptr_eq(&keys, &vault.by_handle(handle).unwrap().unwrap()), "still one set of keys");
    drop((keys, vault));
    let keys = bench.open().by_handle(handle).unwrap().unwrap();
    assert_eq!(now(&keys), expected, "after a restart");
    assert_eq!(epoch, 2);
    assert!(matches!(bench.open().puncture(Handle([5; 16]), &[1], None).await, Err(VaultError::Destroyed)));
}

#[tokio::test]
async fn after_a_failed_write_the_store_decides_what_was_destroyed() {
    for (fault, destroyed) in [(1, false), (2, true)] {
        let bench = Bench::new();
        let vault = bench.open();
        let (ada, bob) = (subject("ada"), subject("bob"));
        let keys = vault.subject_or_create(&ada).await.unwrap();
        let bobs = vault.subject_or_create(&bob).await.unwrap();
        bench.store.fault.store(fault, Ordering::SeqCst);
        assert!(vault.erase(&keys, 5, [1; 16], b"", b"").await.is_err());
        let refused = vault.subject_or_create(&subject("new")).await;
        assert!(matches!(refused, Err(VaultError::BatchFailed(_) | VaultError::Store(_))));
        bench.store.fault.store(0, Ordering::SeqCst);
        assert_eq!(key(&keys, 0).is_none(), destroyed);
        assert_eq!(vault.subject(&ada).unwrap().is_none(), destroyed);
        assert_eq!(vault.pending_erasures().unwrap().len(), usize::from(destroyed));
        assert!(key(&bobs, 0).is_some());
        assert!(vault.by_handle(bobs.handle).unwrap().is_some());
        // If it is unknown what is durable, both root keys stay, and no key is destroyed before the next
        // start.
        assert_eq!(bench.custody.key_epochs().unwrap().len(), 1 + usize::from(destroyed));
        let after = vault.puncture(bobs.handle, &[1], None).await;
        assert_eq!(matches!(after, Err(VaultError::Halted)), destroyed);
        drop(vault);
        let vault = bench.open();
        assert_eq!(bench.custody.key_epochs().unwrap(), [1]);
        vault.puncture(bobs.handle, &[2], None).await.unwrap();
        assert_eq!(bench.custody.key_epochs().unwrap(), [2]);
        assert_eq!(vault.subject(&ada).unwrap().is_none(), destroyed);
    }
}
