//! The file of a backup: entries and sealed key pages, framed, with a digest over all of it at the end.
//!
//! `saysoBU1`, then pieces: kind (1 byte), length (4, big-endian), content. Entries in order (`E`: position 8, recorded
//! time 8, leaf hash 32, the bytes, none where discarded), the checkpoint they were taken at (`C`), key pages (`K`: length of
//! the name 1, name, page), and last the SHA-256 of everything before (`Z`). The digest finds damage; that the entries are
//! the log's own is found by the checkpoint's signature over their tree.

use super::{Page, StoredEntry};
use sha2::{Digest, Sha256};
use std::io::{Error, ErrorKind, Read, Write};

const MAGIC: &[u8; 8] = b"saysoBU1";
const ENTRY: u8 = b'E';
const CHECKPOINT: u8 = b'C';
const KEY_PAGE: u8 = b'K';
const END: u8 = b'Z';
/// No piece is longer: an entry is bounded by its message, a key page by what one person's keys can come to.
const PIECE_BYTES_MAX: u32 = 256 << 20;

/// A backup being written.
pub struct BackupWriter<W> {
    out: W,
    digest: Sha256,
}

impl<W: Write> BackupWriter<W> {
    /// Begins a backup.
    ///
    /// # Errors
    /// Writing fails.
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
        let length = length.ok_or_else(|| Error::new(ErrorKind::InvalidInput, "a piece is too long"))?;
        self.put(&[kind])?;
        self.put(&length.to_be_bytes())?;
        parts.iter().try_for_each(|part| self.put(part))
    }

    /// The next entry.
    ///
    /// # Errors
    /// Writing fails.
    pub fn entry(&mut self, entry: &StoredEntry) -> Result<(), Error> {
        let (position, recorded) = (entry.position.to_be_bytes(), entry.recorded_at_ms.to_be_bytes());
        let bytes = entry.bytes.as_deref().unwrap_or_default();
        self.piece(ENTRY, &[&position, &recorded, &entry.leaf_hash, bytes])
    }

    /// The checkpoint over all entries.
    ///
    /// # Errors
    /// Writing fails.
    pub fn checkpoint(&mut self, note: &str) -> Result<(), Error> {
        self.piece(CHECKPOINT, &[note.as_bytes()])
    }

    /// A key page, sealed as it is.
    ///
    /// # Errors
    /// Writing fails.
    pub fn key_page(&mut self, page: &Page) -> Result<(), Error> {
        let length = u8::try_from(page.0.len()).map_err(|_| Error::from(ErrorKind::InvalidInput))?;
        self.piece(KEY_PAGE, &[&[length], &page.0, &page.1])
    }

    /// Ends the backup.
    ///
    /// # Errors
    /// Writing fails.
    pub fn finish(mut self) -> Result<(), Error> {
        let digest = self.digest.clone().finalize();
        self.piece(END, &[&digest])?;
        self.out.flush()
    }
}

/// What is in a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// An entry.
    Entry(StoredEntry),
    /// The checkpoint over all of them.
    Checkpoint(String),
    /// A key page.
    KeyPage(Page),
}

/// A backup being read.
pub struct BackupReader<R> {
    from: R,
    digest: Sha256,
    has_ended: bool,
}

