//! Writes the history in a package: every event of the person as the log has it, each with an explanation in
//! words.

use crate::app::error::{AppError, Cause};
use crate::app::rights::export_subject::records::by;
use crate::domain::attribute::Attribute;
use crate::domain::consent::{Decision, Terms};
use crate::domain::event::{
    Draft, Event, GrantIssued, Provenance, Recorded, RequestKind, RequestOutcome, Role, SignalKind, codec,
};
use crate::domain::ids::EventId;
use crate::domain::stopped_purposes::{OPT_OUT, covered};
use crate::domain::vocabulary::Vocabulary;
use crate::domain::wording;
use crate::package::History;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// Fields of events whose values are event ids.
const IDS: [&str; 14] = [
    "attribute",
    "cause",
    "consent",
    "corrects",
    "decidedByEvent",
    "derivedFrom",
    "grant",
    "request",
    "shapedBy",
    "artifact",
    "hold",
    "holds",
    "source",
    "sources",
];

/// The item of the package's `history` for one event.
pub(crate) fn history(event: &Recorded, vocabulary: &Vocabulary) -> Result<History, AppError> {
    let actor = event.actor.clone();
    let draft = Draft { about_ms: event.about_ms, actor, event: event.event.clone() };
    let malformed =
        |_| AppError::Internal(Cause::Inconsistent("an event does not match its protobuf descriptor"));
    let body = sayso_proof::json::to_json(&codec::encode(&draft, &[])).map_err(malformed)?;
    let Value::Object(mut fields) = body else { return Err(malformed(String::new())) };
    // The item has separate fields for actor and time, without names of staff.
    for duplicate in ["actor", "aboutMs", "requestDigest", "writerSignature"] {
        fields.remove(duplicate);
    }
    let (kind, mut of) = fields.into_iter().next().unwrap_or_default();
    ids_as_uuids(&mut of);
    let what = snake_case(&kind);
    Ok(History {
        event_id: event.event_id.to_string(),
        position: event.position,
        version: event.version,
        recorded_at: wording::time(event.recorded_at_ms),
        about: wording::time(event.about_ms),
        by: by(&event.actor),
        explanation: in_words(&event.event, vocabulary).unwrap_or_else(|| what.replace('_', " ")),
        what,
        event: of,
    })
}

