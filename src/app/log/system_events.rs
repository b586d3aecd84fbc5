//! Appends to the system stream, which has the events that belong to no data subject. Some of them define
//! vocabulary, notices and bounds. Others are about the ledger itself, such as a key rotation or a
//! restore.

use crate::app::caller::Caller;
use crate::app::error::{AppError, Cause};
use crate::app::log::append::Begun;
use crate::app::log::core::Core;
use crate::app::log::index::watched_keys;
use crate::app::log::receipt::{EventReceipt, Receipt, RequestStamp, WriteOptions, receipt_of};
use crate::app::log::system_stream::{SystemEvent, SystemStream};
use crate::bounds::rulebook::is_rule;
use crate::domain::event::{Actor, Draft, Event, Recorded, RequestKey, Role, codec};
use crate::domain::ids::{EventId, Handle};
use crate::ledger::{Committed, LogKey, Prepared, SubmitError};
use crate::telemetry::metrics;
use sayso_proof::entry::{self, Header, SchemaVersion};
use sayso_proof::event::EventBody;
use std::sync::{Arc, PoisonError};

impl Core {
    /// Publishes a caller's events. A change of the rules first waits for the writes in progress. No other
    /// write is decided until the change is durable.
    ///
    /// # Errors
    /// The request is invalid or reuses an idempotency key, or nothing could be written.
    pub(crate) async fn publish(
        self: &Arc<Self>,
        caller: &Caller,
        events: Vec<Event>,
        options: &WriteOptions,
    ) -> Result<Receipt, AppError> {
        let about_ms = self.event_time(options)?;
        let _exclusive = match events.iter().any(is_rule) {
            true => Some(self.rules_lock.write().await),
            false => None,
        };
        let events = events.into_iter().map(SystemEvent::new).collect();
        let request_stamp = self.request_stamp(caller, options)?;
        let (mut receipt, _) = self.publish_as(caller.actor(), about_ms, events, request_stamp).await?;
        receipt.events = self.attach_proofs(receipt.events, options.proofs)?;
        Ok(receipt)
    }

    /// Publishes events of the ledger itself.
    pub(crate) async fn publish_for_ledger(
        self: &Arc<Self>,
        events: Vec<Event>,
    ) -> Result<Receipt, AppError> {
        let events = events.into_iter().map(SystemEvent::new).collect();
        let actor = Actor { role: Role::Ledger, name: String::new() };
        let published = self.publish_as(actor, self.now_ms(), events, RequestStamp::default()).await?;
        Ok(published.0)
    }

    /// Publishes system events as one frame (events that are written together). This runs in a separate task,
    /// which continues if the caller disconnects.
    pub(crate) async fn publish_as(
        self: &Arc<Self>,
        actor: Actor,
        about_ms: u64,
        events: Vec<SystemEvent>,
        request_stamp: RequestStamp,
    ) -> Result<(Receipt, Vec<Recorded>), AppError> {
        let core = Arc::clone(self);
        let task =
            tokio::spawn(async move { core.publish_in_task(actor, about_ms, events, request_stamp).await });
        task.await.map_err(|_| AppError::Internal(Cause::Task))?
    }

    async fn publish_in_task(
        &self,
        actor: Actor,
        about_ms: u64,
        events: Vec<SystemEvent>,
        request_stamp: RequestStamp,
    ) -> Result<(Receipt, Vec<Recorded>), AppError> {
        let mut system_stream = self.system_stream.lock().await;
        if let Some(Begun::Replayed(receipt, events)) = self.replay(&request_stamp, false)? {
            return Ok((receipt, events));
        }
        self.publish_locked(&mut system_stream, actor, about_ms, events, request_stamp, None).await
    }

