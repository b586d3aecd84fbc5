//! While a client's connection stays open, its buffers contain nothing of people who were erased.

use crate::crash::{Served, token};
use crate::forensic_tool::find_in_memory;
use crate::harness::{fact, sayso};
use sayso::proto;
use std::time::Duration;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;

/// The number of erased people. All their calls together fill the buffers of a connection many times.
const PEOPLE: usize = 60;

/// An erased person, and a text about them that nothing else contains.
struct Erased {
    subject: String,
    text: String,
    token: String,
}

impl Erased {
    fn new(number: usize, served: &Served) -> Self {
        let subject = format!("person-{number}@erased.example");
        let mut mint = sayso(&["token", "--role", "subject", "--subject", &subject, "--data"]);
        let minted = mint.arg(&served.data).output().unwrap();
        let token = String::from_utf8(minted.stdout).unwrap().trim().to_owned();
        Self { subject, text: format!("the secret of number {number} is a violet teapot"), token }
    }
}

fn with_token<T>(token: &str, message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    let bearer: MetadataValue<_> = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", bearer);
    request
}

/// Sends everything that there is about the person over the channel, then erases the person.
async fn record_and_erase(channel: &Channel, person: &Erased, service: &str) {
    let mut profile = proto::profile_service_client::ProfileServiceClient::new(channel.clone());
    let mut rights = proto::rights_service_client::RightsServiceClient::new(channel.clone());
    let recorded = fact(&person.subject, "habit", "work", &person.text);
    profile.record_attributes(with_token(service, recorded)).await.unwrap();
    let shown = profile.get_profile(with_token(&person.token, proto::GetProfileRequest::default())).await;
    assert!(format!("{shown:?}").contains(&person.text));
    let erasure = proto::SubmitRequestRequest {
        kind: proto::RequestKind::Erasure.into(),
        scope: proto::ErasureScope::All.into(),
        ..Default::default()
    };
    rights.submit_request(with_token(&person.token, erasure)).await.unwrap();
}

/// How many of the needles are in the daemon's memory.
fn found(served: &Served, needles: &[Vec<u8>]) -> usize {
    let mut found: Vec<usize> =
        find_in_memory(served.child.id(), needles).into_iter().map(|(number, _)| number).collect();
    found.dedup();
    found.sort_unstable();
    found.dedup();
    found.len()
}

/// As above, but a service says everything about the people, and the connection stays in use.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_of_a_service_contains_no_text_about_people_who_were_erased() {
    let dir = tempfile::tempdir().unwrap();
    let served = Served::start(&dir.path().join("data"));
    let channel = Channel::from_shared(served.grpc.clone()).unwrap().connect().await.unwrap();
    let mut profile = proto::profile_service_client::ProfileServiceClient::new(channel.clone());
    let service = token(&served.data, "service");
    let texts: Vec<Vec<u8>> = (0..PEOPLE)
        .map(|number| format!("the secret of number {number} is a violet teapot").into())
        .collect();
    for (number, text) in texts.iter().enumerate() {
        let text = std::str::from_utf8(text).unwrap();
        let recorded = fact(&format!("person-{number}"), "habit", "work", text);
        profile.record_attributes(with_token(&service, recorded)).await.unwrap();
    }
    assert!(found(&served, &texts) > 0, "the control: the texts are in memory before the erasure");
    for number in 0..PEOPLE {
        let erased = served.run(&["erase", &format!("person-{number}"), "--scope", "all"]).output().unwrap();
        assert!(erased.status.success(), "{}", String::from_utf8_lossy(&erased.stderr));
    }
    let left = found(&served, &texts);
    drop(channel);
    served.kill();
    assert_eq!(left, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_connection_contains_nothing_of_people_who_were_erased() {
    let dir = tempfile::tempdir().unwrap();
    let served = Served::start(&dir.path().join("data"));
    let people: Vec<Erased> = (0..PEOPLE).map(|number| Erased::new(number, &served)).collect();
    let channel = Channel::from_shared(served.grpc.clone()).unwrap().connect().await.unwrap();
    let service = token(&served.data, "service");
    for person in &people {
        record_and_erase(&channel, person, &service).await;
    }
    // The daemon closes a connection of data subjects after a quiet second.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let needles = |of: fn(&Erased) -> &str| -> Vec<Vec<u8>> {
        people.iter().map(|person| of(person).as_bytes().to_vec()).collect()
    };
    let texts = found(&served, &needles(|person| &person.text));
    let tokens = found(&served, &needles(|person| &person.token));
    let subjects = found(&served, &needles(|person| &person.subject));
    println!("of {PEOPLE}: {texts} texts, {tokens} tokens, {subjects} names");
    served.kill();
    drop(channel);
    assert_eq!((texts, tokens, subjects), (0, 0, 0));
}
