//! Restores a log from a backup. If the data folder still has a key tree (people's keys), this tree opens
//! the entries, and not that of the backup. So data that was erased after the backup does not come back.
//!
//! Entries whose keys were destroyed since the backup are discarded again before the log can be read. When
//! the log is next opened, by `sayso restore` itself or by the next start of the daemon, `ErasureCompleted`
//! is recorded for those entries, then `BackupRestored`.

use crate::app::error::AppError;
use crate::app::log::receipt::RequestStamp;
use crate::app::log::system_stream::SystemEvent;
use crate::app::operations::Operations;
use crate::clock::Clock;
use crate::domain::event::{
    Actor, BackupRestored, ErasureCompleted, ErasureScope, Event, PositionRange, Recorded, Role,
};
use crate::domain::ids::{EventId, Handle};
use crate::store::backup::{BackupReader, Piece};
use crate::store::{CommitError, Frame, LogStore, NewEntry, StoreError, StoredEntry};
use crate::vault::{Vault, VaultError};
use ed25519_dalek::{SigningKey, VerifyingKey};
use sayso_proof::certificate::day_of;
use sayso_proof::checkpoint::{NoteError, VerifierKey};
use sayso_proof::entry::{self, Entry, EntryError, EventKey, Header, SchemaVersion};
use sayso_proof::event::{EventBody, event_body};
use sayso_proof::keys::KeyChain;
use sayso_proof::merkle::{self, Frontier, Hash};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::sync::Arc;

/// A frame (entries that are written together) with this many entries gets no further discarded entries.
const FRAME_MAX: usize = 1_024;
/// The number of entries in one write or discard.
const BATCH_MAX: usize = 128;

/// Runs of consecutive positions: first and last of each.
type Runs = Vec<(u64, u64)>;

/// What a restore did. It is kept in a file next to the log until the log records it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restored {
    /// A random id of the restore.
    pub id: [u8; 16],
    /// The checkpoint of the backup.
    pub backup_checkpoint: String,
    /// The last checkpoint that was published before the restore; empty if there was none.
    pub last_checkpoint: String,
    /// Entries whose keys were destroyed since the backup, as runs (first, last).
    pub erased_again: Vec<(u64, u64)>,
    /// Handles of subjects who still exist and to whom some entries in `erased_again` belonged. They do not
    /// identify a person, because handles are random, and this file is deleted at the next start.
    #[serde(default)]
    pub erased_in_part: BTreeSet<[u8; 16]>,
}

