//! Reads and decrypts events, for all use cases: all events of a subject's stream, one of them, or a system
//! event.

use crate::app::error::AppError;
use crate::domain::event::{Recorded, codec};
use crate::domain::ids::EventId;
use crate::secret::{STACK_WORD_BYTES, clear_stack};
use crate::store::{LogStore, StoreError, StoredEntry};
use crate::vault::{SubjectKeys, VaultError};
use sayso_proof::entry::{Entry, EntryError, Header};
use sayso_proof::merkle::Hash;

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
const READ_COUNT: usize = 512;

/// Opens a subject's events from version `start` on, oldest first, and skips erased ones.
///
/// # Errors
/// The log can't be read, an entry can't be opened, or `each` fails.
pub(crate) fn for_each_event(
    keys: &SubjectKeys,
    store: &dyn LogStore,
    start: u64,
    mut each: impl FnMut(Recorded, Hash) -> Result<(), AppError>,
) -> Result<(), AppError> {
    let mut next = start;
    loop {
        let places = store.read_subject(keys.handle, next, READ_COUNT)?;
        next = places.last().map_or(next, |(version, _)| version.saturating_add(1));
        // Events of one frame have consecutive positions and are read together.
        for run in places.chunk_by(|(_, one), (_, other)| one.checked_add(1) == Some(*other)) {
            let first = run.first().map_or(0, |(_, position)| *position);
            let entries = store.read_entries(first, run.len())?;
            if entries.len() != run.len() {
                return Err(StoreError::Missing("entry").into());
            }
            for stored in entries {
                let leaf = stored.leaf_hash;
                match open(keys, stored) {
                    Ok(event) => each(event, leaf)?,
                    Err(AppError::Erased) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        if places.len() < READ_COUNT {
            return Ok(());
        }
    }
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
