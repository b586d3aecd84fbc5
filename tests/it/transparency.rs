//! The transparency report over the real facts, its numbers counted a second time from what the RPCs
//! answered.

use crate::harness::{self, Clients, Harness, choice, consent, facts};
use sayso::proto::event_body::Event;
use sayso::proto::get_transparency_report_response::Frame;
use sayso::proto::{self, ConsentDecision, Role};
use std::collections::{BTreeMap, BTreeSet};
use tonic::Code;

const ERASED: &str = "47-james";
const K: u32 = 5;
const DAY_S: i64 = 86_400;

/// Rows by their labels: who counts in them, and how much.
pub type Rows = BTreeMap<Vec<String>, (BTreeSet<String>, u64)>;
type Histories = BTreeMap<String, Vec<proto::RecordedEvent>>;

fn people() -> Vec<String> {
    let text = std::fs::read_to_string(facts()).unwrap();
    let subject = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["subject"].as_str().unwrap().to_owned()
    };
    text.lines().map(subject).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Yesterday, today and tomorrow, so that midnight does not matter.
fn period() -> (prost_types::Timestamp, prost_types::Timestamp) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let today = i64::try_from(now.as_secs()).unwrap() / DAY_S * DAY_S;
    let at = |seconds| prost_types::Timestamp { seconds, nanos: 0 };
    (at(today - DAY_S), at(today + 2 * DAY_S))
}

pub fn request() -> proto::GetTransparencyReportRequest {
    let (from, to) = period();
    proto::GetTransparencyReportRequest { from: Some(from), to: Some(to), k: K, ..Default::default() }
}

pub async fn report(
    clients: &mut Clients,
    request: proto::GetTransparencyReportRequest,
) -> Result<proto::TransparencyReport, tonic::Status> {
    let mut frames = clients.audit.get_transparency_report(request).await?.into_inner();
    let mut seen = Vec::new();
    while let Some(frame) = frames.message().await? {
        seen.push(frame.frame.unwrap());
    }
    assert!(matches!(seen[0], Frame::Progress(_)));
    match seen.pop() {
        Some(Frame::Report(report)) => Ok(report),
        other => panic!("{other:?}"),
    }
}

fn figure<'a>(report: &'a proto::TransparencyReport, id: &str) -> &'a proto::Figure {
    report.figures.iter().find(|figure| figure.id == id).unwrap_or_else(|| panic!("{id}"))
}

fn table<'a>(report: &'a proto::TransparencyReport, id: &str) -> &'a proto::FigureTable {
    let mut tables = report.figures.iter().flat_map(|figure| &figure.tables);
    tables.find(|table| table.id == id).unwrap_or_else(|| panic!("{id}"))
}

pub fn ratio(report: &proto::TransparencyReport, id: &str) -> Option<f64> {
    let mut ratios = report.figures.iter().flat_map(|figure| &figure.ratios);
    ratios.find(|ratio| ratio.id == id).unwrap_or_else(|| panic!("{id}")).value
}

pub async fn history(steward: &mut Clients, subject: &str) -> Vec<proto::RecordedEvent> {
    let (mut events, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = proto::ListEventsRequest { subject: subject.into(), page_size: 400, page_token };
        let page = steward.profile.list_events(request).await.unwrap().into_inner();
        events.extend(page.events);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return events;
        }
    }
}

/// What ten people and two services do in a day.
async fn live(harness: &Harness, steward: &mut Clients) {
    let file = facts().display().to_string();
    harness::stdout(&harness.cli(Role::Service, "tutor", &["import", &file]));
    let mut tutor = harness.as_role(Role::Service, "tutor").await;
    let mut coach = harness.as_role(Role::Service, "coach").await;
    harness::publish_notice(steward).await;
    for (at, person) in people().iter().enumerate() {
        decide(steward, person, at).await;
        ask_and_use(&mut tutor, person, "tone-adaptation", at).await;
        if at % 4 != 3 {
            ask_and_use(&mut coach, person, "memory", at + 1).await;
        }
        take_back(steward, person, at).await;
        speak_up(steward, person, at).await;
        claim(steward, person, at).await;
    }
    let erase = proto::SubmitRequestRequest {
        subject: ERASED.into(),
        kind: proto::RequestKind::Erasure.into(),
        scope: proto::ErasureScope::All.into(),
        ..Default::default()
    };
    steward.rights.submit_request(erase).await.unwrap();
}

