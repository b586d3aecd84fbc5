//! Cedar: packs compiled by tier, each tier evaluated by itself, outcomes remembered by class.

use super::pack::{self, order, reason};
use super::packs;
use crate::domain::vocabulary::Vocabulary;
use cedar_policy::{
    Authorizer, Context, Decision as CedarDecision, Entities, Entity, EntityId, EntityTypeName, EntityUid,
    Policy, PolicyId, PolicySet, Request, RestrictedExpression, Schema, Validator,
};
use sayso_proof::event::{BoundsPublished, Provenance, Reason, Tier};
use std::collections::{HashMap, HashSet};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

/// Outcomes remembered; the memory is emptied when it is full.
const REMEMBERED_MAX: usize = 65_536;
const TIERS: [Tier; 3] = [Tier::Public, Tier::Provider, Tier::Individual];

/// Why bounds can't be used.
#[derive(Debug, thiserror::Error)]
pub enum BoundsError {
    /// The shipped schema, or entities made from the vocabulary, are not valid.
    #[error("schema: {0}")]
    Schema(String),
    /// A pack does not parse or does not validate; says where.
    #[error("pack `{pack}`: {problem}")]
    Pack {
        /// Which pack.
        pack: String,
        /// Line, column and what is wrong, each on a line of its own.
        problem: String,
    },
    /// Public bounds only forbid.
    #[error("pack `{0}`: public bounds may only forbid")]
    PermitInPublic(String),
    /// Of none of the three tiers, so that nothing would ever read it.
    #[error("pack `{0}`: its tier must be public, provider or individual")]
    Tier(String),
}

/// Everything that a policy can depend on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Circumstances {
    pub recipient: String,
    pub purpose: String,
    pub category: String,
    pub provenance: Provenance,
    pub consented: bool,
    pub explicit: bool,
    pub restricted: bool,
    pub objected: bool,
    pub paused: bool,
    pub opted_out: bool,
    pub limit_sensitive: bool,
    pub expired: bool,
    pub contested: bool,
    pub source_withheld: bool,
}

/// What stands against a use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Denial {
    pub tier: Tier,
    /// `pack/id`.
    pub policy: String,
    pub article: String,
    /// None: the person's own decisions say it.
    pub reason: Option<Reason>,
}

/// Bounds in force, compiled.
pub struct Bounds {
    tiers: [(Tier, PolicySet); 3],
    schema: Schema,
    entities: Entities,
    authorizer: Authorizer,
    positions: Vec<u64>,
    remembered: Mutex<HashMap<Circumstances, Option<Arc<Denial>>>>,
}

impl Bounds {
    /// Compiles packs (with their positions in the log) over a vocabulary. Of each tier and pack the last counts.
    ///
    /// # Errors
    /// A pack does not parse or validate strictly, or a public one permits.
    pub fn compile(packs: &[(u64, BoundsPublished)], vocabulary: &Vocabulary) -> Result<Self, BoundsError> {
        let schema = schema()?;
        let mut newest: Vec<&(u64, BoundsPublished)> = Vec::new();
        for pack in packs {
            newest.retain(|(_, held)| (held.tier, &held.pack) != (pack.1.tier, &pack.1.pack));
            newest.push(pack);
        }
        let validator = Validator::new(schema.clone());
        let mut tiers = TIERS.map(|tier| (tier, PolicySet::new()));
        for (tier, policies) in &mut tiers {
            // These tiers only take away: what no rule of theirs forbids passes.
            if *tier != Tier::Provider {
                add(policies, baseline()?).map_err(BoundsError::Schema)?;
            }
        }
        for (_, pack) in &newest {
            let tier = tiers.iter_mut().find(|(tier, _)| i32::from(*tier) == pack.tier);
            let (tier, policies) = tier.ok_or_else(|| BoundsError::Tier(pack.pack.clone()))?;
            for policy in pack::compile(pack, *tier, &validator)? {
                add(policies, policy)
                    .map_err(|problem| BoundsError::Pack { pack: pack.pack.clone(), problem })?;
            }
        }
        let entities = entities(vocabulary, &schema)?;
        let positions = newest.iter().map(|(position, _)| *position).collect();
        let (authorizer, remembered) = (Authorizer::new(), Mutex::default());
        Ok(Self { tiers, schema, entities, authorizer, positions, remembered })
    }

    /// Positions of the bounds in force.
    #[must_use]
    pub fn positions(&self) -> &[u64] {
        &self.positions
    }

    /// What stands against a use; nothing where every tier allows.
    pub(super) fn against(&self, case: &Circumstances) -> Option<Arc<Denial>> {
        let remembered = || self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = remembered().get(case) {
            return known.clone();
        }
        // Not under the lock: others need not wait for an evaluation that is not theirs.
        let denial = self.evaluate(case).map(Arc::new);
        let mut remembered = remembered();
        if remembered.len() >= REMEMBERED_MAX {
            remembered.clear();
        }
        remembered.insert(case.clone(), denial.clone());
        denial
    }

