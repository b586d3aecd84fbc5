//! The grants of one data subject, and the checks of what was recorded about them later. These records are
//! reported uses, repeated requests that were answered with the same grant, artifacts that were built from
//! granted attributes, and revocations.

use super::allowed::Allowed;
use super::fault::Fault;
use super::issued_artifacts::{IssuedArtifact, IssuedArtifacts};
use crate::entry::{EventId, Header};
use crate::event::event_body::Event;
use crate::event::{
    ArtifactInvalidated, ArtifactRegistered, GrantGivenAgain, GrantIssued, GrantRevoked, GrantUsed,
    GrantedAttribute,
};
use std::collections::HashMap;
use std::sync::Arc;

/// A grant may be used for at most this long: 24 hours.
const LIFETIME_MS_MAX: u64 = 86_400_000;
/// A repeated request and a revocation may happen at the same time. So a request may be answered with a grant
/// this long after the grant ended: one minute.
const CROSSING_MS: u64 = 60_000;
/// The clock of a recipient may differ by this much from that of the ledger: five minutes.
const CLOCKS_MS: u64 = 300_000;
/// From this edition of the rules of decisions on, a `GrantGivenAgain` states its recipient and its times.
const STATED_REUSE_EDITION: u32 = 5;
/// How many earlier grants are searched for an equal list of attributes.
const SHARED_SEARCH_MAX: usize = 16;

/// When an event was recorded, and the time that it states.
#[derive(Clone, Copy)]
pub(super) struct Times {
    pub position: u64,
    /// When it was recorded, milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// The time that it states, milliseconds since the Unix epoch.
    pub about_ms: u64,
}

/// A grant, as far as later events depend on it.
pub(super) struct IssuedGrant {
    pub position: u64,
    /// Whether it is already counted among the grants that could not be checked in full.
    pub is_unchecked: bool,
    pub issued_ms: u64,
    pub expires_at_ms: u64,
    /// When the grant ended before its expiry, if it did: it was revoked, or a decision contradicted it.
    pub ended_ms: Option<u64>,
    pub recipient: String,
    pub purpose: String,
    pub interaction: String,
    /// Whether a ranking chose its attributes for one text.
    pub is_ranked: bool,
    /// The attributes that it allows. Most grants of one data subject allow the same ones and share the list.
    pub allowed: Arc<Allowed>,
    /// How many events about rules precede it.
    pub rules: usize,
    /// The edition of the rules of decisions that the log followed by then.
    pub edition: u32,
    /// Its id for recipients.
    id: String,
}

impl IssuedGrant {
    /// The fault of a use at this time, if the time may be off by `slack_ms` after the end of the grant.
    fn fault_at(&self, used_ms: u64, slack_ms: u64) -> Option<Fault> {
        if used_ms.saturating_add(CLOCKS_MS) < self.issued_ms {
            return Some(Fault::UsedBefore);
        }
        let used_ms = used_ms.saturating_sub(slack_ms);
        if used_ms >= self.expires_at_ms {
            return Some(Fault::UsedAfterExpiry);
        }
        self.ended_ms.is_some_and(|ended_ms| used_ms > ended_ms).then_some(Fault::UsedAfterRevocation)
    }

    fn allows(&self, attribute: &[u8]) -> bool {
        self.allowed.get(attribute).is_some()
    }

    /// Ends the grant at this time, unless it ended before.
    pub fn end(&mut self, at_ms: u64) {
        self.ended_ms = Some(self.ended_ms.map_or(at_ms, |ended_ms| ended_ms.min(at_ms)));
    }
}

/// The grants and artifacts of one data subject so far.
#[derive(Default)]
pub(super) struct IssuedGrants {
    // Unordered: looked up, never iterated.
    grants: HashMap<EventId, IssuedGrant>,
    artifacts: IssuedArtifacts,
    /// The lists of attributes of the last grants.
    recent: Vec<Arc<Allowed>>,
    /// The number of lists so far.
    lists: usize,
}

