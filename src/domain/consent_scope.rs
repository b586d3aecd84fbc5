//! How far a consent decision reaches: which cases its terms cover, and how closely they name a case.
//!
//! Decisions are compared case by case, where a case is one purpose, category, recipient and conversation. A
//! decision that names several purposes or categories means the same as one decision for each combination.

use super::vocabulary::Vocabulary;
use crate::domain::event::ConsentTerms as Terms;

/// A use to check against the consent decisions.
#[derive(Clone, Copy, Debug)]
pub struct ConsentCase<'a> {
    /// The purpose of the use.
    pub purpose: &'a str,
    /// The category of data.
    pub category: &'a str,
    /// The recipient that would use it.
    pub recipient: &'a str,
    /// The recipient's own name for the conversation; empty if there is none.
    pub interaction: &'a str,
    /// The time of the use, milliseconds since the Unix epoch.
    pub now_ms: u64,
}

/// How closely the terms of a decision name a case. There is one number for each axis: purpose, category,
/// recipient and conversation. It counts the steps from the case up to the nearest id that the terms name.
/// Terms that name nothing on an axis cover everything there; the maximum stands for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach([usize; 4]);

impl Reach {
    /// Whether this reach is as close to the case as the other reach, or closer, on every axis.
    #[must_use]
    pub fn is_within(self, other: Self) -> bool {
        self.0.iter().zip(other.0).all(|(own, other)| *own <= other)
    }
}

/// A case with the ancestors of its purpose and category.
pub struct ExpandedCase<'a> {
    case: ConsentCase<'a>,
    purposes: Vec<&'a str>,
    categories: Vec<&'a str>,
    /// The category and its special ancestors; empty if the category is not special.
    special: Vec<&'a str>,
}

impl<'a> ExpandedCase<'a> {
    /// Looks up the ancestors of a case.
    #[must_use]
    pub fn new(vocabulary: &'a Vocabulary, case: ConsentCase<'a>) -> Self {
        Self {
            case,
            purposes: vocabulary.purpose_ancestry(case.purpose),
            categories: vocabulary.category_ancestry(case.category),
            special: vocabulary.special_ancestry(case.category),
        }
    }

    /// The reach of a consent with these terms; `None` if it does not cover the case. A consent to a special
    /// category must be explicit and name the category or a special ancestor (GDPR Art. 9(2)(a)).
    #[must_use]
    pub fn consent_reach(&self, terms: &Terms) -> Option<Reach> {
        if self.special.is_empty() {
            return self.consent_reach_except_explicitness(terms);
        }
        let is_named =
            |id: &&str| self.special.contains(id) && terms.categories.iter().any(|name| name == id);
        let category = self.categories.iter().position(is_named).filter(|_| terms.explicit)?;
        self.reach(terms, category).filter(|_| !terms.purposes.is_empty())
    }

    /// The reach that a consent with these terms would have if it were explicit and named the special
    /// category.
    #[must_use]
    pub fn consent_reach_except_explicitness(&self, terms: &Terms) -> Option<Reach> {
        self.refusal_reach(terms).filter(|_| !terms.purposes.is_empty())
    }

    /// The reach of a refusal or withdrawal with these terms; `None` if it does not cover the case.
    #[must_use]
    pub fn refusal_reach(&self, terms: &Terms) -> Option<Reach> {
        self.reach(terms, steps_up(&terms.categories, &self.categories)?)
    }

    fn reach(&self, terms: &Terms, category: usize) -> Option<Reach> {
        Some(Reach([
            steps_up(&terms.purposes, &self.purposes)?,
            category,
            steps_up(&terms.recipients, &[self.case.recipient])?,
            steps_up(&terms.interactions, &[self.case.interaction])?,
        ]))
    }
}

/// The steps up an ancestry to the first id that is named; the maximum if the list of names is empty.
fn steps_up(named: &[String], ancestry: &[&str]) -> Option<usize> {
    if named.is_empty() {
        return Some(usize::MAX);
    }
    ancestry.iter().position(|id| named.iter().any(|name| name == id))
}

/// The cases that terms name: each combination of a purpose, category, recipient and conversation. On an axis
/// where the terms name nothing, the case has an empty name. Only terms that name nothing on that axis cover
/// an empty name. `None` if there are more than `max` cases.
#[must_use]
pub fn named_cases(terms: &Terms, now_ms: u64, max: usize) -> Option<Vec<ConsentCase<'_>>> {
    let axes = [&terms.purposes, &terms.categories, &terms.recipients, &terms.interactions];
    let count = axes.iter().try_fold(1_usize, |count, axis| count.checked_mul(axis.len().max(1)))?;
    if count > max {
        return None;
    }
    let [purposes, categories, recipients, interactions] = axes.map(|axis| names(axis));
    let mut cases = Vec::with_capacity(count);
    for purpose in &purposes {
        for category in &categories {
            for recipient in &recipients {
                for interaction in &interactions {
                    cases.push(ConsentCase { purpose, category, recipient, interaction, now_ms });
                }
            }
        }
    }
    Some(cases)
}

fn names(axis: &[String]) -> Vec<&str> {
    if axis.is_empty() { vec![""] } else { axis.iter().map(String::as_str).collect() }
}

/// Whether the terms of two decisions may cover a common case. They may if, on every axis, one of the two
/// names nothing or both name related ids. Purposes and categories are related to themselves, their ancestors
/// and their descendants; recipients and conversations only to themselves.
#[must_use]
pub fn overlap(one: &Terms, other: &Terms, vocabulary: &Vocabulary) -> bool {
    let related = |one: &[String], other: &[String], ancestry: &dyn Fn(&str, &str) -> bool| {
        let is_related = |own: &String| other.iter().any(|name| ancestry(own, name) || ancestry(name, own));
        one.is_empty() || other.is_empty() || one.iter().any(is_related)
    };
    let same = |own: &str, name: &str| own == name;
    related(&one.purposes, &other.purposes, &|low, high| vocabulary.purpose_ancestry(low).contains(&high))
        && related(&one.categories, &other.categories, &|low, high| {
            vocabulary.category_ancestry(low).contains(&high)
        })
        && related(&one.recipients, &other.recipients, &same)
        && related(&one.interactions, &other.interactions, &same)
}
