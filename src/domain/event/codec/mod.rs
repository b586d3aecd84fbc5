//! Converts events to the messages of `events.proto` and back. In the messages, ids are bytes and
//! enumerations are numbers. No other part of the domain reads or writes these messages.

mod convert;
mod error;
#[cfg(test)]
mod tests;

pub use error::CodecError;

use crate::domain::attribute::{Attribute, Secret};
use crate::domain::consent::{Decision, Terms};
use crate::domain::event::kinds::Event;
use crate::domain::event::recorded::{Draft, Recorded, RequestKey};
use crate::domain::event::rights::{ErasureDetails, ErasureIntent, RequestDecided};
use crate::domain::ids::EventId;
pub use convert::Field;
use prost::Message;
use sayso_proof::event::event_body::Event as Body;
use sayso_proof::event::{self as log, EventBody, Reason, SignalKind};

/// What the log entry of an event states besides the event itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    /// The event's id.
    pub event_id: EventId,
    /// 0-based position in the log.
    pub position: u64,
    /// 0-based version within the subject's stream.
    pub version: u64,
    /// The ledger's time, milliseconds since the Unix epoch.
    pub recorded_at_ms: u64,
    /// When the event was sealed, milliseconds since the Unix epoch.
    pub sealed_at_ms: u64,
    /// Whether the unencrypted part of the entry has a hash of the request's idempotency key.
    pub has_hash_in_clear: bool,
}

/// The message of an event, without the hash of an idempotency key.
#[must_use]
pub fn encode(draft: &Draft, request_digest: &[u8]) -> EventBody {
    EventBody {
        about_ms: draft.about_ms,
        actor: Some(draft.actor.to_wire()),
        request_digest: request_digest.to_vec(),
        writer_signature: None,
        idempotency_hash: Vec::new(),
        event: Some(encode_event(&draft.event)),
    }
}

/// What kind of event a body holds: its field number within `EventBody.event`; 0 for none.
#[must_use]
pub fn kind(body: &EventBody) -> u32 {
    let mut bytes = Vec::new();
    if let Some(event) = &body.event {
        event.encode(&mut bytes);
    }
    prost::encoding::decode_key(&mut bytes.as_slice()).map_or(0, |(number, _)| number)
}

/// As [`kind`], for an event.
#[must_use]
pub fn kind_of(event: &Event) -> u32 {
    kind(&EventBody { event: Some(encode_event(event)), ..EventBody::default() })
}

/// The event of a message.
///
/// # Errors
/// The message is malformed, or its event is of an unknown kind.
pub fn decode(place: Place, body: EventBody) -> Result<Recorded, CodecError> {
    let request_key = match <[u8; 32]>::try_from(body.idempotency_hash.as_slice()) {
        Ok(hash) => RequestKey::Sealed(hash),
        Err(_) if place.has_hash_in_clear => RequestKey::InClear,
        Err(_) => RequestKey::None,
    };
    Ok(Recorded {
        event_id: place.event_id,
        position: place.position,
        version: place.version,
        recorded_at_ms: place.recorded_at_ms,
        sealed_at_ms: place.sealed_at_ms,
        about_ms: body.about_ms,
        actor: Field::from_wire(body.actor.ok_or(CodecError::Malformed("actor"))?, "actor")?,
        request_digest: body.request_digest,
        request_key,
        event: decode_event(body.event.ok_or(CodecError::Unknown)?)?,
    })
}

/// The message of an event or of a part of an event, for answers that show it.
#[must_use]
pub fn message<T: Field>(event: &T) -> T::Wire {
    event.to_wire()
}

/// The bytes of an erasure's intent. The intent is kept with the keys.
#[must_use]
pub fn encode_intent(intent: &ErasureIntent) -> Vec<u8> {
    log::ErasureIntent {
        completed: Some(intent.completed.to_wire()),
        subject_handle: intent.subject_handle.to_wire(),
        decided: intent.decided.as_ref().map(Field::to_wire),
        sealed_decided: intent.sealed_decided.clone(),
    }
    .encode_to_vec()
}

