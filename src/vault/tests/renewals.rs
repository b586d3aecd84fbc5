//! Tests renewals of keys after a restore: events that a data subject gets after the end of the restored
//! log have fresh keys, and destroyed keys stay destroyed.

use super::{Bench, key, subject};
use crate::vault::VaultError;
use std::collections::BTreeSet;

const VERSIONS: u64 = 12;

#[tokio::test]
async fn every_subject_gets_fresh_keys_from_the_end_of_its_log_on() {
    let bench = Bench::new();
    let vault = bench.open();
    let mut before = Vec::new();
    for number in 0..200 {
        let keys = vault.subject_or_create(&subject(&format!("s{number}"))).await.unwrap();
        before.push((keys.handle, (0..VERSIONS).map(|version| key(&keys, version)).collect::<Vec<_>>()));
    }
    let [tail, middle, whole] = [3_usize, 4, 5].map(|place| before[place].0);
    vault.puncture(tail, &[2, 6, 7], None).await.unwrap();
    vault.puncture(middle, &[1], None).await.unwrap();
    vault.puncture(whole, &[0, 1, 2, 3, 4, 5], None).await.unwrap();
    let epoch = vault.key_epoch();
    // The restored log has no version of the subject `whole`, and 5 versions of every other subject.
    let next = |handle| Ok::<_, VaultError>(if handle == whole { 0 } else { 5 });
    vault.renew(&BTreeSet::from([middle]), 7_000, next).await.unwrap();

    let check = |vault: &crate::vault::Vault| {
        let mut fresh = BTreeSet::new();
        for (place, (handle, before)) in before.iter().enumerate() {
            let keys = vault.by_handle(*handle).unwrap().unwrap();
            let ends = if *handle == whole { 0 } else { 5 };
            for version in 0..VERSIONS {
                let now = key(&keys, version);
                if version >= ends {
                    let now = now.expect("a renewed version has a key");
                    assert!(fresh.insert(now) && before[version as usize] != Some(now), "a fresh key");
                } else {
                    let destroyed = *handle == tail && version == 2 || *handle == middle && version == 1;
                    assert_eq!(now, before[version as usize].filter(|_| !destroyed), "{place} at {version}");
                }
            }
            let fence = vault.fenced_at(&subject(&format!("s{place}"))).unwrap();
            assert_eq!(fence, [tail, middle, whole].contains(handle).then_some(7_000), "{place}");
        }
        fresh
    };
    let fresh = check(&vault);
    assert_eq!(vault.key_epoch(), epoch, "a renewal destroys no keys");
    drop(vault);
    let vault = bench.open();
    assert_eq!(check(&vault), fresh, "after a restart");
    // If a renewal was cut off before the log recorded it, the renewal is repeated. The second renewal makes
    // fresh keys again, and changes nothing else.
    vault.renew(&BTreeSet::from([middle]), 7_000, next).await.unwrap();
    assert!(check(&vault).is_disjoint(&fresh));
    // A later puncture destroys new versions, and removes the old keys of versions beyond the end for good.
    vault.puncture(tail, &[3, 8], None).await.unwrap();
    let keys = vault.by_handle(tail).unwrap().unwrap();
    let left: Vec<u64> = (0..VERSIONS).filter(|version| key(&keys, *version).is_some()).collect();
    assert_eq!(left, [0, 1, 4, 5, 6, 7, 9, 10, 11]);
}