    /// As [`Core::publish_as`], for the owner of the lock on the system stream. If `new_key` is set, there is
    /// only one event, which announces that key.
    pub(crate) async fn publish_locked(
        &self,
        system_stream: &mut SystemStream,
        actor: Actor,
        about_ms: u64,
        events: Vec<SystemEvent>,
        request_stamp: RequestStamp,
        new_key: Option<Arc<LogKey>>,
    ) -> Result<(Receipt, Vec<Recorded>), AppError> {
        let sealed_at_ms = self.now_ms().max(system_stream.last_sealed_at_ms);
        let watched_keys: Vec<_> = events.iter().flat_map(|each| watched_keys(&each.index)).collect();
        let (mut version, mut previous) = (system_stream.version, system_stream.newest);
        let (mut prepared, mut drafts, mut kinds) = (Vec::new(), Vec::new(), Vec::new());
        for each in events {
            let header = Header {
                event_id: self.new_id().0,
                handle: Handle::SYSTEM,
                version,
                previous,
                sealed_at_ms,
                idempotency: request_stamp.in_clear,
                key_commitment: None,
                schema_version: SchemaVersion::One,
            };
            let draft = Draft { about_ms, actor: actor.clone(), event: each.event };
            let body = codec::encode(&draft, &request_stamp.digest);
            kinds.push(codec::kind(&body));
            let payload = entry::plain(&header, &EventBody { writer_signature: each.signature, ..body })?;
            let ready = self.prepare(payload, each.index)?;
            (version, previous) = (version.saturating_add(1), Some(ready.entry.leaf_hash()));
            drafts.push((header, ready.entry.leaf_hash(), draft));
            prepared.push(ready);
        }
        self.counts.begin(&self.ledger);
        let committed = self.submit_system_events(prepared, new_key).await;
        match &committed {
            Ok(_) => self.counts.end(drafts.iter().map(|(_, _, draft)| &draft.event)),
            Err(SubmitError::Stopped) => {}
            Err(_) => self.counts.end(std::iter::empty()),
        }
        let committed = committed?;
        kinds.into_iter().for_each(|kind| metrics().event(kind));
        *system_stream = SystemStream { version, newest: previous, last_sealed_at_ms: sealed_at_ms };
        let places = committed.entries.iter();
        let (recorded, receipts): (Vec<Recorded>, Vec<EventReceipt>) = drafts
            .into_iter()
            .zip(places)
            .map(|((header, leaf, draft), place)| {
                let event = Recorded {
                    event_id: EventId(header.event_id),
                    position: place.position,
                    version: header.version,
                    recorded_at_ms: place.recorded_at_ms,
                    sealed_at_ms,
                    about_ms,
                    actor: draft.actor,
                    request_digest: request_stamp.digest.clone(),
                    request_key: request_key_of(&header),
                    event: draft.event,
                };
                let receipt = receipt_of(&event, leaf);
                (event, receipt)
            })
            .unzip();
        watched_keys.iter().for_each(|key| self.notifier.notify(key));
        self.apply_system_events(&recorded)?;
        let checkpoint = committed.checkpoint.note.clone();
        Ok((Receipt { events: receipts, checkpoint, replayed: false }, recorded))
    }

    async fn submit_system_events(
        &self,
        mut prepared: Vec<Prepared>,
        new_key: Option<Arc<LogKey>>,
    ) -> Result<Committed, SubmitError> {
        match (new_key, prepared.pop()) {
            (Some(new), Some(entry)) if prepared.is_empty() => self.ledger.submit_rotation(entry, new).await,
            (_, last) => {
                prepared.extend(last);
                self.ledger.submit(prepared).await
            }
        }
    }
}

impl Core {
    /// Applies new system events to what is computed from them.
    fn apply_system_events(&self, recorded: &[Recorded]) -> Result<(), AppError> {
        self.disclosures.add(recorded);
        let mut rules = self.rules.write().unwrap_or_else(PoisonError::into_inner);
        Ok(rules.push(recorded, self.now_ms())?)
    }
}

/// What the log has of the idempotency key of a system event's request.
fn request_key_of(header: &Header) -> RequestKey {
    if header.idempotency.is_some() { RequestKey::InClear } else { RequestKey::None }
}
