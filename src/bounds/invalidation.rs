//! Finds the grants and artifacts that are no longer valid, because they contradict the data subject's state
//! or the rules in force, and gives the reason for each.

use crate::bounds::decide::Case;
use crate::bounds::decision::Decision;
use crate::bounds::rulebook::Rules;
use crate::domain::event::{ArtifactInvalidated, Event, GrantedAttribute, Reason};
use crate::domain::ids::{EventId, GrantId};
use crate::domain::legal_basis::Basis;
use crate::domain::profile::{GrantState, SubjectState};
use std::collections::{BTreeMap, BTreeSet};

/// A grant that is no longer valid.
pub(crate) struct Invalidated {
    pub grant: GrantId,
    pub event: EventId,
    pub recipient: String,
    pub found: Contradiction,
    /// The newest rule that came after the grant, if there is one: a version of bounds in force, or a change
    /// of the vocabulary.
    pub newer_rules: Option<EventId>,
}

/// Why a grant is no longer valid.
#[derive(Clone, Copy)]
pub(crate) struct Contradiction {
    pub reason: Reason,
    /// If the reason is a source of a derived attribute, the event that recorded the source.
    pub source: Option<EventId>,
}

impl Invalidated {
    /// The event that revokes the grant.
    pub fn event(&self, cause: Option<EventId>) -> Event {
        Event::GrantRevoked {
            grant: self.event,
            reason: self.found.reason,
            cause,
            grant_id: self.grant.to_string(),
            recipient: self.recipient.clone(),
            source: self.found.source,
        }
    }
}

/// Events that revoke every grant and invalidate every artifact that this state and these rules
/// contradict, grants first. Leaves out a grant or an artifact if `is_pending` says that its revocation
/// or invalidation is about to be recorded.
pub(crate) fn revocations(
    state: &SubjectState,
    rules: &Rules,
    now_ms: u64,
    cause: Option<EventId>,
    is_pending: &dyn Fn(&EventId) -> bool,
) -> Vec<Event> {
    let grants =
        invalidated(state, rules, now_ms, is_pending).into_iter().map(|invalidated| invalidated.event(cause));
    let artifacts = invalidated_artifacts(state, rules, now_ms, is_pending)
        .into_iter()
        .map(|invalidated| Event::ArtifactInvalidated(ArtifactInvalidated { cause, ..invalidated }));
    grants.chain(artifacts).collect()
}

/// Every grant that this state or these rules contradict. Leaves out a grant if it has expired, if its
/// revocation is recorded, or if `is_pending` says that its revocation is about to be recorded.
pub(crate) fn invalidated(
    state: &SubjectState,
    rules: &Rules,
    now_ms: u64,
    is_pending: &dyn Fn(&EventId) -> bool,
) -> Vec<Invalidated> {
    let mut judge = Judge { state, rules, now_ms, found: BTreeMap::new(), named: conversations(state) };
    let open = state.grants.iter().filter(|(event, grant)| {
        grant.revoked.is_none() && grant.issued.expires_at_ms > now_ms && !is_pending(event)
    });
    open.filter_map(|(event, grant)| {
        let found = judge.contradiction(grant)?;
        Some(Invalidated {
            grant: grant.id,
            event: *event,
            recipient: grant.issued.recipient.clone(),
            found,
            newer_rules: rules.newest_after(grant),
        })
    })
    .collect()
}

/// Judges many grants of one data subject. Grants that are equal in everything that a decision depends on are
/// decided only once.
struct Judge<'a> {
    state: &'a SubjectState,
    rules: &'a Rules,
    now_ms: u64,
    found: BTreeMap<SameCase<'a>, Option<Contradiction>>,
    /// Conversations that a signal, a consent or the personal bounds name.
    named: BTreeSet<&'a str>,
}

/// What a decision about a grant depends on: recipient, purpose, the allowed attributes, and the conversation
/// if a signal, consent or personal bounds name it.
type SameCase<'a> = (&'a str, &'a str, *const (), Option<&'a str>);

impl<'a> Judge<'a> {
    fn contradiction(&mut self, grant: &'a GrantState) -> Option<Contradiction> {
        if let Some(reason) = grant.implied {
            return Some(Contradiction { reason, source: None });
        }
        let issued = &grant.issued;
        let named = Some(issued.interaction.as_str()).filter(|name| self.named.contains(name));
        let allowed = std::sync::Arc::as_ptr(&issued.allowed).cast();
        let case = (issued.recipient.as_str(), issued.purpose.as_str(), allowed, named);
        let (state, rules, now_ms) = (self.state, self.rules, self.now_ms);
        *self.found.entry(case).or_insert_with(|| contradiction(state, grant, rules, now_ms))
    }
}

fn conversations(state: &SubjectState) -> BTreeSet<&str> {
    let signals = state.signals.iter().map(|signal| signal.interaction.as_str());
    let consents = state.consents.records().iter().flat_map(|record| record.terms.interactions.iter());
    let own = state.personal.iter().flat_map(|own| own.choices.paused_interactions.iter());
    signals.chain(consents.chain(own).map(String::as_str)).collect()
}

