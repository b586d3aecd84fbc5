//! Grants that have only what is relevant to a text: what is chosen, what such a grant must not reveal, and
//! what stays in the log.

use crate::bounds::{World, consented, events, keys, standing, world};
use crate::erasure::erasure;
use crate::harness::{self, Clients, ask, choice, consent, contains, fact, sayso};
use sayso::proto::{self, ConsentDecision, ErasureScope, RankingMethod, RevocationReason, Role};
use sayso_proof::event::event_body::Event;

const TEXT: &str = "Which instruments does the zanzibar orchestra play?";

fn about(subject: &str, text: &str) -> proto::RequestGrantRequest {
    let relevance = proto::Relevance { text: text.into(), ..Default::default() };
    proto::RequestGrantRequest { relevance: Some(relevance), ..ask(subject) }
}

fn with(change: impl FnOnce(&mut proto::Relevance)) -> proto::RequestGrantRequest {
    let mut request = about("ada", TEXT);
    change(request.relevance.as_mut().unwrap());
    request
}

async fn grant(world: &mut World, request: proto::RequestGrantRequest) -> proto::RequestGrantResponse {
    world.service.grant.request_grant(request).await.unwrap().into_inner()
}

fn chosen_of_permitted(grant: &proto::RequestGrantResponse) -> (u32, u32) {
    let ranking = grant.ranking.as_ref().unwrap();
    assert_eq!((ranking.method(), ranking.version), (RankingMethod::Lexical, 1));
    (ranking.chosen, ranking.permitted)
}

/// Another time for each key, so that no attribute supports another.
fn observed_at(key: &str) -> Option<prost_types::Timestamp> {
    let seconds = key.bytes().fold(1_700_000_000, |seconds, byte| seconds + i64::from(byte) * 1_000);
    Some(prost_types::Timestamp { seconds, nanos: 0 })
}

async fn remember(service: &mut Clients, key: &str, category: &str, value: &str) {
    let mut request = fact("ada", key, category, value);
    request.attributes[0].observed_at = observed_at(key);
    service.profile.record_attributes(request).await.unwrap();
}

