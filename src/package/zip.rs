//! Writes a ZIP file as a stream: deflated members, each followed by its length, and the directory at the
//! end.
//!
//! The same members in the same order and with the same time give the same bytes.

use super::manifest::{MANIFEST, Manifest, ManifestFile, MemberDigest, NOTE};
use sayso_proof::merkle::Hash;
use sha2::{Digest, Sha256};
use std::cell::Cell;
use std::io::{self, Write};
use std::rc::Rc;
use zip::write::{SimpleFileOptions, StreamWriter};
use zip::{CompressionMethod, DateTime, ZipWriter};

/// Deflate's usual level, fixed here so that a new default does not change the bytes.
const LEVEL: i64 = 6;
/// Unix mode of the members: only the owner may read them.
const MODE: u32 = 0o600;

/// Writes a ZIP file. If it is dropped before [`Zip::finish`], the file has no directory, so that readers do
/// not accept it as complete.
pub struct Zip<W: Write> {
    /// Declared before the writer, so that it is dropped first.
    closing: Closing,
    members: Members<W>,
    options: SimpleFileOptions,
}

/// Writes members, and computes the digest of each.
struct Members<W: Write> {
    writer: ZipWriter<StreamWriter<Gate<W>>>,
    /// The member that is being written.
    current: Option<MemberDigest>,
    /// The members that were written.
    written: Vec<ManifestFile>,
}

impl<W: Write> Members<W> {
    fn end(&mut self) {
        self.written.extend(self.current.take().map(MemberDigest::finish));
    }
}

impl<W: Write> Write for Members<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.writer.write(bytes)?;
        if let Some(member) = &mut self.current {
            member.take(bytes.get(..written).unwrap_or_default());
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Passes bytes on until it is closed, and discards them after that. Without the gate, a dropped `ZipWriter`
/// would write a directory.
struct Gate<W> {
    inner: W,
    is_open: Rc<Cell<bool>>,
}

impl<W: Write> Write for Gate<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_open.get() { self.inner.write(bytes) } else { Ok(bytes.len()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.is_open.get() { self.inner.flush() } else { Ok(()) }
    }
}

/// Closes the gate when it is dropped.
struct Closing(Rc<Cell<bool>>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

impl<W: Write> Zip<W> {
    /// Begins a file; `made_at_ms` (milliseconds since the Unix epoch) is the time of its members.
    pub fn new(out: W, made_at_ms: u64) -> Self {
        let is_open = Rc::new(Cell::new(true));
        let writer = ZipWriter::new_stream(Gate { inner: out, is_open: Rc::clone(&is_open) });
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(LEVEL))
            .unix_permissions(MODE)
            .last_modified_time(time(made_at_ms));
        let members = Members { writer, current: None, written: Vec::new() };
        Self { closing: Closing(is_open), members, options }
    }

    /// Begins a member; it ends where the next one begins. The caller chooses relative names, with `/`
    /// between folders.
    ///
    /// # Errors
    /// Writing failed. A member of 4 GiB or more fails when it ends.
    pub fn begin(&mut self, name: &str) -> io::Result<&mut (impl Write + use<W>)> {
        self.members.end();
        self.members.writer.start_file(name, self.options)?;
        self.members.current = Some(MemberDigest::new(name));
        Ok(&mut self.members)
    }

    /// Adds a manifest of all members, which names the log `origin`, and the manifest's signature. `sign`
    /// signs the digest that it is given. Nothing may be added afterwards.
    ///
    /// # Errors
    /// Writing failed.
    pub fn sign(&mut self, origin: &str, sign: impl FnOnce(Hash) -> String) -> io::Result<()> {
        self.members.end();
        let files = std::mem::take(&mut self.members.written);
        let manifest = Manifest::new(origin, files).to_bytes()?;
        self.begin(MANIFEST)?.write_all(&manifest)?;
        let note = sign(Sha256::digest(&manifest).into());
        self.begin(NOTE)?.write_all(note.as_bytes())
    }

    /// Writes the directory and returns the writer.
    ///
    /// # Errors
    /// Writing failed.
    pub fn finish(self) -> io::Result<W> {
        let Self { closing, members, .. } = self;
        let mut out = members.writer.finish()?.into_inner();
        out.flush()?;
        drop(closing);
        Ok(out.inner)
    }
}

/// MS-DOS date and time in UTC, with a resolution of two seconds. A time outside of 1980 to 2107 becomes the
/// start of 1980.
fn time(ms: u64) -> DateTime {
    let at = || {
        let time = jiff::Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok()?;
        let time = jiff::tz::Offset::UTC.to_datetime(time);
        let year = u16::try_from(time.year()).ok()?;
        let of = |value: i8| value.unsigned_abs();
        let [month, day] = [time.month(), time.day()].map(of);
        let [hour, minute, second] = [time.hour(), time.minute(), time.second()].map(of);
        DateTime::from_date_and_time(year, month, day, hour, minute, second).ok()
    };
    at().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use crate::package::error::ReadError;
    use crate::package::unzip::with_member;

    fn member(bytes: &[u8], name: &str) -> Result<Option<Vec<u8>>, ReadError> {
        let found = with_member(&mut io::Cursor::new(bytes), name, |member, _| {
            let mut bytes = Vec::new();
            member.read_to_end(&mut bytes).map(|_| bytes)
        });
        Ok(found?.transpose()?)
    }

    /// A buffer that outlives the writer.
    #[derive(Clone, Default)]
    struct Shared(Rc<std::cell::RefCell<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn two_members<W: Write>(out: W) -> Zip<W> {
        let mut zip = Zip::new(out, 1_700_000_000_000);
        for (name, text) in [("a.json", "{}"), ("b/c.txt", &"x".repeat(100_000))] {
            zip.begin(name).unwrap().write_all(text.as_bytes()).unwrap();
        }
        zip
    }

    #[test]
    fn members_can_be_read_back_and_the_bytes_are_reproducible() {
        let bytes = two_members(Vec::new()).finish().unwrap();
        assert!(bytes.len() < 1_000);
        assert_eq!(bytes, two_members(Vec::new()).finish().unwrap());
        let read = |name| member(&bytes, name).unwrap();
        assert_eq!(read("a.json").unwrap(), b"{}");
        assert_eq!(read("b/c.txt").unwrap().len(), 100_000);
        assert!(read("d").is_none());
    }

    #[test]
    fn an_unfinished_file_cannot_be_read() {
        let out = Shared::default();
        drop(two_members(out.clone()));
        let bytes = out.0.take();
        assert!(bytes.starts_with(b"PK"), "the file was begun");
        assert!(member(&bytes, "a.json").is_err());
        assert!(!bytes.windows(4).any(|window| window == b"PK\x05\x06"));
    }

    #[test]
    fn times_become_dos_times() {
        assert_eq!((time(0).year(), time(0).month(), time(0).day()), (1980, 1, 1));
        let time = time(1_700_000_000_000);
        let date = (time.year(), time.month(), time.day());
        assert_eq!((date, time.hour(), time.minute(), time.second()), ((2023, 11, 14), 22, 13, 20));
    }
}
