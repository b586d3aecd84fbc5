//! Finds which keys signed the rules of a log, and whether the user of the verifier trusts these keys.

use super::fault::Fault;
use crate::rule::{Rule, RuleKind, RuleTier, TierKey, is_trusted};
use ed25519_dalek::VerifyingKey;
use serde::Serialize;
use std::collections::BTreeMap;

/// Maximum number of keys in a report. Further ones are only counted.
const SIGNERS_MAX: usize = 100;

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
    /// Definitions without a signature: those that the log began with, and new words.
    pub definitions_unsigned: u64,
}

/// The keys seen so far.
#[derive(Default)]
pub(super) struct Signers {
    trusted: Vec<TierKey>,
    by_key: BTreeMap<(RuleTier, [u8; 32]), RuleSigner>,
    bounds_unsigned: u64,
    definitions_unsigned: u64,
}

impl Signers {
    pub fn trusting(keys: &[TierKey]) -> Self {
        Self { trusted: keys.to_vec(), ..Self::default() }
    }

    /// Notes a rule that is not signed and need not be.
    pub fn note_unsigned(&mut self, rule: &Rule) {
        match rule.kind {
            RuleKind::Bounds => self.bounds_unsigned += 1,
            RuleKind::Purpose | RuleKind::Category => self.definitions_unsigned += 1,
            RuleKind::Notice => {}
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
            definitions_unsigned: self.definitions_unsigned,
        }
    }
}
