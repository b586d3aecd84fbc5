//! Bits flip in a data folder at rest, one byte at a time: it is found at open, by `sayso fsck`, mended or
//! rebuilt, or it is harmless by a rule that is written here. Nothing is lost in silence.
//!
//! `SAYSO_ROUNDS=n` tries so many bytes a file; `SAYSO_EVERY_BYTE=1/1` tries every one, and
//! `SAYSO_EVERY_BYTE=i/n` the i-th of n shares of them, which n processes can try at once.

use crate::harness::{self, Harness, NOTICE, choice, consent, fact, files_below, int64, json, sayso};
use sayso::app::Examined;
use sayso::cli::fsck::examine_folder;
use sayso::clock::SystemClock;
use sayso::ledger::{Ledger, LogKey};
use sayso::proto::{self, ConsentDecision, Role};
use sayso::store::embedded::{EmbeddedKeys, EmbeddedLog, Options};
use sayso::store::{KeyStore, LogStore, Page, StoredEntry};
use sayso::vault::{FileCustody, KeyCheck, RootCustody};
use sayso_proof::checkpoint::{Checkpoint, VerifierKey};
use sayso_proof::entry;
use sayso_proof::merkle::Frontier;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of each file that are tried by default.
const FEW: u64 = 8;

/// Bytes that no check covers, and why nothing is lost with them.
const HARMLESS: [(&str, &str); 8] = [
    (
        "secrets/issuer.key",
        "signs credentials, which are no part of the ledger: tokens are refused, and made again",
    ),
    ("checkpoint", "bytes behind the note in its slot; the note itself has a checksum"),
    (
        "log/mark",
        "bytes behind the mark in its slot; the mark has a checksum, and only says less than what is true",
    ),
    ("log/index/", "room that sled does not use; its records have checksums, and can be rebuilt"),
    ("log/tree/", "room made ahead, and what is behind the mark: rebuilt at open"),
    ("log/locations", "room made ahead, and what is behind the mark: rebuilt at open"),
    (
        "clock",
        "a time with a checksum in each slot; where neither is whole, time goes on from the newest entry",
    ),
    ("keys/writes", "a count with a checksum; where it is not whole it says nothing"),
];

/// What a folder holds.
struct Held {
    entries: Vec<StoredEntry>,
    pages: Vec<Page>,
    note: String,
}

/// How a start goes: what it finds, or why it refuses. Whoever finds less than `whole` without a word has
/// lost it.
fn start(dir: &Path, whole: Option<&Held>) -> Result<Held, String> {
    let said = |error: &dyn std::fmt::Display| error.to_string();
    let config = harness::config_at(dir);
    let kept = Ledger::inspect_kept_checkpoint(&dir.join("checkpoint")).map_err(|error| said(&error))?;
    // Little room is made ahead here: it takes time, and nothing is written.
    let options = Options { entries_min: kept.size(), room_bytes: 1 << 16, ..Options::default() };
    let log = EmbeddedLog::open(&dir.join("log"), options).map_err(|error| said(&error))?;
    let size = log.head().size;
    let mut entries = Vec::new();
    for position in 0..size {
        entries.push(log.read_entry(position).map_err(|error| said(&error))?);
    }
    for stored in &entries {
        let Some(bytes) = &stored.bytes else { continue };
        let header = entry::parse_header(bytes).map_err(|error| said(&error))?;
        let found = log.read_subject(header.handle, header.version, 1).map_err(|error| said(&error))?;
        assert_eq!(found, [(header.version, stored.position)], "the index is wrong, and nothing says so");
    }
    let leaves = log.read_hashes(0, 0, entries.len()).map_err(|error| said(&error))?;
    let kept_leaves: Vec<_> = entries.iter().map(|stored| stored.leaf_hash).collect();
    assert_eq!(leaves, kept_leaves, "the tree is wrong, and nothing says so");
    // As the daemon compares them.
    let key = LogKey::inspect(&dir.join("secrets/log.key")).map_err(|error| said(&error))?;
    let key = VerifierKey { name: config.origin(), key: key.verifying() };
    let note = kept.note.ok_or("no checkpoint is kept")?;
    let checkpoint = Checkpoint::open(&note, &key).map_err(|error| said(&error))?;
    let mut tree = Frontier::new();
    leaves.iter().take(checkpoint.size as usize).for_each(|leaf| tree.push(*leaf));
    if (tree.size(), tree.root()) != (checkpoint.size, checkpoint.root) {
        return Err("another tree than the kept checkpoint's".into());
    }
    log.close().map_err(|error| said(&error))?;
    let keys = Arc::new(EmbeddedKeys::open(&dir.join("keys")).map_err(|error| said(&error))?);
    let pages = keys.scan_pages(b"", None, usize::MAX).map_err(|error| said(&error))?;
    let custody = FileCustody::open(&dir.join("secrets/root.key")).map_err(|error| said(&error))?;
    let generations = custody.generations().map_err(|error| said(&error))?;
    let check =
        KeyCheck::open(keys, Arc::new(custody), Arc::new(SystemClock)).map_err(|error| said(&error))?;
    check.open_all().map_err(|error| said(&error))?;
    if let Some(whole) = whole {
        assert_eq!(size, whole.entries.len() as u64, "entries are lost in silence");
        assert!(entries == whole.entries, "entries are others, in silence");
        assert!(pages == whole.pages, "key pages are others, in silence");
        assert_eq!(generations.len(), 1);
        assert!(note == whole.note || checkpoint.size < size, "another checkpoint, in silence");
    }
    Ok(Held { entries, pages, note })
}