async fn decide(steward: &mut Clients, person: &str, at: usize) {
    let declared = harness::fact(person, "language/first", "language", &format!("language {}", at % 2));
    steward.profile.record_attributes(declared).await.unwrap();
    let described = proto::DescribeSubjectRequest {
        subject: person.into(),
        age_band: proto::AgeBand::Adult.into(),
        jurisdiction: "DE".into(),
        ..Default::default()
    };
    steward.profile.describe_subject(described).await.unwrap();
    let mut choices = Vec::new();
    if at == 4 {
        choices.push(choice(ConsentDecision::Refused, "tone-adaptation", &[], false));
    } else {
        choices.push(choice(ConsentDecision::Given, "tone-adaptation", &[], false));
        choices.push(choice(ConsentDecision::Given, "tone-adaptation", &["health"], true));
    }
    if at != 7 {
        choices.push(choice(ConsentDecision::Given, "memory", &[], false));
    }
    steward.consent.record_consent(consent(person, choices)).await.unwrap();
}

async fn ask_and_use(service: &mut Clients, person: &str, purpose: &str, uses: usize) {
    let ask =
        proto::RequestGrantRequest { subject: person.into(), purpose: purpose.into(), ..Default::default() };
    let grant = service.grant.request_grant(ask).await.unwrap().into_inner();
    let keys: Vec<String> = grant.allowed.iter().map(|allowed| allowed.key.clone()).collect();
    for reply in 0..(uses % 3) + usize::from(!keys.is_empty()) {
        let shaped_by = keys.iter().skip(reply * 7).step_by(5).take(3).cloned().collect();
        let used = proto::ReportUseRequest {
            grant_id: grant.grant_id.clone(),
            reply: format!("{person}-{purpose}-{reply}"),
            shaped_by,
            count: u32::try_from(reply).unwrap() + 1,
            ai_disclosure_shown: reply != 1,
            options: None,
        };
        service.grant.report_use(used).await.unwrap();
    }
    if let Some(key) = keys.first() {
        infer_from_reply(service, person, key, &format!("{person}-{purpose}-0")).await;
        for number in 0..uses % 3 {
            let built = proto::RegisterArtifactRequest {
                grant_id: grant.grant_id.clone(),
                kind: proto::ArtifactKind::Summary.into(),
                name: format!("summary {number}"),
                sources: keys.iter().rev().take(2).cloned().collect(),
                options: None,
                ttl: None,
            };
            service.grant.register_artifact(built).await.unwrap();
        }
    }
}

/// Asks for what the law gives: some are answered, some refused, some have to wait.
async fn claim(steward: &mut Clients, person: &str, at: usize) {
    use proto::decide_request_request::{Accept, Complete, Decision, Extend, Refuse};
    let submit = |kind: proto::RequestKind| proto::SubmitRequestRequest {
        subject: person.into(),
        kind: kind.into(),
        ..Default::default()
    };
    let access = steward.rights.submit_request(submit(proto::RequestKind::Access)).await.unwrap();
    let access = access.into_inner().request_id;
    if at.is_multiple_of(2) {
        steward.rights.submit_request(submit(proto::RequestKind::Portability)).await.unwrap();
    }
    let refuse = Refuse { ground: proto::Ground::Excessive.into(), reason: "asked daily".into() };
    let decisions = match at {
        0..6 => {
            vec![Decision::Accept(Accept::default()), Decision::Complete(Complete { reason: "sent".into() })]
        }
        8 => vec![Decision::Refuse(refuse)],
        _ => vec![Decision::Extend(Extend { reason: "many of them".into() })],
    };
    for decision in decisions {
        let request = proto::DecideRequestRequest {
            request_id: access.clone(),
            decision: Some(decision),
            options: None,
        };
        steward.rights.decide_request(request).await.unwrap();
    }
}

/// A model concludes anew what its reply had been shaped by, and something else, too.
async fn infer_from_reply(service: &mut Clients, person: &str, key: &str, reply: &str) {
    let inferred = |key: &str| proto::AttributeInput {
        key: key.into(),
        value_json: "\"likes to be asked\"".into(),
        category: "activity".into(),
        provenance: proto::Provenance::Inferred.into(),
        from_replies: vec![reply.to_owned()],
        ..Default::default()
    };
    let request = proto::RecordAttributesRequest {
        subject: person.into(),
        attributes: vec![inferred(key), inferred("habit/new")],
        options: None,
    };
    service.profile.record_attributes(request).await.unwrap();
}

