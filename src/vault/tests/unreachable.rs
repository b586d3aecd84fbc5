//! A keeper of root keys that is sometimes unreachable, like a keeper across a network. After a call that
//! fails in this way, it is unknown whether the call took effect.

use super::{FaultyKeys, key, subject};
use crate::clock::{Clock, SharedClock, SystemClock};
use crate::store::KeyStore;
use crate::vault::custody::{CustodyError, KeyEpoch};
use crate::vault::{MemoryCustody, RootCustody, Vault, VaultError};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use zeroize::Zeroizing;

/// Fails the calls whose bits are set in `failing`, lowest bit first. Calls are numbered from 0. A failing
/// call with an even number still takes effect.
#[derive(Default)]
struct Remote {
    inner: MemoryCustody,
    failing: AtomicU64,
    calls: AtomicU64,
}

impl Remote {
    fn call<T>(&self, work: impl FnOnce() -> Result<T, CustodyError>) -> Result<T, CustodyError> {
        let failing = self.failing.load(Ordering::SeqCst);
        self.failing.store(failing >> 1, Ordering::SeqCst);
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        if failing & 1 == 0 {
            return work();
        }
        if call.is_multiple_of(2) {
            work()?;
        }
        Err(CustodyError::Unreachable("no route".into()))
    }
}

impl RootCustody for Remote {
    fn key_epochs(&self) -> Result<Vec<KeyEpoch>, CustodyError> {
        self.inner.key_epochs()
    }

    fn make(&self, epoch: KeyEpoch, clock: &dyn Clock) -> Result<(), CustodyError> {
        self.call(|| self.inner.make(epoch, clock))
    }

    fn wrap(&self, epoch: KeyEpoch, key: &[u8; 32], clock: &dyn Clock) -> Result<Vec<u8>, CustodyError> {
        self.call(|| self.inner.wrap(epoch, key, clock))
    }

    fn unwrap(&self, epoch: KeyEpoch, wrapped: &[u8]) -> Result<Zeroizing<[u8; 32]>, CustodyError> {
        self.inner.unwrap(epoch, wrapped)
    }

    fn destroy(&self, epoch: KeyEpoch) -> Result<(), CustodyError> {
        self.call(|| self.inner.destroy(epoch))
    }
}

/// An erasure calls make, wrap and destroy; undoing a failed one calls destroy again.
#[tokio::test]
async fn a_failed_erasure_changes_nothing_and_can_be_repeated() {
    for failing in 0..32_u64 {
        let (store, custody): (Arc<FaultyKeys>, Arc<Remote>) = Default::default();
        let clock: SharedClock = Arc::new(SystemClock);
        let open = || {
            let store: Arc<dyn KeyStore> = Arc::clone(&store) as _;
            let custody: Arc<dyn RootCustody> = Arc::clone(&custody) as _;
            Vault::open(store, custody, Arc::clone(&clock)).unwrap()
        };
        let vault = open();
        let keys = vault.subject_or_create(&subject("ada")).await.unwrap();
        let others = vault.subject_or_create(&subject("bob")).await.unwrap();
        let before = key(&others, 0);
        custody.calls.store(failing, Ordering::SeqCst);
        custody.failing.store(failing, Ordering::SeqCst);
        let mut answer = vault.erase(&keys, 1, [1; 16], b"", b"").await;
        while let Err(error) = answer {
            assert!(matches!(error, VaultError::BatchFailed(_)), "{failing:b}: {error}");
            assert!(key(&keys, 0).is_some(), "{failing:b}: not begun");
            answer = vault.erase(&keys, 1, [1; 16], b"", b"").await;
        }
        assert!(key(&keys, 0).is_none());
        let left = custody.key_epochs().unwrap();
        assert_eq!(
            left,
            [vault.key_epoch()],
            "{failing:b}: the erasure succeeded but an old root key is left"
        );
        assert_eq!(key(&others, 0), before);
        drop((vault, others));
        assert_eq!(key(&open().subject(&subject("bob")).unwrap().unwrap(), 0), before);
    }
}
