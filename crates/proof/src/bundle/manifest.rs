//! `manifest.json`, which lists the files of a bundle that come before it, and `manifest.note`, which
//! signs `manifest.json`.

use super::member::Member;
use crate::event::{EventBody, event_body::Event};
use crate::json;
use crate::merkle::Hash;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The first line of the text that `manifest.note` signs, and the value of the manifest's `format`.
pub(super) const FORMAT: &str = "sayso bundle manifest v1";

/// The expected content of every file before the manifest.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub format: String,
    pub origin: String,
    pub tree_size: u64,
    pub files: Vec<ManifestFile>,
}

/// Name, length and digest of one file.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ManifestFile {
    pub name: String,
    pub length: u64,
    pub sha256: String,
}

impl ManifestFile {
    pub fn new(member: Member, length: u64, digest: &Hash) -> Self {
        Self { name: member.to_string(), length, sha256: hex::encode(digest) }
    }
}

impl Manifest {
    pub fn new(origin: &str, tree_size: u64, files: Vec<ManifestFile>) -> Self {
        Self { format: FORMAT.to_owned(), origin: origin.to_owned(), tree_size, files }
    }

    /// Encodes the manifest as JSON, indented by two spaces, with a newline at the end.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

/// The text that `manifest.note` signs.
pub(super) fn note_text(origin: &str, manifest: &[u8]) -> String {
    format!("{FORMAT}\n{origin}\n{}\n", hex::encode(Sha256::digest(manifest)))
}

/// The document that repeats a system event for people: its body as indented JSON.
pub(super) fn document(body: &EventBody) -> Result<Vec<u8>, serde_json::Error> {
    let mut bytes = Vec::new();
    json::serialize_body(body, &mut serde_json::Serializer::pretty(&mut bytes))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// The document that repeats this event, if there is one.
pub(super) fn document_member(position: u64, body: &EventBody) -> Option<Member> {
    match body.event {
        Some(Event::BoundsPublished(_)) => Some(Member::Bounds(position)),
        Some(Event::NoticePublished(_)) => Some(Member::Notices(position)),
        _ => None,
    }
}
