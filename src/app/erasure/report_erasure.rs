//! Records what a recipient did about an erasure (GDPR Art. 17(2), 19): that it deleted the data, or why
//! deleting it is impossible or disproportionate. A report can have evidence, and can name further recipients
//! to which the data was passed on.

use crate::app::caller::Caller;
use crate::app::erasure::Erasures;
use crate::app::error::AppError;
use crate::app::log::address::{address, address_of};
use crate::app::log::outstanding::{hash_of, role_in_event};
use crate::app::log::receipt::{Receipt, WriteOptions};
use crate::domain::attribute::is_text;
use crate::domain::event::{ErasureOutcome, Event, EvidenceKind, RecipientReported, Role, codec};
use crate::domain::names;
use ed25519_dalek::{Signature, VerifyingKey};
use sayso_proof::evidence;
use std::sync::Arc;

/// The most erasures in one report.
pub(crate) const ERASURES_MAX: usize = 256;
const NAME_BYTES_MAX: usize = 128;
const REASON_BYTES_MAX: usize = 512;
/// The most recipients that one report names.
const ONWARD_MAX: usize = 32;

/// Evidence of what a recipient did: a statement or a file, of which the ledger keeps a commitment only.
#[derive(Clone, Debug)]
pub struct NewEvidence {
    /// What it is.
    pub kind: EvidenceKind,
    /// SHA-256 of its bytes.
    pub digest: [u8; 32],
    /// Random bytes, which the recipient keeps with it. Without them, the commitment can't be compared with a
    /// guess of what the evidence says.
    pub salt: [u8; 32],
    /// The recipient's signature, with its key.
    pub signature: Option<(VerifyingKey, Signature)>,
}

/// A report about one or more erasures.
#[derive(Clone, Debug)]
pub struct ErasureReport {
    /// The cursors of the notices: a log position plus one.
    pub cursors: Vec<u64>,
    /// The recipient that a steward reports for. A recipient reports for itself.
    pub recipient: Option<(Role, String)>,
    /// What it did; unspecified if the report only adds evidence or names others.
    pub outcome: ErasureOutcome,
    /// Why deletion is impossible or disproportionate, without personal data.
    pub reason: String,
    /// The evidence, if there is any.
    pub evidence: Option<NewEvidence>,
    /// The recipients to whom it had passed the data on.
    pub onward: Vec<String>,
}

impl Erasures {
    /// Records a report of a recipient, or of a steward for a recipient. A report settles the erasures for
    /// the recipient if it has an outcome.
    ///
    /// # Errors
    /// The recipient has no such notice, a field is invalid, the signature is not by the key that is
    /// configured for the recipient, or the store failed.
    pub async fn report_erasure(
        self: &Arc<Self>,
        caller: &Caller,
        report: ErasureReport,
        options: &WriteOptions,
    ) -> Result<Receipt, AppError> {
        let (role, name) = match (&report.recipient, caller.role) {
            (None, Role::Service | Role::Auditor) => (role_in_event(caller.role), caller.name.clone()),
            (Some((role, name)), Role::Steward) => (role_in_event(*role), name.clone()),
            (Some(_), _) => {
                return Err(AppError::Denied {
                    why: "a recipient reports for itself only",
                    allowed: &[Role::Steward],
                });
            }
            (None, _) => return Err(AppError::invalid("recipient", "must name the recipient")),
        };
        check(&report)?;
        let address = address(role, &name).into_owned();
        let mut positions = Vec::with_capacity(report.cursors.len());
        for cursor in &report.cursors {
            positions.push(self.notice_at(&address, *cursor)?);
        }
        positions.sort_unstable();
        positions.dedup();
        let event = RecipientReported {
            evidence_kind: report.evidence.as_ref().map_or(EvidenceKind::Unspecified, |of| of.kind),
            onward: self.new_recipients(&report.onward, &name, &positions)?,
            positions,
            recipient: name,
            role,
            outcome: report.outcome,
            reason: report.reason,
            ..RecipientReported::default()
        };
        let event = match &report.evidence {
            Some(evidence) => self.with_evidence(event, evidence, caller.role != Role::Steward)?,
            None => event,
        };
        self.core.publish(caller, vec![Event::RecipientReported(event)], options).await
    }

