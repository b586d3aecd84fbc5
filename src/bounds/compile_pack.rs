//! Compiles the text of one pack to named policies, or reports what is wrong with the text, with line and
//! column.

use crate::bounds::equivalent_categories::Distinctions;
use crate::bounds::error::BoundsError;
use crate::bounds::policy_text::parse::{Pieces, READING_MAX, Source, on_deep_stack};
use crate::bounds::policy_text::scan;
use crate::bounds::thresholds::Thresholds;
use crate::domain::byte_cache::ByteCache;
use crate::domain::event::{BoundsPublished, Reason, Tier};
use cedar_policy::ffi::DetailedError;
use cedar_policy::{Effect, Policy, PolicyId, PolicySet, ValidationMode, Validator};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Memory limit of the cache of recorded packs, for all logs of this process, bytes.
const RECORDED_CACHE_BYTES_MAX: usize = 32 << 20;
/// Memory limit of the cache of packs that callers offer, bytes. This cache is separate, so that offered
/// packs evict no recorded pack. It has room for one pack of the largest size.
const OFFERED_CACHE_BYTES_MAX: usize = 32 << 20;
/// An estimate of the bytes of memory that each byte of text takes once it is compiled. Large personal bounds
/// take about 17 bytes, other text takes more.
const COMPILED_BYTES_PER_BYTE: usize = 48;
/// Number of problems reported for a pack. They are sent in response headers.
const PROBLEMS_MAX: usize = 10;
/// Bytes of one reported problem, including its location.
const PROBLEM_BYTES_MAX: usize = 300;

/// Compiled packs by tier, name and text, which determine the result.
type PackCache = ByteCache<(Tier, String, String), Arc<Compiled>>;

/// Approximate memory of a compiled pack including its text, bytes.
pub(super) fn compiled_bytes(policies: &str) -> usize {
    policies.len().saturating_mul(COMPILED_BYTES_PER_BYTE)
}

/// The caches of recorded packs and of packs that callers offered.
fn pack_caches() -> MutexGuard<'static, (PackCache, PackCache)> {
    static CACHES: LazyLock<Mutex<(PackCache, PackCache)>> = LazyLock::new(|| {
        Mutex::new((ByteCache::new(RECORDED_CACHE_BYTES_MAX), ByteCache::new(OFFERED_CACHE_BYTES_MAX)))
    });
    CACHES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A valid pack, compiled.
pub(super) struct Compiled {
    pub policies: Vec<Policy>,
    /// The ages and confidences that the policies compare with.
    pub thresholds: Thresholds,
    /// How the policies distinguish categories.
    pub distinctions: Distinctions,
}

impl Compiled {
    fn of(policies: Vec<Policy>) -> Self {
        Self {
            thresholds: Thresholds::of(policies.iter()),
            distinctions: Distinctions::of(policies.iter()),
            policies,
        }
    }
}

/// Runs [`compile`] on a thread with a large stack, and caches the result by text. The cache pays off,
/// because there are few packs, and every preview and every log compiles them. The call blocks; for a pack
/// that a caller offers, it also waits for a free thread.
///
/// # Errors
/// The errors of [`compile`], or no thread was free in time.
pub(super) fn compiled(
    pack: &BoundsPublished,
    tier: Tier,
    validator: &Validator,
    source: Source,
    until: Instant,
) -> Result<Arc<Compiled>, BoundsError> {
    if source == Source::Caller {
        // Scan even if the text is cached, because it may come from a log that is older than the limits.
        scan::pieces(&pack.policies).map_err(|exceeded| failed(pack, describe_exceeded(pack, &exceeded)))?;
    }
    let name = (tier, pack.pack.clone(), pack.policies.clone());
    let found = {
        let (recorded, offered) = &mut *pack_caches();
        recorded.get(&name).or_else(|| offered.get(&name))
    };
    let compiled = match found {
        Some(compiled) => compiled,
        None => on_deep_stack(source, until, || {
            let policies = compile(pack, tier, validator, source, until)?;
            Ok(Arc::new(Compiled::of(policies)))
        })?,
    };
    let (recorded, offered) = &mut *pack_caches();
    let kept = if source == Source::Log { recorded } else { offered };
    kept.put(name, Arc::clone(&compiled), compiled_bytes(&pack.policies));
    Ok(compiled)
}

/// The policies of a pack, named `pack/id`, each validated strictly against the schema.
///
/// # Errors
/// The pack exceeds a limit, takes too long, does not parse or validate, or permits in the public tier. Other
/// errors are a template, a policy without an `@id`, and an invalid annotation.
pub(super) fn compile(
    pack: &BoundsPublished,
    tier: Tier,
    validator: &Validator,
    source: Source,
    until: Instant,
) -> Result<Vec<Policy>, BoundsError> {
    let pieces = Pieces::of(&pack.policies, source)
        .map_err(|exceeded| failed(pack, describe_exceeded(pack, &exceeded)))?;
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

fn describe_exceeded(pack: &BoundsPublished, exceeded: &scan::LimitExceeded) -> String {
    let (line, column) = place(&pack.policies, exceeded.at);
    format!("line {line}, column {column}: {}", exceeded.problem)
}

/// Renames the policies to `pack/id` and checks their effects and annotations.
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
    // The validator warns about a rule that can never apply, or that may not apply as its author intended.
    // Such a rule protects no data subject, so a warning counts as an error.
    //
    // The validator also warns about names that mix scripts, such as Latin and Cyrillic. Personal bounds may
    // have such names, and the rest of their text is generated. So for personal bounds, warnings are ignored.
    let personal = tier == Tier::Individual && pack.pack == crate::bounds::personal_bounds::PERSONAL;
    let warnings = result.validation_warnings().map(DetailedError::from).filter(|_| !personal);
    problems.add(start, errors.chain(warnings));
}

/// The problems found in a text.
#[derive(Default)]
struct Problems {
    /// Each problem with its byte offset, if known.
    found: Vec<(Option<usize>, String)>,
}

impl Problems {
    /// Adds the problems of a piece that begins at byte `start` of the text.
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

    /// The first problems in the order of the text, each with its line and column; `None` if there are none.
    /// They are sorted because the validator visits policies and actions in no fixed order.
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

/// The rank of a forbidding rule. If several rules forbid, the one with the lowest `@order` is named as
/// deciding.
pub(super) fn order(policy: &Policy) -> u32 {
    policy.annotation("order").and_then(|order| order.parse().ok()).unwrap_or(u32::MAX)
}

/// The reason that a policy's annotation names; `None` if it follows from the data subject's consent
/// decisions.
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

/// Line and column of a byte, both 1-based; the column counts characters.
fn place(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line = before.matches('\n').count().saturating_add(1);
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count().saturating_add(1);
    (line, column)
}

/// The policies of a personal pack. They are generated from choices and need neither a scan nor a large
/// stack.
///
/// # Errors
/// The policies do not validate.
pub(super) fn compile_personal(
    pack: &BoundsPublished,
    validator: &Validator,
) -> Result<Vec<Policy>, BoundsError> {
    let parsed =
        crate::bounds::policy_text::parse::trusted(&pack.policies).map_err(|error| failed(pack, error))?;
    let (named, mut problems) = (named(pack, Tier::Individual, parsed)?, Problems::default());
    validate(pack, Tier::Individual, validator, &named, 0, &mut problems);
    match problems.located(&pack.policies) {
        None => Ok(named.policies().cloned().collect()),
        Some(problems) => Err(failed(pack, problems)),
    }
}
