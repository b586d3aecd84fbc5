//! Conversions of the messages in which recipients report what they did about erasures, and of the list of
//! recipients that have not reported.

use crate::api::convert::times::time;
use crate::api::status;
use crate::app;
use crate::domain::event::Role;
use crate::proto;
use ed25519_dalek::{Signature, VerifyingKey};
use tonic::Status;

/// A report of a recipient.
///
/// # Errors
/// A field is malformed.
pub fn report(request: proto::ReportErasureRequest) -> Result<app::ErasureReport, Status> {
    let (outcome, role) = (request.outcome(), request.recipient_role());
    if !matches!(role, Role::Unspecified | Role::Service | Role::Auditor) {
        return Err(status::invalid("recipient_role", "must be a service or an auditor"));
    }
    let recipient = match (request.recipient.is_empty(), role) {
        (true, Role::Unspecified) => None,
        (true, _) => return Err(status::invalid("recipient", "must be set if `recipient_role` is")),
        (false, role) => Some((role, request.recipient)),
    };
    Ok(app::ErasureReport {
        cursors: request.notices.iter().map(|notice| notice.cursor).collect(),
        recipient,
        outcome,
        reason: request.reason,
        evidence: request.evidence.map(|of| evidence(&of)).transpose()?,
        onward: request.onward,
    })
}

fn evidence(of: &proto::ErasureEvidence) -> Result<app::NewEvidence, Status> {
    if of.kind() == proto::EvidenceKind::Unspecified {
        return Err(status::invalid("evidence.kind", "must be statement or file"));
    }
    let bytes = |bytes: &[u8], field: &'static str| {
        <[u8; 32]>::try_from(bytes).map_err(|_| status::invalid(field, "must have 32 bytes"))
    };
    let salt = bytes(&of.salt, "evidence.salt")?;
    if salt.iter().all(|byte| *byte == salt[0]) {
        return Err(status::invalid("evidence.salt", "must be random"));
    }
    let signature = match (of.public_key.is_empty(), of.signature.is_empty()) {
        (true, true) => None,
        _ => {
            let key = bytes(&of.public_key, "evidence.public_key")?;
            let key = VerifyingKey::from_bytes(&key)
                .map_err(|_| status::invalid("evidence.public_key", "must be an Ed25519 key"))?;
            let signature = <[u8; 64]>::try_from(of.signature.as_slice())
                .map_err(|_| status::invalid("evidence.signature", "must have 64 bytes"))?;
            Some((key, Signature::from_bytes(&signature)))
        }
    };
    let digest = bytes(&of.sha256, "evidence.sha256")?;
    Ok(app::NewEvidence { kind: of.kind(), digest, salt, signature })
}

/// A recipient that has not answered.
#[must_use]
pub fn outstanding(of: app::OutstandingRecipient) -> proto::OutstandingErasure {
    let number = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    proto::OutstandingErasure {
        request_id: of.request.map(|request| request.to_string()).unwrap_or_default(),
        cursor: of.cursor,
        scope: of.scope.into(),
        completed_at: Some(time(of.completed_at_ms)),
        recipient: of.name,
        role: of.role.into(),
        due_at: Some(time(of.due_at_ms)),
        reminders: of.reminders,
        overdue_since: (of.escalated_at_ms > 0).then(|| time(of.escalated_at_ms)),
        grants: number(of.grants),
        artifacts: number(of.artifacts),
        named_by: of.named_by,
    }
}

/// The token of the page after this entry.
#[must_use]
pub fn token((position, hash): (u64, [u8; 16])) -> String {
    format!("{position}-{}", hex::encode(hash))
}

/// The entry after which a page begins.
///
/// # Errors
/// The token is not one of [`token`].
pub fn start(token: &str) -> Result<Option<(u64, [u8; 16])>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    let parse = || {
        let (position, hash) = token.split_once('-')?;
        let mut bytes = [0; 16];
        hex::decode_to_slice(hash, &mut bytes).ok()?;
        Some((position.parse().ok()?, bytes))
    };
    let problem = "must be the page token of the previous answer";
    parse().map(Some).ok_or_else(|| status::invalid("page_token", problem))
}
