//! Runs the test table of a pack: decides each case with the production code, under the packs that the case
//! names.

use crate::bounds::cedar_request::{Action, CedarRequest, ClassTraits, SubjectTraits};
use crate::bounds::decide::Case;
use crate::bounds::engine::{Bounds, UNRECORDED};
use crate::bounds::error::BoundsError;
use crate::bounds::pack_tests::scenario::{Story, band, provenance};
use crate::bounds::pack_tests::table::{Recorder, Table, TableCase};
use crate::bounds::shipped_packs::{pack, shipped};
use crate::domain::default_vocabulary::default_vocabulary;
use crate::domain::description::Description;
use crate::domain::event::Role;
use crate::domain::vocabulary::Vocabulary;
use sayso_proof::event::{BoundsPublished, Provenance, Reason, SubjectDescribed, Tier};
use std::collections::{BTreeMap, BTreeSet};

/// Why a table cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The table is malformed.
    #[error("cases.json: {0}")]
    Json(#[from] serde_json::Error),
    /// The pack, or another pack that a case adds, does not compile.
    #[error(transparent)]
    Bounds(#[from] BoundsError),
    /// A case is invalid.
    #[error("case `{case}`: {problem}")]
    Case {
        /// The name of the case.
        case: String,
        /// What is wrong.
        problem: String,
    },
    /// The table names an unknown tier.
    #[error("cases.json: `tier` must be public, provider or individual")]
    Tier,
}

/// The result of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The name of the case.
    pub name: String,
    /// The article of law that the case is based on.
    pub article: String,
    /// The expected decision: `allow`, `none` or `pack/id`, with the reason if the case names one.
    pub expected: String,
    /// The actual decision, in the same form.
    pub found: String,
}

impl Outcome {
    /// Whether the actual decision is the expected one.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.expected == self.found
    }
}

/// The result of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackTestRun {
    /// The name of the pack.
    pub pack: String,
    /// The result of each case.
    pub outcomes: Vec<Outcome>,
    /// Forbidding policies of the pack that decide no case, so no case shows that they work.
    pub untried: Vec<String>,
}

impl PackTestRun {
    /// Whether every case passed and every forbidding policy decided a case.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.untried.is_empty() && self.outcomes.iter().all(Outcome::passed)
    }
}

/// The tier of a table's name.
///
/// # Errors
/// No such tier.
pub fn tier(name: &str) -> Result<Tier, TableError> {
    match name {
        "public" => Ok(Tier::Public),
        "provider" => Ok(Tier::Provider),
        "individual" => Ok(Tier::Individual),
        _ => Err(TableError::Tier),
    }
}

/// Runs the table of a pack over the default vocabulary.
///
/// # Errors
/// The pack does not compile, or a case is invalid.
pub fn run_pack_tests(tried: &BoundsPublished, table: &Table) -> Result<PackTestRun, TableError> {
    let words = default_vocabulary();
    let mut compiled: BTreeMap<(Vec<String>, String), Bounds> = BTreeMap::new();
    let mut outcomes = Vec::new();
    for case in &table.cases {
        let beside = (case.with.clone(), case.own.clone());
        if !compiled.contains_key(&beside) {
            let bounds = Bounds::compile(&packs_of(tried, case)?, &words)?;
            compiled.insert(beside.clone(), bounds);
        }
        let bounds = compiled.get(&beside).ok_or_else(|| problem(case, "no bounds"))?;
        check_words(case, &words)?;
        let (decider, reason) =
            if case.steps.is_empty() { as_it_is(bounds, case)? } else { after_steps(bounds, case, &words)? };
        let named = |reason: Option<Reason>| {
            let name = reason.map_or("CONSENT", |reason| reason.as_str_name().trim_start_matches("REASON_"));
            format!("{decider} ({name})")
        };
        let own = match case.expect.as_str() {
            known @ ("allow" | "none") => known.to_owned(),
            other => {
                if other.contains('/') {
                    other.to_owned()
                } else {
                    format!("{}/{other}", tried.pack)
                }
            }
        };
        let by_reason = !case.reason.is_empty();
        outcomes.push(Outcome {
            name: case.name.clone(),
            article: case.article.clone(),
            expected: if by_reason { format!("{own} ({})", case.reason) } else { own },
            found: if by_reason { named(reason) } else { decider },
        });
    }
    let untried = untried(tried, &outcomes)?;
    Ok(PackTestRun { pack: tried.pack.clone(), outcomes, untried })
}

fn problem(case: &TableCase, problem: &str) -> TableError {
    TableError::Case { case: case.name.clone(), problem: problem.to_owned() }
}

/// The pack and the packs that the case adds. If none of them is a provider pack, also one that permits
/// everything.
fn packs_of(tried: &BoundsPublished, case: &TableCase) -> Result<Vec<(u64, BoundsPublished)>, TableError> {
    let mut packs = vec![tried.clone()];
    for name in &case.with {
        let found = shipped().into_iter().find(|shipped| shipped.pack.pack == *name);
        let found = found.ok_or_else(|| problem(case, &format!("no pack `{name}` comes with sayso")))?;
        packs.push(found.pack);
    }
    if !packs.iter().any(|pack| pack.tier() == Tier::Provider) {
        packs.push(pack(Tier::Provider, "anything", "@id(\"all\") permit (principal, action, resource);"));
    }
    if !case.own.is_empty() {
        packs.push(pack(Tier::Individual, "own", &case.own));
    }
    Ok(packs.into_iter().map(|pack| (UNRECORDED, pack)).collect())
}

