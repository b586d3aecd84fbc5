//! Runs the test table of a pack. The production code decides each case, under this pack and the further
//! bounds that the case names. Those can be other shipped packs and the person's own bounds.

use crate::bounds::cedar_request::{Action, CedarRequest, ClassTraits, SubjectTraits};
use crate::bounds::decide::Case;
use crate::bounds::engine::{Bounds, UNRECORDED};
use crate::bounds::error::BoundsError;
use crate::bounds::pack_tests::scenario::{AGE_BAND_PROBLEM, Scenario, band, provenance};
use crate::bounds::pack_tests::table::{Recorder, Table, TableCase};
use crate::bounds::shipped_packs::{pack, shipped};
use crate::domain::default_vocabulary::default_vocabulary;
use crate::domain::description::Description;
use crate::domain::event::{BoundsPublished, Provenance, Reason, Role, SubjectDescribed, Tier};
use crate::domain::legal_basis::DeclaredBasis;
use crate::domain::special_sources::{History, Sources};
use crate::domain::vocabulary::Vocabulary;
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
    pub uncovered: Vec<String>,
}

impl PackTestRun {
    /// Whether every case passed and every forbidding policy decided a case.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.uncovered.is_empty() && self.outcomes.iter().all(Outcome::passed)
    }
}

/// The tier that a table names.
///
/// # Errors
/// There is no tier of this name.
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
pub fn run_pack_tests(tested: &BoundsPublished, table: &Table) -> Result<PackTestRun, TableError> {
    let vocabulary = default_vocabulary();
    let mut compiled: BTreeMap<(Vec<String>, String), Bounds> = BTreeMap::new();
    let mut outcomes = Vec::new();
    for case in &table.cases {
        let others = (case.with.clone(), case.own.clone());
        if !compiled.contains_key(&others) {
            let bounds = Bounds::compile(&packs_of(tested, case)?, &vocabulary)?;
            compiled.insert(others.clone(), bounds);
        }
        let bounds = compiled.get(&others).ok_or_else(|| problem(case, "no bounds"))?;
        check_vocabulary(case, &vocabulary)?;
        let (decider, reason) = if case.steps.is_empty() {
            decide_stated_request(bounds, case)?
        } else {
            decide_after_steps(bounds, case, &vocabulary)?
        };
        let named = |reason: Option<Reason>| {
            let name = reason.map_or("CONSENT", |reason| reason.as_str_name().trim_start_matches("REASON_"));
            format!("{decider} ({name})")
        };
        let expected = match case.expect.as_str() {
            outcome @ ("allow" | "none") => outcome.to_owned(),
            other => {
                if other.contains('/') {
                    other.to_owned()
                } else {
                    format!("{}/{other}", tested.pack)
                }
            }
        };
        let by_reason = !case.reason.is_empty();
        outcomes.push(Outcome {
            name: case.name.clone(),
            article: case.article.clone(),
            expected: if by_reason { format!("{expected} ({})", case.reason) } else { expected },
            found: if by_reason { named(reason) } else { decider },
        });
    }
    let uncovered = uncovered(tested, &outcomes)?;
    Ok(PackTestRun { pack: tested.pack.clone(), outcomes, uncovered })
}

fn problem(case: &TableCase, problem: &str) -> TableError {
    TableError::Case { case: case.name.clone(), problem: problem.to_owned() }
}

/// The pack and the packs that the case adds. If none of them is a provider pack, a provider pack that
/// permits everything is added.
fn packs_of(tested: &BoundsPublished, case: &TableCase) -> Result<Vec<(u64, BoundsPublished)>, TableError> {
    let mut packs = vec![tested.clone()];
    for name in &case.with {
        let found = shipped().into_iter().find(|shipped| shipped.pack.pack == *name);
        let found = found.ok_or_else(|| {
            problem(case, &format!("`with` must name shipped packs, and there is none named `{name}`"))
        })?;
        packs.push(found.pack);
    }
    if !packs.iter().any(|pack| pack.tier == Tier::Provider) {
        packs.push(pack(Tier::Provider, "anything", "@id(\"all\") permit (principal, action, resource);"));
    }
    if !case.own.is_empty() {
        packs.push(pack(Tier::Individual, "own", &case.own));
    }
    Ok(packs.into_iter().map(|pack| (UNRECORDED, pack)).collect())
}

fn check_vocabulary(case: &TableCase, vocabulary: &Vocabulary) -> Result<(), TableError> {
    let recorded = case.steps.iter().filter_map(|step| step.attribute.as_ref());
    let recorded = recorded.map(|attribute| &attribute.category);
    let categories =
        recorded.chain(&case.sources).chain((!case.category.is_empty()).then_some(&case.category));
    for category in categories {
        if !vocabulary.has_category(category) {
            return Err(problem(case, &format!("`{category}` is not a category of the default vocabulary")));
        }
    }
    if !vocabulary.has_purpose(&case.purpose) {
        return Err(problem(case, &format!("`{}` is not a purpose of the default vocabulary", case.purpose)));
    }
    Ok(())
}

/// The legal bases other than consent that a case can set.
const BASES: [DeclaredBasis; 3] =
    [DeclaredBasis::Contract, DeclaredBasis::LegitimateInterest, DeclaredBasis::LegalObligation];

