//! Tests the time to find the rules in force for a grant. It must not grow with the number of rules that a
//! log publishes, or schedules for later. The events go to the replay directly, because signing so many
//! takes minutes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod log;

use log::{START_MS, attribute, event_id, given, grant, published_notice, recorded, subject, terms};
use sayso_proof::entry::{Handle, Header, SchemaVersion};
use sayso_proof::event::event_body::Event;
use sayso_proof::event::*;
use sayso_proof::replay::{Replay, Replayed};
use std::time::{Duration, Instant};

/// Generous, so that a busy machine does not fail the test. A replay that looked at all rules for each grant
/// would take longer.
const TIME_MAX: Duration = Duration::from_secs(60);
/// How many rules a test publishes.
const COUNT: u64 = 100_000;
const LATER_MS: u64 = START_MS + 10_000_000_000;

/// A log without signatures, of one data subject.
#[derive(Default)]
struct Events {
    all: Vec<(Handle, Event)>,
}

impl Events {
    /// A log with two words.
    fn new() -> Self {
        let mut events = Self::default();
        events.publish(purpose(String::new(), 0));
        events.publish(category(String::new(), 0));
        events
    }

    /// Adopts the edition from which on definitions can state that a word keeps its meaning.
    fn let_definitions_keep_meanings(&mut self) {
        self.publish(Event::DecisionRulesAdopted(DecisionRulesAdopted { edition: 2 }));
    }

    fn publish(&mut self, event: Event) {
        self.all.push((Handle::SYSTEM, event));
    }

    fn record(&mut self, event: Event) -> [u8; 16] {
        self.all.push((subject(1), event));
        event_id(self.all.len() as u64 - 1)
    }

    /// Records an attribute and a consent, and returns a grant of it.
    fn consent(&mut self, notice: Option<NoticeRef>, bounds: Vec<u64>) -> Event {
        let attribute_id = self.record(recorded(attribute("key", "food")));
        let consent = ConsentTerms { notice, ..terms(&["tone-adaptation"], &["food"], &[]) };
        let consent_id = self.record(given(consent));
        let Event::GrantIssued(issued) = grant(attribute_id, consent_id, "key", "food") else { panic!() };
        Event::GrantIssued(GrantIssued { bounds, ..issued })
    }

    fn replay(self) -> Replayed {
        let mut versions = [0, 0];
        let started = Instant::now();
        let mut replay = Replay::default();
        for (position, (handle, event)) in (0..).zip(self.all) {
            let version = &mut versions[usize::from(handle != Handle::SYSTEM)];
            let sealed_at_ms = START_MS + position;
            let event = match event {
                // A grant without an end ends at the next entry.
                Event::GrantIssued(issued) if issued.expires_at_ms == 0 => {
                    Event::GrantIssued(GrantIssued { expires_at_ms: sealed_at_ms + 1, ..issued })
                }
                other => other,
            };
            let header = Header {
                event_id: event_id(position),
                handle,
                version: *version,
                previous: None,
                sealed_at_ms,
                idempotency: None,
                key_commitment: None,
                schema_version: SchemaVersion::One,
            };
            *version += 1;
            let body = EventBody { about_ms: sealed_at_ms, event: Some(event), ..EventBody::default() };
            replay.apply(position, &header, Some(&body));
        }
        let replayed = replay.finish();
        assert!(started.elapsed() < TIME_MAX, "{:?}", started.elapsed());
        replayed
    }
}

fn purpose(title: String, effective_from_ms: u64) -> Event {
    let id = "tone-adaptation".into();
    let same_meaning = true;
    Event::PurposeDefined(PurposeDefined { id, title, effective_from_ms, same_meaning, ..Default::default() })
}

fn category(title: String, effective_from_ms: u64) -> Event {
    let id = "food".into();
    let same_meaning = true;
    Event::CategoryDefined(CategoryDefined {
        id,
        title,
        effective_from_ms,
        same_meaning,
        ..Default::default()
    })
}

fn bounds(pack: String, version: u64, effective_from_ms: u64) -> Event {
    let version = version.to_string();
    Event::BoundsPublished(BoundsPublished { pack, version, effective_from_ms, ..Default::default() })
}

/// Publishes rules, with a grant after each.
fn grants_between(mut events: Events, issued: &Event, rules: impl Iterator<Item = Event>) -> Replayed {
    for rule in rules {
        events.publish(rule);
        events.record(issued.clone());
    }
    events.replay()
}

#[test]
fn a_word_that_is_redefined_many_times_is_looked_up_quickly() {
    for define in [purpose, category] {
        let mut events = Events::new();
        let issued = events.consent(None, Vec::new());
        events.let_definitions_keep_meanings();
        let rules = (0..COUNT).map(|number| define(format!("title {number}"), 0));
        assert_eq!(grants_between(events, &issued, rules).unjustified, 0);
    }
}

