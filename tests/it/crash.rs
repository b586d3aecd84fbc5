//! Crashes: the daemon is killed during writes and imports, power is cut, and derived files are removed. No
//! acknowledged write or erasure is lost.

use crate::harness::{Clients, Harness, facts, int64, json, sayso};
use sayso::proto::{self, Role};
use sayso_proof::bundle::{self, Options, Source};
use sayso_proof::checkpoint::VerifierKey;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A daemon in its own process.
pub struct Served {
    pub child: Child,
    pub grpc: String,
    pub http: String,
    pub data: PathBuf,
}

impl Served {
    pub fn start(data: &Path) -> Self {
        Self::start_in(data, &[])
    }

    /// Starts a daemon with these environment variables.
    pub fn start_in(data: &Path, environment: &[(&str, &str)]) -> Self {
        Self::try_start(data, environment).expect("the daemon starts")
    }

    /// Starts a daemon as [`Served::start_in`] does. Returns `None` if the daemon refuses to start.
    pub fn try_start(data: &Path, environment: &[(&str, &str)]) -> Option<Self> {
        let data_text = data.display().to_string();
        let arguments = [
            "--json",
            "--data",
            &data_text,
            "serve",
            "--dev",
            "--listen",
            "127.0.0.1:0",
            "--http",
            "127.0.0.1:0",
        ];
        let mut command = sayso(&arguments);
        command.envs(environment.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let Ok(ready) = serde_json::from_str::<Value>(&line) else {
            child.wait().unwrap();
            return None;
        };
        let grpc = format!("http://{}", ready["grpc"].as_str().unwrap());
        Some(Self { child, grpc, http: ready["http"].as_str().unwrap().to_owned(), data: data.to_owned() })
    }

    pub fn run(&self, arguments: &[&str]) -> Command {
        let mut command = sayso(arguments);
        command.env("SAYSO_ADDR", &self.grpc).env("SAYSO_DATA", &self.data);
        command
    }

    /// Pauses the daemon's process at an arbitrary point, does the work, and resumes the process.
    fn while_paused<T>(&self, work: impl FnOnce() -> T) -> T {
        let signal = |name: &str| assert!(system("kill", &[name, &self.child.id().to_string()]));
        signal("-STOP");
        let done = work();
        signal("-CONT");
        done
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn import(&self) -> Value {
        json(&self.run(&["--json", "import", facts().to_str().unwrap()]).output().unwrap())
    }

    pub fn verify(&self, dir: &Path) {
        let bundle = dir.join("log.tar.zst");
        let exported =
            self.run(&["audit", "export", "--force", "-o", bundle.to_str().unwrap()]).output().unwrap();
        assert!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
        let key: VerifierKey =
            std::fs::read_to_string(self.data.join("dev/log.vkey")).unwrap().parse().unwrap();
        let source = Source::open(&bundle).unwrap();
        bundle::verify(source, &key, &Options::default(), &mut |_| {}).unwrap();
    }
}

/// Records one attribute in each call, with a number that rises from call to call, until a call fails.
/// `acknowledged` counts the calls that succeeded.
pub async fn record_until_failure(grpc: String, token: String, acknowledged: Arc<AtomicU64>) {
    let Ok(channel) = tonic::transport::Channel::from_shared(grpc).unwrap().connect().await else { return };
    let token: tonic::metadata::MetadataValue<_> = format!("Bearer {token}").parse().unwrap();
    let mut client = proto::profile_service_client::ProfileServiceClient::with_interceptor(
        channel,
        move |mut request: tonic::Request<()>| {
            request.metadata_mut().insert("authorization", token.clone());
            Ok(request)
        },
    );
    for number in 0_u64.. {
        let request = crate::harness::fact(&format!("p{}", number % 7), &format!("n{number}"), "work", "x");
        if client.record_attributes(request).await.is_err() {
            return;
        }
        acknowledged.store(number + 1, Ordering::SeqCst);
    }
}

/// The token of a role that `serve --dev` wrote. For `service`, it is the token of the service that is also
/// a channel.
pub fn token(data: &Path, role: &str) -> String {
    let role = if role == "service" { "service-channel" } else { role };
    std::fs::read_to_string(data.join(format!("dev/{role}.token"))).unwrap().trim().to_owned()
}

/// Waits until `count` writes are acknowledged and returns the current number. Fails after about a minute.
pub async fn wait_for(acknowledged: &AtomicU64, count: u64) -> u64 {
    for _ in 0..6_000 {
        let now = acknowledged.load(Ordering::SeqCst);
        if now >= count {
            return now;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the writes make no progress");
}

/// Asserts that every acknowledged write of [`record_until_failure`] is in the profiles.
pub fn assert_recorded(served: &Served, acknowledged: u64) {
    let mut recorded = std::collections::BTreeSet::new();
    for person in 0..7_u64.min(acknowledged) {
        let shown = served.run(&["--json", "profile", &format!("p{person}")]).output().unwrap();
        for attribute in json(&shown)["attributes"].as_array().unwrap() {
            recorded.insert(attribute["key"].as_str().unwrap()[1..].parse::<u64>().unwrap());
        }
    }
    for number in 0..acknowledged {
        assert!(
            recorded.contains(&number),
            "write {number} of {acknowledged} was acknowledged and is missing"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_during_writes_loses_nothing_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut total = 0;
    let rounds = rounds(4);
    for round in 0..rounds {
        let served = Served::start(&data);
        // Check in some rounds only, because the check takes longer as the log grows.
        if round % 10 < 4 {
            assert_recorded(&served, total);
        }
        let acknowledged = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&acknowledged);
        let load = tokio::spawn(record_until_failure(served.grpc.clone(), token(&data, "service"), counter));
        wait_for(&acknowledged, 20 + 30 * (round % 4)).await;
        served.kill();
        load.await.unwrap();
        total = total.max(acknowledged.load(Ordering::SeqCst));
    }
    let served = Served::start(&data);
    assert_recorded(&served, total);
    served.verify(dir.path());
    served.kill();
    println!("{rounds} rounds, {total} acknowledged at most in one, none missing");
}

/// The number of rounds: `SAYSO_ROUNDS` if it is set, or this default.
pub fn rounds(default: u64) -> u64 {
    std::env::var("SAYSO_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(default)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_import_can_be_repeated_without_duplicates() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let served = Served::start(&data);
    let importing = served
        .run(&["--json", "import", facts().to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let importing = importing.unwrap();
    tokio::time::sleep(Duration::from_millis(250)).await;
    served.kill();
    let first: Value = serde_json::from_slice(&importing.wait_with_output().unwrap().stdout).unwrap();
    let acknowledged = int64(&first["recorded"]);

    let served = Served::start(&data);
    let second = served.import();
    let (recorded, already) = (int64(&second["recorded"]), int64(&second["alreadyRecorded"]));
    // Every import refuses the lines that bounds forbid recording.
    let refused = int64(&second["forbiddenCount"]);
    let expected = 1283 - refused;
    assert_eq!(recorded + already, expected);
    assert!(already >= acknowledged, "{already} of {acknowledged}");
    let third = served.import();
    assert_eq!((int64(&third["recorded"]), int64(&third["alreadyRecorded"])), (0, expected));
    served.verify(dir.path());
    served.kill();

    // Derived files are rebuilt when they are missing: first the index, then all of them.
    std::fs::remove_dir_all(data.join("log/index")).unwrap();
    let served = Served::start(&data);
    assert_eq!(int64(&served.import()["alreadyRecorded"]), expected);
    served.verify(dir.path());
    served.kill();
    for derived in ["log/tree", "log/index"] {
        std::fs::remove_dir_all(data.join(derived)).unwrap();
    }
    std::fs::remove_file(data.join("log/locations")).unwrap();
    let served = Served::start(&data);
    assert_eq!(int64(&served.import()["alreadyRecorded"]), expected);
    served.verify(dir.path());
    served.kill();
}

pub fn system(program: &str, arguments: &[&str]) -> bool {
    let status = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// An ext4 file system in a file.
struct Image {
    mount: PathBuf,
}

impl Image {
    fn make(file: &Path, mount: &Path) -> Option<Self> {
        std::fs::File::create(file).unwrap().set_len(512 << 20).unwrap();
        system("mkfs.ext4", &["-q", "-F", file.to_str()?]).then_some(())?;
        Self::mount(file, mount)
    }

    fn mount(file: &Path, mount: &Path) -> Option<Self> {
        std::fs::create_dir_all(mount).unwrap();
        let mounted = system("mount", &["-o", "loop", file.to_str()?, mount.to_str()?]);
        mounted.then(|| Self { mount: mount.to_owned() })
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        for _ in 0..50 {
            if system("umount", &[self.mount.to_str().unwrap()]) {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Records a new subject and then erases it, again and again, until a call fails. `erased` counts the
/// erasures that were acknowledged.
async fn erase_until_failure(grpc: String, tokens: [String; 2], erased: Arc<AtomicU64>) {
    let Ok(channel) = tonic::transport::Channel::from_shared(grpc).unwrap().connect().await else { return };
    let [service, steward] = tokens.map(|token| Clients::over(&channel, Some(&token)));
    let (mut profile, mut rights) = (service.profile, steward.rights);
    for number in 0_u64.. {
        let name = format!("gone-{number}");
        if profile.record_attributes(crate::harness::fact(&name, "k", "work", "x")).await.is_err() {
            return;
        }
        let request = proto::SubmitRequestRequest {
            subject: name,
            kind: proto::RequestKind::Erasure.into(),
            scope: proto::ErasureScope::All.into(),
            ..Default::default()
        };
        if rights.submit_request(request).await.is_err() {
            return;
        }
        erased.store(number + 1, Ordering::SeqCst);
    }
}

/// Copies the backing file of the file system during writes. Data that is only in the page cache of the
/// mounted file system is not in the copy, as after a power cut. The daemon is paused during the copy.
/// Otherwise one part of the copy could be older than a flush and another part newer, which no power cut
/// produces. Needs root and loop devices. Without them, the test prints that it did not run.
#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_loses_nothing_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let (file, mount) = (dir.path().join("disk.img"), dir.path().join("disk"));
    let Some(image) = Image::make(&file, &mount) else {
        assert!(std::env::var_os("CI").is_none(), "CI has root and loop devices");
        println!("no loop devices: the power cut was not tested");
        return;
    };
    let data = mount.join("data");
    let served = Served::start(&data);
    let [acknowledged, erased]: [Arc<AtomicU64>; 2] = Default::default();
    let tokens = ["service", "steward"].map(|role| token(&data, role));
    let load =
        tokio::spawn(record_until_failure(served.grpc.clone(), tokens[0].clone(), Arc::clone(&acknowledged)));
    let erasing = tokio::spawn(erase_until_failure(served.grpc.clone(), tokens, Arc::clone(&erased)));
    // The token files are not part of the ledger, but commands on the copy need them.
    Command::new("sync").status().unwrap();
    let rounds = rounds(3);
    let mut seen = 0;
    for round in 1..=rounds {
        wait_for(&acknowledged, seen + 1 + round * 17 % 40).await;
        // The writes and erasures that were acknowledged before the copy began.
        let (count, gone) = (acknowledged.load(Ordering::SeqCst), erased.load(Ordering::SeqCst));
        seen = count;
        let copy = dir.path().join("copy.img");
        let copying = ["--sparse=always", file.to_str().unwrap(), copy.to_str().unwrap()];
        assert!(served.while_paused(|| system("cp", &copying)));
        check_after_power_cut(dir.path(), &copy, count, gone);
    }
    served.kill();
    load.await.unwrap();
    erasing.await.unwrap();
    drop(image);
    println!("{rounds} power cuts, {seen} recorded and {} erased, none lost", erased.load(Ordering::SeqCst));
}

/// Checks the copied folder with fsck, starts a daemon on it, and asserts that nothing acknowledged is lost.
fn check_after_power_cut(dir: &Path, copy: &Path, count: u64, gone: u64) {
    let mount = dir.join("after");
    let after = Image::mount(copy, &mount).unwrap();
    let data = mount.join("data");
    let examined = sayso(&["fsck", data.to_str().unwrap()]).output().unwrap();
    let printed = String::from_utf8_lossy(&examined.stdout);
    assert!(examined.status.success(), "{printed}{}", String::from_utf8_lossy(&examined.stderr));
    let served = Served::start(&data);
    assert_recorded(&served, count);
    for number in gone.saturating_sub(3)..gone {
        let shown = served.run(&["profile", &format!("gone-{number}")]).output().unwrap();
        assert!(!shown.status.success(), "the erasure of gone-{number} was acknowledged and is lost");
    }
    served.verify(dir);
    served.kill();
    drop(after);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_daemon_is_refused_and_a_restart_keeps_the_checkpoint() {
    let harness = Harness::start().await;
    let mut service = harness.as_role(Role::Service, "tutor").await;
    service.profile.record_attributes(crate::harness::fact("ada", "tone", "work", "x")).await.unwrap();
    let second = sayso::daemon::Daemon::start(&crate::harness::config(harness.dir.path())).await;
    assert!(second.is_err());
    let before = harness
        .as_role(Role::Auditor, "auditor")
        .await
        .audit
        .get_checkpoint(proto::GetCheckpointRequest {})
        .await;
    let before = before.unwrap().into_inner();
    let harness = harness.restart().await;
    let mut auditor = harness.as_role(Role::Auditor, "auditor").await;
    let after = auditor.audit.get_checkpoint(proto::GetCheckpointRequest {}).await.unwrap().into_inner();
    assert_eq!(before.checkpoint, after.checkpoint);
}
