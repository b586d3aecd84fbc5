//! Tests of the checks of a log's rules: who must sign them, and what a definition must not do. The logs are
//! forged by an operator who has the log's key.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod log;

use ed25519_dalek::{Signer, SigningKey};
use log::*;
use sayso_proof::bundle::{self, Options, Report, Source};
use sayso_proof::context::definition_digest;
use sayso_proof::event::event_body::Event;
use sayso_proof::event::*;
use sayso_proof::replay::Fault;
use sayso_proof::rule::{RuleTier, TierKey};
use sayso_proof::writer::{self, Binding};
use sha2::{Digest, Sha256};
use std::path::Path;

const DAY_MS: u64 = 86_400_000;
/// The position of the pack in a log that [`begun`] made.
const HOUSE_AT: u64 = 8;

fn steward() -> SigningKey {
    SigningKey::from_bytes(&[21; 32])
}

fn authority() -> SigningKey {
    SigningKey::from_bytes(&[22; 32])
}

fn report_with(log: &Log, tier_keys: &[TierKey]) -> Report {
    let bytes = log.bundle();
    // The pack that the logs begin with has no policies.
    let known_bounds = vec![(RuleTier::Provider, Sha256::digest("").into())];
    let options = Options { tier_keys: tier_keys.to_vec(), known_bounds, ..Options::default() };
    bundle::verify(Source::Archive(Box::new(bytes.as_slice())), &log.verifier(), &options, &mut |_| ())
        .unwrap()
}

/// The faults of a log's rules, with their positions.
fn faults(log: &Log) -> Vec<(u64, Fault)> {
    let report = report_with(log, &[]);
    assert_eq!(report.grants_hold(), report.grants.findings.is_empty());
    report.grants.findings.iter().map(|finding| (finding.position, finding.fault)).collect()
}

fn bounds(tier: Tier, pack: &str, version: &str) -> Event {
    let (pack, version) = (pack.into(), version.into());
    Event::BoundsPublished(BoundsPublished { tier: tier.into(), pack, version, ..Default::default() })
}

fn purpose(id: &str, parent: &str, title: &str) -> Event {
    let (id, parent, title) = (id.into(), parent.into(), title.into());
    Event::PurposeDefined(PurposeDefined { id, parent, title, ..Default::default() })
}

fn category(id: &str, parent: &str, special: bool) -> Event {
    let (id, parent) = (id.into(), parent.into());
    Event::CategoryDefined(CategoryDefined { id, parent, special, ..Default::default() })
}

/// A log of this edition that the ledger began: with a pack, a few words and an entry of a data subject.
fn begun(edition: u32) -> Log {
    let mut log = Log::opened_by(Role::Ledger);
    log.append_rule(Role::Ledger, Event::DecisionRulesAdopted(DecisionRulesAdopted { edition }), None);
    for word in [purpose("personalization", "", "Adapt"), purpose("memory", "personalization", "Remember")] {
        log.append_rule(Role::Ledger, word, None);
    }
    for (id, parent, special) in
        [("preference", "", false), ("health", "", true), ("sleep", "health", false), ("money", "", false)]
    {
        log.append_rule(Role::Ledger, category(id, parent, special), None);
    }
    log.append_rule(Role::Ledger, bounds(Tier::Provider, "house", "1"), None);
    log.append(subject(1), recorded(attribute("key", "preference")));
    log
}

/// Signs an event for the next entry of a log.
fn bound(log: &Log, event: &Event, sequence: u64, key: &SigningKey) -> Option<WriterSignature> {
    let binding = Binding { origin: ORIGIN, sequence, signed_at_ms: log.now };
    Some(writer::sign(event, binding, key).unwrap())
}

/// A signature of the first form.
fn unbound(event: &Event, key: &SigningKey) -> Option<WriterSignature> {
    let mut bytes = b"sayso writer signature v1\n".to_vec();
    bytes.extend(writer::event_bytes(event));
    Some(WriterSignature {
        algorithm: -8,
        public_key: key.verifying_key().to_bytes().to_vec(),
        signature: key.sign(&bytes).to_bytes().to_vec(),
        ..WriterSignature::default()
    })
}

fn publish(log: &mut Log, event: Event, sequence: u64, key: &SigningKey) {
    let signature = bound(log, &event, sequence, key);
    log.append_rule(Role::Steward, event, signature);
}

