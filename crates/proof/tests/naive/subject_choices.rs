//! What a person said besides consent: signals, personal bounds, age, and requests for erasure that were
//! refused.

use super::Asked;
use super::attributes::Attribute;
use super::words::{self, Kind};
use sayso_proof::event::event_body::Event;
use sayso_proof::event::{
    AgeBand, ErasureRefused, ErasureScope, Ground, PersonalBoundsSet, RequestDecided, RequestOutcome,
    SignalKind, SignalRecorded,
};

fn purposes(asked: Asked<'_>) -> Vec<String> {
    words::upward(asked, Kind::Purpose, &asked.grant.purpose, words::now(asked))
}

fn categories(asked: Asked<'_>, of: &str) -> Vec<String> {
    words::upward(asked, Kind::Category, of, words::now(asked))
}

/// Whether a signal of this kind is in force that covers the grant.
pub fn is_signaled(asked: Asked<'_>, kind: SignalKind) -> bool {
    let above = purposes(asked);
    asked.own().any(|(line, event)| {
        let Event::SignalRecorded(signal) = event else { return false };
        if signal.kind() != kind
            || !signal.interaction.is_empty() && signal.interaction != asked.grant.interaction
        {
            return false;
        }
        let (names, ended) = left_of(asked, signal, asked.log.moment(line));
        !ended && (signal.purposes.is_empty() || names.iter().any(|name| above.contains(name)))
    })
}

/// The purposes that are left of a signal after all liftings, and whether it ended.
fn left_of(asked: Asked<'_>, signal: &SignalRecorded, sealed: u64) -> (Vec<String>, bool) {
    let mut names = signal.purposes.clone();
    for (line, event) in asked.own() {
        let Event::SignalLifted(lifted) = event else { continue };
        let counts_from = line.about_ms().min(asked.log.moment(line));
        let is_at_once = sealed == counts_from && asked.log.edition(line.position) >= 5;
        if lifted.kind != signal.kind
            || sealed > counts_from
            || is_at_once
            || !lifted.interaction.is_empty() && lifted.interaction != signal.interaction
        {
            continue;
        }
        if lifted.purposes.is_empty() {
            return (Vec::new(), true);
        }
        if !signal.purposes.is_empty() {
            names.retain(|name| !lifted.purposes.contains(name));
            if names.is_empty() {
                return (names, true);
            }
        }
    }
    (names, false)
}

/// Whether a signal forbids the whole grant.
pub fn signal_forbids(asked: Asked<'_>) -> bool {
    let sells = purposes(asked).iter().any(|name| name == "advertising" || name == "data-sale");
    is_signaled(asked, SignalKind::Restriction)
        || is_signaled(asked, SignalKind::Pause)
        || asked.edition() >= 3 && sells && is_signaled(asked, SignalKind::OptOut)
}

pub fn objected(asked: Asked<'_>) -> bool {
    is_signaled(asked, SignalKind::Objection)
}

fn own_bounds<'a>(asked: Asked<'a>) -> Option<&'a PersonalBoundsSet> {
    asked
        .own()
        .filter_map(|(_, event)| match event {
            Event::PersonalBoundsSet(set) => Some(set),
            _ => None,
        })
        .last()
}

pub fn asks_each_time(asked: Asked<'_>) -> bool {
    own_bounds(asked).is_some_and(|set| set.ask_each_time)
}

/// Whether the person's own bounds let an attribute be used, apart from `ask_each_time`.
pub fn own_bounds_allow(asked: Asked<'_>, attribute: &Attribute) -> bool {
    let Some(set) = own_bounds(asked) else { return true };
    let grant = asked.grant;
    let concluded =
        asked.edition() >= 3 && !attribute.by_subject && super::attributes::is_concluded(asked, attribute);
    let inferred = attribute.inferred || concluded;
    let never = set.never.iter().any(|never| {
        (never.category.is_empty() || categories(asked, &attribute.category).contains(&never.category))
            && (never.purposes.is_empty() || never.purposes.iter().any(|name| purposes(asked).contains(name)))
    });
    let declared = attribute.confirmed || attribute.declared && !concluded;
    let days = asked.now.saturating_sub(attribute.observed_at_ms) / 86_400_000;
    !(set.paused
        || set.paused_interactions.contains(&grant.interaction)
        || never
        || !set.only_recipients.is_empty() && !set.only_recipients.contains(&grant.recipient)
        || set.declared_only && !declared
        || set.forget_inferences_days > 0 && inferred && days >= u64::from(set.forget_inferences_days))
}

/// Whether a refused erasure keeps an attribute from the use.
pub fn is_kept_only(asked: Asked<'_>, attribute: &Attribute) -> bool {
    if asked.edition() < 3 {
        return false;
    }
    let covering: Vec<&ErasureRefused> =
        refusals(asked).into_iter().filter(|refusal| covers(asked, refusal, attribute)).collect();
    !covering.is_empty() && !covering.iter().any(|refusal| requires(asked, refusal))
}

