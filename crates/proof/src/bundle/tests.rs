//! Going through people in groups against going through the log once, in order, with everything in memory.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use super::check::{Checked, Content};
use super::erased::{Erased, Gap};
use super::subjects::{Outcome, People};
use crate::entry::{Handle, Header};
use crate::event::event_body::Event;
use crate::event::*;
use crate::merkle::Hash;
use crate::replay::{Replay, Replayed};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use std::collections::HashMap;

/// So that there are many groups, and hardly two people in the same.
const ENTRIES: u64 = 10_000_000;

fn leaf(position: u64) -> Hash {
    let mut leaf = [9; 32];
    leaf[..8].copy_from_slice(&position.to_be_bytes());
    leaf
}

fn id(position: u64) -> [u8; 16] {
    let mut id = [5; 16];
    id[..8].copy_from_slice(&position.to_be_bytes());
    id
}

/// Someone's entries so far.
#[derive(Default)]
struct Person {
    entries: u64,
    previous: Option<Hash>,
    attribute: u64,
    consent: u64,
}

/// A log from random numbers: what happens, to whom, and how the entry is.
fn log(story: &[(u8, u8, u8)]) -> Vec<Checked> {
    let mut people: HashMap<u8, Person> = HashMap::new();
    let mut bounds = Vec::new();
    let one = |(position, (what, who, how)): (u64, &(u8, u8, u8))| {
        let moment = 1000 * position;
        let what = if position < 2 { 3 } else { what % 16 };
        let nobody = what < 4;
        let person = people.entry(if nobody { 0 } else { who % 5 + 1 }).or_default();
        let event = if nobody {
            published(position, what, &mut bounds)
        } else {
            about(position, what, person, &bounds)
        };
        let mut header = Header {
            event_id: id(position),
            handle: if nobody { Handle::SYSTEM } else { Handle([who % 5 + 1; 16]) },
            version: person.entries,
            previous: person.previous,
            sealed_at_ms: moment,
            idempotency: None,
            key_commitment: None,
        };
        if !nobody && header.previous.is_some() {
            match how {
                250 => header.version += 1,
                251 => header.previous = Some([1; 32]),
                252 => header.version -= 1,
                _ => {}
            }
        }
        (person.entries, person.previous) = (header.version + 1, Some(leaf(position)));
        let body = EventBody { event: Some(event), ..EventBody::default() };
        let content = match how % 16 {
            _ if nobody => Content::Plain(header, body),
            0 | 1 => Content::Erased,
            2 => Content::Withheld(header),
            _ => Content::Sealed(header, body),
        };
        Checked { position, recorded_at_ms: moment, leaf: leaf(position), content }
    };
    (0..).zip(story).map(one).collect()
}

fn published(position: u64, what: u8, bounds: &mut Vec<u64>) -> Event {
    match what {
        0 => {
            *bounds = vec![position];
            Event::BoundsPublished(BoundsPublished { policies: "forbid".into(), ..Default::default() })
        }
        1 => Event::BackupRestored(BackupRestored {
            restore: vec![7; 16],
            use_waits: true,
            ..Default::default()
        }),
        2 => Event::RestoreConfirmed(RestoreConfirmed { restore: vec![7; 16] }),
        _ if position == 0 => {
            Event::PurposeDefined(PurposeDefined { id: "tone".into(), ..Default::default() })
        }
        _ => Event::CategoryDefined(CategoryDefined { id: "food".into(), ..Default::default() }),
    }
}

fn about(position: u64, what: u8, person: &mut Person, bounds: &[u64]) -> Event {
    let attribute = id(person.attribute).to_vec();
    let terms = ConsentTerms { purposes: vec!["tone".into()], channel: "web".into(), ..Default::default() };
    match what {
        4..7 => {
            person.attribute = position;
            let (key, category) = ("k".into(), "food".into());
            let attribute = Attribute { key, category, value_json: "1".into(), ..Default::default() };
            Event::AttributeRecorded(AttributeRecorded { attribute: Some(attribute) })
        }
        7 | 8 => {
            person.consent = position;
            Event::ConsentGiven(ConsentGiven { terms: Some(terms) })
        }
        9 => Event::ConsentWithdrawn(ConsentWithdrawn { terms: Some(terms) }),
        10 => Event::AttributeContested(AttributeContested { attribute, reason: "no".into() }),
        _ => {
            let consent = id(person.consent).to_vec();
            let (key, category) = ("k".into(), "food".into());
            let granted = GrantedAttribute { attribute, consent, key, category };
            let (purpose, bounds) = ("tone".into(), bounds.to_vec());
            Event::GrantIssued(GrantIssued { purpose, bounds, allowed: vec![granted], ..Default::default() })
        }
    }
}

/// The rule of `docs/format.md`, s. "What a verifier checks", 5, with everything in memory; and the grants.
#[derive(Default)]
struct Plainly {
    tips: HashMap<Handle, (u64, Hash)>,
    erased: HashMap<Hash, u64>,
    erased_all: u64,
    skipped: u64,
    replay: Replay,
}

