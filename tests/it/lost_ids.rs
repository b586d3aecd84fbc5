//! Tests of `CheckIds` and `sayso lost`. A service that watched no revocations for a while learns which of
//! its grants, artifacts and cached attributes have ended. It learns nothing about those of other services.

use crate::erasure::{erasure, record};
use crate::harness::{self, Clients, Harness, ask, choice, consent, fact, stdout};
use sayso::proto::{self, ConsentDecision, ErasureScope, IdStanding, RevocationReason, Role};
use std::process::Output;

/// Records attributes of two people and their consents.
async fn record_people(harness: &Harness) -> (Clients, Clients) {
    let mut service = harness.as_role(Role::Service, "tutor").await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    harness::publish_notice(&mut steward).await;
    for subject in ["ada", "ben"] {
        record(&mut service, fact(subject, "job", "work", "baker")).await;
        record(&mut service, fact(subject, "music", "preference", "jazz")).await;
        let given = choice(ConsentDecision::Given, "tone-adaptation", &[], false);
        steward.consent.record_consent(consent(subject, vec![given])).await.unwrap();
    }
    (service, steward)
}

async fn grant_of(service: &mut Clients, subject: &str, keys: &[&str]) -> String {
    let keys = keys.iter().map(|key| (*key).to_owned()).collect();
    let request = proto::RequestGrantRequest { keys, ..ask(subject) };
    service.grant.request_grant(request).await.unwrap().into_inner().grant_id
}

async fn artifact_of(service: &mut Clients, grant_id: &str) -> String {
    let request = proto::RegisterArtifactRequest {
        grant_id: grant_id.into(),
        kind: proto::ArtifactKind::Cache.into(),
        name: "cache".into(),
        ..Default::default()
    };
    service.grant.register_artifact(request).await.unwrap().into_inner().artifact_id
}

/// The states of these ids, and the cursor.
async fn states(
    service: &mut Clients,
    ids: &[&str],
) -> (Vec<(IdStanding, RevocationReason, ErasureScope)>, u64) {
    let request = proto::CheckIdsRequest { ids: ids.iter().map(|id| (*id).to_owned()).collect() };
    let answer = service.grant.check_ids(request).await.unwrap().into_inner();
    assert!(answer.states.iter().map(|state| state.id.as_str()).eq(ids.iter().copied()));
    let states = answer.states.iter().map(|of| (of.standing(), of.reason(), of.erased_scope()));
    (states.collect(), answer.cursor)
}

const NO_SCOPE: ErasureScope = ErasureScope::Unspecified;
const VALID: (IdStanding, RevocationReason, ErasureScope) =
    (IdStanding::Valid, RevocationReason::Unspecified, NO_SCOPE);
const UNKNOWN: (IdStanding, RevocationReason, ErasureScope) =
    (IdStanding::Unknown, RevocationReason::Unspecified, NO_SCOPE);

