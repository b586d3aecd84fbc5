//! Writes a bundle as a stream, without a temporary file. Memory holds at most one file of entries, plus all
//! bounds and notices.

use super::entry_line::{EntryLine, LineError};
use super::manifest::{self, Manifest, ManifestFile};
use super::member::{ENTRIES_FILE_BYTES_MAX, MEMBER_BYTES_MAX, Member, RECORD_BYTES};
use super::subject_map::MapRecord;
use super::tar_form::header;
use super::trailer::{self, DigestWriter};
use crate::checkpoint::{Checkpoint, NoteError, sign_note};
use crate::keys::KeyChain;
use crate::merkle::{Hash, Nodes};
use ed25519_dalek::{SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};
use std::io::{self, Read, Write};

/// Compression level. Higher levels double the time and save only a few percent, because entries are
/// ciphertext.
const ZSTD_LEVEL: i32 = 3;
/// Number of leaf hashes read at a time.
const PAGE_HASHES: u64 = 8192;

/// Why a bundle cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Writing the output failed.
    #[error("cannot write the bundle: {0}")]
    Io(#[from] io::Error),
    /// The checkpoint is invalid, or the signing key is not the checkpoint's.
    #[error("invalid checkpoint: {0}")]
    Checkpoint(#[from] NoteError),
    /// An entry has no line.
    #[error("invalid entry: {0}")]
    Line(#[from] LineError),
    /// Parts were written out of order or omitted.
    #[error("out of order: {0}")]
    Order(&'static str),
    /// A file would exceed the size limit of a bundle.
    #[error("`{0}` would exceed the size limit")]
    TooLarge(Member),
}

/// A bundle that is being written to `W`. Make a writer from a checkpoint and the keys, then call
/// [`leaf_hashes`](Self::leaf_hashes), [`entry`](Self::entry) for each position, and
/// [`finish`](Self::finish). If the writer is dropped earlier, the output does not verify.
pub struct BundleWriter<W: Write> {
    tar: tar::Builder<zstd::Encoder<'static, DigestWriter<W>>>,
    checkpoint: Checkpoint,
    key: VerifyingKey,
    files: Vec<ManifestFile>,
    leaf_hashes_written: bool,
    /// Tree size of the last timestamp; 0 before the first.
    last_timestamp: u64,
    /// The next expected position.
    next: u64,
    lines: Vec<u8>,
    entries_files: u32,
    /// Bounds and notices, which follow the entries. A log has few of them.
    documents: Vec<(Member, Vec<u8>)>,
}

impl<W: Write> BundleWriter<W> {
    /// Starts a bundle of the tree that the signed `checkpoint` describes.
    ///
    /// # Errors
    /// The checkpoint is not signed by the key in force at its size, or writing fails.
    pub fn new(out: W, checkpoint: &str, keys: impl Into<KeyChain>) -> Result<Self, BundleError> {
        let keys = keys.into();
        let opened = keys.open(checkpoint)?;
        let keys = keys.of_size(opened.size);
        let mut zstd = zstd::Encoder::new(DigestWriter { out, digest: Sha256::new() }, ZSTD_LEVEL)?;
        zstd.include_checksum(true)?;
        let mut writer = Self {
            tar: tar::Builder::new(zstd),
            checkpoint: opened,
            key: keys.newest().key,
            files: Vec::new(),
            leaf_hashes_written: false,
            last_timestamp: 0,
            next: 0,
            lines: Vec::new(),
            entries_files: 0,
            documents: Vec::new(),
        };
        writer.append(Member::Checkpoint, checkpoint.as_bytes())?;
        writer.append(Member::Keys, keys.to_jsonl().as_bytes())?;
        Ok(writer)
    }

    /// Number of entries that the bundle must contain.
    #[must_use]
    pub fn tree_size(&self) -> u64 {
        self.checkpoint.size
    }

    /// Writes a timestamp of the tree with this many entries. Timestamps come before the leaf hashes, in the
    /// order of tree size. A verifier rejects a timestamp of another tree.
    ///
    /// # Errors
    /// The tree is empty or larger than that of the checkpoint, the timestamp is out of order or too large,
    /// or writing fails.
    pub fn timestamp(&mut self, tree_size: u64, token: &[u8]) -> Result<(), BundleError> {
        let is_next = self.last_timestamp < tree_size && tree_size <= self.checkpoint.size;
        if self.leaf_hashes_written || !is_next {
            return Err(BundleError::Order(
                "timestamps must be before the leaf hashes, in order of tree size",
            ));
        }
        self.last_timestamp = tree_size;
        self.append(Member::Timestamps(tree_size), token)
    }

    /// Writes all leaf hashes.
    ///
    /// # Errors
    /// The hashes cannot be read, were written before, or writing fails.
    pub fn leaf_hashes<N: Nodes>(&mut self, nodes: &N) -> Result<(), BundleError>
    where
        N::Error: std::fmt::Display,
    {
        if std::mem::replace(&mut self.leaf_hashes_written, true) {
            return Err(BundleError::Order("leaf hashes must be written once"));
        }
        let length = self.checkpoint.size * 32;
        let mut read = LeafHashReader {
            nodes,
            next: 0,
            size: self.checkpoint.size,
            page: Vec::new(),
            offset: 0,
            digest: Sha256::new(),
        };
        self.tar.append(&header(Member::LeafHashes, length)?, &mut read)?;
        let digest: Hash = read.digest.finalize().into();
        self.files.push(ManifestFile::new(Member::LeafHashes, length, &digest));
        Ok(())
    }

    /// Writes the records of the newest `SubjectMapCommitted` of the log: `subjects` records in ascending
    /// order of the handles. Call it after [`leaf_hashes`](Self::leaf_hashes), only if the log has a
    /// commitment.
    ///
    /// # Errors
    /// The number of records is not `subjects`, the records cannot be read, or writing fails.
    pub fn subject_map(
        &mut self,
        subjects: u64,
        records: impl Iterator<Item = io::Result<MapRecord>>,
    ) -> Result<(), BundleError> {
        if !self.leaf_hashes_written || self.next > 0 {
            return Err(BundleError::Order("the subject map must follow the leaf hashes"));
        }
        let length = subjects.saturating_mul(RECORD_BYTES as u64);
        let (digest, pending) = (Sha256::new(), Vec::new());
        let mut read = RecordReader { records, pending, offset: 0, digest, count: 0 };
        let member = Member::SubjectMap;
        self.tar.append(&header(member, length)?, (&mut read).take(length))?;
        if read.count != subjects || read.records.next().is_some() {
            return Err(BundleError::Order("the number of records differs from the subject map"));
        }
        self.files.push(ManifestFile::new(member, length, &read.digest.finalize().into()));
        Ok(())
    }

    /// Writes the next entry.
    ///
    /// # Errors
    /// The entry is not the next one, its line is too large, or writing fails.
    pub fn entry(&mut self, line: &EntryLine<'_>) -> Result<(), BundleError> {
        if !self.leaf_hashes_written || line.position != self.next || self.next >= self.checkpoint.size {
            return Err(BundleError::Order("entries must follow the leaf hashes, in order of position"));
        }
        let bytes = line.to_bytes()?;
        if bytes.len() as u64 >= MEMBER_BYTES_MAX {
            return Err(BundleError::TooLarge(Member::Entries(self.entries_files)));
        }
        if self.lines.len() + bytes.len() >= ENTRIES_FILE_BYTES_MAX {
            self.write_entries_file()?;
        }
        self.lines.extend_from_slice(&bytes);
        self.lines.push(b'\n');
        self.next += 1;
        if let Some(body) = &line.body
            && let Some(member) = manifest::document_member(line.position, body)
        {
            self.documents.push((member, manifest::document(body).map_err(io::Error::other)?));
        }
        Ok(())
    }

    /// Writes the remaining files: bounds, notices, the signed manifest and the trailer.
    ///
    /// # Errors
    /// Entries are missing, `key` is not the key that signed the checkpoint, or writing fails.
    pub fn finish(mut self, key: &SigningKey) -> Result<W, BundleError> {
        if !self.leaf_hashes_written || self.next != self.checkpoint.size {
            return Err(BundleError::Order("some entries were not written"));
        }
        if key.verifying_key() != self.key {
            return Err(BundleError::Checkpoint(NoteError::Unsigned));
        }
        self.write_entries_file()?;
        let mut documents = std::mem::take(&mut self.documents);
        documents.sort_by_key(|(member, _)| *member);
        for (member, bytes) in documents {
            self.append(member, &bytes)?;
        }
        let origin = self.checkpoint.origin.clone();
        let files = std::mem::take(&mut self.files);
        let manifest =
            Manifest::new(&origin, self.checkpoint.size, files).to_bytes().map_err(io::Error::other)?;
        self.append(Member::Manifest, &manifest)?;
        let note = sign_note(&manifest::note_text(&origin, &manifest), &origin, key);
        self.append(Member::ManifestNote, note.as_bytes())?;
        let DigestWriter { mut out, digest } = self.tar.into_inner()?.finish()?;
        out.write_all(&trailer::make(&digest.finalize().into(), key))?;
        out.flush()?;
        Ok(out)
    }

    fn write_entries_file(&mut self) -> Result<(), BundleError> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let lines = std::mem::take(&mut self.lines);
        self.append(Member::Entries(self.entries_files), &lines)?;
        self.entries_files += 1;
        Ok(())
    }

    fn append(&mut self, member: Member, bytes: &[u8]) -> Result<(), BundleError> {
        let length = bytes.len() as u64;
        if length > member.bytes_max(self.checkpoint.size) {
            return Err(BundleError::TooLarge(member));
        }
        self.tar.append(&header(member, length)?, bytes)?;
        self.files.push(ManifestFile::new(member, length, &Sha256::digest(bytes).into()));
        Ok(())
    }
}

/// Reads records of the subject map as a stream of bytes.
struct RecordReader<I> {
    records: I,
    pending: Vec<u8>,
    offset: usize,
    digest: Sha256,
    count: u64,
}

impl<I: Iterator<Item = io::Result<MapRecord>>> Read for RecordReader<I> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.offset == self.pending.len() {
            let Some(record) = self.records.next().transpose()? else { return Ok(0) };
            (self.pending, self.offset) = (record.to_bytes(), 0);
            self.digest.update(&self.pending);
            self.count += 1;
        }
        let left = self.pending.get(self.offset..).unwrap_or_default();
        let length = left.len().min(out.len());
        for (to, from) in out.iter_mut().zip(left) {
            *to = *from;
        }
        self.offset += length;
        Ok(length)
    }
}

/// Reads leaf hashes as a stream of bytes.
struct LeafHashReader<'a, N> {
    nodes: &'a N,
    next: u64,
    size: u64,
    page: Vec<u8>,
    offset: usize,
    digest: Sha256,
}

impl<N: Nodes> Read for LeafHashReader<'_, N>
where
    N::Error: std::fmt::Display,
{
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.offset == self.page.len() && self.next < self.size {
            let count = (self.size - self.next).min(PAGE_HASHES);
            let requested = usize::try_from(count).map_err(io::Error::other)?;
            let page = self.nodes.nodes(0, self.next, requested);
            self.page = page.map_err(|error| io::Error::other(error.to_string()))?.concat();
            if self.page.len() != requested * 32 {
                return Err(io::Error::other("the log returned fewer leaf hashes than it has entries"));
            }
            self.digest.update(&self.page);
            (self.offset, self.next) = (0, self.next + count);
        }
        let count = self.page.get(self.offset..).unwrap_or_default().read(into)?;
        self.offset += count;
        Ok(count)
    }
}
