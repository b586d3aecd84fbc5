//! Tests that an unchanged bundle passes verification, and that any change to a bundle is detected.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod log;

use ed25519_dalek::SigningKey;
use log::*;
use proptest::prelude::*;
use sayso_proof::bundle::{
    self, BundleWriter, FailureKind, Options, Progress, Report, Source, VerifyFailure,
};
use sayso_proof::entry::{self, Header};
use sayso_proof::event::event_body::Event;
use sayso_proof::event::{ErasureCompleted, GrantIssued};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A log with documents and two data subjects, one of which is erased.
fn two_subjects() -> Log {
    let mut log = Log::with_vocabulary();
    log.publish_documents();
    let (ada, bob) = (subject(1), subject(2));
    let tea = log.append(ada, recorded(attribute("tea", "food")));
    let erased = log.size();
    log.append(bob, recorded(attribute("job", "work")));
    let consent = log.append(ada, given(terms(&["personalization"], &[], &[])));
    let Event::GrantIssued(issued) = grant(tea, consent, "tea", "food") else { panic!() };
    log.append(ada, Event::GrantIssued(GrantIssued { bounds: vec![9], ..issued }));
    log.erase(&[erased], true);
    log
}

fn check(bytes: &[u8], log: &Log) -> Result<Report, VerifyFailure> {
    bundle::verify(Source::Archive(Box::new(bytes)), &log.verifier(), &Options::default(), &mut |_| ())
}

fn check_folder(path: &Path, log: &Log) -> Result<Report, VerifyFailure> {
    bundle::verify(Source::open(path).unwrap(), &log.verifier(), &Options::default(), &mut |_| ())
}

/// An unpacked bundle in a temporary folder, which is removed on drop.
struct Unpacked(PathBuf);

impl Unpacked {
    fn new(log: &Log, name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sayso-proof-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        bundle::unpack(Box::new(log.bundle().as_slice()), &log.verifier(), &path).unwrap();
        Self(path)
    }

    /// Changes the lines of the first file of entries.
    fn change_lines(&self, change: impl FnOnce(&mut Vec<String>)) {
        let path = self.0.join("entries/000000.jsonl");
        let mut lines: Vec<String> = fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect();
        change(&mut lines);
        fs::write(path, lines.join("\n") + "\n").unwrap();
    }
}

