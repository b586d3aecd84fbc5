//! The part of a data subject's state about their rights: requests, legal holds, partial erasures and
//! artifacts.

use super::event::{Actor, ArtifactRegistered, ErasureRefused, Event, HoldPlaced, Reason, Recorded};
use super::ids::{EventId, GrantId};
use super::kept_only::{KeptOnly, KeptRefusals};
use super::recipients::RecipientList;
use super::request::{Decided, RequestOutcome, RequestRecord, keeps_data};
use super::vocabulary::Vocabulary;
use crate::domain::event::{ErasureScope, Role};
use sayso_proof::merkle::Hash;
use std::collections::{BTreeMap, BTreeSet};

/// A legal hold that has not been lifted.
#[derive(Clone, Debug, PartialEq)]
pub struct Hold {
    /// Its id.
    pub id: EventId,
    /// The hold as placed.
    pub placed: HoldPlaced,
    /// Who placed it.
    pub by: Actor,
    /// When it was placed, milliseconds since the Unix epoch.
    pub placed_at_ms: u64,
}

impl Hold {
    /// Whether it covers all data.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.placed.categories.is_empty()
    }

    /// Whether it covers data of this category, because it covers all data, or names the category or one
    /// of its ancestors.
    #[must_use]
    pub fn keeps(&self, category: &str, vocabulary: &Vocabulary) -> bool {
        let ancestry = vocabulary.category_ancestry(category);
        self.is_whole() || self.placed.categories.iter().any(|named| ancestry.contains(&named.as_str()))
    }
}

/// A partial erasure. It fences the erased part off: the ledger refuses later writes about that part if they
/// state a time up to the erasure.
#[derive(Clone, Debug, PartialEq)]
pub struct Fence {
    /// The kind of part that was erased: one key, one category or the profile.
    pub scope: ErasureScope,
    /// The category, if one category was erased.
    pub category: String,
    /// The hash of the attribute key, if one key was erased.
    pub key_hash: Vec<u8>,
    /// When the erasure was decided, milliseconds since the Unix epoch.
    pub at_ms: u64,
}

impl Fence {
    /// Whether an attribute belongs to the erased part. `key_hashes` are the hashes that the erasure may have
    /// of its key.
    #[must_use]
    pub fn covers(&self, category_ancestry: &[&str], key_hashes: &[Vec<u8>]) -> bool {
        match self.scope {
            // Nothing is kept of an erased text, not even a hash. So whatever is late may have it.
            ErasureScope::Profile | ErasureScope::All | ErasureScope::Content => true,
            ErasureScope::Category => category_ancestry.contains(&self.category.as_str()),
            ErasureScope::Key => key_hashes.contains(&self.key_hash),
            ErasureScope::Retention | ErasureScope::Unspecified => false,
        }
    }
}

/// An artifact that a service built from attributes.
#[derive(Clone, Debug, PartialEq)]
pub struct Artifact {
    /// Its id.
    pub id: GrantId,
    /// The artifact as registered.
    pub registered: ArtifactRegistered,
    /// The keys of its sources, as far as they are known. A source may be an earlier recording of the
    /// attribute that is current under its key.
    pub keys: BTreeMap<EventId, String>,
    /// When it was registered, milliseconds since the Unix epoch.
    pub registered_at_ms: u64,
    /// Why it must no longer be used, and the position of the event that invalidated it.
    pub invalidated: Option<(Reason, u64)>,
    /// Why it must no longer be used, if a later event implies that and no invalidation is recorded yet.
    pub implied: Option<Reason>,
}

impl Artifact {
    /// Why the artifact must no longer be used: the recorded reason, or the reason that a later event
    /// implies. This method does not consider whether the artifact has expired.
    #[must_use]
    pub fn ended(&self) -> Option<Reason> {
        self.invalidated.map(|(reason, _)| reason).or(self.implied)
    }

    /// Whether it has expired at `now_ms`, milliseconds since the Unix epoch.
    #[must_use]
    pub fn is_expired(&self, now_ms: u64) -> bool {
        (1..=now_ms).contains(&self.registered.expires_at_ms)
    }

