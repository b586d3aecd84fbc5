//! The records of a package, as `package.json` contains and `index.html` shows them.
//!
//! `docs/access-package.md` lists the fields with the law for each. A test validates packages against the
//! JSON Schema `docs/schemas/access-package-v1.schema.json`.

use super::format::Section;
use serde::Serialize;
use serde_json::value::RawValue;
use std::io;

/// Receives the sections of a package, one record at a time.
pub trait Sink {
    /// Begins the next section; every record that follows belongs to it.
    ///
    /// # Errors
    /// Writing failed.
    fn section(&mut self, section: Section) -> io::Result<()>;

    /// Adds a record to the current section.
    ///
    /// # Errors
    /// Writing failed.
    fn record(&mut self, record: &Record) -> io::Result<()>;
}

/// A record of any section. Times are RFC 3339 in UTC; ids are UUIDs.
#[derive(Debug, Serialize)]
#[serde(untagged)]
#[allow(missing_docs, reason = "named like their contents")]
pub enum Record {
    Attribute(Attribute),
    PermittedUse(PermittedUse),
    Recipient(Recipient),
    PriorRecipient(PriorRecipient),
    Disclosure(Disclosure),
    Use(Use),
    Artifact(Artifact),
    RevokedGrant(RevokedGrant),
    Consent(Consent),
    Notice(Notice),
    Signal(Signal),
    History(History),
}

/// Who did something. A service has its name; the controller's own staff have only their role (CJEU
/// C-579/21).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ActorName {
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
    /// The key that verifies it, in C2SP form.
    pub verifier_key: String,
    /// A signed checkpoint of a tree that contains everything in the package.
    pub checkpoint: String,
}

/// The person that the package is about.
#[derive(Debug, Serialize)]
pub struct Subject {
    /// The controller's own id of the person, as it was given in the request.
    pub id: String,
    /// The ledger's pseudonym of the person: random, in hex.
    pub pseudonym: String,
    /// `child`, `teen` or `adult`, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_band: Option<&'static str>,
    /// The age of a teen, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_years: Option<u32>,
    /// When the person was born: a year, month or date, if it was stated instead of the age.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub born: Option<String>,
    /// Whose law protects the person, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jurisdiction: Option<String>,
}

/// An attribute that is stored.
#[derive(Debug, Serialize)]
pub struct Attribute {
    /// The event that recorded it.
    pub event_id: String,
    /// Its name.
    pub key: String,
    /// Its value: JSON, as it was recorded.
    pub value: Box<RawValue>,
    /// Its category in the vocabulary.
    pub category: String,
    /// The category's title.
    pub category_title: String,
    /// The category's IRI in the W3C Data Privacy Vocabulary.
    pub category_iri: String,
    /// Whether the category is a special one (GDPR Art. 9).
    pub special_category: bool,
    /// `declared`, `observed` or `inferred`.
    pub provenance: &'static str,
    /// The provenance that its recorder stated, if the attribute nevertheless counts as inferred.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claimed_provenance: Option<&'static str>,
    /// Its source: who recorded it.
    pub source: ActorName,
    /// When it was recorded.
    pub recorded_at: String,
    /// When it was observed.
    pub observed_at: String,
    /// When it expires; from then on it may not be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// Its evidence, under the recorder's own names.
    pub evidence: Vec<String>,
    /// The events that recorded what it was derived from.
    pub derived_from: Vec<String>,
    /// The confidence of an inference: 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    /// The model that inferred it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Whether the person has said that it is wrong.
    pub contested: bool,
    /// Whether the person has said that it is right.
    pub confirmed: bool,
    /// How long it is kept, in words.
    pub retention: String,
    /// When it is going to be erased, if that is known. The page states it as people write times.
    #[serde(skip)]
    pub erased_at: Option<String>,
    /// Titles of the purposes that it may be used for now; not in a portability package.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub may_be_used_for: Option<Vec<String>>,
}

