//! The daemon's process is killed at random moments during erasures. After the restart each erasure is either
//! not begun or complete, other people are unaffected, and the log verifies.

use crate::crash::{Served, token};
use crate::forensic_tool::{Findings, Image};
use crate::harness::{fact, json};
use sayso::proto::profile_service_client::ProfileServiceClient;
use sayso::proto::rights_service_client::RightsServiceClient;
use sayso::proto::{self, ErasureScope, RequestKind};
use std::collections::BTreeMap;
use std::time::Duration;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;

/// The number of people who are erased at the same time.
const TOGETHER: u64 = 3;
/// The number of notes that are recorded about each person.
const NOTES: usize = 2;

/// The number of rounds: `SAYSO_ROUNDS` if it is set, or 5.
fn rounds() -> u64 {
    std::env::var("SAYSO_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(5)
}

/// A pseudorandom number: SplitMix64 of the seed.
fn random(seed: u64) -> u64 {
    let mixed = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

type Bearer = MetadataValue<tonic::metadata::Ascii>;

fn request<T>(bearer: &Bearer, message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert("authorization", bearer.clone());
    request
}

fn bearer(served: &Served, role: &str) -> Bearer {
    format!("Bearer {}", token(&served.data, role)).parse().unwrap()
}

async fn channel(served: &Served) -> Channel {
    Channel::from_shared(served.grpc.clone()).unwrap().connect().await.unwrap()
}

fn name(person: u64) -> String {
    format!("person-{person}")
}

fn note(person: u64, number: usize) -> String {
    format!("note {number} of person {person} says hello")
}

/// Whether the test erases only the first note of this person. It does so for every second person.
fn is_partial(person: u64) -> bool {
    person % 2 == 1
}

/// The number of notes that remain after the person's erasure.
fn remaining(person: u64) -> usize {
    if is_partial(person) { NOTES - 1 } else { 0 }
}

async fn record(served: &Served, people: std::ops::Range<u64>) {
    let bearer = bearer(served, "service");
    let mut client = ProfileServiceClient::new(channel(served).await);
    for person in people {
        for number in 0..NOTES {
            let message = fact(&name(person), &format!("k{number}"), "work", &note(person, number));
            client.record_attributes(request(&bearer, message)).await.unwrap();
        }
    }
}

/// Requests the erasure of these people at the same time, and kills the daemon after the time `after`. If
/// `after` is `None`, kills the daemon after the first answer. Returns each person with the request's id if
/// the erasure was acknowledged.
async fn erase_and_kill(
    served: Served,
    people: &[u64],
    after: Option<Duration>,
) -> Vec<(u64, Option<String>)> {
    let bearer = bearer(&served, "steward");
    let channel = channel(&served).await;
    let (answer_sender, mut first_answer) = tokio::sync::mpsc::channel(people.len());
    let requests: Vec<_> = people
        .iter()
        .map(|person| {
            let (bearer, person, answer_sender) = (bearer.clone(), *person, answer_sender.clone());
            let mut client = RightsServiceClient::new(channel.clone());
            tokio::spawn(async move {
                let message = proto::SubmitRequestRequest {
                    subject: name(person),
                    kind: RequestKind::Erasure.into(),
                    scope: if is_partial(person) { ErasureScope::Key } else { ErasureScope::All }.into(),
                    keys: if is_partial(person) { vec!["k0".into()] } else { Vec::new() },
                    ..Default::default()
                };
                let answer = client.submit_request(request(&bearer, message)).await;
                if let Err(error) = &answer {
                    println!("person {person} got no answer: {error}");
                }
                answer_sender.send(()).await.unwrap();
                (person, answer.ok().map(|answer| answer.into_inner().request_id))
            })
        })
        .collect();
    match after {
        Some(after) => tokio::time::sleep(after).await,
        None => first_answer.recv().await.unwrap(),
    }
    served.kill();
    let mut answers = Vec::new();
    for request in requests {
        answers.push(request.await.unwrap());
    }
    answers
}

/// The number of notes in the person's profile.
fn count_notes(served: &Served, person: u64) -> usize {
    let output = served.run(&["--json", "profile", &name(person)]).output().unwrap();
    if !output.status.success() {
        // Only an answer counts as proof that nothing is recorded about the person.
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains("no such subject"), "person {person}: {error}");
        return 0;
    }
    json(&output)["attributes"].as_array().unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_during_erasures_leaves_each_either_not_begun_or_complete() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut notes_of: BTreeMap<u64, usize> = BTreeMap::new();
    let mut outcomes = [0_u64; 3];
    for round in 0..rounds() {
        let served = Served::start(&data);
        let first = round * (TOGETHER + 1);
        record(&served, first..first + TOGETHER + 1).await;
        notes_of.extend((first..first + TOGETHER + 1).map(|person| (person, NOTES)));
        let people: Vec<u64> = (first..first + TOGETHER).collect();
        // Kill early more often than late, because an erasure destroys the keys first.
        let part = random(round) % 1_000;
        // In every fourth round, kill after the first answer, while the other erasures are in progress. So
        // even on a slow machine, some rounds have an acknowledged erasure.
        let after = (round % 4 != 3).then(|| Duration::from_micros(part * part * 60_000 / 1_000_000));
        println!("round {round}: killed after {after:?}");
        let answers = erase_and_kill(served, &people, after).await;

        let served = Served::start(&data);
        for (person, request) in answers {
            let notes = count_notes(&served, person);
            assert!(
                notes == remaining(person) || notes == NOTES,
                "{notes} notes of person {person} are left"
            );
            if let Some(request) = request {
                assert_eq!(notes, remaining(person), "the erasure of person {person} was acknowledged");
                assert!(served.run(&["certificate", &request]).output().unwrap().status.success());
                outcomes[0] += 1;
            } else {
                outcomes[if notes == remaining(person) { 1 } else { 2 }] += 1;
            }
            notes_of.insert(person, notes);
        }
        served.verify(dir.path());
        let image = Image::of(&data);
        let found = Findings::of(&image, &image);
        for (person, notes) in &notes_of {
            for number in 0..NOTES {
                assert_eq!(
                    found.has(&note(*person, number)),
                    number + notes >= NOTES,
                    "notes of person {person} in the files"
                );
            }
        }
        assert_eq!(found.roots, 1, "one root key");
        // A random person of this or an earlier round still has the same notes.
        let other = random(round ^ 77) % (first + 1);
        assert_eq!(count_notes(&served, other), notes_of[&other], "person {other}");
        served.kill();
    }
    let [acknowledged, done, not_begun] = outcomes;
    assert!(acknowledged >= rounds() / 4, "only {acknowledged} erasures were acknowledged");
    println!(
        "{} kills during erasures, of {TOGETHER} people each: {acknowledged} acknowledged, {done} complete without an acknowledgment, {not_begun} not begun",
        rounds()
    );
}
