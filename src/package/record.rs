//! The records of a package: what `package.json` holds and `index.html` shows. `docs/access-package.md` has the table
//! of fields with the law for each, `docs/schemas/access-package-v1.schema.json` the schema; a test holds them together.

use serde::Serialize;
use serde_json::value::RawValue;

/// A part of a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// What is held.
    Attributes,
    /// What may be used now, by whom, for what.
    PermittedUses,
    /// Who has received data.
    Recipients,
    /// Each time that data were handed out.
    Disclosures,
    /// Each use that was reported.
    Uses,
    /// Permissions that were taken back.
    Revocations,
    /// What the person decided.
    Consents,
    /// The texts that they saw.
    Notices,
    /// What they said besides.
    Signals,
    /// Everything that was recorded.
    History,
}

impl Section {
    /// All of them, in order.
    pub const ALL: [Self; 10] = [
        Self::Attributes,
        Self::PermittedUses,
        Self::Recipients,
        Self::Disclosures,
        Self::Uses,
        Self::Revocations,
        Self::Consents,
        Self::Notices,
        Self::Signals,
        Self::History,
    ];

    /// Its name in `package.json`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Attributes => "attributes",
            Self::PermittedUses => "permitted_uses",
            Self::Recipients => "recipients",
            Self::Disclosures => "disclosures",
            Self::Uses => "uses",
            Self::Revocations => "revocations",
            Self::Consents => "consents",
            Self::Notices => "notices",
            Self::Signals => "signals",
            Self::History => "history",
        }
    }
}

/// A record of any part. Times are RFC 3339 in UTC, ids are UUIDs.
#[derive(Debug, Serialize)]
#[serde(untagged)]
#[allow(missing_docs, reason = "named as their contents")]
pub enum Record {
    Attribute(Attribute),
    PermittedUse(PermittedUse),
    Recipient(Recipient),
    Disclosure(Disclosure),
    Use(Use),
    Fall(Fall),
    Consent(Consent),
    Notice(Notice),
    Signal(Signal),
    History(History),
}

/// Who did something. Services are named; of the controller's own staff only the role is told (CJEU C-579/21).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct By {
    /// `subject`, `service`, `steward`, `ledger`, ...
    pub role: &'static str,
    /// The service's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// The log that the package comes from.
#[derive(Debug, Serialize)]
pub struct Ledger {
    /// Its origin.
    pub origin: String,
    /// What verifies it, in C2SP form.
    pub verifier_key: String,
    /// A signed checkpoint of a tree that holds everything in the package.
    pub checkpoint: String,
}

/// Whom the package is about.
#[derive(Debug, Serialize)]
pub struct Subject {
    /// The controller's own id of the person, as it was asked for.
    pub id: String,
    /// The ledger's pseudonym of them: random, in hex.
    pub pseudonym: String,
    /// `child`, `teen` or `adult`, where somebody said it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_band: Option<&'static str>,
    /// Of a teen, where somebody said it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_years: Option<u32>,
    /// Whose law protects them, where somebody said it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jurisdiction: Option<String>,
}

/// One thing held.
#[derive(Debug, Serialize)]
pub struct Attribute {
    /// The event that recorded it.
    pub event_id: String,
    /// Names it.
    pub key: String,
    /// What is held: JSON, as it was recorded.
    pub value: Box<RawValue>,
    /// A category of the vocabulary.
    pub category: String,
    /// Its title.
    pub category_title: String,
    /// Its IRI in the W3C Data Privacy Vocabulary.
    pub category_iri: String,
    /// Of a special category (GDPR Art. 9).
    pub special_category: bool,
    /// `declared`, `observed` or `inferred`.
    pub provenance: &'static str,
    /// Where it comes from: who recorded it.
    pub source: By,
    /// When.
    pub recorded_at: String,
    /// When it was observed.
    pub observed_at: String,
    /// From then on it may not be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// What it rests on: the recorder's own names.
    pub evidence: Vec<String>,
    /// Events of what it was derived from.
    pub derived_from: Vec<String>,
    /// 0 to 1; of an inference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    /// The inferring model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The person said that it is wrong.
    pub contested: bool,
    /// The person said that it is right.
    pub confirmed: bool,
    /// How long it is kept, in words.
    pub retention: String,
    /// Purposes that somebody may use it for now; none in a portability package.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub may_be_used_for: Option<Vec<String>>,
}

/// What one recipient may use for one purpose at the moment the package was made.
#[derive(Debug, Serialize)]
pub struct PermittedUse {
    /// A purpose of the vocabulary.
    pub purpose: String,
    /// Its title.
    pub purpose_title: String,
    /// Its IRI in the W3C Data Privacy Vocabulary.
    pub purpose_iri: String,
    /// Who; null: any service that a consent does not name, where one names none.
    pub recipient: Option<String>,
    /// What may be used.
    pub allowed: Vec<NamedAttribute>,
    /// What may not, and why.
    pub withheld: Vec<Withheld>,
}

/// An attribute that something is about.
#[derive(Clone, Debug, Serialize)]
pub struct NamedAttribute {
    /// The event that recorded it.
    pub event_id: String,
    /// Its key.
    pub key: String,
    /// Its category.
    pub category: String,
    /// The consent event that allows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consent: Option<String>,
}

