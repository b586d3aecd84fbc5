//! Rotation of the log key under load. Earlier proofs still verify, and the chain of keys leads from an old
//! key to the newest key. After a crash at any moment, the daemon still has the log's key.

use crate::crash::{Served, rounds};
use crate::harness::{Harness, fact, int64, json, sayso, stdout};
use sayso::proto::{self, Role};
use sayso_proof::checkpoint::{Checkpoint, VerifierKey};
use sayso_proof::keys::KeyChain;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn transition(seconds: i64) -> proto::RotateLogKeyRequest {
    proto::RotateLogKeyRequest {
        transition: Some(prost_types::Duration { seconds, nanos: 0 }),
        ..proto::RotateLogKeyRequest::default()
    }
}

/// Whether the command succeeds.
fn succeeds(arguments: &[&str]) -> bool {
    sayso(arguments).output().unwrap().status.success()
}

async fn write_until(harness: &Harness, number: u32, stop: Arc<AtomicBool>) -> u32 {
    let mut clients = harness.as_role(Role::Service, &format!("bot{number}")).await;
    let mut written = 0;
    while !stop.load(Ordering::SeqCst) {
        let request = fact(&format!("p{number}"), &format!("n{written}"), "work", "x");
        clients.profile.record_attributes(request).await.unwrap();
        written += 1;
    }
    written
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_before_and_after_a_rotation_under_load_verifies() {
    let harness = Harness::start().await;
    let dir = harness.dir.path().to_owned();
    let path = |name: &str| dir.join(name).display().to_string();
    let mut operator = harness.as_role(Role::Operator, "op").await;
    let mut auditor = harness.as_role(Role::Auditor, "aud").await;
    let first: VerifierKey = harness.daemon.vkey.parse().unwrap();
    let early = auditor.audit.get_inclusion_proof(proto::GetInclusionProofRequest::default()).await.unwrap();
    std::fs::write(dir.join("early.proof"), early.into_inner().proof).unwrap();
    let before = auditor.audit.get_checkpoint(proto::GetCheckpointRequest {}).await.unwrap().into_inner();
    std::fs::write(dir.join("before"), &before.checkpoint).unwrap();

    let stop = Arc::new(AtomicBool::new(false));
    let load = under_load(&harness, &stop, async {
        let rotated = operator.operator.rotate_log_key(transition(3_600)).await.unwrap().into_inner();
        let second: VerifierKey = rotated.vkey.parse().unwrap();
        // During the transition, the old and the new key sign.
        let now = auditor.audit.get_checkpoint(proto::GetCheckpointRequest {}).await.unwrap().into_inner();
        for key in [&first, &second] {
            assert!(Checkpoint::open(&now.checkpoint, key).is_ok());
        }
        // A transition of 0 s, for a compromised key, ends the old key at once.
        let rotated = operator.operator.rotate_log_key(transition(0)).await.unwrap().into_inner();
        let now = auditor.audit.get_checkpoint(proto::GetCheckpointRequest {}).await.unwrap().into_inner();
        assert!(Checkpoint::open(&now.checkpoint, &rotated.vkey.parse().unwrap()).is_ok());
        assert!(Checkpoint::open(&now.checkpoint, &second).is_err());
        let secrets = dir.join("secrets");
        assert!(!secrets.join("log.key.previous").exists() && !secrets.join("log.key.next").exists());
        (second, rotated.from_position)
    });
    let ((second, from_position), written) = load.await;
    assert!(written > 0);
    let harness = harness.restart().await;
    let mut auditor = harness.as_role(Role::Auditor, "aud").await;
    let keys = auditor.audit.get_log_keys(proto::GetLogKeysRequest {}).await.unwrap().into_inner();
    assert_eq!(keys.vkey, harness.daemon.vkey, "the key survives a restart");
    let chain = KeyChain::parse(&keys.keys, &first).unwrap();
    assert_eq!((chain.rotations(), chain.at(from_position - 1)), (2, &second));
    std::fs::write(dir.join("keys.jsonl"), &keys.keys).unwrap();

    let bundle = path("log.tar.zst");
    assert!(harness.cli(Role::Auditor, "aud", &["audit", "export", "-o", &bundle]).status.success());
    for key in [first.to_string(), second.to_string(), keys.vkey.clone()] {
        let before = path("before");
        let report =
            json(&sayso(&["--json", "verify", &bundle, "--key", &key, "--since", &before]).output().unwrap());
        assert_eq!((int64(&report["keyRotations"]), int64(&report["continues"])), (2, before_size(&dir)));
    }
    // Verify a proof from before the rotations, and a new proof of an entry from before them.
    let (old, late) = (first.to_string(), path("late.proof"));
    assert!(succeeds(&["verify", &path("early.proof"), "--key", &old]));
    let request = proto::GetInclusionProofRequest { position: 1, tree_size: 0 };
    let proof = auditor.audit.get_inclusion_proof(request).await.unwrap().into_inner().proof;
    std::fs::write(&late, proof).unwrap();
    assert!(!succeeds(&["verify", &late, "--key", &old]), "the checkpoint is signed by the newest key");
    assert!(succeeds(&["verify", &late, "--key", &old, "--keys", &path("keys.jsonl")]));
    assert!(succeeds(&["verify", &late, "--key", &keys.vkey, "--keys", &path("keys.jsonl")]));
}

fn before_size(dir: &Path) -> u64 {
    std::fs::read_to_string(dir.join("before")).unwrap().lines().nth(1).unwrap().parse().unwrap()
}

/// Runs `work` while three writers write. Returns the result of `work` and the number of writes.
async fn under_load<T>(harness: &Harness, stop: &Arc<AtomicBool>, work: impl Future<Output = T>) -> (T, u32) {
    let writers = async {
        tokio::join!(
            write_until(harness, 1, Arc::clone(stop)),
            write_until(harness, 2, Arc::clone(stop)),
            write_until(harness, 3, Arc::clone(stop)),
        )
    };
    let ended = async {
        let result = work.await;
        stop.store(true, Ordering::SeqCst);
        result
    };
    let (result, (one, two, three)) = tokio::join!(ended, writers);
    (result, one + two + three)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_rotation_request_rotates_once() {
    let harness = Harness::start().await;
    let mut operator = harness.as_role(Role::Operator, "op").await;
    let options = Some(proto::WriteOptions { idempotency_key: "once".into(), ..Default::default() });
    let request = proto::RotateLogKeyRequest { options, ..transition(60) };
    let first = operator.operator.rotate_log_key(request.clone()).await.unwrap().into_inner();
    let again = operator.operator.rotate_log_key(request).await.unwrap().into_inner();
    assert!(again.receipt.unwrap().replayed);
    assert_eq!((first.vkey, first.from_position), (again.vkey, again.from_position));
    let mut steward = harness.as_role(Role::Steward, "dpo").await;
    let denied = steward.operator.rotate_log_key(transition(60)).await.unwrap_err();
    assert_eq!(denied.code(), tonic::Code::PermissionDenied);
    let too_long = operator.operator.rotate_log_key(transition(400 * 86_400)).await.unwrap_err();
    assert_eq!(too_long.code(), tonic::Code::InvalidArgument);
}

#[test]
fn a_daemon_killed_during_a_rotation_still_has_the_log_key() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut first = None;
    let mut rotations = 0_u64;
    for round in 0..rounds(4) {
        let served = Served::start(&data);
        first.get_or_insert_with(|| std::fs::read_to_string(data.join("dev/log.vkey")).unwrap());
        let before = std::fs::read_to_string(data.join("dev/log.vkey")).unwrap();
        let mut rotating = rotate_again_and_again(&served);
        wait_for_new_key(&data, &before);
        // Each round kills at another time; how far the rotation has come by then depends on the machine.
        std::thread::sleep(std::time::Duration::from_millis(round * 97 % 400));
        served.kill();
        rotating.kill().unwrap();
        rotating.wait().unwrap();
        rotations += 1;
    }
    let served = Served::start(&data);
    let bundle = dir.path().join("log.tar.zst").display().to_string();
    assert!(served.run(&["audit", "export", "-o", &bundle]).output().unwrap().status.success());
    let report =
        json(&sayso(&["--json", "verify", &bundle, "--key", first.unwrap().trim()]).output().unwrap());
    assert!(int64(&report["keyRotations"]) >= rotations, "{report}");
    served.kill();
    println!("{rotations} kills during rotations of the log key, no key lost");
}

/// Starts a shell that runs `sayso keys rotate` until it is killed.
fn rotate_again_and_again(served: &Served) -> std::process::Child {
    let loops = "while :; do \"$0\" keys rotate --transition 1h >/dev/null 2>&1 || exit 0; done";
    let token = served.data.join("dev/operator.token");
    Command::new("sh")
        .args(["-c", loops, env!("CARGO_BIN_EXE_sayso")])
        .env("SAYSO_ADDR", &served.grpc)
        .env("SAYSO_TOKEN_FILE", token)
        .spawn()
        .unwrap()
}

/// Waits up to 60 s until the first rotation of a round is complete.
fn wait_for_new_key(data: &Path, before: &str) {
    for _ in 0..6_000 {
        let now = std::fs::read_to_string(data.join("dev/log.vkey")).unwrap();
        if now.ends_with('\n') && now != before {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("the key did not change");
}

#[test]
fn a_rotation_warns_of_the_backups_that_it_makes_unrestorable() {
    let dir = tempfile::tempdir().unwrap();
    let served = Served::start(&dir.path().join("data"));
    let run = |arguments: &[&str]| stdout(&served.run(arguments).output().unwrap());
    let backup = |name: &str| {
        let path = dir.path().join(name).display().to_string();
        run(&["backup", "-o", &path]);
        path
    };
    let first = backup("first");
    let slow = json(&served.run(&["--json", "keys", "rotate", "--transition", "1h"]).output().unwrap());
    assert!(slow["oldKeyUntil"].as_str().unwrap().ends_with('Z'), "{slow}");
    let second = backup("second");
    let told = run(&["keys", "rotate", "--transition", "1h"]);
    assert!(told.contains("warning: backups from before this rotation can be restored until"), "{told}");
    let third = backup("third");
    let told = run(&["keys", "rotate", "--transition", "0s"]);
    assert!(told.contains("warning: backups from before this rotation can no longer be restored"), "{told}");
    let newest = backup("newest");
    let data = served.data.clone();
    served.kill();
    std::fs::rename(data.join("log"), dir.path().join("lost")).unwrap();
    let data = data.display().to_string();
    for older in [first, second, third] {
        assert!(!succeeds(&["--data", &data, "restore", &older]), "{older}");
    }
    assert!(succeeds(&["--data", &data, "restore", &newest]));
}

#[test]
fn a_backup_from_before_a_rotation_can_be_restored_during_the_transition() {
    let dir = tempfile::tempdir().unwrap();
    let served = Served::start(&dir.path().join("data"));
    let backup = dir.path().join("sayso.backup").display().to_string();
    stdout(&served.run(&["backup", "-o", &backup]).output().unwrap());
    stdout(&served.run(&["keys", "rotate", "--transition", "1h"]).output().unwrap());
    let data = served.data.clone();
    served.kill();
    std::fs::rename(data.join("log"), dir.path().join("lost")).unwrap();
    assert!(succeeds(&["--data", data.to_str().unwrap(), "restore", &backup]));
}
