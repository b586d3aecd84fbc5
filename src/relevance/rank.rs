//! Scores candidates (attributes that may be used) by how well they fit a question (the text or vector of a
//! request).

use super::candidate::Candidate;
use super::embedding::{Buffer, QuestionVector};
use super::language::Language;
use super::lexical;
use super::neighbors;

/// The version of the ranking. It changes whenever the same candidates and the same question could be ranked
/// differently.
pub const VERSION: u32 = 1;

/// The weight of embeddings beside words, if nothing else is configured.
pub const EMBEDDING_WEIGHT_DEFAULT: f64 = 0.7;

/// What candidates should fit.
#[derive(Clone, Debug)]
pub struct Question {
    /// The words of the text, as [`super::word_reader::WordReader::read`] reads them; empty for none.
    pub words: Vec<u32>,
    /// The vector.
    pub vector: Option<QuestionVector>,
}

/// How to rank.
#[derive(Clone, Copy, Debug)]
pub struct RankingSettings {
    /// The language of the texts.
    pub language: Language,
    /// The weight of embeddings beside words, 0 to 1.
    pub embedding_weight: f64,
}

impl Default for RankingSettings {
    fn default() -> Self {
        Self { language: Language::default(), embedding_weight: EMBEDDING_WEIGHT_DEFAULT }
    }
}

/// What the scores rest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Words.
    Lexical,
    /// Embeddings.
    Embedding,
    /// Both.
    Hybrid,
}

/// The scores of candidates.
#[derive(Clone, Debug)]
pub struct Scored {
    /// The score of each candidate, 0 or more.
    pub scores: Vec<f64>,
    /// What they rest on.
    pub method: Method,
    /// How many candidates have no vector that can be compared, if the question has one.
    pub without_embedding: usize,
}

/// Scores candidates, which are in the order in which they were recorded. A candidate without a vector is
/// scored by its words alone.
#[must_use]
pub fn score(question: &Question, candidates: &[Candidate<'_>], settings: &RankingSettings) -> Scored {
    let cosines = question.vector.as_ref().map(|vector| cosines(vector, candidates));
    let without = |cosines: &Vec<Option<f64>>| cosines.iter().filter(|cosine| cosine.is_none()).count();
    let without_embedding = cosines.as_ref().map_or(0, without);
    // If no candidate has a vector, words decide alone.
    let cosines = cosines.filter(|_| without_embedding < candidates.len() || question.words.is_empty());
    let (own, method) = match cosines {
        None => (lexical::scores(&question.words, candidates), Method::Lexical),
        Some(cosines) if question.words.is_empty() => {
            (cosines.into_iter().map(Option::unwrap_or_default).collect(), Method::Embedding)
        }
        Some(cosines) => {
            let lexical = lexical::scores(&question.words, candidates);
            let weight = settings.embedding_weight;
            let both = |(cosine, lexical): (Option<f64>, f64)| {
                cosine.map_or(lexical, |cosine| weight * cosine + (1.0 - weight) * lexical)
            };
            (cosines.into_iter().zip(lexical).map(both).collect(), Method::Hybrid)
        }
    };
    Scored { scores: neighbors::supported(&own, candidates), method, without_embedding }
}

/// The cosine of each candidate's vector; `None` if it has none that can be compared.
fn cosines(question: &QuestionVector, candidates: &[Candidate<'_>]) -> Vec<Option<f64>> {
    let mut buffer = Buffer::default();
    candidates.iter().map(|candidate| question.cosine(candidate.vector?, &mut buffer)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors (1, 0) and (0, 1).
    const EAST: &[u8] = &[0, 0x3c, 0, 0];
    const NORTH: &[u8] = &[0, 0, 0, 0x3c];

    /// The scores of three candidates. Each has one word: 1, 2 or 3.
    fn scored(words: &[u32], vector: Option<&[u8]>, vectors: [Option<&[u8]>; 3]) -> Scored {
        let own: [&[u32]; 3] = [&[1], &[2], &[3]];
        let candidates: Vec<Candidate<'_>> = (0..)
            .zip(own.iter().zip(vectors))
            .map(|(observed_at_ms, (words, vector))| Candidate { words, observed_at_ms, vector })
            .collect();
        let question = Question { words: words.to_vec(), vector: vector.map(QuestionVector::new) };
        let settings = RankingSettings { language: Language::English, embedding_weight: 0.7 };
        score(&question, &candidates, &settings)
    }

    #[test]
    fn words_and_vectors_decide_together_and_each_alone() {
        let all = [Some(NORTH), Some(EAST), Some(NORTH)];
        let Scored { scores, method, without_embedding } = scored(&[1], Some(EAST), all);
        assert!(scores.first() > scores.last() && scores.get(1) > scores.first(), "{scores:?}");
        assert_eq!((method, without_embedding), (Method::Hybrid, 0));
        let by_vector = scored(&[], Some(EAST), all);
        assert_eq!(by_vector.method, Method::Embedding);
        assert!(by_vector.scores.get(1) > Some(&0.0) && by_vector.scores.first() == Some(&0.0));
        let by_words = scored(&[1], None, all);
        assert_eq!((by_words.method, by_words.without_embedding), (Method::Lexical, 0));
        assert!(by_words.scores.first() > Some(&0.0) && by_words.scores.get(1) == Some(&0.0));
    }

    #[test]
    fn facts_without_a_vector_are_counted_and_ranked_by_their_words() {
        let some = scored(&[1], Some(EAST), [None, Some(EAST), EAST.get(..2)]);
        assert_eq!((some.method, some.without_embedding), (Method::Hybrid, 2));
        assert!(some.scores.first() > Some(&0.0) && some.scores.last() == Some(&0.0));
        let none = scored(&[1], Some(EAST), [None; 3]);
        assert_eq!((none.method, none.without_embedding), (Method::Lexical, 3));
        let nothing = scored(&[], Some(EAST), [None; 3]);
        assert_eq!((nothing.method, nothing.scores), (Method::Embedding, vec![0.0; 3]));
    }
}
