//! Forgets a person: fence, keys, bytes, and then the word that it is done; resumable at every step.
//!
//! The keys go in one durable write, together with the fence and the intent. From there on nothing about the person
//! can be read; whatever a crash interrupts afterwards is finished at the next start. Only after the bytes are
//! destroyed does `ErasureCompleted` say so.

use super::error::{AppError, Cause};
use super::lane::{Lane, for_each_event};
use super::publish::PlainEvent;
use super::rules::open_plain;
use super::write::{Begin, Pace, Stamp};
use super::{App, Caller, WriteOptions};
use crate::clock;
use crate::domain::event::{Actor, ErasureCompleted, ErasureRequested, Event, Role};
use crate::domain::ids::{EventId, GrantId, SubjectId};
use prost::Message;
use sayso_proof::event::{ErasureScope, PositionRange, PriorRecipient};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The proof of an erasure.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The request.
    pub request: EventId,
    /// The `ErasureCompleted` event.
    pub completed: ErasureCompleted,
    /// Its position.
    pub position: u64,
    /// Milliseconds since the Unix epoch.
    pub completed_at_ms: u64,
    /// Recipients that said they carried it out.
    pub acknowledged: Vec<String>,
    /// `c2sp.org/tlog-proof` text of the event.
    pub proof: String,
}

/// What the log tells about a person before it forgets them.
#[derive(Default)]
struct Inventory {
    positions: Vec<u64>,
    categories: BTreeMap<String, u32>,
    recipients: BTreeMap<String, Vec<String>>,
}

impl App {
    /// Erases everything about a person, and answers once all of it is true.
    ///
    /// # Errors
    /// Nothing is held about the person, stale; or the store. After an error in the middle the erasure is finished by
    /// itself at the next start.
    pub async fn erase_subject(
        self: &Arc<Self>,
        caller: &Caller,
        subject: &SubjectId,
        options: &WriteOptions,
    ) -> Result<Certificate, AppError> {
        let turn = match self.begin_known(caller, subject, options, Pace::Shared).await? {
            Begin::Turn(turn) => turn,
            // Of an erased subject nothing can be replayed; of another one the key was used for something else.
            Begin::Replayed(..) => return Err(AppError::KeyReused),
        };
        let (lane, requested_at_ms) = (Arc::clone(&turn.lane), turn.now_ms);
        let request = EventId(clock::event_id(self.clock.as_ref()));
        let asked = ErasureRequested { request: request.0.to_vec(), scope: ErasureScope::All.into() };
        let planned = vec![self.plan(Event::ErasureRequested(asked))];
        let app = Arc::clone(self);
        // To the end, even where the caller goes away.
        let task = tokio::spawn(async move {
            let _under_way = app.erasing.read().await;
            let gate = app.commit_and_keep_gate(turn, planned).await?;
            let inventory = app.take_inventory(&lane)?;
            let intent = intent_of(&request, &inventory, requested_at_ms);
            lane.write().erased = true;
            let fence_ms = app.now_ms().max(requested_at_ms);
            let erased = app.vault.erase(&lane.keys, fence_ms, request.0, &intent.encode_to_vec()).await;
            if let Err(error) = erased {
                // Nothing was destroyed, as far as anybody knows: the lane goes on, or the next start decides.
                lane.write().erased = false;
                return Err(error.into());
            }
            lane.forget();
            app.lanes.remove(&lane.keys.handle);
            drop(gate);
            app.complete_erasure(request, intent).await
        });
        task.await.map_err(|_| AppError::Internal(Cause::Task))??;
        self.certificate(&request)
    }

    /// Finishes erasures whose keys are gone but whose completion was not recorded.
    pub(super) async fn finish_erasures(self: &Arc<Self>) -> Result<(), AppError> {
        for (request, intent) in self.vault.pending_erasures()? {
            let malformed = |_| AppError::Internal(Cause::Inconsistent("an erasure's intent can't be read"));
            let intent = ErasureCompleted::decode(intent.as_slice()).map_err(malformed)?;
            tracing::warn!("finishing an erasure that was interrupted");
            self.complete_erasure(EventId(request), intent).await?;
        }
        Ok(())
    }

