//! Conversions of the messages about requests of data subjects, holds and erasure certificates.

use crate::api::convert::times::time;
use crate::app;
use crate::domain::erased_copies::{CopyKind, ErasedCopy};
use crate::domain::event::{Event, PriorRecipient, Role, codec};
use crate::domain::request::{RequestOutcome, RequestRecord};
use crate::domain::rights::Hold;
use crate::proto;
use prost_reflect::DescriptorPool;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// The certificate of an erasure.
#[must_use]
pub fn certificate(of: app::Certificate) -> proto::ErasureCertificate {
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let recipients = of.completed.recipients.iter().map(|recipient| proto::PriorRecipientStatus {
        name: recipient.name.clone(),
        grants: number(recipient.grant_ids.len()),
        acknowledged: of.has_acknowledged(recipient),
        artifacts: number(recipient.artifact_ids.len()),
        role: role_of(recipient).into(),
        outcome: of.outcome_of(recipient).0.into(),
        reason: of.outcome_of(recipient).1.to_owned(),
        has_evidence: of.outcome_of(recipient).2,
    });
    let completed = codec::message(&of.completed);
    proto::ErasureCertificate {
        request_id: of.request.to_string(),
        scope: of.completed.scope.into(),
        requested_at: Some(time(of.requested_at_ms)),
        completed_at: Some(time(of.completed_at_ms)),
        position: of.position,
        entries_discarded: sayso_proof::certificate::entries(&completed),
        recipients: recipients.collect(),
        erased_by_category: of.erased_by_category.into_iter().collect(),
        proof: of.proof,
        kept: completed.kept,
        document: of.document,
        copies: of.copies.map(|copies| codec::message(&copies)),
    }
}

/// The role of a recipient. Most are services, and events do not say so.
fn role_of(recipient: &PriorRecipient) -> Role {
    match recipient.role {
        Role::Unspecified => Role::Service,
        role => role,
    }
}

/// The name of each kind of event: the name of its field in `EventBody`, by the field's number.
static KIND_NAMES: LazyLock<BTreeMap<u32, String>> = LazyLock::new(|| {
    let pool = DescriptorPool::decode(proto::DESCRIPTORS).unwrap_or_default();
    let body = pool.get_message_by_name("sayso.v1.EventBody");
    let fields = body.iter().flat_map(|body| body.fields());
    fields.map(|field| (field.number(), field.name().to_owned())).collect()
});

/// The most copies in an answer.
const COPIES_SHOWN_MAX: usize = 256;

/// Entries that hold an erased value, or nearly so.
#[must_use]
pub fn copies(of: Vec<ErasedCopy>) -> Vec<proto::ErasedCopy> {
    let shown = of.into_iter().take(COPIES_SHOWN_MAX);
    let shown = shown.map(|copy| proto::ErasedCopy {
        event_id: copy.event_id.to_string(),
        kind: match copy.kind {
            CopyKind::Value => proto::CopyKind::Value,
            CopyKind::Evidence => proto::CopyKind::Evidence,
            CopyKind::Reason => proto::CopyKind::Reason,
            CopyKind::Artifact => proto::CopyKind::Artifact,
            CopyKind::Request => proto::CopyKind::Request,
        }
        .into(),
        name: copy.name,
        category: copy.category,
        recorded_at: Some(time(copy.recorded_at_ms)),
    });
    shown.collect()
}

/// What an erasure would do, without the entries; and the entries, each with its version.
#[must_use]
pub fn preview(
    of: app::ErasurePreview,
) -> (proto::PreviewErasureResponse, Vec<(u64, proto::PreviewedEntry)>) {
    let app::ErasurePreview { selection, erased, copies: found, is_refused } = of;
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let recipients = selection.recipients.iter().map(|recipient| proto::PriorRecipientStatus {
        name: recipient.name.clone(),
        grants: number(recipient.grant_ids.len()),
        artifacts: number(recipient.artifact_ids.len()),
        role: role_of(recipient).into(),
        ..proto::PriorRecipientStatus::default()
    });
    let entries = erased.iter().map(|event| {
        let attribute = match &event.event {
            Event::AttributeRecorded(attribute)
            | Event::EarlierAttributeRecorded(attribute)
            | Event::AttributeCorrected { attribute, .. } => Some(attribute),
            _ => None,
        };
        let entry = proto::PreviewedEntry {
            event_id: event.event_id.to_string(),
            kind: KIND_NAMES.get(&codec::kind_of(&event.event)).cloned().unwrap_or_default(),
            key: attribute.map(|attribute| attribute.key.clone()).unwrap_or_default(),
            category: attribute.map(|attribute| attribute.category.clone()).unwrap_or_default(),
            recorded_at: Some(time(event.recorded_at_ms)),
            is_dependent: selection.dependents.contains(&event.version),
        };
        (event.version, entry)
    });
    let entries: Vec<_> = entries.collect();
    let answer = proto::PreviewErasureResponse {
        entries: Vec::new(),
        next_page_token: String::new(),
        entries_erased: entries.len() as u64,
        recipients: recipients.collect(),
        erased_by_category: selection.categories.into_iter().collect(),
        kept: selection.kept.iter().map(codec::message).collect(),
        is_refused,
        copies_found: Some(codec::message(&found.counts())),
        copies: copies(found.left),
    };
    (answer, entries)
}

/// A request, its state, and the changes that carried it out.
#[must_use]
pub fn subject_request(of: RequestRecord, changes: Vec<app::RequestChange>) -> proto::SubjectRequest {
    let state = match of.decided.as_ref().map(|decided| decided.event.outcome) {
        _ if of.withdrawn_at_ms.is_some() => proto::RequestState::Withdrawn,
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
    proto::SubjectRequest {
        request_id: of.id.to_string(),
        kind: of.kind.into(),
        state: state.into(),
        subject: submitted.subject,
        scope: scope.into(),
        category: submitted.category,
        keys: submitted.keys,
        purposes: submitted.purposes,
        details: submitted.details,
        jurisdiction: submitted.jurisdiction.into(),
        submitted_at: Some(time(of.submitted_at_ms)),
        due_at: (of.due_at_ms > 0).then(|| time(of.due_at_ms)),
        extended_because: of.extended_because.unwrap_or_default(),
        decided_at: decided.map(|decided| time(decided.at_ms)),
        decided_by: decided.map(|decided| codec::message(&decided.by)),
        ground: decided.map(|decided| decided.event.ground).unwrap_or_default().into(),
        reason: decided.map(|decided| decided.event.reason.clone()).unwrap_or_default(),
        changes: changes.into_iter().map(change).collect(),
        follows_request_id: submitted.follows.map(|id| id.to_string()).unwrap_or_default(),
    }
}

fn change(of: app::RequestChange) -> proto::RequestChange {
    let kind = match of.kind {
        app::ChangeKind::Corrected => proto::ChangeKind::Corrected,
        app::ChangeKind::Recorded => proto::ChangeKind::Recorded,
        app::ChangeKind::Removed => proto::ChangeKind::Removed,
    };
    proto::RequestChange {
        event_id: of.event_id.to_string(),
        key: of.key,
        kind: kind.into(),
        recorded_at: Some(time(of.recorded_at_ms)),
    }
}

/// A hold.
#[must_use]
pub fn hold(of: Hold) -> proto::Hold {
    proto::Hold {
        hold_id: of.id.to_string(),
        ground: of.placed.ground.into(),
        code: of.placed.code,
        text: of.placed.text,
        categories: of.placed.categories,
        purposes: of.placed.purposes,
        placed_at: Some(time(of.placed_at_ms)),
        placed_by: Some(codec::message(&of.by)),
    }
}