async fn take_back(steward: &mut Clients, person: &str, at: usize) {
    if at.is_multiple_of(3) || at >= 6 {
        let no = choice(ConsentDecision::Withdrawn, "tone-adaptation", &[], false);
        steward.consent.record_consent(consent(person, vec![no])).await.unwrap();
    }
    if at >= 5 {
        let pause = proto::RecordSignalRequest {
            subject: person.into(),
            kind: proto::SignalKind::Pause.into(),
            ..Default::default()
        };
        steward.consent.record_signal(pause).await.unwrap();
    }
}

/// Contests two inferences; one of them is removed afterwards, or the contest is taken back.
async fn speak_up(steward: &mut Clients, person: &str, at: usize) {
    let request = proto::GetProfileRequest {
        subject: person.into(),
        as_of: None,
        rebuild: false,
        ..Default::default()
    };
    let profile = steward.profile.get_profile(request).await.unwrap().into_inner();
    let inferred = profile.attributes.iter().filter(|held| held.provenance() == proto::Provenance::Inferred);
    let keys: Vec<String> = inferred.map(|held| held.key.clone()).take(3).collect();
    if at == 2 {
        return;
    }
    for key in &keys[..2] {
        let contest =
            proto::ContestAttributeRequest { subject: person.into(), key: key.clone(), ..Default::default() };
        steward.profile.contest_attribute(contest).await.unwrap();
    }
    let remove = proto::RemoveAttributesRequest {
        subject: person.into(),
        keys: vec![keys[0].clone(), keys[2].clone()],
        ..Default::default()
    };
    steward.profile.remove_attributes(remove).await.unwrap();
    if at >= 4 {
        let confirm = proto::ConfirmAttributeRequest {
            subject: person.into(),
            key: keys[1].clone(),
            ..Default::default()
        };
        steward.profile.confirm_attribute(confirm).await.unwrap();
    }
}

fn event(recorded: &proto::RecordedEvent) -> &Event {
    recorded.body.as_ref().unwrap().event.as_ref().unwrap()
}

fn bytes_of(id: &str) -> Vec<u8> {
    hex::decode(id.replace('-', "")).unwrap()
}

fn source(provenance: i32) -> String {
    ["", "declared", "observed", "inferred"][usize::try_from(provenance).unwrap()].to_owned()
}

/// One table from a look at every event beside its whole history.
fn count(
    histories: &Histories,
    each: impl Fn(&proto::RecordedEvent, &[proto::RecordedEvent]) -> Vec<(Vec<String>, u64)>,
) -> Rows {
    let mut rows = Rows::new();
    for (person, history) in histories {
        for recorded in history {
            for (labels, count) in each(recorded, history) {
                let row = rows.entry(labels).or_default();
                row.0.insert(person.clone());
                row.1 += count;
            }
        }
    }
    rows
}

pub fn words(labels: &[&str]) -> Vec<String> {
    labels.iter().map(|label| (*label).to_owned()).collect()
}

fn grant_of<'a>(id: &[u8], history: &'a [proto::RecordedEvent]) -> &'a proto::GrantIssued {
    let found = history.iter().find(|recorded| bytes_of(&recorded.event_id) == id).unwrap();
    match event(found) {
        Event::GrantIssued(issued) => issued,
        other => panic!("{other:?}"),
    }
}

fn fact_of<'a>(id: &[u8], history: &'a [proto::RecordedEvent]) -> &'a proto::Attribute {
    let found = history.iter().find(|recorded| bytes_of(&recorded.event_id) == id).unwrap();
    match event(found) {
        Event::AttributeRecorded(recorded) => recorded.attribute.as_ref().unwrap(),
        other => panic!("{other:?}"),
    }
}

/// The table shows the truth, nobody's group is too small, and no more is hidden than has to be.
pub fn assert_shows(report: &proto::TransparencyReport, id: &str, truth: &Rows) {
    let table = table(report, id);
    let k = K as usize;
    let everybody: BTreeSet<&String> = truth.values().flat_map(|(people, _)| people).collect();
    assert_eq!(table.suppressed, !everybody.is_empty() && everybody.len() < k, "{id}");
    if table.suppressed {
        assert!(table.rows.is_empty() && table.total.is_none() && table.others.is_none());
        return;
    }
    let mut shown = 0.0;
    for row in &table.rows {
        let (people, count) = truth.get(&row.labels).unwrap_or_else(|| panic!("{id}: {:?}", row.labels));
        assert!(people.len() >= k, "{id}: {:?} shows {}", row.labels, people.len());
        assert!((row.value - *count as f64).abs() < 1e-9, "{id}: {:?} {} {count}", row.labels, row.value);
        shown += row.value;
    }
    let total = truth.values().map(|(_, count)| *count).sum::<u64>() as f64;
    assert_eq!(table.total, Some(total), "{id}");
    let (large, small) = truth.values().partition::<Vec<_>, _>(|(people, _)| people.len() >= k);
    let expected = if small.is_empty() { large.len() } else { large.len().saturating_sub(1) };
    assert_eq!(table.rows.len(), expected, "{id}");
    assert_eq!(table.others, (!small.is_empty()).then_some(total - shown), "{id}");
}

