//! Answers a repeated request in the same conversation with its existing grant, from memory and without a new
//! event. A grant is reused only if a decision made now would be the same: it would allow the same attributes
//! by the same consents under the same bounds, and withhold the same attributes. To find out, the use is
//! decided again. If the decision is the same, later requests are answered without deciding again, until
//! something changes that a decision may depend on. Reuses are counted in memory. Later, one event in the
//! subject's stream (`GrantGivenAgain`) records the count.

use crate::app::caller::Caller;
use crate::app::error::AppError;
use crate::app::grants::Grants;
use crate::app::grants::evaluate_use::{Allowed, UseCase, decide};
use crate::app::grants::grant::{Grant, GrantRequest};
use crate::app::log::receipt::{Receipt, WriteOptions};
use crate::app::log::reusable_grants::{ConfirmedDecision, ReusableGrant, ReuseCount};
use crate::app::log::stream::SubjectStream;
use crate::bounds::decision::Decision;
use crate::clock::ClockReading;
use crate::domain::event::GrantedAttribute;
use crate::domain::ids::SubjectId;
use crate::domain::profile::{GrantState, Issued, SubjectState};
use std::sync::Arc;

impl Grants {
    /// The existing grant for this request, if a decision made now would be the same; `None` if a new grant
    /// has to be issued. A request that has an idempotency key, an expected version or a time never reuses a
    /// grant, because a new event has to record these. Nor does a request with a text to rank by: no record
    /// says which text a grant was for.
    pub(crate) async fn reuse(
        self: &Arc<Self>,
        caller: &Caller,
        subject: &SubjectId,
        request: &GrantRequest,
        ttl_ms: u64,
        options: &WriteOptions,
    ) -> Result<Option<Grant>, AppError> {
        let needs_own_event = options.expected_version.is_some() || options.about_ms.is_some();
        let needs_own_event = needs_own_event || request.relevance.is_some();
        if request.asked.interaction.is_empty() || needs_own_event || !options.idempotency_key.is_empty() {
            return Ok(None);
        }
        let Some(stream) = self.core.stream(subject).await? else { return Ok(None) };
        let Some(mut grant) = self.reuse_in(&stream, caller, &request.asked, ttl_ms) else {
            return Ok(None);
        };
        grant.receipt.events = self.core.attach_proofs(grant.receipt.events, options.proofs)?;
        Ok(Some(grant))
    }

    fn reuse_in(
        &self,
        stream: &Arc<SubjectStream>,
        caller: &Caller,
        asked: &UseCase,
        ttl_ms: u64,
    ) -> Option<Grant> {
        let ClockReading { ledger_ms: now_ms, state: clock, .. } = self.core.clock.read();
        let now = stream.read();
        if clock.is_skewed() || now.erased || wants_to_be_asked(&now.state) {
            return None;
        }
        let open = |reusable: &ReusableGrant| {
            let grant = now.state.grants.get(&reusable.event)?;
            let is_same_request = reusable.ttl_ms == ttl_ms && is_for(&grant.issued, caller, asked);
            (is_same_request && has_half_left(grant, now_ms)).then_some(grant)
        };
        let (event, receipt, confirmed, was_unrecorded) = {
            let grants = stream.reusable_grants();
            let found = grants.0.iter().rev().find(|reusable| open(reusable).is_some())?;
            (found.event, found.receipt.clone(), found.confirmed.clone(), grants.has_unrecorded())
        };
        if !was_unrecorded && !self.core.unrecorded.reuse.has_room() {
            return None;
        }
        let grant = now.state.grants.get(&event)?;
        let rules = self.core.rules_at(now_ms);
        let is_confirmed = confirmed.is_some_and(|confirmed| confirmed.is_valid(&rules, &now.state, now_ms));
        if !is_confirmed && !is_same(&decide(&rules, &now.state, &caller.name, asked, now_ms), &grant.issued)
        {
            return None;
        }
        let allowed = current(&grant.issued, &now.state)?;
        {
            let mut grants = stream.reusable_grants();
            if !is_confirmed {
                grants.confirm(event, ConfirmedDecision::by(&rules, &now.state, now_ms));
            }
            if !grants.has_unrecorded() {
                self.core.unrecorded.reuse.push(stream, now_ms);
            }
            grants.add_count(event, ReuseCount { count: 1, first_ms: now_ms, last_ms: now_ms });
        }
        let checkpoint = self.core.ledger.checkpoint().note.clone();
        Some(Grant {
            id: grant.id,
            allowed,
            withheld: grant.issued.withheld.to_vec(),
            expires_at_ms: grant.issued.expires_at_ms,
            has_ended: false,
            ranking: None,
            receipt: Receipt { events: vec![receipt], checkpoint, replayed: true },
        })
    }
}

