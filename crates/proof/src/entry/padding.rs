//! Pads the plaintext of a sealed body to a size class, so that the length of an entry does not identify a
//! person.
//!
//! The padding is one byte 0x80 and then zero bytes. A size class is a power of two, or one and a half times
//! a power of two.

use super::error::EntryError;

/// The smallest class, bytes. Nearly every attribute, consent or report of use fits.
const CLASS_BYTES_MIN: usize = 384;

/// Bytes of the tag of AES-256-GCM.
const TAG_BYTES: usize = 16;

/// The smallest class with room for this number of bytes.
fn class_of(bytes: usize) -> usize {
    let power = bytes.max(CLASS_BYTES_MIN).next_power_of_two();
    let middle = power / 4 * 3;
    if bytes.max(CLASS_BYTES_MIN) <= middle { middle } else { power }
}

/// Whether a ciphertext has the length of a class.
pub(super) fn is_class(ciphertext: &[u8]) -> bool {
    ciphertext.len().checked_sub(TAG_BYTES).is_some_and(|bytes| class_of(bytes) == bytes)
}

/// The length of the padded plaintext, bytes.
pub fn padded_bytes(plaintext: usize) -> usize {
    class_of(plaintext.saturating_add(1))
}

/// Pads a plaintext to its size class. If its capacity is that of the class, it is not moved.
pub fn pad(plaintext: &mut Vec<u8>) {
    let padded = padded_bytes(plaintext.len());
    plaintext.push(0x80);
    plaintext.resize(padded, 0);
}

/// Removes the padding.
///
/// # Errors
/// The padding has another form, or is longer than it has to be.
pub fn unpad(plaintext: &mut Vec<u8>) -> Result<(), EntryError> {
    let padded = plaintext.len();
    let last = plaintext.iter().rposition(|byte| *byte != 0);
    match last.filter(|last| plaintext.get(*last) == Some(&0x80)) {
        Some(length) if padded_bytes(length) == padded => {
            plaintext.truncate(length);
            Ok(())
        }
        _ => Err(EntryError::BodyForm("the padding is not that of its size class")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn classes_are_powers_of_two_and_one_and_a_half_times_a_power_of_two() {
        let classes = [1, 384, 385, 512, 513, 768, 769, 1_024, 1_025, 1_536, 1_537, 2_048].map(class_of);
        assert_eq!(classes, [384, 384, 512, 512, 768, 768, 1_024, 1_024, 1_536, 1_536, 2_048, 2_048]);
        assert!(is_class(&[0; 400]) && !is_class(&[0; 401]) && !is_class(&[0; 15]));
    }

    proptest! {
        #[test]
        fn padding_is_removed_and_its_only_form_is_accepted(
            text in proptest::collection::vec(any::<u8>(), 0..2_000), at in any::<u16>(), bit in 0_u8..8,
        ) {
            let mut padded = text.clone();
            pad(&mut padded);
            prop_assert!(class_of(padded.len()) == padded.len() && padded.len() <= (text.len() + 1).max(256) * 3 / 2);
            let mut back = padded.clone();
            prop_assert_eq!(unpad(&mut back), Ok(()));
            prop_assert_eq!(&back, &text);
            // A changed byte of the padding is found, or changes the text.
            let place = text.len() + usize::from(at) % (padded.len() - text.len());
            padded[place] ^= 1 << bit;
            prop_assert!(unpad(&mut padded).is_err() || padded != text);
            // Longer padding is found too.
            let mut longer = text.clone();
            longer.push(0x80);
            longer.resize(class_of(padded_bytes(text.len()) + 1), 0);
            prop_assert!(unpad(&mut longer).is_err());
        }
    }
}
