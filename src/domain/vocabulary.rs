//! The vocabulary of consents: purposes and categories, each in a hierarchy and with an IRI of the W3C Data
//! Privacy Vocabulary, and the versions of notices. Events define the vocabulary.

use super::hierarchy::{Ancestor, Hierarchy, Since, Word};
use super::legal_basis::DeclaredBasis;
use super::notices::NoticeVersions;
use crate::domain::event::{CategoryDefined, PurposeDefined, Rung};
use std::collections::{BTreeMap, BTreeSet};

const NEAR_MAX: usize = 3;
/// Uses for these purposes, and for those below them, can always be refused: direct marketing (GDPR Art.
/// 21(2)) and the sale of data (Cal. Civ. Code s. 1798.120).
pub const REFUSABLE: [&str; 4] = ["advertising", "commercial-persuasion", "data-sale", "direct-marketing"];

/// The edition of the rules of decisions that this version follows (docs/format.md).
pub const DECISION_RULES: u32 = 5;
// The verifier of this version knows what this version writes.
const _: () = assert!(DECISION_RULES <= sayso_proof::bundle::EDITION_MAX);

/// The purposes and categories in force, and the versions of notices that count.
#[derive(Clone, Debug, Default)]
pub struct Vocabulary {
    /// The versions of notices, and which of them are required.
    pub notices: NoticeVersions,
    purposes: Hierarchy<PurposeDefined>,
    categories: Hierarchy<CategoryDefined>,
    edition: u32,
    /// For each purpose with a declared legal basis, the position of the definition that declares it.
    declared_at: BTreeMap<String, u64>,
    /// Since when each special category has been special.
    special_since: BTreeMap<String, Since>,
}

impl Word for PurposeDefined {
    fn id(&self) -> &str {
        &self.id
    }

    fn parent(&self) -> &str {
        &self.parent
    }

    fn means_the_same(&self, before: &Self) -> bool {
        self.same_meaning || (&self.title, &self.iri) == (&before.title, &before.iri)
    }
}

impl Word for CategoryDefined {
    fn id(&self) -> &str {
        &self.id
    }

    fn parent(&self) -> &str {
        &self.parent
    }

    fn means_the_same(&self, before: &Self) -> bool {
        self.same_meaning || (&self.title, &self.iri) == (&before.title, &before.iri)
    }
}

/// The error message for an undefined purpose or category. `near` lists similar ids that are defined.
#[must_use]
pub fn unknown(what: &str, near: &[String]) -> String {
    match near {
        [] => format!("must be a defined {what}; `sayso {what} list` shows them"),
        _ => format!("must be a defined {what}; near: {}", near.join(", ")),
    }
}

impl Vocabulary {
    /// The edition of the rules of decisions under which these words are read; 0 if the log states none.
    #[must_use]
    pub fn edition(&self) -> u32 {
        self.edition
    }

    /// Notes that decisions follow this edition of the rules. An edition lower than the present one changes
    /// nothing.
    pub fn adopt_edition(&mut self, edition: u32) {
        self.edition = self.edition.max(edition);
    }

    /// Adds a purpose or replaces it. If the definition lifts the purpose to a higher rung, the purpose
    /// counts as a new one: earlier consents do not cover it.
    pub fn define_purpose(&mut self, purpose: PurposeDefined, since: Since) {
        let affected = self.purposes.subtree(&purpose.id);
        let rungs: Vec<(String, Rung)> =
            affected.into_iter().map(|id| (id.clone(), self.rung(&id))).collect();
        self.purposes.define(purpose, since);
        for (id, before) in rungs {
            if self.rung(&id) > before {
                self.purposes.change_meaning(&id, since);
            }
        }
    }

    /// Notes where the newest definition of a purpose is in the log, if it declares a legal basis.
    pub fn note_basis(&mut self, purpose: &str, position: u64) {
        if self.purpose(purpose).and_then(PurposeDefined::declared_basis).is_some() {
            self.declared_at.insert(purpose.to_owned(), position);
        } else {
            self.declared_at.remove(purpose);
        }
    }

