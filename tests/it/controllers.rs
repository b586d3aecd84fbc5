//! Several controllers on one daemon: each has its own log, keys, data subjects and folder, and the
//! credential selects the controller.

use crate::authorization::http;
use crate::harness::{self, Clients, ask, choice, consent, fact, json, sayso};
use sayso::api::Claim;
use sayso::config::Config;
use sayso::daemon::Daemon;
use sayso::proto::{self, ConsentDecision, Role};
use sayso_proof::checkpoint::{Checkpoint, VerifierKey};
use std::path::Path;
use tonic::Code;
use tonic::transport::Channel;

/// The configuration of the harness with additional controllers.
pub fn config(data: &Path, others: &[&str]) -> Config {
    let mut config = harness::config(data);
    let more: String = others.iter().map(|name| format!("[[controllers]]\nname = '{name}'\n")).collect();
    config.controllers = toml::from_str::<Config>(&more).unwrap().controllers;
    sayso::daemon::use_dev_tier_keys(&mut config).unwrap();
    config
}

/// A credential for one of the daemon's controllers.
pub fn token(daemon: &Daemon, controller: &str, role: Role, name: &str) -> String {
    token_of(daemon, controller, harness::claim_for(role), name)
}

pub fn token_of(daemon: &Daemon, controller: &str, claim: Claim, name: &str) -> String {
    let served = daemon.controllers.iter().find(|served| served.controller == controller).unwrap();
    served.issuer.mint(claim, name, 600).unwrap()
}

pub async fn channel(daemon: &Daemon) -> Channel {
    channel_to(daemon.grpc).await
}

pub async fn channel_to(at: std::net::SocketAddr) -> Channel {
    Channel::from_shared(format!("http://{at}")).unwrap().connect().await.unwrap()
}

async fn as_role(daemon: &Daemon, controller: &str, role: Role, name: &str) -> Clients {
    Clients::over(&channel(daemon).await, Some(&token(daemon, controller, role, name)))
}

async fn stats(daemon: &Daemon, controller: &str) -> proto::GetStatsResponse {
    let mut operator = as_role(daemon, controller, Role::Operator, "ops").await;
    operator.operator.get_stats(proto::GetStatsRequest {}).await.unwrap().into_inner()
}

