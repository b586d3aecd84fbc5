//! Restoring a backup brings back everyone except erased people. People who were erased after the backup was
//! taken stay erased too, although the backup has their data. The log records the restore, and the operator
//! must confirm the restore before data is used again.

use crate::crash::{Served, assert_recorded, record_until_failure, token, wait_for};
use crate::forensic_tool::{Findings, Image};
use crate::harness::json;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

fn run(served: &Served, arguments: &[&str]) -> String {
    let output = served.run(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn record(served: &Served, subject: &str, text: &str) {
    run(served, &["record", subject, "note", text, "--category", "work"]);
}

fn profile_contains(served: &Served, subject: &str, text: &str) -> bool {
    let output = served.run(&["--json", "profile", subject]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).contains(text)
}

fn restore(backup: &Path, data: &Path) -> std::process::Output {
    let data = data.to_str().unwrap();
    crate::harness::sayso(&["--json", "--data", data, "restore", backup.to_str().unwrap()]).output().unwrap()
}

#[test]
fn an_old_backup_restores_everyone_except_erased_people() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let backup = dir.path().join("old.backup");
    let served = Served::start(&data);
    for (subject, text) in [("ada", "weaves algebra"), ("bob", "breaks codes"), ("cleo", "rules a river")] {
        record(&served, subject, text);
    }
    run(&served, &["erase", "cleo", "--scope", "all"]);
    run(&served, &["backup", "-o", backup.to_str().unwrap()]);
    let copied = Image::of(&data);
    record(&served, "bob", "was recorded after the backup");
    run(&served, &["erase", "ada", "--scope", "all"]);
    assert!(profile_contains(&served, "bob", "after the backup"));
    served.kill();

    // A restore does not replace an existing log. After the log is moved away, the restore succeeds.
    let refused = restore(&backup, &data);
    assert!(!refused.status.success(), "restore replaced an existing log");
    std::fs::rename(data.join("log"), dir.path().join("lost")).unwrap();
    let restored = restore(&backup, &data);
    assert_eq!(json(&restored)["erasedAgain"], "1", "the restore erases the entry of ada");

    let served = Served::start(&data);
    assert!(profile_contains(&served, "bob", "breaks codes"));
    assert!(!profile_contains(&served, "bob", "after the backup"), "it was recorded after the backup");
    for gone in ["ada", "cleo"] {
        assert!(!served.run(&["profile", gone]).output().unwrap().status.success(), "{gone} was erased");
    }
    served.verify(dir.path());
    record(&served, "bob", "goes on");
    let bundle = dir.path().join("after.tar.zst");
    run(&served, &["audit", "export", "-o", bundle.to_str().unwrap()]);
    served.kill();

    // The backup, every copy of the folder and all keys that still exist reveal nothing about ada or cleo.
    let now = Image::of(&data);
    let all = copied.without("secrets").and(&Image::of(dir.path()));
    let found = Findings::of(&all, &now);
    assert!(found.has("breaks codes") && found.has("goes on"));
    assert!(found.has("after the backup"), "the current keys also open the lost log");
    for gone in ["weaves algebra", "rules a river"] {
        assert!(!found.has(gone), "{gone}");
    }
}

fn record_in(served: &Served, subject: &str, category: &str, key: &str, text: &str) {
    run(served, &["record", subject, key, text, "--category", category]);
}

/// Stops the daemon, moves its log to `dir/kept_as`, and restores the backup in its place.
fn lose_and_restore(dir: &Path, served: Served, backup: &Path, kept_as: &str) {
    let data = served.data.clone();
    served.kill();
    std::fs::rename(data.join("log"), dir.join(kept_as)).unwrap();
    let restored = restore(backup, &data);
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
}

/// Asserts that the daemon refuses a write about `subject` whose observation is older than the erasure.
fn assert_late_write_refused(served: &Served, subject: &str, before: &str) {
    let late = ["record", subject, "late", "spooled", "--category", "health", "--observed-at", before];
    let output = served.run(&late).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && error.contains("erasure"), "{error}");
}

