//! Which role may call which method: the table that access control reads at each call. At start, `bounds`
//! fills the table once from Cedar policies (`src/bounds/roles.cedar`).

use sayso_proof::event::Role;
use std::collections::BTreeMap;

/// The roles that policies know, by name. [`Role::Unspecified`] is a caller without a credential.
/// [`Role::Ledger`] is missing here, because the ledger itself calls no method.
pub(crate) const ROLES: [(Role, &str); 8] = [
    (Role::Unspecified, "anyone"),
    (Role::Service, "service"),
    (Role::Channel, "channel"),
    (Role::Subject, "subject"),
    (Role::Steward, "steward"),
    (Role::Authority, "authority"),
    (Role::Auditor, "auditor"),
    (Role::Operator, "operator"),
];

/// The roles that may perform one action.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permitted {
    /// One bit for each role, in the order of [`ROLES`].
    roles: u16,
}

impl Permitted {
    /// The roles for which `is_permitted` returns true.
    ///
    /// # Errors
    /// The first error of `is_permitted`.
    pub(crate) fn evaluate<E>(mut is_permitted: impl FnMut(&str) -> Result<bool, E>) -> Result<Self, E> {
        let mut roles = 0;
        for (number, (_, name)) in ROLES.iter().enumerate() {
            if is_permitted(name)? {
                roles |= 1 << number;
            }
        }
        Ok(Self { roles })
    }

    /// Whether a role may perform the action. An unknown role may not.
    #[must_use]
    pub fn to(self, role: Role) -> bool {
        let number = ROLES.iter().position(|(each, _)| *each == role);
        number.is_some_and(|number| self.roles & (1 << number) != 0)
    }
}

/// The role table. Each call takes one lookup, and evaluates no policy.
#[derive(Clone, Debug)]
pub struct RoleTable {
    permitted: BTreeMap<String, Permitted>,
}

impl RoleTable {
    /// A table of actions (`ProfileService/GetProfile`, `GET /checkpoint`) and the roles that may perform
    /// each.
    #[must_use]
    pub fn new(permitted: BTreeMap<String, Permitted>) -> Self {
        Self { permitted }
    }

    /// Whether a role may perform an action. An unknown role or action is denied.
    #[must_use]
    pub fn may(&self, role: Role, action: &str) -> bool {
        self.permitted.get(action).is_some_and(|permitted| permitted.to(role))
    }

    /// Every action with the roles that may perform it.
    pub fn actions(&self) -> impl Iterator<Item = (&str, Permitted)> {
        self.permitted.iter().map(|(action, permitted)| (action.as_str(), *permitted))
    }

    /// Every action with the list of roles that may perform it.
    #[must_use]
    pub fn rules(&self) -> BTreeMap<&str, Vec<Role>> {
        let roles = |action: &str| {
            let all = ROLES.iter().map(|(role, _)| *role);
            all.filter(|role| self.may(*role, action)).collect()
        };
        self.permitted.keys().map(|action| (action.as_str(), roles(action))).collect()
    }
}
