//! Compares vectors in half precision.

use half::f16;
use half::slice::HalfFloatSliceExt;

/// The vector of a question, scaled to length 1.
#[derive(Clone, Debug)]
pub struct QuestionVector(Vec<f32>);

/// Numbers of one vector, kept between comparisons so that they are allocated once.
#[derive(Default)]
pub(super) struct Buffer {
    halves: Vec<f16>,
    numbers: Vec<f32>,
}

impl Buffer {
    /// The numbers of a vector in half precision, little-endian.
    fn read(&mut self, values: &[u8]) -> &[f32] {
        self.halves.clear();
        let pairs = values.chunks_exact(2).filter_map(|pair| <[u8; 2]>::try_from(pair).ok());
        self.halves.extend(pairs.map(f16::from_le_bytes));
        self.numbers.resize(self.halves.len(), 0.0);
        self.halves.convert_to_f32_slice(&mut self.numbers);
        &self.numbers
    }
}

impl QuestionVector {
    /// The vector with these numbers in half precision, little-endian.
    #[must_use]
    pub fn new(values: &[u8]) -> Self {
        let mut buffer = Buffer::default();
        let numbers = buffer.read(values);
        let length = length(numbers).max(f32::MIN_POSITIVE);
        Self(numbers.iter().map(|number| number / length).collect())
    }

    /// The cosine of the angle to another vector, from 0 to 1; less than 0 counts as 0. `None` if the vectors
    /// have different lengths.
    pub(super) fn cosine(&self, values: &[u8], buffer: &mut Buffer) -> Option<f64> {
        let other = buffer.read(values);
        if other.len() != self.0.len() {
            return None;
        }
        let cosine = product(&self.0, other) / length(other).max(f32::MIN_POSITIVE);
        Some(f64::from(cosine.clamp(0.0, 1.0)))
    }
}

fn length(numbers: &[f32]) -> f32 {
    product(numbers, numbers).sqrt()
}

/// The scalar product. Eight sums side by side are several times as fast as one, and always give the same
/// result.
fn product(one: &[f32], other: &[f32]) -> f32 {
    let (ones, others) = (one.chunks_exact(8), other.chunks_exact(8));
    let rest = ones.remainder().iter().zip(others.remainder());
    let rest: f32 = rest.map(|(one, other)| one * other).sum();
    let mut sums = [0.0; 8];
    for (one, other) in ones.zip(others) {
        for (sum, (one, other)) in sums.iter_mut().zip(one.iter().zip(other)) {
            *sum += one * other;
        }
    }
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn vector(numbers: &[f32]) -> Vec<u8> {
        numbers.iter().flat_map(|number| f16::from_f32(*number).to_le_bytes()).collect()
    }

    #[test]
    fn cosines_compare_directions_and_not_lengths() {
        let question = QuestionVector::new(&vector(&[3.0, 0.0]));
        let cosine = |numbers: &[f32]| question.cosine(&vector(numbers), &mut Buffer::default());
        let rounded = |numbers: &[f32]| cosine(numbers).map(|cosine| (cosine * 1_000.0).round());
        assert_eq!(rounded(&[0.5, 0.0]), Some(1_000.0));
        assert_eq!(rounded(&[1.0, 1.0]), Some(707.0));
        assert_eq!(rounded(&[-1.0, 0.0]), Some(0.0));
        assert_eq!(cosine(&[1.0]), None);
        let huge = QuestionVector::new(&vector(&[65_504.0; 4_096]));
        let same = huge.cosine(&vector(&[65_504.0; 4_096]), &mut Buffer::default());
        assert_eq!(same.map(|cosine| (cosine * 100.0).round()), Some(100.0));
    }
}