fn examined(dir: &Path) -> Examined {
    examine_folder(&harness::config_at(dir), &mut |_| {}).unwrap()
}

fn digest(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = files_below(dir);
    files.sort();
    files
        .into_iter()
        .map(|path| (path.clone(), Sha256::digest(std::fs::read(path).unwrap()).to_vec()))
        .collect()
}

/// A copy of a folder in which room that was never written takes none.
fn copy(from: &Path, to: &Path) {
    let _there_may_be_none = std::fs::remove_dir_all(to);
    let status = std::process::Command::new("cp").args(["-a", "--sparse=always"]).arg(from).arg(to).status();
    assert!(status.unwrap().success());
}

/// Cuts off most of the room that was made ahead, so that a copy and a look at all of it take a moment.
fn cut_room(dir: &Path) {
    for path in files_below(dir).into_iter().filter(|path| !path.starts_with(dir.join("log/index"))) {
        let bytes = std::fs::read(&path).unwrap();
        if bytes.len() < 1 << 20 {
            continue;
        }
        let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_len((end + 4096).min(bytes.len()) as u64).unwrap();
    }
}

fn scratch() -> tempfile::TempDir {
    tempfile::TempDir::new_in("/dev/shm").or_else(|_| tempfile::TempDir::new()).unwrap()
}

/// A small ledger with a bit of everything in it.
async fn filled() -> (Harness, PathBuf) {
    let harness = Harness::start_in(scratch()).await;
    let mut service = harness.as_role(Role::Service, "tutor").await;
    let mut steward = harness.as_role(Role::Steward, "dpo").await;
    harness::publish_notice(&mut steward).await;
    for person in ["ada", "bob", "eve"] {
        for number in 0..3 {
            service
                .profile
                .record_attributes(fact(person, &format!("k{number}"), "interest", "x"))
                .await
                .unwrap();
        }
        let given = choice(ConsentDecision::Given, "tone-adaptation", &["interest"], false);
        steward.consent.record_consent(consent(person, vec![given])).await.unwrap();
        service.grant.request_grant(harness::ask(person)).await.unwrap();
    }
    for (subject, scope, keys) in
        [("eve", proto::ErasureScope::All, vec![]), ("bob", proto::ErasureScope::Key, vec!["k1".into()])]
    {
        let request = proto::SubmitRequestRequest {
            subject: subject.into(),
            kind: proto::RequestKind::Erasure.into(),
            scope: scope.into(),
            keys,
            ..Default::default()
        };
        steward.rights.submit_request(request).await.unwrap();
    }
    assert_eq!(NOTICE, "welcome");
    let data = harness.dir.path().to_owned();
    (harness, data)
}

/// Which share of every byte is to be tried, from 1, and of how many.
fn every_byte() -> Option<(usize, usize)> {
    let asked = std::env::var("SAYSO_EVERY_BYTE").ok()?;
    let (share, shares) = asked.split_once('/').expect("SAYSO_EVERY_BYTE=i/n");
    Some((share.parse().expect("i is a number"), shares.parse().expect("n is a number")))
}

/// Offsets to try: spread over what is written, and a few of what is not.
fn offsets(bytes: &[u8]) -> Vec<usize> {
    let written: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
    let end = written.last().map_or(0, |last| last + 1);
    if let Some((share, shares)) = every_byte() {
        return (0..(end + 64).min(bytes.len())).skip(share - 1).step_by(shares).collect();
    }
    let few = crate::crash::rounds(FEW) as usize;
    let step = (written.len() / few).max(1);
    let mut offsets: Vec<usize> = written.iter().copied().skip(step / 2).step_by(step).collect();
    offsets.extend(
        [end + 1, end + 700, bytes.len().saturating_sub(1)].into_iter().filter(|at| *at < bytes.len()),
    );
    offsets
}

