//! Tests of two decisions that the ledger always records and enforces: an objection to direct marketing, and
//! an opt-out of sale, sharing and advertising, in every jurisdiction.

use crate::erasure::{history, record, verify};
use crate::harness::{self, Clients, Harness, choice, consent, fact, stdout};
use sayso::proto::decide_request_request::{Complete, Decision, Refuse};
use sayso::proto::{
    self, AgeBand, ConsentDecision, DenialReason, Ground, RequestKind, RequestState, RevocationReason, Role,
    SignalKind,
};
use tonic::Code;

struct World {
    harness: Harness,
    service: Clients,
    steward: Clients,
    ada: Clients,
}

/// A ledger that knows an interest of ada, an adult in this place.
async fn world(place: &str) -> World {
    let harness = Harness::start().await;
    let mut service = harness.as_role(Role::Service, "tutor").await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    let ada = harness.as_role(Role::Subject, "ada").await;
    harness::publish_notice(&mut steward).await;
    record(&mut service, fact("ada", "hobby", "interest", "chess")).await;
    let described = proto::DescribeSubjectRequest {
        subject: "ada".into(),
        age_band: AgeBand::Adult.into(),
        jurisdiction: place.into(),
        ..Default::default()
    };
    steward.profile.describe_subject(described).await.unwrap();
    World { harness, service, steward, ada }
}

impl World {
    /// Records ada's explicit consent, and returns the id of its event.
    async fn consent(&mut self, purpose: &str) -> String {
        let given = choice(ConsentDecision::Given, purpose, &[], true);
        let recorded = self.steward.consent.record_consent(consent("ada", vec![given])).await.unwrap();
        recorded.into_inner().receipt.unwrap().events[0].event_id.clone()
    }

    /// Requests a grant. Returns its id, and why the attribute is withheld, if it is.
    async fn ask(&mut self, purpose: &str) -> (String, Option<(DenialReason, String)>) {
        let request = proto::RequestGrantRequest {
            subject: "ada".into(),
            purpose: purpose.into(),
            ..Default::default()
        };
        let grant = self.service.grant.request_grant(request).await.unwrap().into_inner();
        let withheld = grant.withheld.first().map(|class| (class.reason(), class.policy.clone()));
        assert_eq!(withheld.is_none(), grant.allowed.len() == 1);
        (grant.grant_id, withheld)
    }
}

fn signal(kind: SignalKind, purposes: &[&str], lift: bool) -> proto::RecordSignalRequest {
    let purposes = purposes.iter().map(|purpose| (*purpose).to_owned()).collect();
    proto::RecordSignalRequest {
        subject: "ada".into(),
        kind: kind.into(),
        purposes,
        lift,
        ..Default::default()
    }
}

