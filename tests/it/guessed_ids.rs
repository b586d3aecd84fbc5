//! An attacker guesses the id of an erased person, and has the current folder with all its keys. The
//! person's *fence* confirms the guess. A fence is a page that the ledger keeps to refuse late writes, and
//! its name is a keyed hash of the erased id. Once anybody has been erased on a later day, the guess leads
//! no further: to no event of an erasure, to no certificate and to no counts by category.

use crate::forensic_tool::{Findings, Image};
use crate::harness::{Harness, config, fact};
use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use hmac::{Hmac, KeyInit, Mac};
use prost::Message;
use sayso::clock::{Clock, SystemClock};
use sayso::daemon::Daemon;
use sayso::proto::{self, ErasureScope, Role};
use sayso_proof::certificate::{DAY_MS, request_hash};
use sayso_proof::checkpoint::VerifierKey;
use sayso_proof::event::event_body::Event;
use sayso_proof::event::{ErasureCompleted, ErasureIntent};
use sha2::Sha256;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const PEOPLE: usize = 40;

fn id_of(person: usize) -> String {
    format!("person-{person}@example.org")
}

fn erasure(subject: &str, scope: ErasureScope, keys: &[&str]) -> proto::SubmitRequestRequest {
    proto::SubmitRequestRequest {
        subject: subject.into(),
        kind: proto::RequestKind::Erasure.into(),
        scope: scope.into(),
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        ..Default::default()
    }
}

/// The name of the page with the fence of an id, under one of the secrets.
fn fence_page(subject: &str, secret: &[u8; 32]) -> Vec<u8> {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(secret).unwrap();
    for part in ["subject", subject] {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part.as_bytes());
    }
    [b"f".as_slice(), &mac.finalize().into_bytes()].concat()
}

/// The exact time in a fence, if one of the keys opens it.
fn moment(name: &[u8], page: &[u8], keys: &BTreeSet<[u8; 32]>) -> Option<u64> {
    // The header, the nonce, and the ciphertext with its tag (docs/erasure.md).
    let (header, rest) = page[8..].split_at(8 + 1 + name.len() + 4);
    let (nonce, sealed) = rest.split_first_chunk::<12>().unwrap();
    let payload = || Payload { msg: sealed, aad: header };
    let open = |key: &[u8; 32]| {
        Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key)).decrypt(&Nonce::from(*nonce), payload()).ok()
    };
    keys.iter().find_map(open).map(|clear| u64::from_be_bytes(clear.try_into().unwrap()))
}

/// The time of each fence as exactly as the findings tell, and whether it is exact.
fn fences_in(found: &Findings) -> Vec<(u64, bool)> {
    let pages: BTreeMap<&[u8], &[u8]> =
        found.pages.iter().map(|(name, page)| (name.as_slice(), page.as_slice())).collect();
    let fence_of = |person| {
        let names = found.keys.iter().map(|secret| fence_page(&id_of(person), secret));
        let mut of_person = names.filter_map(|name| Some((*pages.get(name.as_slice())?, name)));
        let (page, name) = of_person.next().expect("the attack finds a fence that is there");
        let day_end = u64::from_be_bytes(*page.first_chunk().unwrap());
        let exact = moment(&name, page, &found.keys);
        (exact.unwrap_or(day_end), exact.is_some())
    };
    (0..PEOPLE).map(fence_of).collect()
}

/// A clock that is ahead of the machine's.
#[derive(Default)]
struct LaterClock {
    passed_ms: AtomicU64,
}

impl Clock for LaterClock {
    fn now_ms(&self) -> u64 {
        SystemClock.now_ms() + self.passed_ms.load(Ordering::SeqCst)
    }

    fn steady_ms(&self) -> u64 {
        SystemClock.steady_ms() + self.passed_ms.load(Ordering::SeqCst)
    }

    fn fill(&self, bytes: &mut [u8]) {
        SystemClock.fill(bytes);
    }
}

/// Completed erasures in the copies: when each was sealed, and what it says.
fn completed_in(copies: &Image) -> BTreeMap<[u8; 16], (u64, ErasureCompleted)> {
    let bodies = copies.entries().into_iter().filter_map(|(entry, _)| {
        let body = entry.plain_body().ok()??;
        Some((entry.header.event_id, entry.header.sealed_at_ms, body.event?))
    });
    let erasures = bodies.filter_map(|(id, at_ms, event)| match event {
        Event::ErasureCompleted(completed) => Some((id, (at_ms, completed))),
        _ => None,
    });
    erasures.collect()
}

