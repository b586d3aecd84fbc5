//! Tests of the consent rule, with examples and with random histories of decisions.
//!
//! A consent or renewal is a *yes*; a refusal or withdrawal is a *no*. The rule must agree with a simple
//! model on every random history. An additional no must never allow a use that was not allowed before.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use super::*;
use crate::domain::default_vocabulary::default_vocabulary;
use crate::domain::event::{Actor, Role};
use crate::domain::hierarchy::Since;
use crate::domain::narrowed_consents::{Narrowing, would_narrow};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn record(number: u64, time_ms: u64, decision: Decision, terms: Terms) -> ConsentRecord {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    ConsentRecord {
        event_id: EventId(id),
        position: number,
        recorded_at_ms: time_ms,
        sealed_at_ms: time_ms,
        about_ms: time_ms,
        decision,
        terms,
        actor: Actor { role: Role::Subject, name: String::new() },
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
    log.cover(
        &default_vocabulary(),
        &ConsentCase { purpose, category, recipient: "tutor", interaction: "", now_ms: 1_000 },
    )
}

fn allowed(log: &[ConsentRecord], purpose: &str, category: &str) -> bool {
    matches!(cover(log, purpose, category), Cover::Allowed { .. })
}

#[test]
fn consent_covers_descendants_of_its_purpose_and_silence_denies() {
    assert!(!allowed(&[], "memory", "work"));
    let log = [record(0, 1, Decision::Given, terms(&["personalization"], &[], &[], false))];
    assert!(allowed(&log, "memory", "work"));
    assert!(!allowed(&log, "advertising", "work"));
    let by = Some(log[0].event_id);
    assert_eq!(cover(&log, "memory", "health"), Cover::Denied { reason: NoConsent::NotExplicit, by });
}

#[test]
fn special_categories_must_be_named_explicitly() {
    let not_explicit = record(0, 1, Decision::Given, terms(&["memory"], &["health"], &[], false));
    assert!(!allowed(&[not_explicit], "memory", "health"));
    let named = record(0, 1, Decision::Given, terms(&["memory"], &["health"], &[], true));
    assert!(allowed(std::slice::from_ref(&named), "memory", "health"));
    assert!(allowed(&[named], "memory", "mental-health"));
}

#[test]
fn a_wide_yes_never_lifts_a_narrow_no_and_a_wide_no_ends_every_yes() {
    let yes = |number, time_ms| {
        record(number, time_ms, Decision::Given, terms(&["personalization"], &[], &[], false))
    };
    let narrow_no = record(1, 2, Decision::Withdrawn, terms(&["memory"], &["work"], &[], false));
    assert!(!allowed(&[yes(0, 1), narrow_no.clone(), yes(2, 3)], "memory", "work"));
    assert!(allowed(&[yes(0, 1), narrow_no.clone(), yes(2, 3)], "memory", "family"));
    let narrow_yes = record(2, 3, Decision::Given, terms(&["memory"], &["work"], &["tutor"], false));
    assert!(allowed(&[yes(0, 1), narrow_no, narrow_yes.clone()], "memory", "work"));
    let wide_no = record(3, 4, Decision::Withdrawn, terms(&["personalization"], &[], &[], false));
    assert!(!allowed(&[narrow_yes.clone(), wide_no.clone()], "memory", "work"));
    // Of decisions sealed at the same time, the no wins.
    let simultaneous = record(3, 3, Decision::Refused, terms(&["memory"], &[], &[], false));
    assert!(!allowed(&[simultaneous, narrow_yes], "memory", "work"));
    assert!(allowed(&[wide_no, yes(5, 6)], "memory", "work"));
}

#[test]
fn a_choice_with_several_names_means_the_same_as_one_choice_for_each() {
    let vocabulary = default_vocabulary();
    let refused = record(0, 1, Decision::Refused, terms(&["memory"], &["work"], &[], false));
    let given = record(1, 2, Decision::Given, terms(&["memory"], &["work", "family"], &[], false));
    let log = [refused, given.clone()];
    assert!(allowed(&log, "memory", "work") && allowed(&log, "memory", "family"));
    assert!(ConsentLog { records: log.to_vec() }.in_force(&given, &vocabulary, 9));
    // A withdrawal names a purpose and a purpose below it. A consent to the higher purpose does not lift it
    // for the lower one.
    let withdrawn = record(0, 1, Decision::Withdrawn, terms(&["personalization", "memory"], &[], &[], false));
    let given = record(1, 2, Decision::Given, terms(&["personalization"], &[], &[], false));
    let log = [withdrawn.clone(), given];
    assert!(allowed(&log, "personalization", "work") && !allowed(&log, "memory", "work"));
    // A consent is not in force if separate withdrawals cover each part of it.
    let given = record(0, 1, Decision::Given, terms(&["memory", "safety"], &[], &[], false));
    let one = |number, purpose| record(number, 2, Decision::Withdrawn, terms(&[purpose], &[], &[], false));
    let log = ConsentLog { records: vec![given.clone(), one(1, "memory"), one(2, "safety")] };
    assert!(!log.in_force(&given, &vocabulary, 9));
    assert_eq!(log.ended_at_ms(&given, &vocabulary, 9), Some(2));
}

#[test]
fn the_end_of_a_later_consent_ends_the_earlier_one() {
    let given = record(0, 1, Decision::Given, terms(&["memory"], &[], &[], false));
    let mut renewed = record(1, 2, Decision::Renewed, terms(&["memory"], &["work"], &[], false));
    renewed.terms.until_ms = Some(2_000);
    let log = [given.clone(), renewed.clone()];
    let by = renewed.event_id;
    assert_eq!(
        cover(&log, "memory", "work"),
        Cover::Allowed { by: Basis::Consent(by), until_ms: Some(2_000) }
    );
    renewed.terms.until_ms = Some(500);
    let log = [given.clone(), renewed.clone()];
    assert_eq!(
        cover(&log, "memory", "work"),
        Cover::Denied { reason: NoConsent::Expired, by: Some(renewed.event_id) }
    );
    assert!(allowed(&log, "memory", "family"), "it ends only what it covers");
    let log = ConsentLog { records: log.to_vec() };
    let vocabulary = default_vocabulary();
    assert!(log.in_force(&given, &vocabulary, 1_000) && log.ends_another(&renewed, &vocabulary, 1_000));
    // A consent that was given earlier does not override the end of the renewal, although it arrives later.
    let late = ConsentRecord { sealed_at_ms: 3, position: 2, ..given };
    assert!(!allowed(&[renewed, late], "memory", "work"));
}

#[test]
fn a_consent_from_before_a_withdrawal_does_not_undo_it_when_it_arrives_late() {
    let withdrawn = record(0, 5, Decision::Withdrawn, terms(&["memory"], &[], &[], false));
    let late =
        ConsentRecord { about_ms: 4, ..record(1, 9, Decision::Given, terms(&["memory"], &[], &[], false)) };
    assert!(!allowed(&[withdrawn.clone(), late.clone()], "memory", "work"));
    // A withdrawal counts from when it was recorded, even if it states another time.
    let early = ConsentRecord { about_ms: 1, ..withdrawn };
    assert!(!allowed(&[early.clone(), late.clone()], "memory", "work"));
    let after = ConsentRecord { about_ms: 6, ..late };
    assert!(allowed(&[early, after], "memory", "work"));
}

#[test]
fn a_withdrawal_that_was_lifted_is_not_reported() {
    let narrow = record(0, 1, Decision::Refused, terms(&["memory"], &["work"], &["tutor"], false));
    let wide = record(1, 2, Decision::Withdrawn, terms(&["memory"], &[], &[], false));
    // This consent lifts the wide withdrawal but not the narrow refusal.
    let given = record(2, 3, Decision::Given, terms(&["memory"], &[], &[], false));
    let by = Some(narrow.event_id);
    let denied = Cover::Denied { reason: NoConsent::Refused, by };
    assert_eq!(cover(&[narrow, wide, given], "memory", "work"), denied);
}

#[test]
fn long_lists_of_names_take_little_time() {
    let names = |word: &str, count: usize| (0..count).map(|at| format!("{word}-{at}")).collect::<Vec<_>>();
    let vocabulary = default_vocabulary();
    let mut yes = terms(&["memory"], &[], &[], false);
    (yes.purposes, yes.categories) = (names("p", 32), names("c", 64));
    (yes.recipients, yes.interactions) = (names("r", 64), names("i", 64));
    let given = record(0, 1, Decision::Given, yes.clone());
    let no = |number| record(number, 2, Decision::Withdrawn, terms(&[], &[], &["r-1"], false));
    let log = ConsentLog { records: [given.clone()].into_iter().chain((1..2_000).map(no)).collect() };
    let begun = std::time::Instant::now();
    assert!(log.in_force(&given, &vocabulary, 9), "when in doubt, the record is kept");
    assert!(log.no_lifted_by(&yes, &vocabulary, |_| true).is_some(), "when in doubt, the person decides");
    assert!(begun.elapsed().as_secs() < 5);
}

#[test]
fn a_yes_expires_and_does_not_cover_other_recipients() {
    let mut ended = terms(&["memory"], &[], &[], false);
    ended.until_ms = Some(1_000);
    let log = [record(0, 1, Decision::Given, ended)];
    assert!(matches!(cover(&log, "memory", "work"), Cover::Denied { reason: NoConsent::Expired, .. }));
    let other = [record(0, 1, Decision::Given, terms(&["memory"], &[], &["other"], false))];
    assert!(!allowed(&other, "memory", "work"));
}

#[test]
fn a_denial_reports_the_reason_nearest_to_a_yes() {
    let denied = |log: &[ConsentRecord], category| match cover(log, "memory", category) {
        Cover::Denied { reason, by } => (reason, by),
        Cover::Allowed { .. } => panic!("allowed"),
    };
    let refused = record(0, 1, Decision::Refused, terms(&["memory"], &["health"], &[], false));
    let not_explicit = record(1, 2, Decision::Given, terms(&["memory"], &["health"], &[], false));
    let by = Some(not_explicit.event_id);
    assert_eq!(denied(&[refused.clone(), not_explicit.clone()], "health"), (NoConsent::NotExplicit, by));
    let mut ended = record(1, 2, Decision::Given, terms(&["memory"], &["health"], &[], true));
    ended.terms.until_ms = Some(500);
    assert_eq!(
        denied(&[refused.clone(), ended.clone()], "health"),
        (NoConsent::Expired, Some(ended.event_id))
    );
    // A consent in force is nearer to a yes than one that has ended, even if it is not explicit.
    let wide = record(2, 3, Decision::Given, terms(&["memory"], &[], &[], false));
    let by = Some(wide.event_id);
    assert_eq!(denied(&[ended.clone(), wide], "health"), (NoConsent::NotExplicit, by));
    let withdrawn = record(2, 3, Decision::Withdrawn, terms(&["memory"], &[], &[], false));
    let by = Some(withdrawn.event_id);
    assert_eq!(denied(&[refused, ended, withdrawn], "health"), (NoConsent::Withdrawn, by));
    let mut not_explicit_and_ended = not_explicit;
    not_explicit_and_ended.terms.until_ms = Some(500);
    assert_eq!(denied(&[not_explicit_and_ended], "health"), (NoConsent::Silence, None));
}

#[test]
fn a_no_that_names_nothing_covers_everything() {
    let yes = record(0, 1, Decision::Given, terms(&["memory"], &["health"], &["tutor"], true));
    let no = record(1, 2, Decision::Withdrawn, terms(&[], &[], &[], false));
    assert!(!allowed(&[yes, no], "memory", "health"));
}

#[test]
fn explicit_consent_may_name_any_category_between_the_case_and_its_special_ancestor() {
    let mut vocabulary = default_vocabulary();
    for (id, parent) in [("allergies", "health"), ("nut-allergy", "allergies")] {
        let category = sayso_proof::event::CategoryDefined {
            id: id.into(),
            parent: parent.into(),
            ..sayso_proof::event::CategoryDefined::default()
        };
        vocabulary.define_category(category, Since::default());
    }
    assert_eq!(vocabulary.special_ancestry("nut-allergy"), ["nut-allergy", "allergies", "health"]);
    let covers = |category: &str, explicit| {
        let yes = record(0, 1, Decision::Given, terms(&["memory"], &[category], &[], explicit));
        let log = ConsentLog { records: vec![yes] };
        let case = ConsentCase {
            purpose: "memory",
            category: "nut-allergy",
            recipient: "tutor",
            interaction: "",
            now_ms: 9,
        };
        matches!(log.cover(&vocabulary, &case), Cover::Allowed { .. })
    };
    assert!(covers("nut-allergy", true) && covers("allergies", true) && covers("health", true));
    assert!(!covers("nut-allergy", false) && !covers("health", false) && !covers("work", true));
}

const WORDS: [&[&str]; 4] = [&["memory"], &["personalization"], &["memory", "safety"], &["safety"]];
const KINDS: [&[&str]; 5] = [&[], &["work"], &["health"], &["mental-health", "work"], &["family"]];
const NAMES: [&[&str]; 3] = [&[], &["tutor"], &["other", "tutor"]];

/// Picks from few words and few times, so that decisions often have the same scope or time.
fn any_record() -> impl Strategy<Value = ConsentRecord> {
    let decisions = [Decision::Given, Decision::Refused, Decision::Renewed, Decision::Withdrawn];
    (
        (0_u64..6, 0_u64..7),
        0_usize..4,
        0_usize..4,
        0_usize..5,
        0_usize..3,
        any::<bool>(),
        proptest::option::of(500_u64..1500),
    )
        .prop_map(
            move |((time_ms, about_ms), decision, purposes, categories, recipients, explicit, until)| {
                let mut terms = terms(WORDS[purposes], KINDS[categories], NAMES[recipients], explicit);
                terms.until_ms = until;
                // About half of the decisions state the time at which they were recorded.
                let about_ms = if about_ms % 2 == 0 { time_ms } else { about_ms };
                ConsentRecord { about_ms, ..record(time_ms, time_ms, decisions[decision], terms) }
            },
        )
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

/// Converts a scope to the set of every id that it covers. If the scope covers everything, the set also has
/// one undefined id.
fn covered_ids(named: &[String], none_is_all: bool, parents: &[(&str, &str)]) -> BTreeSet<String> {
    if named.is_empty() && none_is_all {
        let all = parents.iter().map(|(word, _)| (*word).to_owned());
        return all.chain(["undefined".to_owned()]).collect();
    }
    let mut covered: BTreeSet<String> = named.iter().cloned().collect();
    loop {
        let below = parents.iter().filter(|(_, parent)| covered.contains(*parent));
        let more: BTreeSet<String> = below.map(|(word, _)| (*word).to_owned()).collect();
        if more.is_subset(&covered) {
            return covered;
        }
        covered.extend(more);
    }
}

/// Splits a decision into one decision for each combination of its names.
fn single_choices(record: &ConsentRecord) -> Vec<ConsentRecord> {
    let one = |names: &[String]| match names {
        [] => vec![Vec::new()],
        names => names.iter().map(|name| vec![name.clone()]).collect(),
    };
    let mut choices = Vec::new();
    for purposes in one(&record.terms.purposes) {
        for categories in one(&record.terms.categories) {
            for recipients in one(&record.terms.recipients) {
                let (purposes, categories) = (purposes.clone(), categories.clone());
                let terms = Terms { purposes, categories, recipients, ..record.terms.clone() };
                choices.push(ConsentRecord { terms, ..record.clone() });
            }
        }
    }
    choices
}

/// The model: applies the consent rule to sets of ids, for decisions that name one thing on each axis.
/// Returns the consent that allows the use, if there is one.
fn model(log: &[ConsentRecord], category: &str) -> Option<EventId> {
    let purposes = [("personalization", ""), ("memory", "personalization"), ("safety", "")];
    let categories = [("work", ""), ("family", ""), ("health", ""), ("mental-health", "health")];
    let recipients = [("tutor", ""), ("other", "")];
    let special = matches!(category, "health" | "mental-health");
    let scope = |record: &ConsentRecord| {
        let no = !record.decision.is_yes();
        [
            covered_ids(&record.terms.purposes, no, &purposes),
            covered_ids(&record.terms.categories, true, &categories),
            covered_ids(&record.terms.recipients, true, &recipients),
        ]
    };
    let covers = |record: &ConsentRecord| {
        let [purposes, categories, recipients] = scope(record);
        let covered =
            purposes.contains("memory") && categories.contains(category) && recipients.contains("tutor");
        let named = record.terms.categories.iter().any(|name| name == "health" || name == category);
        covered && (!special || !record.decision.is_yes() || record.terms.explicit && named)
    };
    let said = |yes: &ConsentRecord| (yes.about_ms.min(yes.sealed_at_ms), yes.position);
    let lifts = |yes: &ConsentRecord, no: &ConsentRecord| {
        let within = scope(yes).iter().zip(scope(no)).all(|(narrow, wide)| narrow.is_subset(&wide));
        no.sealed_at_ms < said(yes).0 && within
    };
    let (mut yes, no): (Vec<_>, Vec<_>) = log
        .iter()
        .flat_map(single_choices)
        .filter(|choice| covers(choice))
        .partition(|choice| choice.decision.is_yes());
    yes.sort_by_key(|choice| std::cmp::Reverse(said(choice)));
    let in_force = yes.iter().take_while(|yes| yes.terms.until_ms.is_none_or(|until| until > 1_000));
    let mut in_force = in_force.filter(|yes| no.iter().all(|no| lifts(yes, no)));
    in_force.next().map(|yes| yes.event_id)
}

/// Every combination of the words above.
fn cases() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    let categories =
        |purpose| ["work", "family", "health", "mental-health"].map(move |category| (purpose, category));
    let pairs = ["memory", "personalization", "safety"].into_iter().flat_map(categories);
    pairs.flat_map(|(purpose, category)| ["tutor", "other"].map(|recipient| (purpose, category, recipient)))
}

proptest! {
    #![proptest_config(crate::domain::histories::cases(2_000))]

    #[test]
    fn the_rule_agrees_with_the_model(log in histories(), category in 0_usize..4) {
        let category = ["work", "health", "mental-health", "family"][category];
        let found = match cover(&log, "memory", category) {
            Cover::Allowed { by, .. } => by.consent(),
            Cover::Denied { .. } => None,
        };
        prop_assert_eq!(found, model(&log, category));
    }

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
    fn a_later_no_to_all_purposes_ends_every_yes(mut log in histories(), category in 0_usize..4) {
        let category = ["work", "health", "mental-health", "family"][category];
        log.push(record(99, 99, Decision::Withdrawn, terms(&["personalization"], &[], &[], false)));
        prop_assert!(!allowed(&log, "memory", category));
    }

    #[test]
    fn a_yes_that_would_lift_a_refusal_by_the_data_subject_is_found(
        mut log in histories(),
        own in any::<u8>(),
        mut yes in any_record(),
    ) {
        for (number, no) in (0..8_u32).zip(&mut log) {
            let role = if own & (1 << number) == 0 { Role::Channel } else { Role::Subject };
            no.actor.role = role;
        }
        if !yes.decision.is_yes() {
            yes.decision = Decision::Given;
        }
        (yes.about_ms, yes.sealed_at_ms, yes.position) = (99, 99, 99);
        let vocabulary = default_vocabulary();
        let own = |record: &ConsentRecord| record.actor.role == Role::Subject;
        let lifted = ConsentLog { records: log.clone() }.no_lifted_by(&yes.terms, &vocabulary, own).cloned();
        let mut lifts_anew = false;
        for (purpose, category, recipient) in cases() {
            let case = ConsentCase { purpose, category, recipient, interaction: "", now_ms: 1_000 };
            let expanded = ExpandedCase::new(&vocabulary, case);
            let lifts = |yes: &ConsentRecord, no: &ConsentRecord| {
                let reaches = (expanded.refusal_reach(&no.terms), expanded.consent_reach(&yes.terms, yes.given()));
                let (Some(no_reach), Some(reach)) = reaches else { return false };
                yes.decision.is_yes() && !blocks((no, no_reach), (yes, reach))
            };
            let refusals = log.iter().filter(|no| own(no) && !no.decision.is_yes());
            lifts_anew |= refusals.clone().any(|no| lifts(&yes, no) && !log.iter().any(|before| lifts(before, no)));
        }
        prop_assert!(!lifts_anew || lifted.is_some(), "the yes lifts a refusal that only the data subject may lift");
        // If the data subject recorded no refusal that the yes may cover, none is reported.
        let any = log.iter().any(|no| own(no) && !no.decision.is_yes() && overlap(&yes.terms, &no.terms, &vocabulary));
        prop_assert!(any || lifted.is_none());
    }

    #[test]
    fn decisions_about_other_recipients_do_not_matter(log in histories(), purpose in 0_usize..3, category in 0_usize..4) {
        let (log, vocabulary) = (ConsentLog { records: log }, default_vocabulary());
        let purpose = ["memory", "safety", "personalization"][purpose];
        let category = ["work", "health", "mental-health", "family"][category];
        for recipient in ["", "tutor", "other", "unknown"] {
            let case = ConsentCase { purpose, category, recipient, interaction: "", now_ms: 1_000 };
            let about = log.about_recipient(recipient);
            prop_assert_eq!(about.cover(&vocabulary, &case), log.cover(&vocabulary, &case));
            prop_assert_eq!(about.allowing(&vocabulary, &case), log.allowing(&vocabulary, &case));
            for basis in [DeclaredBasis::Contract, DeclaredBasis::LegitimateInterest, DeclaredBasis::LegalObligation] {
                let room = |log: &ConsentLog| log.leave_room_for(basis, &vocabulary, &case);
                prop_assert_eq!(room(&about), room(&log));
            }
        }
    }

    #[test]
    fn the_consent_that_allows_a_case_is_a_yes_that_covers_it(log in histories(), category in 0_usize..4) {
        let category = ["work", "health", "mental-health", "family"][category];
        if let Cover::Allowed { by, .. } = cover(&log, "memory", category) {
            let yes = log.iter().find(|record| Some(record.event_id) == by.consent()).unwrap();
            prop_assert!(yes.decision.is_yes());
            prop_assert!(yes.terms.until_ms.is_none_or(|until| until > 1_000));
            let special = category.contains("health");
            prop_assert!(!special || yes.terms.explicit);
            // Check that no later refusal or withdrawal covers the case.
            let names = |record: &&ConsentRecord| {
                let purpose = record.terms.purposes.iter().any(|p| p == "memory" || p == "personalization");
                let recipient = record.terms.recipients.is_empty() || record.terms.recipients.iter().any(|r| r == "tutor");
                purpose && recipient && (record.terms.categories.is_empty() || record.terms.categories.iter().any(|c| c == category))
            };
            let later = |record: &&ConsentRecord| !record.decision.is_yes() && record.sealed_at_ms >= yes.sealed_at_ms;
            prop_assert!(!log.iter().filter(later).any(|record| names(&record)));
        }
    }
}

proptest! {
    // Each case decides many uses.
    #![proptest_config(crate::domain::histories::cases(200))]

    /// A no narrows a consent if and only if it ends the consent in some case.
    #[test]
    fn a_no_narrows_only_a_consent_that_allowed_a_case_before_it(mut log in histories(), mut no in any_record()) {
        if no.decision.is_yes() {
            no.decision = Decision::Refused;
        }
        (no.about_ms, no.sealed_at_ms, no.position) = (99, 99, 99);
        let vocabulary = default_vocabulary();
        let before = ConsentLog { records: log.clone() };
        log.push(no.clone());
        let after = ConsentLog { records: log };
        for yes in before.records().iter().filter(|record| record.decision.is_yes()) {
            let purposes = ["personalization", "memory", "safety", "tone-adaptation"];
            let categories = ["", "work", "family", "health", "mental-health", "finance"];
            let narrowed = purposes.into_iter().any(|purpose| categories.into_iter().any(|category| {
                ["", "tutor", "other"].into_iter().any(|recipient| {
                    let case = ConsentCase { purpose, category, recipient, interaction: "", now_ms: 99 };
                    let allows = |log: &ConsentLog| {
                        log.allowing(&vocabulary, &case).iter().any(|(allowing, _)| allowing.event_id == yes.event_id)
                    };
                    allows(&before) && !allows(&after)
                })
            }));
            prop_assert_eq!(Narrowing::of(&after, yes).is_by(&no, &vocabulary), narrowed);
            let is_yes = |other: &ConsentRecord| other.event_id == yes.event_id;
            prop_assert_eq!(would_narrow(&before, &no.terms, &vocabulary, 99, is_yes), narrowed);
        }
    }
}
