//! Counts the tables of the transparency report a second time, from the events that the API returned. This
//! module shares no code with the daemon.

use super::{DAY_S, Histories, Rows};
use crate::harness::Harness;
use sayso::proto::event_body::Event;
use sayso::proto::{self, Role};
use std::collections::BTreeMap;

fn event(recorded: &proto::RecordedEvent) -> &Event {
    recorded.body.as_ref().unwrap().event.as_ref().unwrap()
}

fn bytes_of(id: &str) -> Vec<u8> {
    hex::decode(id.replace('-', "")).unwrap()
}

fn source(provenance: i32) -> String {
    ["", "declared", "observed", "inferred"][usize::try_from(provenance).unwrap()].to_owned()
}

/// Counts the rows of one table. `each` gets an event and the whole history of the event's subject. For each
/// row in which the event counts, it returns the row's labels and the number to add to the row.
fn count(
    histories: &Histories,
    each: impl Fn(&proto::RecordedEvent, &[proto::RecordedEvent]) -> Vec<(Vec<String>, u64)>,
) -> Rows {
    let mut rows = Rows::new();
    for (subject, history) in histories {
        for recorded in history {
            for (labels, count) in each(recorded, history) {
                let row = rows.entry(labels).or_default();
                row.0.insert(subject.clone());
                row.1 += count;
            }
        }
    }
    rows
}

pub fn labels(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn grant_of<'a>(id: &[u8], history: &'a [proto::RecordedEvent]) -> &'a proto::GrantIssued {
    let found = history.iter().find(|recorded| bytes_of(&recorded.event_id) == id).unwrap();
    match event(found) {
        Event::GrantIssued(issued) => issued,
        other => panic!("{other:?}"),
    }
}

fn attribute_of<'a>(id: &[u8], history: &'a [proto::RecordedEvent]) -> &'a proto::Attribute {
    let found = history.iter().find(|recorded| bytes_of(&recorded.event_id) == id).unwrap();
    match event(found) {
        Event::AttributeRecorded(recorded) => recorded.attribute.as_ref().unwrap(),
        other => panic!("{other:?}"),
    }
}

/// The tables of uses by purpose and recipient, by data, by disclosure, and by validity of the grant.
pub fn uses(histories: &Histories) -> [Rows; 4] {
    let use_rows = count(histories, |recorded, history| match event(recorded) {
        Event::GrantUsed(used) => {
            let grant = grant_of(&used.grant, history);
            vec![(labels(&[&grant.purpose, &grant.recipient]), used.count.into())]
        }
        _ => vec![],
    });
    let data = count(histories, |recorded, history| match event(recorded) {
        Event::GrantUsed(used) => {
            let attributes = used.shaped_by.iter().map(|id| attribute_of(id, history));
            attributes
                .map(|attribute| {
                    (labels(&[&attribute.category, &source(attribute.provenance)]), used.count.into())
                })
                .collect()
        }
        _ => vec![],
    });
    let disclosure = count(histories, |recorded, _| match event(recorded) {
        Event::GrantUsed(used) => {
            let label = if used.ai_disclosure_shown { "shown" } else { "not reported as shown" };
            vec![(labels(&[label]), used.count.into())]
        }
        _ => vec![],
    });
    let validity = count(histories, |recorded, history| match event(recorded) {
        Event::GrantUsed(used) => {
            let is_revoked = history.iter().any(|other| {
                other.position < recorded.position
                    && matches!(event(other), Event::GrantRevoked(revoked) if revoked.grant == used.grant)
            });
            let label =
                if is_revoked { "after the grant had been revoked" } else { "while the grant was valid" };
            vec![(labels(&[label]), used.count.into())]
        }
        _ => vec![],
    });
    [use_rows, data, disclosure, validity]
}

