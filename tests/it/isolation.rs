//! Nobody finds what is not theirs: every method that there is, by every role of another controller and by
//! another person, about somebody who is there and about somebody who is not. The answers must be the same.

use crate::authorization::Raw;
use crate::controllers::{channel, config, token, token_of};
use crate::harness::{self, Clients, choice, consent, fact};
use prost_reflect::prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};
use sayso::api::{REQUEST_ID, ROLES};
use sayso::daemon::Daemon;
use sayso::proto::{self, ConsentDecision, Role};
use std::collections::HashMap;
use std::time::{Duration, Instant};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

const SECRET: &str = "canary-value";

/// What texts in requests say, by field: of somebody who is there, or of nobody.
pub type Words = HashMap<&'static str, String>;

/// Fields that say whom or what a request is about. One that is new has to be given words here.
const NAMES: [&str; 17] = [
    "subject",
    "event_id",
    "consent_event_id",
    "source_event_id",
    "cause_event_id",
    "grant_id",
    "grant_ids",
    "as_of_grant",
    "request_id",
    "hold_id",
    "artifact_id",
    "artifact_ids",
    "id",
    "key",
    "keys",
    "purpose",
    "purposes",
];

fn is_name(field: &str) -> bool {
    let plural = field.strip_suffix('s').unwrap_or(field);
    ["subject", "id", "key"].iter().any(|word| plural == *word || plural.ends_with(&format!("_{word}")))
}

fn value(field: &FieldDescriptor, words: &Words, depth: usize) -> Option<Value> {
    Some(match field.kind() {
        Kind::String => Value::String(match (words.get(field.name()), field.name()) {
            (Some(word), _) => word.clone(),
            (None, "category" | "categories") => "work".into(),
            (None, "recipient" | "recipients") => "tutor".into(),
            (None, "value_json") => "\"x\"".into(),
            (None, "version") => "1".into(),
            (None, "page_token" | "cursor" | "jurisdiction" | "language") => return None,
            (None, name) => {
                assert!(!is_name(name), "`{}` needs words in this test", field.full_name());
                "x".into()
            }
        }),
        Kind::Message(message) if message.full_name().starts_with("google.") => return None,
        Kind::Message(message) if message.name() == "WriteOptions" || depth == 0 => return None,
        Kind::Message(message) => Value::Message(filled_message(&message, words, depth - 1)),
        Kind::Enum(_) => Value::EnumNumber(1),
        Kind::Bytes => return None,
        Kind::Bool => Value::Bool(false),
        Kind::Uint32 => Value::U32(1),
        Kind::Uint64 => Value::U64(1),
        _ => return None,
    })
}

pub fn filled_message(of: &MessageDescriptor, words: &Words, depth: usize) -> DynamicMessage {
    let mut message = DynamicMessage::new(of.clone());
    for field in of.fields().filter(|field| !field.is_map()) {
        let Some(value) = value(&field, words, depth) else { continue };
        message.set_field(&field, if field.is_list() { Value::List(vec![value]) } else { value });
    }
    message
}

/// Up to three answers, or what it failed with.
pub async fn exchange(channel: &Channel, token: &str, path: &str, body: Vec<u8>) -> Result<Vec<u8>, Status> {
    let mut client = tonic::client::Grpc::new(channel.clone()).max_decoding_message_size(64 << 20);
    client.ready().await.unwrap();
    let mut request = Request::new(tokio_stream::once(body));
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let mut answers = client.streaming(request, path.parse().unwrap(), Raw).await?.into_inner();
    let mut all = Vec::new();
    for _ in 0..3 {
        match tokio::time::timeout(Duration::from_millis(300), answers.message()).await {
            Ok(Ok(Some(message))) => all.extend(message),
            Ok(Ok(None)) | Err(_) => break,
            Ok(Err(status)) => return Err(status),
        }
    }
    Ok(all)
}

/// All that an answer tells, with the words of its request taken out.
fn told(answer: &Result<Vec<u8>, Status>, words: &Words) -> String {
    let Err(status) = answer else { return "OK".into() };
    let mut head = status.metadata().clone();
    head.remove(REQUEST_ID);
    head.remove("date");
    let details = String::from_utf8_lossy(status.details()).into_owned();
    let mut text = format!("{:?} {} {details} {head:?}", status.code(), status.message());
    for name in NAMES {
        text = text.replace(&words[name], &format!("<{name}>"));
    }
    // Lengths before texts of different length, in the encoded details.
    text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').collect()
}

