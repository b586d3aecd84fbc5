//! What services build from what they were granted: it may be used for what its sources may, and falls with them.

use super::error::AppError;
use super::write::{Begin, Pace, Receipt};
use super::{App, Caller, WriteOptions};
use crate::domain::attribute::is_text;
use crate::domain::event::{ArtifactRegistered, Event, Reason};
use crate::domain::ids::{GrantId, SubjectId};
use crate::domain::profile::Issued;
use crate::domain::rights::Artifact;
use sayso_proof::event::{ArtifactKind, Role};
use std::sync::Arc;

const NAME_BYTES_MAX: usize = 128;

/// What a service built.
#[derive(Clone, Debug)]
pub struct NewArtifact {
    /// The caller's grant that it was built under.
    pub grant: GrantId,
    /// What it is.
    pub kind: ArtifactKind,
    /// The service's own name for it, at most 128 bytes.
    pub name: String,
    /// Keys of granted attributes that went in; none: all of them.
    pub sources: Vec<String>,
}

/// An artefact and how it stands.
#[derive(Clone, Debug)]
pub struct ArtifactStanding {
    /// As it was registered.
    pub artifact: Artifact,
    /// Its recipient has said that it is gone.
    pub acknowledged: bool,
}

impl App {
    /// Registers an artefact under a grant that stands; gives its id.
    ///
    /// # Errors
    /// No such grant of the caller's, one that does not stand, a key that it does not hold, out of bounds; or the store.
    pub async fn register_artifact(
        self: &Arc<Self>,
        caller: &Caller,
        new: NewArtifact,
        options: &WriteOptions,
    ) -> Result<(GrantId, Receipt), AppError> {
        if new.kind == ArtifactKind::Unspecified {
            return Err(AppError::invalid("kind", "must be embedding, adapter, cache or summary"));
        }
        if !is_text(&new.name, 0, NAME_BYTES_MAX) {
            return Err(AppError::invalid("name", "must have at most 128 bytes"));
        }
        let found = self.find_grant(caller, &new.grant).await?;
        if self.standing(&found, &new.grant)?.1 != caller.name {
            return Err(AppError::NotFound("grant"));
        }
        let (lane, event, about_ms) = (Arc::clone(&found.lane), found.event, self.about(options)?);
        let turn = match self.begin_in(lane, caller, options, about_ms, Pace::Shared).await? {
            Begin::Turn(turn) => turn,
            Begin::Replayed(receipt, events) => {
                let first = events.first().ok_or(AppError::KeyReused)?;
                return Ok((GrantId::new(first.position, &first.event_id), receipt));
            }
        };
        // As it stands now that it is this write's turn: nothing is built on what has fallen.
        let standing = self.standing(&found, &new.grant)?.0;
        if standing.reason == Some(Reason::ClockSkewed) {
            return Err(AppError::ClockSkewed);
        }
        if !standing.stands {
            return Err(AppError::Precondition("the grant does not stand"));
        }
        let issued = turn.lane.read().state.grants.get(&event).map(|grant| grant.issued.clone());
        let issued = issued.ok_or(AppError::NotFound("grant"))?;
        let registered = ArtifactRegistered {
            recipient: caller.name.clone(),
            kind: new.kind.into(),
            sources: sources(&issued, &new.sources)?,
            name: new.name,
            grant: event.0.to_vec(),
            purpose: issued.purpose,
        };
        let planned = vec![self.plan(Event::ArtifactRegistered(registered))];
        let written = self.commit(turn, planned).await?;
        let first = written.events.first().ok_or(AppError::NotFound("grant"))?;
        Ok((GrantId::new(first.position, &first.event_id), written.receipt))
    }

    /// Artefacts built from what is held about a person; a service sees its own.
    ///
    /// # Errors
    /// Nothing is held about the person; or the store.
    pub async fn list_artifacts(
        self: &Arc<Self>,
        caller: &Caller,
        subject: &SubjectId,
    ) -> Result<Vec<ArtifactStanding>, AppError> {
        let lane = self.lane(subject).await?.ok_or(AppError::NotFound("subject"))?;
        let all: Vec<Artifact> = lane.read().state.rights.artifacts.values().cloned().collect();
        let own = |artifact: &Artifact| {
            caller.role != Role::Service || artifact.registered.recipient == caller.name
        };
        let mut standing = Vec::new();
        for artifact in all.into_iter().filter(own) {
            let acknowledged = match artifact.invalidated {
                Some((_, position)) => self.has_acknowledged(&artifact.registered.recipient, position)?,
                None => false,
            };
            standing.push(ArtifactStanding { artifact, acknowledged });
        }
        Ok(standing)
    }
}

/// Event ids of the granted attributes with these keys; none named: all.
fn sources(issued: &Issued, keys: &[String]) -> Result<Vec<Vec<u8>>, AppError> {
    let known = |key: &String| issued.allowed.iter().any(|cited| cited.key == *key);
    if issued.allowed.is_empty() || !keys.iter().all(known) {
        return Err(AppError::invalid("sources", "must name keys that the grant allows"));
    }
    let named = issued.allowed.iter().filter(|cited| keys.is_empty() || keys.contains(&cited.key));
    Ok(named.map(|cited| cited.attribute.clone()).collect())
}
