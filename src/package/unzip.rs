//! Reads members of a ZIP file. A ZIP file lists its members in a central directory, which this module does
//! not keep in memory.

use super::error::{PackageError, ReadError};
use std::io::{BufReader, Read, Seek, SeekFrom};
use zip::ZipReadOptions;
use zip::read::Config;
use zip::unstable::read::ZipIterable;

/// The most members that a ZIP file may have. A package has one member for each decision (its receipt), and a
/// few others.
const MEMBERS_MAX: usize = 1 << 20;

/// How many times larger than the file its unpacked members may be. This limit does not apply below
/// [`RATIO_FREE_BYTES`].
const RATIO_MAX: u64 = 100;
/// This many bytes may always be unpacked, however small the file is.
const RATIO_FREE_BYTES: u64 = 64 << 20;
/// The most bytes between the content of a member and the next header: a data descriptor with sizes of 64
/// bits (APPNOTE 4.3.9). A header is longer than that.
const DESCRIPTOR_BYTES_MAX: u64 = 24;

/// Calls `then` with the member of this name and its packed size in bytes; `None` if there is no such member.
/// The member's checksum is compared when it is read to its end.
pub(super) fn with_member<T>(
    file: &mut (impl Read + Seek),
    name: &str,
    then: impl FnOnce(&mut dyn Read, u64) -> T,
) -> Result<Option<T>, ReadError> {
    let file_bytes = file.seek(SeekFrom::End(0))?;
    file.rewind()?;
    let mut archive = ZipIterable::try_new(BufReader::new(file), Config::default())?;
    if archive.len() > MEMBERS_MAX {
        return Err(ReadError::Form("it has too many members"));
    }
    let files = archive.files()?;
    let mut found = None;
    for entry in files.by_ref() {
        let entry = entry?;
        if entry.name_raw() == name.as_bytes() && found.replace(entry).is_some() {
            return Err(ReadError::Form("it contains two files of the same name"));
        }
    }
    let Some(entry) = found else { return Ok(None) };
    let packed_bytes = entry.compressed_size().min(file_bytes);
    let mut member = entry.with_reader(files.reader_mut(), ZipReadOptions::new())?;
    Ok(Some(then(&mut member, packed_bytes)))
}

/// Calls `each` with the name and the content of each member, in the order of the directory.
///
/// A member whose own header differs from the directory is an error, since some readers trust the header and
/// others the directory. So is a member that a program would not unpack to a plain file in its folder. So is
/// anything between the members, because some readers would find further members there. All members together
/// may not be much larger than the file.
pub(super) fn for_each_member(
    file: &mut (impl Read + Seek),
    mut each: impl FnMut(&str, &mut dyn Read) -> Result<(), PackageError>,
) -> Result<(), PackageError> {
    let file_bytes = file.seek(SeekFrom::End(0)).map_err(ReadError::Io)?;
    file.rewind().map_err(ReadError::Io)?;
    let mut left = file_bytes.saturating_mul(RATIO_MAX).max(RATIO_FREE_BYTES);
    let mut end = None;
    let archive = ZipIterable::try_new(BufReader::new(file), Config::default()).map_err(ReadError::Zip)?;
    let mut archive = archive.enforce_header_consistency(true);
    if archive.len() > MEMBERS_MAX {
        return Err(ReadError::Form("it has too many members").into());
    }
    let files = archive.files().map_err(ReadError::Zip)?;
    while let Some(entry) = files.next() {
        let entry = entry.map_err(ReadError::Zip)?;
        let name = String::from_utf8(entry.name_raw().to_vec());
        let name = name.map_err(|_| ReadError::Form("the name of a member is not UTF-8"))?;
        if !is_plain_name(&name) || entry.unix_mode().is_some_and(|mode| !is_regular_file(mode)) {
            return Err(ReadError::Form("a member is not a plain file, or its name is not allowed").into());
        }
        let (start, packed_bytes) = (entry.header_start(), entry.compressed_size());
        if !follows(end, start) {
            return Err(ReadError::Form("it has bytes outside of its members").into());
        }
        let member = entry.with_reader(files.reader_mut(), ZipReadOptions::new());
        let member = member.map_err(ReadError::Zip)?;
        end = member.data_start().map(|start| start.saturating_add(packed_bytes));
        let mut limited = member.take(left);
        each(&name, &mut limited)?;
        left = limited.limit();
        if left == 0 {
            return Err(ReadError::Form("it is more than 100 times larger unpacked than packed").into());
        }
    }
    Ok(())
}

/// Whether a name is that of a file in the folder to which a program unpacks, or in one folder below it.
/// Names are in lower case, because some file systems treat names that differ only in case as equal.
fn is_plain_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    let is_plain = |part: &str| !part.is_empty() && !part.starts_with('.') && part.bytes().all(is_allowed);
    name.split('/').count() <= 2 && name.split('/').all(is_plain)
}

/// Whether a mode is that of a regular file, or says nothing about the type.
fn is_regular_file(mode: u32) -> bool {
    matches!(mode & 0o170_000, 0 | 0o100_000)
}

/// Whether a header begins where the content of the member before it ends, or at the start of the file.
fn follows(end: Option<u64>, start: u64) -> bool {
    match end {
        None => start == 0,
        Some(end) => start.checked_sub(end).is_some_and(|gap| gap <= DESCRIPTOR_BYTES_MAX),
    }
}
