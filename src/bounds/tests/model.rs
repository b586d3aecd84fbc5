//! A model of decisions that works directly on the events. It uses neither the fold nor the vocabulary nor
//! Cedar. What a consent covers is given by sets of ids, and rules are simple structs. The model was
//! written from the design and not from the code, so that tests can compare the two.

use crate::bounds::tests::model_provenance::provenance;
use crate::bounds::tests::model_subject::{band, is_kept_only};
use crate::domain::attribute::Attribute;
use crate::domain::consent::{Decision as Consent, Terms};
use crate::domain::event::{Event, Provenance, Recorded, Role, SignalKind, Tier};
use crate::domain::ids::EventId;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Each id that occurs in histories, with its parent.
pub(super) const CATEGORIES: [(&str, &str); 5] = [
    ("work", ""),
    ("preference", ""),
    ("language", "preference"),
    ("health", ""),
    ("mental-health", "health"),
];
const PURPOSES: [(&str, &str); 5] = [
    ("memory", "personalization"),
    ("personalization", ""),
    ("safety", ""),
    ("data-sale", ""),
    ("legal-claims", ""),
];
pub(super) const DAY_MS: u64 = 86_400_000;

/// A use to decide.
#[derive(Clone, Copy, Debug)]
pub struct Use {
    pub purpose: &'static str,
    pub recipient: &'static str,
    pub interaction: &'static str,
    pub now_ms: u64,
}

/// A rule. A field that is `None` is not a condition of the rule.
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
    /// The consent was given more than this many days ago.
    pub consented_before_days: Option<u64>,
    /// The version of the notice that the consent names.
    pub notice_version: Option<&'static str>,
    pub band: Option<&'static str>,
}

const FLAGS: [&str; 13] = [
    "consented",
    "explicit",
    "guardian",
    "restricted",
    "objected",
    "paused",
    "conversation_paused",
    "opted_out",
    "opted_out_automated",
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
    let of_consent = (maybe(&[0, 1, 2]), maybe(&["", "1", "2"]));
    let rest = (flag, maybe(&[0, 1, 2]), of_consent, maybe(&["child", "teen", "adult", "unknown"]));
    (tier, any::<bool>(), words, rest).prop_map(
        |(
            tier,
            permit,
            (category, purpose, provenance, recipient),
            ((flag, is_set), older_than_days, (consented_before_days, notice_version), band),
        )| Rule {
            tier,
            permit: permit && tier != Tier::Public,
            category,
            purpose,
            provenance,
            recipient,
            flag: flag.map(|flag| (flag, is_set)),
            older_than_days,
            consented_before_days,
            notice_version,
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
    /// The rule as a Cedar policy.
    pub fn cedar(&self, number: usize) -> String {
        let effect = if self.permit { "permit" } else { "forbid" };
        let principal = self.recipient.map(|name| format!(" == Recipient::\"{name}\"")).unwrap_or_default();
        let resource = self.category.map(|name| format!(" in Category::\"{name}\"")).unwrap_or_default();
        let mut when = Vec::new();
        when.extend(self.purpose.map(|name| format!("context.purpose in Purpose::\"{name}\"")));
        when.extend(self.provenance.map(|is| format!("resource.provenance == \"{}\"", provenance_name(is))));
        when.extend(self.flag.map(|(name, is_set)| format!("context.{name} == {is_set}")));
        when.extend(self.older_than_days.map(|days| format!("context.age_days > {days}")));
        when.extend(self.consented_before_days.map(|days| format!("{days} < context.consent_days")));
        when.extend(self.notice_version.map(|version| format!("context.notice_version == \"{version}\"")));
        when.extend(self.band.map(|band| format!("context.age_band == \"{band}\"")));
        let when = if when.is_empty() { String::new() } else { format!(" when {{ {} }}", when.join(" && ")) };
        let scope = format!("principal{principal}, action in Action::\"use\", resource{resource}");
        format!("@id(\"r{number}\") @order(\"{number}\") {effect} ({scope}){when};")
    }

    fn applies(&self, request: &Request<'_>) -> bool {
        self.category.is_none_or(|category| ancestry(request.category, &CATEGORIES).contains(category))
            && self
                .purpose
                .is_none_or(|purpose| ancestry(request.use_case.purpose, &PURPOSES).contains(purpose))
            && self.provenance.is_none_or(|provenance| provenance == request.provenance)
            && self.recipient.is_none_or(|recipient| recipient == request.use_case.recipient)
            && self.flag.is_none_or(|(name, is_set)| request.flags.contains(name) == is_set)
            && self.older_than_days.is_none_or(|days| request.age_days > days)
            && self.consented_before_days.is_none_or(|days| request.consent_days > days)
            && self.notice_version.is_none_or(|version| request.notice_version == version)
            && self.band.is_none_or(|band| band == request.band)
    }
}

/// The inputs of a rule, for one attribute.
struct Request<'a> {
    use_case: Use,
    category: &'a str,
    provenance: Provenance,
    flags: BTreeSet<&'static str>,
    age_days: u64,
    consent_days: u64,
    notice_version: &'a str,
    band: &'static str,
}

/// An id and its ancestors.
pub(super) fn ancestry<'a>(id: &'a str, parents: &[(&'a str, &'a str)]) -> BTreeSet<&'a str> {
    let mut all = BTreeSet::from([id]);
    while let Some((_, parent)) =
        parents.iter().find(|(id, parent)| all.contains(id) && !parent.is_empty() && !all.contains(parent))
    {
        all.insert(parent);
    }
    all
}