#[test]
fn after_a_restore_partly_erased_people_can_be_recorded_and_erased_data_stays_erased() {
    let dir = tempfile::tempdir().unwrap();
    let (data, backup) = (dir.path().join("data"), dir.path().join("old.backup"));
    let served = Served::start(&data);
    for subject in ["ada", "bob", "cleo"] {
        record_in(&served, subject, "work", "job", &format!("{subject} works"));
        record_in(&served, subject, "health", "knee", &format!("{subject} has a knee"));
    }
    run(&served, &["backup", "-o", backup.to_str().unwrap()]);
    // Ada erases a category with data from before and after the backup. Her work attributes stay. Cleo erases
    // only a key that was recorded after the backup.
    record_in(&served, "ada", "health", "sleep", "ada sleeps badly");
    record_in(&served, "cleo", "health", "sleep", "cleo sleeps badly");
    record_in(&served, "bob", "health", "sleep", "bob sleeps badly");
    run(&served, &["erase", "ada", "--scope", "category=health"]);
    run(&served, &["erase", "cleo", "--scope", "key=sleep"]);
    record_in(&served, "ada", "work", "boss", "ada has a boss");
    record_in(&served, "dora", "work", "job", "dora works");
    let before = Image::of(&data);
    let moment = jiff::Timestamp::now().to_string();
    lose_and_restore(dir.path(), served, &backup, "lost");

    let served = Served::start(&data);
    assert!(profile_contains(&served, "ada", "ada works") && !profile_contains(&served, "ada", "knee"));
    assert!(
        profile_contains(&served, "cleo", "cleo has a knee") && !profile_contains(&served, "cleo", "sleeps")
    );
    assert!(
        !profile_contains(&served, "ada", "boss") && !profile_contains(&served, "dora", "works"),
        "recorded after the backup"
    );
    for round in 0..3 {
        for subject in ["ada", "bob", "cleo", "dora"] {
            record_in(
                &served,
                subject,
                "work",
                &format!("new{round}"),
                &format!("{subject} goes on {round}"),
            );
        }
    }
    // Erasures in the lost log still apply: late writes with earlier observation times are refused for ada
    // and cleo. Bob had no erasure, so his late write is accepted.
    assert_late_write_refused(&served, "ada", &moment);
    assert_late_write_refused(&served, "cleo", &moment);
    run(&served, &["record", "bob", "late", "bob was late", "--category", "work", "--observed-at", &moment]);
    served.verify(dir.path());
    served.kill();
    let served = Served::start(&data);
    assert!(
        profile_contains(&served, "ada", "ada goes on 2")
            && profile_contains(&served, "dora", "dora goes on 2")
    );

    // Restore the same backup a second time and continue from there.
    lose_and_restore(dir.path(), served, &backup, "lost-again");
    let served = Served::start(&data);
    for subject in ["ada", "bob", "cleo"] {
        record_in(&served, subject, "work", "again", &format!("{subject} begins again"));
    }
    served.verify(dir.path());
    let (lost, now) = (Image::of(dir.path()), Image::of(&data));
    let found = Findings::of(&lost.and(&before), &now);
    assert!(found.has("bob begins again") && found.has("ada begins again"));
    assert!(found.has("bob sleeps badly"), "bob was not erased, so the lost log is still readable");
    for gone in ["ada has a knee", "ada sleeps badly", "cleo sleeps badly"] {
        assert!(!found.has(gone), "{gone}");
    }
    // The daemon cannot search the lost logs. So an erasure of one category makes everything about that
    // person in the lost logs unreadable.
    run(&served, &["erase", "bob", "--scope", "category=health"]);
    served.verify(dir.path());
    served.kill();
    let (all, now) = (Image::of(dir.path()).and(&before.without("secrets")), Image::of(&data));
    let mut found = Findings::of(&all, &now);
    assert!(found.has("bob works") && found.has("bob begins again") && found.has("cleo has a knee"));
    for gone in ["bob has a knee", "bob sleeps badly", "bob goes on", "bob was late"] {
        assert!(!found.has(gone), "{gone}");
    }
    let before = found.texts.len();
    found.try_windows();
    assert_eq!(found.texts.len(), before, "{} windows opened something", found.windows_tried);
}

#[test]
fn a_backup_restores_a_lost_folder_only_with_the_matching_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let (data, backup) = (dir.path().join("data"), dir.path().join("file.backup"));
    let served = Served::start(&data);
    record(&served, "bob", "breaks codes");
    run(&served, &["backup", "-o", backup.to_str().unwrap()]);
    served.kill();

    let other = dir.path().join("other");
    let refused = restore(&backup, &other);
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("log.key"),
        "a backup needs the secrets to open it"
    );
    let stranger = Served::start(&dir.path().join("stranger"));
    stranger.kill();
    std::fs::create_dir(&other).unwrap();
    std::fs::rename(dir.path().join("stranger/secrets"), other.join("secrets")).unwrap();
    let refused = restore(&backup, &other);
    assert!(!refused.status.success() && !other.join("log").exists(), "secrets of another folder opened it");
    std::fs::remove_dir_all(&other).unwrap();

    std::fs::create_dir(&other).unwrap();
    std::fs::rename(data.join("secrets"), other.join("secrets")).unwrap();
    let mut damaged = std::fs::read(&backup).unwrap();
    damaged[300] ^= 1;
    let rotten = dir.path().join("rotten.backup");
    std::fs::write(&rotten, damaged).unwrap();
    assert!(!restore(&rotten, &other).status.success() && !other.join("log").exists());
    let restored = restore(&backup, &other);
    assert_eq!(json(&restored)["erasedAgain"], "0");
    let served = Served::start(&other);
    assert!(profile_contains(&served, "bob", "breaks codes"));
    served.verify(dir.path());
    served.kill();
}

