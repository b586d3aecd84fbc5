//! Checks what a grant withholds: the numbers, and the reasons as far as they follow from the person's
//! events.

use super::attributes::{self, Attribute};
use super::words::{self, Kind};
use super::{Asked, consent, subject_choices};
use sayso_proof::event::event_body::Event;
use sayso_proof::event::{Provenance, Reason, SignalKind, Tier, WithheldClass};
use std::collections::{BTreeMap, BTreeSet};

/// Whether the numbers add up, and no reason is false.
pub fn is_right(asked: Asked<'_>) -> bool {
    let withheld = &asked.grant.withheld;
    withheld.is_empty() && asked.grant.ranking.is_none()
        || numbers_add_up(asked) && withheld.iter().all(|class| is_true(asked, class))
}

/// The id and the category of the current attribute under each key.
fn current(asked: Asked<'_>) -> BTreeMap<String, ([u8; 16], String)> {
    let mut now: BTreeMap<String, ([u8; 16], String)> = BTreeMap::new();
    for (line, event) in asked.own() {
        let before = attributes::attributes(Asked { position: line.position, ..asked });
        let after = attributes::attributes(Asked { position: line.position + 1, ..asked });
        let (recorded, ended) = match event {
            Event::AttributeRecorded(one) => (&one.attribute, None),
            Event::AttributeCorrected(one) => (&one.attribute, Some(&one.corrects)),
            Event::AttributeRemoved(one) => (&None, Some(&one.attribute)),
            Event::AttributeExpired(one) => (&None, Some(&one.attribute)),
            _ => continue,
        };
        now.retain(|_, (id, _)| ended.is_none_or(|ended| id[..] != ended[..]));
        let Some(new) = recorded else { continue };
        let is_late = after.iter().any(|one| one.id == line.id && one.replaced);
        let old = now.get(&new.key).and_then(|(id, _)| before.iter().find(|one| one.id == *id));
        let yields = new.provenance() == Provenance::Inferred && old.is_some_and(is_declared);
        if !(is_late || yields) {
            now.insert(new.key.clone(), (line.id, new.category.clone()));
        }
    }
    now
}

fn is_declared(one: &Attribute) -> bool {
    one.declared || one.confirmed
}

fn numbers_add_up(asked: Asked<'_>) -> bool {
    let grant = asked.grant;
    let current = current(asked);
    let allowed = grant.allowed.iter().map(|one| &one.category);
    let withheld = grant.withheld.iter().map(|one| &one.category);
    let owned = current.values().map(|(_, category)| category);
    let categories: BTreeSet<&String> = allowed.chain(withheld).chain(owned).collect();
    // What a ranking did not choose, of every category.
    let mut left =
        grant.ranking.map_or(0, |ranking| u64::from(ranking.permitted.saturating_sub(ranking.chosen)));
    let add_up = categories.into_iter().all(|category| {
        let above = words::upward(asked, Kind::Category, category, words::now(asked));
        let covered =
            grant.categories.is_empty() || grant.categories.iter().any(|named| above.contains(named));
        let is_asked_for = |key: &String| covered && (grant.keys.is_empty() || grant.keys.contains(key));
        let requested = current.iter().filter(|(key, (_, of))| of == category && is_asked_for(key)).count();
        let allowed = grant.allowed.iter().filter(|one| one.category == *category).count();
        let classes = grant.withheld.iter().filter(|one| one.category == *category);
        let withheld: u64 = classes.map(|one| u64::from(one.count)).sum();
        let (requested, stated) = (requested as u64, allowed as u64 + withheld);
        let fits = requested >= stated && requested - stated <= left;
        left -= if fits { requested - stated } else { 0 };
        fits
    });
    add_up && left == 0
}

/// Whether nothing shows that a reason is false.
fn is_true(asked: Asked<'_>, class: &WithheldClass) -> bool {
    fits_its_event(asked, class)
        && fits_its_policy(class)
        && names_its_event(asked, class)
        && !is_consented(asked, class)
        && (is_own_choice(asked, class)
            || has_its_cause(asked, class)
            || may_have_another_cause(asked, class))
}

