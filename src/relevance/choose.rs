//! Chooses the best candidates within limits.

use std::cmp::Reverse;

/// Bytes of text that count as one token of a language model. English text has about four bytes a token, and
/// other languages have fewer, so the estimate is usually too high.
const TOKEN_BYTES: usize = 3;

/// The limits on what is chosen.
#[derive(Clone, Copy, Debug)]
pub struct ChoiceLimits {
    /// The most candidates.
    pub top_k: usize,
    /// The most bytes of all chosen candidates.
    pub bytes_max: usize,
    /// The most estimated tokens of all chosen candidates.
    pub tokens_max: usize,
    /// The lowest score. A candidate with a score of 0 is never chosen.
    pub min_score: f64,
}

/// Returns the indexes of the chosen candidates, the best one first. Of two candidates with the same score,
/// the later one is better. A candidate that does not fit is left out, and the next one is tried. `bytes` has
/// the size of each candidate.
#[must_use]
pub fn choose(scores: &[f64], bytes: &[usize], limits: &ChoiceLimits) -> Vec<usize> {
    let mut ranked: Vec<(usize, f64)> = scores.iter().copied().enumerate().collect();
    ranked.retain(|(_, score)| *score > 0.0 && *score >= limits.min_score);
    ranked.sort_by(|(at, score), (other, than)| {
        than.total_cmp(score).then_with(|| Reverse(at).cmp(&Reverse(other)))
    });
    let (mut left_bytes, mut left_tokens) = (limits.bytes_max, limits.tokens_max);
    let mut chosen = Vec::new();
    for (at, _) in ranked {
        if chosen.len() >= limits.top_k {
            break;
        }
        let size = bytes.get(at).copied().unwrap_or(usize::MAX);
        let rest = left_bytes.checked_sub(size).zip(left_tokens.checked_sub(size.div_ceil(TOKEN_BYTES)));
        if let Some(rest) = rest {
            (left_bytes, left_tokens) = rest;
            chosen.push(at);
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: ChoiceLimits =
        ChoiceLimits { top_k: 8, bytes_max: usize::MAX, tokens_max: usize::MAX, min_score: 0.0 };

    #[test]
    fn the_best_are_chosen_and_the_later_one_of_two_equals() {
        let scores = [0.2, 0.0, 0.9, 0.2, f64::NAN];
        assert_eq!(choose(&scores, &[1; 5], &ALL), [2, 3, 0]);
        assert_eq!(choose(&scores, &[1; 5], &ChoiceLimits { top_k: 2, ..ALL }), [2, 3]);
        assert_eq!(choose(&scores, &[1; 5], &ChoiceLimits { min_score: 0.2, ..ALL }), [2, 3, 0]);
        assert_eq!(choose(&scores, &[1; 5], &ChoiceLimits { min_score: 0.21, ..ALL }), [2]);
    }

    #[test]
    fn what_does_not_fit_is_left_out_and_the_next_one_is_tried() {
        let (scores, bytes) = ([3.0, 2.0, 1.0], [10, 100, 11]);
        assert_eq!(choose(&scores, &bytes, &ChoiceLimits { bytes_max: 21, ..ALL }), [0, 2]);
        assert_eq!(choose(&scores, &bytes, &ChoiceLimits { tokens_max: 8, ..ALL }), [0, 2]);
        assert_eq!(choose(&scores, &bytes, &ChoiceLimits { tokens_max: 7, ..ALL }), [0]);
    }
}