fn check_words(case: &TableCase, words: &Vocabulary) -> Result<(), TableError> {
    let facts = case.steps.iter().filter_map(|step| step.fact.as_ref()).map(|fact| &fact.category);
    let categories = facts.chain(&case.sources).chain((!case.category.is_empty()).then_some(&case.category));
    for category in categories {
        if !words.has_category(category) {
            return Err(problem(case, &format!("`{category}` is no category")));
        }
    }
    if !words.has_purpose(&case.purpose) {
        return Err(problem(case, &format!("`{}` is no purpose", case.purpose)));
    }
    Ok(())
}

/// Decides a case that states its request directly.
fn as_it_is(bounds: &Bounds, case: &TableCase) -> Result<(String, Option<Reason>), TableError> {
    let known = [
        "consented",
        "explicit",
        "guardian",
        "restricted",
        "objected",
        "paused",
        "conversation_paused",
        "opted_out",
        "limit_sensitive",
        "ai_disclosed",
        "expired",
        "contested",
        "source_withheld",
        "confirmed",
        "asked",
    ];
    if let Some(strange) = case.set.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(problem(case, &format!("`{strange}` is no flag of the schema")));
    }
    if case.category.is_empty() {
        return Err(problem(case, "needs `category`, or `steps`"));
    }
    let holds = |name: &str| case.set.contains(name);
    let provenance = provenance(case.provenance.unwrap_or_default());
    let mut person = Description::default();
    let said = SubjectDescribed {
        age_band: band(&case.person.age_band).ok_or_else(|| problem(case, "no such age band"))?.into(),
        age_years: case.person.age_years,
        jurisdiction: case.person.jurisdiction.clone(),
    };
    person.apply(&said, 1);
    let (age_days, confidence) = bounds.thresholds().round(case.age_days, case.confidence.unwrap_or(100));
    let derived = !case.sources.is_empty();
    let mut cedar_request = CedarRequest {
        action: action(case, provenance)?,
        recipient: case.recipient.clone(),
        category: case.category.clone(),
        provenance,
        traits: ClassTraits { age_days, confidence, derived, sources: case.sources.clone() },
        subject: SubjectTraits::of(&person),
        consented: holds("consented"),
        explicit: holds("explicit"),
        guardian: holds("guardian"),
        restricted: holds("restricted"),
        purpose: case.purpose.clone(),
        objected: holds("objected"),
        paused: holds("paused"),
        conversation_paused: holds("conversation_paused"),
        opted_out: holds("opted_out"),
        limit_sensitive: holds("limit_sensitive"),
        ai_disclosed: holds("ai_disclosed"),
        expired: holds("expired"),
        contested: holds("contested"),
        source_withheld: holds("source_withheld"),
        confirmed: holds("confirmed"),
        asked: holds("asked"),
        ..CedarRequest::default()
    };
    cedar_request.recorder = role(case.recorder.unwrap_or_default());
    Ok(bounds
        .denial_for(&cedar_request)
        .map_or_else(|| ("allow".to_owned(), None), |denial| (denial.policy.clone(), denial.reason)))
}

fn action(case: &TableCase, provenance: Provenance) -> Result<Action, TableError> {
    match case.action.as_str() {
        "use" if case.purpose == "model-training" => Ok(Action::Train),
        "use" => Ok(Action::Use),
        "record" if provenance == Provenance::Inferred => Ok(Action::Infer),
        "record" => Ok(Action::Record),
        _ => Err(problem(case, "`action` must be use or record")),
    }
}

/// Decides a case over the history that its steps describe. For a recording, the last step is the attempt.
fn after_steps(
    bounds: &Bounds,
    case: &TableCase,
    words: &Vocabulary,
) -> Result<(String, Option<Reason>), TableError> {
    let records = case.action == "record";
    let mut story = Story::tell(&case.steps, records).map_err(|text| problem(case, &text))?;
    let now_ms = case.day.map_or(story.now_ms, Story::moment_ms);
    if records {
        let attempt = story.attempt.take().ok_or_else(|| problem(case, "its last step must be a fact"))?;
        let recorder = Story::actor(role(case.recorder.unwrap_or_default()), &case.recipient);
        let decided = bounds.decide_recording(&story.state, words, &attempt, &recorder, now_ms);
        return Ok(
            decided.map_or_else(|denial| (denial.policy, denial.reason), |()| ("allow".to_owned(), None))
        );
    }
    let keys =
        [if case.key.is_empty() { crate::bounds::pack_tests::table::fact() } else { case.key.clone() }];
    let asked = Case {
        recipient: &case.recipient,
        purpose: &case.purpose,
        categories: &[],
        keys: &keys,
        interaction: &case.interaction,
        now_ms,
    };
    let decision = bounds.decide(&story.state, words, &asked);
    match (decision.allowed.as_slice(), decision.withheld.as_slice()) {
        ([_], []) => Ok(("allow".to_owned(), None)),
        ([], [class]) => Ok((class.policy.clone(), Some(class.reason()))),
        _ => Err(problem(case, "its key is not held")),
    }
}

fn role(recorder: Recorder) -> Role {
    match recorder {
        Recorder::Service => Role::Service,
        Recorder::Subject => Role::Subject,
        Recorder::Steward => Role::Steward,
    }
}

fn untried(tried: &BoundsPublished, outcomes: &[Outcome]) -> Result<Vec<String>, TableError> {
    let found: BTreeSet<&str> =
        outcomes.iter().filter_map(|outcome| outcome.found.split(' ').next()).collect();
    let bounds = Bounds::compile(&[(UNRECORDED, tried.clone())], &Vocabulary::default())?;
    Ok(bounds.forbids(&tried.pack).into_iter().filter(|id| !found.contains(id.as_str())).collect())
}
