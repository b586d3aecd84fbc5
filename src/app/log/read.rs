//! The one way to read events: a subject's stream, one entry of it, or a system event.

use crate::app::error::AppError;
use crate::app::log::core::{Core, Moment};
use crate::app::log::stream::{CIPHER_STACK_WORDS, SubjectStream};
use crate::domain::codec;
use crate::domain::event::Recorded;
use crate::domain::ids::{EventId, Handle, SubjectId};
use crate::domain::profile::SubjectState;
use crate::store::{LogStore, StoreError, StoredEntry};
use crate::vault::{SubjectKeys, VaultError, clear_stack};
use sayso_proof::entry::{Entry, EntryError};
use sayso_proof::merkle::Hash;
use std::sync::Arc;

/// Opens an entry about nobody.
pub(crate) fn open_system_entry(stored: StoredEntry) -> Result<Recorded, AppError> {
    let bytes = stored.bytes.ok_or(AppError::Erased)?;
    let entry = Entry::parse(&bytes)?;
    let body = entry.plain_body()?.ok_or(EntryError::Payload("not plain"))?;
    let place = codec::Place {
        event_id: EventId(entry.header.event_id),
        position: stored.position,
        version: entry.header.version,
        recorded_at_ms: stored.recorded_at_ms,
        sealed_at_ms: entry.header.sealed_at_ms,
    };
    Ok(codec::decode(place, body)?)
}

/// Entries read at once while a stream is rebuilt.
const READ_COUNT: usize = 512;

/// Opens a subject's events from version `start` on, oldest first; those that were erased are passed over.
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
        // What was written in one go lies together, and is read in one go.
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
/// The entry was discarded, its key destroyed, or it is damaged.
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
    let place = codec::Place {
        event_id: EventId(header.event_id),
        position: stored.position,
        version: header.version,
        recorded_at_ms: stored.recorded_at_ms,
        sealed_at_ms: header.sealed_at_ms,
    };
    Ok(codec::decode(place, body)?)
}

impl Core {
    /// Keyed hash of an attribute key, of this subject alone.
    pub(crate) fn key_hash(&self, handle: Handle, key: &str) -> Vec<u8> {
        self.vault.keyed_hash("attribute key", &[&handle.0, key.as_bytes()]).to_vec()
    }
}

impl Core {
    /// The fold of what had been recorded by a moment, from the events.
    pub(crate) fn state_as_of(
        &self,
        stream: &SubjectStream,
        moment: Moment,
    ) -> Result<SubjectState, AppError> {
        let mut state = SubjectState::default();
        for_each_event(&stream.keys, self.store(), 0, |event, _| {
            let within = match moment {
                Moment::Now => true,
                Moment::Time(time_ms) => event.recorded_at_ms <= time_ms,
                Moment::Version(count) => event.version < count,
            };
            if within {
                state.apply(&event);
            }
            Ok(())
        })?;
        Ok(state)
    }
}

impl Core {
    /// A subject's state at a moment. `rebuild` folds the events of the log instead of the state in memory.
    ///
    /// # Errors
    /// Nothing is recorded about the subject; or the store.
    pub(crate) async fn state_at(
        self: &Arc<Self>,
        subject: &SubjectId,
        moment: Moment,
        rebuild: bool,
    ) -> Result<SubjectState, AppError> {
        let stream = self.stream(subject).await?.ok_or(AppError::NotFound("subject"))?;
        if !rebuild {
            let now = stream.read();
            if moment == Moment::Now || moment == Moment::Version(now.state.version) {
                return Ok(now.state.clone());
            }
        }
        self.state_as_of(&stream, moment)
    }
}
