//! `sayso import --package` with untrusted files: the caller must name the data subject, a hostile package
//! must not use much memory, and attributes that are derived from each other in a circle are skipped.

use crate::harness::{Harness, json, sayso};
use sayso::package::Zip;
use sayso::proto::Role;
use serde_json::json;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

/// The most memory that the command may use for any package, KiB.
const PEAK_KIB_MAX: u64 = 160 << 10;

/// Writes a package whose `package.json` consists of these texts, each repeated the given number of times.
fn package(folder: &Path, name: &str, parts: &[(&str, usize)]) -> PathBuf {
    let path = folder.join(name);
    let mut zip = Zip::new(std::fs::File::create(&path).unwrap(), 0);
    let member = zip.begin("package.json").unwrap();
    for (part, times) in parts {
        (0..*times).for_each(|_| member.write_all(part.as_bytes()).unwrap());
    }
    zip.finish().unwrap();
    path
}

/// Imports the package with the real binary. Returns its output and its peak memory in KiB.
fn import(harness: &Harness, path: &Path) -> (Output, u64) {
    let token = harness.dir.path().join("steward.token");
    std::fs::write(&token, harness.daemon.issuer.mint(Role::Steward, "privacy-team", 3_600).unwrap())
        .unwrap();
    let child = sayso(&["import", path.to_str().unwrap(), "--package", "--subject", "ada", "--json"])
        .env("SAYSO_ADDR", format!("http://{}", harness.daemon.grpc))
        .env("SAYSO_TOKEN_FILE", token)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let peak = std::thread::spawn(move || {
        let mut peak = 0;
        let end = Instant::now() + Duration::from_secs(120);
        // The loop ends when the process has exited and no longer reports memory.
        while let Some(kib) = high_water_kib(&status).filter(|_| Instant::now() < end) {
            peak = kib.max(peak);
            std::thread::sleep(Duration::from_millis(2));
        }
        peak
    });
    let output = child.wait_with_output().unwrap();
    (output, peak.join().unwrap())
}

/// The peak resident memory of a running process, KiB.
fn high_water_kib(status: &str) -> Option<u64> {
    let status = std::fs::read_to_string(status).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn importing_a_package_requires_an_explicit_subject() {
    let harness = Harness::start().await;
    let content = json!({"format": "sayso-package", "version": 1, "kind": "access", "subject": {"id": "ben"}, "attributes": []});
    let path = package(harness.dir.path(), "package.zip", &[(&content.to_string(), 1)]);
    let refused = harness.cli(Role::Steward, "maria", &["import", path.to_str().unwrap(), "--package"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--subject"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_package_is_rejected_without_using_much_memory() {
    let harness = Harness::start().await;
    let head = "{\"format\":\"sayso-package\",\"version\":1,\"attributes\":[";
    let spaces = " ".repeat(1 << 20);
    let text = "x".repeat(1 << 20);
    let attribute = json!({
        "event_id": "a", "key": "k", "value": "v".repeat(10_000), "category": "work", "provenance": "declared",
        "observed_at": "2026-01-05T09:00:00Z", "evidence": vec!["e"; 64],
    });
    let attribute = format!("{attribute},");
    // Each package has a few megabytes at most, and unpacks to a hundred times that or more.
    let hostile = [
        ("spaces", vec![("{\"history\":\"", 1), (&spaces, 600)], "unpacked"),
        ("one-text", vec![(head, 1), ("{\"event_id\":\"", 1), (&text, 300)], "larger than"),
        ("one-name", vec![("{\"", 1), (&text, 300)], "larger than"),
        ("many-facts", vec![(head, 1), (&attribute, 40_000)], "attributes"),
        ("deep", vec![("{\"history\":", 1), ("[[[[[[[[[[", 5_000_000)], "levels"),
        (
            "small-things",
            vec![(head, 1), ("{\"event_id\":\"a\",\"evidence\":[\"\"", 1), (",\"\"", 30_000_000)],
            "larger than",
        ),
    ];
    for (name, parts, problem) in hostile {
        let path = package(harness.dir.path(), name, &parts);
        assert!(path.metadata().unwrap().len() < 8 << 20, "{name}");
        let (output, peak) = import(&harness, &path);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && message.contains(problem), "{name}: {message}");
        assert!(message.len() < 1_000, "{name}");
        assert!(peak > 0 && peak < PEAK_KIB_MAX, "{name} took {peak} KiB");
        println!("{name}: {peak} KiB");
        std::fs::remove_file(path).unwrap();
    }
}

/// The package has a long chain of derived attributes, each before its source, and a cycle of attributes that
/// are derived from each other.
#[tokio::test(flavor = "multi_thread")]
async fn sources_are_imported_before_derived_attributes_and_cycles_are_skipped() {
    let harness = Harness::start().await;
    let attribute = |number: u32, source: u32| {
        json!({
            "event_id": format!("event-{number}"), "key": format!("key-{number}"), "value": number,
            "category": "work", "provenance": "observed", "observed_at": "2026-01-05T09:00:00Z",
            "derived_from": if source == number { vec![] } else { vec![format!("event-{source}")] },
        })
    };
    let mut attributes: Vec<_> = (0..200).map(|number| attribute(number, (number + 1).min(199))).collect();
    attributes.extend([attribute(300, 301), attribute(301, 300), attribute(302, 301)]);
    let whole = json!({"format": "sayso-package", "version": 1, "attributes": attributes}).to_string();
    let path = package(harness.dir.path(), "chain.zip", &[(&whole, 1)]);
    let (output, _) = import(&harness, &path);
    let imported = json(&output);
    assert_eq!((&imported["recorded"], &imported["skipped"]["withoutSources"]), (&"200".into(), &"3".into()));
    assert_eq!(imported["refused"], json!([]));
}