fn uses(histories: &Histories) -> [Rows; 4] {
    let use_rows = count(histories, |recorded, history| match event(recorded) {
        Event::GrantUsed(used) => {
            let grant = grant_of(&used.grant, history);
            vec![(words(&[&grant.purpose, &grant.recipient]), used.count.into())]
        }
        _ => vec![],
    });
    let data = count(histories, |recorded, history| match event(recorded) {
        Event::GrantUsed(used) => {
            let facts = used.shaped_by.iter().map(|id| fact_of(id, history));
            facts
                .map(|fact| (words(&[&fact.category, &source(fact.provenance)]), used.count.into()))
                .collect()
        }
        _ => vec![],
    });
    let disclosure = count(histories, |recorded, _| match event(recorded) {
        Event::GrantUsed(used) => {
            let told = if used.ai_disclosure_shown { "shown" } else { "not reported as shown" };
            vec![(words(&[told]), used.count.into())]
        }
        _ => vec![],
    });
    let standing = count(histories, |recorded, history| match event(recorded) {
        Event::GrantUsed(used) => {
            let fell = history.iter().any(|other| {
                other.position < recorded.position
                    && matches!(event(other), Event::GrantRevoked(fell) if fell.grant == used.grant)
            });
            let standing =
                if fell { "after the grant had been revoked" } else { "while the grant was valid" };
            vec![(words(&[standing]), used.count.into())]
        }
        _ => vec![],
    });
    [use_rows, data, disclosure, standing]
}

fn held(histories: &Histories) -> Rows {
    count(histories, |recorded, history| {
        let Event::AttributeRecorded(fact) = event(recorded) else { return vec![] };
        let fact = fact.attribute.as_ref().unwrap();
        let id = bytes_of(&recorded.event_id);
        let gone = history.iter().any(|later| match event(later) {
            Event::AttributeRemoved(removed) => removed.attribute == id,
            Event::AttributeRecorded(other) => {
                // The other one counts: the later, but never an inference beside what the person declared.
                let other = other.attribute.as_ref().unwrap();
                let [mine, theirs] =
                    [fact, other].map(|fact| fact.provenance() == proto::Provenance::Inferred);
                let loses = if mine == theirs { later.position > recorded.position } else { mine };
                loses && other.key == fact.key
            }
            _ => false,
        });
        if gone { vec![] } else { vec![(words(&[&fact.category, &source(fact.provenance)]), 1)] }
    })
}

fn decisions(histories: &Histories) -> Rows {
    count(histories, |recorded, _| {
        let (label, terms) = match event(recorded) {
            Event::ConsentGiven(decision) => ("given", &decision.terms),
            Event::ConsentRefused(decision) => ("refused", &decision.terms),
            Event::ConsentWithdrawn(decision) => ("withdrawn", &decision.terms),
            _ => return vec![],
        };
        let purposes = &terms.as_ref().unwrap().purposes;
        purposes.iter().map(|purpose| (words(&[label, purpose]), 1)).collect()
    })
}

fn contests(histories: &Histories) -> Rows {
    count(histories, |recorded, history| {
        let contested = |id: &Vec<u8>| {
            history.iter().any(|other| {
                other.position < recorded.position
                    && matches!(event(other), Event::AttributeContested(contest) if contest.attribute == *id)
            })
        };
        let step = match event(recorded) {
            Event::AttributeContested(_) => "contested",
            Event::AttributeRemoved(removed) if contested(&removed.attribute) => {
                "corrected or removed after a contest"
            }
            Event::AttributeConfirmed(confirmed) if contested(&confirmed.attribute) => {
                "contest withdrawn by the person"
            }
            _ => return vec![],
        };
        vec![(words(&[step]), 1)]
    })
}

