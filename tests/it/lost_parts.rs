//! A daemon does not start if its data folder has lost its log, its keys or its root key. It creates nothing
//! in that folder, so that a backup can be restored afterwards.

use crate::crash::Served;
use crate::harness::{files_below, json, sayso, stdout};
use std::collections::BTreeSet;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A data folder with an attribute of ada, and a backup of it.
struct World {
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let world = Self { dir: tempfile::tempdir().unwrap() };
        let served = Served::start(&world.data());
        stdout(&served.run(&["record", "ada", "tone", "brief", "--category", "work"]).output().unwrap());
        stdout(&served.run(&["backup", "-o", world.backup().to_str().unwrap()]).output().unwrap());
        served.kill();
        world
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn backup(&self) -> PathBuf {
        self.dir.path().join("sayso.backup")
    }

    /// Moves parts of the data folder away.
    fn lose(&self, parts: &[&str]) {
        for part in parts {
            std::fs::rename(self.data().join(part), self.dir.path().join(part.replace('/', "-"))).unwrap();
        }
    }

    fn restore(&self) -> Output {
        let (data, backup) = (self.data(), self.backup());
        sayso(&["--json", "--data", data.to_str().unwrap(), "restore", backup.to_str().unwrap()])
            .output()
            .unwrap()
    }

    /// Starts the daemon, which must refuse to start and change no file. Returns its error.
    fn refused_start(&self, flags: &[&str]) -> String {
        let before = contents(&self.data());
        let data = self.data();
        let listen = ["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"];
        let arguments = [&["--data", data.to_str().unwrap(), "serve"], flags, &listen].concat();
        // A daemon that starts after all must not run forever.
        let mut started = Command::new("timeout");
        let started = started.arg("20").arg(env!("CARGO_BIN_EXE_sayso")).args(arguments).output().unwrap();
        let error = String::from_utf8_lossy(&started.stderr).into_owned();
        assert_eq!(started.status.code(), Some(1), "{error}");
        assert_eq!(contents(&self.data()), before, "{error}");
        error
    }

    /// Asserts that ada's attribute is there and can be read.
    fn assert_ada_is_known(&self) {
        let served = Served::start(&self.data());
        let profile = stdout(&served.run(&["profile", "ada"]).output().unwrap());
        assert!(profile.contains("brief"), "{profile}");
        served.kill();
    }
}

/// The files and folders in a folder, and the bytes of the files.
fn contents(folder: &Path) -> BTreeSet<(PathBuf, Vec<u8>)> {
    let mut found: BTreeSet<_> =
        files_below(folder).into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
    let folders = ["log", "keys", "secrets", "dev"].map(|name| folder.join(name));
    found.extend(folders.into_iter().filter(|path| path.exists()).map(|path| (path, Vec::new())));
    found
}

#[test]
fn a_start_over_a_lost_log_creates_nothing_and_a_backup_can_be_restored() {
    for also_lost in [&[][..], &["checkpoint"], &["clock"], &["checkpoint", "clock", "dev"]] {
        let world = World::new();
        world.lose(&["log"]);
        world.lose(also_lost);
        for flags in [&["--dev"][..], &[]] {
            let error = world.refused_start(flags);
            assert!(error.contains("/log: it is lost") && error.contains("sayso restore"), "{error}");
        }
        assert_eq!(json(&world.restore())["erasedAgain"], "0", "{also_lost:?}");
        world.assert_ada_is_known();
    }
}

#[test]
fn an_empty_folder_in_the_place_of_the_log_counts_as_a_lost_log() {
    let world = World::new();
    world.lose(&["log"]);
    std::fs::create_dir(world.data().join("log")).unwrap();
    assert!(world.refused_start(&["--dev"]).contains("/log: it is lost"));
    assert_eq!(json(&world.restore())["erasedAgain"], "0");
    world.assert_ada_is_known();
}

#[test]
fn a_start_over_lost_keys_creates_nothing_and_a_restore_brings_everyone_back() {
    for also_lost in [&[][..], &["checkpoint"]] {
        let world = World::new();
        world.lose(&["keys"]);
        world.lose(also_lost);
        let error = world.refused_start(&["--dev"]);
        assert!(error.contains("/keys: it is lost") && error.contains("move the log away"), "{error}");
        world.lose(&["log"]);
        world.refused_start(&["--dev"]);
        assert_eq!(json(&world.restore())["erasedAgain"], "0", "{also_lost:?}");
        world.assert_ada_is_known();
    }
}

#[test]
fn a_restore_replaces_a_key_store_without_pages() {
    let world = World::new();
    world.lose(&["log", "keys"]);
    // An earlier build made this key store when it was started over the lost keys.
    drop(sayso::store::embedded::EmbeddedKeys::open(&world.data().join("keys")).unwrap());
    assert_eq!(json(&world.restore())["erasedAgain"], "0");
    world.assert_ada_is_known();
}

#[test]
fn keys_of_a_backup_that_the_root_key_does_not_open_do_not_take_the_place_of_the_lost_keys() {
    let world = World::new();
    let served = Served::start(&world.data());
    // An erasure replaces the root key, so the keys in the earlier backup can no longer be opened.
    stdout(&served.run(&["record", "bob", "tone", "loud", "--category", "work"]).output().unwrap());
    stdout(&served.run(&["erase", "bob", "--scope", "all"]).output().unwrap());
    let newer = world.dir.path().join("newer.backup");
    stdout(&served.run(&["backup", "-o", newer.to_str().unwrap()]).output().unwrap());
    served.kill();
    world.lose(&["log", "keys"]);
    let refused = world.restore();
    assert!(!refused.status.success(), "{refused:?}");
    std::fs::rename(newer, world.backup()).unwrap();
    assert_eq!(json(&world.restore())["erasedAgain"], "0");
    world.assert_ada_is_known();
}

#[test]
fn a_start_over_a_lost_root_key_creates_nothing() {
    let world = World::new();
    world.lose(&["secrets/root.key"]);
    assert!(world.refused_start(&["--dev"]).contains("root.key: it is lost"));
    std::fs::rename(world.dir.path().join("secrets-root.key"), world.data().join("secrets/root.key"))
        .unwrap();
    world.assert_ada_is_known();
}

#[test]
fn a_first_start_that_was_interrupted_is_repeated() {
    for left in [&["keys"][..], &["secrets"], &["keys", "log", "secrets"]] {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let mut private = std::fs::DirBuilder::new();
        private.recursive(true).mode(0o700);
        left.iter().for_each(|part| private.create(data.join(part)).unwrap());
        if left.contains(&"keys") {
            drop(sayso::store::embedded::EmbeddedKeys::open(&data.join("keys")).unwrap());
        }
        if left.contains(&"log") {
            std::fs::write(data.join("log/lock"), "").unwrap();
        }
        Served::start(&data).kill();
    }
}
