//! The consent rule: which decisions of a data subject cover a use, and which consents among them allow it.

use super::vocabulary::{Given, WordsInForce};
use crate::event::ConsentTerms;

/// A consent, a refusal or a withdrawal.
pub(super) struct Decision {
    pub event_id: [u8; 16],
    /// When the data subject stated the decision. For a consent, this is the time that it states, but no
    /// later than its sealing. For a refusal or withdrawal, it is the time of sealing.
    pub given: Given,
    /// True for a consent (given or renewed), false for a refusal or withdrawal.
    pub is_consent: bool,
    pub terms: ConsentTerms,
}

/// A use to decide on: one recipient uses one category for one purpose in one conversation.
pub(super) struct IntendedUse<'a> {
    pub purpose: &'a str,
    pub category: &'a str,
    pub recipient: &'a str,
    /// The recipient's own name for the conversation.
    pub interaction: &'a str,
    pub now_ms: u64,
}

/// The outcome of all decisions for one use.
pub(super) enum Coverage<'a> {
    /// No consent in force covers the use.
    NoConsent,
    /// Refusals or withdrawals override every consent that covers the use.
    Refused,
    /// Every consent that would allow the use names a version of a notice that no longer counts.
    NoticeOutdated,
    /// The consents that allow the use.
    Allowed(Vec<&'a Decision>),
}

/// One combination of names of a decision, with at most one name on each axis (purpose, category, recipient,
/// conversation). An axis without a name stands for everything.
#[derive(Clone, Copy)]
struct Choice<'a> {
    purpose: Option<&'a str>,
    category: Option<&'a str>,
    recipient: Option<&'a str>,
    interaction: Option<&'a str>,
}

/// Applies all decisions of a data subject, oldest first, to a use.
///
/// A decision with several names means the same as one decision for each combination of them.
pub(super) fn coverage<'a>(
    decisions: &'a [Decision],
    intended: &IntendedUse<'_>,
    vocabulary: WordsInForce<'_>,
) -> Coverage<'a> {
    let covering = |decision: &'a Decision| {
        let choices = covering_choices(decision, intended, vocabulary);
        (!choices.is_empty()).then_some((decision, choices))
    };
    let (mut consents, refusals): (Vec<_>, Vec<_>) =
        decisions.iter().filter_map(covering).partition(|(decision, _)| decision.is_consent);
    // Consents are sorted by the time at which they were stated. The end of a consent also ends every consent
    // before it.
    consents.sort_by_key(|(consent, _)| consent.given.said_at_ms);
    let has_ended =
        |consent: &Decision| consent.terms.until_ms.is_some_and(|until_ms| until_ms <= intended.now_ms);
    let first_in_force =
        consents.iter().rposition(|(consent, _)| has_ended(consent)).map_or(0, |last| last.saturating_add(1));
    let in_force = consents.split_off(first_in_force);
    if in_force.is_empty() {
        return Coverage::NoConsent;
    }
    let prevails = |consent: &Decision, choice: &Choice<'_>| {
        refusals.iter().all(|(refusal, choices)| {
            refusal.given.said_at_ms < consent.given.said_at_ms
                && choices.iter().all(|refused| is_within(choice, refused, vocabulary))
        })
    };
    let mut allowing: Vec<&Decision> = in_force
        .into_iter()
        .filter(|(consent, choices)| choices.iter().any(|choice| prevails(consent, choice)))
        .map(|(consent, _)| consent)
        .collect();
    if allowing.is_empty() {
        return Coverage::Refused;
    }
    allowing.retain(|consent| vocabulary.notice_counts(consent.terms.notice.as_ref()));
    if allowing.is_empty() { Coverage::NoticeOutdated } else { Coverage::Allowed(allowing) }
}

/// Whether a legal basis other than consent is left room by all decisions of a data subject. It never
/// replaces a consent: once a consent covered the use, it does not apply, whatever became of that
/// consent. If `can_be_refused`, no refusal or withdrawal may cover the use either.
pub(super) fn leave_room(
    decisions: &[Decision],
    can_be_refused: bool,
    intended: &IntendedUse<'_>,
    vocabulary: WordsInForce<'_>,
) -> bool {
    let excludes = |decision: &Decision| {
        (decision.is_consent || can_be_refused) && covers_in_words_of_now(decision, intended, vocabulary)
    };
    !decisions.iter().any(excludes)
}

