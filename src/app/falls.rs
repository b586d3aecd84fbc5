//! Which open grants a change contradicts: they fall in the same frame as the change.

use super::write::{Planned, Turn};
use super::{App, Rules};
use crate::bounds::Case;
use crate::domain::event::{ArtifactInvalidated, Event, Reason, Recorded};
use crate::domain::ids::{EventId, GrantId};
use crate::domain::profile::{GrantState, SubjectState};
use std::collections::HashSet;

/// A grant that does not stand any more.
pub(super) struct Fallen {
    pub grant: GrantId,
    pub event: EventId,
    pub recipient: String,
    pub found: Contradiction,
    /// The newest bounds in force, or word, that the grant did not see, if there is one.
    pub newer_rules: Option<EventId>,
}

/// What stands against a grant.
pub(super) struct Contradiction {
    pub reason: Reason,
    /// Where it is a source of something derived: the event that recorded the source.
    pub source: Option<EventId>,
}

impl Fallen {
    /// As it is recorded.
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

impl App {
    /// The planned events, and after them one for each open grant that they contradict.
    pub(super) fn with_falls(&self, turn: &Turn, mut planned: Vec<Planned>) -> Vec<Planned> {
        let after = preview(turn, &planned);
        let corrected: Vec<EventId> = planned
            .iter()
            .filter_map(|each| match &each.event {
                Event::AttributeCorrected { corrects, .. } => Some(*corrects),
                _ => None,
            })
            .collect();
        let expired: Vec<EventId> = planned
            .iter()
            .filter_map(|each| match &each.event {
                Event::AttributeExpired { attribute, .. } => Some(*attribute),
                _ => None,
            })
            .collect();
        let mut fallen = fallen(&after, &turn.rules, &corrected, turn.now_ms);
        for fall in fallen.iter_mut().filter(|fall| fall.found.reason == Reason::AttributeRemoved) {
            let grant = after.grants.get(&fall.event);
            if grant.is_some_and(|grant| cites_any(grant, &expired)) {
                fall.found.reason = Reason::AttributeExpired;
            }
        }
        let cause = planned.first().map(|first| first.event_id);
        let built = fallen_artifacts(&after, &turn.rules, (&corrected, &expired), turn.now_ms);
        planned.extend(self.plan_falls(fallen, cause));
        planned.extend(built.into_iter().map(|fallen| {
            let cause = cause.map(|cause| cause.0.to_vec()).unwrap_or_default();
            self.plan(Event::ArtifactInvalidated(ArtifactInvalidated { cause, ..fallen }))
        }));
        planned
    }
}

/// Every open grant that does not stand in this state under these rules.
pub(super) fn fallen(state: &SubjectState, rules: &Rules, corrected: &[EventId], now_ms: u64) -> Vec<Fallen> {
    let open = state.grants.iter().filter(|(_, grant)| grant.is_open(now_ms));
    open.filter_map(|(event, grant)| {
        let found = contradiction(state, grant, rules, corrected, now_ms)?;
        Some(Fallen {
            grant: grant.id,
            event: *event,
            recipient: grant.issued.recipient.clone(),
            found,
            newer_rules: rules.newest_after(grant),
        })
    })
    .collect()
}

/// Why a grant does not stand in this state; nothing where it does.
pub(super) fn contradiction(
    state: &SubjectState,
    grant: &GrantState,
    rules: &Rules,
    corrected: &[EventId],
    now_ms: u64,
) -> Option<Contradiction> {
    let of = |reason| Some(Contradiction { reason, source: None });
    for cited in grant.issued.allowed.iter() {
        if EventId::from_slice(&cited.attribute).is_some_and(|event| corrected.contains(&event)) {
            return of(Reason::AttributeCorrected);
        }
        if !state.attributes.contains_key(&cited.key) {
            return of(Reason::AttributeRemoved);
        }
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
    decision.withheld.first()?;
    // The first that the grant cites is the one whose reason is told.
    let allowed: HashSet<&str> = decision.allowed.iter().map(|allowed| allowed.key.as_str()).collect();
    let refused = keys.into_iter().find(|key| !allowed.contains(key.as_str()));
    let withheld = refused.and_then(|key| decide(&[key]).withheld.into_iter().next());
    let withheld = withheld.or_else(|| decision.withheld.into_iter().next())?;
    Some(Contradiction {
        reason: Reason::try_from(withheld.reason).unwrap_or(Reason::Forbidden),
        source: EventId::from_slice(&withheld.source),
    })
}

/// Artefacts that don't stand in this state under these rules, with why: one falls with the first of its sources.
pub(super) fn fallen_artifacts(
    state: &SubjectState,
    rules: &Rules,
    (corrected, expired): (&[EventId], &[EventId]),
    now_ms: u64,
) -> Vec<ArtifactInvalidated> {
    let standing = state.rights.artifacts.iter().filter(|(_, artifact)| artifact.invalidated.is_none());
    let fallen = standing.filter_map(|(event, artifact)| {
        let registered = &artifact.registered;
        let sources = registered.sources.iter().filter_map(|id| EventId::from_slice(id));
        let reason = sources.into_iter().find_map(|source| {
            if corrected.contains(&source) {
                return Some(Reason::AttributeCorrected);
            }
            if expired.contains(&source) {
                return Some(Reason::AttributeExpired);
            }
            let held = state.attributes.values().find(|held| held.event_id == source);
            let Some(held) = held else { return Some(Reason::AttributeRemoved) };
            let case = Case {
                recipient: &registered.recipient,
                purpose: &registered.purpose,
                categories: &[],
                keys: std::slice::from_ref(&held.attribute.key),
                interaction: "",
                now_ms,
            };
            let decision = rules.bounds.decide(state, &rules.vocabulary, &case);
            let withheld = decision.withheld.first()?;
            Some(Reason::try_from(withheld.reason).unwrap_or(Reason::Forbidden))
        })?;
        Some(ArtifactInvalidated {
            artifact: event.0.to_vec(),
            reason: reason.into(),
            cause: Vec::new(),
            artifact_id: artifact.id.to_string(),
            recipient: registered.recipient.clone(),
        })
    });
    fallen.collect()
}

fn cites_any(grant: &GrantState, attributes: &[EventId]) -> bool {
    let cited = grant.issued.allowed.iter().filter_map(|cited| EventId::from_slice(&cited.attribute));
    cited.into_iter().any(|cited| attributes.contains(&cited))
}

/// The subject as it will stand once the planned events are durable.
fn preview(turn: &Turn, planned: &[Planned]) -> SubjectState {
    let mut state = turn.lane.read().state.clone();
    for each in planned {
        let event = Recorded {
            event_id: each.event_id,
            position: u64::MAX,
            version: state.version,
            recorded_at_ms: turn.now_ms,
            sealed_at_ms: turn.now_ms,
            about_ms: turn.about_ms,
            actor: turn.caller.actor(),
            request_digest: Vec::new(),
            event: each.event.clone(),
        };
        state.apply(&event);
    }
    state
}

/// The ids of grants among recorded events that fell.
pub(super) fn revoked_ids(events: &[Recorded]) -> Vec<String> {
    events
        .iter()
        .filter_map(|event| match &event.event {
            Event::GrantRevoked { grant_id, .. } => Some(grant_id.clone()),
            _ => None,
        })
        .collect()
}
