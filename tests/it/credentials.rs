//! Tests TLS, client certificates as credentials, and tokens of external issuers.

use crate::harness::{config, fact, sayso};
use crate::rights::AdvancedClock;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use sayso::config::{Config, Tls, Tokens};
use sayso::daemon::Daemon;
use sayso::proto::audit_service_client::AuditServiceClient;
use sayso::proto::profile_service_client::ProfileServiceClient;
use sayso::proto::{
    ContestAttributeRequest, GetCheckpointRequest, GetStatsRequest,
    operator_service_client::OperatorServiceClient,
};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request};

pub struct Authority {
    pub pem: String,
    pub issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// Returns a certificate with these URI names and its key, both in PEM.
    pub fn sign(&self, names: &[&str]) -> (String, String) {
        self.sign_with(names, |_| ())
    }

    /// Signs a certificate as [`Authority::sign`] does, after `change` has changed the certificate's
    /// parameters.
    pub fn sign_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        for name in names {
            params.subject_alt_names.push(SanType::URI((*name).try_into().unwrap()));
        }
        change(&mut params);
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

pub fn private(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// Writes the daemon's certificate and key to `dir`, signed by `authority`. `clients` is the authority for
/// client certificates.
pub fn tls(dir: &Path, authority: &Authority, clients: &Authority) -> Tls {
    let (certificate, key) = authority.sign(&[]);
    std::fs::write(dir.join("server.pem"), certificate).unwrap();
    private(&dir.join("server.key"), &key);
    std::fs::write(dir.join("clients.pem"), &clients.pem).unwrap();
    Tls {
        certificate: dir.join("server.pem"),
        key: dir.join("server.key"),
        client_ca: Some(dir.join("clients.pem")),
        client_crls: Vec::new(),
        reload_s: 1,
    }
}

pub fn trusting(authority: &Authority) -> ClientTlsConfig {
    ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&authority.pem)).domain_name("localhost")
}

pub async fn connect(daemon: &Daemon, tls: ClientTlsConfig) -> Result<Channel, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(format!("https://{}", daemon.grpc)).unwrap();
    endpoint.tls_config(tls).unwrap().connect().await
}

pub async fn checkpoint(channel: Channel, token: Option<&str>) -> Result<u64, tonic::Status> {
    let mut request = Request::new(GetCheckpointRequest {});
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    Ok(AuditServiceClient::new(channel).get_checkpoint(request).await?.into_inner().tree_size)
}

