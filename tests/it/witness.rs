//! Witnesses that run in processes of their own: they cosign the daemon's checkpoints and detect a forked
//! log, and a witness that is down does not delay writes.

use crate::harness::{self, Clients, Harness, fact, json, sayso, stdout};
use sayso::config::{Config, WitnessConfig};
use sayso::daemon::Daemon;
use sayso::proto::{self, Role};
use sayso_proof::checkpoint::{Checkpoint, VerifierKey};
use sayso_proof::witness::{WitnessKey, cosignatures};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};

/// The real binary, running as a witness of one log.
struct RunningWitness {
    child: Child,
    http: String,
    vkey: String,
    vkey_ml_dsa_44: String,
    folder: PathBuf,
    log: String,
}

impl RunningWitness {
    fn start(folder: &Path, log: &str, listen: &str) -> Self {
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let folder_text = folder.display().to_string();
        let arguments = [
            "--json",
            "witness",
            "--name",
            &name,
            "--folder",
            &folder_text,
            "--log",
            log,
            "--listen",
            listen,
        ];
        let mut child = sayso(&arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: serde_json::Value = serde_json::from_str(&line).expect("the witness starts");
        let text = |key: &str| ready[key].as_str().unwrap().to_owned();
        let (http, vkey, vkey_ml_dsa_44) = (text("http"), text("key"), text("keyMlDsa44"));
        Self { child, http, vkey, vkey_ml_dsa_44, folder: folder.to_owned(), log: log.to_owned() }
    }

    /// The daemon's configuration for this witness.
    fn config(&self) -> WitnessConfig {
        let url = format!("http://{}", self.http);
        WitnessConfig { vkey: self.vkey.clone(), vkey_ml_dsa_44: None, url, ca: None }
    }

    /// As [`Self::config`], with both keys of the witness.
    fn config_with_ml_dsa(&self) -> WitnessConfig {
        WitnessConfig { vkey_ml_dsa_44: Some(self.vkey_ml_dsa_44.clone()), ..self.config() }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Restarts the witness with the same folder and address.
    fn restart(mut self) -> Self {
        self.kill();
        Self::start(&self.folder, &self.log, &self.http)
    }
}

impl Drop for RunningWitness {
    fn drop(&mut self) {
        let _may_have_ended = self.child.kill();
        let _may_have_ended = self.child.wait();
    }
}

fn config(data: &Path, enough: usize, witnesses: Vec<WitnessConfig>) -> Config {
    let mut config = harness::config(data);
    config.witnesses.ask = witnesses;
    config.witnesses.enough = enough;
    config.witnesses.interval_ms = 10;
    config.witnesses.within_ms = 1_000;
    config
}

async fn start(dir: tempfile::TempDir, enough: usize, witnesses: Vec<WitnessConfig>) -> Harness {
    let daemon = Daemon::start(&config(dir.path(), enough, witnesses)).await.unwrap();
    Harness { dir, daemon }
}

async fn write(clients: &mut Clients, subject: &str, key: &str) -> proto::Receipt {
    let written = clients.profile.record_attributes(fact(subject, key, "work", "x")).await.unwrap();
    written.into_inner().receipt.unwrap()
}

/// Waits up to 60 s until the condition is true.
async fn wait_until<F: Future<Output = bool>>(mut condition: impl FnMut() -> F) {
    for _ in 0..3_000 {
        if condition().await {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the condition did not become true");
}

async fn checkpoint(harness: &Harness) -> proto::GetCheckpointResponse {
    let mut auditor = harness.as_role(Role::Auditor, "aud").await;
    auditor.audit.get_checkpoint(proto::GetCheckpointRequest {}).await.unwrap().into_inner()
}

/// Waits until everything that is recorded now is cosigned.
async fn wait_until_cosigned(harness: &Harness) -> proto::GetCheckpointResponse {
    let size = checkpoint(harness).await.tree_size;
    wait_until(|| async { checkpoint(harness).await.cosigned_size >= size }).await;
    checkpoint(harness).await
}

async fn health(harness: &Harness) -> Option<i32> {
    let endpoint = tonic::transport::Channel::from_shared(format!("http://{}", harness.daemon.grpc)).unwrap();
    let channel = endpoint.connect().await.unwrap();
    let mut client = tonic_health::pb::health_client::HealthClient::new(channel);
    let request = tonic_health::pb::HealthCheckRequest { service: "sayso.witnesses".into() };
    client.check(request).await.ok().map(|answer| answer.into_inner().status)
}

async fn get(harness: &Harness, path: &str) -> String {
    let url = format!("http://{}{path}", harness.daemon.http);
    String::from_utf8(sayso::fetch::fetch(&url, None).await.unwrap()).unwrap()
}

/// Creates a log and returns its key, which witnesses need before they start.
async fn log_key(dir: tempfile::TempDir) -> (tempfile::TempDir, VerifierKey) {
    let harness = Harness::start_in(dir).await;
    let key = harness.daemon.vkey.parse().unwrap();
    (harness.stop().await, key)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_of_three_witnesses_cosign_and_one_that_is_down_delays_no_write() {
    let (dir, key) = log_key(tempfile::tempdir().unwrap()).await;
    let folders = tempfile::tempdir().unwrap();
    let log = key.to_string();
    let first = RunningWitness::start(&folders.path().join("one"), &log, "127.0.0.1:0");
    let mut second = RunningWitness::start(&folders.path().join("two"), &log, "127.0.0.1:0");
    // Nothing listens at this address.
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let unreachable = WitnessConfig { url: format!("http://{unused}"), ..third_key(folders.path(), &log) };
    let harness = start(dir, 2, vec![first.config(), second.config(), unreachable]).await;
    let mut service = harness.as_role(Role::Service, "bot").await;
    write(&mut service, "ada", "a").await;
    let latest = wait_until_cosigned(&harness).await;
    let witnesses: Vec<WitnessKey> = [&first, &second].map(|one| one.vkey.parse().unwrap()).to_vec();
    assert_eq!(cosignatures(&latest.cosigned, &witnesses).unwrap().len(), 2);
    Checkpoint::open(&latest.cosigned, &key).unwrap();
    wait_until(|| async { health(&harness).await == Some(1) }).await;
    wait_until(|| async {
        cosignatures(&get(&harness, "/checkpoint").await, &witnesses).unwrap().len() == 2
    })
    .await;

    // A second witness goes down. Too few are left, so the health check fails, but writes continue.
    second.kill();
    let before = checkpoint(&harness).await.tree_size;
    for number in 0..20 {
        write(&mut service, "ada", &format!("b{number}")).await;
    }
    assert_eq!(checkpoint(&harness).await.tree_size, before + 20);
    wait_until(|| async { health(&harness).await == Some(2) }).await;
    // All daemons of this process share the metrics, so check only that this metric exists.
    assert!(get(&harness, "/metrics").await.contains("sayso_witness_enough{"));
    let published = get(&harness, "/checkpoint").await;
    assert_eq!(
        Checkpoint::open(&published, &key).unwrap().size,
        before + 20,
        "the newest checkpoint, without cosignatures"
    );

    // The witness restarts with its state and cosigns again.
    let second = second.restart();
    assert_eq!(second.vkey, witnesses[1].to_string());
    wait_until_cosigned(&harness).await;
    wait_until(|| async { health(&harness).await == Some(1) }).await;

    // The export waits for cosignatures, and `sayso verify` can require both witnesses.
    let bundle = harness.dir.path().join("log.tar.zst").display().to_string();
    stdout(&harness.cli(Role::Auditor, "aud", &["audit", "export", "-o", &bundle]));
    let base =
        ["--json", "verify", &bundle, "--key", &log, "--witness", &first.vkey, "--witness", &second.vkey];
    let report = json(&sayso(&base).output().unwrap());
    assert_eq!(report["witnesses"].as_array().unwrap().len(), 2);
    let stranger = third_key(folders.path(), &log).vkey;
    let three = [&base[..], &["--witness", &stranger]].concat();
    assert_eq!(
        sayso(&three).output().unwrap().status.code(),
        Some(4),
        "by default, every named witness must have cosigned"
    );
    let two_of_three = [&three[..], &["--witnesses-min", "2"]].concat();
    assert!(sayso(&two_of_three).output().unwrap().status.success());
    // The log names its witnesses.
    let entries = sayso(&["--json", "verify", &bundle, "--key", &log]).output().unwrap();
    assert!(entries.status.success());
    let names_witness = harness::contains(&unpacked(Path::new(&bundle)), first.vkey.as_bytes());
    assert!(names_witness, "the log has `WitnessAdded` with the witness's key");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_of_an_erasure_carries_the_cosignatures_of_witnesses() {
    let (dir, key) = log_key(tempfile::tempdir().unwrap()).await;
    let folders = tempfile::tempdir().unwrap();
    let log = key.to_string();
    let witness = RunningWitness::start(&folders.path().join("one"), &log, "127.0.0.1:0");
    let harness = start(dir, 1, vec![witness.config()]).await;
    let mut service = harness.as_role(Role::Service, "bot").await;
    write(&mut service, "ada", "a").await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    let erase = crate::erasure::erasure("ada", proto::ErasureScope::All, "");
    let id = steward.rights.submit_request(erase).await.unwrap().into_inner().request_id;
    wait_until_cosigned(&harness).await;
    let file = harness.dir.path().join("certificate.txt").display().to_string();
    stdout(&harness.cli(Role::Steward, "privacy-team", &["certificate", &id, "-o", &file]));
    let verify = |witness: &str| {
        sayso(&["--json", "verify", &file, "--key", &log, "--witness", witness]).output().unwrap()
    };
    let verified = json(&verify(&witness.vkey));
    assert_eq!(verified["witnesses"], serde_json::json!(["one"]));
    let not_shown = verified["notShown"].as_array().unwrap();
    assert!(!not_shown.iter().any(|what| what.as_str().unwrap().contains("others see the same log")));
    let stranger = third_key(folders.path(), &log).vkey;
    assert_eq!(verify(&stranger).status.code(), Some(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_cosigns_with_ml_dsa_beside_ed25519() {
    let (dir, key) = log_key(tempfile::tempdir().unwrap()).await;
    let folders = tempfile::tempdir().unwrap();
    let log = key.to_string();
    let witness = RunningWitness::start(&folders.path().join("one"), &log, "127.0.0.1:0");
    let harness = start(dir, 1, vec![witness.config_with_ml_dsa()]).await;
    let mut service = harness.as_role(Role::Service, "bot").await;
    write(&mut service, "ada", "a").await;
    let latest = wait_until_cosigned(&harness).await;
    let keys: Vec<WitnessKey> =
        [&witness.vkey, &witness.vkey_ml_dsa_44].map(|key| key.parse().unwrap()).to_vec();
    let cosigned = cosignatures(&latest.cosigned, &keys).unwrap();
    assert_eq!((cosigned.len(), cosigned[0].algorithms.len()), (1, 2), "one witness with two algorithms");
    let bundle = harness.dir.path().join("log.tar.zst").display().to_string();
    stdout(&harness.cli(Role::Auditor, "aud", &["audit", "export", "-o", &bundle]));
    let verify = |more: &[&str]| {
        sayso(&[&["--json", "verify", &bundle, "--key", &log], more].concat()).output().unwrap()
    };
    let report = json(&verify(&["--witness", &witness.vkey_ml_dsa_44]));
    assert_eq!(report["witnesses"][0]["algorithms"], serde_json::json!(["ML-DSA-44"]));
    let both = ["--witness", &witness.vkey, "--witness", &witness.vkey_ml_dsa_44];
    assert_eq!(json(&verify(&both))["witnesses"].as_array().unwrap().len(), 1);
    let two = [&both[..], &["--witnesses-min", "2"]].concat();
    assert_eq!(verify(&two).status.code(), Some(4), "two keys of one witness count once");
    // Another witness's ML-DSA-44 key cosigned nothing.
    let stranger = RunningWitness::start(&folders.path().join("two"), &log, "127.0.0.1:0");
    assert_eq!(verify(&["--witness", &stranger.vkey_ml_dsa_44]).status.code(), Some(4));
    let bytes = unpacked(Path::new(&bundle));
    assert!(harness::contains(&bytes, witness.vkey_ml_dsa_44.as_bytes()), "the log names the second key");
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_says_what_it_was_given_and_what_it_could_not_see() {
    let (dir, key) = log_key(tempfile::tempdir().unwrap()).await;
    let folders = tempfile::tempdir().unwrap();
    let log = key.to_string();
    let witness = RunningWitness::start(&folders.path().join("one"), &log, "127.0.0.1:0");
    let harness = start(dir, 1, vec![witness.config()]).await;
    let since = harness.dir.path().join("kept.checkpoint").display().to_string();
    std::fs::write(&since, get(&harness, "/checkpoint").await).unwrap();
    let mut service = harness.as_role(Role::Service, "bot").await;
    write(&mut service, "ada", "a").await;
    wait_until_cosigned(&harness).await;
    let bundle = harness.dir.path().join("log.tar.zst").display().to_string();
    stdout(&harness.cli(Role::Auditor, "aud", &["audit", "export", "-o", &bundle]));
    let base = ["verify", &bundle, "--key", &log];
    let unseen = |more: &[&str]| {
        json(&sayso(&[&["--json"], &base[..], more].concat()).output().unwrap())["unseen"].clone()
    };
    let text = |more: &[&str]| stdout(&sayso(&[&base[..], more].concat()).output().unwrap());
    assert_eq!(unseen(&[]), serde_json::json!(["FORK", "REBUILT_LOG", "STALENESS", "TIME", "POLICIES"]));
    assert_eq!(unseen(&["--since", &since]), serde_json::json!(["FORK", "STALENESS", "TIME", "POLICIES"]));
    assert_eq!(unseen(&["--witness", &witness.vkey]), serde_json::json!(["STALENESS", "POLICIES"]));
    // A witness that is not required and did not cosign shows nothing.
    let stranger = third_key(folders.path(), &log).vkey;
    let not_required = ["--witness", &stranger, "--witnesses-min", "0"];
    assert_eq!(unseen(&not_required), unseen(&[]));
    let continued = text(&["--since", &since]);
    assert!(
        continued
            .contains("given: the log's key, no witness, an older checkpoint, no authority for timestamps"),
        "{continued}"
    );
    assert!(continued.contains("not shown: that others see the same log"), "{continued}");
    assert!(!continued.contains("built anew"), "{continued}");
    let text = text(&["--witness", &witness.vkey]);
    assert!(text.contains("given: the log's key, 1 witness key, no older checkpoint"), "{text}");
    assert!(text.contains("when a witness cosigned the checkpoint as the newest"), "{text}");
}

fn unpacked(bundle: &Path) -> Vec<u8> {
    zstd::decode_all(std::fs::File::open(bundle).unwrap()).unwrap()
}

/// The configuration of a witness that is not running.
fn third_key(folders: &Path, log: &str) -> WitnessConfig {
    let mut third = RunningWitness::start(&folders.join("three"), log, "127.0.0.1:0");
    third.kill();
    third.config()
}

/// The file in which a witness keeps a checkpoint that conflicts with an earlier one.
fn evidence(witness: &RunningWitness) -> Option<PathBuf> {
    let is_conflict =
        |path: &PathBuf| path.extension().is_some_and(|end| end.to_string_lossy().starts_with("conflict-"));
    harness::files_below(&witness.folder).into_iter().find(is_conflict)
}

pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for item in std::fs::read_dir(from).unwrap() {
        let item = item.unwrap();
        let to = to.join(item.file_name());
        if item.file_type().unwrap().is_dir() {
            copy(&item.path(), &to);
        } else {
            std::fs::copy(item.path(), to).unwrap();
        }
    }
    // Keep the permissions: the daemon refuses a folder of secrets that others can read.
    std::fs::set_permissions(to, std::fs::metadata(from).unwrap().permissions()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_detects_a_forked_log() {
    let (dir, key) = log_key(tempfile::tempdir().unwrap()).await;
    let folders = tempfile::tempdir().unwrap();
    let log = key.to_string();
    let witness = RunningWitness::start(&folders.path().join("one"), &log, "127.0.0.1:0");
    let own: WitnessKey = witness.vkey.parse().unwrap();
    let harness = start(dir, 1, vec![witness.config()]).await;
    let mut service = harness.as_role(Role::Service, "bot").await;
    write(&mut service, "ada", "said-before").await;
    wait_until_cosigned(&harness).await;
    let dir = harness.stop().await;

    // Copy the whole folder with its keys. A reader who sees only one of the two daemons cannot tell them
    // apart.
    let twin = tempfile::tempdir().unwrap();
    copy(dir.path(), twin.path());
    let harness = start(dir, 1, vec![witness.config()]).await;
    let mut service = harness.as_role(Role::Service, "bot").await;
    write(&mut service, "ada", "said-to-one").await;
    let shown = wait_until_cosigned(&harness).await;
    let forked = start(twin, 1, vec![witness.config()]).await;
    let mut other = forked.as_role(Role::Service, "bot").await;
    for number in 0..5 {
        write(&mut other, "ada", &format!("said-to-another-{number}")).await;
    }
    let has_conflict = |text: String| {
        let counts = text.lines().filter(|line| line.starts_with("sayso_witness_answers_total{"));
        counts
            .filter(|line| line.contains("witness=\"one\""))
            .any(|line| line.contains("outcome=\"conflict\""))
    };
    wait_until(|| async { has_conflict(get(&forked, "/metrics").await) }).await;
    wait_until(|| async { health(&forked).await == Some(2) }).await;
    let hidden = checkpoint(&forked).await;
    assert!(hidden.cosigned.is_empty(), "nothing of the fork was cosigned");
    // The witness kept a proof that anyone can check: two trees signed with one key.
    wait_until(|| async { evidence(&witness).is_some() }).await;
    let kept = std::fs::read_to_string(evidence(&witness).unwrap()).unwrap();
    let request: sayso_proof::witness::AddCheckpoint = kept.parse().unwrap();
    let claimed = Checkpoint::open(&request.checkpoint, &key).unwrap();
    assert!(
        claimed.size > shown.cosigned_size
            || claimed.root != Checkpoint::open(&shown.cosigned, &key).unwrap().root
    );

    // A verifier that requires a cosignature rejects the fork.
    let verify = |harness: &Harness, name: &str| {
        let bundle = harness.dir.path().join(name).display().to_string();
        stdout(&harness.cli(Role::Auditor, "aud", &["audit", "export", "-o", &bundle]));
        sayso(&["verify", &bundle, "--key", &log, "--witness", &own.to_string()])
            .output()
            .unwrap()
            .status
            .code()
    };
    assert_eq!(verify(&harness, "true.tar.zst"), Some(0));
    assert_eq!(verify(&forked, "forked.tar.zst"), Some(4));
}

/// The answers of a false witness: status and body of `add-checkpoint`, and the checkpoint that it shows.
type FalseAnswer = Arc<Mutex<(u16, String, Option<String>)>>;

/// Serves a witness with these answers.
async fn serve_false_witness(answers: FalseAnswer) -> std::net::SocketAddr {
    use axum::http::StatusCode;
    use axum::routing::{get, post};
    let (answered, shown) = (Arc::clone(&answers), answers);
    let answer = move || {
        let (status, body, _) = answered.lock().unwrap().clone();
        std::future::ready((StatusCode::from_u16(status).unwrap(), body))
    };
    let show = move || {
        let note = shown.lock().unwrap().2.clone();
        std::future::ready(note.ok_or(StatusCode::NOT_FOUND))
    };
    let router =
        axum::Router::new().route("/add-checkpoint", post(answer)).route("/checkpoint/{log}", get(show));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    at
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_must_show_a_signed_checkpoint_to_prove_a_fork() {
    let (dir, key) = log_key(tempfile::tempdir().unwrap()).await;
    let folders = tempfile::tempdir().unwrap();
    let mut stopped = RunningWitness::start(&folders.path().join("liar"), &key.to_string(), "127.0.0.1:0");
    stopped.kill();
    let answers: FalseAnswer = Arc::new(Mutex::new((500, String::new(), None)));
    let url = format!("http://{}", serve_false_witness(Arc::clone(&answers)).await);
    let harness = start(dir, 1, vec![WitnessConfig { url, ..stopped.config() }]).await;
    let mut service = harness.as_role(Role::Service, "bot").await;
    write(&mut service, "ada", "a").await;
    let answer_count = async |outcome: &str| {
        let text = get(&harness, "/metrics").await;
        let line = text.lines().find(|line| {
            line.starts_with("sayso_witness_answers_total{")
                && line.contains("witness=\"liar\"")
                && line.contains(&format!("outcome=\"{outcome}\""))
        });
        line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
    };
    let wait_for_answers = async |outcome: &str| {
        let before = answer_count(outcome).await;
        // Wait for two more answers, because the first may be for a request that was sent before this wait.
        wait_until(|| async { answer_count(outcome).await > before + 1 }).await;
    };
    let own = get(&harness, "/checkpoint").await;
    let size = Checkpoint::open(&own, &key).unwrap().size;
    let forged = |size: u64, seed: [u8; 32]| {
        let signer = ed25519_dalek::SigningKey::from_bytes(&seed);
        Checkpoint { origin: key.name.clone(), size, root: [7; 32] }.sign(&signer)
    };
    let shown =
        [None, Some(own), Some(forged(1, [9; 32])), Some(forged(size + 1_000, [9; 32])), Some("x".into())];
    for (status, body) in [(409, "1000000\n"), (409, "1\n"), (409, "x"), (422, "")] {
        for shown in &shown {
            *answers.lock().unwrap() = (status, body.to_owned(), shown.clone());
            wait_for_answers("refused").await;
            assert_eq!(answer_count("conflict").await, 0, "{status} {body:?} {shown:?}");
            write(&mut service, "ada", &format!("b{status}")).await;
        }
    }
    // A checkpoint signed with the log's own key proves a fork if its root differs from the log's root at
    // that size, or if its size exceeds the log's.
    let seed: [u8; 32] =
        std::fs::read(harness.dir.path().join("secrets/log.key")).unwrap().try_into().unwrap();
    for size in [1, 1_000_000] {
        *answers.lock().unwrap() = (422, String::new(), Some(forged(size, seed)));
        wait_for_answers("conflict").await;
    }
    write(&mut service, "ada", "c").await;
}
