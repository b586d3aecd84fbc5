//! A person's refusal, objection or withdrawal is recorded, whatever time it is about, even if the person
//! has been erased since. A consent that is about a time before the erasure is refused. Until somebody is
//! erased on a later day, the exact time of the erasure decides, also after a restart.

use crate::erasure::hold;
use crate::harness::{Clients, Harness, ask, choice, consent, fact, publish_notice};
use sayso::proto::{self, ConsentDecision, ErasureScope, Role, SignalKind};
use tonic::{Code, Status};

const PURPOSE: &str = "tone-adaptation";

fn now() -> prost_types::Timestamp {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap();
    let nanos = i32::try_from(now.subsec_nanos()).unwrap();
    prost_types::Timestamp { seconds: i64::try_from(now.as_secs()).unwrap(), nanos }
}

fn options(about: &prost_types::Timestamp) -> Option<proto::WriteOptions> {
    Some(proto::WriteOptions { about: Some(*about), ..Default::default() })
}

fn said(
    decisions: &[ConsentDecision],
    subject: &str,
    about: &prost_types::Timestamp,
) -> proto::RecordConsentRequest {
    let choices = decisions.iter().map(|decision| choice(*decision, PURPOSE, &[], false)).collect();
    proto::RecordConsentRequest { options: options(about), ..consent(subject, choices) }
}

fn erasure(subject: &str) -> proto::SubmitRequestRequest {
    proto::SubmitRequestRequest {
        subject: subject.into(),
        kind: proto::RequestKind::Erasure.into(),
        scope: ErasureScope::All.into(),
        ..Default::default()
    }
}

async fn erase(steward: &mut Clients, subject: &str) {
    steward.rights.submit_request(erasure(subject)).await.unwrap();
}

fn is_erased(refused: &Status) -> bool {
    refused.code() == Code::FailedPrecondition && refused.message().contains("before an erasure")
}

async fn world(people: &[&str]) -> (Harness, Clients, Clients) {
    let harness = Harness::start().await;
    let mut service = harness.as_role(Role::Service, "tutor").await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    publish_notice(&mut steward).await;
    for person in people {
        service.profile.record_attributes(fact(person, "job", "work", "baker")).await.unwrap();
    }
    (harness, service, steward)
}

