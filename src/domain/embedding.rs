//! A vector that a model computed from a text.

use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes of a model's name.
const MODEL_BYTES_MAX: usize = 128;
/// Bytes of a vector: 4,096 numbers in half precision.
const VALUES_BYTES_MAX: usize = 8_192;
/// The bits of a number in half precision without the sign, and those of its exponent.
const MAGNITUDE: u16 = 0x7fff;
const EXPONENT: u16 = 0x7c00;

/// A vector and the model that computed it. The numbers are zeroized when dropped, and never shown by
/// `Debug`: from a vector, its text can be guessed.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Embedding {
    /// The model and its version.
    pub model: String,
    /// The numbers in half precision (IEEE 754 binary16), little-endian.
    pub values: Vec<u8>,
}

impl fmt::Debug for Embedding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Embedding({}, ..)", self.model)
    }
}

impl Embedding {
    /// The bytes that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.model.len().saturating_add(self.values.len())
    }

    /// The invalid field and what is wrong with it, if anything is.
    #[must_use]
    pub fn problem(&self) -> Option<(&'static str, &'static str)> {
        let is_name = (1..=MODEL_BYTES_MAX).contains(&self.model.len());
        if !is_name || self.model.chars().any(char::is_control) {
            return Some(("model", "must have 1 to 128 bytes and no control characters"));
        }
        let is_even = self.values.len().is_multiple_of(2);
        if !is_even || !(2..=VALUES_BYTES_MAX).contains(&self.values.len()) {
            return Some(("values", "must have 1 to 4,096 numbers of two bytes"));
        }
        let bits =
            || self.values.chunks_exact(2).filter_map(|pair| pair.try_into().ok()).map(u16::from_le_bytes);
        if bits().any(|bits| bits & EXPONENT == EXPONENT) {
            return Some(("values", "must be finite numbers in half precision"));
        }
        let is_zero = bits().all(|bits| bits & MAGNITUDE == 0);
        is_zero.then_some(("values", "must not all be 0"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_has_finite_numbers_and_is_not_zero() {
        let problem = |values: &[u16]| {
            let values = values.iter().flat_map(|bits| bits.to_le_bytes()).collect();
            Embedding { model: "m".into(), values }.problem().map(|(_, problem)| problem)
        };
        // 1.0, -0.5, the smallest and the largest number.
        assert_eq!(problem(&[0x3c00, 0xb800, 0x0001, 0x7bff]), None);
        assert_eq!(problem(&[0x3c00; 4_096]), None);
        for invalid in [&[][..], &[0x7c00], &[0xfc00], &[0x7e00], &[0, 0x8000], &[0x3c00; 4_097]] {
            assert!(problem(invalid).is_some(), "{invalid:?}");
        }
        assert!(Embedding { model: "m".into(), values: vec![0x3c] }.problem().is_some());
        assert!(Embedding { model: String::new(), values: vec![0, 0x3c] }.problem().is_some());
        let secret = Embedding { model: "m".into(), values: vec![77, 60] };
        assert!(!format!("{secret:?}").contains("77"));
    }
}
