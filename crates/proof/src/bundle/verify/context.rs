//! Verifies the keys and the checkpoint of a bundle. Prepares the comparison of the bundle with what the
//! user gave, such as an older checkpoint.

use super::{StatedCounts, Verifier};
use crate::bundle::earlier::Comparison;
use crate::bundle::member::Member;
use crate::bundle::report::VerifyFailure;
use crate::context;
use crate::keys::KeyChain;
use std::sync::Arc;

impl Verifier<'_> {
    /// Keeps the checkpoint unverified, because the next file has the key that must have signed it.
    pub(super) fn keep_checkpoint(&mut self, bytes: &[u8]) -> Result<(), VerifyFailure> {
        let failure = |reason: String| VerifyFailure::at(Member::Checkpoint, reason);
        self.checkpoint_note =
            String::from_utf8(bytes.to_vec()).map_err(|error| failure(error.to_string()))?;
        Ok(())
    }

    /// Verifies the key chain, then the checkpoint, its cosignatures and the older checkpoint.
    pub(super) fn check_keys(&mut self, bytes: &[u8]) -> Result<(), VerifyFailure> {
        let failure = |reason: String| VerifyFailure::at(Member::Keys, reason);
        let text = std::str::from_utf8(bytes).map_err(|error| failure(error.to_string()))?;
        let keys = match self.trusted {
            Some(trusted) => KeyChain::parse(text, trusted),
            None => KeyChain::parse_own(text),
        };
        let keys = keys.map_err(|error| failure(error.to_string()))?;
        self.keys = Arc::new(keys);
        let failure = |reason: String| VerifyFailure::at(Member::Checkpoint, reason);
        let checkpoint = self.keys.open(&self.checkpoint_note).map_err(|error| failure(error.to_string()))?;
        if *self.keys != self.keys.of_size(checkpoint.size) {
            return Err(VerifyFailure::at(Member::Keys, "a key begins after the end of the log"));
        }
        self.checkpoint = checkpoint;
        self.report.signatures += 1 + 2 * self.keys.rotations();
        let cosigned = context::cosigned(&self.checkpoint_note, self.options);
        let cosigned = cosigned.map_err(|error| failure(error.to_string()))?;
        self.report.signatures += cosigned.len() as u64;
        self.report.witnesses = cosigned;
        let since = self.options.since.as_deref().map(|note| self.keys.open(note)).transpose();
        self.since = since.map_err(|error| VerifyFailure::at("--since", error))?;
        if self.since.as_ref().is_some_and(|since| since.size > self.checkpoint.size) {
            return Err(failure(
                "the log is smaller than the older checkpoint that it must extend".to_owned(),
            ));
        }
        let (keys, size) = (Arc::clone(&self.keys), self.checkpoint.size);
        let begin = |earlier| Comparison::begin(earlier, &keys, size);
        self.earlier = self.options.earlier.iter().map(begin).collect::<Result<_, _>>()?;
        let open = |note| StatedCounts::open(note, &self.keys, self.checkpoint.size);
        self.counts = self.options.counts.as_deref().map(open).transpose()?;
        self.report.signatures += u64::from(self.counts.is_some());
        Ok(())
    }
}
