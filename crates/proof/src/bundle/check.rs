//! What can be checked of an entry by itself, on all cores: form, place, signature, seal, body.

use super::entry_line::{EntryLine, RawLine, State};
use crate::batch;
use crate::entry::{self, Entry, EntryError, EventKey, Header};
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

/// Signatures checked at once: more make a batch hardly faster.
const BATCH: usize = 1024;

/// An entry that holds by itself.
pub(super) struct Checked {
    pub position: u64,
    pub recorded_at_ms: u64,
    /// Its leaf hash, by `leaf-hashes.bin`.
    pub leaf: Hash,
    pub content: Content,
}

/// What is left of an entry.
pub(super) enum Content {
    Erased,
    Withheld(Header),
    Sealed(Header, EventBody),
    Plain(Header, EventBody),
}

/// A verdict on one line, with what is wrong.
pub(super) type Verdict = Result<Checked, String>;

/// What the lines of a file have to be of.
struct Log {
    keys: Arc<KeyChain>,
    /// Position of the first line.
    first: u64,
    /// Leaf hashes of the file's entries, as far as the tree has them.
    leaves: Vec<Hash>,
}

impl Log {
    fn leaf(&self, position: u64) -> Option<Hash> {
        self.leaves.get(usize::try_from(position.checked_sub(self.first)?).ok()?).copied()
    }
}

/// Which batch of a file it is, and a verdict on each of its lines.
type Batch = (usize, Vec<Verdict>);

/// A file of entries that is being checked on all cores, while the next one is read.
pub(super) struct Checking {
    /// Number of lines.
    pub count: u64,
    ends_whole: bool,
    workers: Vec<JoinHandle<Vec<Batch>>>,
}

impl Checking {
    /// Begins; the first line has to be at position `first`, and `leaves` gives the leaf hashes of as many as there are.
    ///
    /// # Errors
    /// What `leaves` fails with.
    pub fn begin(
        first: u64,
        file: &Arc<Vec<u8>>,
        keys: &Arc<KeyChain>,
        leaves: impl FnOnce(u64) -> io::Result<Vec<Hash>>,
    ) -> io::Result<Self> {
        let lines: Arc<[Range<usize>]> = lines(file).into();
        let count = lines.len() as u64;
        let log = Arc::new(Log { keys: Arc::clone(keys), first, leaves: leaves(count)? });
        let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        // Batch by batch, to whoever is free: the cores are not theirs alone, since the next file is read meanwhile.
        let next = Arc::new(AtomicUsize::new(0));
        let worker = || {
            let (file, log, lines, next) =
                (Arc::clone(file), Arc::clone(&log), Arc::clone(&lines), Arc::clone(&next));
            thread::spawn(move || {
                let batches = || {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    lines.chunks(BATCH).nth(at).map(|batch| (at, batch))
                };
                let check = |(at, batch)| (at, some(first + (at * BATCH) as u64, &file, batch, &log));
                std::iter::from_fn(batches).map(check).collect()
            })
        };
        let workers = (0..cores).map(|_| worker()).collect();
        Ok(Self { count, ends_whole: file.last() == Some(&b'\n'), workers })
    }

    /// Waits for the verdicts.
    pub fn wait(self) -> CheckedFile {
        let joined: Result<Vec<_>, _> = self.workers.into_iter().map(JoinHandle::join).collect();
        let verdicts = joined.map(|workers| {
            let mut batches: Vec<_> = workers.into_iter().flatten().collect();
            batches.sort_unstable_by_key(|(at, _)| *at);
            batches.into_iter().flat_map(|(_, verdicts)| verdicts).collect()
        });
        let stopped = |_| vec![Err("the check itself failed".to_owned())];
        CheckedFile { verdicts: verdicts.unwrap_or_else(stopped), ends_whole: self.ends_whole }
    }
}

/// A file of entries that was checked line by line.
pub(super) struct CheckedFile {
    /// In order of the lines.
    pub verdicts: Vec<Verdict>,
    /// Whether the last line has its newline.
    pub ends_whole: bool,
}

/// Where each line is, without its newline.
fn lines(file: &[u8]) -> Vec<Range<usize>> {
    let mut at = 0;
    let line = |line: &[u8]| {
        let here = at..at + line.len();
        at = here.end + 1;
        here
    };
    file.strip_suffix(b"\n").unwrap_or(file).split(|byte| *byte == b'\n').map(line).collect()
}