/// Current attributes by category and source.
pub fn current_attributes(histories: &Histories) -> Rows {
    count(histories, |recorded, history| {
        let Event::AttributeRecorded(attribute) = event(recorded) else { return vec![] };
        let attribute = attribute.attribute.as_ref().unwrap();
        let id = bytes_of(&recorded.event_id);
        let is_replaced = history.iter().any(|later| match event(later) {
            Event::AttributeRemoved(removed) => removed.attribute == id,
            Event::AttributeRecorded(other) => {
                // The later attribute counts, except that an inference never replaces a declaration.
                let other = other.attribute.as_ref().unwrap();
                let [mine, theirs] =
                    [attribute, other].map(|attribute| attribute.provenance() == proto::Provenance::Inferred);
                let loses = if mine == theirs { later.position > recorded.position } else { mine };
                loses && other.key == attribute.key
            }
            _ => false,
        });
        if is_replaced {
            vec![]
        } else {
            vec![(labels(&[&attribute.category, &source(attribute.provenance)]), 1)]
        }
    })
}

pub fn decisions(histories: &Histories) -> Rows {
    count(histories, |recorded, _| {
        let (label, terms) = match event(recorded) {
            Event::ConsentGiven(decision) => ("given", &decision.terms),
            Event::ConsentRefused(decision) => ("refused", &decision.terms),
            Event::ConsentWithdrawn(decision) => ("withdrawn", &decision.terms),
            _ => return vec![],
        };
        let purposes = &terms.as_ref().unwrap().purposes;
        purposes.iter().map(|purpose| (labels(&[label, purpose]), 1)).collect()
    })
}

pub fn contests(histories: &Histories) -> Rows {
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
        vec![(labels(&[step]), 1)]
    })
}

pub fn feedback_loops(histories: &Histories) -> Rows {
    count(histories, |recorded, history| {
        let Event::AttributeRecorded(attribute) = event(recorded) else { return vec![] };
        let attribute = attribute.attribute.as_ref().unwrap();
        if attribute.provenance() != proto::Provenance::Inferred {
            return vec![];
        }
        let shaped = history.iter().any(|other| match event(other) {
            Event::GrantUsed(used) if attribute.from_replies.contains(&used.reply) => {
                used.shaped_by.iter().any(|id| attribute_of(id, history).key == attribute.key)
            }
            _ => false,
        });
        let from = match (attribute.from_replies.is_empty(), shaped) {
            (true, _) => "no reply named",
            (false, true) => "replies shaped by the same attribute",
            (false, false) => "other replies",
        };
        vec![(labels(&[from]), 1)]
    })
}

pub fn refused_recordings(histories: &Histories) -> Rows {
    count(histories, |recorded, _| match event(recorded) {
        Event::RecordingRefused(refused) => {
            let tier = if refused.decided_by() == proto::Tier::Public { "public" } else { "provider" };
            vec![(labels(&[tier, &refused.policy, &refused.category]), refused.count.into())]
        }
        _ => vec![],
    })
}

/// Grant requests by whether anything was allowed, and withheld classes by tier, policy and reason.
pub fn requested_and_withheld(histories: &Histories) -> [Rows; 2] {
    let requested = count(histories, |recorded, _| match event(recorded) {
        Event::GrantIssued(grant) if grant.allowed.is_empty() => vec![(labels(&["nothing allowed"]), 1)],
        Event::GrantIssued(_) => vec![(labels(&["something allowed"]), 1)],
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
                (labels(&[tier, policy, &reason]), 1)
            };
            grant.withheld.iter().map(row).collect()
        }
        _ => vec![],
    });
    [requested, withheld]
}

/// Subjects by how far personalization reached them, and days by their number of releases (grants that allow
/// something).
pub fn reach_and_days(histories: &Histories) -> [Rows; 2] {
    let (mut reach, mut days) = (Rows::new(), Rows::new());
    for (subject, history) in histories {
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
        let row = reach.entry(labels(&["DE", "adult", label])).or_default();
        row.0.insert(subject.clone());
        row.1 += 1;
        let mut by_day: BTreeMap<i64, u64> = BTreeMap::new();
        for recorded in history.iter().filter(|recorded| released(event(recorded))) {
            *by_day.entry(recorded.recorded_at.unwrap().seconds / DAY_S).or_default() += 1;
        }
        for releases in by_day.values() {
            let label = if *releases == 1 { "1" } else { "2 to 3" };
            let row = days.entry(labels(&[label])).or_default();
            row.0.insert(subject.clone());
            row.1 += 1;
        }
    }
    [reach, days]
}

