//! Checks that each rule of a log was published by a caller who may publish it. Rules are versions of
//! bounds, definitions of purposes and categories, and required versions of notices. Each is signed with
//! the key of its tier, except the rules that a log begins with and new words without a legal basis. Each
//! version is published once.

use super::fault::Fault;
use super::signers::{RuleSignatures, Signers};
use super::word_rules::WordRules;
use crate::context::Options;
use crate::event::event_body::Event;
use crate::event::{EventBody, LegalBasis, Role, WriterSignature};
use crate::rule::{Rule, RuleTier};
use crate::writer::{self, SIGNATURE_AGE_MS_MAX, SIGNATURE_AHEAD_MS_MAX};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// From this edition of the rules of decisions on, definitions that replace another one are signed.
const SIGNED_DEFINITIONS: u32 = 2;
/// From this edition on, each signature is bound to the log, the tier, the number of the version and a time.
const BOUND_SIGNATURES: u32 = 4;

/// A system event, and what the checks need to know of its place in the log.
pub(crate) struct RuleEvent<'a> {
    pub position: u64,
    pub recorded_at_ms: u64,
    pub sealed_at_ms: u64,
    pub body: &'a EventBody,
    /// Whether an earlier position has an entry of a data subject, erased or not.
    pub has_subject_entry: bool,
}

/// The rules that were published so far.
#[derive(Default)]
pub(crate) struct SignedRules {
    /// The origin of the log, as its first entry states it.
    origin: String,
    /// The edition of the rules of decisions that the log follows by now; 0 if it states none.
    edition: u32,
    /// Whether one of the entries so far is about a data subject, or was not recorded by the ledger itself.
    is_past_beginning: bool,
    /// The moment of the newest system event, milliseconds since the Unix epoch.
    moment_ms: u64,
    /// The number of versions of each rule.
    versions: BTreeMap<Rule, u64>,
    /// Digests of what is published once.
    published: BTreeSet<[u8; 32]>,
    signers: Signers,
    words: WordRules,
}

impl SignedRules {
    /// The state before the first entry. `options` has the keys, bounds and definitions that the user trusts
    /// or knows.
    pub fn trusting(options: &Options) -> Self {
        Self { signers: Signers::trusting(options), ..Self::default() }
    }

    /// Whether the log so far consists of system events that the ledger recorded by itself, up to and
    /// including the event that was applied last. The words that are defined there have always had their
    /// meaning.
    pub fn is_at_beginning(&self) -> bool {
        !self.is_past_beginning
    }

    /// Applies the next system event. Returns what is wrong with rules, and the position of each fault.
    pub fn check(&mut self, next: &RuleEvent<'_>) -> Vec<(u64, Fault)> {
        let role = next.body.actor.as_ref().map_or(Role::Unspecified, |actor| actor.role());
        self.is_past_beginning |= next.has_subject_entry || role != Role::Ledger;
        let Some(event) = &next.body.event else { return Vec::new() };
        match event {
            Event::LogOpened(opened) if next.position == 0 => self.origin.clone_from(&opened.origin),
            Event::DecisionRulesAdopted(adopted) => self.edition = self.edition.max(adopted.edition),
            _ => {}
        }
        let faults = self.faults(next, event, role).into_iter();
        let mut faults: Vec<(u64, Fault)> = faults.map(|fault| (next.position, fault)).collect();
        self.moment_ms = self.moment_ms.max(next.sealed_at_ms);
        let from_ms = (!self.is_at_beginning()).then_some(self.moment_ms);
        faults.extend(self.words.apply(next.position, next.recorded_at_ms, from_ms, event));
        faults
    }

    /// Applies the definitions that are not in force yet. Returns their faults, and who signed what.
    pub fn finish(self) -> (Vec<(u64, Fault)>, RuleSignatures) {
        (self.words.finish(), self.signers.finish(self.edition))
    }

