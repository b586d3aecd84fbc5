//! Tests of the key store: writes survive a crash, each copy is repaired from the other, and damage of both
//! copies is reported.

use super::{after_kill, change, copy_all, scratch};
use crate::store::embedded::EmbeddedKeys;
use crate::store::embedded::frame::ALIGN;
use crate::store::memory::MemoryKeys;
use crate::store::{KeyStore, Page, StoreError};
use proptest::prelude::*;
use std::fs;
use std::path::Path;

const COPIES: [&str; 2] = ["pages-1", "pages-2"];

fn write(keys: &EmbeddedKeys, id: &str, page: &str) {
    keys.write_pages(&[(id.into(), Some(page.into()))]).unwrap();
}

fn all(keys: &dyn KeyStore) -> Vec<Page> {
    keys.scan_pages(b"", None, usize::MAX).unwrap()
}

/// Makes a store with a few writes, among them staged and removed pages. Returns its pages and where its last
/// write ends.
fn filled(dir: &Path) -> (Vec<Page>, usize) {
    let keys = EmbeddedKeys::open(dir).unwrap();
    write(&keys, "s1", "content");
    keys.stage_pages(&[(b"s2".to_vec(), Some(vec![9; 100]))]).unwrap();
    write(&keys, "s3", "gone");
    keys.write_pages(&[(b"s3".to_vec(), None), (b"s1".to_vec(), Some(b"other".to_vec()))]).unwrap();
    write(&keys, "s4", "last");
    let bytes = fs::read(dir.join(COPIES[0])).unwrap();
    assert_eq!(bytes, fs::read(dir.join(COPIES[1])).unwrap(), "the copies differ");
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    (all(&keys), end.next_multiple_of(ALIGN))
}

