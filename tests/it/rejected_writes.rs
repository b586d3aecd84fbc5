//! A rejected write leaves no trace: no handle, no key and no entry. If a write about an erased subject is
//! invalid for another reason too, its error does not reveal the erasure.

use crate::bounds::{World, record, world};
use crate::harness::{self, Clients, Harness, choice, consent, fact};
use crate::side_channel::settings;
use sayso::app::{App, AppError, Caller, Choice, DecidedBy, NewAttributes, NoticeServed, Presentation};
use sayso::clock::{ClockLimits, LedgerClock, SystemClock};
use sayso::domain::attribute::{Attribute, Secret};
use sayso::domain::consent::Decision;
use sayso::domain::ids::SubjectId;
use sayso::ledger::ManualSequencing;
use sayso::proto::{self, ConsentDecision, Provenance, Role, WriteOptions};
use std::collections::BTreeSet;
use std::sync::Arc;
use tonic::{Code, Status};

/// The contents of the store: the counts of data subjects and entries, and the files of keys and log with
/// their sizes.
#[derive(Debug, PartialEq)]
struct StoreContents {
    subjects: u64,
    entries: u64,
    files: Vec<(String, u64)>,
}

async fn store_contents(harness: &Harness) -> StoreContents {
    let mut operator = harness.as_role(Role::Operator, "op").await;
    let stats = operator.operator.get_stats(proto::GetStatsRequest {}).await.unwrap().into_inner();
    let data = harness.dir.path();
    let files =
        harness::files_below(data).into_iter().filter(|path| !path.to_string_lossy().contains("index"));
    let mut files: Vec<(String, u64)> = files
        .map(|path| (path.to_string_lossy().into_owned(), std::fs::metadata(&path).unwrap().len()))
        .collect();
    files.sort();
    StoreContents { subjects: stats.subjects, entries: stats.tree_size, files }
}

/// Calls every method that writes about a data subject by id. Returns the methods that failed, with the
/// error.
async fn every_write(
    clients: &mut Clients,
    subject: &str,
    options: &WriteOptions,
) -> Vec<(&'static str, Status)> {
    let options = Some(options.clone());
    let subject = || subject.to_owned();
    let mut failed = Vec::new();
    macro_rules! each {
        ($($client:ident.$method:ident($request:expr);)*) => {
            $(if let Err(status) = clients.$client.$method($request).await {
                failed.push((stringify!($method), status));
            })*
        };
    }
    let given = choice(ConsentDecision::Given, "tone-adaptation", &[], false);
    let notice = Some(proto::NoticeServed { id: harness::NOTICE.into(), ..Default::default() });
    let keys = vec!["tone".to_owned()];
    each! {
        profile.record_attributes(proto::RecordAttributesRequest {
            options: options.clone(), ..fact(&subject(), "tone", "work", "x")
        });
        profile.describe_subject(proto::DescribeSubjectRequest {
            subject: subject(), age_band: proto::AgeBand::Adult.into(), options: options.clone(), ..Default::default()
        });
        consent.request_consent(proto::RequestConsentRequest {
            subject: subject(), notice, purposes: vec!["tone-adaptation".into()], options: options.clone(),
            ..Default::default()
        });
        consent.record_consent(proto::RecordConsentRequest {
            options: options.clone(), ..consent(&subject(), vec![given])
        });
        consent.record_signal(proto::RecordSignalRequest {
            subject: subject(), kind: proto::SignalKind::Pause.into(), options: options.clone(), ..Default::default()
        });
        bounds.set_personal_bounds(proto::SetPersonalBoundsRequest {
            subject: subject(), bounds: Some(proto::PersonalBounds { paused: true, ..Default::default() }),
            options: options.clone()
        });
        profile.remove_attributes(proto::RemoveAttributesRequest {
            subject: subject(), keys, options: options.clone(), ..Default::default()
        });
        profile.contest_attribute(proto::ContestAttributeRequest {
            subject: subject(), key: "tone".into(), options: options.clone(), ..Default::default()
        });
        profile.confirm_attribute(proto::ConfirmAttributeRequest {
            subject: subject(), key: "tone".into(), options: options.clone()
        });
        rights.submit_request(proto::SubmitRequestRequest {
            subject: subject(), kind: proto::RequestKind::Access.into(), options: options.clone(), ..Default::default()
        });
        rights.place_hold(proto::PlaceHoldRequest {
            subject: subject(), ground: 1, code: "K".into(), options: options.clone(), ..Default::default()
        });
    }
    let record = proto::RecordAttributesRequest { options, ..fact(&subject(), "tone", "work", "x") };
    let message = proto::RecordStreamRequest { sequence: 1, record: Some(record) };
    match clients.profile.record_stream(tokio_stream::once(message)).await {
        Ok(answers) => {
            let answer = answers.into_inner().message().await.unwrap().unwrap();
            if let Some(proto::record_stream_response::Outcome::Error(error)) = answer.outcome {
                failed.push(("record_stream", Status::new(Code::from_i32(error.code), error.message)));
            }
        }
        Err(status) => failed.push(("record_stream", status)),
    }
    failed
}

