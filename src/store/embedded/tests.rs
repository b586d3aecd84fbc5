//! Tests of the embedded engine: that it fulfills the contracts `LogStore` and `KeyStore`, and what is
//! specific to this engine.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod damage;
mod discards;
mod keys;
mod kill;
mod large_records;
mod model;
mod recovery;
mod sectors;

use super::{EmbeddedKeys, EmbeddedLog, Options};
use crate::store::contract::{self, Opened};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// Limits so small that a short log has many segments and watermarks.
fn small() -> Options {
    Options {
        segment_bytes_max: 8 << 10,
        room_bytes: 4 << 10,
        index_cache_bytes: 1 << 20,
        settle_records: 5,
        pending_records_max: 20,
        watermark_entries: 8,
        entries_min: 0,
    }
}

/// Options for one segment, and for no watermark except the one that opening writes. So later entries must be
/// recovered.
fn without_watermarks() -> Options {
    Options {
        segment_bytes_max: 64 << 10,
        settle_records: usize::MAX,
        pending_records_max: usize::MAX,
        watermark_entries: u64::MAX,
        ..small()
    }
}

fn open(dir: &Path, options: &Options) -> EmbeddedLog {
    EmbeddedLog::open(dir, options.clone()).unwrap()
}

/// A temporary folder, in memory if possible, since these tests check bytes and not durability.
fn scratch() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap()
}

/// A copy of the files that the process would leave if it were killed now.
fn after_kill(dir: &Path) -> TempDir {
    let copy = scratch();
    copy_all(dir, copy.path());
    copy
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for item in fs::read_dir(from).unwrap() {
        let item = item.unwrap();
        let target = to.join(item.file_name());
        if item.file_type().unwrap().is_dir() {
            copy_all(&item.path(), &target);
        } else {
            fs::copy(item.path(), target).unwrap();
        }
    }
}

/// The sled tree of an index, once sled's lock is free.
fn sled_tree(dir: &Path) -> sled::Tree {
    loop {
        match sled::open(dir) {
            Ok(database) => return database.open_tree("records").unwrap(),
            Err(error) => assert!(error.to_string().contains("could not acquire lock"), "{error}"),
        }
    }
}

/// The file of a segment.
fn segment(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("segments/{number:08}.seg"))
}

fn change(path: &Path, work: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    work(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// Whether any file in the folder contains these bytes.
fn contains(dir: &Path, needle: &[u8]) -> bool {
    fs::read_dir(dir).unwrap().any(|item| {
        let path = item.unwrap().path();
        if path.is_dir() {
            return contains(&path, needle);
        }
        let bytes = fs::read(path).unwrap();
        bytes.windows(needle.len()).any(|window| window == needle)
    })
}

contract::log_suite!(|| {
    let dir = scratch();
    Opened { engine: Arc::new(open(dir.path(), &small())), _folder: Some(dir) }
});
contract::keys_suite!(|| {
    let dir = scratch();
    Opened { engine: Arc::new(EmbeddedKeys::open(dir.path()).unwrap()), _folder: Some(dir) }
});
