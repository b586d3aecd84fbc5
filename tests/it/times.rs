//! Tests which times are accepted: from 1970 to the end of the year 9999. A date without a time stands for
//! the beginning or the end of its day, and the answer says for which moment.

use crate::harness::{self, Harness, choice, consent, fact, json, stdout};
use prost_types::{Duration, Timestamp};
use sayso::proto::{self, ConsentDecision, Role};
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// The first second of the year 10000.
const TOO_FAR: Timestamp = Timestamp { seconds: 253_402_300_800, nanos: 0 };
/// The last nanosecond of the year 9999.
const LAST: Timestamp = Timestamp { seconds: 253_402_300_799, nanos: 999_999_999 };
const BEFORE_1970: Timestamp = Timestamp { seconds: -1, nanos: 0 };

fn refused<T: std::fmt::Debug>(answer: Result<T, Status>, field: &str) {
    let status = answer.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{field}: {status:?}");
    let details = status.get_details_bad_request().unwrap();
    assert_eq!(details.field_violations[0].field, field, "{status:?}");
    assert!(details.field_violations[0].description.contains("9999-12-31T23:59:59"), "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_before_1970_or_after_the_year_9999_is_refused_in_every_field() {
    let harness = Harness::start().await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    harness::publish_notice(&mut steward).await;
    for time in [TOO_FAR, BEFORE_1970] {
        let mut record = fact("ada", "tone", "work", "x");
        record.attributes[0].expires_at = Some(time);
        refused(steward.profile.record_attributes(record.clone()).await, "attributes[0].expires_at");
        record.attributes[0].expires_at = None;
        record.attributes[0].observed_at = Some(time);
        refused(steward.profile.record_attributes(record.clone()).await, "attributes[0].observed_at");
        record.attributes[0].observed_at = None;
        record.options = Some(proto::WriteOptions { about: Some(time), ..Default::default() });
        refused(steward.profile.record_attributes(record).await, "options.about");
        let mut yes = choice(ConsentDecision::Given, "memory", &[], false);
        yes.expires_at = Some(time);
        refused(steward.consent.record_consent(consent("ada", vec![yes])).await, "choices.expires_at");
        let as_of = Some(proto::AsOf { moment: Some(proto::as_of::Moment::Time(time)) });
        let profile = proto::GetProfileRequest { subject: "ada".into(), as_of, ..Default::default() };
        refused(steward.profile.get_profile(profile).await, "as_of.time");
        let list = proto::ListRequestsRequest { due_by: Some(time), ..Default::default() };
        refused(steward.rights.list_requests(list).await, "due_by");
        let bounds = proto::ListBoundsRequest { as_of: Some(time), ..Default::default() };
        refused(steward.bounds.list_bounds(bounds).await, "as_of");
    }
    let keep = proto::SetRetentionRequest {
        class: proto::RetentionClass::Profile.into(),
        keep: Some(Duration { seconds: 315_576_000_001, nanos: 0 }),
        ..Default::default()
    };
    let status = steward.rights.set_retention(keep).await.unwrap_err();
    assert!(status.message().contains("`keep` must be from 0 to 315576000000 seconds"), "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_moment_of_the_year_9999_is_accepted_and_shown() {
    let harness = Harness::start().await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    let mut record = fact("ada", "tone", "work", "x");
    record.attributes[0].expires_at = Some(LAST);
    steward.profile.record_attributes(record).await.unwrap();
    let profile = json(&harness.cli(Role::Steward, "privacy-team", &["--json", "profile", "ada"]));
    assert_eq!(profile["attributes"][0]["expiresAt"], "9999-12-31T23:59:59.999Z");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_recorded_whatever_its_end_says() {
    let harness = Harness::start().await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    let mut no = choice(ConsentDecision::Refused, "memory", &[], false);
    no.expires_at = Some(TOO_FAR);
    steward.consent.record_consent(consent("ada", vec![no])).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_date_without_a_time_is_its_whole_day_and_the_answer_says_which_moment_it_became() {
    let harness = Harness::start().await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    harness::publish_notice(&mut steward).await;
    let run = |arguments: &[&str]| harness.cli(Role::Steward, "privacy-team", arguments);
    let give = ["consent", "give", "ada", "--purpose", "memory", "--notice", "welcome", "--until"];
    let text = stdout(&run(&[&give[..], &["2999-12-31"]].concat()));
    assert!(text.contains("`--until` is 3000-01-01T00:00:00Z, the end of 2999-12-31 in UTC\n"), "{text}");
    let answer = run(&[&["--json"], &give[..], &["2999-12-31+01:00"]].concat());
    json(&answer);
    let said = String::from_utf8(answer.stderr).unwrap();
    assert_eq!(said, "`--until` is 2999-12-31T23:00:00Z, the end of 2999-12-31 in UTC+01:00\n");
    let text = stdout(&run(&["consents", "ada", "--as-of", "2999-01-01"]));
    assert!(text.contains("`--as-of` is 2999-01-01T23:59:59.999Z, the last moment of"), "{text}");
    let record = ["record", "ada", "tone", "x", "--category", "work", "--observed-at", "2026-01-05"];
    let text = stdout(&run(&record));
    assert!(text.contains("`--observed-at` is 2026-01-05T00:00:00Z, the beginning of 2026-01-05"), "{text}");
    let exact = stdout(&run(&["profile", "ada", "--as-of", "2999-01-01T12:00:00Z"]));
    assert!(!exact.contains("--as-of"), "{exact}");
    let consents = json(&run(&["--json", "consents", "ada"]));
    assert_eq!(consents["consents"][1]["expiresAt"], "2999-12-31T23:00:00Z");
    let no_time = run(&["accept-clock", "--now", "2026-01-31"]);
    assert_eq!(no_time.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&no_time.stderr).contains("time of day"), "{no_time:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_says_what_dates_without_a_time_became_and_refuses_only_the_lines_with_a_far_date() {
    let harness = Harness::start().await;
    let line = |key: &str, observed_at: &str| {
        serde_json::json!({
            "subject": "ada", "key": key, "value": 1, "category": "work", "provenance": "declared",
            "observed_at": observed_at,
        })
        .to_string()
    };
    let lines =
        [line("a", "2026-01-05"), line("b", "9999-12-31T23:59:59-05:00"), line("c", "2026-01-05+01:00")];
    let file = harness.dir.path().join("lines.jsonl");
    std::fs::write(&file, lines.join("\n")).unwrap();
    let output = harness.cli(Role::Service, "tutor", &["--json", "import", file.to_str().unwrap()]);
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&answer["recorded"], &answer["datesWithoutTime"]), (&"2".into(), &"2".into()), "{answer}");
    for (at, line, moment) in [
        (0, "1", "`observed_at` is 2026-01-05T00:00:00Z, the beginning of 2026-01-05"),
        (1, "3", "`observed_at` is 2026-01-04T23:00:00Z, the beginning of 2026-01-05"),
    ] {
        assert_eq!(answer["dates"][at]["line"], line, "{answer}");
        let message = answer["dates"][at]["message"].as_str().unwrap();
        assert!(message.starts_with(moment), "{answer}");
    }
    let output = harness.cli(Role::Service, "tutor", &["import", file.to_str().unwrap()]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("line 3: `observed_at` is 2026-01-04T23:00:00Z"), "{text}");
    assert_eq!(answer["refused"][0]["line"], "2", "{answer}");
    assert!(answer["refused"][0]["message"].as_str().unwrap().contains("9999-12-31"), "{answer}");
}
