//! Streams of data subjects about whom nothing is recorded yet. They exist in memory only, until
//! `first_append` makes them durable.

use crate::app::log::stream::SubjectStream;
use sayso_proof::merkle::Hash;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The smallest size of the map, including dropped streams, at which dropped streams are removed.
pub(crate) const KNOWN_MAX: usize = 1_024;

/// Streams of data subjects about whom nothing is recorded yet: one for each subject, as long as a write
/// holds it.
#[derive(Default)]
pub(crate) struct NewStreams(Mutex<Known>);

#[derive(Default)]
pub(crate) struct Known {
    /// By the keyed hash of the subject's id.
    pub(crate) streams: HashMap<Hash, Weak<SubjectStream>>,
    /// The size at which dropped streams are removed next: twice the number of streams that were in use when
    /// dropped streams were last removed, or `KNOWN_MAX` if that is larger.
    pub(crate) max: usize,
}

impl Known {
    pub(crate) fn insert(&mut self, subject: Hash, stream: &Arc<SubjectStream>) {
        if self.streams.len() >= self.max.max(KNOWN_MAX) {
            self.streams.retain(|_, stream| stream.strong_count() > 0);
            self.max = self.streams.len().saturating_mul(2);
        }
        self.streams.insert(subject, Arc::downgrade(stream));
    }
}

impl NewStreams {
    pub(crate) fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
