//! The package that a person can export, and the consent receipts in it. The tests export through gRPC and
//! read the package back with independent code.

use crate::harness::{self, Clients, Harness, choice, consent, contains, fact, json};
use sayso::proto::{self, ConsentDecision, PackageKind, Provenance, Role};
use serde_json::Value;
use std::io::Read;
use std::path::{Path, PathBuf};
use tonic::Code;

const CANARY: &str = "the other person's canary, 7f3a";
const HOSTILE: &str = "<script>alert('x')</script><img src=x onerror=alert(1)>";

/// A ZIP file unpacked by Python's standard library, as an independent implementation.
pub struct Unpacked {
    pub folder: PathBuf,
}

impl Unpacked {
    pub fn of(bytes: &[u8], folder: &Path) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let zip = folder.join("package.zip");
        std::fs::write(&zip, bytes).unwrap();
        let out = std::process::Command::new("python3")
            .args(["-m", "zipfile", "-e"])
            .arg(&zip)
            .arg(folder)
            .output()
            .unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        Self { folder: folder.to_owned() }
    }

    pub fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.join(name)).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text("package.json")).unwrap()
    }

    pub fn receipts(&self) -> Vec<PathBuf> {
        harness::files_below(&self.folder.join("receipts"))
    }

    /// The bytes of all files.
    fn all_bytes(&self) -> Vec<u8> {
        let mut all = Vec::new();
        for path in harness::files_below(&self.folder) {
            std::fs::File::open(path).unwrap().read_to_end(&mut all).unwrap();
        }
        all
    }
}

fn request(subject: &str, kind: PackageKind) -> proto::ExportSubjectRequest {
    proto::ExportSubjectRequest { subject: subject.into(), kind: kind.into(), ..Default::default() }
}

pub async fn export(
    clients: &mut Clients,
    subject: &str,
    kind: PackageKind,
) -> Result<Vec<u8>, tonic::Status> {
    let mut chunks = clients.rights.export_subject(request(subject, kind)).await?.into_inner();
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.message().await? {
        assert!(chunk.events_done <= chunk.events_total);
        bytes.extend(chunk.chunk);
    }
    Ok(bytes)
}

fn input(key: &str, category: &str, value: &str, provenance: Provenance) -> proto::AttributeInput {
    let inferred = provenance == Provenance::Inferred;
    proto::AttributeInput {
        key: key.into(),
        value_json: value.into(),
        category: category.into(),
        provenance: provenance.into(),
        evidence: vec![format!("chat about {key}")],
        confidence: inferred.then_some(0.75),
        model: if inferred { "guesser-2".into() } else { String::new() },
        observed_at: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 }),
        ..Default::default()
    }
}

