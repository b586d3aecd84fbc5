//! The policy packs through the daemon and the command line: age and guardians, opt-outs of automated
//! decisions, a pause that is limited to one conversation, definitions of categories and purposes, and the
//! test cases of packs. Also tests that the page about bounds matches the policies.

use crate::harness::{self, Clients, Harness, ask, choice, consent, fact};
use sayso::proto::{self, AgeBand, ConsentDecision, DenialReason, Role};

async fn start() -> (Harness, Clients, Clients) {
    let harness = Harness::start().await;
    let service = harness.as_role(Role::Service, "tutor").await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    harness::publish_notice(&mut steward).await;
    steward.profile.record_attributes(fact("ada", "tone", "communication-style", "plain")).await.unwrap();
    (harness, service, steward)
}

fn described(band: AgeBand, years: Option<u32>, place: &str) -> proto::DescribeSubjectRequest {
    proto::DescribeSubjectRequest {
        subject: "ada".into(),
        age_band: band.into(),
        age_years: years,
        jurisdiction: place.into(),
        born: String::new(),
        options: None,
    }
}

/// Requests a grant. Returns its id, the allowed keys, and the reason and policy of the first withheld class.
async fn granted(
    service: &mut Clients,
    request: proto::RequestGrantRequest,
) -> (String, Vec<String>, Option<(DenialReason, String)>) {
    let grant = service.grant.request_grant(request).await.unwrap().into_inner();
    let withheld = grant.withheld.first().map(|class| (class.reason(), class.policy.clone()));
    (grant.grant_id, grant.allowed.into_iter().map(|allowed| allowed.key).collect(), withheld)
}

