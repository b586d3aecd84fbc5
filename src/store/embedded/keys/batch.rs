//! The bytes of one write of key pages: a 64-byte header, then a record a page, padded with zeros to 64 bytes.
//!
//! The header's checksum covers the header, and through it that of the body; each record has one of its own beside, so
//! that a page is checked whenever it is read. The format stands in `docs/storage.md`.

use crate::store::embedded::frame::{ALIGN, field, put};

const MAGIC: u32 = 0x5341_594b;
/// Length of the id, length of the page, checksum.
const RECORD_HEAD: usize = 2 + 4 + 4;
/// In the place of a page's length: the page is removed.
const REMOVED: u32 = u32::MAX;

/// A page to write (`Some`) or to remove.
pub type Change = (Vec<u8>, Option<Vec<u8>>);

/// The header of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Dense in a store, over all its compactions.
    pub number: u64,
    /// Batches before this number had been durable when it was written: if one of them is broken, it was not torn.
    pub synced: u64,
    /// Bytes of the whole batch, this header and the padding included.
    pub length: u32,
    count: u32,
    body_checksum: u32,
}

/// Where a record lies in a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Offset of the record.
    pub offset: u64,
    /// Bytes of the whole record.
    pub length: u32,
}

/// A batch that was read back: for each page its id and where it lies, nowhere where it was removed.
#[derive(Debug, PartialEq, Eq)]
pub struct Batch {
    /// Its header.
    pub header: Header,
    /// Its records, in order.
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

    /// The header in these 64 bytes, if they are one.
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

/// The bytes of a batch; `None` where it is out of bounds (an id of 64 KiB, 4 GiB in all).
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

/// The batch at the start of `bytes`, which lie at offset `at`, if it is whole.
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

/// A record as it lies in a file.
struct Record<'a> {
    id: &'a [u8],
    /// None: the page is removed.
    page: Option<&'a [u8]>,
    /// Of the whole record, bytes.
    length: usize,
}

/// The record at the start of `bytes`, if its checksum holds.
fn record(bytes: &[u8]) -> Option<Record<'_>> {
    let (id_length, rest) = bytes.split_first_chunk::<2>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (checksum, rest) = rest.split_first_chunk::<4>()?;
    let (id, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*id_length)))?;
    let length = u32::from_le_bytes(*length);
    let page = if length == REMOVED { None } else { Some(rest.get(..length as usize)?) };
    let bytes = RECORD_HEAD.saturating_add(id.len()).saturating_add(page.map_or(0, <[u8]>::len));
    let whole = record_checksum(id, length, page.unwrap_or_default()) == *checksum;
    whole.then_some(Record { id, page, length: bytes })
}

/// The page in a record that was read by its place, if it is this one's and its checksum holds.
pub fn page_of<'a>(bytes: &'a [u8], id: &[u8]) -> Option<&'a [u8]> {
    record(bytes).filter(|found| found.id == id && found.length == bytes.len())?.page
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;

    #[test]
    fn a_batch_with_any_bit_flipped_is_none() {
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
            let lies = place.map(|place| {
                let from = usize::try_from(place.offset - 640).unwrap();
                page_of(&bytes[from..from + place.length as usize], id).unwrap().to_vec()
            });
            assert_eq!(lies, *page);
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
    fn a_page_is_read_as_its_own_or_not_at_all() {
        let bytes = encode(0, 0, &[(b"id".to_vec(), Some(b"page".to_vec()))]).unwrap();
        let record = bytes[ALIGN..ALIGN + RECORD_HEAD + 6].to_vec();
        assert_eq!(page_of(&record, b"id"), Some(b"page".as_slice()));
        assert_eq!(page_of(&record, b"ix"), None);
        for bit in 0..record.len() * 8 {
            let mut flipped = record.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(page_of(&flipped, b"id"), None, "bit {bit}");
        }
    }
}
