//! Which open grants a change contradicts: they fall in the same frame as the change.

use super::App;
use super::write::{Planned, Turn};
use crate::bounds::Case;
use crate::domain::event::{Event, Reason, Recorded};
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
        let open = after
            .grants
            .iter()
            .filter(|(_, grant)| grant.revoked.is_none() && grant.issued.expires_at_ms > turn.now_ms);
        let fallen = open
            .filter_map(|(event, grant)| {
                let reason = self.contradicted(&after, grant, &corrected, turn.now_ms)?;
                let (grant, recipient) = (grant.id, grant.issued.recipient.clone());
                Some(Fallen { grant, event: *event, recipient, reason })
            })
            .collect();
        let cause = planned.first().map(|first| first.event_id);
        planned.extend(self.plan_falls(fallen, cause));
        planned
    }

    /// Why a grant does not stand in this state; nothing where it does.
    fn contradicted(
        &self,
        state: &SubjectState,
        grant: &GrantState,
        corrected: &[EventId],
        now_ms: u64,
    ) -> Option<Reason> {
        let rules = self.rules();
        for cited in &grant.issued.allowed {
            let event = EventId::from_slice(&cited.attribute)?;
            if corrected.contains(&event) {
                return Some(Reason::AttributeCorrected);
            }
            let Some(held) = state.attributes.get(&cited.key) else {
                return Some(Reason::AttributeRemoved);
            };
            let keys = [held.attribute.key.clone()];
            let case = Case {
                recipient: &grant.issued.recipient,
                purpose: &grant.issued.purpose,
                categories: &[],
                keys: &keys,
                interaction: &grant.issued.interaction,
                now_ms,
            };
            let decision = rules.bounds.decide(state, &rules.vocabulary, &case);
            if let Some(withheld) = decision.withheld.first() {
                return Some(Reason::try_from(withheld.reason).unwrap_or(Reason::Forbidden));
            }
        }
        None
    }
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
