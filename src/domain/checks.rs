//! Collects everything that is wrong with one request, so that a caller can fix all of it at once.

use crate::domain::names::NameProblem;
use crate::domain::vocabulary::{Vocabulary, unknown};
use crate::domain::{Violation, Violations};
use std::fmt::Display;

/// The violations found so far.
#[derive(Debug, Default)]
pub struct Checks {
    /// The path of the message that contains the fields; empty for the request itself.
    path: String,
    found: Vec<Violation>,
}

impl Checks {
    /// Begins with fields of the request itself.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins with fields of the message at `path`.
    #[must_use]
    pub fn below(path: impl Display) -> Self {
        Self { path: path.to_string(), found: Vec::new() }
    }

    /// Continues with fields of the message at `path`.
    pub fn enter(&mut self, path: impl Display) {
        self.path = path.to_string();
    }

    /// Notes `problem` with `field` unless `is_met`.
    pub fn need(&mut self, is_met: bool, field: &str, problem: &str) {
        if !is_met {
            self.fail(field, problem);
        }
    }

    /// Notes what is wrong with a name, if anything.
    pub fn need_name(&mut self, problem: Option<NameProblem>, field: &str) {
        if let Some(problem) = problem {
            self.fail(field, &problem.to_string());
        }
    }

    /// Requires each of `ids` to be a defined purpose.
    pub fn need_purposes<'a>(
        &mut self,
        vocabulary: &Vocabulary,
        ids: impl IntoIterator<Item = &'a String>,
        field: &str,
    ) {
        for id in ids.into_iter().filter(|id| !vocabulary.has_purpose(id)) {
            self.fail(field, &unknown("purpose", &vocabulary.near_purposes(id)));
        }
    }

    /// Requires each of `ids` to be a defined category.
    pub fn need_categories<'a>(
        &mut self,
        vocabulary: &Vocabulary,
        ids: impl IntoIterator<Item = &'a String>,
        field: &str,
    ) {
        for id in ids.into_iter().filter(|id| !vocabulary.has_category(id)) {
            self.fail(field, &unknown("category", &vocabulary.near_categories(id)));
        }
    }

    /// Everything that was found; empty if nothing is wrong.
    #[must_use]
    pub fn found(self) -> Vec<Violation> {
        self.found
    }

    /// Succeeds if nothing is wrong.
    ///
    /// # Errors
    /// Everything that was found.
    pub fn finish(self) -> Result<(), Violations> {
        if self.found.is_empty() { Ok(()) } else { Err(Violations(self.found)) }
    }

    fn fail(&mut self, field: &str, problem: &str) {
        let field = if self.path.is_empty() { field.to_owned() } else { format!("{}.{field}", self.path) };
        self.found.push(Violation::new(field, problem));
    }
}