fn decider<'a>(asked: Asked<'a>, class: &WithheldClass) -> Option<&'a Event> {
    let mut named = asked.own().filter(|(line, _)| line.id[..] == class.decided_by_event[..]);
    named.next().map(|(_, event)| event)
}

fn is_own_choice(asked: Asked<'_>, class: &WithheldClass) -> bool {
    class.decided_by() == Tier::Individual
        && matches!(decider(asked, class), Some(Event::PersonalBoundsSet(_)))
}

/// Whether a policy of the ledger itself can give the reason.
fn fits_its_policy(class: &WithheldClass) -> bool {
    let reason = class.reason();
    match class.policy.as_str() {
        "built-in/consent" => [
            Reason::NoConsent,
            Reason::ConsentRefused,
            Reason::ConsentWithdrawn,
            Reason::ConsentExpired,
            Reason::WordsChanged,
            Reason::NoticeOutdated,
            Reason::NotExplicit,
            Reason::SourceWithheld,
            Reason::Forbidden,
        ]
        .contains(&reason),
        "built-in/notice" => reason == Reason::NoticeOutdated,
        "built-in/opt-out" => reason == Reason::OptedOut,
        "built-in/kept-only" => reason == Reason::KeptOnly,
        "built-in/restore" => reason == Reason::RestoreUnconfirmed,
        "built-in/clock" => reason == Reason::ClockSkewed,
        "built-in/answer-size" => reason == Reason::AnswerFull,
        other => !other.starts_with("built-in/"),
    }
}

/// Whether the class names an event if it has to.
fn names_its_event(asked: Asked<'_>, class: &WithheldClass) -> bool {
    let of_person =
        class.decided_by() == Tier::Individual && class.reason() != Reason::Contested && asked.edition() >= 2;
    let of_policy = ["built-in/kept-only", "built-in/opt-out"].contains(&class.policy.as_str());
    !(of_person || of_policy) || !class.decided_by_event.is_empty()
}

/// The signal that is the cause of a reason.
fn signal_of(reason: Reason) -> Option<SignalKind> {
    match reason {
        Reason::Restricted => Some(SignalKind::Restriction),
        Reason::Objected => Some(SignalKind::Objection),
        Reason::Paused => Some(SignalKind::Pause),
        Reason::OptedOut => Some(SignalKind::OptOut),
        Reason::OptedOutAutomated => Some(SignalKind::OptOutAutomated),
        Reason::SensitiveLimited => Some(SignalKind::LimitSensitive),
        _ => None,
    }
}

/// Whether the person's events are a cause of the reason, if they have to be.
fn has_its_cause(asked: Asked<'_>, class: &WithheldClass) -> bool {
    if let Some(kind) = signal_of(class.reason()) {
        return subject_choices::is_signaled(asked, kind);
    }
    let all = attributes::attributes(asked);
    let current = current(asked);
    let mut of = current.values().filter(|(_, category)| *category == class.category);
    let mut some = |is_such: &dyn Fn(&Attribute) -> bool| {
        of.any(|(id, _)| all.iter().any(|one| one.id == *id && is_such(one)))
    };
    match class.reason() {
        Reason::Contested => some(&|one| one.contested),
        Reason::AttributeExpired => {
            some(&|one| one.expires_at_ms.is_some_and(|ends_ms| ends_ms < asked.now + 1000))
        }
        Reason::SourceWithheld => some(&|one| !one.sources.is_empty()),
        Reason::KeptOnly => some(&|one| subject_choices::is_kept_only(asked, one)),
        Reason::NotExplicit => !words::special(asked, &class.category).is_empty(),
        _ => true,
    }
}

/// Whether a published policy may have given the reason without that cause.
fn may_have_another_cause(asked: Asked<'_>, class: &WithheldClass) -> bool {
    let of_signal = matches!(decider(asked, class), Some(Event::SignalRecorded(_)));
    let of_contest = class.reason() == Reason::Contested && class.decided_by() == Tier::Individual;
    !of_signal && !of_contest && !class.policy.starts_with("built-in/")
}

