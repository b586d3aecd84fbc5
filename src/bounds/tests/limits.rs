//! What policies of callers may be: the scan lets nothing through that is deep, and what it lets through is
//! read and evaluated.

use super::*;
use crate::bounds::engine::UNRECORDED;
use crate::bounds::policy_text::parse::{Pieces, Source, deadline, on_deep_stack};
use crate::bounds::policy_text::scan::{DEPTH_MAX, NESTING_MAX, TOKENS_MAX, pieces};
use cedar_policy::{Policy, PolicySet};
use proptest::prelude::*;
use sayso_proof::event::Reason;
use serde_json::Value;
use std::str::FromStr;

/// Half of what a thread has that answers: the rest is for what stands above the decision.
const HALF_BYTES: usize = 1 << 20;

fn on_stack<T: Send>(bytes: usize, job: impl FnOnce() -> T + Send) -> T {
    let thread = std::thread::Builder::new().stack_size(bytes);
    std::thread::scope(|scope| thread.spawn_scoped(scope, job).unwrap().join().unwrap())
}

fn policy(condition: &str) -> String {
    format!("@id(\"a\") forbid (principal, action in Action::\"use\", resource) when {{ {condition} }};")
}

fn offered(policies: &str) -> Result<Bounds, BoundsError> {
    let packs = [anything(), pack(Tier::Provider, "p", policies)].map(|pack| (UNRECORDED, pack));
    Bounds::compile(&packs, &default_vocabulary())
}

/// Something around or beside an expression, repeated.
type Shape = fn(&str, usize) -> String;

const SHAPES: [Shape; 18] = [
    |inner, n| format!("{}{inner}{}", "(".repeat(n), ")".repeat(n)),
    |inner, n| format!("{inner}{}", " && true".repeat(n)),
    |inner, n| format!("true{}", format!(" || ({inner})").repeat(n)),
    |inner, n| format!("({inner}){}", "+1".repeat(n)),
    |inner, n| format!("1{} == ({inner})", "*-1".repeat(n)),
    |inner, n| format!("({inner}){}", ".a".repeat(n)),
    |inner, n| format!("({inner}){}", "[\"a\"]".repeat(n)),
    |inner, n| format!("[{inner}]{}", ".contains(1)".repeat(n)),
    |inner, n| format!("{}{inner}{}", "[".repeat(n), "]".repeat(n)),
    |inner, n| format!("[{}]", format!("{inner},").repeat(n)),
    |inner, n| format!("{}{inner}{}", "{a:".repeat(n), "}".repeat(n)),
    |inner, n| format!("{}({inner}){}", "if true then ".repeat(n), " else true".repeat(n)),
    |inner, n| format!("{}{inner}", "if true then true else ".repeat(n)),
    |inner, n| format!("{}{inner}{}", "!(".repeat(n), ")".repeat(n)),
    |inner, n| format!("{inner} {}", "} unless { true ".repeat(n)),
    |inner, n| format!("({inner}) has a{}", ".a".repeat(n)),
    |inner, n| format!("{}{inner}{}", "(".repeat(n), " is Purpose in context.purpose)".repeat(n)),
    |inner, n| format!("{}{inner}{}", "[true].contains(".repeat(n), ")".repeat(n)),
];

fn conditions() -> impl Strategy<Value = String> {
    let leaf = proptest::sample::select(&["true", "context", "1", "\"a\"", "context.paused"][..]);
    let leaf = leaf.prop_map(str::to_owned);
    leaf.prop_recursive(5, 64, 1, |inner| {
        let count = prop_oneof![1_usize..6, 1_usize..6, 20_usize..40, 100_usize..400];
        (inner, 0..SHAPES.len(), count).prop_map(|(inner, shape, count)| {
            if inner.len() > 20_000 { inner } else { SHAPES[shape](&inner, count) }
        })
    })
}

