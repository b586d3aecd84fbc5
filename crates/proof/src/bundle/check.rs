//! Checks that need only the entry itself: form, position, signature, seal and body. So they run on all
//! cores.

use super::entry_line::{EntryLine, LINE_BYTES_MIN, ParsedLine, State};
use super::rejection::Rejection;
use crate::batch;
use crate::entry::{self, Entry, EntryError, EventKey, Handle, Header};
use crate::event::EventBody;
use crate::keys::KeyChain;
use crate::merkle::{self, Hash};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::VerifyingKey;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

/// Number of lines whose signatures are verified together. Larger batches are hardly faster.
const BATCH_LINES: usize = 1024;

/// An entry that passed the checks of this file.
pub(super) struct CheckedEntry {
    pub position: u64,
    pub recorded_at_ms: u64,
    /// Its leaf hash, from `leaf-hashes.bin`.
    pub leaf: Hash,
    pub content: Content,
}

/// The parts of an entry that the bundle has.
pub(super) enum Content {
    Erased,
    Withheld(Header),
    Sealed(Header, EventBody),
    Plain(Header, EventBody),
}

impl Content {
    /// The header, unless the entry is erased.
    pub fn header(&self) -> Option<&Header> {
        match self {
            Self::Erased => None,
            Self::Withheld(header) | Self::Sealed(header, _) | Self::Plain(header, _) => Some(header),
        }
    }
}

/// The checked entry of one line, or why the line is rejected.
pub(super) type Verdict = Result<CheckedEntry, Rejection>;

/// What the lines of a file are checked against.
struct Expected {
    keys: Arc<KeyChain>,
    /// Position of the first line.
    first: u64,
    /// Leaf hashes of the file's entries; fewer if the tree ends before the file.
    leaves: Vec<Hash>,
}

impl Expected {
    fn leaf(&self, position: u64) -> Option<Hash> {
        self.leaves.get(usize::try_from(position.checked_sub(self.first)?).ok()?).copied()
    }
}

/// The index of a batch within its file, and the verdict on each of its lines.
type CheckedBatch = (usize, Vec<Verdict>);

/// A running check of one file of entries, on all cores. Meanwhile the next file is read.
pub(super) struct FileCheck {
    /// Number of lines.
    pub count: u64,
    ends_with_newline: bool,
    workers: Vec<JoinHandle<Vec<CheckedBatch>>>,
}

impl FileCheck {
    /// Starts the check. The first line must be at position `first`. `leaves` returns the leaf hashes for a
    /// number of lines, or fewer if the tree ends earlier.
    ///
    /// # Errors
    /// `leaves` failed.
    pub fn start(
        first: u64,
        file: &Arc<Vec<u8>>,
        keys: &Arc<KeyChain>,
        leaves: impl FnOnce(u64) -> io::Result<Vec<Hash>>,
    ) -> io::Result<Self> {
        let lines: Arc<[Range<usize>]> = line_ranges(file).into();
        let count = lines.len() as u64;
        let expected = Arc::new(Expected { keys: Arc::clone(keys), first, leaves: leaves(count)? });
        let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        // Each worker fetches one batch at a time, because the cores are also busy reading the next file.
        let next_batch = Arc::new(AtomicUsize::new(0));
        let worker = || {
            let (file, expected, lines, next_batch) =
                (Arc::clone(file), Arc::clone(&expected), Arc::clone(&lines), Arc::clone(&next_batch));
            thread::spawn(move || {
                let batches = || {
                    let index = next_batch.fetch_add(1, Ordering::Relaxed);
                    lines.chunks(BATCH_LINES).nth(index).map(|batch| (index, batch))
                };
                let check = |(index, batch)| {
                    let position = first + (index * BATCH_LINES) as u64;
                    (index, check_batch(position, &file, batch, &expected))
                };
                std::iter::from_fn(batches).map(check).collect()
            })
        };
        let workers = (0..cores).map(|_| worker()).collect();
        Ok(Self { count, ends_with_newline: file.last() == Some(&b'\n'), workers })
    }

    /// Waits until the check is complete.
    pub fn wait(self) -> CheckedFile {
        let joined: Result<Vec<_>, _> = self.workers.into_iter().map(JoinHandle::join).collect();
        let verdicts = joined.map(|workers| {
            let mut batches: Vec<_> = workers.into_iter().flatten().collect();
            batches.sort_unstable_by_key(|(index, _)| *index);
            batches.into_iter().flat_map(|(_, verdicts)| verdicts).collect()
        });
        let panicked = |_| vec![Err("the verifier failed: a thread that checks entries panicked".into())];
        CheckedFile { verdicts: verdicts.unwrap_or_else(panicked), ends_with_newline: self.ends_with_newline }
    }
}

/// The result of checking one file of entries.
pub(super) struct CheckedFile {
    /// One verdict per line, in order.
    pub verdicts: Vec<Verdict>,
    /// Whether the last line ends with a newline.
    pub ends_with_newline: bool,
}

/// The range of each line, without its newline. A line that is too short to be one is the last: nothing after
/// it matters, and so a file of newlines takes no more memory than one of entries.
fn line_ranges(file: &[u8]) -> Vec<Range<usize>> {
    let mut start = 0;
    let range = |line: &[u8]| {
        let range = start..start + line.len();
        start = range.end + 1;
        range
    };
    let mut lines = Vec::new();
    for line in file.strip_suffix(b"\n").unwrap_or(file).split(|byte| *byte == b'\n').map(range) {
        let is_too_short = line.len() < LINE_BYTES_MIN;
        lines.push(line);
        if is_too_short {
            break;
        }
    }
    lines
}

