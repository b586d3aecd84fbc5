//! Verifies a consent receipt offline: the log's proof of the decision, the signature of the whole receipt,
//! and every claim that the decision's entry contains.

use super::compare_receipt::{Comparison, Logged};
use super::error::ReceiptError;
use super::signed_receipt::{PROPERTIES, SIGNATURE, id_of, property, take_signature};
use crate::domain::event::{Event, codec};
use crate::domain::ids::EventId;
use crate::domain::json_value::{self, JsonProblem};
use crate::domain::wording;
use sayso_proof::checkpoint::Checkpoint;
use sayso_proof::entry::EventKey;
use sayso_proof::keys::KeyChain;
use sayso_proof::merkle::{Hash, leaf_hash};
use sayso_proof::proof::{TlogProof, Verified};
use sayso_proof::signed_document::{self, DocumentKind};
use serde_json::Value;
use std::collections::BTreeMap;

/// The `@type` of a receipt.
const TYPE: &str = "dpv:ConsentReceipt";
/// The properties of a receipt's provenance. Only the signature may be missing, in receipts of early daemons.
const KNOWN: [&str; 5] = ["verifier-key", "position", "tlog-proof", "event-key", SIGNATURE];

/// A verified receipt.
#[derive(Clone, Debug)]
pub struct VerifiedReceipt {
    /// Name of the log.
    pub origin: String,
    /// Position of the decision in the log.
    pub position: u64,
    /// The id of the decision's event, a UUID.
    pub event_id: String,
    /// The leaf hash of the decision's entry.
    pub leaf: Hash,
    /// The ledger's pseudonym of the data subject.
    pub pseudonym: String,
    /// The decision, as a term of DPV.
    pub decision: &'static str,
    /// The purposes that the decision names.
    pub purposes: Vec<String>,
    /// When the data subject decided, as the writer stated it; RFC 3339.
    pub at: String,
    /// Whether the log's key signed the receipt as a whole.
    pub is_signed: bool,
    /// The fields that the decision's entry does not contain, so that they were not compared with the log. In
    /// a signed receipt they are statements of the controller; in any other receipt they prove nothing.
    pub not_compared: Vec<String>,
    /// The checkpoint of the tree that contains the decision.
    pub checkpoint: Checkpoint,
    /// The note of that checkpoint.
    pub checkpoint_note: String,
}

/// Whether a text is a receipt, valid or not.
#[must_use]
pub fn is_receipt(text: &str) -> bool {
    let value: Option<Value> = serde_json::from_str(text).ok();
    value.is_some_and(|value| value.get("@type").and_then(Value::as_str) == Some(TYPE))
}

/// The checkpoint in a receipt, as a note; `None` if the text is not a receipt. Nothing is verified.
#[must_use]
pub fn receipt_checkpoint(text: &str) -> Option<String> {
    let receipt: Value = serde_json::from_str(text).ok().filter(|_| is_receipt(text))?;
    let proof: TlogProof = properties(&receipt).ok()?.get("tlog-proof")?.parse().ok()?;
    Some(proof.checkpoint)
}

/// Verifies a receipt. `keys` is every key that the log had, or one of them.
///
/// # Errors
/// The first check that fails.
pub fn verify_receipt(text: &str, keys: &KeyChain) -> Result<VerifiedReceipt, ReceiptError> {
    json_value::check(text).map_err(ReceiptError::Json)?;
    let receipt: Value =
        serde_json::from_str(text).map_err(|_| ReceiptError::Json(JsonProblem::Malformed))?;
    let properties = properties(&receipt)?;
    let value = |id: &'static str| properties.get(id).copied().ok_or(ReceiptError::Missing(id));
    let proof: TlogProof = value("tlog-proof")?.parse()?;
    let verified = proof.verify(keys)?;
    let logged = open(&verified, value("event-key")?)?;
    let is_signed = is_signed(&receipt, keys)?;
    let not_compared = Comparison::of(&receipt, &logged, keys)?;
    Ok(VerifiedReceipt {
        origin: verified.entry.origin,
        position: verified.position,
        leaf: leaf_hash(proof.extra.as_deref().unwrap_or_default()),
        decision: logged.status(),
        event_id: logged.id,
        pseudonym: logged.pseudonym,
        purposes: logged.terms.purposes,
        at: wording::time(logged.about_ms),
        is_signed,
        not_compared,
        checkpoint: verified.checkpoint,
        checkpoint_note: proof.checkpoint,
    })
}

/// The properties of the provenance, by their ids.
fn properties(receipt: &Value) -> Result<BTreeMap<&str, &str>, ReceiptError> {
    let all = receipt.pointer(PROPERTIES).and_then(Value::as_array).ok_or(ReceiptError::Missing("proof"))?;
    let mut found = BTreeMap::new();
    for property in all {
        let id = id_of(property).filter(|id| KNOWN.contains(id)).ok_or(ReceiptError::Property)?;
        let value = property.get("schema:value").and_then(Value::as_str).ok_or(ReceiptError::Property)?;
        if found.insert(id, value).is_some() {
            return Err(ReceiptError::Property);
        }
    }
    Ok(found)
}

/// Opens the decision's entry.
fn open(verified: &Verified, event_key: &str) -> Result<Logged, ReceiptError> {
    let mut key = [0; 32];
    hex::decode_to_slice(event_key, &mut key).map_err(|_| ReceiptError::EventKey)?;
    let body = verified.entry.open(&EventKey::from_bytes(key))?;
    let header = &verified.entry.header;
    let place = codec::Place {
        event_id: EventId(header.event_id),
        position: verified.position,
        version: header.version,
        recorded_at_ms: header.sealed_at_ms,
        sealed_at_ms: header.sealed_at_ms,
        has_hash_in_clear: false,
    };
    let recorded = codec::decode(place, body).map_err(|_| ReceiptError::NotADecision)?;
    let Event::Consent { decision, terms } = recorded.event else { return Err(ReceiptError::NotADecision) };
    Ok(Logged {
        id: recorded.event_id.to_string(),
        pseudonym: header.handle.to_string(),
        position: recorded.position,
        about_ms: recorded.about_ms,
        decision,
        terms,
        actor: recorded.actor,
    })
}

/// Whether the receipt is signed as a whole.
///
/// # Errors
/// It has a signature that is not valid for this receipt.
fn is_signed(receipt: &Value, keys: &KeyChain) -> Result<bool, ReceiptError> {
    let mut unsigned = receipt.clone();
    let Some(signature) = take_signature(&mut unsigned) else { return Ok(false) };
    let note = signature.get("schema:value").and_then(Value::as_str).ok_or(ReceiptError::Property)?;
    // The signature does not cover its own property, so only one form of that property is accepted.
    if signature != property(SIGNATURE, note) {
        return Err(ReceiptError::Property);
    }
    let digest = signed_document::json_digest(&unsigned)?;
    signed_document::verify(note, DocumentKind::Receipt, &digest, keys)?;
    Ok(true)
}
