//! Shared helpers. They start the real daemon on free ports, in the process of the tests, and connect gRPC
//! clients to it. They also run the real `sayso` binary, and build the requests that most tests send.

use ed25519_dalek::SigningKey;
use sayso::api::Claim;
use sayso::config::Config;
use sayso::daemon::Daemon;
use sayso::domain::event::{CategoryDefined, Event, PurposeDefined, codec};
use sayso::proto;
use sayso::proto::audit_service_client::AuditServiceClient;
use sayso::proto::bounds_service_client::BoundsServiceClient;
use sayso::proto::consent_service_client::ConsentServiceClient;
use sayso::proto::get_next_version_request::Rule as NamedRule;
use sayso::proto::grant_service_client::GrantServiceClient;
use sayso::proto::operator_service_client::OperatorServiceClient;
use sayso::proto::profile_service_client::ProfileServiceClient;
use sayso::proto::rights_service_client::RightsServiceClient;
use sayso::proto::{ConsentDecision, Provenance, Role};
use sayso_proof::writer::{self, Binding};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};

/// The id of the notice that [`publish_notice`] publishes.
pub const NOTICE: &str = "welcome";

/// The file of real attributes, read from its place beside the repository.
pub fn facts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/locomo-memories.jsonl")
}

/// Adds the bearer token, if there is one, to each request.
#[derive(Clone)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

pub type Link = InterceptedService<Channel, Bearer>;

/// One client for each gRPC service, all with the same credential.
#[derive(Clone)]
pub struct Clients {
    pub profile: ProfileServiceClient<Link>,
    pub consent: ConsentServiceClient<Link>,
    pub grant: GrantServiceClient<Link>,
    pub rights: RightsServiceClient<Link>,
    pub bounds: BoundsServiceClient<Link>,
    pub audit: AuditServiceClient<Link>,
    pub operator: OperatorServiceClient<Link>,
}

impl Clients {
    /// Clients that share one connection and one credential; without a token they send no credential.
    pub fn over(channel: &Channel, token: Option<&str>) -> Self {
        let bearer = Bearer(token.map(|token| format!("Bearer {token}").parse().unwrap()));
        let link = || InterceptedService::new(channel.clone(), bearer.clone());
        Self {
            profile: ProfileServiceClient::new(link()),
            consent: ConsentServiceClient::new(link()),
            grant: GrantServiceClient::new(link()),
            rights: RightsServiceClient::new(link()),
            bounds: BoundsServiceClient::new(link()),
            audit: AuditServiceClient::new(link()),
            operator: OperatorServiceClient::new(link()),
        }
    }
}

/// A running daemon and the temporary folder of its data.
pub struct Harness {
    pub dir: tempfile::TempDir,
    pub daemon: Daemon,
}

/// A configuration that listens on free loopback ports, with development keys made in `data`.
pub fn config(data: &Path) -> Config {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut config = Config { data: data.to_owned(), listen: loopback, http: loopback, ..Config::default() };
    sayso::daemon::use_dev_tier_keys(&mut config).unwrap();
    config
}

impl Harness {
    pub async fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap()).await
    }

    pub async fn start_in(dir: tempfile::TempDir) -> Self {
        let daemon = Daemon::start(&config(dir.path())).await.unwrap();
        Self { dir, daemon }
    }

    /// Stops the daemon and starts it again on the same folder.
    pub async fn restart(self) -> Self {
        Self::start_in(self.stop().await).await
    }

    /// Stops the daemon and returns its data folder.
    pub async fn stop(self) -> tempfile::TempDir {
        self.daemon.stop().await.unwrap();
        self.dir
    }

    /// Clients with a token for `role`; see [`claim_for`].
    pub async fn as_role(&self, role: Role, name: &str) -> Clients {
        self.as_claim(claim_for(role), name).await
    }

    /// Clients with a token for exactly this claim. Unlike with [`Self::as_role`], a service is not also a
    /// channel.
    pub async fn as_claim(&self, claim: impl Into<Claim>, name: &str) -> Clients {
        let token = self.daemon.issuer.mint(claim, name, 3_600).unwrap();
        self.with_token(Some(&token)).await
    }

    pub async fn with_token(&self, token: Option<&str>) -> Clients {
        let endpoint = Channel::from_shared(format!("http://{}", self.daemon.grpc)).unwrap();
        Clients::over(&endpoint.connect().await.unwrap(), token)
    }

    /// Runs the real binary against this daemon, with a token for `role`.
    pub fn cli(&self, role: Role, name: &str, arguments: &[&str]) -> Output {
        let token = self.daemon.issuer.mint(claim_for(role), name, 3_600).unwrap();
        let file = self.dir.path().join(format!("{name}.token"));
        std::fs::write(&file, token).unwrap();
        sayso(arguments)
            .env("SAYSO_ADDR", format!("http://{}", self.daemon.grpc))
            .env("SAYSO_TOKEN_FILE", file)
            .output()
            .unwrap()
    }
}

/// The claim that tests use for a role. A service is also a channel: people speak through most applications.
pub fn claim_for(role: Role) -> Claim {
    if role == Role::Service { Claim::SERVICE_CHANNEL } else { role.into() }
}

/// A command that runs the real binary without settings from the environment.
pub fn sayso(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sayso"));
    command.args(arguments).env_remove("SAYSO_TOKEN_FILE").env_remove("SAYSO_ADDR").env_remove("SAYSO_DATA");
    command
}

