//! Finds the changes of attributes with which a request for rectification (GDPR Art. 16) was carried out, so
//! that its completion names them.

use crate::app::error::AppError;
use crate::app::log::stream::SubjectStream;
use crate::app::rights::Rights;
use crate::domain::attribute::Attribute;
use crate::domain::checks::Checks;
use crate::domain::event::{Event, Provenance, Recorded};
use crate::domain::ids::EventId;
use crate::domain::request::{CHANGES_MAX, KEYS_MAX, RequestKind, RequestRecord};
use std::collections::BTreeMap;

/// What was done to an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was corrected.
    Corrected,
    /// It was recorded anew.
    Recorded,
    /// It was removed.
    Removed,
}

/// A change that carried out a rectification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestChange {
    /// The event that made the change.
    pub event_id: EventId,
    /// The key of the attribute.
    pub key: String,
    /// What was done to it.
    pub kind: ChangeKind,
    /// When the change was recorded, milliseconds since the Unix epoch.
    pub recorded_at_ms: u64,
}

impl Rights {
    /// The versions of the changes with which a request is completed; none unless it is for rectification.
    /// They are changes of the attributes with these keys, or with the request's own keys, since the request
    /// was submitted. At most 128, the newest.
    ///
    /// # Errors
    /// `keys` are given for another kind of request, no keys are known, nothing was changed under these keys,
    /// or the store fails.
    pub(crate) fn changes_since(
        &self,
        stream: &SubjectStream,
        record: &RequestRecord,
        keys: &[String],
    ) -> Result<Vec<u64>, AppError> {
        let mut checks = Checks::new();
        let is_rectification = record.kind == RequestKind::Rectification;
        checks.need(
            is_rectification || keys.is_empty(),
            "keys",
            "must be empty unless a rectification is completed",
        );
        checks.need(keys.len() <= KEYS_MAX, "keys", "must have at most 128");
        checks.finish()?;
        if !is_rectification {
            return Ok(Vec::new());
        }
        let own = record.submitted.as_ref().map(|submitted| submitted.keys.as_slice()).unwrap_or_default();
        let keys = if keys.is_empty() { own } else { keys };
        if keys.is_empty() {
            let problem = "must name the attributes that were changed, because the request names none";
            return Err(AppError::invalid("keys", problem));
        }
        let history = self.erasure.history(stream)?;
        let all = changes(&history)
            .into_iter()
            .filter(|(version, change)| *version > record.version && keys.contains(&change.key));
        let mut versions: Vec<u64> = all.map(|(version, _)| version).collect();
        if versions.is_empty() {
            return Err(AppError::Precondition(
                "nothing was corrected, recorded anew or removed under these keys since the request was \
                 submitted; change the attribute first, or refuse the request",
            ));
        }
        let older = versions.len().saturating_sub(CHANGES_MAX);
        Ok(versions.split_off(older))
    }

    /// The changes with which a request was completed, oldest first. Those that were erased since are
    /// missing.
    ///
    /// # Errors
    /// The store fails.
    pub(crate) fn changes_of(
        &self,
        stream: &SubjectStream,
        record: &RequestRecord,
    ) -> Result<Vec<RequestChange>, AppError> {
        let decided = record.decided.as_ref();
        let versions = decided.map(|decided| decided.event.changes.as_slice()).unwrap_or_default();
        if versions.is_empty() {
            return Ok(Vec::new());
        }
        let history = self.erasure.history(stream)?;
        let mut found = changes(&history);
        Ok(versions.iter().filter_map(|version| found.remove(version)).collect())
    }
}

/// Every change of an attribute, by its version. A newly recorded inference is left out, because it does not
/// carry out what the person asked for. So is an event that repeats the value and category that its key had
/// before: it changes nothing.
fn changes(history: &[Recorded]) -> BTreeMap<u64, RequestChange> {
    let mut keys: BTreeMap<EventId, &str> = BTreeMap::new();
    let mut contents = Contents::default();
    let mut found = BTreeMap::new();
    for event in history {
        let (key, kind) = match &event.event {
            Event::AttributeCorrected { attribute, .. } | Event::AttributeRecorded(attribute) => {
                keys.insert(event.event_id, &attribute.key);
                let is_correction = matches!(event.event, Event::AttributeCorrected { .. });
                let is_repeated = contents.repeats(attribute);
                if is_repeated || !is_correction && attribute.provenance == Provenance::Inferred {
                    continue;
                }
                let kind = if is_correction { ChangeKind::Corrected } else { ChangeKind::Recorded };
                (attribute.key.as_str(), kind)
            }
            Event::AttributeRemoved { attribute, .. } => match keys.get(attribute) {
                Some(key) => {
                    contents.0.remove(key);
                    (*key, ChangeKind::Removed)
                }
                None => continue,
            },
            _ => continue,
        };
        let (event_id, recorded_at_ms) = (event.event_id, event.recorded_at_ms);
        found.insert(event.version, RequestChange { event_id, key: key.to_owned(), kind, recorded_at_ms });
    }
    found
}

/// The newest attribute under each key.
#[derive(Default)]
struct Contents<'a>(BTreeMap<&'a str, &'a Attribute>);

impl<'a> Contents<'a> {
    /// Notes an attribute. Returns whether it has the value and category that its key had before.
    fn repeats(&mut self, attribute: &'a Attribute) -> bool {
        let before = self.0.get(attribute.key.as_str()).copied();
        let is_inferred = |of: &Attribute| of.provenance == Provenance::Inferred;
        // An inference does not replace what was declared.
        if before.is_none_or(|before| is_inferred(before) || !is_inferred(attribute)) {
            self.0.insert(&attribute.key, attribute);
        }
        before.is_some_and(|before| {
            (&before.value, &before.category) == (&attribute.value, &attribute.category)
        })
    }
}
