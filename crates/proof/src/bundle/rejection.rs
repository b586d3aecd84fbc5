//! Why an entry is rejected, and whether a newer version could read it.
//!
//! The daemon states an edition of the rules before it writes anything that older versions do not know. So an
//! unknown field before such a statement is a fault. After it, this version cannot judge the log.

use crate::entry::{Entry, EntryError};
use crate::event::{EventBody, event_body::Event};
use ed25519_dalek::VerifyingKey;

/// The newest edition of the rules of decisions that this version knows (`DecisionRulesAdopted`).
pub const EDITION_MAX: u32 = 5;

/// The edition of the rules that a body states, if this version does not know it.
pub(super) fn newer_edition(body: &EventBody) -> Option<u32> {
    match &body.event {
        Some(Event::DecisionRulesAdopted(adopted)) => {
            Some(adopted.edition).filter(|edition| *edition > EDITION_MAX)
        }
        _ => None,
    }
}

/// Why an entry is rejected.
#[derive(Debug)]
pub(super) struct Rejection {
    pub reason: String,
    /// The edition of the rules that the entry states, if this version does not know it.
    pub newer_edition: Option<u32>,
}

impl Rejection {
    pub fn fault(reason: impl ToString) -> Self {
        Self { reason: reason.to_string(), newer_edition: None }
    }

    pub fn too_new(edition: u32) -> Self {
        let reason = format!(
            "the log follows edition {edition} of the rules of decisions from here on, and this version knows \
             editions up to {}",
            EDITION_MAX
        );
        Self { reason, newer_edition: Some(edition) }
    }

    /// Why an entry is rejected whose body this version cannot read.
    pub fn of_body(entry: &Entry, key: &VerifyingKey, error: EntryError) -> Self {
        if !error.is_unknown() {
            return Self::fault(error);
        }
        // An entry that nobody signed says nothing about the log.
        if let Err(error) = entry.verify(key) {
            return Self::fault(error);
        }
        match entry.known_part_of_plain_body().as_ref().and_then(newer_edition) {
            Some(edition) => Self::too_new(edition),
            None => Self::fault(format!("{error}, and the log states no newer rules before it")),
        }
    }
}

impl From<&str> for Rejection {
    fn from(reason: &str) -> Self {
        Self::fault(reason)
    }
}

impl From<String> for Rejection {
    fn from(reason: String) -> Self {
        Self::fault(reason)
    }
}
