//! The verifiable random function that makes labels from ids: ECVRF-EDWARDS25519-SHA512-ELL2 (RFC 9381).
//!
//! Without the secret key, a label cannot be computed or guessed. With the public key, anyone can check the
//! proof of a label. Each id has only one label.

use super::Label;
use curve25519_dalek::EdwardsPoint;
use ed25519_dalek::SigningKey;
use sha2::{Digest, Sha512};
use vrf_rfc9381::ec::edwards25519::EdVrfProof;
use vrf_rfc9381::ec::edwards25519::elligator2::{
    EdVrfEdwards25519Ell2PublicKey, EdVrfEdwards25519Ell2SecretKey,
};
use vrf_rfc9381::{Ciphersuite, Proof as _, Prover as _, Verifier as _};
use zeroize::Zeroizing;

/// Bytes of a proof (RFC 9381, section 5.5).
pub const PROOF_BYTES: usize = 80;
/// The byte that stands for ECVRF-EDWARDS25519-SHA512-ELL2 in hashes (RFC 9381, section 5.5).
const SUITE: u8 = 4;
/// The domain of the hash from an id to a point (RFC 9381, section 5.4.1.2), without [`SUITE`] at its end.
const TO_CURVE: &[u8] = b"ECVRF_edwards25519_XMD:SHA-512_ELL2_NU_";
/// What stands before and after the point in the hash that is the output (RFC 9381, section 5.2).
const OUTPUT: [u8; 2] = [3, 0];

/// Why a label can't be computed or is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VrfError {
    /// The public key is invalid.
    #[error("the VRF key of the log is invalid")]
    Key,
    /// The proof is not the log's proof for this id.
    #[error("the VRF proof is not valid for this id")]
    Proof,
}

/// The secret key of a log's VRF. It is overwritten when it is dropped.
pub struct VrfKey {
    secret: EdVrfEdwards25519Ell2SecretKey,
    /// The bytes whose clamped form is the secret scalar (RFC 8032, section 5.1.5).
    scalar: Zeroizing<[u8; 32]>,
    public: [u8; 32],
}

impl VrfKey {
    /// The key of a secret random seed. The public key is that of Ed25519 (RFC 9381, section 5.5).
    ///
    /// # Errors
    /// Never; the library's interface allows an error.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, VrfError> {
        let secret = EdVrfEdwards25519Ell2SecretKey::from_slice(seed).map_err(|_| VrfError::Key)?;
        let signing = SigningKey::from_bytes(seed);
        let scalar = Zeroizing::new(signing.to_scalar_bytes());
        Ok(Self { secret, scalar, public: signing.verifying_key().to_bytes() })
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        self.public
    }

    /// The label of an id, without a proof. It is the same label as that of [`VrfKey::prove`]. Of a proof, it
    /// computes one point only, so it takes much less time. A write about a new data subject needs it.
    #[must_use]
    pub fn label(&self, id: &str) -> Label {
        let point = EdwardsPoint::encode_to_curve::<Sha512>(
            &[self.public.as_slice(), id.as_bytes()],
            &[TO_CURVE, &[SUITE]],
        );
        let gamma = point.mul_clamped(*self.scalar).mul_by_cofactor().compress();
        let [front, back] = OUTPUT;
        let hash = Sha512::new().chain_update([SUITE, front]).chain_update(gamma.as_bytes());
        let mut label = [0; 32];
        label.iter_mut().zip(hash.chain_update([back]).finalize()).for_each(|(to, byte)| *to = byte);
        Label(label)
    }

    /// The label of an id, with its proof.
    ///
    /// # Errors
    /// Never; the library's interface allows an error.
    pub fn prove(&self, id: &str) -> Result<(Label, Vec<u8>), VrfError> {
        let proof = self.secret.prove(id.as_bytes()).map_err(|_| VrfError::Proof)?;
        let output = proof.proof_to_hash(Ciphersuite::ECVRF_EDWARDS25519_SHA512_ELL2);
        let label = label_of(&output.map_err(|_| VrfError::Proof)?)?;
        Ok((label, proof.encode_to_pi()))
    }
}

