//! The caller of a use case: which data subject its request concerns, and what the caller may see.

use super::Moment;
use super::error::AppError;
use super::log::address::address;
use crate::domain::event::{Actor, Role};
use crate::domain::ids::SubjectId;
use crate::domain::profile::SubjectState;
use std::borrow::Cow;

/// The roles that may name any data subject.
const NAMES_ANY_SUBJECT: &[Role] =
    &[Role::Service, Role::Channel, Role::Steward, Role::Authority, Role::Auditor, Role::Operator];
/// The roles for which [`Caller::sees_others`] is true.
pub(super) const SEES_OTHERS: &[Role] =
    &[Role::Subject, Role::Steward, Role::Authority, Role::Auditor, Role::Operator];

/// The caller, as authenticated by its credential; never read from a request field.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The role of the credential.
    pub role: Role,
    /// Whether this is a service through which people also speak. If so, it may do what a channel may do.
    pub channel: bool,
    /// The name in the credential. For a service this is the recipient's name; for a data subject it is
    /// empty.
    pub name: String,
    /// The data subject of a data subject's credential.
    pub subject: Option<SubjectId>,
}

impl Caller {
    /// The data subject that a request concerns. A data subject's credential always means that subject; other
    /// callers name one.
    ///
    /// # Errors
    /// A data subject requested someone else, or another caller requested no subject or an invalid id.
    pub fn subject_of(&self, requested: &str) -> Result<SubjectId, AppError> {
        match &self.subject {
            Some(own) if requested.is_empty() || requested == own.as_str() => Ok(own.clone()),
            Some(_) => Err(AppError::Denied {
                why: "a person's credential gives access to that person only",
                allowed: NAMES_ANY_SUBJECT,
            }),
            None => {
                SubjectId::new(requested).map_err(|violation| AppError::invalid("subject", violation.problem))
            }
        }
    }

    /// The name under which the index knows the caller as a recipient.
    pub(super) fn address(&self) -> Cow<'_, str> {
        address(self.role, &self.name)
    }

    /// Whether the caller may see what belongs to other callers: their grants, and how much is recorded about
    /// a data subject. A service or channel sees only what belongs to itself.
    #[must_use]
    pub fn sees_others(&self) -> bool {
        !matches!(self.role, Role::Service | Role::Channel)
    }

    /// Whether the caller may see what belongs to this recipient.
    #[must_use]
    pub fn sees_recipient(&self, recipient: &str) -> bool {
        self.sees_others() || self.name == recipient
    }

    /// The version of a data subject as the caller sees it. For most callers this is the number of events.
    /// For a service or channel it is the position, plus one, of the newest decision that it may see, or 0 if
    /// there is no such decision. So other events do not change the version that it sees.
    pub(super) fn version_of(&self, state: &SubjectState) -> u64 {
        if self.sees_others() {
            return state.version;
        }
        let visible = state.consents.records().iter().rev().filter(|record| record.concerns(&self.name));
        visible.map(|record| record.position.saturating_add(1)).max().unwrap_or(0)
    }

    /// Checks that the caller may ask about this moment.
    ///
    /// # Errors
    /// A service or channel asks about a moment other than now.
    pub fn check_moment(&self, moment: Moment) -> Result<(), AppError> {
        if self.sees_others() || moment == Moment::Now {
            return Ok(());
        }
        Err(AppError::Denied {
            why: "a service may ask about the present only; leave out the time",
            allowed: SEES_OTHERS,
        })
    }

    /// The error for a write that expects a version other than the current one. `None` if the write expects
    /// the current version, or no version.
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

    /// The actor of an event that does not record a statement of a data subject; for an event that does, see
    /// [`Caller::actor_of`].
    #[must_use]
    pub fn actor(&self) -> Actor {
        Actor { role: self.role, name: self.name.clone() }
    }
}
