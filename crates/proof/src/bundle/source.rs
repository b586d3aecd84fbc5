//! Where a bundle is read from: an archive as a stream, or a folder.

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

/// Largest window that a frame may ask for (2^27 bytes): memory is bounded before anything is believed.
const WINDOW_LOG_MAX: u32 = 27;
/// Zeros after the end of the tar stream, at most.
const TAR_PADDING_MAX: u64 = 64 << 10;

/// A bundle to verify.
pub enum Source<'a> {
    /// A `.tar.zst`, from its first byte to its last.
    Archive(Box<dyn Read + 'a>),
    /// An unpacked one.
    Folder(PathBuf),
}

impl Source<'_> {
    /// The folder or the archive at `path`.
    ///
    /// # Errors
    /// It can't be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        if path.is_dir() {
            return Ok(Self::Folder(path.to_owned()));
        }
        Ok(Self::Archive(Box::new(fs::File::open(path)?)))
    }
}

/// Sees a bundle from its first file to its last.
pub(super) trait Visitor {
    /// Takes each file, in its order: which, its length, its bytes.
    fn member(&mut self, member: Member, length: u64, data: &mut dyn Read) -> Result<(), VerifyFailure>;
    /// What the trailer has to be signed with, once every file was seen.
    fn trailer_key(&self) -> VerifyingKey;
}

/// Shows every file of the bundle to `visit`; in an archive, what stands between and after them is checked.
/// Returns the number of signatures that it checked itself.
pub(super) fn walk(source: Source<'_>, visit: &mut dyn Visitor) -> Result<u64, VerifyFailure> {
    match source {
        Source::Archive(read) => walk_archive(read, visit).map(|()| 1),
        Source::Folder(path) => walk_folder(&path, visit).map(|()| 0),
    }
}

fn archive(reason: impl ToString) -> VerifyFailure {
    VerifyFailure::at("archive", reason)
}

fn walk_archive(read: Box<dyn Read + '_>, visit: &mut dyn Visitor) -> Result<(), VerifyFailure> {
    let input = DigestReader { inner: BufReader::with_capacity(128 << 10, read), digest: Sha256::new() };
    let mut zstd = zstd::Decoder::with_buffer(input).map_err(archive)?.single_frame();
    zstd.window_log_max(WINDOW_LOG_MAX).map_err(archive)?;
    let mut tar = tar::Archive::new(zstd);
    for file in tar.entries().map_err(archive)?.raw(true) {
        let mut file = file.map_err(archive)?;
        if file.header().entry_type() != tar::EntryType::Regular {
            return Err(archive("something that is not a regular file"));
        }
        let name = file.path_bytes();
        let member = std::str::from_utf8(&name).ok().and_then(|name| name.parse().ok());
        let member = member.ok_or_else(|| archive("a file that is no part of a bundle"))?;
        let length = file.size();
        visit.member(member, length, &mut file)?;
    }
    let mut zstd = tar.into_inner();
    let mut padding = (&mut zstd).take(TAR_PADDING_MAX);
    let mut zeros = Vec::new();
    padding.read_to_end(&mut zeros).map_err(archive)?;
    if zeros.iter().any(|byte| *byte != 0) || zeros.len() as u64 == TAR_PADDING_MAX {
        return Err(archive("bytes after the last file"));
    }
    zstd.finish_frame().map_err(archive)?;
    let DigestReader { mut inner, digest } = zstd.into_inner();
    let mut end = Vec::new();
    inner.by_ref().take(TRAILER_BYTES as u64 + 1).read_to_end(&mut end).map_err(archive)?;
    trailer::check(&end, &digest.finalize().into(), &visit.trailer_key())
        .map_err(|reason| VerifyFailure::at("trailer", reason))
}

fn walk_folder(path: &Path, visit: &mut dyn Visitor) -> Result<(), VerifyFailure> {
    let mut members = Vec::new();
    list(path, "", &mut members)?;
    members.sort_unstable();
    for member in members {
        let failed = |error: io::Error| VerifyFailure::at(member, error);
        let mut file = fs::File::open(path.join(member.to_string())).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        visit.member(member, length, &mut file)?;
    }
    Ok(())
}

fn list(path: &Path, inside: &str, members: &mut Vec<Member>) -> Result<(), VerifyFailure> {
    let failed = |error: io::Error| VerifyFailure::at("folder", error);
    for entry in fs::read_dir(path.join(inside)).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let kind = entry.file_type().map_err(failed)?;
        let name = entry.file_name();
        let name = name.to_str().unwrap_or_default();
        if kind.is_dir() && inside.is_empty() && matches!(name, "entries" | "bounds" | "notices") {
            list(path, &format!("{name}/"), members)?;
        } else if let (true, Ok(member)) = (kind.is_file(), format!("{inside}{name}").parse()) {
            members.push(member);
        } else {
            return Err(VerifyFailure::at("folder", "something that is no part of a bundle"));
        }
    }
    Ok(())
}

/// Unpacks an archive into a folder that does not exist yet. Only the archive's own form is checked, and its trailer with
/// the log's keys, which `key` has to be one of: verify the folder afterwards.
///
/// # Errors
/// The archive is not whole, the folder is there already, or writing fails.
pub fn unpack(read: Box<dyn Read + '_>, key: &VerifierKey, folder: &Path) -> Result<(), VerifyFailure> {
    fs::create_dir(folder).map_err(folder_failed)?;
    let (keys, last) = (KeyChain::from(key), None);
    walk_archive(read, &mut Unpacker { trusted: key, keys, folder, last })
}

fn folder_failed(error: io::Error) -> VerifyFailure {
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
            return Err(VerifyFailure::at(member, "out of order"));
        }
        let path = self.folder.join(member.to_string());
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(folder_failed)?;
        }
        let mut file = fs::File::create_new(&path).map_err(folder_failed)?;
        io::copy(data, &mut file).map_err(archive)?;
        file.flush().map_err(folder_failed)?;
        if member == Member::Keys {
            let text = fs::read_to_string(&path).map_err(folder_failed)?;
            let keys = KeyChain::parse(&text, self.trusted);
            self.keys = keys.map_err(|error| VerifyFailure::at(member, error))?;
        }
        Ok(())
    }

    fn trailer_key(&self) -> VerifyingKey {
        self.keys.newest().key
    }
}
