//! Refused erasures: their data is kept on a legal ground, and used for nothing else. From edition 3 of the
//! rules of decisions on.

use super::vocabulary::WordsInForce;
use crate::event::{ErasureRefused, ErasureScope, Ground};

/// The purposes that a legal ground may require.
const REQUIRED: [&str; 4] = ["legal-obligation", "public-health", "scientific-research", "legal-claims"];
/// No legal ground requires these purposes or those below them.
const NEVER_REQUIRED: [&str; 5] =
    ["personalization", "persuasion", "advertising", "direct-marketing", "data-sale"];

/// The refused erasures of one data subject that still stand.
#[derive(Default)]
pub(super) struct KeptData {
    refusals: Vec<ErasureRefused>,
}

impl KeptData {
    /// Notes a refusal, which replaces an earlier one of the same request.
    pub fn refuse(&mut self, refused: &ErasureRefused) {
        let is_legal_ground = matches!(
            refused.ground(),
            Ground::Expression
                | Ground::LegalObligation
                | Ground::PublicHealth
                | Ground::ArchivingResearch
                | Ground::LegalClaims
        );
        if refused.whole && is_legal_ground {
            self.withdraw(&refused.request);
            self.refusals.push(refused.clone());
        }
    }

    /// Notes that a request was withdrawn.
    pub fn withdraw(&mut self, request: &[u8]) {
        self.refusals.retain(|refused| refused.request != request);
    }

    /// The number of refusals that stand.
    pub fn len(&self) -> usize {
        self.refusals.len()
    }

    /// Whether an attribute is kept from uses for a purpose.
    pub fn forbids(&self, key: &str, category: &str, purpose: &str, vocabulary: WordsInForce<'_>) -> bool {
        if self.refusals.is_empty() || vocabulary.edition() < 3 {
            return false;
        }
        let categories = vocabulary.category_ancestry(category);
        let purposes = vocabulary.purpose_ancestry(purpose);
        let may_be_required =
            REQUIRED.contains(&purpose) && !NEVER_REQUIRED.iter().any(|never| purposes.contains(never));
        let is_required = |refused: &ErasureRefused| {
            may_be_required && refused.purposes.iter().any(|named| named == purpose)
        };
        let mut covering =
            self.refusals.iter().filter(|refused| covers(refused, key, &categories)).peekable();
        covering.peek().is_some() && !covering.any(is_required)
    }
}

fn covers(refused: &ErasureRefused, key: &str, categories: &[&str]) -> bool {
    let in_scope = match refused.scope() {
        ErasureScope::All | ErasureScope::Profile => true,
        ErasureScope::Category => categories.contains(&refused.category.as_str()),
        ErasureScope::Key => refused.key == key,
        ErasureScope::Unspecified | ErasureScope::Retention => false,
    };
    let kept = &refused.categories;
    in_scope && (kept.is_empty() || kept.iter().any(|named| categories.contains(&named.as_str())))
}
