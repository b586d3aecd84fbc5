//! The certificate of an erasure: a note signed by the log's key that says what was erased, and the proof of the
//! `ErasureCompleted` that it speaks of. Verifies alone.
//!
//! What the log's entry says about nobody, and what the note says in addition (counts by category after a partial
//! erasure, who has acknowledged so far), stand under the same key; where both speak of the same they must agree.

use crate::checkpoint::NoteError;
use crate::event::event_body::Event;
use crate::event::{ErasureCompleted, ErasureScope};
use crate::keys::KeyChain;
use crate::proof::{TlogProof, TlogProofError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The first line of the note's text.
pub const FIRST_LINE: &str = "sayso erasure certificate v1";
const PROOF_LINE: &str = "c2sp.org/tlog-proof@";

/// Why a certificate is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Not in the form of a certificate.
    #[error("not an erasure certificate: {0}")]
    Form(&'static str),
    /// The note is not signed by the key.
    #[error("the certificate's note: {0}")]
    Note(#[from] NoteError),
    /// The proof does not hold.
    #[error("the certificate's proof: {0}")]
    Proof(#[from] TlogProofError),
    /// The note and the entry that is proved disagree.
    #[error("the certificate does not say what the log says: {0}")]
    Disagrees(&'static str),
}

/// What was kept on a ground.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// As `legal_claims`.
    pub ground: String,
    /// The article it comes from.
    pub article: String,
    /// Number of entries.
    pub entries: u64,
}

/// Somebody who had been granted the data (GDPR Art. 19).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipient {
    /// Who.
    pub name: String,
    /// Grants that went.
    pub grants: u64,
    /// Artefacts that fell.
    pub artifacts: u64,
    /// It has said that it carried the erasure out.
    pub acknowledged: bool,
}

/// What a certificate says. Times are milliseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// Of the log.
    pub origin: String,
    /// UUID.
    pub request: String,
    /// As `all`, `profile`, `key`, `category`, `retention`.
    pub scope: String,
    /// When it was asked for.
    pub requested_at_ms: u64,
    /// When all of it was true.
    pub completed_at_ms: u64,
    /// Of the `ErasureCompleted`.
    pub position: u64,
    /// Entries destroyed.
    pub entries_erased: u64,
    /// Attributes by category.
    pub erased_by_category: BTreeMap<String, u32>,
    /// What was in the scope and is kept.
    pub kept: Vec<Kept>,
    /// Who had been granted it.
    pub recipients: Vec<Recipient>,
    /// When the certificate was made: who has acknowledged changes.
    pub issued_at_ms: u64,
}

impl Statement {
    /// The note's text: a line that says what it is, and the statement as JSON.
    ///
    /// # Errors
    /// It has no JSON form, which can't happen.
    pub fn to_text(&self) -> Result<String, serde_json::Error> {
        Ok(format!("{FIRST_LINE}\n{}\n", serde_json::to_string(self)?))
    }
}

/// Entries that an erasure destroyed.
#[must_use]
pub fn entries(done: &ErasureCompleted) -> u64 {
    done.discarded.iter().map(|range| range.last.saturating_sub(range.first).saturating_add(1)).sum()
}

/// Note and proof as one text.
#[must_use]
pub fn document(note: &str, proof: &str) -> String {
    format!("{}\n\n{proof}", note.trim_end_matches('\n'))
}

/// Whether a text claims to be a certificate.
#[must_use]
pub fn is_certificate(text: &str) -> bool {
    text.starts_with(FIRST_LINE)
}

/// Verifies a certificate with the log's key, or all that it had: the note's signature, the proof, and that they agree.
///
/// # Errors
/// The first thing that does not hold.
pub fn verify(text: &str, keys: impl Into<KeyChain>) -> Result<Statement, CertificateError> {
    let keys = keys.into();
    let form = CertificateError::Form;
    let at = text.find(&format!("\n\n{PROOF_LINE}")).ok_or(form("no proof"))?;
    let (note, proof) = text.split_at_checked(at).ok_or(form("no proof"))?;
    let note = format!("{note}\n");
    let proof: TlogProof = proof.trim_start_matches('\n').parse()?;
    // The tree that the proof leads to was the newest when the note was signed.
    let said = keys.open_note(&note, size_of(&proof.checkpoint))?;
    let json = said.strip_prefix(FIRST_LINE).and_then(|rest| rest.strip_prefix('\n'));
    let json = json.ok_or(form("another first line"))?;
    let statement: Statement = serde_json::from_str(json).map_err(|_| form("not the JSON of a statement"))?;
    if statement.to_text().ok().as_deref() != Some(said) {
        return Err(form("a second encoding"));
    }
    let verified = proof.verify(&keys)?;
    let body = verified.entry.plain_body().map_err(TlogProofError::Entry)?;
    let Some(Event::ErasureCompleted(done)) = body.and_then(|body| body.event) else {
        return Err(CertificateError::Disagrees("the entry is no erasure"));
    };
    agree(&statement, &done, verified.position)?;
    if statement.origin != verified.entry.origin {
        return Err(CertificateError::Disagrees("another log"));
    }
    Ok(statement)
}

/// The size that a checkpoint claims; it is believed once the proof is verified.
fn size_of(checkpoint: &str) -> u64 {
    checkpoint.lines().nth(1).and_then(|size| size.parse().ok()).unwrap_or_default()
}

fn agree(said: &Statement, done: &ErasureCompleted, position: u64) -> Result<(), CertificateError> {
    let same = |holds: bool, what| if holds { Ok(()) } else { Err(CertificateError::Disagrees(what)) };
    let request: String = said.request.chars().filter(|c| *c != '-').collect();
    same(request == hex::encode(&done.request), "another request")?;
    same(said.position == position, "another position")?;
    same(
        said.scope == done.scope().as_str_name().trim_start_matches("ERASURE_SCOPE_").to_lowercase(),
        "scope",
    )?;
    same(said.entries_erased == entries(done), "number of entries")?;
    same(said.requested_at_ms == done.requested_at_ms, "when it was asked for")?;
    let everything = done.scope() != ErasureScope::All || said.erased_by_category == done.erased_by_category;
    same(everything || done.erased_by_category.is_empty(), "categories")?;
    let kept: u64 = done.kept.iter().map(|kept| kept.entries).sum();
    same(said.kept.iter().map(|kept| kept.entries).sum::<u64>() == kept, "what was kept")?;
    let recipients = done.recipients.iter().zip(&said.recipients);
    let all =
        recipients.clone().count() == done.recipients.len() && done.recipients.len() == said.recipients.len();
    let each = |(log, said): (&crate::event::PriorRecipient, &Recipient)| {
        log.name == said.name
            && log.grant_ids.len() as u64 == said.grants
            && log.artifact_ids.len() as u64 == said.artifacts
    };
    same(all && recipients.clone().all(each), "recipients")
}
