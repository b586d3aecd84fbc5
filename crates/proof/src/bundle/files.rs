//! The files of a bundle as they were read: each against the manifest that was signed, and what repeats an entry against the
//! entry.

use super::manifest::{self, Manifest, ManifestFile};
use super::member::Member;
use super::report::VerifyFailure;
use crate::checkpoint::{VerifierKey, open_note};
use crate::event::EventBody;
use crate::merkle::Hash;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashSet};

/// What was read so far. Memory follows the number of files, of versions of bounds and of notices.
#[derive(Default)]
pub(super) struct Files {
    /// Digests as computed here.
    read: Vec<ManifestFile>,
    manifest: Vec<u8>,
    /// Digest of each file of bounds and notices that has to come.
    documents: BTreeMap<Member, Hash>,
}

impl Files {
    /// A file was read: which, its bytes.
    pub fn take(&mut self, member: Member, bytes: &[u8]) {
        if member == Member::Manifest {
            self.manifest = bytes.to_vec();
        } else {
            self.take_digest(member, bytes.len() as u64, &Sha256::digest(bytes).into());
        }
    }

    /// A file was read that was not kept.
    pub fn take_digest(&mut self, member: Member, length: u64, digest: &Hash) {
        self.read.push(ManifestFile::of(member, length, digest));
    }

    /// The plain entry at `position` may be one that a file repeats for people.
    pub fn expect(&mut self, position: u64, body: &EventBody) -> Result<(), String> {
        if let Some(member) = manifest::document_member(position, body) {
            let document = manifest::document(body).map_err(|error| error.to_string())?;
            self.documents.insert(member, Sha256::digest(document).into());
        }
        Ok(())
    }

    /// The file that repeats the entry at `position` is what that entry says.
    pub fn document(&mut self, member: Member, position: u64, bytes: &[u8]) -> Result<(), VerifyFailure> {
        let digest: Hash = Sha256::digest(bytes).into();
        match self.documents.remove(&member) {
            Some(due) if due == digest => Ok(()),
            Some(_) => {
                Err(VerifyFailure::entry(position, member, "not what the entry at this position says"))
            }
            None => Err(VerifyFailure::entry(position, member, "no such event at this position")),
        }
    }

    /// A file that has to be there and is not, if there is one.
    pub fn missing(&self) -> Option<Member> {
        self.documents.first_key_value().map(|(member, _)| *member)
    }

    /// `manifest.note` signs the manifest, and the manifest says of every file what it is.
    pub fn signed(&self, note: &[u8], key: &VerifierKey, tree_size: u64) -> Result<(), VerifyFailure> {
        let failed = |reason: String| VerifyFailure::at(Member::ManifestNote, reason);
        let note = std::str::from_utf8(note).map_err(|error| failed(error.to_string()))?;
        let text = open_note(note, key).map_err(|error| failed(error.to_string()))?;
        // A second signature would be bytes that nothing checks.
        if note.lines().count() != text.lines().count() + 2 {
            return Err(failed("more than one signature".to_owned()));
        }
        if text != manifest::note_text(&key.name, &self.manifest) {
            return Err(failed("the manifest is not the one that was signed".to_owned()));
        }
        self.compare(&key.name, tree_size)
    }

    fn compare(&self, origin: &str, tree_size: u64) -> Result<(), VerifyFailure> {
        let failed = |reason: String| VerifyFailure::at(Member::Manifest, reason);
        let said: Manifest =
            serde_json::from_slice(&self.manifest).map_err(|error| failed(error.to_string()))?;
        let first_without = |files: &[ManifestFile], others: &[ManifestFile]| {
            let others: HashSet<&ManifestFile> = others.iter().collect();
            files.iter().find(|file| !others.contains(file)).map(|file| file.name.clone())
        };
        if let Some(name) = first_without(&self.read, &said.files) {
            return Err(VerifyFailure::at(name, "its digest or length is not the manifest's"));
        }
        if let Some(name) = first_without(&said.files, &self.read) {
            return Err(VerifyFailure::at(name, "in the manifest, but missing"));
        }
        let again = Manifest::new(origin, tree_size, self.read.clone()).to_bytes();
        if again.map_err(|error| failed(error.to_string()))? != self.manifest {
            return Err(failed("not in the form of a manifest of this log".to_owned()));
        }
        Ok(())
    }
}
