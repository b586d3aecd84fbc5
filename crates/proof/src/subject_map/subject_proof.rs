//! A subject proof: shows offline what the subject map has for one id.

use super::{Blinding, Label, MapLeaf, MapProof, MapProofError, Stream, VrfError, verify_label};
use crate::checkpoint::Checkpoint;
use crate::entry::Handle;
use crate::event::{SubjectMapCommitted, event_body::Event};
use crate::keys::KeyChain;
use crate::merkle::Hash;
use crate::proof::{TlogProof, TlogProofError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// The value of `format`.
pub const FORMAT: &str = "sayso subject proof v1";

/// Why a subject proof is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubjectProofError {
    /// The text is not a subject proof.
    #[error("not a subject proof: {0}")]
    Form(String),
    /// The commitment is not proven to be in the log.
    #[error("{0}")]
    Entry(#[from] TlogProofError),
    /// The proven entry is not a commitment to a map.
    #[error("the proven entry is not a valid `SubjectMapCommitted`")]
    NotCommitment,
    /// The label is not that of the id.
    #[error("{0}")]
    Label(#[from] VrfError),
    /// The label's path is wrong.
    #[error("{0}")]
    Map(#[from] MapProofError),
    /// The stated stream is not the committed one.
    #[error("the stated handle, numbers of events or newest leaf hash are not what the map has")]
    Stream,
}

/// A subject proof. Its text is JSON with the members in this order, indented by two spaces, with a newline
/// at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubjectProof {
    format: String,
    /// The id of the data subject.
    pub subject: String,
    /// Base64 of the VRF's proof.
    vrf_proof: String,
    /// Base64 of each hash beside the path, from the root down.
    siblings: Vec<String>,
    /// Where the path ends; `None` if nothing is there.
    end: Option<End>,
    /// What the commitment at the end of the path hides; `None` if the map does not have the label.
    stream: Option<Opening>,
    /// The proof that the `SubjectMapCommitted` is in the log.
    commitment: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    label: String,
    commitment: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Opening {
    handle: String,
    events: u64,
    present: u64,
    newest_leaf: String,
    blinding: String,
}

/// What a valid subject proof shows.
#[derive(Clone, Debug)]
pub struct VerifiedSubject {
    /// The id.
    pub subject: String,
    /// The key of the id in the map.
    pub label: Label,
    /// Their stream; `None` if the map does not have the id.
    pub stream: Option<Stream>,
    /// The commitment.
    pub committed: SubjectMapCommitted,
    /// Its position in the log.
    pub position: u64,
    /// When it was sealed, milliseconds since the Unix epoch.
    pub committed_at_ms: u64,
    /// The checkpoint of the tree that has the commitment.
    pub checkpoint: Checkpoint,
    /// The signed note of the checkpoint.
    pub checkpoint_note: String,
}

/// Whether a text claims to be a subject proof.
#[must_use]
pub fn is_subject_proof(text: &str) -> bool {
    let format = text.strip_prefix("{\n  \"format\": \"");
    format.is_some_and(|rest| rest.starts_with("sayso subject proof "))
}

impl SubjectProof {
    /// Makes a document. `stream` is what the map has for the id, with the blinding of its commitment.
    /// `commitment` proves the `SubjectMapCommitted`.
    #[must_use]
    pub fn new(
        subject: &str,
        vrf_proof: &[u8],
        path: &MapProof,
        stream: Option<(Stream, Blinding)>,
        commitment: String,
    ) -> Self {
        let end =
            path.end.map(|end| End { label: encode(&end.label.0), commitment: encode(&end.commitment) });
        let stream = stream.map(|(stream, blinding)| Opening {
            handle: hex::encode(stream.handle.0),
            events: stream.events,
            present: stream.present,
            newest_leaf: encode(&stream.newest_leaf),
            blinding: encode(&blinding),
        });
        Self {
            format: FORMAT.to_owned(),
            subject: subject.to_owned(),
            vrf_proof: encode(vrf_proof),
            siblings: path.siblings.iter().map(|hash| encode(hash)).collect(),
            end,
            stream,
            commitment,
        }
    }

    /// The text of the document.
    ///
    /// # Errors
    /// It has no JSON form, which cannot happen.
    pub fn to_text(&self) -> Result<String, SubjectProofError> {
        let text = serde_json::to_string_pretty(self).map_err(|error| form(&error.to_string()))?;
        Ok(text + "\n")
    }

    /// Parses a document. There is one text for each document.
    ///
    /// # Errors
    /// The text is not a subject proof.
    pub fn parse(text: &str) -> Result<Self, SubjectProofError> {
        let proof: Self = serde_json::from_str(text).map_err(|error| form(&error.to_string()))?;
        if proof.format != FORMAT {
            return Err(form("unknown format; `sayso subject proof v1` is supported"));
        }
        match proof.to_text()? == text {
            true => Ok(proof),
            false => Err(form("it is not written as docs/format.md says")),
        }
    }

    /// The checkpoint of the document. Nothing is verified.
    ///
    /// # Errors
    /// The proof of the commitment is malformed.
    pub fn checkpoint_note(&self) -> Result<String, SubjectProofError> {
        Ok(self.commitment.parse::<TlogProof>()?.checkpoint)
    }

    /// Verifies the document. `keys` is every key that the log had, or one of them.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn verify(&self, keys: &KeyChain) -> Result<VerifiedSubject, SubjectProofError> {
        let proof: TlogProof = self.commitment.parse()?;
        let verified = proof.verify(keys.clone())?;
        let body = verified.entry.plain_body().map_err(TlogProofError::Entry)?;
        let is_system = verified.entry.header.handle == Handle::SYSTEM;
        let committed = match body.and_then(|body| body.event) {
            Some(Event::SubjectMapCommitted(committed)) if is_system => committed,
            _ => return Err(SubjectProofError::NotCommitment),
        };
        let root: Hash =
            committed.root.as_slice().try_into().map_err(|_| SubjectProofError::NotCommitment)?;
        if committed.tree_size > verified.position {
            return Err(SubjectProofError::NotCommitment);
        }
        let vrf_proof = decode(&self.vrf_proof)?;
        let label = verify_label(&committed.vrf_public_key, &self.subject, &vrf_proof)?;
        let found = self.path()?.verify(&root, &label)?;
        let stream = self.opened()?;
        if found != stream.as_ref().map(|(stream, blinding)| stream.commitment(blinding)) {
            return Err(SubjectProofError::Stream);
        }
        Ok(VerifiedSubject {
            subject: self.subject.clone(),
            label,
            stream: stream.map(|(stream, _)| stream),
            committed,
            position: verified.position,
            committed_at_ms: verified.entry.header.sealed_at_ms,
            checkpoint: verified.checkpoint,
            checkpoint_note: proof.checkpoint,
        })
    }

    fn path(&self) -> Result<MapProof, SubjectProofError> {
        let siblings = self.siblings.iter().map(|hash| decode_array(hash)).collect::<Result<_, _>>()?;
        let end = self.end.as_ref().map(|end| {
            let (label, commitment) = (Label(decode_array(&end.label)?), decode_array(&end.commitment)?);
            Ok::<_, SubjectProofError>(MapLeaf { label, commitment })
        });
        Ok(MapProof { siblings, end: end.transpose()? })
    }

    fn opened(&self) -> Result<Option<(Stream, Blinding)>, SubjectProofError> {
        let Some(opening) = &self.stream else { return Ok(None) };
        let handle = hex::decode(&opening.handle).ok().and_then(|bytes| bytes.try_into().ok());
        let stream = Stream {
            handle: Handle(handle.ok_or_else(|| form("the handle is not 16 bytes in hex"))?),
            events: opening.events,
            present: opening.present,
            newest_leaf: decode_array(&opening.newest_leaf)?,
        };
        Ok(Some((stream, decode_array(&opening.blinding)?)))
    }
}

fn form(reason: &str) -> SubjectProofError {
    SubjectProofError::Form(reason.to_owned())
}

fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

fn decode(text: &str) -> Result<Vec<u8>, SubjectProofError> {
    STANDARD.decode(text).map_err(|_| form("invalid base64"))
}

fn decode_array<const N: usize>(text: &str) -> Result<[u8; N], SubjectProofError> {
    decode(text)?.try_into().map_err(|_| form("a value does not have its length"))
}