/// The values of ada's attributes at this controller.
async fn values_of_ada(daemon: &Daemon, controller: &str) -> Vec<String> {
    let mut ada = as_role(daemon, controller, Role::Subject, "ada").await;
    let profile = ada.profile.get_profile(proto::GetProfileRequest::default()).await;
    profile.map_or_else(
        |_| Vec::new(),
        |profile| profile.into_inner().attributes.into_iter().map(|attribute| attribute.value_json).collect(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn each_controller_keeps_its_own_log_people_and_folder_across_restarts() {
    let dir = tempfile::tempdir().unwrap();
    // A data folder of a single controller opens with additional controllers configured.
    let alone = Daemon::start(&harness::config(dir.path())).await.unwrap();
    let key = alone.vkey.clone();
    let mut service = as_role(&alone, "dev", Role::Service, "tutor").await;
    service.profile.record_attributes(fact("ada", "tone", "work", "of dev")).await.unwrap();
    alone.stop().await.unwrap();

    let config = config(dir.path(), &["acme", "zeta"]);
    let daemon = Daemon::start(&config).await.unwrap();
    assert_eq!(daemon.vkey, key);
    for (controller, value) in [("acme", "of acme"), ("zeta", "of zeta")] {
        let mut service = as_role(&daemon, controller, Role::Service, "tutor").await;
        service.profile.record_attributes(fact("ada", "tone", "work", value)).await.unwrap();
        assert!(dir.path().join("controllers").join(controller).join("secrets/root.key").exists());
    }
    let keys: Vec<String> = daemon.controllers.iter().map(|served| served.vkey.clone()).collect();
    daemon.stop().await.unwrap();

    let daemon = Daemon::start(&config).await.unwrap();
    assert_eq!(keys, daemon.controllers.iter().map(|served| served.vkey.clone()).collect::<Vec<_>>());
    for (controller, value) in [("dev", "of dev"), ("acme", "of acme"), ("zeta", "of zeta")] {
        assert_eq!(values_of_ada(&daemon, controller).await, [serde_json::Value::from(value).to_string()]);
        let stats = stats(&daemon, controller).await;
        assert_eq!((stats.subjects, stats.origin), (1, format!("sayso.localhost/{controller}")));
    }
    daemon.stop().await.unwrap();
    // The folder of a controller that is no longer configured is ignored.
    let fewer = self::config(dir.path(), &["zeta"]);
    let daemon = Daemon::start(&fewer).await.unwrap();
    assert_eq!(values_of_ada(&daemon, "zeta").await.len(), 1);
    daemon.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_is_valid_only_for_its_own_controller() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(&config(dir.path(), &["acme"])).await.unwrap();
    let mut steward = as_role(&daemon, "dev", Role::Steward, "mina").await;
    harness::publish_notice(&mut steward).await;
    let mut tutor = as_role(&daemon, "dev", Role::Service, "tutor").await;
    tutor.profile.record_attributes(fact("ada", "tone", "work", "x")).await.unwrap();
    let given = choice(ConsentDecision::Given, "tone-adaptation", &[], false);
    steward.consent.record_consent(consent("ada", vec![given])).await.unwrap();
    let grant = tutor.grant.request_grant(ask("ada")).await.unwrap().into_inner();
    assert_eq!(grant.allowed.len(), 1);
    // A service with the same name at another controller finds neither the data subject nor the grant.
    let mut same = as_role(&daemon, "acme", Role::Service, "tutor").await;
    assert!(same.grant.request_grant(ask("ada")).await.unwrap().into_inner().grant_id.is_empty());
    let check = proto::CheckGrantRequest { grant_id: grant.grant_id.clone(), keys: Vec::new() };
    assert_eq!(same.grant.check_grant(check).await.unwrap_err().code(), Code::NotFound);
    // Each controller has its own issuer of tokens. A token of one issuer is not valid for another
    // controller, no matter which controller the token claims.
    let forged = {
        use base64::Engine;
        use base64::prelude::BASE64_URL_SAFE_NO_PAD as text;
        let good = token(&daemon, "acme", Role::Steward, "mallory");
        let parts: Vec<&str> = good.split('.').collect();
        let mut claims: serde_json::Value = serde_json::from_slice(&text.decode(parts[1]).unwrap()).unwrap();
        let mut claiming = |controller: &str| {
            claims["controller"] = controller.into();
            format!("{}.{}.{}", parts[0], text.encode(claims.to_string()), parts[2])
        };
        [claiming("dev"), claiming("nobody"), claiming("")]
    };
    let mut errors = Vec::new();
    for forged in &forged {
        let mut clients = Clients::over(&channel(&daemon).await, Some(forged));
        let refused = clients.audit.get_checkpoint(proto::GetCheckpointRequest {}).await.unwrap_err();
        errors.push((refused.code(), refused.message().to_owned()));
    }
    // The error is the same for controllers that exist and controllers that do not.
    assert_eq!(errors[0].0, Code::Unauthenticated);
    assert!(errors.iter().all(|error| *error == errors[0]), "{errors:?}");
    daemon.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_controllers_public_log_is_served_under_its_origin() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(&config(dir.path(), &["acme"])).await.unwrap();
    for served in &daemon.controllers {
        let key: VerifierKey = served.vkey.parse().unwrap();
        let answer = http(daemon.http, &format!("/{}/checkpoint", served.controller)).await;
        let note = answer.split_once("\r\n\r\n").unwrap().1;
        let checkpoint = Checkpoint::open(note, &key).unwrap();
        let width = checkpoint.size;
        let tile = http(daemon.http, &format!("/{}/tile/0/000.p/{width}", served.controller)).await;
        assert!(tile.starts_with("HTTP/1.1 200"), "{tile}");
    }
    let first: VerifierKey = daemon.vkey.parse().unwrap();
    let answer = http(daemon.http, "/checkpoint").await;
    Checkpoint::open(answer.split_once("\r\n\r\n").unwrap().1, &first).unwrap();
    for missing in
        ["/nobody/checkpoint", "/acme%2f/checkpoint", "/nobody/tile/0/000", "/acme/tile/9/000", "/acme"]
    {
        assert!(http(daemon.http, missing).await.starts_with("HTTP/1.1 404"), "{missing}");
    }
    let metrics = http(daemon.http, "/metrics").await;
    assert!(metrics.contains("sayso_ready{controller=\"acme\"} 1"), "{metrics}");
    assert!(!metrics.contains("nobody"));
    daemon.stop().await.unwrap();
    // A controller cannot have the name of the first segment of one of the daemon's own HTTP paths.
    for reserved in ["tile", "metrics"] {
        assert!(Daemon::start(&config(dir.path(), &[reserved])).await.is_err(), "{reserved}");
    }
}

#[test]
fn commands_work_for_each_controller_with_its_own_folder() {
    use std::io::{BufRead, BufReader};
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let file = dir.path().join("sayso.toml");
    std::fs::write(&file, format!("data = {data:?}\n[[controllers]]\nname = 'acme'\n")).unwrap();
    let with_config = ["--config", file.to_str().unwrap()];
    let mut command =
        sayso(&["--json", "serve", "--dev", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
    let mut child = command.args(with_config).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(ready["keys"].as_array().unwrap().len(), 2);
    let addr = format!("http://{}", ready["grpc"].as_str().unwrap());
    let acme = data.join("controllers/acme");
    let run = |folder: &Path, arguments: &[&str]| {
        let mut command = sayso(arguments);
        command.args(["--json", "--addr", &addr, "--data", folder.to_str().unwrap()]).output().unwrap()
    };
    json(&run(&acme, &["record", "ada", "tone", "dry", "--category", "work"]));
    assert_eq!(json(&run(&acme, &["stats"]))["subjects"], "1");
    assert_eq!(
        json(&run(&data, &["stats"])).get("subjects").map_or("0", |count| count.as_str().unwrap()),
        "0"
    );
    // A token for a data subject, minted from the configuration file.
    let mint = |more: &[&str]| {
        let mut command = sayso(&["token", "--role", "subject", "--subject", "ada"]);
        command.args(with_config).args(more).output().unwrap()
    };
    let token = dir.path().join("ada.token");
    std::fs::write(&token, &mint(&["--controller", "acme"]).stdout).unwrap();
    let profile =
        sayso(&["--json", "--addr", &addr, "--token-file", token.to_str().unwrap(), "profile", "ada"])
            .output()
            .unwrap();
    assert!(json(&profile).to_string().contains("dry"));
    assert!(!mint(&["--controller", "nobody"]).status.success());
    // Each controller is backed up and restored separately.
    let backup = dir.path().join("acme.backup");
    json(&run(&acme, &["backup", "-o", backup.to_str().unwrap()]));
    child.kill().unwrap();
    child.wait().unwrap();
    std::fs::rename(acme.join("log"), acme.join("lost")).unwrap();
    let restored = sayso(&["--json", "restore", backup.to_str().unwrap(), "--controller", "acme"])
        .args(with_config)
        .output()
        .unwrap();
    assert!(harness::int64(&json(&restored)["entries"]) > 1);
}