    /// Destroys the bytes, then says so, then forgets the intent. Every step can be done again.
    async fn complete_erasure(
        self: &Arc<Self>,
        request: EventId,
        intent: ErasureCompleted,
    ) -> Result<(), AppError> {
        let app = Arc::clone(self);
        let positions: Vec<u64> =
            intent.discarded.iter().flat_map(|range| range.first..=range.last).collect();
        let discarded = tokio::task::spawn_blocking(move || app.store().discard(&positions)).await;
        discarded.map_err(|_| AppError::Internal(Cause::Task))??;
        if self.erasure_position(&request)?.is_none() {
            let event =
                Event::ErasureCompleted(ErasureCompleted { key_epoch: self.vault.key_epoch(), ..intent });
            let actor = Actor { role: Role::Ledger.into(), name: String::new() };
            let plain = vec![PlainEvent::new(event)];
            self.publish_as(actor, self.now_ms(), plain, Stamp::default()).await?;
        }
        Ok(self.vault.erasure_done(request.0).await?)
    }

    fn take_inventory(&self, lane: &Lane) -> Result<Inventory, AppError> {
        let mut inventory = Inventory::default();
        for_each_event(&lane.keys, self.store(), 0, |event, _| {
            inventory.positions.push(event.position);
            match &event.event {
                Event::AttributeRecorded(attribute) | Event::AttributeCorrected { attribute, .. } => {
                    *inventory.categories.entry(attribute.category.clone()).or_default() += 1;
                }
                Event::GrantIssued(issued) => {
                    let id = GrantId::new(event.position, &event.event_id).to_string();
                    inventory.recipients.entry(issued.recipient.clone()).or_default().push(id);
                }
                _ => {}
            }
            Ok(())
        })?;
        Ok(inventory)
    }

    /// The certificate of an erasure.
    ///
    /// # Errors
    /// There is none by this request; or the store.
    pub fn certificate(&self, request: &EventId) -> Result<Certificate, AppError> {
        let position = self.erasure_position(request)?.ok_or(AppError::NotFound("erasure"))?;
        let event = open_plain(self.store().read_entry(position)?)?;
        let Event::ErasureCompleted(completed) = event.event else {
            return Err(AppError::Internal(Cause::Inconsistent("the index names another event")));
        };
        let mut acknowledged = Vec::new();
        for recipient in &completed.recipients {
            if self.has_acknowledged(&recipient.name, position)? {
                acknowledged.push(recipient.name.clone());
            }
        }
        Ok(Certificate {
            request: *request,
            completed,
            position,
            completed_at_ms: event.recorded_at_ms,
            acknowledged,
            proof: self.ledger.proof_text(position)?,
        })
    }
}

/// The completion as it will be said; kept with the keys until it is.
fn intent_of(request: &EventId, inventory: &Inventory, requested_at_ms: u64) -> ErasureCompleted {
    let recipients = inventory
        .recipients
        .iter()
        .map(|(name, grants)| PriorRecipient { name: name.clone(), grant_ids: grants.clone() });
    ErasureCompleted {
        request: request.0.to_vec(),
        scope: ErasureScope::All.into(),
        discarded: ranges(&inventory.positions),
        key_epoch: 0,
        recipients: recipients.collect(),
        erased_by_category: inventory.categories.clone(),
        requested_at_ms,
    }
}

/// Ascending positions as runs.
fn ranges(positions: &[u64]) -> Vec<PositionRange> {
    let mut ranges: Vec<PositionRange> = Vec::new();
    for position in positions {
        match ranges.last_mut() {
            Some(last) if last.last.checked_add(1) == Some(*position) => last.last = *position,
            _ => ranges.push(PositionRange { first: *position, last: *position }),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_become_runs() {
        let run = |first, last| PositionRange { first, last };
        assert_eq!(ranges(&[1, 2, 3, 7, 9, 10]), [run(1, 3), run(7, 7), run(9, 10)]);
        assert!(ranges(&[]).is_empty());
    }
}
