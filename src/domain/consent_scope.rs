//! How far a consent decision reaches: which uses its terms cover, and how closely they name a use.
//!
//! Decisions are compared case by case, where a case is one combination of a purpose, a category, a
//! recipient and a conversation. A decision that names several purposes or categories means the same as
//! one decision for each combination.

use super::hierarchy::Ancestor;
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reach([usize; 4]);

impl Reach {
    /// The largest reach that is within both.
    #[must_use]
    pub fn smallest(self, other: Self) -> Self {
        let mut smallest = self.0;
        smallest.iter_mut().zip(other.0).for_each(|(own, other)| *own = (*own).min(other));
        Self(smallest)
    }

    /// Whether this reach is as close to the case as the other reach, or closer, on every axis.
    #[must_use]
    pub fn is_within(self, other: Self) -> bool {
        self.0.iter().zip(other.0).all(|(own, other)| *own <= other)
    }
}

/// When a consent was given, which decides what its words meant.
#[derive(Clone, Copy, Debug)]
pub struct Given {
    /// When the data subject said it, milliseconds since the Unix epoch.
    pub said_ms: u64,
    /// When it was sealed, milliseconds since the Unix epoch; not earlier than `said_ms`.
    pub sealed_ms: u64,
    /// Its position in the log.
    pub position: u64,
    /// Whether the consent counts for a word of which only the meaning changed since then. It still counts
    /// for no word that was put below its words later.
    pub despite_meanings: bool,
}

impl Given {
    /// A consent that is given now.
    pub const NOW: Self =
        Self { said_ms: u64::MAX, sealed_ms: u64::MAX, position: u64::MAX, despite_meanings: false };

    /// Whether a consent that names the word `named` covers the word `lowest`, which is that word or one
    /// below it. It does if `named` covered `lowest` already when the consent was given, and `lowest` has
    /// kept its meaning since then. A consent that was said before `named` was defined here means the words
    /// as they were when the consent was sealed.
    #[must_use]
    pub fn means(self, named: &Ancestor<'_>, lowest: &Ancestor<'_>) -> bool {
        let said_ms = if self.said_ms < named.defined_ms { self.sealed_ms } else { self.said_ms };
        let counts = |word: &Ancestor<'_>| word.since.is_before(said_ms, self.position);
        match self.despite_meanings {
            // For the word itself, `since` says when it got its meaning.
            true => named.id == lowest.id || counts(named),
            false => counts(named) && counts(lowest),
        }
    }
}

/// A case with the ancestors of its purpose and category.
pub struct ExpandedCase<'a> {
    case: ConsentCase<'a>,
    purposes: Vec<Ancestor<'a>>,
    categories: Vec<Ancestor<'a>>,
    /// The category and its special ancestors; empty if the category is not special.
    special: Vec<&'a str>,
}

impl<'a> ExpandedCase<'a> {
    /// Looks up the ancestors of a case.
    #[must_use]
    pub fn new(vocabulary: &'a Vocabulary, case: ConsentCase<'a>) -> Self {
        Self {
            case,
            purposes: vocabulary.purpose_ancestors(case.purpose),
            categories: vocabulary.category_ancestors(case.category),
            special: vocabulary.special_ancestry(case.category),
        }
    }

    /// The reach of a consent with these terms; `None` if it does not cover the case. A consent to a special
    /// category must be explicit and name the category or a special ancestor (GDPR Art. 9(2)(a)). A consent
    /// covers what its words covered when it was given.
    #[must_use]
    pub fn consent_reach(&self, terms: &Terms, given: Given) -> Option<Reach> {
        if self.special.is_empty() {
            return self.consent_reach_except_explicitness(terms, given);
        }
        if !terms.explicit || terms.categories.is_empty() {
            return None;
        }
        let is_special = |named: &Ancestor<'_>, lowest: &Ancestor<'_>| {
            self.special.contains(&named.id) && given.means(named, lowest)
        };
        let category = nearest(&terms.categories, &self.categories, is_special)?;
        self.reach(terms, self.meant_purpose(terms, given)?, category)
    }

    /// The reach that a consent with these terms would have if it were explicit and named the special
    /// category.
    #[must_use]
    pub fn consent_reach_except_explicitness(&self, terms: &Terms, given: Given) -> Option<Reach> {
        self.reach(terms, self.meant_purpose(terms, given)?, self.meant_category(terms, given)?)
    }

    /// Whether the words of these terms cover the case, but the consent is not explicit, or does not name the
    /// special category. It may also name no category at all.
    #[must_use]
    pub fn lacks_explicitness(&self, terms: &Terms, given: Given) -> Option<Reach> {
        let reach = self.consent_reach_except_explicitness(terms, given)?;
        self.consent_reach(terms, given).is_none().then_some(reach)
    }

    /// Whether a consent with these terms would cover the case if its words had meant then what they mean
    /// now.
    #[must_use]
    pub fn covered_by_new_words(&self, terms: &Terms, given: Given) -> bool {
        self.consent_reach(terms, Given::NOW).is_some() && self.consent_reach(terms, given).is_none()
    }

