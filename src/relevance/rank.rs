//! Scores facts by how well they fit a question.

use super::fact::Fact;
use super::language::Language;
use super::lexical;
use super::neighbors;

/// The version of the ranking. It changes whenever the same facts and the same question could be ranked
/// differently.
pub const VERSION: u32 = 1;

/// How to rank.
#[derive(Clone, Copy, Debug, Default)]
pub struct RankingSettings {
    /// The language of the texts.
    pub language: Language,
}

/// The score of each fact, 0 or more. `facts` are in the order in which they were recorded.
#[must_use]
pub fn scores(text: &str, facts: &[Fact<'_>], settings: &RankingSettings) -> Vec<f64> {
    neighbors::supported(&lexical::scores(text, facts, settings.language), facts)
}