    /// The legal basis that the controller declares for a purpose, in addition to consent, and the position
    /// of the definition that declares it. A declaration is about its purpose alone, not about the purposes
    /// below.
    #[must_use]
    pub fn declared_basis(&self, purpose: &str) -> Option<(DeclaredBasis, u64)> {
        let kind = self.purpose(purpose)?.declared_basis()?;
        let applies = kind.can_be_refused() || !self.is_always_refusable(purpose);
        Some((kind, *self.declared_at.get(purpose)?)).filter(|_| applies)
    }

    /// Whether uses for a purpose can always be refused.
    #[must_use]
    pub fn is_always_refusable(&self, purpose: &str) -> bool {
        self.purpose_ancestry(purpose).iter().any(|id| REFUSABLE.contains(id))
    }

    /// Adds a category or replaces it.
    pub fn define_category(&mut self, category: CategoryDefined, since: Since) {
        let affected = self.categories.subtree(&category.id);
        let ordinary: Vec<String> = affected.into_iter().filter(|id| !self.is_special(id)).collect();
        self.categories.define(category, since);
        for id in ordinary {
            if self.is_special(&id) {
                self.special_since.insert(id, since);
            }
        }
    }

    /// Since when a category has been special; `None` if it is not special.
    #[must_use]
    pub fn special_since(&self, category: &str) -> Option<Since> {
        self.special_since.get(category).copied()
    }

    /// All purposes, by id.
    pub fn purposes(&self) -> impl Iterator<Item = &PurposeDefined> {
        self.purposes.words()
    }

    /// All categories, by id.
    pub fn categories(&self) -> impl Iterator<Item = &CategoryDefined> {
        self.categories.words()
    }

    /// The definition of a purpose.
    #[must_use]
    pub fn purpose(&self, id: &str) -> Option<&PurposeDefined> {
        self.purposes.get(id)
    }

    /// The definition of a category.
    #[must_use]
    pub fn category(&self, id: &str) -> Option<&CategoryDefined> {
        self.categories.get(id)
    }

    /// Whether a purpose is defined.
    #[must_use]
    pub fn has_purpose(&self, id: &str) -> bool {
        self.purposes.get(id).is_some()
    }

    /// Whether a category is defined.
    #[must_use]
    pub fn has_category(&self, id: &str) -> bool {
        self.categories.get(id).is_some()
    }

    /// A purpose and its ancestors, nearest first. An undefined purpose has no ancestors.
    #[must_use]
    pub fn purpose_ancestry<'a>(&'a self, id: &'a str) -> Vec<&'a str> {
        self.purposes.ancestry(id)
    }

    /// A category and its ancestors, nearest first. An undefined category has no ancestors.
    #[must_use]
    pub fn category_ancestry<'a>(&'a self, id: &'a str) -> Vec<&'a str> {
        self.categories.ancestry(id)
    }

    /// A purpose and its ancestors, nearest first, with the moment from which each of them counts.
    #[must_use]
    pub fn purpose_ancestors<'a>(&'a self, id: &'a str) -> Vec<Ancestor<'a>> {
        self.purposes.ancestors(id)
    }

    /// A category and its ancestors, nearest first, with the moment from which each of them counts.
    #[must_use]
    pub fn category_ancestors<'a>(&'a self, id: &'a str) -> Vec<Ancestor<'a>> {
        self.categories.ancestors(id)
    }

    /// Whether a definition came into force after something that was said at `said_ms` (milliseconds
    /// since the Unix epoch) and recorded at `position`.
    #[must_use]
    pub fn changed_after(&self, said_ms: u64, position: u64) -> bool {
        [self.purposes.newest(), self.categories.newest()]
            .iter()
            .any(|newest| !newest.is_before(said_ms, position))
    }

    /// A purpose and the purposes below it.
    #[must_use]
    pub fn purpose_subtree(&self, id: &str) -> Vec<String> {
        self.purposes.subtree(id)
    }

