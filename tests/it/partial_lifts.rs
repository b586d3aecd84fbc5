//! Tests that retention keeps the event that lifted a part of a signal, as long as the rest of the signal
//! is in force.

use crate::erasure::{record, verify};
use crate::harness::{self, Clients, Harness, choice, consent, fact};
use crate::rights::{AdvancedClock, start, wait_until};
use sayso::proto::{self, ConsentDecision, RetentionClass, Role, SignalKind, event_body::Event};
use std::sync::Arc;
use std::sync::atomic::Ordering;

const DAY_MS: u64 = 86_400_000;

fn signal(kind: SignalKind, purposes: &[&str], lift: bool) -> proto::RecordSignalRequest {
    proto::RecordSignalRequest {
        subject: "ada".into(),
        kind: kind.into(),
        purposes: purposes.iter().map(|&purpose| purpose.to_owned()).collect(),
        lift,
        ..Default::default()
    }
}

/// The kinds of signals in the history, and which of them were lifted.
async fn signals(steward: &mut Clients) -> Vec<(SignalKind, bool)> {
    let request = proto::ListEventsRequest { subject: "ada".into(), page_size: 1_000, ..Default::default() };
    let page = steward.profile.list_events(request).await.unwrap().into_inner();
    let signals = page.events.into_iter().filter_map(|event| match event.body?.event? {
        Event::SignalRecorded(signal) => Some((signal.kind(), false)),
        Event::SignalLifted(signal) => Some((signal.kind(), true)),
        _ => None,
    });
    signals.collect()
}

async fn allowed(service: &mut Clients, purpose: &str) -> usize {
    let purpose = purpose.to_owned();
    let request = proto::RequestGrantRequest { subject: "ada".into(), purpose, ..Default::default() };
    service.grant.request_grant(request).await.unwrap().into_inner().allowed.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_keeps_what_lifted_a_part_of_a_signal_that_is_in_force() {
    let clock = Arc::new(AdvancedClock::default());
    let harness = start(Arc::clone(&clock), tempfile::tempdir().unwrap()).await;
    let mut service = harness.as_role(Role::Service, "tutor").await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    harness::publish_notice(&mut steward).await;
    record(&mut service, fact("ada", "job", "work", "baker")).await;
    let given = ["memory", "tone-adaptation"].map(|of| choice(ConsentDecision::Given, of, &[], false));
    steward.consent.record_consent(consent("ada", given.to_vec())).await.unwrap();
    for signal in [
        signal(SignalKind::Objection, &["memory", "tone-adaptation"], false),
        signal(SignalKind::Objection, &["memory"], true),
        signal(SignalKind::Pause, &[], false),
        signal(SignalKind::Pause, &[], true),
    ] {
        steward.consent.record_signal(signal).await.unwrap();
    }
    assert_eq!(
        (allowed(&mut service, "memory").await, allowed(&mut service, "tone-adaptation").await),
        (1, 0)
    );
    let rule = proto::SetRetentionRequest {
        class: RetentionClass::Consent.into(),
        keep: Some(prost_types::Duration { seconds: 5 * 86_400, nanos: 0 }),
        ..Default::default()
    };
    steward.rights.set_retention(rule).await.unwrap();
    clock.0.store(6 * DAY_MS, Ordering::SeqCst);
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    let is_pause = |(kind, _): &(SignalKind, bool)| *kind == SignalKind::Pause;
    wait_until(async || !signals(&mut steward).await.iter().any(is_pause)).await;
    let objection = SignalKind::Objection;
    assert_eq!(signals(&mut steward).await, [(objection, false), (objection, true)]);
    // A restart folds what is left.
    let harness: Harness = start(clock, harness.stop().await).await;
    let mut service = harness.as_role(Role::Service, "tutor").await;
    assert_eq!(
        (allowed(&mut service, "memory").await, allowed(&mut service, "tone-adaptation").await),
        (1, 0)
    );
    verify(&harness);
    // Once the rest is lifted, retention ends all of it.
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    steward.consent.record_signal(signal(objection, &[], true)).await.unwrap();
    wait_until(async || signals(&mut steward).await == [(objection, true)]).await;
}