/// Records a history for ada: attributes of every provenance, corrected, contested and derived ones, consent
/// requests and decisions, a use, a withdrawal and an objection. Returns the id of the grant.
pub async fn record_history(harness: &Harness) -> String {
    let mut steward = harness.as_role(Role::Steward, "maria.the-steward").await;
    let mut tutor = harness.as_role(Role::Service, "tutor").await;
    harness::publish_notice(&mut steward).await;
    let mut attributes = vec![
        input("tone", "communication-style", "\"brief & dry\"", Provenance::Declared),
        input("bio", "identity", &Value::from(HOSTILE).to_string(), Provenance::Declared),
        input("number", "activity", "1234567.50e-3", Provenance::Observed),
        input("table", "preference", r#"{"deep": [1, {"er": "été"}]}"#, Provenance::Observed),
        input("guess", "preference", "\"likes cats\"", Provenance::Inferred),
        input("wrong", "work", "\"a baker\"", Provenance::Inferred),
    ];
    let record = |attributes: Vec<proto::AttributeInput>| proto::RecordAttributesRequest {
        subject: "ada".into(),
        attributes,
        options: None,
    };
    let receipt = tutor.profile.record_attributes(record(std::mem::take(&mut attributes))).await.unwrap();
    let events = receipt.into_inner().receipt.unwrap().events;
    let (tone, table) = (events[0].event_id.clone(), events[3].event_id.clone());
    let mut derived = input("greeting", "communication-style", "\"hi\"", Provenance::Observed);
    derived.derived_from = vec![table];
    let mut corrected = input("tone", "communication-style", "\"warm\"", Provenance::Declared);
    corrected.corrects = tone;
    tutor.profile.record_attributes(record(vec![derived])).await.unwrap();
    let contest = proto::ContestAttributeRequest {
        subject: "ada".into(),
        key: "wrong".into(),
        reason: "never baked".into(),
        options: None,
    };
    steward.profile.contest_attribute(contest).await.unwrap();
    let ask = proto::RequestConsentRequest {
        subject: "ada".into(),
        notice: Some(proto::NoticeServed { id: harness::NOTICE.into(), ..Default::default() }),
        purposes: vec!["tone-adaptation".into()],
        channel: "web".into(),
        ..Default::default()
    };
    tutor.consent.request_consent(ask).await.unwrap();
    let given = choice(ConsentDecision::Given, "tone-adaptation", &[], false);
    let refused = choice(ConsentDecision::Refused, "advertising", &[], false);
    tutor.consent.record_consent(consent("ada", vec![given, refused])).await.unwrap();
    let grant = tutor.grant.request_grant(harness::ask("ada")).await.unwrap().into_inner();
    let used = proto::ReportUseRequest {
        grant_id: grant.grant_id.clone(),
        reply: "reply-41".into(),
        shaped_by: vec!["tone".into()],
        ai_disclosure_shown: true,
        ..Default::default()
    };
    tutor.grant.report_use(used).await.unwrap();
    // The tone is corrected, and consent for research is given and withdrawn.
    tutor.profile.record_attributes(record(vec![corrected])).await.unwrap();
    let mut health = choice(ConsentDecision::Given, "research", &["health"], true);
    health.recipients = vec!["lab".into()];
    health.expires_at = Some(prost_types::Timestamp { seconds: 4_000_000_000, nanos: 0 });
    steward.consent.record_consent(consent("ada", vec![health])).await.unwrap();
    let withdrawn = choice(ConsentDecision::Withdrawn, "research", &[], false);
    steward.consent.record_consent(consent("ada", vec![withdrawn])).await.unwrap();
    let signal = proto::RecordSignalRequest {
        subject: "ada".into(),
        kind: proto::SignalKind::Objection.into(),
        purposes: vec!["analytics".into()],
        ..Default::default()
    };
    tutor.consent.record_signal(signal).await.unwrap();
    let described = proto::DescribeSubjectRequest {
        subject: "ada".into(),
        age_band: proto::AgeBand::Adult.into(),
        jurisdiction: "DE".into(),
        ..Default::default()
    };
    steward.profile.describe_subject(described).await.unwrap();
    // Another subject, whose text must never appear in the package.
    tutor.profile.record_attributes(fact("ben", "secret", "work", CANARY)).await.unwrap();
    grant.grant_id
}

fn names<'a>(list: &'a Value, field: &str) -> Vec<&'a str> {
    list.as_array().unwrap().iter().map(|item| item[field].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_package_contains_everything_about_its_subject_and_nothing_about_others() {
    let harness = Harness::start().await;
    let grant = record_history(&harness).await;
    let mut ada = harness.as_role(Role::Subject, "ada").await;
    let bytes = export(&mut ada, "", PackageKind::Access).await.unwrap();
    let package = Unpacked::of(&bytes, &harness.dir.path().join("access"));
    let json = package.json();

    // The package has the current attributes.
    let attributes = &json["attributes"];
    assert_eq!(names(attributes, "key"), ["bio", "greeting", "guess", "number", "table", "tone", "wrong"]);
    let attribute =
        |key: &str| attributes.as_array().unwrap().iter().find(|each| each["key"] == key).unwrap().clone();
    assert_eq!(attribute("tone")["value"], "warm");
    assert_eq!(attribute("bio")["value"], HOSTILE);
    assert_eq!(attribute("table")["value"], serde_json::json!({"deep": [1, {"er": "été"}]}));
    assert!(package.text("package.json").contains("1234567.50e-3"));
    assert_eq!(attribute("guess")["model"], "guesser-2");
    assert_eq!(
        (&attribute("guess")["confidence"], &attribute("wrong")["contested"]),
        (&0.75.into(), &true.into())
    );
    assert_eq!(attribute("tone")["source"], serde_json::json!({"role": "channel", "name": "tutor"}));
    assert_eq!(attribute("guess")["source"], serde_json::json!({"role": "service", "name": "tutor"}));
    assert_eq!(attribute("tone")["evidence"], serde_json::json!(["chat about tone"]));
    assert_eq!(attribute("tone")["observed_at"], "2023-11-14T22:13:20Z");

    // It has each use with its recipient, purpose, attributes, consent and reply.
    let used = &json["uses"][0];
    assert_eq!(names(&json["uses"], "reply"), ["reply-41"]);
    assert_eq!(used["recipient"], "tutor");
    assert_eq!((&used["purpose"], &used["grant_id"]), (&"tone-adaptation".into(), &grant.as_str().into()));
    assert_eq!(names(&used["attributes"], "key"), ["tone"]);
    assert_eq!(names(&json["disclosures"], "recipient"), ["tutor"]);
    let given = json["consents"].as_array().unwrap().iter().find(|each| each["decision"] == "given").unwrap();
    assert_eq!(used["consents"], serde_json::json!([given["event_id"]]));
    assert_eq!(names(&json["recipients"], "name"), ["tutor"]);
    // The correction of the tone revoked the grant.
    assert_eq!(names(&json["revocations"], "grant_id"), [grant.as_str()]);

    // It has the consent decisions, the text of the notice that was served, and the signals.
    assert_eq!(names(&json["consents"], "decision"), ["given", "refused", "given", "withdrawn"]);
    assert_eq!(json["notices"][0]["text"], "we remember facts about you");
    assert_eq!(names(&json["signals"], "kind"), ["objection"]);

    assert_eq!(
        (&json["subject"]["age_band"], &json["subject"]["jurisdiction"]),
        (&"adult".into(), &"DE".into())
    );

    // The history contains every event. The last event is this export.
    let kinds = names(&json["history"], "what");
    assert_eq!(kinds.len() as u64, json["events"].as_u64().unwrap());
    assert_eq!(kinds.last(), Some(&"access_provided"));
    assert_eq!(kinds.iter().filter(|kind| **kind == "attribute_recorded").count(), 7);
    assert!(
        ["attribute_corrected", "attribute_contested", "consent_requested"]
            .iter()
            .all(|each| kinds.contains(each))
    );

    // The only purpose with permitted uses is the one that ada consented to.
    let permitted = json["permitted_uses"].as_array().unwrap();
    let allowed: Vec<&str> = permitted
        .iter()
        .filter(|each| !each["allowed"].as_array().unwrap().is_empty())
        .map(|each| each["purpose"].as_str().unwrap())
        .collect();
    assert!(
        !allowed.is_empty() && allowed.iter().all(|purpose| *purpose == "tone-adaptation"),
        "{allowed:?}"
    );
    assert_eq!(attribute("wrong")["may_be_used_for"], serde_json::json!([]));

    // The package has nothing about another subject, and no name of a member of staff.
    let all_bytes = package.all_bytes();
    assert!(!contains(&all_bytes, CANARY.as_bytes()) && !contains(&all_bytes, b"maria"));
    assert_eq!(package.receipts().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_package_page_escapes_text_and_runs_no_script() {
    let harness = Harness::start().await;
    record_history(&harness).await;
    let mut steward = harness.as_role(Role::Steward, "maria.the-steward").await;
    let bytes = export(&mut steward, "ada", PackageKind::Access).await.unwrap();
    let page = Unpacked::of(&bytes, &harness.dir.path().join("page")).text("index.html");
    assert!(
        page.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;")
    );
    assert!(!page.contains("<script") && !page.contains("<img"));
    assert!(page.contains("default-src 'none'; style-src 'sha256-"));
    assert!(page.contains("reply-41") && page.contains("we remember facts about you"));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_ledger_imports_declared_and_observed_attributes() {
    let (source_ledger, target_ledger) = (Harness::start().await, Harness::start().await);
    record_history(&source_ledger).await;
    for (kind, inferred) in [("portability", "0"), ("access", "2")] {
        let file = source_ledger.dir.path().join(format!("{kind}.zip"));
        let path = file.to_str().unwrap();
        let exported = json(&source_ledger.cli(
            Role::Steward,
            "maria.the-steward",
            &["export-subject", "ada", "-o", path, "--kind", kind, "--json"],
        ));
        assert_eq!(exported["kind"], format!("PACKAGE_KIND_{}", kind.to_uppercase()));
        let subject = format!("her-{kind}");
        let import = ["import", path, "--package", "--subject", &subject, "--json"];
        let imported = json(&target_ledger.cli(Role::Steward, "privacy-team", &import));
        assert_eq!(
            (&imported["recorded"], &imported["skipped"]["inferred"]),
            (&"5".into(), &inferred.into())
        );
        // A second import records nothing twice.
        let again = json(&target_ledger.cli(Role::Steward, "privacy-team", &import));
        assert_eq!((&again["recorded"], &again["alreadyRecorded"]), (&"0".into(), &"5".into()));
        let mut source = source_ledger.as_role(Role::Subject, "ada").await;
        let mut copy = target_ledger.as_role(Role::Subject, &subject).await;
        assert_eq!(declared_and_observed(&mut source).await, declared_and_observed(&mut copy).await);
    }
}

/// Key, value, category, provenance, evidence and time of observation, without data specific to one ledger.
async fn declared_and_observed(clients: &mut Clients) -> Vec<(String, Value, String, i32, Vec<String>, i64)> {
    let profile =
        clients.profile.get_profile(proto::GetProfileRequest::default()).await.unwrap().into_inner();
    let mut all: Vec<_> = profile
        .attributes
        .into_iter()
        .filter(|each| each.provenance != Provenance::Inferred as i32)
        .map(|each| {
            let value = serde_json::from_str(&each.value_json).unwrap();
            (
                each.key,
                value,
                each.category,
                each.provenance,
                each.evidence,
                each.observed_at.unwrap().seconds,
            )
        })
        .collect();
    all.sort_by(|left, right| left.0.cmp(&right.0));
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_portability_package_contains_no_inferences() {
    let harness = Harness::start().await;
    record_history(&harness).await;
    let mut ada = harness.as_role(Role::Subject, "ada").await;
    let bytes = export(&mut ada, "", PackageKind::Portability).await.unwrap();
    let package = Unpacked::of(&bytes, &harness.dir.path().join("portable"));
    assert_eq!(names(&package.json()["attributes"], "key"), ["bio", "greeting", "number", "table", "tone"]);
    assert!(package.json().get("history").is_none());
    let all_bytes = package.all_bytes();
    assert!(!contains(&all_bytes, b"likes cats") && !contains(&all_bytes, b"guesser-2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_data_subject_and_stewards_may_export_and_each_export_is_recorded() {
    let harness = Harness::start().await;
    record_history(&harness).await;
    for (role, name) in [(Role::Auditor, "auditor"), (Role::Operator, "ops"), (Role::Service, "tutor")] {
        let mut clients = harness.as_role(role, name).await;
        let refused = export(&mut clients, "ada", PackageKind::Access).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
        let receipt = proto::GetConsentReceiptRequest { subject: "ada".into(), ..Default::default() };
        let refused = clients.consent.get_consent_receipt(receipt).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
    }
    // A known and an unknown subject get the same error.
    let mut ada = harness.as_role(Role::Subject, "ada").await;
    let known = export(&mut ada, "ben", PackageKind::Access).await.unwrap_err();
    let unknown = export(&mut ada, "nobody", PackageKind::Access).await.unwrap_err();
    assert_eq!((known.code(), known.message()), (unknown.code(), unknown.message()));
    // An export that a steward cancels at once is still recorded.
    let mut steward = harness.as_role(Role::Steward, "maria.the-steward").await;
    drop(steward.rights.export_subject(request("ben", PackageKind::Access)).await.unwrap());
    let mut ben = harness.as_role(Role::Subject, "ben").await;
    let events =
        ben.profile.list_events(proto::ListEventsRequest::default()).await.unwrap().into_inner().events;
    let last = events.last().unwrap().body.clone().unwrap().event.unwrap();
    let proto::event_body::Event::AccessProvided(provided) = last else { panic!("{last:?}") };
    assert_eq!((provided.kind(), provided.items), (PackageKind::Access, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_completes_its_request_once_it_is_fully_delivered() {
    let harness = Harness::start().await;
    record_history(&harness).await;
    let mut ada = harness.as_role(Role::Subject, "ada").await;
    let mut steward = harness.as_role(Role::Steward, "maria.the-steward").await;
    let submit = |kind: proto::RequestKind| proto::SubmitRequestRequest {
        subject: "ada".into(),
        kind: kind.into(),
        ..Default::default()
    };
    let asked = ada.rights.submit_request(submit(proto::RequestKind::Access)).await.unwrap().into_inner();
    let id = asked.request_id;
    let answer =
        |kind: PackageKind| proto::ExportSubjectRequest { request_id: id.clone(), ..request("ada", kind) };
    let state = async |steward: &mut Clients| {
        let asked = proto::GetRequestRequest { request_id: id.clone() };
        steward.rights.get_request(asked).await.unwrap().into_inner().request.unwrap()
    };
    let refused = steward.rights.export_subject(answer(PackageKind::Portability)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let unknown = proto::ExportSubjectRequest {
        request_id: "01a208e3-3e5e-7e4d-accf-9b22e9f7d006".into(),
        ..request("ada", PackageKind::Access)
    };
    assert_eq!(steward.rights.export_subject(unknown).await.unwrap_err().code(), Code::NotFound);
    let out = harness.dir.path().join("ada.zip");
    let arguments = ["export-subject", "ada", "-o", out.to_str().unwrap(), "--request", &id];
    harness::stdout(&harness.cli(Role::Steward, "maria.the-steward", &arguments));
    let completed = state(&mut steward).await;
    assert_eq!(completed.state(), proto::RequestState::Completed);
    assert_eq!(completed.decided_by.unwrap().name, "maria.the-steward");
    let open_requests =
        steward.rights.list_requests(proto::ListRequestsRequest::default()).await.unwrap().into_inner();
    assert!(open_requests.requests.is_empty());
    let again = steward.rights.export_subject(answer(PackageKind::Access)).await.unwrap_err();
    assert_eq!(again.code(), Code::FailedPrecondition);
    // A person completes their own request by exporting.
    let asked =
        ada.rights.submit_request(submit(proto::RequestKind::Portability)).await.unwrap().into_inner();
    let answer = proto::ExportSubjectRequest {
        request_id: asked.request_id.clone(),
        ..request("", PackageKind::Portability)
    };
    let mut chunks = ada.rights.export_subject(answer).await.unwrap().into_inner();
    while chunks.message().await.unwrap().is_some() {}
    let asked = proto::GetRequestRequest { request_id: asked.request_id };
    let completed = ada.rights.get_request(asked).await.unwrap().into_inner().request.unwrap();
    assert_eq!(completed.state(), proto::RequestState::Completed);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_subject_is_indistinguishable_from_an_unknown_one() {
    let harness = Harness::start().await;
    record_history(&harness).await;
    let mut steward = harness.as_role(Role::Steward, "maria.the-steward").await;
    let erase = proto::SubmitRequestRequest {
        subject: "ada".into(),
        kind: proto::RequestKind::Erasure.into(),
        scope: proto::ErasureScope::All.into(),
        ..Default::default()
    };
    steward.rights.submit_request(erase).await.unwrap();
    let erased = export(&mut steward, "ada", PackageKind::Access).await.unwrap_err();
    let never = export(&mut steward, "nobody", PackageKind::Access).await.unwrap_err();
    assert_eq!((erased.code(), erased.message()), (never.code(), never.message()));
    assert_eq!(erased.code(), Code::NotFound);
    let receipt =
        |subject: &str| proto::GetConsentReceiptRequest { subject: subject.into(), ..Default::default() };
    let erased = steward.consent.get_consent_receipt(receipt("ada")).await.unwrap_err();
    let never = steward.consent.get_consent_receipt(receipt("nobody")).await.unwrap_err();
    assert_eq!((erased.code(), erased.message()), (never.code(), never.message()));
}

/// Text that does not compress well.
fn noise(seed: u64, bytes: usize) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let letter = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b' ' + u8::try_from(state % 94).unwrap() + 1)
    };
    (0..bytes).map(letter).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_ends_a_running_export() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = harness::config(dir.path());
    let limits = &mut config.limits;
    (limits.attributes_per_service_bytes_max, limits.attributes_per_person_bytes_max) = (8 << 20, 16 << 20);
    let harness = Harness { daemon: sayso::daemon::Daemon::start(&config).await.unwrap(), dir };
    let mut tutor = harness.as_role(Role::Service, "tutor").await;
    for batch in 0..8 {
        let one = |number: u64| {
            let seed = batch * 64 + number;
            let value = Value::from(noise(seed, 12 << 10)).to_string();
            input(&format!("key-{seed}"), "activity", &value, Provenance::Declared)
        };
        let attributes = (0..64).map(one).collect();
        let request = proto::RecordAttributesRequest { subject: "ada".into(), attributes, options: None };
        tutor.profile.record_attributes(request).await.unwrap();
    }
    let mut steward = harness.as_role(Role::Steward, "maria.the-steward").await;
    let access = proto::SubmitRequestRequest {
        subject: "ada".into(),
        kind: proto::RequestKind::Access.into(),
        ..Default::default()
    };
    let request_id = steward.rights.submit_request(access).await.unwrap().into_inner().request_id;
    let export_request =
        proto::ExportSubjectRequest { request_id: request_id.clone(), ..request("ada", PackageKind::Access) };
    let is_open = async |steward: &mut Clients| {
        let get_request = proto::GetRequestRequest { request_id: request_id.clone() };
        let request = steward.rights.get_request(get_request).await.unwrap().into_inner().request.unwrap();
        request.state() == proto::RequestState::Open
    };
    // The package has megabytes: an export that is canceled after its first chunk does not complete the
    // request.
    let mut canceled = steward.rights.export_subject(export_request.clone()).await.unwrap().into_inner();
    canceled.message().await.unwrap().unwrap();
    drop(canceled);
    assert!(is_open(&mut steward).await);
    let mut chunks = steward.rights.export_subject(export_request).await.unwrap().into_inner();
    let mut received = chunks.message().await.unwrap().unwrap().chunk.len();
    let erase = proto::SubmitRequestRequest {
        subject: "ada".into(),
        kind: proto::RequestKind::Erasure.into(),
        scope: proto::ErasureScope::All.into(),
        ..Default::default()
    };
    steward.rights.submit_request(erase).await.unwrap();
    let ended = loop {
        match chunks.message().await {
            Ok(Some(chunk)) => received += chunk.chunk.len(),
            Ok(None) => panic!("the export ended without an error after {received} bytes"),
            Err(status) => break status,
        }
    };
    assert_eq!(ended.code(), Code::Aborted);
}

/// This test also keeps the package and its receipts in a place where `tests/outside/run.sh` finds them.
#[tokio::test(flavor = "multi_thread")]
async fn receipts_verify_offline_and_fail_after_any_change() {
    let harness = Harness::start().await;
    record_history(&harness).await;
    let mut ada = harness.as_role(Role::Subject, "ada").await;
    let outside = Path::new(env!("CARGO_TARGET_TMPDIR")).join("outside");
    for (kind, folder) in [(PackageKind::Access, "access"), (PackageKind::Portability, "portability")] {
        let folder = outside.join(folder);
        let _not_there = std::fs::remove_dir_all(&folder);
        Unpacked::of(&export(&mut ada, "", kind).await.unwrap(), &folder);
    }
    let package = Unpacked { folder: outside.join("access") };
    let key = &harness.daemon.vkey;
    let verify = |path: &Path| {
        harness::sayso(&["verify", path.to_str().unwrap(), "--key", key, "--json"]).output().unwrap()
    };
    for path in package.receipts() {
        let verified = json(&verify(&path));
        assert_eq!(verified["origin"], "sayso.localhost/dev");
    }
    let newest = harness.cli(Role::Subject, "ada", &["consent", "receipt", "ada", "--json"]);
    assert_eq!(
        json(&newest)["dpv:hasRecordOfActivity"]["dpv:hasConsentStatus"][1]["@type"][0],
        "dpv:ConsentWithdrawn"
    );
    // A change to any statement of the receipt is detected.
    let texts = package.receipts().into_iter().map(|path| std::fs::read_to_string(path).unwrap());
    let receipt = texts.into_iter().find(|text| text.contains("eu-gdpr:A9-2-a")).unwrap();
    let changed = harness.dir.path().join("changed.jsonld");
    for (from, to) in [
        ("\"dct:identifier\": \"research\"", "\"dct:identifier\": \"advertising\""),
        ("\"dct:identifier\": \"health\"", "\"dct:identifier\": \"genetic\""),
        ("\"dct:identifier\": \"lab\"", "\"dct:identifier\": \"everybody\""),
        ("2096-10-02T07:06:40Z", "2099-10-02T07:06:40Z"),
        ("\"dpv:ConsentGiven\"", "\"dpv:ConsentRefused\""),
        ("\"schema:sha256\": \"", "\"schema:sha256\": \"0"),
    ] {
        assert!(receipt.contains(from), "{from}");
        std::fs::write(&changed, receipt.replace(from, to)).unwrap();
        assert_eq!(verify(&changed).status.code(), Some(4), "{from}");
    }
}