/// The named ids and everything below them. If no id is named and `none_is_all` is true, the result has every
/// id, and one undefined id.
fn covered<'a>(named: &[String], none_is_all: bool, parents: &[(&'a str, &'a str)]) -> BTreeSet<&'a str> {
    let all = parents.iter().map(|(id, _)| *id);
    if named.is_empty() && none_is_all {
        return all.chain(["undefined"]).collect();
    }
    all.filter(|id| ancestry(id, parents).iter().any(|above| named.iter().any(|name| name == above)))
        .collect()
}

/// The current attribute under a key.
#[derive(Clone)]
pub struct Current<'a> {
    pub event: EventId,
    pub attribute: &'a Attribute,
    pub contested: bool,
    /// When the contest was recorded. Only a confirmation from after this time ends it.
    contested_at_ms: u64,
    is_declared: bool,
    by_person: bool,
}

pub fn current(events: &[Recorded]) -> BTreeMap<String, Current<'_>> {
    let mut current: BTreeMap<String, Current<'_>> = BTreeMap::new();
    for each in events {
        let (attribute, corrected) = match &each.event {
            // Which of two attributes is current follows from their times, not from the kinds of the events.
            Event::AttributeRecorded(attribute) | Event::EarlierAttributeRecorded(attribute) => {
                (attribute, None)
            }
            Event::AttributeCorrected { corrects, attribute } => (attribute, Some(*corrects)),
            Event::AttributeContested { attribute, .. } | Event::AttributeConfirmed { attribute } => {
                let contested = matches!(each.event, Event::AttributeContested { .. });
                for changed in current.values_mut().filter(|other| other.event == *attribute) {
                    if contested {
                        changed.contested_at_ms = each.sealed_at_ms;
                    } else if changed.contested && said_ms(each) <= changed.contested_at_ms {
                        continue;
                    }
                    changed.contested = contested;
                    changed.is_declared = !contested || changed.attribute.provenance == Provenance::Declared;
                }
                continue;
            }
            Event::AttributeRemoved { attribute, .. } => {
                current.retain(|_, other| other.event != *attribute);
                continue;
            }
            _ => continue,
        };
        let inferred = attribute.provenance == Provenance::Inferred;
        let same_inference =
            |other: &Current<'_>| other.contested && inferred && other.attribute.value == attribute.value;
        let corrected_one = current.values().find(|other| Some(other.event) == corrected).cloned();
        current.retain(|_, other| Some(other.event) != corrected);
        let before = current.get(&attribute.key);
        // An inference never overrides a declared or confirmed attribute.
        if inferred && before.is_some_and(|other| other.is_declared) {
            continue;
        }
        // An older observation that arrives late never hides a newer one. A correction names what it
        // replaces, and what the person declares replaces an inference at any time.
        let declares = attribute.provenance == Provenance::Declared;
        let hides_newer = |other: &Current<'_>| {
            let is_inference = other.attribute.provenance == Provenance::Inferred && !other.is_declared;
            other.attribute.observed_at_ms > attribute.observed_at_ms && !(declares && is_inference)
        };
        if corrected.is_none() && before.is_some_and(hides_newer) {
            continue;
        }
        let contested = before.filter(|other| same_inference(other));
        let contested = contested.or(corrected_one.as_ref().filter(|other| same_inference(other)));
        let contested_at_ms = contested.map_or(0, |other| other.contested_at_ms);
        let contested = contested.is_some();
        let is_declared = attribute.provenance == Provenance::Declared;
        let by_person = each.actor.role == Role::Subject;
        current.insert(
            attribute.key.clone(),
            Current { event: each.event_id, attribute, contested, contested_at_ms, is_declared, by_person },
        );
    }
    current
}