#[test]
fn the_versions_of_each_rule_are_numbered_in_the_order_of_the_log() {
    let mut log = begun(4);
    publish(&mut log, bounds(Tier::Provider, "house", "2"), 2, &steward());
    publish(&mut log, bounds(Tier::Provider, "other", "1"), 1, &steward());
    publish(&mut log, purpose("memory", "personalization", "Remember more"), 2, &steward());
    publish(&mut log, category("sleep", "health", true), 2, &steward());
    // A new word needs no signature.
    log.append_rule(Role::Steward, purpose("recall", "memory", "Recall"), None);
    assert_eq!(faults(&log), []);
    for sequence in [1, 2, 4] {
        let mut forged = begun(4);
        publish(&mut forged, bounds(Tier::Provider, "house", "2"), 2, &steward());
        let at = forged.size();
        publish(&mut forged, bounds(Tier::Provider, "house", "3"), sequence, &steward());
        assert_eq!(faults(&forged), [(at, Fault::RuleSequence)], "number {sequence}");
    }
}

#[test]
fn a_version_is_published_once_in_logs_of_every_edition() {
    for edition in [0, 2, 3, 4] {
        let mut log = begun(edition);
        for (number, version) in [(2, "2"), (3, "3"), (4, "2")] {
            let event = bounds(Tier::Provider, "house", version);
            let signature = match edition {
                4 => bound(&log, &event, number, &steward()),
                _ => unbound(&event, &steward()),
            };
            log.append_rule(Role::Steward, event, signature);
        }
        let last = log.size() - 1;
        assert_eq!(faults(&log), [(last, Fault::RepeatedRule)], "edition {edition}");
    }
}

#[test]
fn a_required_notice_and_a_notice_are_published_once() {
    let mut log = begun(3);
    let notice = |version: &str| {
        let named = NoticeRef { version: version.into(), ..published_notice() };
        Event::NoticePublished(NoticePublished { notice: Some(named), text: "We ask.".into() })
    };
    for version in ["1", "2", "1"] {
        log.append_rule(Role::Steward, notice(version), None);
    }
    let twice = log.size() - 1;
    let (id, version) = ("n".into(), "2".into());
    let required = Event::NoticeRequired(NoticeRequired { id, version, effective_from_ms: 0 });
    for _ in 0..2 {
        log.append_rule(Role::Steward, required.clone(), unbound(&required, &steward()));
    }
    let again = log.size() - 1;
    assert_eq!(faults(&log), [(twice, Fault::RepeatedRule), (again, Fault::RepeatedRule)]);
}

#[test]
fn from_edition_4_on_a_signature_is_bound_to_the_log_and_a_time() {
    let with = |change: &dyn Fn(&Log, &Event) -> Option<WriterSignature>| {
        let mut log = begun(4);
        let event = bounds(Tier::Provider, "house", "2");
        let signature = change(&log, &event);
        log.append_rule(Role::Steward, event, signature);
        faults(&log).into_iter().map(|(_, fault)| fault).collect::<Vec<_>>()
    };
    let signed = |origin: &'static str, later_ms: u64, earlier_ms: u64| {
        move |log: &Log, event: &Event| {
            let binding = Binding { origin, sequence: 2, signed_at_ms: log.now + later_ms - earlier_ms };
            Some(writer::sign(event, binding, &steward()).unwrap())
        }
    };
    assert_eq!(with(&signed(ORIGIN, 0, 0)), []);
    assert_eq!(with(&signed(ORIGIN, 0, 29 * DAY_MS)), []);
    assert_eq!(with(&signed(ORIGIN, 0, 31 * DAY_MS)), [Fault::RuleTime]);
    assert_eq!(with(&signed(ORIGIN, 3_600_000, 0)), [Fault::RuleTime]);
    assert_eq!(with(&signed("sayso.example/other", 0, 0)), [Fault::UnsignedRule]);
    assert_eq!(with(&|_, event| unbound(event, &steward())), [Fault::UnboundRule]);
    assert_eq!(with(&|_, _| None), [Fault::UnsignedRule]);
}

#[test]
fn signatures_of_the_first_form_count_before_edition_4_and_not_after_it() {
    let mut log = begun(3);
    let event = bounds(Tier::Provider, "house", "2");
    log.append_rule(Role::Steward, event.clone(), unbound(&event, &steward()));
    assert_eq!(faults(&log), []);
    log.append_rule(Role::Ledger, Event::DecisionRulesAdopted(DecisionRulesAdopted { edition: 4 }), None);
    publish(&mut log, bounds(Tier::Provider, "house", "3"), 3, &steward());
    assert_eq!(faults(&log), []);
    let event = bounds(Tier::Provider, "house", "4");
    let at = log.size();
    log.append_rule(Role::Steward, event.clone(), unbound(&event, &steward()));
    assert_eq!(faults(&log), [(at, Fault::UnboundRule)]);
}