fn loops(histories: &Histories) -> Rows {
    count(histories, |recorded, history| {
        let Event::AttributeRecorded(fact) = event(recorded) else { return vec![] };
        let fact = fact.attribute.as_ref().unwrap();
        if fact.provenance() != proto::Provenance::Inferred {
            return vec![];
        }
        let shaped = history.iter().any(|other| match event(other) {
            Event::GrantUsed(used) if fact.from_replies.contains(&used.reply) => {
                used.shaped_by.iter().any(|id| fact_of(id, history).key == fact.key)
            }
            _ => false,
        });
        let from = match (fact.from_replies.is_empty(), shaped) {
            (true, _) => "no reply named",
            (false, true) => "replies shaped by the same attribute",
            (false, false) => "other replies",
        };
        vec![(words(&[from]), 1)]
    })
}

fn refused(histories: &Histories) -> Rows {
    count(histories, |recorded, _| match event(recorded) {
        Event::RecordingRefused(refused) => {
            let tier = if refused.decided_by() == proto::Tier::Public { "public" } else { "provider" };
            vec![(words(&[tier, &refused.policy, &refused.category]), refused.count.into())]
        }
        _ => vec![],
    })
}

fn asked_and_withheld(histories: &Histories) -> [Rows; 2] {
    let asked = count(histories, |recorded, _| match event(recorded) {
        Event::GrantIssued(grant) if grant.allowed.is_empty() => vec![(words(&["nothing allowed"]), 1)],
        Event::GrantIssued(_) => vec![(words(&["something allowed"]), 1)],
        _ => vec![],
    });
    let withheld = count(histories, |recorded, _| match event(recorded) {
        Event::GrantIssued(grant) => {
            let row = |class: &proto::WithheldClass| {
                let tier = ["unspecified", "public", "provider", "individual"]
                    [usize::try_from(class.decided_by).unwrap()];
                let reason =
                    class.reason().as_str_name().replace("REASON_", "").replace('_', "-").to_lowercase();
                let policy = if class.policy.is_empty() { "-" } else { class.policy.as_str() };
                (words(&[tier, policy, &reason]), 1)
            };
            grant.withheld.iter().map(row).collect()
        }
        _ => vec![],
    });
    [asked, withheld]
}

/// People by how far it reached them; days by releases.
fn reach_and_days(histories: &Histories) -> [Rows; 2] {
    let (mut reach, mut days) = (Rows::new(), Rows::new());
    for (person, history) in histories {
        let has = |which: &dyn Fn(&Event) -> bool| history.iter().any(|recorded| which(event(recorded)));
        let released =
            |event: &Event| matches!(event, Event::GrantIssued(grant) if !grant.allowed.is_empty());
        let label = if has(&|event| matches!(event, Event::GrantUsed(_))) {
            "replies personalized"
        } else if has(&released) {
            "released, no use reported"
        } else {
            "requested, nothing allowed"
        };
        let row = reach.entry(words(&["DE", "adult", label])).or_default();
        row.0.insert(person.clone());
        row.1 += 1;
        let mut by_day: BTreeMap<i64, u64> = BTreeMap::new();
        for recorded in history.iter().filter(|recorded| released(event(recorded))) {
            *by_day.entry(recorded.recorded_at.unwrap().seconds / DAY_S).or_default() += 1;
        }
        for releases in by_day.values() {
            let label = if *releases == 1 { "1" } else { "2 to 3" };
            let row = days.entry(words(&[label])).or_default();
            row.0.insert(person.clone());
            row.1 += 1;
        }
    }
    [reach, days]
}

fn requests(histories: &Histories) -> Rows {
    let kind = |kind: proto::RequestKind| {
        ["", "erasure", "access", "portability"][usize::try_from(i32::from(kind)).unwrap()]
    };
    count(histories, |recorded, history| match event(recorded) {
        Event::RequestSubmitted(asked) => vec![(words(&[kind(asked.kind()), "submitted"]), 1)],
        Event::RequestExtended(extended) => {
            let asked = history.iter().find_map(|other| match event(other) {
                Event::RequestSubmitted(asked) if asked.request == extended.request => Some(asked.kind()),
                _ => None,
            });
            vec![(words(&[kind(asked.unwrap()), "extended"]), 1)]
        }
        Event::RequestDecided(decided) => {
            let became =
                ["", "accepted", "completed", "partly", "refused"][usize::try_from(decided.outcome).unwrap()];
            vec![(words(&[kind(decided.kind()), became]), 1)]
        }
        _ => vec![],
    })
}

