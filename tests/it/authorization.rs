//! Authorization of every method by role: the proto comments match the role table, and the daemon enforces
//! it. Also tests request ids, metrics, the health pages, and that a person sees who viewed their record.

mod recorded_access;

use crate::harness::{Harness, fact, publish_notice};
use sayso::api::{REQUEST_ID, methods};
use sayso::proto::{self, Role};
use sayso::roles::RoleTable;
use sayso::web;
use std::collections::BTreeSet;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

const ROLES: [Role; 8] = [
    Role::Unspecified,
    Role::Service,
    Role::Channel,
    Role::Subject,
    Role::Steward,
    Role::Authority,
    Role::Auditor,
    Role::Operator,
];

/// A codec that passes bytes unchanged, so that tests can call any method by its path.
#[derive(Clone, Copy, Default)]
pub struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;
    fn encoder(&mut self) -> Self {
        *self
    }
    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;
    fn encode(&mut self, item: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        bytes::BufMut::put_slice(to, &item);
        Ok(())
    }
    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;
    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut bytes = vec![0; bytes::Buf::remaining(from)];
        bytes::Buf::copy_to_slice(from, &mut bytes);
        Ok(Some(bytes))
    }
    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}

/// Calls a method with these bytes. Returns the response headers, or the error of the call or of its first
/// message.
pub async fn call(
    channel: &Channel,
    token: Option<&str>,
    path: &str,
    body: Vec<u8>,
) -> Result<tonic::metadata::MetadataMap, Status> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let mut request = Request::new(tokio_stream::once(body));
    request.set_timeout(std::time::Duration::from_secs(5));
    if let Some(token) = token {
        let value: MetadataValue<_> = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", value);
    }
    let response = client.streaming(request, path.parse().unwrap(), Raw).await?;
    let head = response.metadata().clone();
    let next = tokio::time::timeout(std::time::Duration::from_secs(1), response.into_inner().message()).await;
    if let Ok(message) = next {
        message?;
    }
    Ok(head)
}

fn path_of(method: &str) -> String {
    if method.starts_with("grpc.") { format!("/{method}") } else { format!("/sayso.v1.{method}") }
}

fn table() -> RoleTable {
    let methods = methods();
    sayso::bounds::compile_roles(methods.iter().map(String::as_str).chain(web::ROUTES)).unwrap()
}

/// The roles that the comment of a method names, for example `Roles: service (its own), subject.`,
/// `Roles: all.` or `Roles: all but operator.`
fn roles_in_comment(comment: &str) -> Option<BTreeSet<&'static str>> {
    let (_, rest) = comment.rsplit_once("Roles: ")?;
    // Text in parentheses explains a role and may contain a full stop.
    let mut depth = 0_usize;
    let plain: String = rest
        .chars()
        .filter(|c| {
            depth = depth + usize::from(*c == '(') - usize::from(*c == ')');
            depth == 0 && *c != ')'
        })
        .collect();
    let (list, _) = plain.split_once('.')?;
    let roles = || sayso::api::ROLES.into_iter().filter(|(claim, _)| !claim.channel).map(|(_, name)| name);
    let named = |list: &str| -> BTreeSet<&'static str> {
        let words: Vec<&str> = list.split(',').map(str::trim).collect();
        let known: BTreeSet<&str> = roles().filter(|name| words.contains(name)).collect();
        assert_eq!(known.len(), words.len(), "unknown role in: {list}");
        known
    };
    Some(match list.strip_prefix("all") {
        Some("") => roles().collect(),
        Some(exceptions) => {
            let excluded = named(exceptions.strip_prefix(" but ").expect("exceptions start with ` but `"));
            roles().filter(|name| !excluded.contains(name)).collect()
        }
        None => named(list),
    })
}

/// Every method in the proto files, with the comment above it.
fn commented_methods() -> Vec<(String, String)> {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("proto/sayso/v1");
    let mut methods = Vec::new();
    for path in crate::harness::files_below(&dir) {
        let text = std::fs::read_to_string(path).unwrap();
        let (mut service, mut comment) = (String::new(), String::new());
        for line in text.lines().map(str::trim) {
            if let Some(text_of_line) = line.strip_prefix("//") {
                comment.push_str(text_of_line);
                continue;
            }
            if let Some(rest) = line.strip_prefix("service ") {
                rest.split_whitespace().next().unwrap().clone_into(&mut service);
            }
            if let Some(rest) = line.strip_prefix("rpc ") {
                let name = rest.split('(').next().unwrap().trim();
                methods.push((format!("{service}/{name}"), std::mem::take(&mut comment)));
            }
            comment.clear();
        }
    }
    methods
}

