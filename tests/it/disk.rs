//! Tests of the daemon on a full disk, where nothing is lost, and on a disk whose flushes fail. After a
//! failed flush, nothing more is acknowledged.

use crate::crash::{Served, assert_recorded, record_until_failure, system, token, wait_for};
use crate::harness::{Clients, fact, sayso};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tonic::Code;

/// Size of the small disk in MiB. It has room for what a new ledger allocates in advance and little more.
const DISK_MIB: u64 = 96;
/// The number of writes after which the disk must be full.
const WRITES_MAX: u64 = 20_000;

async fn clients(served: &Served, role: &str) -> Clients {
    let channel =
        tonic::transport::Channel::from_shared(served.grpc.clone()).unwrap().connect().await.unwrap();
    Clients::over(&channel, Some(&token(&served.data, role)))
}

fn status(served: &Served, path: &str) -> u16 {
    let mut stream = TcpStream::connect(&served.http).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

/// A file system in memory of a fixed size.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let size = format!("size={DISK_MIB}m");
        system("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", at.to_str().unwrap()])
            .then(|| Self(at.to_owned()))
    }

    /// Fills the remaining space with a file and returns its path.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("filler");
        let mut file = std::fs::File::create(&path).unwrap();
        for bytes in [1 << 20, 4_096] {
            while file.write_all(&vec![1; bytes]).is_ok() {}
        }
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        for _ in 0..50 {
            if system("umount", &[self.0.to_str().unwrap()]) {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Records until the daemon reports that the disk is full. Returns the number of the write that failed.
async fn record_until_full(clients: &mut Clients, name: impl Fn(u64) -> String, from: u64) -> u64 {
    for number in from..WRITES_MAX {
        let value = format!("{number}-{}", "x".repeat(12_000));
        match clients
            .profile
            .record_attributes(fact(&name(number), &format!("n{}", number % 50), "work", &value))
            .await
        {
            Ok(_) => {}
            Err(status) => {
                let expected = [Code::Unavailable, Code::ResourceExhausted];
                assert!(expected.contains(&status.code()), "{status:?}");
                return number;
            }
        }
    }
    panic!("the disk is never full");
}

/// The values that the data subject reads. Their own reads append no event, so they need no disk space.
async fn values_of(served: &Served, subject: &str) -> Vec<String> {
    let minted = sayso(&["token", "--role", "subject", "--subject", subject])
        .env("SAYSO_DATA", &served.data)
        .output()
        .unwrap();
    let channel =
        tonic::transport::Channel::from_shared(served.grpc.clone()).unwrap().connect().await.unwrap();
    let mut own = Clients::over(&channel, Some(String::from_utf8(minted.stdout).unwrap().trim()));
    let request = sayso::proto::GetProfileRequest { subject: subject.into(), ..Default::default() };
    let profile = own.profile.get_profile(request).await;
    profile.map_or_else(
        |_| Vec::new(),
        |profile| profile.into_inner().attributes.into_iter().map(|attribute| attribute.value_json).collect(),
    )
}

/// The highest number that is recorded about a subject.
async fn newest_number(served: &Served, subject: &str) -> Option<u64> {
    let number = |value: &String| value.trim_start_matches('"').split('-').next()?.parse().ok();
    values_of(served, subject).await.iter().filter_map(number).max()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_loses_nothing_and_writes_resume_once_space_is_free() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&dir.path().join("disk")) else {
        assert!(std::env::var_os("CI").is_none(), "CI may mount");
        println!("mounting is not permitted: the full disk was not tested");
        return;
    };
    let data = disk.0.join("data");
    let served = Served::start(&data);
    let mut service = clients(&served, "service").await;
    let (mut recorded, mut people) = (0, 0);
    for round in 0..2 {
        let filler = disk.fill();
        // Keys of new people run out of space first, then the log.
        people = record_until_full(&mut service, |number| format!("person-{number}"), people).await;
        recorded = record_until_full(&mut service, |_| "ada".into(), recorded).await;
        assert_eq!(status(&served, "/readyz"), 503, "round {round}");
        // Reads succeed while the disk is full.
        assert_eq!(newest_number(&served, "ada").await, recorded.checked_sub(1), "round {round}");
        std::fs::remove_file(filler).unwrap();
        service
            .profile
            .record_attributes(fact("ada", &format!("n{}", recorded % 50), "work", &format!("{recorded}-")))
            .await
            .unwrap();
        recorded += 1;
        service.profile.record_attributes(fact(&format!("person-{people}"), "k", "work", "x")).await.unwrap();
        people += 1;
        assert_eq!(status(&served, "/readyz"), 200, "round {round}");
    }
    // The daemon is killed while the disk is full.
    let filler = disk.fill();
    recorded = record_until_full(&mut service, |_| "ada".into(), recorded).await;
    served.kill();
    std::fs::remove_file(filler).unwrap();
    assert!(sayso(&["fsck", data.to_str().unwrap()]).output().unwrap().status.success());
    let served = Served::start(&data);
    assert_eq!(newest_number(&served, "ada").await, recorded.checked_sub(1));
    for number in [0, people - 1] {
        assert!(!values_of(&served, &format!("person-{number}")).await.is_empty(), "person {number}");
    }
    served.verify(dir.path());
    served.kill();
    println!(
        "3 times full, the last time with a kill: {recorded} events about one person and one about each of \
         {people} other people, none missing"
    );
}

/// libfiu, preloaded libraries that inject faults into calls of the C library (Debian: fiu-utils).
const PRELOADED: [&str; 2] = ["/usr/lib/fiu/fiu_run_preload.so", "/usr/lib/fiu/fiu_posix_preload.so"];
const EIO: u32 = 5;

/// Makes a call of the C library fail from now on, in a running daemon.
fn fail(served: &Served, fifo: &str, call: &str) {
    let command = format!("enable name={call},failinfo={EIO}");
    let sent =
        Command::new("fiu-ctrl").args(["-f", fifo, "-c", &command, &served.child.id().to_string()]).status();
    assert!(sent.unwrap().success());
}

/// After a failed flush it is unknown what is on the disk. So this write and all later ones are refused, the
/// daemon is not ready, and reads continue. The next start reads what is on the disk.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_failed_flush_nothing_more_is_acknowledged() {
    if !PRELOADED.iter().all(|library| Path::new(library).exists()) {
        assert!(std::env::var_os("CI").is_none(), "CI has libfiu");
        println!("libfiu is not installed: failed flushes were not tested");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let fifo = dir.path().join("fiu").display().to_string();
    let preload = PRELOADED.join(" ");
    let environment = [("LD_PRELOAD", preload.as_str()), ("FIU_CTRL_FIFO", fifo.as_str())];
    let rounds = crate::crash::rounds(3);
    let mut total = 0;
    for round in 0..rounds {
        let served = Served::start_in(&data, &environment);
        assert_recorded(&served, total);
        let acknowledged = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&acknowledged);
        let load = tokio::spawn(record_until_failure(served.grpc.clone(), token(&data, "service"), counter));
        wait_for(&acknowledged, 10 + round % 5 * 7).await;
        fail(&served, &fifo, "posix/io/sync/fdatasync");
        // The task ends at the first failed call.
        load.await.unwrap();
        total = total.max(acknowledged.load(Ordering::SeqCst));
        let mut service = clients(&served, "service").await;
        for subject in ["p1", "somebody new"] {
            let refused = service.profile.record_attributes(fact(subject, "late", "work", "x")).await;
            assert!(refused.is_err(), "round {round}: a write succeeded after a failed flush");
        }
        assert_eq!(status(&served, "/readyz"), 503, "round {round}");
        assert!(!values_of(&served, "p1").await.is_empty(), "reads succeed");
        served.kill();
    }
    assert!(sayso(&["fsck", data.to_str().unwrap()]).output().unwrap().status.success());
    let served = Served::start(&data);
    assert_recorded(&served, total);
    served.verify(dir.path());
    served.kill();
    println!("{rounds} failed flushes, {total} acknowledged at most in one round, none missing");
}

