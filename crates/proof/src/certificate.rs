//! The certificate of an erasure: a signed note and an inclusion proof. The note, signed by the log's key,
//! states what was erased. The proof shows that the erasure's `ErasureCompleted` event is in the log. To
//! verify a certificate, only the log's keys are needed, not the log.
//!
//! The note adds facts that the event does not have, such as the number of erased attributes by category,
//! the exact time of the request, and which recipients acknowledged the erasure. The log's key signs both the
//! note and the event's entry. Facts that are in both the note and the event must agree;
//! [`Verified::stated_only`] names the facts that only the note has.
//!
//! A certificate alone does not show that its log is the one that others see. The operator has the log's key
//! and can sign an erasure in a copy of the log, or in an invented one. [`crate::context`] checks witnesses
//! and older checkpoints.

use crate::checkpoint::{Checkpoint, NoteError, parse_note};
use crate::context::{self, Consistency, ContextError};
use crate::event::event_body::Event;
use crate::event::{ErasureCompleted, ErasureScope, KeptOnGround, PriorRecipient};
use crate::keys::KeyChain;
use crate::merkle::Hash;
use crate::proof::{TlogProof, TlogProofError};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// The first line of the note's text.
pub const FIRST_LINE: &str = "sayso erasure certificate v1";
const PROOF_LINE: &str = "c2sp.org/tlog-proof@";

/// Why a certificate is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The text is not an erasure certificate.
    #[error("not an erasure certificate: {0}")]
    Form(&'static str),
    /// The note is not signed by the log.
    #[error("invalid note of the certificate: {0}")]
    Note(#[from] NoteError),
    /// The proof is invalid.
    #[error("invalid proof of the certificate: {0}")]
    Proof(#[from] TlogProofError),
    /// The consistency proof is malformed.
    #[error("invalid consistency proof of the certificate: {0}")]
    Consistency(ContextError),
    /// The note and the proven entry disagree.
    #[error("the certificate does not match the log entry: {0}")]
    Mismatch(&'static str),
}

/// Entries that were kept on one legal ground.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// The legal ground for keeping the data, such as `legal_claims`.
    pub ground: String,
    /// The article that allows it.
    pub article: String,
    /// Number of entries.
    pub entries: u64,
}

/// A recipient of the erased data (GDPR Art. 19).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipient {
    /// Name of the recipient.
    pub name: String,
    /// Number of erased grants.
    pub grants: u64,
    /// Number of revoked artifacts.
    pub artifacts: u64,
    /// Whether the recipient acknowledged the erasure.
    pub acknowledged: bool,
}

/// What a search for copies of the erased values found in the data subject's record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Copies {
    /// Number of entries that hold an erased value, or nearly so.
    pub found: u32,
    /// How many of them were erased.
    pub erased: u32,
    /// How many of them were kept.
    pub kept: u32,
    /// The search did not read everything, so there may be more.
    pub unfinished: bool,
}

/// The statement of a certificate. Times are milliseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// Name of the log.
    pub origin: String,
    /// UUID of the erasure request.
    pub request: String,
    /// Scope of the erasure: `all`, `profile`, `key`, `category`, `content` or `retention`.
    pub scope: String,
    /// When the erasure was requested.
    pub requested_at_ms: u64,
    /// When the erasure was complete.
    pub completed_at_ms: u64,
    /// Position of the `ErasureCompleted` event.
    pub position: u64,
    /// Number of erased entries.
    pub entries_erased: u64,
    /// Number of erased attributes, by category.
    pub erased_by_category: BTreeMap<String, u32>,
    /// Entries in scope that were kept.
    pub kept: Vec<Kept>,
    /// Recipients of the erased data.
    pub recipients: Vec<Recipient>,
    /// Copies of the erased values, after an erasure of a part. None in certificates of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copies: Option<Copies>,
    /// When the certificate was issued. Later certificates may list more acknowledgments.
    pub issued_at_ms: u64,
}

impl Statement {
    /// The text of the note: a first line that names the format, and the statement as JSON.
    ///
    /// # Errors
    /// The statement has no JSON form, which cannot happen.
    pub fn to_text(&self) -> Result<String, serde_json::Error> {
        Ok(format!("{FIRST_LINE}\n{}\n", serde_json::to_string(self)?))
    }
}