fn counted_provenance(all: &BTreeMap<String, Current<'_>>, of: &Current<'_>) -> Provenance {
    let by_event = all.values().map(|other| (other.event, other.attribute)).collect();
    let is_special = |category: &str| ancestry(category, &CATEGORIES).contains("health");
    provenance(&by_event, of.attribute, of.by_person, is_special)
}

/// The time at which something was said.
fn said_ms(event: &Recorded) -> u64 {
    event.about_ms.min(event.sealed_at_ms)
}

/// The active signals: kind, purposes (`None` means all), conversation.
fn signals(events: &[Recorded]) -> Vec<(SignalKind, Option<BTreeSet<String>>, String)> {
    let mut active: Vec<(u64, SignalKind, Option<BTreeSet<String>>, String)> = Vec::new();
    for each in events {
        let Event::Signal { kind, purposes, lifted, interaction } = &each.event else { continue };
        let named: BTreeSet<String> = purposes.iter().cloned().collect();
        if !lifted {
            let purposes = (!named.is_empty()).then_some(named);
            active.push((each.sealed_at_ms, *kind, purposes, interaction.clone()));
            continue;
        }
        active.retain_mut(|(sealed_at_ms, of, purposes, conversation)| {
            let is_later = said_ms(each) > *sealed_at_ms;
            if of != kind || !(interaction.is_empty() || interaction == conversation) || !is_later {
                return true;
            }
            match purposes {
                _ if named.is_empty() => false,
                None => true,
                Some(purposes) => {
                    purposes.retain(|purpose| !named.contains(purpose));
                    !purposes.is_empty()
                }
            }
        });
    }
    active.into_iter().map(|(_, kind, purposes, conversation)| (kind, purposes, conversation)).collect()
}

/// Splits terms into several: one for each combination of the names in them.
fn single_choices(terms: &Terms) -> Vec<Terms> {
    let one = |names: &[String]| match names {
        [] => vec![Vec::new()],
        names => names.iter().map(|name| vec![name.clone()]).collect(),
    };
    let mut choices = Vec::new();
    for purposes in one(&terms.purposes) {
        for categories in one(&terms.categories) {
            for recipients in one(&terms.recipients) {
                let (purposes, categories) = (purposes.clone(), categories.clone());
                choices.push(Terms { purposes, categories, recipients, ..terms.clone() });
            }
        }
    }
    choices
}

