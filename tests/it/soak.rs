//! Tests overload: the daemon rejects calls beyond its capacity, says when to retry, and loses no
//! acknowledged write.
//!
//! The test runs for 4 s by default, and prints latencies and memory. For a long run, set
//! `SAYSO_SOAK_SECONDS=600` and `SAYSO_SOAK_BINARY=target/release/sayso`.

use crate::crash::token;
use crate::harness::{Clients, fact, sayso, stdout};
use sayso_proof::bundle::{self, Options, Source};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tonic::Code;
use tonic_types::StatusExt;

/// The number of callers, each with one call in progress: far more than the sequencer's queue takes.
const CALLERS: u64 = 512;
const QUEUE_MAX: usize = 4;

fn seconds() -> u64 {
    std::env::var("SAYSO_SOAK_SECONDS").map_or(4, |seconds| seconds.parse().unwrap())
}

fn command(arguments: &[&str]) -> Command {
    match std::env::var("SAYSO_SOAK_BINARY") {
        Ok(binary) => {
            let mut command = Command::new(binary);
            command.args(arguments);
            command
        }
        Err(_) => sayso(arguments),
    }
}

struct Daemon {
    child: Child,
    grpc: String,
    data: PathBuf,
}

impl Daemon {
    fn start(dir: &Path) -> Self {
        let (data, settings) = (dir.join("data"), dir.join("sayso.toml"));
        let text = format!("data = {data:?}\n[limits]\nqueue_requests_max = {QUEUE_MAX}\n");
        std::fs::write(&settings, text).unwrap();
        let settings = settings.display().to_string();
        let any = "127.0.0.1:0";
        let arguments = ["--json", "serve", "--dev", "--config", &settings, "--listen", any, "--http", any];
        let mut child = command(&arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).expect("the daemon starts");
        Self { child, grpc: format!("http://{}", ready["grpc"].as_str().unwrap()), data }
    }

    /// Resident memory, KiB.
    fn memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

/// The answers that all callers received.
#[derive(Default)]
struct Answers {
    /// Position and leaf hash of every acknowledged event.
    receipts: Mutex<Vec<(u64, [u8; 32])>>,
    rejected: AtomicU64,
    without_hint: AtomicU64,
    /// Latencies of acknowledged calls, in microseconds.
    latencies: Mutex<Vec<u32>>,
}

async fn call_until(mut clients: Clients, caller: u64, until: Instant, answers: Arc<Answers>) {
    for number in 0_u64.. {
        let start = Instant::now();
        if start >= until {
            return;
        }
        let request = fact(&format!("p{caller}"), &format!("n{}", number % 10), "work", "a value to be kept");
        match clients.profile.record_attributes(request).await {
            Ok(answer) => {
                let receipt = answer.into_inner().receipt.unwrap();
                let acknowledged = receipt
                    .events
                    .iter()
                    .map(|event| (event.position, <[u8; 32]>::try_from(event.leaf_hash.as_slice()).unwrap()));
                answers.receipts.lock().unwrap().extend(acknowledged);
                answers
                    .latencies
                    .lock()
                    .unwrap()
                    .push(u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX));
            }
            Err(status) => {
                assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
                answers.rejected.fetch_add(1, Ordering::Relaxed);
                let hint = status.get_details_retry_info().and_then(|info| info.retry_delay);
                if hint.is_none() {
                    answers.without_hint.fetch_add(1, Ordering::Relaxed);
                }
                tokio::time::sleep(hint.unwrap_or(Duration::from_millis(100))).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn overload_rejects_calls_with_a_retry_hint_and_loses_no_acknowledged_write() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path());
    let token = token(&daemon.data, "service");
    let until = Instant::now() + Duration::from_secs(seconds());
    let answers = Arc::new(Answers::default());
    let mut callers = Vec::new();
    for connection in 0..8 {
        let channel =
            tonic::transport::Channel::from_shared(daemon.grpc.clone()).unwrap().connect().await.unwrap();
        for caller in (connection..CALLERS).step_by(8) {
            let clients = Clients::over(&channel, Some(&token));
            callers.push(tokio::spawn(call_until(clients, caller, until, Arc::clone(&answers))));
        }
    }
    let mut memory_kib = Vec::new();
    while Instant::now() < until {
        memory_kib.push((daemon.memory_kib(), answers.receipts.lock().unwrap().len()));
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    for caller in callers {
        caller.await.unwrap();
    }
    let rejected = answers.rejected.load(Ordering::Relaxed);
    assert!(rejected > 0, "the load exceeded the queue");
    assert_eq!(answers.without_hint.load(Ordering::Relaxed), 0, "every rejection has a retry hint");
    let receipts = std::mem::take(&mut *answers.receipts.lock().unwrap());
    assert!(!receipts.is_empty(), "some calls were acknowledged");
    print_figures(&answers, receipts.len(), rejected, &memory_kib);
    assert_all_recorded(&daemon, dir.path(), &receipts);
}

/// Kills the daemon, so that no shutdown flushes anything, and restarts it. Then compares every receipt with
/// the leaf hashes of a bundle that verifies.
fn assert_all_recorded(daemon: &Daemon, dir: &Path, receipts: &[(u64, [u8; 32])]) {
    assert!(Command::new("kill").args(["-KILL", &daemon.child.id().to_string()]).status().unwrap().success());
    let daemon = Daemon::start(dir);
    let bundle = dir.join("log.tar.zst");
    let arguments = ["audit", "export", "--sealed", "-o", bundle.to_str().unwrap()];
    let mut export = command(&arguments);
    stdout(&export.env("SAYSO_ADDR", &daemon.grpc).env("SAYSO_DATA", &daemon.data).output().unwrap());
    let key = std::fs::read_to_string(daemon.data.join("dev/log.vkey")).unwrap().trim().parse().unwrap();
    bundle::verify(Source::open(&bundle).unwrap(), &key, &Options::default(), &mut |_| {}).unwrap();
    let folder = dir.join("unpacked");
    bundle::unpack(Box::new(std::fs::File::open(&bundle).unwrap()), &key, &folder).unwrap();
    let leaves = std::fs::read(folder.join("leaf-hashes.bin")).unwrap();
    for (position, leaf) in receipts {
        let at = usize::try_from(*position).unwrap() * 32;
        assert_eq!(leaves.get(at..at + 32), Some(&leaf[..]), "position {position} was acknowledged");
    }
    let mut daemon = daemon;
    daemon.child.kill().unwrap();
    daemon.child.wait().unwrap();
}

fn print_figures(answers: &Answers, acknowledged: usize, rejected: u64, memory_kib: &[(u64, usize)]) {
    let mut latencies = std::mem::take(&mut *answers.latencies.lock().unwrap());
    latencies.sort_unstable();
    let at = |part: usize| {
        latencies.get(latencies.len().saturating_sub(1) * part / 1000).copied().unwrap_or_default()
    };
    println!(
        "soak of {} s: {acknowledged} acknowledged and all recorded, {rejected} rejected with a retry hint; p50 {} us, p99 {} us, \
         p99.9 {} us",
        seconds(),
        at(500),
        at(990),
        at(999),
    );
    for tenth in 0..=10 {
        if let Some((kib, acknowledged)) = memory_kib.get(memory_kib.len().saturating_sub(1) * tenth / 10) {
            println!("  {:>3} %: {} MiB resident, {acknowledged} acknowledged", tenth * 10, kib / 1024);
        }
    }
}