fn damaged(what: &'static str) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}

impl<R: Read> BackupReader<R> {
    /// Begins to read.
    ///
    /// # Errors
    /// It is no backup.
    pub fn begin(from: R) -> Result<Self, Error> {
        let mut reader = Self { from, digest: Sha256::new(), has_ended: false };
        let mut magic = [0; 8];
        reader.take(&mut magic)?;
        if &magic == MAGIC { Ok(reader) } else { Err(damaged("this is no backup of this version")) }
    }

    fn take(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.from.read_exact(bytes).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => damaged("the backup ends in the middle"),
            _ => error,
        })?;
        self.digest.update(&*bytes);
        Ok(())
    }

    /// The next piece; none after the last, where the digest over everything was right and nothing follows.
    ///
    /// # Errors
    /// It can't be read, is cut off, or damaged.
    pub fn next_piece(&mut self) -> Result<Option<Piece>, Error> {
        if self.has_ended {
            return Ok(None);
        }
        let so_far: [u8; 32] = self.digest.clone().finalize().into();
        let (mut kind, mut length) = ([0], [0; 4]);
        self.take(&mut kind)?;
        self.take(&mut length)?;
        let length = u32::from_be_bytes(length);
        if length > PIECE_BYTES_MAX {
            return Err(damaged("a piece of the backup is too long"));
        }
        // Grown as it is read: a length that is wrong must not take memory for nothing.
        let mut content = Vec::new();
        Read::by_ref(&mut self.from).take(u64::from(length)).read_to_end(&mut content)?;
        if content.len() as u64 != u64::from(length) {
            return Err(damaged("the backup ends in the middle"));
        }
        self.digest.update(&content);
        match kind {
            [ENTRY] => decode_entry(&content).map(|entry| Some(Piece::Entry(entry))),
            [CHECKPOINT] => {
                let note = String::from_utf8(content).map_err(|_| damaged("the checkpoint is no text"))?;
                Ok(Some(Piece::Checkpoint(note)))
            }
            [KEY_PAGE] => decode_page(&content).map(|page| Some(Piece::KeyPage(page))),
            [END] if content == so_far => {
                self.has_ended = true;
                let is_last = self.from.read(&mut [0])? == 0;
                if is_last { Ok(None) } else { Err(damaged("something follows the backup's end")) }
            }
            [END] => Err(damaged("the backup is not what was written")),
            _ => Err(damaged("a piece of the backup is of no known kind")),
        }
    }
}

fn decode_entry(content: &[u8]) -> Result<StoredEntry, Error> {
    let take = || {
        let (position, rest) = content.split_first_chunk::<8>()?;
        let (recorded, rest) = rest.split_first_chunk::<8>()?;
        let (leaf_hash, bytes) = rest.split_first_chunk::<32>()?;
        let bytes = Some(bytes.to_vec()).filter(|bytes| !bytes.is_empty());
        let (position, recorded_at_ms) = (u64::from_be_bytes(*position), u64::from_be_bytes(*recorded));
        Some(StoredEntry { position, recorded_at_ms, leaf_hash: *leaf_hash, bytes })
    };
    take().ok_or_else(|| damaged("an entry of the backup is malformed"))
}

fn decode_page(content: &[u8]) -> Result<Page, Error> {
    let take = || {
        let (length, rest) = content.split_first()?;
        let (name, page) = rest.split_at_checked(usize::from(*length))?;
        Some((name.to_vec(), page.to_vec()))
    };
    take().ok_or_else(|| damaged("a key page of the backup is malformed"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;

    fn pieces(bytes: &[u8]) -> Result<Vec<Piece>, Error> {
        let mut reader = BackupReader::begin(bytes)?;
        let mut found = Vec::new();
        while let Some(piece) = reader.next_piece()? {
            found.push(piece);
        }
        Ok(found)
    }

    #[test]
    fn what_is_written_comes_back_and_every_damage_is_found() {
        let entry = |position, bytes| StoredEntry { position, recorded_at_ms: 9, leaf_hash: [3; 32], bytes };
        let entries = [entry(0, Some(b"entry".to_vec())), entry(1, None)];
        let page = (b"name".to_vec(), b"page".to_vec());
        let mut out = Vec::new();
        let mut writer = BackupWriter::begin(&mut out).unwrap();
        entries.iter().for_each(|entry| writer.entry(entry).unwrap());
        writer.checkpoint("note").unwrap();
        writer.key_page(&page).unwrap();
        writer.finish().unwrap();
        let [first, second] = entries.map(Piece::Entry);
        let expected = [first, second, Piece::Checkpoint("note".into()), Piece::KeyPage(page)];
        assert_eq!(pieces(&out).unwrap(), expected);
        for at in 0..out.len() {
            let mut flipped = out.clone();
            flipped[at] ^= 1;
            assert!(pieces(&flipped).is_err(), "byte {at}");
            assert!(pieces(&out[..at]).is_err(), "cut off at {at}");
        }
        out.push(0);
        assert!(pieces(&out).is_err());
    }
}
