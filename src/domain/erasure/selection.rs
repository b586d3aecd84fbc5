//! What an erasure destroys and keeps.

use crate::domain::event::{ErasedKind, KeptOnGround, PriorRecipient};
use crate::domain::ids::EventId;
use std::collections::{BTreeMap, BTreeSet};

/// The events that an erasure destroys, and what it keeps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selection {
    /// Versions within the subject's stream, ascending.
    pub versions: Vec<u64>,
    /// Their positions in the log, ascending.
    pub positions: Vec<u64>,
    /// What each of them is for a verifier of the grants that remain.
    pub kinds: Vec<ErasedKind>,
    /// The number of erased attributes by category.
    pub categories: BTreeMap<String, u32>,
    /// The keys of the erased attributes.
    pub keys: BTreeSet<String>,
    /// Recipients with erased grants or erased artifacts, except those that were granted nothing.
    pub recipients: Vec<PriorRecipient>,
    /// Events in the scope that are kept, counted by ground.
    pub kept: Vec<KeptOnGround>,
    /// The holds that keep something in the scope.
    pub holds: BTreeSet<EventId>,
    /// The versions of the erased events that only depend on something in the scope.
    pub dependents: BTreeSet<u64>,
    /// The number of erased events with the text of the scope, if the scope is a text.
    pub with_text: usize,
    /// The erased keys that each recipient had been given by an erased grant.
    pub recipient_keys: BTreeMap<String, BTreeSet<String>>,
}
