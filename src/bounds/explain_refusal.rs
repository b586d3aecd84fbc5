//! Explains to a person why a class of attributes (a category with a provenance) was withheld. The text says
//! what was withheld, under which rule, who set the rule, since when it is in force, and what would change
//! the decision.

use crate::bounds::personal_bounds::personal_title;
use crate::bounds::rulebook::Rules;
use crate::domain::event::{Actor, Event, HoldPlaced, Reason, Recorded, Role, WithheldClass};
use crate::domain::ids::EventId;
use crate::domain::wording;

/// Explains why a class was withheld, from the rules at the moment of the decision and the data subject's
/// history. The text names no values.
pub(crate) fn refusal(class: &WithheldClass, rules: &Rules, history: &[Recorded]) -> String {
    let reason = class.reason;
    let mut text = format!("{} withheld: {}.", wording::what(class), wording::reason(reason));
    let by = class.decided_by_event;
    let own_event = by.and_then(|by| history.iter().find(|event| event.event_id == by));
    let own_event =
        own_event.or_else(|| (reason == Reason::Contested).then(|| contest_of(class, history)).flatten());
    match own_event {
        Some(event) => text.push_str(&own_event_text(event, class, history)),
        None => text.push_str(&rule_text(class, rules)),
    }
    if let Some(source) = class.source {
        text.push_str(&source_text(source, history));
    }
    let annotated = rules.bounds.annotation(&class.policy, "remedy").filter(|_| own_event.is_none());
    let remedy = annotated.unwrap_or_else(|| wording::remedy_of(class));
    if !remedy.is_empty() {
        text.push(' ');
        text.push_str(remedy);
    }
    text
}

/// The newest event by which the data subject contested an attribute of this class.
fn contest_of<'a>(class: &WithheldClass, history: &'a [Recorded]) -> Option<&'a Recorded> {
    let is_of_class = |id: EventId| {
        let recorded = history.iter().find(|event| event.event_id == id);
        recorded.is_some_and(|event| match &event.event {
            Event::AttributeRecorded(attribute) | Event::AttributeCorrected { attribute, .. } => {
                attribute.category == class.category && attribute.provenance == class.provenance
            }
            _ => false,
        })
    };
    let contests = |event: &&Recorded| match &event.event {
        Event::AttributeContested { attribute, .. } => is_of_class(*attribute),
        _ => false,
    };
    history.iter().rev().find(contests)
}

/// The data subject's own decision, signal or choice.
fn own_event_text(event: &Recorded, class: &WithheldClass, history: &[Recorded]) -> String {
    let at = wording::time(event.recorded_at_ms);
    let through = match event.actor.role {
        Role::Subject => String::new(),
        _ => format!(", through {}", who(&event.actor)),
    };
    match &event.event {
        Event::PersonalBoundsSet(choices) => {
            let title = personal_title(choices, &class.policy);
            let title = title.map(|title| format!(": \"{title}\"")).unwrap_or_default();
            format!(" The person's own rule `{}`{title}, set on {at}{through}.", class.policy)
        }
        Event::ErasureRefused(refused) => {
            let is_cited = |placed: &&HoldPlaced| refused.holds.contains(&placed.hold);
            let holds = history.iter().filter_map(|event| match &event.event {
                Event::HoldPlaced(placed) => Some(placed),
                _ => None,
            });
            let codes: Vec<&str> = holds.filter(is_cited).map(|placed| placed.code.as_str()).collect();
            let under = if codes.is_empty() {
                String::new()
            } else {
                format!(", under hold `{}`", codes.join("`, `"))
            };
            format!(" The erasure was refused on {at}{under} (`{}`).", cited(class))
        }
        _ => format!(" The person said so on {at}{through} (`{}`).", cited(class)),
    }
}

/// The rule, who set it, and since when it is in force.
fn rule_text(class: &WithheldClass, rules: &Rules) -> String {
    let tier = class.decided_by;
    let title = rules.bounds.annotation(&class.policy, "title").unwrap_or_default();
    let named = match title {
        "" => format!(" The rule is `{}`.", cited(class)),
        title => format!(" The rule is \"{title}\" (`{}`).", cited(class)),
    };
    let pack = class.policy.split('/').next().unwrap_or_default();
    let of = |version: &&crate::bounds::rulebook::Version| {
        version.pack.tier == class.decided_by && version.pack.pack == pack
    };
    let in_force = rules.packs().iter().filter_map(|(position, _)| rules.version_at(*position));
    let Some(version) = in_force.into_iter().find(of) else {
        return format!("{named} It was set by {}.", wording::tier(tier));
    };
    let by = match version.actor.role {
        Role::Ledger => "which came with this ledger".to_owned(),
        _ => format!("published by {}", who(&version.actor)),
    };
    format!(
        "{named} It was set by {}, in pack `{pack}` version {}, {by}, and is in force here since {}.",
        wording::tier(tier),
        version.pack.version,
        wording::time(version.starts_ms()),
    )
}

fn source_text(source: EventId, history: &[Recorded]) -> String {
    let recorded = history.iter().find(|event| event.event_id == source);
    recorded
        .map(|event| {
            let at = wording::time(event.recorded_at_ms);
            format!(" It was derived from what was recorded on {at} (event {source}), which may not be used.")
        })
        .unwrap_or_default()
}

/// The policy, and the article that it implements.
fn cited(class: &WithheldClass) -> String {
    match class.article.as_str() {
        "" => class.policy.clone(),
        article => format!("{}, {article}", class.policy),
    }
}

/// Names an actor in a sentence.
pub(crate) fn who(actor: &Actor) -> String {
    match actor.role {
        Role::Service if actor.name.is_empty() => "a service".to_owned(),
        Role::Steward if actor.name.is_empty() => "the controller's staff".to_owned(),
        Role::Authority if actor.name.is_empty() => "an authority".to_owned(),
        Role::Service => format!("the service `{}`", actor.name),
        Role::Channel if actor.name.is_empty() => "a channel".to_owned(),
        Role::Channel => format!("the channel `{}`", actor.name),
        Role::Subject => "the person".to_owned(),
        Role::Steward => format!("the controller's staff (`{}`)", actor.name),
        Role::Authority => format!("the authority `{}`", actor.name),
        Role::Ledger => "the ledger".to_owned(),
        _ => format!("`{}`", actor.name),
    }
}
