//! A log that went back to a backup: versions behind its end come under fresh keys, and what was destroyed stays so.

use super::{Bench, key, subject};
use crate::vault::VaultError;
use std::collections::BTreeSet;

const VERSIONS: u64 = 12;

#[tokio::test]
async fn everybody_goes_on_from_where_the_log_ends() {
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
    // The log ends at version 5 for everybody; of one it knows nothing any more.
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
                    let now = now.expect("it goes on");
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
    assert_eq!(vault.key_epoch(), epoch, "nothing was destroyed by it");
    drop(vault);
    let vault = bench.open();
    assert_eq!(check(&vault), fresh, "after a restart");
    // Cut off before the log said so, it is done again: fresh keys once more, nothing else changes.
    vault.renew(&BTreeSet::from([middle]), 7_000, next).await.unwrap();
    assert!(check(&vault).is_disjoint(&fresh));
    // A puncture afterwards is one of the new versions, and the old ones behind the end are gone for good.
    vault.puncture(tail, &[3, 8], None).await.unwrap();
    let keys = vault.by_handle(tail).unwrap().unwrap();
    let held: Vec<u64> = (0..VERSIONS).filter(|version| key(&keys, *version).is_some()).collect();
    assert_eq!(held, [0, 1, 4, 5, 6, 7, 9, 10, 11]);
}
