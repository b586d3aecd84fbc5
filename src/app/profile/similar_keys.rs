//! Keys of new attributes: which characters they may have, and which existing keys they could be confused
//! with.

use crate::app::caller::Caller;
use crate::app::error::AppError;
use crate::domain::attribute::Attribute;
use crate::domain::checks::Checks;
use crate::domain::ids::EventId;
use crate::domain::names::Look;
use crate::domain::profile::SubjectState;

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

/// For each new key, the first existing key that could be confused with it. A service or channel learns of
/// keys that it recorded itself only. Takes time linear in the number of existing keys for each new key.
pub(super) fn similar_keys(
    caller: &Caller,
    state: &SubjectState,
    attributes: &[(Attribute, Option<EventId>)],
) -> Vec<SimilarKey> {
    let new = (0..).zip(attributes).filter(|(_, (new, _))| !state.attributes.contains_key(&new.key));
    let similar = new.filter_map(|(attribute, (new, _))| {
        let look = Look::of(&new.key);
        let mut existing = state.attributes.iter().filter(|(_, current)| caller.sees_attribute(current));
        let (key, _) = existing.find(|(key, _)| look.is_of(key))?;
        Some(SimilarKey { attribute, key: key.clone() })
    });
    similar.collect()
}
