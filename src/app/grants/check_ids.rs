//! Tells a recipient which of its grants, artifacts and cached attributes may no longer be used. So a
//! recipient that did not watch revocations for a time can bring its cache up to date.

use crate::app::caller::Caller;
use crate::app::error::AppError;
use crate::app::grants::Grants;
use crate::app::grants::check_grant::FoundGrant;
use crate::domain::attribute::{KEY_BYTES_MAX, is_text};
use crate::domain::event::{ErasureScope, Event, GrantedAttribute, Reason};
use crate::domain::ids::GrantId;
use std::sync::Arc;

/// The most ids in one request.
pub(crate) const IDS_MAX: usize = 1_024;

/// What a recipient has: a grant, an artifact, or an attribute that a grant gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedId {
    /// The id of the grant or artifact.
    pub id: GrantId,
    /// The key of the attribute, for a cached attribute.
    pub key: Option<String>,
}

impl CheckedId {
    /// Reads `g<position>-<token>`, or the same with `/` and a key.
    ///
    /// # Errors
    /// The text is neither.
    pub fn parse(text: &str) -> Result<Self, AppError> {
        let (id, key) = text.split_once('/').map_or((text, None), |(id, key)| (id, Some(key)));
        let problem = "must each be a grant or artifact (`g<position>-<token>`), or `<grant>/<key>`";
        let id = id.parse().map_err(|_| AppError::invalid("ids", problem))?;
        if key.is_some_and(|key| !is_text(key, 1, KEY_BYTES_MAX)) {
            return Err(AppError::invalid("ids", problem));
        }
        Ok(Self { id, key: key.map(str::to_owned) })
    }
}

/// The state of something that a recipient has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdState {
    /// It may be used.
    Valid,
    /// It may no longer be used.
    Ended {
        /// Why.
        reason: Reason,
        /// What was erased, if it ended because of an erasure.
        erased: ErasureScope,
    },
    /// The ledger has nothing of the caller under this id.
    Unknown,
}

impl IdState {
    fn ended(reason: Reason) -> Self {
        Self::Ended { reason, erased: ErasureScope::Unspecified }
    }
}

/// The states of what a recipient has, in the order of the request.
#[derive(Clone, Debug)]
pub struct CheckedIds {
    /// The states.
    pub states: Vec<IdState>,
    /// The cursor from which a watch reports everything that ends after these states were read.
    pub cursor: u64,
}

impl Grants {
    /// The state of each of these ids. The caller learns only about what is its own: anything else is
    /// unknown.
    ///
    /// # Errors
    /// There are too many ids, or the store failed.
    pub async fn check_ids(
        self: &Arc<Self>,
        caller: &Caller,
        ids: &[CheckedId],
    ) -> Result<CheckedIds, AppError> {
        if ids.len() > IDS_MAX {
            return Err(AppError::invalid("ids", "must have at most 1,024"));
        }
        let cursor = self.core.ledger.checkpoint().size;
        let mut states = Vec::with_capacity(ids.len());
        for each in ids {
            states.push(self.state_of(caller, each).await?);
        }
        Ok(CheckedIds { states, cursor })
    }

    async fn state_of(
        self: &Arc<Self>,
        caller: &Caller,
        checked_id: &CheckedId,
    ) -> Result<IdState, AppError> {
        let found = match self.find_grant(caller, &checked_id.id).await {
            Err(AppError::GrantErased(erased)) => {
                let checked = self.check_erased(*erased, &[]).await?;
                let reason = checked.standing.reason.unwrap_or(Reason::Erased);
                return Ok(IdState::Ended { reason, erased: checked.erased_scope });
            }
            Err(AppError::NotFound(_)) => return Ok(IdState::Unknown),
            found => found?,
        };
        if let Some(state) = self.state_of_artifact(caller, &found) {
            // An attribute can be cached under a grant only.
            return Ok(if checked_id.key.is_some() { IdState::Unknown } else { state });
        }
        let (standing, recipient) = match self.standing(&found, &checked_id.id) {
            Err(AppError::NotFound(_)) => return Ok(IdState::Unknown),
            standing => standing?,
        };
        if recipient != caller.name {
            return Ok(IdState::Unknown);
        }
        if let Some(key) = &checked_id.key {
            match self.attribute_of(&found, &checked_id.id, key)? {
                None => return Ok(IdState::Unknown),
                Some(Some(reason)) => return Ok(IdState::ended(reason)),
                Some(None) => {}
            }
        }
        Ok(standing.reason.map_or(IdState::Valid, IdState::ended))
    }

    /// The state of the artifact that this event registered; `None` if it registered none.
    fn state_of_artifact(&self, caller: &Caller, found: &FoundGrant) -> Option<IdState> {
        let now_ms = self.core.now_ms();
        let suspended = self.core.suspension_reason();
        let now = found.stream.read();
        let artifact = now.state.rights.artifacts.get(&found.event)?;
        if artifact.registered.recipient != caller.name {
            return Some(IdState::Unknown);
        }
        let reason = artifact.ended_at(now_ms).or(suspended);
        Some(reason.map_or(IdState::Valid, IdState::ended))
    }

    /// Why the attribute that a grant gave under a key is no longer current; `Some(None)` if it is current,
    /// `None` if the grant gave no such attribute. If it was recorded again unchanged, it is current.
    fn attribute_of(
        &self,
        found: &FoundGrant,
        grant: &GrantId,
        key: &str,
    ) -> Result<Option<Option<Reason>>, AppError> {
        let gives = |allowed: &[GrantedAttribute]| allowed.iter().any(|cited| cited.key == key);
        let of_state = |found: &FoundGrant| {
            let now = found.stream.read();
            let grant = now.state.grants.get(&found.event)?;
            Some((gives(&grant.issued.allowed), grant.issued.profile_version))
        };
        let (is_given, seen) = match of_state(found) {
            Some(given) => given,
            None => match self.core.event_at(&found.stream.keys, grant.position)?.event {
                Event::GrantIssued(issued) => (gives(&issued.allowed), issued.profile_version),
                _ => return Ok(None),
            },
        };
        if !is_given {
            return Ok(None);
        }
        let now = found.stream.read();
        Ok(Some(match now.state.attributes.get(key) {
            // The grant was decided on the first `seen` versions.
            Some(current) if current.unchanged_since >= seen => Some(Reason::AttributeReplaced),
            Some(current) if current.contested => Some(Reason::Contested),
            Some(_) => None,
            None => Some(Reason::AttributeRemoved),
        }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn an_id_may_have_a_key_and_the_key_may_have_slashes() {
        let grant = "g7-0102030405060708";
        assert_eq!(CheckedId::parse(grant).unwrap().key, None);
        assert_eq!(CheckedId::parse(&format!("{grant}/a/b")).unwrap().key.unwrap(), "a/b");
        for bad in ["", "/", "7", "g7-0102030405060708/", "g7/key"] {
            assert!(CheckedId::parse(bad).is_err(), "{bad}");
        }
    }
}