/// Somebody about whom there is one of everything with a controller, and what texts say about them.
pub async fn populated_subject(channel: &Channel, token: impl Fn(Role, &str) -> String) -> Words {
    let as_role = |role, name| Clients::over(channel, Some(&token(role, name)));
    let (mut tutor, mut steward) = (as_role(Role::Service, "tutor"), as_role(Role::Steward, "mina"));
    harness::publish_notice(&mut steward).await;
    let subject = "canary-ada";
    let fact = fact(subject, "canary-key", "work", SECRET);
    let recorded = tutor.profile.record_attributes(fact).await.unwrap().into_inner();
    let event = recorded.receipt.unwrap().events[0].event_id.clone();
    let given = choice(ConsentDecision::Given, "tone-adaptation", &[], false);
    let given = steward.consent.record_consent(consent(subject, vec![given])).await.unwrap().into_inner();
    let grant = tutor.grant.request_grant(harness::ask(subject)).await.unwrap().into_inner().grant_id;
    let artifact = proto::RegisterArtifactRequest {
        grant_id: grant.clone(),
        kind: proto::ArtifactKind::Summary.into(),
        name: "canary-artifact".into(),
        ..Default::default()
    };
    let artifact = tutor.grant.register_artifact(artifact).await.unwrap().into_inner().artifact_id;
    let hold = proto::PlaceHoldRequest {
        subject: subject.into(),
        ground: 1,
        code: "K-1".into(),
        text: "x".into(),
        ..Default::default()
    };
    let hold = steward.rights.place_hold(hold).await.unwrap().into_inner().hold_id;
    let mut ada = as_role(Role::Subject, subject);
    let request =
        proto::SubmitRequestRequest { kind: proto::RequestKind::Access.into(), ..Default::default() };
    let request = ada.rights.submit_request(request).await.unwrap().into_inner();
    let request = request.request.unwrap().request_id;
    let consent = given.receipt.unwrap().events[0].event_id.clone();
    NAMES
        .into_iter()
        .map(|name| {
            let word = match name {
                "subject" => subject,
                "event_id" | "source_event_id" | "cause_event_id" => &event,
                "consent_event_id" => &consent,
                "grant_id" | "grant_ids" | "as_of_grant" => &grant,
                "request_id" => &request,
                "hold_id" => &hold,
                "artifact_id" | "artifact_ids" => &artifact,
                "id" => harness::NOTICE,
                "purpose" | "purposes" => "tone-adaptation",
                _ => "canary-key",
            };
            (name, word.to_owned())
        })
        .collect()
}

struct World {
    daemon: Daemon,
    _dir: tempfile::TempDir,
    there: Words,
    nowhere: Words,
}

/// What texts say where there is nobody: the ids of what is there, or ids at the same places that were never
/// given out.
pub fn unknown_subject_words(there: &Words, with_ids: bool) -> Words {
    let kept = |name: &str| ["purpose", "purposes", "id"].contains(&name) || (with_ids && is_id(name));
    let other = |(name, word): (&&'static str, &String)| {
        (*name, if kept(name) { word.clone() } else { altered(word) })
    };
    let mut nobody: Words = there.iter().map(other).collect();
    nobody.insert("subject", "canary-bob".into());
    nobody
}

/// What nobody can guess.
fn is_id(name: &str) -> bool {
    name.ends_with("_id") || name.ends_with("_ids") || name == "as_of_grant"
}

/// Same shape, other words: the last character of each run of hex digits is another one, letters are moved.
fn altered(word: &str) -> String {
    let mut word = word.to_owned();
    let last = word.pop().unwrap();
    word.push(if last == '0' { '1' } else { '0' });
    word
}

