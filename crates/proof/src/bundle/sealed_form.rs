//! Checks the form of entries about data subjects: which fields are unencrypted, and whether the body is
//! padded. The edition of the rules of decisions that the log follows determines the required form.

use super::check::Content;
use crate::certificate::day_of;
use crate::entry::SchemaVersion;
use crate::event::event_body::Event;
use crate::event::{BackupRestored, ErasureCompleted};
use crate::merkle::Hash;

/// From this edition on, the hash of an idempotency key is sealed with the body, so that it cannot be used to
/// test a guess of what was erased. The body is also padded, so that its length does not identify a person.
/// The event that completes an erasure has neither the id of the request nor counts by category, so that a
/// guess of the person does not lead to more.
const SEALED_EDITION: u32 = 5;

/// The form that entries must have at this place of the log.
#[derive(Default)]
pub(super) struct SealedForm {
    /// The edition that the log follows by now; 0 if it states none.
    edition: u32,
}

impl SealedForm {
    /// Checks the next entry.
    ///
    /// # Errors
    /// The entry has a form of another edition.
    pub fn check_next(&mut self, content: &Content) -> Result<(), &'static str> {
        let (header, body) = match content {
            Content::Erased => return Ok(()),
            Content::Plain(_, body) => {
                return self.check_plain(body.event.as_ref());
            }
            Content::Withheld(header) => (header, None),
            Content::Sealed(header, body) => (header, Some(body)),
        };
        let is_padded = header.schema_version == SchemaVersion::Two;
        let is_sealed_hash = body.is_some_and(|body| !body.idempotency_hash.is_empty());
        match self.edition >= SEALED_EDITION {
            true if header.idempotency.is_some() => {
                Err("the `idempotency_hash` is in clear, but the log follows edition 5 of the rules or later")
            }
            true if !is_padded => {
                Err("the sealed body is not padded, but the log follows edition 5 of the rules or later")
            }
            false if is_sealed_hash => {
                Err("the body has `idempotency_hash`, but the log does not follow edition 5 of the rules")
            }
            false if is_padded => {
                Err("the sealed body is padded, but the log does not follow edition 5 of the rules")
            }
            _ => Ok(()),
        }
    }

    fn check_plain(&mut self, event: Option<&Event>) -> Result<(), &'static str> {
        let is_sealed = self.edition >= SEALED_EDITION;
        match event {
            Some(Event::DecisionRulesAdopted(adopted)) => {
                self.edition = self.edition.max(adopted.edition);
                Ok(())
            }
            Some(Event::ErasureCompleted(erasure)) => check_erasure(erasure, is_sealed),
            Some(Event::BackupRestored(BackupRestored { key_epoch, .. })) if !is_sealed && *key_epoch > 0 => {
                Err("`BackupRestored` has `key_epoch`, but the log does not follow edition 5 of the rules")
            }
            _ => Ok(()),
        }
    }
}

/// What the event that completes an erasure may say.
fn check_erasure(erasure: &ErasureCompleted, is_sealed: bool) -> Result<(), &'static str> {
    let ErasureCompleted { request, erased_by_category, requested_at_ms, request_hash, .. } = erasure;
    match is_sealed {
        true if !request.is_empty() || request_hash.len() != size_of::<Hash>() => {
            Err("`ErasureCompleted` does not name its request by `request_hash` alone, but the log follows \
                 edition 5 of the rules or later")
        }
        true if !erased_by_category.is_empty() => Err(
            "`ErasureCompleted` has counts by category, but the log follows edition 5 of the rules or later",
        ),
        true if *requested_at_ms != day_of(*requested_at_ms) => {
            Err("`requested_at_ms` of `ErasureCompleted` is not the beginning of a day, but the log follows \
                 edition 5 of the rules or later")
        }
        false if !request_hash.is_empty() => {
            Err("`ErasureCompleted` has `request_hash`, but the log does not follow edition 5 of the rules")
        }
        _ => Ok(()),
    }
}