impl Plainly {
    /// Whether the next entry continues its chain.
    fn take(&mut self, next: &Checked) -> bool {
        let (header, body) = match &next.content {
            Content::Erased => {
                self.erased.insert(next.leaf, next.position);
                self.erased_all += 1;
                return true;
            }
            Content::Withheld(header) => (header, None),
            Content::Sealed(header, body) | Content::Plain(header, body) => (header, Some(body)),
        };
        self.replay.take(next.position, header, body);
        if header.handle == Handle::SYSTEM {
            return true;
        }
        let tip = self.tips.insert(header.handle, (header.version, next.leaf));
        let due = tip.map_or(0, |tip| tip.0 + 1);
        if header.version <= due {
            return header.version == due && header.previous == tip.map(|tip| tip.1);
        }
        self.skipped += header.version - due;
        let named = header.previous.and_then(|previous| self.erased.remove(&previous));
        named.is_some() && self.skipped <= self.erased_all
    }
}

fn plainly(log: &[Checked]) -> Result<(u64, Replayed), u64> {
    let mut plainly = Plainly::default();
    for next in log {
        if !plainly.take(next) {
            return Err(next.position);
        }
    }
    Ok((plainly.tips.len() as u64, plainly.replay.finish()))
}

fn in_groups(log: Vec<Checked>) -> Outcome {
    let (mut erased, mut people) = (Erased::new(ENTRIES), People::new(ENTRIES));
    for next in log {
        if matches!(next.content, Content::Erased) {
            erased.insert(next.position, &next.leaf).unwrap();
        }
        people.take(next).unwrap();
    }
    people.go_through(erased, &mut |_| ()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn people_in_groups_are_as_all_in_order(story in proptest::collection::vec(any::<(u8, u8, u8)>(), 0..120)) {
        let outcome = in_groups(log(&story));
        let due = match outcome.broken {
            Some((position, _)) => Err(position),
            None => Ok((outcome.subjects, outcome.replayed)),
        };
        prop_assert_eq!(due, plainly(&log(&story)));
    }
}

/// The generator reaches what it is for.
#[test]
fn stories_have_both_ends() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let stories = proptest::collection::vec(any::<(u8, u8, u8)>(), 0..120);
    let (mut broken, mut right, mut wrong, mut closed) = (0, 0, 0, 0);
    for _ in 0..200 {
        let story = stories.new_tree(&mut runner).unwrap().current();
        match plainly(&log(&story)) {
            Err(_) => broken += 1,
            Ok((_, replayed)) => {
                right += replayed.replayed - replayed.unjustified;
                wrong += replayed.unjustified;
                closed += replayed.not_replayable;
            }
        }
    }
    assert!(broken > 10 && right > 10 && wrong > 10 && closed > 10, "{broken} {right} {wrong} {closed}");
}

#[test]
fn gaps_are_accounted_for_by_what_was_erased_before_them() {
    let unaccounted = |erased_at: &[u64], gaps: &[(u64, u64, u64)]| {
        let mut erased = Erased::new(ENTRIES);
        erased_at.iter().for_each(|position| erased.insert(*position, &leaf(*position)).unwrap());
        for (position, names, missing) in gaps {
            erased.cross(&Gap { position: *position, previous: leaf(*names), missing: *missing }).unwrap();
        }
        erased.unaccounted().unwrap().map(|gap| gap.position)
    };
    assert_eq!(unaccounted(&[1, 2], &[(3, 2, 2)]), None);
    assert_eq!(unaccounted(&[1, 2], &[(3, 2, 3)]), Some(3), "more skipped than erased");
    assert_eq!(unaccounted(&[1, 9], &[(3, 1, 2)]), Some(3), "more skipped than erased by then");
    assert_eq!(unaccounted(&[1, 2], &[(3, 2, 1), (4, 1, 1)]), None);
    assert_eq!(unaccounted(&[1, 2], &[(4, 2, 1), (3, 2, 1)]), Some(4), "one named twice");
    assert_eq!(unaccounted(&[1, 5], &[(3, 5, 1)]), Some(3), "erased after it");
    assert_eq!(unaccounted(&[1], &[(3, 8, 1)]), Some(3), "never erased");
}

#[test]
fn erasures_cover_what_is_gone_and_nothing_else() {
    let mut erased = Erased::new(10);
    [2, 3, 5].iter().for_each(|position| erased.insert(*position, &leaf(*position)).unwrap());
    let erasure = |first, last| ErasureCompleted {
        discarded: vec![PositionRange { first, last }],
        ..ErasureCompleted::default()
    };
    assert_eq!(erased.uncovered(), Some(2));
    for (first, last) in [(3, 2), (2, 6), (2, 4), (0, 1), (6, 6), (2, u64::MAX)] {
        assert!(erased.cover(6, &erasure(first, last)).is_err(), "{first} {last}");
    }
    erased.cover(6, &erasure(2, 3)).unwrap();
    assert_eq!(erased.uncovered(), Some(5));
    erased.insert(70_000, &leaf(70_000)).unwrap();
    erased.cover(6, &erasure(5, 5)).unwrap();
    assert_eq!(erased.uncovered(), Some(70_000));
    assert!(erased.cover(80_000, &erasure(70_000, 70_001)).is_err());
    erased.cover(80_000, &erasure(70_000, 70_000)).unwrap();
    assert_eq!(erased.uncovered(), None);
}
