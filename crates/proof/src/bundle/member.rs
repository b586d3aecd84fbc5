//! The files of a bundle: their names, their order, their bounds.

use std::fmt::{self, Display};
use std::str::FromStr;

/// A file of entries is closed before the line that would make it larger than this, so that a writer needs no more
/// memory than one file.
pub const ENTRIES_ROLL_BYTES: usize = 8 << 20;

/// No file but `leaf-hashes.bin` is larger, and no line in it.
pub const MEMBER_BYTES_MAX: u64 = 16 << 20;

/// A file of a bundle. They stand in this order, none twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Member {
    /// `checkpoint`: the signed tree head that everything is checked against.
    Checkpoint,
    /// `keys.jsonl`: the log's keys, one a line.
    Keys,
    /// `leaf-hashes.bin`: 32 bytes an entry.
    LeafHashes,
    /// `entries/000000.jsonl` and so on, one `EntryLine` a line.
    Entries(u32),
    /// `bounds/<position>.json`: a version of bounds, by the position of its event.
    Bounds(u64),
    /// `notices/<position>.json`: a notice, by the position of its event.
    Notices(u64),
    /// `report.html`: for people.
    Report,
    /// `manifest.json`: digest and length of every file before it.
    Manifest,
    /// `manifest.note`: the manifest's digest, signed.
    ManifestNote,
}

impl Member {
    /// The most bytes that it may have; `tree_size` is the number of entries.
    #[must_use]
    pub fn bytes_max(self, tree_size: u64) -> u64 {
        match self {
            Self::LeafHashes => tree_size.saturating_mul(32),
            _ => MEMBER_BYTES_MAX,
        }
    }
}

impl Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checkpoint => f.write_str("checkpoint"),
            Self::Keys => f.write_str("keys.jsonl"),
            Self::LeafHashes => f.write_str("leaf-hashes.bin"),
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

    /// Accepts exactly the names that [`Display`] writes: no other path gets past here.
    fn from_str(name: &str) -> Result<Self, ()> {
        let numbered = |folder: &str, end: &str| name.strip_prefix(folder)?.strip_suffix(end);
        let member = match name {
            "checkpoint" => Self::Checkpoint,
            "keys.jsonl" => Self::Keys,
            "leaf-hashes.bin" => Self::LeafHashes,
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
                } else {
                    return Err(());
                }
            }
        };
        // `+1`, `01` and the like parse as numbers too.
        if member.to_string() == name { Ok(member) } else { Err(()) }
    }
}
