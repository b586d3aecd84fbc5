//! Tests floods that try to exhaust memory, with and without a credential. The daemon runs in its own
//! process, and its resident memory must stay close to what it was before the flood.

use crate::authorization::Raw;
use crate::harness::{Clients, ask, choice, consent, fact, publish_notice};
use crate::limits::Served;
use http_body::Frame;
use prost::Message;
use sayso::proto::{self, ConsentDecision};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::task::JoinSet;
use tonic::body::Body;
use tonic::codegen::{Bytes, Service, http};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

/// How far the peak of resident memory may exceed the memory before the flood.
const MORE_MIB_MAX: u64 = 128;
/// The longest that a flood lasts.
const FLOOD: Duration = Duration::from_secs(20);
const MESSAGE_BYTES: usize = 4 << 20;
const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const RECORD: &str = "/sayso.v1.ProfileService/RecordAttributes";

/// The body of a message that never ends: its last byte is never sent.
struct Unfinished {
    header: Option<Bytes>,
    left: usize,
}

impl Unfinished {
    fn new(bytes: usize) -> Self {
        let length = u32::try_from(bytes).unwrap().to_be_bytes();
        Self { header: Some([&[0], &length[..]].concat().into()), left: bytes - 1 }
    }
}

impl http_body::Body for Unfinished {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        static PIECE: [u8; 16 << 10] = [0; 16 << 10];
        if let Some(header) = self.header.take() {
            return Poll::Ready(Some(Ok(Frame::data(header))));
        }
        let bytes = self.left.min(PIECE.len());
        self.left -= bytes;
        if bytes == 0 {
            Poll::Pending
        } else {
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&PIECE[..bytes])))))
        }
    }
}

fn request(path: &str, token: Option<&str>, body: Body) -> http::Request<Body> {
    let mut request = http::Request::post(format!("http://localhost{path}"));
    request = request.header("content-type", "application/grpc").header("te", "trailers");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    request.body(body).unwrap()
}

async fn connect(served: &Served) -> Channel {
    Channel::from_shared(format!("http://{}", served.grpc)).unwrap().connect().await.unwrap()
}

/// One message with its gRPC frame header; `flag` is 1 if the message is compressed.
fn framed(flag: u8, message: &[u8]) -> Body {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    Body::new(http_body_util::Full::new(Bytes::from([&[flag], &length[..], message].concat())))
}

/// Sends all requests at once over one connection, and waits until they are answered or the flood ends.
/// Returns the status codes.
async fn flood(channel: &Channel, requests: impl Iterator<Item = http::Request<Body>>) -> Vec<Option<Code>> {
    let mut calls = JoinSet::new();
    for request in requests {
        let mut channel = channel.clone();
        calls.spawn(async move {
            std::future::poll_fn(|context| channel.poll_ready(context)).await.ok()?;
            let response = channel.call(request).await.ok()?;
            let code = response.headers().get("grpc-status").map(|code| Code::from_bytes(code.as_bytes()));
            // A response that continues is kept open, as an attacker would do.
            match code {
                Some(code) => Some(code),
                None => {
                    let read = http_body_util::BodyExt::collect(response.into_body());
                    let whole = tokio::time::timeout(FLOOD, read).await.ok()?.ok()?;
                    let trailers = whole.trailers()?.get("grpc-status")?;
                    Some(Code::from_bytes(trailers.as_bytes()))
                }
            }
        });
    }
    let mut codes = Vec::new();
    let all = async {
        while let Some(one) = calls.join_next().await {
            codes.push(one.unwrap());
        }
    };
    let _ended = tokio::time::timeout(FLOOD, all).await;
    codes
}

/// The memory of the daemon before a flood.
struct Before<'a> {
    served: &'a Served,
    mib: u64,
}

impl<'a> Before<'a> {
    fn of(served: &'a Served) -> Self {
        assert!(served.answers());
        served.reset_peak();
        Self { served, mib: served.memory_mib() }
    }

