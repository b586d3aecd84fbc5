//! The format of entries in a segment: frames of records.
//!
//! A frame holds what one request wrote: a 64-byte header, then for each entry a 64-byte record header and
//! the entry's bytes, padded with zeros. Everything is aligned to 64 bytes. So each record header lies in one
//! disk sector, and can be rewritten as a whole when its entry is discarded.
//!
//! Each record header holds two checksums: one over the header itself, and one over the bytes of its
//! entry. The frame's checksum covers the frame header and four fields of each record header: length,
//! recorded time, leaf hash, and the checksum of the bytes. A discard overwrites the entry's bytes, marks
//! the record header as discarded, and clears its recorded time. It also adjusts the checksum of the
//! bytes, so that the frame's checksum stays right. `docs/storage.md` describes the format.

use crate::store::NewEntry;
use sayso_proof::merkle::Hash;

/// Headers and data start at multiples of this many bytes.
pub const ALIGN: usize = 64;
const FRAME_MAGIC: u32 = 0x5341_5946;
/// Maximum number of entries in a frame.
pub const FRAME_ENTRIES_MAX: u32 = 65_536;
/// The limits of a frame, for error messages.
pub const LIMITS: &str = "a frame needs 1 to 65,536 entries and less than 4 GiB";

/// The state of an entry's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// They are in the record.
    Present = 1,
    /// They were destroyed; the leaf hash is kept.
    Discarded = 2,
}

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Position at which the frame's commit began. A crash may leave only some frames of a commit.
    pub commit_start: u64,
    /// Position of the first entry.
    pub first: u64,
    /// Number of entries.
    pub count: u32,
    /// Bytes of the whole frame, with this header.
    pub length: u32,
    checksum: u32,
}

/// The header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// Bytes of the entry, without padding.
    pub length: u32,
    /// The state of these bytes.
    pub state: State,
    /// Recorded time, milliseconds since the Unix epoch. 0 if the entry was discarded, except by an early
    /// version.
    pub recorded_at_ms: u64,
    /// RFC 6962 leaf hash; kept when the bytes are discarded.
    pub leaf_hash: Hash,
    /// CRC-32 of the bytes. Of a discarded record: what keeps the checksum of the frame.
    pub bytes_checksum: u32,
    /// The entry's position, to detect a location that leads to another record. Older records don't have it.
    pub position: Option<u64>,
}

/// Rounds up to the alignment.
pub fn padded(length: usize) -> usize {
    length.next_multiple_of(ALIGN)
}

/// Reads `N` bytes at `at`; zeros if there are fewer.
pub fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut field = [0; N];
    if let Some(source) = bytes.get(at..at.saturating_add(N)) {
        field.copy_from_slice(source);
    }
    field
}

/// Writes `source` at `at`, if it fits.
pub fn put(bytes: &mut [u8], at: usize, source: &[u8]) {
    if let Some(target) = bytes.get_mut(at..at.saturating_add(source.len())) {
        target.copy_from_slice(source);
    }
}

impl RecordHeader {
    fn new(position: u64, entry: &NewEntry) -> Option<Self> {
        Some(Self {
            length: u32::try_from(entry.bytes.len()).ok()?,
            state: State::Present,
            recorded_at_ms: entry.recorded_at_ms,
            leaf_hash: entry.leaf_hash,
            bytes_checksum: crc32fast::hash(&entry.bytes),
            position: Some(position),
        })
    }

    /// The 64 bytes on disk.
    pub fn encode(&self) -> [u8; ALIGN] {
        let mut bytes = [0; ALIGN];
        put(&mut bytes, 0, &self.length.to_le_bytes());
        put(&mut bytes, 4, &(self.state as u32).to_le_bytes());
        put(&mut bytes, 8, &self.recorded_at_ms.to_le_bytes());
        put(&mut bytes, 16, &self.leaf_hash);
        put(&mut bytes, 48, &self.bytes_checksum.to_le_bytes());
        let position = self.position.map_or(0, |position| position.saturating_add(1));
        put(&mut bytes, 52, &position.to_le_bytes());
        let checksum = crc32fast::hash(bytes.split_at(60).0);
        put(&mut bytes, 60, &checksum.to_le_bytes());
        bytes
    }

