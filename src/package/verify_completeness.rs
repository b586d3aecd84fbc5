//! Verifies that an access package has every entry of the person. The log commits to these entries in the
//! subject map (docs/completeness.md).

use super::error::{PackageError, ReadError};
use super::manifest::{ManifestFile, MemberDigest};
use super::stated::StatedSubject;
use sayso_proof::keys::KeyChain;
use sayso_proof::merkle::Hash;
use sayso_proof::subject_map::{CheckedStream, RunEnd, RunProof, StreamCheck, SubjectProof, VerifiedSubject};
use std::io::{BufRead, BufReader, Read};
use std::slice::Iter;

/// The name of the member with the subject proof.
pub const COMPLETENESS: &str = "completeness.json";
/// The name of the member with the entries.
pub const ENTRIES: &str = "entries.jsonl";
/// The name of the member that proves the last entry before each gap that an erasure left.
pub const RUN_PROOFS: &str = "entry-proofs.jsonl";
/// The most bytes of the subject proof.
pub(super) const PROOF_BYTES_MAX: u64 = 1 << 20;
/// The most bytes of a line, as in a bundle.
const LINE_BYTES_MAX: u64 = 16 << 20;

/// A package that is complete as of a commitment of the log.
#[derive(Clone, Debug)]
pub struct Completeness {
    /// What the subject proof shows.
    pub subject: VerifiedSubject,
    /// What the entries show.
    pub entries: CheckedStream,
}

/// Verifies the subject proof of a package, and that it is about the person in `package.json`.
pub(super) fn verify_proof(
    bytes: &[u8],
    stated: Option<&StatedSubject>,
    keys: &KeyChain,
) -> Result<VerifiedSubject, PackageError> {
    let wrong = |problem: String| PackageError::Completeness(COMPLETENESS, problem);
    let text = std::str::from_utf8(bytes).map_err(|_| wrong("it is not text".to_owned()))?;
    let verified = SubjectProof::parse(text).and_then(|proof| proof.verify(keys));
    let verified = verified.map_err(|error| wrong(error.to_string()))?;
    let Some(stream) = &verified.stream else {
        return Err(wrong("the log has nothing about this person".to_owned()));
    };
    let handle = stream.handle.to_string();
    let is_same = |stated: &&StatedSubject| stated.id == verified.subject && stated.pseudonym == handle;
    match stated.filter(is_same) {
        Some(_) => Ok(verified),
        None => Err(wrong("it is about another person than `package.json`".to_owned())),
    }
}

/// Verifies the entries of a package against its subject proof. Also returns the digest of the member, and
/// passes the position and the leaf hash of each entry to `each`.
pub(super) fn verify_entries(
    member: &mut dyn Read,
    subject: &VerifiedSubject,
    keys: &KeyChain,
    mut each: impl FnMut(u64, Hash) -> Result<(), PackageError>,
) -> Result<(CheckedStream, ManifestFile), PackageError> {
    let wrong = |problem: String| PackageError::Completeness(ENTRIES, problem);
    let stream = subject.stream.ok_or_else(|| wrong("the proof has no stream".to_owned()))?;
    let mut check = StreamCheck::new(keys, stream);
    let found = for_each_line(ENTRIES, member, |line| {
        let (position, leaf) = check.next_line(line).map_err(|error| wrong(error.to_string()))?;
        if position >= subject.committed.tree_size {
            return Err(wrong(format!(
                "position {position} is not among the entries that the log committed to"
            )));
        }
        each(position, leaf)
    })?;
    Ok((check.finish().map_err(|error| wrong(error.to_string()))?, found))
}

/// Verifies that the entries before gaps are in the log. Also returns the digest of the member.
pub(super) fn verify_run_proofs(
    member: &mut dyn Read,
    subject: &VerifiedSubject,
    mut ends: Iter<'_, RunEnd>,
) -> Result<ManifestFile, PackageError> {
    let wrong = |problem: String| PackageError::Completeness(RUN_PROOFS, problem);
    let found = for_each_line(RUN_PROOFS, member, |line| {
        let end = ends.next().ok_or_else(|| wrong("it proves more entries than it must".to_owned()))?;
        match RunProof::proves(line, end, &subject.checkpoint) {
            true => Ok(()),
            false => {
                Err(wrong(format!("the entry at position {} is not proven to be in the log", end.position)))
            }
        }
    })?;
    match ends.next() {
        None => Ok(found),
        Some(end) => Err(wrong(format!("it does not prove the entry at position {}", end.position))),
    }
}

/// Passes each line without its newline to `each`, and returns the digest of the member.
fn for_each_line(
    name: &'static str,
    member: &mut dyn Read,
    mut each: impl FnMut(&[u8]) -> Result<(), PackageError>,
) -> Result<ManifestFile, PackageError> {
    let (mut reader, mut line, mut digest) = (BufReader::new(member), Vec::new(), MemberDigest::new(name));
    loop {
        line.clear();
        let read = (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).map_err(ReadError::Io)?;
        if read == 0 {
            return Ok(digest.finish());
        }
        digest.take(&line);
        let Some(line) = line.strip_suffix(b"\n") else {
            let problem = "a line is too long, or does not end with a newline";
            return Err(PackageError::Completeness(name, problem.to_owned()));
        };
        each(line)?;
    }
}