impl World {
    /// Two controllers; with the first there is somebody about whom there is one of everything.
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path(), &["acme"]);
        config.client_limits.subject.burst_max = 100_000;
        let daemon = Daemon::start(&config).await.unwrap();
        let channel = channel(&daemon).await;
        let there = populated_subject(&channel, |role, name| token(&daemon, "dev", role, name)).await;
        let nowhere = unknown_subject_words(&there, false);
        Self { daemon, _dir: dir, there, nowhere }
    }

    /// What differs, or comes out, when `token` asks about somebody who is there and about nobody.
    async fn found_by(&self, token: &str, what: &str) -> Vec<String> {
        let channel = channel(&self.daemon).await;
        let pool = DescriptorPool::decode(proto::DESCRIPTORS).unwrap();
        let methods = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>());
        let (mut found, mut tried) = (Vec::new(), 0);
        for method in methods {
            let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
            let mut answers = Vec::new();
            for words in [&self.there, &self.nowhere] {
                let body = filled_message(&method.input(), words, 3).encode_to_vec();
                let answer = exchange(&channel, token, &path, body).await;
                if let Ok(bytes) = &answer {
                    for secret in [SECRET, "canary-artifact"] {
                        if harness::contains(bytes, secret.as_bytes()) {
                            found.push(format!("{what} {path}: {secret} comes out"));
                        }
                    }
                }
                tried += 1;
                answers.push(told(&answer, words));
            }
            if answers[0] != answers[1] {
                found.push(format!("{what} {path}: {} but {}", answers[0], answers[1]));
            }
        }
        assert!(tried > 100, "{tried}");
        found
    }

    async fn entries(&self) -> u64 {
        let mut auditor = Clients::over(
            &channel(&self.daemon).await,
            Some(&token(&self.daemon, "dev", Role::Auditor, "a")),
        );
        auditor.audit.get_checkpoint(proto::GetCheckpointRequest {}).await.unwrap().into_inner().tree_size
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_method_reveals_data_to_a_role_of_another_controller() {
    let mut world = World::start().await;
    // What is published with the first controller is not here either.
    let unknown = altered(&world.there["id"]);
    world.nowhere.insert("id", unknown);
    let before = world.entries().await;
    let mut found = Vec::new();
    for (claim, name) in ROLES {
        // Of the same names as those who know the person, where they are.
        let role = claim.role;
        let name = match role {
            Role::Service => "tutor",
            Role::Steward => "mina",
            _ => name,
        };
        let token = token_of(&world.daemon, "acme", claim, name);
        found.extend(world.found_by(&token, role.as_str_name()).await);
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert_eq!(before, world.entries().await, "nothing of theirs is in our log");
    world.daemon.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_method_reveals_data_to_another_data_subject() {
    let world = World::start().await;
    let before = world.entries().await;
    let eve = token(&world.daemon, "dev", Role::Subject, "eve");
    let mut found = world.found_by(&eve, "a stranger").await;
    // Also once something is held about them.
    let mut clients = Clients::over(&channel(&world.daemon).await, Some(&eve));
    clients.profile.record_attributes(fact("", "tone", "work", "mine")).await.unwrap();
    assert!(world.entries().await > before);
    found.extend(world.found_by(&eve, "somebody").await);
    assert!(found.is_empty(), "{}", found.join("\n"));
    world.daemon.stop().await.unwrap();
}

/// What staff may ask about a person that leaves `RecordViewed` with them.
const LOOKS: [&str; 12] = [
    "ProfileService/GetProfile",
    "ProfileService/ListEvents",
    "ConsentService/GetConsents",
    "ConsentService/GetConsentReceipt",
    "GrantService/ExplainGrant",
    "GrantService/EvaluateUse",
    "GrantService/ListArtifacts",
    "RightsService/GetErasureCertificate",
    "RightsService/GetRequest",
    "RightsService/ListRequests",
    "RightsService/ListHolds",
    "BoundsService/GetPersonalBounds",
];
/// What leaves another event with them.
const OTHERS: [&str; 15] = [
    "ProfileService/RecordAttributes",
    "ProfileService/RecordStream",
    "ProfileService/RemoveAttributes",
    "ProfileService/ContestAttribute",
    "ProfileService/ConfirmAttribute",
    "ProfileService/DescribeSubject",
    "ConsentService/RequestConsent",
    "ConsentService/RecordConsent",
    "ConsentService/RecordSignal",
    "RightsService/SubmitRequest",
    "RightsService/DecideRequest",
    "RightsService/PlaceHold",
    "RightsService/LiftHold",
    "RightsService/ExportSubject",
    "BoundsService/SetPersonalBounds",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_staff_view_of_a_record_is_an_event_of_the_data_subject() {
    let world = World::start().await;
    let methods = sayso::api::methods();
    let table =
        sayso::bounds::compile_roles(methods.iter().map(String::as_str).chain(sayso::web::ROUTES)).unwrap();
    let staff = [Role::Steward, Role::Authority, Role::Auditor, Role::Operator];
    let pool = DescriptorPool::decode(proto::DESCRIPTORS).unwrap();
    let channel = channel(&world.daemon).await;
    let noor = token(&world.daemon, "dev", Role::Steward, "noor");
    let subject = world.there["subject"].clone();
    let mut ada = Clients::over(&channel, Some(&token(&world.daemon, "dev", Role::Subject, &subject)));
    let about = ["subject", "grant_id", "request_id", "artifact_id", "hold_id", "consent_event_id"];
    let services = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>());
    for method in services.filter(|method| method.input().fields().any(|field| about.contains(&field.name())))
    {
        let name = format!("{}/{}", method.parent_service().name(), method.name());
        if !staff.iter().any(|role| table.may(*role, &name)) {
            continue;
        }
        assert!(LOOKS.contains(&name.as_str()) || OTHERS.contains(&name.as_str()), "{name} leaves what?");
        if !LOOKS.contains(&name.as_str()) {
            continue;
        }
        let body = filled_message(&method.input(), &world.there, 3).encode_to_vec();
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        // Also where nothing comes of it.
        let _answer = exchange(&channel, &noor, &path, body).await;
        let request = proto::ListEventsRequest { page_size: 1_000, ..Default::default() };
        let events = ada.profile.list_events(request).await.unwrap().into_inner().events;
        let looked = events.iter().map(|event| format!("{event:?}"));
        let seen = looked
            .filter(|event| event.contains("RecordViewed"))
            .any(|event| event.contains("noor") && event.contains(&format!("{:?}", method.name())));
        assert!(seen, "{name} leaves nothing");
    }
    world.daemon.stop().await.unwrap();
}

/// Mean and variance of times, microseconds.
fn moments(times: &[f64]) -> (f64, f64) {
    let count = times.len() as f64;
    let mean = times.iter().sum::<f64>() / count;
    (mean, times.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / (count - 1.0))
}

/// Whether somebody is there could be heard in how long an answer takes. Printed, not asserted: machines are
/// noisy. `SAYSO_TIMING_ROUNDS` for more.
#[tokio::test(flavor = "multi_thread")]
async fn response_times_for_known_and_unknown_subjects_are_printed() {
    let rounds =
        std::env::var("SAYSO_TIMING_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(200);
    let world = World::start().await;
    let channel = channel(&world.daemon).await;
    let of = |controller, role, name| token(&world.daemon, controller, role, name);
    let pool = DescriptorPool::decode(proto::DESCRIPTORS).unwrap();
    for (what, token, service, method, code) in [
        (
            "another person",
            of("dev", Role::Subject, "eve"),
            "ProfileService",
            "GetProfile",
            Code::PermissionDenied,
        ),
        ("another person", of("dev", Role::Subject, "eve"), "GrantService", "ExplainGrant", Code::NotFound),
        ("another service", of("dev", Role::Service, "spy"), "GrantService", "CheckGrant", Code::NotFound),
        (
            "another controller",
            of("acme", Role::Service, "tutor"),
            "GrantService",
            "CheckGrant",
            Code::NotFound,
        ),
        (
            "another controller",
            of("acme", Role::Steward, "mina"),
            "RightsService",
            "GetRequest",
            Code::NotFound,
        ),
    ] {
        let described = pool.get_service_by_name(&format!("sayso.v1.{service}")).unwrap();
        let input = described.methods().find(|each| each.name() == method).unwrap().input();
        let path = format!("/sayso.v1.{service}/{method}");
        let mut times = [Vec::new(), Vec::new()];
        for round in 0..rounds {
            // Either first, by turns.
            for which in [round % 2, 1 - round % 2] {
                let words = if which == 0 { &world.there } else { &world.nowhere };
                let body = filled_message(&input, words, 3).encode_to_vec();
                let start = Instant::now();
                let answer = exchange(&channel, &token, &path, body).await;
                times[which].push(start.elapsed().as_secs_f64() * 1e6);
                assert_eq!(answer.unwrap_err().code(), code, "{what} {method}");
            }
        }
        let ((there, first), (nowhere, second)) = (moments(&times[0]), moments(&times[1]));
        let t = (there - nowhere) / ((first + second) / f64::from(rounds as u32)).sqrt();
        println!("{what}, {method}: {there:.1} µs for who is there, {nowhere:.1} for nobody, Welch t {t:.2}");
    }
    world.daemon.stop().await.unwrap();
}
