//! Tests that a person's no is recorded even if its request has an idempotency key that was used for another
//! request. The answer then says both: that the key was reused, and that the no is recorded.

use crate::harness::{Clients, Harness, ask, choice, consent, fact, publish_notice};
use sayso::proto::{self, ConsentDecision, Provenance, Role, SignalKind, event_body::Event};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use ConsentDecision::{Given, Refused, Withdrawn};

const KEY: &str = "k";
const TONE: &str = "tone-adaptation";

struct World {
    _harness: Harness,
    service: Clients,
    steward: Clients,
}

async fn world() -> World {
    let harness = Harness::start().await;
    let service = harness.as_claim(Role::Service, "tutor").await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    publish_notice(&mut steward).await;
    steward.profile.record_attributes(fact("ada", "job", "work", "baker")).await.unwrap();
    for purpose in ["memory", TONE] {
        let given = choice(Given, purpose, &[], false);
        steward.consent.record_consent(consent("ada", vec![given])).await.unwrap();
    }
    World { _harness: harness, service, steward }
}

impl World {
    async fn allowed(&mut self, purpose: &str) -> usize {
        let request = proto::RequestGrantRequest { purpose: purpose.into(), ..ask("ada") };
        self.service.grant.request_grant(request).await.unwrap().into_inner().allowed.len()
    }

    /// The purposes of the noes in the log, in order.
    async fn noes(&mut self) -> Vec<String> {
        let request =
            proto::ListEventsRequest { subject: "ada".into(), page_size: 1_000, ..Default::default() };
        let page = self.steward.profile.list_events(request).await.unwrap().into_inner();
        let purposes = page.events.into_iter().filter_map(|event| match event.body?.event? {
            Event::ConsentRefused(no) => Some(no.terms?.purposes),
            Event::ConsentWithdrawn(no) => Some(no.terms?.purposes),
            Event::SignalRecorded(signal) => Some(signal.purposes),
            _ => None,
        });
        purposes.flatten().collect()
    }
}

fn with_key() -> Option<proto::WriteOptions> {
    Some(proto::WriteOptions { idempotency_key: KEY.into(), ..Default::default() })
}

/// A request with the key that gives consent to one purpose and says no to another.
fn mixed(no: ConsentDecision, purpose: &str) -> proto::RecordConsentRequest {
    let choices = vec![choice(Given, "safety", &[], false), choice(no, purpose, &[], false)];
    proto::RecordConsentRequest { options: with_key(), ..consent("ada", choices) }
}

/// Whether an error says, to people and to programs, that the no in the request is recorded.
fn says_recorded(error: &Status) -> bool {
    let details = error.get_details_precondition_failure();
    let kinds = details.into_iter().flat_map(|failure| failure.violations).map(|violation| violation.r#type);
    let is_listed = kinds.into_iter().any(|kind| kind == "REFUSALS_RECORDED");
    is_listed && error.message().contains("withdrawn in the same request is recorded")
}

fn reason(error: &Status) -> String {
    error.get_details_error_info().unwrap().reason
}

#[tokio::test(flavor = "multi_thread")]
async fn every_no_in_requests_with_the_same_key_is_recorded_once() {
    let mut world = world().await;
    assert_eq!((world.allowed("memory").await, world.allowed(TONE).await), (1, 1));
    let service = &mut world.service;
    for purpose in ["memory", TONE, "memory", TONE] {
        let denied = service.consent.record_consent(mixed(Withdrawn, purpose)).await.unwrap_err();
        assert_eq!(
            (denied.code(), reason(&denied)),
            (Code::PermissionDenied, "CHANNEL_ROLE_REQUIRED".into())
        );
        assert!(says_recorded(&denied), "{denied:?}");
    }
    assert_eq!((world.allowed("memory").await, world.allowed(TONE).await), (0, 0));
    assert_eq!(world.noes().await, ["memory", TONE]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_no_is_recorded_after_another_method_used_the_key() {
    let mut world = world().await;
    // Bounds refuse this inference. The attempt is recorded under the key.
    let mut inferred = fact("ada", "mood", "health", "low");
    inferred.attributes[0].provenance = Provenance::Inferred.into();
    inferred.options = with_key();
    let refused = world.service.profile.record_attributes(inferred).await.unwrap_err();
    assert_eq!(reason(&refused), "RECORDING_REFUSED");
    let denied = world.service.consent.record_consent(mixed(Withdrawn, "memory")).await.unwrap_err();
    assert!(says_recorded(&denied), "{denied:?}");
    assert_eq!(world.allowed("memory").await, 0);

    // An observation was recorded under the key. Then even what is only a no is recorded, once.
    let mut observed = fact("ada", "pace", "work", "fast");
    observed.attributes[0].provenance = Provenance::Observed.into();
    observed.options = with_key();
    world.service.profile.record_attributes(observed).await.unwrap();
    let no = proto::RecordConsentRequest {
        options: with_key(),
        ..consent("ada", vec![choice(Refused, TONE, &[], false)])
    };
    let signal = proto::RecordSignalRequest {
        subject: "ada".into(),
        kind: SignalKind::Restriction.into(),
        purposes: vec!["safety".into()],
        options: with_key(),
        ..Default::default()
    };
    for _ in 0..2 {
        let reused = world.service.consent.record_consent(no.clone()).await.unwrap_err();
        assert_eq!((reused.code(), reason(&reused)), (Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED".into()));
        assert!(says_recorded(&reused), "{reused:?}");
        let reused = world.service.consent.record_signal(signal.clone()).await.unwrap_err();
        assert_eq!(reused.code(), Code::AlreadyExists);
        assert!(says_recorded(&reused), "{reused:?}");
    }
    assert_eq!(world.noes().await, ["memory", TONE, "safety"]);
    // A yes under a used key is not recorded, and lifting a signal is not, either.
    let yes = proto::RecordConsentRequest {
        options: with_key(),
        ..consent("ada", vec![choice(Given, TONE, &[], false)])
    };
    world.steward.profile.record_attributes(with_steward_key()).await.unwrap();
    let lift = proto::RecordSignalRequest { lift: true, ..signal };
    let reused = world.steward.consent.record_consent(yes).await.unwrap_err();
    assert!(reused.code() == Code::AlreadyExists && !says_recorded(&reused), "{reused:?}");
    let reused = world.steward.consent.record_signal(lift).await.unwrap_err();
    assert!(reused.code() == Code::AlreadyExists && !says_recorded(&reused), "{reused:?}");
}

fn with_steward_key() -> proto::RecordAttributesRequest {
    proto::RecordAttributesRequest { options: with_key(), ..fact("ada", "town", "work", "Bonn") }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_no_is_recorded_beside_a_consent_with_wrong_fields() {
    for wrong in ["notice", "channel", "expires_at", "recipients"] {
        let mut world = world().await;
        let mut request = mixed(Withdrawn, "memory");
        match wrong {
            "notice" => {
                let id = "never-published".into();
                request.notice = Some(proto::NoticeServed { id, ..Default::default() });
            }
            "channel" => request.channel = "spoken over the counter ".repeat(9),
            "expires_at" => {
                request.choices[0].expires_at = Some(prost_types::Timestamp { seconds: 1, nanos: 0 });
            }
            _ => request.choices[0].recipients = vec!["tu\u{200b}tor".into()],
        }
        let refused = world.steward.consent.record_consent(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{wrong}: {refused:?}");
        assert!(says_recorded(&refused) && refused.message().contains(wrong), "{wrong}: {refused:?}");
        assert_eq!((world.allowed("memory").await, world.allowed(TONE).await), (0, 1), "{wrong}");
    }
}
