//! A writer's signature on its own event, which shows that the event comes from the writer and not from the
//! operator.
//!
//! The signature covers the whole event and nothing else. It is not bound to a log: the publisher of public
//! bounds signs each version once, and the signature is valid in every ledger. A controller should use a
//! separate key for each of its ledgers. Otherwise its signature for one ledger is valid in the others too.

use crate::event::event_body::Event;
use crate::event::{EventBody, WriterSignature};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use prost::Message;

/// Precedes the event in the signed bytes.
const DOMAIN: &[u8] = b"sayso writer signature v1\n";
/// The COSE algorithm number of EdDSA (RFC 9053 section 2.2).
const EDDSA: i32 = -8;

/// Why a writer's signature is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriterError {
    /// The event has no signature.
    #[error("the event is not signed by its writer")]
    Missing,
    /// The algorithm is not EdDSA, or the key or signature has the wrong length.
    #[error("the writer's signature is malformed")]
    Malformed,
    /// The signature is over another event or by another key.
    #[error("the writer's signature does not verify")]
    Invalid,
}

/// The signed bytes: the domain, then a body with only the event.
#[must_use]
pub fn signed_bytes(event: &Event) -> Vec<u8> {
    let body = EventBody { event: Some(event.clone()), ..EventBody::default() };
    let mut bytes = DOMAIN.to_vec();
    bytes.extend(body.encode_to_vec());
    bytes
}

/// Signs an event.
#[must_use]
pub fn sign(event: &Event, key: &SigningKey) -> WriterSignature {
    WriterSignature {
        algorithm: EDDSA,
        public_key: key.verifying_key().to_bytes().to_vec(),
        signature: key.sign(&signed_bytes(event)).to_bytes().to_vec(),
    }
}

/// Verifies a signature over an event with the public key in `signature`, and returns that key.
///
/// # Errors
/// The signature is missing, malformed or invalid.
pub fn verify(event: &Event, signature: Option<&WriterSignature>) -> Result<VerifyingKey, WriterError> {
    let signature = signature.ok_or(WriterError::Missing)?;
    if signature.algorithm != EDDSA {
        return Err(WriterError::Malformed);
    }
    let key = <[u8; 32]>::try_from(signature.public_key.as_slice()).map_err(|_| WriterError::Malformed)?;
    let key = VerifyingKey::from_bytes(&key).map_err(|_| WriterError::Malformed)?;
    let signed = Signature::from_slice(&signature.signature).map_err(|_| WriterError::Malformed)?;
    key.verify_strict(&signed_bytes(event), &signed).map_err(|_| WriterError::Invalid)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::event::{BoundsPublished, PurposeDefined};

    #[test]
    fn a_signature_is_valid_only_for_its_event_its_kind_and_its_key() {
        let bounds = BoundsPublished { pack: "p".into(), version: "1".into(), ..Default::default() };
        let event = Event::BoundsPublished(bounds.clone());
        let key = SigningKey::from_bytes(&[7; 32]);
        let signature = sign(&event, &key);
        assert_eq!(verify(&event, Some(&signature)).unwrap(), key.verifying_key());
        let later = Event::BoundsPublished(BoundsPublished { effective_from_ms: 1, ..bounds });
        assert_eq!(verify(&later, Some(&signature)), Err(WriterError::Invalid));
        let other_kind = Event::PurposeDefined(PurposeDefined { parent: "p".into(), ..Default::default() });
        assert_eq!(verify(&other_kind, Some(&signature)), Err(WriterError::Invalid));
        let by_other_key = WriterSignature {
            public_key: SigningKey::from_bytes(&[8; 32]).verifying_key().to_bytes().to_vec(),
            ..signature.clone()
        };
        assert_eq!(verify(&event, Some(&by_other_key)), Err(WriterError::Invalid));
        assert_eq!(verify(&event, None), Err(WriterError::Missing));
        let short = WriterSignature { signature: vec![1], ..signature };
        assert_eq!(verify(&event, Some(&short)), Err(WriterError::Malformed));
    }
}