/// Levels of a policy's tree in Cedar's JSON, in which each operator makes two.
fn depth(json: &Value) -> usize {
    1 + match json {
        Value::Array(items) => items.iter().map(depth).max().unwrap_or_default(),
        Value::Object(fields) => fields.values().map(depth).max().unwrap_or_default(),
        _ => 0,
    }
}

fn ids(policies: &PolicySet) -> Vec<String> {
    let mut ids: Vec<String> =
        policies.policies().map(|policy| policy.to_cedar().unwrap_or_default()).collect();
    ids.sort();
    ids
}

/// Policies; none where the text is wrong.
type Parsed = Option<Vec<String>>;

/// As `policy_text` parses a caller's text, and as Cedar parses it whole.
fn both(text: &str) -> Option<(Parsed, Parsed)> {
    let parsed: Vec<_> = Pieces::of(text, Source::Caller).ok()?.map(|(_, parsed)| parsed.ok()).collect();
    let pieces: Option<Vec<PolicySet>> = parsed.into_iter().collect();
    let mut all: Parsed = pieces.map(|pieces| pieces.iter().flat_map(ids).collect());
    all.iter_mut().for_each(|all| all.sort());
    Some((all, PolicySet::from_str(text).ok().map(|whole| ids(&whole))))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_deep_tree_passes(condition in conditions()) {
        let text = policy(&condition);
        // What passes needs little of a stack, what does not needs much of it.
        if pieces(&text).is_err() {
            return Ok(());
        }
        let deepest = on_stack(32 << 20, || Policy::parse(None, &text).ok()?.to_json().ok().map(|json| depth(&json)));
        // The frame around a condition is some levels, too.
        prop_assert!(deepest.unwrap_or_default() <= 2 * DEPTH_MAX + 16, "{deepest:?} of {text}");
        on_stack(HALF_BYTES, || {
            if let Ok(policy) = Policy::parse(None, &text) {
                drop(policy);
            }
        });
    }

    /// Whatever brackets, quotes and comments do, the pieces are the text.
    #[test]
    fn pieces_are_the_text(parts in proptest::collection::vec(proptest::sample::select(&PARTS[..]), 0..60)) {
        let text: String = parts.concat();
        let (pieces, whole) = on_stack(32 << 20, || both(&text)).unwrap_or_default();
        prop_assert_eq!(pieces, whole);
    }
}

/// Policies, and what a scanner could take for their end.
const PARTS: [&str; 16] = [
    "permit (principal, action, resource);",
    "forbid (principal, action, resource) when { \"; // ({[\" == \"\\\";\" };",
    "@id(\"a;\\\\\") @b forbid(principal,action,resource)unless{true};",
    "permit (principal, action == Action::\"use\", resource) when { context has if.b };",
    "forbid (principal, action, resource) when { \"a\" like \"*;\\*\" };",
    "// ; \" ( comment\n",
    "//\r",
    "\n",
    "\u{2003}",
    " ",
    ";",
    "\"",
    "(",
    "}",
    "/",
    "é",
];

#[test]
fn tokens_are_those_of_cedar() {
    let text =
        "// ((((\n@id(\"((((\\\"((((\")permit(principal,action,resource)when{\"a\"like\"((((\"||context.if};";
    assert_eq!(pieces(text).unwrap(), std::iter::once(8..text.len()).collect::<Vec<_>>());
    let nested = |count: usize| policy(&format!("{}true{}", "(".repeat(count), ")".repeat(count)));
    assert!(pieces(&nested(NESTING_MAX - 1)).is_ok());
    let beyond = pieces(&nested(NESTING_MAX)).unwrap_err();
    assert_eq!(&nested(NESTING_MAX)[beyond.at..beyond.at + 5], "(true");
    let chain = |count: usize| policy(&format!("true{}", " && true".repeat(count)));
    // A condition makes two levels, its brackets one.
    assert!(pieces(&chain(DEPTH_MAX - 3)).is_ok());
    assert!(pieces(&chain(DEPTH_MAX - 2)).is_err());
    let set = |count: usize| policy(&format!("[{}] == []", "1,".repeat(count)));
    assert!(pieces(&set(TOKENS_MAX / 2 - 20)).is_ok() && pieces(&set(TOKENS_MAX / 2)).is_err());
    let within = |ifs: usize| policy(&format!("[{}]", "if true then true else true,".repeat(ifs)));
    assert!(pieces(&within(100)).is_ok(), "beside one another they do not nest");
}

