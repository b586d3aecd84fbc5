//! The same question in the same conversation is answered by the grant that it was answered by before: from memory, without
//! another event. That is no answer of its own: it is given only where a decision of this very moment allows the same
//! facts, by the same consents, under the same bounds, and withholds the same; otherwise the question is answered anew. The
//! decision itself is made again where anything has happened since that it may depend on. How often a grant was given again is
//! counted, and written down with the person as `GrantGivenAgain`.

use crate::app::grants::evaluate_use::{Allowed, UseCase, decide};
use crate::app::grants::request_grant::{Grant, GrantRequest};
use crate::app::log::append::{EventReceipt, Receipt, WriteOptions};
use crate::app::log::rulebook::Rules;
use crate::app::log::stream::SubjectStream;
use crate::app::{App, AppError, Caller};
use crate::bounds::{Decision, valid_until_ms};
use crate::clock::ClockReading;
use crate::domain::event::{Event, GrantGivenAgain};
use crate::domain::ids::{EventId, SubjectId};
use crate::domain::profile::{GrantState, Issued, SubjectState};
use sayso_proof::event::GrantedAttribute;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::task::JoinSet;

/// Grants of one person that are remembered, the latest ones.
const REMEMBERED_MAX: usize = 8;
/// People with times that are not written down yet; a question about another one is answered anew.
const UNWRITTEN_MAX: usize = 4_096;
/// People whose times are written down side by side.
const WRITTEN_AT_ONCE: usize = 64;
/// How long a time may stay unwritten while the daemon runs, milliseconds.
const UNWRITTEN_MS_MAX: u64 = 60_000;

/// Grants of one person that may be given again.
#[derive(Default)]
pub(crate) struct ReusableGrants(Vec<ReusableGrant>);

/// A grant that was given lately.
struct ReusableGrant {
    event: EventId,
    receipt: EventReceipt,
    /// The lifetime that was asked for, milliseconds.
    ttl_ms: u64,
    unrecorded_reuse: Option<Times>,
    /// A decision that was the same as the grant's.
    confirmed: Option<Confirmed>,
}

/// What a decision stood on, and while that is so it needs no making again.
#[derive(Clone)]
struct Confirmed {
    /// As in [`SubjectState::decisive_version`].
    decisive_version: u64,
    rules: Weak<Rules>,
    /// From then on, until before then: nothing ends meanwhile.
    span_ms: Range<u64>,
}

impl Confirmed {
    fn by(rules: &Arc<Rules>, state: &SubjectState, now_ms: u64) -> Self {
        let span_ms = now_ms..valid_until_ms(state, now_ms);
        Self { decisive_version: state.decisive_version, rules: Arc::downgrade(rules), span_ms }
    }

    fn holds(&self, rules: &Arc<Rules>, state: &SubjectState, now_ms: u64) -> bool {
        self.decisive_version == state.decisive_version
            && std::ptr::eq(self.rules.as_ptr(), Arc::as_ptr(rules))
            && self.span_ms.contains(&now_ms)
    }
}

/// How often, and when first and last, milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Times {
    count: u32,
    first_ms: u64,
    last_ms: u64,
}

impl Times {
    fn and(self, later: Self) -> Self {
        Self { count: self.count.saturating_add(later.count), last_ms: later.last_ms, ..self }
    }
}

impl ReusableGrants {
    /// Whether something is not written down yet.
    pub fn is_unwritten(&self) -> bool {
        self.0.iter().any(|given| given.unrecorded_reuse.is_some())
    }

    /// A new grant. The oldest is forgotten where there are too many, but none with times that are not written down.
    fn issued(&mut self, event: EventId, receipt: EventReceipt, ttl_ms: u64) {
        if self.0.len() >= REMEMBERED_MAX {
            let written = self.0.iter().position(|given| given.unrecorded_reuse.is_none());
            let Some(oldest) = written else { return };
            self.0.remove(oldest);
        }
        self.0.push(ReusableGrant { event, receipt, ttl_ms, unrecorded_reuse: None, confirmed: None });
    }

    fn note(&mut self, event: EventId, times: Times) {
        if let Some(given) = self.0.iter_mut().find(|given| given.event == event) {
            given.unrecorded_reuse = Some(given.unrecorded_reuse.map_or(times, |before| before.and(times)));
        }
    }

    fn confirm(&mut self, event: EventId, confirmed: Confirmed) {
        if let Some(given) = self.0.iter_mut().find(|given| given.event == event) {
            given.confirmed = Some(confirmed);
        }
    }

