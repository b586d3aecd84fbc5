//! Tests the traces that a collector receives: spans have the right parents and attributes, and contain no
//! data that callers sent.

use crate::harness::{self, Clients, ask, fact, sayso};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status};

/// A trace collector that keeps every request.
#[derive(Clone, Default)]
pub struct Collector(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// Listens on loopback.
    pub async fn start() -> (Self, SocketAddr) {
        let collector = Self::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let service = TraceServiceServer::new(collector.clone());
        let serving =
            Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(serving);
        (collector, at)
    }

    /// All received requests, encoded.
    pub fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().iter().flat_map(Message::encode_to_vec).collect()
    }

    fn spans(&self) -> Vec<Span> {
        let requests = self.0.lock().unwrap();
        let resources = requests.iter().flat_map(|request| &request.resource_spans);
        resources.flat_map(|resource| &resource.scope_spans).flat_map(|scope| scope.spans.clone()).collect()
    }
}

/// A daemon that sends its traces to a collector. `stop` ends it with SIGTERM, so that it sends its last
/// spans.
pub struct Traced {
    child: Child,
    grpc: SocketAddr,
    data: tempfile::TempDir,
}

impl Traced {
    pub fn start(collector: SocketAddr) -> Self {
        let data = tempfile::tempdir().unwrap();
        let settings = data.path().join("sayso.toml");
        let at = data.path().join("data");
        let text = format!("data = '{}'\n[telemetry]\ntraces = 'http://{collector}'\n", at.display());
        std::fs::write(&settings, text).unwrap();
        let settings = settings.to_str().unwrap();
        let arguments = ["serve", "--dev", "--json", "--config", settings, "--listen", "127.0.0.1:0"];
        let arguments = [&arguments[..], &["--http", "127.0.0.1:0"]].concat();
        let mut child = sayso(&arguments)
            .env("RUST_LOG", "trace")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
        let grpc = ready["grpc"].as_str().unwrap().parse().unwrap();
        Self { child, grpc, data }
    }

    pub async fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.grpc)).unwrap().connect().await.unwrap()
    }

    pub fn token(&self, role: &str) -> String {
        let path = self.data.path().join("data/dev").join(format!("{role}.token"));
        std::fs::read_to_string(path).unwrap().trim().to_owned()
    }

    pub fn stop(mut self) {
        terminate(&mut self.child);
    }
}

/// Ends a daemon with SIGTERM, so that it sends the spans that it still has.
pub fn terminate(child: &mut Child) {
    let id = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
}

/// The attributes of a span, sorted, as text.
fn attributes(span: &Span) -> Vec<(String, String)> {
    let attributes = span.attributes.iter().map(|each| {
        let value = match each.value.clone().unwrap().value.unwrap() {
            Value::StringValue(text) => text,
            other => format!("{other:?}"),
        };
        (each.key.clone(), value)
    });
    let mut attributes: Vec<_> = attributes.collect();
    attributes.sort();
    attributes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_joins_the_callers_trace_and_its_spans_contain_no_caller_data() {
    let (collector, at) = Collector::start().await;
    let traced = tokio::task::spawn_blocking(move || Traced::start(at)).await.unwrap();
    let channel = traced.channel().await;
    let mut service = Clients::over(&channel, Some(&traced.token("service-channel")));
    let mut steward = Clients::over(&channel, Some(&traced.token("steward")));
    harness::publish_notice(&mut steward).await;
    service.profile.record_attributes(fact("canary-subject", "tone", "work", "canary-value")).await.unwrap();
    let mut grant_request = Request::new(ask("canary-subject"));
    let (trace, parent) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    let headers = grant_request.metadata_mut();
    headers.insert("traceparent", format!("00-{trace}-{parent}-01").parse().unwrap());
    headers.insert("tracestate", "canary=canary".parse().unwrap());
    headers.insert("baggage", "person=canary".parse().unwrap());
    let answer = service.grant.request_grant(grant_request).await.unwrap();
    let request_id = answer.metadata().get("x-request-id").unwrap().to_str().unwrap().to_owned();
    service.profile.record_attributes(fact("canary-subject", "", "", "canary")).await.unwrap_err();
    tokio::task::spawn_blocking(move || traced.stop()).await.unwrap();

    let spans = collector.spans();
    let named = |name: &str| -> Vec<&Span> { spans.iter().filter(|span| span.name == name).collect() };
    let [grant] = named("GrantService/RequestGrant")[..] else { panic!("{spans:?}") };
    assert_eq!(
        (hex::encode(&grant.trace_id), hex::encode(&grant.parent_span_id)),
        (trace.to_owned(), parent.to_owned())
    );
    let expected = [
        ("rpc.grpc.status_code", "IntValue(0)"),
        ("rpc.method", "GrantService/RequestGrant"),
        ("rpc.system", "grpc"),
        ("sayso.request", request_id.as_str()),
    ];
    assert_eq!(attributes(grant), expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    for step in ["decide", "submit"] {
        let below = |span: &&&Span| span.trace_id == grant.trace_id && span.parent_span_id == grant.span_id;
        assert_eq!(named(step).iter().filter(below).count(), 1, "{step}: {spans:?}");
    }
    // A call without a trace starts a new one. A caller's mistake does not set the error status of a span.
    let recorded = named("ProfileService/RecordAttributes");
    assert_eq!(recorded.len(), 2);
    assert!(
        recorded.iter().all(|span| span.parent_span_id.is_empty() && hex::encode(&span.trace_id) != trace)
    );
    assert!(recorded.iter().any(|span| attributes(span)[0].1 == "IntValue(3)"), "{recorded:?}");
    assert!(spans.iter().all(|span| span.status.as_ref().is_none_or(|status| status.code == 0)));
    assert!(spans.iter().all(|span| span.events.is_empty() && span.links.is_empty()));
    assert!(!harness::contains(&collector.bytes(), b"canary"));
}
