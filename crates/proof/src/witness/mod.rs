//! Witnesses: the cosignatures of C2SP tlog-cosignature and the messages of C2SP tlog-witness.
//!
//! A witness cosigns a checkpoint of a log only if the checkpoint extends the last one that the witness
//! cosigned for that log. So clients that require the witness's cosignature cannot be shown different
//! histories. The daemon's crate has the code for HTTP and for the witness's storage.

mod key;
mod request;
mod signer;
#[cfg(test)]
mod tests;

pub use key::{CosignatureAlgorithm, WitnessKey};
pub use request::{AddCheckpoint, REQUEST_BYTES_MAX};
pub use signer::WitnessSigner;

use crate::checkpoint::{NoteError, parse_note};
use serde::Serialize;

/// A verified cosignature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cosigned {
    /// Name of the witness.
    pub witness: String,
    /// When it cosigned, by its own clock, in seconds since the Unix epoch.
    pub at_s: u64,
    /// The algorithms of its cosignatures, each once.
    pub algorithms: Vec<CosignatureAlgorithm>,
}

/// Returns which of these witnesses cosigned a note. A witness counts once: keys with the same name belong
/// to one witness, and so does a key that is given under several names. Signatures by others, including the
/// log's own, are not verified.
///
/// # Errors
/// The note is malformed, or a cosignature by one of these witnesses does not verify.
pub fn cosignatures(note: &str, witnesses: &[WitnessKey]) -> Result<Vec<Cosigned>, NoteError> {
    let mut found: Vec<Vec<(&WitnessKey, u64)>> = Vec::new();
    for (witness, at_s) in valid_cosignatures(note, witnesses)? {
        let is_same =
            |group: &Vec<(&WitnessKey, u64)>| group.iter().any(|(of, _)| of.is_same_witness(witness));
        let (same, others): (Vec<_>, Vec<_>) = found.into_iter().partition(is_same);
        found = others;
        found.push(same.into_iter().flatten().chain([(witness, at_s)]).collect());
    }
    Ok(found.iter().filter_map(|group| Cosigned::of(group)).collect())
}

/// Every key of these witnesses that cosigned a note, and when, in seconds since the Unix epoch.
///
/// # Errors
/// The note is malformed, or a cosignature by one of these keys does not verify.
pub fn valid_cosignatures<'a>(
    note: &str,
    witnesses: &'a [WitnessKey],
) -> Result<Vec<(&'a WitnessKey, u64)>, NoteError> {
    let (text, signatures) = parse_note(note)?;
    let mut valid = Vec::new();
    for signature in signatures {
        let is_its = |known: &&WitnessKey| known.name == signature.name && known.id() == signature.id;
        if let Some(witness) = witnesses.iter().find(is_its) {
            valid.push((witness, witness.verify(text, &signature.bytes)?));
        }
    }
    Ok(valid)
}

impl Cosigned {
    /// The valid cosignatures of one witness as one; none if there are none.
    fn of(group: &[(&WitnessKey, u64)]) -> Option<Self> {
        let (first, _) = group.first()?;
        let mut algorithms: Vec<_> = group.iter().map(|(key, _)| key.algorithm()).collect();
        algorithms.sort_unstable();
        algorithms.dedup();
        let at_s = group.iter().map(|(_, at_s)| *at_s).max()?;
        Some(Self { witness: first.name.clone(), at_s, algorithms })
    }
}
