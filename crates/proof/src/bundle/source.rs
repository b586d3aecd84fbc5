//! Reads a bundle: either an archive, as a stream, or the folder of an unpacked bundle.

use super::allowance::BytesRead;
use super::member::Member;
use super::report::VerifyFailure;
use super::tar_form::{self, failure as archive_failure, read_failure};
use super::trailer::{self, DigestReader, TRAILER_BYTES};
use crate::checkpoint::VerifierKey;
use crate::keys::KeyChain;
use ed25519_dalek::VerifyingKey;
use sha2::{Digest, Sha256};
use std::fs;
use std::io::{self, BufReader, Cursor, Read, Write};
use std::path::{Path, PathBuf};

/// Maximum window of the zstd frame, 2^27 bytes. It limits memory before any content is verified.
const WINDOW_LOG_MAX: u32 = 27;
/// First bytes of a zstd frame (RFC 8878 s. 3.1.1).
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Bits of the frame header's descriptor (RFC 8878 s. 3.1.1.1.1): reserved bit, checksum, id of a dictionary.
const ZSTD_FLAGS: u8 = 0b0000_1111;
/// The only allowed value of these bits: a checksum, and nothing else.
const ZSTD_CHECKSUM: u8 = 0b0000_0100;

/// Bytes written at a time when an archive is unpacked.
const PIECE_BYTES: usize = 64 << 10;

/// A bundle to verify.
pub enum Source<'a> {
    /// A `.tar.zst`, from its first byte to its last.
    Archive(Box<dyn Read + 'a>),
    /// The folder of an unpacked bundle.
    Folder(PathBuf),
}

impl Source<'_> {
    /// Opens the folder or archive at `path`.
    ///
    /// # Errors
    /// The archive cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        if path.is_dir() {
            return Ok(Self::Folder(path.to_owned()));
        }
        Ok(Self::Archive(Box::new(fs::File::open(path)?)))
    }
}

/// Receives the files of a bundle in order.
pub(super) trait Visitor {
    /// Receives one file: its name, length and content.
    fn member(&mut self, member: Member, length: u64, data: &mut dyn Read) -> Result<(), VerifyFailure>;
    /// Returns the key that must have signed the trailer. This method is called after the last file.
    fn trailer_key(&self) -> VerifyingKey;
}

/// Passes every file of the bundle to `visitor`. For an archive, it also checks the bytes between and after
/// the files. `read` counts the bytes of the source. Returns the number of signatures that it verified
/// itself.
pub(super) fn walk(
    source: Source<'_>,
    read: &BytesRead,
    visitor: &mut dyn Visitor,
) -> Result<u64, VerifyFailure> {
    match source {
        Source::Archive(archive) => walk_archive(archive, read, visitor).map(|()| 1),
        Source::Folder(path) => walk_folder(&path, read, visitor).map(|()| 0),
    }
}

fn walk_archive(
    archive: Box<dyn Read + '_>,
    read: &BytesRead,
    visitor: &mut dyn Visitor,
) -> Result<(), VerifyFailure> {
    let mut buffered = BufReader::with_capacity(128 << 10, archive);
    let inner = Cursor::new(frame_head(&mut buffered)?).chain(buffered);
    let input = DigestReader { inner, digest: Sha256::new(), read: read.clone() };
    let mut zstd = zstd::Decoder::with_buffer(input).map_err(archive_failure)?.single_frame();
    zstd.window_log_max(WINDOW_LOG_MAX).map_err(archive_failure)?;
    while let Some((member, length)) = tar_form::next_file(&mut zstd)? {
        let mut content = (&mut zstd).take(length);
        visitor.member(member, length, &mut content)?;
        if content.limit() > 0 {
            return Err(VerifyFailure::at(member, "the file does not have its stated length"));
        }
        tar_form::padding(member, length, &mut zstd)?;
    }
    zstd.finish_frame().map_err(read_failure)?;
    let DigestReader { mut inner, digest, .. } = zstd.into_inner();
    let mut end = Vec::new();
    inner.by_ref().take(TRAILER_BYTES as u64 + 1).read_to_end(&mut end).map_err(read_failure)?;
    trailer::check(&end, &digest.finalize().into(), &visitor.trailer_key())
        .map_err(|reason| VerifyFailure::at("trailer", reason))
}

/// The first bytes of the zstd frame, up to its descriptor.
fn frame_head(archive: &mut impl Read) -> Result<[u8; 5], VerifyFailure> {
    let mut head = [0; 5];
    archive.read_exact(&mut head).map_err(read_failure)?;
    match head.strip_prefix(&ZSTD_MAGIC) {
        Some([descriptor]) if descriptor & ZSTD_FLAGS == ZSTD_CHECKSUM => Ok(head),
        _ => Err(archive_failure("not a zstd frame with a checksum and without a dictionary")),
    }
}

