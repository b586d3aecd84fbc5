//! Lets candidates (attributes that may be used) of the same conversation support each other: what was
//! recorded directly before and after a candidate often says what the candidate is about. Candidates that
//! were observed at the same time count as one conversation.

use super::candidate::Candidate;

/// How much the neighbors count beside the candidate itself.
const NEIGHBORS: f64 = 0.3;

/// Each score, averaged with that of the neighbors: the candidates directly before and after it that were
/// observed at the same time.
pub(super) fn supported(scores: &[f64], candidates: &[Candidate<'_>]) -> Vec<f64> {
    let neighbor = |at: Option<usize>, time_ms: u64| {
        let at = at?;
        (candidates.get(at)?.observed_at_ms == time_ms).then(|| scores.get(at).copied()).flatten()
    };
    let of = |(at, (own, candidate)): (usize, (&f64, &Candidate<'_>))| {
        let before = neighbor(at.checked_sub(1), candidate.observed_at_ms);
        let after = neighbor(at.checked_add(1), candidate.observed_at_ms);
        let near = match (before, after) {
            (Some(before), Some(after)) => f64::midpoint(before, after),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => 0.0,
        };
        (own + NEIGHBORS * near) / (1.0 + NEIGHBORS)
    };
    scores.iter().zip(candidates).enumerate().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_facts_of_the_same_time_support_each_other() {
        let candidate = |observed_at_ms| Candidate { words: &[], observed_at_ms, vector: None };
        let candidates = [candidate(1), candidate(1), candidate(1), candidate(2)];
        let found = supported(&[1.3, 0.0, 0.0, 0.0], &candidates);
        assert_eq!(
            found.iter().map(|score| (score * 1e6).round()).collect::<Vec<_>>(),
            [1e6, 0.15e6, 0.0, 0.0]
        );
    }
}
