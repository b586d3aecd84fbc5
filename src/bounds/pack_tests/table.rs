//! Test tables of packs: what is asked, what is to come of it, and which policy is to decide. The format
//! stands in `docs/bounds.md`.

use serde::Deserialize;
use std::collections::BTreeSet;

/// A pack's table: `cases.json`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// `public`, `provider` or `individual`.
    pub tier: String,
    /// Its cases.
    pub cases: Vec<TableCase>,
}

/// One case: circumstances as they are (`set` and the like), or what happened before (`steps`).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableCase {
    /// What it shows.
    pub name: String,
    /// Where it comes from.
    pub article: String,
    /// `allow`, `none` (the provider permits nothing of the kind), or the deciding policy: its id, or
    /// `pack/id` of another pack.
    pub expect: String,
    /// The reason that the answer gives, without `REASON_`; empty: not looked at.
    #[serde(default)]
    pub reason: String,
    /// Further packs of Sayso's in force; a public pack stands otherwise beside a provider that permits
    /// everything.
    #[serde(default)]
    pub with: Vec<String>,
    /// Cedar text of individual bounds in force beside them.
    #[serde(default)]
    pub own: String,

    /// What for.
    #[serde(default = "memory")]
    pub purpose: String,
    /// Who uses it, or records it.
    #[serde(default = "tutor")]
    pub recipient: String,
    /// `use` or `record`.
    #[serde(default = "using")]
    pub action: String,
    /// What kind of data.
    #[serde(default)]
    pub category: String,
    /// How it came to be held.
    #[serde(default)]
    pub provenance: Option<How>,
    /// Of a recording: who records it.
    #[serde(default)]
    pub recorder: Option<Recorder>,

    /// Flags of the schema that hold; all others don't.
    #[serde(default)]
    pub set: BTreeSet<String>,
    /// Whole days since it was observed.
    #[serde(default)]
    pub age_days: u64,
    /// Per cent; default: 100.
    #[serde(default)]
    pub confidence: Option<u8>,
    /// Categories that it was derived from.
    #[serde(default)]
    pub sources: BTreeSet<String>,
    /// What is known of the person.
    #[serde(default)]
    pub person: PersonStep,

    /// What happened, oldest first. Where there are any, the four fields above stay empty.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// The fact that is asked about, by its key; default: `fact`.
    #[serde(default)]
    pub key: String,
    /// When it is asked, in days; default: after the last step.
    #[serde(default)]
    pub day: Option<u64>,
    /// The conversation that the use is for.
    #[serde(default)]
    pub interaction: String,
}

fn memory() -> String {
    "memory".into()
}

fn tutor() -> String {
    "tutor".into()
}

fn using() -> String {
    "use".into()
}

/// How a fact came to be held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// The person said so.
    #[default]
    Declared,
    /// From behaviour.
    Observed,
    /// A model's conclusion.
    Inferred,
}

/// Who records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recorder {
    /// A model service.
    #[default]
    Service,
    /// The person.
    Subject,
    /// The controller's staff.
    Steward,
}

/// One thing that happened, on a day; exactly one of its fields is there.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Days after the first; default: as the step before.
    #[serde(default)]
    pub day: Option<u64>,
    /// Yes.
    #[serde(default)]
    pub give: Option<TermsStep>,
    /// Yes again.
    #[serde(default)]
    pub renew: Option<TermsStep>,
    /// No.
    #[serde(default)]
    pub refuse: Option<TermsStep>,
    /// No longer.
    #[serde(default)]
    pub withdraw: Option<TermsStep>,
    /// The person said something else.
    #[serde(default)]
    pub signal: Option<SignalStep>,
    /// The person took it back.
    #[serde(default)]
    pub lift: Option<SignalStep>,
    /// Somebody said how old the person is, and where.
    #[serde(default)]
    pub describe: Option<PersonStep>,
    /// A fact was recorded.
    #[serde(default)]
    pub fact: Option<FactStep>,
    /// The person says that a fact is wrong, by its key.
    #[serde(default)]
    pub contest: Option<String>,
    /// The person says that a fact is right, by its key.
    #[serde(default)]
    pub confirm: Option<String>,
    /// A fact is no longer held, by its key.
    #[serde(default)]
    pub remove: Option<String>,
    /// A service, by name, reported a reply with which it said that it is an AI system.
    #[serde(default)]
    pub disclosed: Option<String>,
}

/// What a decision covers.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TermsStep {
    /// Purposes; of a no, none: all.
    #[serde(default)]
    pub purposes: Vec<String>,
    /// Categories; none: all, special ones never in a yes.
    #[serde(default)]
    pub categories: Vec<String>,
    /// Recipients; none: all.
    #[serde(default)]
    pub recipients: Vec<String>,
    /// Explicit.
    #[serde(default)]
    pub explicit: bool,
    /// The holder of parental responsibility spoke.
    #[serde(default)]
    pub guardian: bool,
    /// In force until this day.
    #[serde(default)]
    pub until_day: Option<u64>,
}

/// A signal.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignalStep {
    /// `objection`, `restriction`, `opt_out`, `limit_sensitive` or `pause`.
    pub kind: String,
    /// None: all.
    #[serde(default)]
    pub purposes: Vec<String>,
    /// Of a pause: the one conversation.
    #[serde(default)]
    pub interaction: String,
}

/// What is known of a person.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PersonStep {
    /// `child`, `teen`, `adult` or `unknown`; empty: not said.
    #[serde(default)]
    pub age_band: String,
    /// Of a teen.
    #[serde(default)]
    pub age_years: Option<u32>,
    /// `DE`, `US-CA`, `EU`; empty: not said.
    #[serde(default)]
    pub jurisdiction: String,
}

/// A fact.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FactStep {
    /// Its key.
    #[serde(default = "fact")]
    pub key: String,
    /// What kind.
    pub category: String,
    /// How it came to be held.
    #[serde(default)]
    pub provenance: How,
    /// Keys of facts that it was derived from.
    #[serde(default)]
    pub derived_from: Vec<String>,
    /// Per cent; only of an inference.
    #[serde(default)]
    pub confidence: Option<u8>,
    /// Not to be used from this day on.
    #[serde(default)]
    pub expires_day: Option<u64>,
    /// The value, so that a model can come to the same or to another conclusion.
    #[serde(default)]
    pub value: u32,
}

pub(crate) fn fact() -> String {
    "fact".into()
}