#[test]
fn every_write_survives_a_kill() {
    let dir = scratch();
    let keys = EmbeddedKeys::open(dir.path()).unwrap();
    for number in 0..20 {
        write(&keys, &format!("page {number}"), "content");
        if number % 5 == 4 {
            let copy = after_kill(dir.path());
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
fn no_flipped_byte_in_one_copy_loses_a_page() {
    let dir = scratch();
    let (pages, end) = filled(dir.path());
    for copy in COPIES {
        let whole = fs::read(dir.path().join(copy)).unwrap();
        for at in 0..(end + 2 * ALIGN).min(whole.len()) {
            let damaged = after_kill(dir.path());
            change(&damaged.path().join(copy), |bytes| bytes[at] ^= 0x41);
            let keys = EmbeddedKeys::inspect(damaged.path()).unwrap();
            assert_eq!(all(&keys), pages, "byte {at} of {copy}, inspected");
            let found = keys.found();
            assert!(
                found.torn || found.missing.is_some() || !found.mended.is_empty(),
                "byte {at} is not detected"
            );
            drop(keys);
            let keys = EmbeddedKeys::open(damaged.path()).unwrap();
            assert_eq!(all(&keys), pages, "byte {at} of {copy}");
            drop(keys);
            let repaired = fs::read(damaged.path().join(copy)).unwrap();
            assert_eq!(repaired[..end], whole[..end], "byte {at} of {copy} is not repaired");
        }
    }
}

#[test]
fn a_page_damaged_while_the_store_is_open_is_not_read() {
    let dir = scratch();
    let keys = EmbeddedKeys::open(dir.path()).unwrap();
    write(&keys, "s1", "content");
    let damage = |copy: &str| change_in_place(&dir.path().join(copy), 2 * ALIGN as u64 + 12);
    damage(COPIES[0]);
    assert_eq!(keys.read_page(b"s1").unwrap().unwrap(), b"content");
    damage(COPIES[1]);
    assert!(matches!(keys.read_page(b"s1"), Err(StoreError::Damaged { what: "key page", .. })));
    assert!(keys.scan_pages(b"s", None, 10).is_err());
}

fn change_in_place(path: &Path, at: u64) {
    use std::os::unix::fs::FileExt;
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

#[test]
fn a_lost_copy_is_restored() {
    for copy in COPIES {
        let dir = scratch();
        let (pages, end) = filled(dir.path());
        let whole = fs::read(dir.path().join(copy)).unwrap();
        fs::remove_file(dir.path().join(copy)).unwrap();
        assert_eq!(all(&EmbeddedKeys::inspect(dir.path()).unwrap()), pages);
        assert!(!dir.path().join(copy).exists(), "an inspection changes nothing");
        assert_eq!(all(&EmbeddedKeys::open(dir.path()).unwrap()), pages);
        assert_eq!(fs::read(dir.path().join(copy)).unwrap()[..end], whole[..end]);
    }
}

#[test]
fn a_store_with_both_copies_damaged_does_not_open_and_is_not_changed() {
    let dir = scratch();
    let (pages, end) = filled(dir.path());
    for at in (0..end).step_by(7) {
        let damaged = after_kill(dir.path());
        COPIES.iter().for_each(|copy| change(&damaged.path().join(copy), |bytes| bytes[at] ^= 1));
        let before: Vec<_> = COPIES.iter().map(|copy| fs::read(damaged.path().join(copy)).unwrap()).collect();
        let result = EmbeddedKeys::open(damaged.path()).map(|keys| all(&keys));
        assert!(matches!(result, Err(StoreError::Damaged { .. })), "byte {at}: {result:?}");
        let after: Vec<_> = COPIES.iter().map(|copy| fs::read(damaged.path().join(copy)).unwrap()).collect();
        assert!(before == after, "byte {at}");
    }
    assert_eq!(all(&EmbeddedKeys::open(dir.path()).unwrap()), pages);
}

#[test]
fn a_torn_write_is_there_completely_or_not_at_all() {
    let dir = scratch();
    let keys = EmbeddedKeys::open(dir.path()).unwrap();
    write(&keys, "s1", "before");
    let before = after_kill(dir.path());
    keys.write_pages(&[(b"s1".to_vec(), Some(b"after".to_vec())), (b"s2".to_vec(), Some(vec![3; 200]))])
        .unwrap();
    let (old, new) = (all(&EmbeddedKeys::open(before.path()).unwrap()), all(&keys));
    let (old_bytes, new_bytes) =
        (fs::read(before.path().join(COPIES[0])).unwrap(), fs::read(dir.path().join(COPIES[0])).unwrap());
    let end = new_bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    for cut in (0..end).step_by(5) {
        for other in [&old_bytes, &new_bytes] {
            let torn = after_kill(before.path());
            let torn_bytes = [&new_bytes[..cut], old_bytes.get(cut..).unwrap_or_default()].concat();
            fs::write(torn.path().join(COPIES[0]), torn_bytes).unwrap();
            fs::write(torn.path().join(COPIES[1]), other).unwrap();
            let found = all(&EmbeddedKeys::open(torn.path()).unwrap());
            assert!(found == old || found == new, "torn at {cut}");
            assert!(found == new || other == &old_bytes, "torn at {cut}, and the other copy has the write");
            assert_eq!(all(&EmbeddedKeys::open(torn.path()).unwrap()), found, "torn at {cut}, opened again");
        }
    }
}

#[test]
fn a_store_that_lost_writes_does_not_open() {
    let dir = scratch();
    let keys = EmbeddedKeys::open(dir.path()).unwrap();
    write(&keys, "s1", "content");
    let before = after_kill(dir.path());
    write(&keys, "s2", "content");
    drop(keys);
    // These are the copies from before the second write, with the write count from after it.
    let after = after_kill(before.path());
    fs::copy(dir.path().join("writes"), after.path().join("writes")).unwrap();
    let result = EmbeddedKeys::open(after.path()).map(|_| ());
    assert!(matches!(result, Err(StoreError::Damaged { .. })), "{result:?}");
    // Without the write count the loss can't be detected.
    let copy = scratch();
    copy_all(before.path(), copy.path());
    fs::remove_file(copy.path().join("writes")).unwrap();
    assert!(EmbeddedKeys::open(copy.path()).unwrap().read_page(b"s1").unwrap().is_some());
}

#[test]
fn an_empty_store_with_a_write_count_does_not_open() {
    let dir = scratch();
    drop(filled(dir.path()));
    COPIES.iter().for_each(|copy| fs::remove_file(dir.path().join(copy)).unwrap());
    let result = EmbeddedKeys::open(dir.path()).map(|_| ());
    assert!(matches!(result, Err(StoreError::Damaged { what: "key store", .. })), "{result:?}");
}

#[test]
fn an_interrupted_compaction_keeps_every_page() {
    let dir = scratch();
    let keys = EmbeddedKeys::open(dir.path()).unwrap();
    let mut before = after_kill(dir.path());
    let length = |dir: &Path| fs::metadata(dir.join(COPIES[0])).unwrap().len();
    for number in 0_u32.. {
        write(&keys, &format!("s{}", number % 3), &"x".repeat(700));
        if length(dir.path()) < length(before.path()) {
            break;
        }
        assert!(number < 1_000, "the store is never compacted");
        before = after_kill(dir.path());
    }
    write(&keys, "s9", "after");
    let pages = all(&keys);
    // One copy is new and the other is old, as after a crash between the two renames.
    let between = after_kill(dir.path());
    for (new, old) in [(0, 1), (1, 0)] {
        fs::copy(dir.path().join(COPIES[new]), between.path().join(COPIES[new])).unwrap();
        fs::copy(before.path().join(COPIES[old]), between.path().join(COPIES[old])).unwrap();
        fs::write(between.path().join("pages-1.next"), b"unfinished").unwrap();
        assert_eq!(all(&EmbeddedKeys::open(between.path()).unwrap()), pages);
        assert_eq!(all(&EmbeddedKeys::open(between.path()).unwrap()), pages);
        assert!(!between.path().join("pages-1.next").exists());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// After any writes and restarts the store has the same pages as the model.
    #[test]
    fn the_store_equals_its_model(
        writes in prop::collection::vec((0..4_u8, 0..12_u8, prop::option::of(0..900_usize)), 1..80),
    ) {
        let dir = scratch();
        let (mut keys, model) = (EmbeddedKeys::open(dir.path()).unwrap(), MemoryKeys::default());
        for (kind, id, page) in writes {
            let change = [(vec![id], page.map(|length| vec![id; length]))];
            model.write_pages(&change).unwrap();
            match kind {
                0 => keys.stage_pages(&change).unwrap(),
                1 => {
                    drop(keys);
                    keys = EmbeddedKeys::open(dir.path()).unwrap();
                    keys.write_pages(&change).unwrap();
                }
                _ => keys.write_pages(&change).unwrap(),
            }
            prop_assert_eq!(all(&keys), all(&model));
        }
    }
}
