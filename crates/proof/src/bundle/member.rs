//! The files of a bundle: names, order and size limits.

use crate::timestamp::TOKEN_BYTES_MAX;
use std::fmt::{self, Display};
use std::str::FromStr;

/// Bytes of a record in `subject-map.bin`: handle, label, blinding.
pub(super) const RECORD_BYTES: usize = 16 + 32 + 32;

/// A writer starts a new file of entries before a line would make the file larger than this. It therefore
/// needs no more memory than one file.
pub const ENTRIES_FILE_BYTES_MAX: usize = 8 << 20;

/// Maximum size of every file except `leaf-hashes.bin` and `subject-map.bin`, and of every line.
pub const MEMBER_BYTES_MAX: u64 = 16 << 20;

/// A file of a bundle. Bundles contain the files in this order, each at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Member {
    /// `checkpoint`: the signed checkpoint that everything is verified against.
    Checkpoint,
    /// `keys.jsonl`: the log's keys, one per line.
    Keys,
    /// `timestamps/<tree size>.tst`: a timestamp of the tree of that size, by an authority (RFC 3161).
    Timestamps(u64),
    /// `leaf-hashes.bin`: 32 bytes per entry.
    LeafHashes,
    /// `subject-map.bin`: how each stream is in the subject map, 80 bytes per data subject.
    SubjectMap,
    /// `entries/000000.jsonl` and so on: one `EntryLine` per line.
    Entries(u32),
    /// `bounds/<position>.json`: a version of bounds, named by the position of its event.
    Bounds(u64),
    /// `notices/<position>.json`: a notice, named by the position of its event.
    Notices(u64),
    /// `report.html`: a page for people, which only early daemons wrote. Nothing in it is verified.
    Report,
    /// `manifest.json`: digest and length of every file before it.
    Manifest,
    /// `manifest.note`: the signed digest of the manifest.
    ManifestNote,
}

impl Member {
    /// The file that must come right after `previous`, if this file comes later. If the result is not this
    /// file, the resulting file is missing in between.
    pub fn expected_after(self, previous: Option<Self>) -> Self {
        match (previous, self) {
            (None, _) => Self::Checkpoint,
            (Some(Self::Checkpoint), _) => Self::Keys,
            (Some(Self::Keys | Self::Timestamps(_)), Self::Timestamps(_)) => self,
            (Some(Self::Keys | Self::Timestamps(_)), _) => Self::LeafHashes,
            (Some(Self::LeafHashes | Self::SubjectMap), Self::Entries(_)) => Self::Entries(0),
            (Some(Self::Entries(number)), Self::Entries(_)) => Self::Entries(number.saturating_add(1)),
            (Some(Self::Manifest), _) => Self::ManifestNote,
            (Some(_), Self::ManifestNote) => Self::Manifest,
            _ => self,
        }
    }

    /// Maximum size in bytes. `tree_size` is the number of entries.
    #[must_use]
    pub fn bytes_max(self, tree_size: u64) -> u64 {
        match self {
            Self::LeafHashes => tree_size.saturating_mul(32),
            Self::Timestamps(_) => TOKEN_BYTES_MAX as u64,
            // Each data subject has at least one entry.
            Self::SubjectMap => tree_size.saturating_mul(RECORD_BYTES as u64),
            _ => MEMBER_BYTES_MAX,
        }
    }
}

impl Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checkpoint => f.write_str("checkpoint"),
            Self::Keys => f.write_str("keys.jsonl"),
            Self::Timestamps(size) => write!(f, "timestamps/{size}.tst"),
            Self::LeafHashes => f.write_str("leaf-hashes.bin"),
            Self::SubjectMap => f.write_str("subject-map.bin"),
            Self::Entries(number) => write!(f, "entries/{number:06}.jsonl"),
            Self::Bounds(position) => write!(f, "bounds/{position}.json"),
            Self::Notices(position) => write!(f, "notices/{position}.json"),
            Self::Report => f.write_str("report.html"),
            Self::Manifest => f.write_str("manifest.json"),
            Self::ManifestNote => f.write_str("manifest.note"),
        }
    }
}

impl FromStr for Member {
    type Err = ();

    /// Parses exactly the names that [`Display`] writes, so no other path is accepted.
    fn from_str(name: &str) -> Result<Self, ()> {
        let numbered = |folder: &str, end: &str| name.strip_prefix(folder)?.strip_suffix(end);
        let member = match name {
            "checkpoint" => Self::Checkpoint,
            "keys.jsonl" => Self::Keys,
            "leaf-hashes.bin" => Self::LeafHashes,
            "subject-map.bin" => Self::SubjectMap,
            "report.html" => Self::Report,
            "manifest.json" => Self::Manifest,
            "manifest.note" => Self::ManifestNote,
            _ => {
                if let Some(number) = numbered("entries/", ".jsonl") {
                    Self::Entries(number.parse().map_err(|_| ())?)
                } else if let Some(position) = numbered("bounds/", ".json") {
                    Self::Bounds(position.parse().map_err(|_| ())?)
                } else if let Some(position) = numbered("notices/", ".json") {
                    Self::Notices(position.parse().map_err(|_| ())?)
                } else if let Some(size) = numbered("timestamps/", ".tst") {
                    Self::Timestamps(size.parse().map_err(|_| ())?)
                } else {
                    return Err(());
                }
            }
        };
        // Numbers such as `+1` and `01` also parse, but are not canonical.
        if member.to_string() == name { Ok(member) } else { Err(()) }
    }
}