    /// Decodes the header in these 64 bytes; `None` if it is not valid.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; ALIGN] = bytes.get(..ALIGN)?.try_into().ok()?;
        if u32::from_le_bytes(field(bytes, 60)) != crc32fast::hash(bytes.split_at(60).0) {
            return None;
        }
        let state = match u32::from_le_bytes(field(bytes, 4)) {
            1 => State::Present,
            2 => State::Discarded,
            _ => return None,
        };
        Some(Self {
            length: u32::from_le_bytes(field(bytes, 0)),
            state,
            recorded_at_ms: u64::from_le_bytes(field(bytes, 8)),
            leaf_hash: field(bytes, 16),
            bytes_checksum: u32::from_le_bytes(field(bytes, 48)),
            position: u64::from_le_bytes(field(bytes, 52)).checked_sub(1),
        })
    }

    /// Whether the record can belong to this position. This is also true if the header has no position.
    pub fn is_at(&self, position: u64) -> bool {
        self.position.is_none_or(|own| own == position)
    }

    /// Bytes of the whole record on disk.
    pub fn span(&self) -> usize {
        ALIGN.saturating_add(padded(self.length as usize))
    }

    /// The header of the discarded record. It has no recorded time, so that nothing shows when the entry was
    /// recorded.
    ///
    /// The checksum of the frame stays right without a write to the frame's header: the CRC of the frame
    /// follows from the last four bytes of [`Self::constant`] combined by XOR with the CRC of what precedes
    /// them. The checksum of the bytes, which are gone, takes up the difference between the two times.
    pub fn discarded(&self) -> Self {
        let crc_of = |time_ms: u64| {
            let mut hasher = crc32fast::Hasher::new();
            hasher.update(&time_ms.to_le_bytes());
            hasher.update(&[0; 32]);
            hasher.finalize()
        };
        let difference = crc_of(self.recorded_at_ms) ^ crc_of(0);
        Self {
            state: State::Discarded,
            recorded_at_ms: 0,
            bytes_checksum: self.bytes_checksum ^ difference,
            ..*self
        }
    }

    /// The fields from which the frame's checksum is computed.
    fn constant(&self) -> [u8; 48] {
        let mut bytes = [0; 48];
        put(&mut bytes, 0, &self.length.to_le_bytes());
        put(&mut bytes, 4, &self.recorded_at_ms.to_le_bytes());
        put(&mut bytes, 12, &self.leaf_hash);
        put(&mut bytes, 44, &self.bytes_checksum.to_le_bytes());
        bytes
    }
}

impl FrameHeader {
    /// The header on disk, with zeros in place of the checksum.
    fn encode_unchecked(&self) -> [u8; ALIGN] {
        let mut bytes = [0; ALIGN];
        put(&mut bytes, 0, &FRAME_MAGIC.to_le_bytes());
        put(&mut bytes, 4, &self.count.to_le_bytes());
        put(&mut bytes, 8, &self.commit_start.to_le_bytes());
        put(&mut bytes, 16, &self.first.to_le_bytes());
        put(&mut bytes, 24, &self.length.to_le_bytes());
        bytes
    }

    fn encode(&self) -> [u8; ALIGN] {
        let mut bytes = self.encode_unchecked();
        put(&mut bytes, 60, &self.checksum.to_le_bytes());
        bytes
    }

    /// Decodes the header in these 64 bytes, if it is plausible. Only [`parse`] verifies the checksum.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..ALIGN)?;
        let header = Self {
            commit_start: u64::from_le_bytes(field(bytes, 8)),
            first: u64::from_le_bytes(field(bytes, 16)),
            count: u32::from_le_bytes(field(bytes, 4)),
            length: u32::from_le_bytes(field(bytes, 24)),
            checksum: u32::from_le_bytes(field(bytes, 60)),
        };
        let plausible = header.encode() == bytes
            && (1..=FRAME_ENTRIES_MAX).contains(&header.count)
            && header.length as usize >= ALIGN.saturating_mul(header.count as usize + 1)
            && header.commit_start <= header.first;
        plausible.then_some(header)
    }

    fn checksum<'a>(&self, records: impl Iterator<Item = &'a RecordHeader>) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.encode_unchecked());
        records.for_each(|record| hasher.update(&record.constant()));
        hasher.finalize()
    }
}

