//! Why an entry is rejected, and whether a newer version of the verifier could read it.
//!
//! Before the daemon writes anything that older versions do not know, it records which edition of the rules
//! of decisions the log follows from then on. So an unknown field is a fault, unless the log has stated an
//! edition that this version does not know. After such a statement, this version cannot judge the log.

use crate::entry::{Entry, EntryError};
use crate::event::{EventBody, event_body::Event};
use ed25519_dalek::VerifyingKey;
use serde::Serialize;
use std::io;

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

/// What a failed verification says about the bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The bundle is damaged or forged, or it is not of this log.
    Broken,
    /// From a position on, the log follows an edition of the rules of decisions that is newer than
    /// [`EDITION_MAX`]. A newer version can verify the bundle. It is neither forged nor
    /// damaged.
    TooNew {
        /// The edition.
        edition: u32,
    },
    /// Nothing: the verification did not end, because this machine could not read the bundle or use a
    /// temporary file, or because the bundle is older than counts that the user gave.
    Machine,
}

/// Why a part of a bundle is rejected.
#[derive(Debug)]
pub(super) struct Rejection {
    pub reason: String,
    pub kind: FailureKind,
}

impl Rejection {
    pub fn fault(reason: impl ToString) -> Self {
        Self { reason: reason.to_string(), kind: FailureKind::Broken }
    }

    pub fn too_new(edition: u32) -> Self {
        let reason = format!(
            "the log follows edition {edition} of the rules of decisions from here on, and this version knows \
             editions up to {}",
            EDITION_MAX
        );
        Self { reason, kind: FailureKind::TooNew { edition } }
    }

    /// A file could not be read or written. If the operating system says why, that says nothing about the
    /// bundle, unless the file does not exist.
    pub fn io(what: &str, error: &io::Error) -> Self {
        let is_machine = error.raw_os_error().is_some() && error.kind() != io::ErrorKind::NotFound;
        let reason = format!("{what}: {error}");
        if is_machine { Self::machine(reason) } else { Self::fault(reason) }
    }

    /// This machine could not do its part. That says nothing about the bundle.
    pub fn machine(reason: impl ToString) -> Self {
        Self { reason: reason.to_string(), kind: FailureKind::Machine }
    }

    /// Why an entry is rejected whose body this version cannot read.
    pub fn of_body(entry: &Entry, key: &VerifyingKey, error: EntryError) -> Self {
        if !error.is_unknown() {
            return Self::fault(error);
        }
        // An entry without a valid signature says nothing about the log.
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
