//! Checks the characters in the keys of new attributes. Also finds existing keys that a new key could be
//! confused with, so that one attribute is not recorded under two keys by mistake.

use crate::app::caller::Caller;
use crate::app::error::AppError;
use crate::domain::attribute::Attribute;
use crate::domain::checks::Checks;
use crate::domain::ids::EventId;
use crate::domain::names::Skeleton;
use crate::domain::profile::SubjectState;
use std::collections::HashMap;

/// An existing key that differs from a new one only in case, or in characters that are easily confused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimilarKey {
    /// The index of the new attribute in the request.
    pub attribute: u32,
    /// The existing key.
    pub key: String,
}

/// Checks the characters of new keys. A key that is recorded already may be recorded again.
///
/// # Errors
/// A new key has a character that a name must not have.
pub(super) fn check_keys(
    state: &SubjectState,
    attributes: &[(Attribute, Option<EventId>)],
) -> Result<(), AppError> {
    let mut checks = Checks::new();
    for (number, (attribute, _)) in attributes.iter().enumerate() {
        checks.enter(format!("attributes[{number}]"));
        checks.need_name(state.key_problem(&attribute.key), "key");
    }
    Ok(checks.finish()?)
}

/// For each new key, the first existing key that could be confused with it. A service or channel learns only
/// of keys that it recorded itself. The look of each key (what it has in common with keys that it could be
/// confused with) is computed once.
pub(super) fn similar_keys(
    caller: &Caller,
    state: &SubjectState,
    attributes: &[(Attribute, Option<EventId>)],
) -> Vec<SimilarKey> {
    let new = (0..).zip(attributes).filter(|(_, (new, _))| !state.attributes.contains_key(&new.key));
    // Unordered: keys are found by their look, and the map is never iterated.
    let mut wanted: HashMap<Skeleton, Vec<u32>> = HashMap::new();
    for (attribute, (new, _)) in new {
        wanted.entry(Skeleton::of(&new.key)).or_default().push(attribute);
    }
    let mut similar = Vec::new();
    for (key, _) in state.attributes.iter().filter(|(_, current)| caller.sees_attribute(current)) {
        if wanted.is_empty() {
            break;
        }
        let found = wanted.remove(&Skeleton::of(key)).unwrap_or_default();
        similar.extend(found.into_iter().map(|attribute| SimilarKey { attribute, key: key.clone() }));
    }
    similar.sort_by_key(|similar| similar.attribute);
    similar
}
