//! The format of a batch. A batch holds the key pages (encrypted pages with people's keys) that are
//! written together. It has a 64-byte header, then a record for each page. Zeros after the last record pad
//! the batch to a multiple of 64 bytes.
//!
//! The header has a checksum of itself and one of the body. Each record also has its own checksum, so that a
//! page is verified whenever it is read. `docs/storage.md` describes the format.

use crate::store::embedded::frame::{ALIGN, field, put};

const MAGIC: u32 = 0x5341_594b;
/// Bytes of the length of the id, the length of the page, and the checksum.
const RECORD_HEADER_BYTES: usize = 2 + 4 + 4;
/// This number in place of a page's length means that the page is removed.
const REMOVED: u32 = u32::MAX;

/// A page to write (`Some`) or to remove.
pub type Change = (Vec<u8>, Option<Vec<u8>>);

/// The header of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Number of the batch. The numbers in a store have no gaps, and a compaction continues them.
    pub number: u64,
    /// Batches with a lower number were durable when this batch was written. If one of them is broken, that
    /// is damage and not a torn write.
    pub synced: u64,
    /// Bytes of the whole batch, with this header and the padding.
    pub length: u32,
    count: u32,
    body_checksum: u32,
}

/// Where a record is in a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Offset of the record.
    pub offset: u64,
    /// Bytes of the whole record.
    pub length: u32,
}

/// A batch that was read: the id and the place of each page.
#[derive(Debug, PartialEq, Eq)]
pub struct Batch {
    /// The header.
    pub header: Header,
    /// The records in order; the place is `None` if the page is removed.
    pub records: Vec<(Vec<u8>, Option<Place>)>,
}

impl Header {
    fn encode(&self) -> [u8; ALIGN] {
        let mut bytes = [0; ALIGN];
        put(&mut bytes, 0, &MAGIC.to_le_bytes());
        put(&mut bytes, 4, &self.count.to_le_bytes());
        put(&mut bytes, 8, &self.number.to_le_bytes());
        put(&mut bytes, 16, &self.synced.to_le_bytes());
        put(&mut bytes, 24, &self.length.to_le_bytes());
        put(&mut bytes, 28, &self.body_checksum.to_le_bytes());
        let checksum = crc32fast::hash(bytes.split_at(60).0);
        put(&mut bytes, 60, &checksum.to_le_bytes());
        bytes
    }

    /// Decodes the header in these 64 bytes; `None` if it is not valid.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..ALIGN)?;
        let header = Self {
            count: u32::from_le_bytes(field(bytes, 4)),
            number: u64::from_le_bytes(field(bytes, 8)),
            synced: u64::from_le_bytes(field(bytes, 16)),
            length: u32::from_le_bytes(field(bytes, 24)),
            body_checksum: u32::from_le_bytes(field(bytes, 28)),
        };
        let plausible = header.length as usize >= ALIGN && header.synced <= header.number;
        (plausible && header.encode() == bytes).then_some(header)
    }
}

fn record_checksum(id: &[u8], length: u32, page: &[u8]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length.to_le_bytes());
    hasher.update(id);
    hasher.update(page);
    hasher.finalize().to_le_bytes()
}

/// The limits of a batch, for error messages.
pub const LIMITS: &str = "a write of key pages takes less than 4 GiB, and page ids of less than 64 KiB";

/// Encodes a batch; `None` if it exceeds [`LIMITS`].
pub fn encode(number: u64, synced: u64, changes: &[Change]) -> Option<Vec<u8>> {
    let mut bytes = vec![0; ALIGN];
    for (id, page) in changes {
        let length = match page {
            Some(page) => u32::try_from(page.len()).ok().filter(|length| *length < REMOVED)?,
            None => REMOVED,
        };
        let page = page.as_deref().unwrap_or_default();
        bytes.extend_from_slice(&u16::try_from(id.len()).ok()?.to_le_bytes());
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&record_checksum(id, length, page));
        bytes.extend_from_slice(id);
        bytes.extend_from_slice(page);
    }
    bytes.resize(bytes.len().next_multiple_of(ALIGN), 0);
    let header = Header {
        number,
        synced,
        length: u32::try_from(bytes.len()).ok()?,
        count: u32::try_from(changes.len()).ok()?,
        body_checksum: crc32fast::hash(bytes.get(ALIGN..)?),
    };
    put(&mut bytes, 0, &header.encode());
    Some(bytes)
}

