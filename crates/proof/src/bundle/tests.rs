//! Tests that the checks of data subjects, which process one group of subjects at a time, find the same as a
//! simple model. The model makes one pass over the log, with everything in memory.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use super::check::{CheckedEntry, Content};
use super::erased::{Erased, Gap};
use super::subjects::{Outcome, Subjects};
use super::usage::Flags;
use crate::context::Options;
use crate::entry::{Handle, Header, SchemaVersion};
use crate::event::event_body::Event;
use crate::event::*;
use crate::merkle::Hash;
use crate::replay::{Replay, Replayed};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use std::collections::HashMap;

/// Large enough for many groups, so that few data subjects share a group.
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

/// The entries of one stream so far.
#[derive(Default)]
struct StreamState {
    entries: u64,
    previous: Option<Hash>,
    attribute: u64,
    consent: u64,
}

/// Makes a log from random numbers, three per entry: the event, the data subject, and the state of the entry.
fn log(steps: &[(u8, u8, u8)]) -> Vec<CheckedEntry> {
    let mut streams: HashMap<u8, StreamState> = HashMap::new();
    let mut bounds = Vec::new();
    let entry = |(position, (what, who, how)): (u64, &(u8, u8, u8))| {
        let sealed_at_ms = 1000 * position;
        let what = if position < 2 { 3 } else { what % 16 };
        let is_system = what < 4;
        let stream = streams.entry(if is_system { 0 } else { who % 5 + 1 }).or_default();
        let event = if is_system {
            system_event(position, what, &mut bounds)
        } else {
            subject_event(position, what, stream, &bounds)
        };
        let mut header = Header {
            event_id: id(position),
            handle: if is_system { Handle::SYSTEM } else { Handle([who % 5 + 1; 16]) },
            version: stream.entries,
            previous: stream.previous,
            sealed_at_ms,
            idempotency: None,
            key_commitment: None,
            schema_version: SchemaVersion::One,
        };
        if !is_system && header.previous.is_some() {
            match how {
                250 => header.version += 1,
                251 => header.previous = Some([1; 32]),
                252 => header.version -= 1,
                _ => {}
            }
        }
        (stream.entries, stream.previous) = (header.version + 1, Some(leaf(position)));
        let body = EventBody { event: Some(event), ..EventBody::default() };
        let content = match how % 16 {
            _ if is_system => Content::Plain(header, body),
            0 | 1 => Content::Erased,
            2 => Content::Withheld(header),
            _ => Content::Sealed(header, body),
        };
        CheckedEntry { position, recorded_at_ms: sealed_at_ms, leaf: leaf(position), content }
    };
    (0..).zip(steps).map(entry).collect()
}

