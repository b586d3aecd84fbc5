//! A log that goes back to a backup, under the key tree of now: everybody but the erased comes back.
//!
//! Entries whose keys were destroyed since are destroyed again before anybody can read the log, and what happened is said
//! in it: `ErasureCompleted` for those entries, then `BackupRestored`.

use crate::app::error::AppError;
use crate::app::log::receipt::RequestStamp;
use crate::app::log::system_stream::SystemEvent;
use crate::app::operations::Operations;
use crate::clock::Clock;
use crate::domain::event::{Actor, BackupRestored, ErasureCompleted, Event, Recorded, Role};
use crate::domain::ids::Handle;
use crate::store::backup::{BackupReader, Piece};
use crate::store::{CommitError, Frame, LogStore, NewEntry, StoreError, StoredEntry};
use crate::vault::{Vault, VaultError};
use ed25519_dalek::{SigningKey, VerifyingKey};
use sayso_proof::checkpoint::{NoteError, VerifierKey};
use sayso_proof::entry::{self, Entry, EntryError, EventKey, Header};
use sayso_proof::event::{ErasureScope, EventBody, PositionRange, event_body};
use sayso_proof::keys::KeyChain;
use sayso_proof::merkle::{self, Frontier, Hash};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::sync::Arc;

/// Entries in one frame at most, where discarded ones are taken along.
const FRAME_MAX: usize = 1_024;
/// Entries written, or discarded, at once.
const BATCH_MAX: usize = 128;

/// Positions in a row: first and last of each run.
type Runs = Vec<(u64, u64)>;

/// What was restored; kept beside the log until the log says it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restored {
    /// One a restore.
    pub id: [u8; 16],
    /// The checkpoint of the backup.
    pub backup_checkpoint: String,
    /// The last one that had been given out; empty where none was kept.
    pub last_checkpoint: String,
    /// Entries whose keys had been destroyed since, as runs (first, last).
    pub erased_again: Vec<(u64, u64)>,
    /// Handles of people who are still there and of whom some of those entries were. Random, and gone with this file.
    #[serde(default)]
    pub erased_in_part: BTreeSet<[u8; 16]>,
}

