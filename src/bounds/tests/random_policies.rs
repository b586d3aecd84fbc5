//! Random policies over random histories: the decision is the plain one, and nothing that takes away gives.

use super::plain::{Asked, Rule, held, rule};
use super::*;
use crate::domain::consent::Decision as Said;
use crate::domain::event::{Event, Recorded, SignalKind};
use crate::domain::histories::{
    CATEGORIES, CONVERSATIONS, PURPOSES, RECIPIENTS, histories_of_anybody, recorded, terms,
};
use crate::domain::ids::EventId;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::LazyLock;

static WORDS: LazyLock<Vocabulary> = LazyLock::new(default_vocabulary);
const DAY_MS: u64 = 86_400_000;

fn asked() -> impl Strategy<Value = Asked> {
    let words = (
        proptest::sample::select(&PURPOSES[..]),
        proptest::sample::select(&RECIPIENTS[..]),
        proptest::sample::select(&["", CONVERSATIONS[0], CONVERSATIONS[1]][..]),
    );
    (words, 0_u64..4).prop_map(|((purpose, recipient, interaction), days)| Asked {
        purpose,
        recipient,
        interaction,
        now_ms: NOW_MS + days * DAY_MS,
    })
}

/// Rules that permit something: with none, everything is denied and nothing is shown.
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

/// By key: the consent that allows it, or the policy that does not.
fn decided(bounds: &Bounds, events: &[Recorded], asked: &Asked) -> BTreeMap<String, Result<EventId, String>> {
    let state = SubjectState::fold(events);
    let one = |key: &String| {
        let keys = [key.clone()];
        let Asked { purpose, recipient, interaction, now_ms } = *asked;
        let case = Case { recipient, purpose, categories: &[], keys: &keys, interaction, now_ms };
        let decision = bounds.decide(&state, &WORDS, &case);
        match (decision.allowed.as_slice(), decision.withheld.as_slice()) {
            ([allowed], []) => (key.clone(), Ok(allowed.consent)),
            ([], [class]) => (key.clone(), Err(class.policy.clone())),
            _ => panic!("an attribute is either allowed or withheld"),
        }
    };
    state.attributes.keys().map(one).collect()
}

fn allowed(bounds: &Bounds, events: &[Recorded], asked: &Asked) -> Vec<String> {
    let decided = decided(bounds, events, asked).into_iter();
    decided.filter(|(_, outcome)| outcome.is_ok()).map(|(key, _)| key).collect()
}

fn later(events: &[Recorded], event: Event) -> Vec<Recorded> {
    let mut more = events.to_vec();
    more.push(recorded(events.len() as u64, NOW_MS, event));
    more
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_decision_is_the_plain_one(
        events in histories_of_anybody(),
        rules in rules(),
        asked in asked(),
    ) {
        let plain: BTreeMap<String, Result<EventId, String>> = held(&events)
            .into_keys()
            .map(|key| {
                let outcome = plain::decide(&events, &rules, &asked, &key, &[]);
                (key, outcome)
            })
            .collect();
        prop_assert_eq!(decided(&bounds_of(&rules, None), &events, &asked), plain);
    }

}

proptest! {
    // Each case compiles nine sets of rules.
    #![proptest_config(ProptestConfig::with_cases(80))]

    /// A rule that forbids, in any tier; a tier more; a rule that errs; a no; a signal.
    #[test]
    fn nothing_that_takes_away_gives(
        events in histories_of_anybody(),
        rules in rules(),
        asked in asked(),
        one_more in rule(),
        no in terms(),
        category in proptest::sample::select(&CATEGORIES[..]),
    ) {
        let bounds = bounds_of(&rules, None);
        let before = allowed(&bounds, &events, &asked);
        let within = |after: Vec<String>| after.iter().all(|key| before.contains(key));

        let forbids = Rule { permit: false, ..one_more.clone() }.cedar(99);
        prop_assert!(within(allowed(&bounds_of(&rules, Some((one_more.tier, &forbids))), &events, &asked)));
        // The person's tier and the law take away whatever they say, permissions included.
        let own = Rule { tier: Tier::Individual, ..one_more }.cedar(99);
        prop_assert!(within(allowed(&bounds_of(&rules, Some((Tier::Individual, &own))), &events, &asked)));

        // It errs from the second day on, for one category.
        let errs = format!(
            "@id(\"errs\") forbid (principal, action in Action::\"use\", resource in Category::\"{category}\") \
             when {{ 9223372036854775807 + context.age_days < 0 }};"
        );
        for tier in [Tier::Public, Tier::Provider, Tier::Individual] {
            let erring = bounds_of(&rules, Some((tier, &errs)));
            let after = allowed(&erring, &events, &asked);
            let state = SubjectState::fold(&events);
            let struck = |key: &String| {
                WORDS.category_ancestry(&state.attributes[key].attribute.category).contains(&category)
            };
            prop_assert!(asked.now_ms < DAY_MS || !after.iter().any(struck));
            prop_assert!(within(after));
        }

        let sane = bounds_of(&sane(&rules), None);
        let before = allowed(&sane, &events, &asked);
        for decision in [Said::Refused, Said::Withdrawn] {
            let refused = later(&events, Event::Consent { decision, terms: no.clone() });
            let after = allowed(&sane, &refused, &asked);
            prop_assert!(after.iter().all(|key| before.contains(key)));
        }
        for kind in [SignalKind::Restriction, SignalKind::Objection, SignalKind::Pause, SignalKind::OptOut] {
            let event = Event::Signal { kind, purposes: Vec::new(), lifted: false, interaction: String::new() };
            let after = allowed(&sane, &later(&events, event), &asked);
            prop_assert!(after.iter().all(|key| before.contains(key)));
        }
    }
}

/// Whether a rule forbids where the person said yes, or permits where they said no. Sayso can't keep a
/// provider from writing one; its promise that a no never gives is about all others.
fn rewards_a_no(rule: &Rule) -> bool {
    rule.flag.is_some_and(|(name, holds)| {
        let gives = ["consented", "explicit", "guardian"].contains(&name);
        if rule.permit { gives != holds } else { gives == holds }
    })
}

fn sane(rules: &[Rule]) -> Vec<Rule> {
    rules.iter().filter(|rule| !rewards_a_no(rule)).cloned().collect()
}
