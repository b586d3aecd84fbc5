//! A writer's own signature on its event, which shows that it comes from the writer and not from the ledger's operator.
//!
//! It binds everything that the event says, and nothing else: not the log. Whoever holds the key of public bounds signs a
//! version once for every ledger; a controller keeps a key for each of its ledgers.

use crate::event::event_body::Event;
use crate::event::{EventBody, WriterSignature};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use prost::Message;

/// What comes before the event in what is signed.
const DOMAIN: &[u8] = b"sayso writer signature v1\n";
/// EdDSA, as COSE numbers it (RFC 9053 section 2.2).
const EDDSA: i32 = -8;

/// Why a writer's signature does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriterError {
    /// There is none.
    #[error("the event is not signed by its writer")]
    Missing,
    /// Not EdDSA, or key or signature are not of their length.
    #[error("the writer's signature is malformed")]
    Malformed,
    /// It is not over this event, or not by this key.
    #[error("the writer's signature does not hold")]
    Wrong,
}

/// The bytes that are signed: the domain, and a body that has nothing but the event.
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

/// Checks a signature over an event by the key that it names, and gives that key.
///
/// # Errors
/// It is missing, malformed, or does not hold.
pub fn verify(event: &Event, signature: Option<&WriterSignature>) -> Result<VerifyingKey, WriterError> {
    let signature = signature.ok_or(WriterError::Missing)?;
    if signature.algorithm != EDDSA {
        return Err(WriterError::Malformed);
    }
    let key = <[u8; 32]>::try_from(signature.public_key.as_slice()).map_err(|_| WriterError::Malformed)?;
    let key = VerifyingKey::from_bytes(&key).map_err(|_| WriterError::Malformed)?;
    let signed = Signature::from_slice(&signature.signature).map_err(|_| WriterError::Malformed)?;
    key.verify_strict(&signed_bytes(event), &signed).map_err(|_| WriterError::Wrong)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::event::{BoundsPublished, PurposeDefined};

    #[test]
    fn it_holds_for_one_event_of_one_kind_by_one_key() {
        let bounds = BoundsPublished { pack: "p".into(), version: "1".into(), ..Default::default() };
        let event = Event::BoundsPublished(bounds.clone());
        let key = SigningKey::from_bytes(&[7; 32]);
        let signature = sign(&event, &key);
        assert_eq!(verify(&event, Some(&signature)).unwrap(), key.verifying_key());
        let later = Event::BoundsPublished(BoundsPublished { effective_from_ms: 1, ..bounds });
        assert_eq!(verify(&later, Some(&signature)), Err(WriterError::Wrong));
        let other_kind = Event::PurposeDefined(PurposeDefined { parent: "p".into(), ..Default::default() });
        assert_eq!(verify(&other_kind, Some(&signature)), Err(WriterError::Wrong));
        let by_another = WriterSignature {
            public_key: SigningKey::from_bytes(&[8; 32]).verifying_key().to_bytes().to_vec(),
            ..signature.clone()
        };
        assert_eq!(verify(&event, Some(&by_another)), Err(WriterError::Wrong));
        assert_eq!(verify(&event, None), Err(WriterError::Missing));
        let short = WriterSignature { signature: vec![1], ..signature };
        assert_eq!(verify(&event, Some(&short)), Err(WriterError::Malformed));
    }
}
