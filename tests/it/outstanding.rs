//! Tests of what recipients still have to do after an erasure (GDPR Art. 17(2), 19): deadlines, reminders,
//! escalation, outcomes with reasons and evidence, further recipients to whom a recipient passed the data on,
//! and webhooks.

use crate::erasure::{erasure, record, verify};
use crate::harness::{
    self, Clients, Harness, ask, choice, config, consent, contains, fact, files_below, stdout,
};
use crate::rights::{AdvancedClock, wait_until};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer, SigningKey};
use hmac::{Hmac, KeyInit, Mac};
use sayso::config::{Config, RecipientConfig};
use sayso::daemon::Daemon;
use sayso::proto::{self, ConsentDecision, ErasureOutcome, ErasureScope, EvidenceKind, Role};
use sayso_proof::event::RecipientReported;
use sayso_proof::evidence;
use sha2::Sha256;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tonic::Code;

const DAY_MS: u64 = 86_400_000;

async fn start(
    clock: &Arc<AdvancedClock>,
    dir: tempfile::TempDir,
    change: impl FnOnce(&mut Config),
) -> Harness {
    let mut config = config(dir.path());
    config.rights.expiry_interval_ms = 10;
    change(&mut config);
    let daemon = Daemon::start_with(&config, Arc::clone(clock) as _).await.unwrap();
    Harness { dir, daemon }
}

/// Records an attribute of a person, lets `tutor` receive it, and erases the person. Returns the id of the
/// grant and the certificate.
async fn erase_person(harness: &Harness, subject: &str) -> (String, proto::ErasureCertificate) {
    let mut tutor = harness.as_role(Role::Service, "tutor").await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    harness::publish_notice(&mut steward).await;
    record(&mut tutor, fact(subject, "job", "work", "baker")).await;
    let given = choice(ConsentDecision::Given, "tone-adaptation", &[], false);
    steward.consent.record_consent(consent(subject, vec![given])).await.unwrap();
    let grant = tutor.grant.request_grant(ask(subject)).await.unwrap().into_inner().grant_id;
    let answer = steward.rights.submit_request(erasure(subject, ErasureScope::All, "")).await.unwrap();
    (grant, answer.into_inner().certificate.unwrap())
}

async fn outstanding(harness: &Harness) -> Vec<proto::OutstandingErasure> {
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    // Pages of one recipient, so that the test also covers page tokens.
    let (mut found, mut page_token) = (Vec::new(), String::new());
    loop {
        let request =
            proto::ListOutstandingErasuresRequest { page_size: 1, page_token, ..Default::default() };
        let page = steward.rights.list_outstanding_erasures(request).await.unwrap().into_inner();
        found.extend(page.outstanding);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return found;
        }
    }
}

/// The next notice of an erasure after a cursor.
async fn notice(clients: &mut Clients, after: u64) -> proto::WatchRevocationsResponse {
    let request = proto::WatchRevocationsRequest { after_cursor: Some(after) };
    let mut watch = clients.grant.watch_revocations(request).await.unwrap().into_inner();
    watch.message().await.unwrap();
    loop {
        let next = tokio::time::timeout(Duration::from_secs(20), watch.message()).await;
        let notice = next.expect("a notice").unwrap().unwrap();
        if notice.erased_scope() != ErasureScope::Unspecified {
            return notice;
        }
    }
}

async fn metric(harness: &Harness, name: &str) -> u64 {
    let url = format!("http://{}/metrics", harness.daemon.http);
    let (_, text) = sayso::fetch::get(&url, None, 1 << 20).await.unwrap();
    let text = String::from_utf8(text).unwrap();
    let line = text.lines().find(|line| line.starts_with(&format!("{name}{{controller=\"dev\"}}")));
    line.and_then(|line| line.split(' ').next_back()?.parse().ok())
        .unwrap_or_else(|| panic!("{name}: {text}"))
}