/// Records a consent, given by the person or by a guardian.
async fn record_consent_by(steward: &mut Clients, guardian: bool) {
    let given = choice(ConsentDecision::Given, "tone-adaptation", &[], false);
    let request = proto::RecordConsentRequest { guardian, ..consent("ada", vec![given]) };
    steward.consent.record_consent(request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_needs_a_guardians_consent_once_their_age_is_recorded() {
    let (harness, mut service, mut steward) = start().await;
    record_consent_by(&mut steward, false).await;
    let (grant, keys, _) = granted(&mut service, ask("ada")).await;
    assert_eq!(keys, ["tone"]);

    // The person is now described as fifteen and in Germany. The grant is revoked, and their own consent no
    // longer suffices.
    let changed = service.profile.describe_subject(described(AgeBand::Teen, Some(15), "DE")).await.unwrap();
    assert_eq!(changed.into_inner().revoked_grants, [grant]);
    let (_, keys, withheld) = granted(&mut service, ask("ada")).await;
    assert!(keys.is_empty());
    assert_eq!(withheld, Some((DenialReason::GuardianNeeded, "gdpr/art-8-below-16".into())));

    // At fifteen, a person in France decides alone. In Germany their guardian decides.
    steward.profile.describe_subject(described(AgeBand::Unspecified, None, "FR")).await.unwrap();
    assert_eq!(granted(&mut service, ask("ada")).await.1, ["tone"]);
    steward.profile.describe_subject(described(AgeBand::Unspecified, None, "DE")).await.unwrap();
    record_consent_by(&mut steward, true).await;
    let (grant, keys, _) = granted(&mut service, ask("ada")).await;
    assert_eq!(keys, ["tone"]);

    let request = proto::ListConsentsRequest { subject: "ada".into(), as_of: None, ..Default::default() };
    let decisions = steward.consent.list_consents(request).await.unwrap().into_inner();
    assert_eq!(decisions.consents.iter().map(|each| each.guardian).collect::<Vec<_>>(), [false, true]);
    let request = proto::GetProfileRequest { subject: "ada".into(), ..Default::default() };
    let known = steward.profile.get_profile(request).await.unwrap().into_inner().description.unwrap();
    assert_eq!(
        (known.age_band(), known.age_years, known.jurisdiction.as_str()),
        (AgeBand::Teen, Some(15), "DE")
    );

    // A person cannot consent as a guardian, and cannot describe themselves.
    let mut ada = harness.as_role(Role::Subject, "ada").await;
    let given = choice(ConsentDecision::Given, "tone-adaptation", &[], false);
    let request = proto::RecordConsentRequest { guardian: true, ..consent("ada", vec![given]) };
    assert_eq!(ada.consent.record_consent(request).await.unwrap_err().code(), tonic::Code::PermissionDenied);
    // What they withdraw in the same request is recorded.
    let decisions = async |steward: &mut Clients| {
        let request = proto::ListConsentsRequest { subject: "ada".into(), ..Default::default() };
        steward.consent.list_consents(request).await.unwrap().into_inner().consents
    };
    let before = decisions(&mut steward).await.len();
    let given = choice(ConsentDecision::Given, "tone-adaptation", &[], false);
    let withdrawn = choice(ConsentDecision::Withdrawn, "research", &[], false);
    let request = proto::RecordConsentRequest { guardian: true, ..consent("ada", vec![given, withdrawn]) };
    assert_eq!(ada.consent.record_consent(request).await.unwrap_err().code(), tonic::Code::PermissionDenied);
    let after = decisions(&mut steward).await;
    assert_eq!(after.len(), before + 1);
    assert!(after.iter().any(|one| one.decision() == ConsentDecision::Withdrawn && !one.guardian));
    let refused = ada.profile.describe_subject(described(AgeBand::Adult, None, "")).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::PermissionDenied);
    for wrong in [
        described(AgeBand::Unspecified, None, ""),
        described(AgeBand::Adult, Some(15), ""),
        described(AgeBand::Unspecified, None, "Germany"),
    ] {
        let refused = steward.profile.describe_subject(wrong).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    }

    // The verifier replays every grant from the exported log and finds each one justified.
    let bundle = harness.dir.path().join("log.tar.zst");
    let path = bundle.to_str().unwrap();
    harness::stdout(&harness.cli(Role::Auditor, "auditor", &["audit", "export", "-o", path]));
    let verified = harness::sayso(&["--json", "verify", path, "--key", &harness.daemon.vkey.to_string()]);
    let report = harness::json(&{ verified }.output().unwrap());
    assert_eq!((&report["grants"]["unjustified"], &report["grants"]["replayed"]), (&"0".into(), &"4".into()));
    let explained =
        steward.grant.explain_grant(proto::ExplainGrantRequest { grant_id: grant }).await.unwrap();
    assert!(explained.into_inner().valid);
}

/// A request for a grant for this purpose.
fn ask_for(purpose: &str) -> proto::RequestGrantRequest {
    proto::RequestGrantRequest { purpose: purpose.into(), ..ask("ada") }
}

async fn consent_explicitly(steward: &mut Clients, purposes: &[&str]) {
    let given = proto::ConsentChoice {
        purposes: purposes.iter().map(|purpose| (*purpose).to_owned()).collect(),
        ..choice(ConsentDecision::Given, "", &[], true)
    };
    steward.consent.record_consent(consent("ada", vec![given])).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opt_out_of_automated_decisions_ends_them_and_leaves_personalization() {
    let (harness, mut service, mut steward) = start().await;
    steward.profile.describe_subject(described(AgeBand::Adult, None, "US-CA")).await.unwrap();
    consent_explicitly(&mut steward, &["financial-decision", "hiring-assessment", "tone-adaptation"]).await;
    let (grant, keys, _) = granted(&mut service, ask_for("financial-decision")).await;
    assert_eq!(keys, ["tone"]);
    assert_eq!(granted(&mut service, ask_for("hiring-assessment")).await.1, ["tone"]);

    let opt_out = proto::RecordSignalRequest {
        subject: "ada".into(),
        kind: proto::SignalKind::OptOutAutomated.into(),
        ..Default::default()
    };
    let changed = service.consent.record_signal(opt_out).await.unwrap().into_inner();
    assert!(changed.revoked_grants.contains(&grant), "{:?}", changed.revoked_grants);
    let checked = service
        .grant
        .check_grant(proto::CheckGrantRequest { grant_id: grant.clone(), keys: Vec::new() })
        .await;
    let checked = checked.unwrap().into_inner();
    assert_eq!((checked.valid, checked.reason()), (false, proto::RevocationReason::OptedOutAutomated));
    let denied = |policy: &str| Some((DenialReason::OptedOutAutomated, policy.to_owned()));
    let answer = granted(&mut service, ask_for("financial-decision")).await;
    assert_eq!((answer.1.len(), answer.2), (0, denied("ccpa-admt/s-7221-opt-out")));
    // California excepts the assessment of applicants. The GDPR, whose pack is in force too, does not.
    let answer = granted(&mut service, ask_for("hiring-assessment")).await;
    assert_eq!((answer.1.len(), answer.2), (0, denied("gdpr/art-22-opt-out")));
    assert_eq!(granted(&mut service, ask("ada")).await.1, ["tone"]);

    // The person reads what they said in their history and on their page.
    let steward_cli = |arguments: &[&str]| harness.cli(Role::Steward, "privacy-team", arguments);
    let why = harness::stdout(&steward_cli(&["why", &grant]));
    assert!(why.contains("opted out of automated decisions"), "{why}");
    let shown = harness::stdout(&steward_cli(&["profile", "ada"]));
    assert!(shown.contains("opt-out-automated"), "{shown}");

    harness::stdout(&steward_cli(&["signal", "lift", "ada", "--what", "opt-out-automated"]));
    assert_eq!(granted(&mut service, ask_for("financial-decision")).await.1, ["tone"]);
    harness::stdout(&steward_cli(&["signal", "opt-out-automated", "ada", "--purpose", "housing-decision"]));
    assert_eq!(granted(&mut service, ask_for("financial-decision")).await.1, ["tone"]);

    let bundle = harness.dir.path().join("log.tar.zst");
    let path = bundle.to_str().unwrap();
    harness::stdout(&harness.cli(Role::Auditor, "auditor", &["audit", "export", "-o", path]));
    let verified = harness::sayso(&["--json", "verify", path, "--key", &harness.daemon.vkey.to_string()]);
    let report = harness::json(&{ verified }.output().unwrap());
    assert_eq!(report["grants"]["unjustified"], "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_automated_decision_in_california_needs_a_notice_that_says_what_is_decided() {
    let (_harness, mut service, mut steward) = start().await;
    steward.profile.describe_subject(described(AgeBand::Adult, None, "US-CA")).await.unwrap();
    consent_explicitly(&mut steward, &["automated-decision"]).await;
    let forbidden = |policy: &str| Some((DenialReason::Forbidden, policy.to_owned()));
    let answer = granted(&mut service, ask_for("financial-decision")).await;
    assert_eq!(answer.2, forbidden("ccpa-admt/s-7220-pre-use-notice"));
    let answer = granted(&mut service, ask_for("automated-decision")).await;
    assert_eq!(answer.2, forbidden("ccpa-admt/s-7220-specific-purpose"));

    // In Germany the same consent is enough, because it is explicit (GDPR Art. 22(2)(c)).
    steward.profile.describe_subject(described(AgeBand::Unspecified, None, "DE")).await.unwrap();
    assert_eq!(granted(&mut service, ask_for("financial-decision")).await.1, ["tone"]);

    steward.profile.describe_subject(described(AgeBand::Unspecified, None, "US-CA")).await.unwrap();
    consent_explicitly(&mut steward, &["financial-decision"]).await;
    assert_eq!(granted(&mut service, ask_for("financial-decision")).await.1, ["tone"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_applies_only_to_its_conversation() {
    let (_harness, mut service, mut steward) = start().await;
    record_consent_by(&mut steward, false).await;
    let within =
        |interaction: &str| proto::RequestGrantRequest { interaction: interaction.into(), ..ask("ada") };
    let (paused_grant, ..) = granted(&mut service, within("chat-1")).await;
    let (other_grant, ..) = granted(&mut service, within("chat-2")).await;
    let pause = |lift| proto::RecordSignalRequest {
        subject: "ada".into(),
        kind: proto::SignalKind::Pause.into(),
        interaction: "chat-1".into(),
        lift,
        ..Default::default()
    };
    let paused = service.consent.record_signal(pause(false)).await.unwrap().into_inner();
    assert_eq!(paused.revoked_grants, [paused_grant]);
    assert!(!paused.revoked_grants.contains(&other_grant));
    let (_, keys, withheld) = granted(&mut service, within("chat-1")).await;
    assert_eq!((keys.len(), withheld), (0, Some((DenialReason::Paused, "gdpr/pause".into()))));
    assert_eq!(granted(&mut service, within("chat-2")).await.1, ["tone"]);
    assert_eq!(granted(&mut service, ask("ada")).await.1, ["tone"]);
    service.consent.record_signal(pause(true)).await.unwrap();
    assert_eq!(granted(&mut service, within("chat-1")).await.1, ["tone"]);
    // Other signals always apply to all conversations. A signal that names a conversation is accepted, but it
    // cannot be lifted for one conversation alone.
    let objection =
        |lift| proto::RecordSignalRequest { kind: proto::SignalKind::Objection.into(), ..pause(lift) };
    service.consent.record_signal(objection(false)).await.unwrap();
    assert!(granted(&mut service, within("chat-2")).await.1.is_empty());
    let lifted = service.consent.record_signal(objection(true)).await.unwrap_err();
    assert_eq!(lifted.code(), tonic::Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_are_validated_and_special_categories_stay_special() {
    let (harness, mut service, mut steward) = start().await;
    let define = |arguments: &[&str]| harness.cli(Role::Steward, "privacy-team", arguments);
    harness::stdout(&define(&[
        "category",
        "define",
        "allergies",
        "--parent",
        "health",
        "--special",
        "--title",
        "Allergies",
        "--risk",
        "privacy",
    ]));
    let listed = harness::stdout(&define(&["category", "list"]));
    assert!(listed.contains("allergies") && listed.contains("Allergies (special)"), "{listed}");
    let key = harness.dir.path().join("dev/steward.key").display().to_string();
    let unsigned = define(&["category", "define", "health", "--special", "--title", "Well-being"]);
    assert!(String::from_utf8_lossy(&unsigned.stderr).contains("must be signed by the provider's key"));
    let not_special = define(&["category", "define", "health", "--title", "Well-being", "--key", &key]);
    assert!(!not_special.status.success());
    assert!(String::from_utf8_lossy(&not_special.stderr).contains("the category is a special one"));
    let unknown_risk = define(&["category", "define", "pets", "--title", "Pets", "--risk", "privcy"]);
    assert!(String::from_utf8_lossy(&unknown_risk.stderr).contains("did you mean: privacy"));
    let lower_rung = define(&[
        "purpose",
        "define",
        "companionship",
        "--parent",
        "personalization",
        "--title",
        "Company",
        "--rung",
        "style",
        "--key",
        &key,
    ]);
    assert!(String::from_utf8_lossy(&lower_rung.stderr).contains("must not be lower"));

    // The default pack of the provider demands explicit consent for purposes on the persuasion rung.
    let purpose = [
        "purpose",
        "define",
        "nudging",
        "--parent",
        "persuasion",
        "--title",
        "Nudging",
        "--rung",
        "persuasion",
    ];
    harness::stdout(&define(&purpose));
    let nudge = proto::RequestGrantRequest { purpose: "nudging".into(), ..ask("ada") };
    let consent_to_nudging =
        |explicit| consent("ada", vec![choice(ConsentDecision::Given, "nudging", &[], explicit)]);
    steward.consent.record_consent(consent_to_nudging(false)).await.unwrap();
    let withheld = granted(&mut service, nudge.clone()).await.2;
    assert_eq!(withheld, Some((DenialReason::Forbidden, "default/close-needs-explicit".into())));
    steward.consent.record_consent(consent_to_nudging(true)).await.unwrap();
    assert_eq!(granted(&mut service, nudge).await.1, ["tone"]);
    let listed_purposes = harness::stdout(&define(&["purpose", "list"]));
    assert!(listed_purposes.contains("nudging"), "{listed_purposes}");
}

#[test]
fn policy_test_cases_run_without_a_daemon() {
    let all = harness::json(&harness::sayso(&["--json", "bounds", "test"]).output().unwrap());
    assert_eq!((all["passed"].as_bool(), all["packs"].as_array().unwrap().len()), (Some(true), 10));
    let one = harness::stdout(&harness::sayso(&["bounds", "test", "gdpr"]).output().unwrap());
    assert!(one.starts_with("gdpr: "), "{one}");

    let dir = tempfile::tempdir().unwrap();
    let pack = dir.path().join("house-rules");
    std::fs::create_dir(&pack).unwrap();
    let policies = "@id(\"no-family\") forbid (principal, action, resource in Category::\"family\");";
    std::fs::write(pack.join("policies.cedar"), policies).unwrap();
    let table = |expect: &str| {
        let case = format!(
            r#"{{"name": "family", "article": "", "category": "family", "set": ["consented"], "expect": "{expect}"}}"#
        );
        std::fs::write(pack.join("cases.json"), format!(r#"{{"tier": "provider", "cases": [{case}]}}"#))
            .unwrap();
        harness::sayso(&["bounds", "test", pack.to_str().unwrap()]).output().unwrap()
    };
    assert!(harness::stdout(&table("no-family")).contains("house-rules: 1 of 1 case ok"));
    let failed = table("allow");
    assert_eq!(failed.status.code(), Some(1));
    let output = String::from_utf8_lossy(&failed.stdout).into_owned();
    assert!(output.contains("family: expected allow, found house-rules/no-family"), "{output}");
    let unknown = harness::sayso(&["bounds", "test", "gpdr"]).output().unwrap();
    assert_eq!(unknown.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("packs: gdpr, eu-ai-act"));
}

/// The examples in docs/bounds.md run, and the page lists every attribute of the schema and every policy.
#[test]
fn the_bounds_documentation_matches_the_policies() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/bounds.md")).unwrap();
    let block = |language: &str| {
        let begin = format!("```{language}\n");
        page.split(&begin).nth(1).unwrap().split("```").next().unwrap().to_owned()
    };
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("policies.cedar"), block("cedar")).unwrap();
    std::fs::write(dir.path().join("cases.json"), block("json")).unwrap();
    let tested = harness::sayso(&["bounds", "test", dir.path().to_str().unwrap()]).output().unwrap();
    assert!(harness::stdout(&tested).contains("2 of 2 cases ok"));

    let schema = std::fs::read_to_string(root.join("bounds/schema.cedarschema")).unwrap();
    for line in schema.lines().map(str::trim).filter(|line| !line.starts_with("//")) {
        let Some((name, _)) = line.split_once(':').filter(|_| line.ends_with(',')) else { continue };
        if !["principal", "resource", "context"].contains(&name) {
            assert!(page.contains(&format!(".{name}`")) || page.contains(&format!(".{name} in")), "{name}");
        }
    }
    for pack in harness::files_below(&root.join("bounds")) {
        let text = std::fs::read_to_string(&pack).unwrap();
        let ids = text.lines().filter_map(|line| line.strip_prefix("@id(\"")?.strip_suffix("\")"));
        for id in ids {
            assert!(page.contains(&format!("| `{id}` |")), "{id} of {}", pack.display());
        }
    }
}
