//! Events about rules: bounds, vocabulary, retention, recordings that bounds refused, and descriptions of
//! data subjects, on which bounds depend.

use crate::domain::legal_basis::DeclaredBasis;
use sayso_proof::event::{AgeBand, LegalBasis, Provenance, Reason, RetentionClass, Rung, Tier};

/// A version of a bounds pack was published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BoundsPublished {
    /// The tier of the pack: public or provider.
    pub tier: Tier,
    /// The name of the pack.
    pub pack: String,
    /// The version of the pack.
    pub version: String,
    /// The policies, in Cedar's syntax.
    pub policies: String,
    /// SHA-256 of the schema that the policies were validated against, 32 bytes.
    pub schema_digest: Vec<u8>,
    /// When the version comes into force, milliseconds since the Unix epoch; 0 means when it is recorded.
    pub effective_from_ms: u64,
}

/// A purpose was defined in the vocabulary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PurposeDefined {
    /// Its id.
    pub id: String,
    /// The id of the purpose above it; empty if there is none.
    pub parent: String,
    /// The IRI in the W3C Data Privacy Vocabulary.
    pub iri: String,
    /// Its title.
    pub title: String,
    /// Tags of the risk taxonomy. Purposes below inherit them.
    pub risks: Vec<String>,
    /// Tags of the benefit taxonomy.
    pub benefits: Vec<String>,
    /// The rung on the ladder of rising risk. Purposes below are at least as high.
    pub rung: Rung,
    /// When the definition comes into force, milliseconds since the Unix epoch; 0 means when it is recorded.
    pub effective_from_ms: u64,
    /// Whether a new title or IRI means the same as the old one.
    pub same_meaning: bool,
    /// The legal basis that is declared for this purpose alone.
    pub legal_basis: LegalBasis,
    /// What the declared basis rests on; empty if none is declared.
    pub basis_reference: String,
}

impl PurposeDefined {
    /// The declared basis; `None` if consent is the only one.
    #[must_use]
    pub fn declared_basis(&self) -> Option<DeclaredBasis> {
        DeclaredBasis::of(self.legal_basis)
    }
}

/// A retention rule was defined: how long a class of events is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetentionDefined {
    /// The class of events.
    pub class: RetentionClass,
    /// Only this category and its subcategories; empty means any.
    pub category: String,
    /// Only this purpose and the purposes below it; empty means any.
    pub purpose: String,
    /// How long events are kept, milliseconds; 0 removes the rule.
    pub keep_ms: u64,
}

/// Bounds did not allow attributes to be recorded. This event never contains a key or a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordingRefused {
    /// The category.
    pub category: String,
    /// How the attributes were obtained.
    pub provenance: Provenance,
    /// The number of attributes of this kind in the request.
    pub count: u32,
    /// The tier that decided.
    pub decided_by: Tier,
    /// The policy that decided, as `pack/id`.
    pub policy: String,
    /// The article of law that the policy comes from.
    pub article: String,
    /// Why recording was refused.
    pub reason: Reason,
    /// Log positions of the bounds in force.
    pub bounds: Vec<u64>,
}

/// The data subject's age or jurisdiction was described, because bounds depend on it. A field that is not set
/// keeps its earlier value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubjectDescribed {
    /// The age band.
    pub age_band: AgeBand,
    /// The age in years, 13 to 17, only for a teen (GDPR Art. 8(1)).
    pub age_years: Option<u32>,
    /// The year, month or date of birth, such as `2010`; it is stated instead of the age. Empty means that
    /// this event states no birth.
    pub born: String,
    /// An ISO 3166 code such as `DE` or `US-CA`, or `EU`. `unknown` takes back an earlier statement. Empty if
    /// not stated.
    pub jurisdiction: String,
}