/// What rules may know about a consent; nothing is set if there is none.
#[derive(Clone, Default)]
struct Ground {
    event: Option<EventId>,
    explicit: bool,
    guardian: bool,
    days: u64,
    notice_version: String,
}

/// Each valid consent for a category, newest first. The flag says whether a consent lacks only explicitness
/// and the name of the special category.
fn grounds(events: &[Recorded], use_case: &Use, category: &str) -> (Vec<Ground>, bool) {
    let special = ancestry(category, &CATEGORIES).contains("health");
    // A decision with several names means the same as one for each combination of them.
    let decisions: Vec<(&Recorded, Consent, Terms)> = events
        .iter()
        .filter_map(|each| match &each.event {
            Event::Consent { decision, terms } => Some((each, *decision, terms)),
            _ => None,
        })
        .flat_map(|(each, decision, terms)| {
            single_choices(terms).into_iter().map(move |terms| (each, decision, terms))
        })
        .collect();
    let scope = |yes: bool, terms: &Terms| {
        let recipients = [("tutor", ""), ("coach", "")];
        [
            covered(&terms.purposes, !yes, &PURPOSES),
            covered(&terms.categories, true, &CATEGORIES),
            covered(&terms.recipients, true, &recipients),
        ]
        .map(|words| words.into_iter().map(str::to_owned).collect::<BTreeSet<String>>())
    };
    let covers = |[purposes, categories, recipients]: &[BTreeSet<String>; 3]| {
        purposes.contains(use_case.purpose)
            && categories.contains(category)
            && recipients.contains(use_case.recipient)
    };
    let is_consent = |decision: &Consent| matches!(decision, Consent::Given | Consent::Renewed);
    let is_unblocked = |yes: &Recorded, terms: &Terms| {
        decisions.iter().filter(|(_, decision, _)| !is_consent(decision)).all(|(no, _, no_terms)| {
            let against = scope(false, no_terms);
            let within = scope(true, terms).iter().zip(&against).all(|(yes, no)| yes.is_subset(no));
            !covers(&against) || (said_ms(yes) > no.sealed_at_ms && within)
        })
    };
    let is_special_named = |terms: &Terms| {
        !special || terms.explicit && terms.categories.iter().any(|name| name == "health" || name == category)
    };
    let mut consents: Vec<&(&Recorded, Consent, Terms)> = decisions
        .iter()
        .filter(|(_, decision, terms)| is_consent(decision) && covers(&scope(true, terms)))
        .collect();
    consents.sort_by_key(|(each, ..)| std::cmp::Reverse((said_ms(each), each.position)));
    let (mut found, mut lacks_explicitness, mut has_ended): (Vec<Ground>, bool, bool) =
        (Vec::new(), false, false);
    for (each, _, terms) in consents {
        let in_force = terms.until_ms.is_none_or(|until| use_case.now_ms < until);
        if !is_special_named(terms) {
            lacks_explicitness |= in_force && is_unblocked(each, terms);
            continue;
        }
        // The end of a consent also ends every consent that was given before it.
        has_ended |= !in_force;
        let is_known = found.iter().any(|other| other.event == Some(each.event_id));
        if !has_ended && !is_known && is_unblocked(each, terms) {
            found.push(Ground {
                event: Some(each.event_id),
                explicit: terms.explicit,
                guardian: terms.guardian,
                days: (use_case.now_ms - said_ms(each)) / DAY_MS,
                notice_version: terms
                    .notice
                    .as_ref()
                    .map(|notice| notice.version.clone())
                    .unwrap_or_default(),
            });
        }
    }
    (found, lacks_explicitness)
}

