//! What refusals and withdrawals took away from consents.
//!
//! A *yes* gives or renews consent; a *no* refuses or withdraws it. A *case* is one combination of a
//! purpose, a category, a recipient and a conversation. A no takes a case away from a yes if both name the
//! case and the yes allowed it until then. It takes nothing away if the yes did not cover the case, or if
//! an earlier no had already blocked the case.

use super::consent::{ConsentLog, ConsentRecord, Terms};
use super::consent_scope::{ConsentCase, overlap};
use super::vocabulary::Vocabulary;
use std::collections::BTreeSet;

/// The most comparisons of decisions that one query may make.
const COMPARISONS_MAX: usize = 1 << 16;
/// The most consents that are checked to find one that a no narrows.
const CONSENTS_CHECKED_MAX: usize = 32;

/// Whether a no with these terms would take something away now from a yes that `is_relevant` accepts. Only
/// the newest [`CONSENTS_CHECKED_MAX`] consents that it may concern are checked. If there are more, or if a
/// consent has too many cases to check, the answer is yes.
#[must_use]
pub fn would_narrow(
    log: &ConsentLog,
    no: &Terms,
    vocabulary: &Vocabulary,
    now_ms: u64,
    is_relevant: impl Fn(&ConsentRecord) -> bool,
) -> bool {
    let is_concerned = |yes: &&ConsentRecord| {
        yes.decision.is_yes() && is_relevant(yes) && overlap(no, &yes.terms, vocabulary)
    };
    let mut concerned = log.records().iter().rev().filter(is_concerned);
    let mut cases_left = COMPARISONS_MAX.checked_div(log.records().len()).unwrap_or_default();
    let mut newest = concerned.by_ref().take(CONSENTS_CHECKED_MAX);
    let allows_any = |yes: &ConsentRecord| {
        let Some(cases) = common_cases(no, &yes.terms, vocabulary, cases_left) else { return true };
        cases_left = cases_left.saturating_sub(cases.len());
        cases.into_iter().any(|case| {
            let allowing = log.allowing(vocabulary, &ConsentCase { now_ms, ..case });
            allowing.iter().any(|(allowing, _)| allowing.event_id == yes.event_id)
        })
    };
    newest.any(allows_any) || concerned.next().is_some()
}

/// Finds out which refusals and withdrawals took something away from one consent.
pub struct Narrowing<'a> {
    log: &'a ConsentLog,
    yes: &'a ConsentRecord,
    comparisons_left: usize,
}

impl<'a> Narrowing<'a> {
    /// For a consent among these decisions.
    #[must_use]
    pub fn of(log: &'a ConsentLog, yes: &'a ConsentRecord) -> Self {
        Self { log, yes, comparisons_left: COMPARISONS_MAX }
    }

    /// Whether a no took something away from the consent. `words` are the purposes and categories as they
    /// were when the no was recorded. After too many comparisons, the answer is yes.
    #[must_use]
    pub fn is_by(&mut self, no: &ConsentRecord, words: &Vocabulary) -> bool {
        let records = self.log.records().len().max(1);
        let cases_max = self.comparisons_left.checked_div(records).unwrap_or_default();
        let Some(cases) = common_cases(&no.terms, &self.yes.terms, words, cases_max) else { return true };
        self.comparisons_left = self.comparisons_left.saturating_sub(cases.len().saturating_mul(records));
        let now_ms = no.said_ms();
        cases.into_iter().any(|case| {
            self.log.allowed_before(self.yes, words, &ConsentCase { now_ms, ..case }, no.position)
        })
    }
}

/// Whether a yes must be kept because a no is kept that may have taken it back. Without the yes, the no would
/// look as if there had been nothing to take back, and a legal basis that is declared later could replace the
/// consent ([`ConsentLog::leave_room_for`]). Of the consents with the same scope, the newest is enough.
#[must_use]
pub fn was_taken_back(log: &ConsentLog, yes: &ConsentRecord, vocabulary: &Vocabulary) -> bool {
    let same_scope = |other: &ConsentRecord| {
        let (own, other) = (&yes.terms, &other.terms);
        own.purposes == other.purposes
            && own.categories == other.categories
            && own.recipients == other.recipients
            && own.interactions == other.interactions
    };
    let newer = log.records().iter().rev().take_while(|other| other.position > yes.position);
    let is_newest = !newer.filter(|other| other.decision.is_yes()).any(same_scope);
    let mut noes = log.records().iter().filter(|record| !record.decision.is_yes());
    is_newest && noes.any(|no| overlap(&yes.terms, &no.terms, vocabulary))
}

/// The cases that both decisions name, each with the lower of two related words. On an axis where neither
/// names anything, the case has an empty name. `None` if there are more than `max` cases. The cases have no
/// time.
fn common_cases<'a>(
    no: &'a Terms,
    yes: &'a Terms,
    vocabulary: &'a Vocabulary,
    max: usize,
) -> Option<Vec<ConsentCase<'a>>> {
    let purposes = common(&no.purposes, &yes.purposes, |id| vocabulary.purpose_ancestry(id));
    let categories = common(&no.categories, &yes.categories, |id| vocabulary.category_ancestry(id));
    let recipients = common(&no.recipients, &yes.recipients, |name| vec![name]);
    let interactions = common(&no.interactions, &yes.interactions, |name| vec![name]);
    let sizes = [purposes.len(), categories.len(), recipients.len(), interactions.len()];
    let count = sizes.iter().try_fold(1_usize, |count, size| count.checked_mul(*size))?;
    if count > max {
        return None;
    }
    let mut cases = Vec::with_capacity(count);
    for purpose in &purposes {
        for category in &categories {
            for recipient in &recipients {
                for interaction in &interactions {
                    cases.push(ConsentCase { purpose, category, recipient, interaction, now_ms: 0 });
                }
            }
        }
    }
    Some(cases)
}

/// The names of either list that are equal to a name of the other list, or below one. All names of one list
/// if the other is empty.
fn common<'a>(
    one: &'a [String],
    other: &'a [String],
    ancestry: impl Fn(&'a str) -> Vec<&'a str>,
) -> BTreeSet<&'a str> {
    match (one, other) {
        ([], []) => BTreeSet::from([""]),
        ([], names) | (names, []) => names.iter().map(String::as_str).collect(),
        _ => {
            let below = |names: &'a [String], above: &[String]| {
                let above: BTreeSet<&str> = above.iter().map(String::as_str).collect();
                let is_below = |name: &&'a str| ancestry(name).iter().any(|id| above.contains(id));
                names.iter().map(String::as_str).filter(is_below).collect::<Vec<_>>()
            };
            below(one, other).into_iter().chain(below(other, one)).collect()
        }
    }
}