/// A day, milliseconds.
pub const DAY_MS: u64 = 86_400_000;

/// What an `ErasureCompleted` has of the id of its request. The id cannot be guessed, so only those who were
/// given it find the event.
#[must_use]
pub fn request_hash(request: &[u8]) -> Hash {
    Sha256::new_with_prefix("sayso erasure request v1").chain_update(request).finalize().into()
}

/// The beginning of the day (UTC) of a time, milliseconds since the Unix epoch.
#[must_use]
pub fn day_of(time_ms: u64) -> u64 {
    time_ms - time_ms % DAY_MS
}

/// Number of entries that an erasure destroyed.
#[must_use]
pub fn entries(done: &ErasureCompleted) -> u64 {
    done.discarded.iter().map(|range| range.last.saturating_sub(range.first).saturating_add(1)).sum()
}

/// Joins the note and the proof into one text.
#[must_use]
pub fn document(note: &str, proof: &str) -> String {
    format!("{}\n\n{proof}", note.trim_end_matches('\n'))
}

/// Adds a proof that the log of a certificate extends an older checkpoint.
#[must_use]
pub fn with_consistency(document: &str, consistency: &Consistency) -> String {
    format!("{}\n\n{consistency}", document.trim_end_matches('\n'))
}

/// Whether a text begins like a certificate.
#[must_use]
pub fn is_certificate(text: &str) -> bool {
    text.starts_with(FIRST_LINE)
}

/// A verified certificate.
#[derive(Clone, Debug)]
pub struct Verified {
    /// The statement.
    pub statement: Statement,
    /// Fields of the statement that the log's key signed, but that the proven entry does not have.
    pub stated_only: Vec<&'static str>,
    /// The checkpoint of the tree that contains the erasure.
    pub checkpoint: Checkpoint,
    /// The note of that checkpoint.
    pub checkpoint_note: String,
    /// The proof that this tree extends an older one, if the certificate has one. It is not verified yet.
    pub consistency: Option<Consistency>,
}

/// The parts of a certificate.
struct Parts {
    note: String,
    proof: TlogProof,
    consistency: Option<Consistency>,
}

fn parse(text: &str) -> Result<Parts, CertificateError> {
    let missing = CertificateError::Form("the proof is missing");
    let (text, consistency) = context::split_consistency(text).map_err(CertificateError::Consistency)?;
    let (note, proof) =
        text.find(&format!("\n\n{PROOF_LINE}")).and_then(|at| text.split_at_checked(at)).ok_or(missing)?;
    Ok(Parts { note: format!("{note}\n"), proof: proof.trim_start_matches('\n').parse()?, consistency })
}

/// The checkpoint in a certificate, as a note. Nothing is verified.
///
/// # Errors
/// The text is not a certificate.
pub fn checkpoint_note(text: &str) -> Result<String, CertificateError> {
    Ok(parse(text)?.proof.checkpoint)
}

/// Verifies a certificate: the note's signature, the proof, and that note and proven entry agree. `keys` is
/// the log's only key, or every key that the log had.
///
/// # Errors
/// The first check that fails.
pub fn verify(text: &str, keys: impl Into<KeyChain>) -> Result<Verified, CertificateError> {
    let keys = keys.into();
    let form = CertificateError::Form;
    let Parts { note, proof, consistency } = parse(text)?;
    if parse_note(&note)?.1.len() != 1 {
        return Err(form("the note must have exactly one signature"));
    }
    // When the note was signed, the tree had at least the size of the proof's tree.
    let note_text = keys.open_note(&note, claimed_size(&proof.checkpoint))?;
    let json = note_text.strip_prefix(FIRST_LINE).and_then(|rest| rest.strip_prefix('\n'));
    let json = json.ok_or(form("wrong first line of the note"))?;
    let statement: Statement =
        serde_json::from_str(json).map_err(|_| form("the statement is not valid JSON"))?;
    if statement.to_text().ok().as_deref() != Some(note_text) {
        return Err(form("the statement is not in canonical form"));
    }
    let verified = proof.verify(&keys)?;
    let body = verified.entry.plain_body().map_err(TlogProofError::Entry)?;
    let Some(Event::ErasureCompleted(done)) = body.and_then(|body| body.event) else {
        return Err(CertificateError::Mismatch("the entry is not an erasure"));
    };
    check_agreement(&statement, &done, verified.position)?;
    if statement.origin != verified.entry.origin {
        return Err(CertificateError::Mismatch("the log differs"));
    }
    let stated_only = stated_only(&statement, &done);
    let (checkpoint, checkpoint_note) = (verified.checkpoint, proof.checkpoint);
    Ok(Verified { statement, stated_only, checkpoint, checkpoint_note, consistency })
}

