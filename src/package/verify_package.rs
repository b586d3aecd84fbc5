//! Verifies a package offline: the signature of its manifest, the digest of every member, every consent
//! receipt in it and, if it has a subject proof, that no entry of the person is missing.

use super::error::{PackageError, ReadError};
use super::format::Kind;
use super::manifest::{MANIFEST, Manifest, ManifestFile, MemberDigest, NOTE};
use super::package_proofs::PackageProofs;
use super::stated::{PACKAGE, Stated, StatedSubject, Tee};
use super::unzip::{for_each_member, with_member};
use super::verify_completeness::{
    COMPLETENESS, Completeness, ENTRIES, PROOF_BYTES_MAX, RUN_PROOFS, verify_entries, verify_proof,
    verify_run_proofs,
};
use super::verify_receipt::verify_receipt;
use sayso_proof::checkpoint::Checkpoint;
use sayso_proof::keys::KeyChain;
use sayso_proof::signed_document::{self, DocumentKind};
use sayso_proof::subject_map::{CheckedStream, VerifiedSubject};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::io::{Read, Seek};

/// The most bytes of `manifest.json`: enough for 300,000 decisions.
const MANIFEST_BYTES_MAX: u64 = 64 << 20;
/// The most bytes of `manifest.note`.
const NOTE_BYTES_MAX: u64 = 64 << 10;
/// The most bytes of a receipt. A decision with the most purposes, categories, recipients and
/// conversations has a receipt of less than 2 MiB.
const RECEIPT_BYTES_MAX: u64 = 8 << 20;
/// The most bytes of the names of what was not compared. Further names are left out.
const NAMES_BYTES_MAX: usize = 64 << 10;
/// The folder of the receipts.
const RECEIPTS: &str = "receipts/";
/// Bytes that are read at a time.
const PIECE_BYTES: usize = 64 << 10;

/// A verified package.
#[derive(Clone, Debug, Default)]
pub struct VerifiedPackage {
    /// Name of the log.
    pub origin: String,
    /// Whether the log's key signed the package as a whole.
    pub is_signed: bool,
    /// Number of members, without the manifest and its note.
    pub files: u64,
    /// Number of consent receipts, all of which are valid.
    pub receipts: u64,
    /// Whether the package says that it has only what the person provided (GDPR Art. 20). Such a package does
    /// not show that it is complete.
    pub is_portability: bool,
    /// When it was made, as it says.
    pub made_at: Option<String>,
    /// The checkpoint that the package names, and its note. The tree of the checkpoint contains everything
    /// that the package was made from. `None` if the package is not signed.
    pub checkpoint: Option<(Checkpoint, String)>,
    /// What was not compared with the log: members other than receipts, parts of `package.json`, and fields
    /// of receipts. In a signed package these are statements of the controller; in any other package they
    /// prove nothing.
    pub not_compared: Vec<String>,
    /// Number of checkpoints in the proofs that have another size than [`Self::checkpoint`]. Nothing shows
    /// that their trees and that of the package are states of the same log.
    pub other_checkpoints: u64,
    /// Shows that the package has everything that the log committed to; `None` if the package does not show
    /// that.
    pub completeness: Option<Completeness>,
}

/// Verifies a package. `keys` is every key that the log had, or one of them. Takes memory for the manifest,
/// for one receipt, for 64 KiB of names, and about 100 bytes for each receipt.
///
/// # Errors
/// The first check that fails.
pub fn verify_package(
    file: &mut (impl Read + Seek),
    keys: &KeyChain,
) -> Result<VerifiedPackage, PackageError> {
    let signed = signed_manifest(file, keys)?;
    let (files, tree_size) = match &signed {
        Some((manifest, tree_size)) => (Some(manifest.files.as_slice()), *tree_size),
        None => (None, 0),
    };
    let (left, verified, history) = (Left::default(), VerifiedPackage::default(), Vec::new());
    let (subject, entries, has_run_proofs) = (None, None, false);
    let mut verifier = Verifier {
        keys,
        files,
        tree_size,
        next: 0,
        left,
        verified,
        stated_subject: None,
        subject,
        entries,
        has_run_proofs,
        history,
        proofs: PackageProofs::default(),
    };
    for_each_member(file, |name, member| verifier.member(name, member))?;
    if files.is_some_and(|files| verifier.next != files.len().saturating_add(2)) {
        return Err(PackageError::Manifest("it lists files that the package does not contain"));
    }
    let Verifier { left, verified, subject, entries, has_run_proofs, proofs, stated_subject, .. } = verifier;
    if files.is_some() && verified.checkpoint.is_none() {
        return Err(PackageError::Manifest("it does not list `package.json`"));
    }
    if files.is_some() {
        proofs.check(stated_subject.as_ref(), subject.as_ref().map(|subject| subject.committed.tree_size))?;
    }
    let completeness = match (subject, entries) {
        (Some(_), Some(entries)) if entries.run_ends.is_empty() == has_run_proofs => {
            let problem = "it must be in the package exactly if an erasure left a gap between entries";
            return Err(PackageError::Completeness(RUN_PROOFS, problem.to_owned()));
        }
        (Some(subject), Some(entries)) => Some(Completeness { subject, entries }),
        (None, None) => None,
        _ => {
            let problem = "the package has only one of `completeness.json` and `entries.jsonl`";
            return Err(PackageError::Completeness(COMPLETENESS, problem.to_owned()));
        }
    };
    let (origin, is_signed) = (keys.origin().to_owned(), files.is_some());
    let size = verified.checkpoint.as_ref().map(|(checkpoint, _)| checkpoint.size);
    let other_checkpoints = size.map_or(0, |size| proofs.other_sizes(size));
    let not_compared = left.names();
    Ok(VerifiedPackage { origin, is_signed, not_compared, completeness, other_checkpoints, ..verified })
}

