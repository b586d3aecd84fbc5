//! The signed counts of rules and erasures: `sayso monitor` follows them, and `sayso verify --counts`
//! compares them with an export.

use crate::harness::{Harness, fact, int64, json, publish_notice, sayso, stdout};
use axum::body::Bytes;
use axum::extract::Path as UrlPath;
use ed25519_dalek::SigningKey;
use sayso::proto::Role;
use sayso_proof::checkpoint::{VerifierKey, sign_note};
use sayso_proof::counts::{Counts, EventCounts};
use sayso_proof::keys::KeyChain;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};

/// The status and body of an answer to GET.
fn get(address: SocketAddr, path: &str) -> (u16, Vec<u8>) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut response = Vec::new();
    stream.read_to_end(&mut response).unwrap();
    let end = response.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&response[..end]).into_owned();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), response[end + 4..].to_vec())
}

/// A log of a daemon, as its operator shows it to others: with the daemon's counts, or with others that the
/// log's key signed.
struct Shown {
    harness: Harness,
    folder: tempfile::TempDir,
    /// Serves what the daemon serves, except for the counts if these are set.
    address: SocketAddr,
    instead: Arc<Mutex<Option<String>>>,
}

impl Shown {
    async fn start() -> Self {
        let harness = Harness::start().await;
        let (instead, daemon) = (Arc::<Mutex<Option<String>>>::default(), harness.daemon.http);
        let shown = Arc::clone(&instead);
        let answer = move |UrlPath(path): UrlPath<String>| {
            let shown = shown.lock().unwrap().clone().filter(|_| path == "counts");
            async move {
                let read = move || get(daemon, &format!("/{path}"));
                let (status, body) = match shown {
                    Some(note) => (200, note.into_bytes()),
                    None => tokio::task::spawn_blocking(read).await.unwrap(),
                };
                (axum::http::StatusCode::from_u16(status).unwrap(), Bytes::from(body))
            }
        };
        let router = axum::Router::new().route("/{*path}", axum::routing::get(answer));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { harness, folder: tempfile::tempdir().unwrap(), address, instead }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// The counts that the daemon serves now.
    fn counts(&self) -> Counts {
        let key: VerifierKey = self.harness.daemon.vkey.parse().unwrap();
        let (status, note) = get(self.harness.daemon.http, "/counts");
        assert_eq!(status, 200);
        Counts::open(std::str::from_utf8(&note).unwrap(), &KeyChain::from(&key)).unwrap()
    }

    /// Counts that the operator signs.
    fn sign(&self, counts: &Counts) -> String {
        let seed = std::fs::read(self.harness.dir.path().join("secrets/log.key")).unwrap();
        let key = SigningKey::from_bytes(&seed.try_into().unwrap());
        sign_note(&counts.to_text(), &counts.tree.origin, &key)
    }

    fn show(&self, counts: Option<&Counts>) {
        *self.instead.lock().unwrap() = counts.map(|counts| self.sign(counts));
    }

    fn monitor(&self, more: &[&str]) -> std::process::Command {
        let (url, state) = (format!("http://{}", self.address), self.path("state.json"));
        let key = self.harness.daemon.vkey.as_str();
        sayso(&[&["--json", "monitor", &url, "--key", key, "--state", &state], more].concat())
    }

    /// Looks once.
    async fn look(&self, more: &[&str]) -> Output {
        let mut command = self.monitor(&[&["--once"], more].concat());
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    fn export(&self, name: &str) -> String {
        let bundle = self.path(name);
        stdout(&self.harness.cli(Role::Auditor, "aud", &["audit", "export", "-o", &bundle]));
        bundle
    }

    fn verify(&self, bundle: &str, counts: &Counts) -> Output {
        let file = self.path("counts");
        std::fs::write(&file, self.sign(counts)).unwrap();
        let key = self.harness.daemon.vkey.as_str();
        sayso(&["--json", "verify", bundle, "--key", key, "--counts", &file]).output().unwrap()
    }

    async fn record(&self, subject: &str) {
        let mut service = self.harness.as_role(Role::Service, "bot").await;
        service.profile.record_attributes(fact(subject, "tone", "work", "x")).await.unwrap();
    }

    fn erase(&self, subject: &str) {
        stdout(&self.harness.cli(Role::Steward, "steward", &["erase", subject, "--scope", "all"]));
    }
}

fn kinds(look: &Output) -> Vec<String> {
    let printed: Value = serde_json::from_slice(&look.stdout).unwrap();
    let alerts = printed["alerts"].as_array().unwrap().iter();
    alerts.map(|alert| alert["kind"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_monitor_raises_an_alert_when_rules_or_erasures_grow_too_much() {
    let log = Shown::start().await;
    let limits = ["--rules-growth-max", "0", "--erasures-growth-max", "1"];
    for subject in ["ada", "bob", "cleo"] {
        log.record(subject).await;
    }
    let first = json(&log.look(&limits).await);
    assert!(int64(&first["rules"]) > 20, "the built-in vocabulary and bounds: {first}");
    assert_eq!((int64(&first["erasures"]), &first["rulesGrownBy"]), (0, &Value::Null));
    log.erase("ada");
    let look = json(&log.look(&limits).await);
    assert_eq!((int64(&look["erasuresGrownBy"]), int64(&look["rulesGrownBy"])), (1, 0));
    log.erase("bob");
    log.erase("cleo");
    publish_notice(&mut log.harness.as_role(Role::Steward, "privacy-team").await).await;
    let look = log.look(&limits).await;
    assert_eq!(look.status.code(), Some(1));
    assert_eq!(kinds(&look), ["RULES_GROWTH", "ERASURES_GROWTH"]);
    let look = json(&log.look(&limits).await);
    assert_eq!((int64(&look["erasures"]), int64(&look["rulesGrownBy"])), (3, 0));
    // The counts survive a rotation of the key and a restart.
    stdout(&log.harness.cli(Role::Operator, "op", &["keys", "rotate"]));
    assert_eq!(int64(&json(&log.look(&limits).await)["erasuresGrownBy"]), 0);
    let before = json(&log.look(&[]).await);
    let Shown { harness, folder, .. } = log;
    let harness = harness.restart().await;
    let url = format!("http://{}", harness.daemon.http);
    let (key, state) = (harness.daemon.vkey.clone(), folder.path().join("state.json"));
    let arguments = ["--json", "monitor", &url, "--key", &key, "--once", "--state", state.to_str().unwrap()];
    let mut command = sayso(&arguments);
    let after = json(&tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap());
    assert_eq!((&after["rules"], &after["erasures"]), (&before["rules"], &before["erasures"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_that_contradict_earlier_ones_raise_an_alert_and_are_kept_as_evidence() {
    let log = Shown::start().await;
    log.record("ada").await;
    log.erase("ada");
    json(&log.look(&[]).await);
    let honest = log.counts();
    assert_eq!(honest.events.erasures, 1);
    let of = |rules, erasures| Counts { events: EventCounts { rules, erasures }, ..honest.clone() };
    let evidence = |log: &Shown| {
        let files = std::fs::read_dir(log.folder.path()).unwrap().flatten();
        files.filter(|file| file.file_name().to_string_lossy().starts_with("state.json.evidence-")).count()
    };
    // Other numbers for the same tree.
    log.show(Some(&of(honest.events.rules + 1, 1)));
    let look = log.look(&[]).await;
    assert_eq!((look.status.code(), kinds(&look)), (Some(4), vec!["COUNTS".to_owned()]));
    // The tree has grown, and an erasure is gone.
    log.record("bob").await;
    let grown = log.counts();
    log.show(Some(&Counts { events: EventCounts { erasures: 0, ..grown.events }, ..grown.clone() }));
    let look = log.look(&[]).await;
    assert_eq!((look.status.code(), kinds(&look)), (Some(4), vec!["COUNTS".to_owned()]));
    assert_eq!(evidence(&log), 2);
    // A tree that the log does not have.
    let mut elsewhere = grown;
    elsewhere.tree.root = [7; 32];
    log.show(Some(&elsewhere));
    assert_eq!(kinds(&log.look(&[]).await), ["FORK"]);
    log.show(None);
    assert_eq!(kinds(&log.look(&[]).await), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lie_about_the_counts_is_found_with_an_export() {
    let log = Shown::start().await;
    for subject in ["ada", "bob"] {
        log.record(subject).await;
        log.erase(subject);
    }
    let counts = log.counts();
    let old = log.export("old.tar.zst");
    log.record("cleo").await;
    log.erase("cleo");
    let bundle = log.export("log.tar.zst");
    let verified = json(&log.verify(&bundle, &counts));
    assert_eq!(int64(&verified["counts"]), counts.tree.size);
    assert_eq!(log.counts().events.erasures, 3);
    let EventCounts { rules, erasures } = counts.events;
    for (rules, erasures) in [(rules, erasures - 1), (rules, erasures + 1), (rules - 1, erasures)] {
        // A monitor that never looked before can't know better.
        let lie = Counts { events: EventCounts { rules, erasures }, ..counts.clone() };
        let output = log.verify(&bundle, &lie);
        assert_eq!(output.status.code(), Some(4));
        assert!(String::from_utf8_lossy(&output.stderr).contains("--counts"), "{output:?}");
    }
    let mut elsewhere = counts.clone();
    elsewhere.tree.root = [7; 32];
    assert_eq!(log.verify(&bundle, &elsewhere).status.code(), Some(4));
    // A bundle that ends before the counts says nothing about them.
    let newest = log.counts();
    assert!(newest.tree.size > counts.tree.size);
    let output = log.verify(&old, &newest);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("made after the counts"), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_monitor_serves_its_metrics() {
    let log = Shown::start().await;
    log.record("ada").await;
    log.erase("ada");
    let rules = log.counts().events.rules;
    let mut command = log.monitor(&["--metrics-addr", "127.0.0.1:0", "--every", "50ms"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut log_lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let line: Value = serde_json::from_str(&log_lines.next().unwrap().unwrap()).unwrap();
    let address: SocketAddr = line["address"].as_str().unwrap().parse().unwrap();
    BufReader::new(child.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    let (status, page) = get(address, "/metrics");
    let page = String::from_utf8(page).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(status, 200);
    let sample = format!("sayso_monitor_rules{{log=\"{}\"}} {rules}", log.counts().tree.origin);
    assert!(page.contains(&sample), "{sample}: {page}");
    for sample in ["sayso_monitor_erasures{", "sayso_monitor_entries{", "kind=\"COUNTS\"} 0", "cosigners{"] {
        assert!(page.contains(sample), "{sample}: {page}");
    }
}
