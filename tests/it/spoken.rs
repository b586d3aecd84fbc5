//! Who may say what: a service records what it observes and infers, and every no; people's words come through
//! a channel, a steward or the person; and what the person refused with their own credential, only they or a
//! steward take back.

use crate::harness::{self, Clients, Harness, ask, choice, consent, fact, publish_notice};
use sayso::api::Claim;
use sayso::proto::{
    self, AgeBand, ConsentDecision, Provenance, Role, SignalKind, SubjectDescribed, event_body::Event,
};
use tonic::{Code, Status};
use tonic_types::StatusExt;

const PURPOSE: &str = "tone-adaptation";

/// One of each, about the same person.
struct World {
    harness: Harness,
    /// No channel.
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

    /// Everything that was recorded about her, oldest first.
    async fn events(&mut self) -> Vec<proto::EventBody> {
        let request = proto::ListEventsRequest { page_size: 1_000, ..Default::default() };
        let page = self.ada.profile.list_events(request).await.unwrap().into_inner();
        page.events.into_iter().filter_map(|event| event.body).collect()
    }

    async fn held(&mut self) -> Vec<proto::ProfileAttribute> {
        let profile = self.ada.profile.get_profile(proto::GetProfileRequest::default()).await;
        profile.unwrap().into_inner().attributes
    }

    async fn event_of(&mut self, key: &str) -> String {
        self.held().await.into_iter().find(|held| held.key == key).unwrap().event_id
    }

    async fn stands(&mut self) -> bool {
        !self.service.grant.request_grant(ask("ada")).await.unwrap().into_inner().allowed.is_empty()
    }
}

/// Refused by a rule of this name, with words that say what it takes.
fn is_refused<T: std::fmt::Debug>(answer: Result<T, Status>, reason: &str, words: &str) {
    let status = answer.unwrap_err();
    let found = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
    assert_eq!((status.code(), found.as_str()), (Code::PermissionDenied, reason), "{status:?}");
    assert!(status.message().contains(words), "{}", status.message());
}

fn says(decision: ConsentDecision) -> proto::RecordConsentRequest {
    consent("ada", vec![choice(decision, PURPOSE, &[], false)])
}

fn signal(kind: SignalKind, lift: bool) -> proto::RecordSignalRequest {
    proto::RecordSignalRequest { subject: "ada".into(), kind: kind.into(), lift, ..Default::default() }
}