impl Drop for Unpacked {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_bundle_verifies_and_its_report_counts_everything() {
    let log = two_subjects();
    let report = check(&log.bundle(), &log).unwrap();
    assert_eq!(report.tree_size, log.size());
    assert_eq!((report.erased, report.opened, report.subjects, report.withheld), (1, 3, 1, 0));
    assert_eq!(report.signatures, log.size() - 1 + 3);
    assert_eq!((report.grants.replayed, report.grants.unjustified), (1, 0), "{:?}", report.grants);
    let unpacked = Unpacked::new(&log, "original");
    assert_eq!(check_folder(&unpacked.0, &log).unwrap().entries, report.entries);
}

#[test]
fn a_bundle_without_event_keys_verifies() {
    let mut log = two_subjects();
    log.withheld = true;
    let report = check(&log.bundle(), &log).unwrap();
    assert_eq!((report.withheld, report.opened, report.grants.unchecked), (3, 0, 0));
}

#[test]
fn every_flipped_byte_of_an_archive_is_detected() {
    let log = two_subjects();
    let mut bytes = log.bundle();
    for at in 0..bytes.len() {
        bytes[at] ^= 1 << (at % 8);
        assert!(check(&bytes, &log).is_err(), "byte {at} of {}", bytes.len());
        bytes[at] ^= 1 << (at % 8);
    }
    for shorter in [0, 1, 200, bytes.len() - bundle::TRAILER_BYTES, bytes.len() - 1] {
        assert!(check(&bytes[..shorter], &log).is_err(), "{shorter}");
    }
    bytes.push(0);
    assert!(check(&bytes, &log).is_err());
}

#[test]
fn every_flipped_byte_of_a_folder_is_detected() {
    let mut log = Log::new();
    log.publish_documents();
    log.append(subject(1), recorded(attribute("tea", "food")));
    let unpacked = Unpacked::new(&log, "flips");
    let mut files =
        vec!["checkpoint", "keys.jsonl", "leaf-hashes.bin", "entries/000000.jsonl", "bounds/1.json"];
    files.extend(["notices/2.json", "manifest.json", "manifest.note"]);
    for name in files {
        let path = unpacked.0.join(name);
        let original = fs::read(&path).unwrap();
        for at in 0..original.len() {
            let mut bytes = original.clone();
            bytes[at] ^= 1 << (at % 8);
            fs::write(&path, &bytes).unwrap();
            let failure = check_folder(&unpacked.0, &log).expect_err(&format!("{name} byte {at}"));
            if name.starts_with("entries") || name == "leaf-hashes.bin" {
                assert!(failure.position.is_some(), "{name} byte {at}: {failure}");
            }
        }
        fs::write(&path, &original).unwrap();
        check_folder(&unpacked.0, &log).unwrap();
        fs::remove_file(&path).unwrap();
        check_folder(&unpacked.0, &log).expect_err(name);
        fs::write(&path, original).unwrap();
    }
    for extra in ["extra", "entries/000001.jsonl", "entries/1.jsonl", "bounds/0.json", "bounds/+1.json"] {
        fs::write(unpacked.0.join(extra), "{}\n").unwrap();
        check_folder(&unpacked.0, &log).expect_err(extra);
        fs::remove_file(unpacked.0.join(extra)).unwrap();
    }
    check_folder(&unpacked.0, &log).unwrap();
}

#[test]
fn dropped_and_swapped_lines_are_reported_with_their_position() {
    let log = two_subjects();
    for at in 0..log.size() as usize {
        let unpacked = Unpacked::new(&log, "lines");
        unpacked.change_lines(|lines| drop(lines.remove(at)));
        assert_eq!(check_folder(&unpacked.0, &log).unwrap_err().position, Some(at as u64));
        let unpacked = Unpacked::new(&log, "lines");
        if at > 0 {
            unpacked.change_lines(|lines| lines.swap(at - 1, at));
            assert_eq!(check_folder(&unpacked.0, &log).unwrap_err().position, Some(at as u64 - 1));
        }
    }
}

#[test]
fn an_entry_signed_by_another_key_is_reported_with_its_position() {
    let log = two_subjects();
    let position = log.size() - 3;
    let mut other = two_subjects();
    other.key = SigningKey::from_bytes(&[5; 32]);
    let header = entry::parse_header(&log.entries[position as usize]).unwrap();
    other.seal(&Header { key_commitment: None, ..header }, given(terms(&["advertising"], &[], &[])));
    let last = other.entries.len() - 1;
    let key = other.keys[last].as_ref();
    let line = bundle::EntryLine::new(position, log.recorded[position as usize], &other.entries[last], key);
    let line = String::from_utf8(line.unwrap().to_bytes().unwrap()).unwrap();
    for change_hash in [false, true] {
        let unpacked = Unpacked::new(&log, "other-key");
        unpacked.change_lines(|lines| lines[position as usize] = line.clone());
        if change_hash {
            let mut hashes = log.leaves.clone();
            hashes[position as usize] = other.leaves[last];
            fs::write(unpacked.0.join("leaf-hashes.bin"), hashes.concat()).unwrap();
        }
        let failure = check_folder(&unpacked.0, &log).unwrap_err();
        assert_eq!((failure.position, failure.reason.as_str()), (Some(position), "signed by another key"));
    }
}

#[test]
fn a_forged_signature_in_a_batch_is_reported_with_its_position() {
    let mut log = two_subjects();
    let forged = log.size() - 2;
    let entry = &mut log.entries[forged as usize];
    let at = entry.len() - 40;
    entry[at] ^= 1;
    // The attacker controls the hashes, but not the log's key.
    log.leaves[forged as usize] = sayso_proof::merkle::leaf_hash(entry);
    let failure = check(&log.bundle(), &log).unwrap_err();
    assert_eq!((failure.position, failure.reason.as_str()), (Some(forged), "the signature does not verify"));
}

#[test]
fn erased_entries_need_a_matching_erasure_event() {
    let mut log = two_subjects();
    let lost = log.size() - 2;
    log.erase(&[lost], false);
    assert_eq!(check(&log.bundle(), &log).unwrap_err().position, Some(lost));
    let mut log = two_subjects();
    let discarded = vec![sayso_proof::event::PositionRange { first: 11, last: 12 }];
    let at = log.size();
    log.append_system_event(Event::ErasureCompleted(ErasureCompleted { discarded, ..Default::default() }));
    assert_eq!(check(&log.bundle(), &log).unwrap_err().position, Some(at), "the listed entries still exist");
}

#[test]
fn chains_may_skip_erased_entries_and_nothing_else() {
    let mut log = Log::new();
    for key in ["a", "b", "c"] {
        log.append(subject(1), recorded(attribute(key, "food")));
    }
    log.erase(&[2], true);
    assert_eq!(check(&log.bundle(), &log).unwrap().erased, 1);
    // This entry skips a version that never existed.
    let mut log = Log::new();
    log.append(subject(1), recorded(attribute("a", "food")));
    let position = log.size();
    let header = Header { version: 2, ..entry::parse_header(&log.entries[1]).unwrap() };
    let header = Header { previous: Some(log.leaves[1]), key_commitment: None, ..header };
    log.seal(&header, recorded(attribute("b", "food")));
    assert_eq!(check(&log.bundle(), &log).unwrap_err().position, Some(position));
}

/// Chains are checked after all entries, but faults are still reported in order of position.
#[test]
fn a_broken_chain_is_reported_before_later_faults() {
    let mut log = Log::new();
    log.append(subject(1), recorded(attribute("a", "food")));
    let broken = log.size();
    let header = Header { version: 2, ..entry::parse_header(&log.entries[1]).unwrap() };
    let header = Header { previous: Some(log.leaves[1]), key_commitment: None, ..header };
    log.seal(&header, recorded(attribute("b", "food")));
    let lost = log.size();
    log.append(subject(2), recorded(attribute("a", "food")));
    log.append(subject(2), recorded(attribute("b", "food")));
    let missing = |failure: &VerifyFailure| failure.reason.contains("missing, but was not erased");
    // The later fault is an unrecorded erasure, then an invalid line, then a missing line.
    log.erase(&[lost], false);
    let failure = check(&log.bundle(), &log).unwrap_err();
    assert!(failure.position == Some(broken) && missing(&failure), "{failure}");
    for line in ["{}", ""] {
        let unpacked = Unpacked::new(&log, "order");
        unpacked.change_lines(|lines| {
            lines.truncate(lost as usize);
            lines.extend(Some(line.to_owned()).filter(|line| !line.is_empty()));
        });
        let failure = check_folder(&unpacked.0, &log).unwrap_err();
        assert!(failure.position == Some(broken) && missing(&failure), "{failure}");
        assert_eq!(failure.place, "entries/000000.jsonl");
    }
}

#[test]
fn a_bundle_must_continue_the_older_checkpoint_that_a_reader_kept() {
    let log = two_subjects();
    let since = |note: String| {
        let options = Options { since: Some(note), ..Options::default() };
        let bytes = log.bundle();
        bundle::verify(Source::Archive(Box::new(bytes.as_slice())), &log.verifier(), &options, &mut |_| ())
    };
    for size in 0..=log.size() {
        assert_eq!(since(log.checkpoint(size)).unwrap().continues, Some(size));
    }
    let mut other = Log::with_vocabulary();
    other.append(subject(9), recorded(attribute("x", "food")));
    other.append(subject(9), recorded(attribute("y", "food")));
    assert_eq!(since(other.checkpoint(other.size())).unwrap_err().place, "--since");
    let mut longer = two_subjects();
    longer.publish_documents();
    assert!(since(longer.checkpoint(longer.size())).is_err());
}

#[test]
fn an_interrupted_export_does_not_verify() {
    let log = two_subjects();
    let mut out = Vec::new();
    let mut writer = BundleWriter::new(&mut out, &log.checkpoint(log.size()), &log.verifier()).unwrap();
    writer.leaf_hashes(&log).unwrap();
    writer.entry(&log.line(0)).unwrap();
    assert!(writer.entry(&log.line(2)).is_err(), "positions have no gaps");
    drop(writer);
    assert!(check(&out, &log).is_err());
    let mut writer = BundleWriter::new(Vec::new(), &log.checkpoint(log.size()), &log.verifier()).unwrap();
    writer.leaf_hashes(&log).unwrap();
    assert!(writer.finish(&log.key).is_err(), "entries are missing");
}

/// Reads some bytes, and then fails as the operating system does when a disk is damaged.
struct BrokenDisk<'a>(&'a [u8]);

