//! Tests that a consent counts until a later version of its notice is required. One test compares the
//! daemon's decisions in random histories of notices, requirements and consents with a plain model. It also
//! compares them with the verifier, which shares no code with these decisions.

use super::cases;
use super::redefined_words::{Log, START_MS, attribute, by, verifier_accepts};
use crate::bounds::engine::UNRECORDED;
use crate::bounds::lapsed_consents::lapsed_consents;
use crate::bounds::rulebook::RulesHistory;
use crate::domain::consent::{Cover, Decision, NoConsent, NoticeRef, Terms};
use crate::domain::consent_scope::ConsentCase;
use crate::domain::event::{
    CategoryDefined, DecisionRulesAdopted, Event, NoticePublished, NoticeRequired, PurposeDefined, Reason,
    Recorded, Role,
};
use crate::domain::histories::recorded;
use crate::domain::ids::EventId;
use crate::domain::profile::SubjectState;
use proptest::prelude::*;
use std::collections::BTreeSet;

const NOTICES: [&str; 2] = ["welcome", "health"];
const VERSIONS: [&str; 4] = ["one", "two", "three", "four"];
const PURPOSE: &str = "a";

#[derive(Clone, Debug)]
enum Step {
    Publish { notice: usize, version: usize },
    Require { notice: usize, version: usize, delay_ms: u64 },
    Say { yes: bool, notice: Option<(usize, usize)>, stated_before_ms: u64, for_ms: Option<u64> },
}

fn step() -> impl Strategy<Value = Step> {
    let version = || (0..NOTICES.len(), 0..VERSIONS.len());
    let delay = prop_oneof![2 => Just(0), 1 => 1_u64..60];
    let publish = version().prop_map(|(notice, version)| Step::Publish { notice, version });
    let require = (version(), delay).prop_map(|((notice, version), delay_ms)| Step::Require {
        notice,
        version,
        delay_ms,
    });
    let yes = prop_oneof![4 => Just(true), 1 => Just(false)];
    let before = prop_oneof![2 => Just(0), 1 => 1_u64..40];
    let for_ms = prop_oneof![3 => Just(None), 1 => (1_u64..80).prop_map(Some)];
    let say = (yes, proptest::option::weighted(0.9, version()), before, for_ms).prop_map(
        |(yes, notice, stated_before_ms, for_ms)| Step::Say { yes, notice, stated_before_ms, for_ms },
    );
    prop_oneof![3 => publish, 2 => require, 3 => say]
}

fn notice_ref((notice, version): (usize, usize)) -> NoticeRef {
    NoticeRef { id: NOTICES[notice].into(), version: VERSIONS[version].into(), ..NoticeRef::default() }
}