/// The bytes of the event that decides a partial erasure. They are sealed and become part of the intent.
#[must_use]
pub fn encode_decided(decided: &RequestDecided) -> Vec<u8> {
    decided.to_wire().encode_to_vec()
}

/// The event that decides a partial erasure.
///
/// # Errors
/// The bytes are not such an event.
pub fn decode_decided(bytes: &[u8]) -> Result<RequestDecided, CodecError> {
    typed(log::RequestDecided::decode(bytes).map_err(|_| CodecError::Malformed("decided"))?)
}

/// What the certificate of an erasure states, as it is kept.
#[must_use]
pub fn encode_details(details: &ErasureDetails) -> Vec<u8> {
    details.to_wire().encode_to_vec()
}

/// What the certificate of an erasure states.
///
/// # Errors
/// The bytes are not the details of an erasure.
pub fn decode_details(bytes: &[u8]) -> Result<ErasureDetails, CodecError> {
    typed(log::ErasureDetails::decode(bytes).map_err(|_| CodecError::Malformed("details"))?)
}

/// The intent of an erasure.
///
/// # Errors
/// The bytes are not an intent.
pub fn decode_intent(bytes: &[u8]) -> Result<ErasureIntent, CodecError> {
    let intent = log::ErasureIntent::decode(bytes).map_err(|_| CodecError::Malformed("intent"))?;
    Ok(ErasureIntent {
        completed: typed(intent.completed.ok_or(CodecError::Malformed("completed"))?)?,
        subject_handle: Field::from_wire(intent.subject_handle, "subject_handle")?,
        decided: intent.decided.map(typed).transpose()?,
        sealed_decided: intent.sealed_decided,
    })
}

