//! Purposes and categories as defined so far, with their hierarchies.

use crate::event::event_body::Event;
use std::collections::BTreeMap;

/// Deeper hierarchies are cut off, so that a circle ends.
const DEPTH_MAX: usize = 32;

#[derive(Default)]
pub(super) struct Vocabulary {
    purposes: BTreeMap<String, String>,
    categories: BTreeMap<String, Category>,
}

struct Category {
    parent: String,
    special: bool,
}

impl Vocabulary {
    /// Takes a definition; other events are passed over.
    pub fn take(&mut self, event: &Event) {
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
    pub fn purpose_line<'a>(&'a self, id: &'a str) -> Vec<&'a str> {
        line(id, |id| self.purposes.get(id).map(String::as_str))
    }

    /// A category and its ancestors.
    pub fn category_line<'a>(&'a self, id: &'a str) -> Vec<&'a str> {
        line(id, |id| self.categories.get(id).map(|category| category.parent.as_str()))
    }

    /// Of a category and its ancestors, those that are special (GDPR Art. 9(1)): marked so, or below one that is.
    pub fn special_line<'a>(&'a self, id: &'a str) -> Vec<&'a str> {
        let mut line = self.category_line(id);
        let marked = |id: &&str| self.categories.get(*id).is_some_and(|category| category.special);
        line.truncate(line.iter().rposition(marked).map_or(0, |last| last + 1));
        line
    }
}

fn line<'a>(id: &'a str, parent: impl Fn(&str) -> Option<&'a str>) -> Vec<&'a str> {
    std::iter::successors(Some(id), |id| parent(id).filter(|parent| !parent.is_empty()))
        .take(DEPTH_MAX)
        .collect()
}
