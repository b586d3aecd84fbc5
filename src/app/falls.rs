//! Which open grants a change contradicts: they fall in the same frame as the change.

use super::App;
use super::write::{Planned, Turn};
use crate::bounds::Case;
use crate::domain::event::{ArtifactInvalidated, Event, Reason, Recorded};
use crate::domain::ids::{EventId, GrantId};
use crate::domain::profile::{GrantState, SubjectState};

/// A grant that does not stand any more.
pub(super) struct Fallen {
    pub grant: GrantId,
    pub event: EventId,
    pub recipient: String,
    pub reason: Reason,
}

impl Fallen {
    /// As it is recorded.
    pub fn event(&self, cause: Option<EventId>) -> Event {
        Event::GrantRevoked {
            grant: self.event,
            reason: self.reason,
            cause,
            grant_id: self.grant.to_string(),
            recipient: self.recipient.clone(),
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
        let open = after
            .grants
            .iter()
            .filter(|(_, grant)| grant.revoked.is_none() && grant.issued.expires_at_ms > turn.now_ms);
        let fallen = open
            .filter_map(|(event, grant)| {
                let mut reason = self.contradicted(&after, grant, &corrected, turn.now_ms)?;
                if reason == Reason::AttributeRemoved && cites_any(grant, &expired) {
                    reason = Reason::AttributeExpired;
                }
                let (grant, recipient) = (grant.id, grant.issued.recipient.clone());
                Some(Fallen { grant, event: *event, recipient, reason })
            })
            .collect();
        let cause = planned.first().map(|first| first.event_id);
        let built: Vec<Planned> = self.fallen_artifacts(&after, &corrected, &expired, cause, turn.now_ms);
        planned.extend(self.plan_falls(fallen, cause));
        planned.extend(built);
        planned
    }

    /// Artefacts that don't stand in this state: one falls with the first of its sources.
    fn fallen_artifacts(
        &self,
        state: &SubjectState,
        corrected: &[EventId],
        expired: &[EventId],
        cause: Option<EventId>,
        now_ms: u64,
    ) -> Vec<Planned> {
        let standing = state.rights.artifacts.iter().filter(|(_, artifact)| artifact.invalidated.is_none());
        let fallen = standing.filter_map(|(event, artifact)| {
            let sources = artifact.registered.sources.iter().filter_map(|id| EventId::from_slice(id));
            let reason = sources.into_iter().find_map(|source| {
                if corrected.contains(&source) {
                    return Some(Reason::AttributeCorrected);
                }
                if expired.contains(&source) {
                    return Some(Reason::AttributeExpired);
                }
                let held = state.attributes.values().find(|held| held.event_id == source);
                let Some(held) = held else { return Some(Reason::AttributeRemoved) };
                let registered = &artifact.registered;
                self.withheld_now(
                    state,
                    (&registered.recipient, &registered.purpose, ""),
                    &held.attribute.key,
                    now_ms,
                )
            })?;
            Some(self.plan(Event::ArtifactInvalidated(ArtifactInvalidated {
                artifact: event.0.to_vec(),
                reason: reason.into(),
                cause: cause.map(|cause| cause.0.to_vec()).unwrap_or_default(),
                artifact_id: artifact.id.to_string(),
                recipient: artifact.registered.recipient.clone(),
            })))
        });
        fallen.collect()
    }

    /// Why a recipient may not use a key for a purpose in this state; nothing where it may.
    fn withheld_now(
        &self,
        state: &SubjectState,
        (recipient, purpose, interaction): (&str, &str, &str),
        key: &str,
        now_ms: u64,
    ) -> Option<Reason> {
        let rules = self.rules();
        let keys = [key.to_owned()];
        let case = Case { recipient, purpose, categories: &[], keys: &keys, interaction, now_ms };
        let decision = rules.bounds.decide(state, &rules.vocabulary, &case);
        let withheld = decision.withheld.first()?;
        Some(Reason::try_from(withheld.reason).unwrap_or(Reason::Forbidden))
    }

    /// Why a grant does not stand in this state; nothing where it does.
    fn contradicted(
        &self,
        state: &SubjectState,
        grant: &GrantState,
        corrected: &[EventId],
        now_ms: u64,
    ) -> Option<Reason> {
        for cited in &grant.issued.allowed {
            let event = EventId::from_slice(&cited.attribute)?;
            if corrected.contains(&event) {
                return Some(Reason::AttributeCorrected);
            }
            let Some(held) = state.attributes.get(&cited.key) else {
                return Some(Reason::AttributeRemoved);
            };
            let issued = &grant.issued;
            let asked = (issued.recipient.as_str(), issued.purpose.as_str(), issued.interaction.as_str());
            if let Some(reason) = self.withheld_now(state, asked, &held.attribute.key, now_ms) {
                return Some(reason);
            }
        }
        None
    }
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
