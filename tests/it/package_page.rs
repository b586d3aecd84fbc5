//! Tests what the access package tells a person about artifacts and about the recipients of data that has
//! been erased. In the package, a grant that allowed nothing does not count as a use. Also tests that the
//! package's page shows consecutive equal disclosures on one line, and addresses the person as "you".

use crate::erasure::{erasure, record};
use crate::harness::{self, Clients, Harness, ask, choice, consent, fact};
use crate::package::{Unpacked, export};
use sayso::proto::{self, ConsentDecision, ErasureScope, PackageKind, Role};
use serde_json::Value;

/// Records two attributes of ada and her consent. Returns a service and a steward.
async fn record_ada(harness: &Harness) -> (Clients, Clients) {
    let mut service = harness.as_role(Role::Service, "tutor").await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    harness::publish_notice(&mut steward).await;
    record(&mut service, fact("ada", "job", "work", "baker")).await;
    record(&mut service, fact("ada", "music", "preference", "jazz")).await;
    let given = choice(ConsentDecision::Given, "tone-adaptation", &[], false);
    steward.consent.record_consent(consent("ada", vec![given])).await.unwrap();
    (service, steward)
}

async fn unpack(harness: &Harness, folder: &str) -> (String, Value) {
    let mut ada = harness.as_role(Role::Subject, "ada").await;
    let bytes = export(&mut ada, "", PackageKind::Access).await.unwrap();
    let package = Unpacked::of(&bytes, &harness.dir.path().join(folder));
    if let Ok(kept) = std::env::var("SAYSO_KEEP_PAGES") {
        std::fs::write(format!("{kept}/{folder}.html"), package.text("index.html")).unwrap();
    }
    (package.text("index.html"), package.json())
}

/// The part of the page about a section.
fn section<'a>(page: &'a str, id: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!("<section id=\"{id}\">")).unwrap();
    rest.split_once("</section>").unwrap().0
}

async fn build(service: &mut Clients, grant_id: &str, source: &str) -> String {
    let request = proto::RegisterArtifactRequest {
        grant_id: grant_id.into(),
        kind: proto::ArtifactKind::Embedding.into(),
        name: format!("vectors of {source}"),
        sources: vec![source.into()],
        ..Default::default()
    };
    service.grant.register_artifact(request).await.unwrap().into_inner().artifact_id
}