fn refusals<'a>(asked: Asked<'a>) -> Vec<&'a ErasureRefused> {
    let all: Vec<(u64, &Event)> = asked.own().map(|(line, event)| (line.position, event)).collect();
    let has_attribute_before = |position: u64| {
        let is_attribute = |event: &Event| {
            matches!(
                event,
                Event::AttributeRecorded(_)
                    | Event::EarlierAttributeRecorded(_)
                    | Event::AttributeCorrected(_)
            )
        };
        all.iter().any(|(at, event)| *at < position && is_attribute(event))
    };
    let ends = |position: u64, request: &[u8]| {
        all.iter().any(|(at, event)| match event {
            _ if *at <= position => false,
            Event::RequestWithdrawn(withdrawn) => withdrawn.request == request,
            Event::ErasureRefused(later) => counts(later) && later.request == request,
            Event::RequestDecided(decided) => ends_profile(decided) && !has_attribute_before(*at),
            _ => false,
        })
    };
    let mut counted = Vec::new();
    for (position, event) in &all {
        let Event::ErasureRefused(refusal) = event else { continue };
        if counts(refusal) && !ends(*position, &refusal.request) {
            counted.push(refusal);
        }
    }
    counted
}

/// Whether a request was completed by an erasure of the profile.
fn ends_profile(decided: &RequestDecided) -> bool {
    let scope = decided.erasure.as_ref().map(|erasure| erasure.scope());
    decided.outcome() == RequestOutcome::Completed && scope == Some(ErasureScope::Profile)
}

/// Whether nothing is erased, on a ground of GDPR Art. 17(3).
fn counts(refusal: &ErasureRefused) -> bool {
    let on_a_ground = matches!(
        refusal.ground(),
        Ground::Expression
            | Ground::LegalObligation
            | Ground::PublicHealth
            | Ground::ArchivingResearch
            | Ground::LegalClaims
    );
    refusal.whole && on_a_ground
}

fn covers(asked: Asked<'_>, refusal: &ErasureRefused, attribute: &Attribute) -> bool {
    let above = categories(asked, &attribute.category);
    let in_scope = match refusal.scope() {
        ErasureScope::All | ErasureScope::Profile | ErasureScope::Content => true,
        ErasureScope::Category => above.contains(&refusal.category),
        ErasureScope::Key => refusal.key == attribute.key,
        ErasureScope::Unspecified | ErasureScope::Retention => false,
    };
    in_scope && (refusal.categories.is_empty() || refusal.categories.iter().any(|name| above.contains(name)))
}

fn requires(asked: Asked<'_>, refusal: &ErasureRefused) -> bool {
    let purpose = &asked.grant.purpose;
    let listed = ["legal-obligation", "public-health", "scientific-research", "legal-claims"];
    let barred = ["personalization", "persuasion", "advertising", "direct-marketing", "data-sale"];
    refusal.purposes.contains(purpose)
        && listed.contains(&purpose.as_str())
        && !purposes(asked).iter().any(|name| barred.contains(&name.as_str()))
}

/// What the newest statement of the person's age says at a moment: none if there is no statement, otherwise
/// whether they are 18.
pub fn is_adult(asked: Asked<'_>) -> Option<bool> {
    let statement = asked.own().filter_map(|(_, event)| match event {
        Event::SubjectDescribed(described)
            if described.age_band() != AgeBand::Unspecified || !described.born.is_empty() =>
        {
            Some(described)
        }
        _ => None,
    });
    let newest = statement.last()?;
    if !newest.born.is_empty() {
        return Some(is_18(&newest.born, asked.now));
    }
    match newest.age_band() {
        AgeBand::Adult => Some(true),
        AgeBand::Child | AgeBand::Teen => Some(false),
        AgeBand::Unspecified | AgeBand::Unknown => None,
    }
}

/// Whether somebody born then is 18: a year or month counts as its last day, and a day begins at 12:00 UTC.
fn is_18(born: &str, now: u64) -> bool {
    let parts: Vec<i64> = born.split('-').map(|part| part.parse().unwrap_or(9999)).collect();
    let (year, month) = (parts[0], parts.get(1).copied().unwrap_or(12));
    let day = parts.get(2).copied().unwrap_or(31);
    let last = |year, month| {
        days_before(if month == 12 { year + 1 } else { year }, month % 12 + 1, 1)
            - days_before(year, month, 1)
    };
    let day = day.min(last(year, month));
    // Somebody born on February 29 is 18 on March 1, which is what counting days gives.
    let birthday = days_before(year + 18, month, day);
    i64::try_from(now).unwrap_or(0) >= birthday * 86_400_000 + 43_200_000
}

/// Days from 1970-01-01 to a date, counted one by one.
fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let mut days = 0;
    for one in 1970..year {
        days += if leap(one) { 366 } else { 365 };
    }
    for one in year..1970 {
        days -= if leap(one) { 366 } else { 365 };
    }
    let lengths = [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    days + lengths.iter().take(month as usize - 1).sum::<i64>() + day - 1
}