    /// Why it must not be used at `now_ms`; `None` if it may be used.
    #[must_use]
    pub fn ended_at(&self, now_ms: u64) -> Option<Reason> {
        self.ended().or(self.is_expired(now_ms).then_some(Reason::ArtifactExpired))
    }

    /// Whether it was built from an attribute, or from one that was current under this key.
    #[must_use]
    pub fn rests_on(&self, attribute: &EventId, key: Option<&str>) -> bool {
        self.registered.sources.contains(attribute)
            || key.is_some_and(|key| self.keys.values().any(|source| source == key))
    }
}

/// Requests, holds, partial erasures and artifacts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rights {
    /// Requests by id.
    pub requests: BTreeMap<EventId, RequestRecord>,
    /// Ids of requests by their hash.
    pub requests_by_hash: BTreeMap<Hash, EventId>,
    /// Holds in the order placed.
    pub holds: Vec<Hold>,
    /// Refused erasures whose requests still stand. Their data is kept and not used.
    pub kept: KeptRefusals,
    /// Erasures of which holds kept a part, each with these holds. An erasure that a later request
    /// follows is left out.
    pub kept_parts: BTreeMap<EventId, Vec<EventId>>,
    /// Partial erasures in the order they were decided.
    pub fences: Vec<Fence>,
    /// Artifacts by the event that registered them.
    pub artifacts: BTreeMap<EventId, Artifact>,
    /// The recipients of disclosures whose record has ended.
    pub recipients: RecipientList,
    /// Events of consents whose expiry is recorded.
    pub expired_consents: BTreeSet<EventId>,
}

impl Rights {
    /// The request with this hash of its id.
    #[must_use]
    pub fn request_with(&self, hash: &Hash) -> Option<&RequestRecord> {
        self.requests.get(self.requests_by_hash.get(hash)?)
    }

    /// Applies the next event.
    pub fn apply(&mut self, event: &Recorded) {
        match &event.event {
            Event::RequestSubmitted(submitted) => {
                let id = submitted.request;
                let record = RequestRecord {
                    id,
                    kind: submitted.kind,
                    submitted: Some(submitted.clone()),
                    version: event.version,
                    submitted_at_ms: event.recorded_at_ms,
                    due_at_ms: submitted.due_at_ms,
                    extended_because: None,
                    decided: None,
                    submitted_by: event.actor.role,
                    withdrawn_at_ms: None,
                };
                self.requests.insert(id, record);
                self.requests_by_hash.insert(id.request_hash(), id);
                if let Some(earlier) = submitted.follows {
                    self.kept_parts.remove(&earlier);
                }
            }
            Event::RequestDecided(_) => self.decide(event),
            Event::RequestExtended(extended) => {
                if let Some(record) = self.requests.get_mut(&extended.request) {
                    record.due_at_ms = extended.due_at_ms;
                    record.extended_because = Some(extended.reason.clone());
                    // A refused erasure is open again: its hold was lifted.
                    record.decided.take_if(|decided| decided.event.outcome == RequestOutcome::Refused);
                }
            }
            Event::ErasureRefused(refused) if refused.whole => self.keep_only(event.event_id, refused),
            Event::ErasureRefused(refused) => {
                self.kept_parts.insert(refused.request, refused.holds.clone());
            }
            Event::RequestWithdrawn(withdrawn) => {
                self.kept.remove(&withdrawn.request);
                if let Some(record) = self.requests.get_mut(&withdrawn.request) {
                    record.withdrawn_at_ms = Some(event.recorded_at_ms);
                }
            }
            Event::HoldPlaced(placed) => {
                let id = placed.hold;
                let (by, placed_at_ms) = (event.actor.clone(), event.recorded_at_ms);
                self.holds.push(Hold { id, placed: placed.clone(), by, placed_at_ms });
            }
            Event::RecipientsKept(kept) => self.recipients.add(kept),
            Event::HoldLifted(lifted) => self.holds.retain(|hold| hold.id != lifted.hold),
            Event::ConsentExpired { consent } => {
                self.expired_consents.insert(*consent);
            }
            Event::ArtifactInvalidated(invalidated) => {
                if let Some(artifact) = self.artifacts.get_mut(&invalidated.artifact) {
                    artifact.invalidated.get_or_insert((invalidated.reason, event.position));
                }
            }
            _ => {}
        }
    }

