//! Data that is kept after a request for its erasure was refused on a ground of GDPR Art. 17(3). It is kept
//! for that ground alone, so nothing else may use it.

use super::event::{ErasureRefused, ErasureScope};
use super::ids::EventId;
use super::request::Ground;
use super::stopped_purposes::is_below;

/// The purposes that a ground may require, each exactly as named and not the purposes below it. The steward
/// names those that the case needs, in the hold or in the refusal.
pub const REQUIRED_USES: [(Ground, &str); 4] = [
    (Ground::LegalObligation, "legal-obligation"),
    (Ground::PublicHealth, "public-health"),
    (Ground::ArchivingResearch, "scientific-research"),
    (Ground::LegalClaims, "legal-claims"),
];

/// No ground requires a use for one of these purposes or a purpose below.
const NEVER_REQUIRED: [&str; 5] =
    ["personalization", "persuasion", "advertising", "direct-marketing", "data-sale"];

/// Whether a ground may require a use for this purpose.
#[must_use]
pub fn may_require(ground: Ground, purpose: &str) -> bool {
    REQUIRED_USES.contains(&(ground, purpose))
}

/// A refused erasure. Until the person withdraws the request or the data is erased, what is in its scope is
/// used for nothing but what the ground requires.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptOnly {
    /// The event of the refusal.
    pub event_id: EventId,
    /// The refusal.
    pub refused: ErasureRefused,
}

impl KeptOnly {
    /// Whether an attribute with this key, and with a category that has this ancestry, is in its scope.
    #[must_use]
    pub fn covers(&self, key: &str, category_ancestry: &[&str]) -> bool {
        let ErasureRefused { scope, category, key: named, categories, .. } = &self.refused;
        let in_scope = match scope {
            ErasureScope::All | ErasureScope::Profile => true,
            ErasureScope::Category => category_ancestry.contains(&category.as_str()),
            ErasureScope::Key => named == key,
            ErasureScope::Retention | ErasureScope::Unspecified => false,
        };
        in_scope
            && (categories.is_empty() || categories.iter().any(|id| category_ancestry.contains(&id.as_str())))
    }

    /// Whether its ground requires uses for a purpose, which is given with its ancestors.
    #[must_use]
    pub fn requires(&self, purpose: &str, purpose_ancestry: &[&str]) -> bool {
        self.refused.purposes.iter().any(|named| named == purpose)
            && REQUIRED_USES.iter().any(|(_, listed)| *listed == purpose)
            && !is_below(&NEVER_REQUIRED, purpose_ancestry)
    }
}
