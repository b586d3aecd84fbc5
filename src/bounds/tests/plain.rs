//! The decision once more, from the events themselves: no fold, no vocabulary's lines, no Cedar. Scopes are
//! spelt out as sets of words, rules are plain structs. Written from the design, not from the code.

use crate::domain::attribute::Attribute;
use crate::domain::consent::Decision as Said;
use crate::domain::event::{Event, Recorded, SignalKind};
use crate::domain::ids::EventId;
use proptest::prelude::*;
use sayso_proof::event::{AgeBand, Provenance, Tier};
use std::collections::{BTreeMap, BTreeSet};

/// Word and what it is part of, as far as the histories speak of them.
const CATEGORIES: [(&str, &str); 5] = [
    ("work", ""),
    ("preference", ""),
    ("language", "preference"),
    ("health", ""),
    ("mental-health", "health"),
];
const PURPOSES: [(&str, &str); 3] = [("memory", "personalization"), ("personalization", ""), ("safety", "")];
const DAY_MS: u64 = 86_400_000;

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub purpose: &'static str,
    pub recipient: &'static str,
    pub interaction: &'static str,
    pub now_ms: u64,
}

/// A rule; what it does not name it does not ask about.
#[derive(Clone, Debug)]
pub struct Rule {
    pub tier: Tier,
    pub permit: bool,
    pub category: Option<&'static str>,
    pub purpose: Option<&'static str>,
    pub provenance: Option<Provenance>,
    pub recipient: Option<&'static str>,
    pub flag: Option<(&'static str, bool)>,
    pub older_than_days: Option<u64>,
    pub band: Option<&'static str>,
}

const FLAGS: [&str; 12] = [
    "consented",
    "explicit",
    "guardian",
    "restricted",
    "objected",
    "paused",
    "conversation_paused",
    "opted_out",
    "contested",
    "expired",
    "derived",
    "source_withheld",
];

fn maybe<T: Clone + std::fmt::Debug + 'static>(words: &'static [T]) -> impl Strategy<Value = Option<T>> {
    prop_oneof![2 => Just(None), 1 => proptest::sample::select(words).prop_map(Some)]
}

pub fn rule() -> impl Strategy<Value = Rule> {
    let tier = proptest::sample::select(&[Tier::Public, Tier::Provider, Tier::Individual][..]);
    let words = (
        maybe(&["work", "preference", "language", "health"]),
        maybe(&["memory", "personalization", "safety"]),
        maybe(&[Provenance::Declared, Provenance::Observed, Provenance::Inferred]),
        maybe(&["tutor", "coach"]),
    );
    let flag = (maybe(&FLAGS), any::<bool>());
    let rest = (flag, maybe(&[0, 1, 2]), maybe(&["child", "teen", "adult", "unknown"]));
    (tier, any::<bool>(), words, rest).prop_map(
        |(
            tier,
            permit,
            (category, purpose, provenance, recipient),
            ((flag, holds), older_than_days, band),
        )| Rule {
            tier,
            permit: permit && tier != Tier::Public,
            category,
            purpose,
            provenance,
            recipient,
            flag: flag.map(|flag| (flag, holds)),
            older_than_days,
            band,
        },
    )
}

fn provenance_name(provenance: Provenance) -> &'static str {
    match provenance {
        Provenance::Declared => "declared",
        Provenance::Observed => "observed",
        _ => "inferred",
    }
}

impl Rule {
    /// As Cedar writes it.
    pub fn cedar(&self, number: usize) -> String {
        let effect = if self.permit { "permit" } else { "forbid" };
        let principal = self.recipient.map(|name| format!(" == Recipient::\"{name}\"")).unwrap_or_default();
        let resource = self.category.map(|name| format!(" in Category::\"{name}\"")).unwrap_or_default();
        let mut when = Vec::new();
        when.extend(self.purpose.map(|name| format!("context.purpose in Purpose::\"{name}\"")));
        when.extend(self.provenance.map(|is| format!("resource.provenance == \"{}\"", provenance_name(is))));
        when.extend(self.flag.map(|(name, holds)| format!("context.{name} == {holds}")));
        when.extend(self.older_than_days.map(|days| format!("context.age_days > {days}")));
        when.extend(self.band.map(|band| format!("context.age_band == \"{band}\"")));
        let when = if when.is_empty() { String::new() } else { format!(" when {{ {} }}", when.join(" && ")) };
        let scope = format!("principal{principal}, action in Action::\"use\", resource{resource}");
        format!("@id(\"r{number}\") @order(\"{number}\") {effect} ({scope}){when};")
    }