/// The manifest and the size of the log's tree that its signature states; `None` if the package has neither.
fn signed_manifest(
    file: &mut (impl Read + Seek),
    keys: &KeyChain,
) -> Result<Option<(Manifest, u64)>, PackageError> {
    let manifest = read_member(file, MANIFEST, MANIFEST_BYTES_MAX)?;
    let (manifest, note) = match (manifest, read_member(file, NOTE, NOTE_BYTES_MAX)?) {
        (Some(manifest), Some(note)) => (manifest, note),
        (None, None) => return Ok(None),
        _ => {
            return Err(PackageError::Manifest(
                "the package has only one of `manifest.json` and `manifest.note`",
            ));
        }
    };
    let note = String::from_utf8(note).map_err(|_| PackageError::Manifest("its signature is not text"))?;
    let digest = Sha256::digest(&manifest).into();
    let tree_size = signed_document::verify(&note, DocumentKind::Package, &digest, keys)?;
    let manifest = Manifest::parse(&manifest, keys.origin());
    let manifest = manifest.ok_or(PackageError::Manifest("it is malformed, or of another log"))?;
    Ok(Some((manifest, tree_size)))
}

/// The bytes of a member, at most `bytes_max`; `None` if there is no such member.
fn read_member(
    file: &mut (impl Read + Seek),
    name: &str,
    bytes_max: u64,
) -> Result<Option<Vec<u8>>, PackageError> {
    let read = with_member(file, name, |member, _| read_all(name, member, bytes_max))?;
    read.transpose()
}

fn read_all(name: &str, member: &mut dyn Read, bytes_max: u64) -> Result<Vec<u8>, PackageError> {
    let mut bytes = Vec::new();
    let read = member.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes).map_err(ReadError::Io)?;
    match read as u64 > bytes_max {
        true => Err(PackageError::Member(name.to_owned(), "it is too large")),
        false => Ok(bytes),
    }
}

/// Names of what was not compared, each once, as many as fit in [`NAMES_BYTES_MAX`].
#[derive(Default)]
struct Left {
    names: BTreeSet<String>,
    bytes: usize,
    is_more: bool,
}

impl Left {
    fn insert(&mut self, name: String) {
        if self.names.contains(&name) {
            return;
        }
        let bytes = self.bytes.saturating_add(name.len());
        self.is_more |= bytes > NAMES_BYTES_MAX;
        if !self.is_more {
            self.bytes = bytes;
            self.names.insert(name);
        }
    }

    fn names(self) -> Vec<String> {
        let more = self.is_more.then(|| "more than fits in this list".to_owned());
        self.names.into_iter().chain(more).collect()
    }
}

fn must_follow(member: &'static str, earlier: &str) -> PackageError {
    PackageError::Completeness(member, format!("`{earlier}` must come before it"))
}

struct Verifier<'a> {
    keys: &'a KeyChain,
    /// What the manifest lists; none if the package is not signed.
    files: Option<&'a [ManifestFile]>,
    /// Size of the log's tree when the package was signed.
    tree_size: u64,
    /// Number of the next member.
    next: usize,
    /// What was not compared with the log.
    left: Left,
    verified: VerifiedPackage,
    /// The person in `package.json`.
    stated_subject: Option<StatedSubject>,
    /// What the subject proof shows.
    subject: Option<VerifiedSubject>,
    /// What the entries show.
    entries: Option<CheckedStream>,
    /// Whether the package proves the entries before gaps.
    has_run_proofs: bool,
    /// The position of each event in `package.json`.
    history: Vec<u64>,
    proofs: PackageProofs,
}

