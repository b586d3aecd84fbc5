//! Registers and lists artifacts. A service builds an artifact from granted attributes, the *sources* of the
//! artifact. An artifact may be used only for the purpose of its grant. It is invalidated when one of its
//! sources is removed, corrected or replaced, or when a source may no longer be used for that purpose.

use crate::app::caller::Caller;
use crate::app::error::AppError;
use crate::app::grants::Grants;
use crate::app::log::append::{Append, Begun, Timestamping};
use crate::app::log::receipt::{Receipt, WriteOptions};
use crate::app::profile::paging::Room;
use crate::domain::DAY_MS;
use crate::domain::attribute::is_text;
use crate::domain::event::{ArtifactKind, ArtifactRegistered, Event, Reason, Recorded, Role};
use crate::domain::ids::{EventId, GrantId, SubjectId};
use crate::domain::names;
use crate::domain::profile::Issued;
use crate::domain::rights::Artifact;
use std::ops::Bound;
use std::sync::Arc;

const NAME_BYTES_MAX: usize = 128;
const TTL_DEFAULT_MS: u64 = 90 * DAY_MS;
const TTL_MS: std::ops::RangeInclusive<u64> = 60_000..=400 * DAY_MS;
/// The size of an artifact in an answer without its texts and sources, bytes.
const ARTIFACT_BYTES: usize = 128;
/// The size of a source of an artifact in an answer, bytes.
const SOURCE_BYTES: usize = 38;

/// An artifact to be registered.
#[derive(Clone, Debug)]
pub struct NewArtifact {
    /// The caller's grant that it was built under.
    pub grant: GrantId,
    /// Its kind.
    pub kind: ArtifactKind,
    /// The service's own name for it, at most 128 bytes.
    pub name: String,
    /// Keys of the granted attributes that it was built from; empty for all of them.
    pub sources: Vec<String>,
    /// How long it may be used, milliseconds: 1 minute to 400 days; `None` for 90 days.
    pub ttl_ms: Option<u64>,
}

/// An artifact that was registered.
#[derive(Clone, Debug)]
pub struct Registered {
    /// Its id.
    pub id: GrantId,
    /// When it expires, milliseconds since the Unix epoch.
    pub expires_at_ms: u64,
    /// The receipt of its event.
    pub receipt: Receipt,
}

/// An artifact and its state.
#[derive(Clone, Debug)]
pub struct ArtifactStanding {
    /// As it was registered.
    pub artifact: Artifact,
    /// Whether its recipient acknowledged the invalidation.
    pub acknowledged: bool,
    /// Why it must no longer be used; `None` if it is valid.
    pub ended: Option<Reason>,
}

/// A page of artifacts.
#[derive(Clone, Debug, Default)]
pub struct ArtifactPage {
    /// The artifacts.
    pub artifacts: Vec<ArtifactStanding>,
    /// The last artifact of this page, after which the next page begins; `None` on the last page.
    pub next: Option<EventId>,
}

impl Grants {
    /// Registers an artifact under a valid grant.
    ///
    /// # Errors
    /// The caller has no such grant, the grant is not valid or does not allow a key, the request is invalid,
    /// the caller has as many artifacts of this data subject as it may have, or the store failed.
    pub async fn register_artifact(
        self: &Arc<Self>,
        caller: &Caller,
        new: NewArtifact,
        options: &WriteOptions,
    ) -> Result<Registered, AppError> {
        if new.kind == ArtifactKind::Unspecified {
            return Err(AppError::invalid("kind", "must be embedding, adapter, cache or summary"));
        }
        if !is_text(&new.name, 0, NAME_BYTES_MAX) {
            return Err(AppError::invalid("name", "must have at most 128 bytes"));
        }
        if let Some(problem) = names::problem(&new.name) {
            return Err(AppError::invalid("name", problem.to_string()));
        }
        let ttl_ms = new.ttl_ms.unwrap_or(TTL_DEFAULT_MS);
        if !TTL_MS.contains(&ttl_ms) {
            return Err(AppError::invalid("ttl", "must be 1 minute to 400 days"));
        }
        let found = self.find_grant(caller, &new.grant).await?;
        if self.standing(&found, &new.grant)?.1 != caller.name {
            return Err(AppError::NotFound("grant"));
        }
        let (stream, event, about_ms) =
            (Arc::clone(&found.stream), found.event, self.core.event_time(options)?);
        let append = match self.core.begin_in(stream, caller, options, about_ms, Timestamping::Shared).await?
        {
            Begun::Append(append) => append,
            Begun::Replayed(receipt, events) => {
                return registered(events.first(), receipt);
            }
        };
        // The grant is checked again under the write lock, because it may have been revoked in the meantime.
        let standing = self.standing(&found, &new.grant)?.0;
        if standing.reason == Some(Reason::ClockSkewed) {
            return Err(AppError::ClockSkewed);
        }
        if !standing.is_valid {
            return Err(AppError::Precondition("the grant is no longer valid; request a new one"));
        }
        self.check_artifacts(&append)?;
        let issued = append.stream.read().state.grants.get(&event).map(|grant| grant.issued.clone());
        let issued = issued.ok_or(AppError::NotFound("grant"))?;
        // The time of the event can be later than that of the check.
        if issued.expires_at_ms <= append.now_ms {
            return Err(AppError::Precondition("the grant is no longer valid; request a new one"));
        }
        let artifact = ArtifactRegistered {
            recipient: caller.name.clone(),
            kind: new.kind,
            sources: sources(&issued, &new.sources)?,
            name: new.name,
            grant: event,
            purpose: issued.purpose,
            expires_at_ms: append.now_ms.saturating_add(ttl_ms),
        };
        let pending_events = vec![self.core.plan(Event::ArtifactRegistered(artifact))];
        let written = self.core.commit(append, pending_events).await?;
        registered(written.events.first(), written.receipt)
    }

