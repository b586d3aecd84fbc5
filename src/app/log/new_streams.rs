//! People about whom nothing is recorded yet. A write about one of them is decided on a lane that is in memory alone; handle
//! and key are made durable right before the first event. So a write that is refused, for whatever reason, leaves nothing.

use crate::app::log::stream::SubjectStream;
use sayso_proof::merkle::Hash;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Lanes that are known of, dead ones included, before the dead are cleared away.
pub(crate) const KNOWN_MAX: usize = 1_024;

/// The lanes of people about whom nothing is recorded yet: one a person, for as long as a write holds it.
#[derive(Default)]
pub(crate) struct NewStreams(Mutex<Known>);

#[derive(Default)]
pub(crate) struct Known {
    /// By the keyed hash of the person's id.
    pub(crate) streams: HashMap<Hash, Weak<SubjectStream>>,
    /// Clears away at this size; moves up where more are in use at once.
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
