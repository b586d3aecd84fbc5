//! Which categories the bounds in force do not tell apart: a decision about one is a decision about all of them, and is
//! made once.
//!
//! Whatever a policy can ask about a class of attributes is its provenance, which stays as it is, what it is `in` or equal
//! to, which takes a name that stands in the policy, and its attributes, of which the schema says three: whether it is
//! special, its risks, its benefits. Two categories that agree in all of these are alike.

use crate::bounds::entities::class;
use crate::domain::vocabulary::Vocabulary;
use cedar_policy::Policy;
use sayso_proof::event::Provenance;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What policies tell categories apart by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Distinctions {
    /// Ids of entities, whatever their type.
    names: BTreeSet<String>,
    /// Risks or benefits.
    by_tags: bool,
}

impl Distinctions {
    /// By any of these. A policy that can't be read as JSON may ask about tags.
    pub fn of<'a>(policies: impl Iterator<Item = &'a Policy>) -> Self {
        let mut told = Self::default();
        for policy in policies {
            told.names.extend(policy.entity_literals().iter().map(|uid| uid.id().unescaped().to_owned()));
            told.by_tags |= policy.to_json().map_or(true, |json| names_tags(&json));
        }
        told
    }

    /// By these or by others.
    pub fn and(mut self, others: &Self) -> Self {
        self.names.extend(others.names.iter().cloned());
        self.by_tags |= others.by_tags;
        self
    }

    fn names_class(&self, category: &str) -> bool {
        let all = [Provenance::Declared, Provenance::Observed, Provenance::Inferred];
        all.into_iter().any(|provenance| self.names.contains(&class(category, provenance)))
    }
}

/// Whether the name of an attribute that holds tags stands anywhere.
fn names_tags(json: &Value) -> bool {
    match json {
        Value::String(text) => text == "risks" || text == "benefits",
        Value::Array(items) => items.iter().any(names_tags),
        Value::Object(fields) => {
            fields.iter().any(|(name, value)| name == "risks" || name == "benefits" || names_tags(value))
        }
        _ => false,
    }
}

/// What a category is to the bounds in force.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Look<'a> {
    special: bool,
    /// Of those that policies name: itself and what it is below.
    named: Vec<&'a str>,
    tags: Option<(BTreeSet<&'a str>, BTreeSet<&'a str>)>,
    /// Its own name, where policies name classes of its attributes.
    itself: Option<&'a str>,
}

impl<'a> Look<'a> {
    fn of(category: &'a str, vocabulary: &'a Vocabulary, told: &Distinctions) -> Self {
        let line = vocabulary.category_ancestry(category).into_iter();
        Self {
            special: vocabulary.is_special(category),
            named: line.filter(|above| told.names.contains(*above)).collect(),
            tags: told.by_tags.then(|| vocabulary.category_tags(category)),
            itself: told.names_class(category).then_some(category),
        }
    }
}

/// By category: the one that is decided about in its place.
#[derive(Debug)]
pub(super) struct EquivalentCategories(BTreeMap<String, String>);

impl EquivalentCategories {
    /// Of a vocabulary, under policies that tell categories apart by this.
    pub fn new(vocabulary: &Vocabulary, told: &Distinctions) -> Self {
        let mut first: BTreeMap<Look<'_>, &str> = BTreeMap::new();
        let places = vocabulary.categories().map(|category| {
            let place = *first.entry(Look::of(&category.id, vocabulary, told)).or_insert(&category.id);
            (category.id.clone(), place.to_owned())
        });
        Self(places.collect())
    }

    /// The category to decide about in the place of this one; itself where it is unknown, or where what an attribute was
    /// derived from is in play: policies may hold categories against that.
    pub fn place<'a>(&'a self, category: &'a str, sources: &BTreeSet<String>) -> &'a str {
        self.0.get(category).filter(|_| sources.is_empty()).map_or(category, String::as_str)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::domain::vocabulary::default_vocabulary;

    fn alike(policies: &[&str]) -> EquivalentCategories {
        let policies: Vec<Policy> = policies.iter().map(|text| Policy::parse(None, *text).unwrap()).collect();
        EquivalentCategories::new(&default_vocabulary(), &Distinctions::of(policies.iter()))
    }

    fn are(alike: &EquivalentCategories, one: &str, other: &str) -> bool {
        let none = BTreeSet::new();
        alike.place(one, &none) == alike.place(other, &none)
    }

    #[test]
    fn what_no_policy_tells_apart_is_alike() {
        let all = alike(&["forbid (principal, action, resource) when { resource.special };"]);
        assert!(are(&all, "work", "education") && !are(&all, "work", "health"));
        let sources = BTreeSet::from(["health".to_owned()]);
        assert_eq!((all.place("work", &sources), all.place("nowhere", &sources)), ("work", "nowhere"));
        assert_eq!(all.place("nowhere", &BTreeSet::new()), "nowhere");
    }

    #[test]
    fn a_name_tells_a_category_and_what_is_below_it_apart() {
        for named in [
            r#"forbid (principal, action, resource in Category::"work");"#,
            r#"forbid (principal, action, resource) when { resource in [Category::"work"] };"#,
            r#"forbid (principal, action, resource == AttributeClass::"work/inferred");"#,
            r#"forbid (principal, action, resource) when { resource == AttributeClass::"work/observed" };"#,
        ] {
            let told = alike(&[named]);
            assert!(!are(&told, "work", "education") && are(&told, "language", "education"), "{named}");
        }
    }

    #[test]
    fn tags_tell_apart_once_a_policy_asks_about_them() {
        let vocabulary = default_vocabulary();
        let plain = |id: &str| !vocabulary.is_special(id);
        let tagged = vocabulary.categories().find(|each| {
            plain(&each.id) && vocabulary.category_tags(&each.id) != vocabulary.category_tags("work")
        });
        let tagged = tagged.unwrap().id.clone();
        for asking in [
            r#"forbid (principal, action, resource) when { resource.risks.contains("x") };"#,
            r#"forbid (principal, action, resource) when { resource["benefits"].isEmpty() };"#,
        ] {
            assert!(!are(&alike(&[asking]), "work", &tagged), "{asking}");
        }
        assert!(are(&alike(&[]), "work", &tagged));
    }
}
