//! `ListUses` and `sayso uses` answer which service used which data of a person, when, and what allowed it.

use crate::harness::{self, Clients, Harness, choice, consent, fact, publish_notice, stdout};
use sayso::domain::event::CategoryDefined;
use sayso::proto::{self, ConsentDecision, ListUsesRequest, ListedUse, RevocationReason, Role, UseKind};
use serde_json::Value;
use tonic::Code;

/// A daemon that knows `tone` and `sleep` (health) of ada. Ada consented to both in two decisions.
struct World {
    harness: Harness,
    steward: Clients,
    tutor: Clients,
    auditor: Clients,
}

impl World {
    async fn start() -> Self {
        let harness = Harness::start().await;
        let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
        let mut tutor = harness.as_role(Role::Service, "tutor").await;
        let auditor = harness.as_role(Role::Auditor, "mina").await;
        publish_notice(&mut steward).await;
        for (key, category) in [("tone", "communication-style"), ("sleep", "health")] {
            tutor.profile.record_attributes(fact("ada", key, category, "canary-value")).await.unwrap();
        }
        let given = ConsentDecision::Given;
        for yes in [
            choice(given, "tone-adaptation", &[], false),
            choice(given, "tone-adaptation", &["health"], true),
        ] {
            steward.consent.record_consent(consent("ada", vec![yes])).await.unwrap();
        }
        Self { harness, steward, tutor, auditor }
    }

    /// Requests a grant in a conversation, and returns its id.
    async fn grant(&mut self, interaction: &str) -> String {
        grant(&mut self.tutor, interaction).await
    }

    /// Reports a reply that these keys shaped.
    async fn report(&mut self, grant: &str, reply: &str, keys: &[&str]) {
        let shaped_by = keys.iter().map(|key| (*key).to_owned()).collect();
        let (grant_id, reply) = (grant.to_owned(), reply.to_owned());
        let used = proto::ReportUseRequest { grant_id, reply, shaped_by, count: 1, ..Default::default() };
        self.tutor.grant.report_use(used).await.unwrap();
    }

    /// What the auditor gets.
    async fn list(&mut self, request: ListUsesRequest) -> Vec<ListedUse> {
        self.auditor.grant.list_uses(request).await.unwrap().into_inner().uses
    }
}

async fn grant(service: &mut Clients, interaction: &str) -> String {
    let request = proto::RequestGrantRequest { interaction: interaction.into(), ..harness::ask("ada") };
    service.grant.request_grant(request).await.unwrap().into_inner().grant_id
}

fn of(category: &str, recipient: &str) -> ListUsesRequest {
    ListUsesRequest {
        subject: "ada".into(),
        category: category.into(),
        recipient: recipient.into(),
        ..Default::default()
    }
}

