//! Between the wire's messages and the application's types.

use super::status;
use crate::app::{self, Caller, Moment, NewAttributes};
use crate::domain::attribute::{Attribute, Secret};
use crate::domain::consent::Decision;
use crate::domain::current_attribute::CurrentAttribute;
use crate::domain::ids::{EventId, SubjectId};
use crate::domain::request::{RequestOutcome, RequestRecord};
use crate::domain::rights::Hold;
use crate::domain::wording;
use crate::proto;
use prost::Message;
use prost_types::Timestamp;
use sayso_proof::event::{Provenance, Reason, Tier, WithheldClass};
use std::collections::BTreeSet;
use tonic::Status;

/// Milliseconds since the Unix epoch as the wire's time.
#[must_use]
pub fn time(ms: u64) -> Timestamp {
    let seconds = i64::try_from(ms / 1000).unwrap_or(i64::MAX);
    let nanos = i32::try_from(ms % 1000 * 1_000_000).unwrap_or_default();
    Timestamp { seconds, nanos }
}

/// The wire's time as milliseconds since the Unix epoch.
///
/// # Errors
/// It is before 1970 or malformed.
pub fn millis(time: &Timestamp, field: &str) -> Result<u64, Status> {
    let seconds = u64::try_from(time.seconds);
    let nanos = u64::try_from(time.nanos).ok().filter(|nanos| *nanos < 1_000_000_000);
    match (seconds, nanos) {
        (Ok(seconds), Some(nanos)) => Ok(seconds.saturating_mul(1000).saturating_add(nanos / 1_000_000)),
        _ => Err(status::invalid(field, "must be a time from 1970 on")),
    }
}

/// As [`millis`], where there may be none.
///
/// # Errors
/// As [`millis`].
pub fn maybe_millis(time: Option<&Timestamp>, field: &str) -> Result<Option<u64>, Status> {
    time.map(|time| millis(time, field)).transpose()
}

/// The options of a write, with the request's own encoding: what a reused key is told apart by.
///
/// # Errors
/// The time is malformed.
pub fn options<T: Message>(
    options: Option<&proto::WriteOptions>,
    request: &T,
) -> Result<app::WriteOptions, Status> {
    let Some(options) = options else { return Ok(app::WriteOptions::default()) };
    let needs_digest = !options.idempotency_key.is_empty();
    Ok(app::WriteOptions {
        idempotency_key: options.idempotency_key.clone(),
        expected_version: options.expected_version,
        proofs: options.proofs,
        about_ms: maybe_millis(options.about.as_ref(), "options.about")?,
        request: if needs_digest { request.encode_to_vec() } else { Vec::new() },
    })
}

/// As of when.
///
/// # Errors
/// The time is malformed.
pub fn moment(as_of: Option<&proto::AsOf>) -> Result<Moment, Status> {
    match as_of.and_then(|as_of| as_of.moment.as_ref()) {
        None => Ok(Moment::Now),
        Some(proto::as_of::Moment::Time(time)) => Ok(Moment::Time(millis(time, "as_of.time")?)),
        Some(proto::as_of::Moment::Version(version)) => Ok(Moment::Version(*version)),
    }
}

