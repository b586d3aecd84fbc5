//! Checks each file of a bundle against the signed manifest, and each document against its log entry.
//!
//! A document is a file that shows people a version of bounds or a notice. It repeats the system event that
//! published the version or the notice.

use super::manifest::{self, Manifest, ManifestFile};
use super::member::Member;
use super::report::VerifyFailure;
use crate::checkpoint::{VerifierKey, open_note};
use crate::event::EventBody;
use crate::merkle::Hash;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashSet};

/// The files read so far. The memory for this grows with the number of files and with the number of documents
/// (versions of bounds and of notices).
#[derive(Default)]
pub(super) struct Files {
    /// Lengths and digests, as computed by this verifier.
    read: Vec<ManifestFile>,
    manifest: Vec<u8>,
    /// The expected digest of each document that is still to come.
    documents: BTreeMap<Member, Hash>,
}

impl Files {
    /// Records a file and its content.
    pub fn add(&mut self, member: Member, bytes: &[u8]) {
        if member == Member::Manifest {
            self.manifest = bytes.to_vec();
        } else {
            self.add_digest(member, bytes.len() as u64, &Sha256::digest(bytes).into());
        }
    }

    /// Records a file by its length and digest.
    pub fn add_digest(&mut self, member: Member, length: u64, digest: &Hash) {
        self.read.push(ManifestFile::new(member, length, digest));
    }

    /// If a document repeats the system event at `position`, expects this document later.
    pub fn expect_document(&mut self, position: u64, body: &EventBody) -> Result<(), String> {
        if let Some(member) = manifest::document_member(position, body) {
            let document = manifest::document(body).map_err(|error| error.to_string())?;
            self.documents.insert(member, Sha256::digest(document).into());
        }
        Ok(())
    }

    /// Checks that a document repeats the entry at `position`.
    pub fn check_document(
        &mut self,
        member: Member,
        position: u64,
        bytes: &[u8],
    ) -> Result<(), VerifyFailure> {
        let digest: Hash = Sha256::digest(bytes).into();
        match self.documents.remove(&member) {
            Some(expected) if expected == digest => Ok(()),
            Some(_) => Err(VerifyFailure::entry(
                position,
                member,
                "the file does not match the entry at this position",
            )),
            None => Err(VerifyFailure::entry(position, member, "the log has no such event at this position")),
        }
    }

    /// The first expected document that was not read.
    pub fn missing_document(&self) -> Option<Member> {
        self.documents.first_key_value().map(|(member, _)| *member)
    }

    /// Checks that `manifest.note` signs the manifest, and that the manifest matches every file.
    pub fn check_manifest(
        &self,
        note: &[u8],
        key: &VerifierKey,
        tree_size: u64,
    ) -> Result<(), VerifyFailure> {
        let failure = |reason: String| VerifyFailure::at(Member::ManifestNote, reason);
        let note = std::str::from_utf8(note).map_err(|error| failure(error.to_string()))?;
        let text = open_note(note, key).map_err(|error| failure(error.to_string()))?;
        // Nothing verifies a second signature, so reject it.
        if note.lines().count() != text.lines().count() + 2 {
            return Err(failure("more than one signature".to_owned()));
        }
        if text != manifest::note_text(&key.name, &self.manifest) {
            return Err(failure("the signature is not for this manifest".to_owned()));
        }
        self.compare_with_manifest(&key.name, tree_size)
    }

    fn compare_with_manifest(&self, origin: &str, tree_size: u64) -> Result<(), VerifyFailure> {
        let failure = |reason: String| VerifyFailure::at(Member::Manifest, reason);
        let manifest: Manifest =
            serde_json::from_slice(&self.manifest).map_err(|error| failure(error.to_string()))?;
        let first_not_in = |files: &[ManifestFile], others: &[ManifestFile]| {
            let others: HashSet<&ManifestFile> = others.iter().collect();
            files.iter().find(|file| !others.contains(file)).map(|file| file.name.clone())
        };
        if let Some(name) = first_not_in(&self.read, &manifest.files) {
            return Err(VerifyFailure::at(name, "the digest or length differs from the manifest"));
        }
        if let Some(name) = first_not_in(&manifest.files, &self.read) {
            return Err(VerifyFailure::at(name, "the file is in the manifest, but missing"));
        }
        let canonical = Manifest::new(origin, tree_size, self.read.clone()).to_bytes();
        if canonical.map_err(|error| failure(error.to_string()))? != self.manifest {
            return Err(failure("not a manifest of this log in canonical form".to_owned()));
        }
        Ok(())
    }
}