    /// Asserts that the peak of memory since the flood began is within the limit, and that the daemon answers
    /// other clients.
    fn assert_memory_is_limited(&self, what: &str) {
        let peak = self.served.peak_mib();
        println!("{what}: {} MiB before, peak {peak} MiB", self.mib);
        assert!(peak < self.mib + MORE_MIB_MAX, "{what}: {} MiB became {peak}", self.mib);
        assert!(self.served.answers(), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unauthenticated_unfinished_messages_use_no_memory() {
    let served = Served::start();
    let before = Before::of(&served);
    let channel = connect(&served).await;
    for path in [REFLECTION, "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch", RECORD] {
        let requests = (0..1_000).map(|_| request(path, None, Body::new(Unfinished::new(MESSAGE_BYTES))));
        let codes = flood(&channel, requests).await;
        assert_eq!(codes.len(), 1_000, "{path}: every request is answered");
        before.assert_memory_is_limited(path);
    }
    // Another test covers unauthenticated streams without messages:
    // `limits::unauthenticated_streams_are_limited_in_number_and_duration`.
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_messages_of_one_credential_share_a_memory_limit() {
    let served = Served::start();
    let before = Before::of(&served);
    let channel = connect(&served).await;
    let token = served.token("service");
    let requests =
        (0..1_000).map(|_| request(RECORD, Some(&token), Body::new(Unfinished::new(MESSAGE_BYTES))));
    let codes = flood(&channel, requests).await;
    let refused = codes.iter().filter(|code| **code == Some(Code::ResourceExhausted)).count();
    assert!(refused > 900, "{refused} of {}", codes.len());
    before.assert_memory_is_limited("unfinished messages");
}

/// The message compressed with each encoding, and the name of the encoding.
fn compressed(message: &[u8]) -> [(&'static str, Vec<u8>); 2] {
    let mut gzip = Vec::new();
    let level = flate2::Compression::best();
    std::io::Read::read_to_end(&mut flate2::bufread::GzEncoder::new(message, level), &mut gzip).unwrap();
    [("zstd", zstd::encode_all(message, 19).unwrap()), ("gzip", gzip)]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_message_counts_by_its_decompressed_size() {
    let served = Served::start();
    let before = Before::of(&served);
    let channel = connect(&served).await;
    let token = served.token("service");
    // The messages: one with an unknown field; one with empty attributes, each of which takes two bytes on
    // the wire and hundreds in memory; and one within the limits.
    let unknown = [&[0xfa, 0x3f][..], &varint(MESSAGE_BYTES - 10), &vec![0; MESSAGE_BYTES - 10]].concat();
    let empty = [0x12, 0x00].repeat(MESSAGE_BYTES / 2);
    let mut many = fact("ada", "k", "work", &"x".repeat(16_000));
    for number in 1..60 {
        let one = proto::AttributeInput { key: format!("k{number}"), ..many.attributes[0].clone() };
        many.attributes.push(one);
    }
    for (what, message, count) in [
        ("unknown", unknown, 1_000),
        ("empty attributes", empty, 1_000),
        ("large attributes", many.encode_to_vec(), 100),
    ] {
        for (encoding, compressed) in compressed(&message) {
            let bytes = compressed.len();
            let requests = (0..count).map(|_| {
                let mut request = request(RECORD, Some(&token), framed(1, &compressed));
                request.headers_mut().insert("grpc-encoding", encoding.parse().unwrap());
                request
            });
            let codes = flood(&channel, requests).await;
            let kinds: std::collections::BTreeSet<_> =
                codes.iter().flatten().map(|code| *code as i32).collect();
            println!("{what}, {encoding}, {bytes} bytes: {kinds:?}");
            before.assert_memory_is_limited(&format!("{what}, {encoding}"));
        }
    }
}

fn varint(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 128 {
        bytes.push(u8::try_from(number % 128).unwrap() | 128);
        number /= 128;
    }
    bytes.push(u8::try_from(number).unwrap());
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_large_messages_are_read_only_as_fast_as_they_are_recorded() {
    let served = Served::start();
    let before = Before::of(&served);
    let token = served.token("service");
    let mut streams = JoinSet::new();
    for stream in 0..4_u64 {
        let mut clients = Clients::over(&connect(&served).await, Some(&token));
        streams.spawn(async move {
            let messages = (0..20_u64).map(move |number| {
                let mut record = fact(&format!("person-{stream}"), "k", "work", &"x".repeat(16_000));
                for number in 1..60 {
                    let one =
                        proto::AttributeInput { key: format!("k{number}"), ..record.attributes[0].clone() };
                    record.attributes.push(one);
                }
                proto::RecordStreamRequest { sequence: number, record: Some(record) }
            });
            let mut responses =
                clients.profile.record_stream(tokio_stream::iter(messages)).await?.into_inner();
            let mut answered = 0;
            while responses.message().await?.is_some() {
                answered += 1;
            }
            Ok::<u64, Status>(answered)
        });
    }
    let ended = tokio::time::timeout(3 * FLOOD, async {
        let mut completed = 0;
        while let Some(one) = streams.join_next().await {
            match one.unwrap() {
                Ok(answered) => completed += u64::from(answered == 20),
                Err(status) => assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}"),
            }
        }
        completed
    });
    assert!(ended.await.unwrap() > 0, "at least one stream completes");
    before.assert_memory_is_limited("streams");
}

#[tokio::test(flavor = "multi_thread")]
async fn requested_keys_are_limited_in_number_and_length() {
    let served = Served::start();
    let channel = connect(&served).await;
    let mut steward = Clients::over(&channel, Some(&served.token("steward")));
    let mut service = Clients::over(&channel, Some(&served.token("service")));
    publish_notice(&mut steward).await;
    steward.profile.record_attributes(fact("ada", "tone", "work", "x")).await.unwrap();
    let given = choice(ConsentDecision::Given, "tone-adaptation", &[], false);
    steward.consent.record_consent(consent("ada", vec![given])).await.unwrap();
    let before = Before::of(&served);
    for number in 0..30 {
        let keys = (0..127).map(|key| format!("{key}{}", "k".repeat(30_000))).collect();
        let request = proto::RequestGrantRequest { keys, interaction: number.to_string(), ..ask("ada") };
        let refused = service.grant.request_grant(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    }
    // Each request has as many keys as fit within the limits.
    for number in 0..400 {
        let keys = (0..126).map(|key| format!("{key:03}{}", "k".repeat(127))).collect();
        let request = proto::RequestGrantRequest { keys, interaction: number.to_string(), ..ask("ada") };
        if let Err(refused) = service.grant.request_grant(request).await {
            assert!(
                matches!(refused.code(), Code::ResourceExhausted | Code::FailedPrecondition),
                "{refused:?}"
            );
        }
    }
    before.assert_memory_is_limited("keys");
}

#[tokio::test(flavor = "multi_thread")]
async fn personal_bounds_that_are_set_repeatedly_do_not_accumulate_in_memory() {
    let served = Served::start();
    let channel = connect(&served).await;
    let mut steward = Clients::over(&channel, Some(&served.token("steward")));
    publish_notice(&mut steward).await;
    steward.profile.record_attributes(fact("ada", "tone", "work", "x")).await.unwrap();
    let given = choice(ConsentDecision::Given, "tone-adaptation", &[], false);
    steward.consent.record_consent(consent("ada", vec![given])).await.unwrap();
    let before = Before::of(&served);
    let until = std::time::Instant::now() + 3 * FLOOD;
    let mut set = 0;
    while set < 200 && std::time::Instant::now() < until {
        let never = (0..64).map(|_| proto::ForbiddenUse {
            category: "emotion".into(),
            purposes: ["persuasion", "companionship", "memory", "recommendation"]
                .repeat(4)
                .into_iter()
                .map(Into::into)
                .collect(),
        });
        let bounds = proto::PersonalBounds {
            never: never.collect(),
            only_recipients: (0..64).map(|number| format!("{set}-{number}-{}", "r".repeat(110))).collect(),
            ..Default::default()
        };
        let request =
            proto::SetPersonalBoundsRequest { subject: "ada".into(), bounds: Some(bounds), options: None };
        steward.bounds.set_personal_bounds(request).await.unwrap();
        let evaluation = proto::EvaluateUseRequest {
            subject: "ada".into(),
            purpose: "tone-adaptation".into(),
            recipient: "tutor".into(),
            ..Default::default()
        };
        steward.grant.evaluate_use(evaluation).await.unwrap();
        set += 1;
    }
    println!("set {set} times");
    before.assert_memory_is_limited("personal bounds");
}

#[tokio::test(flavor = "multi_thread")]
async fn unread_responses_share_a_memory_limit() {
    let served = Served::start();
    let token = served.token("steward");
    let mut steward = Clients::over(&connect(&served).await, Some(&token));
    let mut many = fact("ada", "k", "work", &"x".repeat(16_000));
    for number in 1..60 {
        let one = proto::AttributeInput { key: format!("k{number}"), ..many.attributes[0].clone() };
        many.attributes.push(one);
    }
    steward.profile.record_attributes(many).await.unwrap();
    let before = Before::of(&served);
    // This client's flow-control window lets the daemon send almost nothing.
    let endpoint = Endpoint::from_shared(format!("http://{}", served.grpc)).unwrap();
    let endpoint = endpoint.initial_stream_window_size(1).initial_connection_window_size(65_535);
    let channel = endpoint.connect().await.unwrap();
    let mut client = tonic::client::Grpc::new(channel).max_decoding_message_size(64 << 20);
    let message = proto::GetProfileRequest { subject: "ada".into(), ..Default::default() }.encode_to_vec();
    let mut unread = Vec::new();
    for _ in 0..200 {
        client.ready().await.unwrap();
        let mut request = Request::new(tokio_stream::once(message.clone()));
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        let path = "/sayso.v1.ProfileService/GetProfile".parse().unwrap();
        let response = tokio::time::timeout(FLOOD, client.streaming(request, path, Raw)).await.unwrap();
        unread.push(response);
        if unread.len() % 20 == 0 {
            println!(
                "{} responses: {} MiB, peak {} MiB",
                unread.len(),
                served.memory_mib(),
                served.peak_mib()
            );
        }
    }
    before.assert_memory_is_limited("answers");
    drop(unread);
}
