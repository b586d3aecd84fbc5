//! What a verifier knows about a log besides its keys: witnesses that it trusts, an older checkpoint, and the
//! keys that sign the rules.
//!
//! The log's key alone proves little about a single document, because the operator has that key. With it, the
//! operator can sign a tree that no one else sees: the tree of an invented log, or of a copy of the log to
//! which other entries were added. Witnesses and older checkpoints tie the document's tree to the log that
//! others see.

use crate::bundle::Earlier;
use crate::checkpoint::{Checkpoint, NoteError};
use crate::event::event_body::Event;
use crate::keys::KeyChain;
use crate::merkle::{self, Hash, ProofError};
use crate::rule::{RuleTier, TierKey};
use crate::subject_map::SubjectProof;
use crate::timestamp::Authorities;
use crate::witness::{CosignatureAlgorithm, Cosigned, WitnessKey, cosignatures, valid_cosignatures};
use crate::writer::event_bytes;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use std::fmt::{self, Display};
use std::str::FromStr;

/// What the user knows of a log besides its keys. By default, nothing.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// An older checkpoint of the same log, as a signed note. The bundle or document must extend it.
    pub since: Option<String>,
    /// Earlier exports of the same log. A bundle must continue each of them, and may not misstate what an
    /// entry was that it has erased since.
    pub earlier: Vec<Earlier>,
    /// Counts that the log's key signed, as a note. The events of a bundle must agree with them.
    pub counts: Option<String>,
    /// Witnesses that the user trusts.
    pub witnesses: Vec<WitnessKey>,
    /// Number of these witnesses that must have cosigned the checkpoint. `None`: every key must have cosigned
    /// it. A witness that is given with several keys counts once.
    pub witnesses_min: Option<usize>,
    /// Certificates that the user trusts for timestamps. If they are given, at least one timestamp in the
    /// bundle must be by such an authority.
    pub authorities: Option<Authorities>,
    /// Keys that the user trusts to sign the rules of a tier. A bundle's rules of a tier with such a key must
    /// be signed by one of them.
    pub tier_keys: Vec<TierKey>,
    /// Bounds that the user knows: the tier of each, and SHA-256 of its policies. After a rule that a trusted
    /// key of a tier signed, a bundle's unsigned bounds of this tier must be among them.
    pub known_bounds: Vec<(RuleTier, [u8; 32])>,
    /// Definitions that the user knows, each as [`definition_digest`] gives it. Unsigned ones are counted
    /// apart from others.
    pub known_definitions: Vec<[u8; 32]>,
    /// Subject proofs of the ids that the user knows. With at least one, a bundle's streams of other ids are
    /// counted.
    pub subject_proofs: Vec<SubjectProof>,
}

/// SHA-256 of an event that defines a purpose or a category, to recognize the definition in a log.
#[must_use]
pub fn definition_digest(event: &Event) -> [u8; 32] {
    Sha256::digest(event_bytes(event)).into()
}

const FIRST_LINE: &str = "sayso consistency proof v1";
/// A tree of 2^64 leaves has a height of 64. A consistency proof has one hash more than the height at most.
const HASHES_MAX: usize = 65;

/// Why a document does not fit its context.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContextError {
    /// The checkpoint has an invalid cosignature.
    #[error("invalid cosignature of the checkpoint: {0}")]
    Cosignature(NoteError),
    /// Too few witnesses cosigned the checkpoint.
    #[error("the checkpoint is cosigned by {found} of the given witnesses, but {needed} are required")]
    Witnesses {
        /// Number of the given witnesses that cosigned.
        found: usize,
        /// Number that is required.
        needed: usize,
    },
    /// One of the given keys did not cosign the checkpoint.
    #[error("the witness {name} did not cosign the checkpoint with its {algorithm} key")]
    Witness {
        /// Name of the witness.
        name: String,
        /// The algorithm of the key.
        algorithm: CosignatureAlgorithm,
    },
    /// The older checkpoint is invalid.
    #[error("--since: {0}")]
    Since(NoteError),
    /// The older checkpoint has more entries than the document's.
    #[error("--since: the checkpoint of {since} entries is newer than the document's of {size} entries")]
    Newer {
        /// Entries of the given checkpoint.
        since: u64,
        /// Entries of the document's checkpoint.
        size: u64,
    },
    /// The document has no consistency proof from the older checkpoint.
    #[error("--since: the document has no consistency proof from {0} entries")]
    NoConsistency(u64),
    /// The document's tree does not extend the older checkpoint.
    #[error("--since: the log of the document does not continue the older checkpoint: {0}")]
    Continues(ProofError),
    /// The text is not a consistency proof.
    #[error("not a consistency proof: {0}")]
    Form(&'static str),
}