    fn applies(&self, case: &Plain<'_>) -> bool {
        self.category.is_none_or(|category| above(case.category, &CATEGORIES).contains(category))
            && self.purpose.is_none_or(|purpose| above(case.asked.purpose, &PURPOSES).contains(purpose))
            && self.provenance.is_none_or(|provenance| provenance == case.provenance)
            && self.recipient.is_none_or(|recipient| recipient == case.asked.recipient)
            && self.flag.is_none_or(|(name, holds)| case.flags.contains(name) == holds)
            && self.older_than_days.is_none_or(|days| case.age_days > days)
            && self.band.is_none_or(|band| band == case.band)
    }
}

/// One attribute's case, with everything that a rule asks about.
struct Plain<'a> {
    asked: Asked,
    category: &'a str,
    provenance: Provenance,
    flags: BTreeSet<&'static str>,
    age_days: u64,
    band: &'static str,
}

/// A word and everything above it.
fn above<'a>(word: &'a str, parents: &[(&'a str, &'a str)]) -> BTreeSet<&'a str> {
    let mut all = BTreeSet::from([word]);
    while let Some((_, parent)) = parents
        .iter()
        .find(|(word, parent)| all.contains(word) && !parent.is_empty() && !all.contains(parent))
    {
        all.insert(parent);
    }
    all
}

/// Everything below what is named; none named: everything, where that is what it means.
fn below<'a>(named: &[String], none_is_all: bool, parents: &[(&'a str, &'a str)]) -> BTreeSet<&'a str> {
    let all = parents.iter().map(|(word, _)| *word);
    if named.is_empty() && none_is_all {
        return all.chain(["whatever else"]).collect();
    }
    all.filter(|word| above(word, parents).iter().any(|above| named.iter().any(|name| name == above)))
        .collect()
}

/// What is held under a key.
#[derive(Clone)]
pub struct Held<'a> {
    pub event: EventId,
    pub attribute: &'a Attribute,
    pub contested: bool,
    own_word: bool,
}

pub fn held(events: &[Recorded]) -> BTreeMap<String, Held<'_>> {
    let mut held: BTreeMap<String, Held<'_>> = BTreeMap::new();
    for each in events {
        let (attribute, corrected) = match &each.event {
            Event::AttributeRecorded(attribute) => (attribute, None),
            Event::AttributeCorrected { corrects, attribute } => (attribute, Some(*corrects)),
            Event::AttributeContested { attribute, .. } | Event::AttributeConfirmed { attribute } => {
                let contested = matches!(each.event, Event::AttributeContested { .. });
                for fact in held.values_mut().filter(|fact| fact.event == *attribute) {
                    fact.contested = contested;
                    fact.own_word = !contested || fact.attribute.provenance == Provenance::Declared;
                }
                continue;
            }
            Event::AttributeRemoved { attribute, .. } => {
                held.retain(|_, fact| fact.event != *attribute);
                continue;
            }
            _ => continue,
        };
        let inferred = attribute.provenance == Provenance::Inferred;
        let same_conclusion =
            |fact: &Held<'_>| fact.contested && inferred && fact.attribute.value == attribute.value;
        let gone = held.values().find(|fact| Some(fact.event) == corrected).cloned();
        held.retain(|_, fact| Some(fact.event) != corrected);
        let there = held.get(&attribute.key);
        // An inference never overrides the person's own word.
        if inferred && there.is_some_and(|fact| fact.own_word) {
            continue;
        }
        let contested = there.is_some_and(same_conclusion) || gone.as_ref().is_some_and(same_conclusion);
        let own_word = attribute.provenance == Provenance::Declared;
        held.insert(attribute.key.clone(), Held { event: each.event_id, attribute, contested, own_word });
    }
    held
}