/// The flags of the schema that a case can set, and the legal bases other than consent.
const FLAGS: [&str; 20] = [
    "consented",
    "contract",
    "legitimate_interest",
    "legal_obligation",
    "explicit",
    "guardian",
    "restricted",
    "objected",
    "paused",
    "conversation_paused",
    "opted_out",
    "opted_out_automated",
    "limit_sensitive",
    "noticed",
    "ai_disclosed",
    "expired",
    "contested",
    "source_withheld",
    "confirmed",
    "asked",
];

/// Decides a case that states its request directly.
fn decide_stated_request(bounds: &Bounds, case: &TableCase) -> Result<(String, Option<Reason>), TableError> {
    if let Some(unknown) = case.set.iter().find(|name| !FLAGS.contains(&name.as_str())) {
        return Err(problem(
            case,
            &format!("`set` must list flags of the schema, and `{unknown}` is not one"),
        ));
    }
    if case.category.is_empty() {
        return Err(problem(case, "it needs `category` or `steps`"));
    }
    let is_set = |name: &str| case.set.contains(name);
    let provenance = provenance(case.provenance.unwrap_or_default());
    let mut description = Description::default();
    let described = SubjectDescribed {
        age_band: band(&case.subject.age_band).ok_or_else(|| problem(case, AGE_BAND_PROBLEM))?,
        age_years: case.subject.age_years,
        jurisdiction: case.subject.jurisdiction.clone(),
        born: case.subject.born.clone(),
    };
    description.apply(&described, 1);
    let now_ms = Scenario::moment_ms(case.day.unwrap_or(0));
    let (age_days, confidence) = bounds.thresholds().round(case.age_days, case.confidence.unwrap_or(100));
    let derived = !case.sources.is_empty();
    let mut cedar_request = CedarRequest {
        action: action(case, provenance)?,
        recipient: case.recipient.clone(),
        category: case.category.clone(),
        provenance,
        traits: ClassTraits { age_days, confidence, derived, sources: case.sources.clone() },
        subject: SubjectTraits::of(&description, now_ms),
        consented: is_set("consented"),
        declared_basis: BASES.into_iter().find(|basis| is_set(basis.name())),
        explicit: is_set("explicit"),
        guardian: is_set("guardian"),
        restricted: is_set("restricted"),
        purpose: case.purpose.clone(),
        objected: is_set("objected"),
        paused: is_set("paused"),
        conversation_paused: is_set("conversation_paused"),
        opted_out: is_set("opted_out"),
        opted_out_automated: is_set("opted_out_automated"),
        limit_sensitive: is_set("limit_sensitive"),
        noticed: is_set("noticed"),
        consent_days: bounds.thresholds().round_consent(case.consent_days),
        notice: case.notice.clone(),
        notice_version: case.notice_version.clone(),
        ai_disclosed: is_set("ai_disclosed"),
        expired: is_set("expired"),
        contested: is_set("contested"),
        source_withheld: is_set("source_withheld"),
        confirmed: is_set("confirmed"),
        asked: is_set("asked"),
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
fn decide_after_steps(
    bounds: &Bounds,
    case: &TableCase,
    vocabulary: &Vocabulary,
) -> Result<(String, Option<Reason>), TableError> {
    let is_recording = case.action == "record";
    let mut scenario =
        Scenario::from_steps(&case.steps, is_recording).map_err(|text| problem(case, &text))?;
    let now_ms = case.day.map_or(scenario.now_ms, Scenario::moment_ms);
    if is_recording {
        let attempt = scenario
            .attempt
            .take()
            .ok_or_else(|| problem(case, "for a recording, the last step must be `attribute`"))?;
        let recorder = Scenario::actor(role(case.recorder.unwrap_or_default()), &case.recipient);
        let history = History::default();
        let sources = Sources::new(&scenario.state, &history).categories(&attempt.derived_from);
        let sources = sources.into_iter().map(str::to_owned).collect();
        let state = &scenario.state;
        let decided = bounds.decide_recording(state, vocabulary, (&attempt, &sources), &recorder, now_ms);
        return Ok(
            decided.map_or_else(|denial| (denial.policy, denial.reason), |()| ("allow".to_owned(), None))
        );
    }
    let keys = [if case.key.is_empty() {
        crate::bounds::pack_tests::table::default_key()
    } else {
        case.key.clone()
    }];
    let use_case = Case {
        recipient: &case.recipient,
        purpose: &case.purpose,
        categories: &[],
        keys: &keys,
        interaction: &case.interaction,
        now_ms,
    };
    let decision = bounds.decide(&scenario.state, vocabulary, &use_case);
    match (decision.allowed.as_slice(), decision.withheld.as_slice()) {
        ([_], []) => Ok(("allow".to_owned(), None)),
        ([], [class]) => Ok((class.policy.clone(), Some(class.reason))),
        _ => Err(problem(case, "there is no attribute with the requested key")),
    }
}

fn role(recorder: Recorder) -> Role {
    match recorder {
        Recorder::Service => Role::Service,
        Recorder::Subject => Role::Subject,
        Recorder::Steward => Role::Steward,
    }
}

fn uncovered(tested: &BoundsPublished, outcomes: &[Outcome]) -> Result<Vec<String>, TableError> {
    let found: BTreeSet<&str> =
        outcomes.iter().filter_map(|outcome| outcome.found.split(' ').next()).collect();
    let bounds = Bounds::compile(&[(UNRECORDED, tested.clone())], &Vocabulary::default())?;
    Ok(bounds.forbids(&tested.pack).into_iter().filter(|id| !found.contains(id.as_str())).collect())
}