#[test]
fn a_consent_after_many_definitions_is_compared_with_them_quickly() {
    let mut events = Events::new();
    for number in 0..COUNT {
        events.publish(category(format!("title {number}"), 0));
    }
    for _ in 0..COUNT {
        let issued = events.consent(None, Vec::new());
        events.record(issued);
    }
    assert_eq!(events.replay().unjustified, 0);
}

#[test]
fn definitions_for_later_times_are_put_in_order_quickly() {
    let mut events = Events::new();
    let issued = events.consent(None, Vec::new());
    let rules = (0..COUNT).map(|number| category(format!("title {number}"), LATER_MS - number));
    assert_eq!(grants_between(events, &issued, rules).unjustified, 0);
}

#[test]
fn definitions_that_come_into_force_one_after_the_other_are_found_quickly() {
    let mut events = Events::new();
    let issued = events.consent(None, Vec::new());
    events.let_definitions_keep_meanings();
    let from_ms = |number| START_MS + 10 + COUNT + number;
    for number in 0..COUNT {
        events.publish(category(format!("title {number}"), from_ms(number)));
    }
    for _ in 0..COUNT {
        events.record(issued.clone());
    }
    assert_eq!(events.replay().unjustified, 0);
}

#[test]
fn a_grant_after_each_of_many_packs_is_checked_quickly() {
    let mut events = Events::new();
    let issued = events.consent(None, Vec::new());
    let rules = (0..COUNT).map(|number| bounds(format!("pack-{number}"), 1, 0));
    assert_eq!(grants_between(events, &issued, rules).unjustified, COUNT);
}

#[test]
fn versions_of_a_pack_for_later_times_are_put_in_order_quickly() {
    let mut events = Events::new();
    let issued = events.consent(None, Vec::new());
    let rules = (0..COUNT).map(|number| bounds("house".into(), number, LATER_MS - number));
    assert_eq!(grants_between(events, &issued, rules).unjustified, 0);
}

#[test]
fn packs_that_come_into_force_one_after_the_other_are_found_quickly() {
    let mut events = Events::new();
    let issued = events.consent(None, Vec::new());
    events.let_definitions_keep_meanings();
    let from_ms = |number| START_MS + 10 + COUNT + number;
    for number in 0..COUNT {
        events.publish(bounds(format!("pack-{number}"), 1, from_ms(number)));
    }
    for _ in 0..COUNT {
        events.record(issued.clone());
    }
    let unjustified = events.replay().unjustified;
    assert!(unjustified > COUNT / 2, "{unjustified}");
}

#[test]
fn required_versions_of_a_notice_are_found_quickly() {
    let mut events = Events::new();
    let notice = published_notice();
    events.publish(Event::DecisionRulesAdopted(DecisionRulesAdopted { edition: 3 }));
    let (id, version) = (notice.id.clone(), notice.version.clone());
    events.publish(Event::NoticePublished(NoticePublished {
        notice: Some(notice.clone()),
        text: "We ask.".into(),
    }));
    let issued = events.consent(Some(notice), Vec::new());
    let required = |effective_from_ms| {
        let (id, version) = (id.clone(), version.clone());
        Event::NoticeRequired(NoticeRequired { id, version, effective_from_ms })
    };
    assert_eq!(grants_between(events, &issued, (0..COUNT).map(required)).unjustified, 0);
}

#[test]
fn uses_that_name_many_attributes_are_compared_quickly() {
    let mut events = Events::new();
    let Event::GrantIssued(one) = events.consent(None, Vec::new()) else { panic!() };
    let mut allowed = one.allowed.clone();
    let name = |number: u64| format!("key-{number}");
    let ids: Vec<_> =
        (0..20_000).map(|number| events.record(recorded(attribute(&name(number), "food")))).collect();
    allowed.extend((0..).zip(&ids).map(|(number, id)| GrantedAttribute {
        attribute: id.to_vec(),
        key: name(number),
        ..one.allowed[0].clone()
    }));
    let expires_at_ms = LATER_MS.min(START_MS + 80_000_000);
    let grant = events.record(Event::GrantIssued(GrantIssued { allowed, expires_at_ms, ..one })).to_vec();
    let shaped_by: Vec<Vec<u8>> = ids.iter().map(|id| id.to_vec()).collect();
    for shaped_by in [shaped_by.clone(), shaped_by.clone()] {
        events.record(Event::GrantUsed(GrantUsed { grant: grant.clone(), shaped_by, ..Default::default() }));
    }
    for id in shaped_by.iter().rev().cycle().take(COUNT as usize) {
        let (grant, shaped_by) = (grant.clone(), vec![id.clone()]);
        events.record(Event::GrantUsed(GrantUsed { grant, shaped_by, ..Default::default() }));
    }
    assert_eq!(events.replay().other_faults, 0);
}
