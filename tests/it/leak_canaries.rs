//! Canary values (texts that occur nowhere else) in every field of every method never appear in logs, traces,
//! metrics, errors or HTTP answers, even with logs at level `trace`.

use crate::authorization::{call, http};
use crate::harness::{self, Clients, ask, choice, consent, contains, fact, sayso};
use crate::traces::Collector;
use prost_reflect::prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};
use sayso::proto::{self, ConsentDecision};
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use tonic::transport::Channel;

const CANARY: &str = "canary";
const ROLES: [&str; 7] =
    ["service", "channel", "service-channel", "steward", "authority", "auditor", "operator"];

/// A separate daemon that logs at level `trace`.
struct VerboseDaemon {
    child: Child,
    log: std::thread::JoinHandle<Vec<u8>>,
    grpc: std::net::SocketAddr,
    http: std::net::SocketAddr,
    data: tempfile::TempDir,
}

impl VerboseDaemon {
    /// Starts a daemon that sends its traces to `collector`.
    fn start(collector: std::net::SocketAddr) -> Self {
        let data = tempfile::tempdir().unwrap();
        let settings = data.path().join("sayso.toml");
        let text =
            format!("data = '{}'\n[telemetry]\ntraces = 'http://{collector}'\n", data.path().display());
        std::fs::write(&settings, text).unwrap();
        let settings = settings.to_str().unwrap();
        let arguments = ["serve", "--dev", "--json", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"];
        let arguments = [&arguments[..], &["--config", settings]].concat();
        let mut child = sayso(&arguments)
            .env("RUST_LOG", "trace")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let log = std::thread::spawn(move || {
            let mut all = Vec::new();
            stderr.read_to_end(&mut all).unwrap();
            all
        });
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
        let at = |name: &str| ready[name].as_str().unwrap().parse().unwrap();
        Self { child, log, grpc: at("grpc"), http: at("http"), data }
    }

    fn token(&self, role: &str) -> String {
        let path = self.data.path().join("dev").join(format!("{role}.token"));
        std::fs::read_to_string(path).unwrap().trim().to_owned()
    }

    /// Ends the daemon and returns its whole log.
    fn stop(mut self) -> Vec<u8> {
        crate::traces::terminate(&mut self.child);
        self.log.join().unwrap()
    }

    /// Whether a crash could write a core dump.
    fn can_dump_core(&self) -> bool {
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", self.child.id())).unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        line.split_whitespace().skip(4).take(2).ne(["0", "0"])
    }
}

fn value(field: &FieldDescriptor, depth: usize) -> Option<Value> {
    Some(match field.kind() {
        // These values are shorter than every field's limit.
        Kind::String => Value::String(format!("{CANARY}-{}", field.name())),
        Kind::Bytes => Value::Bytes(format!("{CANARY}-{}", field.name()).into_bytes().into()),
        Kind::Message(_) if depth == 0 => return None,
        Kind::Message(message) => Value::Message(filled(&message, depth - 1)),
        Kind::Enum(_) => Value::EnumNumber(1),
        Kind::Bool => Value::Bool(true),
        Kind::Double => Value::F64(0.5),
        Kind::Float => Value::F32(0.5),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(1),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(1),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(1),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(1),
    })
}

/// A message with a canary in every string and bytes field.
fn filled(of: &MessageDescriptor, depth: usize) -> DynamicMessage {
    let mut message = DynamicMessage::new(of.clone());
    for field in of.fields().filter(|field| !field.is_map()) {
        let Some(value) = value(&field, depth) else { continue };
        message.set_field(&field, if field.is_list() { Value::List(vec![value]) } else { value });
    }
    message
}

/// Valid calls with canaries in every text that callers choose, so that canaries are stored, folded and read.
async fn record_and_read_canaries(daemon: &VerboseDaemon) {
    let clients = async |role: &str| {
        let channel =
            Channel::from_shared(format!("http://{}", daemon.grpc)).unwrap().connect().await.unwrap();
        Clients::over(&channel, Some(&daemon.token(role)))
    };
    let (mut service, mut steward) = (clients("service-channel").await, clients("steward").await);
    harness::publish_notice(&mut steward).await;
    let subject = "canary-subject";
    service.profile.record_attributes(fact(subject, "canary-key", "work", "canary-value")).await.unwrap();
    let given = choice(ConsentDecision::Given, "tone-adaptation", &[], false);
    steward.consent.record_consent(consent(subject, vec![given])).await.unwrap();
    let grant = service.grant.request_grant(ask(subject)).await.unwrap().into_inner();
    assert_eq!(grant.allowed.len(), 1);
    let used = proto::ReportUseRequest {
        grant_id: grant.grant_id.clone(),
        reply: "canary-reply".into(),
        shaped_by: vec!["canary-key".into()],
        count: 1,
        ..Default::default()
    };
    service.grant.report_use(used).await.unwrap();
    let explain = proto::ExplainGrantRequest { grant_id: grant.grant_id };
    steward.grant.explain_grant(explain).await.unwrap();
    let profile = proto::GetProfileRequest { subject: subject.into(), rebuild: true, ..Default::default() };
    assert!(format!("{:?}", steward.profile.get_profile(profile).await.unwrap()).contains(CANARY));
    let erase = proto::SubmitRequestRequest { subject: subject.into(), ..Default::default() };
    let _ok_or_error = steward.rights.submit_request(erase).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_canary_appears_in_logs_traces_metrics_or_errors() {
    let (collector, at) = Collector::start().await;
    let daemon = tokio::task::spawn_blocking(move || VerboseDaemon::start(at)).await.unwrap();
    assert!(!daemon.can_dump_core());
    record_and_read_canaries(&daemon).await;
    let channel = Channel::from_shared(format!("http://{}", daemon.grpc)).unwrap().connect().await.unwrap();
    let pool = DescriptorPool::decode(proto::DESCRIPTORS).unwrap();
    let methods = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>());
    let (mut calls, mut leaks) = (0, Vec::new());
    for method in methods {
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        let body = filled(&method.input(), 4).encode_to_vec();
        assert!(method.input().fields().len() == 0 || !body.is_empty());
        for token in ROLES.iter().map(|role| daemon.token(role)).chain(["canary.canary.canary".into()]) {
            calls += 1;
            if let Err(error) = call(&channel, Some(&token), &path, body.clone()).await {
                let text = format!("{error:?} {}", String::from_utf8_lossy(error.details()));
                if text.contains(CANARY) {
                    leaks.push(format!("{path}: {text}"));
                }
            }
        }
    }
    assert!(calls > 150, "{calls}");
    assert!(leaks.is_empty(), "{}", leaks.join("\n"));
    // Canaries in the paths of gRPC and HTTP requests.
    let token = daemon.token("service");
    call(&channel, Some(&token), "/canary.Service/canary", b"canary".to_vec()).await.unwrap_err();
    for path in ["/canary", "/tile/canary", "/tile/0/000?canary", "/checkpoint?canary"] {
        let answer = http(daemon.http, path).await;
        assert!(!answer.contains(CANARY), "{answer}");
    }
    let metrics = http(daemon.http, "/metrics").await;
    assert!(metrics.contains("sayso_calls_total") && !metrics.contains(CANARY), "{metrics}");
    let tokens: Vec<String> = ROLES.iter().map(|role| daemon.token(role)).collect();
    let keys: Vec<Vec<u8>> = harness::files_below(&daemon.data.path().join("secrets"))
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .filter(|secret| secret.len() >= 32)
        .collect();
    let log = tokio::task::spawn_blocking(|| daemon.stop()).await.unwrap();
    let traced = collector.bytes();
    assert!(contains(&traced, b"GrantService/RequestGrant"), "{} bytes of traces", traced.len());
    assert!(!contains(&traced, CANARY.as_bytes()));
    let text = String::from_utf8_lossy(&log).into_owned();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}")))
        .collect();
    let answered = |line: &&serde_json::Value| line["message"] == "answered" && line["request"].is_string();
    assert!(lines.iter().filter(answered).count() > 150, "{}", &text[..text.len().min(4_000)]);
    let leak = lines.iter().map(ToString::to_string).find(|line| line.contains(CANARY));
    assert_eq!(leak, None);
    for token in tokens {
        let signature = token.rsplit('.').next().unwrap();
        assert!(!text.contains(signature), "a token was logged");
        assert!(!contains(&traced, signature.as_bytes()), "a token was traced");
    }
    for key in keys {
        let is_absent =
            |bytes: &[u8]| !contains(bytes, &key) && !contains(bytes, hex::encode(&key).as_bytes());
        assert!(is_absent(&log) && is_absent(&traced), "a key was logged or traced");
    }
}