/// The faults of an event that concerns a grant. If a fault concerns one attribute, it comes with its id.
type Faults = Vec<(Option<String>, Fault)>;

impl IssuedGrants {
    /// The faults of a grant itself that need no history. `header` is that of its entry.
    pub fn check_issued(issued: &GrantIssued, header: &Header, now_ms: u64) -> impl Iterator<Item = Fault> {
        let is_too_long = issued.expires_at_ms > now_ms.saturating_add(LIFETIME_MS_MAX);
        let is_miscounted = issued.ranking.as_ref().is_some_and(|ranking| {
            u64::from(ranking.chosen) != issued.allowed.len() as u64 || ranking.permitted < ranking.chosen
        });
        let mut ids: Vec<&[u8]> = issued.allowed.iter().map(|granted| granted.attribute.as_slice()).collect();
        ids.sort_unstable();
        let allowed = ids.len();
        ids.dedup();
        let is_impossible = issued.recipient.is_empty()
            || issued.expires_at_ms <= header.sealed_at_ms
            || issued.profile_version > header.version
            || ids.len() < allowed;
        let faults = [
            (is_too_long, Fault::TooLong),
            (is_miscounted, Fault::RankingCount),
            (is_impossible, Fault::ImpossibleGrant),
        ];
        faults.into_iter().filter_map(|(is_found, fault)| is_found.then_some(fault))
    }

    pub fn get_mut(&mut self, grant: &[u8]) -> Option<&mut IssuedGrant> {
        self.grants.get_mut(<&EventId>::try_from(grant).ok()?)
    }

    pub fn get(&self, grant: &[u8]) -> Option<&IssuedGrant> {
        self.grants.get(<&EventId>::try_from(grant).ok()?)
    }

    pub fn artifact(&self, artifact: &[u8]) -> Option<&IssuedArtifact> {
        self.artifacts.get(artifact)
    }

    /// Ends a grant or an artifact that is open. Returns when it would have expired, milliseconds since the
    /// Unix epoch, and, for an artifact, its grant.
    pub fn end(&mut self, id: &EventId, now_ms: u64) -> Option<(u64, Option<EventId>)> {
        if let Some(grant) = self.grants.get_mut(id) {
            let is_open = grant.ended_ms.is_none() && grant.expires_at_ms > now_ms;
            is_open.then(|| grant.end(now_ms));
            return is_open.then_some((grant.expires_at_ms, None));
        }
        let artifact = self.artifacts.get_mut(id).filter(|artifact| artifact.is_open(now_ms))?;
        artifact.has_ended = true;
        Some((artifact.expires_at_ms, Some(artifact.grant)))
    }

    /// Notes that it was not checked whether a grant or artifact had to end. Returns its position, if it is
    /// not counted already. With `open_at_ms`, it must be open at this time.
    pub fn note_unchecked(&mut self, id: &EventId, open_at_ms: Option<u64>) -> Option<u64> {
        if let Some(grant) = self.grants.get_mut(id) {
            let is_open = |now_ms| grant.ended_ms.is_none() && grant.expires_at_ms > now_ms;
            let is_new = open_at_ms.is_none_or(is_open) && !grant.is_unchecked;
            grant.is_unchecked |= is_new;
            return is_new.then_some(grant.position);
        }
        let artifact = self.artifacts.get_mut(id)?;
        let is_new = open_at_ms.is_none_or(|now_ms| artifact.is_open(now_ms)) && !artifact.is_unchecked;
        artifact.is_unchecked |= is_new;
        is_new.then_some(artifact.position)
    }