/// Why this state or these rules contradict a grant; `None` if the grant is valid.
pub(crate) fn contradiction(
    state: &SubjectState,
    grant: &GrantState,
    rules: &Rules,
    now_ms: u64,
) -> Option<Contradiction> {
    let of = |reason| Some(Contradiction { reason, source: None });
    if let Some(reason) = grant.implied {
        return of(reason);
    }
    if grant.issued.allowed.iter().any(|cited| !state.attributes.contains_key(&cited.key)) {
        return of(Reason::AttributeRemoved);
    }
    let keys: Vec<String> = grant.issued.allowed.iter().map(|cited| cited.key.clone()).collect();
    if keys.is_empty() {
        return None;
    }
    let decide = |keys: &[String]| {
        let case = Case {
            recipient: &grant.issued.recipient,
            purpose: &grant.issued.purpose,
            categories: &[],
            keys,
            interaction: &grant.issued.interaction,
            now_ms,
        };
        rules.bounds.decide(state, &rules.vocabulary, &case)
    };
    let decision = decide(&keys);
    if decision.withheld.is_empty() {
        return rests_on_another_basis(&grant.issued.allowed, &decision)
            .then_some(Contradiction { reason: Reason::NoConsent, source: None });
    }
    // Report the reason of the first attribute that the grant cites.
    let allowed: BTreeSet<&str> = decision.allowed.iter().map(|allowed| allowed.key.as_str()).collect();
    let refused = keys.into_iter().find(|key| !allowed.contains(key.as_str()));
    let withheld = refused.and_then(|key| decide(&[key]).withheld.into_iter().next());
    let withheld = withheld.or_else(|| decision.withheld.into_iter().next())?;
    Some(Contradiction { reason: withheld.reason, source: withheld.source })
}

/// Whether a grant cites a declared legal basis for an attribute that another declared basis allows now. A
/// grant never changes from one basis to the other.
fn rests_on_another_basis(cited: &[GrantedAttribute], decision: &Decision) -> bool {
    let now: BTreeMap<&str, Basis> =
        decision.allowed.iter().map(|allowed| (allowed.key.as_str(), allowed.basis)).collect();
    cited.iter().any(|cited| match (cited.basis, now.get(cited.key.as_str())) {
        (Basis::Declared { kind, .. }, Some(Basis::Declared { kind: now, .. })) => kind != *now,
        _ => false,
    })
}

/// Artifacts that this state or these rules contradict, with the reason. An artifact ends as soon as any
/// of its sources may no longer be used. Leaves out an artifact if `is_pending` says that its
/// invalidation is about to be recorded.
pub(crate) fn invalidated_artifacts(
    state: &SubjectState,
    rules: &Rules,
    now_ms: u64,
    is_pending: &dyn Fn(&EventId) -> bool,
) -> Vec<ArtifactInvalidated> {
    let by_event: BTreeMap<EventId, &str> =
        state.attributes.values().map(|current| (current.event_id, current.attribute.key.as_str())).collect();
    let mut decided: BTreeMap<(&str, &str, &str), Option<Reason>> = BTreeMap::new();
    let valid = state.rights.artifacts.iter().filter(|(event, artifact)| {
        artifact.invalidated.is_none() && !artifact.is_expired(now_ms) && !is_pending(event)
    });
    let invalidated = valid.filter_map(|(event, artifact)| {
        let registered = &artifact.registered;
        let (recipient, purpose) = (registered.recipient.as_str(), registered.purpose.as_str());
        let sources = registered.sources.iter().copied();
        let mut of_source = |source: EventId| {
            let key =
                artifact.keys.get(&source).map(String::as_str).or_else(|| by_event.get(&source).copied());
            let key = key.filter(|key| state.attributes.contains_key(*key));
            let Some(key) = key else { return Some(Reason::AttributeRemoved) };
            let withheld = decided.entry((recipient, purpose, key));
            *withheld.or_insert_with(|| withheld_source(state, rules, (recipient, purpose, key), now_ms))
        };
        let reason = artifact.implied.or_else(|| sources.into_iter().find_map(&mut of_source))?;
        Some(ArtifactInvalidated {
            artifact: *event,
            reason,
            cause: None,
            artifact_id: artifact.id.to_string(),
            recipient: registered.recipient.clone(),
        })
    });
    invalidated.collect()
}

/// Why a recipient may not use an attribute for a purpose; `None` if it may.
fn withheld_source(
    state: &SubjectState,
    rules: &Rules,
    (recipient, purpose, key): (&str, &str, &str),
    now_ms: u64,
) -> Option<Reason> {
    let keys = [key.to_owned()];
    let case = Case { recipient, purpose, categories: &[], keys: &keys, interaction: "", now_ms };
    let decision = rules.bounds.decide(state, &rules.vocabulary, &case);
    let withheld = decision.withheld.first()?;
    Some(withheld.reason)
}
