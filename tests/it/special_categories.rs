//! The real facts at the door: what may not be concluded about ten people, by which rule, and what their own
//! yes changes. Every number is counted a second time from the file alone.

use crate::harness::{self, Harness, choice, consent, facts};
use crate::transparency::{Rows, assert_shows, history, house, ratio, report, request, words};
use sayso::proto::event_body::Event;
use sayso::proto::{self, ConsentDecision, Role, Tier};
use serde_json::Value;
use std::collections::BTreeMap;

const SPECIAL: [&str; 4] = ["health", "political_opinion", "religious_belief", "sexual_orientation_gender"];
const POLICY: &str = "gdpr/art-9-inference";

/// Person and category of each line of the file.
fn lines() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(facts()).unwrap();
    let line = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["provenance"], "inferred");
        let word = |name: &str| line[name].as_str().unwrap().to_owned();
        (word("subject"), word("category"))
    };
    text.lines().map(line).collect()
}

/// Rows of a table, from those lines that count in it.
fn rows(lines: &[(String, String)], labels: impl Fn(&str) -> Option<Vec<String>>) -> Rows {
    let mut rows = Rows::new();
    for (person, category) in lines {
        if let Some(labels) = labels(category) {
            let row = rows.entry(labels).or_default();
            row.0.insert(person.clone());
            row.1 += 1;
        }
    }
    rows
}

fn import(harness: &Harness) -> Value {
    let file = facts().display().to_string();
    harness::json(&harness.cli(Role::Service, "tutor", &["--json", "import", &file]))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_concluded_about_special_categories_waits_for_an_explicit_yes() {
    let harness = house(tempfile::tempdir().unwrap(), true).await;
    let mut service = harness.as_role(Role::Service, "tutor").await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    harness::publish_notice(&mut steward).await;
    let lines = lines();
    let is_special = |category: &str| SPECIAL.contains(&category);
    let refused = rows(&lines, |category| is_special(category).then(|| words(&["public", POLICY, category])));
    let stopped: u64 = refused.values().map(|(_, count)| count).sum();
    let people: std::collections::BTreeSet<&String> = lines.iter().map(|(person, _)| person).collect();
    // Attempts are recorded with people about whom something is held.
    for person in &people {
        let age_band = proto::AgeBand::Unknown.into();
        let known =
            proto::DescribeSubjectRequest { subject: (*person).clone(), age_band, ..Default::default() };
        steward.profile.describe_subject(known).await.unwrap();
    }
    let done = import(&harness);
    assert_eq!(
        (harness::int64(&done["recorded"]), harness::int64(&done["refusedCount"])),
        (1_283 - stopped, 0),
        "{done}"
    );
    assert_eq!(harness::int64(&done["forbiddenCount"]), stopped);

    // The attempts stand in each person's own history: what kind, how many, which rule; no key, no value.
    let mut found = Rows::new();
    for person in &people {
        for recorded in history(&mut steward, person).await {
            let Some(Event::RecordingRefused(attempt)) = recorded.body.unwrap().event else { continue };
            assert_eq!((attempt.policy.as_str(), attempt.decided_by()), (POLICY, Tier::Public));
            assert_eq!(attempt.article, "GDPR Art. 9(1), 9(2)(a)");
            let row = found.entry(words(&["public", POLICY, &attempt.category])).or_default();
            row.0.insert((*person).clone());
            row.1 += u64::from(attempt.count);
        }
    }
    assert_eq!(found, refused);
    let before = report(&mut steward, request()).await.unwrap();
    assert_shows(&before, "refused-recordings", &refused);
    let of = |category: &str| Some(words(&[category, "inferred"]));
    assert_shows(&before, "held", &rows(&lines, |category| of(category).filter(|_| !is_special(category))));
    assert!(ratio(&before, "special-share").is_none_or(|share| share == 0.0));

    // Everybody says yes, explicitly and by name: what had been stopped comes in, and may be used.
    let yes = choice(ConsentDecision::Given, "memory", &SPECIAL, true);
    for person in &people {
        steward.consent.record_consent(consent(person, vec![yes.clone()])).await.unwrap();
    }
    assert_eq!(import(&harness)["forbiddenCount"], "0");
    let after = report(&mut steward, request()).await.unwrap();
    assert_shows(&after, "refused-recordings", &refused);
    assert_shows(&after, "held", &rows(&lines, of));
    let mut usable: BTreeMap<String, u64> = BTreeMap::new();
    for person in &people {
        let ask = proto::RequestGrantRequest {
            subject: (*person).clone(),
            purpose: "memory".into(),
            ..Default::default()
        };
        let grant = service.grant.request_grant(ask).await.unwrap().into_inner();
        for allowed in grant.allowed {
            *usable.entry(allowed.category).or_default() += 1;
        }
    }
    let expected = rows(&lines, |category| is_special(category).then(|| words(&[category])));
    let expected: BTreeMap<String, u64> =
        expected.into_iter().map(|(mut labels, (_, count))| (labels.remove(0), count)).collect();
    assert_eq!(usable, expected, "the yes names four categories, and nothing beside them is usable");
}
