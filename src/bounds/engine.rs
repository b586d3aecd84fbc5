//! Wraps Cedar, the policy engine: compiles the packs of each tier, evaluates each tier separately, and
//! caches outcomes by class of attributes.

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
use crate::domain::event::{BoundsPublished, PersonalBoundsSet, Reason, Tier};
use crate::domain::vocabulary::Vocabulary;
use cedar_policy::{
    Authorizer, Decision as CedarDecision, Effect, Entities, Policy, PolicyId, PolicySet, Request, Schema,
    Validator,
};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// Memory limit of the decision cache, bytes.
const DECISION_CACHE_BYTES_MAX: usize = 24 << 20;
/// Memory limit of the cache of compiled personal bounds, bytes.
const PERSONAL_BYTES_MAX: usize = 24 << 20;
/// Memory limit of the decision cache that each compiled set of personal bounds has, bytes.
const PERSONAL_DECISION_CACHE_BYTES_MAX: usize = 32 << 10;
const TIERS: [Tier; 3] = [Tier::Public, Tier::Provider, Tier::Individual];

/// Stands for the position of a pack that is not in the log. A caller offers such a pack, so it is compiled
/// within limits.
pub const UNRECORDED: u64 = u64::MAX;

/// The bounds in force, compiled.
pub struct Bounds {
    tiers: [(Tier, PolicySet); 3],
    schema: &'static Schema,
    entities: Entities,
    authorizer: Authorizer,
    positions: Vec<u64>,
    thresholds: Thresholds,
    equivalent_categories: EquivalentCategories,
    cache: Mutex<DecisionCache>,
    /// Compiled personal bounds, by their policy text.
    personal: Mutex<ByteCache<String, Arc<PersonalPolicies>>>,
}

/// For fuzzers: compiles policies as if a caller had offered them as a provider pack, and decides one request
/// by them.
#[doc(hidden)]
pub fn decode_policies(policies: String, vocabulary: &Vocabulary) {
    let (pack, tier) = ("fuzz".into(), Tier::Provider);
    let pack = BoundsPublished { pack, tier, policies, ..BoundsPublished::default() };
    if let Ok(bounds) = Bounds::compile(&[(UNRECORDED, pack)], vocabulary) {
        let case =
            CedarRequest { category: "work".into(), purpose: "memory".into(), ..CedarRequest::default() };
        let _denial = bounds.denial_for(&case);
    }
}

/// Parses and validates packs that a caller offers, so that a later compilation finds them in the cache. The
/// call blocks for seconds if the packs are large.
///
/// # Errors
/// A pack exceeds a limit or does not parse or validate strictly, or other packs are being compiled.
pub fn check_offered(packs: &[BoundsPublished]) -> Result<(), BoundsError> {
    let Language { validator, .. } = language()?;
    let until = parse::deadline();
    for pack in packs {
        let tier = TIERS.into_iter().find(|tier| *tier == pack.tier);
        let tier = tier.ok_or_else(|| BoundsError::Tier(pack.pack.clone()))?;
        compile_pack::compiled(pack, tier, validator, Source::Caller, until)?;
    }
    Ok(())
}

type DecisionCache = ByteCache<CedarRequest, Option<Arc<Denial>>>;

/// Compiled personal bounds, shared by all data subjects who made the same choices.
pub(super) struct PersonalPolicies {
    /// `None` if they do not compile; then every use is denied.
    policies: Option<PolicySet>,
    cache: Mutex<DecisionCache>,
}

impl Bounds {
    /// Compiles packs (with their positions in the log, or [`UNRECORDED`]) over a vocabulary. The last pack
    /// of each tier and name is used. The call blocks if a pack is not in the cache; see [`check_offered`].
    ///
    /// # Errors
    /// A pack does not parse or validate strictly, a public pack permits, or a pack that is not in the log
    /// exceeds a limit.
    pub fn compile(packs: &[(u64, BoundsPublished)], vocabulary: &Vocabulary) -> Result<Self, BoundsError> {
        let Language { schema, validator, baseline } = language()?;
        let mut newest: Vec<&(u64, BoundsPublished)> = Vec::new();
        for pack in packs {
            newest.retain(|(_, other)| (other.tier, &other.pack) != (pack.1.tier, &pack.1.pack));
            newest.push(pack);
        }
        let mut tiers = TIERS.map(|tier| (tier, PolicySet::new()));
        for (tier, policies) in &mut tiers {
            // The public and individual tiers only forbid: they allow everything that none of their rules
            // forbids.
            if *tier != Tier::Provider {
                add(policies, baseline.clone()).map_err(BoundsError::Schema)?;
            }
        }
        let (mut thresholds, mut distinctions) = (Thresholds::default(), Distinctions::default());
        let until = parse::deadline();
        for (position, pack) in &newest {
            let tier = tiers.iter_mut().find(|(tier, _)| *tier == pack.tier);
            let (tier, policies) = tier.ok_or_else(|| BoundsError::Tier(pack.pack.clone()))?;
            let source = if *position == UNRECORDED { Source::Caller } else { Source::Log };
            let compiled = compile_pack::compiled(pack, *tier, validator, source, until)?;
            thresholds = thresholds.and(&compiled.thresholds);
            distinctions = distinctions.and(&compiled.distinctions);
            for policy in &compiled.policies {
                add(policies, policy.clone())
                    .map_err(|problem| BoundsError::Pack { pack: pack.pack.clone(), problem })?;
            }
        }
        let entities = entities(vocabulary, schema)?;
        let positions = newest.iter().map(|(position, _)| *position).collect();
        let (authorizer, cache) = (Authorizer::new(), Mutex::new(ByteCache::new(DECISION_CACHE_BYTES_MAX)));
        let equivalent_categories = EquivalentCategories::new(vocabulary, &distinctions);
        let personal = Mutex::new(ByteCache::new(PERSONAL_BYTES_MAX));
        Ok(Self {
            tiers,
            schema,
            entities,
            authorizer,
            positions,
            thresholds,
            equivalent_categories,
            cache,
            personal,
        })
    }