impl Verifier<'_> {
    fn member(&mut self, name: &str, member: &mut dyn Read) -> Result<(), PackageError> {
        let number = self.next;
        self.next = number.saturating_add(1);
        let wrong = |problem| Err(PackageError::Member(name.to_owned(), problem));
        let Some(files) = self.files else { return self.unsigned_member(name, member) };
        match files.get(number) {
            Some(expected) if expected.name == name => self.signed_member(expected, member),
            Some(_) => wrong("the manifest lists another file in its place"),
            // The manifest and its note were verified before.
            None if number == files.len() && name == MANIFEST => Ok(()),
            None if number == files.len().saturating_add(1) && name == NOTE => Ok(()),
            None => wrong("the manifest does not list it"),
        }
    }

    fn signed_member(&mut self, expected: &ManifestFile, member: &mut dyn Read) -> Result<(), PackageError> {
        let name = expected.name.as_str();
        let mut digest = MemberDigest::new(name);
        if name.starts_with(RECEIPTS) {
            let bytes = read_all(name, member, RECEIPT_BYTES_MAX)?;
            digest.take(&bytes);
            self.receipt(name, &bytes)?;
        } else if name == PACKAGE {
            let limited = member.take(expected.length.saturating_add(1));
            let stated = Stated::read(Tee { from: limited, see: |bytes: &[u8]| digest.take(bytes) })?;
            let (checkpoint, note) = stated.verify(self.keys, self.tree_size)?;
            self.proofs.add_checkpoint(PACKAGE, &checkpoint)?;
            self.verified.checkpoint = Some((checkpoint, note));
            self.verified.is_portability = stated.kind == Kind::Portability.name();
            (self.history, self.stated_subject) = (stated.history, stated.subject);
            self.verified.made_at = stated.made_at;
            for part in stated.parts {
                self.left.insert(format!("{PACKAGE}: {part}"));
            }
        } else if name == COMPLETENESS {
            let bytes = read_all(name, member, PROOF_BYTES_MAX)?;
            digest.take(&bytes);
            let subject = verify_proof(&bytes, self.stated_subject.as_ref(), self.keys)?;
            self.proofs.add_checkpoint(COMPLETENESS, &subject.checkpoint)?;
            self.subject = Some(subject);
        } else if name == ENTRIES {
            let found = self.entries(member)?;
            return self.compare(expected, found);
        } else if name == RUN_PROOFS {
            let found = self.run_proofs(member)?;
            return self.compare(expected, found);
        } else {
            let mut piece = vec![0; PIECE_BYTES];
            // A member that is longer than the manifest says is not unpacked to its end.
            while digest.length() <= expected.length {
                let read = member.read(&mut piece).map_err(ReadError::Io)?;
                if read == 0 {
                    break;
                }
                digest.take(piece.get(..read).unwrap_or_default());
            }
            self.left.insert(name.to_owned());
        }
        self.compare(expected, digest.finish())
    }

    fn entries(&mut self, member: &mut dyn Read) -> Result<ManifestFile, PackageError> {
        let Some(subject) = &self.subject else { return Err(must_follow(ENTRIES, COMPLETENESS)) };
        let (mut history, proofs) = (self.history.iter(), &mut self.proofs);
        let (entries, found) = verify_entries(member, subject, self.keys, |position, leaf| {
            proofs.add_entry(ENTRIES, position, leaf)?;
            match history.next() == Some(&position) {
                true => Ok(()),
                false => {
                    let problem = format!("its history does not have position {position}");
                    Err(PackageError::Completeness(PACKAGE, problem))
                }
            }
        })?;
        self.entries = Some(entries);
        for stated in ["position", "recorded_at_ms"] {
            self.left.insert(format!("{ENTRIES}: {stated}"));
        }
        Ok(found)
    }

    fn run_proofs(&mut self, member: &mut dyn Read) -> Result<ManifestFile, PackageError> {
        let (Some(subject), Some(entries)) = (&self.subject, &self.entries) else {
            return Err(must_follow(RUN_PROOFS, ENTRIES));
        };
        self.has_run_proofs = true;
        verify_run_proofs(member, subject, entries.run_ends.iter())
    }

    fn compare(&mut self, expected: &ManifestFile, found: ManifestFile) -> Result<(), PackageError> {
        self.verified.files = self.verified.files.saturating_add(1);
        match found == *expected {
            true => Ok(()),
            false => {
                let problem = "it was changed after the package was signed";
                Err(PackageError::Member(expected.name.clone(), problem))
            }
        }
    }

    /// Only the receipts of a package without a manifest can be verified.
    fn unsigned_member(&mut self, name: &str, member: &mut dyn Read) -> Result<(), PackageError> {
        self.verified.files = self.verified.files.saturating_add(1);
        if name.starts_with(RECEIPTS) {
            let bytes = read_all(name, member, RECEIPT_BYTES_MAX)?;
            return self.receipt(name, &bytes);
        }
        self.left.insert(name.to_owned());
        Ok(())
    }

    fn receipt(&mut self, name: &str, bytes: &[u8]) -> Result<(), PackageError> {
        let text = std::str::from_utf8(bytes);
        let text = text.map_err(|_| PackageError::Member(name.to_owned(), "it is not text"))?;
        let receipt = verify_receipt(text, self.keys)
            .map_err(|error| PackageError::Receipt(name.to_owned(), Box::new(error)))?;
        if self.entries.is_some() {
            return Err(PackageError::Member(name.to_owned(), "receipts must come before `entries.jsonl`"));
        }
        if self.files.is_some() && name != format!("{RECEIPTS}{}.jsonld", receipt.event_id) {
            return Err(PackageError::Member(name.to_owned(), "it has the name of another decision"));
        }
        self.proofs.add_receipt(name, &receipt)?;
        for field in receipt.not_compared {
            self.left.insert(format!("{RECEIPTS}: {field}"));
        }
        self.verified.receipts = self.verified.receipts.saturating_add(1);
        Ok(())
    }
}
