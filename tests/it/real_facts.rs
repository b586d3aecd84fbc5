//! The main job on real input: 1,283 facts about ten people, from import to a bundle that verifies.

use crate::harness::{self, Clients, Harness, NOTICE, ask, choice, consent, contains, facts, files_below};
use sayso::proto::{self, ConsentDecision, DenialReason, RevocationReason, Role};
use sayso_proof::bundle::{self, Options, Source, VerifyFailure};
use sayso_proof::checkpoint::VerifierKey;
use sayso_proof::entry::{self, EventKey};
use sayso_proof::merkle::leaf_hash;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const PERSON: &str = "47-james";
const SPECIAL: [&str; 4] = ["health", "political_opinion", "religious_belief", "sexual_orientation_gender"];

fn lines() -> Vec<Value> {
    let text = std::fs::read_to_string(facts()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn people() -> Vec<String> {
    let mut people: Vec<String> =
        lines().iter().map(|line| line["subject"].as_str().unwrap().to_owned()).collect();
    people.sort();
    people.dedup();
    people
}

async fn imported() -> (Harness, Clients, Clients) {
    let harness = Harness::start().await;
    let service = harness.as_role(Role::Service, "tutor").await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    harness::publish_notice(&mut steward).await;
    // One of the ten explicitly lets the service remember special categories; of the others, what was
    // concluded about them stays outside, and nothing else does.
    let yes = choice(ConsentDecision::Given, "memory", &SPECIAL, true);
    steward.consent.record_consent(consent(PERSON, vec![yes])).await.unwrap();
    let done = import(&harness);
    assert_eq!(done["refusedCount"], "0", "{done}");
    assert_eq!(done["forbiddenCount"], refused_at_the_door().to_string());
    assert_eq!(done["recorded"], (1283 - refused_at_the_door()).to_string());
    (harness, service, steward)
}

/// Conclusions about special categories of everybody who did not say yes to recording them.
fn refused_at_the_door() -> usize {
    let lines = lines();
    let special = |line: &&Value| SPECIAL.contains(&line["category"].as_str().unwrap());
    lines
        .iter()
        .filter(special)
        .filter(|line| line["subject"] != PERSON && line["provenance"] == "inferred")
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

/// Keys of a person's facts by whether their category is special.
fn keys_of(person: &str, special: bool) -> Vec<String> {
    let mut keys: Vec<String> = lines()
        .iter()
        .filter(|line| line["subject"] == person)
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
async fn the_whole_story() {
    let (harness, mut service, mut steward) = imported().await;
    let again = import(&harness);
    assert_eq!(
        (harness::int64(&again["recorded"]), harness::int64(&again["alreadyRecorded"])),
        (0, 1283 - refused_at_the_door() as u64)
    );

    // Silence is no.
    let nothing = service.grant.request_grant(ask(PERSON)).await.unwrap().into_inner();
    assert!(nothing.allowed.is_empty() && !nothing.grant_id.is_empty());

    // A yes without special categories.
    let yes = choice(ConsentDecision::Given, "tone-adaptation", &[], false);
    steward.consent.record_consent(consent(PERSON, vec![yes])).await.unwrap();
    let plain = service.grant.request_grant(ask(PERSON)).await.unwrap().into_inner();
    assert_eq!(allowed_keys(&plain), keys_of(PERSON, false));
    let health = plain.withheld.iter().find(|class| class.category == "health").unwrap();
    assert_eq!(health.reason(), DenialReason::NotExplicit);
    assert_eq!((health.decided_by(), health.article.as_str()), (proto::Tier::Public, "GDPR Art. 9(2)(a)"));

    // An explicit yes to health brings health in, and nothing else.
    let yes = choice(ConsentDecision::Given, "tone-adaptation", &["health"], true);
    steward.consent.record_consent(consent(PERSON, vec![yes])).await.unwrap();
    let full = service.grant.request_grant(ask(PERSON)).await.unwrap().into_inner();
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
    let mut fallen = service.grant.watch_revocations(request).await.unwrap().into_inner();
    let standing = fallen.message().await.unwrap().unwrap();
    let no = choice(ConsentDecision::Withdrawn, "tone-adaptation", &[], false);
    let before = std::time::Instant::now();
    let withdrawn = steward.consent.record_consent(consent(PERSON, vec![no])).await.unwrap().into_inner();
    assert!(withdrawn.revoked_grants.contains(&full.grant_id));
    let mut told = Vec::new();
    while !told.contains(&full.grant_id) {
        let fell = fallen.message().await.unwrap().unwrap();
        assert_eq!(fell.reason(), RevocationReason::ConsentWithdrawn);
        told.extend(fell.grant_ids);
    }
    println!("withdrawal to watcher, withdrawal included: {:?}", before.elapsed());

    // Told again after a break, from the cursor on.
    let request = proto::WatchRevocationsRequest { after_cursor: Some(standing.cursor) };
    let mut again = service.grant.watch_revocations(request).await.unwrap().into_inner();
    let mut told_again = Vec::new();
    again.message().await.unwrap().unwrap();
    while told_again.len() < told.len() {
        told_again.extend(again.message().await.unwrap().unwrap().grant_ids);
    }
    assert_eq!(told_again, told);

    let next = service.grant.request_grant(ask(PERSON)).await.unwrap().into_inner();
    assert!(next.allowed.is_empty());
    let check = proto::CheckGrantRequest { grant_id: full.grant_id.clone() };
    let standing = service.grant.check_grant(check).await.unwrap().into_inner();
    assert_eq!((standing.stands, standing.reason()), (false, RevocationReason::ConsentWithdrawn));

    // The truth about the past stays.
    let why = proto::ExplainGrantRequest { grant_id: full.grant_id.clone() };
    let why = steward.grant.explain_grant(why).await.unwrap().into_inner();
    assert_eq!(why.allowed.len(), full.allowed.len());
    assert_eq!((why.recipient.as_str(), why.stands), ("tutor", false));
    assert!(why.consents.iter().all(|consent| consent.since.starts_with("withdrawn on")), "{}", why.text);
    assert!(why.text.contains(NOTICE) && why.text.contains("The grant was revoked on"), "{}", why.text);
}

async fn erase_and_verify(harness: Harness, service: &mut Clients, steward: &mut Clients, grant: &str) {
    let others: Vec<String> = people().into_iter().filter(|person| person != PERSON).collect();
    let mut before = Vec::new();
    for person in &others {
        before.push(profile(steward, person, true).await);
    }
    let request = proto::SubmitRequestRequest {
        subject: PERSON.into(),
        kind: proto::RequestKind::Erasure.into(),
        scope: proto::ErasureScope::All.into(),
        ..Default::default()
    };
    let erased = steward.rights.submit_request(request).await.unwrap().into_inner();
    let certificate = erased.certificate.unwrap();
    assert_eq!(certificate.recipients.len(), 1);
    assert_eq!(certificate.recipients[0].name, "tutor");

    let check = proto::CheckGrantRequest { grant_id: grant.into() };
    let standing = service.grant.check_grant(check).await.unwrap().into_inner();
    assert_eq!((standing.stands, standing.reason()), (false, RevocationReason::Erased));
    let unknown = service.grant.request_grant(ask(PERSON)).await.unwrap().into_inner();
    assert_eq!(unknown.gaps, [i32::from(proto::Gap::UnknownSubject)]);
    // What is from before the erasure does not come back.
    let late = import_late(&harness);
    assert_eq!(late["recorded"], "0");

    for (person, before) in others.iter().zip(&before) {
        assert_eq!(&profile(steward, person, false).await, before);
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
        .filter(|line| line["subject"] == PERSON)
        .map(|line| line["value"].as_str().unwrap().to_owned())
        .collect();
    let dir = harness.stop().await;
    for file in files_below(dir.path()).iter().filter(|file| !file.ends_with("log.tar.zst")) {
        let bytes = std::fs::read(file).unwrap();
        assert!(!contains(&bytes, PERSON.as_bytes()), "id in {file:?}");
        assert!(values.iter().all(|value| !contains(&bytes, value.as_bytes())), "text in {file:?}");
    }
    tamper(&bundle, &key, dir.path());
}

/// The erased person's lines are refused as erased, but for what bounds would refuse anyhow; everybody else's
/// are there already.
fn import_late(harness: &Harness) -> Value {
    let file = facts().display().to_string();
    let output = harness.cli(Role::Service, "tutor", &["--json", "import", &file]);
    assert_eq!(output.status.code(), Some(1));
    let done: Value = serde_json::from_slice(&output.stdout).unwrap();
    let refused = done["refused"].as_array().unwrap();
    let is_stopped = |line: &Value| {
        SPECIAL.contains(&line["category"].as_str().unwrap()) && line["provenance"] == "inferred"
    };
    let expected = lines().iter().filter(|line| line["subject"] == PERSON && !is_stopped(line)).count();
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

/// Drops, swaps and re-signs lines; flips bytes of the file.
fn tamper(bundle_path: &Path, key: &VerifierKey, dir: &Path) {
    let folder = dir.join("unpacked");
    let file = std::fs::File::open(bundle_path).unwrap();
    bundle::unpack(Box::new(file), key, &folder).unwrap();
    verify(&folder, key).unwrap();
    leave_for_outside_checks(&folder, key);
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

/// The same event, signed by another key.
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

/// `make test` has other languages check these afterwards.
fn leave_for_outside_checks(folder: &Path, key: &VerifierKey) {
    let outside = Path::new(env!("CARGO_TARGET_TMPDIR")).join("outside");
    std::fs::create_dir_all(&outside).unwrap();
    std::fs::copy(entries_file(folder), outside.join("entries.jsonl")).unwrap();
    std::fs::copy(folder.join("leaf-hashes.bin"), outside.join("leaf-hashes.bin")).unwrap();
    std::fs::write(outside.join("public-key.hex"), hex::encode(key.key.as_bytes())).unwrap();
}

/// A fold written only for this test: JSON events of one person in order, to key → (value, contested).
fn independent_fold(events: &[proto::RecordedEvent], until_ms: u64) -> BTreeMap<String, (String, bool)> {
    let mut held: BTreeMap<String, (String, bool, Vec<u8>)> = BTreeMap::new();
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
                let fact = recorded.attribute.unwrap();
                held.insert(fact.key, (fact.value_json, false, id));
            }
            proto::event_body::Event::AttributeRemoved(removed) => {
                held.retain(|_, (_, _, event)| *event != removed.attribute);
            }
            proto::event_body::Event::AttributeContested(contested) => {
                for fact in held.values_mut().filter(|fact| fact.2 == contested.attribute) {
                    fact.1 = true;
                }
            }
            _ => {}
        }
    }
    held.into_iter().map(|(key, (value, contested, _))| (key, (value, contested))).collect()
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
async fn profiles_are_what_their_events_say() {
    let (_harness, _service, mut steward) = imported().await;
    for person in people() {
        let keys = keys_of(&person, false);
        let request = proto::RemoveAttributesRequest {
            subject: person.clone(),
            keys: keys[..2].to_vec(),
            ..Default::default()
        };
        steward.profile.remove_attributes(request).await.unwrap();
        let request = proto::ContestAttributeRequest {
            subject: person.clone(),
            key: keys[3].clone(),
            ..Default::default()
        };
        steward.profile.contest_attribute(request).await.unwrap();
    }
    for person in people() {
        // Looks are events, too: both kinds are made before anything is counted.
        history(&mut steward, &person).await;
        let cached = profile(&mut steward, &person, false).await;
        assert_eq!(cached, profile(&mut steward, &person, true).await);
        let events = history(&mut steward, &person).await;
        assert_eq!(events.len() as u64, cached.version);
        for moment in moments(&events) {
            let millis = moment.seconds as u64 * 1000 + moment.nanos as u64 / 1_000_000;
            let as_of = proto::AsOf { moment: Some(proto::as_of::Moment::Time(moment)) };
            let request = proto::GetProfileRequest {
                subject: person.clone(),
                as_of: Some(as_of),
                rebuild: false,
                ..Default::default()
            };
            let then = steward.profile.get_profile(request).await.unwrap().into_inner();
            let then: BTreeMap<String, (String, bool)> = then
                .attributes
                .into_iter()
                .map(|held| (held.key, (held.value_json, held.contested)))
                .collect();
            assert_eq!(then, independent_fold(&events, millis));
        }
    }
}

/// Twenty moments over a history: at events and between them.
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
