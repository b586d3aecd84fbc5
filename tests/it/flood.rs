//! A service that records too many attributes about a person is refused at its own limit, and other
//! callers are unaffected. A part of the limit per person is reserved for that person. Every answer fits
//! in gRPC's default message limit of 4 MiB.

use crate::controllers::{channel, token};
use crate::harness::{Clients, choice, config, consent, publish_notice};
use sayso::config::Limits;
use sayso::daemon::Daemon;
use sayso::proto::{self, ConsentDecision, DenialReason, Provenance, Role};
use std::collections::{BTreeMap, BTreeSet};
use tonic::{Code, Status};
use tonic_types::StatusExt;

struct World {
    _dir: tempfile::TempDir,
    daemon: Daemon,
}

impl World {
    async fn start(limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path());
        config.limits = limits;
        Self { daemon: Daemon::start(&config).await.unwrap(), _dir: dir }
    }

    async fn client(&self, role: Role, name: &str) -> Clients {
        Clients::over(&channel(&self.daemon).await, Some(&token(&self.daemon, "dev", role, name)))
    }
}

/// Limits that a test reaches quickly: 20 attributes a service and 48 a person. Six of the 48 are reserved
/// for the person.
fn small_limits() -> Limits {
    Limits {
        attributes_per_service_max: 20,
        attributes_per_service_bytes_max: 64 << 10,
        attributes_per_person_max: 48,
        attributes_per_person_bytes_max: 256 << 10,
        ..Limits::default()
    }
}

fn facts(prefix: &str, numbers: std::ops::Range<usize>, bytes: usize) -> proto::RecordAttributesRequest {
    let attribute = |number: usize| proto::AttributeInput {
        key: format!("{prefix}-{number:05}"),
        value_json: format!("\"{}\"", "x".repeat(bytes)),
        category: "work".into(),
        provenance: Provenance::Observed.into(),
        ..Default::default()
    };
    proto::RecordAttributesRequest {
        subject: "ada".into(),
        attributes: numbers.map(attribute).collect(),
        options: None,
    }
}

/// The same request with declared attributes.
fn declared(mut request: proto::RecordAttributesRequest) -> proto::RecordAttributesRequest {
    request.attributes.iter_mut().for_each(|attribute| attribute.provenance = Provenance::Declared.into());
    request
}

async fn record(
    clients: &mut Clients,
    request: proto::RecordAttributesRequest,
) -> Result<proto::RecordAttributesResponse, Status> {
    clients.profile.record_attributes(request).await.map(tonic::Response::into_inner)
}

async fn consent_to_memory(world: &World) {
    let mut steward = world.client(Role::Steward, "maria").await;
    publish_notice(&mut steward).await;
    let yes = choice(ConsentDecision::Given, "memory", &[], false);
    steward.consent.record_consent(consent("ada", vec![yes])).await.unwrap();
}

fn ask() -> proto::RequestGrantRequest {
    proto::RequestGrantRequest { subject: "ada".into(), purpose: "memory".into(), ..Default::default() }
}