/// The standard output of a command; panics with its standard error if it failed.
pub fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn json(output: &Output) -> serde_json::Value {
    serde_json::from_str(&stdout(output)).unwrap()
}

/// Reads a 64-bit integer from the JSON output of a command. As in proto JSON, it is a string.
pub fn int64(value: &serde_json::Value) -> u64 {
    value
        .as_str()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| panic!("not a 64-bit integer: {value}"))
}

pub async fn publish_notice(steward: &mut Clients) {
    let request = proto::PublishNoticeRequest {
        id: NOTICE.into(),
        version: "1".into(),
        text: "we remember facts about you".into(),
        ..Default::default()
    };
    steward.bounds.publish_notice(request).await.unwrap();
}

/// The key with which a `--dev` daemon in this folder expects the provider's definitions and bounds.
pub fn provider_key(dir: &Path) -> SigningKey {
    let seed = std::fs::read(dir.join("dev/steward.key")).unwrap();
    SigningKey::from_bytes(&seed.try_into().unwrap())
}

/// The signature over a version of a rule: the next one, at the ledger's time.
pub async fn signed(by: &Clients, event: &Event, key: &SigningKey) -> proto::PackSignature {
    let next = next_version(by, event).await;
    let now = next.now.unwrap();
    let signed_at_ms = u64::try_from(now.seconds * 1_000 + i64::from(now.nanos) / 1_000_000).unwrap();
    let binding = Binding { origin: &next.origin, sequence: next.sequence, signed_at_ms };
    writer::sign(&codec::encode_event(event), binding, key).unwrap().into()
}

/// What the daemon says about the next version of the rule that an event defines.
pub async fn next_version(by: &Clients, event: &Event) -> proto::GetNextVersionResponse {
    let rule = match event {
        Event::BoundsPublished(bounds) => {
            NamedRule::Pack(proto::PackName { tier: bounds.tier.into(), pack: bounds.pack.clone() })
        }
        Event::PurposeDefined(purpose) => NamedRule::Purpose(purpose.id.clone()),
        Event::CategoryDefined(category) => NamedRule::Category(category.id.clone()),
        Event::NoticeRequired(notice) => NamedRule::Notice(notice.id.clone()),
        _ => panic!("no tier signs this event"),
    };
    let request = proto::GetNextVersionRequest { rule: Some(rule) };
    by.bounds.clone().get_next_version(request).await.unwrap().into_inner()
}

/// A request that defines a category, signed by the provider.
pub async fn category(
    by: &Clients,
    category: CategoryDefined,
    key: &SigningKey,
) -> proto::DefineCategoryRequest {
    let signature = Some(signed(by, &Event::CategoryDefined(category.clone()), key).await);
    proto::DefineCategoryRequest { category: Some(category.into()), options: None, signature }
}

/// A request that defines a purpose, signed by the provider.
pub async fn purpose(by: &Clients, purpose: PurposeDefined, key: &SigningKey) -> proto::DefinePurposeRequest {
    let signature = Some(signed(by, &Event::PurposeDefined(purpose.clone()), key).await);
    proto::DefinePurposeRequest { purpose: Some(purpose.into()), options: None, signature }
}

/// A request that records one declared attribute.
pub fn fact(subject: &str, key: &str, category: &str, value: &str) -> proto::RecordAttributesRequest {
    let attribute = proto::AttributeInput {
        key: key.into(),
        value_json: serde_json::Value::from(value).to_string(),
        category: category.into(),
        provenance: Provenance::Declared.into(),
        ..Default::default()
    };
    proto::RecordAttributesRequest { subject: subject.into(), attributes: vec![attribute], options: None }
}

/// A consent choice for one purpose.
pub fn choice(
    decision: ConsentDecision,
    purpose: &str,
    categories: &[&str],
    explicit: bool,
) -> proto::ConsentChoice {
    proto::ConsentChoice {
        decision: decision.into(),
        purposes: vec![purpose.into()],
        categories: categories.iter().map(|category| (*category).to_owned()).collect(),
        explicit,
        ..Default::default()
    }
}

/// A request that records these choices, made over the web after the notice was served.
pub fn consent(subject: &str, choices: Vec<proto::ConsentChoice>) -> proto::RecordConsentRequest {
    proto::RecordConsentRequest {
        subject: subject.into(),
        choices,
        notice: Some(proto::NoticeServed { id: NOTICE.into(), ..Default::default() }),
        channel: "web".into(),
        guardian: false,
        options: None,
    }
}

/// A request for a grant for the purpose `tone-adaptation`.
pub fn ask(subject: &str) -> proto::RequestGrantRequest {
    proto::RequestGrantRequest {
        subject: subject.into(),
        purpose: "tone-adaptation".into(),
        ..Default::default()
    }
}

/// Every file in a folder and its subfolders.
pub fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for item in std::fs::read_dir(dir).unwrap() {
        let path = item.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files
}

pub fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// A configuration for the folder; unlike [`config`], it creates nothing there.
pub fn config_at(data: &Path) -> Config {
    Config { data: data.to_owned(), ..Config::default() }
}

/// Changes the byte at offset `at` of a file in place: XOR with `pattern`.
pub fn flip(path: &Path, at: u64, pattern: u8) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ pattern], at).unwrap();
}