/// The pairs of a fence and an event that are nearer to each other than to any other.
fn tied(fences: &[u64], events: &[u64]) -> Vec<(usize, usize)> {
    let nearest = |to: u64, of: &[u64]| {
        let mut by_distance: Vec<(u64, usize)> =
            of.iter().enumerate().map(|(at, time)| (time.abs_diff(to), at)).collect();
        by_distance.sort_unstable();
        match by_distance.as_slice() {
            [first, second, ..] if first.0 < second.0 => Some(first.1),
            _ => None,
        }
    };
    let mutual = fences.iter().enumerate().filter_map(|(fence, at)| {
        let event = nearest(*at, events)?;
        (nearest(events[event], fences) == Some(fence)).then_some((fence, event))
    });
    mutual.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_guessed_id_leads_to_a_certificate_or_to_counts() {
    let clock = Arc::new(LaterClock::default());
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.built_in_tokens.days_max = 36_500;
    let daemon = Daemon::start_with(&config, Arc::clone(&clock) as _).await.unwrap();
    let harness = Harness { dir, daemon };
    let mint =
        |role, name| harness.daemon.issuer.mint(crate::harness::claim_for(role), name, 10 * 86_400).unwrap();
    let mut service = harness.with_token(Some(&mint(Role::Service, "tutor"))).await;
    let mut steward = harness.with_token(Some(&mint(Role::Steward, "dpo"))).await;
    let last = fact("last@example.org", "job", "work", "engineer");
    service.profile.record_attributes(last).await.unwrap();
    for person in 0..PEOPLE {
        let mut facts = fact(&id_of(person), "job", "work", "engineer");
        facts.attributes.extend(fact("", "pet", "preference", "a cat").attributes);
        service.profile.record_attributes(facts).await.unwrap();
    }
    let mut certificates = Vec::new();
    for person in 0..PEOPLE {
        let request = erasure(&id_of(person), ErasureScope::All, &[]);
        let answer = steward.rights.submit_request(request).await.unwrap().into_inner();
        certificates.push(answer.certificate.unwrap());
    }
    // The control: on the day of the erasures, the keys open exact times.
    let same_day = Image::of(harness.dir.path());
    let exact = fences_in(&Findings::of(&same_day, &same_day)).iter().filter(|(_, exact)| *exact).count();
    assert_eq!(exact, PEOPLE);
    clock.passed_ms.store(DAY_MS, Ordering::SeqCst);
    steward.rights.submit_request(erasure("last@example.org", ErasureScope::All, &[])).await.unwrap();
    let after = Image::of(harness.dir.path());
    drop((service, steward));
    let dir = harness.stop().await;
    let daemon = Daemon::start_with(&config, Arc::clone(&clock) as _).await.unwrap();
    let harness = Harness { dir, daemon };
    let copies = after.and(&Image::of(harness.dir.path()));

    // The guesses: each id has a fence, under a current key. Old copies without their root keys add nothing.
    let found = Findings::of(&copies.clone().and(&same_day.without("secrets")), &copies);
    let fences: Vec<u64> = fences_in(&found).into_iter().map(|(at_ms, _)| at_ms).collect();
    let mut events: Vec<(u64, ErasureCompleted)> = completed_in(&copies).into_values().collect();
    events.sort_by_key(|(at_ms, _)| *at_ms);
    events.pop();
    assert_eq!(events.len(), PEOPLE);
    let times: Vec<u64> = events.iter().map(|(at_ms, _)| *at_ms).collect();
    let ties = tied(&fences, &times);
    let with_counts = events.iter().filter(|(_, event)| !event.erased_by_category.is_empty()).count();
    let with_ids = events.iter().filter(|(_, event)| !event.request.is_empty()).count();
    let exact = events.iter().filter(|(_, event)| event.requested_at_ms % DAY_MS != 0).count();
    println!("{} ids lead to one event; {with_counts} have counts, {with_ids} name a request", ties.len());
    assert_eq!((ties.len(), with_counts, with_ids, exact), (0, 0, 0, 0));

    // Without the id of a request, what the ledger keeps for the certificate does not open. No file has one.
    let hashes: BTreeSet<Vec<u8>> = events.iter().map(|(_, event)| event.request_hash.clone()).collect();
    let matches = |id: &[u8; 16]| hashes.contains(request_hash(id).as_slice());
    let known: Vec<[u8; 16]> = certificates
        .iter()
        .map(|each| uuid::Uuid::parse_str(&each.request_id).unwrap().into_bytes())
        .collect();
    assert!(
        known.iter().all(matches) && hashes.len() == PEOPLE,
        "the control: the ids that people were given"
    );
    assert_eq!(copies.ids(matches).len(), 0, "a file has the id of a request");
    let in_pages =
        |(_, page): &(Vec<u8>, Vec<u8>)| page.windows(16).any(|id| matches(id.try_into().unwrap()));
    assert!(!found.pages.iter().any(in_pages), "a page has the id of a request");

    // Those who were given the id of the request get the whole certificate.
    let mint = harness.daemon.issuer.mint(crate::harness::claim_for(Role::Steward), "dpo", 10 * 86_400);
    let mut steward = harness.with_token(Some(&mint.unwrap())).await;
    for first in &certificates {
        let request = proto::GetErasureCertificateRequest { request_id: first.request_id.clone() };
        let again = steward.rights.get_erasure_certificate(request).await.unwrap().into_inner();
        let again = again.certificate.unwrap();
        assert_eq!(again.erased_by_category, [("work".into(), 1), ("preference".into(), 1)].into());
        assert_eq!((again.requested_at, again.position), (first.requested_at, first.position));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_old_page_says_what_an_erasure_in_part_erased_after_the_person_is_erased() {
    let harness = Harness::start().await;
    let mut service = harness.as_role(Role::Service, "tutor").await;
    let mut steward = harness.as_role(Role::Steward, "dpo").await;
    let mut facts = fact("ada", "job", "work", "engineer");
    facts.attributes.extend(fact("", "pet", "preference", "a cat").attributes);
    service.profile.record_attributes(facts).await.unwrap();
    service.profile.record_attributes(fact("ben", "job", "work", "baker")).await.unwrap();
    steward.rights.submit_request(erasure("ada", ErasureScope::Key, &["pet"])).await.unwrap();
    let before = Image::of(harness.dir.path());
    steward.rights.submit_request(erasure("ada", ErasureScope::All, &[])).await.unwrap();
    let after = Image::of(harness.dir.path());
    let copies = before.without("secrets").and(&after);
    let found = Findings::of(&copies, &after);
    let intents: Vec<ErasureIntent> = found
        .pages
        .iter()
        .filter(|(name, _)| name.first() == Some(&b'e'))
        .map(|(_, page)| ErasureIntent::decode(page.as_slice()).unwrap())
        .collect();
    assert_eq!(intents.len(), 2, "the attack finds the old pages");
    for intent in intents {
        assert!(intent.decided.is_none(), "{:?}", intent.decided);
        assert!(intent.completed.unwrap().erased_by_category.is_empty());
    }
    let names = |(name, _): &(Vec<u8>, Vec<u8>)| name.as_slice() == b"e";
    assert!(!found.pages.iter().any(names), "the sealed part opens");
}

/// When the entries of a log were recorded, by the copies of its segments: state and time in each record
/// header (docs/storage.md).
fn record_times(dir: &std::path::Path) -> Vec<(u32, u64)> {
    let mut times = Vec::new();
    for path in crate::harness::files_below(&dir.join("log")) {
        if path.extension().is_none_or(|end| end != "seg") {
            continue;
        }
        let bytes = std::fs::read(path).unwrap();
        for header in bytes.chunks_exact(64) {
            let number = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap());
            if matches!(number(4), 1 | 2) && number(60) == crc32fast::hash(&header[..60]) {
                times.push((number(4), u64::from_le_bytes(header[8..16].try_into().unwrap())));
            }
        }
    }
    times
}

/// The positions and recorded times of the erased entries in an export, each with the time of the entry
/// before.
fn erased_times(harness: &Harness, dir: &std::path::Path) -> Vec<(u64, u64)> {
    let (archive, folder) = (dir.join("log.tar.zst"), dir.join("log"));
    let args = ["audit", "export", "-o", archive.to_str().unwrap()];
    assert!(harness.cli(Role::Auditor, "auditor", &args).status.success());
    let key: VerifierKey = harness.daemon.vkey.parse().unwrap();
    let file = std::fs::File::open(&archive).unwrap();
    sayso_proof::bundle::unpack(Box::new(file), &key, &folder).unwrap();
    let text = std::fs::read_to_string(folder.join("entries/000000.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let time = |line: &serde_json::Value| line["recorded_at_ms"].as_u64().unwrap();
    let pairs = lines.windows(2).filter(|pair| pair[1]["state"] == "erased");
    pairs.map(|pair| (time(&pair[0]), time(&pair[1]))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_entry_leaves_no_time() {
    let harness = Harness::start().await;
    let mut service = harness.as_role(Role::Service, "tutor").await;
    let mut steward = harness.as_role(Role::Steward, "dpo").await;
    for (subject, key) in [("ben", "a"), ("ada", "a"), ("ada", "b"), ("ben", "b"), ("ada", "c"), ("ben", "c")]
    {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        service.profile.record_attributes(fact(subject, key, "work", "x")).await.unwrap();
    }
    let times: BTreeSet<u64> = record_times(harness.dir.path()).into_iter().map(|(_, time)| time).collect();
    assert!(times.len() >= 6, "the control: the search finds the times that are there");
    steward.rights.submit_request(erasure("ada", ErasureScope::All, &[])).await.unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let exported = erased_times(&harness, scratch.path());
    assert!(exported.len() >= 3 && exported.iter().all(|(before, erased)| before == erased), "{exported:?}");
    drop((service, steward));
    // A start reads the segments: their frames are intact.
    let harness = harness.restart().await;
    for (state, time) in record_times(harness.dir.path()) {
        assert!(state == 1 || time == 0, "a discarded record has the time {time}");
    }
    let dir = harness.stop().await;
    std::fs::remove_file(dir.path().join("log/locations")).unwrap();
    std::fs::remove_dir_all(dir.path().join("log/index")).unwrap();
    let harness = Harness::start_in(dir).await;
    let scratch = tempfile::tempdir().unwrap();
    assert_eq!(erased_times(&harness, scratch.path()), exported);
}

/// Prints what padding adds to the entries of the facts that the tests import.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn what_padding_costs() {
    let harness = Harness::start().await;
    let path = crate::harness::facts();
    let before: u64 = log_bytes(harness.dir.path());
    harness.cli(Role::Service, "tutor", &["--json", "import", path.to_str().unwrap()]);
    let after = log_bytes(harness.dir.path());
    let scratch = tempfile::tempdir().unwrap();
    erased_times(&harness, scratch.path());
    let text = std::fs::read_to_string(scratch.path().join("log/entries/000000.jsonl")).unwrap();
    let (mut entries, mut padded, mut bare) = (0_u64, 0_u64, 0_u64);
    for line in text.lines() {
        use base64::Engine;
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let bytes = |name: &str| {
            let text = line[name].as_str()?;
            base64::engine::general_purpose::STANDARD.decode(text).ok()
        };
        let (Some(entry), Some(key)) = (bytes("entry"), bytes("key")) else { continue };
        let key = sayso_proof::entry::EventKey::from_bytes(key.try_into().unwrap());
        let parsed = sayso_proof::entry::Entry::parse(&entry).unwrap();
        let body = parsed.open(&key).unwrap().encoded_len() as u64;
        let class = sayso_proof::entry::padding::padded_bytes(body as usize) as u64;
        entries += 1;
        padded += entry.len() as u64;
        bare += entry.len() as u64 - (class - body);
    }
    println!(
        "{entries} entries about people: {} bytes each, {} without padding; the log grew by {} bytes",
        padded / entries,
        bare / entries,
        after - before
    );
}

/// The bytes that the segments take on the disk.
fn log_bytes(dir: &std::path::Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let files = crate::harness::files_below(&dir.join("log"));
    let segments = files.iter().filter(|path| path.extension().is_some_and(|end| end == "seg"));
    segments.map(|path| std::fs::metadata(path).unwrap().blocks() * 512).sum()
}