fn request_ages(histories: &Histories) -> Rows {
    let ms = |recorded: &proto::RecordedEvent| {
        let at = recorded.recorded_at.unwrap();
        at.seconds * 1_000 + i64::from(at.nanos / 1_000_000)
    };
    count(histories, |recorded, history| {
        let Event::RequestDecided(decided) = event(recorded) else { return vec![] };
        if decided.outcome() == proto::RequestOutcome::Accepted {
            return vec![];
        }
        let asked = history.iter().find(
            |other| matches!(event(other), Event::RequestSubmitted(asked) if asked.request == decided.request),
        );
        let label = match ms(recorded) - ms(asked.unwrap()) {
            ..=0 => "in the same write",
            1..=1_000 => "within 1 s",
            _ => "within 1 min",
        };
        vec![(words(&[label]), 1)]
    })
}

/// People by how many of the artifacts that were built from their data stand.
fn artifacts(histories: &Histories) -> Rows {
    let mut rows = Rows::new();
    for (person, history) in histories {
        let stands = |recorded: &&proto::RecordedEvent| {
            let id = bytes_of(&recorded.event_id);
            let fell = |other: &proto::RecordedEvent| matches!(event(other), Event::ArtifactInvalidated(fell) if fell.artifact == id);
            matches!(event(recorded), Event::ArtifactRegistered(_)) && !history.iter().any(fell)
        };
        let label = match history.iter().filter(stands).count() {
            0 => "none",
            1 => "1",
            2..=3 => "2 to 3",
            _ => "4 to 10",
        };
        let row = rows.entry(words(&[label])).or_default();
        row.0.insert(person.clone());
        row.1 += 1;
    }
    rows
}

fn bite(histories: &Histories) -> Rows {
    count(histories, |recorded, history| {
        let Event::GrantRevoked(fell) = event(recorded) else { return vec![] };
        let cause = history.iter().find(|other| bytes_of(&other.event_id) == fell.cause);
        let Some(cause) = cause else { return vec![] };
        if !matches!(event(cause), Event::ConsentWithdrawn(_) | Event::ConsentRefused(_)) {
            return vec![];
        }
        assert_eq!(cause.recorded_at, recorded.recorded_at);
        vec![(words(&["in the same write"]), 1)]
    })
}

async fn bytes(harness: &Harness, histories: &Histories) -> Rows {
    let mut auditor = harness.as_role(Role::Auditor, "auditor").await;
    let mut rows = Rows::new();
    for (person, history) in histories {
        let mut sum = 0;
        for recorded in history {
            let request = proto::GetEntryRequest { position: recorded.position };
            sum += auditor.audit.get_entry(request).await.unwrap().into_inner().entry.len();
        }
        let kib = sum.div_ceil(1024);
        let label = ["up to 4 KiB", "up to 16 KiB", "up to 64 KiB", "up to 256 KiB"];
        let at = [4, 16, 64, 256].iter().position(|most| kib <= *most).unwrap();
        let row = rows.entry(words(&[label[at]])).or_default();
        row.0.insert(person.clone());
        row.1 += 1;
    }
    rows
}

