//! The format of a pack's test table. Each case describes a request, directly or by the history before the
//! request, and the expected decision. If a policy must deny the request, the expected decision names that
//! policy. `docs/bounds.md` describes the format.

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

/// One case. It either states the request directly (`set` and similar fields) or gives the history before it
/// (`steps`).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableCase {
    /// What the case shows.
    pub name: String,
    /// The article of law that it is based on.
    pub article: String,
    /// `allow`, `none` (no provider policy permits it), or the deciding policy: its id, or `pack/id` for
    /// another pack.
    pub expect: String,
    /// The expected reason, without the prefix `REASON_`; empty means that the reason is not checked.
    #[serde(default)]
    pub reason: String,
    /// Other shipped packs in force. If none of the packs is a provider pack, a provider pack that permits
    /// everything is added.
    #[serde(default)]
    pub with: Vec<String>,
    /// Cedar text of individual bounds that are also in force.
    #[serde(default)]
    pub own: String,

    /// The purpose of the use.
    #[serde(default = "default_purpose")]
    pub purpose: String,
    /// The application that uses or records the attribute.
    #[serde(default = "default_recipient")]
    pub recipient: String,
    /// `use` or `record`.
    #[serde(default = "default_action")]
    pub action: String,
    /// The category of the attribute.
    #[serde(default)]
    pub category: String,
    /// The provenance of the attribute.
    #[serde(default)]
    pub provenance: Option<ProvenanceName>,
    /// For a recording, who records it.
    #[serde(default)]
    pub recorder: Option<Recorder>,

    /// The flags of the schema that are true; all others are false.
    #[serde(default)]
    pub set: BTreeSet<String>,
    /// Whole days since the attribute was observed.
    #[serde(default)]
    pub age_days: u64,
    /// Confidence in percent; default: 100.
    #[serde(default)]
    pub confidence: Option<u8>,
    /// Whole days since the consent was given.
    #[serde(default)]
    pub consent_days: u64,
    /// The id of the notice that the consent names.
    #[serde(default)]
    pub notice: String,
    /// The version of that notice.
    #[serde(default)]
    pub notice_version: String,
    /// The categories of its sources.
    #[serde(default)]
    pub sources: BTreeSet<String>,
    /// The description of the data subject.
    #[serde(default, alias = "person")]
    pub subject: SubjectStep,

    /// The history, oldest first. If there are steps, leave the previous fields from `set` to `subject`
    /// empty.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// The key of the requested attribute; default: `fact`.
    #[serde(default)]
    pub key: String,
    /// The day of the request; default: just after the last step.
    #[serde(default)]
    pub day: Option<u64>,
    /// The conversation that the use is for.
    #[serde(default)]
    pub interaction: String,
}

fn default_purpose() -> String {
    "memory".into()
}

fn default_recipient() -> String {
    "tutor".into()
}

fn default_action() -> String {
    "use".into()
}

/// The provenance of an attribute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProvenanceName {
    /// The data subject stated it.
    #[default]
    Declared,
    /// Observed from behavior.
    Observed,
    /// Inferred by a model.
    Inferred,
}

/// Who records an attribute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recorder {
    /// A model service.
    #[default]
    Service,
    /// The data subject.
    Subject,
    /// The controller's staff.
    Steward,
}

/// One event of the history. Exactly one field besides `day` is set.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Day of the step, 0-based; default: the day of the previous step.
    #[serde(default)]
    pub day: Option<u64>,
    /// Consent was given.
    #[serde(default)]
    pub give: Option<TermsStep>,
    /// Consent was renewed.
    #[serde(default)]
    pub renew: Option<TermsStep>,
    /// Consent was refused.
    #[serde(default)]
    pub refuse: Option<TermsStep>,
    /// Consent was withdrawn.
    #[serde(default)]
    pub withdraw: Option<TermsStep>,
    /// The data subject sent a signal.
    #[serde(default)]
    pub signal: Option<SignalStep>,
    /// The data subject lifted a signal.
    #[serde(default)]
    pub lift: Option<SignalStep>,
    /// The age or jurisdiction of the data subject was recorded.
    #[serde(default)]
    pub describe: Option<SubjectStep>,
    /// An attribute was recorded.
    #[serde(default, alias = "fact")]
    pub attribute: Option<AttributeStep>,
    /// The data subject contested an attribute, given by its key.
    #[serde(default)]
    pub contest: Option<String>,
    /// The data subject confirmed an attribute, given by its key.
    #[serde(default)]
    pub confirm: Option<String>,
    /// An attribute was removed, given by its key.
    #[serde(default)]
    pub remove: Option<String>,
    /// A service, given by name, reported a reply in which it disclosed that it is an AI system.
    #[serde(default)]
    pub disclosed: Option<String>,
}

/// The scope and conditions of a consent decision.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TermsStep {
    /// Purposes; in a refusal or withdrawal, empty means all.
    #[serde(default)]
    pub purposes: Vec<String>,
    /// Categories; empty means all, except that consent never covers special categories that it does not
    /// name.
    #[serde(default)]
    pub categories: Vec<String>,
    /// Recipients; empty means all.
    #[serde(default)]
    pub recipients: Vec<String>,
    /// Whether the consent is explicit.
    #[serde(default)]
    pub explicit: bool,
    /// Whether the holder of parental responsibility decided.
    #[serde(default)]
    pub guardian: bool,
    /// The day on which the consent expires.
    #[serde(default)]
    pub until_day: Option<u64>,
    /// The id of the notice that the data subject saw. Default: none. The ledger accepts a consent only with
    /// a notice, but most rules do not depend on it.
    #[serde(default)]
    pub notice: Option<String>,
    /// The version of that notice. Default: empty.
    #[serde(default)]
    pub notice_version: String,
}

/// A signal.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignalStep {
    /// `objection`, `restriction`, `opt_out`, `opt_out_automated`, `limit_sensitive` or `pause`.
    pub kind: String,
    /// Purposes that the signal applies to; empty means all.
    #[serde(default)]
    pub purposes: Vec<String>,
    /// For a pause, the one conversation that it applies to.
    #[serde(default)]
    pub interaction: String,
}

/// A description of the data subject.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubjectStep {
    /// `child`, `teen`, `adult` or `unknown`; empty means not stated.
    #[serde(default)]
    pub age_band: String,
    /// The age in years; for a teen only.
    #[serde(default)]
    pub age_years: Option<u32>,
    /// A code such as `DE`, `US-CA` or `EU`; empty means not stated.
    #[serde(default)]
    pub jurisdiction: String,
    /// The year, month or date of birth, such as `2010-05`, instead of the age; empty means not stated.
    #[serde(default)]
    pub born: String,
}

/// An attribute to record.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttributeStep {
    /// Its key.
    #[serde(default = "default_key")]
    pub key: String,
    /// Its category.
    pub category: String,
    /// The provenance of the attribute.
    #[serde(default)]
    pub provenance: ProvenanceName,
    /// Keys of the attributes that it was derived from.
    #[serde(default)]
    pub derived_from: Vec<String>,
    /// Confidence in percent; for an inference only.
    #[serde(default)]
    pub confidence: Option<u8>,
    /// The day from which it must not be used.
    #[serde(default)]
    pub expires_day: Option<u64>,
    /// The value; lets a case infer the same or a different value again.
    #[serde(default)]
    pub value: u32,
}

pub(crate) fn default_key() -> String {
    "fact".into()
}
