//! Verifies many Ed25519 signatures together.
//!
//! A batch accepts every signature that `verify_strict` of ed25519-dalek accepts: `s` is canonical, `R` is
//! the canonical encoding of its point, neither `R` nor the key has small order, and `R = s B - k A` without
//! a cofactor. The equation is tested for all signatures in one sum, with coefficients that depend on every
//! signature (Bernstein, Duif, Lange, Schwabe, Yang 2012, section 5).
//!
//! A batch differs from `verify_strict` in one way. The holder of the log's secret key can make an `R` with a
//! small-order component. `verify_strict` rejects a signature with such an `R`, and a batch may accept it.
//! Even then, the log's key has signed the bytes. So a batch never accepts bytes that the log's key did not
//! sign.
//!
//! Each signature has two terms in the sum, one for `R` and one for the key. Nearly all entries of a log are
//! signed by one key. So the key terms of consecutive signatures by the same key are merged into one term.
//! This halves the number of terms.
//!
//! A batch does not say which of its signatures is invalid. To find out, verify each signature alone.

use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{IsIdentity, VartimeMultiscalarMul};
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest, Sha256, Sha512};

/// 2^255 - 19, little-endian.
const FIELD_SIZE: [u8; 32] = {
    let mut bytes = [0xff; 32];
    [bytes[0], bytes[31]] = [0xed, 0x7f];
    bytes
};

/// The signed bytes, the signature, and the key.
pub(crate) type Signed<'a> = (&'a [u8], &'a Signature, &'a VerifyingKey);

/// A signature as a term of the sum.
struct Term {
    r: EdwardsPoint,
    s: Scalar,
    /// SHA-512(R ‖ A ‖ message).
    k: Scalar,
}

