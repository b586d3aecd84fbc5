//! Chooses from the permitted attributes those that are relevant to a text. Withheld attributes are removed
//! before anything is scored or counted, so they affect neither scores nor counts.

use crate::app::error::AppError;
use crate::bounds::decision::{Allowed, Decision};
use crate::bounds::fit_answer::ANSWER_BYTES_MAX;
use crate::domain::attribute::{Attribute, Secret};
use crate::domain::current_attribute::CurrentAttribute;
use crate::domain::embedding::Embedding;
use crate::domain::event::{Ranking, RankingMethod};
use crate::domain::profile::SubjectState;
use crate::relevance::candidate::Candidate;
use crate::relevance::choose::{ChoiceLimits, choose};
use crate::relevance::embedding::QuestionVector;
use crate::relevance::rank::{self, Method, Question, RankingSettings, Scored};
use crate::relevance::word_reader::WordReader;

const TOP_K_DEFAULT: u32 = 8;
const TOP_K_MAX: u32 = 256;
const TEXT_BYTES_MAX: usize = 8_192;

/// What the attributes of a grant should be relevant to.
#[derive(Clone, Debug)]
pub struct Relevance {
    /// The text; empty if there is only an embedding. It is never recorded.
    pub text: Secret,
    /// A vector for the text. It is never recorded.
    pub embedding: Option<Embedding>,
    /// The most attributes: 1 to 256; 0 for 8.
    pub top_k: u32,
    /// The most bytes of keys and values; 0 for no limit.
    pub bytes_max: u32,
    /// The most estimated tokens of keys and values; 0 for no limit.
    pub tokens_max: u32,
    /// The lowest score, 0 or more.
    pub min_score: f64,
}

/// The chosen attributes, the best one first.
pub(crate) struct Chosen {
    pub decision: Decision,
    /// Whether words of attributes were read, which are kept in memory from now on.
    pub has_read: bool,
    /// The score of each allowed attribute.
    pub scores: Vec<f64>,
    pub ranking: Ranking,
}

impl Relevance {
    /// # Errors
    /// A field is invalid.
    pub(crate) fn check(&self) -> Result<(), AppError> {
        let need = |is_met: bool, field: &str, problem: &str| {
            if is_met { Ok(()) } else { Err(AppError::invalid(field, problem)) }
        };
        let text = self.text.expose();
        let has_text =
            text.chars().any(char::is_alphanumeric) || (text.is_empty() && self.embedding.is_some());
        need(has_text, "relevance.text", "must have a word, or be empty beside an embedding")?;
        if let Some((field, problem)) = self.embedding.as_ref().and_then(Embedding::problem) {
            return Err(AppError::invalid(&format!("relevance.embedding.{field}"), problem));
        }
        need(self.text.expose().len() <= TEXT_BYTES_MAX, "relevance.text", "must have at most 8 KiB")?;
        need(self.top_k <= TOP_K_MAX, "relevance.top_k", "must be 1 to 256")?;
        let is_score = self.min_score.is_finite() && self.min_score >= 0.0;
        need(is_score, "relevance.min_score", "must be 0 or more")
    }

