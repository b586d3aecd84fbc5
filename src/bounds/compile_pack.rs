//! One pack: from text to policies under their own names, or what is wrong with it and where.

use crate::bounds::equivalent_categories::Distinctions;
use crate::bounds::error::BoundsError;
use crate::bounds::policy_text::parse::{Pieces, READING_MAX, Source, on_deep_stack};
use crate::bounds::policy_text::scan;
use crate::bounds::thresholds::Thresholds;
use crate::domain::byte_cache::ByteCache;
use cedar_policy::ffi::DetailedError;
use cedar_policy::{Effect, Policy, PolicyId, PolicySet, ValidationMode, Validator};
use sayso_proof::event::{BoundsPublished, Reason, Tier};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// What packs of logs that are kept compiled may take of memory, for all logs of this process, bytes.
const KNOWN_BYTES_MAX: usize = 32 << 20;
/// The same of packs that callers offered: they push out no pack of a log. One of the largest fits.
const OFFERED_BYTES_MAX: usize = 32 << 20;
/// Bytes of memory for each byte of text once it is compiled: about 17 for large personal bounds, and more where a text has
/// other shapes.
const COMPILED_BYTES_PER_BYTE: usize = 48;
/// Problems that are reported of a pack: they travel in the headers of an answer.
const PROBLEMS_MAX: usize = 10;
/// Bytes of one of them, place included.
const PROBLEM_BYTES_MAX: usize = 300;

/// By tier, name and text, which are all that comes into it.
type Known = ByteCache<(Tier, String, String), Arc<Compiled>>;

/// What a text takes of memory once it is compiled, with the text, about.
pub(super) fn compiled_bytes(policies: &str) -> usize {
    policies.len().saturating_mul(COMPILED_BYTES_PER_BYTE)
}

/// Of logs, and of callers.
fn known() -> MutexGuard<'static, (Known, Known)> {
    static KNOWN: LazyLock<Mutex<(Known, Known)>> =
        LazyLock::new(|| Mutex::new((ByteCache::new(KNOWN_BYTES_MAX), ByteCache::new(OFFERED_BYTES_MAX))));
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A pack that is valid.
pub(super) struct Compiled {
    pub policies: Vec<Policy>,
    /// How finely ages and confidences matter to them.
    pub steps: Thresholds,
    /// What they tell categories apart by.
    pub told: Distinctions,
}

impl Compiled {
    fn of(policies: Vec<Policy>) -> Self {
        Self { steps: Thresholds::of(policies.iter()), told: Distinctions::of(policies.iter()), policies }
    }
}

/// As [`compile`], on a thread with a stack that fits, and once for each text: packs are few, and every preview and every log
/// compiles them. Blocks; what a caller offers waits for its turn.
///
/// # Errors
/// As [`compile`]; or there was no turn in time.
pub(super) fn compiled(
    pack: &BoundsPublished,
    tier: Tier,
    validator: &Validator,
    source: Source,
    until: Instant,
) -> Result<Arc<Compiled>, BoundsError> {
    if source == Source::Caller {
        // Also where the text is known: a log may have it from before there were limits.
        scan::pieces(&pack.policies).map_err(|beyond| failed(pack, beyond_limit(pack, &beyond)))?;
    }
    let name = (tier, pack.pack.clone(), pack.policies.clone());
    let found = {
        let (of_logs, offered) = &mut *known();
        of_logs.get(&name).or_else(|| offered.get(&name))
    };
    let compiled = match found {
        Some(compiled) => compiled,
        None => on_deep_stack(source, until, || {
            let policies = compile(pack, tier, validator, source, until)?;
            Ok(Arc::new(Compiled::of(policies)))
        })?,
    };
    let (of_logs, offered) = &mut *known();
    let kept = if source == Source::Log { of_logs } else { offered };
    kept.put(name, Arc::clone(&compiled), compiled_bytes(&pack.policies));
    Ok(compiled)
}

/// The policies of a pack, named `pack/id`, each validated strictly against the schema.
///
/// # Errors
/// It is beyond a limit, does not parse or validate, has a template, a policy without an `@id` or with an annotation that says
/// nothing, or permits in the public tier; or it takes too long.
pub(super) fn compile(
    pack: &BoundsPublished,
    tier: Tier,
    validator: &Validator,
    source: Source,
    until: Instant,
) -> Result<Vec<Policy>, BoundsError> {
    let pieces =
        Pieces::of(&pack.policies, source).map_err(|beyond| failed(pack, beyond_limit(pack, &beyond)))?;
    let (mut all, mut problems) = (PolicySet::new(), Problems::default());
    for (start, parsed) in pieces {
        match parsed {
            Err(error) => problems.add(start, [DetailedError::from(&error)]),
            Ok(parsed) if problems.is_empty() => {
                let named = named(pack, tier, parsed)?;
                validate(pack, tier, validator, &named, start, &mut problems);
                for policy in named.policies() {
                    all.add(policy.clone()).map_err(|error| failed(pack, error.to_string()))?;
                }
            }
            Ok(_) => {}
        }
        if source == Source::Caller && Instant::now() > until {
            let problem = format!("takes longer than {} s to read and validate", READING_MAX.as_secs());
            return Err(failed(pack, problem));
        }
        if problems.is_full() {
            break;
        }
    }
    match problems.located(&pack.policies) {
        None => Ok(all.policies().cloned().collect()),
        Some(problems) => Err(failed(pack, problems)),
    }
}