#[test]
fn the_comment_of_each_method_names_the_roles_that_may_call_it() {
    let (table, commented, served) = (table(), commented_methods(), methods());
    let named: BTreeSet<&str> = commented.iter().map(|(method, _)| method.as_str()).collect();
    let ours = served.iter().map(String::as_str).filter(|name| !name.starts_with("grpc."));
    assert_eq!(named, ours.collect(), "the proto files and the daemon have the same methods");
    let mut wrong = Vec::new();
    for (method, comment) in &commented {
        let in_comment = roles_in_comment(comment).unwrap_or_default();
        let roles = sayso::api::ROLES.into_iter().filter(|(claim, _)| !claim.channel);
        let in_table: BTreeSet<&str> =
            roles.filter(|(claim, _)| table.may(claim.role, method)).map(|(_, name)| name).collect();
        if in_comment != in_table {
            wrong.push(format!("{method}: the comment names {in_comment:?}, the table {in_table:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(roles_in_comment(" x. Roles: service (a. b), subject. More.").unwrap().len(), 2);
    assert_eq!(roles_in_comment(" Roles: all but operator.").unwrap().len(), 6);
}

/// The methods that the daemon lists through gRPC reflection, as `Service/Method`.
async fn reflected_methods(channel: &Channel) -> BTreeSet<String> {
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    let mut client = ServerReflectionClient::new(channel.clone());
    let mut ask = async |request: MessageRequest| {
        let request = ServerReflectionRequest { host: String::new(), message_request: Some(request) };
        let mut responses =
            client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
        responses.message().await.unwrap().unwrap().message_response.unwrap()
    };
    let MessageResponse::ListServicesResponse(list) = ask(MessageRequest::ListServices(String::new())).await
    else {
        panic!("reflection returned no list of services");
    };
    let mut methods = BTreeSet::new();
    for service in list.service {
        let MessageResponse::FileDescriptorResponse(files) =
            ask(MessageRequest::FileContainingSymbol(service.name.clone())).await
        else {
            panic!("no descriptor of {}", service.name);
        };
        for file in files.file_descriptor_proto {
            let file: prost_types::FileDescriptorProto = prost::Message::decode(file.as_slice()).unwrap();
            for each in &file.service {
                let name = format!("{}.{}", file.package(), each.name());
                let short = name.strip_prefix("sayso.v1.").unwrap_or(&name).to_owned();
                methods.extend(each.method.iter().map(|method| format!("{short}/{}", method.name())));
            }
        }
    }
    methods
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reflected_method_has_an_enforced_role_rule() {
    let harness = Harness::start().await;
    let channel =
        Channel::from_shared(format!("http://{}", harness.daemon.grpc)).unwrap().connect().await.unwrap();
    let table = table();
    let listed = reflected_methods(&channel).await;
    assert!(listed.len() > 25, "{listed:?}");
    for method in &listed {
        let permitted: Vec<Role> = ROLES.into_iter().filter(|role| table.may(*role, method)).collect();
        assert!(!permitted.is_empty(), "{method} has no rule");
        for role in ROLES {
            let token =
                (role != Role::Unspecified).then(|| harness.daemon.issuer.mint(role, "ada", 600).unwrap());
            // These bytes are not a valid message, so an authorized call fails later, with another code.
            let response = call(&channel, token.as_deref(), &path_of(method), vec![0xff; 9]).await;
            let code = response.as_ref().err().map_or(Code::Ok, Status::code);
            let refused_code =
                if role == Role::Unspecified { Code::Unauthenticated } else { Code::PermissionDenied };
            let open = permitted.contains(&Role::Unspecified);
            assert_eq!(
                code == refused_code,
                !(open || permitted.contains(&role)),
                "{method} as {role:?}: {code:?}"
            );
        }
    }
    // No role may call a method that does not exist.
    for role in ROLES.into_iter().skip(1) {
        let token = harness.daemon.issuer.mint(role, "ada", 600).unwrap();
        let denied = call(&channel, Some(&token), "/sayso.v1.ProfileService/Nothing", Vec::new()).await;
        assert_eq!(denied.unwrap_err().code(), Code::PermissionDenied);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_response_carries_a_request_id() {
    let harness = Harness::start().await;
    let channel =
        Channel::from_shared(format!("http://{}", harness.daemon.grpc)).unwrap().connect().await.unwrap();
    let id = |metadata: &tonic::metadata::MetadataMap| {
        metadata.get(REQUEST_ID).unwrap().to_str().unwrap().to_owned()
    };
    let denied = call(&channel, None, "/sayso.v1.AuditService/GetCheckpoint", Vec::new()).await.unwrap_err();
    let token = harness.daemon.issuer.mint(Role::Auditor, "ada", 600).unwrap();
    let answered =
        call(&channel, Some(&token), "/sayso.v1.AuditService/GetCheckpoint", Vec::new()).await.unwrap();
    let (first, second) = (id(denied.metadata()), id(&answered));
    assert!(first != second && first.len() == 16, "{first} {second}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_subject_sees_who_viewed_their_record() {
    let harness = Harness::start().await;
    let mut ada = harness.as_role(Role::Subject, "ada").await;
    ada.profile.record_attributes(fact("", "tone", "work", "plain")).await.unwrap();
    let events = || proto::ListEventsRequest::default();
    let count = async |ada: &mut crate::harness::Clients| {
        ada.profile.list_events(events()).await.unwrap().into_inner().events.len()
    };
    // The data subject's own reads are not recorded.
    assert_eq!(count(&mut ada).await, 1);
    assert_eq!(count(&mut ada).await, 1);
    let mut steward = harness.as_role(Role::Steward, "mina").await;
    publish_notice(&mut steward).await;
    let profile = || proto::GetProfileRequest { subject: "ada".into(), ..Default::default() };
    let viewed = steward.profile.get_profile(profile()).await.unwrap().into_inner();
    // The returned version includes the recorded view, so that the caller can write with it.
    assert_eq!(viewed.version, 2);
    steward.profile.get_profile(profile()).await.unwrap();
    assert_eq!(count(&mut ada).await, 2, "views within the window are recorded once");
    steward
        .consent
        .list_consents(proto::ListConsentsRequest { subject: "ada".into(), ..Default::default() })
        .await
        .unwrap();
    let mut other = harness.as_role(Role::Steward, "noor").await;
    other.profile.get_profile(profile()).await.unwrap();
    let history = ada.profile.list_events(events()).await.unwrap().into_inner();
    let text = format!("{history:?}");
    assert_eq!(history.events.len(), 4);
    for word in ["mina", "noor", "GetProfile", "ListConsents"] {
        assert!(text.contains(word), "{word} in {text}");
    }
}

/// Sends one HTTP GET request, and returns the whole response as text.
pub async fn http(at: std::net::SocketAddr, path: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(at).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = Vec::new();
    stream.read_to_end(&mut text).await.unwrap();
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_contain_no_personal_data() {
    let harness = Harness::start().await;
    let mut service = harness.as_role(Role::Service, "canary-service").await;
    service
        .profile
        .record_attributes(fact("canary-ada", "canary-key", "work", "canary-value"))
        .await
        .unwrap();
    let text = http(harness.daemon.http, "/metrics").await;
    for name in [
        "sayso_calls_total{method=\"ProfileService/RecordAttributes\",code=\"OK\"}",
        "sayso_call_duration_seconds_bucket",
        "sayso_batch_events_count",
        "sayso_flush_duration_seconds_count",
        "sayso_queued_writes",
        "sayso_events_total{kind=\"attribute_recorded\"}",
        "sayso_log_entries{controller=\"dev\"}",
        "sayso_log_size_bytes{controller=\"dev\"}",
        "sayso_subjects{controller=\"dev\"}",
        "sayso_ready{controller=\"dev\"} 1",
        "# HELP sayso_calls_total ",
    ] {
        assert!(text.contains(name), "{name} in {text}");
    }
    assert!(!text.contains("canary"), "{text}");
    assert!(http(harness.daemon.http, "/readyz").await.starts_with("HTTP/1.1 200"));
    assert!(http(harness.daemon.http, "/healthz").await.starts_with("HTTP/1.1 200"));
    assert!(http(harness.daemon.http, "/nothing").await.starts_with("HTTP/1.1 404"));
}