#[test]
fn unsigned_bounds_are_of_the_beginning_even_if_everybody_was_erased() {
    for edition in [0, 3, 4] {
        let mut log = begun(edition);
        let person = log.size() - 1;
        log.erase(&[person], true);
        let at = log.size();
        log.append_rule(Role::Authority, bounds(Tier::Public, "gdpr", "99"), None);
        assert_eq!(faults(&log), [(at, Fault::UnsignedRule)], "edition {edition}");
    }
    // From edition 4 on, the beginning ends with the first event that the ledger did not record by itself.
    let mut log = Log::opened_by(Role::Ledger);
    log.append_rule(Role::Ledger, Event::DecisionRulesAdopted(DecisionRulesAdopted { edition: 4 }), None);
    log.append_rule(Role::Ledger, bounds(Tier::Provider, "house", "1"), None);
    log.append_rule(Role::Steward, purpose("recall", "", "Recall"), None);
    assert_eq!(faults(&log), []);
    let at = log.size();
    log.append_rule(Role::Ledger, bounds(Tier::Provider, "more", "1"), None);
    assert_eq!(faults(&log), [(at, Fault::WrongPublisher), (at, Fault::UnsignedRule)]);
}

#[test]
fn one_key_does_not_sign_for_both_tiers() {
    let mut log = begun(4);
    publish(&mut log, bounds(Tier::Provider, "house", "2"), 2, &steward());
    let event = bounds(Tier::Public, "law", "1");
    let signature = bound(&log, &event, 1, &steward());
    let at = log.size();
    log.append_rule(Role::Authority, event, signature);
    assert_eq!(faults(&log), [(at, Fault::OtherTierKey)]);
}

#[test]
fn stewards_publish_no_public_bounds_and_services_publish_nothing() {
    for (role, tier) in [(Role::Steward, Tier::Public), (Role::Authority, Tier::Provider)] {
        let mut log = begun(4);
        let event = bounds(tier, "new", "1");
        let signature = bound(&log, &event, 1, &steward());
        log.append_rule(role, event, signature);
        assert_eq!(faults(&log), [(log.size() - 1, Fault::WrongPublisher)], "{role:?}");
    }
    let mut log = begun(4);
    log.append_rule(Role::Service, purpose("recall", "memory", "Recall"), None);
    assert_eq!(faults(&log), [(log.size() - 1, Fault::WrongPublisher)]);
}

#[test]
fn the_report_says_which_keys_signed_what_and_compares_them_with_the_trusted_ones() {
    let mut log = begun(4);
    let first = log.size();
    publish(&mut log, bounds(Tier::Provider, "house", "2"), 2, &steward());
    publish(&mut log, purpose("memory", "personalization", "Remember more"), 2, &steward());
    let event = bounds(Tier::Public, "law", "1");
    let signature = bound(&log, &event, 1, &authority());
    log.append_rule(Role::Authority, event, signature);
    let signers = report_with(&log, &[]).rules.signers;
    let seen: Vec<_> = signers
        .iter()
        .map(|one| (one.tier, one.trusted, one.bounds, one.definitions, one.first, one.last))
        .collect();
    assert_eq!(
        seen,
        [
            (RuleTier::Public, None, 1, 0, first + 2, first + 2),
            (RuleTier::Provider, None, 1, 1, first, first + 1)
        ]
    );
    assert_eq!(signers[1].key, hex::encode(steward().verifying_key().to_bytes()));

    let key = |tier, key: SigningKey| TierKey { tier, key: key.verifying_key() };
    let findings = |keys: &[TierKey]| {
        let findings = report_with(&log, keys).grants.findings;
        findings.into_iter().map(|finding| (finding.position, finding.fault)).collect::<Vec<_>>()
    };
    let right = [key(RuleTier::Public, authority()), key(RuleTier::Provider, steward())];
    assert_eq!(findings(&right), []);
    // A key that was replaced may be named beside the one that replaced it.
    let rotated = [key(RuleTier::Provider, SigningKey::from_bytes(&[9; 32])), right[1]];
    assert_eq!(findings(&rotated), []);
    let other = [key(RuleTier::Public, SigningKey::from_bytes(&[9; 32]))];
    assert_eq!(findings(&other), [(first + 2, Fault::UntrustedKey)]);
    // The key of one tier is not trusted for the other.
    let swapped = [key(RuleTier::Public, steward())];
    assert_eq!(findings(&swapped).len(), 3);
}