    /// The ages and confidences that policies in force compare with.
    pub(super) fn thresholds(&self) -> &Thresholds {
        &self.thresholds
    }

    /// The categories that policies in force do not distinguish.
    pub(super) fn equivalent_categories(&self) -> &EquivalentCategories {
        &self.equivalent_categories
    }

    /// Positions of the bounds in force.
    #[must_use]
    pub fn positions(&self) -> &[u64] {
        &self.positions
    }

    /// Why a request is denied; `None` if every tier allows it.
    pub(super) fn denial_for(&self, case: &CedarRequest) -> Option<Arc<Denial>> {
        cached(&self.cache, case, || self.evaluate(case))
    }

    /// Personal bounds, compiled or from the cache.
    pub(super) fn personal(&self, choices: &PersonalBoundsSet) -> Arc<PersonalPolicies> {
        let pack = crate::bounds::personal_bounds::pack(choices);
        let mut known = self.personal.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(personal) = known.get(&pack.policies) {
            return personal;
        }
        let policies = Self::compile_personal(&pack).ok();
        let cache = Mutex::new(ByteCache::new(PERSONAL_DECISION_CACHE_BYTES_MAX));
        let personal = Arc::new(PersonalPolicies { policies, cache });
        let bytes =
            compile_pack::compiled_bytes(&pack.policies).saturating_add(PERSONAL_DECISION_CACHE_BYTES_MAX);
        known.put(pack.policies, Arc::clone(&personal), bytes);
        personal
    }

    fn compile_personal(pack: &BoundsPublished) -> Result<PolicySet, BoundsError> {
        let mut policies = PolicySet::new();
        let Language { validator, baseline, .. } = language()?;
        add(&mut policies, baseline.clone()).map_err(BoundsError::Schema)?;
        for policy in compile_pack::compile_personal(pack, validator)? {
            add(&mut policies, policy).map_err(BoundsError::Schema)?;
        }
        Ok(policies)
    }

    /// Why personal bounds deny a request; they are evaluated separately from the tiers.
    pub(super) fn personal_denial_for(
        &self,
        personal: &PersonalPolicies,
        case: &CedarRequest,
    ) -> Option<Arc<Denial>> {
        cached(&personal.cache, case, || {
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
        // If several policies failed, report the one whose name sorts first, because Cedar does not guarantee
        // an order.
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

    /// The forbidding policies of a pack, as `pack/id`.
    pub(super) fn forbids(&self, pack: &str) -> Vec<String> {
        let all = self.tiers.iter().flat_map(|(_, policies)| policies.policies());
        let forbidding = all.filter(|policy| policy.effect() == Effect::Forbid);
        let ids = forbidding.map(|policy| policy.id().to_string());
        let mut ids: Vec<String> =
            ids.filter(|id| id.split_once('/').is_some_and(|(first, _)| first == pack)).collect();
        ids.sort();
        ids
    }

    /// An annotation (such as `@title` or `@article`) of a policy in force. The policy is given as `pack/id`.
    #[must_use]
    pub fn annotation(&self, policy: &str, name: &str) -> Option<&str> {
        let id = PolicyId::new(policy);
        self.tiers.iter().find_map(|(_, policies)| policies.policy(&id)?.annotation(name))
    }
}

/// The cached outcome of an equal request, or the outcome of evaluating it now.
fn cached(
    cache: &Mutex<DecisionCache>,
    case: &CedarRequest,
    evaluate: impl FnOnce() -> Option<Denial>,
) -> Option<Arc<Denial>> {
    let lock = || cache.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = lock().get(case) {
        return known;
    }
    // Evaluate without the lock, so that other requests do not wait.
    let denial = evaluate().map(Arc::new);
    let own = denial.as_ref().map_or(0, |denial| denial.memory_bytes());
    lock().put(case.clone(), denial.clone(), case.memory_bytes().saturating_add(own));
    denial
}

/// The schema, its validator and the baseline policy; the same for every log and parsed once.
struct Language {
    schema: Schema,
    validator: Validator,
    /// Permits everything; the base of a tier that only forbids.
    baseline: Policy,
}

fn language() -> Result<&'static Language, BoundsError> {
    static LANGUAGE: LazyLock<Result<Language, String>> = LazyLock::new(|| {
        let schema = parse::trusted_schema(shipped_packs::schema_text())?;
        let baseline = parse::trusted_policy("baseline", "permit (principal, action, resource);")?;
        Ok(Language { validator: Validator::new(schema.clone()), schema, baseline })
    });
    LANGUAGE.as_ref().map_err(|problem| BoundsError::Schema(problem.clone()))
}

fn add(policies: &mut PolicySet, policy: Policy) -> Result<(), String> {
    policies.add(policy).map_err(|error| error.to_string())
}
