//! What is known about a grant whose record was erased: when and why the record was erased, and what was
//! erased with it. If the grant's recipient asks about attribute keys, it also learns which of these keys
//! were erased.

use crate::app::caller::Caller;
use crate::app::error::AppError;
use crate::app::grants::Grants;
use crate::app::grants::standing::{CheckedGrant, Standing};
use crate::domain::erased_grant::ErasedGrant;
use crate::domain::event::{ErasureSummary, PriorRecipient, Reason};
use crate::domain::ids::{EventId, GrantId};
use crate::vault::SubjectKeys;
use sayso_proof::merkle::Hash;
use std::sync::Arc;

impl Grants {
    /// The error for a grant whose entry or stream is gone. Only the grant's recipient, the data subject and
    /// the controller's staff learn that it was erased. For anyone else, an erased grant looks like one that
    /// never existed.
    pub(crate) async fn gone_grant(self: &Arc<Self>, caller: &Caller, grant: &GrantId) -> AppError {
        match self.erased_grant(caller, grant).await {
            Ok(Some(erased)) => AppError::GrantErased(Box::new(erased)),
            Ok(None) => AppError::NotFound("grant"),
            Err(error) => error,
        }
    }

    async fn erased_grant(
        self: &Arc<Self>,
        caller: &Caller,
        grant: &GrantId,
    ) -> Result<Option<ErasedGrant>, AppError> {
        let Some((completed, completed_at_ms)) = self.core.erasure_of_grant(caller, grant)? else {
            return Ok(None);
        };
        let part = self.erased_part(completed.request.as_ref(), &completed.hash_of_request()).await?;
        if let Some(own) = &caller.subject {
            // After a full erasure nothing shows whose grant it was.
            let own = self.core.vault.subject(own)?.map(|keys| keys.handle);
            if own.is_none() || own != part.as_ref().map(|(keys, _)| keys.handle) {
                return Ok(None);
            }
        }
        let id = grant.to_string();
        let has = |each: &&PriorRecipient| each.grant_ids.contains(&id) || each.artifact_ids.contains(&id);
        let recipient = completed.recipients.iter().find(has);
        let category = part.map(|(_, summary)| summary.category).filter(|_| caller.sees_others());
        Ok(Some(ErasedGrant {
            request: completed.request,
            request_hash: completed.hash_of_request(),
            recipient: recipient.map(|each| each.name.clone()).unwrap_or_default(),
            scope: completed.scope,
            category: category.unwrap_or_default(),
            reason: completed.reason(),
            completed_at_ms,
        }))
    }

    /// What the data subject's own record says about a partial erasure, with their keys.
    async fn erased_part(
        self: &Arc<Self>,
        request: Option<&EventId>,
        request_hash: &Hash,
    ) -> Result<Option<(Arc<SubjectKeys>, ErasureSummary)>, AppError> {
        let found = self.core.request_of_erasure(request, request_hash).await?;
        let Some((stream, record)) = found else { return Ok(None) };
        let summary = record.decided.and_then(|decided| decided.event.erasure);
        Ok(summary.map(|summary| (Arc::clone(&stream.keys), summary)))
    }

    /// The standing of an erased grant, with those of the caller's keys that were erased. After a full
    /// erasure, all of the caller's keys count as erased.
    pub(crate) async fn check_erased(
        self: &Arc<Self>,
        erased: ErasedGrant,
        keys: &[String],
    ) -> Result<CheckedGrant, AppError> {
        let standing = Standing { is_valid: false, expires_at_ms: 0, reason: Some(erased.reason) };
        let erased_scope = erased.scope;
        let part = match erased.reason {
            // A full erasure left no record of the data subject.
            Reason::Erased => None,
            _ => self.erased_part(erased.request.as_ref(), &erased.request_hash).await?,
        };
        let is_erased = match part {
            None if erased.reason == Reason::Erased => None,
            Some((_, summary)) if summary.recipient_keys_left_out => None,
            Some((subject_keys, summary)) => Some((subject_keys, summary.recipient_keys)),
            None => return Ok(CheckedGrant { standing, erased_scope, erased_keys: Vec::new() }),
        };
        let mut erased_keys = Vec::new();
        for key in keys {
            let is_key_erased = match &is_erased {
                None => true,
                Some((subject_keys, erased_hashes)) => {
                    let hashes = self.core.recipient_key_hashes(subject_keys, &erased.recipient, key)?;
                    hashes.iter().any(|hash| erased_hashes.binary_search(hash).is_ok())
                }
            };
            erased_keys.extend(is_key_erased.then(|| key.clone()));
        }
        Ok(CheckedGrant { standing, erased_scope, erased_keys })
    }
}