#[test]
fn a_special_category_never_becomes_ordinary_in_logs_of_every_edition() {
    for (edition, forged, expected) in [
        (0, category("health", "", false), Fault::SpecialLost),
        (3, category("health", "", false), Fault::SpecialLost),
        (4, category("health", "", false), Fault::SpecialLost),
        (0, category("sleep", "preference", false), Fault::SpecialLost),
        (4, category("sleep", "preference", false), Fault::SpecialLost),
        (4, category("sleep", "preference", true), Fault::AncestorLost),
    ] {
        let mut log = begun(edition);
        let signature =
            if edition == 4 { bound(&log, &forged, 2, &steward()) } else { unbound(&forged, &steward()) };
        let at = log.size();
        log.append_rule(Role::Steward, forged.clone(), signature);
        assert_eq!(faults(&log), [(at, expected)], "edition {edition}, {forged:?}");
    }
}

#[test]
fn a_scheduled_definition_makes_no_category_ordinary_that_became_special_in_the_meantime() {
    let mut log = begun(4);
    let later = Event::CategoryDefined(CategoryDefined {
        id: "money".into(),
        title: "Money".into(),
        effective_from_ms: log.now + 100_000,
        ..CategoryDefined::default()
    });
    let at = log.size();
    publish(&mut log, later, 2, &steward());
    assert_eq!(faults(&log), []);
    publish(&mut log, category("money", "", true), 3, &steward());
    assert_eq!(faults(&log), [(at, Fault::SpecialLost)]);
}

#[test]
fn a_definition_takes_no_word_away_from_another_and_builds_no_cycle_or_tower() {
    let defined = |events: Vec<Event>| {
        let mut log = begun(0);
        for event in events {
            log.append_rule(Role::Steward, event, None);
        }
        faults(&log).into_iter().map(|(_, fault)| fault).collect::<Vec<_>>()
    };
    assert_eq!(defined(vec![purpose("memory", "", "Remember")]), [Fault::AncestorLost]);
    assert_eq!(defined(vec![purpose("personalization", "memory", "Adapt")]), [Fault::TooDeep]);
    let inserted = vec![purpose("recall", "personalization", ""), purpose("memory", "recall", "")];
    assert_eq!(defined(inserted), []);
    let tower = |levels: usize| {
        let parent = |level| if level == 0 { String::new() } else { format!("t{}", level - 1) };
        let mut words: Vec<Event> =
            (0..levels).map(|level| purpose(&format!("t{level}"), &parent(level), "")).collect();
        words.push(purpose("personalization", &format!("t{}", levels - 1), "Adapt"));
        words
    };
    assert_eq!(defined(tower(30)), []);
    assert_eq!(defined(tower(31)), [Fault::TooDeep], "`memory` is below `personalization`");
}

#[test]
fn a_word_that_is_moved_or_redefined_widens_no_standing_consent_in_logs_of_every_edition() {
    for edition in [0, 2, 4] {
        for (moved, title) in [("advertising", "Advertise"), ("personalization", "Adapt")] {
            let mut log = begun(edition);
            log.append_rule(Role::Steward, purpose("advertising", "", "Advertise"), None);
            let fact = log.append(subject(1), recorded(attribute("other", "preference")));
            let yes = log.append(subject(1), given(terms(&["personalization"], &[], &[])));
            let redefined = match moved {
                "advertising" => purpose("advertising", "personalization", title),
                _ => purpose("memory", "personalization", "Sell"),
            };
            let signature = bound(&log, &redefined, 2, &steward());
            log.append_rule(Role::Steward, redefined, signature);
            let used = if moved == "advertising" { "advertising" } else { "memory" };
            let Event::GrantIssued(issued) = grant(fact, yes, "other", "preference") else { panic!() };
            let issued = GrantIssued { purpose: used.into(), bounds: vec![HOUSE_AT], ..issued };
            let at = log.size();
            log.append(subject(1), Event::GrantIssued(issued));
            assert_eq!(faults(&log), [(at, Fault::NoConsent)], "edition {edition}, {moved}");
        }
    }
}

