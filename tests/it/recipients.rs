//! Tests of the list of a person's recipients. It outlives the record of uses, has auditors in it, and omits
//! those who received nothing. After an erasure, every recipient of the erased data is notified.

use crate::erasure::{erasure, history, record, verify};
use crate::harness::{self, Clients, Harness, ask, choice, consent, fact};
use crate::package::{Unpacked, export};
use crate::rights::{AdvancedClock, start, wait_until};
use sayso::proto::{self, ConsentDecision, ErasureScope, PackageKind, RetentionClass, Role};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::Ordering;

const DAY_MS: u64 = 86_400_000;

/// Records a job and music of ada, her consent to everything for `tutor`, and that uses are kept for a day.
async fn record_ada(harness: &Harness) -> (Clients, Clients) {
    let mut service = harness.as_role(Role::Service, "tutor").await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    harness::publish_notice(&mut steward).await;
    record(&mut service, fact("ada", "job", "work", "baker")).await;
    record(&mut service, fact("ada", "music", "preference", "jazz")).await;
    let mut given = choice(ConsentDecision::Given, "tone-adaptation", &[], false);
    given.recipients = vec!["tutor".into(), "coach".into()];
    steward.consent.record_consent(consent("ada", vec![given])).await.unwrap();
    let keep = Some(prost_types::Duration { seconds: 86_400, nanos: 0 });
    let class = RetentionClass::Uses.into();
    let rule = proto::SetRetentionRequest { class, keep, ..Default::default() };
    steward.rights.set_retention(rule).await.unwrap();
    (service, steward)
}

/// Requests a grant for the attributes under these keys, or for all if there are none.
async fn grant_of(service: &mut Clients, keys: &[&str]) -> String {
    let keys = keys.iter().map(|key| (*key).to_owned()).collect();
    let request = proto::RequestGrantRequest { keys, ..ask("ada") };
    service.grant.request_grant(request).await.unwrap().into_inner().grant_id
}

async fn package(harness: &Harness, name: &str) -> (Value, String) {
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    let bytes = export(&mut steward, "ada", PackageKind::Access).await.unwrap();
    let unpacked = Unpacked::of(&bytes, &harness.dir.path().join(name));
    (unpacked.json(), unpacked.text("index.html"))
}

/// The recipients in a package, as `name first last`.
fn recipients(package: &Value) -> Vec<(String, String, String)> {
    let text = |of: &Value, name: &str| of[name].as_str().unwrap().to_owned();
    let found = package["recipients"].as_array().unwrap().iter();
    found.map(|of| (text(of, "name"), text(of, "first_received_at"), text(of, "last_received_at"))).collect()
}

fn names(package: &Value) -> Vec<String> {
    recipients(package).into_iter().map(|(name, ..)| name).collect()
}

/// What `tutor` learns from the start of the log on about erasures: the ids in each notice.
async fn notices(clients: &mut Clients, count: usize) -> Vec<proto::WatchRevocationsResponse> {
    let request = proto::WatchRevocationsRequest { after_cursor: Some(0) };
    let mut watch = clients.grant.watch_revocations(request).await.unwrap().into_inner();
    watch.message().await.unwrap();
    let mut found = Vec::new();
    while found.len() < count {
        let next = tokio::time::timeout(std::time::Duration::from_secs(10), watch.message()).await;
        let notice = next.expect("a notice").unwrap().unwrap();
        if notice.erased_scope() != ErasureScope::Unspecified {
            found.push(notice);
        }
    }
    found
}

