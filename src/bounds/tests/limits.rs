//! Tests of the limits on policies from callers. The scan of policy text rejects every text that would
//! make a deep tree. Every text that it accepts can be parsed and evaluated on a small stack.

use super::*;
use crate::bounds::engine::UNRECORDED;
use crate::bounds::policy_text::parse::{Pieces, Source, deadline, on_deep_stack};
use crate::bounds::policy_text::scan::{DEPTH_MAX, NESTING_MAX, TOKENS_MAX, pieces};
use crate::domain::event::Reason;
use cedar_policy::{Policy, PolicySet};
use proptest::prelude::*;
use serde_json::Value;
use std::str::FromStr;

/// Half of the stack of a thread that answers calls. The functions that ask for a decision may use the other
/// half.
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

/// Wraps or extends an expression a given number of times.
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

/// Levels of a policy's tree in Cedar's JSON, in which each operator adds two levels.
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

/// The parsed policies; `None` if the text is invalid.
type Parsed = Option<Vec<String>>;

/// A caller's text as parsed in pieces by `policy_text`, and as parsed whole by Cedar.
fn parsed_both_ways(text: &str) -> Option<(Parsed, Parsed)> {
    let parsed: Vec<_> = Pieces::of(text, Source::Caller).ok()?.map(|(_, parsed)| parsed.ok()).collect();
    let pieces: Option<Vec<PolicySet>> = parsed.into_iter().collect();
    let mut all: Parsed = pieces.map(|pieces| pieces.iter().flat_map(ids).collect());
    all.iter_mut().for_each(|all| all.sort());
    Some((all, PolicySet::from_str(text).ok().map(|whole| ids(&whole))))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_scan_accepts_no_deep_tree(condition in conditions()) {
        let text = policy(&condition);
        // An accepted text needs a small stack, a rejected one may need a large one.
        if pieces(&text).is_err() {
            return Ok(());
        }
        let deepest = on_stack(32 << 20, || Policy::parse(None, &text).ok()?.to_json().ok().map(|json| depth(&json)));
        // The policy around a condition adds some levels.
        prop_assert!(deepest.unwrap_or_default() <= 2 * DEPTH_MAX + 16, "{deepest:?} of {text}");
        on_stack(HALF_BYTES, || {
            if let Ok(policy) = Policy::parse(None, &text) {
                drop(policy);
            }
        });
    }

    /// Brackets, quotes and comments do not confuse the scan.
    #[test]
    fn the_pieces_have_the_same_policies_as_the_whole_text(parts in proptest::collection::vec(proptest::sample::select(&PARTS[..]), 0..60)) {
        let text: String = parts.concat();
        let (pieces, whole) = on_stack(32 << 20, || parsed_both_ways(&text)).unwrap_or_default();
        prop_assert_eq!(pieces, whole);
    }
}

/// Policies, and text that a scanner could mistake for the end of a policy.
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
fn tokens_and_limits_are_counted_as_by_cedar() {
    let text =
        "// ((((\n@id(\"((((\\\"((((\")permit(principal,action,resource)when{\"a\"like\"((((\"||context.if};";
    assert_eq!(pieces(text).unwrap(), std::iter::once(8..text.len()).collect::<Vec<_>>());
    let nested = |count: usize| policy(&format!("{}true{}", "(".repeat(count), ")".repeat(count)));
    assert!(pieces(&nested(NESTING_MAX - 1)).is_ok());
    let exceeded = pieces(&nested(NESTING_MAX)).unwrap_err();
    assert_eq!(&nested(NESTING_MAX)[exceeded.at..exceeded.at + 5], "(true");
    let chain = |count: usize| policy(&format!("true{}", " && true".repeat(count)));
    // A condition adds two levels, and its brackets add one.
    assert!(pieces(&chain(DEPTH_MAX - 3)).is_ok());
    assert!(pieces(&chain(DEPTH_MAX - 2)).is_err());
    let set = |count: usize| policy(&format!("[{}] == []", "1,".repeat(count)));
    assert!(pieces(&set(TOKENS_MAX / 2 - 20)).is_ok() && pieces(&set(TOKENS_MAX / 2)).is_err());
    let siblings = |ifs: usize| policy(&format!("[{}]", "if true then true else true,".repeat(ifs)));
    assert!(pieces(&siblings(100)).is_ok(), "`if` expressions side by side do not nest");
}

/// For each shape, the deepest policy that the scan accepts.
fn deepest() -> Vec<String> {
    let deepest = |shape: Shape| {
        let fits = |count: &usize| pieces(&policy(&shape("context.paused", *count))).is_ok();
        let (mut accepted, mut rejected) = (1, 2 * TOKENS_MAX);
        while rejected - accepted > 1 {
            let middle = (accepted + rejected) / 2;
            if fits(&middle) { accepted = middle } else { rejected = middle }
        }
        policy(&shape("context.paused", accepted))
    };
    SHAPES.into_iter().map(deepest).collect()
}

#[test]
fn the_deepest_accepted_policies_are_evaluated_on_half_a_stack() {
    let (mut evaluated, mut levels) = (0, 0);
    for text in deepest() {
        // A text that does not validate can still be parsed and dropped.
        on_stack(HALF_BYTES, || drop(Policy::parse(None, &text)));
        // Most shapes do not type-check; evaluate those that do.
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
    assert!(levels > DEPTH_MAX - 16, "another limit is reached before the limit of levels: {levels}");
}

/// An invalid text may leave a tree that is deeper than the scan counts, but at most as deep as a piece has
/// tokens. The parser's thread has a stack that is large enough to drop it.
#[test]
fn a_tree_as_deep_as_a_piece_has_tokens_can_be_dropped() {
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
fn shipped_packs_are_far_below_the_limits() {
    for shipped in crate::bounds::shipped() {
        for policy in PolicySet::from_str(&shipped.pack.policies).unwrap().policies() {
            let text = policy.to_cedar().unwrap();
            let twice = format!("{}{}", text.trim_end_matches(';'), " when { true }".repeat(DEPTH_MAX / 4));
            assert!(pieces(&format!("{twice};")).is_ok(), "{}: {text}", shipped.pack.pack);
        }
    }
}

/// Older versions published packs without limits.
#[test]
fn a_recorded_pack_compiles_even_if_it_exceeds_the_limits() {
    for deep in ["(".repeat(60) + "true" + &")".repeat(60), "true".to_owned() + &" && true".repeat(600)] {
        let deep = policy(&format!("{deep} && context.paused"));
        assert!(matches!(offered(&deep), Err(BoundsError::Pack { .. })));
        let bounds = compile(vec![anything(), pack(Tier::Provider, "p", &deep)]).unwrap();
        on_stack(2 << 20, || assert_eq!(outcome(&bounds, &consented()), "allow"));
        // The same text is still rejected if a caller offers it, although it is in the cache.
        assert!(matches!(offered(&deep), Err(BoundsError::Pack { .. })));
    }
}