/// Parses the batch at the start of `bytes`, if it is intact. `at` is the offset of `bytes` in the copy.
pub fn parse(bytes: &[u8], at: u64) -> Option<Batch> {
    let header = Header::decode(bytes)?;
    let bytes = bytes.get(..header.length as usize)?;
    (crc32fast::hash(bytes.get(ALIGN..)?) == header.body_checksum).then_some(())?;
    let mut records = Vec::new();
    let mut offset = ALIGN;
    for _ in 0..header.count {
        let Record { id, page, length } = record(bytes.get(offset..)?)?;
        let place = Place { offset: at.saturating_add(offset as u64), length: u32::try_from(length).ok()? };
        records.push((id.to_vec(), page.map(|_| place)));
        offset = offset.saturating_add(length);
    }
    (offset.next_multiple_of(ALIGN) == bytes.len()).then_some(Batch { header, records })
}

/// A record in a file.
struct Record<'a> {
    id: &'a [u8],
    /// `None` if the page is removed.
    page: Option<&'a [u8]>,
    /// Bytes of the whole record.
    length: usize,
}

/// Parses the record at the start of `bytes`, if its checksum matches.
fn record(bytes: &[u8]) -> Option<Record<'_>> {
    let (id_length, rest) = bytes.split_first_chunk::<2>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (checksum, rest) = rest.split_first_chunk::<4>()?;
    let (id, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*id_length)))?;
    let length = u32::from_le_bytes(*length);
    let page = if length == REMOVED { None } else { Some(rest.get(..length as usize)?) };
    let bytes = RECORD_HEADER_BYTES.saturating_add(id.len()).saturating_add(page.map_or(0, <[u8]>::len));
    let intact = record_checksum(id, length, page.unwrap_or_default()) == *checksum;
    intact.then_some(Record { id, page, length: bytes })
}

/// The page in the record `bytes`, if it is the page with this id and its checksum matches.
pub fn page_of<'a>(bytes: &'a [u8], id: &[u8]) -> Option<&'a [u8]> {
    record(bytes).filter(|found| found.id == id && found.length == bytes.len())?.page
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;

    #[test]
    fn a_batch_with_a_flipped_bit_is_not_parsed() {
        let changes = [
            (b"a".to_vec(), Some(b"page".to_vec())),
            (b"bc".to_vec(), None),
            (Vec::new(), Some(vec![7; 90])),
        ];
        let bytes = encode(5, 3, &changes).unwrap();
        let batch = parse(&bytes, 640).unwrap();
        assert_eq!((batch.header.number, batch.header.synced), (5, 3));
        for ((id, page), (found, place)) in changes.iter().zip(&batch.records) {
            assert_eq!(id, found);
            let read = place.map(|place| {
                let from = usize::try_from(place.offset - 640).unwrap();
                page_of(&bytes[from..from + place.length as usize], id).unwrap().to_vec()
            });
            assert_eq!(read, *page);
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(parse(&flipped, 640), None, "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert_eq!(parse(&bytes[..length], 640), None);
        }
    }

    #[test]
    fn a_page_is_read_only_with_its_own_id_and_an_intact_record() {
        let bytes = encode(0, 0, &[(b"id".to_vec(), Some(b"page".to_vec()))]).unwrap();
        let record = bytes[ALIGN..ALIGN + RECORD_HEADER_BYTES + 6].to_vec();
        assert_eq!(page_of(&record, b"id"), Some(b"page".as_slice()));
        assert_eq!(page_of(&record, b"ix"), None);
        for bit in 0..record.len() * 8 {
            let mut flipped = record.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(page_of(&flipped, b"id"), None, "bit {bit}");
        }
    }
}