fn failed(pack: &BoundsPublished, problem: String) -> BoundsError {
    BoundsError::Pack { pack: pack.pack.clone(), problem }
}

fn beyond_limit(pack: &BoundsPublished, beyond: &scan::Beyond) -> String {
    let (line, column) = place(&pack.policies, beyond.at);
    format!("line {line}, column {column}: {}", beyond.problem)
}

/// Policies under their own names.
fn named(pack: &BoundsPublished, tier: Tier, parsed: PolicySet) -> Result<PolicySet, BoundsError> {
    if parsed.templates().next().is_some() {
        let problem = "templates are not supported: nothing would fill in their slots";
        return Err(failed(pack, problem.into()));
    }
    let mut named = PolicySet::new();
    for policy in parsed.policies() {
        if tier == Tier::Public && policy.effect() == Effect::Permit {
            return Err(BoundsError::PermitInPublic(pack.pack.clone()));
        }
        let id = policy.annotation("id").ok_or_else(|| failed(pack, "every policy needs an `@id`".into()))?;
        check_annotations(policy).map_err(|problem| failed(pack, format!("policy `{id}`: {problem}")))?;
        let policy = policy.new_id(PolicyId::new(format!("{}/{id}", pack.pack)));
        named.add(policy).map_err(|error| failed(pack, error.to_string()))?;
    }
    Ok(named)
}

fn validate(
    pack: &BoundsPublished,
    tier: Tier,
    validator: &Validator,
    named: &PolicySet,
    start: usize,
    problems: &mut Problems,
) {
    let result = validator.validate(named, ValidationMode::Strict);
    let errors = result.validation_errors().map(DetailedError::from);
    // A rule that can never apply, or not to what its author thought of, protects nobody: a warning is an error.
    // Not so of a person's own: nobody wrote their text, and names of theirs may be in any script.
    let own = tier == Tier::Individual && pack.pack == crate::bounds::personal_bounds::PERSONAL;
    let warnings = result.validation_warnings().map(DetailedError::from).filter(|_| !own);
    problems.add(start, errors.chain(warnings));
}

/// What is wrong with a text, as far as it is reported.
#[derive(Default)]
struct Problems {
    /// With the byte at which each is, if it says.
    found: Vec<(Option<usize>, String)>,
}

impl Problems {
    /// Of a piece that begins at a byte of the text.
    fn add(&mut self, start: usize, found: impl IntoIterator<Item = DetailedError>) {
        for problem in found {
            let place = problem.source_locations.first().map(|label| start.saturating_add(label.loc.start));
            self.found.push((place, problem.message.clone()));
            self.add(start, problem.related);
        }
    }

    fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    fn is_full(&self) -> bool {
        self.found.len() >= PROBLEMS_MAX
    }

    /// The first of them, each after line and column of where it is, in the order of the text: the validator goes through
    /// policies and actions as they come. Nothing where nothing is wrong.
    fn located(mut self, text: &str) -> Option<String> {
        self.found.sort();
        self.found.dedup();
        let more = self.found.len().saturating_sub(PROBLEMS_MAX);
        self.found.truncate(PROBLEMS_MAX);
        let mut lines: Vec<String> =
            self.found.iter().map(|(at, message)| line_of(text, *at, message)).collect();
        if more > 0 {
            lines.push(format!("and {more} more"));
        }
        (!lines.is_empty()).then(|| lines.join("\n"))
    }
}

fn line_of(text: &str, at: Option<usize>, message: &str) -> String {
    let message = message.replace('\n', " ");
    let whole = match at.map(|at| place(text, at)) {
        Some((line, column)) => format!("line {line}, column {column}: {message}"),
        None => message,
    };
    let end = (0..=PROBLEM_BYTES_MAX).rev().find(|end| whole.is_char_boundary(*end)).unwrap_or_default();
    match whole.get(..end) {
        Some(cut) if whole.len() > PROBLEM_BYTES_MAX => format!("{cut} …"),
        _ => whole,
    }
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

/// Line and column of a byte, both counted from 1; the column in characters.
fn place(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line = before.matches('\n').count().saturating_add(1);
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count().saturating_add(1);
    (line, column)
}

/// The policies of a person's own pack, which are compiled from choices and need neither a scan nor a deep stack.
///
/// # Errors
/// They do not validate.
pub(super) fn compile_own(pack: &BoundsPublished, validator: &Validator) -> Result<Vec<Policy>, BoundsError> {
    let parsed =
        crate::bounds::policy_text::parse::own(&pack.policies).map_err(|error| failed(pack, error))?;
    let (named, mut problems) = (named(pack, Tier::Individual, parsed)?, Problems::default());
    validate(pack, Tier::Individual, validator, &named, 0, &mut problems);
    match problems.located(&pack.policies) {
        None => Ok(named.policies().cloned().collect()),
        Some(problems) => Err(failed(pack, problems)),
    }
}
