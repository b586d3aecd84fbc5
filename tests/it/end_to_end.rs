//! The whole life of profiles on real data. The tests import 1,283 attributes of ten subjects; the bounds
//! forbid some of these attributes. For one subject, the tests request grants, withdraw consent, explain a
//! grant and erase everything. The exported bundle then verifies.

use crate::harness::{self, Clients, Harness, NOTICE, ask, choice, consent, contains, facts, files_below};
use sayso::proto::{self, ConsentDecision, DenialReason, RevocationReason, Role};
use sayso_proof::bundle::{self, Options, Source, VerifyFailure};
use sayso_proof::checkpoint::VerifierKey;
use sayso_proof::entry::{self, EventKey};
use sayso_proof::merkle::leaf_hash;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const SUBJECT: &str = "47-james";
const SPECIAL: [&str; 4] = ["health", "political_opinion", "religious_belief", "sexual_orientation_gender"];

fn lines() -> Vec<Value> {
    let text = std::fs::read_to_string(facts()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn subjects() -> Vec<String> {
    let mut subjects: Vec<String> =
        lines().iter().map(|line| line["subject"].as_str().unwrap().to_owned()).collect();
    subjects.sort();
    subjects.dedup();
    subjects
}

/// A daemon with all attributes imported, a service and a steward.
async fn imported() -> (Harness, Clients, Clients) {
    let harness = Harness::start().await;
    let service = harness.as_role(Role::Service, "tutor").await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    harness::publish_notice(&mut steward).await;
    // One of the ten explicitly consents to the recording of special categories. For the other nine, only
    // inferred attributes of special categories are forbidden.
    let given = choice(ConsentDecision::Given, "memory", &SPECIAL, true);
    steward.consent.record_consent(consent(SUBJECT, vec![given])).await.unwrap();
    let done = import(&harness);
    assert_eq!(done["refusedCount"], "0", "{done}");
    assert_eq!(done["forbiddenCount"], forbidden_count().to_string());
    assert_eq!(done["recorded"], (1283 - forbidden_count()).to_string());
    (harness, service, steward)
}

/// The number of inferred attributes in special categories whose subjects did not consent to recording them.
fn forbidden_count() -> usize {
    let lines = lines();
    let special = |line: &&Value| SPECIAL.contains(&line["category"].as_str().unwrap());
    lines
        .iter()
        .filter(special)
        .filter(|line| line["subject"] != SUBJECT && line["provenance"] == "inferred")
        .count()
}

fn import(harness: &Harness) -> Value {
    let file = facts().display().to_string();
    harness::json(&harness.cli(Role::Service, "tutor", &["--json", "import", &file]))
}

async fn profile(steward: &mut Clients, subject: &str, rebuild: bool) -> proto::GetProfileResponse {
    let request =
        proto::GetProfileRequest { subject: subject.into(), as_of: None, rebuild, ..Default::default() };
    steward.profile.get_profile(request).await.unwrap().into_inner()
}

/// The subject's keys in special categories if `special` is true, otherwise those in all other categories.
fn keys_of(subject: &str, special: bool) -> Vec<String> {
    let mut keys: Vec<String> = lines()
        .iter()
        .filter(|line| line["subject"] == subject)
        .filter(|line| SPECIAL.contains(&line["category"].as_str().unwrap()) == special)
        .map(|line| line["key"].as_str().unwrap().to_owned())
        .collect();
    keys.sort();
    keys
}

fn allowed_keys(grant: &proto::RequestGrantResponse) -> Vec<String> {
    grant.allowed.iter().map(|allowed| allowed.key.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_is_imported_granted_withdrawn_explained_and_erased() {
    let (harness, mut service, mut steward) = imported().await;
    let again = import(&harness);
    assert_eq!(
        (harness::int64(&again["recorded"]), harness::int64(&again["alreadyRecorded"])),
        (0, 1283 - forbidden_count() as u64)
    );

    // Without consent, nothing is allowed.
    let empty = service.grant.request_grant(ask(SUBJECT)).await.unwrap().into_inner();
    assert!(empty.allowed.is_empty() && !empty.grant_id.is_empty());

    // This consent names no special categories.
    let given = choice(ConsentDecision::Given, "tone-adaptation", &[], false);
    steward.consent.record_consent(consent(SUBJECT, vec![given])).await.unwrap();
    let plain = service.grant.request_grant(ask(SUBJECT)).await.unwrap().into_inner();
    assert_eq!(allowed_keys(&plain), keys_of(SUBJECT, false));
    let health = plain.withheld.iter().find(|class| class.category == "health").unwrap();
    assert_eq!(health.reason(), DenialReason::NotExplicit);
    assert_eq!((health.decided_by(), health.article.as_str()), (proto::Tier::Public, "GDPR Art. 9(2)(a)"));

    // Explicit consent to health allows health and no other special category.
    let given = choice(ConsentDecision::Given, "tone-adaptation", &["health"], true);
    steward.consent.record_consent(consent(SUBJECT, vec![given])).await.unwrap();
    let full = service.grant.request_grant(ask(SUBJECT)).await.unwrap().into_inner();
    let categories: Vec<&str> = full.withheld.iter().map(|class| class.category.as_str()).collect();
    assert!(!categories.contains(&"health"), "{categories:?}");
    assert!(full.allowed.iter().any(|allowed| allowed.category == "health"));
    assert!(full.allowed.len() > plain.allowed.len());

    withdraw_and_explain(&mut service, &mut steward, &full).await;
    erase_and_verify(harness, &mut service, &mut steward, &full.grant_id).await;
}

async fn withdraw_and_explain(
    service: &mut Clients,
    steward: &mut Clients,
    full: &proto::RequestGrantResponse,
) {
    let request = proto::WatchRevocationsRequest { after_cursor: None };
    let mut watch = service.grant.watch_revocations(request).await.unwrap().into_inner();
    let first = watch.message().await.unwrap().unwrap();
    let withdrawal = choice(ConsentDecision::Withdrawn, "tone-adaptation", &[], false);
    let before = std::time::Instant::now();
    let withdrawn =
        steward.consent.record_consent(consent(SUBJECT, vec![withdrawal])).await.unwrap().into_inner();
    assert!(withdrawn.revoked_grants.contains(&full.grant_id));
    let mut revoked = Vec::new();
    while !revoked.contains(&full.grant_id) {
        let revocation = watch.message().await.unwrap().unwrap();
        assert_eq!(revocation.reason(), RevocationReason::ConsentWithdrawn);
        revoked.extend(revocation.grant_ids);
    }
    println!("time from the withdrawal request to the watcher's message: {:?}", before.elapsed());

    // A new watch from the first cursor reports the same revocations.
    let request = proto::WatchRevocationsRequest { after_cursor: Some(first.cursor) };
    let mut second_watch = service.grant.watch_revocations(request).await.unwrap().into_inner();
    let mut revoked_again = Vec::new();
    second_watch.message().await.unwrap().unwrap();
    while revoked_again.len() < revoked.len() {
        revoked_again.extend(second_watch.message().await.unwrap().unwrap().grant_ids);
    }
    assert_eq!(revoked_again, revoked);

    let next = service.grant.request_grant(ask(SUBJECT)).await.unwrap().into_inner();
    assert!(next.allowed.is_empty());
    let check = proto::CheckGrantRequest { grant_id: full.grant_id.clone(), keys: Vec::new() };
    let checked = service.grant.check_grant(check).await.unwrap().into_inner();
    assert_eq!((checked.valid, checked.reason()), (false, RevocationReason::ConsentWithdrawn));

    // The explanation still lists what the grant allowed.
    let why = proto::ExplainGrantRequest { grant_id: full.grant_id.clone() };
    let why = steward.grant.explain_grant(why).await.unwrap().into_inner();
    assert_eq!(why.allowed.len(), full.allowed.len());
    assert_eq!((why.recipient.as_str(), why.valid), ("tutor", false));
    assert!(
        why.consents.iter().all(|consent| consent.change_since.starts_with("withdrawn on")),
        "{}",
        why.text
    );
    assert!(why.text.contains(NOTICE) && why.text.contains("The grant was revoked on"), "{}", why.text);
}

async fn erase_and_verify(harness: Harness, service: &mut Clients, steward: &mut Clients, grant: &str) {
    let others: Vec<String> = subjects().into_iter().filter(|subject| subject != SUBJECT).collect();
    let mut before = Vec::new();
    for subject in &others {
        before.push(profile(steward, subject, true).await);
    }
    let request = proto::SubmitRequestRequest {
        subject: SUBJECT.into(),
        kind: proto::RequestKind::Erasure.into(),
        scope: proto::ErasureScope::All.into(),
        ..Default::default()
    };
    let erased = steward.rights.submit_request(request).await.unwrap().into_inner();
    let certificate = erased.certificate.unwrap();
    assert_eq!(certificate.recipients.len(), 1);
    assert_eq!(certificate.recipients[0].name, "tutor");

    let check = proto::CheckGrantRequest { grant_id: grant.into(), keys: Vec::new() };
    let checked = service.grant.check_grant(check).await.unwrap().into_inner();
    assert_eq!((checked.valid, checked.reason()), (false, RevocationReason::Erased));
    let unknown = service.grant.request_grant(ask(SUBJECT)).await.unwrap().into_inner();
    assert_eq!(unknown.gaps, [i32::from(proto::Gap::UnknownSubject)]);
    // Writes that predate the erasure are refused.
    let late = import_late(&harness);
    assert_eq!(late["recorded"], "0");

    for (subject, before) in others.iter().zip(&before) {
        assert_eq!(&profile(steward, subject, false).await, before);
    }
    let bundle = harness.dir.path().join("log.tar.zst");
    let exported =
        harness.cli(Role::Auditor, "auditor", &["audit", "export", "-o", bundle.to_str().unwrap()]);
    harness::stdout(&exported);
    let key: VerifierKey = harness.daemon.vkey.parse().unwrap();
    let verified = harness::sayso(&["--json", "verify", bundle.to_str().unwrap(), "--key", &key.to_string()]);
    let report = harness::json(&{ verified }.output().unwrap());
    assert_eq!(report["erased"], certificate.entries_discarded.to_string());
    assert_eq!(report["subjects"], "9");
    assert_eq!(report["grants"]["unjustified"], "0");
    let proof = harness.dir.path().join("erasure.tlog-proof");
    std::fs::write(&proof, &certificate.proof).unwrap();
    let proved =
        harness::sayso(&["verify", proof.to_str().unwrap(), "--key", &key.to_string()]).output().unwrap();
    assert!(harness::stdout(&proved).contains("erasureCompleted"));

    let values: Vec<String> = lines()
        .iter()
        .filter(|line| line["subject"] == SUBJECT)
        .map(|line| line["value"].as_str().unwrap().to_owned())
        .collect();
    let dir = harness.stop().await;
    for file in files_below(dir.path()).iter().filter(|file| !file.ends_with("log.tar.zst")) {
        let bytes = std::fs::read(file).unwrap();
        assert!(!contains(&bytes, SUBJECT.as_bytes()), "id in {file:?}");
        assert!(values.iter().all(|value| !contains(&bytes, value.as_bytes())), "text in {file:?}");
    }
    tamper(&bundle, &key, dir.path());
}

/// Imports the file again after the erasure. The erased subject's lines are refused because they predate the
/// erasure, except those that the bounds forbid anyway. All other lines are already recorded.
fn import_late(harness: &Harness) -> Value {
    let file = facts().display().to_string();
    let output = harness.cli(Role::Service, "tutor", &["--json", "import", &file]);
    assert_eq!(output.status.code(), Some(1));
    let done: Value = serde_json::from_slice(&output.stdout).unwrap();
    let refused = done["refused"].as_array().unwrap();
    let is_forbidden = |line: &Value| {
        SPECIAL.contains(&line["category"].as_str().unwrap()) && line["provenance"] == "inferred"
    };
    let expected = lines().iter().filter(|line| line["subject"] == SUBJECT && !is_forbidden(line)).count();
    assert_eq!(refused.len(), expected);
    assert!(refused.iter().all(|line| line["message"].as_str().unwrap().contains("erasure")));
    done
}

fn verify(folder: &Path, key: &VerifierKey) -> Result<bundle::Report, VerifyFailure> {
    bundle::verify(Source::Folder(folder.to_owned()), key, &Options::default(), &mut |_| {})
}

fn entries_file(folder: &Path) -> PathBuf {
    folder.join("entries/000000.jsonl")
}

/// Drops, swaps and re-signs lines of an unpacked bundle, and flips bytes of the archive. Verification must
/// fail after each change.
fn tamper(bundle_path: &Path, key: &VerifierKey, dir: &Path) {
    let folder = dir.join("unpacked");
    let file = std::fs::File::open(bundle_path).unwrap();
    bundle::unpack(Box::new(file), key, &folder).unwrap();
    verify(&folder, key).unwrap();
    keep_for_outside_checks(&folder, key);
    let text = std::fs::read_to_string(entries_file(&folder)).unwrap();
    let original: Vec<String> = text.lines().map(str::to_owned).collect();
    let write = |lines: &[String]| std::fs::write(entries_file(&folder), lines.join("\n") + "\n").unwrap();

    for position in [0, 700, original.len() - 1] {
        let mut lines = original.clone();
        lines.remove(position);
        write(&lines);
        let failure = verify(&folder, key).unwrap_err();
        assert!(failure.position.is_some_and(|at| at as usize == position), "dropped {position}: {failure}");
    }
    let mut swapped = original.clone();
    swapped.swap(300, 301);
    write(&swapped);
    assert_eq!(verify(&folder, key).unwrap_err().position, Some(300));
    let mut resigned = original.clone();
    let at = original.iter().position(|line| line.contains("attributeRecorded")).unwrap();
    resigned[at] = resign(&original[at]);
    write(&resigned);
    let failure = verify(&folder, key).unwrap_err();
    assert_eq!(failure.position, Some(at as u64), "{failure}");
    write(&original);
    verify(&folder, key).unwrap();

    let bytes = std::fs::read(bundle_path).unwrap();
    for at in (0..bytes.len()).step_by(bytes.len() / 31 + 1).chain([0, bytes.len() - 1]) {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        let source = Source::Archive(Box::new(changed.as_slice()));
        let verdict = bundle::verify(source, key, &Options::default(), &mut |_| {});
        assert!(verdict.is_err(), "byte {at} of {}", bytes.len());
    }
}

/// Signs the event of a line with another key.
fn resign(line: &str) -> String {
    use base64::Engine;
    let mut line: Value = serde_json::from_str(line).unwrap();
    let base64 = base64::engine::general_purpose::STANDARD;
    let bytes = base64.decode(line["entry"].as_str().unwrap()).unwrap();
    let event_key = base64.decode(line["key"].as_str().unwrap()).unwrap();
    let parsed = entry::Entry::parse(&bytes).unwrap();
    let event_key = EventKey::from_bytes(event_key.try_into().unwrap());
    let body = parsed.open(&event_key).unwrap();
    let payload = entry::seal(&parsed.header, &body, &event_key).unwrap();
    let other = ed25519_dalek::SigningKey::from_bytes(&[9; 32]);
    let signed = entry::sign(payload, &parsed.origin, &other).unwrap();
    assert_ne!(leaf_hash(&signed), leaf_hash(&bytes));
    line["entry"] = base64.encode(signed).into();
    line.to_string()
}

/// Keeps the files that `make test` checks with implementations in other languages.
fn keep_for_outside_checks(folder: &Path, key: &VerifierKey) {
    let outside = Path::new(env!("CARGO_TARGET_TMPDIR")).join("outside");
    std::fs::create_dir_all(&outside).unwrap();
    std::fs::copy(entries_file(folder), outside.join("entries.jsonl")).unwrap();
    std::fs::copy(folder.join("leaf-hashes.bin"), outside.join("leaf-hashes.bin")).unwrap();
    std::fs::write(outside.join("public-key.hex"), hex::encode(key.key.as_bytes())).unwrap();
}

/// Computes one subject's profile from the events up to a time: each key, with its value and whether it is
/// contested. This function shares no code with the daemon, so that the test compares two implementations.
fn independent_fold(events: &[proto::RecordedEvent], until_ms: u64) -> BTreeMap<String, (String, bool)> {
    let mut attributes: BTreeMap<String, (String, bool, Vec<u8>)> = BTreeMap::new();
    for event in events {
        let recorded = event.recorded_at.as_ref().unwrap();
        let recorded_ms = recorded.seconds as u64 * 1000 + recorded.nanos as u64 / 1_000_000;
        if recorded_ms > until_ms {
            continue;
        }
        let id = event.event_id.replace('-', "");
        let id = hex::decode(id).unwrap();
        match event.body.clone().unwrap().event.unwrap() {
            proto::event_body::Event::AttributeRecorded(recorded) => {
                let attribute = recorded.attribute.unwrap();
                attributes.insert(attribute.key, (attribute.value_json, false, id));
            }
            proto::event_body::Event::AttributeRemoved(removed) => {
                attributes.retain(|_, (_, _, event)| *event != removed.attribute);
            }
            proto::event_body::Event::AttributeContested(contested) => {
                for attribute in
                    attributes.values_mut().filter(|attribute| attribute.2 == contested.attribute)
                {
                    attribute.1 = true;
                }
            }
            _ => {}
        }
    }
    attributes.into_iter().map(|(key, (value, contested, _))| (key, (value, contested))).collect()
}

async fn history(steward: &mut Clients, subject: &str) -> Vec<proto::RecordedEvent> {
    let mut events = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = proto::ListEventsRequest { subject: subject.into(), page_size: 50, page_token };
        let page = steward.profile.list_events(request).await.unwrap().into_inner();
        events.extend(page.events);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return events;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_at_any_time_matches_an_independent_fold_of_its_events() {
    let (_harness, _service, mut steward) = imported().await;
    for subject in subjects() {
        let keys = keys_of(&subject, false);
        let request = proto::RemoveAttributesRequest {
            subject: subject.clone(),
            keys: keys[..2].to_vec(),
            ..Default::default()
        };
        steward.profile.remove_attributes(request).await.unwrap();
        let request = proto::ContestAttributeRequest {
            subject: subject.clone(),
            key: keys[3].clone(),
            ..Default::default()
        };
        steward.profile.contest_attribute(request).await.unwrap();
    }
    for subject in subjects() {
        // A view is recorded as an event, too. So view the history and the profile once before counting the
        // events.
        history(&mut steward, &subject).await;
        let cached = profile(&mut steward, &subject, false).await;
        assert_eq!(cached, profile(&mut steward, &subject, true).await);
        let events = history(&mut steward, &subject).await;
        assert_eq!(events.len() as u64, cached.version);
        for moment in moments(&events) {
            let millis = moment.seconds as u64 * 1000 + moment.nanos as u64 / 1_000_000;
            let as_of = proto::AsOf { moment: Some(proto::as_of::Moment::Time(moment)) };
            let request = proto::GetProfileRequest {
                subject: subject.clone(),
                as_of: Some(as_of),
                rebuild: false,
                ..Default::default()
            };
            let past = steward.profile.get_profile(request).await.unwrap().into_inner();
            let past: BTreeMap<String, (String, bool)> = past
                .attributes
                .into_iter()
                .map(|attribute| (attribute.key, (attribute.value_json, attribute.contested)))
                .collect();
            assert_eq!(past, independent_fold(&events, millis));
        }
    }
}

/// At least 20 moments of a history: at events, between them, before the first and after the last.
fn moments(events: &[proto::RecordedEvent]) -> Vec<prost_types::Timestamp> {
    let step = events.len() / 20 + 1;
    let mut moments: Vec<_> = events.iter().step_by(step).map(|event| event.recorded_at.unwrap()).collect();
    let last = events.last().unwrap().recorded_at.unwrap();
    moments.push(prost_types::Timestamp { seconds: last.seconds + 1, nanos: 0 });
    moments.push(prost_types::Timestamp { seconds: 0, nanos: 0 });
    while moments.len() < 20 {
        let number = moments.len() as i32;
        moments.push(prost_types::Timestamp {
            nanos: (last.nanos + number * 1_000_000) % 1_000_000_000,
            ..last
        });
    }
    moments
}