impl Read for BrokenDisk<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(std::io::Error::from_raw_os_error(5)),
            count => Ok(count),
        }
    }
}

#[test]
fn a_disk_that_cannot_be_read_says_nothing_about_the_bundle() {
    let log = two_subjects();
    let bytes = log.bundle();
    for end in 0..bytes.len() {
        let source = Source::Archive(Box::new(BrokenDisk(&bytes[..end])));
        let read = bundle::verify(source, &log.verifier(), &Options::default(), &mut |_| ());
        assert_eq!(read.unwrap_err().kind, FailureKind::Machine, "after {end} bytes");
        // If the archive just ends there, it is truncated.
        assert_eq!(check(&bytes[..end], &log).unwrap_err().kind, FailureKind::Broken, "after {end} bytes");
    }
}

#[test]
fn hostile_archives_are_refused() {
    let log = two_subjects();
    let pack = |build: &dyn Fn(&mut tar::Builder<Vec<u8>>)| {
        let mut tar = tar::Builder::new(Vec::new());
        build(&mut tar);
        forge::compressed(&tar.into_inner().unwrap())
    };
    let file = |tar: &mut tar::Builder<Vec<u8>>, name: &str, kind, bytes: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append(&header, bytes).unwrap();
    };
    let regular = tar::EntryType::Regular;
    for name in ["../checkpoint", "/checkpoint", "./checkpoint", "entries/../checkpoint", "other"] {
        assert_eq!(check(&pack(&|tar| file(tar, name, regular, b"x")), &log).unwrap_err().place, "archive");
    }
    let link = pack(&|tar| file(tar, "checkpoint", tar::EntryType::Symlink, b""));
    assert_eq!(check(&link, &log).unwrap_err().place, "archive");
    let checkpoint = log.checkpoint(log.size());
    let twice = pack(&|tar| {
        file(tar, "checkpoint", regular, checkpoint.as_bytes());
        file(tar, "checkpoint", regular, checkpoint.as_bytes());
    });
    assert_eq!(check(&twice, &log).unwrap_err().place, "checkpoint");
    let bomb = pack(&|tar| file(tar, "checkpoint", regular, &vec![0; 17 << 20]));
    assert_eq!(check(&bomb, &log).unwrap_err().place, "checkpoint");
}

