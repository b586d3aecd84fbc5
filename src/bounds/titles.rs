//! The titles that purposes and categories had at earlier moments. A record of what a person agreed to, or of
//! what was used, is shown with the titles that were in force then.

use crate::domain::event::{Event, Recorded};
use std::collections::BTreeMap;

/// What a purpose or a category is called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Title {
    /// The title that people see.
    pub title: String,
    /// The IRI of its term in the W3C Data Privacy Vocabulary; may be empty.
    pub iri: String,
}

/// A definition of a word.
#[derive(Debug)]
struct Defined {
    position: u64,
    /// When it came into force, milliseconds since the Unix epoch.
    starts_ms: u64,
    title: Title,
}

/// Every title that purposes and categories have had.
#[derive(Debug, Default)]
pub struct TitleHistory {
    purposes: BTreeMap<String, Vec<Defined>>,
    categories: BTreeMap<String, Vec<Defined>>,
}

/// A moment of the log.
#[derive(Clone, Copy, Debug)]
pub struct TitleMoment {
    /// The position of the entry that speaks.
    pub position: u64,
    /// When it was sealed, milliseconds since the Unix epoch.
    pub sealed_at_ms: u64,
}

impl TitleHistory {
    /// The titles that these definitions gave. `definitions` are in the order in which they come into force,
    /// each with that time.
    pub(super) fn new<'a>(definitions: impl Iterator<Item = (u64, &'a Recorded)>) -> Self {
        let mut history = Self::default();
        for (starts_ms, event) in definitions {
            let (words, id, title, iri) = match &event.event {
                Event::PurposeDefined(of) => (&mut history.purposes, &of.id, &of.title, &of.iri),
                Event::CategoryDefined(of) => (&mut history.categories, &of.id, &of.title, &of.iri),
                _ => continue,
            };
            let title = Title { title: title.clone(), iri: iri.clone() };
            let defined = Defined { position: event.position, starts_ms, title };
            words.entry(id.clone()).or_default().push(defined);
        }
        history
    }

    /// The title of a purpose at a moment; `None` if it was not defined then.
    #[must_use]
    pub fn purpose(&self, id: &str, at: TitleMoment) -> Option<&Title> {
        Self::title(self.purposes.get(id)?, at)
    }

    /// The title of a category at a moment; `None` if it was not defined then.
    #[must_use]
    pub fn category(&self, id: &str, at: TitleMoment) -> Option<&Title> {
        Self::title(self.categories.get(id)?, at)
    }

    fn title(defined: &[Defined], at: TitleMoment) -> Option<&Title> {
        let is_in_force = |of: &&Defined| of.position < at.position && of.starts_ms <= at.sealed_at_ms;
        defined.iter().rev().find(is_in_force).map(|of| &of.title)
    }
}
