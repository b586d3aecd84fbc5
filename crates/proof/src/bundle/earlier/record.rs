//! Stores what an earlier export shows about each position, in memory or, if it is large, in temporary
//! files.

use super::kind::{self, ExportedKind};
use crate::bundle::check::{CheckedEntry, Content};
use crate::bundle::spool::Spool;
use crate::checkpoint::Checkpoint;
use crate::keys::KeyChain;
use crate::merkle::Hash;
use std::fmt::{self, Debug, Formatter};
use std::io::{self, BufWriter, IntoInnerError, Read, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex};
use tempfile::SpooledTempFile;

/// Bytes of records kept in memory. Further records go to an unnamed temporary file.
const MEMORY_BYTES_MAX: usize = 16 << 20;
/// Bytes of a record: leaf hash, recorded time, kind, handle and version.
const RECORD_BYTES: usize = 32 + 8 + 1 + 16 + 8;

/// An earlier export of a log, as [`read_earlier`](super::super::read_earlier) read it. Clones share the
/// temporary files.
#[derive(Clone)]
pub struct Earlier(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub keys: KeyChain,
    pub checkpoint: Checkpoint,
    /// One record for each position.
    records: Mutex<SpooledTempFile>,
    /// The attributes, and the entries about attributes, by the id of the attribute.
    pub attributes: Spool<AboutAttribute>,
    /// Findings in the export itself.
    pub findings: u64,
}

impl Debug for Earlier {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Earlier").field("checkpoint", &self.0.checkpoint).finish_non_exhaustive()
    }
}

/// An entry that records an attribute, or that is about one.
#[derive(prost::Message)]
pub(super) struct AboutAttribute {
    /// The id of the attribute.
    #[prost(bytes = "vec", tag = "1")]
    pub id: Vec<u8>,
    #[prost(uint64, tag = "2")]
    pub position: u64,
    /// Whether the entry records the attribute.
    #[prost(bool, tag = "3")]
    pub is_recorded: bool,
}

/// What an earlier export shows about one position.
#[derive(Clone, Copy)]
pub(super) struct Record {
    pub leaf: Hash,
    /// Milliseconds since the Unix epoch.
    pub recorded_at_ms: u64,
    pub kind: ExportedKind,
    /// Whom it is about, and its version in their stream. Zero if it was erased.
    pub handle: [u8; 16],
    pub version: u64,
}

impl Record {
    fn to_bytes(self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        let parts = self.leaf.into_iter().chain(self.recorded_at_ms.to_be_bytes()).chain([self.kind as u8]);
        let parts = parts.chain(self.handle).chain(self.version.to_be_bytes());
        bytes.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
        bytes
    }

    fn parse(bytes: &[u8; RECORD_BYTES]) -> Option<Self> {
        let (leaf, rest) = bytes.split_first_chunk()?;
        let (recorded_at_ms, rest) = rest.split_first_chunk()?;
        let (kind, rest) = rest.split_first()?;
        let (handle, version) = rest.split_first_chunk()?;
        let (version, _) = version.split_first_chunk()?;
        Some(Self {
            leaf: *leaf,
            recorded_at_ms: u64::from_be_bytes(*recorded_at_ms),
            kind: ExportedKind::of_number(*kind)?,
            handle: *handle,
            version: u64::from_be_bytes(*version),
        })
    }
}

/// Notes what an export shows, entry by entry.
pub(in crate::bundle) struct Recorder {
    records: BufWriter<SpooledTempFile>,
    attributes: Spool<AboutAttribute>,
}

impl Recorder {
    /// For a log with this number of entries.
    pub fn new(entries: u64) -> Self {
        let records = BufWriter::new(SpooledTempFile::new(MEMORY_BYTES_MAX));
        Self { records, attributes: Spool::new(entries) }
    }

    /// Bytes of what was noted about attributes. The rest is limited by the number of entries.
    pub fn bytes(&self) -> u64 {
        self.attributes.bytes()
    }

    /// Notes the next entry.
    ///
    /// # Errors
    /// A temporary file cannot be written.
    pub fn add(&mut self, next: &CheckedEntry) -> io::Result<()> {
        let CheckedEntry { position, recorded_at_ms, leaf, content } = next;
        let kind = match content {
            Content::Erased => ExportedKind::Erased,
            Content::Withheld(_) => ExportedKind::Withheld,
            Content::Plain(..) => ExportedKind::System,
            Content::Sealed(header, body) => {
                let event = body.event.as_ref();
                if event.is_some_and(kind::records_attribute) {
                    self.add_about(&header.event_id, *position, true)?;
                }
                if let Some(named) = event.and_then(kind::named_attribute) {
                    self.add_about(named, *position, false)?;
                }
                event.map_or(ExportedKind::Other, kind::exported_kind)
            }
        };
        let header = content.header();
        let handle = header.map_or([0; 16], |header| header.handle.0);
        let version = header.map_or(0, |header| header.version);
        let record = Record { leaf: *leaf, recorded_at_ms: *recorded_at_ms, kind, handle, version };
        self.records.write_all(&record.to_bytes())
    }

    /// What was noted of an export with these keys, this checkpoint and this number of findings.
    ///
    /// # Errors
    /// A temporary file cannot be written.
    pub fn finish(self, keys: KeyChain, checkpoint: Checkpoint, findings: u64) -> io::Result<Earlier> {
        let Self { records, attributes } = self;
        let records = records.into_inner().map_err(IntoInnerError::into_error)?;
        let records = Mutex::new(records);
        Ok(Earlier(Arc::new(Inner { keys, checkpoint, records, attributes, findings })))
    }

    fn add_about(&mut self, id: &[u8], position: u64, is_recorded: bool) -> io::Result<()> {
        self.attributes.push(id, &AboutAttribute { id: id.to_vec(), position, is_recorded })
    }
}

impl Inner {
    /// Reads the records of up to `count` positions from `first` on, fewer if the export ends earlier.
    pub fn read(&self, first: u64, count: usize) -> io::Result<Vec<Record>> {
        let mut bytes = Vec::new();
        let mut records = self.records.lock().map_err(|_| io::Error::other("a thread panicked"))?;
        records.seek(SeekFrom::Start(first.saturating_mul(RECORD_BYTES as u64)))?;
        (&mut *records).take((count * RECORD_BYTES) as u64).read_to_end(&mut bytes)?;
        let (records, _) = bytes.as_chunks::<RECORD_BYTES>();
        Ok(records.iter().filter_map(Record::parse).collect())
    }
}
