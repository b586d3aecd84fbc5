//! Reads a bundle: either an archive, as a stream, or the folder of an unpacked bundle.

use super::member::Member;
use super::report::VerifyFailure;
use super::trailer::{self, DigestReader, TRAILER_BYTES};
use crate::checkpoint::VerifierKey;
use crate::keys::KeyChain;
use ed25519_dalek::VerifyingKey;
use sha2::{Digest, Sha256};
use std::fs;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

/// Maximum window of the zstd frame, 2^27 bytes. It limits memory before any content is verified.
const WINDOW_LOG_MAX: u32 = 27;
/// Maximum number of zero bytes after the end of the tar stream.
const TAR_PADDING_MAX: u64 = 64 << 10;

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
/// the files. Returns the number of signatures that it verified itself.
pub(super) fn walk(source: Source<'_>, visitor: &mut dyn Visitor) -> Result<u64, VerifyFailure> {
    match source {
        Source::Archive(read) => walk_archive(read, visitor).map(|()| 1),
        Source::Folder(path) => walk_folder(&path, visitor).map(|()| 0),
    }
}

fn archive_failure(reason: impl ToString) -> VerifyFailure {
    VerifyFailure::at("archive", reason)
}

fn walk_archive(read: Box<dyn Read + '_>, visitor: &mut dyn Visitor) -> Result<(), VerifyFailure> {
    let input = DigestReader { inner: BufReader::with_capacity(128 << 10, read), digest: Sha256::new() };
    let mut zstd = zstd::Decoder::with_buffer(input).map_err(archive_failure)?.single_frame();
    zstd.window_log_max(WINDOW_LOG_MAX).map_err(archive_failure)?;
    let mut tar = tar::Archive::new(zstd);
    for file in tar.entries().map_err(archive_failure)?.raw(true) {
        let mut file = file.map_err(archive_failure)?;
        if file.header().entry_type() != tar::EntryType::Regular {
            return Err(archive_failure("a member is not a regular file"));
        }
        let name = file.path_bytes();
        let member = std::str::from_utf8(&name).ok().and_then(|name| name.parse().ok());
        let member = member.ok_or_else(|| archive_failure("a member is not a file of a bundle"))?;
        let length = file.size();
        visitor.member(member, length, &mut file)?;
    }
    let mut zstd = tar.into_inner();
    let mut padding = (&mut zstd).take(TAR_PADDING_MAX);
    let mut zeros = Vec::new();
    padding.read_to_end(&mut zeros).map_err(archive_failure)?;
    if zeros.iter().any(|byte| *byte != 0) || zeros.len() as u64 == TAR_PADDING_MAX {
        return Err(archive_failure("bytes after the last file"));
    }
    zstd.finish_frame().map_err(archive_failure)?;
    let DigestReader { mut inner, digest } = zstd.into_inner();
    let mut end = Vec::new();
    inner.by_ref().take(TRAILER_BYTES as u64 + 1).read_to_end(&mut end).map_err(archive_failure)?;
    trailer::check(&end, &digest.finalize().into(), &visitor.trailer_key())
        .map_err(|reason| VerifyFailure::at("trailer", reason))
}

fn walk_folder(path: &Path, visitor: &mut dyn Visitor) -> Result<(), VerifyFailure> {
    let mut members = Vec::new();
    list_members(path, "", &mut members)?;
    members.sort_unstable();
    for member in members {
        let failure = |error: io::Error| VerifyFailure::at(member, error);
        let mut file = fs::File::open(path.join(member.to_string())).map_err(failure)?;
        let length = file.metadata().map_err(failure)?.len();
        visitor.member(member, length, &mut file)?;
    }
    Ok(())
}

fn list_members(path: &Path, inside: &str, members: &mut Vec<Member>) -> Result<(), VerifyFailure> {
    let failure = |error: io::Error| VerifyFailure::at("folder", error);
    for entry in fs::read_dir(path.join(inside)).map_err(failure)? {
        let entry = entry.map_err(failure)?;
        let kind = entry.file_type().map_err(failure)?;
        let name = entry.file_name();
        let name = name.to_str().unwrap_or_default();
        if kind.is_dir() && inside.is_empty() && matches!(name, "entries" | "bounds" | "notices") {
            list_members(path, &format!("{name}/"), members)?;
        } else if let (true, Ok(member)) = (kind.is_file(), format!("{inside}{name}").parse()) {
            members.push(member);
        } else {
            return Err(VerifyFailure::at("folder", "a file or folder is not part of a bundle"));
        }
    }
    Ok(())
}

/// Unpacks an archive into a new folder. `key` must be one of the log's keys. Only the form of the archive,
/// `keys.jsonl` and the trailer are checked, so verify the folder afterward.
///
/// # Errors
/// The archive is malformed or truncated, the folder already exists, or writing fails.
pub fn unpack(read: Box<dyn Read + '_>, key: &VerifierKey, folder: &Path) -> Result<(), VerifyFailure> {
    fs::create_dir(folder).map_err(folder_failure)?;
    let (keys, last) = (KeyChain::from(key), None);
    walk_archive(read, &mut Unpacker { trusted: key, keys, folder, last })
}

fn folder_failure(error: io::Error) -> VerifyFailure {
    VerifyFailure::at("folder", error)
}

struct Unpacker<'a> {
    trusted: &'a VerifierKey,
    keys: KeyChain,
    folder: &'a Path,
    last: Option<Member>,
}

impl Visitor for Unpacker<'_> {
    fn member(&mut self, member: Member, _length: u64, data: &mut dyn Read) -> Result<(), VerifyFailure> {
        if self.last.replace(member).is_some_and(|last| last >= member) {
            return Err(VerifyFailure::at(member, "the file is out of order or repeated"));
        }
        let path = self.folder.join(member.to_string());
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(folder_failure)?;
        }
        let mut file = fs::File::create_new(&path).map_err(folder_failure)?;
        io::copy(data, &mut file).map_err(archive_failure)?;
        file.flush().map_err(folder_failure)?;
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