    /// Ranks what a decision permits, and leaves in the decision what is chosen.
    pub(crate) fn choose(
        &self,
        mut decision: Decision,
        state: &SubjectState,
        settings: &RankingSettings,
    ) -> Chosen {
        let mut permitted: Vec<(Allowed, &CurrentAttribute)> = std::mem::take(&mut decision.allowed)
            .into_iter()
            .filter_map(|allowed| {
                let current = state.attributes.get(&allowed.key)?;
                Some((allowed, current.as_ref()))
            })
            .collect();
        permitted.sort_by_key(|(_, current)| current.version);
        let (mut reader, mut has_read) = (WordReader::new(settings.language), false);
        let question = self.question(&mut reader);
        let candidates = permitted.iter().map(|(_, current)| Candidate {
            words: current.words.get_or_read(|| {
                has_read = true;
                let Attribute { key, value, observed_at_ms, .. } = &current.attribute;
                reader.read_attribute(key, value.expose(), *observed_at_ms)
            }),
            observed_at_ms: current.attribute.observed_at_ms,
            vector: self.vector_of(current),
        });
        let candidates: Vec<Candidate<'_>> = candidates.collect();
        let Scored { scores: all_scores, method, without_embedding } =
            rank::score(&question, &candidates, settings);
        let bytes: Vec<usize> = permitted.iter().map(|(_, current)| size_of(&current.attribute)).collect();
        let chosen = choose(&all_scores, &bytes, &self.limits());
        let ranking = Ranking {
            method: match method {
                Method::Lexical => RankingMethod::Lexical,
                Method::Embedding => RankingMethod::Embedding,
                Method::Hybrid => RankingMethod::Hybrid,
            },
            version: rank::VERSION,
            permitted: u32::try_from(permitted.len()).unwrap_or(u32::MAX),
            chosen: 0,
            without_embedding: u32::try_from(without_embedding).unwrap_or(u32::MAX),
        };
        let mut of_chosen = Self::in_order(permitted, &chosen);
        fit_answer(&mut of_chosen);
        let scores = chosen.iter().take(of_chosen.len()).filter_map(|at| all_scores.get(*at).copied());
        let scores = scores.collect();
        decision.allowed = of_chosen.into_iter().map(|(allowed, _)| allowed).collect();
        decision.ends_ms = decision.allowed.iter().filter_map(|allowed| allowed.ends_ms).min();
        let ranking =
            Ranking { chosen: u32::try_from(decision.allowed.len()).unwrap_or(u32::MAX), ..ranking };
        Chosen { decision, has_read, scores, ranking }
    }

    fn question(&self, reader: &mut WordReader) -> Question {
        let vector = self.embedding.as_ref().map(|embedding| QuestionVector::new(&embedding.values));
        Question { words: reader.read(self.text.expose()), vector }
    }

    /// The vector of an attribute, if the model of the request computed it.
    fn vector_of<'a>(&self, current: &'a CurrentAttribute) -> Option<&'a [u8]> {
        let (asked, own) = (self.embedding.as_ref()?, current.attribute.embedding.as_ref()?);
        (own.model == asked.model).then_some(own.values.as_slice())
    }

    fn limits(&self) -> ChoiceLimits {
        let or = |limit: u32, none: usize| if limit == 0 { none } else { limit as usize };
        ChoiceLimits {
            top_k: or(self.top_k, TOP_K_DEFAULT as usize),
            bytes_max: or(self.bytes_max, usize::MAX),
            tokens_max: or(self.tokens_max, usize::MAX),
            min_score: self.min_score,
        }
    }

    /// The elements with these indexes, in this order.
    fn in_order<T>(all: Vec<T>, indexes: &[usize]) -> Vec<T> {
        let mut all: Vec<Option<T>> = all.into_iter().map(Some).collect();
        indexes.iter().filter_map(|at| all.get_mut(*at)?.take()).collect()
    }
}

/// The bytes of an attribute's key and value.
fn size_of(attribute: &Attribute) -> usize {
    attribute.key.len().saturating_add(attribute.value.expose().len())
}

/// Drops the last attributes as long as all of them do not fit in one answer.
fn fit_answer(chosen: &mut Vec<(Allowed, &CurrentAttribute)>) {
    let mut left_bytes = ANSWER_BYTES_MAX;
    let mut fits = |current: &CurrentAttribute| {
        let rest = left_bytes.checked_sub(current.attribute.granted_bytes());
        left_bytes = rest.unwrap_or_default();
        rest.is_some()
    };
    let fitting = chosen.iter().take_while(|(_, current)| fits(current)).count();
    chosen.truncate(fitting);
}
