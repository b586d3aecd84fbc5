//! What is refused when it is published, and what happens where it errs nonetheless.

use super::*;
use crate::domain::vocabulary::Vocabulary;
use sayso_proof::event::{PurposeDefined, Reason};

fn problem(tier: Tier, policies: &str) -> String {
    match compile(vec![pack(tier, "p", policies)]) {
        Ok(_) => panic!("`{policies}` was taken"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_is_wrong_is_named_with_line_and_column() {
    let unparsable = "@id(\"a\")\nforbid (principal, action, resource);\n@id(\"b\")\nforbid (principal, acton, resource);\n";
    assert!(problem(Tier::Public, unparsable).starts_with("pack `p`: line 4, column 20: "));
    let unknown = "@id(\"a\")\nforbid (principal, action, resource)\nwhen { context.no_such_thing };\n";
    let unknown = problem(Tier::Public, unknown);
    assert!(unknown.starts_with("pack `p`: line 3, column 8: "), "{unknown}");
    assert!(unknown.contains("no_such_thing"), "{unknown}");
    let two = "@id(\"a\") forbid (principal, action, resource) when { context.x };\n@id(\"b\") forbid (principal, action == Action::\"use\", resource) when { resource.y };\n";
    let two = problem(Tier::Individual, &two.replace("action,", "action == Action::\"use\","));
    let lines: Vec<&str> = two.lines().collect();
    assert_eq!(lines.len(), 2, "{two}");
    assert!(lines[0].starts_with("pack `p`: line 1, column 71: for policy `p/a`"), "{two}");
    assert!(lines[1].starts_with("line 2, column 71: for policy `p/b`"), "{two}");
    // Characters are counted, not bytes.
    let wide = "@id(\"ü\") forbid (principal, action, resource) when { context.x };";
    assert!(problem(Tier::Public, wide).contains("line 1, column 54: for policy `p/ü`"));
}

#[test]
fn what_would_protect_nobody_is_refused() {
    let all = "(principal, action, resource)";
    let cases = [
        (Tier::Public, format!("@id(\"a\") permit {all};"), "may only forbid"),
        (Tier::Public, format!("forbid {all};"), "needs an `@id`"),
        (Tier::Public, format!("@id(\"a\") forbid {all};\n@id(\"a\") forbid {all};"), "p/a"),
        (Tier::Public, "@id(\"a\") forbid (principal == ?principal, action, resource);".into(), "templates"),
        (Tier::Public, format!("@id(\"a\") @reason(\"WHIM\") forbid {all};"), "`@reason`"),
        (Tier::Public, format!("@id(\"a\") @reason(\"UNSPECIFIED\") forbid {all};"), "`@reason`"),
        (Tier::Public, format!("@id(\"a\") @order(\"first\") forbid {all};"), "`@order`"),
        (Tier::Public, format!("@id(\"a\") forbid {all} when {{ context.purpose }};"), "line 1"),
        (
            Tier::Public,
            format!("@id(\"a\") forbid {all} when {{ context.paused && !context.paused && false }};"),
            "line 1",
        ),
        (Tier::Public, "@id(\"a\") forbid (principal, action == Action::\"sell\", resource);".into(), "sell"),
        (Tier::Unspecified, format!("@id(\"a\") forbid {all};"), "tier must be"),
    ];
    for (tier, policies, expected) in cases {
        let problem = problem(tier, &policies);
        assert!(problem.contains(expected), "{policies}: {problem}");
    }
    let mut unknown = anything();
    unknown.tier = 7;
    assert!(matches!(compile(vec![unknown]), Err(BoundsError::Tier(_))));
}

#[test]
fn of_each_pack_the_last_counts_and_positions_say_so() {
    let forbid = pack(Tier::Provider, "anything", "@id(\"no\") forbid (principal, action, resource);");
    let bounds = compile(vec![anything(), forbid.clone()]).unwrap();
    assert_eq!(bounds.positions(), [11]);
    assert_eq!(outcome(&bounds, &consented()), "anything/no");
    assert_eq!(outcome(&compile(vec![forbid, anything()]).unwrap(), &consented()), "allow");
    // The same name in another tier is another pack.
    let public = pack(Tier::Public, "anything", "@id(\"no\") forbid (principal, action, resource);");
    let bounds = compile(vec![public, anything()]).unwrap();
    assert_eq!(bounds.positions(), [10, 11]);
    assert_eq!(outcome(&bounds, &consented()), "anything/no");
}

#[test]
fn no_tier_can_widen_what_another_forbids() {
    let mut packs = defaults();
    packs.push(pack(Tier::Individual, "own", "@id(\"all\") permit (principal, action, resource);"));
    packs.push(anything());
    let bounds = compile(packs).unwrap();
    let silent = CedarRequest { consented: false, ..consented() };
    assert_eq!(outcome(&bounds, &silent), "gdpr/art-6-consent");
    let own = pack(
        Tier::Individual,
        "own",
        "@id(\"never-work\") forbid (principal, action, resource) when { resource in Category::\"work\" };",
    );
    let bounds = compile(defaults().into_iter().chain([own]).collect()).unwrap();
    assert_eq!(outcome(&bounds, &consented()), "own/never-work");
    let family = CedarRequest { category: "family".into(), ..consented() };
    assert_eq!(outcome(&bounds, &family), "allow");
}

#[test]
fn without_a_provider_nothing_is_permitted() {
    let bounds = compile(vec![defaults().remove(0)]).unwrap();
    let denial = bounds.denial_for(&consented()).unwrap();
    assert_eq!((denial.tier, denial.reason), (Tier::Provider, Some(Reason::NotPermitted)));
    assert!(compile(Vec::new()).unwrap().denial_for(&consented()).is_some());
}

#[test]
fn rules_reach_what_is_below_what_they_name() {
    let text = "@id(\"no\") forbid (principal, action in Action::\"use\", resource in Category::\"preference\") when { context.purpose in Purpose::\"personalization\" };";
    let bounds = compile(vec![pack(Tier::Public, "p", text), anything()]).unwrap();
    let language = CedarRequest { category: "language".into(), ..consented() };
    assert_eq!(outcome(&bounds, &language), "p/no");
    assert_eq!(outcome(&bounds, &CedarRequest { purpose: "safety".into(), ..language }), "allow");
}

/// An overflow is what the validator cannot see. Cedar would skip the policy, and a `forbid` would let it
/// pass.
#[test]
fn any_error_in_any_tier_denies() {
    let overflow = |effect| {
        format!(
            "@id(\"errs\") {effect} (principal, action, resource) when {{ 9223372036854775807 + 1 > 0 }};"
        )
    };
    for (tier, effect) in [
        (Tier::Public, "forbid"),
        (Tier::Provider, "forbid"),
        (Tier::Provider, "permit"),
        (Tier::Individual, "forbid"),
        (Tier::Individual, "permit"),
    ] {
        let bounds = compile(vec![anything(), pack(tier, "p", &overflow(effect))]).unwrap();
        let denial = bounds.denial_for(&consented()).unwrap();
        assert_eq!((denial.tier, denial.reason), (tier, Some(Reason::PolicyError)));
        assert_eq!(denial.policy, "p/errs");
    }
}

/// Its attributes are not there to be read, which is an error and no allowance.
#[test]
fn a_category_that_nobody_defined_is_denied() {
    let unheard_of = CedarRequest { category: "unheard-of".into(), ..consented() };
    let denial = default_bounds().denial_for(&unheard_of).unwrap();
    assert_eq!(denial.reason, Some(Reason::PolicyError));
}

#[test]
fn a_vocabulary_in_a_circle_is_an_error() {
    let mut vocabulary = Vocabulary::default();
    for (id, parent) in [("a", "b"), ("b", "a")] {
        let (id, parent) = (id.into(), parent.into());
        vocabulary.define_purpose(PurposeDefined { id, parent, ..PurposeDefined::default() });
    }
    assert!(Bounds::compile(&[], &vocabulary).is_err());
    let purpose = |id: &str, parent: &str| PurposeDefined {
        id: id.into(),
        parent: parent.into(),
        ..PurposeDefined::default()
    };
    let mut vocabulary = default_vocabulary();
    assert!(!vocabulary.can_take_purpose(&purpose("personalization", "memory")));
    assert!(vocabulary.can_take_purpose(&purpose("diary", "memory")));
    for depth in 1..32 {
        let deeper = purpose(&format!("p{depth}"), &format!("p{}", depth - 1));
        assert!(vocabulary.can_take_purpose(&deeper), "{depth}");
        vocabulary.define_purpose(deeper);
    }
    assert!(!vocabulary.can_take_purpose(&purpose("p32", "p31")));
    // Not from below either.
    vocabulary.define_purpose(purpose("p0", ""));
    assert!(!vocabulary.can_take_purpose(&purpose("p0", "memory")));
}
