//! `sayso monitor` against real daemons: it follows a log that grows, and raises an alert when the log is
//! forked or rolled back.

use crate::harness::{self, Harness, fact, int64, json, sayso, stdout};
use crate::witness::copy;
use sayso::proto::Role;
use sayso_proof::checkpoint::{Checkpoint, VerifierKey};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};

/// A monitor of one log, with its state in a folder.
struct Monitor {
    folder: tempfile::TempDir,
    key: String,
}

impl Monitor {
    fn new(key: &str) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), key: key.to_owned() }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn arguments(&self, harness: &Harness) -> Vec<String> {
        let url = format!("http://{}", harness.daemon.http);
        let (state, metrics) = (self.path("state.json"), self.path("metrics.prom"));
        let of = ["--json", "monitor", &url, "--key", &self.key, "--state", &state, "--metrics", &metrics];
        of.map(str::to_owned).to_vec()
    }

    /// Looks once.
    async fn look(&self, harness: &Harness, more: &[&str]) -> Output {
        let mut arguments = self.arguments(harness);
        arguments.push("--once".to_owned());
        arguments.extend(more.iter().map(|one| (*one).to_owned()));
        let look = move || sayso(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).output().unwrap();
        tokio::task::spawn_blocking(look).await.unwrap()
    }

    fn evidence(&self) -> Vec<PathBuf> {
        let is_evidence = |path: &PathBuf| path.display().to_string().contains("state.json.evidence-");
        harness::files_below(self.folder.path()).into_iter().filter(is_evidence).collect()
    }

    fn metrics(&self) -> String {
        std::fs::read_to_string(self.path("metrics.prom")).unwrap()
    }
}

