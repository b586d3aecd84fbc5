//! Settings of grants that have only what is relevant to a text.

use crate::relevance::language::Language;
use serde::Deserialize;

/// How permitted attributes are ranked by a text.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Relevance {
    /// The language of the attributes and the texts: `english` (the default), `arabic`, `danish`, `dutch`,
    /// `finnish`, `french`, `german`, `greek`, `hungarian`, `italian`, `norwegian`, `portuguese`, `romanian`,
    /// `russian`, `spanish`, `swedish`, `tamil` or `turkish`.
    pub language: Language,
}