pub async fn house(dir: tempfile::TempDir, differences_allowed: bool) -> Harness {
    let mut config = harness::config(dir.path());
    config.report.differences_allowed = differences_allowed;
    let daemon = sayso::daemon::Daemon::start(&config).await.unwrap();
    Harness { dir, daemon }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_figures_are_what_a_second_count_says() {
    // Reports of a day that is not over can be subtracted from each other: this house allows it.
    let harness = house(tempfile::tempdir().unwrap(), true).await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    live(&harness, &mut steward).await;
    let mut histories = Histories::new();
    for person in people().iter().filter(|person| *person != ERASED) {
        histories.insert(person.clone(), history(&mut steward, person).await);
    }
    assert_eq!(histories.len(), 9);
    let report = report(&mut steward, request()).await.unwrap();

    for (id, truth) in ["use", "used-data", "disclosure", "standing"].iter().zip(uses(&histories)) {
        assert!(!truth.is_empty(), "{id}");
        assert_shows(&report, id, &truth);
    }
    assert_shows(&report, "held", &held(&histories));
    assert_shows(&report, "decisions", &decisions(&histories));
    assert_shows(&report, "contests", &contests(&histories));
    assert_shows(&report, "loops", &loops(&histories));
    let truth = loops(&histories);
    let of = |from: &str| truth[&words(&[from])].1 as f64;
    let shaped = of("replies shaped by the same attribute");
    let expected = shaped / (shaped + of("other replies"));
    assert!(expected > 0.0 && (ratio(&report, "self-reinforcement").unwrap() - expected).abs() < 1e-9);
    // Inferences in special categories were stopped at the door.
    assert!(!refused(&histories).is_empty());
    assert_shows(&report, "refused-recordings", &refused(&histories));
    assert_shows(&report, "bite", &bite(&histories));
    assert!(requests(&histories).len() >= 6 && artifacts(&histories).len() >= 3);
    assert_shows(&report, "requests", &requests(&histories));
    assert_shows(&report, "request-ages", &request_ages(&histories));
    assert_shows(&report, "artifacts", &artifacts(&histories));
    assert_shows(&report, "bytes", &bytes(&harness, &histories).await);
    for (id, truth) in ["asked", "withheld"].iter().zip(asked_and_withheld(&histories)) {
        assert_shows(&report, id, &truth);
    }
    for (id, truth) in ["reach", "release-days"].iter().zip(reach_and_days(&histories)) {
        assert_shows(&report, id, &truth);
    }
    let truth = contests(&histories);
    let of = |step: &str| truth[&words(&[step])].1 as f64;
    let success = of("corrected or removed after a contest") / of("contested");
    assert!((ratio(&report, "success-ratio").unwrap() - success).abs() < 1e-9);
    // The erased person is a total and nothing else; one erasure is too few for its categories.
    assert_eq!((ratio(&report, "erasures"), ratio(&report, "partial")), (Some(1.0), Some(0.0)));
    assert!(ratio(&report, "discarded").unwrap() > 100.0);
    assert!(table(&report, "erased-facts").suppressed && table(&report, "erasure-spans").suppressed);
    // Two sentences about two people are not the same text.
    let alike = figure(&report, "homogenisation");
    assert!(alike.tables[0].rows.is_empty() && !alike.tables[1].rows.is_empty());
    assert_eq!(figure(&report, "labour").status(), proto::FigureStatus::NotObservable);
    // No person's id, key or value is anywhere in it.
    let text = format!("{report:?}");
    for person in people() {
        assert!(!text.contains(&person));
    }
    assert!(!text.contains("memory/s"));
    shows_itself(&harness, &report).await;
    the_command_writes_pages(&harness);
}

/// The report stands in the log.
async fn shows_itself(harness: &Harness, report: &proto::TransparencyReport) {
    let mut auditor = harness.as_role(Role::Auditor, "auditor").await;
    let request = proto::GetEntryRequest { position: report.position };
    let entry = auditor.audit.get_entry(request).await.unwrap().into_inner().entry;
    let entry = sayso_proof::entry::Entry::parse(&entry).unwrap();
    let body = entry.plain_body().unwrap().unwrap();
    let Some(Event::FiguresReported(figures)) = body.event else { panic!("{body:?}") };
    assert_eq!((figures.k, figures.name.as_str(), figures.epsilon), (K, "privacy-team", 0.0));
    assert_eq!(figures.role(), Role::Steward);
}

fn the_command_writes_pages(harness: &Harness) {
    let (from, to) = period();
    let day = |time: prost_types::Timestamp| sayso::domain::wording::time(time.seconds as u64 * 1000);
    let page = harness.dir.path().join("report.html");
    let (from, to, file) = (day(from), day(to), page.to_str().unwrap());
    let command = ["--json", "report", "--from", &from, "--to", &to, "--k", "5", "-o", file];
    let json = harness::json(&harness.cli(Role::Auditor, "auditor", &command));
    assert_eq!(json["figures"].as_array().unwrap().len(), 18);
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(html.contains("<svg") && !html.contains("<script") && !html.contains(ERASED));
    let text = harness::stdout(&harness.cli(Role::Steward, "privacy-team", &command[1..8]));
    assert!(text.contains("WHO GETS PERSONALIZATION AT ALL") && text.contains("not observable"), "{text}");
    if let Ok(folder) = std::env::var("SAYSO_KEEP_PAGES") {
        std::fs::copy(&page, format!("{folder}/report.html")).unwrap();
    }

    let record = harness.dir.path().join("record.html");
    let command = ["--json", "record-of-processing", "-o", record.to_str().unwrap()];
    let json = harness::json(&harness.cli(Role::Auditor, "auditor", &command));
    let names: Vec<&str> =
        json["recipients"].as_array().unwrap().iter().map(|each| each["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["coach", "tutor"]);
    let held = json["categories"].as_array().unwrap().iter().filter(|each| each["held"] == true).count();
    assert!(held >= 8, "{held}");
    assert!(!json["securityMeasures"].as_array().unwrap().is_empty());
    assert!(json["gaps"].as_array().unwrap().iter().any(|gap| gap.as_str().unwrap().contains("(f)")));
    let html = std::fs::read_to_string(&record).unwrap();
    assert!(html.contains("Art. 30(1)") && !html.contains("<script"));
    if let Ok(folder) = std::env::var("SAYSO_KEEP_PAGES") {
        std::fs::copy(&record, format!("{folder}/record.html")).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_are_for_few_eyes_and_within_their_budget() {
    let harness = Harness::start().await;
    for role in [Role::Service, Role::Subject, Role::Authority, Role::Operator] {
        let mut clients = harness.as_role(role, "somebody").await;
        let refused = clients.audit.get_transparency_report(request()).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{role:?}");
        let refused = clients.audit.get_record_of_processing(proto::GetRecordOfProcessingRequest::default());
        assert_eq!(refused.await.unwrap_err().code(), Code::PermissionDenied, "{role:?}");
    }
    let mut auditor = harness.as_role(Role::Auditor, "auditor").await;
    let (from, to) = period();
    let later = |time: prost_types::Timestamp, seconds| prost_types::Timestamp {
        seconds: time.seconds + seconds,
        ..time
    };
    let bad = [
        proto::GetTransparencyReportRequest { k: 4, ..request() },
        proto::GetTransparencyReportRequest { from: Some(later(from, 60)), ..request() },
        proto::GetTransparencyReportRequest { to: Some(from), ..request() },
        proto::GetTransparencyReportRequest { to: None, ..request() },
        proto::GetTransparencyReportRequest { epsilon: -1.0, ..request() },
        proto::GetTransparencyReportRequest { epsilon: f64::NAN, ..request() },
        proto::GetTransparencyReportRequest { epsilon: 4.1, ..request() },
        proto::GetTransparencyReportRequest { figures: vec!["nothing".into()], ..request() },
    ];
    for wrong in bad {
        let refused = report(&mut auditor, wrong.clone()).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{wrong:?}");
    }
    let spend = |epsilon| proto::GetTransparencyReportRequest { epsilon, ..request() };
    assert_eq!(report(&mut auditor, spend(3.0)).await.unwrap().epsilon_spent, 3.0);
    assert_eq!(report(&mut auditor, spend(2.0)).await.unwrap_err().code(), Code::FailedPrecondition);
    // Overlapping periods share the budget, and a restart does not renew it.
    let harness = harness.restart().await;
    let mut auditor = harness.as_role(Role::Auditor, "auditor").await;
    let wider = proto::GetTransparencyReportRequest { to: Some(later(to, DAY_S)), ..spend(2.0) };
    assert_eq!(report(&mut auditor, wider).await.unwrap_err().code(), Code::FailedPrecondition);
    let next =
        proto::GetTransparencyReportRequest { from: Some(to), to: Some(later(to, DAY_S)), ..spend(2.0) };
    let made = report(&mut auditor, next).await.unwrap();
    assert_eq!((made.epsilon_spent, made.overlapping_reports), (2.0, 0));
    no_two_reports_differ_by_single_people(&mut auditor).await;
    drop(auditor);
    let harness = house(harness.stop().await, true).await;
    let mut auditor = harness.as_role(Role::Auditor, "auditor").await;
    let exact = report(&mut auditor, request()).await.unwrap();
    assert_eq!((exact.epsilon, exact.epsilon_spent), (0.0, 3.0));
}

/// Without noise: only what is over, and of periods that are the same or lie side by side.
async fn no_two_reports_differ_by_single_people(auditor: &mut Clients) {
    let (today, _) = period();
    let days = |from: i64, to: i64, epsilon| {
        let at = |days| prost_types::Timestamp { seconds: today.seconds - days * DAY_S, nanos: 0 };
        let (from, to) = (Some(at(from)), Some(at(to)));
        proto::GetTransparencyReportRequest { from, to, epsilon, ..request() }
    };
    let refused = report(auditor, request()).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("not ended"), "{refused}");
    for fits in [days(30, 20, 0.0), days(30, 20, 0.0), days(20, 10, 0.0), days(30, 19, 0.5)] {
        report(auditor, fits).await.unwrap();
    }
    for overlaps in [days(30, 19, 0.0), days(31, 20, 0.0), days(25, 24, 0.0), days(40, 2, 0.0)] {
        let refused = report(auditor, overlaps).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert!(refused.message().contains("single people"), "{refused}");
    }
}
