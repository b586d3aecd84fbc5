//! Input errors: each names a field and what is allowed. They never contain the value.

use std::fmt::{self, Display};

/// One field with an invalid value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The path of the field in the request.
    pub field: String,
    /// What is allowed.
    pub problem: String,
}

impl Violation {
    /// Creates a violation.
    pub fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }
}

impl Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.field, self.problem)
    }
}

/// Everything that is wrong with a request; never empty when it is returned as an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Violations(pub Vec<Violation>);

impl Violations {
    /// Creates a list with a single violation.
    pub fn one(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self(vec![Violation::new(field, problem)])
    }
}

impl Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (count, violation) in self.0.iter().enumerate() {
            let separator = if count == 0 { "" } else { "; " };
            write!(f, "{separator}{violation}")?;
        }
        Ok(())
    }
}