    /// A purpose with each purpose below it, and with itself ([`Hierarchy::pairs_below`]).
    #[must_use]
    pub fn purpose_pairs(&self, id: &str) -> Vec<(Ancestor<'_>, Ancestor<'_>)> {
        self.purposes.pairs_below(id)
    }

    /// A category with each category below it, and with itself ([`Hierarchy::pairs_below`]).
    #[must_use]
    pub fn category_pairs(&self, id: &str) -> Vec<(Ancestor<'_>, Ancestor<'_>)> {
        self.categories.pairs_below(id)
    }

    /// Whether another purpose is below this one.
    #[must_use]
    pub fn has_purposes_below(&self, id: &str) -> bool {
        self.purposes.has_below(id)
    }

    /// Whether another category is below this one.
    #[must_use]
    pub fn has_categories_below(&self, id: &str) -> bool {
        self.categories.has_below(id)
    }

    /// The first of `ancestors` that an existing purpose would get as a new ancestor if this definition
    /// replaced its present one. The purposes below it would get the same ancestor.
    #[must_use]
    pub fn purpose_gains(&self, purpose: &PurposeDefined, ancestors: &[&str]) -> Option<String> {
        if !self.has_purpose(&purpose.id) || purpose.parent.is_empty() {
            return None;
        }
        let (before, after) = (self.purpose_ancestry(&purpose.id), self.purpose_ancestry(&purpose.parent));
        let gained = ancestors.iter().find(|id| after.contains(id) && !before.contains(id));
        gained.map(|id| (*id).to_owned())
    }

    /// The first ancestor that a purpose would lose if this definition replaced its own.
    #[must_use]
    pub fn purpose_loses(&self, purpose: &PurposeDefined) -> Option<&str> {
        self.purposes.lost_ancestor(purpose)
    }

    /// The first ancestor that a category would lose if this definition replaced its own.
    #[must_use]
    pub fn category_loses(&self, category: &CategoryDefined) -> Option<&str> {
        self.categories.lost_ancestor(category)
    }

    /// The special categories (GDPR Art. 9(1)) among a category and its ancestors, nearest first. A category
    /// is special if it or one of its ancestors is marked special.
    #[must_use]
    pub fn special_ancestry<'a>(&'a self, id: &'a str) -> Vec<&'a str> {
        let mut ancestry = self.category_ancestry(id);
        let marked = |id: &&str| self.categories.get(id).is_some_and(|category| category.special);
        let special = ancestry.iter().rposition(marked).map_or(0, |last| last.saturating_add(1));
        ancestry.truncate(special);
        ancestry
    }

    /// Whether a category or one of its ancestors is special (GDPR Art. 9(1)).
    #[must_use]
    pub fn is_special(&self, id: &str) -> bool {
        !self.special_ancestry(id).is_empty()
    }

    /// The rung of a purpose on the ladder of rising risk; unspecified if the purpose is not on the ladder.
    /// It is the highest rung among the purpose and its ancestors, so that no purpose is lower than its
    /// parent.
    #[must_use]
    pub fn rung(&self, id: &str) -> Rung {
        let ancestry = self.purpose_ancestry(id).into_iter().filter_map(|id| self.purposes.get(id));
        ancestry.map(|purpose| purpose.rung).max().unwrap_or_default()
    }