async fn record_all_refusals(steward: &mut Clients, about: &prost_types::Timestamp) {
    for decision in [ConsentDecision::Withdrawn, ConsentDecision::Refused] {
        steward.consent.record_consent(said(&[decision], "ada", about)).await.unwrap();
    }
    let signal = proto::RecordSignalRequest {
        subject: "ben".into(),
        kind: SignalKind::Objection.into(),
        options: options(about),
        ..Default::default()
    };
    steward.consent.record_signal(signal).await.unwrap();
    let bounds = proto::SetPersonalBoundsRequest {
        subject: "cleo".into(),
        bounds: Some(proto::PersonalBounds { paused: true, ..Default::default() }),
        options: options(about),
    };
    steward.bounds.set_personal_bounds(bounds).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_no_from_before_an_erasure_is_recorded_and_a_yes_is_not() {
    use ConsentDecision::{Given, Refused, Withdrawn};
    let people = ["ada", "ben", "cleo", "dan"];
    let (harness, service, mut steward) = world(&people).await;
    let before = now();
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    for person in people {
        erase(&mut steward, person).await;
    }
    record_all_refusals(&mut steward, &before).await;
    drop((service, steward));
    let harness = harness.restart().await;
    let mut service = harness.as_role(Role::Service, "tutor").await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    record_all_refusals(&mut steward, &before).await;
    let yes = steward.consent.record_consent(said(&[Given], "dan", &before)).await.unwrap_err();
    assert!(is_erased(&yes), "{yes:?}");
    let missing = proto::GetProfileRequest { subject: "dan".into(), ..Default::default() };
    assert_eq!(steward.profile.get_profile(missing).await.unwrap_err().code(), Code::NotFound);
    // Of a yes and a no, the no is recorded.
    let both = steward.consent.record_consent(said(&[Given, Withdrawn], "dan", &before)).await.unwrap_err();
    assert!(
        is_erased(&both) && both.message().contains("withdrawn in the same request is recorded"),
        "{both:?}"
    );
    let shown = proto::GetProfileRequest { subject: "dan".into(), ..Default::default() };
    steward.profile.get_profile(shown).await.unwrap();
    // What is said and recorded now counts as always.
    for person in people {
        service.profile.record_attributes(fact(person, "job", "work", "baker")).await.unwrap();
    }
    steward.consent.record_consent(said(&[Refused], "dan", &now())).await.unwrap();
    let asked =
        service.grant.request_grant(proto::RequestGrantRequest { subject: "dan".into(), ..ask("ada") });
    assert_eq!(asked.await.unwrap().into_inner().allowed.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_moment_of_an_erasure_is_exact_after_a_restart_too() {
    use ConsentDecision::Given;
    let (harness, service, mut steward) = world(&["ada"]).await;
    let before = now();
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    erase(&mut steward, "ada").await;
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    let after = now();
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    drop((service, steward));
    let harness = harness.restart().await;
    let mut service = harness.as_role(Role::Service, "tutor").await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    let early = steward.consent.record_consent(said(&[Given], "ada", &before)).await.unwrap_err();
    assert!(is_erased(&early), "{early:?}");
    // It was said after the erasure and before the restart, on the same day.
    steward.consent.record_consent(said(&[Given], "ada", &after)).await.unwrap();
    service.profile.record_attributes(fact("ada", "job", "work", "baker")).await.unwrap();
    let asked = service.grant.request_grant(ask("ada")).await.unwrap().into_inner();
    assert_eq!(asked.allowed.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_no_that_arrives_while_the_person_is_erased_is_recorded() {
    let (harness, _service, mut steward) = world(&["ada"]).await;
    let mut refusals = Vec::new();
    for _ in 0..32 {
        let mut clients = harness.as_role(Role::Steward, "privacy-team").await;
        refusals.push(tokio::spawn(async move {
            for _ in 0..4 {
                let no = said(&[ConsentDecision::Refused], "ada", &now());
                clients.consent.record_consent(no).await?;
            }
            Ok::<_, Status>(())
        }));
    }
    let mut erased = 0;
    for _ in 0..8 {
        erased += usize::from(steward.rights.submit_request(erasure("ada")).await.is_ok());
    }
    assert!(erased > 0);
    for refusal in refusals {
        refusal.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_for_an_erasure_from_before_an_earlier_one_is_carried_out_or_refused_by_a_hold() {
    let (_harness, mut service, mut steward) = world(&["ada"]).await;
    let before = now();
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    erase(&mut steward, "ada").await;
    for key in ["job", "hobby"] {
        service.profile.record_attributes(fact("ada", key, "work", "baker")).await.unwrap();
    }
    let yes = said(&[ConsentDecision::Given], "ada", &now());
    steward.consent.record_consent(yes).await.unwrap();
    assert_eq!(service.grant.request_grant(ask("ada")).await.unwrap().into_inner().allowed.len(), 2);
    // The erasure keeps a list of the recipients, and lists what holds the same value.
    let late = |scope: ErasureScope, keys: &[&str]| proto::SubmitRequestRequest {
        scope: scope.into(),
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        options: options(&before),
        ..erasure("ada")
    };
    let erased = steward.rights.submit_request(late(ErasureScope::Key, &["job"])).await.unwrap();
    assert_eq!(erased.into_inner().certificate.unwrap().recipients.len(), 1);
    steward.rights.place_hold(hold("ada", &[])).await.unwrap();
    let refused = steward.rights.submit_request(late(ErasureScope::All, &[])).await.unwrap().into_inner();
    assert_eq!(refused.request.unwrap().state(), proto::RequestState::Refused);
}
