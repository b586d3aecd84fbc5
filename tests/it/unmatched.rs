//! Tests that a request is accepted even if it names something that the ledger does not have. Examples are a
//! refusal or withdrawal for an unknown person or recipient, a withdrawal if no consent is in force, and the
//! lifting of a signal that is not in force. To the person, a channel or a steward, the answer says what was
//! not found; but a channel does not learn which recipients have a person's data. A service never learns what
//! was not found: otherwise it could learn which people the ledger has data about.

use crate::harness::{self, Clients, Harness, choice, consent, json, publish_notice, stdout};
use sayso::proto::{self, ConsentDecision, Role, SignalKind, UnmatchedKind};
use tonic::Code;

const PURPOSE: &str = "tone-adaptation";

async fn start() -> (Harness, Clients) {
    let harness = Harness::start().await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    publish_notice(&mut steward).await;
    (harness, steward)
}

fn decided(subject: &str, decision: ConsentDecision, recipients: &[&str]) -> proto::RecordConsentRequest {
    let mut choice = choice(decision, PURPOSE, &[], false);
    choice.recipients = recipients.iter().map(|&name| name.to_owned()).collect();
    consent(subject, vec![choice])
}

/// Records a decision. Returns how many events were recorded, and what matched nothing.
async fn decide(clients: &mut Clients, request: proto::RecordConsentRequest) -> (usize, Vec<String>) {
    let answer = clients.consent.record_consent(request).await.unwrap().into_inner();
    (answer.receipt.unwrap().events.len(), named(answer.unmatched))
}

fn named(unmatched: Vec<proto::Unmatched>) -> Vec<String> {
    let name = |each: proto::Unmatched| match each.kind() {
        UnmatchedKind::Recipient => format!("recipient {}", each.recipient),
        UnmatchedKind::Consent => format!("consent {}", each.choice),
        kind => kind.as_str_name().trim_start_matches("UNMATCHED_KIND_").to_lowercase(),
    };
    unmatched.into_iter().map(name).collect()
}

