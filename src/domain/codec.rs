//! Events to the messages of the log and back.

use super::attribute::{Attribute, Secret};
use super::consent::Decision;
use super::consent::Terms;
use super::event::{Draft, Event, Recorded};
use super::ids::EventId;
use sayso_proof::event::event_body::Event as Body;
use sayso_proof::event::{self as log, EventBody, Provenance, Reason, SignalKind};

/// Why a message is not an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// A field is missing or out of bounds.
    #[error("the event's `{0}` is malformed")]
    Malformed(&'static str),
    /// A kind that this version does not know.
    #[error("an event of a kind that this version does not know")]
    Unknown,
}

/// Where an event stands.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Its id.
    pub event_id: EventId,
    /// Position in the log.
    pub position: u64,
    /// Version within the subject.
    pub version: u64,
    /// The ledger's time, milliseconds since the Unix epoch.
    pub recorded_at_ms: u64,
    /// When it was sealed, milliseconds since the Unix epoch.
    pub sealed_at_ms: u64,
}

/// The message of an event.
#[must_use]
pub fn encode(draft: &Draft, request_digest: &[u8]) -> EventBody {
    EventBody {
        about_ms: draft.about_ms,
        actor: Some(draft.actor.clone()),
        request_digest: request_digest.to_vec(),
        writer_signature: None,
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

/// The event of a message.
///
/// # Errors
/// Malformed, or of an unknown kind.
pub fn decode(place: Place, body: EventBody) -> Result<Recorded, CodecError> {
    Ok(Recorded {
        event_id: place.event_id,
        position: place.position,
        version: place.version,
        recorded_at_ms: place.recorded_at_ms,
        sealed_at_ms: place.sealed_at_ms,
        about_ms: body.about_ms,
        actor: body.actor.ok_or(CodecError::Malformed("actor"))?,
        request_digest: body.request_digest,
        event: decode_event(body.event.ok_or(CodecError::Unknown)?)?,
    })
}

fn encode_event(event: &Event) -> Body {
    let bytes = |id: &EventId| id.0.to_vec();
    match event {
        Event::AttributeRecorded(attribute) => {
            Body::AttributeRecorded(log::AttributeRecorded { attribute: Some(encode_attribute(attribute)) })
        }
        Event::AttributeCorrected { corrects, attribute } => {
            let attribute = Some(encode_attribute(attribute));
            Body::AttributeCorrected(log::AttributeCorrected { corrects: bytes(corrects), attribute })
        }
        Event::AttributeContested { attribute, reason } => {
            let (attribute, reason) = (bytes(attribute), reason.clone());
            Body::AttributeContested(log::AttributeContested { attribute, reason })
        }
        Event::AttributeConfirmed { attribute } => encode_confirmed(attribute),
        Event::AttributeRemoved { attribute, reason } => {
            let (attribute, reason) = (bytes(attribute), reason.clone());
            Body::AttributeRemoved(log::AttributeRemoved { attribute, reason })
        }
        Event::ConsentRequested(terms) => {
            Body::ConsentRequested(log::ConsentRequested { terms: Some(terms.clone()) })
        }
        Event::Consent { decision, terms } => encode_consent(*decision, terms),
        Event::Signal { kind, purposes, lifted, interaction } => {
            encode_signal(*kind, purposes, *lifted, interaction)
        }
        Event::SubjectDescribed(said) => Body::SubjectDescribed(said.clone()),
        Event::GrantIssued(grant) => Body::GrantIssued(grant.clone()),
        Event::GrantUsed(used) => Body::GrantUsed(used.clone()),
        Event::GrantGivenAgain(again) => Body::GrantGivenAgain(again.clone()),
        Event::PersonalBoundsSet(bounds) => Body::PersonalBoundsSet(bounds.clone()),
        Event::RecordingRefused(refused) => Body::RecordingRefused(refused.clone()),
        Event::GrantRevoked { grant, reason, cause, grant_id, recipient, source } => {
            encode_revoked((grant, *reason), (cause.as_ref(), source.as_ref()), grant_id, recipient)
        }
        Event::RevocationsPending { left } => encode_pending(*left),
        Event::RecipientAcknowledged(done) => Body::RecipientAcknowledged(done.clone()),
        Event::ErasureRequested(request) => Body::ErasureRequested(request.clone()),
        Event::AccessProvided(access) => Body::AccessProvided(access.clone()),
        Event::ErasureCompleted(done) => Body::ErasureCompleted(done.clone()),
        Event::AttributeExpired { attribute, by_retention } => encode_expired(attribute, *by_retention),
        Event::ConsentExpired { consent } => {
            Body::ConsentExpired(log::ConsentExpired { consent: bytes(consent) })
        }
        Event::ArtifactRegistered(event) => Body::ArtifactRegistered(event.clone()),
        Event::ArtifactInvalidated(event) => Body::ArtifactInvalidated(event.clone()),
        Event::RequestSubmitted(event) => Body::RequestSubmitted(event.clone()),
        Event::RequestDecided(event) => Body::RequestDecided(event.clone()),
        Event::RequestExtended(event) => Body::RequestExtended(event.clone()),
        Event::HoldPlaced(event) => Body::HoldPlaced(event.clone()),
        Event::HoldLifted(event) => Body::HoldLifted(event.clone()),
        Event::ErasureRefused(event) => Body::ErasureRefused(event.clone()),
        Event::RetentionDefined(event) => Body::RetentionDefined(event.clone()),
        Event::BoundsPublished(bounds) => Body::BoundsPublished(bounds.clone()),
        Event::PurposeDefined(purpose) => Body::PurposeDefined(purpose.clone()),
        Event::CategoryDefined(category) => Body::CategoryDefined(category.clone()),
        Event::NoticePublished(notice) => Body::NoticePublished(notice.clone()),
        Event::AuditExported(export) => Body::AuditExported(export.clone()),
        Event::RecordViewed(view) => Body::RecordViewed(view.clone()),
        Event::LogOpened(opened) => Body::LogOpened(opened.clone()),
        Event::BackupRestored(restored) => Body::BackupRestored(restored.clone()),
        Event::RestoreConfirmed(confirmed) => Body::RestoreConfirmed(confirmed.clone()),
        Event::ClockAccepted(accepted) => Body::ClockAccepted(*accepted),
        Event::LogKeyRotated(rotated) => Body::LogKeyRotated(rotated.clone()),
        Event::WitnessAdded(added) => Body::WitnessAdded(added.clone()),
        Event::WitnessRemoved(removed) => Body::WitnessRemoved(removed.clone()),
        Event::FiguresReported(figures) => Body::FiguresReported(figures.clone()),
    }
}

fn encode_confirmed(attribute: &EventId) -> Body {
    Body::AttributeConfirmed(log::AttributeConfirmed { attribute: attribute.0.to_vec() })
}

fn encode_pending(left: u32) -> Body {
    Body::RevocationsPending(log::RevocationsPending { left })
}

fn encode_expired(attribute: &EventId, by_retention: bool) -> Body {
    Body::AttributeExpired(log::AttributeExpired { attribute: attribute.0.to_vec(), by_retention })
}

fn encode_revoked(
    (grant, reason): (&EventId, Reason),
    (cause, source): (Option<&EventId>, Option<&EventId>),
    grant_id: &str,
    recipient: &str,
) -> Body {
    Body::GrantRevoked(log::GrantRevoked {
        grant: grant.0.to_vec(),
        reason: reason.into(),
        cause: cause.map(|cause| cause.0.to_vec()).unwrap_or_default(),
        grant_id: grant_id.to_owned(),
        recipient: recipient.to_owned(),
        source: source.map(|source| source.0.to_vec()).unwrap_or_default(),
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
    let (kind, purposes, interaction) = (kind.into(), purposes.to_vec(), interaction.to_owned());
    if lifted {
        Body::SignalLifted(log::SignalLifted { kind, purposes, interaction })
    } else {
        Body::SignalRecorded(log::SignalRecorded { kind, purposes, interaction })
    }
}

fn encode_attribute(attribute: &Attribute) -> log::Attribute {
    log::Attribute {
        key: attribute.key.clone(),
        value_json: attribute.value.expose().to_owned(),
        category: attribute.category.clone(),
        provenance: attribute.provenance.into(),
        evidence: attribute.evidence.clone(),
        derived_from: attribute.derived_from.iter().map(|id| id.0.to_vec()).collect(),
        confidence: attribute.confidence,
        model: attribute.model.clone(),
        observed_at_ms: attribute.observed_at_ms,
        expires_at_ms: attribute.expires_at_ms,
        from_replies: attribute.from_replies.clone(),
    }
}

fn decode_event(body: Body) -> Result<Event, CodecError> {
    Ok(match body {
        Body::AttributeRecorded(event) => Event::AttributeRecorded(decode_attribute(event.attribute)?),
        Body::AttributeCorrected(event) => Event::AttributeCorrected {
            corrects: id(&event.corrects, "corrects")?,
            attribute: decode_attribute(event.attribute)?,
        },
        Body::AttributeContested(event) => {
            Event::AttributeContested { attribute: id(&event.attribute, "attribute")?, reason: event.reason }
        }
        Body::AttributeConfirmed(event) => {
            Event::AttributeConfirmed { attribute: id(&event.attribute, "attribute")? }
        }
        Body::AttributeRemoved(event) => {
            Event::AttributeRemoved { attribute: id(&event.attribute, "attribute")?, reason: event.reason }
        }
        Body::ConsentRequested(event) => Event::ConsentRequested(terms(event.terms)?),
        Body::ConsentGiven(event) => consent(Decision::Given, event.terms)?,
        Body::ConsentRefused(event) => consent(Decision::Refused, event.terms)?,
        Body::ConsentRenewed(event) => consent(Decision::Renewed, event.terms)?,
        Body::ConsentWithdrawn(event) => consent(Decision::Withdrawn, event.terms)?,
        Body::SignalRecorded(event) => signal(event.kind, event.purposes, false, event.interaction)?,
        Body::SignalLifted(event) => signal(event.kind, event.purposes, true, event.interaction)?,
        Body::SubjectDescribed(said) => Event::SubjectDescribed(said),
        Body::GrantIssued(grant) => Event::GrantIssued(grant),
        Body::GrantUsed(used) => Event::GrantUsed(used),
        Body::GrantGivenAgain(again) => Event::GrantGivenAgain(again),
        Body::GrantRevoked(event) => revoked(event)?,
        Body::RevocationsPending(event) => Event::RevocationsPending { left: event.left },
        Body::PersonalBoundsSet(bounds) => Event::PersonalBoundsSet(bounds),
        Body::RecordingRefused(refused) => Event::RecordingRefused(refused),
        Body::RecipientAcknowledged(done) => Event::RecipientAcknowledged(done),
        Body::ErasureRequested(request) => Event::ErasureRequested(request),
        Body::AccessProvided(access) => Event::AccessProvided(access),
        Body::ErasureCompleted(done) => Event::ErasureCompleted(done),
        Body::AttributeExpired(event) => expired(&event)?,
        Body::ConsentExpired(event) => Event::ConsentExpired { consent: id(&event.consent, "consent")? },
        Body::ArtifactRegistered(event) => Event::ArtifactRegistered(event),
        Body::ArtifactInvalidated(event) => Event::ArtifactInvalidated(event),
        Body::RequestSubmitted(event) => Event::RequestSubmitted(event),
        Body::RequestDecided(event) => Event::RequestDecided(event),
        Body::RequestExtended(event) => Event::RequestExtended(event),
        Body::HoldPlaced(event) => Event::HoldPlaced(event),
        Body::HoldLifted(event) => Event::HoldLifted(event),
        Body::ErasureRefused(event) => Event::ErasureRefused(event),
        Body::RetentionDefined(event) => Event::RetentionDefined(event),
        Body::BoundsPublished(bounds) => Event::BoundsPublished(bounds),
        Body::PurposeDefined(purpose) => Event::PurposeDefined(purpose),
        Body::CategoryDefined(category) => Event::CategoryDefined(category),
        Body::NoticePublished(notice) => Event::NoticePublished(notice),
        Body::AuditExported(export) => Event::AuditExported(export),
        Body::RecordViewed(view) => Event::RecordViewed(view),
        Body::LogOpened(opened) => Event::LogOpened(opened),
        Body::BackupRestored(restored) => Event::BackupRestored(restored),
        Body::RestoreConfirmed(confirmed) => Event::RestoreConfirmed(confirmed),
        Body::ClockAccepted(accepted) => Event::ClockAccepted(accepted),
        Body::LogKeyRotated(rotated) => Event::LogKeyRotated(rotated),
        Body::WitnessAdded(added) => Event::WitnessAdded(added),
        Body::WitnessRemoved(removed) => Event::WitnessRemoved(removed),
        Body::FiguresReported(figures) => Event::FiguresReported(figures),
    })
}

fn revoked(event: log::GrantRevoked) -> Result<Event, CodecError> {
    let maybe = |bytes: &[u8], what| if bytes.is_empty() { Ok(None) } else { id(bytes, what).map(Some) };
    Ok(Event::GrantRevoked {
        grant: id(&event.grant, "grant")?,
        reason: Reason::try_from(event.reason).map_err(|_| CodecError::Malformed("reason"))?,
        cause: maybe(&event.cause, "cause")?,
        source: maybe(&event.source, "source")?,
        grant_id: event.grant_id,
        recipient: event.recipient,
    })
}

fn expired(event: &log::AttributeExpired) -> Result<Event, CodecError> {
    let attribute = id(&event.attribute, "attribute")?;
    Ok(Event::AttributeExpired { attribute, by_retention: event.by_retention })
}

fn id(bytes: &[u8], field: &'static str) -> Result<EventId, CodecError> {
    EventId::from_slice(bytes).ok_or(CodecError::Malformed(field))
}

fn terms(terms: Option<Terms>) -> Result<Terms, CodecError> {
    terms.ok_or(CodecError::Malformed("terms"))
}

fn consent(decision: Decision, found: Option<Terms>) -> Result<Event, CodecError> {
    Ok(Event::Consent { decision, terms: terms(found)? })
}

fn signal(kind: i32, purposes: Vec<String>, lifted: bool, interaction: String) -> Result<Event, CodecError> {
    let kind = SignalKind::try_from(kind).map_err(|_| CodecError::Malformed("kind"))?;
    Ok(Event::Signal { kind, purposes, lifted, interaction })
}

fn decode_attribute(attribute: Option<log::Attribute>) -> Result<Attribute, CodecError> {
    let attribute = attribute.ok_or(CodecError::Malformed("attribute"))?;
    let provenance =
        Provenance::try_from(attribute.provenance).map_err(|_| CodecError::Malformed("provenance"))?;
    let derived_from = attribute.derived_from.iter().map(|source| id(source, "derived_from"));
    Ok(Attribute {
        derived_from: derived_from.collect::<Result<_, _>>()?,
        key: attribute.key,
        value: Secret::new(attribute.value_json),
        category: attribute.category,
        provenance,
        evidence: attribute.evidence,
        confidence: attribute.confidence,
        model: attribute.model,
        observed_at_ms: attribute.observed_at_ms,
        expires_at_ms: attribute.expires_at_ms,
        from_replies: attribute.from_replies,
    })
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