fn contest() -> ContestAttributeRequest {
    ContestAttributeRequest { subject: "ada".into(), key: "tone".into(), ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_valid_only_for_its_ledger_controller_and_role() {
    let dir = tempfile::tempdir().unwrap();
    let (servers, clients, strangers) = (Authority::new(), Authority::new(), Authority::new());
    let config =
        Config { tls: Some(tls(dir.path(), &servers, &clients)), ..config(&dir.path().join("data")) };
    let origin = config.origin();
    let daemon = Daemon::start(&config).await.unwrap();
    let with = |authority: &Authority, names: &[String]| {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let (certificate, key) = authority.sign(&names);
        trusting(&servers).identity(Identity::from_pem(certificate, key))
    };
    let operator =
        connect(&daemon, with(&clients, &[format!("spiffe://{origin}/operator/ops")])).await.unwrap();
    assert!(checkpoint(operator.clone(), None).await.unwrap() > 0);
    OperatorServiceClient::new(operator).get_stats(GetStatsRequest {}).await.unwrap();
    let service =
        connect(&daemon, with(&clients, &[format!("spiffe://{origin}/service/tutor")])).await.unwrap();
    let denied = OperatorServiceClient::new(service).get_stats(GetStatsRequest {}).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    // An application that is a service and a channel has the rights of both roles and no others.
    let names = [format!("spiffe://{origin}/service-channel/tutor")];
    let both = connect(&daemon, with(&clients, &names)).await.unwrap();
    let mut profile = ProfileServiceClient::new(both.clone());
    profile.record_attributes(fact("ada", "tone", "work", "dry")).await.unwrap();
    profile.contest_attribute(contest()).await.unwrap();
    let denied = OperatorServiceClient::new(both).get_stats(GetStatsRequest {}).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    let names = [format!("spiffe://{origin}/service/tutor")];
    let mut profile = ProfileServiceClient::new(connect(&daemon, with(&clients, &names)).await.unwrap());
    for denied in [
        profile.record_attributes(fact("ada", "tone", "work", "dry")).await.unwrap_err(),
        profile.contest_attribute(contest()).await.unwrap_err(),
    ] {
        assert_eq!(denied.code(), Code::PermissionDenied);
    }
    for names in [
        vec![],
        vec!["spiffe://sayso.other/dev/operator/ops".to_owned()],
        vec![format!("spiffe://{origin}/root/ops")],
        vec![format!("spiffe://{origin}/operator/")],
        vec![format!("spiffe://{origin}/operator/a/b")],
        vec![format!("https://{origin}/operator/ops")],
        vec![format!("spiffe://{origin}/operator/a"), format!("spiffe://{origin}/steward/b")],
        // A certificate with two URI names is rejected, no matter what the second name is.
        vec![format!("spiffe://{origin}/operator/a"), format!("spiffe://{origin}/operator/a")],
        vec![format!("spiffe://{origin}/operator/a"), "spiffe://sayso.other/dev/steward/b".to_owned()],
        vec![format!("spiffe://{origin}/operator/a"), format!("https://{origin}/operator/b")],
        vec![format!("SPIFFE://{origin}/steward/b"), format!("spiffe://{origin}/operator/a")],
    ] {
        let channel = connect(&daemon, with(&clients, &names)).await.unwrap();
        assert_eq!(checkpoint(channel, None).await.unwrap_err().code(), Code::Unauthenticated, "{names:?}");
    }
    // This certificate is valid, but for a controller that this daemon does not serve. The daemon reports
    // permission denied.
    let elsewhere = with(&clients, &["spiffe://sayso.localhost/other/operator/ops".to_owned()]);
    let elsewhere = connect(&daemon, elsewhere).await.unwrap();
    assert_eq!(checkpoint(elsewhere, None).await.unwrap_err().code(), Code::PermissionDenied);
    // This certificate is signed by another authority. Either the connection or the call fails.
    let stranger = connect(&daemon, with(&strangers, &[format!("spiffe://{origin}/operator/ops")])).await;
    if let Ok(channel) = stranger {
        assert!(checkpoint(channel, None).await.is_err());
    }
    // A token works without a client certificate. Calls without TLS fail.
    let bare = connect(&daemon, trusting(&servers)).await.unwrap();
    let token = daemon.issuer.mint(sayso::proto::Role::Auditor, "a", 60).unwrap();
    checkpoint(bare.clone(), Some(&token)).await.unwrap();
    assert_eq!(checkpoint(bare, None).await.unwrap_err().code(), Code::Unauthenticated);
    let plain = Endpoint::from_shared(format!("http://{}", daemon.grpc)).unwrap().connect().await;
    if let Ok(channel) = plain {
        assert!(checkpoint(channel, Some(&token)).await.is_err());
    }
    // The command line can use a certificate.
    let (certificate, key) = clients.sign(&[&format!("spiffe://{origin}/operator/ops")]);
    std::fs::write(dir.path().join("ca.pem"), &servers.pem).unwrap();
    std::fs::write(dir.path().join("me.pem"), certificate).unwrap();
    private(&dir.path().join("me.key"), &key);
    let output = sayso(&["stats", "--json"])
        .env("SAYSO_ADDR", format!("https://localhost:{}", daemon.grpc.port()))
        .env("SAYSO_CA", dir.path().join("ca.pem"))
        .env("SAYSO_CERT", dir.path().join("me.pem"))
        .env("SAYSO_KEY", dir.path().join("me.key"))
        .output();
    let output = tokio::task::spawn_blocking(move || output).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    daemon.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_reloaded_without_a_restart_and_an_unreadable_one_is_ignored() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (Authority::new(), Authority::new());
    let config = Config { tls: Some(tls(dir.path(), &first, &first)), ..config(&dir.path().join("data")) };
    let daemon = Daemon::start(&config).await.unwrap();
    connect(&daemon, trusting(&first)).await.unwrap();
    assert!(connect(&daemon, trusting(&second)).await.is_err());
    std::fs::write(dir.path().join("server.pem"), "nonsense").unwrap();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    connect(&daemon, trusting(&first)).await.unwrap();
    tls(dir.path(), &second, &second);
    let changed = async {
        while connect(&daemon, trusting(&second)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), changed).await.unwrap();
    assert!(connect(&daemon, trusting(&first)).await.is_err());
    daemon.stop().await.unwrap();
    // The daemon does not start with a key file that others may read.
    std::fs::set_permissions(dir.path().join("server.key"), std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(Daemon::start(&config).await.is_err());
}

/// A key pair of an external issuer.
pub struct Key {
    pub algorithm: Algorithm,
    pub private: EncodingKey,
    pub public: Value,
}

pub fn keys() -> Vec<Key> {
    let text = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let ed = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let ec = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let rsa = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let (x, y) = ec.public_key_raw()[1..].split_at(32);
    // SEQUENCE { INTEGER n, INTEGER e = 65537 }
    let der = rsa.public_key_raw();
    let modulus = &der[der.len() - 5 - 256..der.len() - 5];
    vec![
        Key {
            algorithm: Algorithm::EdDSA,
            private: EncodingKey::from_ed_pem(ed.serialize_pem().as_bytes()).unwrap(),
            public: json!({"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": text(ed.public_key_raw())}),
        },
        Key {
            algorithm: Algorithm::ES256,
            private: EncodingKey::from_ec_pem(ec.serialize_pem().as_bytes()).unwrap(),
            public: json!({"kty": "EC", "crv": "P-256", "kid": "ec", "use": "sig", "x": text(x), "y": text(y)}),
        },
        Key {
            algorithm: Algorithm::RS256,
            private: EncodingKey::from_rsa_pem(rsa.serialize_pem().as_bytes()).unwrap(),
            public: json!({"kty": "RSA", "kid": "rsa", "n": text(modulus), "e": "AQAB"}),
        },
    ]
}

pub fn token(key: &EncodingKey, algorithm: Algorithm, kid: &str, change: Value) -> String {
    let soon = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 600;
    let mut claims = json!({"iss": "https://id.example", "aud": ["sayso", "other"], "controller": "dev",
        "role": "auditor", "sub": "mina", "exp": soon});
    for (name, value) in change.as_object().unwrap() {
        claims[name] = value.clone();
    }
    let header = Header { kid: Some(kid.to_owned()), ..Header::new(algorithm) };
    jsonwebtoken::encode(&header, &claims, key).unwrap()
}

pub fn with_tokens(data: &Path, file: Option<PathBuf>, url: Option<String>) -> Config {
    let tokens = Tokens {
        issuer: "https://id.example".into(),
        audience: "sayso".into(),
        jwks_file: file,
        jwks_url: url,
        jwks_ca: None,
        refresh_s: 1,
        stale_s_max: 3_600,
        built_in: false,
    };
    Config { tokens: Some(tokens), ..config(data) }
}

pub async fn plain(daemon: &Daemon) -> Channel {
    Endpoint::from_shared(format!("http://{}", daemon.grpc)).unwrap().connect().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_an_external_issuer_are_checked_against_its_current_keys() {
    let dir = tempfile::tempdir().unwrap();
    let (keys, file) = (keys(), dir.path().join("jwks.json"));
    let publish = |keys: &[&Key]| {
        let keys: Vec<&Value> = keys.iter().map(|key| &key.public).collect();
        std::fs::write(&file, json!({ "keys": keys }).to_string()).unwrap();
    };
    publish(&keys.iter().collect::<Vec<_>>());
    let config = with_tokens(&dir.path().join("data"), Some(file.clone()), None);
    let daemon = Daemon::start(&config).await.unwrap();
    let channel = plain(&daemon).await;
    let kid = |key: &Key| key.public["kid"].as_str().unwrap().to_owned();
    for key in &keys {
        let good = token(&key.private, key.algorithm, &kid(key), json!({}));
        checkpoint(channel.clone(), Some(&good)).await.unwrap();
        for change in [
            json!({"iss": "https://evil.example"}),
            json!({"aud": "other"}),
            json!({"role": "root"}),
            json!({"role": "ledger"}),
            json!({"sub": ""}),
            json!({"exp": 1}),
            json!({"nbf": 4_000_000_000_u64}),
        ] {
            let bad = token(&key.private, key.algorithm, &kid(key), change.clone());
            let refused = checkpoint(channel.clone(), Some(&bad)).await.unwrap_err();
            assert_eq!(refused.code(), Code::Unauthenticated, "{change}");
        }
    }
    // A valid token for a controller that this daemon does not serve gets the same error as a role without
    // the permission.
    for key in &keys {
        let elsewhere = token(&key.private, key.algorithm, &kid(key), json!({"controller": "other"}));
        let refused = checkpoint(channel.clone(), Some(&elsewhere)).await.unwrap_err();
        assert_eq!(
            (refused.code(), refused.message()),
            (Code::PermissionDenied, "this role may not call this method")
        );
    }
    // The daemon rejects a token with another key's id, an HMAC with the text of the public key as its
    // secret, a token without a signature, and a token of the built-in issuer.
    let mixed = token(&keys[0].private, Algorithm::EdDSA, "ec", json!({}));
    let public = EncodingKey::from_secret(keys[2].public["n"].as_str().unwrap().as_bytes());
    let confused = token(&public, Algorithm::HS256, "rsa", json!({}));
    let parts: Vec<&str> = mixed.split('.').collect();
    let none = format!("{}.{}.", BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"none","kid":"ed"}"#), parts[1]);
    let built_in = daemon.issuer.mint(sayso::proto::Role::Auditor, "a", 60).unwrap();
    for bad in [mixed, confused, none, built_in] {
        assert_eq!(checkpoint(channel.clone(), Some(&bad)).await.unwrap_err().code(), Code::Unauthenticated);
    }
    // When a key is removed from the set, its tokens are rejected, including those in the token cache.
    let old = token(&keys[0].private, keys[0].algorithm, "ed", json!({}));
    checkpoint(channel.clone(), Some(&old)).await.unwrap();
    publish(&[&keys[1]]);
    let rejected = async {
        while checkpoint(channel.clone(), Some(&old)).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), rejected).await.unwrap();
    // An invalid file leaves the keys unchanged: not a key set, nested too deeply, too many keys, or too
    // large.
    let new = token(&keys[1].private, keys[1].algorithm, "ec", json!({}));
    let deep = format!("{{\"keys\": [], \"x\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let many = json!({ "keys": vec![json!({}); 129] }).to_string();
    for unreadable in ["{}".to_owned(), deep, many, format!("{{\"keys\": []}}{}", " ".repeat(256 << 10))] {
        std::fs::write(&file, unreadable).unwrap();
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        checkpoint(channel.clone(), Some(&new)).await.unwrap();
    }
    daemon.stop().await.unwrap();
}

/// Waits until a token is accepted, or until it is rejected.
async fn wait_until_accepted(channel: &Channel, token: &str, is_accepted: bool) {
    let changed = async {
        while checkpoint(channel.clone(), Some(token)).await.is_ok() != is_accepted {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), changed).await.unwrap();
}

/// An expiry in three days, which is after every time that these tests set.
fn late_expiry() -> Value {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    json!({ "exp": now.as_secs() + 3 * 86_400 })
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_an_unreachable_issuer_expire_and_an_empty_key_set_rejects_all_tokens() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(AdvancedClock::default()));
    let (keys, file) = (keys(), dir.path().join("jwks.json"));
    let publish = |keys: &[&Value]| std::fs::write(&file, json!({ "keys": keys }).to_string()).unwrap();
    publish(&[&keys[0].public]);
    let config = with_tokens(&dir.path().join("data"), Some(file.clone()), None);
    let daemon = Daemon::start_with(&config, clock.clone()).await.unwrap();
    let channel = plain(&daemon).await;
    let known = token(&keys[0].private, keys[0].algorithm, "ed", late_expiry());
    checkpoint(channel.clone(), Some(&known)).await.unwrap();
    // If the issuer cannot be reached, its keys stay valid for at most the configured time.
    std::fs::remove_file(&file).unwrap();
    clock.0.store(3_000_000, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    checkpoint(channel.clone(), Some(&known)).await.unwrap();
    clock.0.store(3_700_000, Ordering::SeqCst);
    let new =
        token(&keys[0].private, keys[0].algorithm, "ed", json!({"sub": "new", "exp": late_expiry()["exp"]}));
    for token in [&known, &new] {
        let refused = checkpoint(channel.clone(), Some(token)).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated);
        assert!(refused.message().contains("too old"), "{refused:?}");
    }
    // An unreadable key set does not refresh the keys.
    std::fs::write(&file, "{}").unwrap();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(checkpoint(channel.clone(), Some(&known)).await.is_err());
    publish(&[&keys[0].public]);
    wait_until_accepted(&channel, &known, true).await;
    // An empty key set, and one without a usable key, reject all tokens.
    for unusable in [vec![], vec![json!({"kty": "unheard-of"})]] {
        publish(&unusable.iter().collect::<Vec<_>>());
        wait_until_accepted(&channel, &known, false).await;
        publish(&[&keys[0].public]);
        wait_until_accepted(&channel, &known, true).await;
    }
    daemon.stop().await.unwrap();
}

/// Runs an issuer's server that answers every request with the same body.
async fn serve_keys(at: &str, body: String) -> (std::net::SocketAddr, tokio::task::JoinHandle<()>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind(at).await.unwrap();
    let at = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let count = stream.read(&mut request).await.unwrap();
            assert!(String::from_utf8_lossy(&request[..count]).starts_with("GET /keys?v=1 HTTP/1.1"));
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            // The client may have closed the connection.
            let _sent = stream.write_all(answer.as_bytes()).await;
        }
    });
    (at, serving)
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_can_be_fetched_from_a_url() {
    let dir = tempfile::tempdir().unwrap();
    let keys = keys();
    let (at, serving) = serve_keys("127.0.0.1:0", json!({ "keys": [keys[1].public] }).to_string()).await;
    let url = format!("http://{at}/keys?v=1");
    let daemon = Daemon::start(&with_tokens(&dir.path().join("data"), None, Some(url))).await.unwrap();
    let good = token(&keys[1].private, keys[1].algorithm, "ec", json!({}));
    checkpoint(plain(&daemon).await, Some(&good)).await.unwrap();
    daemon.stop().await.unwrap();
    serving.abort();
    // Without a reachable issuer and without stored keys, the daemon does not start.
    let nowhere = with_tokens(&dir.path().join("other"), None, Some("http://127.0.0.1:1/keys".into()));
    assert!(Daemon::start(&nowhere).await.is_err());
    // It does not start either if the answer is larger than a key set may be.
    let (at, serving) = serve_keys("127.0.0.1:0", format!("{{\"keys\": []}}{}", " ".repeat(256 << 10))).await;
    let large = with_tokens(&dir.path().join("other"), None, Some(format!("http://{at}/keys?v=1")));
    assert!(Daemon::start(&large).await.is_err());
    serving.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_starts_with_its_stored_issuer_keys_and_reports_their_age() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(AdvancedClock::default()));
    let keys = keys();
    let published = |key: &Key| json!({ "keys": [key.public] }).to_string();
    let (at, serving) = serve_keys("127.0.0.1:0", published(&keys[1])).await;
    let mut config = with_tokens(&dir.path().join("data"), None, Some(format!("http://{at}/keys?v=1")));
    config.controller = "kept".into();
    let claims = json!({"controller": "kept", "exp": late_expiry()["exp"]});
    let good = token(&keys[1].private, keys[1].algorithm, "ec", claims.clone());
    let start = async |config: &Config| Daemon::start_with(config, clock.clone()).await;
    start(&config).await.unwrap().stop().await.unwrap();
    // The issuer's server stops, and the daemon restarts.
    serving.abort();
    let _ended = serving.await;
    clock.0.store(1_800_000, Ordering::SeqCst);
    let daemon = start(&config).await.unwrap();
    let channel = plain(&daemon).await;
    checkpoint(channel.clone(), Some(&good)).await.unwrap();
    let metrics = crate::authorization::http(daemon.http, "/metrics").await;
    let age =
        metrics.lines().find(|line| line.starts_with("sayso_issuer_keys_age_seconds{controller=\"kept\"}"));
    let age: u64 = age.unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    assert!((1_800..1_900).contains(&age), "{age}");
    assert!(metrics.contains("sayso_issuer_keys{controller=\"kept\"} 1"));
    // A restart does not reset the age of the keys.
    clock.0.store(3_700_000, Ordering::SeqCst);
    assert!(checkpoint(channel, Some(&good)).await.is_err());
    daemon.stop().await.unwrap();
    let daemon = start(&config).await.unwrap();
    let channel = plain(&daemon).await;
    assert_eq!(checkpoint(channel.clone(), Some(&good)).await.unwrap_err().code(), Code::Unauthenticated);
    // The issuer's server comes back with another key.
    let (_, serving) = serve_keys(&at.to_string(), published(&keys[0])).await;
    let new = token(&keys[0].private, keys[0].algorithm, "ed", claims.clone());
    wait_until_accepted(&channel, &new, true).await;
    assert!(checkpoint(channel, Some(&good)).await.is_err());
    // The server stops again. The removed key stays invalid after a restart.
    serving.abort();
    let _ended = serving.await;
    daemon.stop().await.unwrap();
    let daemon = start(&config).await.unwrap();
    let channel = plain(&daemon).await;
    checkpoint(channel.clone(), Some(&new)).await.unwrap();
    assert!(checkpoint(channel, Some(&good)).await.is_err());
    daemon.stop().await.unwrap();
    // Stored keys are not used in three cases: the configuration now names another issuer, the keys were
    // fetched at a time in the future, or other users can read the file.
    let mut other = config.clone();
    other.tokens.as_mut().unwrap().issuer = "https://other.example".into();
    assert!(start(&other).await.is_err());
    clock.0.store(0, Ordering::SeqCst);
    assert!(start(&config).await.is_err());
    clock.0.store(3_700_000, Ordering::SeqCst);
    let file = config.data.join("issuer-keys.json");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(start(&config).await.is_err());
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    start(&config).await.unwrap().stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_tokens_are_accepted_only_for_their_stated_purpose() {
    let dir = tempfile::tempdir().unwrap();
    let (keys, file) = (keys(), dir.path().join("jwks.json"));
    let publish = |keys: &[Value]| std::fs::write(&file, json!({ "keys": keys }).to_string()).unwrap();
    let published_key = |key: &Key, kid: &str, change: Value| {
        let mut public = key.public.clone();
        public["kid"] = kid.into();
        for (name, value) in change.as_object().unwrap() {
            public[name] = value.clone();
        }
        public
    };
    let good = [json!({"alg": "EdDSA"}), json!({"use": "sig"}), json!({"key_ops": ["verify"]})];
    let bad = [
        json!({"alg": "ES256"}),
        json!({"alg": "HS256"}),
        json!({"use": "enc"}),
        json!({"key_ops": ["sign"]}),
        json!({"key_ops": []}),
    ];
    let named = good.iter().chain(&bad).enumerate();
    let mut set: Vec<Value> =
        named.map(|(at, change)| published_key(&keys[0], &format!("k{at}"), change.clone())).collect();
    // If two keys have the same id, it is unknown which one a token means.
    set.extend([published_key(&keys[0], "twice", json!({})), published_key(&keys[1], "twice", json!({}))]);
    publish(&set);
    let mut config = with_tokens(&dir.path().join("data"), Some(file), None);
    config.tokens.as_mut().unwrap().built_in = true;
    let daemon = Daemon::start(&config).await.unwrap();
    let channel = plain(&daemon).await;
    let refused = async |token: &str, why: &str| {
        let refused = checkpoint(channel.clone(), Some(token)).await.expect_err(why);
        assert_eq!(refused.code(), Code::Unauthenticated, "{why}");
    };
    for at in 0..good.len() + bad.len() {
        let token = token(&keys[0].private, Algorithm::EdDSA, &format!("k{at}"), json!({}));
        if at < good.len() {
            checkpoint(channel.clone(), Some(&token)).await.unwrap();
        } else {
            refused(&token, &bad[at - good.len()].to_string()).await;
        }
    }
    refused(&token(&keys[0].private, Algorithm::EdDSA, "twice", json!({})), "two keys have this id").await;
    // The daemon supports no critical header extensions (`crit`), so it rejects a token that has one
    // (RFC 7515, 4.1.11).
    let mut header = Header { kid: Some("k0".into()), ..Header::new(Algorithm::EdDSA) };
    header.crit = Some(vec!["exp".into()]);
    let claims = |change: Value| {
        let mut claims = json!({"iss": "https://id.example", "aud": "sayso", "controller": "dev",
            "role": "auditor", "sub": "mina", "exp": late_expiry()["exp"]});
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    };
    let critical = jsonwebtoken::encode(&header, &claims(json!({})), &keys[0].private).unwrap();
    refused(&critical, "crit").await;
    check_built_in_tokens(&daemon, &channel, claims).await;
    daemon.stop().await.unwrap();
}

/// The same checks for the built-in issuer. The test signs with the issuer's own key, read from its file.
async fn check_built_in_tokens(daemon: &Daemon, channel: &Channel, claims: impl Fn(Value) -> Value) {
    use ed25519_dalek::pkcs8::EncodePrivateKey;
    let seed = std::fs::read(daemon.controllers[0].data.join("secrets/issuer.key")).unwrap();
    let key = ed25519_dalek::SigningKey::from_bytes(&seed.try_into().unwrap());
    let key = EncodingKey::from_ed_der(key.to_pkcs8_der().unwrap().as_bytes());
    let now = late_expiry()["exp"].as_u64().unwrap() - 3 * 86_400;
    let (header, day) = (Header::new(Algorithm::EdDSA), 86_400);
    let critical = Header { crit: Some(vec!["b64".into()]), ..header.clone() };
    let sign = |header: &Header, change: Value| {
        let mut claims = claims(change);
        claims["iss"] = "sayso".into();
        jsonwebtoken::encode(header, &claims, &key).unwrap()
    };
    let accepted = [
        json!({}),
        json!({"nbf": now - 10}),
        json!({"exp": now + 89 * day}),
        json!({"iat": now - 10 * day, "exp": now + 79 * day}),
    ];
    for change in accepted {
        let answer = checkpoint(channel.clone(), Some(&sign(&header, change.clone()))).await;
        assert!(answer.is_ok(), "{change}: {answer:?}");
    }
    let mut refused: Vec<(String, String)> = [
        json!({"nbf": now + 3_600}),
        json!({"exp": now + 91 * day}),
        json!({"iat": now - 10 * day, "exp": now + 81 * day}),
        json!({"iat": now + 400 * day, "exp": now + 401 * day}),
    ]
    .map(|change| (change.to_string(), sign(&header, change)))
    .to_vec();
    refused.push(("crit".into(), sign(&critical, json!({}))));
    for (why, token) in refused {
        let refused = checkpoint(channel.clone(), Some(&token)).await.expect_err(&why);
        assert_eq!(refused.code(), Code::Unauthenticated, "{why}");
    }
    // The command that mints tokens has the same limit.
    let data = daemon.controllers[0].data.display().to_string();
    let minted =
        sayso(&["token", "--role", "operator", "--name", "ops", "--ttl", "91d", "--data", &data]).output();
    let minted = tokio::task::spawn_blocking(move || minted).await.unwrap().unwrap();
    assert!(!minted.status.success() && String::from_utf8_lossy(&minted.stderr).contains("days_max"));
}
