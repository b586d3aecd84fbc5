//! Collects which entries have a finding and which grants were not checked in full. The record of uses (see
//! `mod.rs`) shows this for each grant.

use crate::replay::Flag;
use fixedbitset::FixedBitSet;
use std::collections::HashSet;

/// The flags of a log. Memory: two bits for each entry, and about 20 bytes for each grant that a finding
/// names.
#[derive(Default)]
pub(in crate::bundle) struct Flags {
    findings: FixedBitSet,
    unchecked: FixedBitSet,
    // Unordered: looked up, never iterated.
    grants: HashSet<[u8; 16]>,
}

impl Flags {
    /// Adds flags.
    pub fn add(&mut self, flags: &[Flag]) {
        for flag in flags {
            match flag {
                Flag::Finding { position, grant } => {
                    insert(&mut self.findings, *position);
                    let mut id = [0; 16];
                    if hex::decode_to_slice(grant, &mut id).is_ok() {
                        self.grants.insert(id);
                    }
                }
                Flag::Unchecked { position } => insert(&mut self.unchecked, *position),
            }
        }
    }

    /// Whether there is a finding at a position.
    pub fn has_finding(&self, position: u64) -> bool {
        contains(&self.findings, position)
    }

    /// Whether there is a finding at the position of a grant, or one that names it.
    pub fn has_finding_of(&self, position: u64, grant: &[u8]) -> bool {
        self.has_finding(position) || grant.try_into().is_ok_and(|id: [u8; 16]| self.grants.contains(&id))
    }

    /// Whether the grant at a position was not checked in full.
    pub fn is_unchecked(&self, position: u64) -> bool {
        contains(&self.unchecked, position)
    }
}

fn insert(positions: &mut FixedBitSet, position: u64) {
    if let Ok(position) = usize::try_from(position) {
        positions.grow_and_insert(position);
    }
}

fn contains(positions: &FixedBitSet, position: u64) -> bool {
    usize::try_from(position).is_ok_and(|position| positions.contains(position))
}
