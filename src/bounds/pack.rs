//! One pack: from text to policies under their own names, or what is wrong with it and where.

use super::alike::Told;
use super::engine::BoundsError;
use super::steps::Steps;
use crate::domain::weighed::Weighed;
use cedar_policy::ffi::DetailedError;
use cedar_policy::{Effect, Policy, PolicyId, PolicySet, ValidationMode, Validator};
use sayso_proof::event::{BoundsPublished, Reason, Tier};
use std::str::FromStr;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

/// What packs that are kept compiled may take of memory, for all logs of this process, bytes.
const KNOWN_BYTES_MAX: usize = 32 << 20;
/// Bytes of memory for each byte of text once it is compiled: about 17 for large personal bounds, and more where a text has
/// other shapes.
const COMPILED_BYTES_PER_BYTE: usize = 48;

/// By tier, name and text, which are all that comes into it.
type Known = Weighed<(Tier, String, String), Arc<Compiled>>;

/// What a text takes of memory once it is compiled, with the text, about.
pub(super) fn compiled_bytes(policies: &str) -> usize {
    policies.len().saturating_mul(COMPILED_BYTES_PER_BYTE)
}

fn known() -> MutexGuard<'static, Known> {
    static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(|| Mutex::new(Weighed::new(KNOWN_BYTES_MAX)));
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A pack that is valid.
pub(super) struct Compiled {
    pub policies: Vec<Policy>,
    /// How finely ages and confidences matter to them.
    pub steps: Steps,
    /// What they tell categories apart by.
    pub told: Told,
}

/// As [`compile`], which is asked once for each text: packs are few, and every preview and every log compiles them.
pub(super) fn compiled(
    pack: &BoundsPublished,
    tier: Tier,
    validator: &Validator,
) -> Result<Arc<Compiled>, BoundsError> {
    let name = (tier, pack.pack.clone(), pack.policies.clone());
    if let Some(compiled) = known().get(&name) {
        return Ok(compiled);
    }
    let policies = compile(pack, tier, validator)?;
    let compiled =
        Arc::new(Compiled { steps: Steps::of(policies.iter()), told: Told::of(policies.iter()), policies });
    known().put(name, Arc::clone(&compiled), compiled_bytes(&pack.policies));
    Ok(compiled)
}

/// The policies of a pack, named `pack/id`, each validated strictly against the schema.
///
/// # Errors
/// It does not parse or validate, has a template, a policy without an `@id` or with an annotation that says nothing,
/// or permits in the public tier.
pub(super) fn compile(
    pack: &BoundsPublished,
    tier: Tier,
    validator: &Validator,
) -> Result<Vec<Policy>, BoundsError> {
    let failed = |problem: String| BoundsError::Pack { pack: pack.pack.clone(), problem };
    let parsed = PolicySet::from_str(&pack.policies)
        .map_err(|error| failed(located(&pack.policies, &DetailedError::from(&error))))?;
    if parsed.templates().next().is_some() {
        return Err(failed("templates are not supported: nothing would fill in their slots".into()));
    }
    let mut named = PolicySet::new();
    for policy in parsed.policies() {
        if tier == Tier::Public && policy.effect() == Effect::Permit {
            return Err(BoundsError::PermitInPublic(pack.pack.clone()));
        }
        let id = policy.annotation("id").ok_or_else(|| failed("every policy needs an `@id`".into()))?;
        check_annotations(policy).map_err(|problem| failed(format!("policy `{id}`: {problem}")))?;
        let policy = policy.new_id(PolicyId::new(format!("{}/{id}", pack.pack)));
        named.add(policy).map_err(|error| failed(error.to_string()))?;
    }
    let result = validator.validate(&named, ValidationMode::Strict);
    let errors = result.validation_errors().map(DetailedError::from);
    // A rule that can never apply, or not to what its author thought of, protects nobody: a warning is an error.
    // Not so of a person's own: nobody wrote their text, and names of theirs may be in any script.
    let own = tier == Tier::Individual && pack.pack == super::personal::PERSONAL;
    let warnings = result.validation_warnings().map(DetailedError::from).filter(|_| !own);
    let mut problems: Vec<DetailedError> = errors.chain(warnings).collect();
    if problems.is_empty() {
        return Ok(named.policies().cloned().collect());
    }
    // In the order of the text; the validator goes through policies and actions as they come.
    let start = |problem: &DetailedError| problem.source_locations.first().map_or(0, |label| label.loc.start);
    problems.sort_by_cached_key(|problem| (start(problem), problem.message.clone()));
    let problems: Vec<String> = problems.iter().map(|problem| located(&pack.policies, problem)).collect();
    Err(failed(problems.join("\n")))
}

/// Which of several rules that forbid is named first: the lowest `@order`.
pub(super) fn order(policy: &Policy) -> u32 {
    policy.annotation("order").and_then(|order| order.parse().ok()).unwrap_or(u32::MAX)
}

/// The reason that a policy's annotation names; none where the person's own decisions say it.
pub(super) fn reason(policy: &Policy) -> Option<Reason> {
    match policy.annotation("reason") {
        Some("CONSENT") => None,
        Some(name) => Some(named_reason(name).unwrap_or(Reason::Forbidden)),
        None => Some(Reason::Forbidden),
    }
}

fn named_reason(name: &str) -> Option<Reason> {
    Reason::from_str_name(&format!("REASON_{name}")).filter(|reason| *reason != Reason::Unspecified)
}

fn check_annotations(policy: &Policy) -> Result<(), &'static str> {
    if policy.annotation("reason").is_some_and(|name| name != "CONSENT" && named_reason(name).is_none()) {
        return Err("`@reason` must be `CONSENT` or the name of a reason, without `REASON_`");
    }
    if policy.annotation("order").is_some_and(|order| order.parse::<u32>().is_err()) {
        return Err("`@order` must be a whole number");
    }
    Ok(())
}

/// The problem, and those that belong to it, after line and column of where each is.
fn located(text: &str, problem: &DetailedError) -> String {
    let place = problem.source_locations.first().map(|label| place(text, label.loc.start));
    let own = place.map_or_else(
        || problem.message.clone(),
        |(line, column)| format!("line {line}, column {column}: {}", problem.message),
    );
    let related = problem.related.iter().map(|problem| located(text, problem));
    std::iter::once(own).chain(related).collect::<Vec<_>>().join("\n")
}

/// Line and column of a byte, both counted from 1; the column in characters.
fn place(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line = before.matches('\n').count().saturating_add(1);
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count().saturating_add(1);
    (line, column)
}
