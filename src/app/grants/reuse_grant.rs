//! The same question in the same conversation is answered by the grant that it was answered by before: from memory, without
//! another event. That is no answer of its own: it is given only where a decision of this very moment allows the same
//! facts, by the same consents, under the same bounds, and withholds the same; otherwise the question is answered anew. The
//! decision itself is made again where anything has happened since that it may depend on. How often a grant was given again is
//! counted, and written down with the person as `GrantGivenAgain`.

use crate::app::caller::Caller;
use crate::app::error::AppError;
use crate::app::grants::Grants;
use crate::app::grants::evaluate_use::{Allowed, UseCase, decide};
use crate::app::grants::grant::{Grant, GrantRequest};
use crate::app::log::receipt::{Receipt, WriteOptions};
use crate::app::log::reusable_grants::{Confirmed, ReusableGrant, Times};
use crate::app::log::stream::SubjectStream;
use crate::bounds::decision::Decision;
use crate::clock::ClockReading;
use crate::domain::ids::{EventId, SubjectId};
use crate::domain::profile::{GrantState, Issued, SubjectState};
use sayso_proof::event::GrantedAttribute;
use std::sync::Arc;

impl Grants {
    /// The grant that this request was answered by before, if a decision of now would be the same; nothing where it has to
    /// be answered anew. A request that is tied to its own event (by a key, an expected version, a time of its own) always
    /// gets one.
    pub(crate) async fn reuse(
        self: &Arc<Self>,
        caller: &Caller,
        subject: &SubjectId,
        request: &GrantRequest,
        ttl_ms: u64,
        options: &WriteOptions,
    ) -> Result<Option<Grant>, AppError> {
        let tied = options.expected_version.is_some() || options.about_ms.is_some();
        if request.asked.interaction.is_empty() || tied || !options.idempotency_key.is_empty() {
            return Ok(None);
        }
        let Some(stream) = self.core.stream(subject).await? else { return Ok(None) };
        let Some(mut grant) = self.same_again(&stream, caller, &request.asked, ttl_ms) else {
            return Ok(None);
        };
        grant.receipt.events = self.core.attach_proofs(grant.receipt.events, options.proofs)?;
        Ok(Some(grant))
    }

    fn same_again(
        &self,
        stream: &Arc<SubjectStream>,
        caller: &Caller,
        asked: &UseCase,
        ttl_ms: u64,
    ) -> Option<Grant> {
        let ClockReading { ledger_ms: now_ms, state: clock, .. } = self.core.clock.read();
        let now = stream.read();
        if clock.is_skewed() || now.erased || asks_each_time(&now.state) {
            return None;
        }
        let open = |given: &ReusableGrant| {
            let grant = now.state.grants.get(&given.event)?;
            let alike = given.ttl_ms == ttl_ms && is_for(&grant.issued, caller, asked);
            (alike && has_half_left(grant, now_ms)).then_some(grant)
        };
        let (event, receipt, confirmed, was_unwritten) = {
            let given = stream.given();
            let found = given.0.iter().rev().find(|given| open(given).is_some())?;
            (found.event, found.receipt.clone(), found.confirmed.clone(), given.is_unwritten())
        };
        if !was_unwritten && !self.core.unrecorded_reuse.has_room() {
            return None;
        }
        let grant = now.state.grants.get(&event)?;
        let rules = self.core.rules_at(now_ms);
        let known = confirmed.is_some_and(|confirmed| confirmed.holds(&rules, &now.state, now_ms));
        if !known && !is_same(&decide(&rules, &now.state, &caller.name, asked, now_ms), &grant.issued) {
            return None;
        }
        let allowed = held(&grant.issued, &now.state)?;
        {
            let mut given = stream.given();
            if !known {
                given.confirm(event, Confirmed::by(&rules, &now.state, now_ms));
            }
            if !given.is_unwritten() {
                self.core.unrecorded_reuse.push(stream, now_ms);
            }
            given.note(event, Times { count: 1, first_ms: now_ms, last_ms: now_ms });
        }
        let checkpoint = self.core.ledger.checkpoint().note.clone();
        Some(Grant {
            id: grant.id,
            allowed,
            withheld: grant.issued.withheld.to_vec(),
            expires_at_ms: grant.issued.expires_at_ms,
            has_ended: false,
            receipt: Receipt { events: vec![receipt], checkpoint, replayed: true },
        })
    }
}

/// Whoever wants to be asked each time gets no answer that was given before.
fn asks_each_time(state: &SubjectState) -> bool {
    state.personal.as_ref().is_some_and(|own| own.choices.ask_each_time)
}

fn is_for(issued: &Issued, caller: &Caller, asked: &UseCase) -> bool {
    issued.recipient == caller.name
        && issued.purpose == asked.purpose
        && issued.interaction == asked.interaction
        && issued.categories == asked.categories
        && issued.keys == asked.keys
}

/// It stands, allows something, and at least half of its time is left.
fn has_half_left(grant: &GrantState, now_ms: u64) -> bool {
    let (issued_ms, expires_ms) = (grant.recorded_at_ms, grant.issued.expires_at_ms);
    let left_ms = expires_ms.saturating_sub(now_ms);
    let enough = left_ms > 0 && left_ms >= expires_ms.saturating_sub(issued_ms).div_ceil(2);
    grant.ended().is_none() && !grant.issued.allowed.is_empty() && enough
}

/// Whether a decision is the one that a grant was issued on: the same facts by the same consents, the same withheld for the
/// same reasons, under the same bounds.
fn is_same(decision: &Decision, issued: &Issued) -> bool {
    let alike = decision.allowed.len() == issued.allowed.len()
        && decision.allowed.iter().zip(issued.allowed.iter()).all(|(allowed, cited)| {
            allowed.event_id.0 == cited.attribute[..]
                && allowed.consent.0 == cited.consent[..]
                && allowed.key == cited.key
                && allowed.category == cited.category
        });
    alike && decision.withheld[..] == issued.withheld[..] && decision.bounds[..] == issued.bounds[..]
}

/// What a grant allows, as it is held; nothing where any of it is not held any more.
fn held(issued: &Issued, state: &SubjectState) -> Option<Vec<Allowed>> {
    issued.allowed.iter().map(|cited| cited_now(cited, state)).collect()
}

/// What a grant cites, where it is held still.
pub(crate) fn cited_now(cited: &GrantedAttribute, state: &SubjectState) -> Option<Allowed> {
    let held = state.attributes.get(&cited.key).filter(|held| held.event_id.0 == cited.attribute[..])?;
    Some(Allowed { held: Arc::clone(held), consent: EventId::from_slice(&cited.consent)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::Reason;
    use crate::domain::ids::GrantId;

    #[test]
    fn a_grant_is_given_again_in_the_first_half_of_its_time_and_while_it_stands() {
        let allowed = [GrantedAttribute::default()].into();
        let issued = Issued { expires_at_ms: 1_101, allowed, ..Issued::default() };
        let id = GrantId { position: 0, token: [0; 8] };
        let grant = GrantState { id, recorded_at_ms: 1_000, issued, revoked: None, implied: None };
        let half = |now_ms| has_half_left(&grant, now_ms);
        assert!(half(1_000) && half(1_050) && !half(1_051) && !half(1_101) && !half(5_000));
        let invalidated = GrantState { revoked: Some((Reason::Paused, 1_001)), ..grant.clone() };
        assert!(!has_half_left(&invalidated, 1_002));
        let issued = Issued { allowed: Arc::default(), ..grant.issued.clone() };
        assert!(!has_half_left(&GrantState { issued, ..grant.clone() }, 1_002));
    }
}
