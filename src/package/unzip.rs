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

/// Calls `each` with the name and the content of each member, in the order of the directory. A member whose
/// own header differs from the directory is an error, since readers differ in which of them they take.
pub(super) fn for_each_member(
    file: &mut (impl Read + Seek),
    mut each: impl FnMut(&str, &mut dyn Read) -> Result<(), PackageError>,
) -> Result<(), PackageError> {
    file.rewind().map_err(ReadError::Io)?;
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
        let member = entry.with_reader(files.reader_mut(), ZipReadOptions::new());
        each(&name, &mut member.map_err(ReadError::Zip)?)?;
    }
    Ok(())
}