fn signal(subject: &str, kind: SignalKind, lift: bool) -> proto::RecordSignalRequest {
    proto::RecordSignalRequest { subject: subject.into(), kind: kind.into(), lift, ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_no_that_matches_nothing_is_recorded_and_the_person_a_channel_or_a_steward_is_told() {
    use ConsentDecision::{Given, Refused, Withdrawn};
    let (harness, steward) = start().await;
    let callers = [
        ("ada", steward),
        ("ben", harness.as_claim(Role::Channel, "app").await),
        ("cleo", harness.as_role(Role::Subject, "cleo").await),
    ];
    for (subject, mut caller) in callers {
        // To a channel, a name is new that no grant of anybody has.
        let (coach, tutor) = (format!("coach of {subject}"), format!("tutor of {subject}"));
        let (coach, tutor) = (coach.as_str(), tutor.as_str());
        let mut says = async |decision, recipients: &[&str]| {
            decide(&mut caller, decided(subject, decision, recipients)).await
        };
        assert_eq!(says(Withdrawn, &[]).await, (1, vec!["subject".into()]), "{subject}");
        assert_eq!(says(Withdrawn, &[]).await, (1, vec!["consent 0".into()]));
        assert_eq!(says(Refused, &[coach]).await, (1, vec![format!("recipient {coach}")]));
        // From then on, a decision of the person names the recipient. Only the person and stewards learn
        // this.
        let again = if subject == "ben" { vec![format!("recipient {coach}")] } else { vec![] };
        assert_eq!(says(Refused, &[coach]).await, (1, again));
        assert_eq!(says(Given, &[]).await, (1, vec![]));
        assert_eq!(says(Withdrawn, &[]).await, (1, vec![]));
        assert_eq!(
            says(Withdrawn, &[tutor]).await,
            (1, vec![format!("recipient {tutor}"), "consent 0".into()])
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_does_not_learn_which_recipients_have_dealings_with_a_person() {
    use ConsentDecision::{Given, Refused, Withdrawn};
    let (harness, mut steward) = start().await;
    let mut service = harness.as_claim(Role::Service, "tutor").await;
    for subject in ["ada", "ben"] {
        steward.profile.record_attributes(harness::fact(subject, "tone", "work", "dry")).await.unwrap();
    }
    let grant =
        proto::RequestGrantRequest { subject: "ada".into(), purpose: PURPOSE.into(), ..Default::default() };
    service.grant.request_grant(grant).await.unwrap();
    assert_eq!(decide(&mut steward, decided("ada", Given, &["trainer"])).await, (1, vec![]));
    // Ada has a grant of the tutor and a consent for the trainer, and Ben has neither.
    let mut channel = harness.as_claim(Role::Channel, "app").await;
    let mut answers = async |subject, decision, recipients: &[&str]| {
        decide(&mut channel, decided(subject, decision, recipients)).await.1
    };
    let mut of_trainer = Vec::new();
    for subject in ["ada", "ben"] {
        assert_eq!(answers(subject, Refused, &["tutor"]).await, Vec::<String>::new(), "{subject}");
        of_trainer.push(answers(subject, Withdrawn, &["trainer"]).await);
    }
    assert_eq!(of_trainer[0], of_trainer[1]);
    assert!(of_trainer[0].contains(&"consent 0".to_owned()), "{of_trainer:?}");
    assert_eq!(answers("ada", Refused, &["tutro"]).await, ["recipient tutro"], "it has no grant of anybody");
    assert_eq!(decide(&mut steward, decided("ben", Refused, &["tutor"])).await.1, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_not_told_that_a_no_matched_nothing() {
    let (harness, mut steward) = start().await;
    steward.profile.record_attributes(harness::fact("ada", "tone", "work", "dry")).await.unwrap();
    let mut service = harness.as_claim(Role::Service, "tutor").await;
    for subject in ["ada", "nobody"] {
        for decision in [ConsentDecision::Withdrawn, ConsentDecision::Refused] {
            let answer = decide(&mut service, decided(subject, decision, &["coach"])).await;
            assert_eq!(answer, (1, vec![]));
        }
    }
    let mut refusals = Vec::new();
    for subject in ["ada", "nobody else"] {
        let recorded = signal(subject, SignalKind::Objection, false);
        let recorded = service.consent.record_signal(recorded).await.unwrap().into_inner();
        assert_eq!((recorded.receipt.unwrap().events.len(), named(recorded.unmatched)), (1, vec![]));
    }
    for subject in ["ada", "another"] {
        let lift = service.consent.record_signal(signal(subject, SignalKind::Pause, true)).await;
        let status = lift.unwrap_err();
        refusals.push((status.code(), status.message().to_owned()));
    }
    assert_eq!(refusals[0], refusals[1]);
    assert_eq!(refusals[0].0, Code::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lifting_that_matches_nothing_says_so_and_no_person_comes_into_being_by_it() {
    let (harness, mut steward) = start().await;
    let callers = [
        ("ada", harness.as_role(Role::Steward, "privacy-team").await),
        ("ben", harness.as_claim(Role::Channel, "app").await),
        ("cleo", harness.as_role(Role::Subject, "cleo").await),
    ];
    for (subject, mut caller) in callers {
        let mut records = async |lift| {
            let request = signal(subject, SignalKind::Pause, lift);
            let answer = caller.consent.record_signal(request).await.unwrap().into_inner();
            let receipt = answer.receipt.unwrap();
            (receipt.events.len(), receipt.checkpoint, named(answer.unmatched))
        };
        let (events, checkpoint, unmatched) = records(true).await;
        assert_eq!((events, unmatched), (0, vec!["subject".to_owned()]), "{subject}");
        assert_eq!(records(true).await.1, checkpoint, "nothing was written in between");
        let request = proto::GetProfileRequest { subject: subject.into(), ..Default::default() };
        assert_eq!(steward.profile.get_profile(request).await.unwrap_err().code(), Code::NotFound);
        assert_eq!(records(false).await.2, ["subject"]);
        assert_eq!(records(true).await.2, Vec::<String>::new());
        assert_eq!(records(true).await.2, ["signal"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_is_told_what_matched_nothing_at_the_first_one() {
    let (_harness, mut steward) = start().await;
    let keyed = |request: proto::RecordConsentRequest| proto::RecordConsentRequest {
        options: Some(proto::WriteOptions { idempotency_key: "no".into(), ..Default::default() }),
        ..request
    };
    let request = keyed(decided("ada", ConsentDecision::Refused, &["coach"]));
    assert_eq!(decide(&mut steward, request.clone()).await, (1, vec!["subject".into()]));
    steward.profile.record_attributes(harness::fact("ada", "tone", "work", "dry")).await.unwrap();
    assert_eq!(decide(&mut steward, request).await, (1, vec!["subject".into()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_says_what_matched_nothing() {
    let (harness, _steward) = start().await;
    let steward = |arguments: &[&str]| harness.cli(Role::Steward, "privacy-team", arguments);
    let text = stdout(&steward(&["signal", "lift", "ada", "--what", "pause"]));
    assert_eq!(
        text,
        "nothing was recorded; no open grants were revoked\n\
         matched nothing: nothing was recorded about this person before; check the ID\n"
    );
    let refuse = ["consent", "refuse", "ada", "--purpose", PURPOSE, "--recipient", "coach"];
    let answer = json(&steward(&[&["--json"][..], &refuse].concat()));
    assert_eq!(answer["unmatched"][0]["kind"], "UNMATCHED_KIND_SUBJECT", "{answer}");
    let refuse = ["consent", "refuse", "ada", "--purpose", PURPOSE, "--recipient", "trainer"];
    let text = stdout(&steward(&refuse));
    assert!(text.contains("names the recipient `trainer`; check the name"), "{text}");
    let text = stdout(&steward(&["consent", "withdraw", "ada", "--purpose", PURPOSE]));
    assert!(text.ends_with("matched nothing: no consent in force was withdrawn\n"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_objection_or_restriction_about_an_unknown_person_is_recorded_at_both_doors() {
    let (harness, mut steward) = start().await;
    let request = |subject: &str, kind: proto::RequestKind| proto::SubmitRequestRequest {
        subject: subject.into(),
        kind: kind.into(),
        details: "no".into(),
        options: Some(proto::WriteOptions { idempotency_key: "once".into(), ..Default::default() }),
        ..Default::default()
    };
    for (subject, kind, signal) in [
        ("ada", proto::RequestKind::Objection, SignalKind::Objection),
        ("ben", proto::RequestKind::Restriction, SignalKind::Restriction),
    ] {
        for _ in 0..2 {
            let answer = steward.rights.submit_request(request(subject, kind)).await.unwrap().into_inner();
            assert_eq!(named(answer.unmatched), ["subject"], "{subject}");
        }
        let profile = proto::GetProfileRequest { subject: subject.into(), ..Default::default() };
        let signals = steward.profile.get_profile(profile).await.unwrap().into_inner().signals;
        assert_eq!(signals.iter().map(proto::Signal::kind).collect::<Vec<_>>(), [signal]);
        let again = proto::SubmitRequestRequest { options: None, ..request(subject, kind) };
        let answer = steward.rights.submit_request(again).await.unwrap().into_inner();
        assert_eq!(named(answer.unmatched), Vec::<String>::new());
    }
    // What is no no stays without a trace.
    for kind in [proto::RequestKind::Access, proto::RequestKind::Complaint] {
        let missing = steward.rights.submit_request(request("nobody", kind)).await.unwrap_err();
        assert_eq!(missing.code(), Code::NotFound);
    }
    let cli = |arguments: &[&str]| stdout(&harness.cli(Role::Steward, "privacy-team", arguments));
    let text = cli(&["request", "submit", "objection", "cleo", "--purpose", "advertising"]);
    assert!(text.contains("nothing was recorded about this person before"), "{text}");
    let text = cli(&["signal", "object", "cleo"]);
    assert!(!text.contains("matched nothing"), "{text}");
}