fn decide(request_id: &str, decision: Decision) -> proto::DecideRequestRequest {
    proto::DecideRequestRequest { request_id: request_id.into(), decision: Some(decision), options: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_objection_to_direct_marketing_is_never_refused() {
    let mut world = world("DE").await;
    world.consent("direct-marketing").await;
    world.consent("memory").await;
    let object = |purposes: &[&str]| proto::SubmitRequestRequest {
        kind: RequestKind::Objection.into(),
        purposes: purposes.iter().map(|purpose| (*purpose).to_owned()).collect(),
        ..Default::default()
    };
    for purposes in [&["direct-marketing"][..], &["memory", "personalised-advertising"], &["persuasion"], &[]]
    {
        let made = world.ada.rights.submit_request(object(purposes)).await.unwrap().into_inner();
        for ground in [Ground::Compelling, Ground::NotMet, Ground::Excessive] {
            let refuse = Refuse { ground: ground.into(), reason: "we want to".into(), purposes: Vec::new() };
            let refuse = decide(&made.request_id, Decision::Refuse(refuse));
            let error = world.steward.rights.decide_request(refuse).await.unwrap_err();
            assert_eq!(error.code(), Code::FailedPrecondition);
            assert!(error.message().contains("Art. 21(3)"), "{error}");
        }
        let complete = Decision::Complete(Complete::default());
        let done = world.steward.rights.decide_request(decide(&made.request_id, complete)).await.unwrap();
        assert_eq!(done.into_inner().request.unwrap().state(), RequestState::Completed);
    }
    assert_eq!(world.ask("direct-marketing").await.1.unwrap().0, DenialReason::Objected);

    // A steward can't lift it either; the person can.
    for purposes in [&[][..], &["direct-marketing"]] {
        let lift = signal(SignalKind::Objection, purposes, true);
        let error = world.steward.consent.record_signal(lift).await.unwrap_err();
        assert_eq!(error.code(), Code::PermissionDenied);
        assert!(error.message().contains("Art. 21(3)"), "{error}");
    }
    world.steward.consent.record_signal(signal(SignalKind::Objection, &["memory"], true)).await.unwrap();
    let lift =
        proto::RecordSignalRequest { subject: String::new(), ..signal(SignalKind::Objection, &[], true) };
    world.ada.consent.record_signal(lift).await.unwrap();
    assert_eq!(world.ask("direct-marketing").await.1, None);

    // An objection to something else can be refused.
    let made = world.ada.rights.submit_request(object(&["memory"])).await.unwrap().into_inner();
    let refuse = Refuse {
        ground: Ground::Compelling.into(),
        reason: "it keeps people safe".into(),
        purposes: Vec::new(),
    };
    let refused =
        world.steward.rights.decide_request(decide(&made.request_id, Decision::Refuse(refuse))).await;
    assert_eq!(refused.unwrap().into_inner().request.unwrap().state(), RequestState::Refused);
    assert_eq!(world.ask("memory").await.1, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opt_out_names_the_consents_in_force_whatever_came_after_them() {
    let mut world = world("DE").await;
    let oldest = world.consent("data-sale").await;
    let for_other = |decision| {
        let mut choice = choice(decision, "data-sale", &[], true);
        choice.recipients = vec!["broker".into()];
        choice
    };
    for _ in 0..4 {
        let given = consent("ada", vec![for_other(ConsentDecision::Given); 16]);
        world.steward.consent.record_consent(given).await.unwrap();
    }
    let withdrawn = consent("ada", vec![for_other(ConsentDecision::Withdrawn)]);
    world.steward.consent.record_consent(withdrawn).await.unwrap();
    let keyed = proto::RecordSignalRequest {
        options: Some(proto::WriteOptions { idempotency_key: "gpc".into(), ..Default::default() }),
        ..signal(SignalKind::OptOut, &[], false)
    };
    let first = world.steward.consent.record_signal(keyed.clone()).await.unwrap().into_inner();
    let effect = first.opt_out.unwrap();
    assert_eq!((&effect.overridden_consents, effect.has_more), (&vec![oldest], false));
    // A repeated request gets the same answer, no matter what was recorded since.
    world.consent("advertising").await;
    let again = world.steward.consent.record_signal(keyed).await.unwrap().into_inner();
    assert_eq!(again.opt_out.unwrap(), effect);

    for _ in 0..4 {
        let many = consent("ada", vec![choice(ConsentDecision::Given, "data-sale", &[], true); 16]);
        world.steward.consent.record_consent(many).await.unwrap();
    }
    let answer = world.steward.consent.record_signal(signal(SignalKind::OptOut, &[], false)).await;
    let effect = answer.unwrap().into_inner().opt_out.unwrap();
    assert_eq!((effect.overridden_consents.len(), effect.has_more), (64, true));
    assert!(effect.explanation.contains("64 earlier consents and maybe more"), "{}", effect.explanation);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opt_out_wins_over_an_earlier_explicit_consent_wherever_the_person_is_and_says_so() {
    for (place, policy) in
        [("DE", "built-in/opt-out"), ("US-NV", "built-in/opt-out"), ("US-CA", "cpra/s-1798-120-opt-out")]
    {
        let mut world = world(place).await;
        let sale = world.consent("data-sale").await;
        let advertising = world.consent("personalised-advertising").await;
        world.consent("memory").await;
        let (grant, withheld) = world.ask("data-sale").await;
        assert_eq!(withheld, None);

        let answer =
            world.service.consent.record_signal(signal(SignalKind::OptOut, &[], false)).await.unwrap();
        let answer = answer.into_inner();
        assert_eq!(answer.revoked_grants, std::slice::from_ref(&grant));
        let effect = answer.opt_out.unwrap();
        assert_eq!(effect.stopped_purposes, ["advertising", "data-sale"]);
        assert_eq!(effect.overridden_consents, [advertising, sale]);
        assert!(effect.explanation.contains("overrides 2 earlier consents"), "{}", effect.explanation);
        // A service does not learn where the person is.
        assert!(effect.explanation.contains("wherever the person is"), "{}", effect.explanation);

        let check = proto::CheckGrantRequest { grant_id: grant, keys: Vec::new() };
        let checked = world.service.grant.check_grant(check).await.unwrap().into_inner();
        assert_eq!(checked.reason(), RevocationReason::OptedOut);
        let listed = proto::ListConsentsRequest { subject: "ada".into(), ..Default::default() };
        let listed = world.steward.consent.list_consents(listed).await.unwrap().into_inner().consents;
        let listed: Vec<(bool, &[String])> =
            listed.iter().map(|one| (one.in_force, one.stopped_purposes.as_slice())).collect();
        let (sale, advertising) = (["data-sale".into()], ["personalised-advertising".into()]);
        assert_eq!(listed, [(true, &sale[..]), (true, &advertising), (true, &[])]);
        let stopped = Some((DenialReason::OptedOut, policy.to_owned()));
        assert_eq!(world.ask("data-sale").await.1, stopped);
        let advertising = world.ask("personalised-advertising").await.1.unwrap();
        assert_eq!(advertising, (DenialReason::OptedOut, "built-in/opt-out".into()));
        assert_eq!(world.ask("memory").await.1, None, "an opt-out is not about personalization");

        // A later consent counts once the signal is lifted.
        world.consent("data-sale").await;
        assert_eq!(world.ask("data-sale").await.1, stopped);
        let lifted =
            world.steward.consent.record_signal(signal(SignalKind::OptOut, &[], true)).await.unwrap();
        assert_eq!(lifted.into_inner().opt_out, None);
        assert_eq!(world.ask("data-sale").await.1, None);
        assert!(history(&mut world.steward, "ada").await.contains("OptOut"));
        assert_eq!(verify(&world.harness)["grants"]["unjustified"], "0");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_to_an_opt_out_says_if_it_stops_nothing() {
    let world = world("DE").await;
    let run = |arguments: &[&str]| stdout(&world.harness.cli(Role::Steward, "privacy-team", arguments));
    let nothing = run(&["signal", "opt-out", "ada", "--purpose", "memory"]);
    assert!(nothing.contains("this opt-out stops nothing"), "{nothing}");
    let all = run(&["signal", "opt-out", "ada"]);
    assert!(all.contains("nothing is used for `advertising`, `data-sale`"), "{all}");
    assert!(all.contains("no law of the packs asks for this"), "{all}");
}