/// Bytes of the frame of these entries; `None` if there are no entries or more than [`FRAME_ENTRIES_MAX`], or
/// if the frame has 4 GiB or more.
pub fn length(entries: &[NewEntry]) -> Option<u32> {
    let span = |entry: &NewEntry| ALIGN.saturating_add(padded(entry.bytes.len()));
    let length = entries.iter().map(span).fold(ALIGN, usize::saturating_add);
    let count = u32::try_from(entries.len()).ok()?;
    (1..=FRAME_ENTRIES_MAX).contains(&count).then_some(())?;
    u32::try_from(length).ok()
}

/// Appends the frame of these entries to `buffer`, and returns the offset of each record in `buffer`.
/// `None` if the frame exceeds a limit, as for [`length`].
pub fn append(
    buffer: &mut Vec<u8>,
    commit_start: u64,
    first: u64,
    entries: &[NewEntry],
) -> Option<Vec<usize>> {
    let length = length(entries)?;
    let headers = entries.iter().zip(first..).map(|(entry, position)| RecordHeader::new(position, entry));
    let records: Vec<RecordHeader> = headers.collect::<Option<_>>()?;
    let count = u32::try_from(entries.len()).ok()?;
    let mut header = FrameHeader { commit_start, first, count, length, checksum: 0 };
    header.checksum = header.checksum(records.iter());
    buffer.reserve(length as usize);
    buffer.extend_from_slice(&header.encode());
    let mut offsets = Vec::with_capacity(entries.len());
    for (record, entry) in records.iter().zip(entries) {
        offsets.push(buffer.len());
        buffer.extend_from_slice(&record.encode());
        buffer.extend_from_slice(&entry.bytes);
        buffer.resize(buffer.len().next_multiple_of(ALIGN), 0);
    }
    Some(offsets)
}

/// A record that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Offset of its header in the frame.
    pub offset: usize,
    /// Its header.
    pub header: RecordHeader,
    /// Whether the record is discarded but its bytes are not all zero, because a crash interrupted the
    /// discard.
    pub unfinished: bool,
}

impl Record {
    /// The entry's bytes in the frame that the record was read from; `None` if they were discarded.
    pub fn bytes<'a>(&self, frame: &'a [u8]) -> Option<&'a [u8]> {
        let data = frame.get(self.offset.saturating_add(ALIGN)..)?.get(..self.header.length as usize)?;
        (self.header.state == State::Present).then_some(data)
    }
}

/// A frame that was read.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// Its header.
    pub header: FrameHeader,
    /// Its records, in order.
    pub records: Vec<Record>,
}

/// Parses the frame at the start of `bytes`, if it is intact: every checksum matches.
pub fn parse(bytes: &[u8]) -> Option<Parsed> {
    let header = FrameHeader::decode(bytes)?;
    let frame = bytes.get(..header.length as usize)?;
    let mut records = Vec::with_capacity(header.count as usize);
    let mut offset = ALIGN;
    for number in 0..header.count {
        let record = RecordHeader::decode(frame.get(offset..)?)?;
        if !record.is_at(header.first.saturating_add(u64::from(number))) {
            return None;
        }
        let end = offset.saturating_add(record.span());
        let (data, padding) =
            frame.get(offset.saturating_add(ALIGN)..end)?.split_at_checked(record.length as usize)?;
        let unfinished = match record.state {
            State::Present if crc32fast::hash(data) != record.bytes_checksum => return None,
            State::Present => false,
            State::Discarded => data.iter().any(|byte| *byte != 0),
        };
        if padding.iter().any(|byte| *byte != 0) {
            return None;
        }
        records.push(Record { offset, header: record, unfinished });
        offset = end;
    }
    let intact = offset == frame.len()
        && header.checksum(records.iter().map(|record| &record.header)) == header.checksum;
    intact.then_some(Parsed { header, records })
}