fn snake_case(camel: &str) -> String {
    let mut out = String::with_capacity(camel.len().saturating_add(4));
    for c in camel.chars() {
        if c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// Replaces event ids in base64 by UUIDs. Proto3 JSON writes bytes in base64, but the other records of the
/// package have UUIDs.
fn ids_as_uuids(value: &mut Value) {
    fn one(value: &mut Value) {
        let bytes = value.as_str().and_then(|text| STANDARD.decode(text).ok());
        if let Some(id) = bytes.and_then(|bytes| EventId::from_slice(&bytes)) {
            *value = id.to_string().into();
        }
    }
    match value {
        Value::Object(fields) => {
            for (name, value) in fields.iter_mut() {
                match value {
                    Value::String(_) if IDS.contains(&name.as_str()) => one(value),
                    Value::Array(items) if IDS.contains(&name.as_str()) => items.iter_mut().for_each(one),
                    _ => ids_as_uuids(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(ids_as_uuids),
        _ => {}
    }
}

/// The provenance of a recorded attribute. If the ledger changed it to inferred, also the provenance that the
/// recorder stated.
fn stated_provenance(of: &Attribute) -> String {
    let provenance = wording::provenance(of.provenance);
    match of.claimed_provenance {
        Provenance::Unspecified => provenance.to_owned(),
        claimed => format!(
            "{provenance} from details of a special category, although it was stated as {}",
            wording::provenance(claimed)
        ),
    }
}

/// What happened to an attribute, in words; none for other events.
fn attribute_in_words(event: &Event) -> Option<String> {
    Some(match event {
        Event::AttributeRecorded(of) => {
            format!("“{}” was recorded ({})", of.key, stated_provenance(of))
        }
        Event::EarlierAttributeRecorded(of) => {
            format!(
                "“{}” was recorded ({}), but observed before the detail that is current; it is not used",
                of.key,
                stated_provenance(of)
            )
        }
        Event::AttributeCorrected { attribute, .. } => format!("“{}” was corrected", attribute.key),
        Event::AttributeContested { reason, .. } => with_reason("you said that a detail is wrong", reason),
        Event::AttributeConfirmed { .. } => "you said that a detail is right".into(),
        Event::AttributeSourcesAdded { .. } => {
            "a detail turned out to be inferred from details of a special category, through a reply that was \
             reported later"
                .into()
        }
        Event::AttributeRemoved { reason, .. } => with_reason("a detail was removed", reason),
        _ => return None,
    })
}

/// What happened, in words; none for a kind of event that has no text here.
fn in_words(event: &Event, vocabulary: &Vocabulary) -> Option<String> {
    if let Some(words) = attribute_in_words(event) {
        return Some(words);
    }
    Some(match event {
        Event::ConsentRequested(terms) => format!("you were asked for {}", purposes(&terms.purposes)),
        Event::Consent { decision, terms } => decided(*decision, terms),
        Event::Signal { kind, purposes: named, lifted, .. } => {
            let what = match kind {
                SignalKind::Objection => "an objection",
                SignalKind::Restriction => "a restriction",
                SignalKind::OptOut => "an opt-out of sale, sharing and advertising",
                SignalKind::OptOutAutomated => "an opt-out of automated decisions",
                SignalKind::LimitSensitive => "a limit on sensitive data",
                SignalKind::Pause => "a pause",
                SignalKind::Unspecified => "a signal",
            };
            let verb = if *lifted { "was lifted" } else { "was recorded" };
            let wins = match kind {
                SignalKind::OptOut if *lifted => "",
                SignalKind::OptOut if covered(&OPT_OUT, named, vocabulary).is_empty() => {
                    "; it stops nothing there, because none of these is sale, sharing or advertising"
                }
                SignalKind::OptOut => {
                    "; it overrides every earlier consent to sale, sharing and advertising there"
                }
                _ => "",
            };
            format!("{what} {verb} for {}{wins}", purposes(named))
        }
        Event::GrantIssued(of) => granted(of),
        Event::GrantUsed(of) => {
            format!("a reply (“{}”) was reported as shaped by {}", of.reply, details(of.shaped_by.len()))
        }
        Event::GrantGivenAgain(of) => {
            let times = if of.count == 1 { "once".to_owned() } else { format!("{} times", of.count) };
            format!(
                "“{}” repeated its request {times} in the same conversation, with the same result",
                of.recipient
            )
        }
        Event::GrantRevoked { recipient, reason, .. } => {
            format!("a permission of “{recipient}” was revoked: {}", wording::reason_to_subject(*reason))
        }
        Event::ErasureRequested(_) => "an erasure was requested".into(),
        Event::AttributeExpired { by_retention: true, .. } => {
            "a detail reached the end of its retention".into()
        }
        Event::AttributeExpired { .. } => "a detail expired".into(),
        Event::ConsentExpired { .. } => "a consent of yours ended".into(),
        Event::RevocationsPending { left: 0 } => {
            "all permissions that your decision ended are recorded".into()
        }
        Event::RevocationsPending { left } => {
            format!("your decision ended {left} more permissions; they follow")
        }
        Event::ArtifactRegistered(of) => {
            format!("“{}” built something from {} (“{}”)", of.recipient, details(of.sources.len()), of.name)
        }
        Event::ArtifactInvalidated(of) => format!(
            "“{}” was asked to delete something that it had built: {}",
            of.recipient,
            wording::reason_to_subject(of.reason)
        ),
        other => return about_rights(other),
    })
}

fn granted(of: &GrantIssued) -> String {
    let chosen = of.ranking.map(|ranking| {
        format!(", chosen from the {} that it may use by how well they fit a text", ranking.permitted)
    });
    let (allowed, chosen) = (details(of.allowed.len()), chosen.unwrap_or_default());
    format!("“{}” asked what it may use for {}, and was given {allowed}{chosen}", of.recipient, of.purpose)
}

/// What happened to a request, a hold or the person's record as a whole, in words; none for a kind of event
/// that has no text here.
fn about_rights(event: &Event) -> Option<String> {
    Some(match event {
        Event::RequestSubmitted(of) => format!("your request was submitted: {}", request(of.kind)),
        Event::RequestExtended(of) => with_reason("the time to answer your request was extended", &of.reason),
        Event::RequestWithdrawn(_) => "you withdrew your request for erasure".into(),
        Event::RecipientsKept(_) => {
            "the record of some disclosures ended; the list of who received your data is kept".into()
        }
        Event::RequestDecided(of) => {
            let outcome = match of.outcome {
                RequestOutcome::Accepted => "accepted",
                RequestOutcome::Completed => "completed",
                RequestOutcome::Partly => "completed in part",
                RequestOutcome::Refused => "refused",
                RequestOutcome::Unspecified => "decided",
            };
            with_reason(&format!("your request was {outcome} ({})", request(of.kind)), &of.reason)
        }
        Event::ErasureRefused(of) if of.whole => {
            "an erasure was refused on a legal ground; the data is kept for that ground only, and not used"
                .into()
        }
        Event::ErasureRefused(_) => "a part of your data was kept from an erasure, on a legal ground".into(),
        Event::HoldPlaced(of) => with_reason("your data was put on hold for a legal reason", &of.text),
        Event::HoldLifted(of) => with_reason("a hold on your data was lifted", &of.reason),
        Event::SubjectDescribed(_) => "your age or place was recorded, as far as rules need it".into(),
        Event::PersonalBoundsSet(_) => "you set your own rules".into(),
        Event::RecordingRefused(of) => {
            let refused = details(of.count as usize);
            format!(
                "someone tried to record {refused} in the category {}, and a rule forbade it",
                of.category
            )
        }
        Event::RecordViewed(of) if matches!(of.role, Role::Service | Role::Channel) => {
            format!("“{}” read what concerns it ({})", of.name, of.method)
        }
        Event::RecordViewed(of) => format!("the controller's staff looked at your record ({})", of.method),
        Event::AccessProvided(_) => "a package like this one was made".into(),
        _ => return None,
    })
}

fn request(kind: RequestKind) -> &'static str {
    match kind {
        RequestKind::Erasure => "erasure",
        RequestKind::Access => "access",
        RequestKind::Portability => "portability",
        RequestKind::Rectification => "rectification",
        RequestKind::Restriction => "restriction",
        RequestKind::Objection => "objection",
        RequestKind::Complaint => "complaint",
        RequestKind::DecisionAccess => "access to an automated decision",
        RequestKind::DecisionAppeal => "appeal of an automated decision",
        RequestKind::Unspecified => "unspecified",
    }
}

fn details(count: usize) -> String {
    if count == 1 { "1 detail".to_owned() } else { format!("{count} details") }
}

fn with_reason(what: &str, reason: &str) -> String {
    if reason.is_empty() { what.to_owned() } else { format!("{what}: {reason}") }
}

fn purposes(named: &[String]) -> String {
    if named.is_empty() { "everything".to_owned() } else { named.join(", ") }
}

fn decided(decision: Decision, terms: &Terms) -> String {
    let who = if terms.guardian { "your guardian" } else { "you" };
    let what = match decision {
        Decision::Given => "said yes to",
        Decision::Refused => "said no to",
        Decision::Renewed => "said yes again to",
        Decision::Withdrawn => "withdrew the yes to",
    };
    format!("{who} {what} {}", purposes(&terms.purposes))
}
