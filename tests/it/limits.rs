//! Limits on callers: calls of one credential, connections of one address, deadlines, and peers that abuse
//! HTTP/2. The tests write the abusive frames by hand (RFC 9113), because no client library sends them.

use crate::authorization::{Raw, http};
use crate::controllers::{channel, token};
use crate::credentials;
use crate::harness::{Clients, config, sayso};
use crate::rights::AdvancedClock;
use sayso::config::{CallsConfig, Config};
use sayso::daemon::Daemon;
use sayso::proto::{self, Role};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The id of the user `nobody`, who owns no files.
const NOBODY: u32 = 65_534;
/// A limit for each wait, longer than any of them takes on a slow machine.
const TIMEOUT: Duration = Duration::from_secs(60);

async fn checkpoint(clients: &mut Clients) -> Result<(), Status> {
    clients.audit.get_checkpoint(proto::GetCheckpointRequest {}).await.map(|_| ())
}

async fn start(change: impl FnOnce(&mut Config)) -> (tempfile::TempDir, Daemon) {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    change(&mut config);
    let daemon = Daemon::start(&config).await.unwrap();
    (dir, daemon)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_over_its_call_limit_does_not_affect_others() {
    let few = CallsConfig { per_second_max: 1, burst_max: 3, at_once_max: 2 };
    let (_dir, daemon) = start(|config| config.client_limits.subject = few).await;
    let channel = channel(&daemon).await;
    let of = |name: &str| Clients::over(&channel, Some(&token(&daemon, "dev", Role::Subject, name)));
    let mut ada = of("ada");
    let mut refused = None;
    for _ in 0..50 {
        refused = checkpoint(&mut ada).await.err().or(refused);
    }
    let refused = refused.expect("fifty calls exceed the limit");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    let wait = refused.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert!(wait <= Duration::from_secs(1));
    checkpoint(&mut of("ben")).await.unwrap();
    // Another token of the same subject counts as the same credential.
    assert!(checkpoint(&mut of("ada")).await.is_err());
    tokio::time::sleep(wait + Duration::from_millis(300)).await;
    checkpoint(&mut ada).await.unwrap();
    daemon.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_counts_as_a_concurrent_call_until_it_ends() {
    let two = CallsConfig { per_second_max: 1_000, burst_max: 1_000, at_once_max: 2 };
    let (_dir, daemon) = start(|config| config.client_limits.service = two).await;
    let mut tutor =
        Clients::over(&channel(&daemon).await, Some(&token(&daemon, "dev", Role::Service, "tutor")));
    let watch = || proto::WatchRevocationsRequest::default();
    let first = tutor.grant.watch_revocations(watch()).await.unwrap();
    let _second = tutor.grant.watch_revocations(watch()).await.unwrap();
    let refused = tutor.grant.watch_revocations(watch()).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(checkpoint(&mut tutor).await.unwrap_err().code(), Code::ResourceExhausted);
    drop(first);
    let freed = async {
        while checkpoint(&mut tutor).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(TIMEOUT, freed).await.unwrap();
    daemon.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn unauthenticated_streams_are_limited_in_number_and_duration() {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    let (_dir, daemon) = start(|config| {
        config.client_limits.answer_s_max = 1;
        config.client_limits.open.at_once_max = 3;
    })
    .await;
    let channel = channel(&daemon).await;
    let mut health = HealthClient::new(channel.clone());
    let watched = health.watch(HealthCheckRequest::default()).await.unwrap();
    let mut reflection = ServerReflectionClient::new(channel);
    // The caller sends no message and sets no deadline.
    let mut silent = async || reflection.server_reflection_info(tokio_stream::pending()).await;
    let mut streams = [silent().await.unwrap().into_inner(), silent().await.unwrap().into_inner()];
    assert_eq!(silent().await.unwrap_err().code(), Code::ResourceExhausted);
    let refused = health.check(HealthCheckRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    for each in &mut streams {
        let ended = tokio::time::timeout(TIMEOUT, each.message()).await.unwrap().unwrap_err();
        assert_eq!(ended.code(), Code::DeadlineExceeded);
    }
    health.check(HealthCheckRequest::default()).await.unwrap();
    let mut watched = watched.into_inner();
    assert!(watched.message().await.unwrap().is_some(), "a health watch continues");
    let long = HealthCheckRequest { service: "s".repeat(257) };
    assert_eq!(health.check(long).await.unwrap_err().code(), Code::InvalidArgument);
    daemon.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_honor_client_deadlines_and_the_daemon_sets_its_own() {
    let (_dir, daemon) = start(|config| config.client_limits.answer_s_max = 1).await;
    let channel = channel(&daemon).await;
    let token = token(&daemon, "dev", Role::Service, "tutor");
    let mut tutor = Clients::over(&channel, Some(&token));
    // A stream has only the deadline that its caller sets.
    let mut request = Request::new(proto::WatchRevocationsRequest::default());
    request.metadata_mut().insert("grpc-timeout", "2S".parse().unwrap());
    let mut stream = tutor.grant.watch_revocations(request).await.unwrap().into_inner();
    let ended = async {
        while stream.message().await?.is_some() {}
        Ok::<(), Status>(())
    };
    let ended = tokio::time::timeout(TIMEOUT, ended).await.unwrap().unwrap_err();
    assert_eq!(ended.code(), Code::DeadlineExceeded);
    // The daemon sets a deadline for a request body that never ends.
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.unwrap();
    let mut request = Request::new(tokio_stream::pending::<Vec<u8>>());
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let path = "/sayso.v1.ProfileService/RecordAttributes".parse().unwrap();
    let response = tokio::time::timeout(TIMEOUT, client.streaming(request, path, Raw)).await.unwrap();
    assert_eq!(response.unwrap_err().code(), Code::DeadlineExceeded);
    daemon.stop().await.unwrap();
}

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream
}

/// Reads until the peer closes the connection; false if it does not within the timeout.
fn is_closed(stream: &mut TcpStream) -> bool {
    let mut bytes = [0; 16_384];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_per_address_are_limited_and_idle_ones_are_closed() {
    let (_dir, daemon) = start(|config| {
        config.client_limits.connections_per_address_max = 3;
        config.client_limits.idle_s_max = 1;
    })
    .await;
    let (grpc, http_at) = (daemon.grpc, daemon.http);
    let closed = tokio::task::spawn_blocking(move || {
        let mut connections: Vec<TcpStream> = (0..3).map(|_| connect(grpc)).collect();
        let mut more = connect(grpc);
        let refused = is_closed(&mut more);
        // Idle connections on both ports: some send nothing, and two send only part of a request.
        let mut web = connect(http_at);
        web.write_all(b"GET /healthz HTT").unwrap();
        connections[0].write_all(&PREFACE[..10]).unwrap();
        (refused, connections.iter_mut().all(is_closed), is_closed(&mut web))
    });
    assert_eq!(closed.await.unwrap(), (true, true, true));
    // New connections are accepted again.
    let mut auditor =
        Clients::over(&channel(&daemon).await, Some(&token(&daemon, "dev", Role::Auditor, "a")));
    checkpoint(&mut auditor).await.unwrap();
    assert!(http(daemon.http, "/metrics").await.contains("sayso_connections_cut_total"));
    // A connection with a call under way is not idle.
    let mut tutor =
        Clients::over(&channel(&daemon).await, Some(&token(&daemon, "dev", Role::Service, "tutor")));
    let watch = proto::WatchRevocationsRequest::default();
    let mut stream = tutor.grant.watch_revocations(watch).await.unwrap().into_inner();
    let first = stream.message().await.unwrap().unwrap();
    assert!(first.grant_ids.is_empty(), "the first message of a watch is its cursor");
    let silent = tokio::time::timeout(Duration::from_secs(3), stream.message()).await;
    assert!(silent.is_err(), "{silent:?}");
    drop(stream);
    daemon.stop().await.unwrap();
}

/// A connection from the loopback address `127.0.0.LAST`.
async fn connect_from(last: u8, to: SocketAddr) -> std::io::Result<tokio::net::TcpStream> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 0, last], 0)))?;
    socket.connect(to).await
}

/// Silent connections from four addresses that use up the connection limit. Each is reopened when it is
/// closed. They end when this value is dropped.
struct SilentConnections(Vec<tokio::task::JoinHandle<()>>);

impl SilentConnections {
    async fn start(to: SocketAddr, connections_max: usize) -> Self {
        let mut connections = Vec::new();
        for number in 0..connections_max {
            let last = 2 + u8::try_from(number % 4).unwrap();
            connections.push((last, connect_from(last, to).await.unwrap()));
        }
        let reconnect = |(last, mut stream): (u8, tokio::net::TcpStream)| async move {
            loop {
                let mut byte = [0];
                // Reads and ignores what the daemon sends until it closes the connection.
                while matches!(tokio::io::AsyncReadExt::read(&mut stream, &mut byte).await, Ok(1)) {}
                tokio::time::sleep(Duration::from_millis(50)).await;
                if let Ok(next) = connect_from(last, to).await {
                    stream = next;
                }
            }
        };
        Self(connections.into_iter().map(|each| tokio::spawn(reconnect(each))).collect())
    }
}

impl Drop for SilentConnections {
    fn drop(&mut self) {
        self.0.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

/// Asserts that calls with a valid token over new connections, one after the other, are answered quickly.
async fn assert_new_clients_are_answered<F: Future<Output = tonic::transport::Channel>>(
    daemon: &Daemon,
    connect: impl Fn() -> F,
) {
    let token = token(daemon, "dev", Role::Auditor, "a");
    let new_client = async || Clients::over(&connect().await, Some(&token));
    let mut first = new_client().await;
    let mut durations = Vec::new();
    for _ in 0..11 {
        let start = std::time::Instant::now();
        let answered = async { checkpoint(&mut new_client().await).await.unwrap() };
        tokio::time::timeout(TIMEOUT, answered).await.expect("the call is not answered");
        durations.push(start.elapsed());
        // An older connection that has shown a credential is not closed.
        checkpoint(&mut first).await.unwrap();
    }
    durations.sort();
    println!("answered over a new connection: median {:?}, slowest {:?}", durations[5], durations[10]);
    assert!(durations[5] < Duration::from_secs(1), "{durations:?}");
}

/// Sets long timeouts and a low connection limit, so that new connections find room only if the daemon closes
/// others.
fn with_low_connection_limit(config: &mut Config) {
    config.limits.connections_max = 64;
    config.client_limits.connections_per_address_max = 16;
    config.client_limits.idle_s_max = 300;
    config.client_limits.handshake_s_max = 300;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_make_room_for_authenticated_clients() {
    let (_dir, daemon) = start(with_low_connection_limit).await;
    let silent = SilentConnections::start(daemon.grpc, 64).await;
    assert_new_clients_are_answered(&daemon, || channel(&daemon)).await;
    // The HTTP port asks for no credential, and still answers.
    let silent_web = SilentConnections::start(daemon.http, 64).await;
    let response = tokio::time::timeout(TIMEOUT, http(daemon.http, "/healthz")).await.unwrap();
    assert!(response.contains("200 OK"), "{response}");
    drop((silent, silent_web));
    daemon.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_make_room_even_before_a_tls_handshake() {
    let authority = credentials::Authority::new();
    let certificates = tempfile::tempdir().unwrap();
    let (_dir, daemon) = start(|config| {
        with_low_connection_limit(config);
        config.tls = Some(credentials::tls(certificates.path(), &authority, &authority));
    })
    .await;
    let silent = SilentConnections::start(daemon.grpc, 64).await;
    let connect =
        async || credentials::connect(&daemon, credentials::trusting(&authority)).await.expect("a handshake");
    assert_new_clients_are_answered(&daemon, &connect).await;
    drop(silent);
    daemon.stop().await.unwrap();
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// An HPACK integer with a prefix of seven bits (RFC 7541, 5.1).
fn length(bytes: usize) -> Vec<u8> {
    if bytes < 127 {
        return vec![u8::try_from(bytes).unwrap()];
    }
    let (mut rest, mut coded) = (bytes - 127, vec![127]);
    while rest >= 128 {
        coded.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    coded.push(u8::try_from(rest).unwrap());
    coded
}

/// An HPACK literal field, never indexed and without Huffman coding (RFC 7541, 6.2.3).
fn header(name: &str, value: &str) -> Vec<u8> {
    [vec![0x10], length(name.len()), name.into(), length(value.len()), value.into()].concat()
}

fn headers_of(path: &str, token: &str) -> Vec<u8> {
    let bearer = format!("Bearer {token}");
    let all = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("authorization", bearer.as_str()),
    ];
    all.iter().flat_map(|(name, value)| header(name, value)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_over_its_invalid_token_limit_keeps_its_verified_clients() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(AdvancedClock::default()));
    let mut settings = config(dir.path());
    settings.client_limits.refused_per_minute_max = 5;
    settings.client_limits.stall_s_max = 1;
    let daemon = Daemon::start_with(&settings, clock.clone()).await.unwrap();
    let channel = channel(&daemon).await;
    let with = |token: &str| Clients::over(&channel, Some(token));
    let valid = |name: &str| token(&daemon, "dev", Role::Auditor, name);
    let mut verified = with(&valid("known"));
    checkpoint(&mut verified).await.unwrap();
    // Verified tokens of data subjects are not cached with the subject's id.
    let mut ada = with(&token(&daemon, "dev", Role::Subject, "ada"));
    let profile = proto::GetProfileRequest::default;
    let shown = ada.profile.get_profile(profile()).await.map_or_else(|status| status.code(), |_| Code::Ok);
    assert!(matches!(shown, Code::Ok | Code::NotFound), "{shown:?}");
    let forged = |number: usize| format!("{}{number}", valid("forged"));
    for number in 0..5 {
        let refused = checkpoint(&mut with(&forged(number))).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{number}");
    }
    // Above the limit no new token is verified, valid or not. A token that was verified before is still
    // accepted, over the same connection.
    for token in [forged(5), valid("new")] {
        let refused = checkpoint(&mut with(&token)).await.unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        let details = refused.get_error_details();
        assert_eq!(details.error_info().unwrap().reason, "TOO_MANY_INVALID_CREDENTIALS");
        let wait = details.retry_info().unwrap().retry_delay.unwrap();
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(60), "{wait:?}");
    }
    checkpoint(&mut verified).await.unwrap();
    let still = ada.profile.get_profile(profile()).await.map_or_else(|status| status.code(), |_| Code::Ok);
    assert_eq!(still, shown);
    // A connection that sends only invalid tokens is closed.
    let (at, head) = (daemon.grpc, headers_of("/sayso.v1.AuditService/GetCheckpoint", &forged(6)));
    let closed = tokio::task::spawn_blocking(move || {
        let mut stream = connect(at);
        let opened = [PREFACE.to_vec(), frame(SETTINGS, 0, 0, &[])].concat();
        let call = frame(HEADERS, END_HEADERS | END_STREAM, 1, &head);
        stream.write_all(&[opened, call].concat()).unwrap();
        is_closed(&mut stream)
    });
    assert!(closed.await.unwrap());
    checkpoint(&mut verified).await.unwrap();
    // After a minute the count starts again.
    clock.0.store(61_000, Ordering::SeqCst);
    checkpoint(&mut with(&valid("new"))).await.unwrap();
    assert_eq!(checkpoint(&mut with(&forged(7))).await.unwrap_err().code(), Code::Unauthenticated);
    daemon.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_its_response_is_disconnected() {
    let (_dir, daemon) = start(|config| config.client_limits.stall_s_max = 1).await;
    let (at, token) = (daemon.grpc, token(&daemon, "dev", Role::Steward, "mina"));
    let closed = tokio::task::spawn_blocking(move || {
        let mut stream = connect(at);
        stream.write_all(PREFACE).unwrap();
        // A window of zero: the daemon may send no byte of any response.
        stream.write_all(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])).unwrap();
        let head = headers_of("/sayso.v1.BoundsService/ListVocabulary", &token);
        stream.write_all(&frame(HEADERS, END_HEADERS, 1, &head)).unwrap();
        stream.write_all(&frame(DATA, END_STREAM, 1, &[0; 5])).unwrap();
        // Pings show that the client is alive.
        let mut writer = stream.try_clone().unwrap();
        let pinging = std::thread::spawn(move || {
            while writer.write_all(&frame(PING, 0, 0, &[7; 8])).is_ok() {
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        let closed = is_closed(&mut stream);
        drop(stream);
        pinging.join().unwrap();
        closed
    });
    assert!(closed.await.unwrap());
    daemon.stop().await.unwrap();
}

/// The real binary in a process of its own, whose memory can be measured.
pub struct Served {
    child: Child,
    pub grpc: SocketAddr,
    data: tempfile::TempDir,
}

impl Served {
    pub fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let arguments = ["serve", "--dev", "--json", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"];
        let mut command = sayso(&arguments);
        let command = command.env("SAYSO_DATA", data.path()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
        Self { child, grpc: ready["grpc"].as_str().unwrap().parse().unwrap(), data }
    }

    pub fn token(&self, role: &str) -> String {
        let path = self.data.path().join("dev").join(format!("{role}.token"));
        std::fs::read_to_string(path).unwrap().trim().to_owned()
    }

    /// Resident memory, MiB.
    pub fn memory_mib(&self) -> u64 {
        self.mib("VmRSS:")
    }

    /// Peak resident memory since [`Served::reset_peak`], MiB.
    pub fn peak_mib(&self) -> u64 {
        self.mib("VmHWM:")
    }

    pub fn reset_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").unwrap();
    }

    fn mib(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    }

    /// Whether another client is answered.
    pub fn answers(&self) -> bool {
        let mut command = sayso(&["checkpoint"]);
        let command =
            command.env("SAYSO_DATA", self.data.path()).env("SAYSO_ADDR", format!("http://{}", self.grpc));
        command.output().unwrap().status.success()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // An error means that the process has already exited.
        let _exited = self.child.kill();
        let _status = self.child.wait();
    }
}

/// Sends a flood in this many pieces without reading a response. Returns whether the daemon closed the
/// connection. Stops when a write takes more than two seconds.
fn flood(at: SocketAddr, mut piece: impl FnMut(u32) -> Vec<u8>, pieces: u32) -> bool {
    let mut stream = connect(at);
    stream.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
    let opened = [PREFACE.to_vec(), frame(SETTINGS, 0, 0, &[])].concat();
    stream.write_all(&opened).unwrap();
    for number in 0..pieces {
        if let Err(error) = stream.write_all(&piece(number)) {
            // A timeout means that the daemon reads no more: it waits for its own responses to be read.
            return !matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut);
        }
    }
    stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    is_closed(&mut stream)
}

#[test]
fn http2_floods_cost_one_connection_and_little_memory() {
    let served = Served::start();
    let token = served.token("auditor");
    assert!(served.answers());
    let before = served.memory_mib();
    let head = headers_of("/sayso.v1.AuditService/GetCheckpoint", &token);
    let many = |bytes: Vec<u8>, times: usize| bytes.repeat(times);
    let mut results = Vec::new();
    let mut check = |what: &str, closed: bool| {
        assert!(served.answers(), "{what}");
        results.push(format!("{what}: closed {closed}, {} MiB", served.memory_mib()));
    };
    let ping = many(frame(PING, 0, 0, &[1; 8]), 1_000);
    check("PING", flood(served.grpc, |_| ping.clone(), 1_000));
    let settings = many(frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 255, 255]), 1_000);
    check("SETTINGS", flood(served.grpc, |_| settings.clone(), 1_000));
    // A header block that never ends.
    let endless = |number: u32| match number {
        0 => frame(HEADERS, 0, 1, &head),
        _ => frame(CONTINUATION, 0, 1, &header("x", &"y".repeat(8_000))),
    };
    let closed = flood(served.grpc, endless, 20_000);
    assert!(closed, "an endless header block must close the connection");
    check("CONTINUATION", closed);
    // An endless header block of empty frames.
    let empty = |number: u32| match number {
        0 => frame(HEADERS, 0, 1, &head),
        _ => many(frame(CONTINUATION, 0, 1, &[]), 1_000),
    };
    check("empty CONTINUATION", flood(served.grpc, empty, 1_000));
    // Streams that the client opens and resets (CVE-2023-44487).
    let reset = |number: u32| {
        let streams = (0..100).map(|each| (number * 100 + each) * 2 + 1);
        let both =
            |id| [frame(HEADERS, END_HEADERS, id, &head), frame(RST_STREAM, 0, id, &[0, 0, 0, 8])].concat();
        streams.flat_map(both).collect()
    };
    check("rapid reset", flood(served.grpc, reset, 1_000));
    // Streams that the client makes the daemon reset (CVE-2025-8671): a window update of zero is a stream
    // error.
    let provoked = |number: u32| {
        let streams = (0..100).map(|each| (number * 100 + each) * 2 + 1);
        let both =
            |id| [frame(HEADERS, END_HEADERS, id, &head), frame(WINDOW_UPDATE, 0, id, &[0; 4])].concat();
        streams.flat_map(both).collect()
    };
    check("provoked resets", flood(served.grpc, provoked, 1_000));
    // DATA frames without data.
    let nothing = |number: u32| match number {
        0 => frame(HEADERS, END_HEADERS, 1, &head),
        _ => many(frame(DATA, 0, 1, &[]), 1_000),
    };
    check("empty DATA", flood(served.grpc, nothing, 1_000));
    println!("before: {before} MiB\n{}", results.join("\n"));
    assert!(served.memory_mib() < before + 256, "{before} MiB became {}", results.join("\n"));
}

#[test]
fn the_process_dumps_no_core_and_locks_memory_as_configured() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("sayso.toml");
    let start = |lock: &str| {
        let data = dir.path().join("data");
        std::fs::write(&file, format!("data = {data:?}\nlock_memory = '{lock}'\n")).unwrap();
        let arguments = ["serve", "--json", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--config"];
        let mut command = sayso(&arguments);
        let command = command.arg(&file).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let about = |name: &str| std::fs::read_to_string(format!("/proc/{}/{name}", child.id())).unwrap();
        let process = (!line.is_empty()).then(|| (about("limits"), about("status")));
        child.kill().unwrap();
        child.wait().unwrap();
        process
    };
    let words = |text: &str, line: &str| {
        let line = text.lines().find(|each| each.starts_with(line)).unwrap().to_owned();
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let (limits, status) = start("never").unwrap();
    assert_eq!(words(&limits, "Max core file size")[4..6], ["0", "0"]);
    assert_eq!(words(&status, "VmLck:")[1], "0");
    // If memory must be locked, the daemon either locks it or does not start.
    match start("always") {
        Some((_, status)) => assert_ne!(words(&status, "VmLck:")[1], "0"),
        None => println!("memory can't be locked here: this daemon did not start"),
    }
    // The daemon does not start on folders or keys that other users can enter, read or write.
    use std::os::unix::fs::PermissionsExt;
    let starts_with_mode = |path: &str, mode: u32| {
        let path = dir.path().join("data").join(path);
        let original = std::fs::metadata(&path).unwrap().permissions();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let started = start("never").is_some();
        std::fs::set_permissions(&path, original).unwrap();
        started
    };
    for (path, mode) in [
        ("secrets", 0o711),
        ("secrets/log.key", 0o640),
        ("secrets/root.key", 0o604),
        (".", 0o720),
        ("log", 0o770),
        ("keys", 0o702),
    ] {
        assert!(!starts_with_mode(path, mode), "{path}");
    }
    // The daemon does not start on files that another user owns either, because the owner can change the mode
    // at any time. Only root can change the owner of a file, so this part is skipped for other users.
    let starts_with_other_owner = |path: &str| {
        let path = dir.path().join("data").join(path);
        std::os::unix::fs::chown(&path, Some(NOBODY), None).ok()?;
        let started = start("never").is_some();
        std::os::unix::fs::chown(&path, Some(0), None).unwrap();
        Some(started)
    };
    for path in ["secrets", "secrets/log.key", "secrets/root.key", "secrets/issuer.key", ".", "log", "keys"] {
        match starts_with_other_owner(path) {
            Some(started) => assert!(!started, "{path}"),
            None => println!("{path} can't be given to another user here"),
        }
    }
    assert!(start("never").is_some());
}