/// What one recipient may use for one purpose at the moment the package was made.
#[derive(Debug, Serialize)]
pub struct PermittedUse {
    /// A purpose in the vocabulary.
    pub purpose: String,
    /// The purpose's title.
    pub purpose_title: String,
    /// The purpose's IRI in the W3C Data Privacy Vocabulary.
    pub purpose_iri: String,
    /// The purpose's legal bases, in words: consent, and the one that the controller declares beside it.
    pub legal_bases: String,
    /// The recipient. Null stands for every other service: one that has no record of its own. A record
    /// with null exists only if the person gave a consent without a list of recipients, or if a purpose
    /// has a legal basis beside consent.
    pub recipient: Option<String>,
    /// The attributes that may be used.
    pub allowed: Vec<NamedAttribute>,
    /// The classes of attributes that may not be used, and why.
    pub withheld: Vec<Withheld>,
}

/// An attribute, named in a record about something else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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
    /// The legal basis of the use, in words, if it is not consent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub legal_basis: Option<&'static str>,
}

/// A class of attributes that may not be used.
#[derive(Debug, Serialize)]
pub struct Withheld {
    /// Its category.
    pub category: String,
    /// `declared`, `observed` or `inferred`.
    pub provenance: &'static str,
    /// How many attributes are in the class.
    pub count: u32,
    /// The reason, as in `sayso.v1.Reason`.
    pub reason: &'static str,
    /// The same in words.
    pub explanation: String,
}

/// A recipient that has received data, by name (CJEU C-154/21).
#[derive(Clone, Debug, Serialize)]
pub struct Recipient {
    /// The name of its credential.
    pub name: String,
    /// What it is: `service` or `auditor`.
    pub kind: &'static str,
    /// When it first received data.
    pub first_received_at: String,
    /// When it last received data.
    pub last_received_at: String,
    /// How often it received data, as far as that is still recorded.
    pub disclosures: u64,
    /// Whether it received data whose record has ended. Then the other numbers and lists are about the rest.
    pub earlier_records_ended: bool,
    /// How many uses it reported: the sum of their counts.
    pub uses: u64,
    /// The purposes.
    pub purposes: Vec<String>,
    /// The categories of what it received.
    pub categories: Vec<String>,
}

/// A recipient of data that was erased since. The erasure left only the recipient's name and these numbers.
#[derive(Clone, Debug, Serialize)]
pub struct PriorRecipient {
    /// The name of its credential.
    pub name: String,
    /// When the erasure was completed.
    pub erased_at: String,
    /// What was erased: `all`, `profile`, `category`, `key` or `content`.
    pub scope: &'static str,
    /// The title of the category, if one category was erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// How many of its grants were erased.
    pub grants: u64,
    /// How many of its artifacts were erased.
    pub artifacts: u64,
    /// Whether it confirmed that it deleted its copies.
    pub acknowledged: bool,
    /// The request that the erasure carried out.
    pub request: String,
}

/// An artifact that a recipient built from attributes.
#[derive(Debug, Serialize)]
pub struct Artifact {
    /// When it was registered.
    pub at: String,
    /// The recipient that built it.
    pub recipient: String,
    /// The attributes that it was built from.
    pub attributes: Vec<NamedAttribute>,
    /// The only purpose for which it may be used.
    pub purpose: String,
    /// The purpose's title.
    pub purpose_title: String,
    /// `embedding`, `adapter`, `cache` or `summary`.
    pub kind: &'static str,
    /// The recipient's own name for it.
    pub name: String,
    /// Its id.
    pub artifact_id: String,
    /// When it expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// Why it may no longer be used, as in `sayso.v1.Reason`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// The same in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explanation: Option<&'static str>,
    /// Whether the recipient confirmed that it deleted it.
    pub acknowledged: bool,
}

/// A disclosure of data: a grant that allowed at least one attribute.
#[derive(Clone, Debug, Serialize)]
pub struct Disclosure {
    /// When data were disclosed.
    pub at: String,
    /// The recipient.
    pub recipient: String,
    /// The attributes that were disclosed.
    pub attributes: Vec<NamedAttribute>,
    /// The purpose.
    pub purpose: String,
    /// The purpose's title.
    pub purpose_title: String,
    /// The consents that allowed it.
    pub consents: Vec<String>,
    /// The recipient's own name for the conversation.
    pub interaction: String,
    /// The grant.
    pub grant_id: String,
    /// When the grant expired, or will.
    pub expires_at: String,
    /// The version of the person's profile that the decision was based on.
    pub profile_version: u64,
}