/// The fields of a statement that its event does not have.
fn stated_only(statement: &Statement, event: &ErasureCompleted) -> Vec<&'static str> {
    let mut fields = vec!["completed_at_ms", "issued_at_ms"];
    if !event.request_hash.is_empty() {
        fields.push("requested_at_ms");
    }
    if !has_categories(event) {
        fields.push("erased_by_category");
    }
    let is_part = event.scope() != ErasureScope::All || !event.kept.is_empty();
    if is_part || statement.copies.is_some() {
        fields.push("copies");
    }
    if !statement.kept.is_empty() {
        fields.push("kept.article");
    }
    if !statement.recipients.is_empty() {
        fields.push("recipients.acknowledged");
    }
    fields
}

/// Whether the event has counts by category. Only early versions recorded them, after a full erasure.
fn has_categories(event: &ErasureCompleted) -> bool {
    event.scope() == ErasureScope::All && !event.erased_by_category.is_empty()
}

/// The tree size that a checkpoint claims. It is not trusted before the proof is verified.
fn claimed_size(checkpoint: &str) -> u64 {
    checkpoint.lines().nth(1).and_then(|size| size.parse().ok()).unwrap_or_default()
}

/// An id of 16 bytes as a UUID (RFC 9562 s. 4).
fn uuid(id: &[u8]) -> String {
    let mut text = hex::encode(id);
    if id.len() == 16 {
        [20, 16, 12, 8].into_iter().for_each(|at| text.insert(at, '-'));
    }
    text
}

/// The bytes of a UUID in the form of [`uuid`].
fn id_of(text: &str) -> Option<Vec<u8>> {
    let id = hex::decode(text.replace('-', "")).ok()?;
    (id.len() == 16 && uuid(&id) == text).then_some(id)
}

fn check_agreement(
    statement: &Statement,
    event: &ErasureCompleted,
    position: u64,
) -> Result<(), CertificateError> {
    let require = |equal: bool, what| if equal { Ok(()) } else { Err(CertificateError::Mismatch(what)) };
    let (id, is_hashed) = (id_of(&statement.request), !event.request_hash.is_empty());
    let same_request = match is_hashed {
        true => id.is_some_and(|id| request_hash(&id).as_slice() == event.request_hash),
        false => statement.request == uuid(&event.request),
    };
    require(same_request, "the request differs")?;
    require(statement.position == position, "the position differs")?;
    let scope = event.scope().as_str_name().trim_start_matches("ERASURE_SCOPE_").to_lowercase();
    require(statement.scope == scope, "the scope differs")?;
    require(statement.entries_erased == entries(event), "the number of erased entries differs")?;
    let requested_at_ms =
        if is_hashed { day_of(statement.requested_at_ms) } else { statement.requested_at_ms };
    require(requested_at_ms == event.requested_at_ms, "the time of the request differs")?;
    let categories_agree = statement.erased_by_category == event.erased_by_category;
    require(!has_categories(event) || categories_agree, "the erased categories differ")?;
    let ground =
        |kept: &KeptOnGround| kept.ground().as_str_name().trim_start_matches("GROUND_").to_lowercase();
    let logged = event.kept.iter().map(|kept| (ground(kept), kept.entries));
    let stated = statement.kept.iter().map(|kept| (kept.ground.clone(), kept.entries));
    require(logged.eq(stated), "the kept entries differ")?;
    let same_count = event.recipients.len() == statement.recipients.len();
    let same_recipient = |(logged, stated): (&PriorRecipient, &Recipient)| {
        logged.name == stated.name
            && logged.grant_ids.len() as u64 == stated.grants
            && logged.artifact_ids.len() as u64 == stated.artifacts
    };
    let mut recipients = event.recipients.iter().zip(&statement.recipients);
    require(same_count && recipients.all(same_recipient), "the recipients differ")
}
