//! More work than can be done: the daemon turns away what it can't take, says when to come again, does not
//! grow, and loses nothing of what it acknowledged.
//!
//! By default a few seconds. `SAYSO_SOAK_SECONDS=600 SAYSO_SOAK_BINARY=target/release/sayso` is the long one;
//! it prints figures.

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

/// Callers, each with one call under way: far more than may wait for the sequencer.
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

/// What callers saw.
#[derive(Default)]
struct Seen {
    /// Position and leaf hash of everything acknowledged.
    receipts: Mutex<Vec<(u64, [u8; 32])>>,
    turned_away: AtomicU64,
    without_hint: AtomicU64,
    /// Of acknowledged calls, microseconds.
    latencies: Mutex<Vec<u32>>,
}

async fn call_until(mut clients: Clients, caller: u64, until: Instant, seen: Arc<Seen>) {
    for number in 0_u64.. {
        let start = Instant::now();
        if start >= until {
            return;
        }
        let request = fact(&format!("p{caller}"), &format!("n{}", number % 10), "work", "a value to be kept");
        match clients.profile.record_attributes(request).await {
            Ok(answer) => {
                let receipt = answer.into_inner().receipt.unwrap();
                let kept = receipt
                    .events
                    .iter()
                    .map(|event| (event.position, <[u8; 32]>::try_from(event.leaf_hash.as_slice()).unwrap()));
                seen.receipts.lock().unwrap().extend(kept);
                seen.latencies
                    .lock()
                    .unwrap()
                    .push(u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX));
            }
            Err(status) => {
                assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
                seen.turned_away.fetch_add(1, Ordering::Relaxed);
                let hint = status.get_details_retry_info().and_then(|info| info.retry_delay);
                if hint.is_none() {
                    seen.without_hint.fetch_add(1, Ordering::Relaxed);
                }
                tokio::time::sleep(hint.unwrap_or(Duration::from_millis(100))).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_can_be_done_is_turned_away_and_nothing_acknowledged_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path());
    let token = token(&daemon.data, "service");
    let until = Instant::now() + Duration::from_secs(seconds());
    let seen = Arc::new(Seen::default());
    let mut callers = Vec::new();
    for connection in 0..8 {
        let channel =
            tonic::transport::Channel::from_shared(daemon.grpc.clone()).unwrap().connect().await.unwrap();
        for caller in (connection..CALLERS).step_by(8) {
            let clients = Clients::over(&channel, Some(&token));
            callers.push(tokio::spawn(call_until(clients, caller, until, Arc::clone(&seen))));
        }
    }
    let mut memory_kib = Vec::new();
    while Instant::now() < until {
        memory_kib.push((daemon.memory_kib(), seen.receipts.lock().unwrap().len()));
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    for caller in callers {
        caller.await.unwrap();
    }
    let turned_away = seen.turned_away.load(Ordering::Relaxed);
    assert!(turned_away > 0, "there was more than could be done");
    assert_eq!(seen.without_hint.load(Ordering::Relaxed), 0, "each was told when to come again");
    let receipts = std::mem::take(&mut *seen.receipts.lock().unwrap());
    assert!(!receipts.is_empty(), "and what could be done was");
    print_figures(&seen, receipts.len(), turned_away, &memory_kib);
    all_are_there(&daemon, dir.path(), &receipts);
}

/// Every receipt against the leaf hashes of a bundle that verifies; after a kill, so that nothing is flushed
/// for the occasion.
fn all_are_there(daemon: &Daemon, dir: &Path, receipts: &[(u64, [u8; 32])]) {
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

fn print_figures(seen: &Seen, acknowledged: usize, turned_away: u64, memory_kib: &[(u64, usize)]) {
    let mut latencies = std::mem::take(&mut *seen.latencies.lock().unwrap());
    latencies.sort_unstable();
    let at = |part: usize| {
        latencies.get(latencies.len().saturating_sub(1) * part / 1000).copied().unwrap_or_default()
    };
    println!(
        "soak of {} s: {acknowledged} acknowledged and found again, {turned_away} turned away with a hint; p50 {} us, p99 {} us, \
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
