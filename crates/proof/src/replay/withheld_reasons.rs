//! Checks the reason for which a grant withholds a class of attributes, as far as it follows from the data
//! subject's own events.

use super::grant::GrantCheck;
use super::own_events::{Kind, OwnEvents};
use super::profile::Profile;
use crate::event::{Reason, SignalKind, Tier, WithheldClass};

/// From this edition of the rules of decisions on, a class names the event by which the data subject decided.
const NAMED_EDITION: u32 = 2;
/// The edition from which on reasons are compared with the consents.
const REASONS_EDITION: u32 = 3;
/// The policies that a grant names if it withholds attributes because no consent covers them.
const CONSENT_POLICIES: [&str; 2] = ["built-in/consent", "built-in/notice"];
/// The policy that a grant names if it withholds what is kept although its erasure was requested.
const KEPT_ONLY_POLICY: &str = "built-in/kept-only";
/// An attribute may reach its end between the decision and its recording, milliseconds.
const ENDING_MS: u64 = 1000;

/// What is known about a reason.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Truth {
    /// Nothing contradicts it.
    True,
    False,
    /// The data subject's events do not show it. A published policy may state any reason.
    Unknown,
}

/// What is known about the reason of a class.
pub(super) fn truth<'a>(
    class: &'a WithheldClass,
    profile: &Profile,
    own: &OwnEvents,
    check: &mut GrantCheck<'a>,
) -> Truth {
    if !is_decided_by_such_event(class, own) || !fits_policy(class) || lacks_event(class, check) {
        return Truth::False;
    }
    // Something that is missing may be the reason.
    let subject = check.subject;
    if subject.may_miss_decisions() {
        return Truth::True;
    }
    if is_consented(class, check) {
        return Truth::False;
    }
    if !subject.is_profile_certain() || is_own_choice(class, own) || is_shown(class, profile, check) {
        return Truth::True;
    }
    let is_signal = own.kind(&class.decided_by_event) == Some(Kind::Signal);
    let is_contest = class.reason() == Reason::Contested && class.decided_by() == Tier::Individual;
    let is_built_in = class.policy.starts_with("built-in/");
    if is_signal || is_contest || is_built_in { Truth::False } else { Truth::Unknown }
}

/// Whether the data subject decided with their own bounds, which may give any reason.
fn is_own_choice(class: &WithheldClass, own: &OwnEvents) -> bool {
    class.decided_by() == Tier::Individual && own.kind(&class.decided_by_event) == Some(Kind::PersonalBounds)
}

/// Whether the event that decided is of a kind that fits the reason.
fn is_decided_by_such_event(class: &WithheldClass, own: &OwnEvents) -> bool {
    if class.decided_by_event.is_empty() || is_own_choice(class, own) {
        return true;
    }
    // An unknown event is a finding of its own.
    let kind = own.kind(&class.decided_by_event).filter(|kind| *kind != Kind::Withheld);
    let Some(kind) = kind else { return true };
    match class.reason() {
        Reason::ConsentRefused | Reason::ConsentWithdrawn => kind == Kind::Refusal,
        Reason::ConsentExpired | Reason::WordsChanged | Reason::NotExplicit => kind == Kind::Consent,
        Reason::KeptOnly => kind == Kind::ErasureRefused,
        reason if signal(reason).is_some() => kind == Kind::Signal,
        _ => true,
    }
}

/// Whether a policy that is built into the ledger can give the reason.
fn fits_policy(class: &WithheldClass) -> bool {
    match class.policy.as_str() {
        "built-in/consent" => matches!(
            class.reason(),
            Reason::NoConsent
                | Reason::ConsentRefused
                | Reason::ConsentWithdrawn
                | Reason::ConsentExpired
                | Reason::WordsChanged
                | Reason::NoticeOutdated
                | Reason::NotExplicit
                | Reason::SourceWithheld
                | Reason::Forbidden
        ),
        "built-in/notice" => class.reason() == Reason::NoticeOutdated,
        "built-in/opt-out" => class.reason() == Reason::OptedOut,
        KEPT_ONLY_POLICY => class.reason() == Reason::KeptOnly,
        "built-in/restore" => class.reason() == Reason::RestoreUnconfirmed,
        "built-in/clock" => class.reason() == Reason::ClockSkewed,
        "built-in/answer-size" => class.reason() == Reason::AnswerFull,
        other => !other.starts_with("built-in/"),
    }
}

/// Whether the class does not name the event by which the data subject decided. A contest needs no event: it
/// is shown by the attribute.
fn lacks_event(class: &WithheldClass, check: &GrantCheck<'_>) -> bool {
    let is_individual = class.decided_by() == Tier::Individual
        && class.reason() != Reason::Contested
        && check.context.vocabulary.edition() >= NAMED_EDITION;
    let names_always = matches!(class.policy.as_str(), KEPT_ONLY_POLICY | "built-in/opt-out");
    class.decided_by_event.is_empty() && (is_individual || names_always)
}

/// Whether a class is withheld because no consent covers it, although one does.
fn is_consented<'a>(class: &'a WithheldClass, check: &mut GrantCheck<'a>) -> bool {
    check.context.vocabulary.edition() >= REASONS_EDITION
        && CONSENT_POLICIES.contains(&class.policy.as_str())
        && matches!(
            class.reason(),
            Reason::NoConsent
                | Reason::ConsentRefused
                | Reason::ConsentWithdrawn
                | Reason::ConsentExpired
                | Reason::WordsChanged
                | Reason::NoticeOutdated
                | Reason::NotExplicit
        )
        && check.is_consented(&class.category)
}

/// Whether the data subject's events and attributes show the reason; true for a reason that does not depend
/// on them.
fn is_shown(class: &WithheldClass, profile: &Profile, check: &GrantCheck<'_>) -> bool {
    let (subject, context) = (check.subject, check.context);
    let (grant, words, category) = (context.grant, context.vocabulary, class.category.as_str());
    let ended_ms = context.now_ms.saturating_add(ENDING_MS);
    match class.reason() {
        Reason::Contested => profile.has(category, subject, |attribute| attribute.contested),
        Reason::AttributeExpired => {
            profile.has(category, subject, |attribute| attribute.expires_before(ended_ms))
        }
        Reason::SourceWithheld => {
            profile.has(category, subject, |attribute| !attribute.derived_from.is_empty())
        }
        // By earlier editions, a refused erasure kept nothing from use.
        Reason::KeptOnly => {
            let kept = &subject.kept;
            let is_kept = |key: &str| {
                subject.effort.spend(kept.len()) && kept.forbids(key, category, &grant.purpose, words)
            };
            profile.has(category, subject, |attribute| is_kept(&attribute.key))
        }
        Reason::NotExplicit => !words.special_ancestry(category).is_empty(),
        reason => signal(reason).is_none_or(|kind| {
            subject.signals.in_force(kind, &grant.purpose, &grant.interaction, words).is_some()
        }),
    }
}

/// The signal that gives a reason.
fn signal(reason: Reason) -> Option<SignalKind> {
    Some(match reason {
        Reason::Restricted => SignalKind::Restriction,
        Reason::Objected => SignalKind::Objection,
        Reason::Paused => SignalKind::Pause,
        Reason::OptedOut => SignalKind::OptOut,
        Reason::OptedOutAutomated => SignalKind::OptOutAutomated,
        Reason::SensitiveLimited => SignalKind::LimitSensitive,
        _ => return None,
    })
}