/// Why a backup can't be restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The file can't be read, is cut off, or damaged.
    #[error("the backup: {0}")]
    Backup(#[from] std::io::Error),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Writing the log.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The vault.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// An entry is not what its place says.
    #[error("position {0} of the backup is not what the checkpoint was signed for")]
    Entry(u64),
    /// Making the place of a discarded entry.
    #[error("making the place of a discarded entry: {0}")]
    Place(#[from] EntryError),
    /// The checkpoint.
    #[error("the backup's checkpoint: {0}")]
    Checkpoint(#[from] NoteError),
    /// The entries are not those of the checkpoint.
    #[error("the backup's entries are not those of its checkpoint")]
    Tree,
}

/// Writes a backup's entries into an empty log, without those whose keys don't exist any more. Key pages of the backup are
/// passed over: the vault is that of now. Gives the keys that the log had: whoever restores has to hold the newest.
///
/// # Errors
/// The backup is damaged or of another log, or something can't be read or written; then the log is to be thrown away.
pub fn restore_log(
    from: impl Read,
    log: &dyn LogStore,
    vault: &Vault,
    origin: &str,
    clock: &dyn Clock,
) -> Result<(Restored, KeyChain), RestoreError> {
    let mut refill = Refill::new(log, vault, origin, clock);
    let mut reader = BackupReader::begin(from)?;
    let mut note = None;
    while let Some(piece) = reader.next_piece()? {
        match piece {
            Piece::Entry(entry) => refill.take(entry)?,
            Piece::Checkpoint(found) => note = Some(found),
            Piece::KeyPage(_) => {}
        }
    }
    let backup_checkpoint = note.ok_or(RestoreError::Tree)?;
    let keys = refill.keys.clone().ok_or(RestoreError::Tree)?;
    let signed = keys.open(&backup_checkpoint)?;
    if (signed.size, signed.root) != (refill.tree.size(), refill.tree.root()) {
        return Err(RestoreError::Tree);
    }
    let (erased_again, erased_in_part) = refill.finish()?;
    let mut id = [0; 16];
    clock.fill(&mut id);
    let restored =
        Restored { id, backup_checkpoint, last_checkpoint: String::new(), erased_again, erased_in_part };
    Ok((restored, keys))
}

/// A log being filled.
struct Refill<'a> {
    log: &'a dyn LogStore,
    vault: &'a Vault,
    origin: &'a str,
    /// As far as the entries so far say; none before the first.
    keys: Option<KeyChain>,
    clock: &'a dyn Clock,
    tree: Frontier,
    frame: Frame,
    /// Whose request the frame is.
    request: Option<Hash>,
    frames: Vec<Frame>,
    waiting: usize,
    /// To be discarded at the end: were discarded, or have no key any more.
    going: BTreeSet<u64>,
    /// Of those, the ones without a key; with the handle where its owner is still there.
    keyless: BTreeMap<u64, Option<Handle>>,
    /// What the log itself says to be erased.
    said: Vec<PositionRange>,
}

impl<'a> Refill<'a> {
    fn new(log: &'a dyn LogStore, vault: &'a Vault, origin: &'a str, clock: &'a dyn Clock) -> Self {
        let (frame, frames, tree) = (Vec::new(), Vec::new(), Frontier::new());
        let (going, keyless, said) = (BTreeSet::new(), BTreeMap::new(), Vec::new());
        let (request, waiting) = (None, 0);
        Self {
            log,
            vault,
            origin,
            keys: None,
            clock,
            tree,
            frame,
            request,
            frames,
            waiting,
            going,
            keyless,
            said,
        }
    }

    fn take(&mut self, stored: StoredEntry) -> Result<(), RestoreError> {
        let position = stored.position;
        if position != self.tree.size() {
            return Err(RestoreError::Entry(position));
        }
        self.tree.push(stored.leaf_hash);
        let new = match stored.bytes {
            Some(bytes) => self.present(position, stored.leaf_hash, stored.recorded_at_ms, bytes)?,
            None => {
                self.going.insert(position);
                self.place_of_discarded(stored.leaf_hash, stored.recorded_at_ms)?
            }
        };
        // What one request wrote stays one frame; discarded ones in between are taken along.
        let goes_on = new.idempotency == self.request && new.idempotency.is_some();
        let is_discarded = self.going.contains(&position) && self.frame.len() < FRAME_MAX;
        if !(goes_on || is_discarded && self.request.is_some()) {
            self.end_frame()?;
            self.request = new.idempotency;
        }
        self.frame.push(new);
        Ok(())
    }

    fn present(
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
                Some(event_body::Event::ErasureCompleted(done)) => self.said.extend(done.discarded),
                Some(event_body::Event::LogKeyRotated(_)) => {
                    keys.take(position, &bytes).map_err(|_| RestoreError::Entry(position))?;
                }
                _ => {}
            }
        } else if !self.has_key(&entry.header)? {
            self.going.insert(position);
            let stays = self.vault.by_handle(entry.header.handle)?.is_some();
            self.keyless.insert(position, stays.then_some(entry.header.handle));
        }
        let Header { handle, version, idempotency, .. } = entry.header;
        Ok(NewEntry { bytes, leaf_hash, handle, version, idempotency, recorded_at_ms, index: Vec::new() })
    }

    /// The key that the log's first entry names.
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
            // After an earlier restore the version may be under a fresh key, and this entry's own be destroyed.
            Ok(key) => Ok(header.key_commitment == Some(key.commitment())),
            Err(VaultError::Destroyed) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// An entry that says nothing, to be discarded at once: it leaves the place and the leaf hash of one that was.
    fn place_of_discarded(&self, leaf_hash: Hash, recorded_at_ms: u64) -> Result<NewEntry, RestoreError> {
        let random = || {
            let mut bytes = [0; 32];
            self.clock.fill(&mut bytes);
            bytes
        };
        let mut handle = Handle([0; 16]);
        self.clock.fill(&mut handle.0);
        let header = Header {
            event_id: crate::clock::event_id(self.clock),
            handle,
            version: 0,
            previous: None,
            sealed_at_ms: recorded_at_ms,
            idempotency: None,
            key_commitment: None,
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

    /// Writes what waits, destroys what has to go; gives what the log does not yet say to be erased, as runs, and the
    /// handles among it that are still there.
    fn finish(mut self) -> Result<(Runs, BTreeSet<[u8; 16]>), RestoreError> {
        self.end_frame()?;
        self.write()?;
        let going: Vec<u64> = self.going.iter().copied().collect();
        for part in going.chunks(BATCH_MAX) {
            self.log.discard(part)?;
        }
        let is_said = |position: &u64| self.said.iter().any(|run| (run.first..=run.last).contains(position));
        let (mut runs, mut in_part) = (Runs::new(), BTreeSet::new());
        for (position, handle) in self.keyless.iter().filter(|(position, _)| !is_said(position)) {
            in_part.extend(handle.map(|handle| handle.0));
            match runs.last_mut() {
                Some((_, last)) if last.checked_add(1) == Some(*position) => *last = *position,
                _ => runs.push((*position, *position)),
            }
        }
        self.log.close()?;
        Ok((runs, in_part))
    }
}

impl Operations {
    /// Gives everybody fresh keys from where the log now ends for them on, and says in the log that it went back to a
    /// backup, unless it says so already. From then on use waits until that is confirmed.
    pub(crate) async fn declare_restore(
        self: &Arc<Self>,
        restored: &Restored,
        said: &[Recorded],
    ) -> Result<(), AppError> {
        let is_said = |event: &Recorded| matches!(&event.event, Event::BackupRestored(before) if before.restore == restored.id);
        if said.iter().any(is_said) {
            return Ok(());
        }
        let in_part = restored.erased_in_part.iter().map(|handle| Handle(*handle)).collect();
        let next_version = |handle| {
            let newest = self.core.store().subject_head(handle).map_err(AppError::from)?;
            Ok::<_, AppError>(newest.map_or(0, |(version, _)| version.saturating_add(1)))
        };
        let fence_ms = self.core.now_ms();
        self.core.vault.renew(&in_part, fence_ms, next_version).await?;
        self.core.clock.advance_past(fence_ms);
        let discarded: Vec<PositionRange> = restored
            .erased_again
            .iter()
            .map(|(first, last)| PositionRange { first: *first, last: *last })
            .collect();
        let erased_again = discarded.iter().map(|run| run.last.saturating_sub(run.first).saturating_add(1));
        let declared = Event::BackupRestored(BackupRestored {
            restore: restored.id.to_vec(),
            backup_checkpoint: restored.backup_checkpoint.clone(),
            last_checkpoint: restored.last_checkpoint.clone(),
            erased_again: erased_again.sum(),
            use_waits: true,
        });
        let mut events = Vec::new();
        if !discarded.is_empty() {
            let done = Event::ErasureCompleted(ErasureCompleted {
                request: restored.id.to_vec(),
                scope: ErasureScope::All.into(),
                discarded,
                key_epoch: self.core.vault.key_epoch(),
                requested_at_ms: self.core.now_ms(),
                ..ErasureCompleted::default()
            });
            events.push(SystemEvent::new(done));
        }
        events.push(SystemEvent::new(declared));
        let actor = Actor { role: Role::Ledger.into(), name: String::new() };
        self.core.publish_as(actor, self.core.now_ms(), events, RequestStamp::default()).await.map(|_| ())
    }
}
