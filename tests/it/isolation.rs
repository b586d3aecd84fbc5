//! Isolation of controllers and data subjects. The callers have every role at another controller, or are
//! another data subject. Each caller calls every method twice: about a known and about an unknown subject.
//! Both responses must be the same, so that the caller does not learn who is known.

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

/// The values of text fields in requests, by field name, for one data subject.
pub type Words = HashMap<&'static str, String>;

/// Fields that identify what a request is about. A new field of this kind must be added here.
const ID_FIELDS: [&str; 19] = [
    "subject",
    "subjects",
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
    "ids",
    "key",
    "keys",
    "purpose",
    "purposes",
];

fn looks_like_id_field(field: &str) -> bool {
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
                assert!(!looks_like_id_field(name), "`{}` needs a value in `ID_FIELDS`", field.full_name());
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

/// A message with a value in every field, nested messages included down to `depth`.
pub fn filled_message(of: &MessageDescriptor, words: &Words, depth: usize) -> DynamicMessage {
    let mut message = DynamicMessage::new(of.clone());
    for field in of.fields().filter(|field| !field.is_map()) {
        let Some(value) = value(&field, words, depth) else { continue };
        message.set_field(&field, if field.is_list() { Value::List(vec![value]) } else { value });
    }
    message
}

/// Calls a method and reads up to three response messages. Returns their bytes, or the error.
pub async fn exchange(channel: &Channel, token: &str, path: &str, body: Vec<u8>) -> Result<Vec<u8>, Status> {
    let mut client = tonic::client::Grpc::new(channel.clone()).max_decoding_message_size(64 << 20);
    client.ready().await.unwrap();
    let mut request = Request::new(tokio_stream::once(body));
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let mut responses = client.streaming(request, path.parse().unwrap(), Raw).await?.into_inner();
    let mut all = Vec::new();
    for _ in 0..3 {
        match tokio::time::timeout(Duration::from_millis(300), responses.message()).await {
            Ok(Ok(Some(message))) => all.extend(message),
            Ok(Ok(None)) | Err(_) => break,
            Ok(Err(status)) => return Err(status),
        }
    }
    Ok(all)
}

/// Everything that the caller can learn from an error, with the values of its own request replaced.
fn visible_text(response: &Result<Vec<u8>, Status>, words: &Words) -> String {
    let Err(status) = response else { return "OK".into() };
    let mut headers = status.metadata().clone();
    headers.remove(REQUEST_ID);
    headers.remove("date");
    let details = String::from_utf8_lossy(status.details()).into_owned();
    let mut text = format!("{:?} {} {details} {headers:?}", status.code(), status.message());
    for name in ID_FIELDS {
        text = text.replace(&words[name], &format!("<{name}>"));
    }
    // Drops the length bytes of the encoded details: the replaced values differ in length.
    text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').collect()
}

/// Records one of everything about a data subject with a controller. Returns the values that identify them.
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
    ID_FIELDS
        .into_iter()
        .map(|name| {
            let word = match name {
                "subject" | "subjects" => subject,
                "event_id" | "source_event_id" | "cause_event_id" => &event,
                "consent_event_id" => &consent,
                "grant_id" | "grant_ids" | "ids" | "as_of_grant" => &grant,
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
    known: Words,
    unknown: Words,
}

/// The values for a subject that does not exist. Ids are those of existing records if `with_ids`, otherwise
/// ids of the same form that were never issued.
pub fn unknown_subject_words(words: &Words, with_ids: bool) -> Words {
    let kept = |name: &str| ["purpose", "purposes", "id"].contains(&name) || (with_ids && is_id(name));
    let other = |(name, word): (&&'static str, &String)| {
        (*name, if kept(name) { word.clone() } else { altered(word) })
    };
    let mut unknown_words: Words = words.iter().map(other).collect();
    unknown_words.insert("subject", "canary-bob".into());
    unknown_words.insert("subjects", "canary-bob".into());
    unknown_words
}

/// Whether a field holds an id that cannot be guessed.
fn is_id(name: &str) -> bool {
    name.ends_with("_id") || name.ends_with("_ids") || name == "as_of_grant"
}

/// A different value of the same form: only the last character differs.
fn altered(word: &str) -> String {
    let mut word = word.to_owned();
    let last = word.pop().unwrap();
    word.push(if last == '0' { '1' } else { '0' });
    word
}

impl World {
    /// Starts a daemon with two controllers, and records one of everything about a subject of the first.
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path(), &["acme"]);
        config.client_limits.subject.burst_max = 100_000;
        let daemon = Daemon::start(&config).await.unwrap();
        let channel = channel(&daemon).await;
        let known = populated_subject(&channel, |role, name| token(&daemon, "dev", role, name)).await;
        let unknown = unknown_subject_words(&known, false);
        Self { daemon, _dir: dir, known, unknown }
    }

    /// Calls every method with `token` about the known and the unknown subject. Returns each difference
    /// between the responses, and each secret that a response reveals.
    async fn leaks_to(&self, token: &str, caller: &str) -> Vec<String> {
        let channel = channel(&self.daemon).await;
        let pool = DescriptorPool::decode(proto::DESCRIPTORS).unwrap();
        let methods = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>());
        let (mut leaks, mut tried) = (Vec::new(), 0);
        for method in methods {
            let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
            let mut responses = Vec::new();
            for words in [&self.known, &self.unknown] {
                let body = filled_message(&method.input(), words, 3).encode_to_vec();
                let response = exchange(&channel, token, &path, body).await;
                if let Ok(bytes) = &response {
                    for secret in [SECRET, "canary-artifact"] {
                        if harness::contains(bytes, secret.as_bytes()) {
                            leaks.push(format!("{caller} {path}: {secret} is revealed"));
                        }
                    }
                }
                tried += 1;
                responses.push(visible_text(&response, words));
            }
            if responses[0] != responses[1] {
                leaks.push(format!("{caller} {path}: {} but {}", responses[0], responses[1]));
            }
        }
        assert!(tried > 100, "{tried}");
        leaks
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
    // Notices of the first controller are unknown here, so this id must be unknown too.
    let unknown = altered(&world.known["id"]);
    world.unknown.insert("id", unknown);
    let before = world.entries().await;
    let mut leaks = Vec::new();
    for (claim, name) in ROLES {
        // The callers have the same names as the callers that know the subject at the first controller.
        let role = claim.role;
        let name = match role {
            Role::Service => "tutor",
            Role::Steward => "mina",
            _ => name,
        };
        let token = token_of(&world.daemon, "acme", claim, name);
        leaks.extend(world.leaks_to(&token, role.as_str_name()).await);
    }
    assert!(leaks.is_empty(), "{}", leaks.join("\n"));
    assert_eq!(before, world.entries().await, "the calls recorded nothing with the first controller");
    world.daemon.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_method_reveals_data_to_another_data_subject() {
    let world = World::start().await;
    let before = world.entries().await;
    let eve = token(&world.daemon, "dev", Role::Subject, "eve");
    let mut leaks = world.leaks_to(&eve, "a subject without a record").await;
    // The same is true after eve has a record herself.
    let mut clients = Clients::over(&channel(&world.daemon).await, Some(&eve));
    clients.profile.record_attributes(fact("", "tone", "work", "mine")).await.unwrap();
    assert!(world.entries().await > before);
    leaks.extend(world.leaks_to(&eve, "a subject with a record").await);
    assert!(leaks.is_empty(), "{}", leaks.join("\n"));
    world.daemon.stop().await.unwrap();
}

/// Methods by which staff view a record. Each call records `RecordViewed` with the subject.
const VIEWING_METHODS: [&str; 16] = [
    "ProfileService/GetProfile",
    "ProfileService/ListEvents",
    "ConsentService/ListConsents",
    "ConsentService/GetConsentReceipt",
    "ConsentService/ListOutdatedConsents",
    "GrantService/ExplainGrant",
    "GrantService/EvaluateUse",
    "GrantService/ListArtifacts",
    "GrantService/ListUses",
    "RightsService/GetErasureCertificate",
    "RightsService/GetRequest",
    "RightsService/ListRequests",
    "RightsService/ListHolds",
    "RightsService/PreviewErasure",
    "BoundsService/GetPersonalBounds",
    "AuditService/ProveSubject",
];
/// Methods that record another event with the subject.
const OTHER_METHODS: [&str; 16] = [
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
    "RightsService/WithdrawRequest",
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
    let subject = world.known["subject"].clone();
    let mut ada = Clients::over(&channel, Some(&token(&world.daemon, "dev", Role::Subject, &subject)));
    let about =
        ["subject", "subjects", "grant_id", "request_id", "artifact_id", "hold_id", "consent_event_id"];
    let services = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>());
    for method in services.filter(|method| method.input().fields().any(|field| about.contains(&field.name())))
    {
        let name = format!("{}/{}", method.parent_service().name(), method.name());
        if !staff.iter().any(|role| table.may(*role, &name)) {
            continue;
        }
        assert!(
            VIEWING_METHODS.contains(&name.as_str()) || OTHER_METHODS.contains(&name.as_str()),
            "{name} must be added to one of the two lists"
        );
        if !VIEWING_METHODS.contains(&name.as_str()) {
            continue;
        }
        let body = filled_message(&method.input(), &world.known, 3).encode_to_vec();
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        // The view is recorded even if the call fails.
        let _response = exchange(&channel, &noor, &path, body).await;
        let request = proto::ListEventsRequest { page_size: 1_000, ..Default::default() };
        let events = ada.profile.list_events(request).await.unwrap().into_inner().events;
        let texts = events.iter().map(|event| format!("{event:?}"));
        let is_recorded = texts
            .filter(|event| event.contains("RecordViewed"))
            .any(|event| event.contains("noor") && event.contains(&format!("{:?}", method.name())));
        assert!(is_recorded, "{name} records no view");
    }
    world.daemon.stop().await.unwrap();
}

/// Mean and variance of times in microseconds.
fn moments(times: &[f64]) -> (f64, f64) {
    let count = times.len() as f64;
    let mean = times.iter().sum::<f64>() / count;
    (mean, times.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / (count - 1.0))
}

/// Measures whether the response time reveals that a subject exists. The result is printed and not asserted,
/// because timing on a shared machine is noisy. `SAYSO_TIMING_ROUNDS` sets the number of calls.
#[tokio::test(flavor = "multi_thread")]
async fn response_times_for_known_and_unknown_subjects_are_printed() {
    let rounds =
        std::env::var("SAYSO_TIMING_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(200);
    let world = World::start().await;
    let channel = channel(&world.daemon).await;
    let token_for = |controller, role, name| token(&world.daemon, controller, role, name);
    let pool = DescriptorPool::decode(proto::DESCRIPTORS).unwrap();
    for (caller, token, service, method, code) in [
        (
            "another person",
            token_for("dev", Role::Subject, "eve"),
            "ProfileService",
            "GetProfile",
            Code::PermissionDenied,
        ),
        (
            "another person",
            token_for("dev", Role::Subject, "eve"),
            "GrantService",
            "ExplainGrant",
            Code::NotFound,
        ),
        (
            "another service",
            token_for("dev", Role::Service, "spy"),
            "GrantService",
            "CheckGrant",
            Code::NotFound,
        ),
        (
            "another controller",
            token_for("acme", Role::Service, "tutor"),
            "GrantService",
            "CheckGrant",
            Code::NotFound,
        ),
        (
            "another controller",
            token_for("acme", Role::Steward, "mina"),
            "RightsService",
            "GetRequest",
            Code::NotFound,
        ),
    ] {
        let descriptor = pool.get_service_by_name(&format!("sayso.v1.{service}")).unwrap();
        let input = descriptor.methods().find(|each| each.name() == method).unwrap().input();
        let path = format!("/sayso.v1.{service}/{method}");
        let mut times = [Vec::new(), Vec::new()];
        for round in 0..rounds {
            // The known and the unknown subject take turns at being first.
            for which in [round % 2, 1 - round % 2] {
                let words = if which == 0 { &world.known } else { &world.unknown };
                let body = filled_message(&input, words, 3).encode_to_vec();
                let start = Instant::now();
                let response = exchange(&channel, &token, &path, body).await;
                times[which].push(start.elapsed().as_secs_f64() * 1e6);
                assert_eq!(response.unwrap_err().code(), code, "{caller} {method}");
            }
        }
        let ((known, first), (unknown, second)) = (moments(&times[0]), moments(&times[1]));
        let t = (known - unknown) / ((first + second) / f64::from(rounds as u32)).sqrt();
        println!("{caller}, {method}: {known:.1} µs if known, {unknown:.1} µs if unknown, Welch t {t:.2}");
    }
    world.daemon.stop().await.unwrap();
}
