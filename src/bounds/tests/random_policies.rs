//! Tests with random policies over random histories: decisions agree with a plain model (`model.rs`), and
//! adding a restriction never allows more attributes.

use super::model::{Rule, Use, current, rule};
use super::*;
use crate::domain::DAY_MS;
use crate::domain::consent::Decision as Consent;
use crate::domain::event::{Event, Recorded, SignalKind};
use crate::domain::histories::{
    CATEGORIES, CONVERSATIONS, PURPOSES, RECIPIENTS, recorded, terms, varied_histories,
};
use crate::domain::ids::EventId;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::LazyLock;

static VOCABULARY: LazyLock<Vocabulary> = LazyLock::new(default_vocabulary);
const SIGNALS: [SignalKind; 5] = [
    SignalKind::Restriction,
    SignalKind::Objection,
    SignalKind::Pause,
    SignalKind::OptOut,
    SignalKind::OptOutAutomated,
];

fn some_use() -> impl Strategy<Value = Use> {
    let words = (
        proptest::sample::select(&PURPOSES[..]),
        proptest::sample::select(&RECIPIENTS[..]),
        proptest::sample::select(&["", CONVERSATIONS[0], CONVERSATIONS[1]][..]),
    );
    (words, 0_u64..4).prop_map(|((purpose, recipient, interaction), days)| Use {
        purpose,
        recipient,
        interaction,
        now_ms: NOW_MS + days * DAY_MS,
    })
}

/// Rules of which one permits everything. Otherwise most random rules would deny every use.
fn rules() -> impl Strategy<Value = Vec<Rule>> {
    proptest::collection::vec(rule(), 0..7).prop_map(|mut rules| {
        rules.push(Rule {
            tier: Tier::Provider,
            permit: true,
            category: None,
            purpose: None,
            provenance: None,
            recipient: None,
            flag: None,
            older_than_days: None,
            consented_before_days: None,
            notice_version: None,
            band: None,
        });
        rules
    })
}

fn bounds_of(rules: &[Rule], more: Option<(Tier, &str)>) -> Bounds {
    let mut packs = Vec::new();
    for (tier, name) in [(Tier::Public, "p1"), (Tier::Provider, "p2"), (Tier::Individual, "p3")] {
        let of_tier = rules.iter().enumerate().filter(|(_, rule)| rule.tier == tier);
        let text: Vec<String> = of_tier.map(|(number, rule)| rule.cedar(number)).collect();
        packs.push(pack(tier, name, &text.join("\n")));
    }
    packs.extend(more.map(|(tier, text)| pack(tier, "more", text)));
    compile(packs).unwrap()
}

/// For each key, the consent that allows the attribute, or the policy that denies it.
fn decided(
    bounds: &Bounds,
    events: &[Recorded],
    use_case: &Use,
) -> BTreeMap<String, Result<EventId, String>> {
    let state = SubjectState::fold(events);
    let one = |key: &String| {
        let keys = [key.clone()];
        let Use { purpose, recipient, interaction, now_ms } = *use_case;
        let case = Case { recipient, purpose, categories: &[], keys: &keys, interaction, now_ms };
        let decision = bounds.decide(&state, &VOCABULARY, &case);
        match (decision.allowed.as_slice(), decision.withheld.as_slice()) {
            ([allowed], []) => (key.clone(), Ok(allowed.basis.consent().unwrap())),
            ([], [class]) => (key.clone(), Err(class.policy.clone())),
            _ => panic!("an attribute is either allowed or withheld"),
        }
    };
    state.attributes.keys().map(one).collect()
}

fn allowed(bounds: &Bounds, events: &[Recorded], use_case: &Use) -> Vec<String> {
    let decided = decided(bounds, events, use_case).into_iter();
    decided.filter(|(_, outcome)| outcome.is_ok()).map(|(key, _)| key).collect()
}

