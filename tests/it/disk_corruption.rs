//! Disk corruption: flips bytes in the data folder of a stopped daemon, one at a time. After each flip,
//! one of three things must be true: the daemon refuses to start, `sayso fsck` reports the damage or what
//! can be rebuilt, or a rule in this file says why the damage is harmless. So nothing is lost silently.
//!
//! `SAYSO_ROUNDS=n` tries about n bytes of each file. `SAYSO_EVERY_BYTE=1/1` tries every byte of each
//! file, up to 64 bytes after the file's last byte that is not zero. `SAYSO_EVERY_BYTE=i/n` tries the i-th
//! of n shares of these bytes, so that n processes can divide the work.

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

/// The number of bytes of each file that are tried by default.
const FEW: u64 = 8;

/// Files with bytes that no check covers, and the reason why damage to them loses nothing.
const HARMLESS: [(&str, &str); 9] = [
    (
        "secrets/issuer.key",
        "signs credentials, which are not part of the ledger: tokens are refused and must be issued again",
    ),
    ("checkpoint", "bytes after the note in its slot; the note itself has a checksum"),
    (
        "log/mark",
        "bytes after the watermark in its slot; the watermark has a checksum and never claims too much",
    ),
    (
        "log/progress",
        "each slot has a checksum; without an intact slot, what has ended is looked at once more",
    ),
    ("log/index/", "space that sled does not use; its records have checksums and can be rebuilt"),
    ("log/tree/", "preallocated space, and hashes past the watermark: rebuilt at open"),
    ("log/locations", "preallocated space, and locations past the watermark: rebuilt at open"),
    (
        "clock",
        "each slot has a time with a checksum; if both are damaged, time continues from the newest entry",
    ),
    ("keys/writes", "a count with a checksum; a damaged count is ignored"),
];

/// The contents of a data folder.
struct Contents {
    entries: Vec<StoredEntry>,
    pages: Vec<Page>,
    note: String,
}

/// Opens a data folder as the daemon does. Returns its contents, or the reason why the daemon refuses to
/// start. Panics if the folder opens but has other contents than the `intact` folder, because then data was
/// lost silently.
fn start(dir: &Path, intact: Option<&Contents>) -> Result<Contents, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let config = harness::config_at(dir);
    let kept = Ledger::inspect_kept_checkpoint(&dir.join("checkpoint")).map_err(|error| text(&error))?;
    // Preallocate little: it takes time, and nothing is written here.
    let options = Options { entries_min: kept.size(), room_bytes: 1 << 16, ..Options::default() };
    let log = EmbeddedLog::open(&dir.join("log"), options).map_err(|error| text(&error))?;
    let size = log.head().size;
    let mut entries = Vec::new();
    for position in 0..size {
        entries.push(log.read_entry(position).map_err(|error| text(&error))?);
    }
    for stored in &entries {
        let Some(bytes) = &stored.bytes else { continue };
        let header = entry::parse_header(bytes).map_err(|error| text(&error))?;
        let found = log.read_subject(header.handle, header.version, 1).map_err(|error| text(&error))?;
        assert_eq!(found, [(header.version, stored.position)], "the index is wrong without an error");
    }
    let leaves = log.read_hashes(0, 0, entries.len()).map_err(|error| text(&error))?;
    let kept_leaves: Vec<_> = entries.iter().map(|stored| stored.leaf_hash).collect();
    assert_eq!(leaves, kept_leaves, "the tree is wrong without an error");
    // Compare the tree with the kept checkpoint, as the daemon does.
    let key = LogKey::inspect(&dir.join("secrets/log.key")).map_err(|error| text(&error))?;
    let key = VerifierKey { name: config.origin(), key: key.verifying() };
    let note = kept.note.ok_or("no checkpoint is kept")?;
    let checkpoint = Checkpoint::open(&note, &key).map_err(|error| text(&error))?;
    let mut tree = Frontier::new();
    leaves.iter().take(checkpoint.size as usize).for_each(|leaf| tree.push(*leaf));
    if (tree.size(), tree.root()) != (checkpoint.size, checkpoint.root) {
        return Err("the tree differs from the kept checkpoint".into());
    }
    log.close().map_err(|error| text(&error))?;
    let keys = Arc::new(EmbeddedKeys::open(&dir.join("keys")).map_err(|error| text(&error))?);
    let pages = keys.scan_pages(b"", None, usize::MAX).map_err(|error| text(&error))?;
    let custody = FileCustody::open(&dir.join("secrets/root.key")).map_err(|error| text(&error))?;
    let epochs = custody.key_epochs().map_err(|error| text(&error))?;
    let check =
        KeyCheck::open(keys, Arc::new(custody), Arc::new(SystemClock)).map_err(|error| text(&error))?;
    check.open_all().map_err(|error| text(&error))?;
    if let Some(intact) = intact {
        assert_eq!(size, intact.entries.len() as u64, "entries were lost silently");
        assert!(entries == intact.entries, "entries changed silently");
        assert!(pages == intact.pages, "key pages changed silently");
        assert_eq!(epochs.len(), 1);
        assert!(note == intact.note || checkpoint.size < size, "the checkpoint changed silently");
    }
    Ok(Contents { entries, pages, note })
}

