//! The options of writes, and their receipts.

use crate::api::convert::times::{maybe_millis, time};
use crate::app::{self, Caller};
use crate::proto;
use prost::{Message, Name};
use tonic::Status;

/// The options of a write. If there is an idempotency key, they also contain the name of the request's
/// message (every method has a different one) and the encoded request. These two distinguish a retry from a
/// key that was reused for another request.
///
/// # Errors
/// The time is malformed.
pub fn options<T: Message + Name>(
    options: Option<&proto::WriteOptions>,
    request: &T,
) -> Result<app::WriteOptions, Status> {
    let Some(options) = options else { return Ok(app::WriteOptions::default()) };
    let needs_digest = !options.idempotency_key.is_empty();
    Ok(app::WriteOptions {
        idempotency_key: options.idempotency_key.clone(),
        expected_version: options.expected_version,
        proofs: options.proofs,
        about_ms: maybe_millis(options.about.as_ref(), "options.about")?,
        request: if needs_digest { named_bytes(request) } else { Vec::new() },
    })
}

/// The name of a message and its bytes. A name has no zero byte.
fn named_bytes<T: Message + Name>(message: &T) -> Vec<u8> {
    [T::full_name().as_bytes(), &[0], &message.encode_to_vec()].concat()
}

/// The receipt of a write. A service sees neither revocations of other services nor the number of the
/// subject's events.
#[must_use]
pub fn receipt(receipt: app::Receipt, caller: &Caller) -> proto::Receipt {
    let shown = receipt.events.into_iter().filter(|event| {
        event.revoked_for.as_deref().is_none_or(|recipient| caller.sees_recipient(recipient))
    });
    let event = |event: app::EventReceipt| proto::EventReceipt {
        event_id: event.event_id.to_string(),
        position: event.position,
        subject_version: if caller.sees_others() { event.version } else { 0 },
        leaf_hash: event.leaf_hash.to_vec(),
        recorded_at: Some(time(event.recorded_at_ms)),
        proof: proof(event.proof.unwrap_or_default(), caller),
    };
    proto::Receipt {
        events: shown.map(event).collect(),
        checkpoint: receipt.checkpoint,
        replayed: receipt.replayed,
    }
}

/// A proof as text. A service gets it without the entry, whose header has the number of the event in the
/// subject's stream. The entry's leaf hash is in the receipt.
pub fn proof(text: String, caller: &Caller) -> String {
    if caller.sees_others() {
        return text;
    }
    let shown = text.split_inclusive('\n').filter(|line| !line.starts_with("extra "));
    shown.collect()
}
