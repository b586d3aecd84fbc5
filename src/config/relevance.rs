//! Settings of grants that have only what is relevant to a text.

use super::error::{ConfigError, check};
use crate::relevance::language::Language;
use crate::relevance::rank::EMBEDDING_WEIGHT_DEFAULT;
use serde::Deserialize;

/// How permitted attributes are ranked.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Relevance {
    /// The language of the attributes and the texts: `english` (the default), `arabic`, `danish`, `dutch`,
    /// `finnish`, `french`, `german`, `greek`, `hungarian`, `italian`, `norwegian`, `portuguese`, `romanian`,
    /// `russian`, `spanish`, `swedish`, `tamil` or `turkish`.
    pub language: Language,
    /// The weight of embeddings if a request has a text and an embedding. The lexical score has the rest.
    /// 0 to 1.
    pub embedding_weight: f64,
}

impl Default for Relevance {
    fn default() -> Self {
        Self { language: Language::default(), embedding_weight: EMBEDDING_WEIGHT_DEFAULT }
    }
}

impl Relevance {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let is_weight = (0.0..=1.0).contains(&self.embedding_weight);
        check(is_weight, "relevance.embedding_weight", "0 to 1")
    }
}
