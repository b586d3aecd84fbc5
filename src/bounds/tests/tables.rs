//! Runs the test table of each shipped pack, and checks which errors are reported for failed cases and
//! invalid tables.

use super::*;
use crate::bounds::pack_tests::run::{Outcome, run_pack_tests, tier};
use crate::bounds::pack_tests::table::Table;
use crate::bounds::shipped_packs::shipped;

#[test]
fn every_shipped_pack_passes_its_test_table() {
    let mut counted = 0;
    for shipped in shipped() {
        let table = shipped.table().unwrap();
        assert_eq!(tier(&table.tier).unwrap(), shipped.pack.tier);
        let run = run_pack_tests(&shipped.pack, &table).unwrap();
        let failed: Vec<&Outcome> = run.outcomes.iter().filter(|outcome| !outcome.passed()).collect();
        assert!(failed.is_empty(), "`{}`: {failed:#?}", run.pack);
        assert_eq!(run.uncovered, Vec::<String>::new(), "`{}`", run.pack);
        if shipped.pack.tier == Tier::Public {
            counted += run.outcomes.len();
            assert!(table.cases.iter().all(|case| !case.article.is_empty()), "`{}`", run.pack);
        }
    }
    assert!(counted >= 120, "{counted}");
}

/// Explanations are built from the annotations of the deciding policy.
#[test]
fn every_policy_has_a_title_a_reason_an_order_and_its_source_in_law() {
    for shipped in shipped() {
        let ids =
            shipped.pack.policies.lines().filter_map(|line| line.strip_prefix("@id(\"")?.strip_suffix("\")"));
        let bounds = compile(vec![shipped.pack.clone()]).unwrap();
        for id in ids {
            let policy = format!("{}/{id}", shipped.pack.pack);
            let annotation = |name: &str| bounds.annotation(&policy, name).unwrap_or_default().to_owned();
            assert!(!annotation("title").is_empty() && !annotation("reason").is_empty(), "{policy}");
            assert!(annotation("order").parse::<u32>().is_ok(), "{policy}");
            assert!(shipped.pack.tier != Tier::Public || !annotation("article").is_empty(), "{policy}");
        }
    }
    assert_eq!(default_bounds().annotation("gdpr/no-such-policy", "title"), None);
}

#[test]
fn every_category_of_article_9_needs_explicit_consent() {
    let (bounds, vocabulary) = (default_bounds(), default_vocabulary());
    for category in vocabulary.categories() {
        let case = CedarRequest { category: category.id.clone(), ..consented() };
        let expected = match category.id.as_str() {
            "criminal" => "gdpr/art-10-offences",
            _ if category.special => "gdpr/art-9-explicit-consent",
            _ => "allow",
        };
        assert_eq!(outcome(&bounds, &case), expected, "{}", category.id);
        if category.id != "criminal" {
            assert_eq!(outcome(&bounds, &CedarRequest { explicit: true, ..case }), "allow");
        }
    }
}

fn run(cases: &str) -> Result<crate::bounds::PackTestRun, String> {
    let table: Table = serde_json::from_str(cases).map_err(|error| error.to_string())?;
    let text = "@id(\"no\") forbid (principal, action, resource in Category::\"work\");";
    run_pack_tests(&pack(Tier::Public, "mine", text), &table).map_err(|error| error.to_string())
}

#[test]
fn a_failed_case_reports_the_expected_and_the_actual_decision() {
    let case = |category: &str, expect: &str| {
        format!(
            r#"{{"name": "n", "article": "a", "category": "{category}", "set": ["consented"], "expect": "{expect}"}}"#
        )
    };
    let table = |case: &str| format!(r#"{{"tier": "public", "cases": [{case}]}}"#);
    let passed = run(&table(&case("work", "no"))).unwrap();
    assert!(passed.passed());
    let failed = run(&table(&case("work", "allow"))).unwrap();
    assert!(!failed.passed());
    assert_eq!(
        (failed.outcomes[0].expected.as_str(), failed.outcomes[0].found.as_str()),
        ("allow", "mine/no")
    );
    // A table fails if a forbidding policy decides none of its cases.
    let uncovered = run(&table(&case("family", "allow"))).unwrap();
    assert_eq!((uncovered.passed(), uncovered.uncovered), (false, vec!["mine/no".to_owned()]));
}

#[test]
fn the_former_field_names_of_a_table_are_accepted() {
    let case = |subject: &str, attribute: &str| {
        format!(
            r#"{{"tier": "public", "cases": [
                {{"name": "n", "article": "a", "category": "work", "{subject}": {{"age_band": "teen"}}, "expect": "no"}},
                {{"name": "n", "article": "a", "steps": [{{"{attribute}": {{"category": "work"}}}}], "expect": "no"}}
            ]}}"#
        )
    };
    assert_eq!(run(&case("person", "fact")), run(&case("subject", "attribute")));
    assert!(run(&case("person", "fact")).unwrap().passed());
}

#[test]
fn an_invalid_table_is_rejected_with_its_problem() {
    let wrong = |case: &str, expected: &str| {
        let table = format!(
            r#"{{"tier": "public", "cases": [{{"name": "n", "article": "a", "expect": "allow"{case}}}]}}"#
        );
        let problem = run(&table).unwrap_err();
        assert!(problem.contains(expected), "{case}: {problem}");
    };
    wrong("", "needs `category`");
    wrong(r#", "category": "wrok""#, "`wrok` is not a category");
    wrong(r#", "category": "work", "purpose": "memry""#, "`memry` is not a purpose");
    wrong(r#", "category": "work", "set": ["consentd"]"#, "`consentd` is not one");
    wrong(r#", "category": "work", "action": "sell""#, "`action` must be");
    wrong(r#", "category": "work", "with": ["gpdr"]"#, "none named `gpdr`");
    wrong(r#", "category": "work", "sett": []"#, "unknown field `sett`");
    wrong(r#", "steps": [{}]"#, "step 0: it needs a field");
    wrong(r#", "steps": [{"contest": "a"}]"#, "no attribute with the key `a`");
    wrong(r#", "steps": [{"contest": "a", "remove": "a"}]"#, "no attribute with the key `a`");
    wrong(r#", "steps": [{"disclosed": "tutor", "give": {}}]"#, "only one field besides `day`");
    wrong(
        r#", "steps": [{"day": 3, "give": {}}, {"day": 2, "give": {}}]"#,
        "step 1: `day` must not be before",
    );
    wrong(r#", "steps": [{"signal": {"kind": "shout"}}]"#, "not `shout`");
    wrong(r#", "steps": [{"describe": {"age_band": "baby"}}]"#, "`age_band` must be");
    wrong(r#", "steps": [{"give": {"purposes": ["memory"]}}]"#, "no attribute with the requested key");
    wrong(r#", "action": "record", "steps": [{"give": {}}]"#, "must be `attribute`");
}