/// Signals that stand: kind, purposes (none: all), conversation.
fn signals(events: &[Recorded]) -> Vec<(SignalKind, Option<BTreeSet<String>>, String)> {
    let mut standing: Vec<(SignalKind, Option<BTreeSet<String>>, String)> = Vec::new();
    for each in events {
        let Event::Signal { kind, purposes, lifted, interaction } = &each.event else { continue };
        let named: BTreeSet<String> = purposes.iter().cloned().collect();
        if !lifted {
            standing.push((*kind, (!named.is_empty()).then_some(named), interaction.clone()));
            continue;
        }
        standing.retain_mut(|(of, about, place)| {
            if of != kind || !(interaction.is_empty() || interaction == place) {
                return true;
            }
            match about {
                _ if named.is_empty() => false,
                None => true,
                Some(about) => {
                    about.retain(|purpose| !named.contains(purpose));
                    !about.is_empty()
                }
            }
        });
    }
    standing
}

/// Each yes that stands for a category, newest first: event, explicit, a guardian's. And whether a yes would
/// stand if only it were explicit and named the special category.
fn grounds(events: &[Recorded], asked: &Asked, category: &str) -> (Vec<(EventId, bool, bool)>, bool) {
    let special = above(category, &CATEGORIES).contains("health");
    let said: Vec<(&Recorded, Said, &crate::domain::consent::Terms)> = events
        .iter()
        .filter_map(|each| match &each.event {
            Event::Consent { decision, terms } => Some((each, *decision, terms)),
            _ => None,
        })
        .collect();
    let scope = |yes: bool, terms: &crate::domain::consent::Terms| {
        let recipients = [("tutor", ""), ("coach", "")];
        [
            below(&terms.purposes, !yes, &PURPOSES),
            below(&terms.categories, true, &CATEGORIES),
            below(&terms.recipients, true, &recipients),
        ]
        .map(|words| words.into_iter().map(str::to_owned).collect::<BTreeSet<String>>())
    };
    let covers = |[purposes, categories, recipients]: &[BTreeSet<String>; 3]| {
        purposes.contains(asked.purpose)
            && categories.contains(category)
            && recipients.contains(asked.recipient)
    };
    let stands = |yes: &Recorded, terms| {
        said.iter().filter(|(_, said, _)| matches!(said, Said::Refused | Said::Withdrawn)).all(
            |(no, _, not)| {
                let against = scope(false, not);
                let within = scope(true, terms).iter().zip(&against).all(|(yes, no)| yes.is_subset(no));
                !covers(&against) || (yes.sealed_at_ms > no.sealed_at_ms && within)
            },
        )
    };
    let (mut found, mut almost) = (Vec::new(), false);
    for (each, decision, terms) in said.iter().rev() {
        let yes = matches!(decision, Said::Given | Said::Renewed);
        let lasts = terms.until_ms.is_none_or(|until| asked.now_ms < until);
        if !yes || !lasts || !covers(&scope(true, terms)) || !stands(each, terms) {
            continue;
        }
        let named = terms.categories.iter().any(|name| name == "health" || name == category);
        if special && !(terms.explicit && named) {
            almost = true;
        } else {
            found.push((each.event_id, terms.explicit, terms.guardian));
        }
    }
    (found, almost)
}

fn band(events: &[Recorded]) -> &'static str {
    let mut band = "unknown";
    for each in events {
        if let Event::SubjectDescribed(said) = &each.event {
            band = match said.age_band() {
                AgeBand::Unspecified => band,
                AgeBand::Unknown => "unknown",
                AgeBand::Child => "child",
                AgeBand::Teen => "teen",
                AgeBand::Adult => "adult",
            };
        }
    }
    band
}