fn fsck(dir: &Path) -> Examined {
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

/// Copies a folder as sparse files, so that preallocated space takes no room.
fn copy(from: &Path, to: &Path) {
    let _may_not_exist = std::fs::remove_dir_all(to);
    let status = std::process::Command::new("cp").args(["-a", "--sparse=always"]).arg(from).arg(to).status();
    assert!(status.unwrap().success());
}

/// Cuts off most of the preallocated space, so that copying and reading the folder are fast.
fn truncate_preallocated(dir: &Path) {
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

/// A daemon over a small ledger with attributes, consent, grants and erasures, and its data folder.
async fn start_filled() -> (Harness, PathBuf) {
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

/// The share of all bytes to try, counted from 1, and the number of shares.
fn every_byte() -> Option<(usize, usize)> {
    let value = std::env::var("SAYSO_EVERY_BYTE").ok()?;
    let (share, shares) = value.split_once('/').expect("SAYSO_EVERY_BYTE=i/n");
    Some((share.parse().expect("i is a number"), shares.parse().expect("n is a number")))
}

/// Offsets to try: spread over the written bytes, and a few in the preallocated space.
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

/// Flips bytes of every file and counts the outcomes: refused at start, repaired or rebuilt, harmless. In
/// messages, `state` says how the daemon of the folder ended.
fn flip_all(template: &Path, state: &str) {
    let intact = {
        let dir = scratch();
        copy(template, &dir.path().join("data"));
        start(&dir.path().join("data"), None).unwrap()
    };
    // Work from a sparse copy.
    let sparse = scratch();
    copy(template, &sparse.path().join("data"));
    let template = &sparse.path().join("data");
    if every_byte().is_some() {
        truncate_preallocated(template);
    }
    let baseline = fsck(template);
    assert!(baseline.is_whole(), "{baseline:?}");
    let dir = scratch();
    let work = dir.path().join("data");
    let mut outcomes: BTreeMap<String, [u64; 3]> = BTreeMap::new();
    for path in files_below(template) {
        let name = path.strip_prefix(template).unwrap().to_str().unwrap().to_owned();
        // The credentials that `--dev` writes are not part of the ledger.
        if name.starts_with("dev/") || name.ends_with(".token") {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        for (number, at) in offsets(&bytes).into_iter().enumerate() {
            copy(template, &work);
            let pattern = [0x01, 0x80, 0xff, 0x10][number % 4];
            harness::flip(&work.join(&name), at as u64, pattern);
            let before = (number == 0).then(|| digest(&work));
            let found = fsck(&work);
            assert!(before.is_none_or(|before| before == digest(&work)), "{name}: fsck changed something");
            let reported = found.damaged != baseline.damaged
                || found.rebuildable != baseline.rebuildable
                || found.notes != baseline.notes;
            let started =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| start(&work, Some(&intact))));
            let started = started.unwrap_or_else(|_| panic!("{state}, {name}, byte {at} with {pattern:#x}"));
            let outcome = match &started {
                Err(_) => 0,
                Ok(_) if reported => 1,
                Ok(_) => 2,
            };
            outcomes.entry(name.clone()).or_default()[outcome] += 1;
            let is_harmless = HARMLESS.iter().any(|(file, _)| name.starts_with(file)) || bytes[at] == 0;
            assert!(
                outcome != 2 || is_harmless,
                "{state}, {name}, byte {at}: nothing reports the damage, and no rule says that it is harmless"
            );
            assert!(
                started.is_ok() || reported || name.starts_with("secrets/"),
                "{state}, {name}, byte {at}: fsck does not report what keeps the daemon from starting: {:?}",
                started.err()
            );
        }
    }
    let mut sum = [0; 3];
    for (name, counts) in &outcomes {
        println!(
            "{state}, {name}: {} refused, {} repaired or rebuilt, {} harmless",
            counts[0], counts[1], counts[2]
        );
        sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    let bytes: u64 = sum.iter().sum();
    println!(
        "{bytes} bytes flipped, {state}: {} refused at start, {} repaired or rebuilt, {} harmless, none lost silently",
        sum[0], sum[1], sum[2]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_flipped_byte_loses_data_silently() {
    let (harness, data) = start_filled().await;
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

/// Everything in a folder and the folders below it. Links are not followed.
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
async fn a_killed_fsck_leaves_no_copy_of_the_data() {
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
        // The process may have ended by itself.
        let _ended = child.kill();
        child.wait().unwrap();
        let left = left_in(temporary.path());
        midway += usize::from(!left.is_empty());
        for (path, metadata) in left {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let is_top_folder = path.parent() == Some(temporary.path());
            assert!(!is_top_folder || metadata.permissions().mode() & 0o077 == 0, "{path:?}");
            // The index may leave its `snap.` file, which has locations of pages but no contents.
            assert!(!metadata.is_file() || metadata.len() == 0 || name.starts_with("snap."), "{path:?}");
        }
    }
    assert!(midway > 0, "fsck was never killed midway");
    // The next fsck removes these files, but not those of another fsck that is running.
    let other = Harness::start().await.stop().await;
    let (mut first, mut second) = (run(&dir), run(&other));
    assert!(first.wait().unwrap().success() && second.wait().unwrap().success());
    assert!(left_in(temporary.path()).is_empty(), "{:?}", left_in(temporary.path()));
}

#[tokio::test(flavor = "multi_thread")]
async fn fsck_reports_damaged_and_intact_entries() {
    let (harness, _) = start_filled().await;
    let dir = harness.stop().await;
    let run =
        |arguments: &[&str]| sayso(arguments).args(["fsck", dir.path().to_str().unwrap()]).output().unwrap();
    let undamaged = json(&run(&["--json"]));
    let size = int64(&undamaged["entries"]);
    let runs = |runs: &[[u64; 2]]| {
        let run = |[first, last]: &[u64; 2]| serde_json::json!({ "first": first.to_string(), "last": last.to_string() });
        runs.iter().map(run).collect::<serde_json::Value>()
    };
    assert_eq!(undamaged["intact"], runs(&[[0, size - 1]]));
    assert_eq!((int64(&undamaged["provenTo"]), int64(&undamaged["damagedCount"])), (size, 0));
    assert!(int64(&undamaged["discarded"]) > 5 && int64(&undamaged["opened"]) > 5);

    // Damage one byte of an entry in the middle. Only that entry is reported, and the tree still proves all
    // others.
    let segment = dir.path().join("log/segments/00000000.seg");
    let bytes = std::fs::read(&segment).unwrap();
    let starts: Vec<usize> =
        bytes.windows(2).enumerate().filter(|(_, two)| *two == [0xd2, 0x84]).map(|(at, _)| at).collect();
    harness::flip(&segment, starts[starts.len() / 2] as u64 + 40, 0x20);
    let before = digest(dir.path());
    let output = run(&["--json"]);
    assert_eq!(output.status.code(), Some(4));
    assert_eq!(digest(dir.path()), before, "fsck changed nothing");
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

/// A log with another name than the default is checked without its configuration, too.
#[tokio::test(flavor = "multi_thread")]
async fn fsck_needs_no_configuration_to_check_a_log_with_any_name() {
    let dir = scratch();
    let mut config = harness::config(dir.path());
    config.ledger = "ledger.example.org".into();
    config.controller = "acme".into();
    sayso::daemon::Daemon::start(&config).await.unwrap().stop().await.unwrap();
    let output = sayso(&[]).args(["fsck", dir.path().to_str().unwrap()]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}");
    // Another log's key is still found.
    let (other, _) = start_filled().await;
    let other = other.stop().await;
    std::fs::copy(other.path().join("secrets/log.key"), dir.path().join("secrets/log.key")).unwrap();
    let output = sayso(&[]).args(["fsck", dir.path().to_str().unwrap()]).output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("secrets/log.key is not the key of this log"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_end_is_not_mistaken_for_a_torn_write() {
    // After a kill, nothing in the log itself says that its last commit was complete.
    let (harness, data) = start_filled().await;
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
    let refused = start(&copied, None).map(|contents| contents.entries.len());
    assert!(refused.as_ref().is_err_and(|error| error.contains("damaged")), "{refused:?}");
    assert!(before == std::fs::read(&segment).unwrap(), "nothing was truncated");
    assert!(!fsck(&copied).is_whole());
}
