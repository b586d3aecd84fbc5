//! Cedar: packs compiled by tier, each tier evaluated by itself, outcomes remembered by class.

use super::entities::entities;
use crate::bounds::cedar_request::CedarRequest;
use crate::bounds::compile_pack::{order, reason};
use crate::bounds::equivalent_categories::{Distinctions, EquivalentCategories};
use crate::bounds::error::{BoundsError, Denial, error};
use crate::bounds::policy_text::parse;
use crate::bounds::policy_text::parse::Source;
use crate::bounds::thresholds::Thresholds;
use crate::bounds::{compile_pack, shipped_packs};
use crate::domain::byte_cache::ByteCache;
use crate::domain::vocabulary::Vocabulary;
use cedar_policy::{
    Authorizer, Decision as CedarDecision, Effect, Entities, Policy, PolicyId, PolicySet, Request, Schema,
    Validator,
};
use sayso_proof::event::{BoundsPublished, PersonalBoundsSet, Reason, Tier};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// What outcomes that are remembered may take of memory, bytes.
const REMEMBERED_BYTES_MAX: usize = 24 << 20;
/// What persons' own bounds that are kept compiled may take of memory, bytes, and the outcomes remembered of each.
const PERSONAL_BYTES_MAX: usize = 24 << 20;
const PERSONAL_REMEMBERED_BYTES_MAX: usize = 32 << 10;
const TIERS: [Tier; 3] = [Tier::Public, Tier::Provider, Tier::Individual];

/// The position of a pack that is in no log: a caller offers it, and it is read within limits.
pub const UNRECORDED: u64 = u64::MAX;

/// Bounds in force, compiled.
pub struct Bounds {
    tiers: [(Tier, PolicySet); 3],
    schema: &'static Schema,
    entities: Entities,
    authorizer: Authorizer,
    positions: Vec<u64>,
    steps: Thresholds,
    alike: EquivalentCategories,
    remembered: Mutex<DecisionCache>,
    /// Bounds of persons' own, by their text.
    personal: Mutex<ByteCache<String, Arc<Personal>>>,
}

/// Reads and validates policies as those of a provider's pack are that a caller offers, and decides once by them, for the fuzzers.
#[doc(hidden)]
pub fn decode_policies(policies: String, vocabulary: &Vocabulary) {
    let (pack, tier) = ("fuzz".into(), Tier::Provider.into());
    let pack = BoundsPublished { pack, tier, policies, ..BoundsPublished::default() };
    if let Ok(bounds) = Bounds::compile(&[(UNRECORDED, pack)], vocabulary) {
        let case =
            CedarRequest { category: "work".into(), purpose: "memory".into(), ..CedarRequest::default() };
        let _denial = bounds.against(&case);
    }
}

/// Reads and validates packs that a caller offers, so that what compiles them afterwards finds them known. Blocks for seconds where
/// they are large.
///
/// # Errors
/// A pack is beyond a limit, or does not parse or validate strictly; or other packs are being read.
pub fn check_offered(packs: &[BoundsPublished]) -> Result<(), BoundsError> {
    let Language { validator, .. } = language()?;
    let until = parse::deadline();
    for pack in packs {
        let tier = TIERS.into_iter().find(|tier| *tier == pack.tier());
        let tier = tier.ok_or_else(|| BoundsError::Tier(pack.pack.clone()))?;
        compile_pack::compiled(pack, tier, validator, Source::Caller, until)?;
    }
    Ok(())
}

type DecisionCache = ByteCache<CedarRequest, Option<Arc<Denial>>>;

/// A person's own bounds, compiled; shared by all who chose the same.
pub(super) struct Personal {
    /// None: they do not compile, and on doubt the answer is no.
    policies: Option<PolicySet>,
    remembered: Mutex<DecisionCache>,
}

