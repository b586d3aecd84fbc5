//! A log and keys from different times are not used together: the daemon does not start, and says what to do.

use crate::harness::{Harness, config, fact};
use sayso::daemon::Daemon;
use sayso::proto::{self, ErasureScope, Role};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn erasure(subject: &str) -> proto::SubmitRequestRequest {
    proto::SubmitRequestRequest {
        subject: subject.into(),
        kind: proto::RequestKind::Erasure.into(),
        scope: ErasureScope::All.into(),
        ..Default::default()
    }
}

/// Copies files and folders of the data folder.
fn copy(names: &[&str], from: &Path, to: &Path) {
    for name in names {
        if from.join(name).is_file() {
            std::fs::copy(from.join(name), to.join(name)).unwrap();
            continue;
        }
        let _absent = std::fs::remove_dir_all(to.join(name));
        for file in crate::harness::files_below(&from.join(name)) {
            let target = to.join(file.strip_prefix(from).unwrap());
            let folder = target.parent().unwrap();
            std::fs::create_dir_all(folder).unwrap();
            std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700)).unwrap();
            std::fs::copy(&file, target).unwrap();
        }
    }
}

async fn refused(data: &Path) -> String {
    match Daemon::start(&config(data)).await {
        Ok(_) => panic!("the daemon starts"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_and_keys_from_different_times_are_refused() {
    // With the newest checkpoint, an older log alone is refused as damaged.
    const LOG: &[&str] = &["log", "checkpoint"];
    const KEYS: &[&str] = &["keys", "secrets"];
    let harness = Harness::start().await;
    let mut service = harness.as_role(Role::Service, "tutor").await;
    for subject in ["ada", "ben"] {
        service.profile.record_attributes(fact(subject, "job", "work", "engineer")).await.unwrap();
    }
    drop(service);
    let dir = harness.stop().await;
    let (before, after) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    copy(LOG, dir.path(), before.path());
    copy(KEYS, dir.path(), before.path());
    let harness = Harness::start_in(dir).await;
    let mut steward = harness.as_role(Role::Steward, "dpo").await;
    steward.rights.submit_request(erasure("ada")).await.unwrap();
    drop(steward);
    let dir = harness.stop().await;
    copy(LOG, dir.path(), after.path());
    copy(KEYS, dir.path(), after.path());

    copy(LOG, before.path(), dir.path());
    let error = refused(dir.path()).await;
    assert!(error.contains("the log is older than the keys") && error.contains("`sayso restore`"), "{error}");
    assert!(error.contains("key epoch 0") && error.contains("key epoch 1"), "{error}");
    // With the keys of before, what was erased could be read.
    copy(LOG, after.path(), dir.path());
    copy(KEYS, before.path(), dir.path());
    let error = refused(dir.path()).await;
    assert!(error.contains("the keys are older than the log") && error.contains("`keys`"), "{error}");
    // Log and keys of the same time are accepted.
    copy(KEYS, after.path(), dir.path());
    let harness = Harness::start_in(dir).await.restart().await;
    let mut steward = harness.as_role(Role::Steward, "dpo").await;
    steward.rights.submit_request(erasure("ben")).await.unwrap();
    drop(steward);
    harness.restart().await;
}