/// Why a backup can't be restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The file can't be read, is cut off, or is damaged.
    #[error("the backup: {0}")]
    Backup(#[from] std::io::Error),
    /// A timestamp can't be written.
    #[error("writing the timestamps: {0}")]
    Timestamps(std::io::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Writing the log failed.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The vault failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// An entry is invalid, or in the wrong place.
    #[error("the entry at position {0} of the backup is not the one that its checkpoint was signed for")]
    Entry(u64),
    /// Making the placeholder of a discarded entry failed.
    #[error("making the placeholder of a discarded entry: {0}")]
    Placeholder(#[from] EntryError),
    /// The checkpoint is malformed, or signed by another key.
    #[error("the checkpoint of the backup: {0}")]
    Checkpoint(#[from] NoteError),
    /// The entries do not match the checkpoint, or there is none.
    #[error("the entries of the backup do not match its checkpoint")]
    Tree,
}

/// Writes the entries of a backup into an empty log, except those whose keys were destroyed. Key pages of the
/// backup are ignored, because the current vault is used. `keep_timestamp` gets the tree size and the token
/// of each timestamp. Also returns the log's keys; the newest key is needed to run the restored log.
///
/// # Errors
/// The backup is damaged or of another log, or something can't be read or written. The caller must then
/// delete the log.
pub fn restore_log(
    from: impl Read,
    log: &dyn LogStore,
    vault: &Vault,
    origin: &str,
    clock: &dyn Clock,
    keep_timestamp: &mut dyn FnMut(u64, &[u8]) -> std::io::Result<()>,
) -> Result<(Restored, KeyChain), RestoreError> {
    let mut writer = LogWriter::new(log, vault, origin, clock);
    let mut reader = BackupReader::begin(from)?;
    let mut note = None;
    while let Some(piece) = reader.next_piece()? {
        match piece {
            Piece::Entry(entry) => writer.take(entry)?,
            Piece::Checkpoint(found) => note = Some(found),
            Piece::Timestamp(size, token) => {
                keep_timestamp(size, &token).map_err(RestoreError::Timestamps)?;
            }
            Piece::KeyPage(_) => {}
        }
    }
    let backup_checkpoint = note.ok_or(RestoreError::Tree)?;
    let keys = writer.keys.clone().ok_or(RestoreError::Tree)?;
    let signed = keys.open(&backup_checkpoint)?;
    if (signed.size, signed.root) != (writer.tree.size(), writer.tree.root()) {
        return Err(RestoreError::Tree);
    }
    let (erased_again, erased_in_part) = writer.finish()?;
    let mut id = [0; 16];
    clock.fill(&mut id);
    let restored =
        Restored { id, backup_checkpoint, last_checkpoint: String::new(), erased_again, erased_in_part };
    Ok((restored, keys))
}

/// A restore in progress.
struct LogWriter<'a> {
    log: &'a dyn LogStore,
    vault: &'a Vault,
    origin: &'a str,
    /// The log keys that the entries written so far state; none before the first entry.
    keys: Option<KeyChain>,
    clock: &'a dyn Clock,
    tree: Frontier,
    /// The recorded time of the newest entry so far, milliseconds since the Unix epoch.
    recorded_at_ms: u64,
    frame: Frame,
    /// The idempotency hash of the request that wrote the current frame.
    request: Option<Hash>,
    /// Frames that are not written yet, and the number of entries in them.
    frames: Vec<Frame>,
    waiting: usize,
    /// Positions to discard at the end: discarded in the backup, or without a key now.
    to_discard: BTreeSet<u64>,
    /// The positions in `to_discard` whose entries have no key now, each with the handle of the entry's
    /// subject; `None` if the subject no longer exists.
    keyless: BTreeMap<u64, Option<Handle>>,
    /// Positions that the log itself records as erased.
    recorded_erased: Vec<PositionRange>,
}

impl<'a> LogWriter<'a> {
    fn new(log: &'a dyn LogStore, vault: &'a Vault, origin: &'a str, clock: &'a dyn Clock) -> Self {
        let (frame, frames, tree) = (Vec::new(), Vec::new(), Frontier::new());
        let (to_discard, keyless, recorded_erased) = (BTreeSet::new(), BTreeMap::new(), Vec::new());
        let (request, waiting) = (None, 0);
        Self {
            log,
            vault,
            origin,
            keys: None,
            clock,
            tree,
            recorded_at_ms: 0,
            frame,
            request,
            frames,
            waiting,
            to_discard,
            keyless,
            recorded_erased,
        }
    }

    fn take(&mut self, stored: StoredEntry) -> Result<(), RestoreError> {
        let position = stored.position;
        if position != self.tree.size() {
            return Err(RestoreError::Entry(position));
        }
        self.tree.push(stored.leaf_hash);
        // A discarded entry has no time of its own.
        self.recorded_at_ms = self.recorded_at_ms.max(stored.recorded_at_ms);
        let recorded_at_ms = self.recorded_at_ms;
        let new = match stored.bytes {
            Some(bytes) => self.restored_entry(position, stored.leaf_hash, recorded_at_ms, bytes)?,
            None => {
                self.to_discard.insert(position);
                self.placeholder(stored.leaf_hash, recorded_at_ms)?
            }
        };
        // The entries of one request stay in one frame, together with discarded entries in between.
        let is_same_request = new.idempotency == self.request && new.idempotency.is_some();
        let is_discarded = self.to_discard.contains(&position) && self.frame.len() < FRAME_MAX;
        if !(is_same_request || is_discarded && self.request.is_some()) {
            self.end_frame()?;
            self.request = new.idempotency;
        }
        self.frame.push(new);
        Ok(())
    }

    /// The entry to write for an entry whose bytes are in the backup.
    fn restored_entry(
        &mut self,
        position: u64,
        leaf_hash: Hash,
        recorded_at_ms: u64,
        bytes: Vec<u8>,
    ) -> Result<NewEntry, RestoreError> {
        let wrong = |_| RestoreError::Entry(position);
        if merkle::leaf_hash(&bytes) != leaf_hash {
            return Err(RestoreError::Entry(position));
        }
        let entry = Entry::parse(&bytes).map_err(wrong)?;
        if self.keys.is_none() {
            self.keys = Some(self.first_key(&entry).ok_or(RestoreError::Entry(position))?);
        }
        let keys = self.keys.as_mut().ok_or(RestoreError::Entry(position))?;
        entry.verify(&keys.newest().key).map_err(wrong)?;
        if entry.header.handle == Handle::SYSTEM {
            let body = entry.plain_body().map_err(wrong)?;
            match body.and_then(|body| body.event) {
                Some(event_body::Event::ErasureCompleted(completed)) => {
                    self.recorded_erased.extend(completed.discarded);
                }
                Some(event_body::Event::LogKeyRotated(_)) => {
                    keys.take(position, &bytes).map_err(|_| RestoreError::Entry(position))?;
                }
                _ => {}
            }
        } else if !self.has_key(&entry.header)? {
            self.to_discard.insert(position);
            let stays = self.vault.by_handle(entry.header.handle)?.is_some();
            self.keyless.insert(position, stays.then_some(entry.header.handle));
        }
        let Header { handle, version, idempotency, .. } = entry.header;
        Ok(NewEntry { bytes, leaf_hash, handle, version, idempotency, recorded_at_ms, index: Vec::new() })
    }

    /// The log key that the first entry names; none if `first` is not the first entry of a log of this
    /// origin.
    fn first_key(&self, first: &Entry) -> Option<KeyChain> {
        match first.plain_body().ok()??.event? {
            event_body::Event::LogOpened(opened) if opened.origin == self.origin => {
                let key = VerifyingKey::from_bytes(opened.public_key.as_slice().try_into().ok()?).ok()?;
                Some(KeyChain::from(&VerifierKey { name: opened.origin, key }))
            }
            _ => None,
        }
    }

    fn has_key(&self, header: &Header) -> Result<bool, RestoreError> {
        let Some(keys) = self.vault.by_handle(header.handle)? else { return Ok(false) };
        match keys.event_key(header.version, &header.event_id) {
            // After an earlier restore this version may have a new key, while the key of this entry is
            // destroyed.
            Ok(key) => Ok(header.key_commitment == Some(key.commitment())),
            Err(VaultError::Destroyed) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// An empty entry with the leaf hash of a discarded entry. The restore discards it at the end, so that
    /// only position and leaf hash remain.
    fn placeholder(&self, leaf_hash: Hash, recorded_at_ms: u64) -> Result<NewEntry, RestoreError> {
        let random = || {
            let mut bytes = [0; 32];
            self.clock.fill(&mut bytes);
            bytes
        };
        let mut handle = Handle([0; 16]);
        self.clock.fill(&mut handle.0);
        let header = Header {
            event_id: crate::clock::EventIds::default().next(self.clock),
            handle,
            version: 0,
            previous: None,
            sealed_at_ms: recorded_at_ms,
            idempotency: None,
            key_commitment: None,
            schema_version: SchemaVersion::One,
        };
        let payload = entry::seal(&header, &EventBody::default(), &EventKey::from_bytes(random()))?;
        let bytes = entry::sign(payload, self.origin, &SigningKey::from_bytes(&random()))?;
        let (version, idempotency, index) = (0, None, Vec::new());
        Ok(NewEntry { bytes, leaf_hash, handle, version, idempotency, recorded_at_ms, index })
    }

    fn end_frame(&mut self) -> Result<(), RestoreError> {
        if !self.frame.is_empty() {
            self.waiting = self.waiting.saturating_add(self.frame.len());
            self.frames.push(std::mem::take(&mut self.frame));
        }
        if self.waiting >= BATCH_MAX { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), RestoreError> {
        self.log.commit(self.log.head().size, &std::mem::take(&mut self.frames))?;
        self.waiting = 0;
        Ok(())
    }

    /// Writes the remaining frames and discards entries. Returns, as runs, the positions whose entries have
    /// no key and that the log does not record as erased. Also returns the handles of the subjects of these
    /// entries, if the subjects still exist.
    fn finish(mut self) -> Result<(Runs, BTreeSet<[u8; 16]>), RestoreError> {
        self.end_frame()?;
        self.write()?;
        let to_discard: Vec<u64> = self.to_discard.iter().copied().collect();
        for batch in to_discard.chunks(BATCH_MAX) {
            self.log.discard(batch)?;
        }
        let is_recorded =
            |position: &u64| self.recorded_erased.iter().any(|run| (run.first..=run.last).contains(position));
        let (mut runs, mut handles) = (Runs::new(), BTreeSet::new());
        for (position, handle) in self.keyless.iter().filter(|(position, _)| !is_recorded(position)) {
            handles.extend(handle.map(|handle| handle.0));
            match runs.last_mut() {
                Some((_, last)) if last.checked_add(1) == Some(*position) => *last = *position,
                _ => runs.push((*position, *position)),
            }
        }
        self.log.close()?;
        Ok((runs, handles))
    }
}

/// Whether the log has the event that records this restore.
pub(crate) fn is_restored_in(restored: &Restored, system_events: &[Recorded]) -> bool {
    let is_this = |before: &BackupRestored| before.restore == EventId(restored.id);
    let mut events = system_events.iter().map(|event| &event.event);
    events.any(|event| matches!(event, Event::BackupRestored(before) if is_this(before)))
}

impl Operations {
    /// Records that the log was restored, unless the log already has that event. Before that, every subject
    /// gets new keys for the versions after the newest version that the log has of the subject. All use is
    /// denied until an operator confirms the restore.
    pub(crate) async fn record_restore(
        self: &Arc<Self>,
        restored: &Restored,
        system_events: &[Recorded],
    ) -> Result<(), AppError> {
        if is_restored_in(restored, system_events) {
            return Ok(());
        }
        let partly_erased = restored.erased_in_part.iter().map(|handle| Handle(*handle)).collect();
        let next_version = |handle| {
            let newest = self.core.store().subject_head(handle).map_err(AppError::from)?;
            Ok::<_, AppError>(newest.map_or(0, |(version, _)| version.saturating_add(1)))
        };
        let fence_ms = self.core.now_ms();
        self.core.vault.renew(&partly_erased, fence_ms, next_version).await?;
        self.core.clock.advance_past(fence_ms);
        let discarded: Vec<PositionRange> = restored
            .erased_again
            .iter()
            .map(|(first, last)| PositionRange { first: *first, last: *last })
            .collect();
        let erased_again = discarded.iter().map(|run| run.last.saturating_sub(run.first).saturating_add(1));
        let restored_event = Event::BackupRestored(BackupRestored {
            restore: EventId(restored.id),
            backup_checkpoint: restored.backup_checkpoint.clone(),
            last_checkpoint: restored.last_checkpoint.clone(),
            erased_again: erased_again.sum(),
            use_waits: true,
            key_epoch: self.core.vault.key_epoch(),
        });
        let mut events = Vec::new();
        if !discarded.is_empty() {
            let completed = Event::ErasureCompleted(ErasureCompleted {
                request_hash: EventId(restored.id).request_hash().to_vec(),
                scope: ErasureScope::All,
                discarded,
                key_epoch: self.core.vault.key_epoch(),
                requested_at_ms: day_of(self.core.now_ms()),
                ..ErasureCompleted::default()
            });
            events.push(SystemEvent::new(completed));
        }
        events.push(SystemEvent::new(restored_event));
        let actor = Actor { role: Role::Ledger, name: String::new() };
        self.core.publish_as(actor, self.core.now_ms(), events, RequestStamp::default()).await.map(|_| ())
    }
}