fn report(cursor: u64, outcome: ErasureOutcome, reason: &str) -> proto::ReportErasureRequest {
    proto::ReportErasureRequest {
        notices: vec![proto::ErasureNotice { cursor }],
        outcome: outcome.into(),
        reason: reason.into(),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recipient_is_reminded_and_becomes_overdue_until_it_answers() {
    let clock = Arc::new(AdvancedClock::default());
    let harness = start(&clock, tempfile::tempdir().unwrap(), |_| {}).await;
    let (grant, certificate) = erase_person(&harness, "ada").await;
    let listed = outstanding(&harness).await;
    assert_eq!(listed.len(), 1);
    // Only those who were given the id of the request have it.
    assert_eq!((listed[0].recipient.as_str(), listed[0].request_id.as_str()), ("tutor", ""));
    assert_eq!(listed[0].cursor, certificate.position + 1);
    let days = |of: &Option<prost_types::Timestamp>| of.as_ref().unwrap().seconds / 86_400;
    assert_eq!(days(&listed[0].due_at) - days(&listed[0].completed_at), 14);
    assert_eq!((listed[0].reminders, &listed[0].overdue_since), (0, &None));
    assert_eq!(metric(&harness, "sayso_erasures_outstanding").await, 1);
    assert_eq!(metric(&harness, "sayso_erasures_overdue").await, 0);

    // The reminder comes over the watch, with the same ids.
    clock.0.fetch_add(4 * DAY_MS + 60_000, Ordering::SeqCst);
    let mut tutor = harness.as_role(Role::Service, "tutor").await;
    let reminded = notice(&mut tutor, listed[0].cursor).await;
    assert_eq!((reminded.reminder, &reminded.grant_ids), (1, &vec![grant]));

    // After a restart, the count continues. After the deadline, the recipient is overdue.
    let harness = start(&clock, harness.stop().await, |_| {}).await;
    assert_eq!(outstanding(&harness).await[0].reminders, 1);
    clock.0.fetch_add(10 * DAY_MS, Ordering::SeqCst);
    wait_until(async || outstanding(&harness).await[0].overdue_since.is_some()).await;
    assert_eq!(metric(&harness, "sayso_erasures_overdue").await, 1);
    let list = ["--json", "erasures", "outstanding", "--overdue"];
    let printed = harness::json(&harness.cli(Role::Steward, "privacy-team", &list));
    assert_eq!(printed["recipient"], "tutor");
    let printed = stdout(&harness.cli(Role::Steward, "privacy-team", &["erasures", "outstanding"]));
    assert!(printed.contains("OVERDUE since"), "{printed}");

    // A reminder can be acknowledged like the notice.
    let mut tutor = harness.as_role(Role::Service, "tutor").await;
    let cursor = notice(&mut tutor, reminded.cursor).await.cursor;
    let acknowledge = proto::AcknowledgeRequest { cursor, options: None };
    tutor.grant.acknowledge(acknowledge).await.unwrap();
    assert_eq!(outstanding(&harness).await, []);
    assert_eq!(metric(&harness, "sayso_erasures_outstanding").await, 0);
    assert_eq!(metric(&harness, "sayso_erasures_overdue").await, 0);
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    let request = proto::GetErasureCertificateRequest { request_id: certificate.request_id };
    let certificate = steward.rights.get_erasure_certificate(request).await.unwrap().into_inner();
    let recipients = certificate.certificate.unwrap().recipients;
    assert_eq!((recipients[0].acknowledged, recipients[0].outcome()), (true, ErasureOutcome::Deleted));
    verify(&harness);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_other_than_deletion_needs_a_reason_and_is_not_shown_as_deletion() {
    let clock = Arc::new(AdvancedClock::default());
    let harness = start(&clock, tempfile::tempdir().unwrap(), |_| {}).await;
    let (_, certificate) = erase_person(&harness, "ada").await;
    let cursor = certificate.position + 1;
    let mut tutor = harness.as_role(Role::Service, "tutor").await;
    let mut other = harness.as_role(Role::Service, "other").await;
    let refused = other.grant.report_erasure(report(cursor, ErasureOutcome::Deleted, "")).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound, "it is not its notice");
    let without_reason = report(cursor, ErasureOutcome::Impossible, " ");
    let refused = tutor.grant.report_erasure(without_reason).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let of_another = proto::ReportErasureRequest {
        recipient: "other".into(),
        ..report(cursor, ErasureOutcome::Deleted, "")
    };
    assert_eq!(tutor.grant.report_erasure(of_another).await.unwrap_err().code(), Code::PermissionDenied);

    // A steward reports for the recipient.
    let reason = "the model was trained, and its weights can't be changed";
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    let arguments = ["erasures", "report", &cursor.to_string(), "--recipient", "tutor"];
    let arguments = [&arguments[..], &["--outcome", "impossible", "--reason", reason]].concat();
    stdout(&harness.cli(Role::Steward, "privacy-team", &arguments));
    assert_eq!(outstanding(&harness).await, []);
    let request = proto::GetErasureCertificateRequest { request_id: certificate.request_id.clone() };
    let shown = steward.rights.get_erasure_certificate(request.clone()).await.unwrap().into_inner();
    let shown = shown.certificate.unwrap().recipients.remove(0);
    assert_eq!((shown.acknowledged, shown.outcome()), (false, ErasureOutcome::Impossible));
    assert_eq!(shown.reason, reason);
    // A later deletion counts.
    tutor.grant.report_erasure(report(cursor, ErasureOutcome::Deleted, "")).await.unwrap();
    let shown = steward.rights.get_erasure_certificate(request).await.unwrap().into_inner();
    let shown = shown.certificate.unwrap().recipients.remove(0);
    assert_eq!((shown.acknowledged, shown.outcome()), (true, ErasureOutcome::Deleted));
    verify(&harness);
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_is_signed_with_the_configured_key_and_leaves_nothing_to_compare_with_a_guess() {
    let clock = Arc::new(AdvancedClock::default());
    let key = SigningKey::from_bytes(&[7; 32]);
    let public_key = hex::encode(key.verifying_key().to_bytes());
    let (name, public_key) = ("tutor".to_owned(), Some(public_key));
    let recipient = RecipientConfig { name, public_key, webhook: None, webhook_secret_file: None, ca: None };
    let harness =
        start(&clock, tempfile::tempdir().unwrap(), |config| config.recipients.push(recipient)).await;
    let (_, certificate) = erase_person(&harness, "ada").await;
    let statement = b"We deleted everything about Ada Lovelace.";
    let digest: [u8; 32] = <Sha256 as sha2::Digest>::digest(statement).into();
    let (salt, outcome) = ([1, 2].repeat(16), ErasureOutcome::Deleted);
    let salt: [u8; 32] = salt.try_into().unwrap();
    let signed_with = |key: &SigningKey, outcome: ErasureOutcome| {
        let event = RecipientReported {
            positions: vec![certificate.position],
            recipient: "tutor".into(),
            outcome: outcome.into(),
            evidence: evidence::commitment(&salt, &digest).to_vec(),
            ..Default::default()
        };
        let text = evidence::statement("sayso.localhost/dev", &event);
        proto::ErasureEvidence {
            kind: EvidenceKind::Statement.into(),
            sha256: digest.to_vec(),
            salt: salt.to_vec(),
            public_key: key.verifying_key().to_bytes().to_vec(),
            signature: key.sign(text.as_bytes()).to_bytes().to_vec(),
        }
    };
    let mut tutor = harness.as_role(Role::Service, "tutor").await;
    let with = |evidence: proto::ErasureEvidence| proto::ReportErasureRequest {
        evidence: Some(evidence),
        ..report(certificate.position + 1, outcome, "")
    };
    let good = signed_with(&key, outcome);
    let unsigned = proto::ErasureEvidence { public_key: vec![], signature: vec![], ..good.clone() };
    let unsalted = proto::ErasureEvidence { salt: vec![0; 32], ..good.clone() };
    let bad = [
        ("another key", signed_with(&SigningKey::from_bytes(&[8; 32]), outcome)),
        ("another outcome", signed_with(&key, ErasureOutcome::Impossible)),
        ("no signature", unsigned),
        ("no salt", unsalted),
    ];
    for (what, evidence) in bad {
        let refused = tutor.grant.report_erasure(with(evidence)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{what}: {refused}");
    }
    tutor.grant.report_erasure(with(good)).await.unwrap();
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    let request = proto::GetErasureCertificateRequest { request_id: certificate.request_id };
    let shown = steward.rights.get_erasure_certificate(request).await.unwrap().into_inner();
    assert!(shown.certificate.unwrap().recipients[0].has_evidence);
    verify(&harness);
    // The commitment is in the log. Neither the digest of the statement nor the salt is anywhere.
    let dir = harness.stop().await;
    let commitment = evidence::commitment(&salt, &digest);
    let has = |needle: &[u8]| {
        let files = files_below(dir.path()).into_iter();
        files.filter(|file| contains(&std::fs::read(file).unwrap(), needle)).count()
    };
    assert!(has(&commitment) > 0);
    assert_eq!((has(&digest), has(&salt)), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recipient_that_another_names_is_told_and_has_to_answer() {
    let clock = Arc::new(AdvancedClock::default());
    let harness = start(&clock, tempfile::tempdir().unwrap(), |_| {}).await;
    let (grant, certificate) = erase_person(&harness, "ada").await;
    let mut tutor = harness.as_role(Role::Service, "tutor").await;
    let named = proto::ReportErasureRequest {
        onward: vec!["mailer".into(), "tutor".into(), "mailer".into()],
        ..report(certificate.position + 1, ErasureOutcome::Deleted, "")
    };
    tutor.grant.report_erasure(named.clone()).await.unwrap();
    let left = outstanding(&harness).await;
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!((left[0].recipient.as_str(), left[0].named_by.as_str()), ("mailer", "tutor"));
    let mut mailer = harness.as_role(Role::Service, "mailer").await;
    let told = notice(&mut mailer, 0).await;
    assert_eq!((told.grant_ids, told.named_by.as_str()), (vec![grant.clone()], "tutor"));
    clock.0.fetch_add(5 * DAY_MS, Ordering::SeqCst);
    let mut mailer = harness.as_role(Role::Service, "mailer").await;
    let reminded = notice(&mut mailer, told.cursor).await;
    assert_eq!((reminded.reminder, &reminded.grant_ids), (1, &vec![grant]));
    mailer.grant.report_erasure(report(reminded.cursor, ErasureOutcome::Deleted, "")).await.unwrap();
    assert_eq!(outstanding(&harness).await, []);
    // Naming it again changes nothing.
    let mut tutor = harness.as_role(Role::Service, "tutor").await;
    tutor.grant.report_erasure(named).await.unwrap();
    assert_eq!(outstanding(&harness).await, []);
    verify(&harness);
}

/// A request that the webhook received: its headers and body.
type Received = (Vec<(String, String)>, String);

/// A webhook on this machine that answers 500 to the first `failing` requests and 204 to all others.
fn webhook(failing: usize) -> (String, Arc<Mutex<Vec<Received>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let received: Arc<Mutex<Vec<Received>>> = Arc::default();
    let kept = Arc::clone(&received);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut headers, mut line) = (Vec::new(), String::new());
            reader.read_line(&mut line).unwrap();
            assert!(line.starts_with("POST /hook"), "{line}");
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                let Some((name, value)) = line.trim().split_once(": ") else { break };
                headers.push((name.to_lowercase(), value.to_owned()));
            }
            let length =
                headers.iter().find(|(name, _)| name == "content-length").unwrap().1.parse().unwrap();
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let mut received = kept.lock().unwrap();
            received.push((headers, String::from_utf8(body).unwrap()));
            let status = if received.len() <= failing { "500 Oops" } else { "204 Fine" };
            write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").unwrap();
        }
    });
    (url, received)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_gets_each_notice_signed_until_it_takes_it_and_again_after_a_restart() {
    use std::os::unix::fs::PermissionsExt;
    let clock = Arc::new(AdvancedClock::default());
    let dir = tempfile::tempdir().unwrap();
    let secrets = tempfile::tempdir().unwrap();
    let (secret, file) = ([9_u8; 32], secrets.path().join("tutor.whsec"));
    std::fs::write(&file, format!("whsec_{}\n", STANDARD.encode(secret))).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let (url, received) = webhook(2);
    let configure = |config: &mut Config| {
        let (name, webhook, webhook_secret_file) = ("tutor".into(), Some(url.clone()), Some(file.clone()));
        let (public_key, ca) = (None, None);
        config.recipients.push(RecipientConfig { name, public_key, webhook, webhook_secret_file, ca });
    };
    let harness = start(&clock, dir, configure).await;
    let (grant, certificate) = erase_person(&harness, "ada-canary").await;
    let count = || received.lock().unwrap().len();
    wait_until(async || count() == 3).await;
    let header = |of: &Received, name: &str| of.0.iter().find(|(of, _)| of == name).unwrap().1.clone();
    let all = received.lock().unwrap().clone();
    let id = header(&all[0], "webhook-id");
    for one in &all {
        assert_eq!(header(one, "webhook-id"), id, "a repeated delivery has the same id");
        let signed = format!("{id}.{}.{}", header(one, "webhook-timestamp"), one.1);
        let mut mac = Hmac::<Sha256>::new_from_slice(&secret).unwrap();
        mac.update(signed.as_bytes());
        let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        assert_eq!(header(one, "webhook-signature"), expected);
    }
    let body: serde_json::Value = serde_json::from_str(&all[0].1).unwrap();
    assert_eq!(
        (
            body["type"].as_str().unwrap(),
            &body["data"]["grantIds"][0],
            body["data"]["scope"].as_str().unwrap()
        ),
        ("erasure.completed", &grant.into(), "ERASURE_SCOPE_ALL")
    );
    crate::cli::assert_proto_style(&body, "webhook");
    assert_eq!(body["data"]["cursor"], (certificate.position + 1).to_string());
    let texts = ["ada-canary", "baker", "job", "work"];
    assert!(all.iter().all(|one| texts.iter().all(|text| !one.1.contains(text))), "nothing about the person");

    // What is not answered is delivered again after a restart, and a reminder is a message of its own.
    let harness = start(&clock, harness.stop().await, configure).await;
    wait_until(async || count() == 4).await;
    assert_eq!(header(&received.lock().unwrap()[3], "webhook-id"), id);
    clock.0.fetch_add(5 * DAY_MS, Ordering::SeqCst);
    wait_until(async || count() == 5).await;
    assert_ne!(header(&received.lock().unwrap()[4], "webhook-id"), id);
    // What is answered is not.
    let mut tutor = harness.as_role(Role::Service, "tutor").await;
    let cursor = certificate.position + 1;
    tutor.grant.report_erasure(report(cursor, ErasureOutcome::Deleted, "")).await.unwrap();
    let harness = start(&clock, harness.stop().await, configure).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(count(), 5);
    harness.stop().await;
}
