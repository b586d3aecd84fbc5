//! Compares the proofs in a package with each other. All receipts must be about one person, the person's
//! entries must have each decision that a receipt is about, and checkpoints of the same size must have the
//! same tree.

use super::error::PackageError;
use super::stated::{PACKAGE, StatedSubject};
use super::verify_receipt::VerifiedReceipt;
use sayso_proof::checkpoint::Checkpoint;
use sayso_proof::merkle::Hash;
use std::collections::BTreeMap;

/// The proofs of a package that were verified so far. Takes about 100 bytes of memory for each receipt.
#[derive(Default)]
pub(super) struct PackageProofs {
    /// The ledger's pseudonym of the person in all receipts.
    pseudonym: Option<String>,
    /// The leaf hash of each decision that has a receipt, by its position.
    decisions: BTreeMap<u64, Hash>,
    /// The root of each checkpoint, by its size.
    roots: BTreeMap<u64, Hash>,
}

impl PackageProofs {
    /// Adds the checkpoint of a proof in the member `name`.
    ///
    /// # Errors
    /// Another checkpoint in the package has the same size and another root.
    pub fn add_checkpoint(&mut self, name: &str, checkpoint: &Checkpoint) -> Result<(), PackageError> {
        match *self.roots.entry(checkpoint.size).or_insert(checkpoint.root) == checkpoint.root {
            true => Ok(()),
            false => Err(wrong(name, "its checkpoint is of another tree than a checkpoint of the same size")),
        }
    }

    /// Adds a receipt.
    ///
    /// # Errors
    /// It contradicts the receipts before it.
    pub fn add_receipt(&mut self, name: &str, receipt: &VerifiedReceipt) -> Result<(), PackageError> {
        self.add_checkpoint(name, &receipt.checkpoint)?;
        if *self.pseudonym.get_or_insert_with(|| receipt.pseudonym.clone()) != receipt.pseudonym {
            return Err(wrong(name, "it is about another person than the receipts before it"));
        }
        match self.decisions.insert(receipt.position, receipt.leaf) {
            None => Ok(()),
            Some(_) => Err(wrong(name, "there is another receipt of the same decision")),
        }
    }

    /// Takes note of an entry of the person.
    ///
    /// # Errors
    /// A receipt is about another entry at this position.
    pub fn add_entry(&mut self, name: &str, position: u64, leaf: Hash) -> Result<(), PackageError> {
        match self.decisions.remove(&position).is_none_or(|decision| decision == leaf) {
            true => Ok(()),
            false => Err(wrong(name, "a receipt is about another entry than this member has")),
        }
    }

    /// Requires that all receipts are about this person. `committed` is the number of entries of the log that
    /// the package has everything from.
    ///
    /// # Errors
    /// The receipts are about somebody else, or the entries lack a decision.
    pub fn check(&self, subject: Option<&StatedSubject>, committed: Option<u64>) -> Result<(), PackageError> {
        let is_other = |of: &String| subject.is_none_or(|subject| subject.pseudonym != *of);
        if self.pseudonym.as_ref().is_some_and(is_other) {
            return Err(wrong(PACKAGE, "the receipts are about another person"));
        }
        match (self.decisions.first_key_value(), committed) {
            (Some((position, _)), Some(committed)) if *position < committed => {
                Err(wrong(super::verify_completeness::ENTRIES, "it lacks a decision that has a receipt"))
            }
            _ => Ok(()),
        }
    }

    /// Number of sizes that the checkpoints of the proofs have, besides this one.
    pub fn other_sizes(&self, size: u64) -> u64 {
        self.roots.keys().filter(|other| **other != size).count() as u64
    }
}

fn wrong(name: &str, problem: &'static str) -> PackageError {
    PackageError::Member(name.to_owned(), problem)
}