fn followed_by(events: &[Recorded], event: Event) -> Vec<Recorded> {
    let mut more = events.to_vec();
    more.push(recorded(events.len() as u64, NOW_MS, event));
    more
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn decisions_agree_with_the_model(
        events in varied_histories(),
        rules in rules(),
        use_case in some_use(),
    ) {
        let expected: BTreeMap<String, Result<EventId, String>> = current(&events)
            .into_keys()
            .map(|key| {
                let outcome = model::decide(&events, &rules, &use_case, &key, &[]);
                (key, outcome)
            })
            .collect();
        prop_assert_eq!(decided(&bounds_of(&rules, None), &events, &use_case), expected);
    }

}

proptest! {
    // Each case compiles nine sets of rules.
    #![proptest_config(cases(80))]

    /// The restrictions are a forbidding rule, a rule of the individual tier, a rule whose evaluation fails,
    /// a no (a refusal or withdrawal of consent), and a signal.
    #[test]
    fn no_further_restriction_allows_more(
        events in varied_histories(),
        rules in rules(),
        use_case in some_use(),
        one_more in rule(),
        no in terms(),
        category in proptest::sample::select(&CATEGORIES[..]),
    ) {
        let bounds = bounds_of(&rules, None);
        let before = allowed(&bounds, &events, &use_case);
        let within = |after: Vec<String>| after.iter().all(|key| before.contains(key));

        let forbids = Rule { permit: false, ..one_more.clone() }.cedar(99);
        prop_assert!(within(allowed(&bounds_of(&rules, Some((one_more.tier, &forbids))), &events, &use_case)));
        // Rules of the individual tier never allow more, even if they permit.
        let own = Rule { tier: Tier::Individual, ..one_more }.cedar(99);
        prop_assert!(within(allowed(&bounds_of(&rules, Some((Tier::Individual, &own))), &events, &use_case)));

        // The evaluation of this rule fails from the second day on, for one category.
        let errs = format!(
            "@id(\"errs\") forbid (principal, action in Action::\"use\", resource in Category::\"{category}\") \
             when {{ 9223372036854775807 + context.age_days < 0 }};"
        );
        for tier in [Tier::Public, Tier::Provider, Tier::Individual] {
            let failing = bounds_of(&rules, Some((tier, &errs)));
            let after = allowed(&failing, &events, &use_case);
            let state = SubjectState::fold(&events);
            let is_affected = |key: &String| {
                VOCABULARY.category_ancestry(&state.attributes[key].attribute.category).contains(&category)
            };
            prop_assert!(use_case.now_ms < DAY_MS || !after.iter().any(is_affected));
            prop_assert!(within(after));
        }

        let bounds = bounds_of(&without_rewards(&rules), None);
        let before = allowed(&bounds, &events, &use_case);
        for decision in [Consent::Refused, Consent::Withdrawn] {
            let refused = followed_by(&events, Event::Consent { decision, terms: no.clone() });
            let after = allowed(&bounds, &refused, &use_case);
            prop_assert!(after.iter().all(|key| before.contains(key)));
        }
        for kind in SIGNALS {
            let event = Event::Signal { kind, purposes: Vec::new(), lifted: false, interaction: String::new() };
            let after = allowed(&bounds, &followed_by(&events, event), &use_case);
            prop_assert!(after.iter().all(|key| before.contains(key)));
        }
    }
}

/// Whether a rule forbids because there is consent, or permits because there is none. A provider can write
/// such a rule, and a no (a refusal or withdrawal of consent) may then allow more. Under all other rules, a
/// no never allows more.
fn rewards_a_no(rule: &Rule) -> bool {
    rule.flag.is_some_and(|(name, is_set)| {
        let is_consent = ["consented", "explicit", "guardian"].contains(&name);
        if rule.permit { is_consent != is_set } else { is_consent == is_set }
    })
}

fn without_rewards(rules: &[Rule]) -> Vec<Rule> {
    rules.iter().filter(|rule| !rewards_a_no(rule)).cloned().collect()
}