/// Whether the event that decided, if the class names one, is of a kind that fits the reason.
fn fits_its_event(asked: Asked<'_>, class: &WithheldClass) -> bool {
    let mut named = asked.own().filter(|(line, _)| line.id[..] == class.decided_by_event[..]);
    let Some((_, event)) = named.next() else { return true };
    if class.decided_by() == Tier::Individual && matches!(event, Event::PersonalBoundsSet(_)) {
        return true;
    }
    match class.reason() {
        Reason::Restricted
        | Reason::Objected
        | Reason::Paused
        | Reason::OptedOut
        | Reason::OptedOutAutomated
        | Reason::SensitiveLimited => matches!(event, Event::SignalRecorded(_)),
        Reason::ConsentRefused | Reason::ConsentWithdrawn => {
            matches!(event, Event::ConsentRefused(_) | Event::ConsentWithdrawn(_))
        }
        Reason::ConsentExpired | Reason::WordsChanged | Reason::NotExplicit => {
            matches!(event, Event::ConsentGiven(_) | Event::ConsentRenewed(_))
        }
        Reason::KeptOnly => matches!(event, Event::ErasureRefused(_)),
        _ => true,
    }
}

/// Whether a class is said to be withheld because no consent allows its use, although one does.
fn is_consented(asked: Asked<'_>, class: &WithheldClass) -> bool {
    let says_no_consent = ["built-in/consent", "built-in/notice"].contains(&class.policy.as_str())
        && matches!(
            class.reason(),
            Reason::NoConsent
                | Reason::ConsentRefused
                | Reason::ConsentWithdrawn
                | Reason::ConsentExpired
                | Reason::WordsChanged
                | Reason::NoticeOutdated
                | Reason::NotExplicit
        );
    let spoken = |names: &[String]| {
        !subject_choices::asks_each_time(asked) || names.contains(&asked.grant.interaction)
    };
    asked.edition() >= 3
        && says_no_consent
        && words::category(asked, &class.category).is_some()
        && consent::allowing(asked, &class.category).iter().any(|(_, names)| spoken(names))
}

/// Classes of what a grant does not allow, as an honest ledger states them, or nearly.
pub fn classes(asked: Asked<'_>, roll: &mut dyn FnMut(usize) -> usize) -> Vec<WithheldClass> {
    let mut classes: BTreeMap<String, u32> = BTreeMap::new();
    let above = |category: &str| words::upward(asked, Kind::Category, category, words::now(asked));
    let grant = asked.grant;
    for (key, (id, category)) in current(asked) {
        let names = above(&category);
        let covered = grant.categories.is_empty() || grant.categories.iter().any(|one| names.contains(one));
        let is_allowed = grant.allowed.iter().any(|one| one.attribute[..] == id[..]);
        if covered && (grant.keys.is_empty() || grant.keys.contains(&key)) && !is_allowed {
            *classes.entry(category).or_default() += 1;
        }
    }
    let own: Vec<[u8; 16]> = asked.own().map(|(line, _)| line.id).collect();
    let reasons = [
        Reason::NoConsent,
        Reason::ConsentRefused,
        Reason::ConsentExpired,
        Reason::NoticeOutdated,
        Reason::Paused,
        Reason::KeptOnly,
    ];
    let mut of = |(category, count): (String, u32)| {
        let reason = reasons[roll(reasons.len())];
        let no_consent = consent::allowing(asked, &category).is_empty();
        let is_cited = roll(4) == 0 && !own.is_empty();
        WithheldClass {
            category,
            count: count + u32::from(roll(12) == 0),
            reason: reason.into(),
            policy: if no_consent || roll(8) == 0 { "built-in/consent".into() } else { "own/rule".into() },
            decided_by: [Tier::Provider, Tier::Individual][roll(2)].into(),
            decided_by_event: if is_cited { own[roll(own.len())].to_vec() } else { Vec::new() },
            ..WithheldClass::default()
        }
    };
    classes.into_iter().map(&mut of).collect()
}
