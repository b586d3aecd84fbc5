//! The answer to an erasure lists the events that contain an erased value elsewhere, such as under another
//! attribute key. The certificate only counts them. They are erased if the scope of an erasure is the text
//! (`content=TEXT`). A preview shows exactly what the erasure then erases.

use crate::erasure::{erasure, hold, record, verify};
use crate::forensic_tool::{Findings, Image};
use crate::harness::{self, Clients, Harness, ask, choice, consent, contains, fact, files_below};
use sayso::proto::{self, ConsentDecision, CopyKind, ErasureScope, Provenance, RequestState, Role};
use std::collections::{BTreeMap, BTreeSet};
use tonic::Code;

const TEXT: &str = "CANARY bakes rye bread every morning in Ulm";

fn preview(scope: ErasureScope, name: &str) -> proto::PreviewErasureRequest {
    let name_if = |of: ErasureScope| if scope == of { name.to_owned() } else { String::new() };
    proto::PreviewErasureRequest {
        subject: "ada".into(),
        scope: scope.into(),
        key: name_if(ErasureScope::Key),
        category: name_if(ErasureScope::Category),
        content: name_if(ErasureScope::Content),
        ..Default::default()
    }
}

fn of_content(text: &str) -> proto::SubmitRequestRequest {
    proto::SubmitRequestRequest { content: text.into(), ..erasure("ada", ErasureScope::Content, "") }
}

/// The kinds and names of copies.
fn named(copies: &[proto::ErasedCopy]) -> BTreeSet<(CopyKind, String)> {
    copies.iter().map(|copy| (copy.kind(), copy.name.clone())).collect()
}

/// Records a text, the same under another key, a summary that holds it, evidence and an artifact with it, and
/// other attributes. Returns a service, a steward and the id of the artifact.
async fn record_copies(harness: &Harness) -> (Clients, Clients, String) {
    let mut service = harness.as_role(Role::Service, "tutor").await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    harness::publish_notice(&mut steward).await;
    let given = choice(ConsentDecision::Given, "tone-adaptation", &[], false);
    steward.consent.record_consent(consent("ada", vec![given])).await.unwrap();
    record(&mut service, fact("ada", "job", "work", TEXT)).await;
    record(&mut service, fact("ada", "hobby", "interest", &format!("{}!", TEXT.to_uppercase()))).await;
    let summary = format!("A summary: she {} and likes jazz", TEXT.replace(" in Ulm", ""));
    record(&mut service, fact("ada", "about", "interest", &summary)).await;
    let mut cited = fact("ada", "mood", "preference", "cheerful");
    cited.attributes[0].evidence = vec![format!("note: {TEXT}")];
    record(&mut service, cited).await;
    record(&mut service, fact("ada", "music", "preference", "jazz")).await;
    let only = proto::RequestGrantRequest { keys: vec!["music".into()], ..ask("ada") };
    let grant_id = service.grant.request_grant(only).await.unwrap().into_inner().grant_id;
    let artifact = proto::RegisterArtifactRequest {
        grant_id,
        kind: proto::ArtifactKind::Summary.into(),
        name: TEXT.into(),
        sources: vec!["music".into()],
        ..Default::default()
    };
    let artifact = service.grant.register_artifact(artifact).await.unwrap().into_inner().artifact_id;
    (service, steward, artifact)
}

