//! Records commitments to the subject map in the log. For each data subject, the map has the number of
//! their events, and commits to the newest event. With the map, a reader can check that an export left
//! nothing out (docs/completeness.md).
//!
//! The map is in memory only, so a crash leaves nothing to repair. Writes do not update it: before each
//! commitment, it is updated from the entries since the last commitment. After a start, it is built from the
//! log and the vault when it is first needed, and gets the same root hash as before.

use crate::app::error::{AppError, Cause};
use crate::app::log::core::{Core, NoErasures};
use crate::app::log::kept_map::{BuiltMap, Change, Commitment, MapState};
use crate::app::log::stream::SubjectStream;
use crate::domain::event::{Event, SubjectMapCommitted};
use crate::domain::ids::{Handle, SubjectId};
use crate::vault::{MapLink, SubjectKeys};
use sayso_proof::bundle::MapRecord;
use sayso_proof::entry::parse_header;
use sayso_proof::subject_map::{Label, MapProof, Stream};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::OwnedMutexGuard;

/// Entries in one read.
const READ_COUNT: usize = 512;
/// Handles in one read.
const HANDLES_COUNT: usize = 1_024;
/// Versions of a stream in one read.
const VERSIONS_COUNT: usize = 512;

/// A commitment, the map that it commits to, and the locks that keep the commitment and the map unchanged.
struct Committed {
    no_erasures: NoErasures,
    state: OwnedMutexGuard<MapState>,
    commitment: Commitment,
}

/// What links a data subject to the map. Without a stored link, it follows from the handle.
pub(crate) fn link_of(keys: &SubjectKeys) -> MapLink {
    keys.link().unwrap_or_else(|| MapLink::unlinked(keys.handle))
}

impl Core {
    /// Links a data subject to the subject map, if an earlier version of the ledger stored them without a
    /// link. A failure is only logged: it must not refuse the write.
    pub(crate) async fn link_subject(self: &Arc<Self>, subject: &SubjectId, stream: &Arc<SubjectStream>) {
        if let Err(error) = self.link_stream(subject, stream).await {
            tracing::warn!(%error, "a data subject could not be linked to the subject map");
        }
    }

    /// Links a data subject to the subject map, if they are stored and nothing links them yet.
    ///
    /// # Errors
    /// The keys were destroyed, or the key store can't be written.
    pub(crate) async fn link_stream(
        self: &Arc<Self>,
        subject: &SubjectId,
        stream: &Arc<SubjectStream>,
    ) -> Result<(), AppError> {
        if stream.keys.is_linked() || stream.pending_subject().is_some() {
            return Ok(());
        }
        let (core, subject, stream) = (Arc::clone(self), subject.clone(), Arc::clone(stream));
        // This continues if the caller disconnects, so that the map follows each link.
        let task = tokio::spawn(async move {
            // An erasure has this lock, so it knows the label that it must remove.
            let _write_lock = stream.write_lock().await;
            if stream.keys.is_linked() || stream.read().erased {
                return Ok(());
            }
            // A commitment has either the old label or the new one.
            let _no_commitment = core.begin_erasing().await;
            core.projections.subject_map.begin_link();
            let linked = core.vault.link(&subject, &stream.keys).await;
            core.projections.subject_map.add_change(stream.keys.handle);
            Ok(linked?)
        });
        task.await.map_err(|_| AppError::Internal(Cause::Task))?
    }

    /// Builds the subject map if that was not done since the start. It takes about a minute for a million
    /// data subjects. Erasures continue meanwhile, so call this before keeping them out.
    ///
    /// # Errors
    /// The store or the vault can't be read.
    pub(crate) async fn prepare_subject_map(self: &Arc<Self>) -> Result<(), AppError> {
        let mut state = Arc::clone(&self.projections.subject_map.state).lock_owned().await;
        if state.built.is_some() {
            return Ok(());
        }
        let core = Arc::clone(self);
        let built = tokio::task::spawn_blocking(move || {
            state.built = Some(core.build_subject_map()?);
            Ok(())
        });
        built.await.map_err(|_| AppError::Internal(Cause::Task))?
    }

