//! Tests which caller may record what. A service may record what it observes or infers, and every refusal of
//! a data subject. A data subject's other statements, such as a consent, are recorded by a channel, a steward
//! or the data subject. If a data subject refuses something with their own credential, only that data subject
//! or a steward can lift the refusal.

use crate::harness::{self, Clients, Harness, ask, choice, consent, fact, publish_notice};
use sayso::api::Claim;
use sayso::proto::{
    self, AgeBand, ConsentDecision, Provenance, Role, SignalKind, SubjectDescribed, event_body::Event,
};
use tonic::{Code, Status};
use tonic_types::StatusExt;

const PURPOSE: &str = "tone-adaptation";

/// A caller of each role, all about the subject `ada`.
struct World {
    harness: Harness,
    /// A service without the role of a channel.
    service: Clients,
    other: Clients,
    channel: Clients,
    steward: Clients,
    ada: Clients,
}

impl World {
    async fn start() -> Self {
        let harness = Harness::start().await;
        let (service, other) =
            (harness.as_claim(Role::Service, "tutor").await, harness.as_claim(Role::Service, "other").await);
        let channel = harness.as_claim(Role::Channel, "app").await;
        let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
        let ada = harness.as_role(Role::Subject, "ada").await;
        publish_notice(&mut steward).await;
        Self { harness, service, other, channel, steward, ada }
    }

    /// All events about the subject, oldest first.
    async fn events(&mut self) -> Vec<proto::EventBody> {
        let request = proto::ListEventsRequest { page_size: 1_000, ..Default::default() };
        let page = self.ada.profile.list_events(request).await.unwrap().into_inner();
        page.events.into_iter().filter_map(|event| event.body).collect()
    }

    async fn attributes(&mut self) -> Vec<proto::ProfileAttribute> {
        let profile = self.ada.profile.get_profile(proto::GetProfileRequest::default()).await;
        profile.unwrap().into_inner().attributes
    }

    async fn event_of(&mut self, key: &str) -> String {
        self.attributes().await.into_iter().find(|attribute| attribute.key == key).unwrap().event_id
    }

    /// Whether the service may use anything.
    async fn is_allowed(&mut self) -> bool {
        !self.service.grant.request_grant(ask("ada")).await.unwrap().into_inner().allowed.is_empty()
    }
}

/// Asserts that the answer is permission denied with this reason, and that its message contains `words`.
fn assert_denied<T: std::fmt::Debug>(answer: Result<T, Status>, reason: &str, words: &str) {
    let status = answer.unwrap_err();
    let found = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
    assert_eq!((status.code(), found.as_str()), (Code::PermissionDenied, reason), "{status:?}");
    assert!(status.message().contains(words), "{}", status.message());
}

fn consent_with(decision: ConsentDecision) -> proto::RecordConsentRequest {
    consent("ada", vec![choice(decision, PURPOSE, &[], false)])
}

fn signal(kind: SignalKind, lift: bool) -> proto::RecordSignalRequest {
    proto::RecordSignalRequest { subject: "ada".into(), kind: kind.into(), lift, ..Default::default() }
}

fn attribute(provenance: Provenance, key: &str, value: &str) -> proto::RecordAttributesRequest {
    let mut request = fact("ada", key, "work", value);
    request.attributes[0].provenance = provenance.into();
    request
}

fn corrects(mut request: proto::RecordAttributesRequest, event: &str) -> proto::RecordAttributesRequest {
    event.clone_into(&mut request.attributes[0].corrects);
    request
}

fn remove(key: &str) -> proto::RemoveAttributesRequest {
    proto::RemoveAttributesRequest { subject: "ada".into(), keys: vec![key.into()], ..Default::default() }
}

fn contest(key: &str) -> proto::ContestAttributeRequest {
    proto::ContestAttributeRequest { subject: "ada".into(), key: key.into(), ..Default::default() }
}