/// A restore drill: the backup is taken during continuous writes, and then the log is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_taken_during_writes_restores_everything_acknowledged_before_it_began() {
    let dir = tempfile::tempdir().unwrap();
    let (data, backup) = (dir.path().join("data"), dir.path().join("drill.backup"));
    let served = Served::start(&data);
    let acknowledged = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&acknowledged);
    let load = tokio::spawn(record_until_failure(served.grpc.clone(), token(&data, "service"), counter));
    let before = wait_for(&acknowledged, 40).await;
    run(&served, &["backup", "-o", backup.to_str().unwrap()]);
    let after = wait_for(&acknowledged, before + 40).await;
    assert!(after > before, "writes continue after the backup");
    served.kill();
    load.await.unwrap();
    std::fs::rename(data.join("log"), dir.path().join("lost")).unwrap();
    let restored = json(&restore(&backup, &data));
    assert_eq!(restored["erasedAgain"], "0");

    let served = Served::start(&data);
    assert_recorded(&served, before);
    // The log records the restore.
    let bundle = dir.path().join("after.tar.zst");
    run(&served, &["audit", "export", "-o", bundle.to_str().unwrap()]);
    let text = zstd::decode_all(std::fs::File::open(&bundle).unwrap()).unwrap();
    assert!(crate::harness::contains(&text, b"\"backupRestored\""));
    served.verify(dir.path());
    served.kill();
}

/// Requests a grant with the command line. Returns the grant's id, the number of allowed attributes, and the
/// reasons for what is withheld.
fn ask(served: &Served, subject: &str) -> (String, usize, Vec<String>) {
    let answer = run(served, &["--json", "grant", subject, "--purpose", "content-relevance"]);
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    let list = |name: &str| answer[name].as_array().cloned().unwrap_or_default();
    let reasons = list("withheld").iter().map(|class| class["reason"].as_str().unwrap().to_owned()).collect();
    (answer["grantId"].as_str().unwrap().to_owned(), list("allowed").len(), reasons)
}