    /// Checks that the caller may have another artifact of this data subject.
    fn check_artifacts(&self, append: &Append) -> Result<(), AppError> {
        let now = append.stream.read();
        let own = now.state.rights.artifacts.values().filter(|artifact| {
            artifact.registered.recipient == append.caller.name && artifact.ended_at(append.now_ms).is_none()
        });
        let open = own.count();
        if open < self.core.use_settings.limits.artifacts_max {
            return Ok(());
        }
        Err(AppError::LimitReached { what: "artifacts", open })
    }

    /// Lists a page of the artifacts that were built from a data subject's attributes. The page begins after
    /// the artifact `after`. A service sees only its own artifacts.
    ///
    /// # Errors
    /// Nothing is recorded about the data subject, or the store failed.
    pub async fn list_artifacts(
        self: &Arc<Self>,
        caller: &Caller,
        subject: &SubjectId,
        after: Option<EventId>,
        count: usize,
    ) -> Result<ArtifactPage, AppError> {
        let stream = self.core.stream(subject).await?.ok_or(AppError::UnknownSubject)?;
        let own = |artifact: &Artifact| {
            caller.role != Role::Service || artifact.registered.recipient == caller.name
        };
        let (mut page, mut room, now_ms) = (ArtifactPage::default(), Room::new(count), self.core.now_ms());
        let mut selected = Vec::new();
        {
            let now = stream.read();
            let from = after.map_or(Bound::Unbounded, Bound::Excluded);
            let later = now.state.rights.artifacts.range((from, Bound::Unbounded));
            for (event, artifact) in later.filter(|(_, artifact)| own(artifact)) {
                if !room.take(bytes(artifact)) {
                    page.next = selected.last().map(|(event, _)| *event);
                    break;
                }
                selected.push((*event, artifact.clone()));
            }
        }
        for (_, artifact) in selected {
            let acknowledged = match artifact.invalidated {
                Some((_, position)) => {
                    self.core.has_acknowledged(&artifact.registered.recipient, position)?
                }
                None => false,
            };
            let ended = artifact.ended_at(now_ms);
            page.artifacts.push(ArtifactStanding { artifact, acknowledged, ended });
        }
        Ok(page)
    }
}

fn registered(event: Option<&Recorded>, receipt: Receipt) -> Result<Registered, AppError> {
    let Some((event, Event::ArtifactRegistered(of))) = event.map(|event| (event, &event.event)) else {
        return Err(AppError::KeyReused);
    };
    let id = GrantId::new(event.position, &event.event_id);
    Ok(Registered { id, expires_at_ms: of.expires_at_ms, receipt })
}

/// Approximate size of an artifact in an answer, bytes.
fn bytes(artifact: &Artifact) -> usize {
    let of = &artifact.registered;
    let texts = [of.recipient.len(), of.name.len(), of.purpose.len()];
    let sources = of.sources.len().saturating_mul(SOURCE_BYTES);
    texts.into_iter().chain([sources]).fold(ARTIFACT_BYTES, usize::saturating_add)
}

/// The event ids of the granted attributes with these keys. If no keys are given, the event ids of all
/// granted attributes.
fn sources(issued: &Issued, keys: &[String]) -> Result<Vec<EventId>, AppError> {
    let is_allowed = |key: &String| issued.allowed.iter().any(|cited| cited.key == *key);
    if issued.allowed.is_empty() || !keys.iter().all(is_allowed) {
        return Err(AppError::invalid("sources", "must name keys that the grant allows"));
    }
    let named = issued.allowed.iter().filter(|cited| keys.is_empty() || keys.contains(&cited.key));
    Ok(named.map(|cited| cited.attribute).collect())
}