fn of(provenance: Provenance, key: &str, value: &str) -> proto::RecordAttributesRequest {
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
async fn every_service_records_a_no_and_none_records_a_yes_or_lifts() {
    let mut world = World::start().await;
    // What nobody may leaves nothing, not even the person.
    is_refused(
        world.service.consent.record_consent(says(ConsentDecision::Given)).await,
        "CHANNEL_ROLE_REQUIRED",
        "`channel`",
    );
    is_refused(
        world.service.profile.record_attributes(fact("ada", "tone", "work", "dry")).await,
        "CHANNEL_ROLE_REQUIRED",
        "`channel`",
    );
    let unknown = world.ada.profile.get_profile(proto::GetProfileRequest::default()).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    world.channel.profile.record_attributes(fact("ada", "tone", "work", "dry")).await.unwrap();
    world.channel.consent.record_consent(says(ConsentDecision::Given)).await.unwrap();
    assert!(world.stands().await);
    let before = world.events().await.len();
    for decision in [ConsentDecision::Given, ConsentDecision::Renewed] {
        let mut explicit = says(decision);
        explicit.choices[0].categories = vec!["mental-health".into()];
        explicit.choices[0].explicit = true;
        for guardian in [false, true] {
            explicit.guardian = guardian;
            let answer = world.service.consent.record_consent(explicit.clone()).await;
            is_refused(answer, "CHANNEL_ROLE_REQUIRED", "`service-channel`");
        }
    }
    let kinds = [
        SignalKind::Objection,
        SignalKind::Restriction,
        SignalKind::OptOut,
        SignalKind::LimitSensitive,
        SignalKind::Pause,
    ];
    for kind in kinds {
        let lifted = world.service.consent.record_signal(signal(kind, true)).await;
        is_refused(lifted, "CHANNEL_ROLE_REQUIRED", "lifting a signal");
    }
    assert_eq!(world.events().await.len(), before, "what is refused leaves nothing");
    world.service.consent.record_consent(says(ConsentDecision::Withdrawn)).await.unwrap();
    assert!(!world.stands().await);
    world.service.consent.record_consent(says(ConsentDecision::Refused)).await.unwrap();
    for kind in kinds {
        world.service.consent.record_signal(signal(kind, false)).await.unwrap();
    }
    let told = world.events().await;
    let noes = told.iter().filter(|body| {
        matches!(
            body.event,
            Some(Event::ConsentWithdrawn(_) | Event::ConsentRefused(_) | Event::SignalRecorded(_))
        )
    });
    let by: Vec<(Role, &str)> = noes
        .filter_map(|body| body.actor.as_ref())
        .map(|actor| (actor.role(), actor.name.as_str()))
        .collect();
    assert_eq!(by, vec![(Role::Service, "tutor"); 7]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_no_is_not_refused_for_what_comes_with_it() {
    let mut world = World::start().await;
    world.channel.profile.record_attributes(fact("ada", "tone", "work", "dry")).await.unwrap();
    let yes = consent("ada", vec![choice(ConsentDecision::Given, PURPOSE, &["work"], false)]);
    // A yes that is not the caller's, and a no: the no counts, once, and the error says so.
    world.channel.consent.record_consent(yes.clone()).await.unwrap();
    assert!(world.stands().await);
    let mut mixed = yes.clone();
    mixed.choices.push(choice(ConsentDecision::Withdrawn, PURPOSE, &[], false));
    mixed.options = Some(proto::WriteOptions { idempotency_key: "once".into(), ..Default::default() });
    is_refused(
        world.service.consent.record_consent(mixed.clone()).await,
        "CHANNEL_ROLE_REQUIRED",
        "withdrawn in the same request is recorded",
    );
    assert!(!world.stands().await);
    let before = world.events().await.len();
    is_refused(world.service.consent.record_consent(mixed).await, "CHANNEL_ROLE_REQUIRED", "is recorded");
    assert_eq!(world.events().await.len(), before);
    // Fields that mean nothing in a no.
    for odd in 0..6 {
        world.steward.consent.record_consent(yes.clone()).await.unwrap();
        assert!(world.stands().await, "{odd}");
        let mut no = says(ConsentDecision::Withdrawn);
        match odd {
            0 => no.choices[0].until = Some(prost_types::Timestamp { seconds: 1, nanos: 0 }),
            1 => no.notice = Some(proto::NoticeServed { id: "never-published".into(), ..Default::default() }),
            2 => no.channel = "spoken over the counter ".repeat(9),
            3 => no.choices[0].purposes.clear(),
            4 => no.guardian = true,
            _ => no.choices[0].explicit = true,
        }
        let who = if odd == 4 { &mut world.ada } else { &mut world.service };
        who.consent.record_consent(no).await.unwrap();
        assert!(!world.stands().await, "{odd}");
    }
    let mut in_one = signal(SignalKind::Objection, false);
    in_one.interaction = "chat-1".into();
    world.steward.consent.record_consent(yes).await.unwrap();
    assert!(world.stands().await);
    world.service.consent.record_signal(in_one).await.unwrap();
    assert!(!world.stands().await);
    // A word that is not defined would be a no to nothing: that is said.
    let mut unknown = says(ConsentDecision::Withdrawn);
    unknown.choices[0].purposes = vec!["tone-adaption".into()];
    let status = world.service.consent.record_consent(unknown).await.unwrap_err();
    assert!(status.code() == Code::InvalidArgument && status.message().contains(PURPOSE), "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_observation_or_inference_takes_the_place_of_what_was_said() {
    let mut world = World::start().await;
    let both = harness_both(&world).await;
    world.service.profile.record_attributes(of(Provenance::Inferred, "guess", "likes jazz")).await.unwrap();
    world.service.profile.record_attributes(of(Provenance::Inferred, "mine", "likes tea")).await.unwrap();
    world.ada.profile.record_attributes(of(Provenance::Declared, "said", "likes rock")).await.unwrap();
    world.ada.profile.confirm_attribute(confirm("mine")).await.unwrap();
    world.ada.profile.contest_attribute(contest("guess")).await.unwrap();
    let (said, mine) = (world.event_of("said").await, world.event_of("mine").await);
    let guess = world.event_of("guess").await;
    let before = world.held().await;
    for clients in [world.service.clone(), both] {
        let mut clients = clients;
        for provenance in [Provenance::Inferred, Provenance::Observed] {
            let mut refused = async |request| {
                is_refused(
                    clients.profile.record_attributes(request).await,
                    "STATED_BY_SUBJECT",
                    "own words",
                );
            };
            // Under its own key, and from any other.
            for event in [&said, &mine, &guess] {
                refused(corrects(of(provenance, "elsewhere", "x"), event)).await;
            }
            refused(corrects(of(provenance, "said", "x"), &said)).await;
            refused(corrects(of(provenance, "guess", "x"), &guess)).await;
            refused(of(provenance, "guess", "likes salsa")).await;
            if provenance == Provenance::Observed {
                refused(of(provenance, "said", "x")).await;
                refused(of(provenance, "mine", "x")).await;
                refused(of(provenance, "guess", "likes jazz")).await;
            }
        }
        // Nor as one of several, nor by what the same request declares.
        let mut two = of(Provenance::Observed, "new", "x");
        two.attributes.extend(of(Provenance::Observed, "said", "x").attributes);
        let answer = clients.profile.record_attributes(two).await;
        is_refused(answer, "STATED_BY_SUBJECT", "attributes[1]");
    }
    assert_eq!(world.held().await, before);
    // An inference beside a declaration is recorded and not held; the contested conclusion stays contested.
    let answer =
        world.service.profile.record_attributes(of(Provenance::Inferred, "said", "x")).await.unwrap();
    assert_eq!(answer.into_inner().not_held, [0]);
    world.service.profile.record_attributes(of(Provenance::Inferred, "guess", "likes jazz")).await.unwrap();
    let held = world.held().await;
    assert!(held.iter().any(|held| held.key == "guess" && held.contested));
    assert!(held.iter().any(|held| held.key == "said" && held.value_json == "\"likes rock\""));
    // Declared by a service that no person speaks through: not even where nothing stands against it.
    let declared =
        world.service.profile.record_attributes(of(Provenance::Declared, "guess", "likes jazz")).await;
    is_refused(declared, "CHANNEL_ROLE_REQUIRED", "declared");
}

async fn harness_both(world: &World) -> Clients {
    world.harness.as_claim(Claim::SERVICE_CHANNEL, "tutor").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_removes_and_corrects_only_its_own() {
    let mut world = World::start().await;
    world.service.profile.record_attributes(of(Provenance::Observed, "seen", "at night")).await.unwrap();
    world.other.profile.record_attributes(of(Provenance::Inferred, "guess", "likes jazz")).await.unwrap();
    world.ada.profile.record_attributes(of(Provenance::Declared, "said", "likes rock")).await.unwrap();
    let guess = world.event_of("guess").await;
    let before = world.held().await;
    for key in ["guess", "said"] {
        is_refused(
            world.service.profile.remove_attributes(remove(key)).await,
            "RECORDED_BY_ANOTHER",
            "keys[0]",
        );
    }
    let mut several = remove("seen");
    several.keys.push("guess".into());
    is_refused(world.service.profile.remove_attributes(several).await, "RECORDED_BY_ANOTHER", "keys[1]");
    let correction = corrects(of(Provenance::Observed, "seen", "likes rock"), &guess);
    is_refused(
        world.service.profile.record_attributes(correction).await,
        "RECORDED_BY_ANOTHER",
        "attributes[0]",
    );
    assert_eq!(world.held().await, before);
    // Its own, until the person says something about it.
    let own = corrects(of(Provenance::Inferred, "guess", "likes salsa"), &guess);
    world.other.profile.record_attributes(own).await.unwrap();
    world.ada.profile.confirm_attribute(confirm("guess")).await.unwrap();
    is_refused(
        world.other.profile.remove_attributes(remove("guess")).await,
        "CHANNEL_ROLE_REQUIRED",
        "confirmed",
    );
    world.ada.profile.contest_attribute(contest("guess")).await.unwrap();
    is_refused(
        world.other.profile.remove_attributes(remove("guess")).await,
        "CHANNEL_ROLE_REQUIRED",
        "contested",
    );
    world.service.profile.remove_attributes(remove("seen")).await.unwrap();
    // What a person asks a channel to forget is forgotten.
    world.channel.profile.remove_attributes(remove("said")).await.unwrap();
    let left: Vec<String> = world.held().await.into_iter().map(|held| held.key).collect();
    assert_eq!(left, ["guess"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_no_of_the_persons_own_is_lifted_by_them_or_a_steward_alone() {
    let mut world = World::start().await;
    let mut both = harness_both(&world).await;
    world.channel.profile.record_attributes(fact("ada", "tone", "work", "dry")).await.unwrap();
    // A no to what the purpose is part of, to every category: a narrower yes would lift it.
    let wide = consent("ada", vec![choice(ConsentDecision::Refused, "personalization", &[], false)]);
    world.ada.consent.record_consent(wide.clone()).await.unwrap();
    let mut narrow = consent("ada", vec![choice(ConsentDecision::Given, PURPOSE, &["work"], true)]);
    narrow.choices[0].recipients = vec!["tutor".into()];
    for yes in [says(ConsentDecision::Given), narrow.clone()] {
        for clients in [&mut world.channel, &mut both] {
            let answer = clients.consent.record_consent(yes.clone()).await;
            is_refused(answer, "REFUSED_BY_SUBJECT", "`personalization` with their own credential on ");
        }
        assert!(!world.stands().await);
    }
    // What else the person says through the channel counts, also beside it.
    let mut mixed = says(ConsentDecision::Given);
    mixed.choices.push(choice(ConsentDecision::Refused, "safety", &[], false));
    is_refused(world.channel.consent.record_consent(mixed).await, "REFUSED_BY_SUBJECT", "is recorded");
    assert!(matches!(world.events().await.last().unwrap().event, Some(Event::ConsentRefused(_))));
    // The person takes it back, for one purpose: for that one the channel speaks again, for another it does
    // not.
    world.ada.consent.record_consent(says(ConsentDecision::Given)).await.unwrap();
    assert!(world.stands().await);
    world.channel.consent.record_consent(says(ConsentDecision::Withdrawn)).await.unwrap();
    world.channel.consent.record_consent(narrow.clone()).await.unwrap();
    assert!(world.stands().await);
    let memory = consent("ada", vec![choice(ConsentDecision::Given, "memory", &[], false)]);
    is_refused(
        world.channel.consent.record_consent(memory.clone()).await,
        "REFUSED_BY_SUBJECT",
        "only the person or a steward",
    );
    let mut two = says(ConsentDecision::Given);
    two.choices[0].purposes.push("memory".into());
    is_refused(
        world.channel.consent.record_consent(two).await,
        "REFUSED_BY_SUBJECT",
        "only the person or a steward",
    );
    // Health had not been taken back: it takes its name, explicitly.
    let health = consent("ada", vec![choice(ConsentDecision::Given, PURPOSE, &["health"], true)]);
    is_refused(
        world.channel.consent.record_consent(health).await,
        "REFUSED_BY_SUBJECT",
        "only the person or a steward",
    );
    world.steward.consent.record_consent(memory.clone()).await.unwrap();
    world.channel.consent.record_consent(memory).await.unwrap();
    let last = world.events().await.pop().unwrap().actor.unwrap();
    assert_eq!((last.role(), last.name.as_str()), (Role::Channel, "app"));
    // A new no of the person's own ends all of it.
    world.ada.consent.record_consent(wide).await.unwrap();
    is_refused(world.channel.consent.record_consent(narrow).await, "REFUSED_BY_SUBJECT", "own credential");
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_and_contests_of_the_persons_own_are_lifted_by_them_or_a_steward_alone() {
    let mut world = World::start().await;
    let mut both = harness_both(&world).await;
    world.service.profile.record_attributes(of(Provenance::Inferred, "guess", "likes jazz")).await.unwrap();
    // What a channel said, a channel takes back.
    for kind in [SignalKind::Objection, SignalKind::Pause] {
        world.channel.consent.record_signal(signal(kind, false)).await.unwrap();
        world.channel.consent.record_signal(signal(kind, true)).await.unwrap();
    }
    let mut own = signal(SignalKind::Objection, false);
    own.purposes = vec![PURPOSE.into(), "memory".into()];
    world.ada.consent.record_signal(own).await.unwrap();
    let mut talk = signal(SignalKind::Pause, false);
    talk.interaction = "chat-1".into();
    world.ada.consent.record_signal(talk).await.unwrap();
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
            is_refused(answer, "REFUSED_BY_SUBJECT", &format!("the person recorded this {name}"));
        }
        // What takes nothing of it back is no lifting of it.
        clients.consent.record_signal(lift(SignalKind::Objection, &["safety"], "")).await.unwrap();
        clients.consent.record_signal(lift(SignalKind::Pause, &[], "chat-2")).await.unwrap();
    }
    world.steward.consent.record_signal(lift(SignalKind::Objection, &["memory"], "")).await.unwrap();
    world.ada.consent.record_signal(lift(SignalKind::Pause, &[], "")).await.unwrap();
    world.channel.consent.record_signal(lift(SignalKind::Pause, &[], "")).await.unwrap();
    // A contest through the channel is the channel's to take back, one of the person's own is not.
    world.channel.profile.contest_attribute(contest("guess")).await.unwrap();
    world.channel.profile.confirm_attribute(confirm("guess")).await.unwrap();
    world.ada.profile.contest_attribute(contest("guess")).await.unwrap();
    for clients in [&mut world.channel, &mut both] {
        let own = "contested this attribute with their own credential";
        is_refused(clients.profile.confirm_attribute(confirm("guess")).await, "REFUSED_BY_SUBJECT", own);
        is_refused(clients.profile.remove_attributes(remove("guess")).await, "REFUSED_BY_SUBJECT", own);
        let declared = of(Provenance::Declared, "guess", "likes jazz");
        is_refused(clients.profile.record_attributes(declared).await, "REFUSED_BY_SUBJECT", own);
    }
    // It stays hers when the same conclusion comes again.
    world.service.profile.record_attributes(of(Provenance::Inferred, "guess", "likes jazz")).await.unwrap();
    assert_eq!(
        world.channel.profile.confirm_attribute(confirm("guess")).await.unwrap_err().code(),
        Code::PermissionDenied
    );
    world.steward.profile.record_attributes(of(Provenance::Declared, "guess", "likes rock")).await.unwrap();
    world.channel.profile.record_attributes(of(Provenance::Declared, "guess", "likes jazz")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_says_that_somebody_is_a_child_and_nothing_else_of_them() {
    let mut world = World::start().await;
    for (band, place) in [
        (AgeBand::Adult, ""),
        (AgeBand::Teen, ""),
        (AgeBand::Unknown, ""),
        (AgeBand::Unspecified, "US"),
        (AgeBand::Child, "US"),
    ] {
        let answer = world.service.profile.describe_subject(described(band, place)).await;
        is_refused(answer, "CHANNEL_ROLE_REQUIRED", "anything but a child");
    }
    world.channel.profile.describe_subject(described(AgeBand::Adult, "DE")).await.unwrap();
    world.service.profile.describe_subject(described(AgeBand::Child, "")).await.unwrap();
    world.channel.profile.describe_subject(described(AgeBand::Adult, "")).await.unwrap();
    // What a steward found out is not what somebody says of themself.
    world.steward.profile.describe_subject(described(AgeBand::Teen, "")).await.unwrap();
    world.service.profile.describe_subject(described(AgeBand::Child, "")).await.unwrap();
    for band in [AgeBand::Adult, AgeBand::Unknown] {
        let answer = world.channel.profile.describe_subject(described(band, "")).await;
        is_refused(answer, "STATED_BY_STEWARD", "only a steward");
    }
    world.channel.profile.describe_subject(described(AgeBand::Teen, "FR")).await.unwrap();
    world.steward.profile.describe_subject(described(AgeBand::Adult, "")).await.unwrap();
    world.channel.profile.describe_subject(described(AgeBand::Adult, "")).await.unwrap();
    let said = world.events().await.into_iter().filter_map(|body| match (body.event, body.actor) {
        (Some(Event::SubjectDescribed(SubjectDescribed { .. })), Some(actor)) => Some(actor.role()),
        _ => None,
    });
    let (channel, service, steward) = (Role::Channel, Role::Service, Role::Steward);
    let roles = [channel, service, channel, steward, service, channel, steward, channel];
    assert_eq!(said.collect::<Vec<_>>(), roles);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_uses_nothing_and_who_is_both_acts_as_what_they_do() {
    let mut world = World::start().await;
    let refused = world.channel.grant.request_grant(ask("ada")).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    for provenance in [Provenance::Observed, Provenance::Inferred] {
        let answer = world.channel.profile.record_attributes(of(provenance, "tone", "x")).await;
        is_refused(answer, "SERVICE_ROLE_REQUIRED", "`service`");
    }
    // One connection, one credential: it speaks for people and asks for itself.
    let mut both = harness_both(&world).await;
    let mut mixed = fact("ada", "tone", "work", "dry");
    mixed.attributes.extend(of(Provenance::Inferred, "guess", "likes jazz").attributes);
    both.profile.record_attributes(mixed).await.unwrap();
    both.consent.record_consent(says(ConsentDecision::Given)).await.unwrap();
    let grant = both.grant.request_grant(ask("ada")).await.unwrap().into_inner();
    assert_eq!(grant.allowed.len(), 2);
    // It is the recipient of its own name, whichever credential it shows.
    let check = proto::CheckGrantRequest { grant_id: grant.grant_id.clone() };
    assert!(world.service.grant.check_grant(check).await.unwrap().into_inner().stands);
    let told: Vec<(Role, String)> = world
        .events()
        .await
        .into_iter()
        .filter_map(|body| body.actor)
        .map(|actor| (actor.role(), actor.name))
        .collect();
    let as_channel = (Role::Channel, "tutor".to_owned());
    let as_service = (Role::Service, "tutor".to_owned());
    assert_eq!(told, [as_channel.clone(), as_service.clone(), as_channel, as_service]);
    // The command line says so, too.
    let why = world.harness.cli(Role::Steward, "privacy-team", &["why", &grant.grant_id]);
    let why = harness::stdout(&why);
    assert!(why.contains("through the channel `tutor`") && why.contains("by the channel `tutor`"), "{why}");
}