/// Whether a decision covers a use by what its words cover now. The category is not special.
fn covers_in_words_of_now(
    decision: &Decision,
    intended: &IntendedUse<'_>,
    vocabulary: WordsInForce<'_>,
) -> bool {
    let terms = &decision.terms;
    let axes = [
        names_or_all(&terms.purposes, &vocabulary.purpose_ancestry(intended.purpose)),
        names_or_all(&terms.categories, &vocabulary.category_ancestry(intended.category)),
        names_or_all(&terms.recipients, &[intended.recipient]),
        names_or_all(&terms.interactions, &[intended.interaction]),
    ]
    .map(|names| !names.is_empty());
    axes.iter().all(|covers| *covers) && !(decision.is_consent && terms.purposes.is_empty())
}

/// The combinations of names of a decision that cover a use; none if the decision does not cover it.
fn covering_choices<'a>(
    decision: &'a Decision,
    intended: &IntendedUse<'_>,
    vocabulary: WordsInForce<'_>,
) -> Vec<Choice<'a>> {
    let terms = &decision.terms;
    let special = vocabulary.special_ancestry(intended.category);
    let must_be_explicit = decision.is_consent && !special.is_empty();
    if must_be_explicit && !terms.explicit || decision.is_consent && terms.purposes.is_empty() {
        return Vec::new();
    }
    let categories = if must_be_explicit {
        names_among(&terms.categories, &special)
    } else {
        names_or_all(&terms.categories, &vocabulary.category_ancestry(intended.category))
    };
    // A consent covers what its words covered when it was given. A refusal covers what they cover now.
    let is_meant = |purpose: Option<&str>, category: Option<&str>| {
        let meant_purpose = |named| vocabulary.meant_purpose(named, intended.purpose, decision.given);
        let meant_category = |named| vocabulary.meant_category(named, intended.category, decision.given);
        !decision.is_consent || purpose.is_none_or(meant_purpose) && category.is_none_or(meant_category)
    };
    let mut choices = Vec::new();
    for purpose in names_or_all(&terms.purposes, &vocabulary.purpose_ancestry(intended.purpose)) {
        for category in categories.iter().filter(|category| is_meant(purpose, **category)) {
            for recipient in names_or_all(&terms.recipients, &[intended.recipient]) {
                for interaction in names_or_all(&terms.interactions, &[intended.interaction]) {
                    choices.push(Choice { purpose, category: *category, recipient, interaction });
                }
            }
        }
    }
    choices
}

/// The names that are in an ancestry.
fn names_among<'a>(names: &'a [String], ancestry: &[&str]) -> Vec<Option<&'a str>> {
    names.iter().map(String::as_str).filter(|name| ancestry.contains(name)).map(Some).collect()
}

/// The names that are in an ancestry; no name, which stands for everything, if there are no names.
fn names_or_all<'a>(names: &'a [String], ancestry: &[&str]) -> Vec<Option<&'a str>> {
    if names.is_empty() { vec![None] } else { names_among(names, ancestry) }
}

/// Whether the scope of `inner` is within that of `outer`, on each axis.
fn is_within(inner: &Choice<'_>, outer: &Choice<'_>, vocabulary: WordsInForce<'_>) -> bool {
    let purpose = |id| vocabulary.purpose_ancestry(id);
    let category = |id| vocabulary.category_ancestry(id);
    is_axis_within(inner.purpose, outer.purpose, purpose)
        && is_axis_within(inner.category, outer.category, category)
        && is_axis_within(inner.recipient, outer.recipient, |id| vec![id])
        && is_axis_within(inner.interaction, outer.interaction, |id| vec![id])
}

fn is_axis_within<'a>(
    inner: Option<&'a str>,
    outer: Option<&str>,
    ancestry: impl Fn(&'a str) -> Vec<&'a str>,
) -> bool {
    match (inner, outer) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(inner), Some(outer)) => ancestry(inner).contains(&outer),
    }
}