/// The output of `sayso check`. Its exit status is 5 if the grant is not valid.
fn check(served: &Served, grant: &str) -> String {
    let output = served.run(&["check", grant]).output().unwrap();
    assert!(matches!(output.status.code(), Some(0 | 5)), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn consent(served: &Served, what: &str, subject: &str) {
    run(served, &["consent", what, subject, "--purpose", "content-relevance", "--notice", "n"]);
}

/// The value of this metric at `/metrics`.
fn metric_value(served: &Served, metric: &str) -> String {
    let mut stream = TcpStream::connect(&served.http).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let line = answer.lines().find(|line| line.starts_with(metric)).unwrap();
    line.rsplit(' ').next().unwrap().to_owned()
}

/// The first messages of a watch of revocations after this cursor.
fn watch(served: &Served, after: u64, count: usize) -> Vec<serde_json::Value> {
    let mut command = served.run(&["--json", "watch", "--after", &after.to_string()]);
    let mut watching = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let messages = lines.take(count).map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    watching.kill().unwrap();
    watching.wait().unwrap();
    messages
}

/// The cursor of a message. 64-bit numbers are strings in proto JSON.
fn cursor(message: &serde_json::Value) -> u64 {
    message["cursor"].as_str().unwrap().parse().unwrap()
}

#[test]
fn a_watch_whose_cursor_is_past_a_restored_log_misses_no_revocation() {
    let dir = tempfile::tempdir().unwrap();
    let (data, backup) = (dir.path().join("data"), dir.path().join("old.backup"));
    let served = Served::start(&data);
    run(&served, &["notice", "publish", "n", "--text", "May we?"]);
    record(&served, "ada", "likes novels");
    consent(&served, "give", "ada");
    let (grant, allowed, _) = ask(&served, "ada");
    assert_eq!(allowed, 1);
    run(&served, &["backup", "-o", backup.to_str().unwrap()]);
    for number in 0..12 {
        record(&served, "bob", &format!("goes on {number}"));
    }
    consent(&served, "withdraw", "ada");
    let messages = watch(&served, 0, 2);
    assert_eq!(messages[0]["reason"], "REVOCATION_REASON_UNSPECIFIED", "use is not suspended");
    assert_eq!(messages[1]["grantIds"][0], grant.as_str());
    let ahead = cursor(&messages[1]);
    lose_and_restore(dir.path(), served, &backup, "lost");

    // The watch first reports that use is suspended. Then it reports the new revocation. In the lost log, the
    // watch had already reached a cursor after the position of this revocation.
    let served = Served::start(&data);
    consent(&served, "withdraw", "ada");
    let messages = watch(&served, ahead, 2);
    assert_eq!(messages[0]["reason"], "REVOCATION_REASON_RESTORE_UNCONFIRMED");
    assert_eq!(messages[1]["grantIds"][0], grant.as_str());
    let (first, second) = (cursor(&messages[0]), cursor(&messages[1]));
    assert!(first < second && second < ahead, "{messages:?}, {ahead}");
    run(&served, &["confirm-restore"]);
    assert_eq!(watch(&served, ahead, 1)[0]["reason"], "REVOCATION_REASON_UNSPECIFIED");
    served.kill();
}

#[test]
fn after_a_restore_all_use_is_denied_until_the_operator_confirms_it() {
    let dir = tempfile::tempdir().unwrap();
    let (data, backup) = (dir.path().join("data"), dir.path().join("old.backup"));
    let served = Served::start(&data);
    run(&served, &["notice", "publish", "n", "--text", "May we?"]);
    for subject in ["ada", "bob"] {
        record(&served, subject, "likes novels");
        consent(&served, "give", subject);
    }
    let refused = served.run(&["confirm-restore"]).output().unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no restore waits"), "{refused:?}");
    run(&served, &["backup", "-o", backup.to_str().unwrap()]);
    // Ada withdraws her consent after the backup was taken, so the backup does not contain the withdrawal.
    consent(&served, "withdraw", "ada");
    assert_eq!(ask(&served, "ada").2, ["DENIAL_REASON_CONSENT_WITHDRAWN"]);
    lose_and_restore(dir.path(), served, &backup, "lost");

    let served = Served::start(&data);
    assert!(run(&served, &["stats"]).contains("confirm-restore"));
    assert_eq!(metric_value(&served, "sayso_restore_unconfirmed"), "1");
    for subject in ["ada", "bob"] {
        let (id, allowed, reasons) = ask(&served, subject);
        assert_eq!(
            (allowed, reasons),
            (0, vec!["DENIAL_REASON_RESTORE_UNCONFIRMED".to_owned()]),
            "{subject}"
        );
        assert!(
            run(&served, &["why", &id]).contains("confirm-restore"),
            "the explanation names the command that lifts the suspension"
        );
    }
    // The withdrawal can be repeated before the operator confirms, and it is recorded.
    consent(&served, "withdraw", "ada");
    let refused = served.run(&["--as", "steward", "confirm-restore"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(3), "only the operator may confirm");
    let first = run(&served, &["--json", "confirm-restore", "--idempotency-key", "k"]);
    assert!(first.contains("position"), "{first}");
    run(&served, &["confirm-restore", "--idempotency-key", "k"]);
    assert_eq!(metric_value(&served, "sayso_restore_unconfirmed"), "0");
    assert_eq!(ask(&served, "ada").2, ["DENIAL_REASON_CONSENT_WITHDRAWN"]);
    let (granted, allowed, _) = ask(&served, "bob");
    assert_eq!(allowed, 1);
    run(&served, &["backup", "--force", "-o", backup.to_str().unwrap()]);
    lose_and_restore(dir.path(), served, &backup, "lost-again");

    // After a second restore, a grant from before the backup is suspended too, also across a restart. It is
    // valid again after the confirmation.
    let served = Served::start(&data);
    assert!(check(&served, &granted).contains("restored from a backup"));
    served.kill();
    let served = Served::start(&data);
    assert!(check(&served, &granted).contains("not valid"));
    run(&served, &["confirm-restore"]);
    assert!(check(&served, &granted).starts_with("valid until"));
    let bundle = dir.path().join("after.tar.zst");
    run(&served, &["audit", "export", "-o", bundle.to_str().unwrap()]);
    let text = zstd::decode_all(std::fs::File::open(&bundle).unwrap()).unwrap();
    assert!(crate::harness::contains(&text, b"\"restoreConfirmed\""));
    assert!(crate::harness::contains(&text, b"\"dev-operator\""), "the event names the operator");
    served.verify(dir.path());
    served.kill();
}