/// The message of an event alone, without its author and time. Writers sign this message.
#[must_use]
pub fn encode_event(event: &Event) -> Body {
    match event {
        Event::AttributeRecorded(attribute) => encode_recorded(attribute),
        Event::EarlierAttributeRecorded(attribute) => encode_earlier(attribute),
        Event::AttributeCorrected { corrects, attribute } => encode_corrected(corrects, attribute),
        Event::AttributeContested { attribute, reason } => encode_contested(attribute, reason),
        Event::AttributeConfirmed { attribute } => encode_confirmed(attribute),
        Event::AttributeSourcesAdded { attribute, sources } => encode_sources_added(attribute, sources),
        Event::AttributeRemoved { attribute, reason } => encode_removed(attribute, reason),
        Event::ConsentRequested(terms) => {
            Body::ConsentRequested(log::ConsentRequested { terms: Some(terms.clone()) })
        }
        Event::Consent { decision, terms } => encode_consent(*decision, terms),
        Event::Signal { kind, purposes, lifted, interaction } => {
            encode_signal(*kind, purposes, *lifted, interaction)
        }
        Event::SubjectDescribed(said) => Body::SubjectDescribed(said.to_wire()),
        Event::GrantIssued(grant) => Body::GrantIssued(grant.to_wire()),
        Event::GrantUsed(used) => Body::GrantUsed(used.to_wire()),
        Event::GrantGivenAgain(again) => Body::GrantGivenAgain(again.to_wire()),
        Event::PersonalBoundsSet(bounds) => Body::PersonalBoundsSet(bounds.clone()),
        Event::RecordingRefused(refused) => Body::RecordingRefused(refused.to_wire()),
        Event::GrantRevoked { grant, reason, cause, grant_id, recipient, source } => {
            encode_revoked((grant, *reason), (cause, source), grant_id, recipient)
        }
        Event::RevocationsPending { left } => encode_pending(*left),
        Event::RecipientAcknowledged(done) => Body::RecipientAcknowledged(done.to_wire()),
        Event::ErasureRequested(request) => Body::ErasureRequested(request.to_wire()),
        Event::AccessProvided(access) => Body::AccessProvided(access.to_wire()),
        Event::ErasureCompleted(done) => Body::ErasureCompleted(done.to_wire()),
        Event::AttributeExpired { attribute, by_retention } => encode_expired(attribute, *by_retention),
        Event::ConsentExpired { consent } => encode_consent_expired(consent),
        Event::ArtifactRegistered(event) => Body::ArtifactRegistered(event.to_wire()),
        Event::ArtifactInvalidated(event) => Body::ArtifactInvalidated(event.to_wire()),
        Event::RequestSubmitted(event) => Body::RequestSubmitted(event.to_wire()),
        Event::RequestDecided(event) => Body::RequestDecided(event.to_wire()),
        Event::RequestExtended(event) => Body::RequestExtended(event.to_wire()),
        Event::RequestWithdrawn(event) => Body::RequestWithdrawn(event.to_wire()),
        Event::RecipientReported(report) => Body::RecipientReported(report.to_wire()),
        Event::RecipientReminded(reminded) => Body::RecipientReminded(reminded.to_wire()),
        Event::RecipientsKept(kept) => Body::RecipientsKept(kept.to_wire()),
        Event::HoldPlaced(event) => Body::HoldPlaced(event.to_wire()),
        Event::HoldLifted(event) => Body::HoldLifted(event.to_wire()),
        Event::ErasureRefused(event) => Body::ErasureRefused(event.to_wire()),
        Event::RetentionDefined(event) => Body::RetentionDefined(event.to_wire()),
        Event::BoundsPublished(bounds) => Body::BoundsPublished(bounds.to_wire()),
        Event::PurposeDefined(purpose) => Body::PurposeDefined(purpose.to_wire()),
        Event::CategoryDefined(category) => Body::CategoryDefined(category.clone()),
        Event::NoticePublished(notice) => Body::NoticePublished(notice.clone()),
        Event::NoticeRequired(notice) => Body::NoticeRequired(notice.clone()),
        Event::AuditExported(export) => Body::AuditExported(export.clone()),
        Event::RecordViewed(view) => Body::RecordViewed(view.to_wire()),
        Event::LogOpened(opened) => Body::LogOpened(opened.clone()),
        Event::BackupRestored(restored) => Body::BackupRestored(restored.to_wire()),
        Event::RestoreConfirmed(confirmed) => Body::RestoreConfirmed(confirmed.to_wire()),
        Event::ClockAccepted(accepted) => Body::ClockAccepted(*accepted),
        Event::DecisionRulesAdopted(adopted) => Body::DecisionRulesAdopted(*adopted),
        Event::SubjectMapCommitted(committed) => Body::SubjectMapCommitted(committed.clone()),
        Event::LogKeyRotated(rotated) => Body::LogKeyRotated(rotated.clone()),
        Event::WitnessAdded(added) => Body::WitnessAdded(added.clone()),
        Event::WitnessRemoved(removed) => Body::WitnessRemoved(removed.clone()),
        Event::FiguresReported(figures) => Body::FiguresReported(figures.to_wire()),
    }
}

fn encode_corrected(corrects: &EventId, attribute: &Attribute) -> Body {
    let (corrects, attribute) = (corrects.to_wire(), Some(encode_attribute(attribute)));
    Body::AttributeCorrected(log::AttributeCorrected { corrects, attribute })
}

fn encode_sources_added(attribute: &EventId, sources: &[EventId]) -> Body {
    let sources = sources.iter().map(Field::to_wire).collect();
    Body::AttributeSourcesAdded(log::AttributeSourcesAdded { attribute: attribute.to_wire(), sources })
}

fn encode_removed(attribute: &EventId, reason: &str) -> Body {
    let (attribute, reason) = (attribute.to_wire(), reason.to_owned());
    Body::AttributeRemoved(log::AttributeRemoved { attribute, reason })
}

fn encode_contested(attribute: &EventId, reason: &str) -> Body {
    let (attribute, reason) = (attribute.to_wire(), reason.to_owned());
    Body::AttributeContested(log::AttributeContested { attribute, reason })
}

