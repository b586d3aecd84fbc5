//! Keeps the subject map of a log in memory. The map holds what the log commits to about each data subject
//! (docs/completeness.md). Also keeps the changes to the map that can't be read from new entries, such as
//! an erasure. `subject_map.rs` brings the map up to date.

use crate::domain::event::{Event, Recorded, SubjectMapCommitted};
use crate::domain::ids::Handle;
use crate::secret::{self, with_cleared_stack};
use crate::vault::MapLink;
use lru::LruCache;
use sayso_proof::subject_map::{Label, Stream, SubjectMap};
use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Commitments that are kept in memory. An export that waits for witnesses needs one that is not the newest.
const RECENT_MAX: usize = 64;
/// Streams whose numbers of events are kept in memory, about 100 bytes for each stream.
const COUNTED_MAX: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");

/// Words of stack that are overwritten after a label was handled.
const STACK_WORDS: usize = (32 << 10) / secret::STACK_WORD_BYTES;

/// A commitment in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Commitment {
    /// Position of its event.
    pub position: u64,
    /// The event.
    pub committed: SubjectMapCommitted,
}

/// The subject map of a log, and the changes to it that no entry shows.
#[derive(Default)]
pub(crate) struct KeptMap {
    pub state: Arc<tokio::sync::Mutex<MapState>>,
    changes: Mutex<Vec<Change>>,
    /// How many data subjects were linked to an id since the start.
    links: AtomicU64,
    /// The newest commitments, the newest last.
    recent: Mutex<VecDeque<Commitment>>,
    /// Whether an erasure was completed after the newest commitment.
    has_erased: AtomicBool,
}

/// A change that no entry shows.
pub(crate) enum Change {
    /// The data subject with this handle and this link was erased.
    Erased(Handle, MapLink),
    /// The data subject with this handle was linked to their id, or some of their entries were erased.
    Changed(Handle),
}

/// The map in memory, and what was committed.
#[derive(Default)]
pub(crate) struct MapState {
    /// `None` until it is first needed.
    pub built: Option<BuiltMap>,
    /// The newest commitment in the log.
    pub newest: Option<Commitment>,
}

/// The map as of `tree_size` entries.
pub(crate) struct BuiltMap {
    pub map: SubjectMap,
    /// The map describes this many entries, from the first on.
    pub tree_size: u64,
    /// Number of data subjects whose label follows from their handle.
    pub unlinked: u64,
    /// For streams that changed lately: the number of events, and of those that are not erased. With these
    /// numbers, only the newer part of a long stream has to be read again.
    pub counted: LruCache<Handle, (u64, u64)>,
}

impl KeptMap {
    /// The map of a log with these system events.
    pub fn new(system_events: &[Recorded]) -> Self {
        let newest = system_events.iter().rev().find_map(|event| match &event.event {
            Event::SubjectMapCommitted(committed) => {
                Some(Commitment { position: event.position, committed: committed.clone() })
            }
            _ => None,
        });
        let recent = Mutex::new(newest.iter().cloned().collect());
        let newest_position = newest.as_ref().map_or(0, |commitment| commitment.position);
        let is_later_erasure = |event: &Recorded| {
            event.position > newest_position && matches!(event.event, Event::ErasureCompleted(_))
        };
        let has_erased = AtomicBool::new(system_events.iter().any(is_later_erasure));
        let state = MapState { newest, ..MapState::default() };
        Self { state: Arc::new(tokio::sync::Mutex::new(state)), recent, has_erased, ..Self::default() }
    }

    fn recent(&self) -> MutexGuard<'_, VecDeque<Commitment>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The changes that the map does not have yet.
    pub fn changes(&self) -> MutexGuard<'_, Vec<Change>> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes a data subject whose keys were destroyed. `link` linked them to the map before.
    pub fn forget(&self, handle: Handle, link: MapLink) {
        match self.state.try_lock() {
            Ok(mut state) => state.forget(handle, &link),
            // Another task is building the map or committing to it.
            Err(_) => self.changes().push(Change::Erased(handle, link)),
        }
    }