    /// The tags of a purpose and its ancestors: risks and benefits.
    #[must_use]
    pub fn purpose_tags<'a>(&'a self, id: &'a str) -> (BTreeSet<&'a str>, BTreeSet<&'a str>) {
        let ancestry = self.purpose_ancestry(id).into_iter().filter_map(|id| self.purposes.get(id));
        let all: Vec<&PurposeDefined> = ancestry.collect();
        let risks = all.iter().flat_map(|purpose| &purpose.risks).map(String::as_str).collect();
        (risks, all.iter().flat_map(|purpose| &purpose.benefits).map(String::as_str).collect())
    }

    /// The tags of a category and its ancestors: risks and benefits.
    #[must_use]
    pub fn category_tags<'a>(&'a self, id: &'a str) -> (BTreeSet<&'a str>, BTreeSet<&'a str>) {
        let ancestry = self.category_ancestry(id).into_iter().filter_map(|id| self.categories.get(id));
        let all: Vec<&CategoryDefined> = ancestry.collect();
        let risks = all.iter().flat_map(|category| &category.risks).map(String::as_str).collect();
        (risks, all.iter().flat_map(|category| &category.benefits).map(String::as_str).collect())
    }

    /// Whether the categories, after this one is added, would have no cycle and at most
    /// [`super::hierarchy::DEPTH_MAX`] levels.
    #[must_use]
    pub fn can_take_category(&self, category: &CategoryDefined) -> bool {
        self.categories.can_take(category)
    }

    /// Whether the purposes, after this one is added, would have no cycle and at most
    /// [`super::hierarchy::DEPTH_MAX`] levels.
    #[must_use]
    pub fn can_take_purpose(&self, purpose: &PurposeDefined) -> bool {
        self.purposes.can_take(purpose)
    }

    /// Defined purposes that are similar to a misspelled one.
    #[must_use]
    pub fn near_purposes(&self, id: &str) -> Vec<String> {
        near(id, self.purposes.ids())
    }

    /// Defined categories that are similar to a misspelled one.
    #[must_use]
    pub fn near_categories(&self, id: &str) -> Vec<String> {
        near(id, self.categories.ids())
    }
}

/// Known tags that are similar to a misspelled one.
#[must_use]
pub fn near_tags(tag: &str, known: &[&str]) -> Vec<String> {
    let known: Vec<String> = known.iter().map(|tag| (*tag).to_owned()).collect();
    near(tag, known.iter())
}

fn near<'a>(id: &str, words: impl Iterator<Item = &'a String>) -> Vec<String> {
    let within = (id.chars().count() / 3).max(2);
    let mut found: Vec<(usize, &String)> = words
        .map(|word| (distance(id, word), word))
        .filter(|(distance, word)| *distance <= within || (id.len() > 2 && word.contains(id)))
        .collect();
    found.sort();
    found.into_iter().take(NEAR_MAX).map(|(_, word)| word.clone()).collect()
}

/// Levenshtein distance of short words; `usize::MAX` for long ones.
fn distance(left: &str, right: &str) -> usize {
    if left.len() > 64 || right.len() > 64 {
        return usize::MAX;
    }
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut next = vec![i.saturating_add(1)];
        for ((b, diagonal), above) in right.iter().zip(&row).zip(row.iter().skip(1)) {
            let swap = diagonal.saturating_add(usize::from(a != *b));
            let last = next.last().copied().unwrap_or_default();
            next.push(swap.min(above.saturating_add(1)).min(last.saturating_add(1)));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::default_vocabulary::default_vocabulary;

    #[test]
    fn an_ancestry_goes_up_and_ends_even_in_a_cycle() {
        let mut vocabulary = default_vocabulary();
        assert_eq!(vocabulary.purpose_ancestry("memory"), ["memory", "personalization"]);
        assert!(vocabulary.is_special("mental-health") && !vocabulary.is_special("work"));
        let purpose = |id: &str, parent: &str| PurposeDefined {
            id: id.into(),
            parent: parent.into(),
            ..PurposeDefined::default()
        };
        vocabulary.define_purpose(purpose("a", "b"), Since::default());
        vocabulary.define_purpose(purpose("b", "a"), Since::default());
        assert_eq!(vocabulary.purpose_ancestry("a"), ["a", "b"]);
    }

    #[test]
    fn similar_ids_are_suggested_for_a_misspelled_one() {
        let vocabulary = default_vocabulary();
        assert_eq!(vocabulary.near_categories("helth"), ["health"]);
        assert_eq!(vocabulary.near_purposes("tone-adaption"), ["tone-adaptation"]);
        assert!(vocabulary.near_purposes("zzzzzz").is_empty());
    }
}