impl Bounds {
    /// Compiles packs (with their positions in the log, or [`UNRECORDED`]) over a vocabulary. Of each tier and pack the last
    /// counts. Blocks where a pack is not known yet; see [`check_offered`].
    ///
    /// # Errors
    /// A pack does not parse or validate strictly, a public one permits, or one that is in no log is beyond a limit.
    pub fn compile(packs: &[(u64, BoundsPublished)], vocabulary: &Vocabulary) -> Result<Self, BoundsError> {
        let Language { schema, validator, baseline } = language()?;
        let mut newest: Vec<&(u64, BoundsPublished)> = Vec::new();
        for pack in packs {
            newest.retain(|(_, held)| (held.tier, &held.pack) != (pack.1.tier, &pack.1.pack));
            newest.push(pack);
        }
        let mut tiers = TIERS.map(|tier| (tier, PolicySet::new()));
        for (tier, policies) in &mut tiers {
            // These tiers only take away: what no rule of theirs forbids passes.
            if *tier != Tier::Provider {
                add(policies, baseline.clone()).map_err(BoundsError::Schema)?;
            }
        }
        let (mut steps, mut told) = (Thresholds::default(), Distinctions::default());
        let until = parse::deadline();
        for (position, pack) in &newest {
            let tier = tiers.iter_mut().find(|(tier, _)| i32::from(*tier) == pack.tier);
            let (tier, policies) = tier.ok_or_else(|| BoundsError::Tier(pack.pack.clone()))?;
            let source = if *position == UNRECORDED { Source::Caller } else { Source::Log };
            let compiled = compile_pack::compiled(pack, *tier, validator, source, until)?;
            steps = steps.and(&compiled.steps);
            told = told.and(&compiled.told);
            for policy in &compiled.policies {
                add(policies, policy.clone())
                    .map_err(|problem| BoundsError::Pack { pack: pack.pack.clone(), problem })?;
            }
        }
        let entities = entities(vocabulary, schema)?;
        let positions = newest.iter().map(|(position, _)| *position).collect();
        let (authorizer, remembered) = (Authorizer::new(), Mutex::new(ByteCache::new(REMEMBERED_BYTES_MAX)));
        let alike = EquivalentCategories::new(vocabulary, &told);
        let personal = Mutex::new(ByteCache::new(PERSONAL_BYTES_MAX));
        Ok(Self { tiers, schema, entities, authorizer, positions, steps, alike, remembered, personal })
    }

    /// How finely ages and confidences matter.
    pub(super) fn steps(&self) -> &Thresholds {
        &self.steps
    }

    /// Which categories may stand for one another.
    pub(super) fn alike(&self) -> &EquivalentCategories {
        &self.alike
    }

    /// Positions of the bounds in force.
    #[must_use]
    pub fn positions(&self) -> &[u64] {
        &self.positions
    }

    /// What stands against a use; nothing where every tier allows.
    pub(super) fn against(&self, case: &CedarRequest) -> Option<Arc<Denial>> {
        remember(&self.remembered, case, || self.evaluate(case))
    }

    /// A person's own bounds, ready to be asked.
    pub(super) fn personal(&self, choices: &PersonalBoundsSet) -> Arc<Personal> {
        let pack = crate::bounds::personal_bounds::pack(choices);
        let mut known = self.personal.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(personal) = known.get(&pack.policies) {
            return personal;
        }
        let policies = Self::compile_personal(&pack).ok();
        let remembered = Mutex::new(ByteCache::new(PERSONAL_REMEMBERED_BYTES_MAX));
        let personal = Arc::new(Personal { policies, remembered });
        let bytes =
            compile_pack::compiled_bytes(&pack.policies).saturating_add(PERSONAL_REMEMBERED_BYTES_MAX);
        known.put(pack.policies, Arc::clone(&personal), bytes);
        personal
    }

    fn compile_personal(pack: &BoundsPublished) -> Result<PolicySet, BoundsError> {
        let mut policies = PolicySet::new();
        let Language { validator, baseline, .. } = language()?;
        add(&mut policies, baseline.clone()).map_err(BoundsError::Schema)?;
        for policy in compile_pack::compile_own(pack, validator)? {
            add(&mut policies, policy).map_err(BoundsError::Schema)?;
        }
        Ok(policies)
    }