    /// The position of the `ErasureCompleted` that the notice at a cursor is about.
    fn notice_at(&self, address: &str, cursor: u64) -> Result<u64, AppError> {
        let position = cursor.checked_sub(1).ok_or(AppError::NotFound("notice"))?;
        let erasure = self.core.erasure_of_notice(position)?.ok_or(AppError::NotFound("notice"))?;
        let is_waiting =
            self.core.projections.disclosures.outstanding.get(&(erasure, hash_of(address))).is_some();
        if is_waiting || self.core.has_revocation(address, position)? {
            return Ok(erasure);
        }
        Err(AppError::NotFound("notice"))
    }

    /// The recipients that a report names, without those that were notified of the erasure before.
    fn new_recipients(
        &self,
        onward: &[String],
        own: &str,
        positions: &[u64],
    ) -> Result<Vec<String>, AppError> {
        let [position] = positions else {
            return match onward {
                [] => Ok(Vec::new()),
                _ => Err(AppError::invalid("onward", "must be empty in a report about several erasures")),
            };
        };
        let completed = self.core.erasure_at(*position)?;
        let mut named = Vec::new();
        for name in onward.iter().filter(|name| *name != own) {
            let is_told = completed.recipients.iter().any(|of| *address_of(of) == **name)
                || self.core.projections.disclosures.outstanding.get(&(*position, hash_of(name))).is_some()
                || self.core.outcome_of(name, *position)?.is_some()
                || self.core.has_acknowledged(name, *position)?;
            if !is_told && !named.contains(name) {
                named.push(name.clone());
            }
        }
        Ok(named)
    }

    fn with_evidence(
        &self,
        event: RecipientReported,
        evidence: &NewEvidence,
        by_recipient: bool,
    ) -> Result<RecipientReported, AppError> {
        let commitment = evidence::commitment(&evidence.salt, &evidence.digest);
        let event = RecipientReported { evidence: commitment.to_vec(), ..event };
        let known = self.settings.recipient_keys.get(&event.recipient);
        let Some((key, signature)) = &evidence.signature else {
            return match known {
                Some(_) if by_recipient => Err(AppError::invalid(
                    "evidence.signature",
                    "must be set, because a key is configured for this recipient",
                )),
                _ => Ok(event),
            };
        };
        if known != Some(key) {
            let problem = "must be the key that is configured for this recipient (`[[recipients]]`)";
            return Err(AppError::invalid("evidence.public_key", problem));
        }
        let statement = evidence::statement(self.core.ledger.origin(), &codec::message(&event));
        if key.verify_strict(statement.as_bytes(), signature).is_err() {
            let problem = "must be a signature over the statement in docs/format.md";
            return Err(AppError::invalid("evidence.signature", problem));
        }
        let (public_key, signature) = (key.to_bytes().to_vec(), signature.to_bytes().to_vec());
        Ok(RecipientReported { public_key, signature, ..event })
    }
}

fn check(report: &ErasureReport) -> Result<(), AppError> {
    let outcome = report.outcome;
    let needs_reason = matches!(outcome, ErasureOutcome::Impossible | ErasureOutcome::Disproportionate);
    if report.cursors.is_empty() || report.cursors.len() > ERASURES_MAX {
        return Err(AppError::invalid("notices", "must have 1 to 256"));
    }
    let is_empty = report.evidence.is_none() && report.onward.is_empty();
    if outcome == ErasureOutcome::Unspecified && is_empty {
        return Err(AppError::invalid(
            "outcome",
            "must be set unless there is evidence or another recipient",
        ));
    }
    if needs_reason && report.reason.trim().is_empty() {
        return Err(AppError::invalid("reason", "must say why deletion is impossible or disproportionate"));
    }
    if !is_text(&report.reason, 0, REASON_BYTES_MAX) {
        return Err(AppError::invalid("reason", "must have at most 512 bytes and no control characters"));
    }
    if report.onward.len() > ONWARD_MAX {
        return Err(AppError::invalid("onward", "must have at most 32 names"));
    }
    let named = report.recipient.iter().map(|(_, name)| name).chain(&report.onward);
    for name in named {
        if !is_text(name, 1, NAME_BYTES_MAX) || names::problem(name).is_some() {
            return Err(AppError::invalid("onward", "each must be a name of 1 to 128 bytes"));
        }
    }
    Ok(())
}
