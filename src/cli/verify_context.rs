//! The part of `sayso verify` about evidence besides the log's key: witnesses, an older checkpoint,
//! earlier exports, timestamp authorities and keys of tiers. It says which evidence was given, and what
//! the verdict does not show because other evidence was not given.

use super::output::count;
use crate::domain::wording;
use sayso_proof::unseen::{GivenContext, Unseen};
use sayso_proof::witness::Cosigned;
use serde_json::{Value, json};

/// What no document or bundle shows by itself.
const LOG_OF_OTHERS: &str =
    "that others see the same log, and not a copy or an invented one that its operator signed";

/// The kind of file, which decides what to suggest for detecting forks of the log.
#[derive(Clone, Copy)]
pub(super) enum Hint {
    /// For a bundle.
    Bundle,
    /// For a proof, a certificate or a receipt. Such a file has a checkpoint, so an export of the same log
    /// can be checked against it (`--since`).
    Document,
    /// For a package that is not signed as a whole. It can't be checked with `--witness` or `--since`.
    Package,
}

/// The evidence that was given, in a sentence.
pub(super) fn given_text(given: &GivenContext) -> String {
    let witnesses = match given.witness_keys {
        0 => "no witness".to_owned(),
        keys => count(keys as u64, "witness key"),
    };
    let since = if given.has_since { "an older checkpoint" } else { "no older checkpoint" };
    let earlier = match given.earlier {
        0 => String::new(),
        exports => format!(", {}", count(exports as u64, "earlier export")),
    };
    let authorities =
        if given.has_authorities { "authorities for timestamps" } else { "no authority for timestamps" };
    let tier_keys = match given.tier_keys {
        0 => String::new(),
        keys => format!(", {} of tiers", count(keys as u64, "key")),
    };
    format!("given: the log's key, {witnesses}, {since}{earlier}, {authorities}{tier_keys}")
}

/// What the verdict does not show, in sentences. `recorded_to_ms` is the time of the newest entry, if it is
/// known, in milliseconds since the Unix epoch.
pub(super) fn not_shown(given: &GivenContext, recorded_to_ms: Option<u64>, hint: Hint) -> Vec<String> {
    given.unseen().into_iter().map(|unseen| sentence(unseen, recorded_to_ms, hint)).collect()
}

fn sentence(unseen: Unseen, recorded_to_ms: Option<u64>, hint: Hint) -> String {
    match unseen {
        Unseen::Fork { after } => {
            let after = after.map(|size| format!(" after its first {}", count(size, "entry")));
            let next = match hint {
                Hint::Bundle => "; name a witness that you trust with --witness",
                Hint::Document => {
                    "; name a witness that you trust with --witness, or verify an export of the log with --since \
                     and this file"
                }
                Hint::Package => "",
            };
            format!("{LOG_OF_OTHERS}{}{next}", after.unwrap_or_default())
        }
        Unseen::RebuiltLog => {
            let next = match hint {
                Hint::Package => "",
                Hint::Bundle | Hint::Document => {
                    "; give a checkpoint that you kept with --since, or an export with --earlier"
                }
            };
            format!("that the log was not built anew since you last saw it{next}")
        }
        Unseen::Staleness { newest_at_s: Some(at_s) } => {
            let at = wording::time(at_s.saturating_mul(1_000));
            format!("what was recorded after {at}, when a witness cosigned the checkpoint as the newest")
        }
        Unseen::Staleness { newest_at_s: None } => {
            let after = recorded_to_ms.map_or_else(|| "the checkpoint".to_owned(), wording::time);
            format!("what was recorded after {after}; the operator can show an older state of the log")
        }
        Unseen::Time { after: None } => {
            "when the entries were recorded: all times are those of the operator's clock".to_owned()
        }
        Unseen::ErasedKinds { entries } => {
            let erased = count(entries, "erased entry");
            format!(
                "what {erased} had been: the log has at most the operator's statement of their kinds; give an \
                 export from before the erasure with --earlier"
            )
        }
        Unseen::Policies { bounds } => {
            let versions = count(bounds, "version");
            format!(
                "that the policies of the published bounds allowed each grant: the policies of {versions} of \
                 bounds were not evaluated; `sayso why` asks the daemon why a grant was issued"
            )
        }
        Unseen::EarlyRules { entries } => {
            let early = count(entries, "entry");
            format!(
                "that {early} from before the newest rules of decisions follow them: a daemon adopts the rules that \
                 it knows when it starts, so ask which version of Sayso ran then"
            )
        }
        Unseen::Time { after: Some(size) } => {
            let first = count(size, "entry");
            format!("when the entries after the first {first} were recorded, except by the operator's clock")
        }
    }
}

/// The witnesses that cosigned, each with its algorithms.
pub(super) fn cosigners(witnesses: &[Cosigned]) -> String {
    let one = |one: &Cosigned| {
        let algorithms: Vec<String> = one.algorithms.iter().map(ToString::to_string).collect();
        format!("{} ({})", one.witness, algorithms.join(" and "))
    };
    witnesses.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Adds the evidence that was given, and what is not shown, to the JSON of a verdict.
pub(super) fn add_to(value: &mut Value, given: &GivenContext) {
    let Some(members) = value.as_object_mut() else { return };
    let since = given.has_since;
    let authorities = given.has_authorities;
    let given_members = json!({
        "witnessKeys": given.witness_keys,
        "since": since,
        "earlierExports": given.earlier,
        "timestampAuthorities": authorities,
        "tierKeys": given.tier_keys,
    });
    members.insert("given".to_owned(), given_members);
    let unseen: Vec<Value> = given.unseen().iter().map(|one| json!(one.name())).collect();
    members.insert("unseen".to_owned(), Value::Array(unseen));
}