    /// Adds an artifact that was registered. Its sources are checked elsewhere.
    fn register(&mut self, event_id: &EventId, position: u64, registered: &ArtifactRegistered) {
        let allowed = self.get(&registered.grant).map(|grant| Arc::clone(&grant.allowed));
        let of = |source: &Vec<u8>| {
            let granted = allowed.as_ref()?.get(source)?;
            // Any basis may allow the use of a source.
            let none = GrantedAttribute::default();
            Some(GrantedAttribute {
                key: granted.key.clone(),
                category: granted.category.clone(),
                attribute: source.clone(),
                ..none
            })
        };
        let all =
            || allowed.iter().flat_map(|list| &list.attributes).map(|granted| granted.attribute.clone());
        // An artifact that names no sources may have been built from all that the grant allows.
        let named = match registered.sources.is_empty() {
            true => all().collect(),
            false => registered.sources.clone(),
        };
        let sources: Vec<GrantedAttribute> = named.iter().filter_map(of).collect();
        let sources = self.shared(&sources);
        let id = id_for_recipients(position, event_id);
        self.artifacts.add(event_id, IssuedArtifact::new(position, id, registered, sources));
    }

    /// Adds a grant that was issued.
    fn issue(
        &mut self,
        event_id: &EventId,
        times: Times,
        (rules, edition): (usize, u32),
        issued: &GrantIssued,
    ) {
        let grant = IssuedGrant {
            position: times.position,
            is_unchecked: false,
            issued_ms: times.now_ms,
            expires_at_ms: issued.expires_at_ms,
            ended_ms: None,
            recipient: issued.recipient.clone(),
            purpose: issued.purpose.clone(),
            interaction: issued.interaction.clone(),
            is_ranked: issued.ranking.is_some(),
            allowed: self.shared(&issued.allowed),
            rules,
            edition,
            id: id_for_recipients(times.position, event_id),
        };
        // A repeated event id is a finding of its own. The first grant counts.
        self.grants.entry(*event_id).or_insert(grant);
    }

    fn shared(&mut self, allowed: &[GrantedAttribute]) -> Arc<Allowed> {
        if let Some(equal) = self.recent.iter().find(|other| other.attributes == allowed) {
            return Arc::clone(equal);
        }
        let list = Arc::new(Allowed::new(self.lists, allowed));
        self.lists = self.lists.saturating_add(1);
        if self.recent.len() >= SHARED_SEARCH_MAX {
            self.recent.remove(0);
        }
        self.recent.push(Arc::clone(&list));
        list
    }

    /// The faults of an event that reports about a grant, as far as the grant is known; whether it is known
    /// is checked elsewhere. `actor` is the name of the credential that recorded it; empty if not known.
    /// `edition` is that of the rules of decisions.
    pub fn check_report(&self, times: Times, actor: &str, edition: u32, event: &Event) -> Faults {
        match event {
            Event::GrantUsed(used) => self.check_used(times, actor, used),
            Event::GrantGivenAgain(given) => self.check_given_again(given, edition),
            Event::ArtifactRegistered(registered) => self.check_artifact(times, registered),
            Event::GrantRevoked(revoked) => self.check_revoked(revoked),
            Event::ArtifactInvalidated(ended) => self.check_invalidated(ended),
            _ => Vec::new(),
        }
    }

    fn check_used(&self, times: Times, actor: &str, used: &GrantUsed) -> Faults {
        let Some(grant) = self.get(&used.grant) else { return Vec::new() };
        let is_other = !actor.is_empty() && actor != grant.recipient;
        let mut faults: Faults = is_other.then_some((None, Fault::OtherRecipient)).into_iter().collect();
        // A statement cannot be later than its recording.
        faults.extend(grant.fault_at(times.about_ms.min(times.now_ms), 0).map(|fault| (None, fault)));
        faults.extend(others(grant, &used.shaped_by));
        faults
    }

