//! Appends to the system stream, which has the events that belong to no data subject. Some of them define
//! vocabulary, notices and bounds. Others are about the ledger itself, such as a key rotation or a
//! restore.

use crate::app::caller::Caller;
use crate::app::error::{AppError, Cause};
use crate::app::log::append::Begun;
use crate::app::log::core::Core;
use crate::app::log::receipt::{Receipt, RequestStamp, WriteOptions};
use crate::app::log::signed_frame::{DurableFrame, NewEvent, StreamEnd, Submission};
use crate::app::log::system_stream::{SystemEvent, SystemStream};
use crate::bounds::rulebook::{Rules, is_rule};
use crate::domain::event::{Actor, Draft, Event, Recorded, Role};
use crate::ledger::{LogKey, SubmitError};
use std::sync::Arc;

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
        self.publish_checked(caller, events, options, |_| Ok(())).await
    }

    /// As [`Core::publish`], with a check of the rules. It is made while nothing else can change the rules,
    /// so what it saw is still true when the events are durable. A repeated request is not checked again.
    ///
    /// # Errors
    /// The check fails, or the errors of [`Core::publish`].
    pub(crate) async fn publish_checked(
        self: &Arc<Self>,
        caller: &Caller,
        events: Vec<Event>,
        options: &WriteOptions,
        check: impl FnOnce(&Rules) -> Result<(), AppError> + Send,
    ) -> Result<Receipt, AppError> {
        let about_ms = self.event_time(options)?;
        let request_stamp = self.request_stamp(caller, options)?;
        let _exclusive = match events.iter().any(is_rule) {
            true => Some(self.rules.begin_change().await),
            false => None,
        };
        if let Some(Begun::Replayed(receipt, _)) = self.replay(&request_stamp, options.proofs)? {
            return Ok(receipt);
        }
        check(&self.rules())?;
        let events = events.into_iter().map(SystemEvent::new).collect();
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
        let SystemStream { version, newest, .. } = *system_stream;
        let count = events.len() as u64;
        let events = events.into_iter().map(|SystemEvent { event, index, signature }| {
            let draft = Draft { about_ms, actor: actor.clone(), event };
            NewEvent { event_id: self.new_id(), draft, index, signature }
        });
        let end = StreamEnd { keys: None, version, newest, sealed_at_ms };
        let signed = self.sign_frame(end, events.collect(), request_stamp)?;
        let submission = new_key.map_or(Submission::Prompt, Submission::Rotation);
        self.projections.counts.begin(&self.ledger);
        let durable = self.submit_frame(signed, submission).await;
        match &durable {
            Ok(durable) => self.projections.counts.end(durable.events.iter().map(|event| &event.event)),
            Err(SubmitError::Stopped) => {}
            Err(_) => self.projections.counts.end(std::iter::empty()),
        }
        let durable = durable?;
        let newest = durable.newest.or(newest);
        let version = version.saturating_add(count);
        *system_stream = SystemStream { version, newest, last_sealed_at_ms: sealed_at_ms };
        durable.notify_watchers(self);
        let DurableFrame { events: recorded, receipts: events, checkpoint, .. } = durable;
        self.apply_system_events(&recorded)?;
        Ok((Receipt { events, checkpoint, replayed: false }, recorded))
    }

    /// Applies new system events to what is computed from them.
    fn apply_system_events(&self, recorded: &[Recorded]) -> Result<(), AppError> {
        self.projections.disclosures.add(recorded);
        Ok(self.rules.push(recorded, self.now_ms())?)
    }
}