    /// No decision of before counts.
    pub fn decide_anew(&mut self) {
        self.0.iter_mut().for_each(|given| given.confirmed = None);
    }

    fn take_unwritten(&mut self) -> Vec<(EventId, Times)> {
        self.0.iter_mut().filter_map(|given| Some((given.event, given.unrecorded_reuse.take()?))).collect()
    }
}

/// Whose times are not written down yet, and since when, milliseconds since the Unix epoch.
#[derive(Default)]
pub(crate) struct UnrecordedReuse(Mutex<(Vec<Weak<SubjectStream>>, u64)>);

impl UnrecordedReuse {
    fn has_room(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.len() < UNWRITTEN_MAX
    }

    fn push(&self, stream: &Arc<SubjectStream>, now_ms: u64) {
        let mut unrecorded_reuse = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if unrecorded_reuse.0.is_empty() {
            unrecorded_reuse.1 = now_ms;
        }
        unrecorded_reuse.0.push(Arc::downgrade(stream));
    }

    /// Everybody, where the first has waited for so long or half of the room is taken.
    fn take_due(&self, now_ms: u64, waited_ms: u64) -> Vec<Weak<SubjectStream>> {
        let mut unrecorded_reuse = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = now_ms.saturating_sub(unrecorded_reuse.1) >= waited_ms;
        if is_due || unrecorded_reuse.0.len() >= UNWRITTEN_MAX / 2 {
            std::mem::take(&mut unrecorded_reuse.0)
        } else {
            Vec::new()
        }
    }
}

