//! Tests clock faults: the machine's clock jumps, freezes and recovers. While the clock is in doubt, all use
//! is denied, refusals are still recorded, expired grants and credentials stay expired, and the daemon can
//! start.

use crate::authorization::http;
use crate::crash::Served;
use crate::erasure::{erasure, history, record, verify};
use crate::harness::{self, Clients, Harness, ask, choice, config, consent, fact};
use sayso::clock::{Clock, SystemClock};
use sayso::daemon::Daemon;
use sayso::proto::{self, ConsentDecision, DenialReason, ErasureScope, RevocationReason, Role, SignalKind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;
use tonic::{Code, Status};
use tonic_types::StatusExt;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const YEAR: i64 = 365 * 24 * HOUR;

/// A clock that the tests set.
#[derive(Default)]
struct TestClock {
    /// Time that has passed in addition to the real time.
    passed_ms: AtomicI64,
    /// Difference between the wall clock and the true time.
    off_ms: AtomicI64,
    /// Whether the wall clock stands still.
    is_frozen: AtomicBool,
    /// What the wall clock shows while it is frozen.
    frozen_ms: AtomicI64,
}

impl TestClock {
    fn true_ms(&self) -> i64 {
        i64::try_from(SystemClock.now_ms()).unwrap() + self.passed_ms.load(Ordering::SeqCst)
    }

    fn advance(&self, ms: i64) {
        self.passed_ms.fetch_add(ms, Ordering::SeqCst);
    }

    fn set_offset(&self, ms: i64) {
        self.is_frozen.store(false, Ordering::SeqCst);
        self.off_ms.store(ms, Ordering::SeqCst);
    }

    fn freeze(&self) {
        self.frozen_ms.store(self.true_ms(), Ordering::SeqCst);
        self.is_frozen.store(true, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now_ms(&self) -> u64 {
        let now_ms = match self.is_frozen.load(Ordering::SeqCst) {
            true => self.frozen_ms.load(Ordering::SeqCst),
            false => self.true_ms() + self.off_ms.load(Ordering::SeqCst),
        };
        u64::try_from(now_ms).unwrap()
    }

    fn steady_ms(&self) -> u64 {
        SystemClock.steady_ms() + u64::try_from(self.passed_ms.load(Ordering::SeqCst)).unwrap()
    }

    fn fill(&self, bytes: &mut [u8]) {
        SystemClock.fill(bytes);
    }
}

async fn start(test_clock: &Arc<TestClock>, dir: tempfile::TempDir) -> Harness {
    let mut config = config(dir.path());
    config.rights.expiry_interval_ms = 10;
    config.built_in_tokens.days_max = 36_500;
    let daemon = Daemon::start_with(&config, Arc::clone(test_clock) as _).await.unwrap();
    Harness { dir, daemon }
}

async fn start_with_clients() -> (Arc<TestClock>, Harness, Clients, Clients) {
    let test_clock = Arc::new(TestClock::default());
    let harness = start(&test_clock, tempfile::tempdir().unwrap()).await;
    let (service, mut steward) = clients(&harness).await;
    harness::publish_notice(&mut steward).await;
    (test_clock, harness, service, steward)
}

async fn clients(harness: &Harness) -> (Clients, Clients) {
    // These tokens are valid at every time that the tests set.
    let mint =
        |role, name| harness.daemon.issuer.mint(harness::claim_for(role), name, 20 * 365 * 86_400).unwrap();
    let (service, steward) = (mint(Role::Service, "tutor"), mint(Role::Steward, "privacy-team"));
    (harness.with_token(Some(&service)).await, harness.with_token(Some(&steward)).await)
}

/// Records three attributes and a consent that covers them.
async fn record_with_consent(service: &mut Clients, steward: &mut Clients, subject: &str) {
    for key in ["job", "boss", "desk"] {
        record(service, fact(subject, key, "work", "x")).await;
    }
    let yes = choice(ConsentDecision::Given, "tone-adaptation", &[], false);
    steward.consent.record_consent(consent(subject, vec![yes])).await.unwrap();
}

fn grant_for_seconds(subject: &str, seconds: i64) -> proto::RequestGrantRequest {
    proto::RequestGrantRequest { ttl: Some(prost_types::Duration { seconds, nanos: 0 }), ..ask(subject) }
}

async fn granted(service: &mut Clients, request: proto::RequestGrantRequest) -> proto::RequestGrantResponse {
    service.grant.request_grant(request).await.unwrap().into_inner()
}

async fn grant_status(
    service: &mut Clients,
    grant: &proto::RequestGrantResponse,
) -> (bool, RevocationReason) {
    let request = proto::CheckGrantRequest { grant_id: grant.grant_id.clone(), keys: Vec::new() };
    let answer = service.grant.check_grant(request).await.unwrap().into_inner();
    (answer.valid, answer.reason())
}

fn error_reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

async fn readiness(harness: &Harness) -> String {
    http(harness.daemon.http, "/readyz").await
}

/// Records refusals and corrections, requests a partial erasure, and has a steward view the profile. Asserts
/// that the history contains the refusals, the corrections and the view.
async fn assert_refusals_are_recorded(service: &mut Clients, steward: &mut Clients, subject: &str) {
    let withdrawn = choice(ConsentDecision::Withdrawn, "tone-adaptation", &[], false);
    let refused = choice(ConsentDecision::Refused, "content-relevance", &[], false);
    for decision in [withdrawn, refused] {
        service.consent.record_consent(consent(subject, vec![decision])).await.unwrap();
    }
    for kind in [SignalKind::Restriction, SignalKind::Objection, SignalKind::Pause] {
        let signal =
            proto::RecordSignalRequest { subject: subject.into(), kind: kind.into(), ..Default::default() };
        service.consent.record_signal(signal).await.unwrap();
    }
    let own = proto::PersonalBounds { declared_only: true, ..Default::default() };
    let bounds =
        proto::SetPersonalBoundsRequest { subject: subject.into(), bounds: Some(own), options: None };
    steward.bounds.set_personal_bounds(bounds).await.unwrap();
    let wrong =
        proto::ContestAttributeRequest { subject: subject.into(), key: "job".into(), ..Default::default() };
    steward.profile.contest_attribute(wrong).await.unwrap();
    // The time that the caller states for a write may also be far ahead.
    let ahead = i64::try_from(SystemClock.now_ms() / 1_000).unwrap() + 20 * 365 * 86_400;
    let about = Some(prost_types::Timestamp { seconds: ahead, nanos: 0 });
    let remove = proto::RemoveAttributesRequest {
        subject: subject.into(),
        keys: vec!["boss".into()],
        reason: "wrong".into(),
        options: Some(proto::WriteOptions { about, ..Default::default() }),
    };
    steward.profile.remove_attributes(remove).await.unwrap();
    steward.rights.submit_request(erasure(subject, ErasureScope::Key, "desk")).await.unwrap();
    let view = proto::GetProfileRequest { subject: subject.into(), ..Default::default() };
    steward.profile.get_profile(view).await.unwrap();
    let seen = history(steward, subject).await;
    for kind in [
        "ConsentWithdrawn(",
        "ConsentRefused(",
        "SignalRecorded(",
        "PersonalBoundsSet(",
        "AttributeContested(",
        "AttributeRemoved(",
        "RecordViewed(",
    ] {
        assert!(seen.contains(kind), "{kind} in {seen}");
    }
}

/// Asserts that all use is denied because the clock is in doubt.
async fn assert_use_is_denied(
    service: &mut Clients,
    steward: &mut Clients,
    grant: &proto::RequestGrantResponse,
    subject: &str,
) {
    assert_eq!(grant_status(service, grant).await, (false, RevocationReason::ClockSkewed));
    let empty = granted(service, ask(subject)).await;
    let reasons: Vec<DenialReason> = empty.withheld.iter().map(proto::Withheld::reason).collect();
    assert!(empty.allowed.is_empty() && reasons.contains(&DenialReason::ClockSkewed), "{empty:?}");
    assert!(!grant_status(service, &empty).await.0);
    let evaluate = proto::EvaluateUseRequest {
        subject: subject.into(),
        recipient: "tutor".into(),
        purpose: "tone-adaptation".into(),
        ..Default::default()
    };
    let evaluated = steward.grant.evaluate_use(evaluate).await.unwrap().into_inner();
    assert!(evaluated.allowed.is_empty(), "{evaluated:?}");
    let build = proto::RegisterArtifactRequest {
        grant_id: grant.grant_id.clone(),
        kind: proto::ArtifactKind::Embedding.into(),
        name: "vectors".into(),
        ..Default::default()
    };
    let refused = service.grant.register_artifact(build).await.unwrap_err();
    assert_eq!(
        (refused.code(), error_reason(&refused)),
        (Code::FailedPrecondition, "CLOCK_SKEWED".into()),
        "{refused:?}"
    );
}

async fn stats(harness: &Harness) -> proto::GetStatsResponse {
    let mut operator = harness.as_role(Role::Operator, "ops").await;
    operator.operator.get_stats(proto::GetStatsRequest {}).await.unwrap().into_inner()
}

fn timestamp(ms: i64) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: ms.div_euclid(1_000), nanos: 0 }
}

async fn accept_clock(harness: &Harness, ms: i64) -> Result<proto::AcceptClockResponse, Status> {
    let mut operator = harness.as_role(Role::Operator, "ops").await;
    let request = proto::AcceptClockRequest { clock: Some(timestamp(ms)), options: None };
    Ok(operator.operator.accept_clock(request).await?.into_inner())
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_clock_goes_back_expired_grants_stay_invalid_and_refusals_are_recorded() {
    let (test_clock, harness, mut service, mut steward) = start_with_clients().await;
    for subject in ["ada", "ben"] {
        record_with_consent(&mut service, &mut steward, subject).await;
    }
    let short = granted(&mut service, grant_for_seconds("ben", 60)).await;
    let long = granted(&mut service, grant_for_seconds("ben", 86_400)).await;
    assert_eq!(grant_status(&mut service, &long).await, (true, RevocationReason::Unspecified));
    test_clock.advance(10 * MINUTE);
    assert_eq!(grant_status(&mut service, &short).await, (false, RevocationReason::GrantExpired));

    test_clock.set_offset(-HOUR);
    assert_eq!(grant_status(&mut service, &short).await, (false, RevocationReason::GrantExpired));
    assert_use_is_denied(&mut service, &mut steward, &long, "ben").await;
    let state = readiness(&harness).await;
    assert!(state.starts_with("HTTP/1.1 503") && state.contains("behind"), "{state}");
    // Daemons of other tests in this process write the same metrics. So wait until the metrics show the
    // state of this daemon.
    let shown = async {
        loop {
            let numbers = http(harness.daemon.http, "/metrics").await;
            let is_skewed = numbers.contains("sayso_clock_skewed{controller=\"dev\"} 1");
            if is_skewed && numbers.contains("sayso_clock_skew_seconds{controller=\"dev\"} -36") {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), shown).await.expect("the metrics show the skew");
    assert_refusals_are_recorded(&mut service, &mut steward, "ada").await;

    // The same is true after a restart with this clock.
    drop((service, steward));
    let harness = start(&test_clock, harness.stop().await).await;
    let (mut service, mut steward) = clients(&harness).await;
    assert_eq!(grant_status(&mut service, &short).await, (false, RevocationReason::GrantExpired));
    assert_use_is_denied(&mut service, &mut steward, &long, "ben").await;
    steward.rights.submit_request(erasure("ada", ErasureScope::All, "")).await.unwrap();

    // When the clock is right again, use resumes without an operator.
    test_clock.set_offset(0);
    assert_eq!(grant_status(&mut service, &long).await, (true, RevocationReason::Unspecified));
    assert!(!granted(&mut service, ask("ben")).await.allowed.is_empty());
    assert!(readiness(&harness).await.starts_with("HTTP/1.1 200"));
    assert_eq!(verify(&harness)["subjects"], "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_ten_years_ahead_does_not_move_the_ledger_time() {
    let (test_clock, harness, mut service, mut steward) = start_with_clients().await;
    for subject in ["ada", "ben"] {
        record_with_consent(&mut service, &mut steward, subject).await;
    }
    let grant = granted(&mut service, grant_for_seconds("ben", 86_400)).await;
    test_clock.set_offset(10 * YEAR);
    assert_use_is_denied(&mut service, &mut steward, &grant, "ben").await;
    assert_refusals_are_recorded(&mut service, &mut steward, "ada").await;
    // The wrong clock expires no credential, and tokens that are issued meanwhile are valid.
    let read = proto::GetProfileRequest { subject: "ben".into(), ..Default::default() };
    assert_eq!(steward.profile.get_profile(read).await.unwrap().into_inner().attributes.len(), 3);
    let now = stats(&harness).await;
    let drift = now.ledger_time.unwrap().seconds - test_clock.true_ms() / 1_000;
    assert!(drift.abs() < 10 && now.clock_skew.contains("ahead"), "{drift} {}", now.clock_skew);
    test_clock.set_offset(0);
    assert_eq!(grant_status(&mut service, &grant).await, (true, RevocationReason::Unspecified));
    steward.rights.submit_request(erasure("ada", ErasureScope::All, "")).await.unwrap();
    record(&mut service, fact("ada", "job", "work", "anew")).await;
    drop((service, steward));
    let harness = start(&test_clock, harness.stop().await).await;
    assert!(readiness(&harness).await.starts_with("HTTP/1.1 200"));
    verify(&harness);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_clock_does_not_extend_grants() {
    let (test_clock, harness, mut service, mut steward) = start_with_clients().await;
    record_with_consent(&mut service, &mut steward, "ada").await;
    let (short, long) = (
        granted(&mut service, grant_for_seconds("ada", 60)).await,
        granted(&mut service, grant_for_seconds("ada", 86_400)).await,
    );
    test_clock.freeze();
    test_clock.advance(2 * MINUTE);
    assert_eq!(grant_status(&mut service, &short).await, (false, RevocationReason::GrantExpired));
    assert_use_is_denied(&mut service, &mut steward, &long, "ada").await;
    assert!(readiness(&harness).await.starts_with("HTTP/1.1 503"));
    assert_refusals_are_recorded(&mut service, &mut steward, "ada").await;
}

/// The log contains far-future times, because events were written while the clock was ten years ahead.
#[tokio::test(flavor = "multi_thread")]
async fn the_operator_can_recover_a_log_that_contains_far_future_times() {
    let test_clock = Arc::new(TestClock::default());
    test_clock.set_offset(10 * YEAR);
    let harness = start(&test_clock, tempfile::tempdir().unwrap()).await;
    let (mut service, mut steward) = clients(&harness).await;
    harness::publish_notice(&mut steward).await;
    for subject in ["ada", "ben", "cleo"] {
        record_with_consent(&mut service, &mut steward, subject).await;
    }
    let grant = granted(&mut service, grant_for_seconds("ben", 86_400)).await;
    steward.rights.submit_request(erasure("cleo", ErasureScope::All, "")).await.unwrap();
    drop((service, steward));
    let dir = harness.stop().await;
    // Older data folders have no file for the ledger's time.
    std::fs::remove_file(dir.path().join("clock")).unwrap();

    test_clock.set_offset(0);
    let harness = start(&test_clock, dir).await;
    let (mut service, mut steward) = clients(&harness).await;
    assert_use_is_denied(&mut service, &mut steward, &grant, "ben").await;
    assert_refusals_are_recorded(&mut service, &mut steward, "ada").await;
    steward.rights.submit_request(erasure("ada", ErasureScope::All, "")).await.unwrap();
    // A subject who was erased under the wrong clock can be recorded again, with an objection.
    let signal = proto::RecordSignalRequest {
        subject: "cleo".into(),
        kind: SignalKind::Objection.into(),
        ..Default::default()
    };
    harness.as_role(Role::Service, "speaker").await.consent.record_signal(signal).await.unwrap();

    let wrong = accept_clock(&harness, test_clock.true_ms() + 10 * YEAR).await.unwrap_err();
    assert_eq!(wrong.code(), Code::FailedPrecondition, "{wrong:?}");
    let refused = steward.operator.accept_clock(proto::AcceptClockRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let accepted = accept_clock(&harness, test_clock.true_ms()).await.unwrap();
    let ahead = accepted.ledger_time.unwrap().seconds - test_clock.true_ms() / 1_000;
    assert!((10 * YEAR / 1_000 - ahead).abs() < 120, "{ahead}");
    assert!(readiness(&harness).await.starts_with("HTTP/1.1 200"));
    let repeated = accept_clock(&harness, test_clock.true_ms()).await.unwrap_err();
    assert_eq!(repeated.code(), Code::FailedPrecondition, "the clock is no longer in doubt: {repeated:?}");

    // Use resumes, and new grants expire on time.
    let fresh = granted(&mut service, grant_for_seconds("ben", 60)).await;
    assert!(!fresh.allowed.is_empty() && grant_status(&mut service, &fresh).await.0);
    test_clock.advance(2 * MINUTE);
    assert_eq!(grant_status(&mut service, &fresh).await, (false, RevocationReason::GrantExpired));
    drop((service, steward));
    let harness = start(&test_clock, harness.stop().await).await;
    assert!(readiness(&harness).await.starts_with("HTTP/1.1 200"));
    let (mut service, _) = clients(&harness).await;
    assert_eq!(grant_status(&mut service, &fresh).await, (false, RevocationReason::GrantExpired));
    assert!(!granted(&mut service, grant_for_seconds("ben", 60)).await.allowed.is_empty());
    verify(&harness);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_clock_is_in_doubt_an_expired_credential_permits_only_refusals() {
    let (test_clock, harness, mut service, mut steward) = start_with_clients().await;
    record_with_consent(&mut service, &mut steward, "ada").await;
    let token = harness.daemon.issuer.mint(Role::Subject, "ada", 60).unwrap();
    let mut ada = harness.with_token(Some(&token)).await;
    let read = || proto::GetProfileRequest::default();
    ada.profile.get_profile(read()).await.unwrap();
    test_clock.advance(2 * MINUTE);
    let expired = ada.profile.get_profile(read()).await.unwrap_err();
    assert_eq!(expired.code(), Code::Unauthenticated);
    let pause = || proto::RecordSignalRequest { kind: SignalKind::Pause.into(), ..Default::default() };
    assert_eq!(ada.consent.record_signal(pause()).await.unwrap_err().code(), Code::Unauthenticated);
    test_clock.set_offset(-HOUR);
    let still = ada.profile.get_profile(read()).await.unwrap_err();
    assert_eq!(still.code(), Code::Unauthenticated, "the expired credential is valid again: {still:?}");
    // The credential has expired by the ledger's time, so it cannot read. It is still valid by the machine's
    // clock, so it can record a refusal.
    ada.consent.record_signal(pause()).await.unwrap();
    // A credential that is valid by the machine's clock and by the ledger's time permits everything.
    steward
        .profile
        .get_profile(proto::GetProfileRequest { subject: "ada".into(), ..Default::default() })
        .await
        .unwrap();
}

/// libfaketime, a preloaded library that changes the time which the C library reports (Debian: faketime).
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// Runs the real binary with a clock that libfaketime reads from a file.
struct FakeClock {
    file: tempfile::NamedTempFile,
}

impl FakeClock {
    fn new() -> Self {
        let architecture = std::env::consts::ARCH;
        let library = FAKETIME.replace("x86_64", architecture);
        assert!(
            Path::new(&library).exists(),
            "install faketime (Debian), or run tests/setup.sh: no {library}"
        );
        let file = tempfile::NamedTempFile::new().unwrap();
        let clock = Self { file };
        clock.set("+0");
        clock
    }

    /// Sets the offset in the format of libfaketime, for example `-1h` or `+10y`.
    fn set(&self, offset: &str) {
        std::fs::write(self.file.path(), format!("{offset}\n")).unwrap();
    }

    fn start(&self, data: &Path) -> Served {
        let library = FAKETIME.replace("x86_64", std::env::consts::ARCH);
        let file = self.file.path().to_str().unwrap();
        let environment = [
            ("LD_PRELOAD", library.as_str()),
            ("FAKETIME_TIMESTAMP_FILE", file),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("DONT_FAKE_MONOTONIC", "1"),
        ];
        Served::start_in(data, &environment)
    }
}

fn run(served: &Served, arguments: &[&str]) -> String {
    let output = served.run(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn request_grant(served: &Served, subject: &str) -> serde_json::Value {
    serde_json::from_str(&run(served, &["--json", "grant", subject, "--purpose", "tone-adaptation"])).unwrap()
}

async fn status_of(served: &Served) -> String {
    http(served.http.parse().unwrap(), "/readyz").await
}

async fn wait_for_readiness(served: &Served, code: &str) {
    for _ in 0..600 {
        if status_of(served).await.starts_with(&format!("HTTP/1.1 {code}")) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("readiness does not become {code}: {}", status_of(served).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_process_survives_clock_jumps() {
    let (clock, dir) = (FakeClock::new(), tempfile::tempdir().unwrap());
    let data = dir.path().join("data");
    let served = clock.start(&data);
    let notice = dir.path().join("notice.txt");
    std::fs::write(&notice, "May we?").unwrap();
    run(&served, &["notice", "publish", "n", "--version", "1", "--file", notice.to_str().unwrap()]);
    for subject in ["ada", "bob"] {
        run(&served, &["record", subject, "job", "baker", "--category", "work"]);
        run(&served, &["consent", "give", subject, "--purpose", "tone-adaptation", "--notice", "n"]);
    }
    assert!(!request_grant(&served, "ada")["allowed"].as_array().unwrap().is_empty());
    // The clock goes back one hour. The daemon is killed and started with this clock.
    clock.set("-1h");
    wait_for_readiness(&served, "503").await;
    assert!(request_grant(&served, "ada")["allowed"].as_array().is_none_or(Vec::is_empty));
    run(&served, &["consent", "withdraw", "ada", "--purpose", "tone-adaptation"]);
    served.kill();
    let served = clock.start(&data);
    assert!(status_of(&served).await.contains("behind"));
    run(&served, &["erase", "ada", "--scope", "all"]);
    assert!(run(&served, &["stats"]).contains("no use is allowed"));
    // The clock jumps ten years ahead, an event is recorded, and the clock returns. After that, use is
    // allowed again.
    clock.set("+10y");
    run(&served, &["signal", "pause", "bob"]);
    run(&served, &["signal", "lift", "bob", "--what", "pause"]);
    clock.set("+0");
    wait_for_readiness(&served, "200").await;
    assert!(!request_grant(&served, "bob")["allowed"].as_array().unwrap().is_empty());
    served.verify(dir.path());
    served.kill();
    // If the daemon starts with a clock ten years ahead of its log, it waits for the operator's confirmation
    // and records refusals.
    clock.set("+10y");
    let served = clock.start(&data);
    assert!(status_of(&served).await.contains("ahead"));
    run(&served, &["signal", "object", "bob"]);
    let refused = served.run(&["accept-clock", "--now", "2020-01-01"]).output().unwrap();
    assert!(!refused.status.success());
    let stats = run(&served, &["--json", "stats"]);
    let future =
        serde_json::from_str::<serde_json::Value>(&stats).unwrap()["clock"].as_str().unwrap().to_owned();
    run(&served, &["accept-clock", "--now", &future]);
    wait_for_readiness(&served, "200").await;
    // The operator confirmed a wrong time. The clock returns to the right time, but the log has times ten
    // years ahead.
    clock.set("+0");
    wait_for_readiness(&served, "503").await;
    run(&served, &["erase", "bob", "--scope", "all"]);
    served.kill();
    let served = clock.start(&data);
    wait_for_readiness(&served, "503").await;
    let now = jiff::Timestamp::now().to_string();
    run(&served, &["accept-clock", "--now", &now]);
    wait_for_readiness(&served, "200").await;
    run(&served, &["record", "cleo", "job", "cook", "--category", "work"]);
    run(&served, &["consent", "give", "cleo", "--purpose", "tone-adaptation", "--notice", "n"]);
    assert!(!request_grant(&served, "cleo")["allowed"].as_array().unwrap().is_empty());
    served.verify(dir.path());
    served.kill();
    assert_starts_ready(&clock, &data).await;
}

async fn assert_starts_ready(clock: &FakeClock, data: &Path) {
    let served = clock.start(data);
    wait_for_readiness(&served, "200").await;
    served.kill();
}
