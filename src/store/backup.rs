//! The file format of a backup: entries, and sealed key pages (the encrypted pages with people's keys), in
//! pieces. The last piece has a digest of everything before it.
//!
//! The file begins with `saysoBU1`, and the pieces follow. A piece has a kind (1 byte), a length (4 bytes,
//! big-endian) and its content:
//!
//! | kind | content |
//! | --- | --- |
//! | `E` | the next entry: position (8), recorded time (8), leaf hash (32), bytes (none if discarded) |
//! | `C` | the checkpoint over the entries |
//! | `T` | a timestamp: tree size (8), token (RFC 3161) |
//! | `K` | a key page: length of its id (1), id, page |
//! | `Z` | the end: SHA-256 of everything before this piece |
//!
//! The digest detects damage. The checkpoint is signed over the tree of the entries. Its signature shows that
//! the entries belong to the log.

use super::{Page, StoredEntry};
use sha2::{Digest, Sha256};
use std::io::{Error, ErrorKind, Read, Write};

const MAGIC: &[u8; 8] = b"saysoBU1";
const ENTRY: u8 = b'E';
const CHECKPOINT: u8 = b'C';
const TIMESTAMP: u8 = b'T';
const KEY_PAGE: u8 = b'K';
const END: u8 = b'Z';
/// The longest piece, bytes. The size limit of a request limits the size of an entry. The number of one
/// subject's keys limits the size of a key page.
const PIECE_BYTES_MAX: u32 = 256 << 20;

/// Writes a backup.
pub struct BackupWriter<W> {
    out: W,
    digest: Sha256,
}

impl<W: Write> BackupWriter<W> {
    /// Starts a backup.
    ///
    /// # Errors
    /// `out` can't be written.
    pub fn begin(out: W) -> Result<Self, Error> {
        let mut writer = Self { out, digest: Sha256::new() };
        writer.put(MAGIC)?;
        Ok(writer)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.digest.update(bytes);
        self.out.write_all(bytes)
    }

    fn piece(&mut self, kind: u8, parts: &[&[u8]]) -> Result<(), Error> {
        let length = parts.iter().map(|part| part.len()).sum::<usize>();
        let length = u32::try_from(length).ok().filter(|length| *length <= PIECE_BYTES_MAX);
        let length = length.ok_or_else(|| {
            Error::new(ErrorKind::InvalidInput, "a piece is longer than 256 MiB, the limit of a backup")
        })?;
        self.put(&[kind])?;
        self.put(&length.to_be_bytes())?;
        parts.iter().try_for_each(|part| self.put(part))
    }

    /// Writes the next entry.
    ///
    /// # Errors
    /// `out` can't be written.
    pub fn entry(&mut self, entry: &StoredEntry) -> Result<(), Error> {
        let (position, recorded) = (entry.position.to_be_bytes(), entry.recorded_at_ms.to_be_bytes());
        let bytes = entry.bytes.as_deref().unwrap_or_default();
        self.piece(ENTRY, &[&position, &recorded, &entry.leaf_hash, bytes])
    }

    /// Writes the checkpoint over all entries.
    ///
    /// # Errors
    /// `out` can't be written.
    pub fn checkpoint(&mut self, note: &str) -> Result<(), Error> {
        self.piece(CHECKPOINT, &[note.as_bytes()])
    }

    /// Writes a timestamp of the checkpoint of the first `size` entries. It comes after the checkpoint.
    ///
    /// # Errors
    /// `out` can't be written.
    pub fn timestamp(&mut self, size: u64, token: &[u8]) -> Result<(), Error> {
        self.piece(TIMESTAMP, &[&size.to_be_bytes(), token])
    }

    /// Writes a sealed key page, verbatim.
    ///
    /// # Errors
    /// The page's id is longer than 255 bytes, or `out` can't be written.
    pub fn key_page(&mut self, page: &Page) -> Result<(), Error> {
        let length = u8::try_from(page.0.len()).map_err(|_| {
            Error::new(ErrorKind::InvalidInput, "the id of a key page is longer than 255 bytes")
        })?;
        self.piece(KEY_PAGE, &[&[length], &page.0, &page.1])
    }

    /// Writes the digest and ends the backup.
    ///
    /// # Errors
    /// `out` can't be written.
    pub fn finish(mut self) -> Result<(), Error> {
        let digest = self.digest.clone().finalize();
        self.piece(END, &[&digest])?;
        self.out.flush()
    }
}

/// A piece of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// An entry.
    Entry(StoredEntry),
    /// The checkpoint over all entries.
    Checkpoint(String),
    /// A timestamp: the size of its tree, and the token.
    Timestamp(u64, Vec<u8>),
    /// A sealed key page.
    KeyPage(Page),
}

/// Reads a backup.
pub struct BackupReader<R> {
    input: R,
    digest: Sha256,
    has_ended: bool,
}

