//! Tests of the legal bases other than consent: contract, legitimate interest and legal obligation. A
//! provider declares such a basis for a purpose, and signs the declaration. The basis never replaces a
//! consent, and never applies to special categories or minors. If the person can refuse it and does so, it
//! ends at once.

use crate::bounds::{World, keys, preview_of, standing, world, world_of};
use crate::harness::{self, ask, choice, consent, fact, json, provider_key, sayso, stdout};
use crate::rights::AdvancedClock;
use sayso::domain::event::{LegalBasis, PurposeDefined};
use sayso::proto::{
    self, AgeBand, ConsentDecision, DenialReason, LegalBasis as Basis, RevocationReason, Role, SignalKind,
};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tonic::{Code, Status};

fn support(legal_basis: LegalBasis) -> PurposeDefined {
    PurposeDefined {
        id: "support".into(),
        title: "Answer questions about the account".into(),
        basis_reference: if legal_basis == LegalBasis::Unspecified { "".into() } else { "file 7".into() },
        legal_basis,
        ..Default::default()
    }
}

async fn define(world: &mut World, purpose: PurposeDefined) -> Result<(), Status> {
    let request = harness::purpose(&world.steward, purpose, &provider_key(world.harness.dir.path())).await;
    world.steward.bounds.define_purpose(request).await.map(|_| ())
}

async fn describe(world: &mut World, age_band: AgeBand) {
    let request = proto::DescribeSubjectRequest {
        subject: "ada".into(),
        age_band: age_band.into(),
        ..Default::default()
    };
    world.steward.profile.describe_subject(request).await.unwrap();
}

/// A person of full age with one attribute, and the purpose `support` with a declared basis.
async fn supported(basis: LegalBasis) -> World {
    let mut world = world().await;
    define(&mut world, support(basis)).await.unwrap();
    world.service.profile.record_attributes(fact("ada", "plan", "work", "\"gold\"")).await.unwrap();
    describe(&mut world, AgeBand::Adult).await;
    world
}

async fn grant(world: &mut World) -> proto::RequestGrantResponse {
    let request = proto::RequestGrantRequest { purpose: "support".into(), ..ask("ada") };
    world.service.grant.request_grant(request).await.unwrap().into_inner()
}

async fn ask_for(world: &mut World) -> Result<(String, Basis), DenialReason> {
    let answer = grant(world).await;
    match (answer.allowed.as_slice(), answer.withheld.as_slice()) {
        ([allowed], []) => Ok((allowed.consent_event_id.clone(), allowed.legal_basis())),
        ([], [class]) => Err(class.reason()),
        other => panic!("{other:?}"),
    }
}

async fn decide(world: &mut World, decision: ConsentDecision, purpose: &str) -> proto::RecordConsentResponse {
    let choice = choice(decision, purpose, &[], false);
    world.steward.consent.record_consent(consent("ada", vec![choice])).await.unwrap().into_inner()
}

async fn object(world: &mut World) -> proto::RecordSignalResponse {
    let signal = proto::RecordSignalRequest {
        subject: "ada".into(),
        kind: SignalKind::Objection.into(),
        purposes: vec!["support".into()],
        ..Default::default()
    };
    world.steward.consent.record_signal(signal).await.unwrap().into_inner()
}