/// Whether the data subject wants to be asked each time. Then no grant is reused.
fn wants_to_be_asked(state: &SubjectState) -> bool {
    state.personal.as_ref().is_some_and(|own| own.choices.ask_each_time)
}

fn is_for(issued: &Issued, caller: &Caller, asked: &UseCase) -> bool {
    issued.recipient == caller.name
        && issued.purpose == asked.purpose
        && issued.interaction == asked.interaction
        && issued.categories == asked.categories
        && issued.keys == asked.keys
}

/// Whether a grant is valid, allows something, and has at least half of its lifetime left.
fn has_half_left(grant: &GrantState, now_ms: u64) -> bool {
    let (issued_ms, expires_ms) = (grant.recorded_at_ms, grant.issued.expires_at_ms);
    let left_ms = expires_ms.saturating_sub(now_ms);
    let enough = left_ms > 0 && left_ms >= expires_ms.saturating_sub(issued_ms).div_ceil(2);
    grant.ended().is_none() && !grant.issued.allowed.is_empty() && enough
}

/// Whether a decision equals that of a grant: it allows the same attributes by the same consents, and
/// withholds the same for the same reasons, under the same bounds.
fn is_same(decision: &Decision, issued: &Issued) -> bool {
    let allows_same = decision.allowed.len() == issued.allowed.len()
        && decision.allowed.iter().zip(issued.allowed.iter()).all(|(allowed, cited)| {
            allowed.event_id == cited.attribute
                && allowed.basis == cited.basis
                && allowed.key == cited.key
                && allowed.category == cited.category
        });
    allows_same && decision.withheld[..] == issued.withheld[..] && decision.bounds[..] == issued.bounds[..]
}

/// The current attributes that a grant allows; `None` if one of them is no longer current.
fn current(issued: &Issued, state: &SubjectState) -> Option<Vec<Allowed>> {
    issued.allowed.iter().map(|cited| current_of(cited, state)).collect()
}

/// The attribute that a grant cites, if it is still current.
pub(crate) fn current_of(cited: &GrantedAttribute, state: &SubjectState) -> Option<Allowed> {
    let current = state.attributes.get(&cited.key)?;
    if current.event_id != cited.attribute {
        return None;
    }
    Some(Allowed { current: Arc::clone(current), basis: cited.basis, score: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::Reason;
    use crate::domain::ids::GrantId;

    #[test]
    fn a_valid_grant_is_reused_in_the_first_half_of_its_lifetime() {
        let allowed = [GrantedAttribute::default()].into();
        let issued = Issued { expires_at_ms: 1_101, allowed, ..Issued::default() };
        let id = GrantId { position: 0, token: [0; 8] };
        let grant = GrantState {
            id,
            recorded_at_ms: 1_000,
            sealed_at_ms: 1_000,
            issued,
            revoked: None,
            implied: None,
        };
        let is_reusable = |now_ms| has_half_left(&grant, now_ms);
        assert!(
            is_reusable(1_000)
                && is_reusable(1_050)
                && !is_reusable(1_051)
                && !is_reusable(1_101)
                && !is_reusable(5_000)
        );
        let revoked = GrantState { revoked: Some((Reason::Paused, 1_001)), ..grant.clone() };
        assert!(!has_half_left(&revoked, 1_002));
        let issued = Issued { allowed: Arc::default(), ..grant.issued.clone() };
        assert!(!has_half_left(&GrantState { issued, ..grant.clone() }, 1_002));
    }
}