/// Whether every signature is valid.
pub(crate) fn all_valid(signed: &[Signed<'_>]) -> bool {
    let mut transcript = Sha256::new();
    let mut terms = Vec::with_capacity(signed.len());
    for (message, signature, key) in signed {
        let Some(term) = term(message, signature, key, &mut transcript) else { return false };
        terms.push(term);
    }
    let seed = transcript.finalize();
    let mut coefficients = Vec::with_capacity(terms.len() + 2);
    let mut points = Vec::with_capacity(terms.len() + 2);
    let mut base_coefficient = Scalar::ZERO;
    let mut key_coefficients: Vec<(&VerifyingKey, Scalar)> = Vec::new();
    for (index, (term, (_, _, key))) in terms.iter().zip(signed).enumerate() {
        let z = coefficient(&seed, index as u64);
        base_coefficient -= z * term.s;
        match key_coefficients.last_mut().filter(|(last, _)| last == key) {
            Some((_, sum)) => *sum += z * term.k,
            None => key_coefficients.push((key, z * term.k)),
        }
        coefficients.push(z);
        points.push(term.r);
    }
    coefficients.push(base_coefficient);
    points.push(ED25519_BASEPOINT_POINT);
    for (key, sum) in key_coefficients {
        let point = key.to_edwards();
        if point.is_small_order() {
            return false;
        }
        coefficients.push(sum);
        points.push(point);
    }
    EdwardsPoint::vartime_multiscalar_mul(&coefficients, &points).is_identity()
}

fn term(message: &[u8], signature: &Signature, key: &VerifyingKey, transcript: &mut Sha256) -> Option<Term> {
    let (r, s) = (signature.r_bytes(), signature.s_bytes());
    let k: [u8; 64] =
        Sha512::new().chain_update(r).chain_update(key.as_bytes()).chain_update(message).finalize().into();
    transcript.update(k);
    transcript.update(s);
    let point = is_canonical(r).then(|| CompressedEdwardsY(*r).decompress()).flatten()?;
    if point.is_small_order() {
        return None;
    }
    let s = Option::from(Scalar::from_canonical_bytes(*s))?;
    Some(Term { r: point, s, k: Scalar::from_bytes_mod_order_wide(&k) })
}

/// Whether the y coordinate of an encoded point is below the field size. Other non-canonical encodings exist
/// only for points with x = 0, which have small order.
fn is_canonical(encoded: &[u8; 32]) -> bool {
    let mut y = *encoded;
    let [.., last] = &mut y;
    *last &= 0x7f;
    y.iter().rev().lt(FIELD_SIZE.iter().rev())
}

/// 128 bits that an attacker cannot choose before every signature is fixed.
fn coefficient(seed: &[u8], index: u64) -> Scalar {
    let digest: [u8; 32] =
        Sha256::new().chain_update(seed).chain_update(index.to_le_bytes()).finalize().into();
    let (half, _) = digest.as_chunks::<16>();
    half.first().map_or(Scalar::ONE, |half| Scalar::from(u128::from_le_bytes(*half)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use curve25519_dalek::constants::EIGHT_TORSION;
    use ed25519_dalek::{Signer, SigningKey};
    use proptest::prelude::*;

    fn batch_is_valid(batch: &[(Vec<u8>, Signature, VerifyingKey)]) -> bool {
        all_valid(
            &batch
                .iter()
                .map(|(message, signature, key)| (message.as_slice(), signature, key))
                .collect::<Vec<_>>(),
        )
    }

    /// Signatures by several keys in runs, as in a log that changes its key.
    fn signed(count: usize, keys: usize) -> Vec<(Vec<u8>, Signature, VerifyingKey)> {
        let one = |number: usize| {
            let key = SigningKey::from_bytes(&[(number * keys / count.max(1)) as u8; 32]);
            let message = [number.to_be_bytes().as_slice(), &vec![number as u8; number % 200]].concat();
            (message.clone(), key.sign(&message), key.verifying_key())
        };
        (0..count).map(one).collect()
    }

    #[test]
    fn valid_batches_of_any_size_and_number_of_keys_are_accepted() {
        for count in [0, 1, 2, 17, 189, 190, 191, 300] {
            for keys in 1..4 {
                assert!(batch_is_valid(&signed(count, keys)), "{count} {keys}");
            }
        }
    }

    /// Under a key of small order, one signature of small order is valid for many messages.
    #[test]
    fn small_order_points_and_noncanonical_encodings_are_rejected_like_in_verify_strict() {
        let mut encodings: Vec<[u8; 32]> = EIGHT_TORSION.iter().map(|point| point.compress().0).collect();
        // y = 1 as p + 1, and y = 0 as p, each with both signs.
        for low in [0xed, 0xee] {
            let mut second = FIELD_SIZE;
            second[0] = low;
            encodings.push(second);
            second[31] |= 0x80;
            encodings.push(second);
        }
        let good = signed(3, 1);
        let mut rejected = 0;
        for encoding in &encodings {
            for s in [[0; 32], *good[0].1.s_bytes()] {
                let forged = Signature::from_components(*encoding, s);
                for key in
                    encodings.iter().filter_map(|key| VerifyingKey::from_bytes(key).ok()).chain([good[0].2])
                {
                    assert!(key.verify_strict(&good[0].0, &forged).is_err());
                    let mut batch = good.clone();
                    batch[0] = (good[0].0.clone(), forged, key);
                    assert!(!batch_is_valid(&batch));
                    rejected += 1;
                }
            }
        }
        assert!(rejected > 100);
    }

    #[test]
    fn only_one_encoding_of_a_point_is_canonical() {
        assert!(!is_canonical(&FIELD_SIZE) && is_canonical(&[0; 32]));
        let mut below = FIELD_SIZE;
        below[0] -= 1;
        assert!(is_canonical(&below));
        below[31] |= 0x80;
        assert!(is_canonical(&below));
        assert!(!is_canonical(&[0xff; 32]));
    }

    proptest! {
        #[test]
        fn flipping_one_bit_of_one_signature_is_detected(
            count in 1..230_usize,
            which: prop::sample::Index,
            bit in 0..512_usize,
        ) {
            let mut all = signed(count, 2);
            let at = which.index(count);
            let mut bytes = all[at].1.to_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            all[at].1 = Signature::from_bytes(&bytes);
            prop_assert!(all[at].2.verify_strict(&all[at].0, &all[at].1).is_err());
            prop_assert!(!batch_is_valid(&all));
        }

        #[test]
        fn swapping_two_signatures_is_detected(count in 2..230_usize, which: prop::sample::Index) {
            let mut all = signed(count, 1);
            let (one, other) = (which.index(count), (which.index(count) + 1) % count);
            let first = all[one].1;
            all[one].1 = all[other].1;
            all[other].1 = first;
            prop_assert!(!batch_is_valid(&all));
        }
    }
}