/// The findings of a forged bundle that is kept beside the repository.
fn findings_of(name: &str, key: &str) -> Vec<(u64, Fault)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/bundles");
    let key = std::fs::read_to_string(folder.join(key)).unwrap();
    let source = Source::open(&folder.join(name)).unwrap();
    let report = bundle::verify(source, &key.trim().parse().unwrap(), &Options::default(), &mut |_| ());
    let report = report.unwrap();
    assert!(!report.grants_hold(), "{name}");
    report.grants.findings.iter().map(|finding| (finding.position, finding.fault)).collect()
}

#[test]
fn the_forged_bundles_about_rules_have_findings() {
    let replayed = findings_of("06-old-signed-bounds-replayed-over-newer.tar.zst", "log.vkey");
    assert_eq!(
        replayed,
        [(153, Fault::WrongPublisher), (154, Fault::RepeatedRule), (154, Fault::WrongPublisher)]
    );
    let unsigned = findings_of("07-unsigned-bounds-after-everybody-erased.tar.zst", "log.vkey");
    assert_eq!(unsigned, [(154, Fault::UnsignedRule)]);
}

#[test]
fn words_that_were_moved_by_calls_of_the_api_alone_widen_no_consent() {
    let moved = findings_of("13-purpose-and-category-reparented-by-the-API.key1.tar.zst", "key1.vkey");
    let expected = [(1650, Fault::AncestorLost), (1652, Fault::NoConsent), (1652, Fault::NoConsent)];
    assert_eq!(moved, expected);
}

/// Public bounds with a pack of this version.
fn law(version: &str) -> Event {
    let policies = "permit(principal, action, resource);".to_owned();
    let Event::BoundsPublished(bounds) = bounds(Tier::Public, "law", version) else { panic!() };
    Event::BoundsPublished(BoundsPublished { policies, ..bounds })
}

#[test]
fn unsigned_bounds_are_listed_and_are_a_fault_once_a_trusted_key_of_their_tier_has_signed() {
    let mut log = begun(4);
    let mut early = Log::opened_by(Role::Ledger);
    early.append_rule(Role::Ledger, law("1"), None);
    let public = TierKey { tier: RuleTier::Public, key: authority().verifying_key() };
    let provider = TierKey { tier: RuleTier::Provider, key: steward().verifying_key() };
    let faults = |log: &Log, key| {
        let findings = report_with(log, &[key]).grants.findings;
        findings.into_iter().map(|finding| (finding.position, finding.fault)).collect::<Vec<_>>()
    };
    // An older build may have shipped the pack that the log began with.
    assert_eq!(faults(&early, public), []);
    assert!(report_with(&early, &[public]).rules.bounds_unsigned_list.iter().all(|one| !one.known));
    let signature = bound(&early, &law("2"), 2, &authority());
    early.append_rule(Role::Authority, law("2"), signature);
    early.append_rule(Role::Authority, law("3"), None);
    assert_eq!(faults(&early, public), [(3, Fault::UnsignedRule)]);
    assert_eq!(faults(&early, provider), []);
    // The pack of the steward is known.
    assert_eq!(faults(&log, provider), []);
    log.append_system_event(category("garden", "", false));
    let rules = report_with(&log, &[]).rules;
    let listed = rules.bounds_unsigned_list.iter().map(|one| (one.position, one.pack.as_str(), one.known));
    assert_eq!(listed.collect::<Vec<_>>(), [(HOUSE_AT, "house", true)]);
    let ranges = rules.definitions_unsigned_at.iter().map(|range| (range.first, range.last));
    assert_eq!(ranges.collect::<Vec<_>>(), [(2, 7), (10, 10)]);
    assert_eq!((rules.bounds_unsigned, rules.definitions_unsigned, rules.definitions_known), (1, 7, 0));
}

#[test]
fn unsigned_definitions_that_the_user_knows_are_only_counted() {
    let log = begun(4);
    let known = [purpose("personalization", "", "Adapt"), category("preference", "", true)];
    let known_definitions = known.iter().map(definition_digest).collect();
    let options = Options { known_definitions, ..Options::default() };
    let bytes = log.bundle();
    let source = Source::Archive(Box::new(bytes.as_slice()));
    let rules = bundle::verify(source, &log.verifier(), &options, &mut |_| ()).unwrap().rules;
    // The category is known as a special one, so the ordinary one of the log is another definition.
    assert_eq!((rules.definitions_unsigned, rules.definitions_known), (6, 1));
    let listed = rules.definitions_unsigned_at.iter().map(|range| range.last - range.first + 1).sum::<u64>();
    assert_eq!(listed, 5);
}
