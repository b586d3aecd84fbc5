//! The real daemon in this process, on port 0, and clients that speak gRPC to it.

use sayso::api::Claim;
use sayso::config::Config;
use sayso::daemon::Daemon;
use sayso::proto;
use sayso::proto::audit_service_client::AuditServiceClient;
use sayso::proto::bounds_service_client::BoundsServiceClient;
use sayso::proto::consent_service_client::ConsentServiceClient;
use sayso::proto::grant_service_client::GrantServiceClient;
use sayso::proto::operator_service_client::OperatorServiceClient;
use sayso::proto::profile_service_client::ProfileServiceClient;
use sayso::proto::rights_service_client::RightsServiceClient;
use sayso::proto::{ConsentDecision, Provenance, Role};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};

pub const NOTICE: &str = "welcome";

/// Real input, read where it lies.
pub fn facts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/locomo-memories.jsonl")
}

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

/// Every client of one caller.
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
    /// With one credential, over one connection.
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

pub struct Harness {
    pub dir: tempfile::TempDir,
    pub daemon: Daemon,
}

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

    /// Ends the daemon and starts it over the same folder.
    pub async fn restart(self) -> Self {
        Self::start_in(self.stop().await).await
    }

    pub async fn stop(self) -> tempfile::TempDir {
        self.daemon.stop().await.unwrap();
        self.dir
    }

    pub async fn as_role(&self, role: Role, name: &str) -> Clients {
        self.as_claim(claim_for(role), name).await
    }

    /// As a credential that says no more than it is given: a service that is no channel.
    pub async fn as_claim(&self, claim: impl Into<Claim>, name: &str) -> Clients {
        let token = self.daemon.issuer.mint(claim, name, 3_600).unwrap();
        self.with_token(Some(&token)).await
    }

    pub async fn with_token(&self, token: Option<&str>) -> Clients {
        let endpoint = Channel::from_shared(format!("http://{}", self.daemon.grpc)).unwrap();
        Clients::over(&endpoint.connect().await.unwrap(), token)
    }

    /// Runs the real binary as `role` against this daemon.
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

/// Services of most tests are applications that people speak through, too.
pub fn claim_for(role: Role) -> Claim {
    if role == Role::Service { Claim::SERVICE_CHANNEL } else { role.into() }
}

/// The real binary.
pub fn sayso(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sayso"));
    command.args(arguments).env_remove("SAYSO_TOKEN_FILE").env_remove("SAYSO_ADDR").env_remove("SAYSO_DATA");
    command
}

pub fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn json(output: &Output) -> serde_json::Value {
    serde_json::from_str(&stdout(output)).unwrap()
}

/// A 64-bit integer in the JSON of a command: a string, as in proto JSON.
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

pub fn ask(subject: &str) -> proto::RequestGrantRequest {
    proto::RequestGrantRequest {
        subject: subject.into(),
        purpose: "tone-adaptation".into(),
        ..Default::default()
    }
}

/// Every file below a folder.
pub fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for item in std::fs::read_dir(dir).unwrap() {
        let path = item.unwrap().path();
        if path.is_dir() { found.extend(files_below(&path)) } else { found.push(path) }
    }
    found
}

pub fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// As [`config`], without making anything in the folder.
pub fn config_at(data: &Path) -> Config {
    Config { data: data.to_owned(), ..Config::default() }
}

/// Changes a byte of a file in place.
pub fn flip(path: &Path, at: u64, pattern: u8) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ pattern], at).unwrap();
}
