//! Idempotency keys tie events to the request that caused them, so that a repeated request is answered from
//! the log.

use crate::app::caller::Caller;
use crate::app::error::AppError;
use crate::app::log::append::{Append, Begun};
use crate::app::log::core::Core;
use crate::app::log::receipt::{Receipt, RequestStamp, WriteOptions, receipt_of};
use crate::domain::ids::SubjectId;
use sayso_proof::merkle::Hash;

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
            idempotency: Some(self.vault.keyed_hash("idempotency", &parts)),
            digest: self.vault.keyed_hash("request", &[&options.request]).to_vec(),
        })
    }

    /// The result of the same request, if it was made before.
    pub(crate) fn replay(
        &self,
        request_stamp: &RequestStamp,
        proofs: bool,
    ) -> Result<Option<Begun>, AppError> {
        let Some(hash) = &request_stamp.idempotency else { return Ok(None) };
        let Some((first, count)) = self.store().find_idempotent(hash)? else { return Ok(None) };
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
        Ok(Some(Begun::Replayed(Receipt { events: receipts, checkpoint, replayed: true }, events)))
    }

    /// Turns a write into one that records a refused attempt. The attempt gets an idempotency key that is
    /// derived from the request's key, so that the request itself can be made again.
    pub(crate) fn as_attempt(&self, mut append: Append) -> Append {
        let derived = |hash: Hash| self.vault.keyed_hash("attempt", &[&hash]);
        append.request_stamp.idempotency = append.request_stamp.idempotency.map(derived);
        // The attempt happens now, regardless of the time that the request concerns.
        append.predates_erasure = false;
        append
    }

    /// Whether an event with this write's idempotency key is in the log already.
    pub(crate) fn is_already_recorded(&self, append: &Append) -> Result<bool, AppError> {
        let Some(hash) = &append.request_stamp.idempotency else { return Ok(false) };
        Ok(self.store().find_idempotent(hash)?.is_some())
    }
}