const BASES: [(LegalBasis, Basis); 3] = [
    (LegalBasis::Contract, Basis::Contract),
    (LegalBasis::LegitimateInterest, Basis::LegitimateInterest),
    (LegalBasis::LegalObligation, Basis::LegalObligation),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_declared_basis_allows_a_use_without_consent_and_the_grant_names_it() {
    let mut world = supported(LegalBasis::Unspecified).await;
    assert_eq!(ask_for(&mut world).await, Err(DenialReason::NoConsent));
    for (declared, basis) in BASES {
        define(&mut world, support(declared)).await.unwrap();
        assert_eq!(ask_for(&mut world).await, Ok((String::new(), basis)));
        // The basis is that of this purpose alone.
        let below = PurposeDefined {
            id: format!("below-{}", basis.as_str_name().to_lowercase()),
            parent: "support".into(),
            title: "Something below".into(),
            ..Default::default()
        };
        let purpose = below.id.clone();
        define(&mut world, below).await.unwrap();
        let request = proto::RequestGrantRequest { purpose, ..ask("ada") };
        assert_eq!(keys(&world.service.grant.request_grant(request).await.unwrap().into_inner()), [""; 0]);
    }
    let last = grant(&mut world).await;
    let explain = proto::ExplainGrantRequest { grant_id: last.grant_id.clone() };
    let why = world.steward.grant.explain_grant(explain).await.unwrap().into_inner();
    assert_eq!(why.allowed[0].legal_basis(), Basis::LegalObligation);
    assert!(why.text.contains("on the basis of legal obligation (GDPR Art. 6(1)(c)), without consent"));
    // Without a declaration, the grant is no longer valid.
    define(&mut world, support(LegalBasis::Consent)).await.unwrap_err();
    let none = PurposeDefined { title: "Answer questions".into(), ..support(LegalBasis::Unspecified) };
    define(&mut world, none).await.unwrap();
    assert_eq!(standing(&mut world, &last.grant_id).await, (false, RevocationReason::NoConsent));
    assert_eq!(ask_for(&mut world).await, Err(DenialReason::NoConsent));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_or_objection_ends_a_legitimate_interest_at_once() {
    let mut world = supported(LegalBasis::LegitimateInterest).await;
    let before = grant(&mut world).await.grant_id;
    assert!(standing(&mut world, &before).await.0);
    let answer = object(&mut world).await;
    assert_eq!((answer.revoked_grants.as_slice(), answer.remaining_uses.len()), (&[before.clone()][..], 0));
    assert_eq!(standing(&mut world, &before).await, (false, RevocationReason::Objected));
    assert_eq!(ask_for(&mut world).await, Err(DenialReason::Objected));

    for (decision, reason) in [
        (ConsentDecision::Refused, DenialReason::ConsentRefused),
        (ConsentDecision::Withdrawn, DenialReason::ConsentWithdrawn),
    ] {
        let mut world = supported(LegalBasis::LegitimateInterest).await;
        let before = grant(&mut world).await.grant_id;
        let answer = decide(&mut world, decision, "support").await;
        assert_eq!(answer.revoked_grants, [before]);
        assert_eq!(answer.remaining_uses, []);
        assert_eq!(ask_for(&mut world).await, Err(reason));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contract_and_a_legal_obligation_outlast_a_no_and_the_answer_says_so() {
    for (declared, basis) in [BASES[0], BASES[2]] {
        let mut world = supported(declared).await;
        let before = grant(&mut world).await.grant_id;
        let remaining = [proto::RemainingUse {
            purpose: "support".into(),
            legal_basis: basis.into(),
            basis_reference: "file 7".into(),
        }];
        let request = proto::SubmitRequestRequest {
            subject: "ada".into(),
            kind: proto::RequestKind::Objection.into(),
            options: Some(proto::WriteOptions { idempotency_key: "objection".into(), ..Default::default() }),
            ..Default::default()
        };
        for _ in 0..2 {
            let made = world.steward.rights.submit_request(request.clone()).await.unwrap().into_inner();
            assert_eq!(made.remaining_uses, remaining, "a formal objection says it too, also when repeated");
        }
        assert_eq!(object(&mut world).await.remaining_uses, remaining);
        for decision in [ConsentDecision::Refused, ConsentDecision::Withdrawn] {
            assert_eq!(decide(&mut world, decision, "support").await.remaining_uses, remaining);
            assert_eq!(decide(&mut world, decision, "memory").await.remaining_uses, []);
        }
        assert!(standing(&mut world, &before).await.0);
        assert_eq!(ask_for(&mut world).await, Ok((String::new(), basis)));
        // A restriction ends every use (GDPR Art. 18).
        let restriction = proto::RecordSignalRequest {
            subject: "ada".into(),
            kind: SignalKind::Restriction.into(),
            ..Default::default()
        };
        world.steward.consent.record_signal(restriction).await.unwrap();
        assert_eq!(ask_for(&mut world).await, Err(DenialReason::Restricted));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_basis_never_replaces_a_consent_that_was_withdrawn() {
    for (declared, _) in BASES {
        let mut world = supported(LegalBasis::Unspecified).await;
        decide(&mut world, ConsentDecision::Given, "support").await;
        define(&mut world, support(declared)).await.unwrap();
        // The person's own consent comes first.
        let (consented, basis) = ask_for(&mut world).await.unwrap();
        assert!(!consented.is_empty() && basis == Basis::Consent);
        let answer = decide(&mut world, ConsentDecision::Withdrawn, "support").await;
        assert_eq!(answer.remaining_uses, []);
        assert_eq!(ask_for(&mut world).await, Err(DenialReason::ConsentWithdrawn));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn special_categories_minors_and_unknown_ages_stay_with_consent() {
    for (declared, basis) in BASES {
        let mut world = supported(declared).await;
        let from_health = |key: &str, source: &str| {
            let mut derived = fact("ada", key, "work", "1");
            derived.attributes[0].derived_from = vec![source.into()];
            derived
        };
        let special = world.service.profile.record_attributes(fact("ada", "asthma", "health", "1")).await;
        let source = special.unwrap().into_inner().receipt.unwrap().events[0].event_id.clone();
        // What the person concludes from their own health is their own statement, but it reveals their
        // health.
        let mut ada = world.harness.as_role(Role::Subject, "ada").await;
        ada.profile.record_attributes(from_health("sport", &source)).await.unwrap();
        assert_eq!(keys(&grant(&mut world).await), ["plan"]);
        for band in [AgeBand::Child, AgeBand::Teen] {
            describe(&mut world, band).await;
            assert_eq!(keys(&grant(&mut world).await), [""; 0], "{band:?}");
        }
        describe(&mut world, AgeBand::Unknown).await;
        let allowed = keys(&grant(&mut world).await);
        assert_eq!(allowed.is_empty(), basis == Basis::LegitimateInterest);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_basis_is_declared_with_a_signature_and_a_reference_and_never_for_advertising_that_is_forced() {
    let mut world = world().await;
    let unsigned = |purpose: PurposeDefined| proto::DefinePurposeRequest {
        purpose: Some(purpose.into()),
        ..Default::default()
    };
    let refused = world.steward.bounds.define_purpose(unsigned(support(LegalBasis::Contract))).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    let empty = PurposeDefined { basis_reference: String::new(), ..support(LegalBasis::LegitimateInterest) };
    let refused = define(&mut world, empty).await.unwrap_err();
    assert!(refused.message().contains("must name the assessment"), "{refused}");
    let without = PurposeDefined { basis_reference: "x".into(), ..support(LegalBasis::Unspecified) };
    assert_eq!(define(&mut world, without).await.unwrap_err().code(), Code::InvalidArgument);
    for parent in ["advertising", "direct-marketing", "data-sale"] {
        for (declared, basis) in BASES {
            let purpose = PurposeDefined {
                id: format!("{parent}-{}", basis.as_str_name().to_lowercase()),
                parent: parent.into(),
                ..support(declared)
            };
            let defined = define(&mut world, purpose).await;
            assert_eq!(defined.is_ok(), basis == Basis::LegitimateInterest, "{parent}, {basis:?}");
        }
    }
    // Nor can a purpose with such a basis come below one of these purposes because a purpose above it moves
    // there.
    let above = PurposeDefined { id: "above".into(), title: "Above".into(), ..Default::default() };
    define(&mut world, above.clone()).await.unwrap();
    let below = PurposeDefined { parent: "above".into(), ..support(LegalBasis::Contract) };
    define(&mut world, below).await.unwrap();
    let moved = PurposeDefined { parent: "advertising".into(), ..above };
    assert_eq!(define(&mut world, moved).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_place_that_names_a_use_names_its_basis_and_the_bundle_verifies() {
    let mut world = supported(LegalBasis::LegitimateInterest).await;
    let issued = grant(&mut world).await;
    let run = |role, name: &str, arguments: &[&str]| world.harness.cli(role, name, arguments);
    let shown = stdout(&run(Role::Steward, "office", &["purpose", "list"]));
    assert!(shown.contains("consent, or legitimate interest (file 7)"), "{shown}");
    let shown = stdout(&run(Role::Auditor, "audit", &["uses", "ada"]));
    assert!(shown.contains("plan (work, legitimate interest)"), "{shown}");
    let shown = stdout(&run(Role::Steward, "office", &["why", &issued.grant_id]));
    assert!(shown.contains("on the basis of legitimate interest (GDPR Art. 6(1)(f))"), "{shown}");
    let record = json(&run(Role::Auditor, "audit", &["--json", "record-of-processing"]));
    let purposes = record["purposes"].as_array().unwrap();
    let purpose = purposes.iter().find(|purpose| purpose["id"] == "support").unwrap();
    assert_eq!(purpose["legalBasis"], "LEGAL_BASIS_LEGITIMATE_INTEREST");
    assert_eq!(purpose["basisReference"], "file 7");
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("bundle.tar");
    let bundle = bundle.to_str().unwrap();
    let exported = run(Role::Auditor, "audit", &["audit", "export", "-o", bundle]);
    assert!(exported.status.success(), "{exported:?}");
    let verified = sayso(&["verify", bundle, "--key", &world.harness.daemon.vkey]).output().unwrap();
    assert!(verified.status.success(), "{}", stdout(&verified));
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_destroys_no_decision_that_keeps_a_declared_basis_from_applying() {
    for (declared, _) in BASES {
        let clock = Arc::new(AdvancedClock::default());
        let harness = crate::rights::start(Arc::clone(&clock), tempfile::tempdir().unwrap()).await;
        let mut world = world_of(harness).await;
        define(&mut world, support(declared)).await.unwrap();
        world.service.profile.record_attributes(fact("ada", "plan", "work", "1")).await.unwrap();
        describe(&mut world, AgeBand::Adult).await;
        let rule = proto::SetRetentionRequest {
            class: proto::RetentionClass::Consent.into(),
            keep: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
            ..Default::default()
        };
        world.steward.rights.set_retention(rule).await.unwrap();
        decide(&mut world, ConsentDecision::Given, "support").await;
        decide(&mut world, ConsentDecision::Withdrawn, "support").await;
        clock.0.store(1_800_000, Ordering::SeqCst);
        // A few passes of the retention.
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        assert_eq!(ask_for(&mut world).await, Err(DenialReason::ConsentWithdrawn), "{declared:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_ends_when_its_basis_is_replaced_by_another_kind() {
    let mut world = supported(LegalBasis::LegitimateInterest).await;
    let before = grant(&mut world).await.grant_id;
    define(&mut world, support(LegalBasis::Contract)).await.unwrap();
    assert_eq!(standing(&mut world, &before).await, (false, RevocationReason::NoConsent));
    assert_eq!(ask_for(&mut world).await, Ok((String::new(), Basis::Contract)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_to_a_no_names_only_what_may_remain() {
    let mut world = supported(LegalBasis::Contract).await;
    // A consent for another service does not end the contract for this one.
    let mut limited = choice(ConsentDecision::Given, "support", &[], false);
    limited.recipients = vec!["coach".into()];
    world.steward.consent.record_consent(consent("ada", vec![limited])).await.unwrap();
    assert_eq!(decide(&mut world, ConsentDecision::Refused, "support").await.remaining_uses.len(), 1);
    assert!(ask_for(&mut world).await.is_ok());
    // No use remains for a minor, nor after a consent to the whole purpose. A repeated request gets the same
    // answer.
    describe(&mut world, AgeBand::Teen).await;
    assert_eq!(object(&mut world).await.remaining_uses, []);
    describe(&mut world, AgeBand::Adult).await;
    decide(&mut world, ConsentDecision::Given, "support").await;
    let withdrawn = choice(ConsentDecision::Withdrawn, "support", &[], false);
    let mut request = consent("ada", vec![withdrawn]);
    let key = "once".to_owned();
    request.options = Some(proto::WriteOptions { idempotency_key: key, ..Default::default() });
    for _ in 0..2 {
        let answer = world.steward.consent.record_consent(request.clone()).await.unwrap().into_inner();
        assert_eq!(answer.remaining_uses, []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_shows_whom_a_declared_basis_would_allow_to_be_used() {
    let mut world = world().await;
    world.service.profile.record_attributes(fact("ada", "plan", "work", "\"gold\"")).await.unwrap();
    describe(&mut world, AgeBand::Adult).await;
    let defined_purposes = vec![support(LegalBasis::Contract).into()];
    let request = proto::PreviewBoundsRequest { defined_purposes, ..Default::default() };
    let found = preview_of(&mut world, request).await;
    let lines: Vec<_> = found
        .lines
        .iter()
        .map(|line| (line.purpose.as_str(), line.people_allowed, line.people_denied))
        .collect();
    assert_eq!((found.people_changed, lines), (1, vec![("support", 1, 0)]), "{found:?}");
    define(&mut world, support(LegalBasis::Contract)).await.unwrap();
    assert_eq!(ask_for(&mut world).await, Ok((String::new(), Basis::Contract)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_basis_that_is_declared_after_the_retention_of_a_withdrawn_consent_does_not_replace_it() {
    for (no, reason) in [
        (ConsentDecision::Withdrawn, DenialReason::ConsentWithdrawn),
        (ConsentDecision::Refused, DenialReason::ConsentRefused),
    ] {
        let clock = Arc::new(AdvancedClock::default());
        let harness = crate::rights::start(Arc::clone(&clock), tempfile::tempdir().unwrap()).await;
        let mut world = world_of(harness).await;
        define(&mut world, support(LegalBasis::Unspecified)).await.unwrap();
        world.service.profile.record_attributes(fact("ada", "plan", "work", "1")).await.unwrap();
        describe(&mut world, AgeBand::Adult).await;
        let rule = proto::SetRetentionRequest {
            class: proto::RetentionClass::Consent.into(),
            keep: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
            ..Default::default()
        };
        world.steward.rights.set_retention(rule).await.unwrap();
        // Of three consents to the same, only the newest is needed as evidence.
        for _ in 0..3 {
            decide(&mut world, ConsentDecision::Given, "support").await;
            decide(&mut world, no, "support").await;
        }
        clock.0.store(1_800_000, Ordering::SeqCst);
        let decisions = async |world: &mut World| {
            let request = proto::ListConsentsRequest { subject: "ada".into(), ..Default::default() };
            world.steward.consent.list_consents(request).await.unwrap().into_inner().consents.len()
        };
        for _ in 0..100 {
            if decisions(&mut world).await == 4 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        // A few more passes of the retention.
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        assert_eq!(decisions(&mut world).await, 4);
        define(&mut world, support(LegalBasis::Contract)).await.unwrap();
        assert_eq!(ask_for(&mut world).await, Err(reason));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_objection_ends_no_artifact_that_rests_on_a_contract_and_an_honest_log_verifies() {
    for (declared, _) in BASES {
        let mut world = supported(declared).await;
        let grant_id = grant(&mut world).await.grant_id;
        let cache = proto::RegisterArtifactRequest {
            grant_id,
            kind: proto::ArtifactKind::Cache.into(),
            ..Default::default()
        };
        world.service.grant.register_artifact(cache).await.unwrap();
        object(&mut world).await;
        let artifacts = proto::ListArtifactsRequest { subject: "ada".into(), ..Default::default() };
        let artifacts = world.service.grant.list_artifacts(artifacts).await.unwrap().into_inner().artifacts;
        let has_ended = artifacts[0].reason() != RevocationReason::Unspecified;
        assert_eq!(has_ended, declared == LegalBasis::LegitimateInterest, "{declared:?}");
        world.service.profile.record_attributes(fact("ada", "later", "work", "x")).await.unwrap();
        crate::erasure::verify(&world.harness);
    }
}
