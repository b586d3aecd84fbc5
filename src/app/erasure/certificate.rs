//! Makes the certificate of an erasure. The certificate says what was erased, what was kept and on which
//! legal ground, which recipients had received the erased data, and which of them acknowledged the erasure.
//! It is signed and can be verified without the daemon.

use crate::app::caller::Caller;
use crate::app::erasure::Erasures;
use crate::app::error::{AppError, Cause};
use crate::app::log::address::address_of;
use crate::domain::event::{
    CopiesFound, ErasureCompleted, ErasureDetails, ErasureOutcome, Event, PriorRecipient, RecipientReported,
    codec,
};
use crate::domain::ids::EventId;
use crate::domain::request::RequestRecord;
use sayso_proof::certificate::{self, Copies, Kept, Recipient, Statement};
use sayso_proof::entry::padding;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The certificate of an erasure.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The request that the erasure carried out.
    pub request: EventId,
    /// The `ErasureCompleted` event.
    pub completed: ErasureCompleted,
    /// The number of erased attributes by category. For a partial erasure, these numbers come from the
    /// subject's own record. Empty if that record can't be read.
    pub erased_by_category: BTreeMap<String, u32>,
    /// When the erasure was requested, milliseconds since the Unix epoch. Only the day (UTC) after a partial
    /// erasure, if the subject's own record can't be read.
    pub requested_at_ms: u64,
    /// After an erasure of a part: the copies of the erased values. None if the subject's record can't be
    /// read, or is of an earlier version.
    pub copies: Option<CopiesFound>,
    /// Position of the `ErasureCompleted` event.
    pub position: u64,
    /// When it was recorded, milliseconds since the Unix epoch.
    pub completed_at_ms: u64,
    /// Recipients that acknowledged the erasure, as the index knows them.
    acknowledged: Vec<String>,
    /// What recipients reported, as the index knows them.
    reports: BTreeMap<String, RecipientReported>,
    /// Inclusion proof of the event, `c2sp.org/tlog-proof` text.
    pub proof: String,
    /// The certificate as one signed text.
    pub document: String,
}

impl Certificate {
    /// Whether a recipient acknowledged the erasure.
    #[must_use]
    pub fn has_acknowledged(&self, recipient: &PriorRecipient) -> bool {
        self.acknowledged.iter().any(|address| *address == address_of(recipient))
    }

    /// What a recipient reported: the outcome, the reason, and whether there is evidence.
    #[must_use]
    pub fn outcome_of(&self, recipient: &PriorRecipient) -> (ErasureOutcome, &str, bool) {
        match self.reports.get(address_of(recipient).as_ref()) {
            Some(report) => (report.outcome, &report.reason, !report.evidence.is_empty()),
            None if self.has_acknowledged(recipient) => (ErasureOutcome::Deleted, "", false),
            None => (ErasureOutcome::Unspecified, "", false),
        }
    }
}

/// The recorded completion of an erasure.
pub(crate) struct CompletedErasure {
    pub event: ErasureCompleted,
    /// Position of the event.
    pub position: u64,
    /// Milliseconds since the Unix epoch.
    pub recorded_at_ms: u64,
    /// What only those know who have the id of the request. `None` after a partial erasure.
    pub details: Option<ErasureDetails>,
}

impl CompletedErasure {
    /// When the erasure was requested, milliseconds since the Unix epoch, as exactly as it is known.
    pub fn requested_at_ms(&self) -> u64 {
        self.details.as_ref().map_or(self.event.requested_at_ms, |details| details.requested_at_ms)
    }
}

impl Erasures {
    /// The certificate of the erasure that this request asked for.
    ///
    /// # Errors
    /// There is no such erasure, the caller is a subject and the request is of another subject who still
    /// exists, or the store fails.
    pub async fn get_certificate(
        self: &Arc<Self>,
        caller: &Caller,
        request: &EventId,
    ) -> Result<Certificate, AppError> {
        let found = self.core.find_request(request).await?;
        if let (Some(own), Some((stream, _))) = (&caller.subject, &found)
            && self.core.vault.subject(own)?.is_none_or(|keys| keys.handle != stream.keys.handle)
        {
            return Err(AppError::NotFound("erasure"));
        }
        // After a partial erasure the subject still exists, and can see who viewed the certificate.
        if let Some((stream, _)) = &found {
            self.core.record_view_in(caller, Arc::clone(stream), "GetErasureCertificate").await?;
        }
        let record = found.map(|(_, record)| record);
        self.certificate_with(request, record.as_ref())?.ok_or(AppError::NotFound("erasure"))
    }