/// Requests that are rejected because of their attributes, each with the reason.
fn bad_attributes(
    subject: &str,
    options: &WriteOptions,
) -> Vec<(&'static str, proto::RecordAttributesRequest)> {
    let with = |change: &dyn Fn(&mut proto::AttributeInput)| {
        let mut request = fact(subject, "tone", "work", "x");
        change(&mut request.attributes[0]);
        proto::RecordAttributesRequest { options: Some(options.clone()), ..request }
    };
    let unknown = "01890a5d-ac96-774b-bcce-b302099a8057";
    vec![
        ("malformed", with(&|attribute| attribute.value_json = "{".into())),
        ("corrects nothing", with(&|attribute| attribute.corrects = unknown.into())),
        ("derived from nothing", with(&|attribute| attribute.derived_from = vec![unknown.into()])),
        (
            "refused by bounds",
            with(&|attribute| {
                attribute.category = "mental-health".into();
                attribute.provenance = Provenance::Inferred.into();
            }),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_write_creates_no_data_subject() {
    let mut world = world().await;
    record(&mut world, "ada", "tone", "work").await;
    let before = store_contents(&world.harness).await;
    let stale = WriteOptions { expected_version: Some(7), ..Default::default() };
    let ahead = prost_types::Timestamp { seconds: 1 << 36, nanos: 0 };
    let early = WriteOptions { about: Some(ahead), ..Default::default() };
    let long = WriteOptions { idempotency_key: "x".repeat(129), ..Default::default() };
    for (why, options) in [("stale", stale), ("not yet", early), ("a long key", long)] {
        let service = every_write(&mut world.service, "new", &options).await;
        let steward = every_write(&mut world.steward, "new", &options).await;
        assert!(service.len() == 12 && steward.len() == 12, "{why}: {service:?} {steward:?}");
        for (method, status) in service.iter().chain(&steward) {
            let codes = [Code::Aborted, Code::InvalidArgument, Code::NotFound, Code::PermissionDenied];
            assert!(codes.contains(&status.code()), "{why} {method}: {status:?}");
        }
    }
    for (why, request) in bad_attributes("new", &WriteOptions::default()) {
        world.service.profile.record_attributes(request).await.expect_err(why);
    }
    assert_eq!(store_contents(&world.harness).await, before);
    let profile = proto::GetProfileRequest { subject: "new".into(), ..Default::default() };
    assert_eq!(world.steward.profile.get_profile(profile).await.unwrap_err().code(), Code::NotFound);
    // Valid writes and writes with a wrong expected version run at once. Only the valid ones are recorded.
    let mut writes = tokio::task::JoinSet::new();
    for number in 0..20 {
        let mut service = world.service.clone();
        writes.spawn(async move {
            let mut request = fact("new", &format!("key-{number}"), "work", "x");
            let expected_version = (number % 2 == 1).then_some(7);
            request.options = Some(WriteOptions { expected_version, ..Default::default() });
            service.profile.record_attributes(request).await.is_ok()
        });
    }
    let written = writes.join_all().await.into_iter().filter(|is_written| *is_written).count();
    assert_eq!(written, 10);
    let now = store_contents(&world.harness).await;
    assert_eq!((now.subjects, now.entries), (before.subjects + 1, before.entries + 10));
}

/// The code, message and details of each error as text.
fn error_texts(failed: &[(&'static str, Status)]) -> Vec<String> {
    let texts = failed.iter().map(|(method, status)| {
        format!("{method} {:?} {} {:?}", status.code(), status.message(), status.details())
    });
    texts.collect()
}

async fn erase(world: &mut World, subject: &str) {
    let request = proto::SubmitRequestRequest {
        subject: subject.into(),
        kind: proto::RequestKind::Erasure.into(),
        scope: proto::ErasureScope::All.into(),
        ..Default::default()
    };
    world.steward.rights.submit_request(request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_write_does_not_reveal_an_erasure() {
    let mut world = world().await;
    record(&mut world, "ada", "tone", "work").await;
    erase(&mut world, "ada").await;
    let before = store_contents(&world.harness).await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    for about in [now - 86_400, now - 3_600, now] {
        let about = Some(prost_types::Timestamp { seconds: about, nanos: 0 });
        let stale = WriteOptions { expected_version: Some(7), about, ..Default::default() };
        let erased = every_write(&mut world.service, "ada", &stale).await;
        let unknown = every_write(&mut world.service, "nobody", &stale).await;
        assert_eq!(error_texts(&erased), error_texts(&unknown));
        let late = WriteOptions { about, ..Default::default() };
        for (why, mut request) in bad_attributes("ada", &late) {
            let status = world.service.profile.record_attributes(request.clone()).await.expect_err(why);
            request.subject = "nobody".into();
            let other = world.service.profile.record_attributes(request).await.expect_err(why);
            assert_eq!(error_texts(&[(why, status)]), error_texts(&[(why, other)]));
        }
    }
    // The error of an otherwise valid write does name the erasure, and the write is not recorded either.
    let about = Some(prost_types::Timestamp { seconds: now - 3_600, nanos: 0 });
    let late = WriteOptions { about, ..Default::default() };
    let request = proto::RecordAttributesRequest { options: Some(late), ..fact("ada", "tone", "work", "x") };
    let status = world.service.profile.record_attributes(request).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    assert_eq!(store_contents(&world.harness).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attribute_that_is_invalid_anyway_does_not_reveal_the_erasure_of_its_category() {
    let mut world = world().await;
    record(&mut world, "ada", "tone", "work").await;
    record(&mut world, "ada", "sister", "family").await;
    record(&mut world, "ben", "tone", "work").await;
    record(&mut world, "ben", "sister", "family").await;
    let request = proto::SubmitRequestRequest {
        subject: "ada".into(),
        kind: proto::RequestKind::Erasure.into(),
        scope: proto::ErasureScope::Category.into(),
        category: "work".into(),
        ..Default::default()
    };
    world.steward.rights.submit_request(request).await.unwrap();
    let yesterday = Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 });
    let late = |subject: &str, corrects: &str| {
        let mut request = fact(subject, "tone", "work", "x");
        request.attributes[0].observed_at = yesterday;
        request.attributes[0].corrects = corrects.into();
        request
    };
    let unknown = "01890a5d-ac96-774b-bcce-b302099a8057";
    let erased = world.service.profile.record_attributes(late("ada", unknown)).await.unwrap_err();
    let never = world.service.profile.record_attributes(late("ben", unknown)).await.unwrap_err();
    assert_eq!(error_texts(&[("", erased)]), error_texts(&[("", never)]));
    let erased = world.service.profile.record_attributes(late("ada", "")).await.unwrap_err();
    assert_eq!(erased.code(), Code::FailedPrecondition, "{erased:?}");
    world.service.profile.record_attributes(late("ben", "")).await.unwrap();
}

fn new_attribute(subject: &str) -> NewAttributes {
    let attribute = Attribute {
        key: "tone".into(),
        value: Secret::new("\"x\"".into()),
        category: "work".into(),
        provenance: Provenance::Declared,
        evidence: Vec::new(),
        derived_from: Vec::new(),
        confidence: None,
        model: String::new(),
        observed_at_ms: 1,
        expires_at_ms: None,
        from_replies: Vec::new(),
        claimed_provenance: Provenance::Unspecified,
        embedding: None,
    };
    NewAttributes {
        subject: SubjectId::new(subject).unwrap(),
        attributes: vec![(attribute, None)],
        stated: BTreeSet::new(),
    }
}

/// This test uses the application directly. The queue of the sequencer, which writes all events, has room for
/// one write, and the test decides when the sequencer takes it.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_rejected_by_a_full_queue_removes_its_keys() {
    let sequencing: Arc<ManualSequencing> = Arc::default();
    let time = Arc::new(LedgerClock::new(Arc::new(SystemClock), ClockLimits::default()));
    let mut settings = settings("dev", &Arc::default(), &time);
    (settings.ledger.queue_max, settings.ledger.manual) = (1, Some(Arc::clone(&sequencing)));
    let keys = Arc::clone(&settings.keys);
    let opening = tokio::spawn(App::open(settings));
    while !opening.is_finished() {
        sequencing.take(&(0..sequencing.waiting()).collect::<Vec<_>>());
        tokio::task::yield_now().await;
    }
    let app = opening.await.unwrap().unwrap();
    let caller = Caller { role: Role::Service, channel: true, name: "tutor".into(), subject: None };
    let options = sayso::app::WriteOptions::default();
    let pages = || keys.count_pages(&[]).unwrap();
    let before = pages();
    let waiting = {
        let (app, caller, options) = (Arc::clone(&app), caller.clone(), options.clone());
        tokio::spawn(
            async move { app.profile.record_attributes(&caller, new_attribute("first"), &options).await },
        )
    };
    // Wait until the first write is in the queue. It stays there until the test lets the sequencer take it.
    while app.reports.subject_count().unwrap() == 0 || pages() == before {
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    let subject = SubjectId::new("second").unwrap();
    for _ in 0..3 {
        let refused = app.profile.record_attributes(&caller, new_attribute("second"), &options).await;
        assert!(matches!(refused, Err(AppError::Overloaded)), "{refused:?}");
        let refused = app.profile.record_attributes(&caller, new_attribute("third"), &options).await;
        assert!(matches!(refused, Err(AppError::Overloaded)), "{refused:?}");
        assert_eq!(app.reports.subject_count().unwrap(), 1, "only the subject of the first write exists");
    }
    while !waiting.is_finished() {
        sequencing.take(&(0..sequencing.waiting()).collect::<Vec<_>>());
        tokio::task::yield_now().await;
    }
    waiting.await.unwrap().unwrap();
    // Once the queue has room, a write about the rejected subject starts at version 0.
    let refusal = Choice {
        decision: Decision::Refused,
        purposes: vec!["tone-adaptation".into()],
        categories: Vec::new(),
        recipients: Vec::new(),
        explicit: false,
        until_ms: None,
        interactions: Vec::new(),
    };
    let recording = {
        let (app, caller, options, subject) =
            (Arc::clone(&app), caller.clone(), options.clone(), subject.clone());
        tokio::spawn(async move {
            let presentation = Presentation { notice: NoticeServed::default(), channel: "web".into() };
            let by = DecidedBy::Subject;
            app.consent.record_consent(&caller, &subject, vec![refusal], &presentation, by, &options).await
        })
    };
    while !recording.is_finished() {
        sequencing.take(&(0..sequencing.waiting()).collect::<Vec<_>>());
        tokio::task::yield_now().await;
    }
    assert_eq!(recording.await.unwrap().unwrap().receipt.events[0].version, 0);
    assert_eq!(app.reports.subject_count().unwrap(), 2);
    app.shutdown().await;
}