fn walk_folder(path: &Path, read: &BytesRead, visitor: &mut dyn Visitor) -> Result<(), VerifyFailure> {
    let mut members = Vec::new();
    list_members(path, "", &mut members)?;
    members.sort_unstable();
    for member in members {
        let failure = |error: io::Error| VerifyFailure::io(member, &error);
        let mut file = fs::File::open(path.join(member.to_string())).map_err(failure)?;
        let length = file.metadata().map_err(failure)?.len();
        read.add(length);
        visitor.member(member, length, &mut file)?;
    }
    Ok(())
}

fn list_members(path: &Path, inside: &str, members: &mut Vec<Member>) -> Result<(), VerifyFailure> {
    let failure = |error: io::Error| VerifyFailure::io("folder", &error);
    for entry in fs::read_dir(path.join(inside)).map_err(failure)? {
        let entry = entry.map_err(failure)?;
        let kind = entry.file_type().map_err(failure)?;
        let name = entry.file_name();
        let name = name.to_str().unwrap_or_default();
        if kind.is_dir()
            && inside.is_empty()
            && matches!(name, "entries" | "bounds" | "notices" | "timestamps")
        {
            list_members(path, &format!("{name}/"), members)?;
        } else if let (true, Ok(member)) = (kind.is_file(), format!("{inside}{name}").parse()) {
            members.push(member);
        } else {
            return Err(VerifyFailure::at("folder", "a file or folder is not part of a bundle"));
        }
    }
    Ok(())
}

/// Unpacks an archive into a new folder. `key` must be one of the log's keys. Only the form and the sizes of
/// the archive, `keys.jsonl` and the trailer are checked, so verify the folder afterward.
///
/// # Errors
/// The archive is malformed, truncated or much larger unpacked than packed; the folder already exists; or
/// writing fails.
pub fn unpack(archive: Box<dyn Read + '_>, key: &VerifierKey, folder: &Path) -> Result<(), VerifyFailure> {
    fs::create_dir(folder).map_err(folder_failure)?;
    let read = BytesRead::default();
    let keys = KeyChain::from(key);
    let mut unpacker = Unpacker { trusted: key, keys, folder, last: None, read: read.clone(), written: 0 };
    walk_archive(archive, &read, &mut unpacker)
}

fn folder_failure(error: io::Error) -> VerifyFailure {
    VerifyFailure::io("folder", &error)
}

struct Unpacker<'a> {
    trusted: &'a VerifierKey,
    keys: KeyChain,
    folder: &'a Path,
    last: Option<Member>,
    read: BytesRead,
    /// Bytes written to the folder.
    written: u64,
}

impl Unpacker<'_> {
    /// Writes a file in pieces. Stops if too much is unpacked for the bytes that were read.
    fn write(
        &mut self,
        member: Member,
        file: &mut fs::File,
        data: &mut dyn Read,
    ) -> Result<(), VerifyFailure> {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let count = data.read(&mut piece).map_err(read_failure)?;
            if count == 0 {
                return file.flush().map_err(folder_failure);
            }
            self.written = self.written.saturating_add(count as u64);
            self.read.allow_unpacked(self.written).map_err(|reason| VerifyFailure::at(member, reason))?;
            file.write_all(piece.get(..count).unwrap_or_default()).map_err(folder_failure)?;
        }
    }
}

impl Visitor for Unpacker<'_> {
    fn member(&mut self, member: Member, length: u64, data: &mut dyn Read) -> Result<(), VerifyFailure> {
        if self.last.replace(member).is_some_and(|last| last >= member) {
            return Err(VerifyFailure::at(member, "the file is out of order or repeated"));
        }
        if length > member.bytes_max(u64::MAX) {
            return Err(VerifyFailure::at(member, "the file is too large"));
        }
        let path = self.folder.join(member.to_string());
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(folder_failure)?;
        }
        let mut file = fs::File::create_new(&path).map_err(folder_failure)?;
        self.write(member, &mut file, data)?;
        if member == Member::Keys {
            let text = fs::read_to_string(&path).map_err(folder_failure)?;
            let keys = KeyChain::parse(&text, self.trusted);
            self.keys = keys.map_err(|error| VerifyFailure::at(member, error))?;
        }
        Ok(())
    }

    fn trailer_key(&self) -> VerifyingKey {
        self.keys.newest().key
    }
}
