//! Who calls, and about whom.

use super::Moment;
use super::error::AppError;
use crate::domain::ids::SubjectId;
use crate::domain::profile::SubjectState;
use sayso_proof::event::{Actor, Role};

/// The caller, as its credential says; never from a request field.
#[derive(Clone, Debug)]
pub struct Caller {
    /// What it may do.
    pub role: Role,
    /// Of a service: people speak through it, too, so it may do what a channel may.
    pub channel: bool,
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

    /// Whether the caller is told of what is another's: others' grants, and how much is recorded about a person. A service
    /// or channel is told of its own alone.
    #[must_use]
    pub fn sees_others(&self) -> bool {
        !matches!(self.role, Role::Service | Role::Channel)
    }

    /// Whether the caller is told of what is this recipient's.
    #[must_use]
    pub fn sees_recipient(&self, recipient: &str) -> bool {
        self.sees_others() || self.name == recipient
    }

    /// The version of a person as the caller sees it: how many events there are. For a service: where the newest decision
    /// stands that it is shown, as position plus one; 0: there is none. What others record does not move that.
    pub(super) fn version_of(&self, state: &SubjectState) -> u64 {
        if self.sees_others() {
            return state.version;
        }
        let shown = state.consents.records().iter().rev().filter(|record| record.concerns(&self.name));
        shown.map(|record| record.position.saturating_add(1)).max().unwrap_or(0)
    }

    /// Nothing is asked of the past, or the caller may ask for it.
    ///
    /// # Errors
    /// A service asks for what was.
    pub fn check_moment(&self, moment: Moment) -> Result<(), AppError> {
        if self.sees_others() || moment == Moment::Now {
            return Ok(());
        }
        Err(AppError::Denied("a service is told of now alone"))
    }

    /// What is wrong with the version that a write expects; nothing where it expects none, or this.
    pub(super) fn stale(&self, expected: Option<u64>, state: &SubjectState) -> Option<AppError> {
        let (expected, actual) = (expected?, self.version_of(state));
        if expected == actual {
            return None;
        }
        Some(if self.sees_others() {
            AppError::StaleVersion { expected, actual }
        } else {
            AppError::StaleDecisions
        })
    }

    /// As it is recorded where it does not speak for a person; see [`Caller::actor_of`].
    #[must_use]
    pub fn actor(&self) -> Actor {
        Actor { role: self.role.into(), name: self.name.clone() }
    }
}