    /// Removes data subjects that could not be removed immediately. Call it periodically.
    pub fn forget_erased(&self) {
        let Ok(mut state) = self.state.try_lock() else { return };
        let changes = std::mem::take(&mut *self.changes());
        for change in changes {
            match change {
                Change::Erased(handle, link) => state.forget(handle, &link),
                changed @ Change::Changed(_) => self.changes().push(changed),
            }
        }
    }

    /// Notes that an erasure is being completed.
    pub fn add_erasure(&self) {
        self.has_erased.store(true, Ordering::SeqCst);
    }

    /// Whether an erasure was completed after the newest commitment. Then the log needs another commitment,
    /// even to the same map: people may have been recorded and erased in between.
    pub fn has_erased(&self) -> bool {
        self.has_erased.load(Ordering::SeqCst)
    }

    /// Adds a commitment that is in the log now. Call it while erasures are kept out.
    pub fn add_recent(&self, commitment: Commitment) {
        self.has_erased.store(false, Ordering::SeqCst);
        let mut recent = self.recent();
        recent.push_back(commitment);
        if recent.len() > RECENT_MAX {
            recent.pop_front();
        }
    }

    /// Notes that a data subject is being linked to their id. Call it before the link is stored, while no
    /// commitment can be made, and then [`KeptMap::add_change`].
    pub fn begin_link(&self) {
        self.links.fetch_add(1, Ordering::SeqCst);
    }

    /// Notes that a data subject was linked to their id, or that some of their entries were erased.
    pub fn add_change(&self, handle: Handle) {
        self.changes().push(Change::Changed(handle));
    }

    /// How many data subjects were linked to an id since the start.
    pub fn links(&self) -> u64 {
        self.links.load(Ordering::SeqCst)
    }

    /// Number of entries up to the newest commitment.
    pub fn covered(&self) -> u64 {
        self.recent().back().map_or(0, |newest| newest.position.saturating_add(1))
    }

    /// The newest commitment among the first `size` entries, if it is one of the last few.
    pub fn newest_before(&self, size: u64) -> Option<Commitment> {
        self.recent().iter().rev().find(|commitment| commitment.position < size).cloned()
    }
}

impl MapState {
    /// Removes an erased data subject.
    fn forget(&mut self, handle: Handle, link: &MapLink) {
        if let Some(built) = &mut self.built {
            built.forget(handle, link);
        }
    }
}

impl BuiltMap {
    /// A map without data subjects, as of `tree_size` entries.
    pub fn new(tree_size: u64) -> Self {
        let counted = LruCache::new(COUNTED_MAX);
        Self { map: SubjectMap::new(), tree_size, unlinked: 0, counted }
    }

    /// Removes an erased data subject. Their label may come from their id or from their handle.
    pub fn forget(&mut self, handle: Handle, link: &MapLink) {
        with_cleared_stack::<STACK_WORDS, _>(|| self.map.remove(&link.label()));
        self.remove_unlinked(handle);
        self.counted.pop(&handle);
    }

    /// Sets the stream of a data subject; `None` if they have no entries.
    pub fn set(&mut self, handle: Handle, link: &MapLink, stream: Option<Stream>) {
        with_cleared_stack::<STACK_WORDS, _>(|| self.set_stream(handle, link, stream));
    }

    fn set_stream(&mut self, handle: Handle, link: &MapLink, stream: Option<Stream>) {
        let label = link.label();
        let is_unlinked = label == Label::unlinked(handle);
        if !is_unlinked || stream.is_none() {
            self.remove_unlinked(handle);
        }
        let Some(stream) = stream else {
            self.map.remove(&label);
            return;
        };
        let is_new = self.map.set(label, stream.commitment(link.blinding()));
        self.unlinked = self.unlinked.saturating_add(u64::from(is_new && is_unlinked));
        self.counted.put(handle, (stream.events, stream.present));
    }

    fn remove_unlinked(&mut self, handle: Handle) {
        if self.unlinked > 0 && self.map.remove(&Label::unlinked(handle)) {
            self.unlinked -= 1;
        }
    }
}
