//! Finds which keys signed the rules of a log, and whether the user of the verifier trusts these keys.

use super::fault::Fault;
use crate::context::{Options, definition_digest};
use crate::event::BoundsPublished;
use crate::event::event_body::Event;
use crate::rule::{Rule, RuleKind, RuleTier, TierKey, is_trusted};
use ed25519_dalek::VerifyingKey;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// Maximum number of keys in a report. Further ones are only counted.
const SIGNERS_MAX: usize = 100;
/// Maximum number of unsigned bounds and of ranges of unsigned definitions in a report.
const LISTED_MAX: usize = 100;

/// What a key signed for a tier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleSigner {
    /// The tier.
    pub tier: RuleTier,
    /// The raw public key, in hex.
    pub key: String,
    /// Whether the user trusts the key for this tier; none if no trusted key of the tier was given.
    pub trusted: Option<bool>,
    /// Versions of bounds.
    pub bounds: u64,
    /// Definitions of purposes and categories.
    pub definitions: u64,
    /// Required versions of notices.
    pub notices: u64,
    /// Position of the first event that it signed.
    pub first: u64,
    /// Position of the last event that it signed.
    pub last: u64,
}

/// Unsigned bounds that need no signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnsignedBounds {
    /// Position of the event.
    pub position: u64,
    /// The tier.
    pub tier: RuleTier,
    /// The name of the pack.
    pub pack: String,
    /// The version of the pack.
    pub version: String,
    /// Whether they are among the bounds that the user knows.
    pub known: bool,
}

/// Positions that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Positions {
    /// The first position.
    pub first: u64,
    /// The last position.
    pub last: u64,
}

/// Who signed the rules of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RuleSignatures {
    /// The edition of the rules of decisions that the log follows at its end; 0 if it states none. Before
    /// edition 4, signatures are not bound to a log, a version or a time.
    pub edition: u32,
    /// The keys by tier and key, at most 100.
    pub signers: Vec<RuleSigner>,
    /// Keys that are left out of the list.
    pub signers_left_out: u64,
    /// Versions of bounds without a signature: those that the log began with.
    pub bounds_unsigned: u64,
    /// These versions, at most 100.
    pub bounds_unsigned_list: Vec<UnsignedBounds>,
    /// Those of them that the user does not know, although the user named a key of their tier.
    pub bounds_unknown: u64,
    /// Definitions without a signature: those that the log began with, and new words.
    pub definitions_unsigned: u64,
    /// Those of them that the user knows.
    pub definitions_known: u64,
    /// The positions of the others, at most 100 ranges.
    pub definitions_unsigned_at: Vec<Positions>,
}

/// The keys seen so far.
#[derive(Default)]
pub(super) struct Signers {
    trusted: Vec<TierKey>,
    known_bounds: BTreeSet<(RuleTier, [u8; 32])>,
    known_definitions: BTreeSet<[u8; 32]>,
    by_key: BTreeMap<(RuleTier, [u8; 32]), RuleSigner>,
    bounds_unsigned: u64,
    bounds_unsigned_list: Vec<UnsignedBounds>,
    bounds_unknown: u64,
    definitions_unsigned: u64,
    definitions_known: u64,
    definitions_unsigned_at: Vec<Positions>,
}

impl Signers {
    /// With the keys, bounds and definitions that the user trusts or knows.
    pub fn trusting(options: &Options) -> Self {
        let known_bounds = options.known_bounds.iter().copied().collect();
        let known_definitions = options.known_definitions.iter().copied().collect();
        Self { trusted: options.tier_keys.clone(), known_bounds, known_definitions, ..Self::default() }
    }

    /// Notes a rule that is not signed and need not be. Returns its fault: once a key that the user trusts
    /// for a tier has signed rules of the log, unsigned bounds of this tier must be known to the user.
    pub fn note_unsigned(&mut self, rule: &Rule, event: &Event, position: u64) -> Option<Fault> {
        match event {
            Event::BoundsPublished(published) => self.note_unsigned_bounds(rule, published, position),
            Event::PurposeDefined(_) | Event::CategoryDefined(_) => {
                self.definitions_unsigned += 1;
                match self.known_definitions.contains(&definition_digest(event)) {
                    true => self.definitions_known += 1,
                    false => self.add_definition(position),
                }
                None
            }
            _ => None,
        }
    }

    fn note_unsigned_bounds(
        &mut self,
        rule: &Rule,
        published: &BoundsPublished,
        position: u64,
    ) -> Option<Fault> {
        let tier = rule.tier;
        let known = self.known_bounds.contains(&(tier, Sha256::digest(&published.policies).into()));
        self.bounds_unsigned += 1;
        self.bounds_unknown += u64::from(!known && self.trusted.iter().any(|trusted| trusted.tier == tier));
        if self.bounds_unsigned_list.len() < LISTED_MAX {
            let (pack, version) = (published.pack.clone(), published.version.clone());
            self.bounds_unsigned_list.push(UnsignedBounds { position, tier, pack, version, known });
        }
        let is_introduced = |trusted: &TierKey| {
            trusted.tier == tier && self.by_key.contains_key(&(tier, trusted.key.to_bytes()))
        };
        (!known && self.trusted.iter().any(is_introduced)).then_some(Fault::UnsignedRule)
    }

    fn add_definition(&mut self, position: u64) {
        let ranges = &mut self.definitions_unsigned_at;
        let has_room = ranges.len() < LISTED_MAX;
        match ranges.last_mut().filter(|range| range.last.saturating_add(1) == position) {
            Some(range) => range.last = position,
            None if has_room => ranges.push(Positions { first: position, last: position }),
            None => {}
        }
    }

    /// Notes a valid signature. Returns why its key may not sign for the tier.
    pub fn note(&mut self, rule: &Rule, key: &VerifyingKey, position: u64) -> Option<Fault> {
        let bytes = key.to_bytes();
        let trusted = is_trusted(&self.trusted, rule.tier, key);
        let signer = self.by_key.entry((rule.tier, bytes)).or_insert_with(|| RuleSigner {
            tier: rule.tier,
            key: hex::encode(bytes),
            trusted,
            bounds: 0,
            definitions: 0,
            notices: 0,
            first: position,
            last: position,
        });
        signer.last = position;
        match rule.kind {
            RuleKind::Bounds => signer.bounds += 1,
            RuleKind::Purpose | RuleKind::Category => signer.definitions += 1,
            RuleKind::Notice => signer.notices += 1,
        }
        if self.by_key.contains_key(&(rule.tier.other(), bytes)) {
            return Some(Fault::OtherTierKey);
        }
        (trusted == Some(false)).then_some(Fault::UntrustedKey)
    }

    pub fn finish(self, edition: u32) -> RuleSignatures {
        let count = self.by_key.len();
        RuleSignatures {
            edition,
            signers: self.by_key.into_values().take(SIGNERS_MAX).collect(),
            signers_left_out: count.saturating_sub(SIGNERS_MAX) as u64,
            bounds_unsigned: self.bounds_unsigned,
            bounds_unsigned_list: self.bounds_unsigned_list,
            bounds_unknown: self.bounds_unknown,
            definitions_unsigned: self.definitions_unsigned,
            definitions_known: self.definitions_known,
            definitions_unsigned_at: self.definitions_unsigned_at,
        }
    }
}