    /// The reach of a refusal or withdrawal with these terms; `None` if it does not cover the case.
    #[must_use]
    pub fn refusal_reach(&self, terms: &Terms) -> Option<Reach> {
        let any = |_: &Ancestor<'_>, _: &Ancestor<'_>| true;
        let purpose = nearest(&terms.purposes, &self.purposes, any)?;
        self.reach(terms, purpose, nearest(&terms.categories, &self.categories, any)?)
    }

    /// The steps to the nearest purpose that a consent names and that covered the case's purpose when the
    /// consent was given.
    fn meant_purpose(&self, terms: &Terms, given: Given) -> Option<usize> {
        let steps = nearest(&terms.purposes, &self.purposes, |named, lowest| given.means(named, lowest));
        steps.filter(|_| !terms.purposes.is_empty())
    }

    /// The steps to the nearest category that a consent names and that covered the case's category when the
    /// consent was given.
    fn meant_category(&self, terms: &Terms, given: Given) -> Option<usize> {
        nearest(&terms.categories, &self.categories, |named, lowest| given.means(named, lowest))
    }

    /// The time of the use, milliseconds since the Unix epoch.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.case.now_ms
    }

    /// The time from which a consent that names this case no longer covers it, because its words have another
    /// meaning from then on, milliseconds since the Unix epoch. `None` if the consent covers the case, or may
    /// still cover words below those of the case.
    #[must_use]
    pub fn ended_by_words_ms(&self, vocabulary: &Vocabulary, terms: &Terms, given: Given) -> Option<u64> {
        let purpose =
            self.meant_purpose(terms, given).is_none() && !vocabulary.has_purposes_below(self.case.purpose);
        let category = self.meant_category(terms, given).is_none()
            && !vocabulary.has_categories_below(self.case.category);
        self.changed_ms(purpose, category)
    }

    /// The time from which the nearest words of a consent do not cover this case, because they mean something
    /// else since then, milliseconds since the Unix epoch. `None` if they cover it.
    #[must_use]
    pub fn words_changed_ms(&self, terms: &Terms, given: Given) -> Option<u64> {
        let purpose = not_meant_since_ms(&terms.purposes, &self.purposes, given);
        let category = not_meant_since_ms(&terms.categories, &self.categories, given);
        purpose.into_iter().chain(category).min()
    }

    /// When the purpose or the category got its meaning, whichever counts and was earlier.
    fn changed_ms(&self, purpose: bool, category: bool) -> Option<u64> {
        let lowest = [(purpose, self.purposes.first()), (category, self.categories.first())];
        let ended = lowest.into_iter().filter(|(is_ended, _)| *is_ended);
        ended.filter_map(|(_, word)| Some(word?.since.at_ms)).min()
    }

    fn reach(&self, terms: &Terms, purpose: usize, category: usize) -> Option<Reach> {
        Some(Reach([
            purpose,
            category,
            is_named(&terms.recipients, self.case.recipient)?,
            is_named(&terms.interactions, self.case.interaction)?,
        ]))
    }
}

/// The number of steps up an ancestry to the first word that is in `names` and for which `accepts` is true.
/// The second argument of `accepts` is the lowest word of the ancestry. The maximum if `names` is empty,
/// because such terms cover every word.
fn nearest(
    names: &[String],
    ancestry: &[Ancestor<'_>],
    accepts: impl Fn(&Ancestor<'_>, &Ancestor<'_>) -> bool,
) -> Option<usize> {
    if names.is_empty() {
        return Some(usize::MAX);
    }
    let lowest = ancestry.first()?;
    ancestry.iter().position(|above| names.iter().any(|name| name == above.id) && accepts(above, lowest))
}

/// Since when the nearest named word has a meaning by which the consent does not cover the lowest word of the
/// ancestry, milliseconds since the Unix epoch. `None` if the consent covers that word.
fn not_meant_since_ms(names: &[String], ancestry: &[Ancestor<'_>], given: Given) -> Option<u64> {
    let lowest = ancestry.first()?;
    let named = ancestry.iter().find(|above| names.iter().any(|name| name == above.id))?;
    if given.means(named, lowest) {
        return None;
    }
    Some(lowest.since.at_ms.max(named.since.at_ms))
}

/// Zero if the name is in the list; the maximum if the list is empty.
fn is_named(list: &[String], name: &str) -> Option<usize> {
    match list {
        [] => Some(usize::MAX),
        _ => list.iter().any(|named| named == name).then_some(0),
    }
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
        let is_related =
            |own: &String| other.iter().any(|name| own == name || ancestry(own, name) || ancestry(name, own));
        one.is_empty() || other.is_empty() || one.iter().any(is_related)
    };
    let no_ancestors = |_: &str, _: &str| false;
    // Names are compared before words are looked up, which takes longer: many decisions of one data subject
    // differ only in the conversation.
    related(&one.interactions, &other.interactions, &no_ancestors)
        && related(&one.recipients, &other.recipients, &no_ancestors)
        && related(&one.purposes, &other.purposes, &|low, high| {
            vocabulary.purpose_ancestry(low).contains(&high)
        })
        && related(&one.categories, &other.categories, &|low, high| {
            vocabulary.category_ancestry(low).contains(&high)
        })
}
