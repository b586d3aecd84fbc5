//! Tests of publishing: which packs are rejected, which versions and tiers decide, and that a use is denied
//! if the evaluation of a policy fails.

use super::*;
use crate::domain::event::{PurposeDefined, Reason};
use crate::domain::hierarchy::Since;
use crate::domain::vocabulary::Vocabulary;

fn problem(tier: Tier, policies: &str) -> String {
    match compile(vec![pack(tier, "p", policies)]) {
        Ok(_) => panic!("`{policies}` was accepted"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_problem_is_reported_with_line_and_column() {
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
    // Columns count characters, not bytes.
    let wide = "@id(\"ü\") forbid (principal, action, resource) when { context.x };";
    assert!(problem(Tier::Public, wide).contains("line 1, column 54: for policy `p/ü`"));
}

#[test]
fn an_invalid_pack_is_rejected_with_its_problem() {
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
    unknown.tier = Tier::Unspecified;
    assert!(matches!(compile(vec![unknown]), Err(BoundsError::Tier(_))));
}

#[test]
fn the_last_version_of_each_pack_is_in_force() {
    let forbid = pack(Tier::Provider, "anything", "@id(\"no\") forbid (principal, action, resource);");
    let bounds = compile(vec![anything(), forbid.clone()]).unwrap();
    assert_eq!(bounds.positions(), [11]);
    assert_eq!(outcome(&bounds, &consented()), "anything/no");
    assert_eq!(outcome(&compile(vec![forbid, anything()]).unwrap(), &consented()), "allow");
    // A pack with the same name in another tier is a different pack.
    let public = pack(Tier::Public, "anything", "@id(\"no\") forbid (principal, action, resource);");
    let bounds = compile(vec![public, anything()]).unwrap();
    assert_eq!(bounds.positions(), [10, 11]);
    assert_eq!(outcome(&bounds, &consented()), "anything/no");
}

#[test]
fn no_tier_can_permit_what_another_tier_forbids() {
    let mut packs = defaults();
    packs.push(pack(Tier::Individual, "own", "@id(\"all\") permit (principal, action, resource);"));
    packs.push(anything());
    let bounds = compile(packs).unwrap();
    let without_consent = CedarRequest { consented: false, ..consented() };
    assert_eq!(outcome(&bounds, &without_consent), "gdpr/art-6-consent");
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
fn a_rule_applies_to_everything_below_the_purposes_and_categories_that_it_names() {
    let text = "@id(\"no\") forbid (principal, action in Action::\"use\", resource in Category::\"preference\") when { context.purpose in Purpose::\"personalization\" };";
    let bounds = compile(vec![pack(Tier::Public, "p", text), anything()]).unwrap();
    let language = CedarRequest { category: "language".into(), ..consented() };
    assert_eq!(outcome(&bounds, &language), "p/no");
    assert_eq!(outcome(&bounds, &CedarRequest { purpose: "safety".into(), ..language }), "allow");
}

/// The validator cannot detect an overflow. Cedar skips a policy whose evaluation fails, so a failed `forbid`
/// would not deny.
#[test]
fn an_evaluation_error_in_any_tier_denies() {
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

/// The entity of an undefined category does not exist, so reading its attributes is an error.
#[test]
fn an_undefined_category_is_denied() {
    let undefined = CedarRequest { category: "undefined".into(), ..consented() };
    let denial = default_bounds().denial_for(&undefined).unwrap();
    assert_eq!(denial.reason, Some(Reason::PolicyError));
}

#[test]
fn a_vocabulary_with_a_cycle_or_too_many_levels_is_rejected() {
    let mut vocabulary = Vocabulary::default();
    for (id, parent) in [("a", "b"), ("b", "a")] {
        let (id, parent) = (id.into(), parent.into());
        vocabulary
            .define_purpose(PurposeDefined { id, parent, ..PurposeDefined::default() }, Since::default());
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
        vocabulary.define_purpose(deeper, Since::default());
    }
    assert!(!vocabulary.can_take_purpose(&purpose("p32", "p31")));
    // Moving a purpose with many levels below it is rejected too.
    vocabulary.define_purpose(purpose("p0", ""), Since::default());
    assert!(!vocabulary.can_take_purpose(&purpose("p0", "memory")));
}
