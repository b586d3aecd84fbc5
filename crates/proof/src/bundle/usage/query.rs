//! Which grants a record of uses lists.

use super::seen::clipped;
use crate::entry::Handle;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Conditions on a grant. All of them must hold. If a list is empty, it sets no condition; otherwise one of
/// its values must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Query {
    /// Names of services that are recipients of grants.
    pub recipients: Vec<String>,
    /// Ids of purposes. Purposes below them fit, too.
    pub purposes: Vec<String>,
    /// Ids of categories. Categories below them fit, too. Only data of these categories is listed.
    pub categories: Vec<String>,
    /// Data subjects.
    #[serde(serialize_with = "as_hex")]
    pub people: Vec<Handle>,
    /// The beginning of a period, in milliseconds since the Unix epoch.
    pub from_ms: Option<u64>,
    /// The end of the period, which is not part of it, in milliseconds since the Unix epoch.
    pub to_ms: Option<u64>,
}

fn as_hex<S: serde::Serializer>(people: &[Handle], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(people.iter().map(ToString::to_string))
}

/// The words of a log, each with every word that was ever defined below it.
#[derive(Debug, Default)]
pub(super) struct Words {
    /// The words directly below each word, in any definition.
    below: BTreeMap<String, BTreeSet<String>>,
    defined: BTreeSet<String>,
}

impl Words {
    /// Adds a definition. The word keeps the parents of its earlier definitions: a grant from before a
    /// definition fits, too.
    pub fn define(&mut self, id: &str, parent: &str) {
        self.defined.insert(clipped(id));
        self.below.entry(clipped(parent)).or_default().insert(clipped(id));
    }

    /// Those of the named words that the log does not define.
    pub fn undefined(&self, named: &[String]) -> Vec<String> {
        named.iter().filter(|word| !self.defined.contains(&clipped(word))).cloned().collect()
    }

    /// The named words and all words below them.
    fn reach(&self, named: &[String]) -> BTreeSet<String> {
        let (mut reached, mut next) =
            (BTreeSet::new(), Vec::from_iter(named.iter().map(|word| clipped(word))));
        while let Some(word) = next.pop() {
            if reached.insert(word.clone()) {
                next.extend(self.below.get(&word).into_iter().flatten().cloned());
            }
        }
        reached
    }
}

/// A query with the words that it reaches.
pub(super) struct Filter<'a> {
    query: &'a Query,
    purposes: BTreeSet<String>,
    categories: BTreeSet<String>,
}

/// The properties of a grant that a query looks at.
pub(super) struct Compared<'a> {
    pub recipient: &'a str,
    pub purpose: &'a str,
    pub subject: Handle,
    /// When the grant was issued, in milliseconds since the Unix epoch.
    pub issued_ms: u64,
    /// When it ended, by its expiry or a revocation.
    pub ended_ms: u64,
    /// When its uses were reported.
    pub used_ms: &'a [u64],
}

impl<'a> Filter<'a> {
    pub fn new(query: &'a Query, purposes: &Words, categories: &Words) -> Self {
        let (purposes, categories) = (purposes.reach(&query.purposes), categories.reach(&query.categories));
        Self { query, purposes, categories }
    }

    /// Whether data of a category is listed.
    pub fn lists(&self, category: &str) -> bool {
        self.query.categories.is_empty() || self.categories.contains(category)
    }

    /// Whether a grant fits, apart from its categories. A grant is in the period if it was in force at some
    /// time in the period, or if one of its uses was in the period, as its service stated.
    pub fn fits(&self, grant: &Compared<'_>) -> bool {
        let query = self.query;
        let is_in_period = |from: u64, to: u64| {
            query.from_ms.is_none_or(|begin| begin <= to) && query.to_ms.is_none_or(|end| from < end)
        };
        (query.recipients.is_empty() || query.recipients.iter().any(|name| clipped(name) == grant.recipient))
            && (query.purposes.is_empty() || self.purposes.contains(grant.purpose))
            && (query.people.is_empty() || query.people.contains(&grant.subject))
            && (is_in_period(grant.issued_ms, grant.ended_ms.max(grant.issued_ms))
                || grant.used_ms.iter().any(|at| is_in_period(*at, *at)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(definitions: &[(&str, &str)]) -> Words {
        let mut words = Words::default();
        definitions.iter().for_each(|(id, parent)| words.define(id, parent));
        words
    }

    fn named(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    const GRANT: Compared<'_> = Compared {
        recipient: "tutor",
        purpose: "tone-adaptation",
        subject: Handle([1; 16]),
        issued_ms: 100,
        ended_ms: 200,
        used_ms: &[250],
    };

    #[test]
    fn a_word_reaches_every_word_that_was_ever_below_it() {
        let words = words(&[("health", ""), ("allergy", "health"), ("nuts", "allergy"), ("allergy", "diet")]);
        assert_eq!(
            words.reach(&named(&["health"])),
            named(&["health", "allergy", "nuts"]).into_iter().collect()
        );
        assert_eq!(words.reach(&named(&["diet"])), named(&["diet", "allergy", "nuts"]).into_iter().collect());
        assert_eq!(words.undefined(&named(&["health", "helth", "diet"])), ["helth", "diet"]);
    }

    #[test]
    fn words_that_are_below_each_other_do_not_keep_the_filter_busy() {
        assert_eq!(words(&[("a", "b"), ("b", "a")]).reach(&named(&["a"])).len(), 2);
    }

    #[test]
    fn every_condition_must_hold_and_one_value_of_each_is_enough() {
        let purposes = words(&[("personalization", ""), ("tone-adaptation", "personalization")]);
        let categories = words(&[("health", ""), ("allergy", "health"), ("work", "")]);
        let fits = |query: &Query| Filter::new(query, &purposes, &categories).fits(&GRANT);
        let all = Query {
            recipients: named(&["coach", "tutor"]),
            purposes: named(&["personalization"]),
            categories: named(&["health"]),
            people: vec![GRANT.subject],
            from_ms: Some(100),
            to_ms: Some(101),
        };
        assert!(fits(&Query::default()) && fits(&all));
        assert!(!fits(&Query { recipients: named(&["coach"]), ..all.clone() }));
        assert!(!fits(&Query { purposes: named(&["advertising"]), ..all.clone() }));
        assert!(!fits(&Query { people: vec![Handle([2; 16])], ..all.clone() }));
        let filter = Filter::new(&all, &purposes, &categories);
        assert!(filter.lists("allergy") && filter.lists("health") && !filter.lists("work"));
    }

    #[test]
    fn a_grant_is_in_a_period_while_it_is_in_force_or_when_its_use_is_reported() {
        let in_period = |from_ms, to_ms| {
            let query = Query { from_ms, to_ms, ..Query::default() };
            Filter::new(&query, &Words::default(), &Words::default()).fits(&GRANT)
        };
        for (from, to, expected) in [
            (None, Some(100), false),
            (None, Some(101), true),
            (Some(150), Some(160), true),
            (Some(200), None, true),
            (Some(201), Some(250), false),
            (Some(201), Some(251), true),
            (Some(251), None, false),
        ] {
            assert_eq!(in_period(from, to), expected, "{from:?} to {to:?}");
        }
    }
}