/// Flips bytes of every file and counts what came of it: refused at start, mended or rebuilt, harmless.
fn flip_all(template: &Path, what: &str) {
    let whole = {
        let dir = scratch();
        copy(template, &dir.path().join("data"));
        start(&dir.path().join("data"), None).unwrap()
    };
    // As a copy, in which room that was made ahead takes none.
    let lean = scratch();
    copy(template, &lean.path().join("data"));
    let template = &lean.path().join("data");
    if every_byte().is_some() {
        cut_room(template);
    }
    let usual = examined(template);
    assert!(usual.is_whole(), "{usual:?}");
    let dir = scratch();
    let work = dir.path().join("data");
    let mut outcomes: BTreeMap<String, [u64; 3]> = BTreeMap::new();
    for path in files_below(template) {
        let name = path.strip_prefix(template).unwrap().to_str().unwrap().to_owned();
        // What `--dev` leaves for people is no part of the ledger.
        if name.starts_with("dev/") || name.ends_with(".token") {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        for (number, at) in offsets(&bytes).into_iter().enumerate() {
            copy(template, &work);
            let pattern = [0x01, 0x80, 0xff, 0x10][number % 4];
            harness::flip(&work.join(&name), at as u64, pattern);
            let before = (number == 0).then(|| digest(&work));
            let found = examined(&work);
            assert!(before.is_none_or(|before| before == digest(&work)), "{name}: fsck changed something");
            let named = found.damaged != usual.damaged
                || found.rebuildable != usual.rebuildable
                || found.notes != usual.notes;
            let started =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| start(&work, Some(&whole))));
            let started = started.unwrap_or_else(|_| panic!("{what}, {name}, byte {at} with {pattern:#x}"));
            let outcome = match &started {
                Err(_) => 0,
                Ok(_) if named => 1,
                Ok(_) => 2,
            };
            outcomes.entry(name.clone()).or_default()[outcome] += 1;
            let rule = HARMLESS.iter().any(|(file, _)| name.starts_with(file)) || bytes[at] == 0;
            assert!(
                outcome != 2 || rule,
                "{what}, {name}, byte {at}: nothing says a word, and no rule says why"
            );
            assert!(
                started.is_ok() || named || name.starts_with("secrets/"),
                "{what}, {name}, byte {at}: fsck has no word for what keeps the daemon from starting: {:?}",
                started.err()
            );
        }
    }
    let mut sum = [0; 3];
    for (name, counts) in &outcomes {
        println!(
            "{what}, {name}: {} refused, {} mended or rebuilt, {} harmless",
            counts[0], counts[1], counts[2]
        );
        sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    let bytes: u64 = sum.iter().sum();
    println!(
        "{bytes} bytes flipped, {what}: {} refused at start, {} mended or rebuilt, {} harmless, none lost in silence",
        sum[0], sum[1], sum[2]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_flipped_byte_loses_anything_in_silence() {
    let (harness, data) = filled().await;
    let killed = scratch();
    copy(&data, &killed.path().join("data"));
    let stopped = harness.stop().await;
    tokio::task::spawn_blocking(move || {
        flip_all(stopped.path(), "after a stop");
        flip_all(&killed.path().join("data"), "after a kill");
    })
    .await
    .unwrap();
}

/// What lies in a folder and in the folders below it, links not followed.
fn left_in(dir: &Path) -> Vec<(PathBuf, std::fs::Metadata)> {
    let mut found = Vec::new();
    for item in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let Ok(metadata) = std::fs::symlink_metadata(item.path()) else { continue };
        if metadata.is_dir() {
            found.extend(left_in(&item.path()));
        }
        found.push((item.path(), metadata));
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn fsck_that_is_killed_leaves_no_copy_behind() {
    use std::os::unix::fs::PermissionsExt;
    use std::process::{Child, Stdio};
    let harness = Harness::start().await;
    let mut service = harness.as_role(Role::Service, "tutor").await;
    for number in 0..200 {
        let fact = fact(&format!("person-{}", number % 20), "hobby", "work", &format!("value {number}"));
        service.profile.record_attributes(fact).await.unwrap();
    }
    let (dir, temporary) = (harness.stop().await, tempfile::tempdir().unwrap());
    let run = |dir: &tempfile::TempDir| -> Child {
        let mut command = sayso(&["fsck", dir.path().to_str().unwrap()]);
        let command = command.env("TMPDIR", temporary.path()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    };
    let mut midway = 0;
    for round in 0..30 {
        let mut child = run(&dir);
        while child.try_wait().unwrap().is_none() && left_in(temporary.path()).is_empty() {}
        std::thread::sleep(std::time::Duration::from_millis(round * 3));
        // It may have ended by itself.
        let _ended = child.kill();
        child.wait().unwrap();
        let left = left_in(temporary.path());
        midway += usize::from(!left.is_empty());
        for (path, metadata) in left {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let is_entered_first = path.parent() == Some(temporary.path());
            assert!(!is_entered_first || metadata.permissions().mode() & 0o077 == 0, "{path:?}");
            // Of the index at most where its pages lay, and nothing of what was in them.
            assert!(!metadata.is_file() || metadata.len() == 0 || name.starts_with("snap."), "{path:?}");
        }
    }
    assert!(midway > 0, "it was never killed midway");
    // The next one removes what is left, but not what another one works with.
    let other = Harness::start().await.stop().await;
    let (mut first, mut second) = (run(&dir), run(&other));
    assert!(first.wait().unwrap().success() && second.wait().unwrap().success());
    assert!(left_in(temporary.path()).is_empty(), "{:?}", left_in(temporary.path()));
}

#[tokio::test(flavor = "multi_thread")]
async fn fsck_names_what_is_damaged_and_what_is_intact() {
    let (harness, _) = filled().await;
    let dir = harness.stop().await;
    let run =
        |arguments: &[&str]| sayso(arguments).args(["fsck", dir.path().to_str().unwrap()]).output().unwrap();
    let whole = json(&run(&["--json"]));
    let size = int64(&whole["entries"]);
    let runs = |runs: &[[u64; 2]]| {
        serde_json::json!(runs.iter().map(|run| run.map(|end| end.to_string())).collect::<Vec<_>>())
    };
    assert_eq!(whole["intact"], runs(&[[0, size - 1]]));
    assert_eq!((int64(&whole["provenTo"]), int64(&whole["damagedCount"])), (size, 0));
    assert!(int64(&whole["discarded"]) > 5 && int64(&whole["opened"]) > 5);

    // One byte of one entry in the middle: that one is named, all others are intact, and the tree still
    // proves them.
    let segment = dir.path().join("log/segments/00000000.seg");
    let bytes = std::fs::read(&segment).unwrap();
    let starts: Vec<usize> =
        bytes.windows(2).enumerate().filter(|(_, two)| *two == [0xd2, 0x84]).map(|(at, _)| at).collect();
    harness::flip(&segment, starts[starts.len() / 2] as u64 + 40, 0x20);
    let before = digest(dir.path());
    let output = run(&["--json"]);
    assert_eq!(output.status.code(), Some(4));
    assert_eq!(digest(dir.path()), before, "nothing was changed");
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let positions: Vec<u64> = found["damaged"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|fault| !fault["position"].is_null())
        .map(|fault| int64(&fault["position"]))
        .collect();
    let [position] = positions.as_slice() else { panic!("{found}") };
    assert_eq!(found["intact"], runs(&[[0, position - 1], [position + 1, size - 1]]));
    assert_eq!(int64(&found["provenTo"]), size);
    let text = run(&[]);
    assert_eq!(text.status.code(), Some(4));
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains(&format!("DAMAGED position {position}")), "{text}");
    assert!(sayso::daemon::Daemon::start(&harness::config(dir.path())).await.is_err(), "the daemon refuses");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_rots_is_not_taken_for_torn() {
    // Killed: nothing in the log itself says that its last commit was whole.
    let (harness, data) = filled().await;
    let killed = scratch();
    let copied = killed.path().join("data");
    copy(&data, &copied);
    drop(harness.stop().await);
    let segment = copied.join("log/segments/00000000.seg");
    let bytes = std::fs::read(&segment).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    std::fs::remove_dir_all(copied.join("log/index")).unwrap();
    std::fs::remove_file(copied.join("log/mark")).unwrap();
    harness::flip(&segment, end as u64 - 8, 1);
    let before = std::fs::read(&segment).unwrap();
    let refused = start(&copied, None).map(|held| held.entries.len());
    assert!(refused.as_ref().is_err_and(|error| error.contains("damaged")), "{refused:?}");
    assert!(before == std::fs::read(&segment).unwrap(), "nothing was cut off");
    assert!(!examined(&copied).is_whole());
}