    fn evaluate(&self, case: &Circumstances) -> Option<Denial> {
        let request = match self.request(case) {
            Ok(request) => request,
            Err(_) => return Some(error(Tier::Public, "schema")),
        };
        self.tiers.iter().find_map(|(tier, policies)| self.evaluate_tier(*tier, policies, &request))
    }

    fn evaluate_tier(&self, tier: Tier, policies: &PolicySet, request: &Request) -> Option<Denial> {
        let answer = self.authorizer.is_authorized(request, policies, &self.entities);
        if let Some(failed) = answer.diagnostics().errors().next() {
            let cedar_policy::AuthorizationError::PolicyEvaluationError(failed) = failed;
            return Some(error(tier, failed.policy_id().as_ref()));
        }
        if answer.decision() == CedarDecision::Allow {
            return None;
        }
        let deciding = answer.diagnostics().reason().filter_map(|id| policies.policy(id));
        let first = deciding.min_by_key(|policy| (order(policy), policy.id().to_string()));
        Some(first.map_or_else(
            || Denial {
                tier,
                policy: "none".into(),
                article: String::new(),
                reason: Some(Reason::NotPermitted),
            },
            |policy| Denial {
                tier,
                policy: policy.id().to_string(),
                article: policy.annotation("article").unwrap_or_default().to_owned(),
                reason: reason(policy),
            },
        ))
    }

    fn request(&self, case: &Circumstances) -> Result<Request, BoundsError> {
        let flag = |name: &str, value| (name.to_owned(), RestrictedExpression::new_bool(value));
        let purpose = RestrictedExpression::new_entity_uid(uid("Purpose", &case.purpose)?);
        let context = Context::from_pairs([
            ("purpose".to_owned(), purpose),
            flag("consented", case.consented),
            flag("explicit", case.explicit),
            flag("restricted", case.restricted),
            flag("objected", case.objected),
            flag("paused", case.paused),
            flag("opted_out", case.opted_out),
            flag("limit_sensitive", case.limit_sensitive),
            flag("expired", case.expired),
            flag("contested", case.contested),
            flag("source_withheld", case.source_withheld),
        ])
        .map_err(schema_error)?;
        let principal = uid("Recipient", &case.recipient)?;
        let resource = uid("AttributeClass", &class(&case.category, case.provenance))?;
        Request::new(principal, uid("Action", "use")?, resource, context, Some(&self.schema))
            .map_err(schema_error)
    }
}

fn error(tier: Tier, policy: &str) -> Denial {
    Denial { tier, policy: policy.to_owned(), article: String::new(), reason: Some(Reason::PolicyError) }
}

fn schema_error(error: impl std::fmt::Display) -> BoundsError {
    BoundsError::Schema(error.to_string())
}

fn schema() -> Result<Schema, BoundsError> {
    let (schema, _warnings) = Schema::from_cedarschema_str(packs::schema_text()).map_err(schema_error)?;
    Ok(schema)
}

fn baseline() -> Result<Policy, BoundsError> {
    Policy::parse(Some(PolicyId::new("baseline")), "permit (principal, action, resource);")
        .map_err(schema_error)
}

fn add(policies: &mut PolicySet, policy: Policy) -> Result<(), String> {
    policies.add(policy).map_err(|error| error.to_string())
}

fn uid(kind: &str, id: &str) -> Result<EntityUid, BoundsError> {
    let kind = EntityTypeName::from_str(kind).map_err(schema_error)?;
    Ok(EntityUid::from_type_name_and_id(kind, EntityId::new(id)))
}

/// A class of attributes, as policies name it.
fn class(category: &str, provenance: Provenance) -> String {
    format!("{category}/{}", provenance_name(provenance))
}

fn provenance_name(provenance: Provenance) -> &'static str {
    match provenance {
        Provenance::Declared => "declared",
        Provenance::Observed => "observed",
        Provenance::Inferred | Provenance::Unspecified => "inferred",
    }
}

fn entities(vocabulary: &Vocabulary, schema: &Schema) -> Result<Entities, BoundsError> {
    let parents = |kind: &str, parent: &str| {
        if parent.is_empty() { Ok(HashSet::new()) } else { uid(kind, parent).map(|uid| HashSet::from([uid])) }
    };
    let mut all = Vec::new();
    for purpose in vocabulary.purposes() {
        let above = parents("Purpose", &purpose.parent)?;
        all.push(Entity::new_no_attrs(uid("Purpose", &purpose.id)?, above));
    }
    for category in vocabulary.categories() {
        let above = parents("Category", &category.parent)?;
        all.push(Entity::new_no_attrs(uid("Category", &category.id)?, above));
        for provenance in [Provenance::Declared, Provenance::Observed, Provenance::Inferred] {
            let special = RestrictedExpression::new_bool(vocabulary.is_special(&category.id));
            let name = RestrictedExpression::new_string(provenance_name(provenance).to_owned());
            let attributes =
                HashMap::from([("special".to_owned(), special), ("provenance".to_owned(), name)]);
            let above = HashSet::from([uid("Category", &category.id)?]);
            let id = uid("AttributeClass", &class(&category.id, provenance))?;
            all.push(Entity::new(id, attributes, above).map_err(schema_error)?);
        }
    }
    Entities::from_entities(all, Some(schema)).map_err(schema_error)
}