/// The JSON that a check by the monitor printed, with any exit status.
fn printed(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

fn kinds(output: &Output) -> Vec<String> {
    let alerts = printed(output)["alerts"].as_array().unwrap().clone();
    alerts.iter().map(|alert| alert["kind"].as_str().unwrap().to_owned()).collect()
}

async fn write(harness: &Harness, count: u64) {
    let mut service = harness.as_role(Role::Service, "bot").await;
    for number in 0..count {
        service.profile.record_attributes(fact("ada", &format!("k{number}"), "work", "x")).await.unwrap();
    }
}

/// Receives what webhooks send.
async fn serve_webhook() -> (String, Arc<Mutex<Vec<Value>>>) {
    let received = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&received);
    let receive = move |axum::Json(value): axum::Json<Value>| {
        kept.lock().unwrap().push(value);
        std::future::ready(())
    };
    let router = axum::Router::new().route("/hook", axum::routing::post(receive));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, received)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_monitor_follows_a_log_and_raises_an_alert_when_it_is_forked() {
    let harness = Harness::start().await;
    let key: VerifierKey = harness.daemon.vkey.parse().unwrap();
    let (hook, received) = serve_webhook().await;
    let monitor = Monitor::new(&harness.daemon.vkey);
    let first = json(&monitor.look(&harness, &["--webhook", &hook]).await);
    assert_eq!((&first["grownBy"], &first["alerts"]), (&Value::Null, &json!([])));
    write(&harness, 3).await;
    let second = json(&monitor.look(&harness, &["--webhook", &hook]).await);
    assert_eq!(int64(&second["grownBy"]), 3);
    assert!(received.lock().unwrap().is_empty(), "no alert began or ended");

    // Copy the whole folder with its keys, and let both copies grow.
    let dir = harness.stop().await;
    let twin = tempfile::tempdir().unwrap();
    copy(dir.path(), twin.path());
    let harness = Harness::start_in(dir).await;
    write(&harness, 1).await;
    json(&monitor.look(&harness, &["--webhook", &hook]).await);
    let forked = Harness::start_in(twin).await;
    write(&forked, 300).await;
    let look = monitor.look(&forked, &["--webhook", &hook]).await;
    assert_eq!((look.status.code(), kinds(&look)), (Some(4), vec!["FORK".to_owned()]));
    assert!(monitor.metrics().contains("kind=\"FORK\"} 1"), "{}", monitor.metrics());
    {
        let received = received.lock().unwrap();
        assert_eq!((received.len(), &received[0]["alerts"][0]["kind"]), (1, &json!("FORK")));
        assert_eq!(received[0]["log"], key.name);
    }
    // Anyone can check the evidence: the log's key signed both checkpoints.
    let evidence = std::fs::read_to_string(&monitor.evidence()[0]).unwrap();
    let (kept, shown) = evidence.split_once("\n\nsayso").unwrap();
    let shown = format!("sayso{shown}");
    let (kept, shown) = (Checkpoint::open(&format!("{kept}\n"), &key), Checkpoint::open(&shown, &key));
    assert!(kept.unwrap().size < shown.unwrap().size);
    // The same alert is not sent twice; its end is sent.
    monitor.look(&forked, &["--webhook", &hook]).await;
    assert_eq!(received.lock().unwrap().len(), 1);
    let look = json(&monitor.look(&harness, &["--webhook", &hook]).await);
    assert_eq!(int64(&look["grownBy"]), 0, "the kept checkpoint is that of the unforked log");
    assert_eq!(received.lock().unwrap()[1]["alerts"], json!([]));
    assert!(monitor.metrics().contains("kind=\"FORK\"} 0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_monitor_raises_an_alert_when_a_log_is_rolled_back_old_or_unreachable() {
    let harness = Harness::start().await;
    write(&harness, 2).await;
    let dir = harness.stop().await;
    let earlier = tempfile::tempdir().unwrap();
    copy(dir.path(), earlier.path());
    let harness = Harness::start_in(dir).await;
    write(&harness, 10).await;
    let monitor = Monitor::new(&harness.daemon.vkey);
    json(&monitor.look(&harness, &[]).await);
    let look = monitor.look(&harness, &["--age-max", "0s"]).await;
    assert_eq!((look.status.code(), kinds(&look)), (Some(1), vec!["STALE".to_owned()]));
    // No witness cosigned.
    let witness = sayso_proof::witness::WitnessSigner::ml_dsa_44(&[1; 32]).verifier_key("w").to_string();
    let look = monitor.look(&harness, &["--witness", &witness]).await;
    assert_eq!((look.status.code(), kinds(&look)), (Some(1), vec!["UNCOSIGNED".to_owned()]));
    let rolled_back = Harness::start_in(earlier).await;
    let look = monitor.look(&rolled_back, &[]).await;
    assert_eq!((look.status.code(), kinds(&look)), (Some(4), vec!["ROLLED_BACK".to_owned()]));
    // The monitor keeps its state even if the log does not answer.
    let stopped = harness.daemon.http;
    harness.stop().await;
    let mut arguments = monitor.arguments(&rolled_back);
    arguments[2] = format!("http://{stopped}");
    arguments.push("--once".to_owned());
    let output = sayso(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).output().unwrap();
    assert_eq!((output.status.code(), kinds(&output)), (Some(1), vec!["UNREACHABLE".to_owned()]));
    let look = monitor.look(&rolled_back, &[]).await;
    assert_eq!(look.status.code(), Some(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_monitor_follows_a_rotation_of_the_logs_key_and_stops_at_a_signal() {
    let harness = Harness::start().await;
    let monitor = Monitor::new(&harness.daemon.vkey);
    json(&monitor.look(&harness, &[]).await);
    stdout(&harness.cli(Role::Operator, "op", &["keys", "rotate"]));
    write(&harness, 1).await;
    let look = json(&monitor.look(&harness, &[]).await);
    assert!(int64(&look["grownBy"]) >= 2, "{look}");
    let mut arguments = monitor.arguments(&harness);
    arguments.extend(["--every", "50ms"].map(str::to_owned));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut child = sayso(&arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..3 {
        let look: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(look["alerts"], json!([]));
    }
    // Two monitors cannot share a state file.
    assert_eq!(monitor.look(&harness, &[]).await.status.code(), Some(1));
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(Path::new(&monitor.path("state.json")).exists());
}