/// Checks one batch of lines. The first line must be at `position`.
fn check_batch(mut position: u64, file: &[u8], batch: &[Range<usize>], expected: &Expected) -> Vec<Verdict> {
    let mut verdicts = Vec::with_capacity(batch.len());
    let mut signed = Vec::with_capacity(batch.len());
    for line in batch {
        let line = file.get(line.clone()).unwrap_or_default();
        let checked = check_line(position, line, expected);
        let key = expected.keys.at(position).key;
        verdicts.push(checked.map(|(checked, entry)| {
            signed.extend(entry.map(|entry| (verdicts.len(), entry, key)));
            checked
        }));
        position += 1;
    }
    for (index, error) in invalid_signatures(&signed) {
        if let Some(verdict) = verdicts.get_mut(index) {
            *verdict = Err(Rejection::fault(error));
        }
    }
    verdicts
}

/// The entries whose signature does not verify, by index.
fn invalid_signatures(signed: &[(usize, Entry, VerifyingKey)]) -> Vec<(usize, EntryError)> {
    let all: Vec<_> =
        signed.iter().map(|(_, entry, key)| (entry.signed_bytes(), entry.signature(), key)).collect();
    if batch::all_valid(&all) {
        return Vec::new();
    }
    // A batch does not tell which signature is invalid, so each signature is verified alone, and that verdict
    // counts.
    let verdict = |(index, entry, key): &(usize, Entry, VerifyingKey)| {
        entry.verify(key).err().map(|error| (*index, error))
    };
    signed.iter().filter_map(verdict).collect()
}

/// Checks everything but the signature, which is verified in a batch.
fn check_line(
    position: u64,
    bytes: &[u8],
    expected: &Expected,
) -> Result<(CheckedEntry, Option<Entry>), Rejection> {
    let line: ParsedLine<'_> = serde_json::from_slice(bytes).map_err(|_| "the line is not an entry line")?;
    if line.position != position {
        return Err(format!("the line is for position {}", line.position).into());
    }
    let recorded_at_ms = line.recorded_at_ms;
    let leaf = expected.leaf(position).ok_or("the position is beyond the end of the tree")?;
    if line.state == State::Erased {
        require_canonical(&EntryLine::erased(position, recorded_at_ms), bytes)?;
        return Ok((CheckedEntry { position, recorded_at_ms, leaf, content: Content::Erased }, None));
    }
    let text = line.entry.ok_or("`entry` is missing")?;
    let entry = parse_entry(position, text, &leaf, &expected.keys)?;
    let key = event_key(line.key)?;
    let rejected = |error| Rejection::of_body(&entry, &expected.keys.at(position).key, error);
    let opened = match (entry.plain_encoded().map_err(rejected)?, &key) {
        (Some(opened), _) => Some(opened),
        (None, Some(key)) => Some(entry.open_encoded(key).map_err(rejected)?),
        (None, None) => None,
    };
    // This base64 decoder accepts only one encoding, so the text need not be encoded again.
    let canonical = EntryLine::from_parts(position, recorded_at_ms, text.into(), key.as_ref(), opened);
    if line.state != canonical.state || line.body.is_some() != canonical.body.is_some() {
        return Err("`state` does not match the content of the line".into());
    }
    require_canonical(&canonical, bytes)?;
    let header = entry.header.clone();
    let content = match canonical.body {
        None => Content::Withheld(header),
        Some(body) if header.handle == Handle::SYSTEM && key.is_none() => Content::Plain(header, body),
        Some(body) if header.handle != Handle::SYSTEM && key.is_some() => Content::Sealed(header, body),
        Some(_) => return Err("a system event has no event key".into()),
    };
    Ok((CheckedEntry { position, recorded_at_ms, leaf, content }, Some(entry)))
}

/// Parses the entry of a line, and checks its key id, origin and leaf hash.
fn parse_entry(position: u64, text: &str, leaf: &Hash, keys: &KeyChain) -> Result<Entry, String> {
    let bytes = STANDARD.decode(text).map_err(|_| "`entry` is not base64")?;
    let entry = Entry::parse(&bytes).map_err(|error| error.to_string())?;
    let key = &keys.at(position).key;
    if entry.key_id != entry::key_id(key) {
        return Err(EntryError::Key.to_string());
    }
    if entry.origin != keys.origin() {
        return Err("the entry belongs to another log".to_owned());
    }
    if merkle::leaf_hash(&bytes) != *leaf {
        // An invalid signature is reported first, because it says more than a different hash.
        entry.verify(key).map_err(|error| error.to_string())?;
        return Err("the entry does not match its leaf hash in the tree".to_owned());
    }
    Ok(entry)
}

fn event_key(text: Option<&str>) -> Result<Option<EventKey>, String> {
    let Some(text) = text else { return Ok(None) };
    let invalid = "`key` is not 32 bytes in base64";
    let bytes = STANDARD.decode(text).map_err(|_| invalid)?;
    let bytes = bytes.try_into().map_err(|_| invalid)?;
    Ok(Some(EventKey::from_bytes(bytes)))
}

/// Requires that the line is exactly the canonical form of the entry.
fn require_canonical(canonical: &EntryLine<'_>, bytes: &[u8]) -> Result<(), String> {
    if canonical.encodes_to(bytes) { Ok(()) } else { Err("the line does not match its entry".to_owned()) }
}
