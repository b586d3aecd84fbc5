//! The names of roles, as they are written in tokens and certificates, and the caller that a role and a name
//! identify.

use crate::api::access::error::CredentialError;
use crate::app::Caller;
use crate::domain::event::Role;
use crate::domain::ids::SubjectId;
use crate::domain::names;

/// The largest size of a caller's name, in bytes.
pub(crate) const NAME_BYTES_MAX: usize = 256;

/// The caller with a role and a name. The name of a data subject is the controller's id of the subject, which
/// may have been recorded before today's rules for names.
///
/// # Errors
/// The name is empty, too long, or has a character that a name must not have.
pub(crate) fn caller_named(claim: Claim, name: String) -> Result<Caller, CredentialError> {
    let Claim { role, channel } = claim;
    if role == Role::Subject {
        let subject = SubjectId::new(&name)
            .map_err(|_| CredentialError::Invalid("its subject must have 1 to 256 bytes"))?;
        return Ok(Caller { role, channel, name: String::new(), subject: Some(subject) });
    }
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(CredentialError::Invalid("its name must have 1 to 256 bytes"));
    }
    if let Some(problem) = names::problem(&name) {
        return Err(CredentialError::Name(problem));
    }
    Ok(Caller { role, channel, name, subject: None })
}

/// The role of a credential, and whether a service is also a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The role.
    pub role: Role,
    /// Whether a service is also a channel, that is, data subjects speak through it. `false` for every role
    /// other than `Service`, even for `Channel`.
    pub channel: bool,
}

impl Claim {
    /// An application through which data subjects speak and that also asks for grants.
    pub const SERVICE_CHANNEL: Self = Self { role: Role::Service, channel: true };

    const fn of(role: Role) -> Self {
        Self { role, channel: false }
    }
}

impl From<Role> for Claim {
    fn from(role: Role) -> Self {
        Self::of(role)
    }
}

/// The roles that a credential can have, as they are written in tokens and certificates. The names have only
/// letters and dashes, because a SPIFFE id does not allow every character.
pub const ROLES: [(Claim, &str); 8] = [
    (Claim::of(Role::Service), "service"),
    (Claim::of(Role::Channel), "channel"),
    (Claim::SERVICE_CHANNEL, "service-channel"),
    (Claim::of(Role::Subject), "subject"),
    (Claim::of(Role::Steward), "steward"),
    (Claim::of(Role::Authority), "authority"),
    (Claim::of(Role::Auditor), "auditor"),
    (Claim::of(Role::Operator), "operator"),
];

/// The names of the roles that may do something, as they are written in tokens. A service that is also a
/// channel may do what either role may.
pub(crate) fn names_of(may: impl Fn(Role) -> bool) -> Vec<&'static str> {
    let may = |claim: &Claim| may(claim.role) || claim.channel && may(Role::Channel);
    ROLES.into_iter().filter(|(claim, _)| may(claim)).map(|(_, name)| name).collect()
}

/// The name of a role in tokens.
#[must_use]
pub fn role_name(claim: Claim) -> Option<&'static str> {
    ROLES.iter().find(|(each, _)| *each == claim).map(|(_, name)| *name)
}

/// The role with a name in tokens.
#[must_use]
pub fn role_from_name(name: &str) -> Option<Claim> {
    ROLES.iter().find(|(_, each)| *each == name).map(|(claim, _)| *claim)
}