/// A log as the use cases could have recorded it, and the history without what the daemon would refuse.
fn log(steps: &[(Step, bool)]) -> Log {
    let purpose = PurposeDefined { id: PURPOSE.into(), title: "A".into(), ..Default::default() };
    let category = CategoryDefined { id: "work".into(), title: "Work".into(), ..Default::default() };
    let first = [
        Event::DecisionRulesAdopted(DecisionRulesAdopted { edition: 3 }),
        Event::CategoryDefined(category),
        Event::PurposeDefined(purpose),
    ];
    let first =
        (0..).zip(first).map(|(position, event)| by(Role::Ledger, recorded(position, START_MS, event)));
    let mut system: Vec<Recorded> = first.collect();
    let mut subject = vec![Recorded { version: 0, ..recorded(3, START_MS, attribute()) }];
    let (mut position, mut now_ms) = (4, START_MS);
    for (step, is_later) in steps {
        now_ms += if *is_later { 10 } else { 0 };
        match step {
            Step::Publish { notice, version } => {
                let notice = notice_ref((*notice, *version));
                let is_published = system.iter().any(|event| match &event.event {
                    Event::NoticePublished(other) => other.notice.as_ref() == Some(&notice),
                    _ => false,
                });
                if is_published {
                    continue;
                }
                let event = NoticePublished { notice: Some(notice), text: "t".into() };
                system.push(by(Role::Steward, recorded(position, now_ms, Event::NoticePublished(event))));
            }
            Step::Require { notice, version, delay_ms } => {
                let NoticeRef { id, version, .. } = notice_ref((*notice, *version));
                let effective_from_ms = if *delay_ms > 0 { now_ms + delay_ms } else { 0 };
                let event = Event::NoticeRequired(NoticeRequired { id, version, effective_from_ms });
                let required = by(Role::Steward, recorded(position, now_ms, event));
                let candidate = Recorded { position: UNRECORDED, ..required.clone() };
                let history = RulesHistory::new(system.iter().cloned(), now_ms).unwrap();
                if history.check_definitions(&[candidate], now_ms).is_err() {
                    continue;
                }
                system.push(required);
            }
            Step::Say { yes, notice, stated_before_ms, for_ms } => {
                let decision = if *yes { Decision::Given } else { Decision::Refused };
                let terms = Terms {
                    purposes: vec![PURPOSE.into()],
                    notice: notice.map(notice_ref),
                    until_ms: for_ms.filter(|_| *yes).map(|for_ms| now_ms + for_ms),
                    ..Terms::default()
                };
                let event = Event::Consent { decision, terms };
                let version = subject.len() as u64;
                let about_ms = now_ms - stated_before_ms;
                subject.push(Recorded { version, about_ms, ..recorded(position, now_ms, event) });
            }
        }
        position += 1;
    }
    Log { system, subject, now_ms: now_ms + 15 }
}

/// The number of a version in the order of publication, from 1 on; 0 if it is not published.
fn rank(log: &Log, id: &str, version: &str) -> usize {
    let published = log.system.iter().filter_map(|event| match &event.event {
        Event::NoticePublished(published) => published.notice.as_ref().filter(|notice| notice.id == id),
        _ => None,
    });
    published.into_iter().position(|notice| notice.version == version).map_or(0, |number| number + 1)
}

/// Whether a consent that names this notice counts, by the model.
fn counts(log: &Log, notice: Option<&NoticeRef>) -> bool {
    let Some(notice) = notice else { return true };
    let required = log.system.iter().filter_map(|event| match &event.event {
        Event::NoticeRequired(required)
            if required.id == notice.id
                && event.sealed_at_ms.max(required.effective_from_ms) <= log.now_ms =>
        {
            Some(rank(log, &notice.id, &required.version))
        }
        _ => None,
    });
    required.max().is_none_or(|required| rank(log, &notice.id, &notice.version) >= required)
}

/// The consents that have not ended and that no later refusal or withdrawal covers, newest first; by the
/// model.
fn standing(log: &Log) -> Vec<(EventId, bool)> {
    let mut said: Vec<(u64, u64, &Recorded, &Terms)> = Vec::new();
    let mut no_ms = 0;
    for event in &log.subject {
        match &event.event {
            Event::Consent { decision, terms } if decision.is_yes() => {
                said.push((event.about_ms, event.position, event, terms));
            }
            Event::Consent { .. } => no_ms = event.sealed_at_ms,
            _ => {}
        }
    }
    said.sort_by_key(|(said_ms, position, ..)| std::cmp::Reverse((*said_ms, *position)));
    let in_time =
        said.into_iter().take_while(|(.., terms)| terms.until_ms.is_none_or(|end| end > log.now_ms));
    let later = in_time.filter(|(said_ms, ..)| *said_ms > no_ms);
    later.map(|(.., event, terms)| (event.event_id, counts(log, terms.notice.as_ref()))).collect()
}

