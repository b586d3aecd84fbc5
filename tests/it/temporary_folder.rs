//! Tests what `sayso verify` says if a bundle needs temporary files and TMPDIR is a folder in which it can't
//! make any: the folder is the problem, not the bundle.

use crate::harness::sayso;
use ed25519_dalek::SigningKey;
use sayso_proof::checkpoint::{Checkpoint, VerifierKey};
use sayso_proof::keys::KeyChain;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// As many leaf hashes as do not stay in memory (16 MiB).
const ENTRIES: u64 = 600_000;

/// The beginning of an unpacked bundle, up to its leaf hashes, and the log's key.
fn begun_bundle(folder: &Path) -> String {
    let key = SigningKey::from_bytes(&[7; 32]);
    let verifier = VerifierKey { name: "log.example/l".into(), key: key.verifying_key() };
    let checkpoint = Checkpoint { origin: verifier.name.clone(), size: ENTRIES, root: [7; 32] };
    std::fs::write(folder.join("checkpoint"), checkpoint.sign(&key)).unwrap();
    std::fs::write(folder.join("keys.jsonl"), KeyChain::from(&verifier).to_jsonl()).unwrap();
    std::fs::write(folder.join("leaf-hashes.bin"), vec![7; 32 * ENTRIES as usize]).unwrap();
    verifier.to_string()
}

/// Exit status and standard error of a verification with this TMPDIR.
fn verify(bundle: &Path, key: &str, temporary: &Path) -> (Option<i32>, String) {
    let mut command = sayso(&["verify", bundle.to_str().unwrap(), "--key", key]);
    let output = command.env("TMPDIR", temporary).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_temporary_folder_that_cannot_be_used_is_not_the_bundles_fault() {
    let dir = tempfile::tempdir().unwrap();
    let [bundle, missing, file, read_only] =
        ["bundle", "missing", "file", "read-only"].map(|name| dir.path().join(name));
    std::fs::create_dir(&bundle).unwrap();
    let key = begun_bundle(&bundle);
    std::fs::write(&file, "").unwrap();
    std::fs::create_dir(&read_only).unwrap();
    std::fs::set_permissions(&read_only, std::fs::Permissions::from_mode(0o500)).unwrap();
    // Root may write everywhere.
    let is_root = std::fs::write(read_only.join("probe"), "").is_ok();
    for unusable in [&missing, &file, &read_only].into_iter().take(if is_root { 2 } else { 3 }) {
        let (status, error) = verify(&bundle, &key, unusable);
        assert_eq!(status, Some(1), "{error}");
        let named = format!("in `{}`", unusable.display());
        assert!(error.contains(&named), "{error}");
        assert!(error.contains("set TMPDIR to a folder"), "{error}");
    }
    // With a folder that works, the fault is the bundle's.
    let (status, error) = verify(&bundle, &key, dir.path());
    assert_eq!(status, Some(4), "{error}");
    std::fs::set_permissions(&read_only, std::fs::Permissions::from_mode(0o700)).unwrap();
}