#[tokio::test(flavor = "multi_thread")]
async fn the_access_package_lists_what_services_built_and_whether_they_may_use_it() {
    let harness = Harness::start().await;
    let (mut service, mut steward) = record_ada(&harness).await;
    let grant = service.grant.request_grant(ask("ada")).await.unwrap().into_inner().grant_id;
    let kept = build(&mut service, &grant, "music").await;
    let ended = build(&mut service, &grant, "job").await;
    let remove = proto::RemoveAttributesRequest {
        subject: "ada".into(),
        keys: vec!["job".into()],
        ..Default::default()
    };
    steward.profile.remove_attributes(remove).await.unwrap();
    let (page, json) = unpack(&harness, "artifacts").await;
    let listed = json["artifacts"].as_array().unwrap();
    let of = |id: &str| listed.iter().find(|each| each["artifact_id"] == id).unwrap();
    assert_eq!(listed.len(), 2);
    assert_eq!(of(&kept)["attributes"][0]["key"], "music");
    assert_eq!((of(&kept)["kind"].as_str(), of(&kept).get("reason")), (Some("embedding"), None));
    assert!(of(&kept)["expires_at"].is_string());
    assert_eq!(of(&ended)["reason"], "REASON_ATTRIBUTE_REMOVED");
    let shown = section(&page, "artifacts");
    assert!(shown.contains("vectors of music") && shown.contains("yes, until"), "{shown}");
    assert!(shown.contains("no: the data was removed"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn recipients_of_data_that_was_erased_since_stay_known() {
    let harness = Harness::start().await;
    let (mut service, mut steward) = record_ada(&harness).await;
    let grant = service.grant.request_grant(ask("ada")).await.unwrap().into_inner().grant_id;
    build(&mut service, &grant, "job").await;
    steward.rights.submit_request(erasure("ada", ErasureScope::Category, "work")).await.unwrap();
    let (page, package) = unpack(&harness, "erased").await;
    let listed = &package["recipients"][0];
    assert_eq!((&listed["name"], &listed["earlier_records_ended"]), (&"tutor".into(), &true.into()));
    assert_eq!(listed["disclosures"], 0, "the record of what it received is erased");
    assert_eq!(package["recipients"].as_array().unwrap().len(), 1);
    let recipient = &package["prior_recipients"][0];
    assert_eq!((recipient["name"].as_str(), recipient["scope"].as_str()), (Some("tutor"), Some("category")));
    assert_eq!((&recipient["grants"], &recipient["artifacts"]), (&1.into(), &1.into()));
    assert_eq!(recipient["acknowledged"], false);
    let shown = section(&page, "prior_recipients");
    assert!(
        shown.contains("tutor")
            && shown.contains("1 permission<span class=\"sep\">; </span><br>1 thing built from it"),
        "{shown}"
    );
    assert!(shown.contains("one kind of data: "), "{shown}");

    // The recipient confirms the deletion.
    let from_start = proto::WatchRevocationsRequest { after_cursor: Some(0) };
    let mut watch = service.grant.watch_revocations(from_start).await.unwrap().into_inner();
    watch.message().await.unwrap();
    let cursor = watch.message().await.unwrap().unwrap().cursor;
    let acknowledge = proto::AcknowledgeRequest { cursor, options: None };
    service.grant.acknowledge(acknowledge).await.unwrap();
    let (_, package) = unpack(&harness, "acknowledged").await;
    assert_eq!(package["prior_recipients"][0]["acknowledged"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_allowed_nothing_is_no_use_in_the_access_package() {
    let harness = Harness::start().await;
    let (mut service, _) = record_ada(&harness).await;
    let given = service.grant.request_grant(ask("ada")).await.unwrap().into_inner();
    let nothing = || proto::RequestGrantRequest {
        purpose: "advertising".into(),
        interaction: "chat-1".into(),
        ..ask("ada")
    };
    let denied = service.grant.request_grant(nothing()).await.unwrap().into_inner();
    assert_eq!((given.allowed.len(), denied.allowed.len()), (2, 0));
    service.grant.request_grant(nothing()).await.unwrap();
    let used = proto::ReportUseRequest { grant_id: denied.grant_id, reply: "r".into(), ..Default::default() };
    service.grant.report_use(used).await.unwrap();
    let (_, package) = unpack(&harness, "nothing").await;
    let recipient = &package["recipients"][0];
    assert_eq!((&recipient["disclosures"], &recipient["uses"]), (&1.into(), &0.into()), "{recipient}");
    assert_eq!(recipient["purposes"], serde_json::json!(["tone-adaptation"]));
    assert_eq!(package["disclosures"].as_array().unwrap().len(), 1);
    assert_eq!(package["uses"], serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_disclosures_in_a_row_share_a_line_of_the_page() {
    let harness = Harness::start().await;
    let (mut service, _) = record_ada(&harness).await;
    for number in 0..30 {
        // Each conversation has a grant of its own.
        let request = proto::RequestGrantRequest { interaction: format!("chat-{number}"), ..ask("ada") };
        service.grant.request_grant(request).await.unwrap();
    }
    let only = proto::RequestGrantRequest { keys: vec!["job".into()], ..ask("ada") };
    service.grant.request_grant(only).await.unwrap();
    let (page, package) = unpack(&harness, "merged").await;
    assert_eq!(package["disclosures"].as_array().unwrap().len(), 31);
    let shown = section(&page, "disclosures");
    assert_eq!(shown.matches("<tr role=\"row\"><th").count(), 3, "the headings and two lines: {shown}");
    assert!(shown.contains("30 permissions"), "{shown}");
    // On paper, tables stay tables: only a narrow screen shows their rows as cards.
    assert!(page.contains("@media screen and (max-width:52rem)"), "the style is for screens");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_access_page_speaks_to_you() {
    let harness = Harness::start().await;
    let (mut service, mut steward) = record_ada(&harness).await;
    record(&mut service, fact("ada", "knee", "health", "hurts")).await;
    let grant = service.grant.request_grant(ask("ada")).await.unwrap().into_inner().grant_id;
    build(&mut service, &grant, "music").await;
    let access = proto::SubmitRequestRequest {
        subject: "ada".into(),
        kind: proto::RequestKind::Complaint.into(),
        details: "you never answer".into(),
        ..Default::default()
    };
    steward.rights.submit_request(access).await.unwrap();
    let no = choice(ConsentDecision::Withdrawn, "tone-adaptation", &[], false);
    steward.consent.record_consent(consent("ada", vec![no])).await.unwrap();
    let (page, package) = unpack(&harness, "you").await;
    for text in [page.as_str(), &package.to_string()] {
        assert!(!text.contains("the person"), "{text}");
    }
    assert!(page.contains("your request was submitted: complaint"), "{page}");
    assert!(page.contains("“tutor” built something from 1 detail (“vectors of music”)"), "{page}");
    assert!(page.contains("was asked to delete something that it had built: you withdrew"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_names_purposes_and_kinds_of_data_in_words_and_says_when_a_detail_is_erased() {
    let harness = Harness::start().await;
    let (mut service, mut steward) = record_ada(&harness).await;
    let mut tone = fact("ada", "tone", "communication-style", "brief");
    tone.attributes[0].expires_at = Some(prost_types::Timestamp { seconds: 1_893_456_000, nanos: 0 });
    record(&mut service, tone).await;
    let rule = proto::SetRetentionRequest {
        class: proto::RetentionClass::Profile.into(),
        category: "work".into(),
        keep: Some(prost_types::Duration { seconds: 30 * 86_400, nanos: 0 }),
        ..Default::default()
    };
    steward.rights.set_retention(rule).await.unwrap();
    service.grant.request_grant(ask("ada")).await.unwrap();
    let (page, json) = unpack(&harness, "words").await;
    let of = |key: &str| json["attributes"].as_array().unwrap().iter().find(|of| of["key"] == key).unwrap();
    assert_eq!(of("tone")["retention"], "until 2030-01-01T00:00:00Z; then it is erased");
    assert!(of("job")["retention"].as_str().unwrap().ends_with("Z; then it is erased"), "{}", of("job"));
    assert_eq!(of("music")["retention"], "until it is removed or erased");
    assert!(section(&page, "attributes").contains("January 1, 2030, 00:00 UTC"));
    for id in ["permitted_uses", "recipients", "disclosures"] {
        let shown = section(&page, id);
        assert!(shown.contains("Preferred tone") && !shown.contains("communication-style"), "{id}: {shown}");
        assert!(shown.contains("Adapting the tone of replies"), "{id}: {shown}");
    }
    // A service with a name comes before all others.
    let permitted = section(&page, "permitted_uses");
    let at = |text: &str| permitted.find(text).unwrap();
    assert!(at("tutor") < at("any other service that asks"), "{permitted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_names_a_guardian_who_agreed_and_what_a_signal_stops() {
    let harness = Harness::start().await;
    let (mut service, mut steward) = record_ada(&harness).await;
    let mut by_guardian = consent("ada", vec![choice(ConsentDecision::Given, "memory", &[], true)]);
    by_guardian.guardian = true;
    steward.consent.record_consent(by_guardian).await.unwrap();
    let grant = proto::RequestGrantRequest { purpose: "memory".into(), ..ask("ada") };
    let grant = service.grant.request_grant(grant).await.unwrap().into_inner();
    assert!(!grant.allowed.is_empty());
    for (kind, purposes) in
        [(proto::SignalKind::Objection, "tone-adaptation"), (proto::SignalKind::OptOut, "memory")]
    {
        let signal = proto::RecordSignalRequest {
            subject: "ada".into(),
            kind: kind.into(),
            purposes: vec![purposes.into()],
            ..Default::default()
        };
        steward.consent.record_signal(signal).await.unwrap();
    }
    let (page, json) = unpack(&harness, "guardian").await;
    let consents = json["consents"].as_array().unwrap();
    assert_eq!(consents[0]["stopped_purposes"], serde_json::json!(["tone-adaptation"]));
    assert!(consents[0].get("guardian").is_none() && consents[1].get("stopped_purposes").is_none());
    assert_eq!(consents[1]["guardian"], true);
    let shown = section(&page, "consents");
    assert!(shown.contains("your guardian agreed") && shown.contains("of yours stops it"), "{shown}");
    let history = section(&page, "history");
    assert!(history.contains("your guardian said yes to memory"), "{history}");
    assert!(history.contains("recorded for memory; it stops nothing there"), "{history}");
    let why = proto::ExplainGrantRequest { grant_id: grant.grant_id };
    let why = steward.grant.explain_grant(why).await.unwrap().into_inner().text;
    assert!(why.contains("The person's guardian (through"), "{why}");
}
