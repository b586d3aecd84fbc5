//! Tests of the transparency report: what it must never reveal, and which of its numbers must add up.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use super::noise::{Bits, limited, two_sided_geometric};
use super::suppress::as_number;
use super::table::Labels;
use super::*;
use crate::domain::DAY_MS;
use crate::domain::attribute::{Attribute, Secret};
use crate::domain::consent::Decision;
use crate::domain::consent::Terms;
use crate::domain::default_vocabulary::default_vocabulary;
use crate::domain::event::{
    Actor, Event, GrantIssued, GrantUsed, GrantedAttribute, Provenance, Reason, Recorded, RequestKey, Role,
    WithheldClass,
};
use crate::domain::ids::EventId;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

mod draws;
mod report_page;

const DAYS: u64 = 4;

/// SplitMix64 (Steele, Lea, Flood 2014), for repeatable noise.
struct Seeded(u64);

impl Bits for Seeded {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// Tables with two dimensions and few people.
fn tables() -> impl Strategy<Value = Table> {
    let subject = proptest::collection::btree_map((0_usize..4, 0_usize..3), 1_u64..5, 0..5);
    proptest::collection::vec(subject, 0..40).prop_map(|subjects| {
        let mut table = Table::default();
        for subject in subjects {
            let rows: Vec<(Labels, u64)> = subject
                .into_iter()
                .map(|((category, source), count)| {
                    let source = ["declared", "observed", "inferred"][source];
                    (vec![format!("c{category}"), source.to_owned()], count)
                })
                .collect();
            table.add_subject(rows.iter().map(|(labels, count)| (labels, *count)));
        }
        table
    })
}

/// Whether `unit` is a linear combination of `equations`, so that its value follows from theirs.
fn follows(equations: &[Vec<f64>], unit: &[f64]) -> bool {
    let rank = |mut rows: Vec<Vec<f64>>| {
        let width = rows.first().map_or(0, Vec::len);
        let mut rank = 0;
        for column in 0..width {
            let Some(pivot) = (rank..rows.len()).find(|row| rows[*row][column].abs() > 1e-9) else {
                continue;
            };
            rows.swap(rank, pivot);
            let lead = rows[rank].clone();
            for (_, row) in rows.iter_mut().enumerate().filter(|(at, _)| *at != rank) {
                let factor = row[column] / lead[column];
                row.iter_mut().zip(&lead).for_each(|(cell, lead)| *cell -= lead * factor);
            }
            rank += 1;
        }
        rank
    };
    let with: Vec<Vec<f64>> = equations.iter().cloned().chain([unit.to_vec()]).collect();
    rank(with) == rank(equations.to_vec())
}

/// Everything published of a table, as sums over its rows; and the rows.
fn published(table: &Table, k: u64) -> (Vec<Vec<f64>>, Vec<(Labels, Cell)>) {
    let rows: Vec<(Labels, Cell)> = table.rows.iter().map(|(labels, cell)| (labels.clone(), *cell)).collect();
    let shown = suppress(table, k);
    let is_shown = |labels: &Labels| shown.rows.iter().any(|(there, _)| there == labels);
    let sum_of = |which: &dyn Fn(&Labels) -> bool| -> Vec<f64> {
        rows.iter().map(|(labels, _)| if which(labels) { 1.0 } else { 0.0 }).collect()
    };
    let mut equations = Vec::new();
    for (labels, value) in &shown.rows {
        assert!((as_number(table.rows[labels].count) - value.value).abs() < 1e-9);
        equations.push(sum_of(&|there| there == labels));
    }
    if let Some(others) = shown.others {
        equations.push(sum_of(&|labels| !is_shown(labels)));
        let sum: u64 = rows.iter().filter(|(labels, _)| !is_shown(labels)).map(|(_, cell)| cell.count).sum();
        assert!((others.value - as_number(sum)).abs() < 1e-9);
    }
    if shown.total.is_some() {
        equations.push(sum_of(&|_| true));
    }
    // Every derived number is a sum over shown rows.
    for dimension in 0..2 {
        let words: BTreeSet<&String> = rows.iter().map(|(labels, _)| &labels[dimension]).collect();
        for word in words {
            equations.push(sum_of(&|labels| is_shown(labels) && labels[dimension] == *word));
        }
    }
    (equations, rows)
}

fn recorded(position: u64, at_ms: u64, event: Event) -> Recorded {
    let mut event_id = [0; 16];
    event_id[..8].copy_from_slice(&position.to_be_bytes());
    Recorded {
        event_id: EventId(event_id),
        position,
        version: position,
        recorded_at_ms: at_ms,
        sealed_at_ms: at_ms,
        about_ms: at_ms,
        actor: Actor { role: Role::Service, name: "tutor".into() },
        request_digest: Vec::new(),
        request_key: RequestKey::None,
        event,
    }
}

/// The next event; numbers choose among the earlier ones.
#[derive(Clone, Debug)]
enum Step {
    Record(usize, bool),
    Contest(usize),
    Remove(usize),
    Decide(Decision),
    Grant(bool),
    Use(usize, u32),
    Revoke(usize),
}

fn steps() -> impl Strategy<Value = Vec<(Step, u64)>> {
    let decision = prop_oneof![Just(Decision::Given), Just(Decision::Refused), Just(Decision::Withdrawn)];
    let step = prop_oneof![
        (0_usize..3, any::<bool>()).prop_map(|(category, inferred)| Step::Record(category, inferred)),
        (0_usize..9).prop_map(Step::Contest),
        (0_usize..9).prop_map(Step::Remove),
        decision.prop_map(Step::Decide),
        any::<bool>().prop_map(Step::Grant),
        ((0_usize..9), 1_u32..4).prop_map(|(grant, count)| Step::Use(grant, count)),
        (0_usize..9).prop_map(Step::Revoke),
    ];
    proptest::collection::vec((step, 0_u64..DAY_MS / 4), 0..40)
}

fn history(steps: &[(Step, u64)]) -> Vec<Recorded> {
    let (mut events, mut now_ms): (Vec<Recorded>, u64) = (Vec::new(), 0);
    let pick = |events: &[Recorded], number: usize, which: &dyn Fn(&Event) -> bool| {
        let found: Vec<EventId> =
            events.iter().filter(|event| which(&event.event)).map(|event| event.event_id).collect();
        (!found.is_empty()).then(|| found[number % found.len()])
    };
    for (step, later) in steps {
        now_ms += later;
        let attribute_id =
            |number| pick(&events, number, &|event| matches!(event, Event::AttributeRecorded(_)));
        let grant = |number| pick(&events, number, &|event| matches!(event, Event::GrantIssued(_)));
        let withdrawal = pick(&events, events.len(), &|event| {
            matches!(event, Event::Consent { decision: Decision::Withdrawn, .. })
        });
        let event = match step {
            Step::Record(category, inferred) => {
                Some(Event::AttributeRecorded(attribute(*category, *inferred)))
            }
            Step::Contest(number) => attribute_id(*number)
                .map(|attribute| Event::AttributeContested { attribute, reason: String::new() }),
            Step::Remove(number) => attribute_id(*number)
                .map(|attribute| Event::AttributeRemoved { attribute, reason: String::new() }),
            Step::Decide(decision) => Some(Event::Consent { decision: *decision, terms: terms() }),
            Step::Grant(allows) => {
                Some(Event::GrantIssued(issued(attribute_id(0).filter(|_| *allows), now_ms)))
            }
            Step::Use(number, count) => {
                grant(*number).map(|grant| Event::GrantUsed(used(grant, attribute_id(0), *count)))
            }
            Step::Revoke(number) => grant(*number).map(|grant| Event::GrantRevoked {
                grant,
                reason: Reason::ConsentWithdrawn,
                cause: withdrawal,
                grant_id: String::new(),
                recipient: "tutor".into(),
                source: None,
            }),
        };
        if let Some(event) = event {
            events.push(recorded(events.len() as u64, now_ms, event));
        }
    }
    events
}

fn attribute(category: usize, inferred: bool) -> Attribute {
    Attribute {
        key: format!("k{category}{inferred}"),
        value: Secret::new("\"v\"".into()),
        category: ["work", "health", "family"][category].into(),
        provenance: if inferred { Provenance::Inferred } else { Provenance::Declared },
        evidence: Vec::new(),
        derived_from: Vec::new(),
        confidence: None,
        model: String::new(),
        observed_at_ms: 0,
        expires_at_ms: None,
        from_replies: Vec::new(),
        claimed_provenance: Provenance::Unspecified,
        embedding: None,
    }
}

fn terms() -> Terms {
    Terms { purposes: vec!["memory".into(), "safety".into()], ..Terms::default() }
}

fn issued(allowed: Option<EventId>, now_ms: u64) -> GrantIssued {
    let cited = |id: EventId| GrantedAttribute { attribute: id, ..GrantedAttribute::default() };
    GrantIssued {
        recipient: "tutor".into(),
        purpose: "memory".into(),
        allowed: allowed.into_iter().map(cited).collect(),
        withheld: vec![WithheldClass::default()],
        expires_at_ms: now_ms + 1_000,
        ..GrantIssued::default()
    }
}

fn used(grant: EventId, attribute: Option<EventId>, count: u32) -> GrantUsed {
    let shaped_by = attribute.into_iter().collect();
    GrantUsed { grant, shaped_by, count, ..GrantUsed::default() }
}

fn counted(events: &[Recorded], from_day: u64, to_day: u64) -> SubjectCounts {
    let mut counter = SubjectCounter::new(Window { from_ms: from_day * DAY_MS, to_ms: to_day * DAY_MS });
    events.iter().for_each(|event| counter.event(event, 100));
    counter.end()
}

proptest! {
    #[test]
    fn no_small_group_follows_from_published_numbers(table in tables(), k in 2_u64..8) {
        let (equations, rows) = published(&table, k);
        for (at, (labels, cell)) in rows.iter().enumerate() {
            let unit: Vec<f64> = (0..rows.len()).map(|other| if other == at { 1.0 } else { 0.0 }).collect();
            prop_assert!(cell.people >= k || !follows(&equations, &unit), "{labels:?} {cell:?}");
        }
        let shown = suppress(&table, k);
        prop_assert_eq!(shown.suppressed, (1..k).contains(&table.total.people));
        let others = shown.others.unwrap_or_default().value;
        let sum: f64 = shown.rows.iter().map(|(_, value)| value.value).sum::<f64>() + others;
        prop_assert!(shown.suppressed || (shown.total.unwrap().value - sum).abs() < 1e-9);
    }

    #[test]
    fn suppression_hides_at_most_one_large_row(table in tables(), k in 2_u64..8) {
        let shown = suppress(&table, k);
        let large = table.rows.values().filter(|cell| cell.people >= k).count();
        prop_assert!(shown.suppressed || large - shown.rows.len() <= 1);
    }

    #[test]
    fn the_days_add_up_to_the_period(steps in steps(), cut in 1_u64..DAYS) {
        let events = history(&steps);
        let mut days = counted(&events, 0, cut);
        days.merge(counted(&events, cut, DAYS));
        let whole = counted(&events, 0, DAYS);
        prop_assert_eq!(days.counts(), whole.counts());
        prop_assert_eq!(&days, &whole);
    }

    #[test]
    fn subjects_add_up_in_any_order(people in proptest::collection::vec(steps(), 0..6), cut in 0_usize..6) {
        let people: Vec<SubjectCounts> = people.iter().map(|steps| counted(&history(steps), 0, DAYS)).collect();
        let tally = |people: &[SubjectCounts]| {
            let mut tally = Tally::new([3; 32], Contributions::Full);
            people.iter().for_each(|subject| tally.add_subject(subject));
            let tables = tally.tables().map(|(population, table)| (population, table.clone()));
            tables.collect::<BTreeMap<Population, Table>>()
        };
        let cut = cut.min(people.len());
        let mut parts = tally(&people[cut..]);
        for (population, table) in tally(&people[..cut]) {
            parts.entry(population).or_default().merge(&table);
        }
        prop_assert_eq!(parts, tally(&people));
    }

    #[test]
    fn one_person_contributes_no_more_than_the_limit(
        counts in proptest::collection::btree_map(0_u8..20, 0_u64..500, 0..20),
        rows in 1_usize..6,
        each in 1_u64..50,
    ) {
        let counts: Vec<(Labels, u64)> =
            counts.into_iter().map(|(row, count)| (vec![row.to_string()], count)).collect();
        let counts: Vec<(&Labels, u64)> = counts.iter().map(|(labels, count)| (labels, *count)).collect();
        let kept = limited(&counts, noise::ContributionLimit { rows, each });
        prop_assert!(kept.len() <= rows && kept.iter().all(|(_, count)| (1..=each).contains(count)));
    }
}

fn crowd() -> Tally {
    let mut tally = Tally::new([3; 32], Contributions::Limited);
    let steps = [Step::Record(0, true), Step::Decide(Decision::Given), Step::Grant(true), Step::Use(0, 2)]
        .map(|step| (step, 5));
    for _ in 0..4_000 {
        tally.add_subject(&counted(&history(&steps), 0, DAYS));
    }
    tally
}

fn with_noise(tally: &Tally, seed: u64, ids: &[String]) -> Vec<Figure> {
    let vocabulary = default_vocabulary();
    let input = FigureInput { tally, vocabulary: &vocabulary, k: 10, releases_a_day: Some(3) };
    figures(&input, ids, Some(Noise { epsilon: 2.0, bits: &mut Seeded(seed) }))
}

#[test]
fn noise_follows_its_seed_and_centers_on_the_exact_count() {
    let (tally, ids) = (crowd(), vec!["use".to_owned()]);
    let value = |seed| with_noise(&tally, seed, &ids)[0].tables[0].shown.rows[0].1.value;
    assert_eq!(value(1).to_bits(), value(1).to_bits());
    let values: Vec<f64> = (0..200).map(value).collect();
    assert!(values.iter().any(|other| other.to_bits() != values[0].to_bits()));
    let mean = values.iter().sum::<f64>() / 200.0;
    let table = &with_noise(&tally, 1, &ids)[0].tables[0];
    assert!((mean - 8_000.0).abs() < 4.0 * table.noise / 200_f64.sqrt(), "{mean} {}", table.noise);
}

#[test]
fn noise_exceeds_its_stated_margin_in_at_most_five_of_a_hundred_draws() {
    const DRAWS: u32 = 20_000;
    for scale in [0.2, 0.7, 3.0, 250.0] {
        for parts in [1, 2, 5, 40] {
            let mut bits = Seeded(11);
            let one = Amount { value: 0.0, margin: noise::margin(scale) };
            let margin = (1..parts).fold(one, |sum, _| sum.plus(one)).margin.ceil();
            let exceeds = (0..DRAWS).filter(|_| {
                let sum: f64 = (0..parts).map(|_| two_sided_geometric(scale, &mut bits)).sum();
                sum.abs() > margin
            });
            let share = as_number(exceeds.count() as u64) / f64::from(DRAWS);
            // 0.054 leaves room for chance: it is 2.6 standard deviations above 0.05.
            assert!(share <= 0.054, "{scale}, {parts}: {share} beyond {margin}");
            // Nor is the margin much too large, unless noise is so small that whole numbers are coarse.
            assert!(scale < 1.0 || share >= 0.03, "{scale}, {parts}: {share} beyond {margin}");
        }
    }
}

#[test]
fn no_number_of_a_report_is_smaller_than_its_noise() {
    let tally = crowd();
    let (mut printed, mut unprinted) = (0, 0);
    for seed in 0..20 {
        for figure in with_noise(&tally, seed, &[]) {
            for table in &figure.tables {
                let shown = &table.shown;
                let rows = shown.rows.iter().map(|(_, value)| *value);
                for amount in rows.chain(shown.others).chain(shown.total) {
                    assert!(amount.value > amount.margin || amount.margin <= 0.0, "{}: {amount:?}", table.id);
                    printed += u32::from(amount.margin > 0.0);
                }
                unprinted += table.unprinted.rows;
            }
            for ratio in
                figure.ratios.iter().filter(|ratio| figure.spec.id != "erasures" || ratio.below_noise)
            {
                assert_eq!(ratio.value.is_some(), ratio.interval.is_some(), "{}", ratio.id);
                if let (Some(value), Some(interval)) = (ratio.value, ratio.interval) {
                    assert!(interval.low <= value && value <= interval.high, "{} {interval:?}", ratio.id);
                }
            }
        }
    }
    assert!(printed > 100 && unprinted > 100, "{printed} {unprinted}");
}

#[test]
fn with_noise_nothing_shows_whether_a_single_person_is_in_a_table() {
    // The labels of replies are the purpose and the recipient, which callers choose.
    let ids = ["use".to_owned()];
    let steps = [Step::Record(0, true), Step::Grant(true), Step::Use(0, 2)].map(|step| (step, 5));
    let mut events = history(&steps);
    for event in &mut events {
        if let Event::GrantIssued(issued) = &mut event.event {
            issued.recipient = "coach".into();
        }
    }
    let person = counted(&events, 0, DAYS);
    let form = |tally: &Tally, seed| {
        let table = with_noise(tally, seed, &ids)[0].tables[0].clone();
        let rows: Vec<Labels> = table.shown.rows.into_iter().map(|(labels, _)| labels).collect();
        (table.shown.suppressed, rows, table.shown.others.is_some())
    };
    for everyone in [Tally::new([3; 32], Contributions::Limited), crowd()] {
        let without: Vec<_> = (0..50).map(|seed| form(&everyone, seed)).collect();
        let mut everyone = everyone;
        everyone.add_subject(&person);
        let with: Vec<_> = (0..50).map(|seed| form(&everyone, seed)).collect();
        assert_eq!(with, without);
    }
}

#[test]
fn the_interval_of_a_ratio_holds_the_exact_ratio() {
    let (tally, ids) = (crowd(), vec!["use".to_owned(), "bite".to_owned(), "inferred".to_owned()]);
    let vocabulary = default_vocabulary();
    let input = FigureInput { tally: &tally, vocabulary: &vocabulary, k: 10, releases_a_day: None };
    let exact = figures(&input, &ids, None);
    let find = |figures: &[Figure]| {
        let ratios = figures.iter().flat_map(|figure| figure.ratios.clone());
        ratios.into_iter().find(|ratio| ratio.id == "inferred-share").unwrap()
    };
    let exact = find(&exact).value.unwrap();
    let stored = (0..200).filter(|seed| {
        let found = find(&with_noise(&tally, *seed, &ids));
        found.interval.is_none_or(|interval| interval.low <= exact && exact <= interval.high)
    });
    assert!(stored.count() >= 190);
}

#[test]
fn the_summary_comes_first_and_says_what_is_not_shown() {
    let tally = crowd();
    let vocabulary = default_vocabulary();
    let input = FigureInput { tally: &tally, vocabulary: &vocabulary, k: 10, releases_a_day: None };
    let lines = |figures: &[Figure]| -> BTreeMap<String, String> {
        summary(figures).into_iter().map(|line| (line.title, line.text)).collect()
    };
    let exact = lines(&figures(&input, &[], None));
    assert_eq!(exact["Personalized replies"], "8,000 replies");
    assert_eq!(exact["Refused, of given and refused"], "0.0%");
    assert!(exact["Not available"].contains("Labor"), "{exact:?}");
    let noised = lines(&with_noise(&tally, 1, &["use".to_owned(), "requests".to_owned()]));
    assert!(noised["Personalized replies"].contains(" ± "), "{noised:?}");
    assert!(noised["Not shown, because no larger than the noise"].contains("Requests"), "{noised:?}");
}

#[test]
fn with_noise_fewer_figures_are_less_noisy_and_some_are_not_available() {
    let tally = crowd();
    let (all, one) = (with_noise(&tally, 1, &[]), with_noise(&tally, 1, &["use".to_owned()]));
    let noise =
        |figures: &[Figure]| figures.iter().find(|figure| figure.spec.id == "use").unwrap().tables[0].noise;
    assert!(noise(&all) > 10.0 * noise(&one), "{} {}", noise(&all), noise(&one));
    for id in ["homogenisation", "polarisation"] {
        let figure = all.iter().find(|figure| figure.spec.id == id).unwrap();
        assert_eq!(figure.status, Status::NotAvailable);
    }
}
