//! The only way to append: the events of a frame are chained to the end of their stream, encoded, signed and
//! submitted to the sequencer. [`append`](super::append) decides what is written to the stream of a data
//! subject, and [`system_events`](super::system_events) what is written to the system stream.

use crate::app::error::AppError;
use crate::app::log::core::Core;
use crate::app::log::index::{index_of_said, watched_keys};
use crate::app::log::read::CIPHER_STACK_WORDS;
use crate::app::log::receipt::{EventReceipt, RequestStamp, receipt_of};
use crate::domain::event::{Draft, Recorded, RequestKey, codec};
use crate::domain::ids::{EventId, Handle};
use crate::ledger::{Committed, LogKey, Prepared, SubmitError};
use crate::secret::clear_stack;
use crate::telemetry::metrics;
use crate::vault::SubjectKeys;
use sayso_proof::entry::{self, Header, SchemaVersion};
use sayso_proof::event::{EventBody, WriterSignature};
use sayso_proof::merkle::Hash;
use std::sync::Arc;
use tracing::Instrument;

/// The end of the stream to which a frame is appended.
pub(crate) struct StreamEnd<'a> {
    /// The keys of the data subject, with which the events are sealed. `None` for the system stream, whose
    /// events are in clear.
    pub keys: Option<&'a SubjectKeys>,
    /// The version of the next event.
    pub version: u64,
    /// Leaf hash of the newest event.
    pub newest: Option<Hash>,
    /// When the new events are sealed, milliseconds since the Unix epoch.
    pub sealed_at_ms: u64,
}

/// An event that is to be appended.
pub(crate) struct NewEvent {
    pub event_id: EventId,
    pub draft: Draft,
    /// Index records that find this event: key prefix and value.
    pub index: Vec<(Vec<u8>, Vec<u8>)>,
    /// The writer's signature. Only system events have one.
    pub signature: Option<WriterSignature>,
}

/// Encoded and signed events of one frame, ready for the sequencer.
pub(crate) struct SignedFrame {
    prepared: Vec<Prepared>,
    places: Vec<(Header, Hash)>,
    drafts: Vec<Draft>,
    /// The kinds of the events, as numbers from [`codec::kind`].
    kinds: Vec<u32>,
    watched_keys: Vec<Vec<u8>>,
    request_stamp: RequestStamp,
}

/// How a frame is submitted to the sequencer.
pub(crate) enum Submission {
    /// It is refused if the queue is full.
    Prompt,
    /// It waits for room in the queue.
    Patient,
    /// The frame's only event announces this key, with which the log is signed from then on.
    Rotation(Arc<LogKey>),
}

/// A frame that is durable.
pub(crate) struct DurableFrame {
    pub events: Vec<Recorded>,
    /// The receipts of the events, without proofs.
    pub receipts: Vec<EventReceipt>,
    /// A signed checkpoint of a tree that includes the events.
    pub checkpoint: String,
    /// Leaf hash of the last event; `None` if the frame has no events.
    pub newest: Option<Hash>,
    watched_keys: Vec<Vec<u8>>,
}

impl DurableFrame {
    /// Notifies the watchers of what the events say.
    pub fn notify_watchers(&self, core: &Core) {
        self.watched_keys.iter().for_each(|key| core.notifier.notify(key));
    }
}

impl Core {
    /// Encodes and signs the events of a frame, each chained to the one before.
    pub(crate) fn sign_frame(
        &self,
        end: StreamEnd<'_>,
        events: Vec<NewEvent>,
        request_stamp: RequestStamp,
    ) -> Result<SignedFrame, AppError> {
        let StreamEnd { keys, mut version, mut newest, sealed_at_ms } = end;
        let mut frame = SignedFrame {
            prepared: Vec::with_capacity(events.len()),
            places: Vec::with_capacity(events.len()),
            drafts: Vec::with_capacity(events.len()),
            kinds: Vec::with_capacity(events.len()),
            watched_keys: Vec::new(),
            request_stamp,
        };
        for NewEvent { event_id, draft, mut index, signature } in events {
            frame.watched_keys.extend(watched_keys(&index));
            let header = Header {
                event_id: event_id.0,
                handle: keys.map_or(Handle::SYSTEM, |keys| keys.handle),
                version,
                previous: newest,
                sealed_at_ms,
                idempotency: if keys.is_none() { frame.request_stamp.in_clear } else { None },
                key_commitment: None,
                schema_version: if keys.is_none() { SchemaVersion::One } else { SchemaVersion::Two },
            };
            let body = codec::encode(&draft, &frame.request_stamp.digest);
            frame.kinds.push(codec::kind(&body));
            let payload = match keys {
                None => entry::plain(&header, &EventBody { writer_signature: signature, ..body })?,
                Some(keys) => {
                    index.extend(index_of_said(&draft.event, draft.about_ms.min(sealed_at_ms)));
                    let idempotency_hash = frame.request_stamp.sealed.to_body();
                    sealed_payload(&header, &EventBody { idempotency_hash, ..body }, keys)?
                }
            };
            let prepared = self.prepare(payload, index)?;
            let leaf = prepared.entry.leaf_hash();
            (version, newest) = (version.saturating_add(1), Some(leaf));
            frame.prepared.push(prepared);
            frame.places.push((header, leaf));
            frame.drafts.push(draft);
        }
        Ok(frame)
    }

