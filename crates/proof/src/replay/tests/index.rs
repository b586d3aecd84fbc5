//! Tests that looking up decisions and signals by the names in them gives the same result as going through
//! every decision and signal.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use crate::entry::EventId;
use crate::event::event_body::Event;
use crate::event::{CategoryDefined, ConsentTerms, DecisionRulesAdopted, PurposeDefined, SignalKind};
use crate::replay::consent::{Covering, IntendedUse};
use crate::replay::decisions::Decisions;
use crate::replay::definitions::ConsentTime;
use crate::replay::effort::Effort;
use crate::replay::fault::Fault;
use crate::replay::signals::{Signals, Statement};
use crate::replay::vocabulary::{Vocabulary, WordsInForce};
use proptest::prelude::*;

#[derive(Clone, Debug)]
struct Decision {
    event_id: EventId,
    given: ConsentTime,
    is_consent: bool,
    terms: ConsentTerms,
}

enum Coverage<'a> {
    NoConsent,
    Refused,
    NoticeOutdated,
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
fn coverage<'a>(
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

/// Whether all decisions of a data subject leave room for a legal basis other than consent. Such a basis
/// never replaces a consent. So it does not apply if there ever was a consent that covers the use, even if
/// that consent has ended. If `can_be_refused`, no refusal or withdrawal may cover the use either.
fn leave_room(
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

#[derive(Clone, Debug)]
struct Signal {
    kind: SignalKind,
    purposes: Vec<String>,
    interaction: String,
    recorded: bool,
    said_at_ms: u64,
}

/// Whether a signal covers any of these purposes after the liftings in `later`.
///
/// A lifting without purposes lifts every signal of its kind. A lifting with purposes takes these
/// purposes out of each signal that names them. It has no effect on a signal without purposes, which
/// covers all of them. A lifting that names a conversation affects only signals about that conversation.
/// A lifting that states a time before the signal was recorded lifts nothing.
fn still_covers<'a>(signal: &Signal, later: impl Iterator<Item = &'a Signal>, purposes: &[&str]) -> bool {
    let lifts = |other: &&Signal| {
        let concerns = other.interaction.is_empty() || other.interaction == signal.interaction;
        let is_later = other.said_at_ms >= signal.said_at_ms;
        !other.recorded && other.kind == signal.kind && concerns && is_later
    };
    let liftings: Vec<&Signal> = later.filter(lifts).collect();
    if liftings.iter().any(|lifting| lifting.purposes.is_empty()) {
        return false;
    }
    let covers = |purpose: &String| {
        purposes.contains(&purpose.as_str())
            && !liftings.iter().any(|lifting| lifting.purposes.contains(purpose))
    };
    signal.purposes.is_empty() || signal.purposes.iter().any(covers)
}

const PURPOSES: [&str; 4] = ["all", "upper", "lower", "other"];
const CATEGORIES: [&str; 4] = ["any", "special", "below", "apart"];
const NAMES: [&str; 3] = ["", "one", "two"];

/// Two hierarchies whose words change their parent or their meaning at some positions.
fn vocabulary(changes: &[(u64, usize, usize, bool)]) -> Vocabulary {
    let mut vocabulary = Vocabulary::default();
    // All definitions are in force by then.
    vocabulary.advance(60);
    let mut define = |position: u64, word: usize, parent: usize, title: &str| {
        let id = PURPOSES[word].to_owned();
        let parent_of =
            |names: [&str; 4]| if parent < word { names[parent].to_owned() } else { String::new() };
        let (title, parent) = (title.to_owned(), parent_of(PURPOSES));
        let purpose = PurposeDefined { id, parent, title: title.clone(), ..PurposeDefined::default() };
        vocabulary.apply(position, position, position == 0, &Event::PurposeDefined(purpose));
        let (id, special) = (CATEGORIES[word].to_owned(), word == 1);
        let category = CategoryDefined {
            id,
            parent: parent_of(CATEGORIES),
            title,
            special,
            ..CategoryDefined::default()
        };
        vocabulary.apply(position, position, position == 0, &Event::CategoryDefined(category));
    };
    for word in 0..4 {
        define(0, word, word.checked_sub(1).filter(|_| word < 3).unwrap_or(9), "");
    }
    for (position, word, parent, is_renamed) in changes {
        define(*position, *word, *parent, if *is_renamed { "new" } else { "" });
    }
    vocabulary.apply(0, 0, true, &Event::DecisionRulesAdopted(DecisionRulesAdopted { edition: 3 }));
    vocabulary
}

fn some_of(names: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    let name = prop::sample::select(names).prop_map(str::to_owned);
    prop_oneof![2 => Just(Vec::new()), 3 => prop::collection::vec(name, 1..3)]
}

