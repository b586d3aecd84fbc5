//! Finds categories that the bounds in force do not distinguish, so that one decision serves all of them.
//!
//! In this file, a class is what policies can ask for: a category with a provenance, such as
//! `work/inferred`. (The classes of `attribute_class` are finer.) Two categories are equivalent only if,
//! for each provenance, no policy can tell their two classes apart. A policy can tell two classes of the
//! same provenance apart in two ways. First, the policy can ask whether the class of an attribute equals,
//! or is `in`, a class or category. Then the policy's text contains the id of this class or category.
//! Second, it can ask for the properties that the schema gives a class: whether it is special, its risks
//! and its benefits.

use crate::bounds::entities::class;
use crate::domain::event::Provenance;
use crate::domain::vocabulary::Vocabulary;
use cedar_policy::Policy;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The properties by which policies distinguish categories.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Distinctions {
    /// Ids of the entities that policies name, of any type.
    names: BTreeSet<String>,
    /// Whether a policy uses risks or benefits.
    by_tags: bool,
}

impl Distinctions {
    /// The distinctions of these policies. A policy without a JSON form is assumed to use tags.
    pub fn of<'a>(policies: impl Iterator<Item = &'a Policy>) -> Self {
        let mut distinctions = Self::default();
        for policy in policies {
            distinctions
                .names
                .extend(policy.entity_literals().iter().map(|uid| uid.id().unescaped().to_owned()));
            distinctions.by_tags |= policy.to_json().map_or(true, |json| names_tags(&json));
        }
        distinctions
    }

    /// The distinctions of both sets of policies.
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

/// Whether `risks` or `benefits` occurs anywhere in the policy.
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

/// The properties of a category that the bounds in force distinguish.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct CategoryTraits<'a> {
    special: bool,
    /// The ids that policies name, among the category and its ancestors.
    named: Vec<&'a str>,
    tags: Option<(BTreeSet<&'a str>, BTreeSet<&'a str>)>,
    /// The category's own id, if a policy names a class of its attributes.
    itself: Option<&'a str>,
}

impl<'a> CategoryTraits<'a> {
    fn of(category: &'a str, vocabulary: &'a Vocabulary, distinctions: &Distinctions) -> Self {
        let ancestry = vocabulary.category_ancestry(category).into_iter();
        Self {
            special: vocabulary.is_special(category),
            named: ancestry.filter(|above| distinctions.names.contains(*above)).collect(),
            tags: distinctions.by_tags.then(|| vocabulary.category_tags(category)),
            itself: distinctions.names_class(category).then_some(category),
        }
    }
}

/// Maps each category to the representative that is decided in its place.
#[derive(Debug)]
pub(super) struct EquivalentCategories(BTreeMap<String, String>);

impl EquivalentCategories {
    /// Groups the categories of a vocabulary under policies with these distinctions.
    pub fn new(vocabulary: &Vocabulary, distinctions: &Distinctions) -> Self {
        let mut first: BTreeMap<CategoryTraits<'_>, &str> = BTreeMap::new();
        let representatives = vocabulary.categories().map(|category| {
            let representative = *first
                .entry(CategoryTraits::of(&category.id, vocabulary, distinctions))
                .or_insert(&category.id);
            (category.id.clone(), representative.to_owned())
        });
        Self(representatives.collect())
    }

    /// The category that is decided in place of the given category. If the given category is unknown, the
    /// result is that category itself. The same is true if the attribute was derived from others, because
    /// policies may compare its category with the categories of its sources.
    pub fn representative<'a>(&'a self, category: &'a str, sources: &BTreeSet<String>) -> &'a str {
        self.0.get(category).filter(|_| sources.is_empty()).map_or(category, String::as_str)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::domain::default_vocabulary::default_vocabulary;

    fn equivalent(policies: &[&str]) -> EquivalentCategories {
        let policies: Vec<Policy> = policies.iter().map(|text| Policy::parse(None, *text).unwrap()).collect();
        EquivalentCategories::new(&default_vocabulary(), &Distinctions::of(policies.iter()))
    }

    fn are(equivalent: &EquivalentCategories, one: &str, other: &str) -> bool {
        let none = BTreeSet::new();
        equivalent.representative(one, &none) == equivalent.representative(other, &none)
    }

    #[test]
    fn categories_that_no_policy_distinguishes_are_equivalent() {
        let all = equivalent(&["forbid (principal, action, resource) when { resource.special };"]);
        assert!(are(&all, "work", "education") && !are(&all, "work", "health"));
        let sources = BTreeSet::from(["health".to_owned()]);
        assert_eq!(
            (all.representative("work", &sources), all.representative("nowhere", &sources)),
            ("work", "nowhere")
        );
        assert_eq!(all.representative("nowhere", &BTreeSet::new()), "nowhere");
    }

    #[test]
    fn naming_a_category_distinguishes_it_and_its_descendants() {
        for named in [
            r#"forbid (principal, action, resource in Category::"work");"#,
            r#"forbid (principal, action, resource) when { resource in [Category::"work"] };"#,
            r#"forbid (principal, action, resource == AttributeClass::"work/inferred");"#,
            r#"forbid (principal, action, resource) when { resource == AttributeClass::"work/observed" };"#,
        ] {
            let distinctions = equivalent(&[named]);
            assert!(
                !are(&distinctions, "work", "education") && are(&distinctions, "language", "education"),
                "{named}"
            );
        }
    }

    #[test]
    fn tags_distinguish_categories_once_a_policy_uses_them() {
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
            assert!(!are(&equivalent(&[asking]), "work", &tagged), "{asking}");
        }
        assert!(are(&equivalent(&[]), "work", &tagged));
    }
}
