//! Inferences about special categories on real data: which of them the bounds forbid for ten data subjects,
//! by which policy, and what explicit consent changes. Every expected number is counted from the data file
//! alone.

use crate::harness::{self, Harness, choice, consent, facts};
use crate::transparency::{Rows, assert_shows, history, labels, ratio, report, request, start_reporting};
use sayso::proto::event_body::Event;
use sayso::proto::{self, ConsentDecision, Role, Tier};
use serde_json::Value;
use std::collections::BTreeMap;

const SPECIAL: [&str; 4] = ["health", "political_opinion", "religious_belief", "sexual_orientation_gender"];
const POLICY: &str = "gdpr/art-9-inference";

/// The data subject and category of each line of the file.
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

/// The expected rows of a table of the report. `labels` takes the category of a line. It returns the labels
/// of the row that counts the line, or `None` if no row counts it.
fn rows(lines: &[(String, String)], labels: impl Fn(&str) -> Option<Vec<String>>) -> Rows {
    let mut rows = Rows::new();
    for (subject, category) in lines {
        if let Some(labels) = labels(category) {
            let row = rows.entry(labels).or_default();
            row.0.insert(subject.clone());
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
async fn inferences_about_special_categories_are_refused_until_explicit_consent() {
    let harness = start_reporting(tempfile::tempdir().unwrap(), true).await;
    let mut service = harness.as_role(Role::Service, "tutor").await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    harness::publish_notice(&mut steward).await;
    let lines = lines();
    let is_special = |category: &str| SPECIAL.contains(&category);
    let expected_refusals =
        rows(&lines, |category| is_special(category).then(|| labels(&["public", POLICY, category])));
    let forbidden: u64 = expected_refusals.values().map(|(_, count)| count).sum();
    let subjects: std::collections::BTreeSet<&String> = lines.iter().map(|(subject, _)| subject).collect();
    // A refused attempt is recorded only for a data subject that exists. So each subject gets a
    // description first. It has an age band, because an empty description creates no data subject.
    for subject in &subjects {
        let age_band = proto::AgeBand::Adult.into();
        let description =
            proto::DescribeSubjectRequest { subject: (*subject).clone(), age_band, ..Default::default() };
        steward.profile.describe_subject(description).await.unwrap();
    }
    let done = import(&harness);
    assert_eq!(
        (harness::int64(&done["recorded"]), harness::int64(&done["refusedCount"])),
        (1_283 - forbidden, 0),
        "{done}"
    );
    assert_eq!(harness::int64(&done["forbiddenCount"]), forbidden);

    // Each subject's history has the attempts with category, count and policy, but no key and no value.
    let mut found = Rows::new();
    for subject in &subjects {
        for recorded in history(&mut steward, subject).await {
            let Some(Event::RecordingRefused(attempt)) = recorded.body.unwrap().event else { continue };
            assert_eq!((attempt.policy.as_str(), attempt.decided_by()), (POLICY, Tier::Public));
            assert_eq!(attempt.article, "GDPR Art. 9(1), 9(2)(a)");
            let row = found.entry(labels(&["public", POLICY, &attempt.category])).or_default();
            row.0.insert((*subject).clone());
            row.1 += u64::from(attempt.count);
        }
    }
    assert_eq!(found, expected_refusals);
    let before = report(&mut steward, request()).await.unwrap();
    assert_shows(&before, "refused-recordings", &expected_refusals);
    let of = |category: &str| Some(labels(&[category, "inferred"]));
    assert_shows(&before, "stored", &rows(&lines, |category| of(category).filter(|_| !is_special(category))));
    assert!(ratio(&before, "special-share").is_none_or(|share| share == 0.0));

    // All subjects consent explicitly to the four categories. The same inferences are now recorded and
    // usable.
    let given = choice(ConsentDecision::Given, "memory", &SPECIAL, true);
    for subject in &subjects {
        steward.consent.record_consent(consent(subject, vec![given.clone()])).await.unwrap();
    }
    assert_eq!(import(&harness)["forbiddenCount"], "0");
    let after = report(&mut steward, request()).await.unwrap();
    assert_shows(&after, "refused-recordings", &expected_refusals);
    assert_shows(&after, "stored", &rows(&lines, of));
    let mut usable: BTreeMap<String, u64> = BTreeMap::new();
    for subject in &subjects {
        let ask = proto::RequestGrantRequest {
            subject: (*subject).clone(),
            purpose: "memory".into(),
            ..Default::default()
        };
        let grant = service.grant.request_grant(ask).await.unwrap().into_inner();
        for allowed in grant.allowed {
            *usable.entry(allowed.category).or_default() += 1;
        }
    }
    let expected = rows(&lines, |category| is_special(category).then(|| labels(&[category])));
    let expected: BTreeMap<String, u64> =
        expected.into_iter().map(|(mut labels, (_, count))| (labels.remove(0), count)).collect();
    assert_eq!(usable, expected, "only the four categories that the consent names are usable");
}
