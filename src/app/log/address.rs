//! The names under which the index lists recipients. An auditor may have the same name as a service, so the
//! names of auditors get a prefix.

use crate::domain::event::{PriorRecipient, Role};
use std::borrow::Cow;

/// The name under which the index knows a recipient. An auditor may have the name of a service.
pub(crate) fn address(role: Role, name: &str) -> Cow<'_, str> {
    match role {
        Role::Auditor => Cow::Owned(format!("auditor\n{name}")),
        _ => Cow::Borrowed(name),
    }
}

/// The address of a recipient of erased data.
pub(crate) fn address_of(prior: &PriorRecipient) -> Cow<'_, str> {
    address(prior.role, &prior.name)
}
