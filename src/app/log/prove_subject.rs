//! Proves how many events the log has about a data subject and which is the newest, or that the log has
//! none. The proof rests on the subject map, to which the log commits (docs/completeness.md).

use crate::app::error::{AppError, Cause};
use crate::app::log::core::Core;
use crate::app::log::kept_map::Commitment;
use crate::app::log::subject_map::link_of;
use crate::domain::ids::SubjectId;
use crate::secret::{self, with_cleared_stack};
use crate::vault::MapLink;
use sayso_proof::subject_map::{Stream, SubjectProof};
use std::sync::Arc;

/// Words of stack that are overwritten after a proof was made.
const STACK_WORDS: usize = (16 << 10) / secret::STACK_WORD_BYTES;

/// A proof that was just made.
pub(crate) struct ProvenSubject {
    /// The document.
    pub proof: SubjectProof,
    /// The stream that it shows; `None` if nothing is recorded under the id.
    pub stream: Option<Stream>,
    /// Number of entries in the tree of its checkpoint.
    pub tree_size: u64,
}

impl ProvenSubject {
    /// The document as text.
    ///
    /// # Errors
    /// It has no JSON form, which cannot happen.
    pub fn to_text(&self) -> Result<String, AppError> {
        self.proof.to_text().map_err(|error| AppError::Internal(Cause::Export(std::io::Error::other(error))))
    }
}

impl Core {
    /// Commits to the subject map as of now, and proves what it has for an id.
    ///
    /// # Errors
    /// The store or the vault can't be read or written.
    pub(crate) async fn prove_subject(
        self: &Arc<Self>,
        subject: &SubjectId,
    ) -> Result<ProvenSubject, AppError> {
        self.prepare_subject_map().await?;
        if let Some(stream) = self.stream(subject).await? {
            self.link_stream(subject, &stream).await?;
        }
        let (label, vrf_proof) = self.vault.prove_label(subject)?;
        let no_erasures = self.keep_erasures_out().await;
        let (no_erasures, commitment, path) = self.prove_in_subject_map(label, no_erasures).await?;
        let opened = self.committed_stream(subject, &commitment)?;
        drop(no_erasures);
        let checkpoint = self.ledger.checkpoint_for(commitment.position);
        let inclusion = self.ledger.proof_text_at(commitment.position, &checkpoint)?;
        let stream = opened.as_ref().map(|(stream, _)| *stream);
        let proof = with_cleared_stack::<STACK_WORDS, _>(|| {
            let opened = opened.map(|(stream, link)| (stream, *link.blinding()));
            SubjectProof::new(subject.as_str(), &vrf_proof, &path, opened, inclusion)
        });
        Ok(ProvenSubject { proof, stream, tree_size: checkpoint.size })
    }

    /// What a commitment has about a data subject, with the secret that it hides behind.
    fn committed_stream(
        &self,
        subject: &SubjectId,
        commitment: &Commitment,
    ) -> Result<Option<(Stream, MapLink)>, AppError> {
        let Some(keys) = self.vault.subject(subject)? else { return Ok(None) };
        let stream = self.stream_as_of(keys.handle, commitment.committed.tree_size)?;
        Ok(stream.map(|stream| (stream, link_of(&keys))))
    }
}