#[test]
fn many_entries_fill_several_files() {
    let mut log = Log::new();
    let long = "y".repeat(1 << 20);
    for number in 0..12 {
        let attribute = sayso_proof::event::Attribute { value_json: long.clone(), ..attribute("k", "food") };
        log.append(subject(number % 3 + 1), recorded(attribute));
    }
    let bytes = log.bundle();
    let mut reported = Vec::new();
    let source = Source::Archive(Box::new(bytes.as_slice()));
    let report =
        bundle::verify(source, &log.verifier(), &Options::default(), &mut |progress| reported.push(progress));
    assert_eq!(report.unwrap().subjects, 3);
    assert!(reported.len() > 2, "{reported:?}");
    assert_eq!(reported[reported.len() - 2..], [Progress::Entries(13, 13), Progress::Subjects(1, 1)]);
}

/// Standard tools unpack a bundle, because they skip its trailer.
#[test]
fn standard_tar_unpacks_a_bundle() {
    use std::process::{Command, Stdio};
    let is_installed =
        |program: &str| Command::new(program).arg("--version").stdout(Stdio::null()).status().is_ok();
    if !is_installed("tar") || !is_installed("zstd") {
        eprintln!("skipped: this machine has no tar or no zstd");
        return;
    }
    let log = two_subjects();
    let archive = Unpacked::new(&log, "tar");
    let file = archive.0.with_extension("tar.zst");
    fs::write(&file, log.bundle()).unwrap();
    fs::remove_dir_all(&archive.0).unwrap();
    fs::create_dir(&archive.0).unwrap();
    let status = Command::new("tar").arg("--zstd").arg("-xf").arg(&file).arg("-C").arg(&archive.0).status();
    fs::remove_file(file).unwrap();
    assert!(status.unwrap().success());
    check_folder(&archive.0, &log).unwrap();
}

