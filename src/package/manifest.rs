//! `manifest.json`, which lists every other member of a package, and `manifest.note`, which signs it.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::HashSet;

/// The name of the member that lists the others.
pub(super) const MANIFEST: &str = "manifest.json";
/// The name of the member that signs the manifest.
pub(super) const NOTE: &str = "manifest.note";
/// The value of `format`.
const FORMAT: &str = "sayso package manifest v1";

/// The expected content of every other member.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    format: String,
    /// Name of the log.
    pub origin: String,
    /// The members before the manifest, in order.
    pub files: Vec<ManifestFile>,
}

/// Name, length and digest of one member.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ManifestFile {
    pub name: String,
    /// Bytes of the unpacked member.
    pub length: u64,
    /// SHA-256 of the unpacked member, in hex.
    pub sha256: String,
}

impl Manifest {
    pub fn new(origin: &str, files: Vec<ManifestFile>) -> Self {
        Self { format: FORMAT.to_owned(), origin: origin.to_owned(), files }
    }

    /// Encodes the manifest as JSON, indented by two spaces, with a newline at the end.
    ///
    /// # Errors
    /// It has no JSON form, which cannot happen.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Decodes a manifest of the log with this name; `None` if it is malformed, lists a name twice, is
    /// not in the form that [`Self::to_bytes`] writes, or is of another log.
    pub fn parse(bytes: &[u8], origin: &str) -> Option<Self> {
        let manifest: Self = serde_json::from_slice(bytes).ok()?;
        let mut names = HashSet::new();
        let is_once = manifest.files.iter().all(|file| names.insert(file.name.as_str()));
        let is_canonical = manifest.to_bytes().is_ok_and(|canonical| canonical == bytes);
        (is_canonical && is_once && manifest.format == FORMAT && manifest.origin == origin)
            .then_some(manifest)
    }
}

/// Computes the length and the digest of a member while its bytes pass by.
pub(super) struct MemberDigest {
    name: String,
    length: u64,
    digest: Sha256,
}

impl MemberDigest {
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), length: 0, digest: Sha256::new() }
    }

    pub fn take(&mut self, bytes: &[u8]) {
        self.length = self.length.saturating_add(bytes.len() as u64);
        self.digest.update(bytes);
    }

    pub fn length(&self) -> u64 {
        self.length
    }

    pub fn finish(self) -> ManifestFile {
        ManifestFile { name: self.name, length: self.length, sha256: hex::encode(self.digest.finalize()) }
    }
}
