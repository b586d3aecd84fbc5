//! Each pack against its own table, and tables that say what is wrong.

use super::*;
use crate::bounds::pack_tests::run::{Outcome, run_pack_tests, tier};
use crate::bounds::pack_tests::table::Table;
use crate::bounds::shipped_packs::shipped;

#[test]
fn every_pack_decides_as_its_table_says() {
    let mut counted = 0;
    for shipped in shipped() {
        let table = shipped.table().unwrap();
        assert_eq!(tier(&table.tier).unwrap(), shipped.pack.tier());
        let trial = run_pack_tests(&shipped.pack, &table).unwrap();
        let failed: Vec<&Outcome> = trial.outcomes.iter().filter(|outcome| !outcome.passed()).collect();
        assert!(failed.is_empty(), "`{}`: {failed:#?}", trial.pack);
        assert_eq!(trial.untried, Vec::<String>::new(), "`{}`", trial.pack);
        if shipped.pack.tier() == Tier::Public {
            counted += trial.outcomes.len();
            assert!(table.cases.iter().all(|case| !case.article.is_empty()), "`{}`", trial.pack);
        }
    }
    assert!(counted >= 120, "{counted}");
}

/// What an answer says stands on the policy, for every rule that can decide.
#[test]
fn every_policy_says_what_it_is_and_where_it_comes_from() {
    for shipped in shipped() {
        let ids =
            shipped.pack.policies.lines().filter_map(|line| line.strip_prefix("@id(\"")?.strip_suffix("\")"));
        let bounds = compile(vec![shipped.pack.clone()]).unwrap();
        for id in ids {
            let policy = format!("{}/{id}", shipped.pack.pack);
            let says = |name: &str| bounds.annotation(&policy, name).unwrap_or_default().to_owned();
            assert!(!says("title").is_empty() && !says("reason").is_empty(), "{policy}");
            assert!(says("order").parse::<u32>().is_ok(), "{policy}");
            assert!(shipped.pack.tier() != Tier::Public || !says("article").is_empty(), "{policy}");
        }
    }
    assert_eq!(default_bounds().annotation("gdpr/no-such-policy", "title"), None);
}

#[test]
fn every_category_of_article_9_needs_an_explicit_yes() {
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

fn tried(cases: &str) -> Result<crate::bounds::PackTestRun, String> {
    let table: Table = serde_json::from_str(cases).map_err(|error| error.to_string())?;
    let text = "@id(\"no\") forbid (principal, action, resource in Category::\"work\");";
    run_pack_tests(&pack(Tier::Public, "mine", text), &table).map_err(|error| error.to_string())
}

#[test]
fn a_table_that_fails_says_which_case_and_what_came() {
    let case = |category: &str, expect: &str| {
        format!(
            r#"{{"name": "n", "article": "a", "category": "{category}", "set": ["consented"], "expect": "{expect}"}}"#
        )
    };
    let table = |case: &str| format!(r#"{{"tier": "public", "cases": [{case}]}}"#);
    let passed = tried(&table(&case("work", "no"))).unwrap();
    assert!(passed.passed());
    let failed = tried(&table(&case("work", "allow"))).unwrap();
    assert!(!failed.passed());
    assert_eq!(
        (failed.outcomes[0].expected.as_str(), failed.outcomes[0].found.as_str()),
        ("allow", "mine/no")
    );
    // A rule that no case shows at work fails the table.
    let untried = tried(&table(&case("family", "allow"))).unwrap();
    assert_eq!((untried.passed(), untried.untried), (false, vec!["mine/no".to_owned()]));
}

#[test]
fn what_is_wrong_with_a_table_is_said() {
    let wrong = |case: &str, expected: &str| {
        let table = format!(
            r#"{{"tier": "public", "cases": [{{"name": "n", "article": "a", "expect": "allow"{case}}}]}}"#
        );
        let problem = tried(&table).unwrap_err();
        assert!(problem.contains(expected), "{case}: {problem}");
    };
    wrong("", "needs `category`");
    wrong(r#", "category": "wrok""#, "`wrok` is no category");
    wrong(r#", "category": "work", "purpose": "memry""#, "`memry` is no purpose");
    wrong(r#", "category": "work", "set": ["consentd"]"#, "`consentd` is no flag");
    wrong(r#", "category": "work", "action": "sell""#, "`action` must be");
    wrong(r#", "category": "work", "with": ["gpdr"]"#, "no pack `gpdr`");
    wrong(r#", "category": "work", "sett": []"#, "unknown field `sett`");
    wrong(r#", "steps": [{}]"#, "step 0: says nothing");
    wrong(r#", "steps": [{"contest": "a"}]"#, "no fact `a` is held");
    wrong(r#", "steps": [{"contest": "a", "remove": "a"}]"#, "no fact `a` is held");
    wrong(r#", "steps": [{"disclosed": "tutor", "give": {}}]"#, "more than one thing");
    wrong(r#", "steps": [{"day": 3, "give": {}}, {"day": 2, "give": {}}]"#, "goes back in time");
    wrong(r#", "steps": [{"signal": {"kind": "shout"}}]"#, "`shout` is no signal");
    wrong(r#", "steps": [{"describe": {"age_band": "baby"}}]"#, "no such age band");
    wrong(r#", "steps": [{"give": {"purposes": ["memory"]}}]"#, "its key is not held");
    wrong(r#", "action": "record", "steps": [{"give": {}}]"#, "must be a fact");
}
