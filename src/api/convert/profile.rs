//! Conversions of the messages about the attributes of a profile and about recorded events.

use crate::api::convert::times::{maybe_millis, time};
use crate::api::status;
use crate::app::NewAttributes;
use crate::domain::attribute::{Attribute, Secret};
use crate::domain::current_attribute::CurrentAttribute;
use crate::domain::embedding::Embedding;
use crate::domain::event::{Draft, Provenance, Recorded, codec};
use crate::domain::ids::{EventId, SubjectId};
use crate::proto;
use std::sync::Arc;
use tonic::Status;

/// Attributes to record. `now_ms` is the default time of observation.
///
/// # Errors
/// An id or a time is malformed.
pub fn new_attributes(
    subject: SubjectId,
    inputs: Vec<proto::AttributeInput>,
    now_ms: u64,
) -> Result<NewAttributes, Status> {
    let stated = (0..).zip(&inputs).filter(|(_, input)| input.observed_at.is_some());
    let stated = stated.map(|(number, _)| number).collect();
    let numbered = inputs.into_iter().enumerate();
    let attributes =
        numbered.map(|(number, input)| attribute(input, &format!("attributes[{number}]"), now_ms));
    Ok(NewAttributes { subject, attributes: attributes.collect::<Result<_, Status>>()?, stated })
}

fn attribute(
    input: proto::AttributeInput,
    at: &str,
    now_ms: u64,
) -> Result<(Attribute, Option<EventId>), Status> {
    let event = |id: &String, field: &str| {
        id.parse::<EventId>().map_err(|bad| status::invalid(&format!("{at}.{field}"), &bad.problem))
    };
    let sources = input.derived_from.iter().map(|id| event(id, "derived_from"));
    let corrects = if input.corrects.is_empty() { None } else { Some(event(&input.corrects, "corrects")?) };
    let observed = maybe_millis(input.observed_at.as_ref(), &format!("{at}.observed_at"))?;
    let attribute = Attribute {
        derived_from: sources.collect::<Result<_, Status>>()?,
        expires_at_ms: maybe_millis(input.expires_at.as_ref(), &format!("{at}.expires_at"))?,
        provenance: Provenance::try_from(input.provenance).unwrap_or_default(),
        claimed_provenance: Provenance::Unspecified,
        embedding: input.embedding.map(|vector| Arc::new(embedding(vector))),
        observed_at_ms: observed.unwrap_or(now_ms),
        key: input.key,
        value: Secret::new(input.value_json),
        category: input.category,
        evidence: input.evidence,
        confidence: input.confidence,
        model: input.model,
        from_replies: input.from_replies,
    };
    Ok((attribute, corrects))
}

/// A vector of a request.
#[must_use]
pub fn embedding(of: proto::EmbeddingInput) -> Embedding {
    Embedding { model: of.model, values: of.values }
}

/// An attribute of a profile.
#[must_use]
pub fn profile_attribute(current: &CurrentAttribute) -> proto::ProfileAttribute {
    let attribute = &current.attribute;
    proto::ProfileAttribute {
        event_id: current.event_id.to_string(),
        position: current.position,
        subject_version: current.version,
        recorded_at: Some(time(current.recorded_at_ms)),
        key: attribute.key.clone(),
        value_json: attribute.value.expose().to_owned(),
        category: attribute.category.clone(),
        provenance: attribute.provenance.into(),
        claimed_provenance: attribute.claimed_provenance.into(),
        evidence: attribute.evidence.clone(),
        derived_from: attribute.derived_from.iter().map(EventId::to_string).collect(),
        confidence: attribute.confidence,
        model: attribute.model.clone(),
        observed_at: Some(time(attribute.observed_at_ms)),
        expires_at: attribute.expires_at_ms.map(time),
        contested: current.contested,
        confirmed: current.confirmed,
        recorded_by: Some(codec::message(&current.actor)),
    }
}

/// The body of an event, as it is in the log.
#[must_use]
pub fn body(event: &Recorded) -> proto::EventBody {
    let draft = Draft { about_ms: event.about_ms, actor: event.actor.clone(), event: event.event.clone() };
    let body = codec::encode(&draft, &event.request_digest);
    proto::EventBody { idempotency_hash: event.request_key.to_body(), ..body }
}
