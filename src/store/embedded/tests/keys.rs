//! The key store: what is written is there after a crash, and what is missing or rotten is said to be.

use super::{copy_all, killed, scratch};
use crate::store::embedded::EmbeddedKeys;
use crate::store::{KeyStore, StoreError};
use std::fs;
use std::path::Path;

fn write(keys: &EmbeddedKeys, id: &str, page: &str) {
    keys.write_pages(&[(id.into(), Some(page.into()))]).unwrap();
}

/// The database underneath, once sled let go of it.
pub fn raw(dir: &Path) -> sled::Tree {
    loop {
        match sled::open(dir) {
            Ok(database) => return database.open_tree("records").unwrap(),
            Err(error) => assert!(error.to_string().contains("could not acquire lock"), "{error}"),
        }
    }
}

#[test]
fn every_write_survives_a_kill() {
    let dir = scratch();
    let keys = EmbeddedKeys::open(dir.path()).unwrap();
    for number in 0..20 {
        write(&keys, &format!("page {number}"), "content");
        if number % 5 == 4 {
            let copy = killed(dir.path());
            let keys = EmbeddedKeys::open(copy.path()).unwrap();
            assert_eq!(keys.count_pages(b"page").unwrap(), number + 1);
            assert_eq!(keys.read_page(format!("page {number}").as_bytes()).unwrap().unwrap(), b"content");
        }
    }
}

#[test]
fn a_folder_is_opened_once() {
    let dir = scratch();
    let keys = EmbeddedKeys::open(dir.path()).unwrap();
    assert!(matches!(EmbeddedKeys::open(dir.path()), Err(StoreError::Busy)));
    drop(keys);
    drop(EmbeddedKeys::open(dir.path()).unwrap());
}

#[test]
fn a_rotten_page_is_said_to_be() {
    let dir = scratch();
    let keys = EmbeddedKeys::open(dir.path()).unwrap();
    write(&keys, "s1", "content");
    write(&keys, "s2", "content");
    drop(keys);
    {
        let records = raw(dir.path());
        let mut value = records.get(b"ks1").unwrap().unwrap().to_vec();
        *value.last_mut().unwrap() ^= 1;
        records.insert(b"ks1", value).unwrap();
        // Somebody else's page in the place of this one.
        let other = records.get(b"ks2").unwrap().unwrap();
        records.insert(b"ks3", other).unwrap();
        records.flush().unwrap();
    }
    let keys = EmbeddedKeys::open(dir.path()).unwrap();
    for id in [b"s1", b"s3"] {
        assert!(matches!(keys.read_page(id), Err(StoreError::Damaged { what: "key page", .. })));
    }
    assert!(keys.scan_pages(b"s", None, 10).is_err());
    assert!(keys.read_page(b"s2").unwrap().is_some());
}

#[test]
fn a_database_that_lost_writes_is_refused() {
    let dir = scratch();
    let keys = EmbeddedKeys::open(dir.path()).unwrap();
    write(&keys, "s1", "content");
    let before = killed(dir.path());
    write(&keys, "s2", "content");
    drop(keys);
    let after = killed(dir.path());
    // The database of before with what is known of after; then none at all.
    fs::remove_file(after.path().join("db")).unwrap();
    fs::copy(before.path().join("db"), after.path().join("db")).unwrap();
    let refused = EmbeddedKeys::open(after.path()).map(|_| ());
    assert!(matches!(refused, Err(StoreError::Damaged { .. })), "{refused:?}");
    let empty = scratch();
    fs::copy(dir.path().join("writes"), empty.path().join("writes")).unwrap();
    let refused = EmbeddedKeys::open(empty.path()).map(|_| ());
    assert!(matches!(refused, Err(StoreError::Damaged { what: "key store", .. })), "{refused:?}");
    // Without the witness there is nothing to say so.
    let copy = scratch();
    copy_all(before.path(), copy.path());
    fs::remove_file(copy.path().join("writes")).unwrap();
    assert!(EmbeddedKeys::open(copy.path()).unwrap().read_page(b"s1").unwrap().is_some());
}