fn system_event(position: u64, what: u8, bounds: &mut Vec<u64>) -> Event {
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

fn subject_event(position: u64, what: u8, stream: &mut StreamState, bounds: &[u64]) -> Event {
    let attribute = id(stream.attribute).to_vec();
    let terms = ConsentTerms { purposes: vec!["tone".into()], channel: "web".into(), ..Default::default() };
    match what {
        4..7 => {
            stream.attribute = position;
            let (key, category) = ("k".into(), "food".into());
            let attribute = Attribute { key, category, value_json: "1".into(), ..Default::default() };
            Event::AttributeRecorded(AttributeRecorded { attribute: Some(attribute) })
        }
        7 | 8 => {
            stream.consent = position;
            Event::ConsentGiven(ConsentGiven { terms: Some(terms) })
        }
        9 => Event::ConsentWithdrawn(ConsentWithdrawn { terms: Some(terms) }),
        10 => Event::AttributeContested(AttributeContested { attribute, reason: "no".into() }),
        _ => {
            let consent = id(stream.consent).to_vec();
            let (key, category) = ("k".into(), "food".into());
            let granted = GrantedAttribute { attribute, consent, key, category, ..Default::default() };
            let (purpose, bounds) = ("tone".into(), bounds.to_vec());
            Event::GrantIssued(GrantIssued {
                recipient: "bot".into(),
                expires_at_ms: END_MS,
                purpose,
                bounds,
                allowed: vec![granted],
                ..Default::default()
            })
        }
    }
}

/// After every entry, milliseconds since the Unix epoch.
const END_MS: u64 = 1_000_000;

/// A model of the chain rule of `docs/format.md` ("What a verifier checks", 5) and of the grants, in memory.
#[derive(Default)]
struct Model {
    tips: HashMap<Handle, (u64, Hash)>,
    erased: HashMap<Hash, u64>,
    erased_all: u64,
    skipped: u64,
    replay: Replay,
}

impl Model {
    /// Applies the next entry, and returns whether it continues its chain.
    fn apply(&mut self, next: &CheckedEntry) -> bool {
        let (header, body) = match &next.content {
            Content::Erased => {
                self.erased.insert(next.leaf, next.position);
                self.erased_all += 1;
                return true;
            }
            Content::Withheld(header) => (header, None),
            Content::Sealed(header, body) | Content::Plain(header, body) => (header, Some(body)),
        };
        self.replay.apply(next.position, header, body);
        if header.handle == Handle::SYSTEM {
            return true;
        }
        let tip = self.tips.insert(header.handle, (header.version, next.leaf));
        let expected = tip.map_or(0, |tip| tip.0 + 1);
        if header.version <= expected {
            return header.version == expected && header.previous == tip.map(|tip| tip.1);
        }
        self.skipped += header.version - expected;
        let named = header.previous.and_then(|previous| self.erased.remove(&previous));
        named.is_some() && self.skipped <= self.erased_all
    }
}

fn check_with_model(log: &[CheckedEntry]) -> Result<(u64, Replayed), u64> {
    let mut model = Model::default();
    for next in log {
        if !model.apply(next) {
            return Err(next.position);
        }
    }
    Ok((model.tips.len() as u64, model.replay.finish()))
}

fn check_in_groups(log: Vec<CheckedEntry>) -> Outcome {
    let (mut erased, mut subjects) = (Erased::new(ENTRIES), Subjects::new(ENTRIES, &Options::default()));
    for next in log {
        if matches!(next.content, Content::Erased) {
            erased.insert(next.position, &next.leaf).unwrap();
        }
        subjects.add(next).unwrap();
    }
    subjects.check_all(erased, None, &mut Flags::default(), &mut |_| ()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn checking_in_groups_gives_the_results_of_the_model(
        steps in proptest::collection::vec(any::<(u8, u8, u8)>(), 0..120),
    ) {
        let outcome = check_in_groups(log(&steps));
        let result = match outcome.broken {
            Some((position, _)) => Err(position),
            None => Ok((outcome.subjects, outcome.replayed)),
        };
        prop_assert_eq!(result, check_with_model(&log(&steps)));
    }
}

/// Guards against a generator that stops producing interesting logs.
#[test]
fn random_logs_have_broken_chains_and_justified_unjustified_and_unreadable_grants() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let logs = proptest::collection::vec(any::<(u8, u8, u8)>(), 0..120);
    let (mut broken, mut justified, mut unjustified, mut unchecked) = (0, 0, 0, 0);
    for _ in 0..200 {
        let steps = logs.new_tree(&mut runner).unwrap().current();
        match check_with_model(&log(&steps)) {
            Err(_) => broken += 1,
            Ok((_, replayed)) => {
                justified += replayed.replayed - replayed.unjustified;
                unjustified += replayed.unjustified;
                unchecked += replayed.unchecked;
            }
        }
    }
    let counts = [broken, justified, unjustified, unchecked];
    assert!(counts.iter().all(|count| *count > 10), "{counts:?}");
}

#[test]
fn gaps_must_name_erased_entries_before_them() {
    let unaccounted = |erased_at: &[u64], gaps: &[(u64, u64, u64)]| {
        let mut erased = Erased::new(ENTRIES);
        erased_at.iter().for_each(|position| erased.insert(*position, &leaf(*position)).unwrap());
        for (position, names, missing) in gaps {
            erased.add_gap(&Gap { position: *position, previous: leaf(*names), missing: *missing }).unwrap();
        }
        erased.first_unaccounted_gap().unwrap().map(|gap| gap.position)
    };
    assert_eq!(unaccounted(&[1, 2], &[(3, 2, 2)]), None);
    assert_eq!(unaccounted(&[1, 2], &[(3, 2, 3)]), Some(3), "more versions skipped than erased");
    assert_eq!(unaccounted(&[1, 9], &[(3, 1, 2)]), Some(3), "more versions skipped than erased before");
    assert_eq!(unaccounted(&[1, 2], &[(3, 2, 1), (4, 1, 1)]), None);
    assert_eq!(unaccounted(&[1, 2], &[(4, 2, 1), (3, 2, 1)]), Some(4), "two gaps name one entry");
    assert_eq!(unaccounted(&[1, 5], &[(3, 5, 1)]), Some(3), "the erased entry comes later");
    assert_eq!(unaccounted(&[1], &[(3, 8, 1)]), Some(3), "the entry was never erased");
}

#[test]
fn an_erasure_may_list_exactly_the_erased_positions_before_it() {
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