    fn check_given_again(&self, given: &GrantGivenAgain, edition: u32) -> Faults {
        let is_stated = !given.recipient.is_empty() && given.first_ms.min(given.last_ms) > 0;
        if edition >= STATED_REUSE_EDITION && !is_stated {
            return vec![(None, Fault::Unstated)];
        }
        let Some(grant) = self.get(&given.grant) else { return Vec::new() };
        let is_other = !given.recipient.is_empty() && given.recipient != grant.recipient;
        let mut faults: Faults = is_other.then_some((None, Fault::OtherRecipient)).into_iter().collect();
        faults.extend(grant.is_ranked.then_some((None, Fault::RankedAgain)));
        // Early daemons stated no times.
        let stated = [given.first_ms, given.last_ms].into_iter().filter(|stated_ms| *stated_ms > 0);
        let fault = stated.filter_map(|stated_ms| grant.fault_at(stated_ms, CROSSING_MS)).next();
        faults.extend(fault.map(|fault| (None, fault)));
        faults
    }

    fn check_artifact(&self, times: Times, registered: &ArtifactRegistered) -> Faults {
        let Some(grant) = self.get(&registered.grant) else { return Vec::new() };
        let mut faults = Vec::new();
        if registered.recipient != grant.recipient {
            faults.push((None, Fault::OtherRecipient));
        }
        if registered.purpose != grant.purpose {
            faults.push((None, Fault::OtherPurpose));
        }
        // An artifact is registered while the grant is valid, so an end that was recorded before counts.
        let ended = grant.ended_ms.map(|_| Fault::UsedAfterRevocation);
        faults.extend(ended.or_else(|| grant.fault_at(times.now_ms, 0)).map(|fault| (None, fault)));
        faults.extend(others(grant, &registered.sources));
        faults
    }

    fn check_revoked(&self, revoked: &GrantRevoked) -> Faults {
        let Some(grant) = self.get(&revoked.grant) else { return Vec::new() };
        notified(&grant.recipient, &grant.id, &revoked.recipient, &revoked.grant_id)
    }

    fn check_invalidated(&self, ended: &ArtifactInvalidated) -> Faults {
        let Some(artifact) = self.artifacts.get(&ended.artifact) else { return Vec::new() };
        notified(&artifact.recipient, &artifact.id, &ended.recipient, &ended.artifact_id)
    }

    /// Applies an event. `rules` has the number of events before it that published rules, and the edition of
    /// the rules of decisions.
    pub fn apply(&mut self, event_id: &EventId, times: Times, rules: (usize, u32), event: &Event) {
        match event {
            Event::GrantIssued(issued) => self.issue(event_id, times, rules, issued),
            Event::GrantRevoked(revoked) => {
                if let Some(grant) = self.get_mut(&revoked.grant) {
                    grant.end(times.now_ms);
                }
            }
            Event::ArtifactRegistered(registered) => {
                self.register(event_id, times.position, registered);
            }
            Event::ArtifactInvalidated(ended) => {
                if let Some(artifact) = self.artifacts.get_mut(&ended.artifact) {
                    artifact.has_ended = true;
                }
            }
            _ => {}
        }
    }
}

/// The attributes among these that the grant does not allow.
fn others<'a>(
    grant: &'a IssuedGrant,
    attributes: &'a [Vec<u8>],
) -> impl Iterator<Item = (Option<String>, Fault)> + 'a {
    let others = attributes.iter().filter(|attribute| !grant.allows(attribute));
    others.map(|attribute| (Some(hex::encode(attribute)), Fault::NotAllowed))
}

/// Whether a revocation names the recipient and the id under which the recipient is notified. Early daemons
/// named neither.
fn notified(recipient: &str, id: &str, named_recipient: &str, named_id: &str) -> Faults {
    let is_other =
        !named_recipient.is_empty() && named_recipient != recipient || !named_id.is_empty() && named_id != id;
    is_other.then_some((None, Fault::OtherRecipient)).into_iter().collect()
}

/// The id by which recipients know the grant or artifact of an entry.
fn id_for_recipients(position: u64, event_id: &EventId) -> String {
    let [.., a, b, c, d, e, f, g, h] = event_id;
    format!("g{position}-{}", hex::encode([*a, *b, *c, *d, *e, *f, *g, *h]))
}
