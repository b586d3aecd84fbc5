//! The actor of an event: who caused it, with role and name.

use sayso_proof::event::Role;

/// Who caused an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actor {
    /// The role in which they acted.
    pub role: Role,
    /// The name of the credential: a service, a channel or a member of staff. Empty for a data subject.
    pub name: String,
}