/// Attributes as the application takes them.
///
/// # Errors
/// An id or a time is malformed, or a provenance unknown.
pub fn new_attributes(
    subject: SubjectId,
    inputs: Vec<proto::AttributeInput>,
    now_ms: u64,
) -> Result<NewAttributes, Status> {
    let numbered = inputs.into_iter().enumerate();
    let attributes =
        numbered.map(|(number, input)| attribute(input, &format!("attributes[{number}]"), now_ms));
    Ok(NewAttributes { subject, attributes: attributes.collect::<Result<_, Status>>()? })
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

/// A receipt for the wire. A service is not told what fell of others', nor how many events the person has.
#[must_use]
pub fn receipt(receipt: app::Receipt, caller: &Caller) -> proto::Receipt {
    let told = receipt.events.into_iter().filter(|event| {
        event.revoked_for.as_deref().is_none_or(|recipient| caller.sees_recipient(recipient))
    });
    let event = |event: app::EventReceipt| proto::EventReceipt {
        event_id: event.event_id.to_string(),
        position: event.position,
        subject_version: if caller.sees_others() { event.version } else { 0 },
        leaf_hash: event.leaf_hash.to_vec(),
        recorded_at: Some(time(event.recorded_at_ms)),
        proof: proof(event.proof.unwrap_or_default(), caller),
    };
    proto::Receipt {
        events: told.map(event).collect(),
        checkpoint: receipt.checkpoint,
        replayed: receipt.replayed,
    }
}

/// A proof for the wire. For a service without the entry, whose header says how many events the person had;
/// the entry's leaf hash stands in the receipt.
fn proof(text: String, caller: &Caller) -> String {
    if caller.sees_others() {
        return text;
    }
    let kept = text.split_inclusive('\n').filter(|line| !line.starts_with("extra "));
    kept.collect()
}

/// What a use would get, for the wire: for a service whether anything, and for which reasons not all.
#[must_use]
pub fn evaluation(of: &app::Evaluation, caller: &Caller) -> proto::EvaluateUseResponse {
    let gaps = of.unknown_subject.then_some(proto::Gap::UnknownSubject.into()).into_iter().collect();
    let any_allowed = !of.allowed.is_empty();
    if caller.sees_others() {
        return proto::EvaluateUseResponse {
            allowed: of.allowed.iter().map(allowed).collect(),
            withheld: of.withheld.iter().map(withheld).collect(),
            profile_version: of.profile_version,
            gaps,
            any_allowed,
        };
    }
    // A set: how many classes there are says something about the person.
    let reasons: BTreeSet<(i32, i32)> =
        of.withheld.iter().map(|class| (class.reason, class.decided_by)).collect();
    let reason = |(reason, tier): (i32, i32)| {
        let reason = Reason::try_from(reason).unwrap_or_default();
        proto::Withheld {
            reason: reason.into(),
            decided_by: Tier::try_from(tier).unwrap_or_default().into(),
            explanation: wording::reason(reason).into(),
            ..Default::default()
        }
    };
    let withheld = reasons.into_iter().map(reason).collect();
    proto::EvaluateUseResponse { withheld, gaps, any_allowed, ..Default::default() }
}

/// A held attribute for the wire.
#[must_use]
pub fn profile_attribute(held: &CurrentAttribute) -> proto::ProfileAttribute {
    let attribute = &held.attribute;
    proto::ProfileAttribute {
        event_id: held.event_id.to_string(),
        position: held.position,
        subject_version: held.version,
        recorded_at: Some(time(held.recorded_at_ms)),
        key: attribute.key.clone(),
        value_json: attribute.value.expose().to_owned(),
        category: attribute.category.clone(),
        provenance: attribute.provenance.into(),
        evidence: attribute.evidence.clone(),
        derived_from: attribute.derived_from.iter().map(EventId::to_string).collect(),
        confidence: attribute.confidence,
        model: attribute.model.clone(),
        observed_at: Some(time(attribute.observed_at_ms)),
        expires_at: attribute.expires_at_ms.map(time),
        contested: held.contested,
        confirmed: held.confirmed,
        recorded_by: Some(held.actor.clone()),
    }
}

/// An allowed attribute for the wire.
#[must_use]
pub fn allowed(allowed: &app::Allowed) -> proto::AllowedAttribute {
    let attribute = &allowed.held.attribute;
    proto::AllowedAttribute {
        event_id: allowed.held.event_id.to_string(),
        key: attribute.key.clone(),
        value_json: attribute.value.expose().to_owned(),
        category: attribute.category.clone(),
        provenance: attribute.provenance.into(),
        confidence: attribute.confidence,
        observed_at: Some(time(attribute.observed_at_ms)),
        consent_event_id: allowed.consent.to_string(),
    }
}

/// A withheld class for the wire, with its sentence.
#[must_use]
pub fn withheld(class: &WithheldClass) -> proto::Withheld {
    proto::Withheld {
        category: class.category.clone(),
        provenance: class.provenance,
        count: class.count,
        reason: Reason::try_from(class.reason).unwrap_or_default().into(),
        decided_by: Tier::try_from(class.decided_by).unwrap_or_default().into(),
        policy: class.policy.clone(),
        article: class.article.clone(),
        decided_by_event: EventId::from_slice(&class.decided_by_event)
            .map(|id| id.to_string())
            .unwrap_or_default(),
        explanation: wording::withheld(class),
        source_event_id: EventId::from_slice(&class.source).map(|id| id.to_string()).unwrap_or_default(),
    }
}

/// What the person decided, from the wire.
///
/// # Errors
/// None was named.
pub fn decision(decision: i32) -> Result<Decision, Status> {
    match proto::ConsentDecision::try_from(decision).unwrap_or_default() {
        proto::ConsentDecision::Given => Ok(Decision::Given),
        proto::ConsentDecision::Refused => Ok(Decision::Refused),
        proto::ConsentDecision::Renewed => Ok(Decision::Renewed),
        proto::ConsentDecision::Withdrawn => Ok(Decision::Withdrawn),
        proto::ConsentDecision::Unspecified => {
            Err(status::invalid("choices.decision", "must be given, refused, renewed or withdrawn"))
        }
    }
}

/// What the person decided, for the wire.
#[must_use]
pub fn decision_out(decision: Decision) -> proto::ConsentDecision {
    match decision {
        Decision::Given => proto::ConsentDecision::Given,
        Decision::Refused => proto::ConsentDecision::Refused,
        Decision::Renewed => proto::ConsentDecision::Renewed,
        Decision::Withdrawn => proto::ConsentDecision::Withdrawn,
    }
}

/// The notice that was served, from the wire.
#[must_use]
pub fn notice_served(notice: Option<proto::NoticeServed>) -> app::NoticeServed {
    let notice = notice.unwrap_or_default();
    app::NoticeServed {
        id: notice.id,
        version: notice.version,
        language: notice.language,
        digest: notice.digest,
    }
}

/// An event's body for the wire, as the log holds it.
#[must_use]
pub fn body(event: &crate::domain::event::Recorded) -> proto::EventBody {
    let draft = crate::domain::event::Draft {
        about_ms: event.about_ms,
        actor: event.actor.clone(),
        event: event.event.clone(),
    };
    crate::domain::codec::encode(&draft, &event.request_digest)
}

/// The lineage of a grant for the wire. A service had the values with the grant and gets them nowhere else.
#[must_use]
pub fn explanation(of: app::Explanation, caller: &Caller) -> proto::ExplainGrantResponse {
    let value = |held: &CurrentAttribute| match caller.sees_others() {
        true => held.attribute.value.expose().to_owned(),
        false => String::new(),
    };
    let allowed = of.allowed.iter().map(|allowed| proto::ExplainedAttribute {
        event_id: allowed.held.event_id.to_string(),
        key: allowed.held.attribute.key.clone(),
        category: allowed.held.attribute.category.clone(),
        value_json: value(&allowed.held),
        provenance: allowed.held.attribute.provenance.into(),
        evidence: allowed.held.attribute.evidence.clone(),
        recorded_at: Some(time(allowed.held.recorded_at_ms)),
        recorded_by: Some(allowed.held.actor.clone()),
        consent_event_id: allowed.consent.to_string(),
        since: allowed.since.clone(),
    });
    let consents = of.consents.into_iter().map(|consent| proto::ExplainedConsent {
        event_id: consent.event_id.to_string(),
        recorded_at: Some(time(consent.recorded_at_ms)),
        purposes: consent.terms.purposes,
        categories: consent.terms.categories,
        recipients: consent.terms.recipients,
        explicit: consent.terms.explicit,
        notice: consent.terms.notice,
        channel: consent.terms.channel,
        actor: Some(consent.actor),
        since: consent.since,
    });
    let uses = of.uses.into_iter().map(|used| proto::ExplainedUse {
        reply: used.reply,
        recorded_at: Some(time(used.recorded_at_ms)),
        count: used.count,
        shaped_by: used.shaped_by,
    });
    proto::ExplainGrantResponse {
        grant_id: of.id.to_string(),
        allowed: allowed.collect(),
        withheld: of.withheld.iter().map(withheld).collect(),
        consents: consents.collect(),
        uses: uses.collect(),
        issued_at: Some(time(of.issued_at_ms)),
        expires_at: Some(time(of.issued.expires_at_ms)),
        stands: of.standing.stands,
        reason: of.standing.reason.unwrap_or_default().into(),
        revoked_at: of.revoked_at_ms.map(time),
        recipient: of.issued.recipient,
        purpose: of.issued.purpose,
        interaction: of.issued.interaction,
        text: of.text,
        proof: proof(of.proof, caller),
    }
}

/// The certificate of an erasure for the wire.
#[must_use]
pub fn certificate(of: app::Certificate) -> proto::ErasureCertificate {
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let recipients = of.completed.recipients.iter().map(|recipient| proto::PriorRecipientStatus {
        name: recipient.name.clone(),
        grants: number(recipient.grant_ids.len()),
        acknowledged: of.acknowledged.contains(&recipient.name),
        artifacts: number(recipient.artifact_ids.len()),
    });
    proto::ErasureCertificate {
        request_id: of.request.to_string(),
        scope: of.completed.scope,
        requested_at: Some(time(of.completed.requested_at_ms)),
        completed_at: Some(time(of.completed_at_ms)),
        position: of.position,
        entries_discarded: sayso_proof::certificate::entries(&of.completed),
        recipients: recipients.collect(),
        erased_by_category: of.erased_by_category.into_iter().collect(),
        proof: of.proof,
        kept: of.completed.kept,
        document: of.document,
    }
}

/// A request for the wire.
#[must_use]
pub fn rights_request(of: RequestRecord) -> proto::RightsRequest {
    let state = match of.decided.as_ref().map(|decided| decided.event.outcome()) {
        None | Some(RequestOutcome::Unspecified) => proto::RequestState::Open,
        Some(RequestOutcome::Accepted) => proto::RequestState::Accepted,
        Some(RequestOutcome::Completed) => proto::RequestState::Completed,
        Some(RequestOutcome::Partly) => proto::RequestState::Partly,
        Some(RequestOutcome::Refused) => proto::RequestState::Refused,
    };
    let submitted = of.submitted.unwrap_or_default();
    let decided = of.decided.as_ref();
    let erasure = decided.and_then(|decided| decided.event.erasure.as_ref());
    let scope = erasure.map_or(submitted.scope, |erasure| erasure.scope);
    proto::RightsRequest {
        request_id: of.id.to_string(),
        kind: of.kind.into(),
        state: state.into(),
        subject: submitted.subject,
        scope,
        category: submitted.category,
        keys: submitted.keys,
        purposes: submitted.purposes,
        details: submitted.details,
        jurisdiction: submitted.jurisdiction,
        submitted_at: Some(time(of.submitted_at_ms)),
        due_at: (of.due_at_ms > 0).then(|| time(of.due_at_ms)),
        extended_because: of.extended_because.unwrap_or_default(),
        decided_at: decided.map(|decided| time(decided.at_ms)),
        decided_by: decided.map(|decided| decided.by.clone()),
        ground: decided.map(|decided| decided.event.ground).unwrap_or_default(),
        reason: decided.map(|decided| decided.event.reason.clone()).unwrap_or_default(),
    }
}

/// An artefact for the wire.
#[must_use]
pub fn artifact(of: app::ArtifactStanding) -> proto::Artifact {
    let app::ArtifactStanding { artifact, acknowledged, ended } = of;
    let sources = artifact.registered.sources.iter().filter_map(|id| EventId::from_slice(id));
    proto::Artifact {
        artifact_id: artifact.id.to_string(),
        sources: sources.map(|id| id.to_string()).collect(),
        recipient: artifact.registered.recipient,
        kind: artifact.registered.kind,
        name: artifact.registered.name,
        purpose: artifact.registered.purpose,
        registered_at: Some(time(artifact.registered_at_ms)),
        reason: ended.map(Into::into).unwrap_or_default(),
        expires_at: Some(artifact.registered.expires_at_ms).filter(|end| *end > 0).map(time),
        acknowledged,
    }
}

/// A hold for the wire.
#[must_use]
pub fn hold(of: Hold) -> proto::Hold {
    proto::Hold {
        hold_id: of.id.to_string(),
        ground: of.placed.ground,
        code: of.placed.code,
        text: of.placed.text,
        categories: of.placed.categories,
        placed_at: Some(time(of.placed_at_ms)),
        placed_by: Some(of.by),
    }
}

/// The wire's duration as milliseconds.
///
/// # Errors
/// It is negative or malformed.
pub fn duration_ms(duration: Option<&prost_types::Duration>, field: &str) -> Result<Option<u64>, Status> {
    let Some(duration) = duration else { return Ok(None) };
    let parts = u64::try_from(duration.seconds).ok().zip(u64::try_from(duration.nanos).ok());
    let millis = parts.map(|(seconds, nanos)| seconds.saturating_mul(1000).saturating_add(nanos / 1_000_000));
    millis.map(Some).ok_or_else(|| status::invalid(field, "must not be negative"))
}

/// Milliseconds as the wire's duration.
#[must_use]
pub fn duration(ms: u64) -> prost_types::Duration {
    let seconds = i64::try_from(ms / 1000).unwrap_or(i64::MAX);
    prost_types::Duration { seconds, nanos: i32::try_from(ms % 1000 * 1_000_000).unwrap_or_default() }
}