    /// Appends an entry of the form that an early version wrote.
    #[cfg(test)]
    pub(crate) async fn submit_payload(&self, payload: Vec<u8>) -> Result<(), AppError> {
        self.ledger.submit(vec![self.prepare(payload, Vec::new())?]).await?;
        Ok(())
    }

    /// Signs a payload and prepares it for the sequencer.
    fn prepare(&self, payload: Vec<u8>, index: Vec<(Vec<u8>, Vec<u8>)>) -> Result<Prepared, AppError> {
        Ok(Prepared { entry: self.ledger.sign(payload)?, index })
    }

    /// Makes a frame durable.
    ///
    /// # Errors
    /// Nothing was written, or the outcome is unknown ([`SubmitError::Stopped`]).
    pub(crate) async fn submit_frame(
        &self,
        frame: SignedFrame,
        submission: Submission,
    ) -> Result<DurableFrame, SubmitError> {
        let SignedFrame { prepared, places, drafts, kinds, watched_keys, request_stamp } = frame;
        let submit = self.submit_prepared(prepared, submission);
        let committed = submit.instrument(tracing::trace_span!("submit")).await?;
        kinds.into_iter().for_each(|kind| metrics().event(kind));
        let newest = places.last().map(|(_, leaf)| *leaf);
        let leaves: Vec<Hash> = places.iter().map(|(_, leaf)| *leaf).collect();
        let events = recorded_events(places, drafts, &request_stamp, &committed);
        let receipts = events.iter().zip(leaves).map(|(event, leaf)| receipt_of(event, leaf)).collect();
        let checkpoint = committed.checkpoint.note.clone();
        Ok(DurableFrame { events, receipts, checkpoint, newest, watched_keys })
    }

    async fn submit_prepared(
        &self,
        mut prepared: Vec<Prepared>,
        submission: Submission,
    ) -> Result<Committed, SubmitError> {
        match submission {
            Submission::Prompt => self.ledger.submit(prepared).await,
            Submission::Patient => self.ledger.submit_patiently(prepared).await,
            Submission::Rotation(new) => match prepared.pop() {
                Some(entry) if prepared.is_empty() => self.ledger.submit_rotation(entry, new).await,
                last => {
                    prepared.extend(last);
                    self.ledger.submit(prepared).await
                }
            },
        }
    }
}

/// The payload of an event about a data subject: its body is sealed under the event's own key.
fn sealed_payload(header: &Header, body: &EventBody, keys: &SubjectKeys) -> Result<Vec<u8>, AppError> {
    let key = keys.event_key(header.version, &header.event_id)?;
    let payload = entry::seal(header, body, &key);
    drop(key);
    clear_stack::<{ CIPHER_STACK_WORDS }>();
    Ok(payload?)
}

/// The events of a frame that is now durable, with their positions and times in the log.
fn recorded_events(
    places: Vec<(Header, Hash)>,
    drafts: Vec<Draft>,
    request_stamp: &RequestStamp,
    committed: &Committed,
) -> Vec<Recorded> {
    let places = places.into_iter().zip(&committed.entries);
    let recorded = places.zip(drafts).map(|(((header, _), place), draft)| Recorded {
        event_id: EventId(header.event_id),
        position: place.position,
        version: header.version,
        recorded_at_ms: place.recorded_at_ms,
        sealed_at_ms: header.sealed_at_ms,
        about_ms: draft.about_ms,
        actor: draft.actor,
        request_digest: request_stamp.digest.clone(),
        request_key: request_key_of(&header, request_stamp),
        event: draft.event,
    });
    recorded.collect()
}

/// What the log has of the idempotency key of the event's request.
fn request_key_of(header: &Header, request_stamp: &RequestStamp) -> RequestKey {
    match (header.handle == Handle::SYSTEM, header.idempotency) {
        (false, _) => request_stamp.sealed,
        (true, Some(_)) => RequestKey::InClear,
        (true, None) => RequestKey::None,
    }
}