    /// What stands against a use in a person's own bounds, which are evaluated by themselves.
    pub(super) fn against_personal(&self, personal: &Personal, case: &CedarRequest) -> Option<Arc<Denial>> {
        remember(&personal.remembered, case, || {
            let failed = || error(Tier::Individual, crate::bounds::personal_bounds::PERSONAL);
            let Some(policies) = &personal.policies else { return Some(failed()) };
            match case.request(self.schema) {
                Ok(request) => self.evaluate_tier(Tier::Individual, policies, &request),
                Err(_) => Some(failed()),
            }
        })
    }

    fn evaluate(&self, case: &CedarRequest) -> Option<Denial> {
        let request = match case.request(self.schema) {
            Ok(request) => request,
            Err(_) => return Some(error(Tier::Public, "schema")),
        };
        self.tiers.iter().find_map(|(tier, policies)| self.evaluate_tier(*tier, policies, &request))
    }

    fn evaluate_tier(&self, tier: Tier, policies: &PolicySet, request: &Request) -> Option<Denial> {
        let answer = self.authorizer.is_authorized(request, policies, &self.entities);
        let failed = answer.diagnostics().errors().map(|failed| {
            let cedar_policy::AuthorizationError::PolicyEvaluationError(failed) = failed;
            failed.policy_id()
        });
        // Of several, the first by name: the engine promises no order.
        if let Some(failed) = failed.min() {
            return Some(error(tier, failed.as_ref()));
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

    /// The policies of a pack that forbid, as `pack/id`.
    pub(super) fn forbids(&self, pack: &str) -> Vec<String> {
        let all = self.tiers.iter().flat_map(|(_, policies)| policies.policies());
        let forbidding = all.filter(|policy| policy.effect() == Effect::Forbid);
        let ids = forbidding.map(|policy| policy.id().to_string());
        let mut ids: Vec<String> =
            ids.filter(|id| id.split_once('/').is_some_and(|(first, _)| first == pack)).collect();
        ids.sort();
        ids
    }

    /// What a policy of the bounds in force says of itself (`@title`, `@article`); the policy as `pack/id`.
    #[must_use]
    pub fn annotation(&self, policy: &str, name: &str) -> Option<&str> {
        let id = PolicyId::new(policy);
        self.tiers.iter().find_map(|(_, policies)| policies.policy(&id)?.annotation(name))
    }
}

/// What was evaluated under the same circumstances before, or is now.
fn remember(
    remembered: &Mutex<DecisionCache>,
    case: &CedarRequest,
    evaluate: impl FnOnce() -> Option<Denial>,
) -> Option<Arc<Denial>> {
    let lock = || remembered.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = lock().get(case) {
        return known;
    }
    // Not under the lock: others need not wait for an evaluation that is not theirs.
    let denial = evaluate().map(Arc::new);
    let own = denial.as_ref().map_or(0, |denial| denial.memory_bytes());
    lock().put(case.clone(), denial.clone(), case.memory_bytes().saturating_add(own));
    denial
}

/// What policies are written in, the same for every log; read once.
struct Language {
    schema: Schema,
    validator: Validator,
    /// Permits everything: of a tier that only takes away.
    baseline: Policy,
}

fn language() -> Result<&'static Language, BoundsError> {
    static LANGUAGE: LazyLock<Result<Language, String>> = LazyLock::new(|| {
        let schema = parse::own_schema(shipped_packs::schema_text())?;
        let baseline = parse::own_policy("baseline", "permit (principal, action, resource);")?;
        Ok(Language { validator: Validator::new(schema.clone()), schema, baseline })
    });
    LANGUAGE.as_ref().map_err(|problem| BoundsError::Schema(problem.clone()))
}

fn add(policies: &mut PolicySet, policy: Policy) -> Result<(), String> {
    policies.add(policy).map_err(|error| error.to_string())
}