/// If a flush of the key store fails, no new person is recorded, and no person is erased. Profiles can still
/// be read.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_failed_flush_of_the_key_store_no_new_person_is_recorded() {
    if !PRELOADED.iter().all(|library| Path::new(library).exists()) {
        assert!(std::env::var_os("CI").is_none(), "CI has libfiu");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let fifo = dir.path().join("fiu").display().to_string();
    let preload = PRELOADED.join(" ");
    let environment = [("LD_PRELOAD", preload.as_str()), ("FIU_CTRL_FIFO", fifo.as_str())];
    let served = Served::start_in(&data, &environment);
    let mut service = clients(&served, "service").await;
    let mut steward = clients(&served, "steward").await;
    service.profile.record_attributes(fact("ada", "k", "work", "x")).await.unwrap();
    fail(&served, &fifo, "posix/io/sync/fdatasync");
    // The next flush would make the key of a new person durable. It fails, so the person is not recorded.
    assert!(service.profile.record_attributes(fact("bob", "k", "work", "x")).await.is_err());
    assert_eq!(status(&served, "/readyz"), 503);
    let erasure = sayso::proto::SubmitRequestRequest {
        subject: "ada".into(),
        kind: sayso::proto::RequestKind::Erasure.into(),
        scope: sayso::proto::ErasureScope::All.into(),
        ..Default::default()
    };
    assert!(steward.rights.submit_request(erasure.clone()).await.is_err());
    assert_eq!(values_of(&served, "ada").await.len(), 1);
    served.kill();
    let served = Served::start(&data);
    let (mut service, mut steward) = (clients(&served, "service").await, clients(&served, "steward").await);
    service.profile.record_attributes(fact("bob", "k", "work", "x")).await.unwrap();
    // The interrupted erasure completes at the start or when it is requested again.
    let again = steward.rights.submit_request(erasure).await;
    assert!(again.as_ref().err().is_none_or(|status| status.code() == Code::NotFound), "{again:?}");
    assert!(values_of(&served, "ada").await.is_empty());
    served.verify(dir.path());
    served.kill();
}