fn encode_confirmed(attribute: &EventId) -> Body {
    Body::AttributeConfirmed(log::AttributeConfirmed { attribute: attribute.to_wire() })
}

fn encode_consent_expired(consent: &EventId) -> Body {
    Body::ConsentExpired(log::ConsentExpired { consent: consent.to_wire() })
}

fn encode_pending(left: u32) -> Body {
    Body::RevocationsPending(log::RevocationsPending { left })
}

fn encode_expired(attribute: &EventId, by_retention: bool) -> Body {
    Body::AttributeExpired(log::AttributeExpired { attribute: attribute.to_wire(), by_retention })
}

fn encode_revoked(
    (grant, reason): (&EventId, Reason),
    (cause, source): (&Option<EventId>, &Option<EventId>),
    grant_id: &str,
    recipient: &str,
) -> Body {
    Body::GrantRevoked(log::GrantRevoked {
        grant: grant.to_wire(),
        reason: reason.to_wire(),
        cause: cause.to_wire(),
        grant_id: grant_id.to_owned(),
        recipient: recipient.to_owned(),
        source: source.to_wire(),
    })
}

fn encode_consent(decision: Decision, terms: &Terms) -> Body {
    let terms = Some(terms.clone());
    match decision {
        Decision::Given => Body::ConsentGiven(log::ConsentGiven { terms }),
        Decision::Refused => Body::ConsentRefused(log::ConsentRefused { terms }),
        Decision::Renewed => Body::ConsentRenewed(log::ConsentRenewed { terms }),
        Decision::Withdrawn => Body::ConsentWithdrawn(log::ConsentWithdrawn { terms }),
    }
}

fn encode_signal(kind: SignalKind, purposes: &[String], lifted: bool, interaction: &str) -> Body {
    let (kind, purposes, interaction) = (kind.to_wire(), purposes.to_vec(), interaction.to_owned());
    if lifted {
        Body::SignalLifted(log::SignalLifted { kind, purposes, interaction })
    } else {
        Body::SignalRecorded(log::SignalRecorded { kind, purposes, interaction })
    }
}

fn encode_recorded(attribute: &Attribute) -> Body {
    Body::AttributeRecorded(log::AttributeRecorded { attribute: Some(encode_attribute(attribute)) })
}

fn encode_earlier(attribute: &Attribute) -> Body {
    let attribute = Some(encode_attribute(attribute));
    Body::EarlierAttributeRecorded(log::EarlierAttributeRecorded { attribute })
}

fn encode_attribute(attribute: &Attribute) -> log::Attribute {
    log::Attribute {
        key: attribute.key.clone(),
        value_json: attribute.value.expose().to_owned(),
        category: attribute.category.clone(),
        provenance: attribute.provenance.to_wire(),
        evidence: attribute.evidence.clone(),
        derived_from: attribute.derived_from.to_wire(),
        confidence: attribute.confidence,
        model: attribute.model.clone(),
        observed_at_ms: attribute.observed_at_ms,
        expires_at_ms: attribute.expires_at_ms,
        from_replies: attribute.from_replies.clone(),
        claimed_provenance: attribute.claimed_provenance.into(),
        embedding: attribute.embedding.to_wire(),
    }
}

fn decode_earlier(event: log::EarlierAttributeRecorded) -> Result<Event, CodecError> {
    Ok(Event::EarlierAttributeRecorded(decode_attribute(event.attribute)?))
}

fn decode_corrected(event: log::AttributeCorrected) -> Result<Event, CodecError> {
    let corrects = Field::from_wire(event.corrects, "corrects")?;
    Ok(Event::AttributeCorrected { corrects, attribute: decode_attribute(event.attribute)? })
}

fn decode_removed(event: log::AttributeRemoved) -> Result<Event, CodecError> {
    let attribute = Field::from_wire(event.attribute, "attribute")?;
    Ok(Event::AttributeRemoved { attribute, reason: event.reason })
}

