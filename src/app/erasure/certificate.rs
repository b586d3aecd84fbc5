//! The proof of an erasure: what went, what was kept and why, who had it and who has confirmed; signed, and verified
//! without the daemon.

use crate::app::caller::Caller;
use crate::app::erasure::Erasures;
use crate::app::error::{AppError, Cause};
use crate::app::log::read::open_system_entry;
use crate::domain::event::{ErasureCompleted, Event};
use crate::domain::ids::EventId;
use crate::domain::request::RequestRecord;
use sayso_proof::certificate::{self, Kept, Recipient, Statement};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The proof of an erasure.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The request.
    pub request: EventId,
    /// The `ErasureCompleted` event.
    pub completed: ErasureCompleted,
    /// Attributes by category; of a partial erasure only where the person's own record could be read.
    pub erased_by_category: BTreeMap<String, u32>,
    /// Its position.
    pub position: u64,
    /// Milliseconds since the Unix epoch.
    pub completed_at_ms: u64,
    /// Recipients that said they carried it out.
    pub acknowledged: Vec<String>,
    /// `c2sp.org/tlog-proof` text of the event.
    pub proof: String,
    /// All of it in one signed text.
    pub document: String,
}

impl Erasures {
    /// The certificate of an erasure, with everything that is still known.
    ///
    /// # Errors
    /// There is none by this request, or (for a subject) it is somebody else's who is still there; or the store.
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
        // Of a part: the person is there to be told who looked.
        if let Some((stream, _)) = &found {
            self.core.record_view_in(caller, Arc::clone(stream), "GetErasureCertificate").await?;
        }
        let record = found.map(|(_, record)| record);
        self.certificate_with(request, record.as_ref())
    }

    /// What was said of an erasure when it was complete, where and when; nothing where none of this request is.
    pub(crate) fn completion_of(
        &self,
        request: &EventId,
    ) -> Result<Option<(ErasureCompleted, u64, u64)>, AppError> {
        let Some(position) = self.core.erasure_position(request)? else { return Ok(None) };
        let event = open_system_entry(self.core.store().read_entry(position)?)?;
        match event.event {
            Event::ErasureCompleted(completed) => Ok(Some((completed, position, event.recorded_at_ms))),
            _ => Err(AppError::Internal(Cause::Inconsistent("the index names another event"))),
        }
    }

    /// The certificate of an erasure; of a partial one with what the person's own record says about it.
    pub(crate) fn certificate_with(
        &self,
        request: &EventId,
        record: Option<&RequestRecord>,
    ) -> Result<Certificate, AppError> {
        let found = self.completion_of(request)?;
        let (completed, position, completed_at_ms) = found.ok_or(AppError::NotFound("erasure"))?;
        let mut acknowledged = Vec::new();
        for recipient in &completed.recipients {
            if self.core.has_acknowledged(&recipient.name, position)? {
                acknowledged.push(recipient.name.clone());
            }
        }
        let summary = record.and_then(|record| record.decided.as_ref()?.event.erasure.as_ref());
        let erased_by_category = summary
            .map_or_else(|| completed.erased_by_category.clone(), |own| own.erased_by_category.clone());
        let mut made = Certificate {
            request: *request,
            completed,
            erased_by_category,
            position,
            completed_at_ms,
            acknowledged,
            proof: self.core.ledger.proof_text(position)?,
            document: String::new(),
        };
        made.document = self.document(&made)?;
        Ok(made)
    }

    fn document(&self, of: &Certificate) -> Result<String, AppError> {
        let done = &of.completed;
        let recipients = done.recipients.iter().map(|recipient| Recipient {
            name: recipient.name.clone(),
            grants: recipient.grant_ids.len() as u64,
            artifacts: recipient.artifact_ids.len() as u64,
            acknowledged: of.acknowledged.contains(&recipient.name),
        });
        let kept = done.kept.iter().map(|kept| Kept {
            ground: kept.ground().as_str_name().trim_start_matches("GROUND_").to_lowercase(),
            article: crate::domain::request::article(kept.ground()).to_owned(),
            entries: kept.entries,
        });
        let statement = Statement {
            origin: self.core.ledger.origin().to_owned(),
            request: of.request.to_string(),
            scope: done.scope().as_str_name().trim_start_matches("ERASURE_SCOPE_").to_lowercase(),
            requested_at_ms: done.requested_at_ms,
            completed_at_ms: of.completed_at_ms,
            position: of.position,
            entries_erased: certificate::entries(done),
            erased_by_category: of.erased_by_category.clone(),
            kept: kept.collect(),
            recipients: recipients.collect(),
            issued_at_ms: self.core.now_ms(),
        };
        let text = statement
            .to_text()
            .map_err(|_| AppError::Internal(Cause::Inconsistent("a certificate has no JSON form")))?;
        Ok(certificate::document(&self.core.ledger.sign_note(&text), &of.proof))
    }
}