/// The signals that stand against what is asked, as flags.
fn signal_flags(events: &[Recorded], asked: &Asked) -> BTreeSet<&'static str> {
    let line = above(asked.purpose, &PURPOSES);
    let standing = signals(events);
    let signal = |kind: SignalKind, interaction: &str| {
        standing.iter().any(|(of, about, place)| {
            let meant =
                about.as_ref().is_none_or(|about| about.iter().any(|word| line.contains(word.as_str())));
            *of == kind && place == interaction && meant
        })
    };
    let here = !asked.interaction.is_empty() && signal(SignalKind::Pause, asked.interaction);
    let flags = [
        ("restricted", signal(SignalKind::Restriction, "")),
        ("objected", signal(SignalKind::Objection, "")),
        ("paused", signal(SignalKind::Pause, "")),
        ("opted_out", signal(SignalKind::OptOut, "")),
        ("conversation_paused", here),
    ];
    flags.into_iter().filter(|(_, holds)| *holds).map(|(name, _)| name).collect()
}

/// The consent that allows an attribute, or the policy that does not (`built-in/consent`: none did, and
/// nothing was consented to).
pub fn decide(
    events: &[Recorded],
    rules: &[Rule],
    asked: &Asked,
    key: &str,
    above_it: &[EventId],
) -> Result<EventId, String> {
    let all = held(events);
    let fact = &all[key];
    let above_it: Vec<EventId> = above_it.iter().copied().chain([fact.event]).collect();
    let usable = |source: &EventId| {
        let source = all.iter().find(|(_, fact)| fact.event == *source);
        source.is_some_and(|(key, fact)| {
            !above_it.contains(&fact.event) && decide(events, rules, asked, key, &above_it).is_ok()
        })
    };
    let attribute = fact.attribute;
    let mut flags = signal_flags(events, asked);
    let mut hold = |name, holds: bool| {
        if holds {
            flags.insert(name);
        }
    };
    hold("contested", fact.contested);
    hold("expired", attribute.expires_at_ms.is_some_and(|end| end <= asked.now_ms));
    hold("derived", !attribute.derived_from.is_empty());
    hold("source_withheld", !attribute.derived_from.iter().all(usable));
    let (yes, almost) = grounds(events, asked, &attribute.category);
    let mut kinds: Vec<(Option<EventId>, bool, bool)> = Vec::new();
    for (event, explicit, guardian) in yes {
        if !kinds.iter().any(|kind| (kind.1, kind.2) == (explicit, guardian)) {
            kinds.push((Some(event), explicit, guardian));
        }
    }
    let consented = !kinds.is_empty() || almost;
    if kinds.is_empty() {
        kinds.push((None, false, false));
    }
    let mut first = None;
    for (event, explicit, guardian) in kinds {
        let mut flags = flags.clone();
        for (name, holds) in [("consented", consented), ("explicit", explicit), ("guardian", guardian)] {
            if holds {
                flags.insert(name);
            }
        }
        let age_days = (asked.now_ms - attribute.observed_at_ms) / DAY_MS;
        let (category, provenance) = (attribute.category.as_str(), attribute.provenance);
        let case = Plain { asked: *asked, category, provenance, flags, age_days, band: band(events) };
        match (against(rules, &case), event) {
            (None, Some(event)) => return Ok(event),
            (None, None) => first = first.or(Some("built-in/consent".to_owned())),
            (Some(policy), _) => first = first.or(Some(policy)),
        }
    }
    Err(first.unwrap())
}

/// Tier by tier: the first rule that forbids; of the provider's, otherwise that none permits.
fn against(rules: &[Rule], case: &Plain<'_>) -> Option<String> {
    for (tier, pack) in [(Tier::Public, "p1"), (Tier::Provider, "p2"), (Tier::Individual, "p3")] {
        let mut of_tier =
            rules.iter().enumerate().filter(|(_, rule)| rule.tier == tier && rule.applies(case));
        let permitted = tier != Tier::Provider || of_tier.clone().any(|(_, rule)| rule.permit);
        if let Some((number, _)) = of_tier.find(|(_, rule)| !rule.permit) {
            return Some(format!("{pack}/r{number}"));
        }
        if !permitted {
            return Some("none".into());
        }
    }
    None
}