fn decode_contested(event: log::AttributeContested) -> Result<Event, CodecError> {
    let attribute = Field::from_wire(event.attribute, "attribute")?;
    Ok(Event::AttributeContested { attribute, reason: event.reason })
}

fn decode_sources_added(event: log::AttributeSourcesAdded) -> Result<Event, CodecError> {
    let attribute = Field::from_wire(event.attribute, "attribute")?;
    let sources = event.sources.into_iter().map(|source| Field::from_wire(source, "sources"));
    Ok(Event::AttributeSourcesAdded { attribute, sources: sources.collect::<Result<_, _>>()? })
}

fn decode_event(body: Body) -> Result<Event, CodecError> {
    Ok(match body {
        Body::AttributeRecorded(event) => Event::AttributeRecorded(decode_attribute(event.attribute)?),
        Body::EarlierAttributeRecorded(event) => decode_earlier(event)?,
        Body::AttributeCorrected(event) => decode_corrected(event)?,
        Body::AttributeContested(event) => decode_contested(event)?,
        Body::AttributeConfirmed(event) => {
            Event::AttributeConfirmed { attribute: Field::from_wire(event.attribute, "attribute")? }
        }
        Body::AttributeSourcesAdded(event) => decode_sources_added(event)?,
        Body::AttributeRemoved(event) => decode_removed(event)?,
        Body::ConsentRequested(event) => Event::ConsentRequested(terms(event.terms)?),
        Body::ConsentGiven(event) => consent(Decision::Given, event.terms)?,
        Body::ConsentRefused(event) => consent(Decision::Refused, event.terms)?,
        Body::ConsentRenewed(event) => consent(Decision::Renewed, event.terms)?,
        Body::ConsentWithdrawn(event) => consent(Decision::Withdrawn, event.terms)?,
        Body::SignalRecorded(event) => signal(event.kind, event.purposes, false, event.interaction)?,
        Body::SignalLifted(event) => signal(event.kind, event.purposes, true, event.interaction)?,
        Body::SubjectDescribed(said) => Event::SubjectDescribed(typed(said)?),
        Body::GrantIssued(grant) => Event::GrantIssued(typed(grant)?),
        Body::GrantUsed(used) => Event::GrantUsed(typed(used)?),
        Body::GrantGivenAgain(again) => Event::GrantGivenAgain(typed(again)?),
        Body::GrantRevoked(event) => revoked(event)?,
        Body::RevocationsPending(event) => Event::RevocationsPending { left: event.left },
        Body::PersonalBoundsSet(bounds) => Event::PersonalBoundsSet(bounds),
        Body::RecordingRefused(refused) => Event::RecordingRefused(typed(refused)?),
        Body::RecipientAcknowledged(done) => Event::RecipientAcknowledged(typed(done)?),
        Body::ErasureRequested(request) => Event::ErasureRequested(typed(request)?),
        Body::AccessProvided(access) => Event::AccessProvided(typed(access)?),
        Body::ErasureCompleted(done) => Event::ErasureCompleted(typed(done)?),
        Body::AttributeExpired(event) => expired(event)?,
        Body::ConsentExpired(event) => {
            Event::ConsentExpired { consent: Field::from_wire(event.consent, "consent")? }
        }
        Body::ArtifactRegistered(event) => Event::ArtifactRegistered(typed(event)?),
        Body::ArtifactInvalidated(event) => Event::ArtifactInvalidated(typed(event)?),
        Body::RequestSubmitted(event) => Event::RequestSubmitted(typed(event)?),
        Body::RequestDecided(event) => Event::RequestDecided(typed(event)?),
        Body::RequestExtended(event) => Event::RequestExtended(typed(event)?),
        Body::RequestWithdrawn(event) => Event::RequestWithdrawn(typed(event)?),
        Body::RecipientReported(report) => Event::RecipientReported(typed(report)?),
        Body::RecipientReminded(reminded) => Event::RecipientReminded(typed(reminded)?),
        Body::RecipientsKept(kept) => Event::RecipientsKept(typed(kept)?),
        Body::HoldPlaced(event) => Event::HoldPlaced(typed(event)?),
        Body::HoldLifted(event) => Event::HoldLifted(typed(event)?),
        Body::ErasureRefused(event) => Event::ErasureRefused(typed(event)?),
        Body::RetentionDefined(event) => Event::RetentionDefined(typed(event)?),
        Body::BoundsPublished(bounds) => Event::BoundsPublished(typed(bounds)?),
        Body::PurposeDefined(purpose) => Event::PurposeDefined(typed(purpose)?),
        Body::CategoryDefined(category) => Event::CategoryDefined(category),
        Body::NoticePublished(notice) => Event::NoticePublished(notice),
        Body::NoticeRequired(notice) => Event::NoticeRequired(notice),
        Body::AuditExported(export) => Event::AuditExported(export),
        Body::RecordViewed(view) => Event::RecordViewed(typed(view)?),
        Body::LogOpened(opened) => Event::LogOpened(opened),
        Body::BackupRestored(restored) => Event::BackupRestored(typed(restored)?),
        Body::RestoreConfirmed(confirmed) => Event::RestoreConfirmed(typed(confirmed)?),
        Body::ClockAccepted(accepted) => Event::ClockAccepted(accepted),
        Body::DecisionRulesAdopted(adopted) => Event::DecisionRulesAdopted(adopted),
        Body::SubjectMapCommitted(committed) => Event::SubjectMapCommitted(committed),
        Body::LogKeyRotated(rotated) => Event::LogKeyRotated(rotated),
        Body::WitnessAdded(added) => Event::WitnessAdded(added),
        Body::WitnessRemoved(removed) => Event::WitnessRemoved(removed),
        Body::FiguresReported(figures) => Event::FiguresReported(typed(figures)?),
    })
}