    /// Commits to the subject map as of now, unless the newest commitment still says the same. Returns the
    /// newest commitment. The lock keeps erasures out, so the map has a data subject exactly as long as no
    /// `ErasureCompleted` before the commitment erased them. It is returned, so that it can be kept longer.
    ///
    /// # Errors
    /// The store or the vault can't be read, or the event can't be written.
    pub(crate) async fn commit_subject_map(
        self: &Arc<Self>,
        no_erasures: NoErasures,
    ) -> Result<(NoErasures, Commitment), AppError> {
        let Committed { no_erasures, commitment, .. } = self.committed_map(no_erasures).await?;
        Ok((no_erasures, commitment))
    }

    /// Commits to the subject map, and proves what it has for a label.
    ///
    /// # Errors
    /// As [`Core::commit_subject_map`].
    pub(crate) async fn prove_in_subject_map(
        self: &Arc<Self>,
        label: Label,
        no_erasures: NoErasures,
    ) -> Result<(NoErasures, Commitment, MapProof), AppError> {
        let Committed { no_erasures, mut state, commitment } = self.committed_map(no_erasures).await?;
        let built = state.built.as_mut();
        let built = built.ok_or(AppError::Internal(Cause::Inconsistent("the subject map was not built")))?;
        Ok((no_erasures, commitment, built.map.prove(&label)))
    }

    async fn committed_map(self: &Arc<Self>, no_erasures: NoErasures) -> Result<Committed, AppError> {
        let state = Arc::clone(&self.projections.subject_map.state).lock_owned().await;
        let core = Arc::clone(self);
        // This continues if the caller disconnects, so the task owns the lock.
        let task = tokio::spawn(async move {
            let updating = Arc::clone(&core);
            let updated = tokio::task::spawn_blocking(move || {
                let mut state = state;
                updating.update_subject_map(&mut state).map(|committed| (state, committed))
            });
            let (mut state, committed) = updated.await.map_err(|_| AppError::Internal(Cause::Task))??;
            let has_erased = core.projections.subject_map.has_erased();
            let says_the_same = |newest: &&Commitment| newest.committed.root == committed.root && !has_erased;
            if let Some(newest) = state.newest.as_ref().filter(says_the_same) {
                let commitment = newest.clone();
                return Ok(Committed { no_erasures, state, commitment });
            }
            let event = Event::SubjectMapCommitted(committed.clone());
            let receipt = core.publish_for_ledger(vec![event]).await?;
            let position = receipt.events.first().map_or(0, |event| event.position);
            let commitment = Commitment { position, committed };
            core.projections.subject_map.add_recent(commitment.clone());
            state.newest = Some(commitment.clone());
            Ok(Committed { no_erasures, state, commitment })
        });
        task.await.map_err(|_| AppError::Internal(Cause::Task))?
    }

    /// Brings the map up to date with the log, and returns what there is to commit to.
    fn update_subject_map(&self, state: &mut MapState) -> Result<SubjectMapCommitted, AppError> {
        // If this fails, some changes are lost, so the next attempt builds the map again.
        let mut built = match state.built.take() {
            Some(built) => built,
            None => self.build_subject_map()?,
        };
        self.follow_log(&mut built)?;
        let committed = SubjectMapCommitted {
            root: built.map.root().to_vec(),
            vrf_public_key: self.vault.vrf_public_key().to_vec(),
            tree_size: built.tree_size,
            subjects: built.map.len(),
            unlinked: built.unlinked,
        };
        state.built = Some(built);
        Ok(committed)
    }

    fn build_subject_map(&self) -> Result<BuiltMap, AppError> {
        // The tree size is read first, and the queue of changes is cleared after it. The vault and the store
        // already have the effect of the changes in the queue. If somebody is erased later and recorded
        // again, all their new entries follow `tree_size`.
        let mut built = BuiltMap::new(self.ledger.checkpoint().size);
        self.projections.subject_map.changes().clear();
        let mut after = None;
        loop {
            let handles = self.vault.handles(after, HANDLES_COUNT)?;
            let Some(last) = handles.last().copied() else { return Ok(built) };
            after = Some(last);
            let size = built.tree_size;
            for handle in handles {
                self.set_in_map(&mut built, handle, size)?;
            }
        }
    }

