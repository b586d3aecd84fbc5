//! The consent rule against a plain model, and its monotony.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use super::*;
use crate::domain::vocabulary::default_vocabulary;
use proptest::prelude::*;
use sayso_proof::event::Role;

fn record(number: u64, moment: u64, decision: Decision, terms: Terms) -> ConsentRecord {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    ConsentRecord {
        event_id: EventId(id),
        position: number,
        recorded_at_ms: moment,
        sealed_at_ms: moment,
        about_ms: moment,
        decision,
        terms,
        actor: Actor { role: Role::Subject.into(), name: String::new() },
    }
}

fn terms(purposes: &[&str], categories: &[&str], recipients: &[&str], explicit: bool) -> Terms {
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    Terms {
        purposes: owned(purposes),
        categories: owned(categories),
        recipients: owned(recipients),
        explicit,
        ..Terms::default()
    }
}

fn cover(log: &[ConsentRecord], purpose: &str, category: &str) -> Cover {
    let log = ConsentLog { records: log.to_vec() };
    log.cover(&default_vocabulary(), &ConsentCase { purpose, category, recipient: "tutor", now_ms: 1_000 })
}

fn allowed(log: &[ConsentRecord], purpose: &str, category: &str) -> bool {
    matches!(cover(log, purpose, category), Cover::Allowed { .. })
}

#[test]
fn silence_is_no_and_ancestors_count() {
    assert!(!allowed(&[], "memory", "work"));
    let log = [record(0, 1, Decision::Given, terms(&["personalization"], &[], &[], false))];
    assert!(allowed(&log, "memory", "work"));
    assert!(!allowed(&log, "advertising", "work"));
    assert_eq!(cover(&log, "memory", "health"), Cover::Denied { reason: NoConsent::NotExplicit, by: None });
}

#[test]
fn special_categories_must_be_named_explicitly() {
    let vague = record(0, 1, Decision::Given, terms(&["memory"], &["health"], &[], false));
    assert!(!allowed(&[vague], "memory", "health"));
    let named = record(0, 1, Decision::Given, terms(&["memory"], &["health"], &[], true));
    assert!(allowed(&[named.clone()], "memory", "health"));
    assert!(allowed(&[named], "memory", "mental-health"));
}

#[test]
fn a_wide_yes_never_lifts_a_narrow_no_and_a_wide_no_ends_all() {
    let yes = |number, moment| {
        record(number, moment, Decision::Given, terms(&["personalization"], &[], &[], false))
    };
    let narrow_no = record(1, 2, Decision::Withdrawn, terms(&["memory"], &["work"], &[], false));
    assert!(!allowed(&[yes(0, 1), narrow_no.clone(), yes(2, 3)], "memory", "work"));
    assert!(allowed(&[yes(0, 1), narrow_no.clone(), yes(2, 3)], "memory", "family"));
    let narrow_yes = record(2, 3, Decision::Given, terms(&["memory"], &["work"], &["tutor"], false));
    assert!(allowed(&[yes(0, 1), narrow_no, narrow_yes.clone()], "memory", "work"));
    let wide_no = record(3, 4, Decision::Withdrawn, terms(&["personalization"], &[], &[], false));
    assert!(!allowed(&[narrow_yes.clone(), wide_no.clone()], "memory", "work"));
    // Equal moment: no wins.
    let same = record(3, 3, Decision::Refused, terms(&["memory"], &[], &[], false));
    assert!(!allowed(&[same, narrow_yes], "memory", "work"));
    assert!(allowed(&[wide_no, yes(5, 6)], "memory", "work"));
}

#[test]
fn a_yes_ends_and_can_be_for_somebody_else() {
    let mut ended = terms(&["memory"], &[], &[], false);
    ended.until_ms = Some(1_000);
    let log = [record(0, 1, Decision::Given, ended)];
    assert!(matches!(cover(&log, "memory", "work"), Cover::Denied { reason: NoConsent::Expired, .. }));
    let other = [record(0, 1, Decision::Given, terms(&["memory"], &[], &["other"], false))];
    assert!(!allowed(&other, "memory", "work"));
}

const WORDS: [&[&str]; 4] = [&["memory"], &["personalization"], &["memory", "safety"], &["safety"]];
const KINDS: [&[&str]; 5] = [&[], &["work"], &["health"], &["mental-health", "work"], &["family"]];
const NAMES: [&[&str]; 3] = [&[], &["tutor"], &["other", "tutor"]];

fn any_record() -> impl Strategy<Value = ConsentRecord> {
    let decisions = [Decision::Given, Decision::Refused, Decision::Renewed, Decision::Withdrawn];
    (
        0_u64..6,
        0_usize..4,
        0_usize..4,
        0_usize..5,
        0_usize..3,
        any::<bool>(),
        proptest::option::of(500_u64..1500),
    )
        .prop_map(move |(moment, decision, purposes, categories, recipients, explicit, until)| {
            let mut terms = terms(WORDS[purposes], KINDS[categories], NAMES[recipients], explicit);
            terms.until_ms = until;
            record(moment, moment, decisions[decision], terms)
        })
}

fn histories() -> impl Strategy<Value = Vec<ConsentRecord>> {
    proptest::collection::vec(any_record(), 0..8).prop_map(|mut records| {
        records.sort_by_key(|record| record.sealed_at_ms);
        for (number, record) in (0_u64..).zip(&mut records) {
            record.position = number;
            record.event_id.0[8..].copy_from_slice(&number.to_be_bytes());
        }
        records
    })
}

proptest! {
    #[test]
    fn a_no_never_allows_more(mut log in histories(), mut no in any_record(), category in 0_usize..4) {
        let category = ["work", "health", "mental-health", "family"][category];
        let before = allowed(&log, "memory", category);
        if no.decision.is_yes() {
            no.decision = Decision::Refused;
        }
        no.position = 99;
        log.push(no);
        prop_assert!(before || !allowed(&log, "memory", category));
    }

    #[test]
    fn a_later_no_to_everything_ends_everything(mut log in histories(), category in 0_usize..4) {
        let category = ["work", "health", "mental-health", "family"][category];
        log.push(record(99, 99, Decision::Withdrawn, terms(&["personalization"], &[], &[], false)));
        prop_assert!(!allowed(&log, "memory", category));
    }

    #[test]
    fn what_allows_is_a_yes_that_names_the_case(log in histories(), category in 0_usize..4) {
        let category = ["work", "health", "mental-health", "family"][category];
        if let Cover::Allowed { by, .. } = cover(&log, "memory", category) {
            let yes = log.iter().find(|record| record.event_id == by).unwrap();
            prop_assert!(yes.decision.is_yes());
            prop_assert!(yes.terms.until_ms.is_none_or(|until| until > 1_000));
            let special = category.contains("health");
            prop_assert!(!special || yes.terms.explicit);
            // No later no names the purpose and the category.
            let names = |record: &&ConsentRecord| {
                let purpose = record.terms.purposes.iter().any(|p| p == "memory" || p == "personalization");
                let whom = record.terms.recipients.is_empty() || record.terms.recipients.iter().any(|r| r == "tutor");
                purpose && whom && (record.terms.categories.is_empty() || record.terms.categories.iter().any(|c| c == category))
            };
            let later = |record: &&ConsentRecord| !record.decision.is_yes() && record.sealed_at_ms >= yes.sealed_at_ms;
            prop_assert!(!log.iter().filter(later).any(|record| names(&record)));
        }
    }
}