    /// The recorded completion of the erasure that this request asked for; none if no completion is recorded.
    pub(crate) fn completion_of(&self, request: &EventId) -> Result<Option<CompletedErasure>, AppError> {
        let Some(position) = self.core.erasure_position(request)? else { return Ok(None) };
        let event = self.core.system_event_at(position)?;
        match event.event {
            Event::ErasureCompleted(completed) => Ok(Some(CompletedErasure {
                event: completed,
                position,
                recorded_at_ms: event.recorded_at_ms,
                details: self.details_of(request)?,
            })),
            _ => {
                Err(AppError::Internal(Cause::Inconsistent("the index of erasures points to another event")))
            }
        }
    }

    /// What is kept for the certificate of a full erasure.
    fn details_of(&self, request: &EventId) -> Result<Option<ErasureDetails>, AppError> {
        let malformed = || AppError::Internal(Cause::Inconsistent("the details of an erasure can't be read"));
        let Some(mut details) = self.core.vault.details(&request.0)? else { return Ok(None) };
        padding::unpad(&mut details).map_err(|_| malformed())?;
        codec::decode_details(&details).map(Some).map_err(|_| malformed())
    }

    /// The certificate of the erasure that this request asked for; none if no erasure of the request is
    /// complete. For a partial erasure, `record` is the request in the subject's own record.
    pub(crate) fn certificate_with(
        &self,
        request: &EventId,
        record: Option<&RequestRecord>,
    ) -> Result<Option<Certificate>, AppError> {
        let Some(completion) = self.completion_of(request)? else { return Ok(None) };
        let mut requested_at_ms = completion.requested_at_ms();
        let CompletedErasure { event: completed, position, recorded_at_ms: completed_at_ms, details } =
            completion;
        let (mut acknowledged, mut reports) = (Vec::new(), BTreeMap::new());
        for recipient in &completed.recipients {
            let address = address_of(recipient).into_owned();
            if let Some(report) = self.core.outcome_of(&address, position)? {
                reports.insert(address.clone(), report);
            }
            if self.core.has_acknowledged(&address, position)? {
                acknowledged.push(address);
            }
        }
        let decided = record.and_then(|record| Some(&record.decided.as_ref()?.event));
        let erased_by_category = match (details, decided.and_then(|decided| decided.erasure.as_ref())) {
            (Some(details), _) => details.erased_by_category,
            (None, Some(own)) => own.erased_by_category.clone(),
            (None, None) => completed.erased_by_category.clone(),
        };
        // What was recorded about a partial erasure is exact.
        if let Some(decided) = decided.filter(|decided| decided.erasure.is_some()) {
            requested_at_ms = decided.submitted_at_ms;
        }
        let mut certificate = Certificate {
            request: *request,
            completed,
            erased_by_category,
            requested_at_ms,
            copies: decided.and_then(|decided| decided.erasure.as_ref()?.copies),
            position,
            completed_at_ms,
            acknowledged,
            reports,
            proof: self.core.ledger.proof_text(position)?,
            document: String::new(),
        };
        certificate.document = self.document(&certificate)?;
        Ok(Some(certificate))
    }

    /// The certificate's statement and the proof of its event, signed with the log key.
    fn document(&self, of: &Certificate) -> Result<String, AppError> {
        let completed = &of.completed;
        let recipients = completed.recipients.iter().map(|recipient| Recipient {
            name: recipient.name.clone(),
            grants: recipient.grant_ids.len() as u64,
            artifacts: recipient.artifact_ids.len() as u64,
            acknowledged: of.has_acknowledged(recipient),
        });
        let kept = completed.kept.iter().map(|kept| Kept {
            ground: kept.ground.as_str_name().trim_start_matches("GROUND_").to_lowercase(),
            article: crate::domain::request::article(kept.ground).to_owned(),
            entries: kept.entries,
        });
        let statement = Statement {
            origin: self.core.ledger.origin().to_owned(),
            request: of.request.to_string(),
            scope: completed.scope.as_str_name().trim_start_matches("ERASURE_SCOPE_").to_lowercase(),
            requested_at_ms: of.requested_at_ms,
            completed_at_ms: of.completed_at_ms,
            position: of.position,
            entries_erased: certificate::entries(&codec::message(completed)),
            erased_by_category: of.erased_by_category.clone(),
            kept: kept.collect(),
            recipients: recipients.collect(),
            copies: of.copies.map(|copies| Copies {
                found: copies.found,
                erased: copies.erased,
                kept: copies.found.saturating_sub(copies.erased),
                unfinished: copies.unfinished,
            }),
            issued_at_ms: self.core.now_ms(),
        };
        let text = statement
            .to_text()
            .map_err(|_| AppError::Internal(Cause::Inconsistent("a certificate can't be written as JSON")))?;
        Ok(certificate::document(&self.core.ledger.sign_note(&text), &of.proof))
    }
}