fn damaged(what: &'static str) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}

impl<R: Read> BackupReader<R> {
    /// Starts to read.
    ///
    /// # Errors
    /// `input` can't be read, or is not a backup in this format.
    pub fn begin(input: R) -> Result<Self, Error> {
        let mut reader = Self { input, digest: Sha256::new(), has_ended: false };
        let mut magic = [0; 8];
        reader.fill(&mut magic)?;
        if &magic == MAGIC { Ok(reader) } else { Err(damaged("the file is not a backup of this version")) }
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.input.read_exact(bytes).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => damaged("the backup is cut off"),
            _ => error,
        })?;
        self.digest.update(&*bytes);
        Ok(())
    }

    /// Reads the next piece. Returns `None` at the end, if the digest matches and no bytes follow.
    ///
    /// # Errors
    /// The backup can't be read, is cut off, or is damaged.
    pub fn next_piece(&mut self) -> Result<Option<Piece>, Error> {
        if self.has_ended {
            return Ok(None);
        }
        let digest_so_far: [u8; 32] = self.digest.clone().finalize().into();
        let (mut kind, mut length) = ([0], [0; 4]);
        self.fill(&mut kind)?;
        self.fill(&mut length)?;
        let length = u32::from_be_bytes(length);
        if length > PIECE_BYTES_MAX {
            return Err(damaged("a piece of the backup is longer than 256 MiB"));
        }
        // The buffer grows while it is read, so a wrong length does not allocate memory for nothing.
        let mut content = Vec::new();
        Read::by_ref(&mut self.input).take(u64::from(length)).read_to_end(&mut content)?;
        if content.len() as u64 != u64::from(length) {
            return Err(damaged("the backup is cut off"));
        }
        self.digest.update(&content);
        match kind {
            [ENTRY] => decode_entry(&content).map(|entry| Some(Piece::Entry(entry))),
            [CHECKPOINT] => {
                let note = String::from_utf8(content)
                    .map_err(|_| damaged("the checkpoint of the backup is not UTF-8"))?;
                Ok(Some(Piece::Checkpoint(note)))
            }
            [TIMESTAMP] => match content.split_first_chunk::<8>() {
                Some((size, token)) => Ok(Some(Piece::Timestamp(u64::from_be_bytes(*size), token.to_vec()))),
                None => Err(damaged("a timestamp of the backup is malformed")),
            },
            [KEY_PAGE] => decode_page(&content).map(|page| Some(Piece::KeyPage(page))),
            [END] if content == digest_so_far => {
                self.has_ended = true;
                let is_last = self.input.read(&mut [0])? == 0;
                if is_last { Ok(None) } else { Err(damaged("the backup has bytes after its end")) }
            }
            [END] => Err(damaged("the digest of the backup does not match its content")),
            _ => Err(damaged("the backup has a piece of an unknown kind")),
        }
    }
}

fn decode_entry(content: &[u8]) -> Result<StoredEntry, Error> {
    let decode = || {
        let (position, rest) = content.split_first_chunk::<8>()?;
        let (recorded, rest) = rest.split_first_chunk::<8>()?;
        let (leaf_hash, bytes) = rest.split_first_chunk::<32>()?;
        let bytes = Some(bytes.to_vec()).filter(|bytes| !bytes.is_empty());
        let (position, recorded_at_ms) = (u64::from_be_bytes(*position), u64::from_be_bytes(*recorded));
        Some(StoredEntry { position, recorded_at_ms, leaf_hash: *leaf_hash, bytes })
    };
    decode().ok_or_else(|| damaged("an entry of the backup is malformed"))
}

fn decode_page(content: &[u8]) -> Result<Page, Error> {
    let decode = || {
        let (length, rest) = content.split_first()?;
        let (id, page) = rest.split_at_checked(usize::from(*length))?;
        Some((id.to_vec(), page.to_vec()))
    };
    decode().ok_or_else(|| damaged("a key page of the backup is malformed"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;

    fn pieces(bytes: &[u8]) -> Result<Vec<Piece>, Error> {
        let mut reader = BackupReader::begin(bytes)?;
        let mut pieces = Vec::new();
        while let Some(piece) = reader.next_piece()? {
            pieces.push(piece);
        }
        Ok(pieces)
    }

    #[test]
    fn a_backup_is_read_back_and_any_damage_is_detected() {
        let entry = |position, bytes| StoredEntry { position, recorded_at_ms: 9, leaf_hash: [3; 32], bytes };
        let entries = [entry(0, Some(b"entry".to_vec())), entry(1, None)];
        let page = (b"id".to_vec(), b"page".to_vec());
        let mut out = Vec::new();
        let mut writer = BackupWriter::begin(&mut out).unwrap();
        entries.iter().for_each(|entry| writer.entry(entry).unwrap());
        writer.checkpoint("note").unwrap();
        writer.timestamp(2, b"token").unwrap();
        writer.key_page(&page).unwrap();
        writer.finish().unwrap();
        let [first, second] = entries.map(Piece::Entry);
        let timestamp = Piece::Timestamp(2, b"token".to_vec());
        let expected = [first, second, Piece::Checkpoint("note".into()), timestamp, Piece::KeyPage(page)];
        assert_eq!(pieces(&out).unwrap(), expected);
        for at in 0..out.len() {
            let mut flipped = out.clone();
            flipped[at] ^= 1;
            assert!(pieces(&flipped).is_err(), "byte {at}");
            assert!(pieces(&out[..at]).is_err(), "cut off at byte {at}");
        }
        out.push(0);
        assert!(pieces(&out).is_err());
    }
}
