//! The titles of purposes and categories, which the page shows instead of their ids.

use std::collections::BTreeMap;

/// Titles by id.
#[derive(Clone, Debug, Default)]
pub struct Titles {
    /// Titles of purposes.
    pub purposes: BTreeMap<String, String>,
    /// Titles of categories.
    pub categories: BTreeMap<String, String>,
}

impl Titles {
    /// The title of a purpose; its id if it has none.
    pub(super) fn purpose<'a>(&'a self, id: &'a str) -> &'a str {
        self.purposes.get(id).map_or(id, String::as_str)
    }

    /// The title of a category; its id if it has none.
    pub(super) fn category<'a>(&'a self, id: &'a str) -> &'a str {
        self.categories.get(id).map_or(id, String::as_str)
    }
}