    /// Adds an artifact. `keys` are the keys of its sources.
    pub fn register(
        &mut self,
        event: &Recorded,
        registered: &ArtifactRegistered,
        keys: BTreeMap<EventId, String>,
    ) {
        let artifact = Artifact {
            id: GrantId::new(event.position, &event.event_id),
            registered: registered.clone(),
            keys,
            registered_at_ms: event.recorded_at_ms,
            invalidated: None,
            implied: None,
        };
        self.artifacts.insert(event.event_id, artifact);
    }

    /// Notes a refused erasure. It replaces an earlier refusal of the same request.
    fn keep_only(&mut self, event_id: EventId, refused: &ErasureRefused) {
        if !keeps_data(refused.ground) {
            return;
        }
        let mut refused = refused.clone();
        let record = self.requests.get(&refused.request);
        // Refusals by earlier versions lack the scope. If the request has only the hash of a key, it is not
        // known what is kept.
        if let Some(submitted) = record.and_then(|record| record.submitted.as_ref())
            && refused.scope == ErasureScope::Unspecified
        {
            refused.scope = submitted.scope;
            refused.category.clone_from(&submitted.category);
            refused.key = submitted.keys.first().cloned().unwrap_or_default();
        }
        self.kept.push(KeptOnly { event_id, refused });
    }

    fn decide(&mut self, event: &Recorded) {
        let Event::RequestDecided(decided) = &event.event else { return };
        let id = decided.request;
        let erased = decided.erasure.as_ref().map(|erasure| erasure.scope);
        if decided.outcome == RequestOutcome::Completed && erased == Some(ErasureScope::Profile) {
            // Nothing is left of what was kept.
            self.kept = KeptRefusals::default();
            self.kept_parts.clear();
        }
        if let Some(erasure) = decided.erasure.as_ref().filter(|erasure| erasure.fence_at_ms > 0) {
            self.fences.push(Fence {
                scope: erasure.scope,
                category: erasure.category.clone(),
                key_hash: erasure.key_hash.clone(),
                at_ms: erasure.fence_at_ms,
            });
        }
        self.requests_by_hash.insert(id.request_hash(), id);
        let record = self.requests.entry(id).or_insert_with(|| RequestRecord {
            id,
            kind: decided.kind,
            submitted: None,
            version: event.version,
            submitted_at_ms: decided.submitted_at_ms,
            due_at_ms: decided.due_at_ms,
            extended_because: None,
            decided: None,
            submitted_by: Role::Unspecified,
            withdrawn_at_ms: None,
        });
        // The ledger only completes an accepted request. The caller that accepted it stays the one that
        // decided.
        let carried_out = event.actor.role == Role::Ledger;
        let accepted = record
            .decided
            .take()
            .filter(|before| carried_out && before.event.outcome == RequestOutcome::Accepted);
        let mut newest = decided.clone();
        let (by, at_ms) = match accepted {
            Some(before) => {
                newest.reason = before.event.reason;
                (before.by, before.at_ms)
            }
            None => (event.actor.clone(), event.recorded_at_ms),
        };
        record.decided = Some(Decided { event: newest, by, at_ms });
    }

    /// The holds that cover all data and so block any erasure.
    #[must_use]
    pub fn whole_holds(&self) -> Vec<&Hold> {
        self.holds.iter().filter(|hold| hold.is_whole()).collect()
    }

    /// Requests that are undecided or not yet completed.
    pub fn due(&self) -> impl Iterator<Item = &RequestRecord> {
        self.requests.values().filter(|request| request.is_open())
    }
}