fn revoked(event: log::GrantRevoked) -> Result<Event, CodecError> {
    Ok(Event::GrantRevoked {
        grant: Field::from_wire(event.grant, "grant")?,
        reason: Field::from_wire(event.reason, "reason")?,
        cause: Field::from_wire(event.cause, "cause")?,
        source: Field::from_wire(event.source, "source")?,
        grant_id: event.grant_id,
        recipient: event.recipient,
    })
}

fn expired(event: log::AttributeExpired) -> Result<Event, CodecError> {
    let attribute = Field::from_wire(event.attribute, "attribute")?;
    Ok(Event::AttributeExpired { attribute, by_retention: event.by_retention })
}

fn typed<T: Field>(message: T::Wire) -> Result<T, CodecError> {
    T::from_wire(message, "event")
}

fn terms(terms: Option<Terms>) -> Result<Terms, CodecError> {
    terms.ok_or(CodecError::Malformed("terms"))
}

fn consent(decision: Decision, found: Option<Terms>) -> Result<Event, CodecError> {
    Ok(Event::Consent { decision, terms: terms(found)? })
}

fn signal(kind: i32, purposes: Vec<String>, lifted: bool, interaction: String) -> Result<Event, CodecError> {
    let kind = SignalKind::from_wire(kind, "kind")?;
    Ok(Event::Signal { kind, purposes, lifted, interaction })
}

fn decode_attribute(attribute: Option<log::Attribute>) -> Result<Attribute, CodecError> {
    let attribute = attribute.ok_or(CodecError::Malformed("attribute"))?;
    Ok(Attribute {
        derived_from: Field::from_wire(attribute.derived_from, "derived_from")?,
        key: attribute.key,
        value: Secret::new(attribute.value_json),
        category: attribute.category,
        provenance: Field::from_wire(attribute.provenance, "provenance")?,
        evidence: attribute.evidence,
        confidence: attribute.confidence,
        model: attribute.model,
        observed_at_ms: attribute.observed_at_ms,
        expires_at_ms: attribute.expires_at_ms,
        claimed_provenance: Field::from_wire(attribute.claimed_provenance, "claimed_provenance")?,
        from_replies: attribute.from_replies,
        embedding: Field::from_wire(attribute.embedding, "embedding")?,
    })
}
