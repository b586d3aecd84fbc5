//! Compares the streams in a bundle with the ids of people that the user knows. For each id, the user gives a
//! subject proof, which shows which stream belongs to the id.
//!
//! A bundle does not contain the ids of people. So only somebody who knows the ids can see that a stream
//! belongs to none of them. Such a stream is a second stream about one of these people, or is about a person
//! whom the operator concealed.

use crate::entry::Handle;
use crate::keys::KeyChain;
use crate::subject_map::{Label, SubjectProof};
use serde::Serialize;
use std::collections::BTreeSet;

/// The most handles that are listed.
const HANDLES_MAX: usize = 100;

/// What the given ids show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GivenReport {
    /// Number of different ids with a subject proof.
    pub ids: u64,
    /// Number of these that have a stream in the bundle.
    pub found: u64,
    /// Number of streams that belong to none of these ids.
    pub others: u64,
    /// The handles of these streams, in hex and in order; at most 100.
    pub other_handles: Vec<String>,
    /// Number of subject proofs that name a commitment whose map could not be built again.
    pub unchecked: u64,
}

/// The commitment that a subject proof names.
pub(super) struct Named {
    pub position: u64,
    pub tree_size: u64,
    pub root: Vec<u8>,
    pub vrf_public_key: Vec<u8>,
}

/// The given ids.
#[derive(Default)]
pub(super) struct GivenSubjects {
    labels: BTreeSet<Label>,
    /// The positions of the commitments that their proofs name.
    commitments: Vec<u64>,
    /// How many of these commitments are not checked.
    unchecked: u64,
}

impl GivenSubjects {
    /// Verifies the proofs. `is_committed` says whether the log has a commitment.
    ///
    /// # Errors
    /// A proof is not valid for this log. The error has the id and the reason.
    pub fn verify(
        proofs: &[SubjectProof],
        keys: &KeyChain,
        is_committed: impl Fn(&Named) -> bool,
    ) -> Result<Self, String> {
        let label = |proof: &SubjectProof| {
            let wrong = |problem: &str| format!("the proof for `{}`: {problem}", proof.subject);
            let verified = proof.verify(keys).map_err(|error| wrong(&error.to_string()))?;
            let committed = verified.committed;
            let named = Named {
                position: verified.position,
                tree_size: committed.tree_size,
                root: committed.root,
                vrf_public_key: committed.vrf_public_key,
            };
            match is_committed(&named) {
                true => Ok((verified.label, named.position)),
                false => Err(wrong("the log in this bundle does not have the commitment that it names")),
            }
        };
        let named = proofs.iter().map(label).collect::<Result<Vec<_>, _>>()?;
        let (labels, commitments) = named.into_iter().unzip();
        Ok(Self { labels, commitments, unchecked: 0 })
    }

    /// Notes which commitments are checked.
    pub fn note_checked(&mut self, is_checked: impl Fn(u64) -> bool) {
        self.unchecked = self.commitments.iter().filter(|position| !is_checked(**position)).count() as u64;
    }

    /// Compares the next stream of a group with the given ids.
    pub fn compare(&self, label: &Label, handle: Handle, found: &mut GivenFound) {
        if self.labels.contains(label) {
            found.ids += 1;
            return;
        }
        found.others += 1;
        found.handles.insert(handle.0);
        if found.handles.len() > HANDLES_MAX {
            found.handles.pop_last();
        }
    }
}

/// What the streams that were compared so far show.
#[derive(Default)]
pub(super) struct GivenFound {
    ids: u64,
    others: u64,
    handles: BTreeSet<[u8; 16]>,
}

impl GivenFound {
    pub fn merge(&mut self, other: Self) {
        self.ids += other.ids;
        self.others += other.others;
        self.handles.extend(other.handles);
        while self.handles.len() > HANDLES_MAX {
            self.handles.pop_last();
        }
    }

    /// What to report, if these ids were given.
    pub fn report(&self, given: &GivenSubjects) -> GivenReport {
        let (ids, other_handles) =
            (given.labels.len() as u64, self.handles.iter().map(hex::encode).collect());
        let unchecked = given.unchecked;
        GivenReport { ids, found: self.ids, others: self.others, other_handles, unchecked }
    }
}
