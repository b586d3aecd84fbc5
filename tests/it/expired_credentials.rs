//! Credentials that end, or are taken back, while they are used: what they let in ends with them.

use crate::credentials::{Authority, checkpoint, connect, keys, plain, tls, token, trusting, with_tokens};
use crate::harness::{Clients, config, fact};
use crate::rights::Ahead;
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

/// Longer than anything here should take, on any machine.
const PATIENCE: Duration = Duration::from_secs(60);
const HOUR_MS: u64 = 3_600_000;

async fn watch(channel: &Channel, token: Option<&str>) -> Streaming<proto::WatchRevocationsResponse> {
    let mut request = Request::new(proto::WatchRevocationsRequest::default());
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    let stream = GrantServiceClient::new(channel.clone()).watch_revocations(request).await;
    let mut stream = stream.unwrap().into_inner();
    stream.message().await.unwrap().expect("a watch begins with where it stands");
    stream
}

async fn end_of<T>(mut stream: Streaming<T>) -> Status {
    let ended = async {
        loop {
            match stream.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("it ended as if nothing were wrong"),
                Err(status) => return status,
            }
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.expect("the stream goes on")
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_end_when_their_token_expires_and_accepted_records_are_answered() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(Ahead::default()));
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
    // Also where the end is noticed by what arrives, and not by the clock: nobody of this name is recorded.
    sender.send(record(2, "late")).await.unwrap();
    for ended in [end_of(first).await, end_of(answers).await] {
        assert_eq!(ended.code(), Code::Unauthenticated, "{ended:?}");
        assert!(ended.message().contains("get a new one"), "{ended:?}");
    }
    let mut operator = Clients::over(&channel, Some(&daemon.issuer.mint(Role::Operator, "ops", 60).unwrap()));
    let stats = operator.operator.get_stats(proto::GetStatsRequest {}).await.unwrap().into_inner();
    assert_eq!(stats.subjects, 1, "what came too late was not taken");
    // A longer one goes on, until its own end.
    let mut second = second;
    let quiet = tokio::time::timeout(Duration::from_millis(1_500), second.message()).await;
    assert!(quiet.is_err(), "{quiet:?}");
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
    let fallen = watch(&channel, Some(&service(0, "ed"))).await;
    let mut stays = watch(&channel, Some(&service(1, "ec"))).await;
    publish(&[&keys[1].public]);
    let ended = end_of(fallen).await;
    assert_eq!(ended.code(), Code::Unauthenticated);
    assert!(ended.message().contains("get a new token"), "{ended:?}");
    // Another key under the old name is another key.
    let mut renamed = crate::credentials::keys()[1].public.clone();
    renamed["kid"] = "ec".into();
    assert!(tokio::time::timeout(Duration::from_millis(1_500), stays.message()).await.is_err());
    publish(&[&renamed]);
    assert_eq!(end_of(stays).await.code(), Code::Unauthenticated);
    daemon.stop().await.unwrap();
}

/// A daemon with mutual TLS, and the files that it reads again every second.
async fn mutual(
    dir: &Path,
    authority: &Authority,
    clock: Arc<Ahead>,
    crl: Option<&Path>,
) -> (Daemon, String) {
    let mut tls = tls(dir, authority, authority);
    tls.client_crls = crl.iter().map(|path| path.to_path_buf()).collect();
    let config = Config { tls: Some(tls), ..config(&dir.join("data")) };
    let origin = config.origin();
    (Daemon::start_with(&config, clock).await.unwrap(), origin)
}

fn in_seconds(seconds: u64) -> Duration {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    now + Duration::from_secs(seconds)
}

