//! The part of `sayso verify` about the rules of a log: which keys signed them, and which rules are not
//! signed.

use super::output::count;
use crate::bounds;
use crate::domain::default_vocabulary;
use crate::domain::event::{Event, Tier, codec};
use sayso_proof::context::definition_digest;
use sayso_proof::replay::{Positions, RuleSignatures, RuleSigner, UnsignedBounds};
use sayso_proof::rule::RuleTier;
use sha2::{Digest, Sha256};

/// The bounds that Sayso ships. They may be unsigned at the beginning of a log.
pub(super) fn shipped_bounds() -> Vec<(RuleTier, [u8; 32])> {
    let known = bounds::shipped().into_iter().filter_map(|shipped| {
        let tier = match shipped.pack.tier {
            Tier::Public => RuleTier::Public,
            Tier::Provider => RuleTier::Provider,
            _ => return None,
        };
        Some((tier, Sha256::digest(&shipped.pack.policies).into()))
    });
    known.collect()
}

/// The definitions of purposes and categories that Sayso ships, by their digests. A log begins with them.
pub(super) fn shipped_definitions() -> Vec<[u8; 32]> {
    let (purposes, categories) = default_vocabulary::defaults();
    let purposes = purposes.into_iter().map(Event::PurposeDefined);
    let events = purposes.chain(categories.into_iter().map(Event::CategoryDefined));
    events.map(|event| definition_digest(&codec::encode_event(&event))).collect()
}

/// Says which keys signed the rules, and which rules are not signed. For each key, also says whether the
/// user trusts it. If the user named no trusted key of its tier, says that the key was not compared with
/// one.
pub(super) fn text(rules: &RuleSignatures) -> String {
    let mut text: String = rules.signers.iter().map(signer).collect();
    if rules.signers_left_out > 0 {
        text.push_str(&format!("\n{} more not shown", count(rules.signers_left_out, "key")));
    }
    text.push_str(&unsigned_bounds(rules));
    if rules.definitions_known > 0 {
        let definitions = count(rules.definitions_known, "definition");
        text.push_str(&format!("\nnot signed: {definitions} that Sayso ships"));
    }
    let others = rules.definitions_unsigned.saturating_sub(rules.definitions_known);
    if others > 0 {
        let definitions = count(others, "definition");
        let ranges: Vec<String> = rules.definitions_unsigned_at.iter().map(range).collect();
        text.push_str(&format!("\nnot signed: {definitions}, at positions {}", ranges.join(", ")));
    }
    if rules.edition < 4 && !rules.signers.is_empty() {
        text.push_str(
            "\nsignatures of rules are not bound to this log, a version and a time, because the log follows an \
             early edition of the rules",
        );
    }
    text
}

fn signer(signer: &RuleSigner) -> String {
    let trusted = match signer.trusted {
        Some(true) => "a key that you trust",
        Some(false) => "not a key that you trust",
        None => "not compared with a key that you trust",
    };
    format!(
        "\n{} key {} ({trusted}) signed {} of bounds, {} and {}, at positions {} to {}",
        signer.tier,
        signer.key,
        count(signer.bounds, "version"),
        count(signer.definitions, "definition"),
        count(signer.notices, "required notice"),
        signer.first,
        signer.last,
    )
}

/// Lists unsigned bounds: each by itself, except those that Sayso ships.
fn unsigned_bounds(rules: &RuleSignatures) -> String {
    let (shipped, others): (Vec<_>, Vec<_>) = rules.bounds_unsigned_list.iter().partition(|one| one.known);
    let mut text = String::new();
    if !shipped.is_empty() {
        let positions: Vec<String> = shipped.iter().map(|one| one.position.to_string()).collect();
        text.push_str(&format!(
            "\nnot signed: {} of bounds that Sayso ships, at positions {}",
            count(shipped.len() as u64, "version"),
            positions.join(", ")
        ));
    }
    for UnsignedBounds { position, tier, pack, version, .. } in others {
        let (pack, version) = (pack.escape_debug(), version.escape_debug());
        text.push_str(&format!(
            "\nnot signed: {tier} bounds `{pack}`, version `{version}`, which this version of Sayso does not ship, at \
             position {position}"
        ));
    }
    let left_out = rules.bounds_unsigned.saturating_sub(rules.bounds_unsigned_list.len() as u64);
    if left_out > 0 {
        text.push_str(&format!("\nnot signed: {} more of bounds, not listed", count(left_out, "version")));
    }
    text
}

fn range(range: &Positions) -> String {
    match range.last > range.first {
        true => format!("{} to {}", range.first, range.last),
        false => range.first.to_string(),
    }
}