/// One batch, the first line of which has to be at `position`.
fn some(mut position: u64, file: &[u8], batch: &[Range<usize>], log: &Log) -> Vec<Verdict> {
    let mut verdicts = Vec::with_capacity(batch.len());
    let mut signed = Vec::with_capacity(batch.len());
    for line in batch {
        let line = file.get(line.clone()).unwrap_or_default();
        let checked = one(position, line, log);
        let key = log.keys.at(position).key;
        verdicts.push(checked.map(|(checked, entry)| {
            signed.extend(entry.map(|entry| (verdicts.len(), entry, key)));
            checked
        }));
        position += 1;
    }
    for (at, reason) in forged(&signed) {
        if let Some(verdict) = verdicts.get_mut(at) {
            *verdict = Err(reason.to_string());
        }
    }
    verdicts
}

/// Those whose signature does not verify.
fn forged(signed: &[(usize, Entry, VerifyingKey)]) -> Vec<(usize, EntryError)> {
    let all: Vec<_> =
        signed.iter().map(|(_, entry, key)| (entry.signed_bytes(), entry.signature(), key)).collect();
    if batch::all_hold(&all) {
        return Vec::new();
    }
    // One by one, to name it. A batch that is refused for nothing is accepted here.
    let verdict =
        |(at, entry, key): &(usize, Entry, VerifyingKey)| entry.verify(key).err().map(|error| (*at, error));
    signed.iter().filter_map(verdict).collect()
}

/// Everything but the signature, which is left to the batch.
fn one(position: u64, bytes: &[u8], log: &Log) -> Result<(Checked, Option<Entry>), String> {
    let line: RawLine<'_> = serde_json::from_slice(bytes).map_err(|_| "not an entry line")?;
    if line.position != position {
        return Err(format!("position {} stands here instead", line.position));
    }
    let recorded_at_ms = line.recorded_at_ms;
    let leaf = log.leaf(position).ok_or("beyond the end of the tree")?;
    if line.state == State::Erased {
        let again = EntryLine::erased(position, recorded_at_ms);
        same(&again, bytes)?;
        return Ok((Checked { position, recorded_at_ms, leaf, content: Content::Erased }, None));
    }
    let text = line.entry.ok_or("no entry")?;
    let raw = STANDARD.decode(text).map_err(|_| "bad base64")?;
    let parsed = Entry::parse(&raw).map_err(|error| error.to_string())?;
    let key_here = &log.keys.at(position).key;
    if parsed.key_id != entry::key_id(key_here) {
        return Err(EntryError::Key.to_string());
    }
    if parsed.origin != log.keys.origin() {
        return Err("the entry is of another log".to_owned());
    }
    if merkle::leaf_hash(&raw) != leaf {
        // Told apart, because a forged signature says more than a hash that differs.
        parsed.verify(key_here).map_err(|error| error.to_string())?;
        return Err("not the entry that the tree holds".to_owned());
    }
    let key = event_key(line.key)?;
    let body = match (parsed.plain_body().map_err(|error| error.to_string())?, &key) {
        (Some(body), _) => Some(body),
        (None, Some(key)) => Some(parsed.open(key).map_err(|error| error.to_string())?),
        (None, None) => None,
    };
    // Base64 as it is read here has one form only, so it need not be made again.
    let again = EntryLine::of(position, recorded_at_ms, text.into(), key.as_ref(), body);
    if line.state != again.state || line.body.is_some() != again.body.is_some() {
        return Err("the line's state is not what it carries".to_owned());
    }
    same(&again, bytes)?;
    let body = again.body;
    let header = parsed.header.clone();
    let content = match body {
        None => Content::Withheld(header),
        Some(body) if header.handle == entry::Handle::SYSTEM && key.is_none() => Content::Plain(header, body),
        Some(body) if key.is_some() && header.handle != entry::Handle::SYSTEM => {
            Content::Sealed(header, body)
        }
        Some(_) => return Err("a key for an entry that is not sealed".to_owned()),
    };
    Ok((Checked { position, recorded_at_ms, leaf, content }, Some(parsed)))
}

fn event_key(text: Option<&str>) -> Result<Option<EventKey>, String> {
    let Some(text) = text else { return Ok(None) };
    let bytes = STANDARD.decode(text).map_err(|_| "bad event key")?;
    let bytes = bytes.try_into().map_err(|_| "bad event key")?;
    Ok(Some(EventKey::from_bytes(bytes)))
}

/// The line says what the entry says, and in the one form there is.
fn same(again: &EntryLine<'_>, bytes: &[u8]) -> Result<(), String> {
    if again.is(bytes) { Ok(()) } else { Err("the line does not say what the entry says".to_owned()) }
}
