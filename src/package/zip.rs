//! A ZIP file as a stream (APPNOTE 6.3.10): members deflated, their lengths behind them, the directory at the end.
//!
//! Only what packages need: no encryption, no comments, members and file below 4 GiB. More than 65,535 members get
//! the ZIP64 end record (s. 4.3.14), which every current reader knows.

use flate2::Compression;
use flate2::write::DeflateEncoder;
use std::io::{self, Error, ErrorKind, Write};

const LOCAL: u32 = 0x0403_4b50;
const DESCRIPTOR: u32 = 0x0807_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;
const END64: u32 = 0x0606_4b50;
const LOCATOR64: u32 = 0x0706_4b50;
/// 2.0: deflate.
const VERSION: u16 = 20;
const VERSION64: u16 = 45;
/// Lengths follow the data; names are UTF-8.
const FLAGS: u16 = 1 << 3 | 1 << 11;
const DEFLATE: u16 = 8;
/// A regular file of its owner's alone, for systems that ask.
const ATTRIBUTES: u32 = 0o100_600 << 16;

/// A ZIP file on its way out.
pub struct Zip<W: Write> {
    out: Counted<W>,
    /// The central directory so far: about 80 bytes a member.
    directory: Vec<u8>,
    members: u64,
    /// MS-DOS time and date of every member.
    stamp: [u16; 2],
}

struct Counted<W> {
    inner: W,
    count: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.count = self.count.saturating_add(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A member on its way out. It is whole only after [`Member::finish`].
pub struct Member<'a, W: Write> {
    encoder: DeflateEncoder<&'a mut Counted<W>>,
    directory: &'a mut Vec<u8>,
    members: &'a mut u64,
    stamp: [u16; 2],
    name: String,
    at: u64,
    length: u64,
    checksum: crc32fast::Hasher,
}

fn small(value: u64) -> io::Result<u32> {
    u32::try_from(value).map_err(|_| Error::new(ErrorKind::FileTooLarge, "a package must be below 4 GiB"))
}

fn put(out: &mut Vec<u8>, words: &[u32]) {
    words.iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
}

fn put_short(out: &mut Vec<u8>, words: &[u16]) {
    words.iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
}

impl<W: Write> Zip<W> {
    /// Begins a file; `made_at_ms` (milliseconds since the Unix epoch) is the time of its members.
    pub fn new(out: W, made_at_ms: u64) -> Self {
        let out = Counted { inner: out, count: 0 };
        Self { out, directory: Vec::new(), members: 0, stamp: stamp(made_at_ms) }
    }

    /// Begins a member. Names are the caller's own: relative, `/` between folders.
    ///
    /// # Errors
    /// Writing, or the file is at its bound.
    pub fn begin(&mut self, name: &str) -> io::Result<Member<'_, W>> {
        let at = self.out.count;
        let length = u16::try_from(name.len()).map_err(|_| Error::from(ErrorKind::InvalidFilename))?;
        let mut header = Vec::with_capacity(64);
        put(&mut header, &[LOCAL]);
        put_short(&mut header, &[VERSION, FLAGS, DEFLATE, self.stamp[0], self.stamp[1]]);
        put(&mut header, &[0, 0, 0]);
        put_short(&mut header, &[length, 0]);
        header.extend_from_slice(name.as_bytes());
        self.out.write_all(&header)?;
        Ok(Member {
            encoder: DeflateEncoder::new(&mut self.out, Compression::default()),
            directory: &mut self.directory,
            members: &mut self.members,
            stamp: self.stamp,
            name: name.to_owned(),
            at,
            length: 0,
            checksum: crc32fast::Hasher::new(),
        })
    }

    /// Writes the directory and hands the writer back.
    ///
    /// # Errors
    /// Writing, or the file is at its bound.
    pub fn finish(mut self) -> io::Result<W> {
        let (at, length) = (self.out.count, self.directory.len() as u64);
        self.out.write_all(&self.directory)?;
        let mut end = Vec::with_capacity(128);
        if self.members >= u64::from(u16::MAX) {
            put(&mut end, &[END64]);
            end.extend_from_slice(&44_u64.to_le_bytes());
            put_short(&mut end, &[VERSION64, VERSION64]);
            put(&mut end, &[0, 0]);
            for value in [self.members, self.members, length, at] {
                end.extend_from_slice(&value.to_le_bytes());
            }
            put(&mut end, &[LOCATOR64, 0]);
            end.extend_from_slice(&at.saturating_add(length).to_le_bytes());
            put(&mut end, &[1]);
        }
        let members = u16::try_from(self.members).unwrap_or(u16::MAX);
        put(&mut end, &[END]);
        put_short(&mut end, &[0, 0, members, members]);
        put(&mut end, &[small(length)?, small(at)?]);
        put_short(&mut end, &[0]);
        self.out.write_all(&end)?;
        self.out.flush()?;
        Ok(self.out.inner)
    }
}

