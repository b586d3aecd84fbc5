//! Reads the binary files of a bundle: the leaf hashes and the records of the subject map.

use super::{Verifier, spool_failure};
use crate::bundle::member::Member;
use crate::bundle::report::VerifyFailure;
use crate::bundle::spool;
use crate::bundle::subject_map::Records;
use crate::bundle::time_bounds::TimeBounds;
use crate::merkle::{Frontier, Hash};
use sha2::{Digest, Sha256};
use std::io::Read;

impl Verifier<'_> {
    pub(super) fn read_leaf_hashes(&mut self, length: u64, data: &mut dyn Read) -> Result<(), VerifyFailure> {
        let member = Member::LeafHashes;
        if length != self.checkpoint.size.saturating_mul(32) {
            return Err(VerifyFailure::at(member, "the file does not have 32 bytes for each entry"));
        }
        let (allowance, mut kept) = (self.read.clone(), 0_u64);
        let mut leaf_hashes = std::mem::take(&mut self.leaf_hashes);
        let (mut timestamps, mut counts) = (std::mem::take(&mut self.timestamps), self.counts.take());
        let (mut tree, mut digest) = (Frontier::new(), Sha256::new());
        let mut root_at_since = self.since.as_ref().filter(|since| since.size == 0).map(|_| tree.root());
        let read = self.read_pieces(member, length, data, &mut |piece| {
            digest.update(piece);
            for leaf in piece.as_chunks::<32>().0 {
                tree.push(*leaf);
                if self.since.as_ref().is_some_and(|since| since.size == tree.size()) {
                    root_at_since = Some(tree.root());
                }
                timestamps.reach(&tree);
                counts.iter_mut().for_each(|counts| counts.reach(&tree));
            }
            kept = kept.saturating_add(piece.len() as u64);
            allowance.allow_leaves(kept)?;
            leaf_hashes.append(piece).map_err(|error| spool::failed(&error))
        });
        read.map_err(|rejection| VerifyFailure::rejected(member, rejection))?;
        leaf_hashes.rewind().map_err(spool_failure)?;
        (self.leaf_hashes, self.counts) = (leaf_hashes, counts);
        (self.report.timestamps, self.report.timestamps_untrusted) =
            timestamps.finish(&self.checkpoint.origin, self.options.authorities.as_ref())?;
        self.time_bounds = TimeBounds::new(&self.report.timestamps);
        self.files.add_digest(member, length, &digest.finalize().into());
        self.compare_tree(&tree, root_at_since);
        Ok(())
    }

    pub(super) fn read_subject_map(&mut self, length: u64, data: &mut dyn Read) -> Result<(), VerifyFailure> {
        let member = Member::SubjectMap;
        self.entries_state();
        let Some(mut state) = self.entries.take() else { return Ok(()) };
        let (mut digest, mut records, allowance) = (Sha256::new(), Records::default(), self.read.clone());
        let read = self.read_pieces(member, length, data, &mut |piece| {
            digest.update(piece);
            records.read(piece, |record| state.subjects.add_map_record(record))?;
            Ok(allowance.allow_entries(state.subjects.bytes())?)
        });
        self.entries = Some(state);
        read.and_then(|()| records.finish())
            .map_err(|rejection| VerifyFailure::rejected(member, rejection))?;
        self.has_subject_map = true;
        self.files.add_digest(member, length, &digest.finalize().into());
        Ok(())
    }

    /// Compares the tree with the checkpoints. A fault is deferred until after the entries.
    fn compare_tree(&mut self, tree: &Frontier, root_at_since: Option<Hash>) {
        self.is_root_wrong = tree.root() != self.checkpoint.root;
        let fault = if self.is_root_wrong {
            Some((Member::LeafHashes.to_string(), "the root of the tree differs from the checkpoint"))
        } else if self.since.as_ref().map(|since| since.root) != root_at_since {
            Some(("--since".to_owned(), "the log does not extend the older checkpoint"))
        } else if self.counts.as_ref().is_some_and(|counts| !counts.has_root()) {
            Some(("--counts".to_owned(), "the counts are about another tree, which the log does not extend"))
        } else {
            None
        };
        self.deferred = fault.map(|(place, reason)| VerifyFailure::at(place, reason));
    }
}