pub fn requests(histories: &Histories) -> Rows {
    let kind = |kind: proto::RequestKind| {
        ["", "erasure", "access", "portability"][usize::try_from(i32::from(kind)).unwrap()]
    };
    count(histories, |recorded, history| match event(recorded) {
        Event::RequestSubmitted(submitted) => vec![(labels(&[kind(submitted.kind()), "submitted"]), 1)],
        Event::RequestExtended(extended) => {
            let submitted = history.iter().find_map(|other| match event(other) {
                Event::RequestSubmitted(submitted) if submitted.request == extended.request => {
                    Some(submitted.kind())
                }
                _ => None,
            });
            vec![(labels(&[kind(submitted.unwrap()), "extended"]), 1)]
        }
        Event::RequestDecided(decided) => {
            let outcome =
                ["", "accepted", "completed", "partly", "refused"][usize::try_from(decided.outcome).unwrap()];
            vec![(labels(&[kind(decided.kind()), outcome]), 1)]
        }
        _ => vec![],
    })
}

pub fn request_ages(histories: &Histories) -> Rows {
    let ms = |recorded: &proto::RecordedEvent| {
        let at = recorded.recorded_at.unwrap();
        at.seconds * 1_000 + i64::from(at.nanos / 1_000_000)
    };
    count(histories, |recorded, history| {
        let Event::RequestDecided(decided) = event(recorded) else { return vec![] };
        if decided.outcome() == proto::RequestOutcome::Accepted {
            return vec![];
        }
        let submitted = history.iter().find(
            |other| matches!(event(other), Event::RequestSubmitted(submitted) if submitted.request == decided.request),
        );
        let label = match ms(recorded) - ms(submitted.unwrap()) {
            ..=0 => "in the same write",
            1..=1_000 => "within 1 s",
            _ => "within 1 min",
        };
        vec![(labels(&[label]), 1)]
    })
}

/// Subjects, grouped by the number of still valid artifacts that were built from their data.
pub fn artifacts(histories: &Histories) -> Rows {
    let mut rows = Rows::new();
    for (subject, history) in histories {
        let is_valid = |recorded: &&proto::RecordedEvent| {
            let id = bytes_of(&recorded.event_id);
            let ends = |other: &proto::RecordedEvent| matches!(event(other), Event::ArtifactInvalidated(ended) if ended.artifact == id);
            matches!(event(recorded), Event::ArtifactRegistered(_)) && !history.iter().any(ends)
        };
        let label = match history.iter().filter(is_valid).count() {
            0 => "none",
            1 => "1",
            2..=3 => "2 to 3",
            _ => "4 to 10",
        };
        let row = rows.entry(labels(&[label])).or_default();
        row.0.insert(subject.clone());
        row.1 += 1;
    }
    rows
}

/// Revocations caused by a refusal or withdrawal, grouped by the time that they took.
pub fn revocation_delays(histories: &Histories) -> Rows {
    count(histories, |recorded, history| {
        let Event::GrantRevoked(revoked) = event(recorded) else { return vec![] };
        let cause = history.iter().find(|other| bytes_of(&other.event_id) == revoked.cause);
        let Some(cause) = cause else { return vec![] };
        if !matches!(event(cause), Event::ConsentWithdrawn(_) | Event::ConsentRefused(_)) {
            return vec![];
        }
        assert_eq!(cause.recorded_at, recorded.recorded_at);
        vec![(labels(&["in the same write"]), 1)]
    })
}

/// Subjects by the size of their entries.
pub async fn entry_sizes(harness: &Harness, histories: &Histories) -> Rows {
    let mut auditor = harness.as_role(Role::Auditor, "auditor").await;
    let mut rows = Rows::new();
    for (subject, history) in histories {
        let mut sum = 0;
        for recorded in history {
            let request = proto::GetEntryRequest { position: recorded.position };
            sum += auditor.audit.get_entry(request).await.unwrap().into_inner().entry.len();
        }
        let kib = sum.div_ceil(1024);
        let label = ["up to 4 KiB", "up to 16 KiB", "up to 64 KiB", "up to 256 KiB"];
        let at = [4, 16, 64, 256].iter().position(|most| kib <= *most).unwrap();
        let row = rows.entry(labels(&[label[at]])).or_default();
        row.0.insert(subject.clone());
        row.1 += 1;
    }
    rows
}