async fn keys(steward: &mut Clients) -> Vec<String> {
    let request = proto::GetProfileRequest { subject: "ada".into(), rebuild: true, ..Default::default() };
    let profile = steward.profile.get_profile(request).await.unwrap().into_inner();
    profile.attributes.into_iter().map(|attribute| attribute.key).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_of_a_key_lists_what_holds_the_erased_value_elsewhere_and_the_certificate_counts_it() {
    let harness = Harness::start().await;
    let (_service, mut steward, artifact) = record_copies(&harness).await;
    let expected = BTreeSet::from([
        (CopyKind::Value, "hobby".to_owned()),
        (CopyKind::Value, "about".to_owned()),
        (CopyKind::Evidence, "mood".to_owned()),
        (CopyKind::Artifact, artifact),
    ]);
    let shown = steward.rights.preview_erasure(preview(ErasureScope::Key, "job")).await.unwrap().into_inner();
    assert_eq!(named(&shown.copies), expected);
    let counts = proto::CopiesFound { found: 4, erased: 0, unfinished: false };
    assert_eq!(shown.copies_found, Some(counts));
    let printed =
        harness.cli(Role::Steward, "privacy-team", &["erase", "ada", "--scope", "key=job", "--dry-run"]);
    let printed = harness::stdout(&printed);
    assert!(printed.starts_with("would erase 1 entry\n"), "{printed}");
    assert!(printed.contains("4 other entries hold an erased value or nearly so, kept:"), "{printed}");
    assert!(printed.contains("value of `hobby` (interest)") && printed.contains("content=TEXT"), "{printed}");
    assert!(keys(&mut steward).await.contains(&"job".to_owned()), "a preview erases nothing");

    let erased = steward.rights.submit_request(erasure("ada", ErasureScope::Key, "job")).await.unwrap();
    let erased = erased.into_inner();
    assert_eq!(named(&erased.copies), expected);
    let certificate = erased.certificate.unwrap();
    assert_eq!(certificate.copies, Some(counts));
    assert!(
        certificate
            .document
            .contains("\"copies\":{\"found\":4,\"erased\":0,\"kept\":4,\"unfinished\":false}")
    );
    assert_eq!(keys(&mut steward).await, ["about", "hobby", "mood", "music"]);
    let file = harness.dir.path().join("certificate.txt");
    std::fs::write(&file, &certificate.document).unwrap();
    let key: sayso_proof::checkpoint::VerifierKey = harness.daemon.vkey.parse().unwrap();
    let args = ["verify", file.to_str().unwrap(), "--key", &key.to_string()];
    let verified = harness::sayso(&args).output().unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    let shown = harness::stdout(&verified);
    assert!(shown.contains("says the same: 4 copies found and not erased"), "{shown}");
    verify(&harness);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_of_a_text_erases_everything_that_holds_it_and_leaves_nothing_of_it() {
    let harness = Harness::start().await;
    let (mut service, mut steward, _artifact) = record_copies(&harness).await;
    let shown =
        steward.rights.preview_erasure(preview(ErasureScope::Content, TEXT)).await.unwrap().into_inner();
    let printed = harness.cli(
        Role::Steward,
        "privacy-team",
        &["erase", "ada", "--scope", &format!("content={}", TEXT.to_lowercase())],
    );
    let printed = harness::stdout(&printed);
    assert!(printed.contains("5 held an erased text or nearly so: 5 erased, 0 kept"), "{printed}");
    assert_eq!(shown.copies_found, Some(proto::CopiesFound { found: 5, erased: 5, unfinished: false }));
    assert_eq!(keys(&mut steward).await, ["music"]);
    let history = crate::erasure::history(&mut steward, "ada").await;
    assert!(!history.to_lowercase().contains("canary"), "{history}");
    for file in files_below(harness.dir.path()) {
        let bytes = std::fs::read(&file).unwrap();
        assert!(!contains(&bytes, b"CANARY") && !contains(&bytes, b"canary bakes"), "{file:?}");
    }
    // The text can't be recognized any more, so whatever dates from before the erasure is refused.
    let mut late = fact("ada", "trade", "work", TEXT);
    late.attributes[0].observed_at = Some(prost_types::Timestamp { seconds: 1_000_000_000, nanos: 0 });
    let refused = service.profile.record_attributes(late).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    record(&mut service, fact("ada", "trade", "work", "carpenter")).await;
    let again = steward.rights.submit_request(of_content(TEXT)).await.unwrap_err();
    assert_eq!(again.code(), Code::NotFound);
    let grant = service.grant.request_grant(ask("ada")).await.unwrap().into_inner();
    assert_eq!(grant.allowed.len(), 2, "{grant:?}");
    assert_eq!(verify(&harness)["grants"]["unjustified"], "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_on_a_part_of_what_holds_a_text_is_an_error_and_a_hold_on_everything_refuses() {
    let harness = Harness::start().await;
    let (mut service, mut steward, _artifact) = record_copies(&harness).await;
    let placed = steward.rights.place_hold(hold("ada", &["work"])).await.unwrap().into_inner();
    let refused = steward.rights.submit_request(of_content(TEXT)).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("scope key"), "{refused:?}");
    assert_eq!(keys(&mut steward).await.len(), 5, "nothing was erased");
    let lift =
        proto::LiftHoldRequest { subject: "ada".into(), hold_id: placed.hold_id, ..Default::default() };
    steward.rights.lift_hold(proto::LiftHoldRequest { reason: "over".into(), ..lift }).await.unwrap();

    steward.rights.place_hold(hold("ada", &[])).await.unwrap();
    let shown =
        steward.rights.preview_erasure(preview(ErasureScope::Content, TEXT)).await.unwrap().into_inner();
    assert!(shown.is_refused && shown.entries.is_empty());
    let refused = steward.rights.submit_request(of_content(TEXT)).await.unwrap().into_inner();
    assert_eq!(refused.request.unwrap().state(), RequestState::Refused);
    // The refusal does not have the text, so it counts for every attribute.
    assert!(service.grant.request_grant(ask("ada")).await.unwrap().into_inner().allowed.is_empty());
    assert_eq!(verify(&harness)["grants"]["unjustified"], "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_event_keeps_a_hash_of_the_request_for_the_erasure_of_a_text_and_a_repetition_is_recognized() {
    let harness = Harness::start().await;
    let (_service, mut steward, _artifact) = record_copies(&harness).await;
    let options = proto::WriteOptions { idempotency_key: "erase-1".into(), ..Default::default() };
    let request = proto::SubmitRequestRequest { options: Some(options), ..of_content(TEXT) };
    let first = steward.rights.submit_request(request.clone()).await.unwrap().into_inner();
    let again = steward.rights.submit_request(request.clone()).await.unwrap().into_inner();
    let position = |answer: &proto::SubmitRequestResponse| answer.certificate.as_ref().unwrap().position;
    assert_eq!(position(&first), position(&again));
    let other = proto::SubmitRequestRequest { content: "another text".into(), ..request };
    assert_eq!(steward.rights.submit_request(other).await.unwrap_err().code(), Code::AlreadyExists);
    let image = Image::of(harness.dir.path());
    let found = Findings::of(&image, &image);
    let started: Vec<&String> =
        found.texts.iter().filter(|text| text.contains("ErasureRequested(")).collect();
    assert_eq!(started.len(), 1, "the control: the event opens");
    for event in started {
        assert!(event.contains("request_digest: []") && event.contains("idempotency_hash: []"), "{event}");
    }
}

/// A generator of random numbers (SplitMix64), so that a failure can be repeated by its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % end as u64).unwrap()
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

const KEYS: [&str; 5] = ["job", "hobby", "music", "about", "mood"];
const CATEGORIES: [&str; 3] = ["work", "preference", "interest"];
const TEXTS: [&str; 3] = [TEXT, "likes jazz and blues", "true"];

async fn attributes(steward: &mut Clients) -> BTreeMap<String, String> {
    let request = proto::GetProfileRequest { subject: "ada".into(), ..Default::default() };
    let profile = steward.profile.get_profile(request).await.unwrap().into_inner();
    profile.attributes.into_iter().map(|attribute| (attribute.key, attribute.event_id)).collect()
}

/// Does something to ada's record. Some of it is refused, which does not matter here.
async fn act(random: &mut Random, service: &mut Clients, steward: &mut Clients, grants: &mut Vec<String>) {
    let current = attributes(steward).await;
    let key = random.pick(&KEYS);
    let grant_id = grants.last().cloned().unwrap_or_default();
    match random.below(9) {
        0..=2 => {
            let mut request = fact("ada", key, random.pick(&CATEGORIES), random.pick(&TEXTS));
            let attribute = &mut request.attributes[0];
            match (random.below(4), current.values().next()) {
                (0, Some(source)) => attribute.derived_from = vec![source.clone()],
                (1, _) => {
                    attribute.provenance = Provenance::Inferred.into();
                    attribute.from_replies = vec![random.pick(&["r0", "r1"]).to_owned()];
                }
                _ => {}
            }
            drop(service.profile.record_attributes(request).await);
        }
        3 | 4 => {
            if let Ok(grant) = service.grant.request_grant(ask("ada")).await {
                grants.push(grant.into_inner().grant_id);
            }
        }
        5 | 6 => {
            let reply = random.pick(&["r0", "r1"]).to_owned();
            let shaped_by = if random.below(2) == 0 { vec![key.to_owned()] } else { Vec::new() };
            let report = proto::ReportUseRequest { grant_id, reply, shaped_by, ..Default::default() };
            drop(service.grant.report_use(report).await);
        }
        7 => {
            let subject = "ada".to_owned();
            let (key, reason) = (key.to_owned(), TEXT.to_owned());
            let contest = proto::ContestAttributeRequest { subject, key, reason, ..Default::default() };
            drop(steward.profile.contest_attribute(contest).await);
        }
        _ => {
            let artifact = proto::RegisterArtifactRequest {
                grant_id,
                kind: proto::ArtifactKind::Cache.into(),
                name: "cache".into(),
                sources: vec![key.to_owned()],
                ..Default::default()
            };
            drop(service.grant.register_artifact(artifact).await);
        }
    }
}

async fn event_ids(steward: &mut Clients) -> BTreeSet<String> {
    let request = proto::ListEventsRequest { subject: "ada".into(), ..Default::default() };
    let page = steward.profile.list_events(request).await.unwrap().into_inner();
    page.events.iter().map(|event| event.event_id.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_shows_exactly_what_the_erasure_then_erases() {
    let mut erased_dependents = 0;
    for seed in 0..10 {
        let mut random = Random(seed);
        let harness = Harness::start().await;
        let mut service = harness.as_role(Role::Service, "tutor").await;
        let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
        harness::publish_notice(&mut steward).await;
        let given = choice(ConsentDecision::Given, "tone-adaptation", &[], false);
        steward.consent.record_consent(consent("ada", vec![given])).await.unwrap();
        let mut grants = Vec::new();
        for _ in 0..25 {
            act(&mut random, &mut service, &mut steward, &mut grants).await;
        }
        if seed % 4 == 3 {
            steward.rights.place_hold(hold("ada", &["work"])).await.unwrap();
        }
        let (scope, name) = match seed % 5 {
            0 | 3 => (ErasureScope::Key, random.pick(&KEYS)),
            1 => (ErasureScope::Category, random.pick(&CATEGORIES)),
            2 => (ErasureScope::Content, TEXT),
            _ => (ErasureScope::Profile, ""),
        };
        let Ok(shown) = steward.rights.preview_erasure(preview(scope, name)).await else {
            let mut request = erasure("ada", scope, name);
            request.content = preview(scope, name).content;
            assert!(steward.rights.submit_request(request).await.is_err(), "seed {seed}: both refuse");
            continue;
        };
        let shown = shown.into_inner();
        let before = event_ids(&mut steward).await;
        let mut request = erasure("ada", scope, name);
        request.content = preview(scope, name).content;
        let done = steward.rights.submit_request(request).await.unwrap().into_inner();
        let is_refused = done.request.as_ref().unwrap().state() == RequestState::Refused;
        assert_eq!(is_refused, shown.is_refused, "seed {seed}");
        if is_refused {
            continue;
        }
        let after = event_ids(&mut steward).await;
        let gone: BTreeSet<String> = before.difference(&after).cloned().collect();
        let previewed: BTreeSet<String> = shown.entries.iter().map(|entry| entry.event_id.clone()).collect();
        assert_eq!(gone, previewed, "seed {seed}, {scope:?} {name}");
        erased_dependents += shown.entries.iter().filter(|entry| entry.is_dependent).count();
        let certificate = done.certificate.unwrap_or_default();
        assert_eq!(certificate.erased_by_category, shown.erased_by_category, "seed {seed}");
        assert_eq!(certificate.kept, shown.kept, "seed {seed}");
        assert_eq!((certificate.copies, done.copies), (shown.copies_found, shown.copies), "seed {seed}");
    }
    assert!(erased_dependents > 0, "the histories have dependents");
}