async fn refused(channel: &Channel) -> Status {
    let refused = async {
        loop {
            if let Err(status) = checkpoint(channel.clone(), None).await {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.expect("still let in")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_refused_once_its_certificate_expires() {
    let (dir, clock, authority) =
        (tempfile::tempdir().unwrap(), Arc::new(Ahead::default()), Authority::new());
    let (daemon, origin) = mutual(dir.path(), &authority, clock.clone(), None).await;
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
    // The next call, and not one later.
    let ended = checkpoint(short, None).await.unwrap_err();
    assert_eq!(ended.code(), Code::Unauthenticated);
    assert!(ended.message().contains("get a new one, connect"), "{ended:?}");
    assert_eq!(end_of(stream).await.code(), Code::Unauthenticated);
    checkpoint(long, None).await.unwrap();
    daemon.stop().await.unwrap();
}

/// Certificates are judged by the ledger's time alone: where the machine's clock is wrong, a no that comes
/// with one must not fail.
#[tokio::test(flavor = "multi_thread")]
async fn certificate_validity_follows_the_ledger_clock_and_not_the_handshake() {
    let (dir, clock, authority) =
        (tempfile::tempdir().unwrap(), Arc::new(Ahead::default()), Authority::new());
    clock.0.store(2 * HOUR_MS, Ordering::SeqCst);
    let (daemon, origin) = mutual(dir.path(), &authority, clock.clone(), None).await;
    let name = format!("spiffe://{origin}/service/tutor");
    // From and until, hours since an hour ago; by the ledger's time it is three.
    for (from, until, is_good) in [(2, 4, true), (0, 2, false), (4, 5, false)] {
        let (certificate, key) = authority.sign_with(&[&name], |params| {
            let beginning = date_time_ymd(1970, 1, 1) - Duration::from_secs(3_600);
            let at = |hours: u64| beginning + in_seconds(hours * 3_600);
            (params.not_before, params.not_after) = (at(from), at(until));
        });
        let with = trusting(&authority).identity(Identity::from_pem(certificate, key));
        let channel = connect(&daemon, with).await.expect("the handshake accepts it");
        assert_eq!(checkpoint(channel, None).await.is_ok(), is_good, "{from} to {until}");
    }
    // A stranger's is no better for it.
    let (certificate, key) = Authority::new().sign_with(&[&name], |_| {});
    let with = trusting(&authority).identity(Identity::from_pem(certificate, key));
    assert!(match connect(&daemon, with).await {
        Ok(channel) => checkpoint(channel, None).await.is_err(),
        Err(_) => true,
    });
    daemon.stop().await.unwrap();
}

/// A list of what `authority` takes back, good until `until` seconds from now.
fn list(authority: &Authority, serials: &[u64], until: u64) -> String {
    let epoch = date_time_ymd(1970, 1, 1);
    let revoked = serials.iter().map(|serial| RevokedCertParams {
        serial_number: SerialNumber::from(*serial),
        revocation_time: epoch + in_seconds(0),
        reason_code: None,
        invalidity_date: None,
    });
    let list = CertificateRevocationListParams {
        this_update: epoch,
        next_update: epoch + in_seconds(until),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: revoked.collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    list.signed_by(&authority.issuer).unwrap().pem().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_certificate_is_refused_and_its_open_connections_end() {
    let (dir, authority, strangers) = (tempfile::tempdir().unwrap(), Authority::new(), Authority::new());
    let (clock, file) = (Arc::new(Ahead::default()), dir.path().join("revoked.pem"));
    std::fs::write(&file, list(&authority, &[7], 3_600)).unwrap();
    let (daemon, origin) = mutual(dir.path(), &authority, clock.clone(), Some(&file)).await;
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
    // What can't be used, or is another's, changes nothing or is no list of this authority's: nobody is let
    // in on doubt.
    std::fs::write(&file, "nothing").unwrap();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    checkpoint(open.clone(), None).await.unwrap();
    assert!(is_refused(7).await);
    // Taken back while it is connected.
    std::fs::write(&file, list(&authority, &[7, 8], 3_600)).unwrap();
    assert_eq!(refused(&open).await.code(), Code::Unauthenticated);
    assert_eq!(end_of(stream).await.code(), Code::Unauthenticated);
    assert!(is_refused(8).await);
    let other = connect(&daemon, with(9)).await.unwrap();
    checkpoint(other.clone(), None).await.unwrap();
    // A token over the same connection counts for itself.
    let bearer = daemon.issuer.mint(Role::Auditor, "a", 7_200).unwrap();
    checkpoint(open, Some(&bearer)).await.unwrap();
    // Another authority's list says nothing about these, and one that is past its next update says nothing
    // any more.
    std::fs::write(&file, list(&strangers, &[], 3_600)).unwrap();
    assert_eq!(refused(&other).await.code(), Code::Unauthenticated);
    std::fs::write(&file, list(&authority, &[7, 8], 3_600)).unwrap();
    let taken = async {
        while checkpoint(other.clone(), None).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, taken).await.expect("a list that is good again lets them in");
    clock.0.store(2 * HOUR_MS, Ordering::SeqCst);
    assert_eq!(refused(&other).await.code(), Code::Unauthenticated);
    daemon.stop().await.unwrap();
}