impl App {
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
        let Some(stream) = self.stream(subject).await? else { return Ok(None) };
        let Some(mut grant) = self.same_again(&stream, caller, &request.asked, ttl_ms) else {
            return Ok(None);
        };
        grant.receipt.events = self.attach(grant.receipt.events, options.proofs)?;
        Ok(Some(grant))
    }

    fn same_again(
        &self,
        stream: &Arc<SubjectStream>,
        caller: &Caller,
        asked: &UseCase,
        ttl_ms: u64,
    ) -> Option<Grant> {
        let ClockReading { ledger_ms: now_ms, state: clock, .. } = self.clock.look();
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
        if !was_unwritten && !self.unrecorded_reuse.has_room() {
            return None;
        }
        let grant = now.state.grants.get(&event)?;
        let rules = self.rules_at(now_ms);
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
                self.unrecorded_reuse.push(stream, now_ms);
            }
            given.note(event, Times { count: 1, first_ms: now_ms, last_ms: now_ms });
        }
        let checkpoint = self.ledger.checkpoint().note.clone();
        Some(Grant {
            id: grant.id,
            allowed,
            withheld: grant.issued.withheld.to_vec(),
            expires_at_ms: grant.issued.expires_at_ms,
            has_ended: false,
            receipt: Receipt { events: vec![receipt], checkpoint, replayed: true },
        })
    }

    /// A grant was issued that may be given again.
    pub(crate) fn note_issued(stream: &SubjectStream, event: EventId, receipt: &Receipt, ttl_ms: u64) {
        if let Some(receipt) = receipt.events.first() {
            let receipt = EventReceipt { proof: None, ..receipt.clone() };
            stream.given().issued(event, receipt, ttl_ms);
        }
    }

    /// Writes down what has waited long enough.
    ///
    /// # Errors
    /// The store; what is not written down stays counted, and is tried again.
    pub(crate) async fn write_down_due(self: &Arc<Self>) -> Result<(), AppError> {
        self.write_down(UNWRITTEN_MS_MAX).await
    }

    /// Writes down how often grants were given again.
    ///
    /// # Errors
    /// As [`App::write_down_due`].
    pub(crate) async fn write_down_all(self: &Arc<Self>) -> Result<(), AppError> {
        self.write_down(0).await
    }

    /// Waits until people who are only kept in memory to be counted take the room of others.
    pub async fn crowded(&self) {
        self.streams.crowded().await;
    }

    /// Writes the counts down, so that whoever is only kept for them can go.
    ///
    /// # Errors
    /// As [`App::write_down_due`].
    pub async fn make_room(self: &Arc<Self>) -> Result<(), AppError> {
        self.write_down_all().await
    }

    async fn write_down(self: &Arc<Self>, waited_ms: u64) -> Result<(), AppError> {
        // A lane that is gone is of somebody who was erased.
        let due = self.unrecorded_reuse.take_due(self.now_ms(), waited_ms);
        let mut due = due.into_iter().filter_map(|stream| stream.upgrade());
        let (mut writing, mut written) = (JoinSet::new(), Ok(()));
        loop {
            while writing.len() < WRITTEN_AT_ONCE
                && let Some(stream) = due.next()
            {
                let app = Arc::clone(self);
                writing.spawn(async move {
                    let written = app.write_down_of(&stream).await;
                    if written.is_err() {
                        app.unrecorded_reuse.push(&stream, app.now_ms());
                    }
                    written
                });
            }
            match writing.join_next().await {
                Some(one) => {
                    written = one.unwrap_or(Err(AppError::Internal(crate::app::Cause::Task))).and(written)
                }
                None => return written,
            }
        }
    }

    /// As [`App::write_down_all`], of one person, for whoever is about to be shown them. A failure is logged and nothing
    /// more: what is durable can be shown.
    pub(crate) async fn write_down_before_reading(self: &Arc<Self>, stream: &Arc<SubjectStream>) {
        if let Err(error) = self.write_down_of(stream).await {
            tracing::warn!(%error, "how often grants were given again is not written down yet");
        }
    }

    async fn write_down_of(self: &Arc<Self>, stream: &Arc<SubjectStream>) -> Result<(), AppError> {
        if !stream.given().is_unwritten() {
            return Ok(());
        }
        let write_lock = stream.write_lock().await;
        let append = self.append_for_ledger(Arc::clone(stream), write_lock).await;
        let unrecorded_reuse = {
            let now = stream.read();
            // Of a grant that is not known any more there is nobody to tell it of.
            let known =
                |(event, times)| Some((event, times, now.state.grants.get(&event)?.issued.recipient.clone()));
            stream.given().take_unwritten().into_iter().filter_map(known).collect::<Vec<_>>()
        };
        let pending_events = unrecorded_reuse.iter().map(|(event, times, recipient)| {
            let grant = event.0.to_vec();
            let Times { count, first_ms, last_ms } = *times;
            let recipient = recipient.clone();
            self.plan(Event::GrantGivenAgain(GrantGivenAgain { grant, count, first_ms, last_ms, recipient }))
        });
        let pending_events: Vec<_> = pending_events.collect();
        if pending_events.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.commit(append, pending_events).await {
            let mut given = stream.given();
            unrecorded_reuse.into_iter().for_each(|(event, times, _)| given.note(event, times));
            return Err(error);
        }
        Ok(())
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
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::domain::event::Reason;
    use crate::domain::ids::GrantId;

    fn receipt() -> EventReceipt {
        EventReceipt {
            event_id: EventId::default(),
            position: 0,
            version: 0,
            leaf_hash: [0; 32],
            recorded_at_ms: 0,
            revoked_for: None,
            proof: None,
        }
    }

    fn at(now_ms: u64) -> Times {
        Times { count: 1, first_ms: now_ms, last_ms: now_ms }
    }

    #[test]
    fn times_add_up_and_are_taken_once() {
        let (one, other) = (EventId([1; 16]), EventId([2; 16]));
        let mut given = ReusableGrants::default();
        given.issued(one, receipt(), 1);
        given.issued(other, receipt(), 1);
        assert!(!given.is_unwritten());
        given.note(one, at(5));
        given.note(one, at(9));
        given.note(EventId([3; 16]), at(1));
        assert!(given.is_unwritten());
        assert_eq!(given.take_unwritten(), [(one, Times { count: 2, first_ms: 5, last_ms: 9 })]);
        assert!(!given.is_unwritten() && given.take_unwritten().is_empty());
    }

    #[test]
    fn the_oldest_is_forgotten_but_nothing_that_is_unwritten() {
        let mut given = ReusableGrants::default();
        let event = |number: u8| EventId([number; 16]);
        for number in 0..8 {
            given.issued(event(number), receipt(), 1);
        }
        given.note(event(0), at(1));
        given.issued(event(8), receipt(), 1);
        let kept: Vec<EventId> = given.0.iter().map(|given| given.event).collect();
        assert_eq!(kept, [0, 2, 3, 4, 5, 6, 7, 8].map(event));
        (0..9).for_each(|number| given.note(event(number), at(2)));
        given.issued(event(9), receipt(), 1);
        assert_eq!(given.take_unwritten().len(), 8);
    }

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
