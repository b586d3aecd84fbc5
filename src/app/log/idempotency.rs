//! Idempotency keys tie events to the request that caused them, so that a repeated request is answered from
//! the log.
//!
//! An event has only a hash of the key. In a data subject's events the hash is sealed, and a request is found
//! by the hashes that the stream keeps in memory. System events have the hash unencrypted, and a request is
//! found in the index of the store.

use crate::app::caller::Caller;
use crate::app::error::AppError;
use crate::app::log::append::{Append, Begun, Timestamping};
use crate::app::log::core::Core;
use crate::app::log::receipt::{Receipt, RequestStamp, WriteOptions, receipt_of};
use crate::app::log::stream::SubjectStream;
use crate::domain::event::RequestKey;
use crate::domain::ids::SubjectId;
use sayso_proof::merkle::Hash;
use sha2::{Digest, Sha256};
use std::sync::Arc;

const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;

impl Core {
    /// The stamp of a request: the hashes of its idempotency key and of its content. Without an idempotency
    /// key the stamp is empty. The same key from another caller has another hash.
    ///
    /// # Errors
    /// The key is too long.
    pub(crate) fn request_stamp(
        &self,
        caller: &Caller,
        options: &WriteOptions,
    ) -> Result<RequestStamp, AppError> {
        let key = options.idempotency_key.as_bytes();
        if key.is_empty() {
            return Ok(RequestStamp::default());
        }
        if key.len() > IDEMPOTENCY_KEY_BYTES_MAX {
            return Err(AppError::invalid("options.idempotency_key", "must have at most 128 bytes"));
        }
        let role = (caller.role as i32).to_be_bytes();
        let own = caller.subject.as_ref().map_or("", SubjectId::as_str);
        let parts: [&[u8]; 4] = [&role, caller.name.as_bytes(), own.as_bytes(), key];
        Ok(RequestStamp {
            in_clear: Some(self.vault.keyed_hash("idempotency", &parts)),
            sealed: RequestKey::Sealed(sealed_hash("sayso idempotency key v1", &parts)),
            digest: self.vault.keyed_hash("request", &[&options.request]).to_vec(),
        })
    }

    /// The result of the same request for system events, if it was made before.
    pub(crate) fn replay(
        &self,
        request_stamp: &RequestStamp,
        proofs: bool,
    ) -> Result<Option<Begun>, AppError> {
        let Some(hash) = &request_stamp.in_clear else { return Ok(None) };
        match self.store().find_idempotent(hash)? {
            Some(span) => self.replay_span(span, request_stamp, proofs).map(Some),
            None => Ok(None),
        }
    }

    /// The result of the same request in a data subject's stream, if it was made before. The caller owns the
    /// write lock.
    pub(crate) fn replay_in(
        &self,
        stream: &SubjectStream,
        request_stamp: &RequestStamp,
        proofs: bool,
    ) -> Result<Option<Begun>, AppError> {
        match self.find_request_made(stream, request_stamp)? {
            Some(span) => self.replay_span(span, request_stamp, proofs).map(Some),
            None => Ok(None),
        }
    }

    /// Where the events of a request are: the first position, and the number of positions up to the last.
    fn find_request_made(
        &self,
        stream: &SubjectStream,
        request_stamp: &RequestStamp,
    ) -> Result<Option<(u64, u32)>, AppError> {
        let RequestKey::Sealed(sealed) = &request_stamp.sealed else { return Ok(None) };
        let (found, has_hashes_in_clear) = {
            let now = stream.read();
            (now.requests.find(sealed), now.requests.has_hashes_in_clear())
        };
        let Some(in_clear) = request_stamp.in_clear.filter(|_| found.is_none() && has_hashes_in_clear) else {
            return Ok(found);
        };
        let Some((first, count)) = self.store().find_idempotent(&in_clear)? else { return Ok(None) };
        // The index has the requests of everybody. A key that the caller used for another person is free.
        let is_own = self.header_at(first)?.is_some_and(|header| header.handle == stream.keys.handle);
        Ok(is_own.then_some((first, count)))
    }

    fn replay_span(
        &self,
        (first, count): (u64, u32),
        request_stamp: &RequestStamp,
        proofs: bool,
    ) -> Result<Begun, AppError> {
        let mut events = Vec::new();
        let mut receipts = Vec::new();
        for stored in self.store().read_entries(first, usize::try_from(count).unwrap_or(usize::MAX))? {
            let leaf_hash = stored.leaf_hash;
            let recorded = self.open_any(stored)?;
            if recorded.request_digest != request_stamp.digest {
                return Err(AppError::KeyReused);
            }
            receipts.push(receipt_of(&recorded, leaf_hash));
            events.push(recorded);
        }
        let checkpoint = self.ledger.checkpoint().note.clone();
        let receipts = self.attach_proofs(receipts, proofs)?;
        Ok(Begun::Replayed(Receipt { events: receipts, checkpoint, replayed: true }, events))
    }

    /// Begins a write that records a person's no. If its idempotency key was used for another request, the
    /// write begins all the same, and the result says so: the no is then recorded as an attempt, and the
    /// caller gets [`AppError::KeyReused`].
    ///
    /// # Errors
    /// The errors of [`Core::begin`], except for a reused key.
    pub(crate) async fn begin_no(
        self: &Arc<Self>,
        caller: &Caller,
        subject: &SubjectId,
        options: &WriteOptions,
    ) -> Result<(Begun, KeyUse), AppError> {
        let timestamping = Timestamping::Distinct;
        match self.begin(caller, subject, options, None, timestamping).await {
            Err(AppError::KeyReused) => {}
            begun => return Ok((begun?, KeyUse::Own)),
        }
        let without_key = WriteOptions { idempotency_key: String::new(), ..options.clone() };
        let begun = self.begin(caller, subject, &without_key, None, timestamping).await?;
        let Begun::Append(mut append) = begun else { return Err(AppError::KeyReused) };
        append.request_stamp = self.request_stamp(caller, options)?;
        Ok((Begun::Append(append), KeyUse::Reused))
    }

    /// Turns a write into one that records a refused attempt. The attempt gets an idempotency key that is
    /// derived from the request's key and content. So the request itself can be made again, and an attempt
    /// with the same key and another content is another attempt.
    pub(crate) fn as_attempt(&self, mut append: Append) -> Append {
        let request_stamp = &mut append.request_stamp;
        let digest = &request_stamp.digest;
        let in_clear = |hash: Hash| self.vault.keyed_hash("attempt", &[&hash, digest.as_slice()]);
        request_stamp.in_clear = request_stamp.in_clear.map(in_clear);
        if let RequestKey::Sealed(hash) = &mut request_stamp.sealed {
            *hash = sealed_hash("sayso refused attempt v2", &[hash.as_slice(), digest.as_slice()]);
        }
        // The attempt happens now, regardless of the time that the request concerns.
        append.predates_erasure = false;
        append
    }

    /// Whether an event with this write's idempotency key is in the log already.
    pub(crate) fn is_already_recorded(&self, append: &Append) -> Result<bool, AppError> {
        Ok(self.find_request_made(&append.stream, &append.request_stamp)?.is_some())
    }
}

/// Whether an idempotency key was used for another request before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyUse {
    /// It was not, or there is no key.
    Own,
    /// It was.
    Reused,
}

/// SHA-256 over a domain and length-prefixed parts. It needs no secret, because it is sealed.
fn sealed_hash(domain: &str, parts: &[&[u8]]) -> Hash {
    let mut digest = Sha256::new_with_prefix(domain);
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}
