//! Tests of the distribution of the noise.

use super::Seeded;
use crate::audit::transparency::noise::{deviation, two_sided_geometric};
use crate::audit::transparency::suppress::as_number;
use std::collections::BTreeMap;

#[test]
fn noise_has_mean_0_and_its_stated_deviation() {
    const DRAWS: usize = 40_000;
    for scale in [0.4, 3.0, 250.0] {
        let mut bits = Seeded(42);
        let draws: Vec<f64> = (0..DRAWS).map(|_| two_sided_geometric(scale, &mut bits)).collect();
        let count = as_number(DRAWS as u64);
        let mean = draws.iter().sum::<f64>() / count;
        let variance = draws.iter().map(|draw| draw * draw).sum::<f64>() / count;
        let deviation = deviation(scale);
        assert!(mean.abs() < 4.0 * deviation / count.sqrt(), "{scale}: mean {mean}");
        assert!((variance.sqrt() / deviation - 1.0).abs() < 0.05, "{scale}: {} {deviation}", variance.sqrt());
        assert!(draws.iter().all(|draw| draw.fract() == 0.0));
    }
}

#[test]
fn noise_has_the_ratios_of_its_distribution() {
    // P(n) / P(n + 1) is exp(1 / scale), so a table that differs by one person is at most exp(epsilon) times
    // as likely.
    let (scale, mut bits) = (2.0_f64, Seeded(7));
    let mut seen: BTreeMap<i64, f64> = BTreeMap::new();
    for _ in 0..200_000 {
        #[expect(clippy::cast_possible_truncation, reason = "small whole numbers")]
        let draw = two_sided_geometric(scale, &mut bits) as i64;
        *seen.entry(draw).or_default() += 1.0;
    }
    for at in 0..4 {
        let ratio = seen[&at] / seen[&(at + 1)];
        assert!((ratio / (1.0 / scale).exp() - 1.0).abs() < 0.06, "{at}: {ratio}");
    }
}