/// The details of a refusal: its metadata, and each recorder with a description of what it recorded.
fn limit_details(refused: &Status) -> (BTreeMap<String, String>, Vec<(String, String)>) {
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    let details = refused.get_error_details();
    let info = details.error_info().unwrap();
    assert_eq!(info.reason, "ATTRIBUTE_LIMIT_REACHED");
    let numbers = info.metadata.clone().into_iter().collect();
    let quota = details.quota_failure().map(|quota| quota.violations.clone()).unwrap_or_default();
    (numbers, quota.into_iter().map(|of| (of.subject, of.description)).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_service_has_its_own_limit_per_person() {
    let world = World::start(small_limits()).await;
    let mut tutor = world.client(Role::Service, "tutor").await;
    record(&mut tutor, facts("tutor", 0..20, 10)).await.unwrap();
    let refused = record(&mut tutor, facts("more", 0..1, 10)).await.unwrap_err();
    let (numbers, by) = limit_details(&refused);
    assert_eq!((numbers["own_attributes"].as_str(), numbers["max_attributes"].as_str()), ("20", "20"));
    assert!(by.is_empty(), "{by:?}");
    // A request over the limit is refused as a whole. The service may still replace its own attributes, and
    // it frees room by removing some.
    assert!(record(&mut tutor, facts("tutor", 19..21, 10)).await.is_err());
    record(&mut tutor, facts("tutor", 0..20, 12)).await.unwrap();
    let keys = vec!["tutor-00000".to_owned()];
    let remove = proto::RemoveAttributesRequest { subject: "ada".into(), keys, ..Default::default() };
    tutor.profile.remove_attributes(remove).await.unwrap();
    record(&mut tutor, facts("more", 0..1, 10)).await.unwrap();
    // The number of bytes has a limit too. The limits of a service count separately for each person.
    let mut coach = world.client(Role::Service, "coach").await;
    record(&mut coach, facts("coach", 0..3, 16_000)).await.unwrap();
    let (numbers, _) = limit_details(&record(&mut coach, facts("coach", 3..5, 16_000)).await.unwrap_err());
    assert_eq!((numbers["own_attributes"].as_str(), numbers["max_bytes"].as_str()), ("3", "65536"));
    let other = proto::RecordAttributesRequest { subject: "ben".into(), ..facts("coach", 0..3, 16_000) };
    record(&mut coach, other).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn services_cannot_use_the_room_that_is_reserved_for_the_person() {
    let world = World::start(small_limits()).await;
    consent_to_memory(&world).await;
    for (name, count) in [("tutor", 20), ("coach", 20), ("late", 2)] {
        record(&mut world.client(Role::Service, name).await, facts(name, 0..count, 10)).await.unwrap();
    }
    // The error tells a service only how much it recorded itself.
    let mut late = world.client(Role::Service, "late").await;
    let refused = record(&mut late, facts("late", 2..3, 10)).await.unwrap_err();
    let (numbers, by) = limit_details(&refused);
    assert_eq!((numbers["own_attributes"].as_str(), numbers.len()), ("2", 3));
    assert_eq!(numbers["own_embedding_bytes"].as_str(), "0");
    assert!(by.is_empty() && !refused.message().contains("tutor"), "{refused:?}");
    // Services still get grants, including those that recorded little or nothing.
    for name in ["late", "coach", "new-here"] {
        let granted =
            world.client(Role::Service, name).await.grant.request_grant(ask()).await.unwrap().into_inner();
        assert_eq!((granted.allowed.len(), granted.withheld.len()), (42, 0));
    }
    // The person can still declare and correct attributes.
    let mut ada = world.client(Role::Subject, "ada").await;
    record(&mut ada, declared(facts("mine", 0..5, 10))).await.unwrap();
    let profile = ada.profile.get_profile(proto::GetProfileRequest::default()).await.unwrap().into_inner();
    let wrong = profile.attributes.iter().find(|attribute| attribute.key == "tutor-00003").unwrap();
    let mut right = declared(facts("tutor", 3..4, 2_000));
    right.attributes[0].corrects = wrong.event_id.clone();
    record(&mut ada, right).await.unwrap();
    record(&mut ada, declared(facts("mine", 5..6, 10))).await.unwrap();
    // When the reserved room is full too, the error to the person and to stewards lists the recorders.
    for refused in [
        record(&mut ada, declared(facts("mine", 6..7, 10))).await.unwrap_err(),
        record(&mut world.client(Role::Steward, "maria").await, facts("steward", 0..1, 10))
            .await
            .unwrap_err(),
    ] {
        let (numbers, by) = limit_details(&refused);
        assert_eq!((numbers["all_attributes"].as_str(), numbers["max_attributes"].as_str()), ("48", "48"));
        let recorded_by: BTreeMap<&str, &str> =
            by.iter().map(|(who, what)| (who.as_str(), what.split(' ').next().unwrap())).collect();
        let expected = [
            ("service `tutor`", "19"),
            ("service `coach`", "20"),
            ("service `late`", "2"),
            ("the person", "7"),
        ];
        assert_eq!(recorded_by, BTreeMap::from(expected));
        assert!(refused.message().contains("Most are by"), "{}", refused.message());
    }
    let remove = proto::RemoveAttributesRequest { keys: vec!["coach-00000".into()], ..Default::default() };
    ada.profile.remove_attributes(remove).await.unwrap();
    record(&mut ada, declared(facts("mine", 6..7, 10))).await.unwrap();
}

/// With high limits, or in a data folder of an earlier version, one person can have more attributes than fit
/// in one answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_profile_larger_than_one_answer_is_read_in_pages_and_granted_in_parts() {
    let limits = Limits {
        attributes_per_service_max: 5_000,
        attributes_per_service_bytes_max: 16 << 20,
        attributes_per_person_max: 5_000,
        attributes_per_person_bytes_max: 32 << 20,
        ..Limits::default()
    };
    let world = World::start(limits).await;
    consent_to_memory(&world).await;
    let mut flood = world.client(Role::Service, "flood").await;
    for from in (0..600).step_by(100) {
        record(&mut flood, facts("flood", from..from + 100, 15_000)).await.unwrap();
    }
    let mut quiet = world.client(Role::Service, "quiet").await;
    record(&mut quiet, facts("quiet", 0..5, 1_000)).await.unwrap();
    let all: BTreeSet<String> = (0..600)
        .map(|number| format!("flood-{number:05}"))
        .chain((0..5).map(|number| format!("quiet-{number:05}")))
        .collect();

    let mut ada = world.client(Role::Subject, "ada").await;
    assert_eq!(all_keys(&mut ada, proto::GetProfileRequest::default()).await, all);
    let (events, pages) = all_events(&mut ada).await;
    assert!(pages >= 4, "{pages}");
    assert_eq!(events, (0..events.len() as u64).collect::<Vec<_>>());

    // The grant allows all attributes of the quiet service, and as many of the newest attributes of the flood
    // as fit. It reports all others as withheld.
    let granted = quiet.grant.request_grant(ask()).await.unwrap().into_inner();
    let keys: BTreeSet<&str> = granted.allowed.iter().map(|allowed| allowed.key.as_str()).collect();
    assert!(keys.contains("quiet-00000") && keys.contains("quiet-00004"));
    assert!(keys.contains("flood-00599") && !keys.contains("flood-00000"), "{}", keys.len());
    let withheld = &granted.withheld[0];
    assert_eq!((granted.withheld.len(), withheld.reason()), (1, DenialReason::AnswerFull));
    // The sum includes the attribute that the person recorded between the pages.
    assert_eq!(withheld.count as usize + keys.len(), all.len() + 1);
    // A dry run (`EvaluateUse`) has the same result. So has a dry run that repeats the grant's decision as of
    // the time of that decision.
    let evaluate = |as_of_grant: &str| proto::EvaluateUseRequest {
        subject: "ada".into(),
        purpose: if as_of_grant.is_empty() { "memory".into() } else { String::new() },
        recipient: if as_of_grant.is_empty() { "quiet".into() } else { String::new() },
        as_of_grant: as_of_grant.into(),
        ..Default::default()
    };
    let mut steward = world.client(Role::Steward, "maria").await;
    for as_of_grant in ["", granted.grant_id.as_str()] {
        let found = steward.grant.evaluate_use(evaluate(as_of_grant)).await.unwrap().into_inner();
        assert_eq!((&found.allowed, &found.withheld), (&granted.allowed, &granted.withheld));
    }
    // A request for fewer keys gets attributes that were left out before.
    let fewer =
        proto::RequestGrantRequest { keys: vec!["flood-00000".into(), "flood-00001".into()], ..ask() };
    let fewer = quiet.grant.request_grant(fewer).await.unwrap().into_inner();
    assert_eq!((fewer.allowed.len(), fewer.withheld.len()), (2, 0));
}

async fn all_keys(clients: &mut Clients, mut request: proto::GetProfileRequest) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    let mut versions = BTreeSet::new();
    loop {
        let page = clients.profile.get_profile(request.clone()).await.unwrap().into_inner();
        versions.insert(page.version);
        for attribute in page.attributes {
            assert!(keys.insert(attribute.key));
        }
        if page.next_page_token.is_empty() {
            break;
        }
        // A write between two pages has a later version, so it is not in the pages.
        record(clients, declared(facts("between", 0..1, 10))).await.unwrap();
        request.page_token = page.next_page_token;
    }
    assert_eq!(versions.len(), 1, "{versions:?}");
    keys
}

async fn all_events(clients: &mut Clients) -> (Vec<u64>, usize) {
    let mut request = proto::ListEventsRequest { page_size: 1_000, ..Default::default() };
    let (mut versions, mut pages) = (Vec::new(), 0);
    loop {
        let page = clients.profile.list_events(request.clone()).await.unwrap().into_inner();
        pages += 1;
        versions.extend(page.events.iter().map(|event| event.subject_version));
        if page.next_page_token.is_empty() {
            return (versions, pages);
        }
        request.page_token = page.next_page_token;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn consents_and_artifacts_are_read_in_pages() {
    let world = World::start(Limits::default()).await;
    consent_to_memory(&world).await;
    // The number of refused consents has no limit. Each of these refusals names many recipients.
    let mut refusal = choice(ConsentDecision::Refused, "memory", &["work"], false);
    refusal.recipients = (0..64).map(|number| format!("recipient-{number:03}-{}", "x".repeat(80))).collect();
    let mut steward = world.client(Role::Steward, "maria").await;
    for _ in 0..20 {
        steward.consent.record_consent(consent("ada", vec![refusal.clone(); 16])).await.unwrap();
    }
    let mut request = proto::ListConsentsRequest { subject: "ada".into(), ..Default::default() };
    let (mut positions, mut pages) = (Vec::new(), 0);
    loop {
        let page = steward.consent.list_consents(request.clone()).await.unwrap().into_inner();
        pages += 1;
        positions.extend(page.consents.iter().map(|consent| consent.position));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert!(positions.is_sorted() && positions.len() == 321 && pages == 2, "{} {pages}", positions.len());

    let mut tutor = world.client(Role::Service, "tutor").await;
    for from in (0..1_000).step_by(100) {
        record(&mut tutor, facts("fact", from..from + 100, 10)).await.unwrap();
    }
    // Each artifact has a thousand sources.
    let grant = tutor.grant.request_grant(ask()).await.unwrap().into_inner();
    assert_eq!(grant.allowed.len(), 1_000);
    for number in 0..60 {
        let artifact = proto::RegisterArtifactRequest {
            grant_id: grant.grant_id.clone(),
            kind: proto::ArtifactKind::Cache.into(),
            name: format!("cache-{number}"),
            ..Default::default()
        };
        tutor.grant.register_artifact(artifact).await.unwrap();
    }
    let mut ada = world.client(Role::Subject, "ada").await;
    let mut names = BTreeSet::new();
    let mut request = proto::ListArtifactsRequest::default();
    let mut pages = 0;
    loop {
        let page = ada.grant.list_artifacts(request.clone()).await.unwrap().into_inner();
        pages += 1;
        page.artifacts.into_iter().for_each(|artifact| assert!(names.insert(artifact.name)));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!((names.len(), pages), (60, 2));

    // A page token that no answer contained is rejected.
    let wrong = proto::GetProfileRequest { page_token: "nonsense".into(), ..Default::default() };
    assert_eq!(ada.profile.get_profile(wrong).await.unwrap_err().code(), Code::InvalidArgument);
}