/// Verifies the proof of an id and returns the id's label. `public` is the log's VRF key.
///
/// # Errors
/// The key or the proof is invalid.
pub fn verify_label(public: &[u8], id: &str, proof: &[u8]) -> Result<Label, VrfError> {
    let key = EdVrfEdwards25519Ell2PublicKey::from_slice(public).map_err(|_| VrfError::Key)?;
    let decoded = EdVrfProof::decode_pi(proof).map_err(|_| VrfError::Proof)?;
    // The library accepts other encodings of the same numbers.
    if decoded.encode_to_pi() != proof {
        return Err(VrfError::Proof);
    }
    label_of(&key.verify(id.as_bytes(), decoded).map_err(|_| VrfError::Proof)?)
}

fn label_of(output: &sha2::digest::Output<Sha512>) -> Result<Label, VrfError> {
    output.first_chunk().copied().map(Label).ok_or(VrfError::Proof)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;

    /// RFC 9381, appendix B.4: secret key, public key, input, proof, output.
    const VECTORS: [[&str; 5]; 2] = [
        [
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "7d9c633ffeee27349264cf5c667579fc583b4bda63ab71d001f89c10003ab46f14adf9a3cd8b8412d9038531e865c341\
             cafa73589b023d14311c331a9ad15ff2fb37831e00f0acaa6d73bc9997b06501",
            "9d574bf9b8302ec0fc1e21c3ec5368269527b87b462ce36dab2d14ccf80c53cccf6758f058c5b1c856b116388152bbe5\
             09ee3b9ecfe63d93c3b4346c1fbc6c54",
        ],
        [
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "47b327393ff2dd81336f8a2ef10339112401253b3c714eeda879f12c509072ef055b48372bb82efbdce8e10c8cb9a2f9\
             d60e93908f93df1623ad78a86a028d6bc064dbfc75a6a57379ef855dc6733801",
            "38561d6b77b71d30eb97a062168ae12b667ce5c28caccdf76bc88e093e4635987cd96814ce55b4689b3dd2947f80e59a\
             ac7b7675f8083865b46c89b2ce9cc735",
        ],
    ];

    #[test]
    fn labels_and_proofs_are_those_of_rfc_9381() {
        for [secret, public, input, proof, output] in VECTORS {
            let seed = hex::decode(secret).unwrap().try_into().unwrap();
            let input = String::from_utf8(hex::decode(input).unwrap()).unwrap();
            let key = VrfKey::from_seed(&seed).unwrap();
            assert_eq!(hex::encode(key.public()), public);
            let (label, made) = key.prove(&input).unwrap();
            assert_eq!(key.label(&input), label);
            assert_eq!(hex::encode(&made), proof);
            assert_eq!(hex::encode(label.0), output[..64]);
            assert_eq!(verify_label(&key.public(), &input, &made), Ok(label));
        }
    }

    #[test]
    fn a_label_is_the_same_with_and_without_its_proof() {
        for number in 0..200_u32 {
            let mut seed = [0; 32];
            seed[..4].copy_from_slice(&number.to_le_bytes());
            let key = VrfKey::from_seed(&seed).unwrap();
            for id in ["", "ada", &"x".repeat(number as usize + 1), "\u{e9}\u{1f600}"] {
                assert_eq!(key.label(id), key.prove(id).unwrap().0, "key {number}, id {id}");
            }
        }
    }

    #[test]
    fn a_proof_is_valid_for_one_id_and_in_one_form() {
        let key = VrfKey::from_seed(&[7; 32]).unwrap();
        let (label, proof) = key.prove("ada").unwrap();
        assert_ne!(key.prove("bea").unwrap().0, label);
        assert_eq!(verify_label(&key.public(), "bea", &proof), Err(VrfError::Proof));
        let other = VrfKey::from_seed(&[8; 32]).unwrap();
        assert_eq!(verify_label(&other.public(), "ada", &proof), Err(VrfError::Proof));
        assert_eq!(verify_label(&[0; 32], "ada", &proof), Err(VrfError::Key));
        for place in 0..proof.len() {
            let mut changed = proof.clone();
            changed[place] ^= 1;
            assert!(verify_label(&key.public(), "ada", &changed).is_err(), "byte {place}");
        }
        // The same proof with `s` larger by the order of the group.
        let order = hex::decode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010").unwrap();
        let mut carry = 0_u16;
        let mut larger = proof.clone();
        for (byte, more) in larger[48..].iter_mut().zip(order) {
            carry += u16::from(*byte) + u16::from(more);
            *byte = carry as u8;
            carry >>= 8;
        }
        assert_eq!(verify_label(&key.public(), "ada", &larger), Err(VrfError::Proof));
    }
}