impl<W: Write> Member<'_, W> {
    /// Ends the member: its lengths and checksum follow, and its line of the directory is kept.
    ///
    /// # Errors
    /// Writing, or a length is at its bound.
    pub fn finish(self) -> io::Result<()> {
        let name_length = u16::try_from(self.name.len()).unwrap_or(u16::MAX);
        let packed = { self.encoder.finish()? };
        let begin = self.at.saturating_add(30).saturating_add(u64::from(name_length));
        let packed_length = small(packed.count.saturating_sub(begin))?;
        let sizes = [self.checksum.finalize(), packed_length, small(self.length)?];
        let mut trailer = Vec::with_capacity(16);
        put(&mut trailer, &[DESCRIPTOR]);
        put(&mut trailer, &sizes);
        packed.write_all(&trailer)?;
        let line = self.directory;
        put(line, &[CENTRAL]);
        // Made by: Unix (3), so that the attributes below mean something.
        put_short(line, &[3 << 8 | VERSION, VERSION, FLAGS, DEFLATE, self.stamp[0], self.stamp[1]]);
        put(line, &sizes);
        put_short(line, &[name_length, 0, 0, 0, 0]);
        put(line, &[ATTRIBUTES, small(self.at)?]);
        line.extend_from_slice(self.name.as_bytes());
        *self.members = self.members.saturating_add(1);
        Ok(())
    }
}

impl<W: Write> Write for Member<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.encoder.write(bytes)?;
        let (done, _) = bytes.split_at(written.min(bytes.len()));
        self.checksum.update(done);
        self.length = self.length.saturating_add(done.len() as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        // Flushing a deflate stream in its midst costs space and gains nothing here.
        Ok(())
    }
}

/// MS-DOS time and date (two seconds' resolution, from 1980), in UTC.
fn stamp(ms: u64) -> [u16; 2] {
    let time = i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    let Some(time) = time.map(|time| jiff::tz::Offset::UTC.to_datetime(time)) else { return [0, 0x21] };
    let of = |value: i8| u16::try_from(value).unwrap_or_default();
    let years = u16::try_from(time.year().saturating_sub(1980)).unwrap_or_default().min(127);
    let clock = of(time.hour()) << 11 | of(time.minute()) << 5 | (of(time.second()) / 2);
    [clock, years << 9 | of(time.month()) << 5 | of(time.day())]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use crate::package::read::member;

    #[test]
    fn members_come_back() {
        let mut zip = Zip::new(Vec::new(), 1_700_000_000_000);
        for (name, text) in [("a.json", "{}"), ("b/c.txt", &"x".repeat(100_000))] {
            let mut member = zip.begin(name).unwrap();
            member.write_all(text.as_bytes()).unwrap();
            member.finish().unwrap();
        }
        let bytes = zip.finish().unwrap();
        assert!(bytes.len() < 1_000);
        let read = |name| member(&mut io::Cursor::new(&bytes), name, 1 << 20).unwrap();
        assert_eq!(read("a.json").unwrap(), b"{}");
        assert_eq!(read("b/c.txt").unwrap().len(), 100_000);
        assert!(read("d").is_none());
    }

    #[test]
    fn a_member_that_would_swell_is_refused() {
        let mut zip = Zip::new(Vec::new(), 0);
        let mut bomb = zip.begin("package.json").unwrap();
        bomb.write_all(&vec![b' '; 1 << 20]).unwrap();
        bomb.finish().unwrap();
        let bytes = zip.finish().unwrap();
        assert!(member(&mut io::Cursor::new(&bytes), "package.json", 1 << 16).is_err());
    }

    #[test]
    fn times_are_dos_times() {
        assert_eq!(stamp(0), [0, 1 << 5 | 1]);
        // 2023-11-14T22:13:20Z
        assert_eq!(stamp(1_700_000_000_000), [22 << 11 | 13 << 5 | 10, 43 << 9 | 11 << 5 | 14]);
    }
}