#[tokio::test(flavor = "multi_thread")]
async fn a_service_learns_what_ended_while_it_was_away() {
    let harness = Harness::start().await;
    let (mut tutor, mut steward) = record_people(&harness).await;
    let of_ada = grant_of(&mut tutor, "ada", &[]).await;
    let job = grant_of(&mut tutor, "ben", &["job"]).await;
    let music = grant_of(&mut tutor, "ben", &["music"]).await;
    let artifact = artifact_of(&mut tutor, &job).await;
    let cached = [&job, &music].map(|grant| format!("{grant}/job"));
    let ids = [of_ada.as_str(), &job, &music, &artifact, &cached[0], &cached[1]];
    // The second cached id names a key that its grant did not give.
    let (before, cursor) = states(&mut tutor, &ids).await;
    assert_eq!(before, [VALID, VALID, VALID, VALID, VALID, UNKNOWN]);

    steward.rights.submit_request(erasure("ada", ErasureScope::All, "")).await.unwrap();
    record(&mut tutor, fact("ben", "job", "work", "butcher")).await;
    let ended = |reason| (IdStanding::Ended, reason, NO_SCOPE);
    let erased = (IdStanding::Ended, RevocationReason::Erased, ErasureScope::All);
    let replaced = ended(RevocationReason::AttributeReplaced);
    let (after, _) = states(&mut tutor, &ids).await;
    assert_eq!(after, [erased, replaced, VALID, replaced, replaced, UNKNOWN]);

    // A watch from the cursor of the first answer has all of it, so nothing can fall between the two.
    let watch = proto::WatchRevocationsRequest { after_cursor: Some(cursor) };
    let mut watch = tutor.grant.watch_revocations(watch).await.unwrap().into_inner();
    watch.message().await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let revoked = watch.message().await.unwrap().unwrap();
        seen.extend([revoked.grant_ids, revoked.artifact_ids].concat());
    }
    let mut expected = vec![of_ada, job.clone(), artifact];
    seen.sort();
    expected.sort();
    assert_eq!(seen, expected);

    // An erasure of a part says so, and a restriction ends what is left.
    steward.rights.submit_request(erasure("ben", ErasureScope::Key, "job")).await.unwrap();
    let restrict = proto::RecordSignalRequest {
        subject: "ben".into(),
        kind: proto::SignalKind::Restriction.into(),
        ..Default::default()
    };
    steward.consent.record_signal(restrict).await.unwrap();
    let partly = (IdStanding::Ended, RevocationReason::PartlyErased, ErasureScope::Key);
    let (after, _) = states(&mut tutor, &[&job, &cached[0], &music]).await;
    assert_eq!(after, [partly, partly, ended(RevocationReason::Restricted)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_another_service_is_unknown_before_and_after_its_end() {
    let harness = Harness::start().await;
    let (mut tutor, mut steward) = record_people(&harness).await;
    let grant = grant_of(&mut tutor, "ada", &[]).await;
    let artifact = artifact_of(&mut tutor, &grant).await;
    let mut other = harness.as_role(Role::Service, "other").await;
    let cached = format!("{grant}/job");
    let ids = [grant.as_str(), &artifact, &cached, "g0-0000000000000000", "g99999999-0000000000000000"];
    assert_eq!(states(&mut other, &ids).await.0, [UNKNOWN; 5]);
    steward.rights.submit_request(erasure("ada", ErasureScope::All, "")).await.unwrap();
    assert_eq!(states(&mut other, &ids).await.0, [UNKNOWN; 5]);
    assert_eq!(states(&mut tutor, &ids).await.0.iter().filter(|state| **state == UNKNOWN).count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_ids_is_limited_and_their_form_is_checked() {
    let harness = Harness::start().await;
    let mut tutor = harness.as_role(Role::Service, "tutor").await;
    let many = |count: usize| proto::CheckIdsRequest { ids: vec!["g1-0000000000000000".into(); count] };
    let answer = tutor.grant.check_ids(many(1_024)).await.unwrap().into_inner();
    assert_eq!(answer.states.len(), 1_024);
    let refused = tutor.grant.check_ids(many(1_025)).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    for bad in ["", "7", "g7/key", "g7-0102030405060708/"] {
        let request = proto::CheckIdsRequest { ids: vec![bad.into()] };
        let refused = tutor.grant.check_ids(request).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_lost_reads_a_file_and_lists_what_has_ended() {
    let harness = Harness::start().await;
    let (mut tutor, mut steward) = record_people(&harness).await;
    let of_ada = grant_of(&mut tutor, "ada", &[]).await;
    let of_ben = grant_of(&mut tutor, "ben", &[]).await;
    let run = |arguments: &[&str]| -> Output {
        harness.cli(Role::Service, "tutor", &[&["lost"], arguments].concat())
    };
    let output = run(&[&of_ada, &of_ben]);
    assert_eq!(output.status.code(), Some(0));
    steward.rights.submit_request(erasure("ada", ErasureScope::All, "")).await.unwrap();
    // More ids than fit into one call.
    let file = harness.dir.path().join("ids.txt");
    let text = format!("{of_ada}\n\n{}{of_ben}\n", format!("{of_ben}\n").repeat(1_500));
    std::fs::write(&file, text).unwrap();
    let output = run(&["--ended-only", "--file", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(5));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with(&format!("{of_ada}  ended: ")), "{text}");
    assert!(text.contains("1 of 1502 IDs; watch from cursor "), "{text}");
    let output = harness.cli(Role::Service, "tutor", &["--json", "lost", &of_ben]);
    let lines: Vec<serde_json::Value> =
        stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [state, end] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!(state["standing"], "ID_STANDING_VALID");
    assert_eq!((&end["idsEnded"], &end["idsChecked"]), (&"0".into(), &"1".into()));
    let watch_from =
        |text: &str| text.rsplit("from cursor ").next().unwrap().split(' ').next().unwrap().to_owned();
    let text = stdout(&harness.cli(Role::Service, "tutor", &["lost", &of_ben]));
    assert_eq!(end["cursor"], watch_from(&text));
}
