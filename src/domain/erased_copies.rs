//! Finds events of a data subject whose text holds an erased value exactly or nearly. The text can be a
//! value under another attribute key, evidence, the name of an artifact, a reason that somebody gave, or
//! the words of a request.
//!
//! [`super::text_search`] says what "nearly" means. The result names events and keys, and never has the text.

use super::attribute::Attribute;
use super::event::{CopiesFound, ErasureScope, Event, Recorded};
use super::ids::{EventId, GrantId};
use super::text_search::{TextSearch, Unfinished, text_of_json};
use std::collections::BTreeSet;

/// Where a copy of an erased value was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyKind {
    /// The value of an attribute.
    Value,
    /// The evidence of an attribute.
    Evidence,
    /// The reason with which an attribute was contested or removed.
    Reason,
    /// The name of an artifact.
    Artifact,
    /// The words of a request.
    Request,
}

/// An event whose text holds an erased value, or nearly so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErasedCopy {
    /// The event.
    pub event_id: EventId,
    /// Where in the event.
    pub kind: CopyKind,
    /// The attribute's key, or the artifact's id. Empty for a reason or a request.
    pub name: String,
    /// The attribute's category. Empty for anything else.
    pub category: String,
    /// When it was recorded, milliseconds since the Unix epoch.
    pub recorded_at_ms: u64,
}

/// The copies that a search found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copies {
    /// Events that the erasure does not erase, oldest first.
    pub left: Vec<ErasedCopy>,
    /// How many events were found and are erased.
    pub erased: usize,
    /// Whether the search did not read everything.
    pub is_unfinished: bool,
}

impl Copies {
    /// The counts that are recorded.
    #[must_use]
    pub fn counts(&self) -> CopiesFound {
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let found = number(self.left.len().saturating_add(self.erased));
        CopiesFound { found, erased: number(self.erased), unfinished: self.is_unfinished }
    }
}

/// The versions of the events whose text holds this text, or nearly so.
///
/// # Errors
/// There are more than `bytes_max` bytes of text.
pub fn holding(history: &[Recorded], text: &str, bytes_max: usize) -> Result<BTreeSet<u64>, Unfinished> {
    let mut search = TextSearch::new(bytes_max);
    search.want(text)?;
    let mut found = BTreeSet::new();
    for event in history {
        if place_in(event, &mut search)?.is_some() {
            found.insert(event.version);
        }
    }
    Ok(found)
}

/// Looks for copies of the values of all erased attributes in the events that are not erased. `gone` are the
/// versions of the erased events, ascending.
#[must_use]
pub fn left_copies(history: &[Recorded], gone: &[u64]) -> Copies {
    let mut left = Vec::new();
    let is_unfinished = find_left(history, gone, &mut left).is_err();
    Copies { left, erased: 0, is_unfinished }
}

fn find_left(history: &[Recorded], gone: &[u64], left: &mut Vec<ErasedCopy>) -> Result<(), Unfinished> {
    let is_gone = |event: &&Recorded| gone.binary_search(&event.version).is_ok();
    let mut search = TextSearch::default();
    for event in history.iter().filter(is_gone) {
        if let Some(attribute) = recorded_attribute(&event.event) {
            search.want(&text_of_json(attribute.value.expose()))?;
        }
    }
    for event in history.iter().filter(|event| !is_gone(event)) {
        if let Some(kind) = place_in(event, &mut search)? {
            left.push(copy(event, kind));
        }
    }
    Ok(())
}

/// The number of the events that `is_counted` accepts by their versions. The request for the erasure of the
/// text has the text too, and is not counted.
#[must_use]
pub fn count_copies(history: &[Recorded], is_counted: impl Fn(u64) -> bool) -> usize {
    let is_copy = |event: &&Recorded| match &event.event {
        Event::RequestSubmitted(request) if request.scope == ErasureScope::Content => false,
        _ => is_counted(event.version),
    };
    history.iter().filter(is_copy).count()
}

fn copy(event: &Recorded, kind: CopyKind) -> ErasedCopy {
    let (name, category) = match &event.event {
        Event::ArtifactRegistered(_) => {
            (GrantId::new(event.position, &event.event_id).to_string(), String::new())
        }
        other => {
            recorded_attribute(other).map(|of| (of.key.clone(), of.category.clone())).unwrap_or_default()
        }
    };
    let (event_id, recorded_at_ms) = (event.event_id, event.recorded_at_ms);
    ErasedCopy { event_id, kind, name, category, recorded_at_ms }
}

/// Where an event's text holds what is looked for.
fn place_in(event: &Recorded, search: &mut TextSearch) -> Result<Option<CopyKind>, Unfinished> {
    if search.is_empty() {
        return Ok(None);
    }
    let (kind, text) = match &event.event {
        Event::AttributeContested { reason, .. } | Event::AttributeRemoved { reason, .. } => {
            (CopyKind::Reason, reason)
        }
        Event::ArtifactRegistered(artifact) => (CopyKind::Artifact, &artifact.name),
        Event::RequestSubmitted(request) => (CopyKind::Request, &request.details),
        other => {
            let Some(attribute) = recorded_attribute(other) else { return Ok(None) };
            if search.is_held_by(&text_of_json(attribute.value.expose()))? {
                return Ok(Some(CopyKind::Value));
            }
            for evidence in &attribute.evidence {
                if search.is_held_by(evidence)? {
                    return Ok(Some(CopyKind::Evidence));
                }
            }
            return Ok(None);
        }
    };
    Ok(search.is_held_by(text)?.then_some(kind))
}

fn recorded_attribute(event: &Event) -> Option<&Attribute> {
    match event {
        Event::AttributeRecorded(attribute)
        | Event::EarlierAttributeRecorded(attribute)
        | Event::AttributeCorrected { attribute, .. } => Some(attribute),
        _ => None,
    }
}