/// A use that the recipient reported.
#[derive(Debug, Serialize)]
pub struct Use {
    /// When the use was reported.
    pub at: String,
    /// The recipient.
    pub recipient: String,
    /// The attributes that shaped the reply.
    pub attributes: Vec<NamedAttribute>,
    /// The purpose.
    pub purpose: String,
    /// The purpose's title.
    pub purpose_title: String,
    /// The consents that allowed it.
    pub consents: Vec<String>,
    /// The recipient's own name for the reply.
    pub reply: String,
    /// How often the grant was used for the reply.
    pub count: u32,
    /// Whether the person was informed that they talk to a machine.
    pub ai_disclosure_shown: bool,
    /// The grant.
    pub grant_id: String,
}

/// A grant that was revoked.
#[derive(Debug, Serialize)]
pub struct RevokedGrant {
    /// When it was revoked.
    pub at: String,
    /// The recipient.
    pub recipient: String,
    /// The grant.
    pub grant_id: String,
    /// The reason, as in `sayso.v1.Reason`.
    pub reason: &'static str,
    /// The same in words.
    pub explanation: &'static str,
    /// The event that caused the revocation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

/// A purpose or a category that a decision covers.
#[derive(Clone, Debug, Serialize)]
pub struct VocabularyTerm {
    /// Its id in the vocabulary.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Its IRI in the W3C Data Privacy Vocabulary.
    pub iri: String,
}

/// A consent decision of the person.
#[derive(Debug, Serialize)]
pub struct Consent {
    /// The event that recorded it.
    pub event_id: String,
    /// `given`, `refused`, `renewed` or `withdrawn`.
    pub decision: &'static str,
    /// When the ledger recorded it.
    pub recorded_at: String,
    /// When the person decided, as the writer stated it.
    pub decided_at: String,
    /// Whether a guardian decided for the person.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub guardian: bool,
    /// The purposes, in the words of the decision's moment; empty in a refusal or withdrawal of all purposes.
    pub purposes: Vec<VocabularyTerm>,
    /// The categories; empty for all. If empty, a refusal or withdrawal also covers the special categories,
    /// and a consent does not.
    pub categories: Vec<VocabularyTerm>,
    /// The recipients; empty for all.
    pub recipients: Vec<String>,
    /// Whether the consent is explicit (GDPR Art. 9(2)(a)).
    pub explicit: bool,
    /// When it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Whether it still allows something, as far as consents go.
    pub in_force: bool,
    /// Those purposes of a consent in force for which a signal of the person stops every use.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stopped_purposes: Vec<String>,
    /// The channel through which the person decided.
    pub channel: String,
    /// Who recorded the decision in the ledger.
    pub brought_by: ActorName,
    /// The notice that the person saw; `notices` has its text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notice: Option<NoticeServed>,
    /// The path of its receipt in the package.
    pub receipt: String,
}

/// The notice that was served, without its text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct NoticeServed {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: String,
    /// Its language, BCP 47.
    pub language: String,
    /// SHA-256 of its text, in hex.
    pub digest: String,
}

/// The text of a notice that was served.
#[derive(Debug, Serialize)]
pub struct Notice {
    /// The notice.
    #[serde(flatten)]
    pub served: NoticeServed,
    /// When it was published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published_at: Option<String>,
    /// Its text, if the ledger has a text with this digest.
    pub text: Option<String>,
}

/// An objection or another signal of the person that is in force.
#[derive(Debug, Serialize)]
pub struct Signal {
    /// The event that recorded it.
    pub event_id: String,
    /// `objection`, `restriction`, `opt_out`, `opt_out_automated`, `limit_sensitive` or `pause`.
    pub kind: &'static str,
    /// The purposes; empty for all.
    pub purposes: Vec<String>,
    /// The one conversation that a pause is for.
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
    /// The version within the person's stream of events, counted from 0.
    pub version: u64,
    /// When the ledger recorded it.
    pub recorded_at: String,
    /// The time that the event is about, as the writer stated it.
    pub about: String,
    /// Who caused it.
    pub by: ActorName,
    /// Its kind, as in `sayso.v1.EventBody`, in snake case.
    pub what: String,
    /// The same in words.
    pub explanation: String,
    /// Its fields, as proto3 JSON of its message; event ids are UUIDs.
    pub event: serde_json::Value,
}