fn keys(used: &ListedUse) -> Vec<&str> {
    used.attributes.iter().map(|attribute| attribute.key.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_use_of_a_category_is_listed_with_its_consent_its_notice_and_its_rules() {
    let mut world = World::start().await;
    let first = world.grant("one").await;
    assert_eq!(world.grant("one").await, first, "the grant is given again");
    world.report(&first, "reply-1", &["sleep", "tone"]).await;
    world.report(&first, "reply-2", &["tone"]).await;
    let artifact = proto::RegisterArtifactRequest {
        grant_id: first.clone(),
        kind: proto::ArtifactKind::Summary.into(),
        name: "summary-1".into(),
        sources: vec!["sleep".into()],
        ..Default::default()
    };
    let artifact = world.tutor.grant.register_artifact(artifact).await.unwrap().into_inner().artifact_id;
    let mut other = world.harness.as_role(Role::Service, "other").await;
    let others = grant(&mut other, "two").await;

    let uses = world.list(of("health", "tutor")).await;
    let mut kinds: Vec<UseKind> = uses.iter().map(ListedUse::kind).collect();
    kinds.sort();
    let expected = [UseKind::Granted, UseKind::Reused, UseKind::Reported, UseKind::Built];
    assert_eq!(kinds, expected, "reply-2 used no health data, and another service is not asked for");
    for used in &uses {
        assert_eq!((used.grant_id.as_str(), used.recipient.as_str()), (first.as_str(), "tutor"));
        assert_eq!((keys(used), used.attributes[0].category.as_str()), (vec!["sleep"], "health"));
        let [consent] = used.consents.as_slice() else { panic!("{used:?}") };
        assert_eq!(consent.event_id, used.attributes[0].consent_event_id);
        assert_eq!((consent.explicit, consent.categories.as_slice()), (true, &["health".to_owned()][..]));
        let notice = consent.notice.as_ref().unwrap();
        assert_eq!((notice.id.as_str(), notice.version.as_str()), (harness::NOTICE, "1"));
        let packs: Vec<(proto::Tier, &str)> =
            used.rules.iter().map(|rule| (rule.tier(), rule.pack.as_str())).collect();
        assert!(packs.contains(&(proto::Tier::Public, "gdpr")), "{packs:?}");
        assert!(packs.contains(&(proto::Tier::Provider, "default")), "{packs:?}");
        assert!(used.rules.iter().all(|rule| rule.since.is_some() && !rule.version.is_empty()));
    }
    let of_kind = |kind: UseKind| uses.iter().find(|used| used.kind() == kind).unwrap();
    assert_eq!(of_kind(UseKind::Reused).count, 1);
    assert_eq!(of_kind(UseKind::Reported).reply, "reply-1");
    assert_eq!(of_kind(UseKind::Built).artifact_id, artifact);
    assert!(!format!("{uses:?}").contains("canary-value"), "the list has no values");

    let all = world.list(of("", "")).await;
    assert_eq!(all.len(), uses.len() + 2, "reply-2, and the grant of the other service");
    assert_eq!(world.list(of("", "other")).await[0].grant_id, others);
    assert!(world.list(of("work", "")).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_and_periods_divide_the_list_without_a_gap() {
    let mut world = World::start().await;
    for number in 0..4 {
        let grant = world.grant(&format!("conversation-{number}")).await;
        world.report(&grant, &format!("reply-{number}"), &["tone"]).await;
    }
    let all = world.list(of("", "")).await;
    assert_eq!(all.len(), 8);
    let (mut paged, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListUsesRequest { page_size: 3, page_token, ..of("", "") };
        let page = world.auditor.grant.list_uses(request).await.unwrap().into_inner();
        assert!(page.uses.len() <= 3);
        paged.extend(page.uses);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(paged, all);
    for used in &all {
        let at = used.recorded_at;
        let before = world.list(ListUsesRequest { to: at, ..of("", "") }).await;
        let after = world.list(ListUsesRequest { from: at, ..of("", "") }).await;
        // A grant that was valid on both sides of the moment is in both periods.
        let is_in_both = |used: &ListedUse| used.kind() == UseKind::Granted && before.contains(used);
        let after = after.into_iter().filter(|used| !is_in_both(used)).collect();
        assert_eq!([before, after].concat(), all, "the end is not part of a period, and the start is");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_use_counts_at_the_time_that_its_service_stated_and_a_grant_while_it_is_valid() {
    let mut world = World::start().await;
    let grant = world.grant("one").await;
    let used_at = prost_types::Timestamp::from(std::time::SystemTime::now());
    tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    let between = Some(prost_types::Timestamp::from(std::time::SystemTime::now()));
    let used = proto::ReportUseRequest {
        grant_id: grant,
        reply: "late".into(),
        shaped_by: vec!["sleep".into()],
        options: Some(proto::WriteOptions { about: Some(used_at), ..Default::default() }),
        ..Default::default()
    };
    world.tutor.grant.report_use(used).await.unwrap();
    let kinds = |uses: Vec<ListedUse>| uses.iter().map(ListedUse::kind).collect::<Vec<_>>();
    let before = world.list(ListUsesRequest { to: between, ..of("", "") }).await;
    assert_eq!(before[1].used_at.map(|at| at.seconds), Some(used_at.seconds));
    assert_eq!(kinds(before), [UseKind::Granted, UseKind::Reported]);
    let after = world.list(ListUsesRequest { from: between, ..of("", "") }).await;
    assert_eq!(kinds(after), [UseKind::Granted], "the grant is still valid, and the use was earlier");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_allowed_nothing_is_no_use_and_a_revoked_one_says_why() {
    let mut world = World::start().await;
    let grant = world.grant("one").await;
    world.report(&grant, "reply-1", &[]).await;
    let no = choice(ConsentDecision::Withdrawn, "tone-adaptation", &["health"], false);
    world.steward.consent.record_consent(consent("ada", vec![no])).await.unwrap();
    world.grant("two").await;
    let uses = world.list(of("health", "")).await;
    let [granted, reported] = uses.as_slice() else { panic!("{uses:?}") };
    assert_eq!(granted.revocation_reason(), RevocationReason::ConsentWithdrawn);
    assert!(granted.revoked_at.is_some() && granted.expires_at.is_some());
    assert!(reported.is_unspecific, "the report names no attribute");
    assert_eq!(keys(reported), ["sleep"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_category_counts_as_below_every_ancestor_that_it_had_or_has() {
    let mut world = World::start().await;
    let key = harness::provider_key(world.harness.dir.path());
    let steward = world.steward.clone();
    let define = async |id: &str, parent: &str| {
        let (id, title) = (id.to_owned(), id.to_owned());
        let naps = CategoryDefined { id, title, parent: parent.into(), ..Default::default() };
        let request = harness::category(&steward, naps, &key).await;
        steward.bounds.clone().define_category(request).await.unwrap();
    };
    define("naps", "activity").await;
    world.tutor.profile.record_attributes(fact("ada", "nap", "naps", "at noon")).await.unwrap();
    let grant = world.grant("one").await;
    world.report(&grant, "reply-1", &["nap"]).await;
    define("rest", "activity").await;
    define("naps", "rest").await;
    for category in ["activity", "naps", "rest"] {
        let replies = world.list(of(category, "")).await;
        assert!(replies.iter().any(|used| used.reply == "reply-1"), "{category}: {replies:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn recipients_of_erased_data_stay_in_the_list() {
    let mut world = World::start().await;
    world.grant("one").await;
    let erase = proto::SubmitRequestRequest {
        subject: "ada".into(),
        kind: proto::RequestKind::Erasure.into(),
        scope: proto::ErasureScope::Category.into(),
        category: "health".into(),
        ..Default::default()
    };
    world.steward.rights.submit_request(erase).await.unwrap();
    let list = async |world: &mut World, request: ListUsesRequest| {
        let page = world.auditor.grant.list_uses(request).await.unwrap().into_inner();
        assert!(page.uses.is_empty(), "the erasure destroyed the grant: {page:?}");
        page.erased
    };
    // The grant had also allowed other data.
    for request in [of("", ""), of("health", ""), of("communication-style", "tutor")] {
        let erased = list(&mut world, request).await;
        let [erased] = erased.as_slice() else { panic!("{erased:?}") };
        let recipients: Vec<(&str, u32)> =
            erased.recipients.iter().map(|each| (each.name.as_str(), each.grants)).collect();
        assert_eq!((erased.category.as_str(), recipients), ("health", vec![("tutor", 1)]));
    }
    let later = Some(prost_types::Timestamp { seconds: 32_503_680_000, nanos: 0 });
    for request in [of("", "other"), ListUsesRequest { from: later, ..of("", "") }] {
        assert!(list(&mut world, request).await.is_empty());
    }
    let text = stdout(&world.harness.cli(Role::Auditor, "mina", &["uses", "ada"]));
    assert!(text.contains("`tutor` with 1 grant and 0 artifacts; deletion not confirmed yet"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_person_a_steward_and_an_auditor_may_list_uses_and_the_person_sees_who_did() {
    let mut world = World::start().await;
    world.grant("one").await;
    let mut ada = world.harness.as_role(Role::Subject, "ada").await;
    let own = ada.grant.list_uses(ListUsesRequest::default()).await.unwrap().into_inner().uses;
    assert_eq!(own.len(), 1);
    assert_eq!(world.list(of("", "")).await, own);
    let seen = world.steward.grant.list_uses(of("", "")).await.unwrap().into_inner().uses;
    assert_eq!(seen, own);
    let mut eve = world.harness.as_role(Role::Subject, "eve").await;
    assert_eq!(eve.grant.list_uses(of("", "")).await.unwrap_err().code(), Code::PermissionDenied);
    for role in [Role::Service, Role::Operator, Role::Authority] {
        let mut caller = world.harness.as_role(role, "caller").await;
        let refused = caller.grant.list_uses(of("", "")).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{role:?}");
    }
    let request = proto::ListEventsRequest::default();
    let events = ada.profile.list_events(request).await.unwrap().into_inner().events;
    let viewed = events.iter().filter_map(|event| match event.body.as_ref()?.event.as_ref()? {
        proto::event_body::Event::RecordViewed(viewed) if viewed.method == "ListUses" => Some(viewed.role()),
        _ => None,
    });
    assert_eq!(viewed.collect::<Vec<_>>(), [Role::Auditor, Role::Steward]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_category_that_was_never_defined_and_an_empty_period_are_refused() {
    let mut world = World::start().await;
    let time = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    for (field, request) in [
        ("category", of("helth", "")),
        ("to", ListUsesRequest { from: time(2), to: time(2), ..of("", "") }),
        ("page_size", ListUsesRequest { page_size: 1_001, ..of("", "") }),
        ("page_token", ListUsesRequest { page_token: "x".into(), ..of("", "") }),
    ] {
        let refused = world.auditor.grant.list_uses(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{field}");
        assert!(refused.message().contains(field), "{field}: {}", refused.message());
    }
    let unknown = ListUsesRequest { subject: "nobody".into(), ..of("", "") };
    assert_eq!(world.auditor.grant.list_uses(unknown).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_lists_uses_as_text_and_as_json() {
    let mut world = World::start().await;
    let grant = world.grant("one").await;
    world.report(&grant, "reply-1", &["sleep"]).await;
    let run = |arguments: &[&str]| {
        let query = ["uses", "ada", "--category", "health", "--recipient", "tutor"];
        stdout(&world.harness.cli(Role::Auditor, "mina", &[&query, arguments].concat()))
    };
    let text = run(&[]);
    for part in [
        format!("grant {grant} to `tutor` for tone-adaptation: sleep (health)"),
        format!("reply `reply-1` under grant {grant} by `tutor` for tone-adaptation: sleep (health)"),
        "explicit consent of ".into(),
        "notice `welcome` version 1".into(),
        "rules in force: ".into(),
    ] {
        assert!(text.contains(&part), "{part}\n{text}");
    }
    let lines: Vec<Value> =
        run(&["--json"]).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1]["kind"], "USE_KIND_REPORTED");
    assert_eq!(lines[1]["consents"][0]["notice"]["id"], "welcome");
    assert_eq!(run(&["--to", "2000-01-01T00:00:00Z"]), "no uses\n");
    assert_eq!(run(&["--from", "2000-01-01T00:00:00Z"]), text);
}
