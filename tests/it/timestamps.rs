//! Timestamps of checkpoints by an authority made with OpenSSL (RFC 3161): the daemon keeps them, exports and
//! backups contain them, and a restore brings them back.

use crate::harness::{Harness, config, fact, json, sayso, stdout};
use axum::body::Bytes;
use axum::http::header;
use sayso::daemon::Daemon;
use sayso::proto::Role;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const CONFIG: &str = "\
[req]
distinguished_name = name
[name]
[ca]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[authority]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
[tsa]
default_tsa = one
[one]
serial = serial
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
ess_cert_id_alg = sha256
";

fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl").current_dir(folder).args(arguments.split(' ')).output();
    let output = output.expect("these tests need the program openssl");
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// An authority, and the folder with its certificates.
struct Authority {
    folder: tempfile::TempDir,
    url: String,
}

impl Authority {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tsa.cnf"), CONFIG).unwrap();
        std::fs::write(folder.path().join("serial"), "01\n").unwrap();
        for command in [
            "ecparam -name prime256v1 -genkey -noout -out root.key",
            "req -x509 -new -key root.key -subj /O=Test/CN=root -days 30 -config tsa.cnf -extensions ca -out root.pem",
            "ecparam -name prime256v1 -genkey -noout -out tsa.key",
            "req -new -key tsa.key -subj /O=Test/CN=tsa -config tsa.cnf -out tsa.csr",
            "x509 -req -in tsa.csr -CA root.pem -CAkey root.key -set_serial 2 -days 30 -extfile tsa.cnf \
             -extensions authority -out tsa.pem",
        ] {
            openssl(folder.path(), command);
        }
        let within = folder.path().to_owned();
        let answer = move |query: Bytes| {
            std::fs::write(within.join("query"), &query).unwrap();
            openssl(
                &within,
                "ts -reply -config tsa.cnf -queryfile query -signer tsa.pem -inkey tsa.key -out reply",
            );
            let reply = std::fs::read(within.join("reply")).unwrap();
            std::future::ready(([(header::CONTENT_TYPE, "application/timestamp-reply")], reply))
        };
        let router = axum::Router::new().route("/", axum::routing::post(answer));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { folder, url }
    }

    /// Starts a daemon that fetches timestamps every second.
    async fn serve(&self, dir: tempfile::TempDir) -> Harness {
        let mut config = config(dir.path());
        config.timestamps.url = Some(self.url.clone());
        config.timestamps.interval_ms = 1_000;
        config.timestamps.certificates = Some(self.folder.path().join("root.pem"));
        Harness { daemon: Daemon::start(&config).await.unwrap(), dir }
    }
}

/// The tree sizes of the timestamps that a data folder has.
fn sizes(data: &Path) -> Vec<u64> {
    let files = std::fs::read_dir(data.join("timestamps")).into_iter().flatten().flatten();
    let size = |name: String| name.strip_suffix(".tst").and_then(|size| size.parse().ok());
    let mut sizes: Vec<u64> =
        files.filter_map(|file| size(file.file_name().into_string().unwrap())).collect();
    sizes.sort_unstable();
    sizes
}

/// Records an attribute, and waits for a timestamp of the log with it.
async fn record_and_wait(harness: &Harness, key: &str) -> u64 {
    let mut service = harness.as_role(Role::Service, "bot").await;
    let before = sizes(harness.dir.path());
    service.profile.record_attributes(fact("ada", key, "work", "x")).await.unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let new = sizes(harness.dir.path()).into_iter().find(|size| !before.contains(size));
        if let Some(new) = new {
            return new;
        }
        assert!(Instant::now() < until, "no timestamp within 60 s");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn path_text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The tree sizes of the timestamps that `sayso verify` trusts in an export.
fn verified(harness: &Harness, authority: &Authority, name: &str) -> Vec<u64> {
    let bundle: PathBuf = authority.folder.path().join(name);
    stdout(&harness.cli(Role::Auditor, "aud", &["audit", "export", "-o", path_text(&bundle)]));
    let root = authority.folder.path().join("root.pem");
    let arguments = [
        "--json",
        "verify",
        path_text(&bundle),
        "--key",
        &harness.daemon.vkey,
        "--tsa-cert",
        path_text(&root),
    ];
    let report = json(&sayso(&arguments).output().unwrap());
    let timestamps = report["timestamps"].as_array().unwrap().iter();
    timestamps.map(|one| one["treeSize"].as_str().unwrap().parse().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_brings_back_the_timestamps_of_the_backup() {
    let authority = Authority::start().await;
    let harness = authority.serve(tempfile::tempdir().unwrap()).await;
    let first = record_and_wait(&harness, "one").await;
    let second = record_and_wait(&harness, "two").await;
    let backup = authority.folder.path().join("log.backup");
    stdout(&harness.cli(Role::Operator, "op", &["backup", "-o", path_text(&backup)]));
    let kept = sizes(harness.dir.path());
    assert!(kept.contains(&first) && kept.contains(&second));
    // The backup does not have the next timestamp. It stays in the folder.
    let mut service = harness.as_role(Role::Service, "bot").await;
    for number in 0..20 {
        service.profile.record_attributes(fact("ada", &format!("k{number}"), "work", "x")).await.unwrap();
    }
    drop(service);
    let lost = record_and_wait(&harness, "lost").await;

    let dir = harness.stop().await;
    let lost_folder = tempfile::tempdir().unwrap();
    std::fs::rename(dir.path().join("log"), lost_folder.path().join("log")).unwrap();
    // A disk with everything but the secrets and the keys is lost, except for the newest timestamps.
    for size in &kept {
        std::fs::remove_file(dir.path().join(format!("timestamps/{size}.tst"))).unwrap();
    }
    assert!(!sizes(dir.path()).iter().any(|size| kept.contains(size)));
    let arguments = ["--data", path_text(dir.path()), "restore", path_text(&backup)];
    stdout(&sayso(&arguments).output().unwrap());
    let restored = sizes(dir.path());
    assert!(kept.iter().chain([&lost]).all(|size| restored.contains(size)), "{restored:?} {kept:?} {lost}");
    assert!(!dir.path().join("timestamps.restoring").exists());

    // The restored log gets new timestamps, although it is shorter than the lost one. The export has those of
    // its own entries only.
    let harness = authority.serve(dir).await;
    let new = record_and_wait(&harness, "new").await;
    assert!(new < lost, "{new}");
    let verified = verified(&harness, &authority, "restored.tar.zst");
    assert!(kept.iter().all(|size| verified.contains(size)), "{verified:?} {kept:?}");
    assert!(verified.contains(&new) && !verified.contains(&lost), "{verified:?}");
}