/// A world in which ada plays two instruments, has other hobbies, and consented.
async fn musical_world() -> World {
    let mut world = world().await;
    for (key, value) in [
        ("m1", "plays the violin in an orchestra"),
        ("m2", "owns three instruments"),
        ("m3", "likes green tea"),
        ("m4", "grows tomatoes"),
    ] {
        remember(&mut world.service, key, "preference", value).await;
    }
    consented(&mut world, "ada").await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_about_a_text_has_only_what_fits_it_best_first() {
    let mut world = musical_world().await;
    let found = grant(&mut world, about("ada", "Does she play the violin?")).await;
    assert_eq!(keys(&found)[0], "m1");
    let found = grant(&mut world, about("ada", TEXT)).await;
    let scores: Vec<f64> = found.allowed.iter().map(|allowed| allowed.score.unwrap()).collect();
    assert!(scores.is_sorted_by(|one, other| one >= other) && scores.iter().all(|score| *score > 0.0));
    assert!(keys(&found).iter().all(|key| ["m1", "m2"].contains(&key.as_str())), "{:?}", keys(&found));
    assert_eq!(chosen_of_permitted(&found), (2, 4));
    // Only what was chosen is in the grant, and only that can be reported.
    let report = |key: &str| proto::ReportUseRequest {
        grant_id: found.grant_id.clone(),
        reply: "r".into(),
        shaped_by: vec![key.into()],
        ..Default::default()
    };
    world.service.grant.report_use(report("m1")).await.unwrap();
    let refused = world.service.grant.report_use(report("m3")).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    // Without a text, everything is allowed, and nothing has a score.
    let plain = grant(&mut world, ask("ada")).await;
    assert_eq!(plain.allowed.len(), 4);
    assert!(plain.ranking.is_none() && plain.allowed.iter().all(|allowed| allowed.score.is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_make_the_choice_smaller() {
    let mut world = musical_world().await;
    let all = grant(&mut world, about("ada", TEXT)).await;
    let (best, second) = (&all.allowed[0], &all.allowed[1]);
    let size = |allowed: &proto::AllowedAttribute| (allowed.key.len() + allowed.value_json.len()) as u32;
    let cases: [(proto::RequestGrantRequest, &[&str]); 6] = [
        (with(|relevance| relevance.top_k = 1), &[&best.key]),
        (with(|relevance| relevance.min_score = best.score.unwrap()), &[&best.key]),
        (with(|relevance| relevance.min_score = 5.0), &[]),
        (with(|relevance| relevance.max_bytes = size(best) + size(second) - 1), &[&best.key]),
        (
            with(|relevance| relevance.max_tokens = size(second).div_ceil(3)),
            &[if size(second) < size(best) { &second.key } else { &best.key }],
        ),
        (about("ada", "nothing fits here"), &[]),
    ];
    for (request, expected) in cases {
        let found = grant(&mut world, request).await;
        assert_eq!(keys(&found), expected);
        assert_eq!(chosen_of_permitted(&found), (expected.len() as u32, 4));
    }
    let invalid = [
        ("relevance.text", about("ada", " ?!")),
        ("relevance.top_k", with(|relevance| relevance.top_k = 257)),
        ("relevance.min_score", with(|relevance| relevance.min_score = -0.1)),
        ("relevance.min_score", with(|relevance| relevance.min_score = f64::NAN)),
        ("text", about("ada", &"x".repeat(8_193))),
    ];
    for (field, request) in invalid {
        let refused = world.service.grant.request_grant(request).await.unwrap_err();
        assert!(refused.message().contains(field), "{refused:?}");
    }
}

/// Facts that may not be used change neither the scores nor the counts.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_withheld_is_not_ranked() {
    let mut world = musical_world().await;
    let before = grant(&mut world, about("ada", TEXT)).await;
    for number in 0..5 {
        let value = "plays instruments in the zanzibar orchestra";
        remember(&mut world.service, &format!("h{number}"), "health", value).await;
    }
    let after = grant(&mut world, about("ada", TEXT)).await;
    assert_eq!(after.withheld.len(), 1);
    assert_eq!((&after.allowed, &after.ranking), (&before.allowed, &before.ranking));
    // A request that names only withheld categories ranks nothing.
    let request = proto::RequestGrantRequest { categories: vec!["health".into()], ..about("ada", TEXT) };
    assert_eq!(chosen_of_permitted(&grant(&mut world, request).await), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_text_gets_another_grant_and_a_repeated_call_the_same_one() {
    let mut world = musical_world().await;
    let talk = |request: proto::RequestGrantRequest| proto::RequestGrantRequest {
        interaction: "talk-1".into(),
        ..request
    };
    let music = grant(&mut world, talk(about("ada", TEXT))).await;
    for request in [about("ada", "green tea"), about("ada", TEXT), ask("ada")] {
        let found = grant(&mut world, talk(request)).await;
        assert!(!found.receipt.unwrap().replayed && found.grant_id != music.grant_id);
    }
    // A grant without a text is reused, and not for a text.
    assert!(grant(&mut world, talk(ask("ada"))).await.receipt.unwrap().replayed);
    let tea = grant(&mut world, talk(about("ada", "green tea"))).await;
    assert_eq!(keys(&tea), ["m3"]);
    let options = Some(proto::WriteOptions { idempotency_key: "once".into(), ..Default::default() });
    let once = proto::RequestGrantRequest { options: options.clone(), ..about("ada", TEXT) };
    let first = grant(&mut world, once.clone()).await;
    let again = grant(&mut world, once).await;
    assert_eq!((again.grant_id, &again.ranking), (first.grant_id.clone(), &first.ranking));
    assert!(keys(&first).iter().eq(again.allowed.iter().map(|allowed| &allowed.key)));
    let other = proto::RequestGrantRequest { options, ..about("ada", "tea") };
    assert!(world.service.grant.request_grant(other).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_or_changed_fact_ends_the_grant_and_is_not_found_again() {
    let mut world = musical_world().await;
    let (music, tea) =
        (grant(&mut world, about("ada", TEXT)).await, grant(&mut world, about("ada", "green tea")).await);
    let mut ada = world.harness.as_role(Role::Subject, "ada").await;
    ada.rights.submit_request(erasure("ada", ErasureScope::Key, "m1")).await.unwrap();
    assert_eq!(standing(&mut world, &music.grant_id).await, (false, RevocationReason::PartlyErased));
    assert!(standing(&mut world, &tea.grant_id).await.0);
    let found = grant(&mut world, about("ada", TEXT)).await;
    assert_eq!((keys(&found), chosen_of_permitted(&found)), (vec!["m2".to_owned()], (1, 3)));
}

/// The text is nowhere in the data folder, the events or an export; the numbers are. The export verifies.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_says_how_many_were_chosen_and_never_the_text() {
    let mut world = musical_world().await;
    remember(&mut world.service, "h", "health", "plays wind instruments").await;
    let options = Some(proto::WriteOptions { idempotency_key: "once".into(), ..Default::default() });
    let found = grant(&mut world, proto::RequestGrantRequest { options, ..about("ada", TEXT) }).await;
    let recorded = events(&mut world, "ada").await;
    let issued = recorded.iter().find_map(|event| match event.body.as_ref()?.event.as_ref()? {
        Event::GrantIssued(issued) => Some(issued.clone()),
        _ => None,
    });
    assert_eq!(issued.unwrap().ranking, found.ranking);
    assert!(!format!("{recorded:?}").contains("zanzibar"));
    let explained = proto::ExplainGrantRequest { grant_id: found.grant_id.clone() };
    let explained = world.steward.grant.explain_grant(explained).await.unwrap().into_inner();
    assert!(explained.text.contains("chose 2 of 4 permitted attributes"), "{}", explained.text);
    assert_eq!(explained.ranking, found.ranking);
    let repeated = proto::EvaluateUseRequest {
        subject: "ada".into(),
        as_of_grant: found.grant_id.clone(),
        ..Default::default()
    };
    let repeated = world.steward.grant.evaluate_use(repeated).await.unwrap().into_inner();
    assert!(repeated.gaps.is_empty());
    let mut expected = keys(&found);
    expected.sort();
    let repeated: Vec<String> = repeated.allowed.into_iter().map(|allowed| allowed.key).collect();
    assert_eq!(repeated, expected);

    let bundle = world.harness.dir.path().join("bundle.tar.zst");
    let export = ["audit", "export", "--output", bundle.to_str().unwrap()];
    harness::stdout(&world.harness.cli(Role::Auditor, "auditor", &export));
    let verify = ["verify", bundle.to_str().unwrap(), "--key", &world.harness.daemon.vkey];
    let verified = sayso(&verify).output().unwrap();
    assert!(verified.status.success(), "{verified:?}");
    let dir = world.harness.stop().await;
    for file in harness::files_below(dir.path()) {
        let bytes = std::fs::read(&file).unwrap();
        assert!(!contains(&bytes, b"zanzibar"), "{}", file.display());
    }
}

/// The bytes of a vector in half precision that points into one of three directions, or between two of them.
fn vector(east: bool, north: bool, up: bool) -> Vec<u8> {
    [east, north, up].iter().flat_map(|is_set| if *is_set { [0, 0x3c] } else { [0, 0] }).collect()
}

fn embedding(model: &str, values: Vec<u8>) -> Option<proto::EmbeddingInput> {
    Some(proto::EmbeddingInput { model: model.into(), values })
}

/// Records attributes of ada with vectors: `e` to the east, `n` to the north, and `x` without one.
async fn world_with_vectors() -> World {
    let mut world = world().await;
    let east = embedding("m1", vector(true, false, false));
    for (key, value, vector) in [
        ("e", "likes green tea", east.clone()),
        ("n", "likes green apples", embedding("m1", vector(false, true, false))),
        ("x", "collects green stamps", embedding("m2", vector(true, false, false))),
        ("y", "lives in Rome", None),
    ] {
        let mut request = fact("ada", key, "preference", value);
        request.attributes[0].embedding = vector;
        request.attributes[0].observed_at = observed_at(key);
        world.service.profile.record_attributes(request).await.unwrap();
    }
    consented(&mut world, "ada").await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn embeddings_rank_alone_and_together_with_words() {
    let mut world = world_with_vectors().await;
    let ask_with = |text: &str, values: Vec<u8>| {
        let relevance =
            proto::Relevance { text: text.into(), embedding: embedding("m1", values), ..Default::default() };
        proto::RequestGrantRequest { relevance: Some(relevance), ..ask("ada") }
    };
    let found = grant(&mut world, ask_with("", vector(true, false, false))).await;
    assert_eq!(keys(&found), ["e"]);
    assert!(found.allowed[0].score.unwrap() > 0.7, "{found:?}");
    let ranking = found.ranking.unwrap();
    assert_eq!(ranking.method(), RankingMethod::Embedding);
    assert_eq!((ranking.chosen, ranking.permitted, ranking.without_embedding), (1, 4, 2));

    let found = grant(&mut world, ask_with("green", vector(false, true, false))).await;
    assert_eq!(keys(&found)[0], "n");
    assert!(keys(&found).contains(&"x".to_owned()) && !keys(&found).contains(&"y".to_owned()));
    assert_eq!(found.ranking.unwrap().method(), RankingMethod::Hybrid);

    // No attribute has a vector of this model: words decide, and the answer says so.
    let mut unknown = ask_with("Rome", vector(true, false, false));
    unknown.relevance.as_mut().unwrap().embedding = embedding("m9", vector(true, false, false));
    let found = grant(&mut world, unknown).await;
    assert_eq!(keys(&found), ["y"]);
    let ranking = found.ranking.unwrap();
    assert_eq!((ranking.method(), ranking.without_embedding), (RankingMethod::Lexical, 4));
    let explained = proto::ExplainGrantRequest { grant_id: found.grant_id.clone() };
    let text = world.steward.grant.explain_grant(explained).await.unwrap().into_inner().text;
    assert!(text.contains("4 of them had no embedding of the model"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_embedding_is_refused_with_its_field() {
    let mut world = world_with_vectors().await;
    let invalid = [
        ("embedding.model", embedding("", vector(true, false, false))),
        ("embedding.values", embedding("m1", vec![1])),
        ("embedding.values", embedding("m1", vector(false, false, false))),
        ("embedding.values", embedding("m1", vec![0, 0x7c])),
        ("values", embedding("m1", vec![0x3c; 8_194])),
    ];
    for (field, embedding) in invalid {
        let mut request = fact("ada", "new", "preference", "x");
        request.attributes[0].embedding.clone_from(&embedding);
        let refused = world.service.profile.record_attributes(request).await.unwrap_err();
        assert!(format!("{refused:?}").contains(field), "{refused:?}");
        let refused =
            world.service.grant.request_grant(with(|relevance| relevance.embedding = embedding)).await;
        assert!(format!("{:?}", refused.unwrap_err()).contains(field));
    }
}

/// An embedding is sealed with its attribute: its bytes are in no file, and gone from events after an
/// erasure.
#[tokio::test(flavor = "multi_thread")]
async fn an_embedding_is_sealed_and_erased_with_its_attribute() {
    let mut world = world().await;
    let values: Vec<u8> = (0..64_u16).flat_map(|number| (0x3c00 + number * 7).to_le_bytes()).collect();
    for key in ["kept", "erased"] {
        let mut request = fact("ada", key, "preference", "x");
        request.attributes[0].embedding = embedding("m1", values.clone());
        world.service.profile.record_attributes(request).await.unwrap();
    }
    let with_embedding = |recorded: &[proto::RecordedEvent]| {
        let has =
            |event: &&proto::RecordedEvent| match event.body.as_ref().and_then(|body| body.event.as_ref()) {
                Some(Event::AttributeRecorded(recorded)) => {
                    let embedding =
                        recorded.attribute.as_ref().and_then(|attribute| attribute.embedding.as_ref());
                    embedding.is_some_and(|embedding| embedding.values == values)
                }
                _ => false,
            };
        recorded.iter().filter(has).count()
    };
    assert_eq!(with_embedding(&events(&mut world, "ada").await), 2);
    let mut ada = world.harness.as_role(Role::Subject, "ada").await;
    ada.rights.submit_request(erasure("ada", ErasureScope::Key, "erased")).await.unwrap();
    assert_eq!(with_embedding(&events(&mut world, "ada").await), 1);
    let dir = world.harness.stop().await;
    for file in harness::files_below(dir.path()) {
        assert!(!contains(&std::fs::read(&file).unwrap(), &values[..32]), "{}", file.display());
    }
}

/// People of long conversations: records their facts, asks the questions about them, and compares what is
/// found. The floor is below what is measured (docs/relevance.md), so that it fails only if ranking breaks.
#[tokio::test(flavor = "multi_thread")]
async fn questions_about_long_conversations_find_their_facts() {
    const PEOPLE: [&str; 2] = ["26-melanie", "49-sam"];
    const FLOOR: f64 = 0.70;
    let lines = |file: &str| -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(harness::facts().with_file_name(file)).unwrap();
        let all = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        all.filter(|one| PEOPLE.contains(&one["subject"].as_str().unwrap())).collect()
    };
    let mut world = world().await;
    for person in PEOPLE {
        let special = ["health", "sexual_orientation_gender", "political_opinion", "religious_belief"];
        let choices = vec![
            choice(ConsentDecision::Given, "memory", &[], false),
            choice(ConsentDecision::Given, "memory", &special, true),
        ];
        world.steward.consent.record_consent(consent(person, choices)).await.unwrap();
    }
    for line in lines("locomo-memories.jsonl") {
        let text = |name: &str| line[name].as_str().unwrap();
        let mut request = fact(text("subject"), text("key"), text("category"), text("value"));
        request.attributes[0].provenance = proto::Provenance::Inferred.into();
        request.attributes[0].observed_at = Some(text("observed_at").parse().unwrap());
        world.service.profile.record_attributes(request).await.unwrap();
    }
    let (mut recall, mut questions) = (0.0, 0.0);
    for line in lines("locomo-questions.jsonl") {
        let mut request = about(line["subject"].as_str().unwrap(), line["question"].as_str().unwrap());
        request.relevance.as_mut().unwrap().top_k = 10;
        request.purpose = "memory".into();
        request.ttl = Some(prost_types::Duration { seconds: 1, nanos: 0 });
        let found = keys(&grant(&mut world, request).await);
        let relevant = line["relevant"].as_array().unwrap();
        let hits =
            relevant.iter().filter(|key| found.iter().any(|found| found == key.as_str().unwrap())).count();
        recall += hits as f64 / relevant.len() as f64;
        questions += 1.0;
    }
    assert!(recall / questions > FLOOR, "recall@10 is {}", recall / questions);
}
