//! Who calls, and about whom.

use super::error::AppError;
use crate::domain::ids::SubjectId;
use sayso_proof::event::{Actor, Role};

/// The caller, as its credential says; never from a request field.
#[derive(Clone, Debug)]
pub struct Caller {
    /// What it may do.
    pub role: Role,
    /// The credential's name: the recipient, for a service. Empty for a subject.
    pub name: String,
    /// Whom a subject's credential is about.
    pub subject: Option<SubjectId>,
}

impl Caller {
    /// Whom a request is about: for a subject always itself, for others the one they name.
    ///
    /// # Errors
    /// A subject named somebody else; others named nobody, or an id out of bounds.
    pub fn subject_of(&self, named: &str) -> Result<SubjectId, AppError> {
        match &self.subject {
            Some(own) if named.is_empty() || named == own.as_str() => Ok(own.clone()),
            Some(_) => Err(AppError::Denied("a subject's credential reaches that subject only")),
            None => {
                SubjectId::new(named).map_err(|violation| AppError::invalid("subject", violation.problem))
            }
        }
    }

    /// As it is recorded in events.
    #[must_use]
    pub fn actor(&self) -> Actor {
        Actor { role: self.role.into(), name: self.name.clone() }
    }
}
