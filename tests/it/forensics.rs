//! Tests what an attacker can read with every copy of the data folder and every key that still exists after
//! an erasure: other people's data, but nothing of the erased person. As a control, the same tool reads
//! everything with a copy and keys from before the erasure.

use crate::crash::{Served, token};
use crate::forensic_tool::{Findings, Image, find_in_memory};
use crate::harness::{Harness, fact};
use sayso::proto::{self, Role};

/// The number of other people: enough for the key tree to have interior pages.
const OTHERS: usize = 50;
const ERASED: &str = "ada.lovelace@example.org";
const SECRET: &str = "dreams of an engine that weaves algebra";

fn erasure(subject: &str) -> proto::SubmitRequestRequest {
    proto::SubmitRequestRequest {
        subject: subject.into(),
        kind: proto::RequestKind::Erasure.into(),
        scope: proto::ErasureScope::All.into(),
        ..Default::default()
    }
}

fn text_of(person: usize) -> String {
    format!("the cat of number {person} is called Turing")
}

async fn record_everyone(harness: &Harness) {
    let mut service = harness.as_role(Role::Service, "tutor").await;
    for version in 0..3 {
        let text = format!("{SECRET}, note {version}");
        service.profile.record_attributes(fact(ERASED, &format!("k{version}"), "work", &text)).await.unwrap();
    }
    for person in 0..OTHERS {
        let request = fact(&format!("person-{person}"), "pet", "work", &text_of(person));
        service.profile.record_attributes(request).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_copy_of_the_data_folder_reveals_an_erased_person() {
    let harness = Harness::start().await;
    record_everyone(&harness).await;
    let before = Image::of(harness.dir.path());
    // Another person is erased first, so that the copies contain older root keys too.
    let mut steward = harness.as_role(Role::Steward, "dpo").await;
    steward.rights.submit_request(erasure("person-0")).await.unwrap();
    let between = Image::of(harness.dir.path());
    steward.rights.submit_request(erasure(ERASED)).await.unwrap();
    let after = Image::of(harness.dir.path());
    let dir = harness.stop().await;
    let ended = Image::of(dir.path());

    // The control: a copy from before the erasures and its keys reveal everything.
    let control = Findings::of(&before, &before);
    for version in 0..3 {
        assert!(
            control.has(&format!("{SECRET}, note {version}")),
            "the tool does not find data that is there"
        );
    }
    assert!(control.has(&text_of(0)) && control.has(&text_of(OTHERS - 1)));
    assert!(control.keys_of(SECRET).len() >= 9, "three entries, three keys each");

    // The attack: every copy, and all keys that exist now.
    let copies = before.without("secrets").and(&between.without("secrets")).and(&after).and(&ended);
    let mut found = Findings::of(&copies, &after.clone().and(&ended));
    for person in 1..OTHERS {
        assert!(found.has(&text_of(person)), "person {person} was not erased");
    }
    assert!(found.closed() > 3, "too few older pages to try: {}", found.closed());
    for gone in [SECRET, &text_of(0)] {
        assert!(!found.has(gone), "an erased text was read");
    }
    found.try_windows();
    println!(
        "{} pages, {} stayed closed; {} windows tried; {} texts read",
        found.pages_found,
        found.closed(),
        found.windows_tried,
        found.texts.len()
    );
    for gone in [SECRET, &text_of(0), "a window near a page"] {
        assert!(!found.has(gone), "with windows: {gone}");
    }
    for key in control.keys_of(SECRET) {
        assert!(
            after.files_with(&key).is_empty() && ended.files_with(&key).is_empty(),
            "a key of erased data is in the folder"
        );
        assert!(!found.keys.contains(&key));
    }
    for gone in [ERASED, SECRET] {
        assert!(copies.files_with(gone.as_bytes()).is_empty(), "erased text is in the clear");
    }
}

/// Records an attribute through the API of a daemon in its own process.
async fn record(served: &Served, subject: &str, key: &str, text: &str) {
    let channel =
        tonic::transport::Channel::from_shared(served.grpc.clone()).unwrap().connect().await.unwrap();
    let token = token(&served.data, "service");
    let token: tonic::metadata::MetadataValue<_> = format!("Bearer {token}").parse().unwrap();
    let mut client = proto::profile_service_client::ProfileServiceClient::with_interceptor(
        channel,
        move |mut request: tonic::Request<()>| {
            request.metadata_mut().insert("authorization", token.clone());
            Ok(request)
        },
    );
    client.record_attributes(fact(subject, key, "work", text)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemons_memory_contains_nothing_of_an_erased_person() {
    let dir = tempfile::tempdir().unwrap();
    let served = Served::start(&dir.path().join("data"));
    for version in 0..3 {
        record(&served, ERASED, &format!("k{version}"), &format!("{SECRET}, note {version}")).await;
    }
    record(&served, "bob", "pet", &text_of(1)).await;
    // Run every command that reads the data, so that it passes through every buffer.
    for arguments in
        [&["profile", ERASED][..], &["history", ERASED], &["grant", ERASED, "--purpose", "tone-adaptation"]]
    {
        assert!(served.run(arguments).output().unwrap().status.success());
    }
    assert!(served.run(&["profile", ERASED, "--rebuild"]).output().unwrap().status.success());
    let bundle = dir.path().join("bundle");
    assert!(
        served.run(&["audit", "export", "-o", bundle.to_str().unwrap()]).output().unwrap().status.success()
    );
    let before = Image::of(&served.data);
    let found_before = Findings::of(&before, &before);
    assert!(found_before.has(SECRET));
    let pid = served.child.id();
    let texts = [SECRET.as_bytes().to_vec(), ERASED.as_bytes().to_vec()];
    assert!(
        !find_in_memory(pid, &texts[..1]).is_empty(),
        "the control: the text is in memory before the erasure"
    );

    let erase = |scope: &str| {
        let erased = served.run(&["erase", ERASED, "--scope", scope]).output().unwrap();
        assert!(erased.status.success(), "{}", String::from_utf8_lossy(&erased.stderr));
        let image = Image::of(&served.data);
        Findings::of(&image, &image)
    };
    // First a part, then everything.
    let found_between = erase("key=k0");
    let found_after = erase("all");
    let known = found_before.keys.union(&found_between.keys);
    let destroyed: Vec<Vec<u8>> =
        known.filter(|key| !found_after.keys.contains(*key)).map(|key| key.to_vec()).collect();
    assert!(destroyed.len() >= 4, "keys of the root, the top page, the leaf page and the subject");
    let keys = found_before.keys_of(SECRET).into_iter().map(|key| key.to_vec());
    let secrets = found_before.secrets_gone_in(&found_after).into_iter().map(|key| key.to_vec());
    assert!(secrets.len() > 0, "the secret of the erased person");
    let needles: Vec<Vec<u8>> = texts.into_iter().chain(destroyed).chain(keys).chain(secrets).collect();
    // The connection of the last command may still be closing.
    let mut found = find_in_memory(pid, &needles);
    for _ in 0..5 {
        if !found.is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
            found = find_in_memory(pid, &needles);
        }
    }
    let places: Vec<&str> = found.iter().map(|(at, _)| found_before.place_of(&needles[*at])).collect();
    println!("{} needles, found {found:?} ({places:?})", needles.len());
    served.kill();
    assert!(found.is_empty(), "erased data is in memory: {found:?}");
}