/// A proof that the tree of a document's checkpoint extends an older tree (RFC 9162 s. 2.1.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consistency {
    /// Entries of the older tree.
    pub from_size: u64,
    /// The hashes of the proof.
    pub hashes: Vec<Hash>,
}

impl Display for Consistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST_LINE}")?;
        writeln!(f, "from {}", self.from_size)?;
        self.hashes.iter().try_for_each(|hash| writeln!(f, "{}", STANDARD.encode(hash)))
    }
}

impl FromStr for Consistency {
    type Err = ContextError;

    fn from_str(text: &str) -> Result<Self, ContextError> {
        let form = ContextError::Form;
        let mut lines = text.strip_suffix('\n').ok_or(form("no newline at the end"))?.split('\n');
        if lines.next() != Some(FIRST_LINE) {
            return Err(form("unknown first line"));
        }
        let size = lines.next().and_then(|line| line.strip_prefix("from ")).ok_or(form("no size"))?;
        let from_size: u64 = size.parse().map_err(|_| form("the size is not a number"))?;
        if from_size.to_string() != size {
            return Err(form("the size has leading zeros"));
        }
        let mut hashes = Vec::new();
        for line in lines {
            let hash = STANDARD.decode(line).ok().and_then(|hash| Hash::try_from(hash.as_slice()).ok());
            hashes.push(hash.ok_or(form("a line is not a base64 hash of 32 bytes"))?);
            if hashes.len() > HASHES_MAX {
                return Err(form("more than 65 hashes"));
            }
        }
        Ok(Self { from_size, hashes })
    }
}

/// Splits a text into the part before its consistency proof, and that proof, if it has one.
///
/// # Errors
/// The consistency proof is malformed.
pub fn split_consistency(text: &str) -> Result<(&str, Option<Consistency>), ContextError> {
    let Some(at) = text.find(&format!("\n\n{FIRST_LINE}\n")) else { return Ok((text, None)) };
    let (before, proof) = text.split_at_checked(at.saturating_add(1)).ok_or(ContextError::Form("no text"))?;
    Ok((before, Some(proof.trim_start_matches('\n').parse()?)))
}

/// What a context shows about a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContextFindings {
    /// Those of the given witnesses that cosigned the checkpoint.
    pub witnesses: Vec<Cosigned>,
    /// Entries of the older checkpoint that the tree extends, if one was given.
    pub continues: Option<u64>,
}

/// Returns which of the given witnesses cosigned a checkpoint.
///
/// # Errors
/// A cosignature is invalid, or fewer witnesses cosigned than the user requires.
pub fn cosigned(note: &str, options: &Options) -> Result<Vec<Cosigned>, ContextError> {
    let cosigned = cosignatures(note, &options.witnesses).map_err(ContextError::Cosignature)?;
    let Some(needed) = options.witnesses_min else {
        return every_key_cosigned(note, &options.witnesses).map(|()| cosigned);
    };
    let found = cosigned.len();
    if found < needed { Err(ContextError::Witnesses { found, needed }) } else { Ok(cosigned) }
}

fn every_key_cosigned(note: &str, witnesses: &[WitnessKey]) -> Result<(), ContextError> {
    let valid = valid_cosignatures(note, witnesses).map_err(ContextError::Cosignature)?;
    match witnesses.iter().find(|key| !valid.iter().any(|(found, _)| found == key)) {
        None => Ok(()),
        Some(key) => Err(ContextError::Witness { name: key.name.clone(), algorithm: key.algorithm() }),
    }
}

/// Checks a verified checkpoint, and the note that it came in, against the context that the user gave.
/// `consistency` is the proof that the document carries.
///
/// # Errors
/// The first check that fails.
pub fn check(
    note: &str,
    checkpoint: &Checkpoint,
    consistency: Option<&Consistency>,
    keys: &KeyChain,
    options: &Options,
) -> Result<ContextFindings, ContextError> {
    let witnesses = cosigned(note, options)?;
    let since = options.since.as_deref().map(|note| keys.open(note)).transpose();
    let Some(since) = since.map_err(ContextError::Since)? else {
        return Ok(ContextFindings { witnesses, continues: None });
    };
    if since.size > checkpoint.size {
        return Err(ContextError::Newer { since: since.size, size: checkpoint.size });
    }
    let carried = consistency.filter(|proof| proof.from_size == since.size);
    let hashes = match carried {
        Some(proof) => proof.hashes.as_slice(),
        // Equal trees, and the empty tree, need no proof.
        None if since.size == checkpoint.size || since.size == 0 => &[],
        None => return Err(ContextError::NoConsistency(since.size)),
    };
    merkle::verify_consistency(since.size, &since.root, checkpoint.size, &checkpoint.root, hashes)
        .map_err(ContextError::Continues)?;
    Ok(ContextFindings { witnesses, continues: Some(since.size) })
}
