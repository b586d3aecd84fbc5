//! Credentials that expire or are revoked while in use: their streams and connections end with them.

use crate::credentials::{Authority, checkpoint, connect, keys, plain, tls, token, trusting, with_tokens};
use crate::harness::{Clients, config, fact};
use crate::rights::AdvancedClock;
use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber, date_time_ymd};
use sayso::api::Claim;
use sayso::config::Config;
use sayso::daemon::Daemon;
use sayso::proto::grant_service_client::GrantServiceClient;
use sayso::proto::record_stream_response::Outcome;
use sayso::proto::{self, Role};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tonic::transport::{Channel, Identity};
use tonic::{Code, Request, Status, Streaming};

/// A limit for each wait, longer than any of them takes on a slow machine.
const TIMEOUT: Duration = Duration::from_secs(60);
const HOUR_MS: u64 = 3_600_000;

/// Opens a watch of revocations and reads its first message.
async fn watch(channel: &Channel, token: Option<&str>) -> Streaming<proto::WatchRevocationsResponse> {
    let mut request = Request::new(proto::WatchRevocationsRequest::default());
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    let stream = GrantServiceClient::new(channel.clone()).watch_revocations(request).await;
    let mut stream = stream.unwrap().into_inner();
    stream.message().await.unwrap().expect("the first message of a watch is its cursor");
    stream
}

/// Reads a stream until it fails, and returns the error.
async fn end_of<T>(mut stream: Streaming<T>) -> Status {
    let ended = async {
        loop {
            match stream.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the stream ended without an error"),
                Err(status) => return status,
            }
        }
    };
    tokio::time::timeout(TIMEOUT, ended).await.expect("the stream did not end")
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_end_when_their_token_expires_and_accepted_records_are_answered() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(AdvancedClock::default()));
    let daemon = Daemon::start_with(&config(dir.path()), clock.clone()).await.unwrap();
    let short = daemon.issuer.mint(Claim::SERVICE_CHANNEL, "tutor", 1_800).unwrap();
    let long = daemon.issuer.mint(Role::Service, "other", 7_200).unwrap();
    let channel = plain(&daemon).await;
    let (first, second) = (watch(&channel, Some(&short)).await, watch(&channel, Some(&long)).await);
    // A stream of records.
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    let record = |sequence, subject: &str| {
        let record = Some(fact(subject, "tone", "work", "brief"));
        proto::RecordStreamRequest { sequence, record }
    };
    sender.send(record(1, "ada")).await.unwrap();
    let mut clients = Clients::over(&channel, Some(&short));
    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let mut answers = clients.profile.record_stream(stream).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap();
    assert!(matches!(answer.outcome, Some(Outcome::Receipt(_))), "{answer:?}");
    clock.0.store(HOUR_MS, Ordering::SeqCst);
    // The expiry is also noticed when a message arrives. This record is not accepted.
    sender.send(record(2, "late")).await.unwrap();
    for ended in [end_of(first).await, end_of(answers).await] {
        assert_eq!(ended.code(), Code::Unauthenticated, "{ended:?}");
        assert!(ended.message().contains("get a new one"), "{ended:?}");
    }
    let mut operator = Clients::over(&channel, Some(&daemon.issuer.mint(Role::Operator, "ops", 60).unwrap()));
    let stats = operator.operator.get_stats(proto::GetStatsRequest {}).await.unwrap().into_inner();
    assert_eq!(stats.subjects, 1, "the late record was not accepted");
    // The stream of the token that lasts longer continues until that token expires.
    let mut second = second;
    let silence = tokio::time::timeout(Duration::from_millis(1_500), second.message()).await;
    assert!(silence.is_err(), "{silence:?}");
    clock.0.store(3 * HOUR_MS, Ordering::SeqCst);
    assert_eq!(end_of(second).await.code(), Code::Unauthenticated);
    daemon.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_end_when_the_issuer_withdraws_the_signing_key() {
    let dir = tempfile::tempdir().unwrap();
    let (keys, file) = (keys(), dir.path().join("jwks.json"));
    let publish = |keys: &[&Value]| std::fs::write(&file, json!({ "keys": keys }).to_string()).unwrap();
    publish(&[&keys[0].public, &keys[1].public]);
    let config = with_tokens(&dir.path().join("data"), Some(file.clone()), None);
    let daemon = Daemon::start(&config).await.unwrap();
    let service = |which: usize, kid: &str| {
        let (key, role) = (&keys[which], json!({"role": "service"}));
        token(&key.private, key.algorithm, kid, role)
    };
    let channel = plain(&daemon).await;
    let withdrawn = watch(&channel, Some(&service(0, "ed"))).await;
    let mut continuing = watch(&channel, Some(&service(1, "ec"))).await;
    publish(&[&keys[1].public]);
    let ended = end_of(withdrawn).await;
    assert_eq!(ended.code(), Code::Unauthenticated);
    assert!(ended.message().contains("get a new token"), "{ended:?}");
    // A different key under the same key id does not keep a stream open.
    let mut renamed = crate::credentials::keys()[1].public.clone();
    renamed["kid"] = "ec".into();
    assert!(tokio::time::timeout(Duration::from_millis(1_500), continuing.message()).await.is_err());
    publish(&[&renamed]);
    assert_eq!(end_of(continuing).await.code(), Code::Unauthenticated);
    daemon.stop().await.unwrap();
}

