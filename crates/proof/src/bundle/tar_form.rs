//! The only accepted form of the tar stream in an archive: every byte of it is prescribed.
//!
//! Programs that unpack tar archives differ in how they read prefixes, extensions and repeated headers. So
//! the verifier accepts only bytes that all of these programs read in the same way.

use super::member::Member;
use super::report::VerifyFailure;
use std::io::{self, Read};

/// Bytes of a block. Headers are one block, and contents are padded to whole blocks.
const BLOCK_BYTES: usize = 512;
/// Number of blocks of zero bytes that end the stream.
const END_BLOCKS: usize = 2;
/// Bytes of the field with the name.
const NAME_BYTES: usize = 100;

/// The header of a file: POSIX ustar, without owner, time or prefix.
pub(super) fn header(member: Member, length: u64) -> io::Result<tar::Header> {
    let mut header = tar::Header::new_ustar();
    header.set_path(member.to_string())?;
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(length);
    header.set_mode(0o644);
    header.set_cksum();
    Ok(header)
}

/// The archive could not be read, or is not compressed as it must be.
pub(super) fn read_failure(error: io::Error) -> VerifyFailure {
    VerifyFailure::io("archive", &error)
}

pub(super) fn failure(reason: impl ToString) -> VerifyFailure {
    VerifyFailure::at("archive", reason)
}

/// Reads the header of the next file. Returns none at the end of the stream, after its last block.
pub(super) fn next_file(stream: &mut impl Read) -> Result<Option<(Member, u64)>, VerifyFailure> {
    let mut block = [0; BLOCK_BYTES];
    stream.read_exact(&mut block).map_err(read_failure)?;
    if block == [0; BLOCK_BYTES] {
        return end(stream).map(|()| None);
    }
    let read = tar::Header::from_byte_slice(&block);
    let name = block.get(..NAME_BYTES).and_then(|field| field.split(|byte| *byte == 0).next());
    let member = name.and_then(|name| std::str::from_utf8(name).ok()?.parse::<Member>().ok());
    let member = member.ok_or_else(|| failure("a member is not a file of a bundle"))?;
    let length = read.entry_size().map_err(failure)?;
    if header(member, length).map_err(failure)?.as_bytes() != &block {
        return Err(failure(format!("the tar header of `{member}` is not in its one form")));
    }
    Ok(Some((member, length)))
}

/// Reads the padding after the content of a file.
pub(super) fn padding(member: Member, length: u64, stream: &mut impl Read) -> Result<(), VerifyFailure> {
    let last = (length % BLOCK_BYTES as u64) as usize;
    let mut block = [0; BLOCK_BYTES];
    let padding = block.get_mut(last..).filter(|_| last > 0).unwrap_or_default();
    stream.read_exact(padding).map_err(read_failure)?;
    if padding.iter().any(|byte| *byte != 0) {
        return Err(failure(format!("the padding after `{member}` is not zero")));
    }
    Ok(())
}

/// Reads the blocks after the first one that ends the stream.
fn end(stream: &mut impl Read) -> Result<(), VerifyFailure> {
    let mut rest = Vec::new();
    let expected = (END_BLOCKS - 1) * BLOCK_BYTES;
    stream.take(expected as u64 + 1).read_to_end(&mut rest).map_err(read_failure)?;
    if rest.len() != expected || rest.iter().any(|byte| *byte != 0) {
        return Err(failure("the tar stream does not end in two blocks of zero bytes"));
    }
    Ok(())
}
