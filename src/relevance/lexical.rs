//! Lexical scores: BM25 (Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009) with the
//! usual parameters. The weight of a word depends on the ranked candidates (attributes that may be used)
//! alone.

use super::candidate::Candidate;

/// How fast the score of a word saturates with its repetitions.
const K1: f64 = 1.2;
/// How much longer candidates are discounted.
const B: f64 = 0.75;

/// The words of a question, each once.
struct Asked {
    /// Sorted.
    words: Vec<u32>,
    /// How often the question has each word.
    counts: Vec<f64>,
    /// A bit for the last six bits of each word, which rules out most other words.
    mask: u64,
}

impl Asked {
    fn new(question: &[u32]) -> Self {
        let mut sorted = question.to_vec();
        sorted.sort_unstable();
        let (mut words, mut counts, mut mask) = (Vec::new(), Vec::new(), 0);
        for same in sorted.chunk_by(|one, other| one == other) {
            words.extend(same.first());
            counts.push(same.len() as f64);
            mask |= same.first().map_or(0, |word| bit(*word));
        }
        Self { words, counts, mask }
    }

    fn number(&self, word: u32) -> Option<usize> {
        if self.mask & bit(word) == 0 {
            return None;
        }
        self.words.binary_search(&word).ok()
    }
}

fn bit(word: u32) -> u64 {
    1 << (word & 63)
}

/// How often a candidate has one word of the question.
struct Found {
    candidate: usize,
    word: usize,
    count: f64,
}

/// The score of each candidate. A candidate of average length that has every word of the question once has a
/// score of 1; one that has none of them has a score of 0.
pub(super) fn scores(question: &[u32], candidates: &[Candidate<'_>]) -> Vec<f64> {
    let asked = Asked::new(question);
    let mut scores = vec![0.0; candidates.len()];
    if asked.words.is_empty() {
        return scores;
    }
    let (mut found, mut having) = (Vec::new(), vec![0.0; asked.words.len()]);
    let mut own: Vec<usize> = Vec::new();
    for (candidate, of) in candidates.iter().enumerate() {
        own.clear();
        own.extend(of.words.iter().filter_map(|word| asked.number(*word)));
        own.sort_unstable();
        for same in own.chunk_by(|one, other| one == other) {
            let Some(word) = same.first().copied() else { continue };
            if let Some(having) = having.get_mut(word) {
                *having += 1.0;
            }
            found.push(Found { candidate, word, count: same.len() as f64 });
        }
    }
    let all_words: usize = candidates.iter().map(|candidate| candidate.words.len()).sum();
    let average = f64::max(all_words as f64 / candidates.len() as f64, 1.0);
    let weights = weights(&asked.counts, &having, candidates.len() as f64);
    let total: f64 = weights.iter().sum();
    for Found { candidate, word, count } in found {
        let (Some(score), Some(weight)) = (scores.get_mut(candidate), weights.get(word)) else { continue };
        let length = candidates.get(candidate).map_or(average, |candidate| candidate.words.len() as f64);
        *score += weight / total * count * (K1 + 1.0) / (count + K1 * (1.0 - B + B * length / average));
    }
    scores
}

/// The weight of each word of the question: how often the question has it, times how rare it is in the
/// candidates.
fn weights(counts: &[f64], having: &[f64], candidates: f64) -> Vec<f64> {
    let rare = |having: f64| (1.0 + (candidates - having + 0.5) / (having + 0.5)).ln();
    counts.iter().zip(having).map(|(count, having)| count * rare(*having)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(question: &[u32], candidates: &[&[u32]]) -> Vec<f64> {
        let candidate = |words| Candidate { words, observed_at_ms: 0, vector: None };
        scores(question, &candidates.iter().map(|words| candidate(*words)).collect::<Vec<_>>())
    }

    #[test]
    fn rare_words_weigh_more_and_facts_without_any_have_no_score() {
        // A red boat; a red car, a red house, an old boat, a blue car.
        let found = score(&[1, 2], &[&[1, 3], &[1, 4], &[5, 2], &[6, 3]]);
        let [car, house, boat, none] = found.try_into().unwrap_or_default();
        assert!(boat > car && (car - house).abs() < 1e-9 && car > 0.0 && none == 0.0);
        assert_eq!(score(&[], &[&[1]]), [0.0]);
        assert_eq!(score(&[1], &[&[], &[65]]), [0.0, 0.0]);
    }

    #[test]
    fn repeated_words_and_short_facts_count_more() {
        let found = score(&[1], &[&[1, 1, 2], &[1, 2, 3], &[1, 2], &[4, 5, 6]]);
        let [twice, once, short, _] = found.try_into().unwrap_or_default();
        assert!(twice > once && short > once);
        let once = score(&[1, 2], &[&[1, 2, 3], &[4, 5, 6]]);
        assert_eq!(once.first().map(|score| (score * 1e6).round()), Some(1e6));
    }
}
