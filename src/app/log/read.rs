//! The only way to read events: all events of a subject's stream, one of them, or a system event. They are
//! decrypted here.

use crate::app::error::AppError;
use crate::app::log::core::Core;
use crate::domain::event::{Recorded, codec};
use crate::domain::ids::{EventId, Handle};
use crate::secret::{STACK_WORD_BYTES, clear_stack};
use crate::store::{LogStore, StoreError, StoredEntry};
use crate::vault::{SubjectKeys, VaultError};
use sayso_proof::entry::{Entry, EntryError, Header, parse_header};
use sayso_proof::merkle::Hash;
use std::ops::ControlFlow;

/// How much stack is overwritten after a cipher ran, in words.
pub(crate) const CIPHER_STACK_WORDS: usize = (8 << 10) / STACK_WORD_BYTES;

/// Opens the entry of a system event.
pub(crate) fn open_system_entry(stored: StoredEntry) -> Result<Recorded, AppError> {
    let bytes = stored.bytes.ok_or(AppError::Erased)?;
    let entry = Entry::parse(&bytes)?;
    let body = entry.plain_body()?.ok_or(EntryError::Payload("not plain"))?;
    let place = place_of(&entry.header, stored.position, stored.recorded_at_ms);
    Ok(codec::decode(place, body)?)
}

/// Entries in one read while a stream is folded.
const FOLDED_AT_ONCE: usize = 512;

/// System events in one read.
const SYSTEM_EVENTS_AT_ONCE: usize = 1_024;

/// Opens every system event, oldest first. `each` also gets the hash of the entry.
///
/// # Errors
/// The log can't be read, an entry can't be opened, or `each` fails.
pub(crate) fn for_each_system_event(
    store: &dyn LogStore,
    mut each: impl FnMut(Recorded, Hash) -> Result<(), AppError>,
) -> Result<(), AppError> {
    let mut next = 0;
    loop {
        let places = store.read_subject(Handle::SYSTEM, next, SYSTEM_EVENTS_AT_ONCE)?;
        for (version, position) in &places {
            next = version.saturating_add(1);
            let stored = store.read_entry(*position)?;
            let leaf_hash = stored.leaf_hash;
            each(open_system_entry(stored)?, leaf_hash)?;
        }
        if places.len() < SYSTEM_EVENTS_AT_ONCE {
            return Ok(());
        }
    }
}

/// An entry of a data subject's stream, as it was read.
pub(crate) struct ReadEntry {
    pub version: u64,
    pub leaf_hash: Hash,
    /// The size of the entry, bytes; 0 if it was discarded.
    pub bytes: usize,
    /// The event; `None` if it is erased.
    pub event: Option<Recorded>,
}

impl Core {
    /// Opens a subject's events from version `start` on, oldest first, and skips erased ones.
    ///
    /// # Errors
    /// The log can't be read, an entry can't be opened, or `each` fails.
    pub(crate) fn for_each_event(
        &self,
        keys: &SubjectKeys,
        start: u64,
        mut each: impl FnMut(Recorded, Hash) -> Result<(), AppError>,
    ) -> Result<(), AppError> {
        self.for_each_entry(keys, start, FOLDED_AT_ONCE, |entry| {
            if let Some(event) = entry.event {
                each(event, entry.leaf_hash)?;
            }
            Ok(ControlFlow::Continue(()))
        })
    }

    /// All events of a subject that can still be read, oldest first.
    ///
    /// # Errors
    /// The log can't be read, or an entry can't be opened.
    pub(crate) fn events_of(&self, keys: &SubjectKeys) -> Result<Vec<Recorded>, AppError> {
        let mut events = Vec::new();
        self.for_each_event(keys, 0, |event, _| {
            events.push(event);
            Ok(())
        })?;
        Ok(events)
    }

