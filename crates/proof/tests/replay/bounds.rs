//! Tests how the verifier checks grants against published bounds and against a person's own bounds.

use super::*;

fn published(pack: &str, version: &str, effective_from_ms: u64) -> BoundsPublished {
    let (pack, version) = (pack.into(), version.into());
    BoundsPublished { pack, version, tier: 2, effective_from_ms, ..BoundsPublished::default() }
}

/// A grant must cite the effective versions of bounds: for each pack, the version with the highest rank.
#[test]
fn bounds_are_in_force_from_their_effective_time() {
    let mut log = Log::with_vocabulary();
    let first = log.size();
    log.append_system_event(Event::BoundsPublished(published("a", "1", 0)));
    log.append_system_event(Event::BoundsPublished(published("b", "1", 0)));
    log.append_system_event(Event::BoundsPublished(published("a", "2", START_MS + 1_000_000)));
    log.append_system_event(Event::BoundsPublished(published("a", "3", 0)));
    let attribute_id = log.append(ada(), recorded(attribute("key", "food")));
    let consent_id = log.append(ada(), given(wide()));
    for bounds in [vec![first + 1, first + 3], vec![first, first + 1], vec![first + 1, first + 2]] {
        let Event::GrantIssued(issued) = grant(attribute_id, consent_id, "key", "food") else { panic!() };
        log.append(ada(), Event::GrantIssued(GrantIssued { bounds, ..issued }));
    }
    assert_eq!(faults(&log), [Fault::OtherBounds, Fault::OtherBounds]);
}

/// A data subject's own bounds are replayed without a policy engine.
#[test]
fn grants_are_checked_against_personal_bounds() {
    let never = |category: &str, purposes: &[&str]| {
        let purposes = purposes.iter().map(ToString::to_string).collect();
        PersonalBoundsSet {
            never: vec![NeverUse { category: category.into(), purposes }],
            ..PersonalBoundsSet::default()
        }
    };
    let of = PersonalBoundsSet::default;
    let own = [
        (of(), None),
        (never("preference", &[]), Some(Fault::PersonalBounds)),
        (never("work", &[]), None),
        (never("", &["personalization"]), Some(Fault::PersonalBounds)),
        (never("food", &["advertising"]), None),
        (PersonalBoundsSet { only_recipients: vec!["nobody".into()], ..of() }, Some(Fault::PersonalBounds)),
        (PersonalBoundsSet { paused: true, ..of() }, Some(Fault::Paused)),
        (PersonalBoundsSet { paused_interactions: vec!["chat".into()], ..of() }, None),
        (PersonalBoundsSet { ask_each_time: true, ..of() }, Some(Fault::NotAsked)),
    ];
    for (choices, fault) in own {
        let mut log = Log::with_vocabulary();
        let attribute_id = log.append(ada(), recorded(attribute("key", "food")));
        let consent_id = log.append(ada(), given(wide()));
        log.append(ada(), Event::PersonalBoundsSet(choices.clone()));
        log.append(ada(), grant(attribute_id, consent_id, "key", "food"));
        // Choices that were taken back no longer apply.
        log.append(ada(), Event::PersonalBoundsSet(PersonalBoundsSet::default()));
        log.append(ada(), grant(attribute_id, consent_id, "key", "food"));
        assert_eq!(faults(&log), fault.into_iter().collect::<Vec<_>>(), "{choices:?}");
    }
}

/// The operator of the ledger cannot publish bounds in another publisher's name.
#[test]
fn bounds_must_be_signed_once_the_log_has_subject_entries() {
    let mut log = Log::with_vocabulary();
    log.append_system_event(Event::BoundsPublished(published("first", "1", 0)));
    log.append(ada(), recorded(attribute("key", "food")));
    log.append_system_event(Event::BoundsPublished(published("later", "1", 0)));
    assert_eq!(faults(&log), [Fault::UnsignedRule]);
}

/// The faults of a grant of an attribute that is stated as declared but was derived from health, while the
/// person wants only their own statements to be used.
fn faults_of_a_conclusion(edition: u32, category: &str) -> Vec<Fault> {
    let mut log = Log::with_vocabulary();
    log.append_system_event(Event::DecisionRulesAdopted(DecisionRulesAdopted { edition }));
    let source = log.append(ada(), recorded(attribute("source", category)));
    let derived = Attribute { derived_from: vec![source.to_vec()], ..attribute("key", "food") };
    let derived = log.append(ada(), recorded(derived));
    log.append(ada(), given(explicit(&["health"])));
    let consent_id = log.append(ada(), given(wide()));
    let choices = PersonalBoundsSet { declared_only: true, ..PersonalBoundsSet::default() };
    log.append(ada(), Event::PersonalBoundsSet(choices));
    log.append(ada(), grant(derived, consent_id, "key", "food"));
    faults(&log)
}

#[test]
fn from_edition_3_on_what_was_derived_from_a_special_category_counts_as_inferred() {
    assert_eq!(faults_of_a_conclusion(2, "health"), []);
    assert_eq!(faults_of_a_conclusion(3, "health"), [Fault::PersonalBounds]);
    assert_eq!(faults_of_a_conclusion(3, "allergy"), [Fault::PersonalBounds]);
    assert_eq!(faults_of_a_conclusion(3, "work"), []);
}
