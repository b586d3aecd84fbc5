//! A number in a transparency report, and how far the noise of the report may have moved it from the true
//! number.

/// A number, and how far noise may have moved it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Amount {
    /// The number, with its noise if there is any.
    pub value: f64,
    /// In 95 of 100 reports, the number without noise is at most this far from `value`. 0 without noise.
    pub margin: f64,
}

impl Amount {
    /// A number without noise.
    #[must_use]
    pub fn exact(value: f64) -> Self {
        Self { value, margin: 0.0 }
    }

    /// The sum of two numbers whose noise is independent. The margins add up like standard deviations. The
    /// result is never too small, because a sum of such noise has lighter tails than each part.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { value: self.value + other.value, margin: self.margin.hypot(other.margin) }
    }

    /// Whether the number is no larger than its noise. Then even 0 is in its interval.
    #[must_use]
    pub fn is_below_noise(self) -> bool {
        self.margin > 0.0 && self.value <= self.margin
    }

    /// The same number with its margin as a whole number, rounded up.
    #[must_use]
    pub(super) fn with_whole_margin(self) -> Self {
        Self { margin: self.margin.ceil(), ..self }
    }
}

/// The sum; 0 if there are no numbers, while the sum of the standard library would be -0.
pub(super) fn sum(amounts: impl Iterator<Item = Amount>) -> Amount {
    amounts.fold(Amount::default(), Amount::plus)
}