proptest! {
    #![proptest_config(cases(1_500))]

    #[test]
    fn consents_count_while_no_later_version_of_their_notice_is_required(
        steps in proptest::collection::vec((step(), any::<bool>()), 1..20),
    ) {
        let log = log(&steps);
        let rules = RulesHistory::new(log.system.iter().cloned(), log.now_ms).unwrap().now();
        let state = SubjectState::fold(&log.subject);
        let now_ms = log.now_ms;
        let case = ConsentCase { purpose: PURPOSE, category: "work", recipient: "tutor", interaction: "", now_ms };
        let standing = standing(&log);
        let allowing = state.consents.allowing(&rules.vocabulary, &case);
        let decided: Vec<EventId> = allowing.iter().map(|(record, _)| record.event_id).collect();
        let expected: Vec<EventId> =
            standing.iter().filter(|(_, counts)| *counts).map(|(event, _)| *event).collect();
        prop_assert_eq!(&decided, &expected);
        let cover = state.consents.cover(&rules.vocabulary, &case);
        let is_outdated = matches!(cover, Cover::Denied { reason: NoConsent::NoticeOutdated, .. });
        prop_assert_eq!(is_outdated, expected.is_empty() && !standing.is_empty());
        // If the use is denied because of the notice, the person is listed to be asked again, and only then.
        let lapsed = lapsed_consents(&state, &rules, now_ms, now_ms);
        let is_listed = lapsed.iter().any(|lapsed| lapsed.reason == Reason::NoticeOutdated);
        prop_assert_eq!(is_listed, is_outdated);
        let decided: BTreeSet<EventId> = decided.into_iter().collect();
        for record in state.consents.records().iter().filter(|record| record.decision.is_yes()) {
            prop_assert_eq!(verifier_accepts(&log, PURPOSE, record.event_id), decided.contains(&record.event_id));
            let in_force = state.consents.in_force(record, &rules.vocabulary, now_ms);
            prop_assert_eq!(in_force, decided.contains(&record.event_id));
        }
    }

    /// No requirement of a provider allows anything more.
    #[test]
    fn a_required_version_never_allows_more(
        steps in proptest::collection::vec((step(), any::<bool>()), 1..20),
    ) {
        let with = log(&steps);
        let is_required = |event: &Recorded| matches!(event.event, Event::NoticeRequired(_));
        let mut without = with.system.clone();
        without.retain(|event| !is_required(event));
        let state = SubjectState::fold(&with.subject);
        let now_ms = with.now_ms;
        let case = ConsentCase { purpose: PURPOSE, category: "work", recipient: "tutor", interaction: "", now_ms };
        let allowed = |system: &[Recorded]| -> BTreeSet<EventId> {
            let rules = RulesHistory::new(system.iter().cloned(), now_ms).unwrap().now();
            let allowing = state.consents.allowing(&rules.vocabulary, &case);
            allowing.into_iter().map(|(record, _)| record.event_id).collect()
        };
        let (mut earlier, all) = (with.system.clone(), allowed(&with.system));
        prop_assert!(all.is_subset(&allowed(&without)));
        // Each further statement narrows, or changes nothing.
        while let Some(last) = earlier.iter().rposition(is_required) {
            let after = allowed(&earlier);
            earlier.remove(last);
            prop_assert!(after.is_subset(&allowed(&earlier)));
        }
    }
}

#[test]
fn of_many_equal_outdated_consents_only_the_one_that_counts_last_is_listed() {
    let steps = [
        Step::Publish { notice: 0, version: 0 },
        Step::Say { yes: true, notice: Some((0, 0)), stated_before_ms: 0, for_ms: None },
        Step::Publish { notice: 0, version: 1 },
        Step::Require { notice: 0, version: 1, delay_ms: 0 },
    ];
    let log = log(&steps.map(|step| (step, true)));
    let rules = RulesHistory::new(log.system.iter().cloned(), log.now_ms).unwrap().now();
    let mut state = SubjectState::fold(&log.subject);
    let consent = log.subject.last().unwrap();
    for number in 1_000..20_000_u64 {
        let event_id = EventId(u128::from(number).to_be_bytes());
        state.apply(&Recorded { event_id, position: number, version: number, ..consent.clone() });
    }
    let listed = lapsed_consents(&state, &rules, log.now_ms, log.now_ms);
    let listed: Vec<(u64, Reason)> = listed.iter().map(|one| (one.record.position, one.reason)).collect();
    assert_eq!(listed, [(19_999, Reason::NoticeOutdated)]);
}