/// Starts a daemon with mutual TLS that rereads the revocation list every second. Returns it and its origin.
async fn start_with_mutual_tls(
    dir: &Path,
    authority: &Authority,
    clock: Arc<AdvancedClock>,
    crl: Option<&Path>,
) -> (Daemon, String) {
    let mut tls = tls(dir, authority, authority);
    tls.client_crls = crl.iter().map(|path| path.to_path_buf()).collect();
    let config = Config { tls: Some(tls), ..config(&dir.join("data")) };
    let origin = config.origin();
    (Daemon::start_with(&config, clock).await.unwrap(), origin)
}

/// The time this many seconds from now, since the Unix epoch.
fn in_seconds(seconds: u64) -> Duration {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    now + Duration::from_secs(seconds)
}

/// Calls over the connection until a call is refused, and returns the error.
async fn wait_until_refused(channel: &Channel) -> Status {
    let refused = async {
        loop {
            if let Err(status) = checkpoint(channel.clone(), None).await {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(TIMEOUT, refused).await.expect("calls are still accepted")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_refused_once_its_certificate_expires() {
    let (dir, clock, authority) =
        (tempfile::tempdir().unwrap(), Arc::new(AdvancedClock::default()), Authority::new());
    let (daemon, origin) = start_with_mutual_tls(dir.path(), &authority, clock.clone(), None).await;
    let with = |hours: u64| {
        let name = format!("spiffe://{origin}/service/tutor");
        let (certificate, key) = authority.sign_with(&[&name], |params| {
            params.not_after = date_time_ymd(1970, 1, 1) + in_seconds(hours * 3_600);
        });
        trusting(&authority).identity(Identity::from_pem(certificate, key))
    };
    let (short, long) = (connect(&daemon, with(1)).await.unwrap(), connect(&daemon, with(4)).await.unwrap());
    checkpoint(short.clone(), None).await.unwrap();
    let stream = watch(&short, None).await;
    clock.0.store(2 * HOUR_MS, Ordering::SeqCst);
    // The very next call is refused.
    let ended = checkpoint(short, None).await.unwrap_err();
    assert_eq!(ended.code(), Code::Unauthenticated);
    assert!(ended.message().contains("get a new one, connect"), "{ended:?}");
    assert_eq!(end_of(stream).await.code(), Code::Unauthenticated);
    checkpoint(long, None).await.unwrap();
    daemon.stop().await.unwrap();
}

/// Only the ledger's clock decides whether a certificate is valid. If the clock of the machine is wrong, a
/// withdrawal that is sent with a valid certificate must not fail.
#[tokio::test(flavor = "multi_thread")]
async fn certificate_validity_follows_the_ledger_clock_and_not_the_handshake() {
    let (dir, clock, authority) =
        (tempfile::tempdir().unwrap(), Arc::new(AdvancedClock::default()), Authority::new());
    clock.0.store(2 * HOUR_MS, Ordering::SeqCst);
    let (daemon, origin) = start_with_mutual_tls(dir.path(), &authority, clock.clone(), None).await;
    let name = format!("spiffe://{origin}/service/tutor");
    // The validity period, in hours after a beginning that is one hour ago. The ledger's clock is two hours
    // ahead, so it is at hour 3.
    for (from, until, is_valid) in [(2, 4, true), (0, 2, false), (4, 5, false)] {
        let (certificate, key) = authority.sign_with(&[&name], |params| {
            let beginning = date_time_ymd(1970, 1, 1) - Duration::from_secs(3_600);
            let at = |hours: u64| beginning + in_seconds(hours * 3_600);
            (params.not_before, params.not_after) = (at(from), at(until));
        });
        let with = trusting(&authority).identity(Identity::from_pem(certificate, key));
        let channel = connect(&daemon, with).await.expect("the handshake accepts it");
        assert_eq!(checkpoint(channel, None).await.is_ok(), is_valid, "{from} to {until}");
    }
    // A certificate of an unknown authority is still refused.
    let (certificate, key) = Authority::new().sign_with(&[&name], |_| {});
    let with = trusting(&authority).identity(Identity::from_pem(certificate, key));
    assert!(match connect(&daemon, with).await {
        Ok(channel) => checkpoint(channel, None).await.is_err(),
        Err(_) => true,
    });
    daemon.stop().await.unwrap();
}

/// A revocation list of `authority` with these serial numbers; its next update is `until` seconds from now.
fn revocation_list(authority: &Authority, serials: &[u64], until: u64) -> String {
    let epoch = date_time_ymd(1970, 1, 1);
    let revoked = serials.iter().map(|serial| RevokedCertParams {
        serial_number: SerialNumber::from(*serial),
        revocation_time: epoch + in_seconds(0),
        reason_code: None,
        invalidity_date: None,
    });
    let params = CertificateRevocationListParams {
        this_update: epoch,
        next_update: epoch + in_seconds(until),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: revoked.collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(&authority.issuer).unwrap().pem().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_certificate_is_refused_and_its_open_connections_end() {
    let (dir, authority, other_authority) =
        (tempfile::tempdir().unwrap(), Authority::new(), Authority::new());
    let (clock, file) = (Arc::new(AdvancedClock::default()), dir.path().join("revoked.pem"));
    std::fs::write(&file, revocation_list(&authority, &[7], 3_600)).unwrap();
    let (daemon, origin) = start_with_mutual_tls(dir.path(), &authority, clock.clone(), Some(&file)).await;
    let with = |serial: u64| {
        let name = format!("spiffe://{origin}/service/tutor");
        let (certificate, key) =
            authority.sign_with(&[&name], |params| params.serial_number = Some(SerialNumber::from(serial)));
        trusting(&authority).identity(Identity::from_pem(certificate, key))
    };
    let is_refused = async |serial: u64| match connect(&daemon, with(serial)).await {
        Ok(channel) => checkpoint(channel, None).await.is_err(),
        Err(_) => true,
    };
    assert!(is_refused(7).await);
    let open = connect(&daemon, with(8)).await.unwrap();
    checkpoint(open.clone(), None).await.unwrap();
    let stream = watch(&open, None).await;
    // An unreadable file changes nothing: the previous list stays in effect, and the revoked certificate is
    // still refused.
    std::fs::write(&file, "nothing").unwrap();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    checkpoint(open.clone(), None).await.unwrap();
    assert!(is_refused(7).await);
    // A certificate is revoked while its connection is open.
    std::fs::write(&file, revocation_list(&authority, &[7, 8], 3_600)).unwrap();
    assert_eq!(wait_until_refused(&open).await.code(), Code::Unauthenticated);
    assert_eq!(end_of(stream).await.code(), Code::Unauthenticated);
    assert!(is_refused(8).await);
    let other = connect(&daemon, with(9)).await.unwrap();
    checkpoint(other.clone(), None).await.unwrap();
    // A bearer token over the same connection is still accepted.
    let bearer = daemon.issuer.mint(Role::Auditor, "a", 7_200).unwrap();
    checkpoint(open, Some(&bearer)).await.unwrap();
    // With only a list of another authority, or a list past its next update, no certificate of this authority
    // is accepted.
    std::fs::write(&file, revocation_list(&other_authority, &[], 3_600)).unwrap();
    assert_eq!(wait_until_refused(&other).await.code(), Code::Unauthenticated);
    std::fs::write(&file, revocation_list(&authority, &[7, 8], 3_600)).unwrap();
    let accepted = async {
        while checkpoint(other.clone(), None).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(TIMEOUT, accepted).await.expect("a valid list makes the certificate accepted again");
    clock.0.store(2 * HOUR_MS, Ordering::SeqCst);
    assert_eq!(wait_until_refused(&other).await.code(), Code::Unauthenticated);
    daemon.stop().await.unwrap();
}