fn some_terms() -> impl Strategy<Value = ConsentTerms> {
    let until_ms = prop::option::weighted(0.2, 1_u64..60);
    (some_of(&PURPOSES), some_of(&CATEGORIES), some_of(&NAMES), some_of(&NAMES), any::<bool>(), until_ms)
        .prop_map(|(purposes, categories, recipients, interactions, explicit, until_ms)| ConsentTerms {
            purposes,
            categories,
            recipients,
            interactions,
            explicit,
            until_ms,
            ..ConsentTerms::default()
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]
    #[test]
    fn decisions_found_by_their_names_allow_what_all_decisions_allow(
        stated in prop::collection::vec((any::<bool>(), some_terms(), 0_u64..4), 0..12),
        changes in prop::collection::vec((1_u64..50, 0_usize..4, 0_usize..4, any::<bool>()), 0..3),
        used in (prop::sample::select(&PURPOSES[..]), prop::sample::select(&CATEGORIES[..]),
            prop::sample::select(&NAMES[..]), prop::sample::select(&NAMES[..])),
        has_effort in any::<bool>(),
    ) {
        let mut changes = changes;
        changes.sort_unstable();
        let vocabulary = vocabulary(&changes);
        let words = vocabulary.at(60);
        let effort = Effort::default();
        if !has_effort {
            // Every decision is compared instead of found by its names.
            prop_assert!(effort.spend(effort.left() - 12));
        }
        let (mut decisions, mut all) = (Decisions::default(), Vec::new());
        for (number, (is_consent, terms, late_ms)) in stated.into_iter().enumerate() {
            let sealed_at_ms = 1 + number as u64 * 4;
            let said_at_ms = if is_consent { sealed_at_ms.saturating_sub(late_ms * 3) } else { sealed_at_ms };
            let given = ConsentTime { said_at_ms, sealed_at_ms, position: sealed_at_ms };
            let event_id = [number as u8; 16];
            decisions.add(event_id, given, is_consent, Some(&terms), &effort);
            all.push(Decision { event_id, given, is_consent, terms });
        }
        decisions.advance(60);
        effort.add(1_000);
        let (purpose, category, recipient, interaction) = used;
        let intended = IntendedUse { purpose, category, recipient, interaction, now_ms: 60 };
        let covering = Covering::new(&decisions, intended, words, &effort);
        let allowed = |ask: bool| -> Result<Vec<EventId>, Fault> {
            match coverage(&all, &intended, words) {
                Coverage::NoConsent => Err(Fault::NoConsent),
                Coverage::Refused => Err(Fault::Refused),
                Coverage::NoticeOutdated => Err(Fault::NoticeOutdated),
                Coverage::Allowed(consents) => {
                    let kept = consents.iter().filter(|one| !ask || !one.terms.interactions.is_empty());
                    let kept: Vec<_> = kept.map(|one| one.event_id).collect();
                    if kept.is_empty() { Err(Fault::NotAsked) } else { Ok(kept) }
                }
            }
        };
        for ask in [false, true] {
            prop_assert_eq!(covering.check_any(ask), allowed(ask).map(|_| ()));
        }
        let allowing = allowed(false).unwrap_or_default();
        for decision in &all {
            let found = decisions.by_id(&decision.event_id).unwrap();
            prop_assert_eq!(covering.allows(found), allowing.contains(&decision.event_id), "{:?}", decision);
        }
        if words.special_ancestry(category).is_empty() {
            for refusable in [false, true] {
                prop_assert_eq!(covering.leaves_room(refusable), leave_room(&all, refusable, &intended, words));
            }
        }
        prop_assert!(!effort.take_failure());
    }

    #[test]
    fn signals_found_by_their_names_forbid_what_all_signals_forbid(
        stated in prop::collection::vec((any::<bool>(), some_of(&PURPOSES), prop::sample::select(&NAMES[..]), 0_u64..4), 0..10),
        purpose in prop::sample::select(&PURPOSES[..]),
        interaction in prop::sample::select(&NAMES[..]),
    ) {
        let vocabulary = vocabulary(&[]);
        let words = vocabulary.at(60);
        let kind = SignalKind::Pause;
        let (mut signals, mut all) = (Signals::default(), Vec::new());
        for (number, (recorded, purposes, interaction, late_ms)) in stated.into_iter().enumerate() {
            let position = 1 + number as u64 * 4;
            let said_at_ms = if recorded { position } else { position.saturating_sub(late_ms * 3) };
            let statement = Statement { said_at_ms, position };
            match recorded {
                true => signals.record(kind, &purposes, interaction, statement),
                false => signals.lift(kind, &purposes, interaction, statement),
            }
            all.push(Signal { kind, purposes, interaction: interaction.to_owned(), recorded, said_at_ms });
        }
        let purposes = words.purpose_ancestry(purpose);
        let is_in_force = all.iter().enumerate().any(|(number, signal)| {
            signal.recorded
                && (signal.interaction.is_empty() || signal.interaction == interaction)
                && still_covers(signal, all[number + 1..].iter(), &purposes)
        });
        prop_assert_eq!(signals.in_force(kind, purpose, interaction, words).is_some(), is_in_force);
    }
}