/// Lets the retention of uses pass, and waits until no grant of ada is left.
async fn end_uses(harness: &Harness, clock: &AdvancedClock) {
    clock.0.fetch_add(3 * DAY_MS, Ordering::SeqCst);
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    wait_until(async || !history(&mut steward, "ada").await.contains("GrantIssued")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recipient_stays_in_the_package_after_the_retention_of_uses_and_is_told_about_the_erasure() {
    let clock = Arc::new(AdvancedClock::default());
    let harness = start(Arc::clone(&clock), tempfile::tempdir().unwrap()).await;
    let (mut tutor, _) = record_ada(&harness).await;
    let first = grant_of(&mut tutor, &[]).await;
    let (before, _) = package(&harness, "before").await;
    end_uses(&harness, &clock).await;

    let (after, page) = package(&harness, "after").await;
    assert_eq!(recipients(&after), recipients(&before), "the same name, first and last time");
    assert!(after["disclosures"].as_array().unwrap().is_empty(), "their record has ended");
    assert_eq!(after["recipients"][0]["earlier_records_ended"], true);
    assert!(page.contains("tutor"));
    // The controller's record of processing names it, too (GDPR Art. 30(1)(d)).
    let mut staff = harness.as_role(Role::Steward, "privacy-team").await;
    let record = proto::GetRecordOfProcessingRequest::default();
    let record = staff.audit.get_record_of_processing(record).await.unwrap().into_inner().record.unwrap();
    assert_eq!(record.recipients[0].name, "tutor");

    // A later disclosure is added, also after its record ended too: there is one list.
    let mut tutor = harness.as_role(Role::Service, "tutor").await;
    let mut coach = harness.as_role(Role::Service, "coach").await;
    let second = grant_of(&mut tutor, &[]).await;
    grant_of(&mut coach, &["music"]).await;
    end_uses(&harness, &clock).await;
    let (later, _) = package(&harness, "later").await;
    assert_eq!(names(&later), ["coach", "tutor"]);
    assert_eq!(recipients(&later)[1].1, recipients(&before)[0].1, "the first time stays");
    assert!(recipients(&later)[1].2 > recipients(&before)[0].2, "the last time moves");
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    assert_eq!(history(&mut steward, "ada").await.matches("RecipientsKept(").count(), 1);

    // `tutor` and `coach` are notified of the erasure of everything, with ids of their own grants.
    let mut tutor = harness.as_role(Role::Service, "tutor").await;
    let mut coach = harness.as_role(Role::Service, "coach").await;
    steward.rights.submit_request(erasure("ada", ErasureScope::All, "")).await.unwrap();
    let told = notices(&mut tutor, 1).await.remove(0);
    assert_eq!((told.erased_scope(), told.grant_ids), (ErasureScope::All, vec![first.clone(), second]));
    assert_eq!(notices(&mut coach, 1).await.remove(0).grant_ids.len(), 1);
    // The id of a grant whose record had ended says that everything was erased.
    let check = proto::CheckGrantRequest { grant_id: first, keys: vec!["job".into()] };
    let checked = tutor.grant.check_grant(check.clone()).await.unwrap().into_inner();
    assert_eq!(checked.reason(), proto::RevocationReason::Erased);
    assert_eq!(coach.grant.check_grant(check).await.unwrap_err().code(), tonic::Code::NotFound);
    verify(&harness);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_of_one_key_tells_those_who_had_received_it_and_no_others() {
    let clock = Arc::new(AdvancedClock::default());
    let harness = start(Arc::clone(&clock), tempfile::tempdir().unwrap()).await;
    let (mut tutor, _) = record_ada(&harness).await;
    let mut coach = harness.as_role(Role::Service, "coach").await;
    grant_of(&mut tutor, &["job", "music"]).await;
    grant_of(&mut coach, &["music"]).await;
    end_uses(&harness, &clock).await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    let request = erasure("ada", ErasureScope::Key, "job");
    let answer = steward.rights.submit_request(request).await.unwrap().into_inner();
    let told: Vec<String> =
        answer.certificate.unwrap().recipients.into_iter().map(|recipient| recipient.name).collect();
    assert_eq!(told, ["tutor"], "the coach never had the job");
    // The recipient learns which of its keys was erased, and nothing about keys that it did not have.
    let mut tutor = harness.as_role(Role::Service, "tutor").await;
    let notice = notices(&mut tutor, 1).await.remove(0);
    assert_eq!(notice.erased_scope(), ErasureScope::Key);
    let keys = vec!["job".into(), "music".into(), "boss".into()];
    let check = proto::CheckGrantRequest { grant_id: notice.grant_ids[0].clone(), keys };
    assert_eq!(tutor.grant.check_grant(check).await.unwrap().into_inner().erased_keys, ["job"]);
    // `coach` and `tutor` stay in the list, with their times.
    assert_eq!(names(&package(&harness, "after").await.0), ["coach", "tutor"]);
    let request = erasure("ada", ErasureScope::Category, "preference");
    let answer = steward.rights.submit_request(request).await.unwrap().into_inner();
    assert_eq!(answer.certificate.unwrap().recipients.len(), 2, "both had the music");
    // The list itself ends with the person.
    let answer = steward.rights.submit_request(erasure("ada", ErasureScope::All, "")).await.unwrap();
    assert_eq!(answer.into_inner().certificate.unwrap().recipients.len(), 2);
    let gone = export(&mut steward, "ada", PackageKind::Access).await.unwrap_err();
    assert_eq!(gone.code(), tonic::Code::NotFound, "{gone}");
    verify(&harness);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_recipients_of_data_that_a_partial_erasure_destroyed_stay_with_their_times() {
    let harness = Harness::start().await;
    let (mut tutor, mut steward) = record_ada(&harness).await;
    grant_of(&mut tutor, &["job"]).await;
    let before = recipients(&package(&harness, "before").await.0);
    steward.rights.submit_request(erasure("ada", ErasureScope::Profile, "")).await.unwrap();
    let (after, _) = package(&harness, "after").await;
    assert_eq!(recipients(&after), before);
    assert_eq!(after["prior_recipients"][0]["name"], "tutor");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_was_granted_nothing_is_no_recipient() {
    let harness = Harness::start().await;
    let (mut tutor, mut steward) = record_ada(&harness).await;
    grant_of(&mut tutor, &[]).await;
    let mut other = harness.as_role(Role::Service, "other").await;
    let empty = other.grant.request_grant(ask("ada")).await.unwrap().into_inner();
    assert!(empty.allowed.is_empty());
    assert_eq!(names(&package(&harness, "package").await.0), ["tutor"]);
    let answer = steward.rights.submit_request(erasure("ada", ErasureScope::All, "")).await.unwrap();
    let told = answer.into_inner().certificate.unwrap().recipients;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].name, "tutor");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auditor_that_exported_or_looked_is_a_recipient_and_is_told_about_the_erasure() {
    let harness = Harness::start().await;
    let (_, mut steward) = record_ada(&harness).await;
    // A bundle with opened entries, a sealed bundle, and a look at the uses of ada.
    let path = |name: &str| harness.dir.path().join(name).to_str().unwrap().to_owned();
    let export = |auditor: &str, extra: &[&str]| {
        let file = path(&format!("{auditor}.tar.zst"));
        let arguments = [&["audit", "export", "-o", &file], extra].concat();
        harness::stdout(&harness.cli(Role::Auditor, auditor, &arguments));
    };
    export("opened", &[]);
    export("sealed", &["--sealed"]);
    let mut looking = harness.as_role(Role::Auditor, "looking").await;
    let uses = proto::ListUsesRequest { subject: "ada".into(), ..Default::default() };
    looking.grant.list_uses(uses).await.unwrap();
    record(&mut harness.as_role(Role::Service, "tutor").await, fact("ben", "job", "work", "cook")).await;

    let (package, page) = package(&harness, "package").await;
    assert_eq!(names(&package), ["looking", "opened"], "a sealed bundle discloses nothing");
    assert!(package["recipients"].as_array().unwrap().iter().all(|of| of["kind"] == "auditor"));
    assert!(page.contains("auditor"));

    // ben was recorded after the export, so no recipient has data about him.
    let answer = steward.rights.submit_request(erasure("ben", ErasureScope::All, "")).await.unwrap();
    assert_eq!(answer.into_inner().certificate.unwrap().recipients, []);
    let answer = steward.rights.submit_request(erasure("ada", ErasureScope::All, "")).await.unwrap();
    let certificate = answer.into_inner().certificate.unwrap();
    let told: Vec<_> = certificate.recipients.iter().map(|of| (of.name.as_str(), of.role())).collect();
    assert_eq!(told, [("looking", Role::Auditor), ("opened", Role::Auditor)]);

    // The auditor is notified of the erased positions, and confirms. A service of the same name is not
    // notified.
    let mut opened = harness.as_role(Role::Auditor, "opened").await;
    let notice = notices(&mut opened, 1).await.remove(0);
    assert_eq!(notice.cursor, certificate.position + 1);
    let acknowledge = proto::AcknowledgeRequest { cursor: notice.cursor, ..Default::default() };
    let mut namesake = harness.as_role(Role::Service, "opened").await;
    let refused = namesake.grant.acknowledge(acknowledge.clone()).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::NotFound);
    opened.grant.acknowledge(acknowledge).await.unwrap();
    let request = proto::GetErasureCertificateRequest { request_id: certificate.request_id };
    let certificate = steward.rights.get_erasure_certificate(request).await.unwrap().into_inner();
    let confirmed: Vec<bool> =
        certificate.certificate.unwrap().recipients.iter().map(|of| of.acknowledged).collect();
    assert_eq!(confirmed, [false, true]);
    verify(&harness);
}