/// The signals against a use, as flags.
fn signal_flags(events: &[Recorded], use_case: &Use) -> BTreeSet<&'static str> {
    let purposes = ancestry(use_case.purpose, &PURPOSES);
    let active = signals(events);
    let signal = |kind: SignalKind, interaction: &str| {
        active.iter().any(|(of, named, conversation)| {
            let applies =
                named.as_ref().is_none_or(|named| named.iter().any(|id| purposes.contains(id.as_str())));
            *of == kind && conversation == interaction && applies
        })
    };
    let here = !use_case.interaction.is_empty() && signal(SignalKind::Pause, use_case.interaction);
    let flags = [
        ("restricted", signal(SignalKind::Restriction, "")),
        ("objected", signal(SignalKind::Objection, "")),
        ("paused", signal(SignalKind::Pause, "")),
        ("opted_out", signal(SignalKind::OptOut, "")),
        ("opted_out_automated", signal(SignalKind::OptOutAutomated, "")),
        ("conversation_paused", here),
    ];
    flags.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name).collect()
}

/// The consent that allows an attribute, or the policy that denies it. The result is `built-in/consent` if no
/// policy denies the attribute but there is no consent. `derived` are the attributes that the recursion has
/// already entered; they are all derived from this attribute.
pub fn decide(
    events: &[Recorded],
    rules: &[Rule],
    use_case: &Use,
    key: &str,
    derived: &[EventId],
) -> Result<EventId, String> {
    let all = current(events);
    let decided = &all[key];
    let derived: Vec<EventId> = derived.iter().copied().chain([decided.event]).collect();
    let usable = |source: &EventId| {
        let source = all.iter().find(|(_, other)| other.event == *source);
        source.is_some_and(|(key, other)| {
            !derived.contains(&other.event) && decide(events, rules, use_case, key, &derived).is_ok()
        })
    };
    let attribute = decided.attribute;
    if is_kept_only(events, use_case.purpose, key, &attribute.category) {
        return Err("built-in/kept-only".into());
    }
    let mut flags = signal_flags(events, use_case);
    let mut set = |name, is_set: bool| {
        if is_set {
            flags.insert(name);
        }
    };
    set("contested", decided.contested);
    set("expired", attribute.expires_at_ms.is_some_and(|end| end <= use_case.now_ms));
    set("derived", !attribute.derived_from.is_empty());
    set("source_withheld", !attribute.derived_from.iter().all(usable));
    let (mut grounds, lacks_explicitness) = grounds(events, use_case, &attribute.category);
    let consented = !grounds.is_empty() || lacks_explicitness;
    if grounds.is_empty() {
        grounds.push(Ground::default());
    }
    let mut first = None;
    for Ground { event, explicit, guardian, days, notice_version } in grounds {
        let mut flags = flags.clone();
        for (name, is_set) in [("consented", consented), ("explicit", explicit), ("guardian", guardian)] {
            if is_set {
                flags.insert(name);
            }
        }
        // An opt-out stops sale, no matter what the rules say. Rules that deny are named first.
        let is_stopped = flags.contains("opted_out") && use_case.purpose == "data-sale";
        let age_days = (use_case.now_ms - attribute.observed_at_ms) / DAY_MS;
        let (category, provenance) = (attribute.category.as_str(), counted_provenance(&all, decided));
        let request = Request {
            use_case: *use_case,
            category,
            provenance,
            flags,
            age_days,
            consent_days: days,
            notice_version: &notice_version,
            band: band(events, use_case.now_ms),
        };
        match (against(rules, &request), event) {
            (None, _) if is_stopped => first = first.or(Some("built-in/opt-out".to_owned())),
            (None, Some(event)) => return Ok(event),
            (None, None) => first = first.or(Some("built-in/consent".to_owned())),
            (Some(policy), _) => first = first.or(Some(policy)),
        }
    }
    Err(first.unwrap())
}

/// The first rule that denies, tier by tier; `none` if no rule of the provider permits.
fn against(rules: &[Rule], request: &Request<'_>) -> Option<String> {
    for (tier, pack) in [(Tier::Public, "p1"), (Tier::Provider, "p2"), (Tier::Individual, "p3")] {
        let mut of_tier =
            rules.iter().enumerate().filter(|(_, rule)| rule.tier == tier && rule.applies(request));
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
