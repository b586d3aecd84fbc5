//! Least right: which role may call which method, as Cedar policy (`src/bounds/roles.cedar`), evaluated once at start.

use super::engine::BoundsError;
use super::entities::uid;
use crate::bounds::policy_text::parse;
use cedar_policy::{
    Authorizer, Context, Decision, Entities, PolicySet, Request, Schema, ValidationMode, Validator,
};
use sayso_proof::event::Role;
use std::collections::BTreeMap;
use std::fmt::Write;

const POLICIES: &str = include_str!("roles.cedar");
const SCHEMA: &str = include_str!("roles.cedarschema");
/// Whom the table knows. [`Role::Unspecified`] is whoever shows no credential; [`Role::Ledger`] has none to show.
const ROLES: [(Role, &str); 8] = [
    (Role::Unspecified, "anyone"),
    (Role::Service, "service"),
    (Role::Channel, "channel"),
    (Role::Subject, "subject"),
    (Role::Steward, "steward"),
    (Role::Authority, "authority"),
    (Role::Auditor, "auditor"),
    (Role::Operator, "operator"),
];

/// The roles that may do one action.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permitted {
    /// One bit a role, in the order of [`ROLES`].
    roles: u16,
}

impl Permitted {
    /// Whether a role may do it. An unknown role may do nothing.
    #[must_use]
    pub fn to(self, role: Role) -> bool {
        let number = ROLES.iter().position(|(each, _)| *each == role);
        number.is_some_and(|number| self.roles & (1 << number) != 0)
    }
}

/// The role table, ready to be asked at every call: one look-up, no policy is evaluated then.
#[derive(Clone, Debug)]
pub struct RoleTable {
    /// Whom each action is permitted to.
    permitted: BTreeMap<String, Permitted>,
}

impl RoleTable {
    /// Evaluates the shipped policies for every role and every one of `actions` (`ProfileService/GetProfile`,
    /// `GET /checkpoint`).
    ///
    /// # Errors
    /// The policies do not validate strictly: a rule about an action that is not among `actions`, for one. Or one errs.
    pub fn compile<'a>(actions: impl IntoIterator<Item = &'a str>) -> Result<Self, BoundsError> {
        let actions: Vec<&str> = actions.into_iter().collect();
        let schema = schema(&actions)?;
        let policies = parse::own(POLICIES).map_err(|error| problem(&error))?;
        let verdict = Validator::new(schema.clone()).validate(&policies, ValidationMode::Strict);
        if !verdict.validation_passed() {
            let found: Vec<String> = verdict.validation_errors().map(ToString::to_string).collect();
            return Err(problem(&found.join("\n")));
        }
        let mut permitted = BTreeMap::new();
        for action in actions {
            let mut roles = 0;
            for (number, (_, name)) in ROLES.iter().enumerate() {
                if is_permitted(&policies, &schema, name, action)? {
                    roles |= 1 << number;
                }
            }
            permitted.insert(action.to_owned(), Permitted { roles });
        }
        Ok(Self { permitted })
    }

    /// Whether a role may do it. Whatever is unknown may not be done, and an unknown role may do nothing.
    #[must_use]
    pub fn may(&self, role: Role, action: &str) -> bool {
        self.permitted.get(action).is_some_and(|permitted| permitted.to(role))
    }

    /// Every action with whom it is permitted to, for whoever asks often.
    pub fn actions(&self) -> impl Iterator<Item = (&str, Permitted)> {
        self.permitted.iter().map(|(action, permitted)| (action.as_str(), *permitted))
    }

    /// Every action with the roles that may do it, by name.
    #[must_use]
    pub fn rules(&self) -> BTreeMap<&str, Vec<Role>> {
        let roles = |action: &str| {
            let all = ROLES.iter().map(|(role, _)| *role);
            all.filter(|role| self.may(*role, action)).collect()
        };
        self.permitted.keys().map(|action| (action.as_str(), roles(action))).collect()
    }
}

fn schema(actions: &[&str]) -> Result<Schema, BoundsError> {
    let mut text = SCHEMA.to_owned();
    for action in actions {
        let plain = action.chars().all(|c| c.is_ascii_graphic() || c == ' ') && !action.contains(['"', '\\']);
        if !plain {
            return Err(problem(&"an action's name can't be written in a schema"));
        }
        let _infallible =
            writeln!(text, "action \"{action}\" appliesTo {{ principal: [Role], resource: [Ledger] }};");
    }
    parse::own_schema(&text).map_err(|error| problem(&error))
}

fn is_permitted(
    policies: &PolicySet,
    schema: &Schema,
    role: &str,
    action: &str,
) -> Result<bool, BoundsError> {
    let request = Request::new(
        uid("Role", role)?,
        uid("Action", action)?,
        uid("Ledger", "this")?,
        Context::empty(),
        Some(schema),
    )
    .map_err(|error| problem(&error))?;
    let answer = Authorizer::new().is_authorized(&request, policies, &Entities::empty());
    match answer.diagnostics().errors().next() {
        Some(failed) => Err(problem(&failed)),
        None => Ok(answer.decision() == Decision::Allow),
    }
}

fn problem(what: &dyn std::fmt::Display) -> BoundsError {
    BoundsError::Pack { pack: "roles".into(), problem: what.to_string() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_rule_about_something_that_is_not_there_is_refused() {
        assert!(RoleTable::compile(["ProfileService/GetProfile"]).is_err());
    }

    #[test]
    fn the_unknown_is_nobodys() {
        let parts = POLICIES.split("Action::\"").skip(1);
        let named: BTreeSet<&str> = parts.filter_map(|rest| rest.split('"').next()).collect();
        let table = RoleTable::compile(named.iter().copied().chain(["New/Method"])).unwrap();
        assert!(table.may(Role::Steward, "ProfileService/GetProfile"));
        assert!(!table.may(Role::Operator, "ProfileService/GetProfile"));
        for (role, _) in ROLES {
            assert!(!table.may(role, "New/Method") && !table.may(role, "Nothing/AtAll"));
        }
        assert!(!table.may(Role::Ledger, "AuditService/GetCheckpoint"));
    }
}