    fn follow_log(&self, built: &mut BuiltMap) -> Result<(), AppError> {
        let size = self.ledger.checkpoint().size;
        let changes = std::mem::take(&mut *self.projections.subject_map.changes());
        let mut changed = BTreeSet::new();
        for change in changes {
            match change {
                Change::Erased(handle, link) => built.forget(handle, &link),
                Change::Changed(handle) => {
                    built.counted.pop(&handle);
                    changed.insert(handle);
                }
            }
        }
        let mut next = built.tree_size;
        while next < size {
            for stored in self.store().read_entries(next, READ_COUNT)? {
                next = stored.position.saturating_add(1);
                if let Some(bytes) = stored.bytes.filter(|_| stored.position < size) {
                    changed.insert(parse_header(&bytes)?.handle);
                }
            }
        }
        changed.remove(&Handle::SYSTEM);
        for handle in changed {
            self.set_in_map(built, handle, size)?;
        }
        built.tree_size = size;
        Ok(())
    }

    /// Sets what the map has for a data subject, unless they were erased.
    fn set_in_map(&self, built: &mut BuiltMap, handle: Handle, size: u64) -> Result<(), AppError> {
        let Some(keys) = self.vault.by_handle(handle)? else { return Ok(()) };
        let counted = built.counted.pop(&handle).unwrap_or_default();
        let stream = self.stream_since(handle, size, counted)?;
        built.set(handle, &link_of(&keys), stream);
        Ok(())
    }

    /// How each stream is in the map as of the first `size` entries, in ascending order of the handles.
    pub(crate) fn map_records(&self, size: u64) -> MapRecords<'_> {
        MapRecords { core: self, size, after: None, handles: Vec::new().into_iter() }
    }

    /// How a stream is in the map; `None` if it is not.
    fn map_record(&self, handle: Handle, size: u64) -> Result<Option<MapRecord>, AppError> {
        let Some(keys) = self.vault.by_handle(handle)? else { return Ok(None) };
        let link = link_of(&keys);
        let record = |_| MapRecord { handle, label: link.label(), blinding: *link.blinding() };
        Ok(self.stream_as_of(handle, size)?.map(record))
    }

    /// What the map has about a data subject as of the first `size` entries. `None` if none of these is
    /// theirs, or all of theirs are erased.
    pub(crate) fn stream_as_of(&self, handle: Handle, size: u64) -> Result<Option<Stream>, AppError> {
        self.stream_since(handle, size, (0, 0))
    }

    /// As [`Core::stream_as_of`], if the numbers of events and of those that are not erased were `counted`
    /// before. It reads only what follows.
    fn stream_since(
        &self,
        handle: Handle,
        size: u64,
        counted: (u64, u64),
    ) -> Result<Option<Stream>, AppError> {
        let (mut next, mut present) = counted;
        let mut newest = None;
        loop {
            let places = self.store().read_subject(handle, next, VERSIONS_COUNT)?;
            let within = places.partition_point(|(_, position)| *position < size);
            present = present.saturating_add(within as u64);
            newest = places.get(..within).and_then(<[_]>::last).copied().or(newest);
            match places.last() {
                Some((version, _)) if within == VERSIONS_COUNT => next = version.saturating_add(1),
                _ => break,
            }
        }
        match newest {
            Some((version, position)) => {
                let newest_leaf = self.stored_entry(position)?.leaf_hash;
                Ok(Some(Stream { handle, events: version.saturating_add(1), present, newest_leaf }))
            }
            None if counted == (0, 0) => Ok(None),
            None => self.stream_since(handle, size, (0, 0)),
        }
    }
}

/// Reads how each stream is in the map. Memory does not grow with the streams.
pub(crate) struct MapRecords<'a> {
    core: &'a Core,
    size: u64,
    after: Option<Handle>,
    handles: std::vec::IntoIter<Handle>,
}

impl Iterator for MapRecords<'_> {
    type Item = Result<MapRecord, AppError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(handle) = self.handles.next() {
                match self.core.map_record(handle, self.size).transpose() {
                    None => continue,
                    record => return record,
                }
            }
            match self.core.vault.handles(self.after, HANDLES_COUNT) {
                Err(error) => return Some(Err(error.into())),
                Ok(handles) => {
                    self.after = Some(*handles.last()?);
                    self.handles = handles.into_iter();
                }
            }
        }
    }
}