/// Appends a random step to a log: an attribute, consent or grant, documents, or an erasure.
fn random_step(log: &mut Log, step: (u8, u8)) {
    let handle = subject(step.1 % 3 + 1);
    match step.0 % 6 {
        0 | 1 => drop(log.append(handle, recorded(attribute("tea", "food"))).to_vec()),
        2 => drop(log.append(handle, given(terms(&["personalization"], &[], &[]))).to_vec()),
        3 => drop(log.append(handle, grant([1; 16], [2; 16], "tea", "food")).to_vec()),
        4 => log.publish_documents(),
        _ => {
            let at = u64::from(step.1) % log.size();
            let header = entry::parse_header(&log.entries[at as usize]).unwrap();
            if header.handle != entry::Handle::SYSTEM && !log.erased.contains(&at) {
                log.erase(&[at], true);
            }
        }
    }
}

/// Tampers with the lines of a bundle.
fn tamper(lines: &mut Vec<String>, how: (u8, usize, usize)) {
    let (at, other) = (how.1 % lines.len(), how.2 % lines.len());
    match how.0 % 5 {
        0 => drop(lines.remove(at)),
        1 if lines[at] != lines[other] => lines.swap(at, other),
        2 => lines[at] = lines[other].clone() + " ",
        3 => lines.insert(at, lines[other].clone()),
        _ => {
            let line = &mut lines[at];
            let cut = how.2 % line.len();
            let byte = if line.as_bytes()[cut] == b'A' { "B" } else { "A" };
            line.replace_range(cut..=cut, byte);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_log_verifies_and_any_change_to_it_is_detected(
        steps in proptest::collection::vec(any::<(u8, u8)>(), 1..40),
        how in any::<(u8, usize, usize)>(),
    ) {
        let mut log = Log::with_vocabulary();
        steps.into_iter().for_each(|step| random_step(&mut log, step));
        let report = check(&log.bundle(), &log).unwrap();
        prop_assert_eq!(report.entries + report.erased, log.size());
        prop_assert_eq!(report.opened + report.plain + report.withheld, report.entries);
        let unpacked = Unpacked::new(&log, "any");
        let mut changed = false;
        unpacked.change_lines(|lines| {
            let before = lines.clone();
            tamper(lines, how);
            changed = *lines != before;
        });
        let verdict = check_folder(&unpacked.0, &log);
        prop_assert_eq!(verdict.is_err(), changed);
        prop_assert!(verdict.err().is_none_or(|failure| failure.position.is_some()));
    }
}