/// A class of attributes that may not be used.
#[derive(Debug, Serialize)]
pub struct Withheld {
    /// Its category.
    pub category: String,
    /// How it came to be held.
    pub provenance: &'static str,
    /// How many attributes.
    pub count: u32,
    /// Machine-readable, as in `sayso.v1.Reason`.
    pub reason: &'static str,
    /// In words.
    pub explanation: String,
}

/// Somebody who has received data, by name (CJEU C-154/21).
#[derive(Clone, Debug, Serialize)]
pub struct Recipient {
    /// The name of its credential.
    pub name: String,
    /// When it first received something.
    pub first_received_at: String,
    /// When it last did.
    pub last_received_at: String,
    /// How often it was given data.
    pub disclosures: u64,
    /// How many uses it reported, counts added up.
    pub uses: u64,
    /// What for.
    pub purposes: Vec<String>,
    /// Categories of what it received.
    pub categories: Vec<String>,
}

/// Data handed out: a grant with something in it.
#[derive(Debug, Serialize)]
pub struct Disclosure {
    /// When.
    pub at: String,
    /// To whom.
    pub recipient: String,
    /// What.
    pub attributes: Vec<NamedAttribute>,
    /// What for.
    pub purpose: String,
    /// Its title.
    pub purpose_title: String,
    /// Why it was allowed: the consents relied on.
    pub consents: Vec<String>,
    /// The recipient's own name for the conversation.
    pub interaction: String,
    /// The grant.
    pub grant_id: String,
    /// Until when it could be used.
    pub expires_at: String,
    /// The person's version that it was decided on.
    pub profile_version: u64,
}

/// A use that the recipient reported.
#[derive(Debug, Serialize)]
pub struct Use {
    /// When.
    pub at: String,
    /// By whom.
    pub recipient: String,
    /// What shaped the reply.
    pub attributes: Vec<NamedAttribute>,
    /// What for.
    pub purpose: String,
    /// Its title.
    pub purpose_title: String,
    /// Why it was allowed: the consents relied on.
    pub consents: Vec<String>,
    /// The recipient's own name for the reply.
    pub reply: String,
    /// How often.
    pub count: u32,
    /// The person was told that they talk to a machine.
    pub ai_disclosure_shown: bool,
    /// Under which grant.
    pub grant_id: String,
}

/// A grant that was taken back.
#[derive(Debug, Serialize)]
pub struct Fall {
    /// When.
    pub at: String,
    /// Whose it was.
    pub recipient: String,
    /// Which.
    pub grant_id: String,
    /// Machine-readable, as in `sayso.v1.Reason`.
    pub reason: &'static str,
    /// In words.
    pub explanation: &'static str,
    /// The event that caused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

/// What a decision covers on one axis, with words.
#[derive(Clone, Debug, Serialize)]
pub struct Cover {
    /// Of the vocabulary.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Its IRI in the W3C Data Privacy Vocabulary.
    pub iri: String,
}

/// A decision by the person.
#[derive(Debug, Serialize)]
pub struct Consent {
    /// Its event.
    pub event_id: String,
    /// `given`, `refused`, `renewed` or `withdrawn`.
    pub decision: &'static str,
    /// When the ledger recorded it.
    pub recorded_at: String,
    /// When the person decided, by the writer's word.
    pub decided_at: String,
    /// Purposes; none: all, of a no.
    pub purposes: Vec<Cover>,
    /// Categories; none: all, special ones only of a no.
    pub categories: Vec<Cover>,
    /// Recipients; none: all.
    pub recipients: Vec<String>,
    /// Explicit (GDPR Art. 9(2)(a)).
    pub explicit: bool,
    /// In force until then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// It still allows something.
    pub in_force: bool,
    /// How the person spoke.
    pub channel: String,
    /// Who brought it.
    pub brought_by: By,
    /// The text that they saw; in full among `notices`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notice: Option<NoticeServed>,
    /// The receipt, within the package.
    pub receipt: String,
}

/// Which text was served.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct NoticeServed {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: String,
    /// BCP 47.
    pub language: String,
    /// SHA-256 of the text, in hex.
    pub digest: String,
}

/// A text that was served.
#[derive(Debug, Serialize)]
pub struct Notice {
    /// Which.
    #[serde(flatten)]
    pub served: NoticeServed,
    /// When it was published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published_at: Option<String>,
    /// The text, where the ledger has the one with this digest.
    pub text: Option<String>,
}

/// What the person said besides consent, in force.
#[derive(Debug, Serialize)]
pub struct Signal {
    /// Its event.
    pub event_id: String,
    /// `objection`, `restriction`, `opt_out`, `limit_sensitive` or `pause`.
    pub kind: &'static str,
    /// For which purposes; none: all.
    pub purposes: Vec<String>,
    /// Of a pause: the one conversation that it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interaction: Option<String>,
    /// When the ledger recorded it.
    pub recorded_at: String,
}

/// An event of the log.
#[derive(Debug, Serialize)]
pub struct History {
    /// Its id.
    pub event_id: String,
    /// Its position in the log.
    pub position: u64,
    /// The person's version: 0-based.
    pub version: u64,
    /// When the ledger recorded it.
    pub recorded_at: String,
    /// When it is about, by the writer's word.
    pub about: String,
    /// Who caused it.
    pub by: By,
    /// Its kind, as in `sayso.v1.EventBody`, in snake case.
    pub what: String,
    /// In words.
    pub explanation: String,
    /// Its fields, as proto3 JSON of its message; event ids are UUIDs.
    pub event: serde_json::Value,
}
