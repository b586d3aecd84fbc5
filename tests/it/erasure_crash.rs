//! Killed for real, at random moments of erasures under way: each is afterwards either not begun or
//! completed, nobody else is touched, and the log verifies.

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

/// People that are erased at once.
const TOGETHER: u64 = 3;
const NOTES: usize = 2;

/// Rounds: few by default, as many as `SAYSO_ROUNDS` says where that is set.
fn rounds() -> u64 {
    std::env::var("SAYSO_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(5)
}

/// SplitMix64 of a number.
fn dice(seed: u64) -> u64 {
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

/// Every other person asks for their first note only.
fn in_part(person: u64) -> bool {
    person % 2 == 1
}

/// Notes that are left after the erasure.
fn left(person: u64) -> usize {
    if in_part(person) { NOTES - 1 } else { 0 }
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

/// Asks for the erasure of these people at once, and kills the daemon after a while, or once the first is
/// told that it is done. Gives who was told.
async fn erase_and_kill(
    served: Served,
    people: &[u64],
    after: Option<Duration>,
) -> Vec<(u64, Option<String>)> {
    let bearer = bearer(&served, "steward");
    let channel = channel(&served).await;
    let (tell, mut told) = tokio::sync::mpsc::channel(people.len());
    let asked: Vec<_> = people
        .iter()
        .map(|person| {
            let (bearer, person, tell) = (bearer.clone(), *person, tell.clone());
            let mut client = RightsServiceClient::new(channel.clone());
            tokio::spawn(async move {
                let message = proto::SubmitRequestRequest {
                    subject: name(person),
                    kind: RequestKind::Erasure.into(),
                    scope: if in_part(person) { ErasureScope::Key } else { ErasureScope::All }.into(),
                    keys: if in_part(person) { vec!["k0".into()] } else { Vec::new() },
                    ..Default::default()
                };
                let answer = client.submit_request(request(&bearer, message)).await;
                tell.send(()).await.unwrap();
                (person, answer.ok().map(|answer| answer.into_inner().request_id))
            })
        })
        .collect();
    match after {
        Some(after) => tokio::time::sleep(after).await,
        None => told.recv().await.unwrap(),
    }
    served.kill();
    let mut answers = Vec::new();
    for each in asked {
        answers.push(each.await.unwrap());
    }
    answers
}

/// What the daemon shows of a person: how many of the notes.
fn shown(served: &Served, person: u64) -> usize {
    let output = served.run(&["--json", "profile", &name(person)]).output().unwrap();
    if !output.status.success() {
        return 0;
    }
    json(&output)["attributes"].as_array().unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_during_erasures_leaves_each_either_not_begun_or_complete() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut held: BTreeMap<u64, usize> = BTreeMap::new();
    let mut outcomes = [0_u64; 3];
    for round in 0..rounds() {
        let served = Served::start(&data);
        let first = round * (TOGETHER + 1);
        record(&served, first..first + TOGETHER + 1).await;
        held.extend((first..first + TOGETHER + 1).map(|person| (person, NOTES)));
        let people: Vec<u64> = (first..first + TOGETHER).collect();
        // More often early than late: the keys go first.
        let part = dice(round) % 1_000;
        // However slow the machine is, in each fourth round somebody is told while others are on their way.
        let after = (round % 4 != 3).then(|| Duration::from_micros(part * part * 60_000 / 1_000_000));
        println!("round {round}: killed after {after:?}");
        let answers = erase_and_kill(served, &people, after).await;

        let served = Served::start(&data);
        for (person, request) in answers {
            let notes = shown(&served, person);
            assert!(notes == left(person) || notes == NOTES, "{notes} notes of person {person} are left");
            if let Some(request) = request {
                assert_eq!(notes, left(person), "person {person} was told to be erased");
                assert!(served.run(&["certificate", &request]).output().unwrap().status.success());
                outcomes[0] += 1;
            } else {
                outcomes[if notes == left(person) { 1 } else { 2 }] += 1;
            }
            held.insert(person, notes);
        }
        served.verify(dir.path());
        let image = Image::of(&data);
        let found = Findings::of(&image, &image);
        for (person, notes) in &held {
            for number in 0..NOTES {
                assert_eq!(
                    found.has(&note(*person, number)),
                    number + notes >= NOTES,
                    "what the files hold of person {person}"
                );
            }
        }
        assert_eq!(found.roots, 1, "one root key");
        // Somebody of an earlier round, by the daemon's own word.
        let other = dice(round ^ 77) % (first + 1);
        assert_eq!(shown(&served, other), held[&other], "person {other}");
        served.kill();
    }
    let [told, done, not_begun] = outcomes;
    assert!(told >= rounds() / 4, "{told} were told");
    println!(
        "{} kills during erasures, of {TOGETHER} people each: {told} told that it was done, {done} done, {not_begun} not begun",
        rounds()
    );
}
