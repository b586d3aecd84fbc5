//! Evaluates the role policies (`src/bounds/roles.cedar`) once, at start, into the table of `crate::roles`,
//! which says which role may call which method.

use super::entities::uid;
use crate::bounds::error::BoundsError;
use crate::bounds::policy_text::parse;
use crate::roles::{Permitted, RoleTable};
use cedar_policy::{
    Authorizer, Context, Decision, Entities, PolicySet, Request, Schema, ValidationMode, Validator,
};
use std::collections::BTreeMap;
use std::fmt::Write;

const POLICIES: &str = include_str!("roles.cedar");
const SCHEMA: &str = include_str!("roles.cedarschema");

/// Evaluates the role policies for every role and every action in `actions` (for example
/// `ProfileService/GetProfile` or `GET /checkpoint`).
///
/// # Errors
/// The policies do not validate strictly, for example because a rule names an action that is not in
/// `actions`, or the evaluation of a policy fails.
pub fn compile_roles<'a>(actions: impl IntoIterator<Item = &'a str>) -> Result<RoleTable, BoundsError> {
    let actions: Vec<&str> = actions.into_iter().collect();
    let schema = schema(&actions)?;
    let policies = parse::trusted(POLICIES).map_err(|error| problem(&error))?;
    let verdict = Validator::new(schema.clone()).validate(&policies, ValidationMode::Strict);
    if !verdict.validation_passed() {
        let found: Vec<String> = verdict.validation_errors().map(ToString::to_string).collect();
        return Err(problem(&found.join("\n")));
    }
    let mut permitted = BTreeMap::new();
    for action in actions {
        let roles = Permitted::evaluate(|role| is_permitted(&policies, &schema, role, action))?;
        permitted.insert(action.to_owned(), roles);
    }
    Ok(RoleTable::new(permitted))
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
    parse::trusted_schema(&text).map_err(|error| problem(&error))
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
    use crate::domain::event::Role;
    use crate::roles::ROLES;
    use std::collections::BTreeSet;

    #[test]
    fn a_rule_that_names_an_unknown_action_is_rejected() {
        assert!(compile_roles(["ProfileService/GetProfile"]).is_err());
    }

    #[test]
    fn an_unknown_action_is_denied_to_every_role() {
        let parts = POLICIES.split("Action::\"").skip(1);
        let named: BTreeSet<&str> = parts.filter_map(|rest| rest.split('"').next()).collect();
        let table = compile_roles(named.iter().copied().chain(["New/Method"])).unwrap();
        assert!(table.may(Role::Steward, "ProfileService/GetProfile"));
        assert!(!table.may(Role::Operator, "ProfileService/GetProfile"));
        for (role, _) in ROLES {
            assert!(!table.may(role, "New/Method") && !table.may(role, "Nothing/AtAll"));
        }
        assert!(!table.may(Role::Ledger, "AuditService/GetCheckpoint"));
    }
}