fn confirm(key: &str) -> proto::ConfirmAttributeRequest {
    proto::ConfirmAttributeRequest { subject: "ada".into(), key: key.into(), ..Default::default() }
}

fn described(age_band: AgeBand, jurisdiction: &str) -> proto::DescribeSubjectRequest {
    proto::DescribeSubjectRequest {
        subject: "ada".into(),
        age_band: age_band.into(),
        jurisdiction: jurisdiction.into(),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_service_records_refusals_but_cannot_give_consent_or_lift_a_signal() {
    let mut world = World::start().await;
    // A denied write leaves nothing; the subject is not even created.
    assert_denied(
        world.service.consent.record_consent(consent_with(ConsentDecision::Given)).await,
        "CHANNEL_ROLE_REQUIRED",
        "`channel`",
    );
    assert_denied(
        world.service.profile.record_attributes(fact("ada", "tone", "work", "dry")).await,
        "CHANNEL_ROLE_REQUIRED",
        "`channel`",
    );
    let unknown = world.ada.profile.get_profile(proto::GetProfileRequest::default()).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    world.channel.profile.record_attributes(fact("ada", "tone", "work", "dry")).await.unwrap();
    world.channel.consent.record_consent(consent_with(ConsentDecision::Given)).await.unwrap();
    assert!(world.is_allowed().await);
    let before = world.events().await.len();
    for decision in [ConsentDecision::Given, ConsentDecision::Renewed] {
        let mut explicit = consent_with(decision);
        explicit.choices[0].categories = vec!["mental-health".into()];
        explicit.choices[0].explicit = true;
        for guardian in [false, true] {
            explicit.guardian = guardian;
            let answer = world.service.consent.record_consent(explicit.clone()).await;
            assert_denied(answer, "CHANNEL_ROLE_REQUIRED", "`service-channel`");
        }
    }
    let kinds = [
        SignalKind::Objection,
        SignalKind::Restriction,
        SignalKind::OptOut,
        SignalKind::OptOutAutomated,
        SignalKind::LimitSensitive,
        SignalKind::Pause,
    ];
    for kind in kinds {
        let lifted = world.service.consent.record_signal(signal(kind, true)).await;
        assert_denied(lifted, "CHANNEL_ROLE_REQUIRED", "lifting a signal");
    }
    assert_eq!(world.events().await.len(), before, "a denied write leaves no event");
    world.service.consent.record_consent(consent_with(ConsentDecision::Withdrawn)).await.unwrap();
    assert!(!world.is_allowed().await);
    world.service.consent.record_consent(consent_with(ConsentDecision::Refused)).await.unwrap();
    for kind in kinds {
        world.service.consent.record_signal(signal(kind, false)).await.unwrap();
    }
    let events = world.events().await;
    let refusals = events.iter().filter(|body| {
        matches!(
            body.event,
            Some(Event::ConsentWithdrawn(_) | Event::ConsentRefused(_) | Event::SignalRecorded(_))
        )
    });
    let by: Vec<(Role, &str)> = refusals
        .filter_map(|body| body.actor.as_ref())
        .map(|actor| (actor.role(), actor.name.as_str()))
        .collect();
    assert_eq!(by, vec![(Role::Service, "tutor"); 8]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_is_recorded_despite_invalid_fields_or_choices_beside_it() {
    let mut world = World::start().await;
    world.channel.profile.record_attributes(fact("ada", "tone", "work", "dry")).await.unwrap();
    let given = consent("ada", vec![choice(ConsentDecision::Given, PURPOSE, &["work"], false)]);
    // A service sends a request that gives a consent, which it may not do, and withdraws another. The
    // withdrawal is recorded once, and the error says that it is recorded.
    world.channel.consent.record_consent(given.clone()).await.unwrap();
    assert!(world.is_allowed().await);
    let mut mixed = given.clone();
    mixed.choices.push(choice(ConsentDecision::Withdrawn, PURPOSE, &[], false));
    mixed.options = Some(proto::WriteOptions { idempotency_key: "once".into(), ..Default::default() });
    assert_denied(
        world.service.consent.record_consent(mixed.clone()).await,
        "CHANNEL_ROLE_REQUIRED",
        "withdrawn in the same request is recorded",
    );
    assert!(!world.is_allowed().await);
    let before = world.events().await.len();
    assert_denied(world.service.consent.record_consent(mixed).await, "CHANNEL_ROLE_REQUIRED", "is recorded");
    assert_eq!(world.events().await.len(), before);
    // A withdrawal counts even if it has fields that mean nothing in a withdrawal.
    for case in 0..6 {
        world.steward.consent.record_consent(given.clone()).await.unwrap();
        assert!(world.is_allowed().await, "{case}");
        let mut withdrawal = consent_with(ConsentDecision::Withdrawn);
        match case {
            0 => withdrawal.choices[0].expires_at = Some(prost_types::Timestamp { seconds: 1, nanos: 0 }),
            1 => {
                withdrawal.notice =
                    Some(proto::NoticeServed { id: "never-published".into(), ..Default::default() })
            }
            2 => withdrawal.channel = "spoken over the counter ".repeat(9),
            3 => withdrawal.choices[0].purposes.clear(),
            4 => withdrawal.guardian = true,
            _ => withdrawal.choices[0].explicit = true,
        }
        let caller = if case == 4 { &mut world.ada } else { &mut world.service };
        caller.consent.record_consent(withdrawal).await.unwrap();
        assert!(!world.is_allowed().await, "{case}");
    }
    let mut in_one = signal(SignalKind::Objection, false);
    in_one.interaction = "chat-1".into();
    world.steward.consent.record_consent(given).await.unwrap();
    assert!(world.is_allowed().await);
    world.service.consent.record_signal(in_one).await.unwrap();
    assert!(!world.is_allowed().await);
    // A withdrawal of an unknown purpose would withdraw nothing, so it is an error.
    let mut unknown = consent_with(ConsentDecision::Withdrawn);
    unknown.choices[0].purposes = vec!["tone-adaption".into()];
    let status = world.service.consent.record_consent(unknown).await.unwrap_err();
    assert!(status.code() == Code::InvalidArgument && status.message().contains(PURPOSE), "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_observation_or_inference_replaces_a_statement_of_the_subject() {
    let mut world = World::start().await;
    let both = service_channel(&world).await;
    world
        .service
        .profile
        .record_attributes(attribute(Provenance::Inferred, "guess", "likes jazz"))
        .await
        .unwrap();
    world
        .service
        .profile
        .record_attributes(attribute(Provenance::Inferred, "mine", "likes tea"))
        .await
        .unwrap();
    world.ada.profile.record_attributes(attribute(Provenance::Declared, "said", "likes rock")).await.unwrap();
    world.ada.profile.confirm_attribute(confirm("mine")).await.unwrap();
    world.ada.profile.contest_attribute(contest("guess")).await.unwrap();
    let (stated, mine) = (world.event_of("said").await, world.event_of("mine").await);
    let guess = world.event_of("guess").await;
    let before = world.attributes().await;
    for clients in [world.service.clone(), both] {
        let mut clients = clients;
        for provenance in [Provenance::Inferred, Provenance::Observed] {
            let mut expect_denied = async |request| {
                assert_denied(
                    clients.profile.record_attributes(request).await,
                    "STATED_BY_SUBJECT",
                    "own words",
                );
            };
            // The correction has another key than the subject's attribute.
            for event in [&stated, &mine, &guess] {
                expect_denied(corrects(attribute(provenance, "elsewhere", "x"), event)).await;
            }
            // The correction, or the new attribute, has the same key.
            expect_denied(corrects(attribute(provenance, "said", "x"), &stated)).await;
            expect_denied(corrects(attribute(provenance, "guess", "x"), &guess)).await;
            expect_denied(attribute(provenance, "guess", "likes salsa")).await;
            if provenance == Provenance::Observed {
                expect_denied(attribute(provenance, "said", "x")).await;
                expect_denied(attribute(provenance, "mine", "x")).await;
                expect_denied(attribute(provenance, "guess", "likes jazz")).await;
            }
        }
        // One of several attributes in a request would replace the subject's attribute.
        let mut two = attribute(Provenance::Observed, "new", "x");
        two.attributes.extend(attribute(Provenance::Observed, "said", "x").attributes);
        let answer = clients.profile.record_attributes(two).await;
        assert_denied(answer, "STATED_BY_SUBJECT", "attributes[1]");
    }
    assert_eq!(world.attributes().await, before);
    // An inference under a declared key is recorded but does not replace the declaration. A contested
    // inference stays contested when the service records it again.
    let answer =
        world.service.profile.record_attributes(attribute(Provenance::Inferred, "said", "x")).await.unwrap();
    assert_eq!(answer.into_inner().superseded, [0]);
    world
        .service
        .profile
        .record_attributes(attribute(Provenance::Inferred, "guess", "likes jazz"))
        .await
        .unwrap();
    let attributes = world.attributes().await;
    assert!(attributes.iter().any(|attribute| attribute.key == "guess" && attribute.contested));
    assert!(
        attributes
            .iter()
            .any(|attribute| attribute.key == "said" && attribute.value_json == "\"likes rock\"")
    );
    // A service that is not a channel may never record a declared attribute.
    let declared =
        world.service.profile.record_attributes(attribute(Provenance::Declared, "guess", "likes jazz")).await;
    assert_denied(declared, "CHANNEL_ROLE_REQUIRED", "declared");
}

async fn service_channel(world: &World) -> Clients {
    world.harness.as_claim(Claim::SERVICE_CHANNEL, "tutor").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_removes_and_corrects_only_attributes_that_it_recorded() {
    let mut world = World::start().await;
    world
        .service
        .profile
        .record_attributes(attribute(Provenance::Observed, "seen", "at night"))
        .await
        .unwrap();
    world
        .other
        .profile
        .record_attributes(attribute(Provenance::Inferred, "guess", "likes jazz"))
        .await
        .unwrap();
    world.ada.profile.record_attributes(attribute(Provenance::Declared, "said", "likes rock")).await.unwrap();
    let guess = world.event_of("guess").await;
    let before = world.attributes().await;
    for key in ["guess", "said"] {
        assert_denied(
            world.service.profile.remove_attributes(remove(key)).await,
            "RECORDED_BY_ANOTHER",
            "keys[0]",
        );
    }
    let mut several = remove("seen");
    several.keys.push("guess".into());
    assert_denied(world.service.profile.remove_attributes(several).await, "RECORDED_BY_ANOTHER", "keys[1]");
    let correction = corrects(attribute(Provenance::Observed, "seen", "likes rock"), &guess);
    assert_denied(
        world.service.profile.record_attributes(correction).await,
        "RECORDED_BY_ANOTHER",
        "attributes[0]",
    );
    assert_eq!(world.attributes().await, before);
    // A service corrects its own attribute until the subject confirms or contests it.
    let own = corrects(attribute(Provenance::Inferred, "guess", "likes salsa"), &guess);
    world.other.profile.record_attributes(own).await.unwrap();
    world.ada.profile.confirm_attribute(confirm("guess")).await.unwrap();
    assert_denied(
        world.other.profile.remove_attributes(remove("guess")).await,
        "CHANNEL_ROLE_REQUIRED",
        "confirmed",
    );
    world.ada.profile.contest_attribute(contest("guess")).await.unwrap();
    assert_denied(
        world.other.profile.remove_attributes(remove("guess")).await,
        "CHANNEL_ROLE_REQUIRED",
        "contested",
    );
    world.service.profile.remove_attributes(remove("seen")).await.unwrap();
    // A channel removes what the subject declared.
    world.channel.profile.remove_attributes(remove("said")).await.unwrap();
    let left: Vec<String> = world.attributes().await.into_iter().map(|attribute| attribute.key).collect();
    assert_eq!(left, ["guess"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_with_the_subjects_own_credential_is_lifted_only_by_the_subject_or_a_steward() {
    let mut world = World::start().await;
    let mut both = service_channel(&world).await;
    world.channel.profile.record_attributes(fact("ada", "tone", "work", "dry")).await.unwrap();
    // The subject refuses the parent purpose for every category. Even a narrower consent would lift a part of
    // that refusal, so the channel may not record it.
    let wide = consent("ada", vec![choice(ConsentDecision::Refused, "personalization", &[], false)]);
    world.ada.consent.record_consent(wide.clone()).await.unwrap();
    let mut narrow = consent("ada", vec![choice(ConsentDecision::Given, PURPOSE, &["work"], true)]);
    narrow.choices[0].recipients = vec!["tutor".into()];
    for given in [consent_with(ConsentDecision::Given), narrow.clone()] {
        for clients in [&mut world.channel, &mut both] {
            let answer = clients.consent.record_consent(given.clone()).await;
            assert_denied(answer, "REFUSED_BY_SUBJECT", "`personalization` with their own credential on ");
        }
        assert!(!world.is_allowed().await);
    }
    // A refusal through the channel in the same request is still recorded.
    let mut mixed = consent_with(ConsentDecision::Given);
    mixed.choices.push(choice(ConsentDecision::Refused, "safety", &[], false));
    assert_denied(world.channel.consent.record_consent(mixed).await, "REFUSED_BY_SUBJECT", "is recorded");
    assert!(matches!(world.events().await.last().unwrap().event, Some(Event::ConsentRefused(_))));
    // The subject lifts the refusal for one purpose. The channel may record consent for that purpose again,
    // but not for another.
    world.ada.consent.record_consent(consent_with(ConsentDecision::Given)).await.unwrap();
    assert!(world.is_allowed().await);
    world.channel.consent.record_consent(consent_with(ConsentDecision::Withdrawn)).await.unwrap();
    world.channel.consent.record_consent(narrow.clone()).await.unwrap();
    assert!(world.is_allowed().await);
    let memory = consent("ada", vec![choice(ConsentDecision::Given, "memory", &[], false)]);
    assert_denied(
        world.channel.consent.record_consent(memory.clone()).await,
        "REFUSED_BY_SUBJECT",
        "only the person or a steward",
    );
    let mut two = consent_with(ConsentDecision::Given);
    two.choices[0].purposes.push("memory".into());
    assert_denied(
        world.channel.consent.record_consent(two).await,
        "REFUSED_BY_SUBJECT",
        "only the person or a steward",
    );
    // The subject's consent did not lift the refusal for health, because this needs explicit consent that
    // names health.
    let health = consent("ada", vec![choice(ConsentDecision::Given, PURPOSE, &["health"], true)]);
    assert_denied(
        world.channel.consent.record_consent(health).await,
        "REFUSED_BY_SUBJECT",
        "only the person or a steward",
    );
    world.steward.consent.record_consent(memory.clone()).await.unwrap();
    world.channel.consent.record_consent(memory).await.unwrap();
    let last = world.events().await.pop().unwrap().actor.unwrap();
    assert_eq!((last.role(), last.name.as_str()), (Role::Channel, "app"));
    // A new refusal with the subject's own credential applies to everything again.
    world.ada.consent.record_consent(wide).await.unwrap();
    assert_denied(world.channel.consent.record_consent(narrow).await, "REFUSED_BY_SUBJECT", "own credential");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_subjects_own_signals_and_contests_are_lifted_only_by_the_subject_or_a_steward() {
    let mut world = World::start().await;
    let mut both = service_channel(&world).await;
    world
        .service
        .profile
        .record_attributes(attribute(Provenance::Inferred, "guess", "likes jazz"))
        .await
        .unwrap();
    // A channel lifts a signal that a channel recorded.
    for kind in [SignalKind::Objection, SignalKind::Pause] {
        world.channel.consent.record_signal(signal(kind, false)).await.unwrap();
        world.channel.consent.record_signal(signal(kind, true)).await.unwrap();
    }
    let mut own = signal(SignalKind::Objection, false);
    own.purposes = vec![PURPOSE.into(), "memory".into()];
    world.ada.consent.record_signal(own).await.unwrap();
    let mut conversation_pause = signal(SignalKind::Pause, false);
    conversation_pause.interaction = "chat-1".into();
    world.ada.consent.record_signal(conversation_pause).await.unwrap();
    let lift = |kind, purposes: &[&str], interaction: &str| proto::RecordSignalRequest {
        purposes: purposes.iter().map(|purpose| (*purpose).to_owned()).collect(),
        interaction: interaction.into(),
        ..signal(kind, true)
    };
    for clients in [&mut world.channel, &mut both] {
        for (kind, purposes, interaction, name) in [
            (SignalKind::Objection, &[][..], "", "objection"),
            (SignalKind::Objection, &["memory"][..], "", "objection"),
            (SignalKind::Pause, &[][..], "", "pause"),
            (SignalKind::Pause, &[][..], "chat-1", "pause"),
        ] {
            let answer = clients.consent.record_signal(lift(kind, purposes, interaction)).await;
            assert_denied(answer, "REFUSED_BY_SUBJECT", &format!("the person recorded this {name}"));
        }
        // Lifting a signal that does not overlap the subject's own is allowed.
        clients.consent.record_signal(lift(SignalKind::Objection, &["safety"], "")).await.unwrap();
        clients.consent.record_signal(lift(SignalKind::Pause, &[], "chat-2")).await.unwrap();
    }
    world.steward.consent.record_signal(lift(SignalKind::Objection, &["memory"], "")).await.unwrap();
    world.ada.consent.record_signal(lift(SignalKind::Pause, &[], "")).await.unwrap();
    world.channel.consent.record_signal(lift(SignalKind::Pause, &[], "")).await.unwrap();
    // A channel lifts a contest that a channel recorded, but not the subject's own.
    world.channel.profile.contest_attribute(contest("guess")).await.unwrap();
    world.channel.profile.confirm_attribute(confirm("guess")).await.unwrap();
    world.ada.profile.contest_attribute(contest("guess")).await.unwrap();
    for clients in [&mut world.channel, &mut both] {
        let own = "contested this attribute with their own credential";
        assert_denied(clients.profile.confirm_attribute(confirm("guess")).await, "REFUSED_BY_SUBJECT", own);
        assert_denied(clients.profile.remove_attributes(remove("guess")).await, "REFUSED_BY_SUBJECT", own);
        let declared = attribute(Provenance::Declared, "guess", "likes jazz");
        assert_denied(clients.profile.record_attributes(declared).await, "REFUSED_BY_SUBJECT", own);
    }
    // The contest stays the subject's own when the service records the same inference again.
    world
        .service
        .profile
        .record_attributes(attribute(Provenance::Inferred, "guess", "likes jazz"))
        .await
        .unwrap();
    assert_eq!(
        world.channel.profile.confirm_attribute(confirm("guess")).await.unwrap_err().code(),
        Code::PermissionDenied
    );
    world
        .steward
        .profile
        .record_attributes(attribute(Provenance::Declared, "guess", "likes rock"))
        .await
        .unwrap();
    world
        .channel
        .profile
        .record_attributes(attribute(Provenance::Declared, "guess", "likes jazz"))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_may_describe_a_subject_only_as_a_child() {
    let mut world = World::start().await;
    for (band, place) in [
        (AgeBand::Adult, ""),
        (AgeBand::Teen, ""),
        (AgeBand::Unknown, ""),
        (AgeBand::Unspecified, "US"),
        (AgeBand::Child, "US"),
    ] {
        let answer = world.service.profile.describe_subject(described(band, place)).await;
        assert_denied(answer, "CHANNEL_ROLE_REQUIRED", "anything but a child");
    }
    world.channel.profile.describe_subject(described(AgeBand::Adult, "DE")).await.unwrap();
    world.service.profile.describe_subject(described(AgeBand::Child, "")).await.unwrap();
    world.channel.profile.describe_subject(described(AgeBand::Adult, "")).await.unwrap();
    // If a steward stated an age band, a channel cannot replace it with an older age band.
    world.steward.profile.describe_subject(described(AgeBand::Teen, "")).await.unwrap();
    world.service.profile.describe_subject(described(AgeBand::Child, "")).await.unwrap();
    for band in [AgeBand::Adult, AgeBand::Unknown] {
        let answer = world.channel.profile.describe_subject(described(band, "")).await;
        assert_denied(answer, "STATED_BY_STEWARD", "only a steward");
    }
    world.channel.profile.describe_subject(described(AgeBand::Teen, "FR")).await.unwrap();
    world.steward.profile.describe_subject(described(AgeBand::Adult, "")).await.unwrap();
    world.channel.profile.describe_subject(described(AgeBand::Adult, "")).await.unwrap();
    let described_by = world.events().await.into_iter().filter_map(|body| match (body.event, body.actor) {
        (Some(Event::SubjectDescribed(SubjectDescribed { .. })), Some(actor)) => Some(actor.role()),
        _ => None,
    });
    let (channel, service, steward) = (Role::Channel, Role::Service, Role::Steward);
    let roles = [channel, service, channel, steward, service, channel, steward, channel];
    assert_eq!(described_by.collect::<Vec<_>>(), roles);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_gets_no_grants_and_a_service_channel_acts_in_the_role_that_each_call_needs() {
    let mut world = World::start().await;
    let refused = world.channel.grant.request_grant(ask("ada")).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    for provenance in [Provenance::Observed, Provenance::Inferred] {
        let answer = world.channel.profile.record_attributes(attribute(provenance, "tone", "x")).await;
        assert_denied(answer, "SERVICE_ROLE_REQUIRED", "`service`");
    }
    // With one credential, a service channel records for the subject and requests grants for itself.
    let mut both = service_channel(&world).await;
    let mut mixed = fact("ada", "tone", "work", "dry");
    mixed.attributes.extend(attribute(Provenance::Inferred, "guess", "likes jazz").attributes);
    both.profile.record_attributes(mixed).await.unwrap();
    both.consent.record_consent(consent_with(ConsentDecision::Given)).await.unwrap();
    let grant = both.grant.request_grant(ask("ada")).await.unwrap().into_inner();
    assert_eq!(grant.allowed.len(), 2);
    // The recipient is the caller's name, with every credential that it uses.
    let check = proto::CheckGrantRequest { grant_id: grant.grant_id.clone(), keys: Vec::new() };
    assert!(world.service.grant.check_grant(check).await.unwrap().into_inner().valid);
    let actors: Vec<(Role, String)> = world
        .events()
        .await
        .into_iter()
        .filter_map(|body| body.actor)
        .map(|actor| (actor.role(), actor.name))
        .collect();
    let as_channel = (Role::Channel, "tutor".to_owned());
    let as_service = (Role::Service, "tutor".to_owned());
    assert_eq!(actors, [as_channel.clone(), as_service.clone(), as_channel, as_service]);
    // `sayso why` names the channel, too.
    let why = world.harness.cli(Role::Steward, "privacy-team", &["why", &grant.grant_id]);
    let why = harness::stdout(&why);
    assert!(why.contains("through the channel `tutor`") && why.contains("by the channel `tutor`"), "{why}");
}