    /// Reads a subject's entries from version `start` on, oldest first, until `each` breaks. At most
    /// `at_once` entries are in memory at a time.
    ///
    /// # Errors
    /// The log can't be read, an entry can't be opened, or `each` fails.
    pub(crate) fn for_each_entry(
        &self,
        keys: &SubjectKeys,
        start: u64,
        at_once: usize,
        mut each: impl FnMut(ReadEntry) -> Result<ControlFlow<()>, AppError>,
    ) -> Result<(), AppError> {
        let store = self.store();
        let mut next = start;
        loop {
            let places = store.read_subject(keys.handle, next, at_once)?;
            next = places.last().map_or(next, |(version, _)| version.saturating_add(1));
            // Events of one frame have consecutive positions and are read together.
            for run in places.chunk_by(|(_, one), (_, other)| one.checked_add(1) == Some(*other)) {
                let first = run.first().map_or(0, |(_, position)| *position);
                let entries = store.read_entries(first, run.len())?;
                if entries.len() != run.len() {
                    return Err(StoreError::Missing("entry").into());
                }
                for ((version, _), stored) in run.iter().zip(entries) {
                    if each(read_entry(keys, *version, stored)?)?.is_break() {
                        return Ok(());
                    }
                }
            }
            if places.len() < at_once {
                return Ok(());
            }
        }
    }

    /// The entry at a position, as it is stored.
    ///
    /// # Errors
    /// There is no such entry, or the log can't be read.
    pub(crate) fn stored_entry(&self, position: u64) -> Result<StoredEntry, AppError> {
        Ok(self.store().read_entry(position)?)
    }

    /// The header of the entry at a position; `None` if the entry was discarded.
    ///
    /// # Errors
    /// There is no such entry, it is damaged, or the log can't be read.
    pub(crate) fn header_at(&self, position: u64) -> Result<Option<Header>, AppError> {
        Ok(self.stored_entry(position)?.bytes.as_deref().map(parse_header).transpose()?)
    }

    /// The event at a position, which belongs to the data subject with these keys.
    ///
    /// # Errors
    /// The entry was discarded, its key was destroyed, it is damaged, or the log can't be read.
    pub(crate) fn event_at(&self, keys: &SubjectKeys, position: u64) -> Result<Recorded, AppError> {
        open(keys, self.stored_entry(position)?)
    }

    /// The system event at a position.
    ///
    /// # Errors
    /// The entry was discarded, it is not a system event, it is damaged, or the log can't be read.
    pub(crate) fn system_event_at(&self, position: u64) -> Result<Recorded, AppError> {
        open_system_entry(self.stored_entry(position)?)
    }

    /// Opens any entry: a subject's or a system event's.
    pub(crate) fn open_any(&self, stored: StoredEntry) -> Result<Recorded, AppError> {
        let bytes = stored.bytes.as_deref().ok_or(AppError::Erased)?;
        let handle = parse_header(bytes)?.handle;
        if handle == Handle::SYSTEM {
            return open_system_entry(stored);
        }
        let keys = self.vault.by_handle(handle)?.ok_or(AppError::Erased)?;
        open(&keys, stored)
    }
}

fn read_entry(keys: &SubjectKeys, version: u64, stored: StoredEntry) -> Result<ReadEntry, AppError> {
    let (leaf_hash, bytes) = (stored.leaf_hash, stored.bytes.as_ref().map_or(0, Vec::len));
    let event = match open(keys, stored) {
        Ok(event) => Some(event),
        Err(AppError::Erased) => None,
        Err(error) => return Err(error),
    };
    Ok(ReadEntry { version, leaf_hash, bytes, event })
}

/// Opens one entry of a subject.
///
/// # Errors
/// The entry was discarded, its key was destroyed, or the entry is damaged.
pub(crate) fn open(keys: &SubjectKeys, stored: StoredEntry) -> Result<Recorded, AppError> {
    let bytes = stored.bytes.ok_or(AppError::Erased)?;
    let entry = Entry::parse(&bytes)?;
    let header = &entry.header;
    let key = keys.event_key(header.version, &header.event_id).map_err(|error| match error {
        VaultError::Destroyed => AppError::Erased,
        other => other.into(),
    })?;
    let body = entry.open(&key);
    drop(key);
    clear_stack::<CIPHER_STACK_WORDS>();
    let body = body?;
    Ok(codec::decode(place_of(header, stored.position, stored.recorded_at_ms), body)?)
}

fn place_of(header: &Header, position: u64, recorded_at_ms: u64) -> codec::Place {
    codec::Place {
        event_id: EventId(header.event_id),
        position,
        version: header.version,
        recorded_at_ms,
        sealed_at_ms: header.sealed_at_ms,
        has_hash_in_clear: header.idempotency.is_some(),
    }
}