/// A policy that is as deep as may be, of each kind that makes it deep.
fn deepest() -> Vec<String> {
    let last = |shape: Shape| {
        let fits = |count: &usize| pieces(&policy(&shape("context.paused", *count))).is_ok();
        let (mut within, mut beyond) = (1, 2 * TOKENS_MAX);
        while beyond - within > 1 {
            let middle = (within + beyond) / 2;
            if fits(&middle) { within = middle } else { beyond = middle }
        }
        policy(&shape("context.paused", within))
    };
    SHAPES.into_iter().map(last).collect()
}

#[test]
fn the_deepest_policies_are_evaluated_on_half_a_stack() {
    let (mut evaluated, mut levels) = (0, 0);
    for text in deepest() {
        // What could only be in a log does no more than what may be published.
        on_stack(HALF_BYTES, || drop(Policy::parse(None, &text)));
        // Most kinds have no type; those that have one are evaluated.
        let Ok(bounds) = offered(&text) else { continue };
        let json = on_stack(HALF_BYTES, || Policy::parse(None, &text).unwrap().to_json().unwrap());
        levels = levels.max(depth(&json) / 2);
        let denial = on_stack(HALF_BYTES, || {
            let denial = bounds.denial_for(&consented());
            drop(bounds);
            denial
        });
        let reason = denial.and_then(|denial| denial.reason);
        assert_ne!(reason, Some(Reason::PolicyError), "{text}");
        evaluated += 1;
    }
    assert!(evaluated >= 6, "{evaluated}");
    assert!(levels > DEPTH_MAX - 16, "the limit is not the one that counts: {levels}");
}

/// A text with an error may leave a tree that is deeper than what is scanned, though never deeper than a
/// piece has tokens: it is dropped where there is room for it.
#[test]
fn a_tree_as_deep_as_a_piece_has_tokens_is_dropped() {
    let count = TOKENS_MAX / 2;
    for (open, close) in
        [("(", ")"), ("[", "]"), ("{a:", "}"), ("if a then ", " else a"), ("if ", " then a else a")]
    {
        let deep = format!("{}a{}", open.repeat(count), close.repeat(count));
        let text = format!("permit(principal == {deep}, action, resource) when {{@}};");
        let failed = on_deep_stack(Source::Log, deadline(), || Ok(PolicySet::from_str(&text).is_err()));
        assert!(failed.unwrap(), "{open}");
    }
}

#[test]
fn packs_of_ours_are_far_within() {
    for shipped in crate::bounds::shipped() {
        for policy in PolicySet::from_str(&shipped.pack.policies).unwrap().policies() {
            let text = policy.to_cedar().unwrap();
            let twice = format!("{}{}", text.trim_end_matches(';'), " when { true }".repeat(DEPTH_MAX / 4));
            assert!(pieces(&format!("{twice};")).is_ok(), "{}: {text}", shipped.pack.pack);
        }
    }
}

/// An older version published without limits.
#[test]
fn what_is_in_the_log_is_read_whatever_its_size() {
    for deep in ["(".repeat(60) + "true" + &")".repeat(60), "true".to_owned() + &" && true".repeat(600)] {
        let deep = policy(&format!("{deep} && context.paused"));
        assert!(matches!(offered(&deep), Err(BoundsError::Pack { .. })));
        let bounds = compile(vec![anything(), pack(Tier::Provider, "p", &deep)]).unwrap();
        on_stack(2 << 20, || assert_eq!(outcome(&bounds, &consented()), "allow"));
        // A text that a log has is no less refused when it is offered again.
        assert!(matches!(offered(&deep), Err(BoundsError::Pack { .. })));
    }
}