    fn faults(&mut self, next: &RuleEvent<'_>, event: &Event, role: Role) -> Vec<Fault> {
        let mut faults = Vec::new();
        if self.is_repeated(event) {
            faults.push(Fault::RepeatedRule);
        }
        let Some(rule) = Rule::of(event) else {
            // The bounds are of no tier that publishes bounds. In early logs, unsigned bounds have no tier.
            let is_faulty = matches!(event, Event::BoundsPublished(_))
                && (self.needs_signature(event, next, false) || next.body.writer_signature.is_some());
            faults.extend(is_faulty.then_some(Fault::UnsignedRule));
            return faults;
        };
        let is_new = !self.versions.contains_key(&rule);
        let needs_signature = self.needs_signature(event, next, is_new);
        if !self.may_publish(role, rule.tier) {
            faults.push(Fault::WrongPublisher);
        }
        match &next.body.writer_signature {
            None if needs_signature => faults.push(Fault::UnsignedRule),
            None => faults.extend(self.signers.note_unsigned(&rule, event, next.position)),
            Some(signature) => match writer::verify(event, &self.origin, Some(signature)) {
                Err(_) => faults.push(Fault::UnsignedRule),
                Ok(key) => {
                    faults.extend(self.signers.note(&rule, &key, next.position));
                    faults.extend(self.binding_fault(&rule, signature, next.recorded_at_ms));
                }
            },
        }
        *self.versions.entry(rule).or_default() += 1;
        faults
    }

    /// Whether an event has to be signed. The ledger itself publishes a log's initial bounds and words. They
    /// may be unsigned, and so may a new word that declares no legal basis.
    fn needs_signature(&self, event: &Event, next: &RuleEvent<'_>, is_new: bool) -> bool {
        match event {
            Event::BoundsPublished(_) if self.edition >= BOUND_SIGNATURES => self.is_past_beginning,
            Event::BoundsPublished(_) => next.has_subject_entry,
            Event::NoticeRequired(_) => true,
            Event::PurposeDefined(purpose) => {
                let declares_basis =
                    !matches!(purpose.legal_basis(), LegalBasis::Unspecified | LegalBasis::Consent);
                declares_basis || !is_new && self.edition >= SIGNED_DEFINITIONS
            }
            Event::CategoryDefined(_) => !is_new && self.edition >= SIGNED_DEFINITIONS,
            _ => false,
        }
    }

    /// Whether an author in this role may publish rules of a tier. A missing or unknown role is not checked.
    fn may_publish(&self, role: Role, tier: RuleTier) -> bool {
        match role {
            Role::Unspecified => true,
            Role::Ledger => self.is_at_beginning(),
            Role::Authority => tier == RuleTier::Public,
            Role::Steward => tier == RuleTier::Provider,
            _ => false,
        }
    }

    /// Whether the same version was published before. Before its edition, a definition may be repeated.
    fn is_repeated(&mut self, event: &Event) -> bool {
        let of = |kind: u8, names: &[&str]| {
            let mut digest = Sha256::new_with_prefix([kind]);
            for name in names {
                digest.update((name.len() as u64).to_be_bytes());
                digest.update(name);
            }
            digest.finalize().into()
        };
        let digest: [u8; 32] = match event {
            Event::BoundsPublished(bounds) => {
                of(0, &[bounds.tier().as_str_name(), &bounds.pack, &bounds.version])
            }
            Event::NoticePublished(published) => {
                let notice = published.notice.clone().unwrap_or_default();
                of(1, &[&notice.id, &notice.version])
            }
            Event::NoticeRequired(_) => Sha256::digest(writer::event_bytes(event)).into(),
            // The words that a log begins with are not signed, so repeating one shows no old signature.
            Event::PurposeDefined(_) | Event::CategoryDefined(_) if self.is_past_beginning => {
                Sha256::digest(writer::event_bytes(event)).into()
            }
            _ => return false,
        };
        let is_definition = matches!(event, Event::PurposeDefined(_) | Event::CategoryDefined(_));
        !self.published.insert(digest) && (!is_definition || self.edition >= SIGNED_DEFINITIONS)
    }

    /// What is wrong with the number or the time of a valid signature.
    fn binding_fault(&self, rule: &Rule, signature: &WriterSignature, recorded_at_ms: u64) -> Option<Fault> {
        if !writer::is_bound(signature) {
            return (self.edition >= BOUND_SIGNATURES).then_some(Fault::UnboundRule);
        }
        let count = self.versions.get(rule).copied().unwrap_or_default();
        let signed_at_ms = signature.signed_at_ms;
        let is_in_time = signed_at_ms <= recorded_at_ms.saturating_add(SIGNATURE_AHEAD_MS_MAX)
            && recorded_at_ms <= signed_at_ms.saturating_add(SIGNATURE_AGE_MS_MAX);
        if signature.sequence != count + 1 {
            Some(Fault::RuleSequence)
        } else {
            (!is_in_time).then_some(Fault::RuleTime)
        }
    }
}
