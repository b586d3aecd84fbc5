//! A trusted timestamp bounds the recorded times of a log. The entries that it covers were recorded before
//! its time. The entries after them were recorded at about its time or later. The authority is made with
//! the program openssl.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod log;

use log::*;
use sayso_proof::bundle::{self, BundleWriter, Options, Source};
use sayso_proof::event::ErasedKind;
use sayso_proof::replay::Fault;
use sayso_proof::timestamp::{Authorities, request, token_of_response};
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

const CONFIG: &str = "\
[req]
distinguished_name = name
[name]
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

/// An authority that stamps the present time.
struct Authority(tempfile::TempDir);

impl Authority {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tsa.cnf"), CONFIG).unwrap();
        std::fs::write(folder.path().join("serial"), "01\n").unwrap();
        openssl(folder.path(), "ecparam -name prime256v1 -genkey -noout -out tsa.key");
        openssl(
            folder.path(),
            "req -x509 -new -key tsa.key -subj /O=Test/CN=tsa -days 30 -config tsa.cnf -extensions authority \
             -out tsa.pem",
        );
        Self(folder)
    }

    fn stamp(&self, log: &Log, size: u64) -> (u64, Vec<u8>) {
        let note = log.checkpoint(size);
        let text = format!("{}\n", note.split_once("\n\n").unwrap().0);
        let folder = self.0.path();
        std::fs::write(folder.join("query"), request(&text, [9; 8]).unwrap()).unwrap();
        openssl(
            folder,
            "ts -reply -config tsa.cnf -queryfile query -signer tsa.pem -inkey tsa.key -out reply",
        );
        let reply = std::fs::read(folder.join("reply")).unwrap();
        (size, token_of_response(&reply, &text, [9; 8]).unwrap())
    }

    fn trusted(&self) -> Authorities {
        Authorities::from_pem(&std::fs::read(self.0.path().join("tsa.pem")).unwrap()).unwrap()
    }
}

/// Verifies the log with these timestamps, and returns the findings.
fn findings(log: &Log, stamps: &[(u64, Vec<u8>)], trusted: Option<Authorities>) -> Vec<(u64, Fault)> {
    let mut writer = BundleWriter::new(Vec::new(), &log.checkpoint(log.size()), &log.chain).unwrap();
    stamps.iter().for_each(|(size, token)| writer.timestamp(*size, token).unwrap());
    writer.leaf_hashes(log).unwrap();
    (0..log.size()).for_each(|position| writer.entry(&log.line(position)).unwrap());
    let bytes = writer.finish(&log.key).unwrap();
    let options = Options { authorities: trusted, ..Options::default() };
    let source = Source::Archive(Box::new(bytes.as_slice()));
    let report = bundle::verify(source, &log.verifier(), &options, &mut |_| ()).unwrap();
    assert_eq!(report.grants_hold(), report.grants.findings.is_empty());
    report.grants.findings.iter().map(|finding| (finding.position, finding.fault)).collect()
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

fn append(log: &mut Log) {
    log.append(subject(1), recorded(attribute("key", "food")));
}

#[test]
fn an_entry_cannot_be_recorded_after_the_timestamp_that_covers_it() {
    let authority = Authority::new();
    let mut log = Log::with_vocabulary();
    log.now = now_ms() - 1000;
    append(&mut log);
    // The operator's clock is an hour ahead.
    log.now = now_ms() + 3_600_000;
    append(&mut log);
    let ahead = log.size() - 1;
    append(&mut log);
    let stamps = [authority.stamp(&log, ahead), authority.stamp(&log, ahead + 1)];
    assert_eq!(findings(&log, &stamps[..1], Some(authority.trusted())), []);
    let found = findings(&log, &stamps, Some(authority.trusted()));
    assert_eq!(found, [(ahead, Fault::RecordedAfterTimestamp)]);
    // No one vouches for the time of a timestamp whose authority is not trusted.
    assert_eq!(findings(&log, &stamps, None), []);
}

#[test]
fn an_entry_cannot_be_dated_back_to_before_the_timestamp_of_the_entries_before_it() {
    let authority = Authority::new();
    let mut log = Log::with_vocabulary();
    let first = log.size();
    let stamps = [authority.stamp(&log, first)];
    log.now = now_ms() - 3_600_000;
    append(&mut log);
    append(&mut log);
    let found = findings(&log, &stamps, Some(authority.trusted()));
    assert_eq!(found, [(first, Fault::RecordedBeforeTimestamp)]);
    let mut log = Log::with_vocabulary();
    log.now = now_ms() - 10_000;
    append(&mut log);
    append(&mut log);
    assert_eq!(findings(&log, &stamps, Some(authority.trusted())), []);
}

#[test]
fn an_erased_entry_after_a_timestamp_is_no_finding() {
    let authority = Authority::new();
    let mut log = Log::with_vocabulary();
    let first = log.size();
    let stamps = [authority.stamp(&log, first)];
    log.now = now_ms() - 10_000;
    append(&mut log);
    append(&mut log);
    log.erase_stating(&[(first, ErasedKind::Attribute)]);
    // Its stated time is that of the entry before, which is older than the timestamp.
    log.recorded[first as usize] = log.recorded[first as usize - 1];
    assert_eq!(findings(&log, &stamps, Some(authority.trusted())), []);
}
