//! The purposes and categories defined so far, with their hierarchies.

use crate::event::event_body::Event;
use std::collections::BTreeMap;

/// Maximum depth of a hierarchy. Higher ancestors are ignored, so a cycle ends.
const DEPTH_MAX: usize = 32;

#[derive(Default)]
pub(super) struct Vocabulary {
    /// Parent of each purpose; empty for a root.
    purposes: BTreeMap<String, String>,
    categories: BTreeMap<String, Category>,
}

struct Category {
    parent: String,
    special: bool,
}

impl Vocabulary {
    /// Applies a definition. Other events are ignored.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::PurposeDefined(purpose) => {
                self.purposes.insert(purpose.id.clone(), purpose.parent.clone());
            }
            Event::CategoryDefined(defined) => {
                let category = Category { parent: defined.parent.clone(), special: defined.special };
                self.categories.insert(defined.id.clone(), category);
            }
            _ => {}
        }
    }

    pub fn has_purpose(&self, id: &str) -> bool {
        self.purposes.contains_key(id)
    }

    pub fn has_category(&self, id: &str) -> bool {
        self.categories.contains_key(id)
    }

    /// A purpose and its ancestors.
    pub fn purpose_ancestry<'a>(&'a self, id: &'a str) -> Vec<&'a str> {
        ancestry(id, |id| self.purposes.get(id).map(String::as_str))
    }

    /// A category and its ancestors.
    pub fn category_ancestry<'a>(&'a self, id: &'a str) -> Vec<&'a str> {
        ancestry(id, |id| self.categories.get(id).map(|category| category.parent.as_str()))
    }

    /// Among a category and its ancestors, those that are special (GDPR Art. 9(1)): each of them is marked as
    /// special, or has an ancestor that is marked as special.
    pub fn special_ancestry<'a>(&'a self, id: &'a str) -> Vec<&'a str> {
        let mut ancestry = self.category_ancestry(id);
        let is_marked = |id: &&str| self.categories.get(*id).is_some_and(|category| category.special);
        ancestry.truncate(ancestry.iter().rposition(is_marked).map_or(0, |last| last + 1));
        ancestry
    }
}

fn ancestry<'a>(id: &'a str, parent: impl Fn(&str) -> Option<&'a str>) -> Vec<&'a str> {
    std::iter::successors(Some(id), |id| parent(id).filter(|parent| !parent.is_empty()))
        .take(DEPTH_MAX)
        .collect()
}
