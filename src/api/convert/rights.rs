//! Conversions of the messages about requests of data subjects, holds and erasure certificates.

use crate::api::convert::times::time;
use crate::app;
use crate::domain::event::{PriorRecipient, Role, codec};
use crate::domain::request::{RequestOutcome, RequestRecord};
use crate::domain::rights::Hold;
use crate::proto;

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
    }
}

/// The role of a recipient. Most are services, and events do not say so.
fn role_of(recipient: &PriorRecipient) -> Role {
    match recipient.role() {
        Role::Unspecified => Role::Service,
        role => role,
    }
}

/// A request, its state, and the changes that carried it out.
#[must_use]
pub fn rights_request(of: RequestRecord, changes: Vec<app::RequestChange>) -> proto::RightsRequest {
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
    proto::RightsRequest {
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
