//! `sayso bench` makes real calls to a real daemon. The numbers that the bench reports must agree with the
//! daemon's own counts.

use crate::harness::{Harness, int64, json, sayso};
use sayso::proto;
use sayso::proto::Role;
use serde_json::Value;

/// A daemon whose credentials are in the files that `serve --dev` writes.
async fn daemon() -> Harness {
    let harness = Harness::start().await;
    let dev = harness.dir.path().join("dev");
    std::fs::create_dir_all(&dev).unwrap();
    for (role, name) in [
        (Role::Service, "service"),
        (Role::Steward, "steward"),
        (Role::Auditor, "auditor"),
        (Role::Operator, "operator"),
    ] {
        let token = harness.daemon.issuer.mint(role, &format!("dev-{name}"), 3_600).unwrap();
        std::fs::write(dev.join(format!("{name}.token")), token).unwrap();
    }
    std::fs::write(dev.join("log.vkey"), &harness.daemon.vkey).unwrap();
    harness
}

fn bench(harness: &Harness, arguments: &str) -> Value {
    let mut command = sayso(&["--json", "bench"]);
    command.args(arguments.split_whitespace());
    command.env("SAYSO_ADDR", format!("http://{}", harness.daemon.grpc));
    json(&command.env("SAYSO_DATA", harness.dir.path()).output().unwrap())
}

async fn entries(harness: &Harness) -> u64 {
    let mut operator = harness.as_role(Role::Operator, "op").await;
    operator.operator.get_stats(proto::GetStatsRequest {}).await.unwrap().into_inner().tree_size
}

#[tokio::test(flavor = "multi_thread")]
async fn each_benchmark_call_appends_the_expected_number_of_events() {
    let harness = daemon().await;
    let before = entries(&harness).await;
    let append = bench(&harness, "append --calls 50 --subjects 10 --concurrency 5");
    assert_eq!((int64(&append["calls"]), int64(&append["overloaded"])), (50, 0));
    assert_eq!(entries(&harness).await, before + 50);

    let ingest = "ingest --people group --subjects 20 --concurrency 8 --events-per-call 5 --calls 40";
    assert_eq!(bench(&harness, ingest)["calls"], "40");
    assert_eq!(entries(&harness).await, before + 50 + 200);

    // The 40 calls are about 20 subjects: two calls for each subject, with five attributes in each call. So
    // each subject has ten keys.
    let mut steward = harness.as_role(Role::Steward, "steward").await;
    let subject = "bench-group-19".to_owned();
    let request = proto::GetProfileRequest { subject, rebuild: true, ..Default::default() };
    let profile = steward.profile.get_profile(request).await.unwrap().into_inner();
    assert_eq!(profile.attributes.len(), 10);
    let before = entries(&harness).await;
    let rebuilt =
        bench(&harness, "rebuild --people group --subjects 20 --prepared --calls 40 --concurrency 4");
    assert_eq!(rebuilt["calls"], "40");
    // Subjects' reads of their own profiles append no event, so this mode measures reads alone.
    assert_eq!(entries(&harness).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mode_reports_calls_and_latency_percentiles() {
    let harness = daemon().await;
    for mode in ["append", "ingest", "grant", "again", "check", "rebuild", "echo"] {
        let load = "--subjects 8 --concurrency 4 --connections 2 --duration 300ms --warm-up 50ms";
        let measured = bench(&harness, &format!("{mode} {load}"));
        let number = |name: &str| measured[name].as_u64().unwrap_or_else(|| panic!("{mode}: {measured}"));
        assert_eq!((measured["mode"].as_str(), measured["loop"].as_str()), (Some(mode), Some("closed")));
        assert!(int64(&measured["calls"]) > 0, "{mode}");
        let order = ["p50Us", "p90Us", "p99Us", "p999Us", "maxUs"].map(number);
        assert!(order.is_sorted() && order[0] > 0, "{mode}: {order:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_loop_never_exceeds_its_rate_and_reports_the_echo_ceiling() {
    let harness = daemon().await;
    let load = "--subjects 8 --concurrency 4 --rate 40 --duration 1s --warm-up 0s --with-echo";
    let measured = bench(&harness, &format!("check {load}"));
    assert_eq!(measured["loop"], "open");
    // At 40 calls a second for one second, at most 40 calls are made.
    assert!((1..=40).contains(&int64(&measured["calls"])), "{measured}");
    assert!(measured["echoPerS"].as_f64().unwrap() > 0.0 && measured["ofEcho"].as_f64().unwrap() > 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn revoke_mode_measures_how_withdrawals_reach_watchers() {
    let harness = daemon().await;
    let report = bench(&harness, "revoke --watchers 30 --subjects 3 --duration 500ms --warm-up 0s");
    assert_eq!(report["watchers"], 30);
    assert!(int64(&report["calls"]) > 0 && report["maxUs"].as_u64().unwrap() > 0, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_mode_exports_and_verifies_the_whole_log() {
    let harness = daemon().await;
    bench(&harness, "append --calls 30 --subjects 10 --concurrency 5");
    let before = entries(&harness).await;
    let verified = bench(&harness, "verify --duration 10ms");
    assert!(int64(&verified["entries"]) >= before, "{verified}");
    assert!(int64(&verified["rounds"]) > 0 && verified["verifiedPerS"].as_f64().unwrap() > 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_that_cannot_be_measured_are_rejected() {
    let harness = daemon().await;
    for arguments in ["check --people group --prepared", "append --duration 0s", "append --prepared"] {
        let mut command = sayso(&["bench"]);
        command.args(arguments.split_whitespace()).env("SAYSO_DATA", harness.dir.path());
        assert_eq!(command.output().unwrap().status.code(), Some(2), "{arguments}");
    }
}
